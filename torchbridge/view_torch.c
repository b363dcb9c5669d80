/*
 * view_torch.c: a torch file on another device, in another dtype (bridge_view.h has the rules).
 *
 *   zip     device: [0, directory) of the file as it is | new data.pkl | new directory
 *           dtype: written anew, view_zip.c
 *   script  the same, and constants.pkl
 *   legacy  [0, pickle) | new pickle | the rest; with a dtype, storage by storage
 *   pickle  new pickle
 *
 * A view in which nothing would change is the file.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bridge_view.h"
#include "codec/ckpt_error.h"
#include "codec/torch_edit.h"
#include "view_internal.h"
#include "view_policy.h"

struct view {
	const struct torch_file *f;
	const struct torch_object *o;
	const char *device; /* NULL: as it is */
	int dtype;          /* -1: as it is */
	bool all_on_cpu;
	uint8_t *marks; /* of each storage: view_policy.h; NULL where nobody asks */
	uint8_t *to;    /* of each storage: the dtype it becomes; NULL with dtype -1 */
	bool converts;  /* one of them does */
};

static bool is(const char *p, size_t len, const char *what)
{
	return strlen(what) == len && memcmp(p, what, len) == 0;
}

/*
 * ---- device
 * ----------------------------------------------------------------------------------------------------
 */

enum where { ON_CPU, ON_META, ON_ACCELERATOR };

static enum where where(const char *p, size_t len)
{
	if (is(p, len, "cpu") || (len > 4 && memcmp(p, "cpu:", 4) == 0))
		return ON_CPU;
	return is(p, len, "meta") ? ON_META : ON_ACCELERATOR;
}

static bool to_accelerator(const struct view *v)
{
	return where(v->device, strlen(v->device)) == ON_ACCELERATOR;
}

/* Whether nothing in the file says that an accelerator was there when it was saved. */
static bool all_on_cpu(const struct torch_object *o)
{
	const struct pickle *g = torch_graph(o);
	char text[64];

	for (uint32_t i = 0; i < torch_storages(o); i++) {
		const struct torch_storage *s = torch_storage_at(o, i);

		if (where(s->location, s->location_len) == ON_ACCELERATOR)
			return false;
	}
	for (uint32_t i = 0; i < torch_tensors(o); i++)
		if (torch_tensor_at(o, i)->kind == TORCH_COPY)
			return false;
	for (uint32_t i = 0; i < pickle_count(g); i++)
		if (pickle_node(g, i)->kind == PICKLE_REDUCE && torch_device_text(o, i, text, sizeof text) &&
				where(text, strlen(text)) == ON_ACCELERATOR)
			return false;
	return true;
}

static const char *storage_device(void *arg, uint32_t storage)
{
	const struct view *v = arg;
	const struct torch_storage *s = torch_storage_at(v->o, storage);
	enum where now = where(s->location, s->location_len);

	if (now == ON_META)
		return NULL;
	if (now == ON_CPU && to_accelerator(v) &&
			(!v->all_on_cpu || (v->marks[storage] & (VIEW_RNG | VIEW_STEP | VIEW_REPLAY)) != 0))
		return NULL;
	return v->device;
}

static const char *other_device(void *arg, const char *text)
{
	const struct view *v = arg;
	enum where now = where(text, strlen(text));

	if (now == ON_META || (now == ON_CPU && to_accelerator(v) && !v->all_on_cpu))
		return NULL;
	return v->device;
}

/*
 * ---- dtype
 * -----------------------------------------------------------------------------------------------------
 */

static int storage_dtype(void *arg, uint32_t storage)
{
	const struct view *v = arg;

	return v->to[storage] == torch_storage_at(v->o, storage)->dtype ? -1 : v->to[storage];
}

static int bare_dtype(void *arg, enum torch_dtype was)
{
	const struct view *v = arg;

	return torch_dtype_info(was)->floating ? v->dtype : -1;
}

/* The class by which a mention names its storage: enum torch_dtype. */
static int mention_dtype(const struct view *v, const struct torch_mention *m)
{
	const struct pickle *g = torch_graph(v->o);
	const struct pickle_global *class = pickle_global_at(g, (uint32_t)pickle_global_of(g, m->dtype_ref));

	return torch_dtype_of_storage(class->name, class->name_len);
}

static int several_dtypes(const struct torch_storage *s)
{
	return ckpt_fail(ENOTSUP, "storage '%.*s' is seen as several dtypes: it can't become another one",
			(int)(s->key_len & 0xff), s->key);
}

/* Decides for each storage. All tensors that look into one that is converted see the same dtype. */
static int decide(struct view *v)
{
	uint32_t n = torch_storages(v->o);

	v->to = malloc((size_t)n + 1);
	if (v->to == NULL)
		return ckpt_fail(ENOMEM, "out of memory for %u storages", n);
	for (uint32_t i = 0; i < n; i++)
		v->to[i] = (uint8_t)torch_storage_at(v->o, i)->dtype;
	for (uint32_t i = 0; i < torch_tensors(v->o); i++) {
		const struct torch_tensor *t = torch_tensor_at(v->o, i);
		uint32_t s = t->storage;

		if (s == PICKLE_NIL || !torch_dtype_info((enum torch_dtype)t->dtype)->floating ||
				(v->marks[s] & (VIEW_STEP | VIEW_MOVING_STEP | VIEW_SCALE)) != 0)
			continue;
		if (torch_storage_at(v->o, s)->dtype != t->dtype)
			return several_dtypes(torch_storage_at(v->o, s));
		v->to[s] = (uint8_t)v->dtype;
		v->converts |= t->dtype != v->dtype;
	}
	for (uint32_t i = 0; i < torch_tensors(v->o); i++) {
		const struct torch_tensor *t = torch_tensor_at(v->o, i);

		if (t->storage != PICKLE_NIL && storage_dtype(v, t->storage) >= 0 &&
				torch_storage_at(v->o, t->storage)->dtype != t->dtype)
			return several_dtypes(torch_storage_at(v->o, t->storage));
	}
	for (uint32_t i = 0; i < torch_mentions(v->o); i++) {
		const struct torch_mention *m = torch_mention_at(v->o, i);

		if (storage_dtype(v, m->storage) >= 0 &&
				mention_dtype(v, m) != (int)torch_storage_at(v->o, m->storage)->dtype)
			return several_dtypes(torch_storage_at(v->o, m->storage));
	}
	return 0;
}

