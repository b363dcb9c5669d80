/*
 * torch_names.h: what a global is known as.
 */
#ifndef TORCH_NAMES_H
#define TORCH_NAMES_H

#include "torch_internal.h"

/* *dtype is set for KNOWN_DTYPE and KNOWN_STORAGE, to TORCH_UNTYPED otherwise. */
enum torch_known torch_known_name(const struct pickle_global *what, uint8_t *dtype);

#endif
