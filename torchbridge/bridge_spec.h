/*
 * bridge_spec.h: the names of views: what "@cpu+bf16" asks for.
 *
 *   @cpu @cuda @cuda:N @mps @xpu:N ...   a device, by torch's name (c10/core/DeviceType.cpp), with the index
 *                                        that torch.save would write: 0 where none is given; "@meta" no data
 *   @auto                                the reader's best
 *   @fp32 @fp16 @bf16                    a dtype; joins with a device by '+', in either order
 *   @summary @json @tree @safetensors    a form; a dtype may join @safetensors and @tree ("@bf16+safetensors"),
 *                                        not others
 *   @runs                                see bridge_runs.h
 */
#ifndef BRIDGE_SPEC_H
#define BRIDGE_SPEC_H

#include <stdbool.h>

#include "codec/torch_dtype.h"

enum bridge_form {
	BRIDGE_FILE, /* the file itself, with another device or dtype */
	BRIDGE_SUMMARY,
	BRIDGE_JSON,
	BRIDGE_TREE,
	BRIDGE_SAFETENSORS,
	BRIDGE_RUNS,
};

enum { BRIDGE_DEVICE_MAX = 32 };

struct bridge_spec {
	enum bridge_form form;
	char device[BRIDGE_DEVICE_MAX]; /* torch's location: "cpu", "cuda:1"; "" as it is; "auto" */
	int dtype;                      /* enum torch_dtype; -1 as it is */
};

/* Parses a view's name with its '@'. False: no view's name; *out is not touched then. */
bool bridge_spec_parse(const char *name, struct bridge_spec *out);

#endif
