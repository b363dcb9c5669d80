/*
 * tree_file.c: what is in the files of a tree: .npy made of ranges of the document, and lines of text.
 *
 * A size is told without reading anything, and from what the object says alone; what is opened later is made
 * to be of that size, or fails.
 */
#include <errno.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "bridge_dtype.h"
#include "bridge_tree_internal.h"
#include "view_policy.h"
#include "view_scalar.h"

/*
 * ---- numpy
 * -----------------------------------------------------------------------------------------------------
 */

bool tree_array(const struct torch_object *o, uint32_t ref, struct torch_array *a, uint64_t *bytes)
{
	uint64_t n = 1;
	bool zero = false, over = false;
	char kind;

	if (!torch_array(o, ref, a) || !view_descr(a->descr, &kind, &n))
		return false;
	for (uint32_t i = 0; i < a->ndim; i++) {
		zero |= a->size[i] == 0;
		over |= a->size[i] != 0 && __builtin_mul_overflow(n, a->size[i], &n);
	}
	if (!zero && (over || n > INT64_MAX))
		return false;
	*bytes = zero ? 0 : n;
	return true;
}

/* A part of a .npy or of a text: what is generated, and what follows in the document. */
struct piece {
	struct byte_buf head;
	uint64_t bytes; /* behind it */
};

static int npy_piece(const char *descr, bool fortran, const uint64_t *size, uint32_t ndim, uint64_t bytes,
		struct piece *out)
{
	if (bytes > INT64_MAX - NPY_HEAD_MAX)
		return ckpt_fail(EFBIG, "an array larger than any file");
	out->bytes = bytes;
	return npy_write_header(descr, fortran, size, ndim, &out->head);
}

/*
 * ---- tensors
 * ---------------------------------------------------------------------------------------------------
 */

/* The dtype a tensor is shown in: what is no plain number, optimizer steps and scales stay as they are. */
static enum torch_dtype shown_dtype(const struct bridge_tree *t, const struct torch_tensor *x)
{
	enum torch_dtype dtype = (enum torch_dtype)x->dtype;
	bool stays = t->dtype < 0 || !torch_dtype_info(dtype)->floating || x->kind != TORCH_STRIDED ||
		     (t->holds != NULL && (t->holds[x->storage] &
							  (VIEW_STEP | VIEW_MOVING_STEP | VIEW_SCALE)) != 0);

	return stays ? dtype : (enum torch_dtype)t->dtype;
}

/*
 * Whether its elements lie one after the other in column-major order: a .npy can say so, and the bytes stay
 * as they are.
 */
static bool by_columns(const struct torch_object *o, const struct torch_tensor *x)
{
	const uint64_t *size = torch_size(o, x), *stride = torch_stride(o, x);
	uint64_t want = 1;

	if (x->count == 0 || torch_contiguous(o, x))
		return false;
	for (uint32_t i = 0; i < x->ndim; i++) {
		if (size[i] == 1)
			continue;
		if (stride[i] != want)
			return false;
		want *= size[i];
	}
	return true;
}

static int tensor_head(
		const struct bridge_tree *t, uint32_t entry, const struct torch_tensor *x, struct piece *out)
{
	const struct torch_object *o = tree_part_of(t, entry)->o;
	enum torch_dtype dtype = shown_dtype(t, x);
	const struct torch_dtype_info *info = torch_dtype_info(dtype);
	const char *descr = info->numpy != NULL ? info->numpy : "<V4"; /* complex32 */

	return npy_piece(descr, by_columns(o, x), torch_size(o, x), x->ndim, x->count * info->width, out);
}

/* Reads a document's part as a file of its own. */
struct shifted {
	codec_read_at read;
	void *arg;
	uint64_t off;
};

static int64_t read_shifted(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct shifted *s = arg;

	return s->read(s->arg, s->off + off, buf, len);
}

static int put_tensor(const struct bridge_tree *t, uint32_t entry, const struct torch_tensor *x,
		struct shifted *in, struct bridge_layout *l)
{
	const struct tree_part *part = tree_part_of(t, entry);
	struct bridge_strided s = { (enum torch_dtype)x->dtype, shown_dtype(t, x), x->conj, x->neg, x->ndim,
		torch_size(part->o, x), torch_stride(part->o, x) };
	uint64_t size[TORCH_DIMS_MAX], stride[TORCH_DIMS_MAX], off, len;
	int rc = torch_file_tensor(part->file, x, read_shifted, in, &off, &len);

