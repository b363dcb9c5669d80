/*
 * compare_list.c: see compare_list.h.
 */
#include "compare_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "codec/ckpt_error.h"
#include "view_facts.h"
#include "view_scalar.h"

/* ---- texts ---- */

/* A long text being shortened: its beginning is kept, all of it is hashed. */
struct shorten {
	struct byte_buf *out;
	size_t start; /* of the text in out */
	XXH3_state_t *hash;
	uint64_t len;
};

static int shorten_begin(struct shorten *s, struct byte_buf *out)
{
	s->out = out;
	s->start = out->len;
	s->len = 0;
	s->hash = XXH3_createState();
	if (s->hash == NULL)
		return ckpt_fail(ENOMEM, "compare: out of memory");
	XXH3_128bits_reset(s->hash);
	return 0;
}

static int shorten_put(struct shorten *s, const void *p, size_t len)
{
	size_t has = s->out->len - s->start, room = has < COMPARE_TEXT_MAX ? COMPARE_TEXT_MAX - has : 0;

	XXH3_128bits_update(s->hash, p, len);
	s->len += len;
	return room > 0 ? byte_buf_put(s->out, p, len < room ? len : room) : 0;
}

static int shorten_end(struct shorten *s)
{
	XXH128_hash_t h = XXH3_128bits_digest(s->hash);

	XXH3_freeState(s->hash);
	if (s->len <= COMPARE_TEXT_MAX)
		return 0;
	return byte_buf_format(s->out, "... (%llu bytes, %016llx%016llx)", (unsigned long long)s->len,
			(unsigned long long)h.high64, (unsigned long long)h.low64);
}

static int put_short(struct byte_buf *out, const void *p, size_t len)
{
	struct shorten s;
	int rc = shorten_begin(&s, out);

	if (rc != 0)
		return rc;
	rc = shorten_put(&s, p, len);
	return shorten_end(&s) != 0 || rc != 0 ? -ENOMEM : 0;
}

/* A value as text in `tmp`, whole. Strings in quotes, so that "1" is not 1. */
static int value_text(const struct torch_object *o, uint32_t ref, struct byte_buf *tmp)
{
	const struct pickle *g = torch_graph(o);
	size_t len;
	const char *p;
	int rc;

	switch (torch_kind_of(o, ref)) {
	case TORCH_IS_STR:
		p = pickle_text(g, pickle_target(g, ref), &len);
		rc = byte_buf_put(tmp, "'", 1);
		rc = rc ? rc : byte_buf_put(tmp, p, len);
		return rc ? rc : byte_buf_put(tmp, "'", 1);
	case TORCH_IS_BYTES:
		rc = byte_buf_text(tmp, "b'");
		rc = rc ? rc : torch_bytes(o, ref, tmp);
		return rc ? rc : byte_buf_put(tmp, "'", 1);
	default:
		return view_scalar(o, ref, tmp);
	}
}

/* A list, tuple or set of scalars, item by item. */
static int sequence_text(const struct torch_object *o, uint32_t node, struct byte_buf *out)
{
	struct byte_buf tmp = { 0 };
	struct torch_iter it;
	struct torch_item item;
	struct shorten s;
	bool first = true;
	int rc = view_class(o, node, &tmp);

	rc = rc ? rc : byte_buf_text(&tmp, "[");
	rc = rc ? rc : shorten_begin(&s, out);
	if (rc != 0) {
		byte_buf_release(&tmp);
		return rc;
	}
	rc = shorten_put(&s, tmp.p, tmp.len);
	torch_iter_init(o, node, &it);
	while (rc == 0 && torch_iter_next(&it, &item)) {
		tmp.len = 0;
		if (!first)
			rc = byte_buf_text(&tmp, ", ");
		first = false;
		rc = rc ? rc : value_text(o, item.value, &tmp);
		rc = rc ? rc : shorten_put(&s, tmp.p, tmp.len);
	}
	rc = rc ? rc : shorten_put(&s, "]", 1);
	byte_buf_release(&tmp);
	return shorten_end(&s) != 0 && rc == 0 ? -ENOMEM : rc;
}

