/*
 * bridge_view.h: a file seen another way: on another device, in another dtype, as text, as JSON, as
 * safetensors.
 *
 * The rule of devices (facts/frameworks.md): a view shows the file as the same run would have saved it there.
 * To "cpu" everything goes.  To an accelerator goes what was on an accelerator; a file saved with everything
 * on the CPU moves whole, except random-number states, Adam's non-capturable `step`, and replay data.
 * torch.device objects follow; strings stay.  The pickle keeps its opcodes; tensors stay where they are in
 * the file, so that nearly all of a view is ranges of it.
 *
 * The rule of dtypes: f64, f32, f16 and bf16 tensors become the dtype asked for, bit for bit as torch's
 * .to(); integers, bools, complex, float8, quantized tensors with their scales, optimizer `step`s and
 * random-number states stay.  Strides, offsets and sharing stay, too.  A storage that the pickle names as
 * several dtypes can't become another: -ENOTSUP.
 *
 * By file: torch zip, legacy and TorchScript (device, dtype; its code and the dtype of its constants stay); a
 * lone pickle (torch.device objects); safetensors (dtype).  A .distcp is on the CPU as it is, and its lengths
 * are in .metadata: -ENOTSUP with a dtype.
 *
 * Each function makes a layout (bridge_layout.h) whose source 0 is the file.  -EINVAL: the view does not
 * apply to such a file (it shows as it is); else the errors of bridge_doc.h.
 */
#ifndef BRIDGE_VIEW_H
#define BRIDGE_VIEW_H

#include "bridge_doc.h"
#include "bridge_layout.h"
#include "bridge_spec.h"

/* BRIDGE_FILE: device and dtype of the spec ("auto" has been replaced by the caller). */
int bridge_view_file(const struct bridge_doc *d, const struct bridge_spec *spec, codec_read_at read,
		void *arg, struct bridge_layout **out);

/*
 * BRIDGE_SAFETENSORS, with spec->dtype if it is not -1. A file that is one already shows as it is: -EINVAL.
 */
int bridge_view_safetensors(const struct bridge_doc *d, const struct bridge_spec *spec, codec_read_at read,
		void *arg, struct bridge_layout **out);

/*
 * BRIDGE_SUMMARY and BRIDGE_JSON: text, appended. `name` is the file's last name, for the heading. color:
 * ANSI, for terminals.
 */
struct bridge_text {
	const char *name;
	int color;
};
int bridge_view_summary(const struct bridge_doc *d, const struct bridge_text *how, codec_read_at read,
		void *arg, struct byte_buf *out);
int bridge_view_json(const struct bridge_doc *d, const struct bridge_text *how, codec_read_at read, void *arg,
		struct byte_buf *out);

/*
 * Parts of a torch file, as torch zips of their own: the value `ref` of its graph (pickle_graph.h) alone, or
 * a new dict of n pairs (raw refs of key and value). Storages are only those that the part uses, under new
 * keys 0, 1, ..; their bytes are ranges of the file. The zip is one that torch.load (weights_only where the
 * whole allowed it) and mmap=True take.
 */
int bridge_view_part(const struct torch_file *f, uint32_t ref, codec_read_at read, void *arg,
		struct bridge_layout **out);
int bridge_view_parts(const struct torch_file *f, const uint32_t *pairs, size_t n, codec_read_at read,
		void *arg, struct bridge_layout **out);

#endif