	if (rc < 0 || x->count == 0)
		return rc;
	if (by_columns(part->o, x)) {
		for (uint32_t i = 0; i < x->ndim; i++) {
			size[i] = s.size[x->ndim - 1 - i];
			stride[i] = s.stride[x->ndim - 1 - i];
		}
		s.size = size;
		s.stride = stride;
	}
	return bridge_layout_tensor(l, 0, part->off + off, &s);
}

/*
 * ---- storages
 * --------------------------------------------------------------------------------------------------
 */

static uint32_t storage_of(const struct torch_object *o, uint32_t node)
{
	const struct torch_tensor *x = torch_tensor_of(o, node);
	const struct torch_mention *m = x == NULL ? torch_mention_of(o, node) : NULL;

	return x != NULL ? x->storage : m->storage;
}

static int storage_head(const struct torch_object *o, uint32_t storage, struct piece *out)
{
	const struct torch_storage *s = torch_storage_at(o, storage);
	const struct torch_dtype_info *info = torch_dtype_info(s->dtype);

	return npy_piece(info->numpy != NULL ? info->numpy : "|u1", false,
			info->numpy != NULL ? &s->count : &s->bytes, 1, s->bytes, out);
}

/*
 * ---- arrays, strings and bytes
 * ---------------------------------------------------------------------------------
 */

/* Bytes of a pickle as they lie in the file; false where they are written in another way. */
static bool bytes_in_place(const struct tree_part *part, uint32_t ref, uint64_t *off, uint64_t *len)
{
	const struct pickle *g = torch_graph(part->o);
	size_t n, all;
	const char *p = pickle_text(g, ref, &n);
	uint64_t pickle_len;

	if (p == NULL || pickle_kind_of(g, ref) == PICKLE_LONG)
		return false;
	if (torch_kind_of(part->o, ref) == TORCH_IS_STR && pickle_kind_of(g, ref) != PICKLE_STR &&
			pickle_kind_of(g, ref) != PICKLE_STR8)
		return false;
	*off = part->off + torch_file_pickle(part->file, &pickle_len) +
	       (uint64_t)((const uint8_t *)p - pickle_bytes(g, &all));
	*len = n;
	return true;
}

/* Appends bytes to a layout, of which there must be `want`. */
static int put_bytes(const struct tree_part *part, uint32_t ref, uint64_t want, struct bridge_layout *l)
{
	struct byte_buf data = { 0 };
	uint64_t off, len;
	int rc;

	if (bytes_in_place(part, ref, &off, &len)) {
		if (len != want)
			return ckpt_fail(EBADMSG, "an array whose data are of another size");
		return bridge_layout_range(l, 0, off, len);
	}
	rc = torch_bytes(part->o, ref, &data);
	if (rc == -EINVAL || (rc == 0 && data.len != want))
		rc = ckpt_fail(EBADMSG, "an array whose data are of another size");
	if (rc == 0)
		rc = bridge_layout_bytes(l, data.p, data.len);
	byte_buf_release(&data);
	return rc;
}

static int array_head(const struct torch_object *o, uint32_t ref, struct torch_array *a, struct piece *out)
{
	uint64_t bytes;

	if (!tree_array(o, ref, a, &bytes))
		return ckpt_fail(EBADMSG, "a numpy array that is none");
	if (a->descr[0] == '=')
		a->descr[0] = '<';
	return npy_piece(a->descr, a->fortran, a->size, a->ndim, bytes, out);
}

static int opaque_piece(const struct torch_object *o, uint32_t node, struct byte_buf *out)
{
	int rc = byte_buf_put(out, "<", 1);

	if (rc == 0)
		rc = view_class(o, node, out);
	return rc < 0 ? rc : byte_buf_text(out, ">\n");
}

/* Strings are a line, bytes stand as they are; all of it in out->head but what is in place (out->bytes). */
static int value_piece(const struct tree_part *part, uint32_t ref, struct piece *out, uint64_t *off)
{
	enum torch_kind kind = torch_kind_of(part->o, ref);
	int rc;

	if (kind == TORCH_IS_STR || kind == TORCH_IS_BYTES) {
		if (bytes_in_place(part, ref, off, &out->bytes))
			return 0;
		rc = torch_bytes(part->o, ref, &out->head);
		return rc == -EINVAL ? opaque_piece(part->o, ref, &out->head) : rc;
	}
	rc = view_scalar(part->o, ref, &out->head);
	return rc < 0 ? rc : byte_buf_put(&out->head, "\n", 1);
}

/*
 * ---- words
 * -----------------------------------------------------------------------------------------------------
 */

