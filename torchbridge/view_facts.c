/*
 * view_facts.c: shapes, dtypes and devices of rows.
 */
#include "view_facts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "view_scalar.h"

static void set_text(char *out, size_t room, const char *p, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < room; i++)
		out[n++] = p[i] > ' ' && p[i] < 0x7f ? p[i] : '?';
	out[n] = '\0';
}

static void set_dtype(struct view_facts *f, enum torch_dtype dtype)
{
	snprintf(f->dtype, sizeof f->dtype, "%s", torch_dtype_info(dtype)->name);
}

static void set_storage(const struct torch_object *o, uint32_t storage, struct view_facts *f)
{
	const struct torch_storage *s = torch_storage_at(o, storage);

	f->storage = storage;
	set_text(f->device, sizeof f->device, s->location, s->location_len);
}

static uint64_t part_bytes(const struct torch_tensor *x)
{
	return x->count * torch_dtype_info((enum torch_dtype)x->dtype)->width;
}

/* The last word of "torch.sparse_csr"; a Parameter of a sparse tensor is around it, and only "sparse". */
static const char *compressed_kind(const struct torch_object *o, uint32_t node)
{
	static const char *const kinds[] = { "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc" };
	const struct pickle *g = torch_graph(o);
	uint32_t n = 0;
	const struct pickle_call *c = pickle_call(g, node);
	const uint32_t *a = c != NULL ? pickle_children(g, c->args, &n) : NULL;
	const char *p;
	size_t len;

	c = n > 0 ? pickle_call(g, a[0]) : NULL;
	a = c != NULL ? pickle_children(g, c->args, &n) : NULL;
	p = a != NULL && n == 1 ? pickle_text(g, a[0], &len) : NULL;
	for (size_t i = 0; p != NULL && i < sizeof kinds / sizeof kinds[0]; i++)
		if (len == strlen("torch.") + strlen(kinds[i]) &&
				memcmp(p + strlen("torch."), kinds[i], strlen(kinds[i])) == 0)
			return kinds[i];
	return "sparse";
}

/* The device among the arguments of a call: a torch.device, or its text. */
static void set_argument_device(const struct torch_object *o, uint32_t node, struct view_facts *f)
{
	const struct pickle *g = torch_graph(o);
	const struct pickle_call *c = pickle_call(g, node);
	uint32_t n = 0, inner = 0;
	const uint32_t *a = c != NULL ? pickle_children(g, c->args, &n) : NULL, *b;
	char text[VIEW_DEVICE_MAX];

	for (uint32_t i = 0; i < n; i++) { /* of the call, and of the one that it wraps */
		b = pickle_children(g, a[i], &inner);
		for (uint32_t k = 0; b != NULL && k < inner; k++)
			if (torch_device_text(o, b[k], text, sizeof text))
				set_text(f->device, sizeof f->device, text, strlen(text));
		if (torch_device_text(o, a[i], text, sizeof text))
			set_text(f->device, sizeof f->device, text, strlen(text));
		if (i == 2 && torch_kind_of(o, a[i]) == TORCH_IS_STR) {
			size_t len;
			const char *p = pickle_text(g, a[i], &len);

			set_text(f->device, sizeof f->device, p, len);
		}
	}
}

static void facts_of_parts(const struct torch_object *o, const struct torch_tensor *x, struct view_facts *f)
{
	f->bytes = 0;
	for (int i = 0; i < 4; i++) {
		const struct torch_tensor *part =
				x->part[i] != PICKLE_NIL ? torch_tensor_of(o, x->part[i]) : NULL;

		if (part == NULL)
			continue;
		if (part->storage != PICKLE_NIL)
			set_text(f->device, sizeof f->device, torch_storage_at(o, part->storage)->location,
					torch_storage_at(o, part->storage)->location_len);
		if (__builtin_add_overflow(f->bytes, part_bytes(part), &f->bytes))
			f->bytes = UINT64_MAX;
	}
}

static void facts_of_tensor(const struct torch_object *o, uint32_t node, struct view_facts *f)
{
	static const char *const kind[] = { "strided", "quantized", "meta", "sparse_coo", "sparse", "nested",
		"strided", "wrapper" };
	const struct torch_tensor *x = torch_tensor_of(o, node);

	f->kind = x->kind == TORCH_COMPRESSED ? compressed_kind(o, node) : kind[x->kind];
	set_dtype(f, (enum torch_dtype)x->dtype);
	f->ndim = x->ndim;
	f->size = torch_size(o, x);
	f->count = x->count;
	f->bytes = part_bytes(x);
	f->parameter = x->parameter;
	f->requires_grad = x->requires_grad;
	if (x->storage != PICKLE_NIL) {
		set_storage(o, x->storage, f);
		f->stride = torch_stride(o, x);
		f->offset = x->offset;
		return;
	}
	switch (x->kind) {
	case TORCH_META:
		f->bytes = 0;
		set_text(f->device, sizeof f->device, "meta", 4);
		break;
	case TORCH_COO:
	case TORCH_COMPRESSED:
	case TORCH_NESTED:
		facts_of_parts(o, x, f);
		break;
	case TORCH_WRAPPER: /* what it wraps follows, and is counted there */
		f->bytes = 0;
		set_argument_device(o, node, f);
		break;
	default:
		set_argument_device(o, node, f);
	}
}

static void facts_of_storage(const struct torch_object *o, uint32_t node, struct view_facts *f)
{
	const struct torch_mention *m = torch_mention_of(o, node);
	const struct torch_storage *s = torch_storage_at(o, m->storage);

	f->kind = "storage";
	set_dtype(f, s->dtype);
	set_storage(o, m->storage, f);
	f->ndim = 1;
	f->own[0] = s->count;
	f->count = s->count;
	f->bytes = s->bytes;
}

