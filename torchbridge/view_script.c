/*
 * view_script.c: the constants of a TorchScript archive.
 *
 *   NAME/data.pkl       the module; its storages are NAME/data/<key>
 *   NAME/constants.pkl  a tuple of the tensors that its code calls CONSTANTS.c0, ..; NAME/constants/<key>
 *   NAME/code/..        the code, which is kept as it is: a device that is written there is the model's own
 *
 * torch.jit.load() puts constants where they were saved, as it does the rest
 * (torch/csrc/jit/serialization/import.cpp). A dtype view leaves them: module.to(dtype) does, too.
 */
#include <errno.h>
#include <stdlib.h>

#include "codec/ckpt_error.h"
#include "codec/torch_edit.h"
#include "view_internal.h"

static const char *to_device(void *arg, uint32_t storage)
{
	(void)storage;
	return *(const char **)arg;
}

static int edit(const struct pickle *g, size_t most, const char *device, struct byte_buf *out)
{
	struct torch_edit_rule rule = { to_device, NULL, &device };
	struct torch_object *o = NULL;
	struct pickle_edits *e = NULL;
	int rc = torch_object_new(g, most, &o);

	if (rc == 0)
		rc = pickle_edits_new(g, &e);
	if (rc == 0)
		rc = torch_edit_devices(o, &rule, e);
	if (rc == 0 && pickle_edits_count(e) > 0)
		rc = pickle_edits_apply(e, out);
	pickle_edits_free(e);
	torch_object_free(o);
	return rc;
}

int view_script_constants(const struct torch_file *f, const char *device, codec_read_at read, void *arg,
		struct byte_buf *out, const struct zip_entry **entry)
{
	const struct zip_entry *e = torch_file_record(f, "constants.pkl");
	struct pickle_limits limits = pickle_limits_default;
	struct pickle *g = NULL;
	size_t was = out->len;
	uint64_t off;
	uint8_t *p;
	int rc;

	*entry = NULL;
	if (e == NULL)
		return 0;
	if (e->method != ZIP_STORED)
		return ckpt_fail(ENOTSUP, "'%.200s' is compressed", e->name);
	limits.memory = (size_t)64 << 20;
	if (e->size > limits.memory / 4)
		return ckpt_fail(EFBIG, "constants of %llu bytes", (unsigned long long)e->size);
	rc = zip_data(torch_file_zip(f), e, read, arg, &off);
	p = malloc((size_t)e->size + 1);
	if (rc == 0 && p == NULL)
		rc = ckpt_fail(ENOMEM, "out of memory for constants of %llu bytes",
				(unsigned long long)e->size);
	if (rc == 0)
		rc = zip_read_full(read, arg, off, p, (size_t)e->size);
	if (rc == 0)
		rc = pickle_parse(p, (size_t)e->size, &limits, &g, NULL);
	if (rc == 0)
		rc = edit(g, limits.memory, device, out);
	pickle_free(g);
	free(p);
	if (rc == 0 && out->len > was)
		*entry = e;
	return rc;
}
