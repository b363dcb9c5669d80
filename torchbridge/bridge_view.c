/*
 * bridge_view.c: which maker a view of a file is for.
 */
#include "bridge_view.h"

#include <errno.h>

#include "codec/ckpt_error.h"
#include "view_internal.h"

int bridge_view_file(const struct bridge_doc *d, const struct bridge_spec *spec, codec_read_at read,
		void *arg, struct bridge_layout **out)
{
	struct bridge_layout *l;
	int rc;

	if (spec->form != BRIDGE_FILE || (spec->device[0] == '\0' && spec->dtype < 0))
		return ckpt_fail(EINVAL, "no view of a whole file");
	rc = bridge_layout_new(&l);
	if (rc < 0)
		return rc;
	switch (bridge_doc_kind(d)) {
	case BRIDGE_TORCH:
		rc = view_torch(d, spec, read, arg, l);
		break;
	case BRIDGE_SAFETENSOR:
		rc = spec->dtype >= 0 ? view_tensors_dtype(bridge_doc_safetensors(d),
							(enum torch_dtype)spec->dtype, l)
				      : ckpt_fail(EINVAL, "a safetensors file is on no device");
		break;
	case BRIDGE_DISTCP: /* written from the CPU, and .metadata says how long each item is */
		rc = spec->dtype >= 0
				     ? ckpt_fail(ENOTSUP, "a shard of a distributed checkpoint can't change "
							  "its lengths")
				     : ckpt_fail(EINVAL,
						       "a shard of a distributed checkpoint is on no device");
		break;
	default:
		rc = ckpt_fail(EINVAL, "an array of numpy is on no device, and its dtype its own");
	}
	if (rc < 0) {
		bridge_layout_free(l);
		return rc;
	}
	*out = l;
	return 0;
}