/* numpy's name of a plain dtype, which is torch's too: "float64"; else the descr. */
static void set_descr(struct view_facts *f, const char *descr, uint64_t *width)
{
	char kind;

	*width = 0;
	if (view_descr(descr, &kind, width) && descr[0] != '>')
		for (int i = 0; i < TORCH_UNTYPED; i++) {
			const struct torch_dtype_info *info = torch_dtype_info((enum torch_dtype)i);

			if (info->numpy != NULL && !info->quantized && info->numpy[1] == kind &&
					kind != 'V' && info->width == *width) {
				set_dtype(f, (enum torch_dtype)i);
				return;
			}
		}
	set_text(f->dtype, sizeof f->dtype, descr, strlen(descr));
}

static void facts_of_array(const struct torch_object *o, uint32_t node, struct view_facts *f)
{
	struct torch_array a;
	uint64_t width, bytes;
	bool over = false;

	f->kind = "ndarray";
	set_text(f->device, sizeof f->device, "cpu", 3);
	if (!torch_array(o, node, &a)) {
		set_text(f->dtype, sizeof f->dtype, "other", 5); /* records, objects, dates */
		return;
	}
	set_descr(f, a.descr, &width);
	f->ndim = a.ndim;
	f->count = 1;
	for (uint32_t i = 0; i < a.ndim; i++) {
		f->own[i] = a.size[i];
		over |= __builtin_mul_overflow(f->count, a.size[i], &f->count);
	}
	f->bytes = over || __builtin_mul_overflow(f->count, width, &bytes) ? 0 : bytes;
}

static void facts_of_entry(const struct view_row *row, struct view_facts *f)
{
	const struct safetensors_entry *x = row->entry;

	f->kind = "strided";
	set_text(f->device, sizeof f->device, "cpu", 3);
	set_text(f->dtype, sizeof f->dtype, x->dtype, strlen(x->dtype));
	for (int i = 0; i < TORCH_UNTYPED; i++) {
		const char *name = torch_dtype_info((enum torch_dtype)i)->safetensors;

		if (name != NULL && strcmp(name, x->dtype) == 0)
			set_dtype(f, (enum torch_dtype)i);
	}
	f->ndim = x->ndim;
	f->size = safetensors_size(row->set, x);
	f->bytes = x->len;
	f->count = x->bits > 0 ? x->len / x->bits * 8 + x->len % x->bits * 8 / x->bits : 0;
}

static void facts_of_npy(const struct npy_header *h, struct view_facts *f)
{
	uint64_t width;

	f->kind = "ndarray";
	set_text(f->device, sizeof f->device, "cpu", 3);
	set_descr(f, h->descr, &width);
	f->ndim = h->ndim;
	f->size = h->size;
	f->count = h->count;
	f->bytes = h->bytes;
}

bool view_facts(const struct view_row *row, struct view_facts *out)
{
	/* Not all of `own`, for speed. */
	out->dtype[0] = out->device[0] = '\0';
	out->ndim = 0;
	out->size = out->own;
	out->stride = NULL;
	out->count = out->bytes = out->offset = 0;
	out->parameter = out->requires_grad = false;
	out->storage = PICKLE_NIL;
	switch (row->kind) {
	case ROW_TENSOR:
		facts_of_tensor(row->o, row->node, out);
		return true;
	case ROW_STORAGE:
		facts_of_storage(row->o, row->node, out);
		return true;
	case ROW_ARRAY:
		facts_of_array(row->o, row->node, out);
		return true;
	case ROW_ENTRY:
		facts_of_entry(row, out);
		return true;
	case ROW_NPY:
		facts_of_npy(row->npy, out);
		return true;
	default:
		return false;
	}
}

static int find_users(struct view_users *u, const struct view_row *row)
{
	uint32_t n = torch_storages(row->o);

	free(u->user);
	u->of = NULL;
	u->user = calloc((size_t)n + 1, sizeof *u->user);
	if (u->user == NULL)
		return ckpt_fail(ENOMEM, "out of memory for %u storages", n);
	u->of = row->file;
	for (uint32_t i = 0; i < torch_place_count(row->places); i++) {
		const struct torch_place *at = torch_place_at(row->places, i);
		const struct torch_tensor *x =
				at->kind == TORCH_IS_TENSOR ? torch_tensor_of(row->o, at->node) : NULL;

		if (x != NULL && x->storage != PICKLE_NIL && u->user[x->storage] == 0)
			u->user[x->storage] = i + 1;
	}
	return 0;
}

int view_users_find(struct view_users *u, const struct view_row *row, uint32_t storage, uint32_t *place)
{
	int rc = u->of != row->file ? find_users(u, row) : 0;

	if (rc < 0)
		return rc;
	*place = storage != PICKLE_NIL ? u->user[storage] - 1 : PICKLE_NIL; /* 0 - 1 is PICKLE_NIL */
	if (*place != PICKLE_NIL && torch_place_at(row->places, *place)->node == row->node)
		*place = PICKLE_NIL;
	return 0;
}

void view_users_release(struct view_users *u)
{
	free(u->user);
	*u = (struct view_users){ 0 };
}

int view_first_path(const struct view_row *row, uint32_t place, struct byte_buf *out)
{
	struct byte_buf path = { 0 };
	int rc = view_path(row->o, row->places, place, &path);

	if (rc == 0 && row->member != NULL)
		rc = byte_buf_text(out, row->member);
	if (rc == 0 && row->member != NULL && path.len > 0)
		rc = byte_buf_put(out, ".", 1);
	if (rc == 0)
		rc = byte_buf_put(out, path.p, path.len);
	byte_buf_release(&path);
	return rc;
}
