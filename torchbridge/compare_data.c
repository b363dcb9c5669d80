/*
 * compare_data.c: see compare_data.h.
 */
#include "compare_data.h"

#include <errno.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "view_facts.h"

static const struct bridge_member *member_of(const struct bridge_doc *d, const struct compare_item *x)
{
	for (size_t i = 0; i < bridge_doc_members(d); i++) {
		const struct bridge_member *m = bridge_doc_member(d, i);

		if (x->npy != NULL ? &m->npy == x->npy : m->torch == x->file)
			return m;
	}
	return NULL;
}

/* A torch file inside another: its offsets count from `base`. */
struct inner {
	const struct bridge_side *side;
	uint64_t base;
};

static int64_t read_inner(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct inner *in = arg;

	return in->side->read(in->side->arg, in->base + off, buf, len);
}

static void set_shape(struct compare_data *d, const uint64_t *size, uint32_t ndim)
{
	d->ndim = ndim < TORCH_DIMS_MAX ? ndim : TORCH_DIMS_MAX;
	memcpy(d->size, size, d->ndim * sizeof(*size));
}

static void set_dtype(struct compare_data *d, enum torch_dtype dtype)
{
	d->dtype = bridge_math_knows(dtype) ? (int)dtype : -1;
	d->width = d->dtype >= 0 ? torch_dtype_info(dtype)->width : 1;
}

static int open_tensor(const struct bridge_side *side, const struct compare_item *x, struct compare_data *d)
{
	const struct torch_object *o = torch_file_object(x->file);
	const struct torch_tensor *t = torch_tensor_of(o, x->node);
	struct inner in = { .side = side };
	struct bridge_strided s;
	uint64_t off, len;
	int rc;

	if (t->storage == PICKLE_NIL)
		return 0;
	if (x->member != NULL)
		in.base = member_of(side->doc, x)->off;
	set_shape(d, torch_size(o, t), t->ndim);
	set_dtype(d, (enum torch_dtype)t->dtype);
	rc = torch_file_tensor(x->file, t, read_inner, &in, &off, &len);
	if (rc == -EINVAL) /* packed elements: the bytes of the storage */
		return 0;
	if (rc < 0)
		return rc;
	s = (struct bridge_strided){ .from = (enum torch_dtype)t->dtype,
		.to = (enum torch_dtype)t->dtype,
		.conj = t->conj,
		.neg = t->neg,
		.ndim = t->ndim,
		.size = torch_size(o, t),
		.stride = torch_stride(o, t) };
	rc = bridge_layout_new(&d->layout);
	return rc < 0 ? rc : bridge_layout_tensor(d->layout, 0, in.base + off, &s);
}

static int open_storage(const struct bridge_side *side, const struct compare_item *x, struct compare_data *d)
{
	const struct torch_object *o = torch_file_object(x->file);
	uint32_t number = torch_mention_of(o, x->node)->storage;
	const struct torch_storage *s = torch_storage_at(o, number);
	struct inner in = { .side = side };
	uint64_t off;
	int rc;

	if (x->member != NULL)
		in.base = member_of(side->doc, x)->off;
	set_shape(d, &s->count, 1);
	set_dtype(d, s->dtype);
	rc = torch_file_storage(x->file, number, read_inner, &in, &off);
	rc = rc < 0 ? rc : bridge_layout_new(&d->layout);
	return rc < 0 ? rc : bridge_layout_range(d->layout, 0, in.base + off, s->bytes);
}

static int open_entry(const struct compare_item *x, struct compare_data *d)
{
	int rc;

	set_shape(d, safetensors_size(x->set, x->entry), x->entry->ndim);
	for (int i = 0; i < TORCH_UNTYPED; i++) {
		const char *name = torch_dtype_info((enum torch_dtype)i)->safetensors;

		if (name != NULL && strcmp(name, x->entry->dtype) == 0)
			set_dtype(d, (enum torch_dtype)i);
	}
	rc = bridge_layout_new(&d->layout);
	return rc < 0 ? rc : bridge_layout_range(d->layout, 0, x->entry->off, x->entry->len);
}

