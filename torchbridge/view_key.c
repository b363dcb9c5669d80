/*
 * view_key.c: keys and paths as text.
 */
#include "view_key.h"

#include <string.h>

#include "view_scalar.h"

enum { TUPLE_MAX = 16 };

static int put_odd(const struct torch_object *o, uint32_t key, struct byte_buf *out)
{
	const struct torch_tensor *x = torch_tensor_of(o, key);
	const struct torch_storage *s;

	if (x == NULL || x->storage == PICKLE_NIL)
		return byte_buf_text(out, x != NULL ? "<tensor>" : "<object>");
	s = torch_storage_at(o, x->storage);
	return byte_buf_format(out, "<tensor %.*s>", (int)(s->key_len & 0xff), s->key);
}

static int put_text(const struct torch_object *o, uint32_t key, const char *quote, struct byte_buf *out)
{
	size_t len;
	const char *p = pickle_text(torch_graph(o), key, &len);
	int rc = byte_buf_text(out, quote);

	if (rc == 0)
		rc = byte_buf_put(
				out, p, len <= VIEW_KEY_MAX ? len : VIEW_KEY_MAX + 1); /* cut by the caller */
	return rc < 0 ? rc : byte_buf_text(out, quote);
}

/* A tuple of plain values as Python prints it; one of others, or a long one, is <tuple>. */
static int put_tuple(const struct torch_object *o, uint32_t key, struct byte_buf *out)
{
	uint32_t n;
	const uint32_t *c = pickle_children(torch_graph(o), key, &n);
	int rc;

	for (uint32_t i = 0; i < n && n <= TUPLE_MAX; i++)
		if (torch_kind_of(o, c[i]) != TORCH_IS_STR &&
				(!view_is_scalar(o, c[i]) || view_is_long(o, c[i])))
			n = TUPLE_MAX + 1;
	if (n > TUPLE_MAX)
		return byte_buf_text(out, "<tuple>");
	rc = byte_buf_put(out, "(", 1);
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		rc = torch_kind_of(o, c[i]) == TORCH_IS_STR ? put_text(o, c[i], "'", out)
							    : view_scalar(o, c[i], out);
		if (rc == 0)
			rc = byte_buf_text(out, i + 1 < n ? ", " : n == 1 ? "," : "");
	}
	return rc < 0 ? rc : byte_buf_put(out, ")", 1);
}

int view_key(const struct torch_object *o, uint32_t key, struct byte_buf *out)
{
	switch (torch_kind_of(o, key)) {
	case TORCH_IS_STR:
		return put_text(o, key, "", out);
	case TORCH_IS_BYTES:
		return view_is_long(o, key) || torch_bytes(o, key, out) < 0 ? put_odd(o, key, out) : 0;
	case TORCH_IS_TUPLE:
		return put_tuple(o, key, out);
	default:
		return view_is_scalar(o, key) && !view_is_long(o, key) ? view_scalar(o, key, out)
								       : put_odd(o, key, out);
	}
}

/* Cuts what was appended since `from` to `most` bytes, before a whole character of UTF-8. */
static int cut(struct byte_buf *b, size_t from, size_t most)
{
	if (b->len - from <= most)
		return 0;
	b->len = from + most - 3;
	while (b->len > from && (b->p[b->len] & 0xc0) == 0x80)
		b->len--;
	return byte_buf_text(b, "...");
}

int view_path_add(const struct torch_object *o, const struct torch_item *item, size_t start,
		struct byte_buf *path)
{
	size_t was = path->len;
	int rc = 0;

	if (was - start >= VIEW_PATH_MAX - 3) /* it has been cut already */
		return 0;
	if (was > start)
		rc = byte_buf_put(path, ".", 1);
	if (rc < 0)
		return rc;
	switch (item->relation) {
	case TORCH_INDEX:
		rc = byte_buf_format(path, "%u", item->key);
		break;
	case TORCH_ARG:
		rc = byte_buf_format(path, "args.%u", item->key);
		break;
	case TORCH_STATE:
		rc = byte_buf_text(path, "state");
		break;
	default:
		rc = view_key(o, item->key, path);
	}
	if (rc == 0)
		rc = cut(path, was, VIEW_KEY_MAX);
	return rc < 0 ? rc : cut(path, start, VIEW_PATH_MAX);
}

int view_path(const struct torch_object *o, const struct torch_places *p, uint32_t place,
		struct byte_buf *out)
{
	uint32_t chain[TORCH_DEPTH_MAX + 1];
	size_t n = 0, start = out->len;
	int rc = 0;

	for (uint32_t i = place; torch_place_at(p, i)->parent != PICKLE_NIL; i = torch_place_at(p, i)->parent)
		chain[n++] = i;
	while (rc == 0 && n-- > 0) {
		const struct torch_place *at = torch_place_at(p, chain[n]);
		struct torch_item item = { (enum torch_relation)at->relation, at->key, at->node };

		rc = view_path_add(o, &item, start, out);
	}
	return rc;
}