static int put_shape(const struct torch_object *o, const struct torch_tensor *x, struct byte_buf *out)
{
	const uint64_t *size = torch_size(o, x);
	int rc = byte_buf_text(out, "torch.Size([");

	for (uint32_t i = 0; rc == 0 && i < x->ndim; i++)
		rc = byte_buf_format(out, i > 0 ? ", %llu" : "%llu", (unsigned long long)size[i]);
	return rc < 0 ? rc : byte_buf_text(out, "])");
}

/* The class of a tensor that wraps others is what _rebuild_from_type_v2 names second. */
static int put_class(const struct torch_object *o, uint32_t node, struct byte_buf *out)
{
	const struct pickle *g = torch_graph(o);
	const struct pickle_call *c = pickle_call(g, node);
	uint32_t n = 0;
	const uint32_t *a = c != NULL ? pickle_children(g, c->args, &n) : NULL;
	int64_t made = torch_tensor_of(o, node) != NULL && n > 1 ? pickle_global_of(g, a[1]) : -1;

	if (made >= 0)
		return view_global(pickle_global_at(g, (uint32_t)made), out);
	return view_class(o, node, out);
}

static int word_piece(const struct torch_object *o, enum tree_word word, uint32_t node, struct byte_buf *out)
{
	const struct torch_tensor *x = torch_tensor_of(o, node);
	const char *p;
	size_t len;
	int rc;

	switch (word) {
	case WORD_DTYPE:
		rc = byte_buf_format(out, "torch.%s", torch_dtype_info((enum torch_dtype)x->dtype)->name);
		break;
	case WORD_SIZE:
		rc = put_shape(o, x, out);
		break;
	case WORD_LAYOUT:
		p = tree_layout(o, node, &len);
		rc = p != NULL ? byte_buf_put(out, p, len) : byte_buf_text(out, "torch.sparse_coo");
		break;
	case WORD_DEVICE:
		rc = byte_buf_text(out, "meta");
		break;
	default:
		rc = put_class(o, node, out);
	}
	return rc < 0 ? rc : byte_buf_put(out, "\n", 1);
}

/*
 * ---- safetensors and npy
 * ---------------------------------------------------------------------------------------
 */

/* Under their safetensors names; the 6-bit types and others that torch does not have are bytes. */
static enum torch_dtype dtype_of_entry(const struct safetensors_entry *x)
{
	for (int i = 0; i < TORCH_UNTYPED; i++) {
		const char *name = torch_dtype_info((enum torch_dtype)i)->safetensors;

		if (name != NULL && strcmp(name, x->dtype) == 0)
			return (enum torch_dtype)i;
	}
	return TORCH_UNTYPED;
}

static enum torch_dtype entry_becomes(const struct bridge_tree *t, enum torch_dtype dtype)
{
	return t->dtype >= 0 && torch_dtype_info(dtype)->floating ? (enum torch_dtype)t->dtype : dtype;
}

static int entry_head(const struct bridge_tree *t, const struct safetensors_entry *x, struct piece *out)
{
	const struct safetensors *s = bridge_doc_safetensors(t->doc);
	const uint64_t *size = safetensors_size(s, x);
	enum torch_dtype from = dtype_of_entry(x), to = entry_becomes(t, from);
	uint64_t bytes;

	if (from == TORCH_UNTYPED || x->bits % 8 != 0)
		return npy_piece("|V1", false, &x->len, 1, x->len, out);
	if (__builtin_mul_overflow(
			    x->len / torch_dtype_info(from)->width, torch_dtype_info(to)->width, &bytes))
		return ckpt_fail(EFBIG, "an array larger than any file");
	return npy_piece(torch_dtype_info(to)->numpy, false, size, x->ndim, bytes, out);
}

static int put_entry(const struct bridge_tree *t, const struct safetensors_entry *x, struct bridge_layout *l)
{
	enum torch_dtype from = dtype_of_entry(x), to = entry_becomes(t, from);

	if (from == to)
		return bridge_layout_range(l, 0, x->off, x->len);
	return bridge_layout_convert(l, 0, x->off, x->len / torch_dtype_info(from)->width, from, to);
}

static uint64_t npy_place(const struct bridge_tree *t, uint32_t number, uint64_t *len)
{
	const struct npy_header *h = bridge_doc_npy(t->doc);

	if (h == NULL) {
		const struct bridge_member *m = bridge_doc_member(t->doc, number);

		*len = m->len;
		return m->off;
	}
	*len = bridge_doc_size(t->doc);
	return 0;
}