static int open_npy(const struct bridge_side *side, const struct compare_item *x, struct compare_data *d)
{
	const struct npy_header *h = x->npy;
	const struct bridge_member *m =
			bridge_doc_kind(side->doc) == BRIDGE_NPZ ? member_of(side->doc, x) : NULL;
	struct view_row row = { .kind = ROW_NPY, .npy = h };
	struct bridge_strided s;
	uint64_t stride[NPY_DIMS_MAX], step = 1, off = (m != NULL ? m->off : 0) + h->length;
	struct view_facts f;
	int dtype, rc;

	set_shape(d, h->size, h->ndim);
	dtype = view_facts(&row, &f) ? torch_dtype_of_name(f.dtype, strlen(f.dtype)) : -1;
	if (dtype >= 0)
		set_dtype(d, (enum torch_dtype)dtype);
	rc = bridge_layout_new(&d->layout);
	if (rc < 0)
		return rc;
	if (!h->fortran || d->dtype < 0)
		return bridge_layout_range(d->layout, 0, off, h->bytes);
	for (uint32_t i = 0; i < h->ndim; i++) {
		stride[i] = step;
		if (h->count > 0 && __builtin_mul_overflow(step, h->size[i], &step))
			return ckpt_fail(EBADMSG, "npy: a shape beyond all bounds");
	}
	s = (struct bridge_strided){ .from = (enum torch_dtype)dtype,
		.to = (enum torch_dtype)dtype,
		.ndim = h->ndim,
		.size = h->size,
		.stride = stride };
	return bridge_layout_tensor(d->layout, 0, off, &s);
}

int compare_data_open(const struct bridge_side *side, const struct compare_item *x, struct compare_data *out)
{
	int rc = 0;

	*out = (struct compare_data){ .dtype = -1, .width = 1 };
	if (x->kind == ROW_TENSOR)
		rc = open_tensor(side, x, out);
	else if (x->kind == ROW_STORAGE)
		rc = open_storage(side, x, out);
	else if (x->kind == ROW_ENTRY)
		rc = open_entry(x, out);
	else if (x->kind == ROW_NPY)
		rc = open_npy(side, x, out);
	if (out->layout != NULL)
		out->bytes = bridge_layout_size(out->layout);
	return rc < 0 ? rc : 0;
}

void compare_data_release(struct compare_data *d)
{
	bridge_layout_free(d->layout);
	d->layout = NULL;
}

int64_t compare_data_same(const struct bridge_side *a, const struct compare_data *p,
		const struct bridge_side *b, const struct compare_data *q, uint64_t off)
{
	uint64_t len = p->bytes - off, rest = q->bytes - off, at, other;
	uint32_t source;

	if (a->same == NULL || !bridge_layout_is_range(p->layout, off, &len, &source, &at) ||
			!bridge_layout_is_range(q->layout, off, &rest, &source, &other))
		return 0;
	return a->same(a->arg, at, b->arg, other, len < rest ? len : rest);
}

static int64_t read_source(void *arg, uint32_t source, uint64_t off, void *buf, size_t len)
{
	const struct bridge_side *side = arg;

	(void)source;
	return side->read(side->arg, off, buf, len);
}

int compare_data_read(const struct bridge_side *side, const struct compare_data *d, uint64_t off, void *buf,
		size_t len)
{
	struct bridge_side copy = *side;
	const struct bridge_sources src = { .read = read_source, .arg = &copy };

	for (size_t done = 0; done < len;) {
		ssize_t n = bridge_layout_read(
				d->layout, &src, off + done, (uint8_t *)buf + done, len - done);

		if (n < 0)
			return (int)n;
		if (n == 0)
			return ckpt_fail(EIO, "the file has become shorter");
		done += (size_t)n;
	}
	return 0;
}
