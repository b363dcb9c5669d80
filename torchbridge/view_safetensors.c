/*
 * view_safetensors.c: the tensors of a torch file as a safetensors file.
 *
 * The object is gone through in its order; a tensor's name is its path (view_key.h): keys and indices joined
 * by '.'.  A file that is one tensor has it as "tensor".  What does not fit the format's one kind of tensor:
 *
 *   shared       of tensors that are the same elements of one storage the first is written; the others are
 *                pairs of __metadata__, dropped name -> kept name, as safetensors.torch.save_model() records them
 *   views        expanded, transposed, sliced: their elements, one after the other
 *   sparse       NAME.indices, NAME.values; NAME.crow_indices, NAME.col_indices, NAME.values (CSR, BSR; CSC and BSC
 *                likewise)
 *   nested       NAME.buffer, NAME.sizes, NAME.strides, NAME.offsets
 *   quantized    NAME.int_repr, and NAME.scale and NAME.zero_point as metadata, or NAME.scales, NAME.zero_points as
 *                tensors and NAME.axis as metadata
 *   complex      of a width that the format lacks: NAME.view_as_real, the real and imaginary parts in a last
 *                dimension of 2
 *   bits         NAME.bits, as unsigned integers
 *   wrappers     (DTensor) the tensors that they wrap, under their paths
 *
 * What has no data here (meta tensors) or several elements in a byte (quint4x2) is left out; the pair skipped.NAME
 * of __metadata__ says why.  Numbers and short strings of a dict at the root are metadata, too.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge_view.h"
#include "codec/ckpt_error.h"
#include "codec/read_window.h"
#include "view_header.h"
#include "view_internal.h"
#include "view_key.h"
#include "view_policy.h"
#include "view_rows.h"
#include "view_scalar.h"

enum {
	PAIRS_MAX = 64,  /* scalars of the root */
	VALUE_MAX = 256, /* bytes of one */
};

/* Which tensors have been written: by what they are, to the name they have. */
struct seen {
	uint32_t tensor; /* number + 1; 0: free */
	size_t name, name_len;
};

struct maker {
	const struct torch_file *f;
	const struct torch_object *o;
	int dtype;
	const uint8_t *marks; /* NULL with dtype -1 */
	codec_read_at read;
	void *arg;
	struct view_header *h;
	struct byte_buf path, names;
	struct seen *seen;
	size_t seen_places;
	uint8_t *met; /* a bit for each node: containers */
	unsigned pairs;
};

struct level {
	struct torch_iter it;
	size_t path; /* its length without this level's key */
};

static int no_room(void)
{
	return ckpt_fail(ENOMEM, "out of memory for the tensors of a view");
}

/*
 * ---- one tensor
 * ------------------------------------------------------------------------------------------------
 */

static int refuse(const struct maker *m, const char *why)
{
	return ckpt_fail(ENOTSUP, "tensor '%.*s': %s", (int)(m->path.len & 0x1ff), (const char *)m->path.p,
			why);
}

/* Notes that the tensor at the path is left out. */
static int skip(struct maker *m, const char *why)
{
	struct byte_buf key = { 0 };
	int rc = byte_buf_text(&key, "skipped.");

	rc = rc ? rc : byte_buf_put(&key, m->path.p, m->path.len);
	rc = rc ? rc : view_header_pair(m->h, (const char *)key.p, key.len, why, strlen(why));
	byte_buf_release(&key);
	return rc;
}

static bool same_elements(
		const struct torch_object *o, const struct torch_tensor *a, const struct torch_tensor *b)
{
	return a->storage == b->storage && a->offset == b->offset && a->dtype == b->dtype &&
	       a->ndim == b->ndim && a->conj == b->conj && a->neg == b->neg &&
	       memcmp(torch_size(o, a), torch_size(o, b), a->ndim * sizeof(uint64_t)) == 0 &&
	       memcmp(torch_stride(o, a), torch_stride(o, b), a->ndim * sizeof(uint64_t)) == 0;
}

/* The place in the table for these elements: taken by a tensor with the same ones, or free. */
static struct seen *place_of(const struct maker *m, const struct torch_tensor *t)
{
	uint64_t hash = (t->storage + 1) * UINT64_C(0x9e3779b97f4a7c15) ^
			t->offset * UINT64_C(0xc2b2ae3d27d4eb4f);
	size_t i;