/*
 * ---- all
 * -------------------------------------------------------------------------------------------------------
 */

/* What is generated of a file, and how much follows it in the document. */
static int piece_of(const struct bridge_tree *t, uint32_t entry, struct piece *out, uint64_t *off)
{
	const struct tree_entry *e = &t->entry[entry];
	const struct tree_part *part = t->parts > 0 ? tree_part_of(t, entry) : NULL;
	const struct safetensors *s = bridge_doc_safetensors(t->doc);
	struct torch_array a;

	switch (e->what) {
	case TREE_TENSOR:
		return tensor_head(t, entry, torch_tensor_of(part->o, e->value), out);
	case TREE_STORAGE:
		return storage_head(part->o, storage_of(part->o, e->value), out);
	case TREE_ARRAY:
		return array_head(part->o, e->value, &a, out);
	case TREE_VALUE:
		return value_piece(part, e->value, out, off);
	case TREE_OPAQUE:
		return opaque_piece(part->o, e->value, &out->head);
	case TREE_WORD:
		return word_piece(part->o, (enum tree_word)e->key, e->value, &out->head);
	case TREE_ENTRY:
		return entry_head(t, safetensors_at(s, e->value), out);
	case TREE_PAIR:
		out->bytes = 0;
		return byte_buf_put(&out->head, safetensors_pair_at(s, e->value)->value,
				safetensors_pair_at(s, e->value)->value_len);
	case TREE_NPY:
		*off = npy_place(t, e->value, &out->bytes);
		return 0;
	default:
		return ckpt_fail(EISDIR, "no file");
	}
}

/* A string is a line, whatever it holds. */
static bool ends_in_newline(const struct bridge_tree *t, uint32_t entry)
{
	const struct tree_entry *e = &t->entry[entry];

	return e->what == TREE_PAIR ||
	       (e->what == TREE_VALUE && torch_kind_of(tree_part_of(t, entry)->o, e->value) == TORCH_IS_STR);
}

int tree_file_size(const struct bridge_tree *t, uint32_t entry, uint64_t *out)
{
	struct piece piece = { 0 };
	uint64_t off;
	int rc = piece_of(t, entry, &piece, &off);

	if (rc == 0)
		*out = piece.head.len + piece.bytes + ends_in_newline(t, entry);
	byte_buf_release(&piece.head);
	return rc;
}

/* What follows the generated part. */
static int put_rest(const struct bridge_tree *t, uint32_t entry, uint64_t off, uint64_t len,
		codec_read_at read, void *arg, struct bridge_layout *l)
{
	const struct tree_entry *e = &t->entry[entry];
	const struct tree_part *part = t->parts > 0 ? tree_part_of(t, entry) : NULL;
	struct shifted in = { read, arg, part != NULL ? part->off : 0 };
	struct torch_array a;
	int rc;

	switch (e->what) {
	case TREE_TENSOR:
		return put_tensor(t, entry, torch_tensor_of(part->o, e->value), &in, l);
	case TREE_STORAGE:
		rc = torch_file_storage(part->file, storage_of(part->o, e->value), read_shifted, &in, &off);
		return rc < 0 ? rc : bridge_layout_range(l, 0, part->off + off, len);
	case TREE_ARRAY:
		if (!torch_array(part->o, e->value, &a))
			return ckpt_fail(EBADMSG, "a numpy array that is none");
		return put_bytes(part, a.data, len, l);
	case TREE_ENTRY:
		return put_entry(t, safetensors_at(bridge_doc_safetensors(t->doc), e->value), l);
	default:
		return bridge_layout_range(l, 0, off, len);
	}
}

int tree_file_open(const struct bridge_tree *t, uint32_t entry, codec_read_at read, void *arg,
		struct bridge_layout *l)
{
	struct piece piece = { 0 };
	uint64_t off = 0;
	int rc = piece_of(t, entry, &piece, &off);

	if (rc == 0)
		rc = bridge_layout_bytes(l, piece.head.p, piece.head.len);
	if (rc == 0)
		rc = put_rest(t, entry, off, piece.bytes, read, arg, l);
	if (rc == 0 && ends_in_newline(t, entry))
		rc = bridge_layout_bytes(l, "\n", 1);
	if (rc == 0 && bridge_layout_size(l) != piece.head.len + piece.bytes + ends_in_newline(t, entry))
		rc = ckpt_fail(EBADMSG, "a file of another size than stated");
	byte_buf_release(&piece.head);
	return rc;
}