/* "float32[2, 3]"; other kinds of tensors by their names before it. */
static int shape_text(const struct view_facts *f, struct byte_buf *out)
{
	int rc = 0;

	if (strcmp(f->kind, "strided") != 0 && strcmp(f->kind, "quantized") != 0)
		rc = byte_buf_format(out, "%s ", f->kind);
	rc = rc ? rc : byte_buf_format(out, "%s[", f->dtype);
	for (uint32_t i = 0; i < f->ndim && rc == 0; i++)
		rc = byte_buf_format(out, "%s%llu", i > 0 ? ", " : "", (unsigned long long)f->size[i]);
	return rc ? rc : byte_buf_text(out, "]");
}

/* The bytes of a numpy array inside the pickle. */
static int array_text(const struct view_row *row, struct byte_buf *out, bool *unknown)
{
	struct torch_array a;
	struct byte_buf data = { 0 };
	int rc;

	*unknown = !torch_array(row->o, row->node, &a) || a.data == PICKLE_NIL;
	if (*unknown)
		return 0;
	rc = torch_bytes(row->o, a.data, &data);
	if (rc == 0) {
		XXH128_hash_t h = XXH3_128bits(data.p, data.len);

		rc = byte_buf_format(out, "%s (%zu bytes, %016llx%016llx)", a.fortran ? " by columns" : "",
				data.len, (unsigned long long)h.high64, (unsigned long long)h.low64);
	}
	byte_buf_release(&data);
	return rc;
}

/* What stands beside the numbers: of a quantized tensor scale and zero point, where they are no tensors. */
static int tensor_marks(const struct view_row *row, const struct torch_tensor *t, struct byte_buf *out)
{
	static const char *const name[4] = { "", "scale ", "zero point ", "axis " };
	int rc = 0;

	for (int i = 0; i < 4 && t->kind == TORCH_QUANTIZED && rc == 0; i++) {
		if (t->part[i] == PICKLE_NIL || !view_is_scalar(row->o, t->part[i]))
			continue;
		rc = byte_buf_format(out, " %s", name[i]);
		rc = rc ? rc : view_scalar(row->o, t->part[i], out);
	}
	return rc;
}

static int row_text(const struct view_row *row, struct byte_buf *out, bool *unknown)
{
	struct byte_buf tmp = { 0 };
	struct view_facts f;
	int rc = 0;

	*unknown = false;
	if (view_facts(row, &f)) {
		rc = shape_text(&f, out);
		if (rc == 0 && row->kind == ROW_TENSOR)
			rc = tensor_marks(row, torch_tensor_of(row->o, row->node), out);
		return rc == 0 && row->kind == ROW_ARRAY ? array_text(row, out, unknown) : rc;
	}
	switch (row->kind) {
	case ROW_VALUE:
		rc = value_text(row->o, row->node, &tmp);
		rc = rc ? rc : put_short(out, tmp.p, tmp.len);
		break;
	case ROW_PAIR:
		rc = put_short(out, row->pair->value, row->pair->value_len);
		break;
	case ROW_SEQUENCE:
		rc = sequence_text(row->o, row->node, out);
		break;
	case ROW_OBJECT:
		rc = view_class(row->o, row->node, out);
		break;
	case ROW_REFERENCE:
		rc = byte_buf_text(out, "the same as ");
		rc = rc ? rc : view_first_path(row, row->first, out);
		break;
	default:
		*unknown = true;
		rc = byte_buf_text(out, row->kind == ROW_DEEP ? "nested too deep" : "not understood");
	}
	byte_buf_release(&tmp);
	return rc;
}

/* ---- items ---- */