	for (unsigned k = 0; k < t->ndim; k++)
		hash = (hash ^ torch_size(m->o, t)[k]) * UINT64_C(0x9e3779b97f4a7c15);
	for (i = (hash ^ hash >> 32) & (m->seen_places - 1); m->seen[i].tensor != 0;
			i = (i + 1) & (m->seen_places - 1))
		if (same_elements(m->o, torch_tensor_at(m->o, m->seen[i].tensor - 1), t))
			break;
	return &m->seen[i];
}

/* Behind the name of a tensor whose elements the format has another dtype for. */
static const char *suffix_of(enum torch_dtype dtype)
{
	switch (dtype) {
	case TORCH_COMPLEX32:
	case TORCH_COMPLEX128:
		return ".view_as_real";
	case TORCH_BITS8:
	case TORCH_BITS16:
	case TORCH_BITS1X8:
	case TORCH_BITS2X4:
	case TORCH_BITS4X2:
		return ".bits";
	default:
		return "";
	}
}

/* The format's name for a dtype; quantized ones are seen as the integers they are stored as. */
static const char *format_dtype(enum torch_dtype dtype)
{
	switch (dtype) {
	case TORCH_COMPLEX32:
		return "F16";
	case TORCH_COMPLEX128:
		return "F64";
	case TORCH_BITS8:
	case TORCH_BITS1X8:
	case TORCH_BITS2X4:
	case TORCH_BITS4X2:
		return "U8";
	case TORCH_BITS16:
		return "U16";
	case TORCH_QINT8:
		return "I8";
	case TORCH_QUINT8:
		return "U8";
	case TORCH_QINT32:
		return "I32";
	default:
		return torch_dtype_info(dtype)->safetensors;
	}
}

/* The number of a tensor, for the table. Tensors are in one array. */
static uint32_t number_of(const struct maker *m, const struct torch_tensor *t)
{
	return (uint32_t)(t - torch_tensor_at(m->o, 0));
}

/* A tensor with a storage, under the path as it stands now, its suffix included. */
static int put_elements(struct maker *m, const struct torch_tensor *t)
{
	struct view_header_tensor x = { .from = (enum torch_dtype)t->dtype,
		.to = (enum torch_dtype)t->dtype,
		.conj = t->conj,
		.neg = t->neg,
		.ndim = t->ndim,
		.size = torch_size(m->o, t),
		.stride = torch_stride(m->o, t),
		.packed = t->dtype == TORCH_FLOAT4_E2M1FN_X2,
		.twin = t->dtype == TORCH_COMPLEX32 || t->dtype == TORCH_COMPLEX128 };
	const char *name = (const char *)m->path.p;
	struct seen *s = place_of(m, t);
	uint64_t len;
	int rc;

	if (s->tensor != 0 && t->count > 0)
		return view_header_pair(
				m->h, name, m->path.len, (const char *)m->names.p + s->name, s->name_len);
	if (m->dtype >= 0 && torch_dtype_info(x.from)->floating &&
			(m->marks[t->storage] & (VIEW_STEP | VIEW_MOVING_STEP | VIEW_SCALE)) == 0)
		x.to = (enum torch_dtype)m->dtype;
	x.dtype = format_dtype(x.to);
	if (x.dtype == NULL)
		return skip(m, torch_dtype_info(x.from)->name);
	if (x.packed && t->ndim == 0)
		return skip(m, "pairs of 4-bit floats in no dimension");
	rc = torch_file_tensor(m->f, t, m->read, m->arg, &x.off, &len);
	if (rc < 0)
		return rc;
	if (__builtin_mul_overflow(t->count, (uint64_t)torch_dtype_info(x.to)->width, &x.bytes))
		return ckpt_fail(EFBIG, "a tensor that is too large");
	if (s->tensor == 0) {
		*s = (struct seen){ number_of(m, t) + 1, m->names.len, m->path.len };
		rc = byte_buf_put(&m->names, name, m->path.len);
	}
	return rc < 0 ? rc : view_header_add(m->h, name, m->path.len, &x);
}

static int put_strided(struct maker *m, const struct torch_tensor *t)
{
	size_t was = m->path.len;
	int rc = byte_buf_text(&m->path, suffix_of((enum torch_dtype)t->dtype));

	rc = rc ? rc : put_elements(m, t);
	m->path.len = was;
	return rc;
}