/*
 * ---- putting it together
 * ---------------------------------------------------------------------------------------
 */

static int edit(struct view *v, struct pickle_edits *e)
{
	struct torch_edit_rule rule = { storage_device, other_device, v };
	int rc = 0;

	if (v->device != NULL)
		rc = torch_edit_devices(v->o, &rule, e);
	if (rc == 0 && v->dtype >= 0)
		rc = torch_edit_dtypes(v->o, storage_dtype, v, e);
	if (rc == 0 && v->dtype >= 0)
		rc = torch_edit_bare_dtypes(v->o, bare_dtype, v, e);
	return rc;
}

static int layout_legacy(const struct view *v, struct byte_buf *pickle, codec_read_at read, void *arg,
		struct bridge_layout *l)
{
	uint64_t len, at = torch_file_pickle(v->f, &len);
	int rc;

	if (v->converts)
		return view_legacy_converted(v->f, v->to, pickle, read, arg, l);
	rc = bridge_layout_range(l, 0, 0, at);
	if (rc == 0)
		rc = bridge_layout_take(l, pickle);
	return rc < 0 ? rc : bridge_layout_range(l, 0, at + len, torch_file_size(v->f) - at - len);
}

struct tail {
	struct bridge_layout *l;
	struct byte_buf *pickle; /* whose memory the layout takes over */
};

static int put_bytes(void *arg, const void *p, size_t len)
{
	struct tail *t = arg;

	return p == t->pickle->p && len > 0 ? bridge_layout_take(t->l, t->pickle)
					    : bridge_layout_bytes(t->l, p, len);
}

static int put_range(void *arg, uint64_t off, uint64_t len)
{
	return bridge_layout_range(((struct tail *)arg)->l, 0, off, len);
}

/* The data.pkl where it changed, and the constants; all records where their lengths change. */
static int layout_zip(const struct view *v, struct byte_buf *pickle, bool changed, codec_read_at read,
		void *arg, struct bridge_layout *l)
{
	struct byte_buf constants = { 0 };
	struct tail tail = { l, pickle };
	struct zip_sink sink = { put_bytes, put_range, &tail };
	struct zip_change change[2];
	const struct zip_entry *entry = NULL;
	size_t n = 0;
	int rc = 0;

	if (torch_file_container(v->f) == TORCH_SCRIPT && v->device != NULL)
		rc = view_script_constants(v->f, v->device, read, arg, &constants, &entry);
	if (changed)
		change[n++] = (struct zip_change){ torch_file_pickle_entry(v->f), pickle };
	if (entry != NULL)
		change[n++] = (struct zip_change){ entry, &constants };
	if (rc == 0 && v->converts) {
		rc = view_zip_converted(v->f, v->to, change, n, read, arg, l);
	} else if (rc == 0 && n == 0) {
		rc = bridge_layout_range(l, 0, 0, torch_file_size(v->f));
	} else if (rc == 0) {
		rc = zip_write_tail(torch_file_zip(v->f), change, n, &sink);
	}
	byte_buf_release(&constants);
	return rc;
}

static int make(struct view *v, codec_read_at read, void *arg, struct bridge_layout *l)
{
	enum torch_container kind = torch_file_container(v->f);
	bool zipped = kind == TORCH_ZIP || kind == TORCH_SCRIPT, changed = false;
	struct pickle_edits *e = NULL;
	struct byte_buf pickle = { 0 };
	int rc = pickle_edits_new(torch_graph(v->o), &e);

	if (rc == 0)
		rc = edit(v, e);
	if (rc == 0)
		changed = pickle_edits_count(e) > 0;
	if (rc == 0 && changed)
		rc = pickle_edits_apply(e, &pickle);
	pickle_edits_free(e);
	if (rc < 0)
		goto out;
	if (zipped)
		rc = layout_zip(v, &pickle, changed, read, arg, l);
	else if (!changed)
		rc = bridge_layout_range(l, 0, 0, torch_file_size(v->f));
	else
		rc = layout_legacy(v, &pickle, read, arg, l); /* of a lone pickle there is nothing else */
out:
	byte_buf_release(&pickle);
	return rc;
}

int view_torch(const struct bridge_doc *d, const struct bridge_spec *spec, codec_read_at read, void *arg,
		struct bridge_layout *l)
{
	struct view v = { .f = bridge_doc_torch(d), .dtype = spec->dtype };
	int rc = 0;

	v.o = torch_file_object(v.f);
	if (torch_inside(v.o))
		return ckpt_fail(ENOTSUP, "tensors that pickle.dump() wrote, which are not gone into");
	if (spec->device[0] != '\0')
		v.device = spec->device;
	v.all_on_cpu = v.device != NULL && to_accelerator(&v) && all_on_cpu(v.o);
	if (v.dtype >= 0 || v.all_on_cpu)
		rc = view_policy(d, &v.marks);
	if (rc == 0 && v.dtype >= 0)
		rc = decide(&v);
	if (rc == 0)
		rc = make(&v, read, arg, l);
	free(v.marks);
	free(v.to);
	return rc;
}