static int add(struct compare_list *l, const struct view_row *row, const char *suffix)
{
	struct compare_item x = { .kind = row->kind,
		.node = row->node,
		.file = row->file,
		.member = row->member,
		.set = row->set,
		.entry = row->entry,
		.npy = row->npy,
		.next = COMPARE_NIL };
	int rc;

	if (l->count == l->cap) {
		uint32_t cap = l->cap > 0 ? l->cap * 2 : 64;
		struct compare_item *grown =
				cap < COMPARE_NIL / 2 ? reallocarray(l->item, cap, sizeof(*grown)) : NULL;

		if (grown == NULL)
			return ckpt_fail(ENOMEM, "compare: out of memory");
		l->item = grown;
		l->cap = cap;
	}
	x.path = l->texts.len;
	rc = byte_buf_put(&l->texts, row->path, row->path_len);
	rc = rc ? rc : byte_buf_put(&l->texts, suffix, strlen(suffix) + 1);
	x.text = l->texts.len;
	rc = rc ? rc : row_text(row, &l->texts, &x.unknown);
	rc = rc ? rc : byte_buf_put(&l->texts, "", 1);
	if (rc == 0)
		l->item[l->count++] = x;
	return rc;
}

int compare_list_add(struct compare_list *l, const struct view_row *row)
{
	static const char *const names[][4] = {
		[TORCH_QUANTIZED] = { NULL, ".scale", ".zero_point" },
		[TORCH_COO] = { ".indices", ".values" },
		[TORCH_COMPRESSED] = { ".compressed_indices", ".plain_indices", ".values" },
		[TORCH_NESTED] = { ".buffer", ".sizes", ".strides", ".offsets" },
		[TORCH_COPY] = { ".data" },
	};
	const struct torch_tensor *t;
	int rc = add(l, row, "");

	if (rc != 0 || row->kind != ROW_TENSOR)
		return rc;
	t = torch_tensor_of(row->o, row->node);
	if (t->kind >= sizeof(names) / sizeof(names[0]))
		return 0;
	for (int i = 0; i < 4 && rc == 0; i++) {
		struct view_row part = *row;

		if (t->part[i] == PICKLE_NIL || names[t->kind][i] == NULL ||
				torch_tensor_of(row->o, t->part[i]) == NULL)
			continue;
		part.node = pickle_target(torch_graph(row->o), t->part[i]);
		rc = add(l, &part, names[t->kind][i]);
	}
	return rc;
}

static uint32_t slot(const struct compare_list *l, const char *path)
{
	return (uint32_t)XXH3_64bits(path, strlen(path)) & (l->heads - 1);
}

static int add_row(void *arg, const struct view_row *row)
{
	return compare_list_add(arg, row);
}

int compare_list_make(struct compare_list *l, const struct bridge_doc *d)
{
	int rc = view_rows(d, add_row, l);

	if (rc != 0)
		return rc;
	l->heads = 16;
	while (l->heads < l->count && l->heads < UINT32_C(1) << 30)
		l->heads *= 2;
	l->head = malloc(l->heads * sizeof(*l->head));
	if (l->head == NULL)
		return ckpt_fail(ENOMEM, "compare: out of memory");
	memset(l->head, 0xff, l->heads * sizeof(*l->head));
	/* Backwards, so that of equal paths the first comes first. */
	for (uint32_t i = l->count; i-- > 0;) {
		uint32_t *head = &l->head[slot(l, compare_path(l, &l->item[i]))];

		l->item[i].next = *head;
		*head = i;
	}
	return 0;
}

struct compare_item *compare_list_take(struct compare_list *l, const char *path)
{
	uint32_t *at = &l->head[slot(l, path)];

	for (; *at != COMPARE_NIL; at = &l->item[*at].next) {
		struct compare_item *x = &l->item[*at];

		if (strcmp(compare_path(l, x), path) == 0) {
			/* Out of the chain: a path a million times over is as fast as a million paths. */
			*at = x->next;
			x->used = true;
			return x;
		}
	}
	return NULL;
}

void compare_list_clear(struct compare_list *l)
{
	l->count = 0;
	l->texts.len = 0;
}

void compare_list_release(struct compare_list *l)
{
	free(l->item);
	free(l->head);
	byte_buf_release(&l->texts);
	*l = (struct compare_list){ 0 };
}