/* A part of the tensor at the path. */
static int put_part(struct maker *m, const char *name, uint32_t node)
{
	const struct torch_tensor *t = node != PICKLE_NIL ? torch_tensor_of(m->o, node) : NULL;
	size_t was = m->path.len;
	int rc;

	if (t == NULL || t->storage == PICKLE_NIL || t->kind != TORCH_STRIDED)
		return refuse(m, "a part of it is no plain tensor");
	rc = byte_buf_format(&m->path, ".%s", name);
	if (rc == 0)
		rc = put_strided(m, t);
	m->path.len = was;
	return rc;
}

/* A scalar of the tensor at the path, or of the object, as metadata. */
static int put_pair(struct maker *m, const char *name, uint32_t node)
{
	struct byte_buf value = { 0 };
	size_t was = m->path.len;
	int rc = byte_buf_format(&m->path, ".%s", name);

	if (rc == 0)
		rc = view_scalar(m->o, node, &value);
	if (rc == 0)
		rc = view_header_pair(
				m->h, (const char *)m->path.p, m->path.len, (const char *)value.p, value.len);
	m->path.len = was;
	byte_buf_release(&value);
	return rc;
}

/* part: (scheme, scale, zero point) or (scheme, scales, zero points, axis). */
static int put_quantized(struct maker *m, const struct torch_tensor *t)
{
	size_t was = m->path.len;
	int rc;

	if (t->part[1] == PICKLE_NIL || t->part[2] == PICKLE_NIL)
		return refuse(m, "it is not quantized as torch does");
	if (torch_dtype_info((enum torch_dtype)t->dtype)->packed)
		return skip(m, torch_dtype_info((enum torch_dtype)t->dtype)->name);
	rc = byte_buf_text(&m->path, ".int_repr");
	if (rc == 0)
		rc = put_strided(m, t);
	m->path.len = was;
	if (rc < 0)
		return rc;
	if (t->part[3] == PICKLE_NIL) {
		rc = put_pair(m, "scale", t->part[1]);
		return rc < 0 ? rc : put_pair(m, "zero_point", t->part[2]);
	}
	rc = put_part(m, "scales", t->part[1]);
	if (rc == 0)
		rc = put_part(m, "zero_points", t->part[2]);
	return rc < 0 ? rc : put_pair(m, "axis", t->part[3]);
}

/* The layout's name is the first argument of the call that is a tensor's first argument. */
static bool by_columns(const struct maker *m, const struct torch_tensor *t)
{
	const struct pickle *g = torch_graph(m->o);
	const struct pickle_call *c = pickle_call(g, t->node);
	const uint32_t *a = NULL;
	uint32_t n = 0;

	if (c != NULL)
		a = pickle_children(g, c->args, &n);
	c = n > 0 ? pickle_call(g, a[0]) : NULL;
	a = c != NULL ? pickle_children(g, c->args, &n) : NULL;
	return a != NULL && n > 0 &&
	       (pickle_is_text(g, a[0], "torch.sparse_csc") || pickle_is_text(g, a[0], "torch.sparse_bsc"));
}

static int put_tensor(struct maker *m, const struct torch_tensor *t)
{
	static const char *const coo[] = { "indices", "values", NULL };
	static const char *const rows[] = { "crow_indices", "col_indices", "values", NULL };
	static const char *const columns[] = { "ccol_indices", "row_indices", "values", NULL };
	static const char *const nested[] = { "buffer", "sizes", "strides", "offsets", NULL };
	const char *const *parts = NULL;
	int rc = 0;

	switch ((enum torch_tensor_kind)t->kind) {
	case TORCH_STRIDED:
		return put_strided(m, t);
	case TORCH_QUANTIZED:
		return put_quantized(m, t);
	case TORCH_COPY:
		t = t->part[0] != PICKLE_NIL ? torch_tensor_of(m->o, t->part[0]) : NULL;
		return t != NULL && t->kind == TORCH_STRIDED ? put_strided(m, t)
							     : skip(m, "its data are elsewhere");
	case TORCH_META:
		return skip(m, "on the meta device");
	case TORCH_WRAPPER: /* what it wraps follows */
		return 0;
	case TORCH_COO:
		parts = coo;
		break;
	case TORCH_COMPRESSED:
		parts = by_columns(m, t) ? columns : rows;
		break;
	case TORCH_NESTED:
		parts = nested;
		break;
	}
	for (unsigned i = 0; rc == 0 && parts[i] != NULL; i++)
		if (t->kind != TORCH_NESTED || i == 0 || t->part[i] != PICKLE_NIL)
			rc = put_part(m, parts[i], t->part[i]);
	return rc;
}

/*
 * ---- the object
 * ------------------------------------------------------------------------------------------------
 */

/* A scalar of the root's dict. */
static int put_scalar(struct maker *m, uint32_t ref)
{
	struct byte_buf value = { 0 };
	const struct pickle *g = torch_graph(m->o);
	size_t len;
	const char *p = pickle_text(g, ref, &len);
	int rc = 0;

	if (m->pairs == PAIRS_MAX || view_header_has(m->h, (const char *)m->path.p, m->path.len))
		return 0;
	switch (torch_kind_of(m->o, ref)) {
	case TORCH_IS_STR:
		rc = byte_buf_put(&value, p, len);
		break;
	case TORCH_IS_BOOL:
	case TORCH_IS_INT:
	case TORCH_IS_FLOAT:
		rc = view_scalar(m->o, ref, &value);
		break;
	default:
		return 0;
	}
	if (rc == 0 && value.len <= VALUE_MAX && m->path.len <= VALUE_MAX) {
		rc = view_header_pair(
				m->h, (const char *)m->path.p, m->path.len, (const char *)value.p, value.len);
		m->pairs++;
	}
	byte_buf_release(&value);
	return rc;
}

/* 1 for a container that is met first, else 0. */
static int meet_container(struct maker *m, uint32_t node)
{
	if ((m->met[node / 8] >> node % 8 & 1) != 0)
		return 0;
	m->met[node / 8] |= (uint8_t)(1 << node % 8);
	return 1;
}

/*
 * What lies at the path: a tensor or scalar is dealt with; 1 for a container that is met first, *into: that, or
 * the attributes of a tensor.
 */
static int meet(struct maker *m, uint32_t ref, unsigned depth, uint32_t *into)
{
	uint32_t node = pickle_target(torch_graph(m->o), ref);
	const struct torch_tensor *t;
	int rc;

	*into = node;

	switch (torch_kind_of(m->o, node)) {
	case TORCH_IS_TENSOR:
		t = torch_tensor_of(m->o, node);
		rc = depth == 0 && m->path.len == 0 ? byte_buf_text(&m->path, "tensor") : 0;
		if (rc == 0 && t != NULL)
			rc = put_tensor(m, t);
		*into = view_tensor_state(m->o, node);
		return rc < 0 || *into == PICKLE_NIL ? rc : meet_container(m, node);
	case TORCH_IS_DICT:
	case TORCH_IS_LIST:
	case TORCH_IS_TUPLE:
	case TORCH_IS_SET:
	case TORCH_IS_OBJECT:
		return meet_container(m, node);
	default:
		return depth == 1 && torch_kind_of(m->o, pickle_root(torch_graph(m->o))) == TORCH_IS_DICT
				       ? put_scalar(m, ref)
				       : 0;
	}
}

static int walk(struct maker *m, struct level *stack)
{
	uint32_t root = pickle_root(torch_graph(m->o));
	uint32_t into;
	unsigned depth = 0;
	int rc = meet(m, root, 0, &into);

	if (rc == 1) {
		torch_iter_init(m->o, into, &stack[0].it);
		stack[0].path = into == pickle_target(torch_graph(m->o), root) ? 0 : m->path.len;
		depth = 1;
	}
	while (rc >= 0 && depth > 0) {
		struct level *top = &stack[depth - 1];
		struct torch_item item;

		m->path.len = top->path;
		if (!torch_iter_next(&top->it, &item)) {
			depth--;
			continue;
		}
		rc = view_path_add(m->o, &item, 0, &m->path);
		if (rc == 0)
			rc = meet(m, item.value, depth, &into);
		if (rc == 1 && depth == TORCH_DEPTH_MAX)
			return ckpt_fail(ENOTSUP, "an object nested more than %d levels deep",
					TORCH_DEPTH_MAX);
		if (rc != 1)
			continue;
		torch_iter_init(m->o, into, &stack[depth].it);
		stack[depth].path = m->path.len;
		depth++;
	}
	return rc < 0 ? rc : 0;
}

static int make(const struct bridge_doc *d, int dtype, codec_read_at read, void *arg, struct bridge_layout *l)
{
	struct maker m = { .f = bridge_doc_torch(d), .dtype = dtype, .read = read_window_read };
	struct read_window *window = NULL;
	struct level *stack = calloc(TORCH_DEPTH_MAX, sizeof *stack);
	uint8_t *marks = NULL;
	int rc = stack == NULL ? no_room() : view_header_new(&m.h);

	m.o = torch_file_object(m.f);
	m.seen_places = 16;
	while (m.seen_places < 2 * (size_t)torch_tensors(m.o))
		m.seen_places *= 2;
	m.seen = calloc(m.seen_places, sizeof *m.seen);
	m.met = calloc(pickle_count(torch_graph(m.o)) / 8 + 1, 1);
	if (rc == 0 && (m.seen == NULL || m.met == NULL))
		rc = no_room();
	if (rc == 0)
		rc = byte_buf_reserve(&m.path, 256);
	if (rc == 0)
		rc = read_window_new(read, arg, &window);
	m.arg = window;
	if (rc == 0 && dtype >= 0)
		rc = view_policy(d, &marks);
	m.marks = marks;
	if (rc == 0)
		rc = view_header_pair(m.h, "format", 6, "pt", 2);
	if (rc == 0)
		rc = walk(&m, stack);
	if (rc == 0)
		rc = view_header_finish(m.h, l);
	view_header_free(m.h);
	byte_buf_release(&m.path);
	byte_buf_release(&m.names);
	free(window);
	free(marks);
	free(m.seen);
	free(m.met);
	free(stack);
	return rc;
}

int bridge_view_safetensors(const struct bridge_doc *d, const struct bridge_spec *spec, codec_read_at read,
		void *arg, struct bridge_layout **out)
{
	const struct torch_file *f = bridge_doc_torch(d);
	const struct safetensors *s = bridge_doc_safetensors(d);
	struct bridge_layout *l;
	int rc;

	if (f == NULL && (s == NULL || spec->dtype < 0))
		return ckpt_fail(EINVAL, "no torch file");
	if (f != NULL && torch_file_container(f) == TORCH_PICKLE && torch_tensors(torch_file_object(f)) == 0)
		return ckpt_fail(EINVAL, "a pickle without tensors");
	rc = bridge_layout_new(&l);
	if (rc < 0)
		return rc;
	rc = f != NULL ? make(d, spec->dtype, read, arg, l)
		       : view_tensors_dtype(s, (enum torch_dtype)spec->dtype, l);
	if (rc < 0) {
		bridge_layout_free(l);
		return rc;
	}
	*out = l;
	return 0;
}

/*
 * ---- from safetensors to safetensors
 * ---------------------------------------------------------------------------
 */

/* The dtype of that name in the format; TORCH_UNTYPED for those torch has none for (6-bit floats). */
static enum torch_dtype dtype_of(const char *name)
{
	for (int i = 0; i < TORCH_UNTYPED; i++) {
		const char *is = torch_dtype_info((enum torch_dtype)i)->safetensors;

		if (is != NULL && strcmp(is, name) == 0)
			return (enum torch_dtype)i;
	}
	return TORCH_UNTYPED;
}

int view_tensors_dtype(const struct safetensors *s, enum torch_dtype dtype, struct bridge_layout *l)
{
	struct view_header *h;
	int rc = view_header_new(&h);

	if (rc < 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < safetensors_pairs(s); i++) {
		const struct safetensors_pair *p = safetensors_pair_at(s, i);

		rc = view_header_pair(h, p->key, p->key_len, p->value, p->value_len);
	}
	for (size_t i = 0; rc == 0 && i < safetensors_count(s); i++) {
		const struct safetensors_entry *e = safetensors_at(s, i);
		struct view_header_tensor x = { .dtype = e->dtype,
			.from = dtype_of(e->dtype),
			.ndim = e->ndim,
			.size = safetensors_size(s, e),
			.off = e->off,
			.bytes = e->len };

		x.to = torch_dtype_info(x.from)->floating ? dtype : x.from;
		if (x.to != x.from) {
			x.dtype = torch_dtype_info(x.to)->safetensors;
			x.bytes = e->len / torch_dtype_info(x.from)->width * torch_dtype_info(x.to)->width;
		}
		rc = view_header_add(h, e->name, e->name_len, &x);
	}
	if (rc == 0)
		rc = view_header_finish(h, l);
	view_header_free(h);
	return rc;
}
