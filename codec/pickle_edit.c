/*
 * pickle_edit.c: exchanging words of a pickle in place.
 */
#include "codec/pickle_edit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "pickle_edit_internal.h"
#include "pickle_internal.h"

struct pickle_edits {
	const struct pickle *g; /* borrowed */
	struct pickle_edit *edit;
	size_t count, cap;
	struct byte_buf text;
	uint8_t *has; /* a bit for each node that is edited */
	bool sorted;
};

int pickle_edits_new(const struct pickle *g, struct pickle_edits **out)
{
	struct pickle_edits *e = calloc(1, sizeof *e);

	if (e != NULL)
		e->has = calloc(g->nodes / 8 + 1, 1);
	if (e == NULL || e->has == NULL) {
		free(e);
		return ckpt_fail(ENOMEM, "out of memory for the edits of a pickle");
	}
	e->g = g;
	e->sorted = true;
	*out = e;
	return 0;
}

void pickle_edits_free(struct pickle_edits *e)
{
	if (e == NULL)
		return;
	free(e->edit);
	free(e->has);
	byte_buf_release(&e->text);
	free(e);
}

size_t pickle_edits_count(const struct pickle_edits *e)
{
	return e->count;
}

/* Room for one more edit. */
static int reserve(struct pickle_edits *e)
{
	size_t cap = e->cap > 0 ? e->cap + e->cap / 2 : 64;
	struct pickle_edit *more;

	if (e->count < e->cap)
		return 0;
	more = realloc(e->edit, cap * sizeof *more);
	if (more == NULL)
		return ckpt_fail(ENOMEM, "out of memory for the edits of a pickle");
	e->edit = more;
	e->cap = cap;
	return 0;
}

static void enter(struct pickle_edits *e, uint32_t raw, enum pickle_edit_kind kind, size_t text, size_t len)
{
	e->sorted &= e->count == 0 || e->edit[e->count - 1].raw < raw;
	e->edit[e->count] = (struct pickle_edit){ raw, (uint32_t)e->count, kind, text, len };
	e->count++;
	e->has[raw / 8] |= (uint8_t)(1 << raw % 8);
}

/* An edit with a text; equal texts in a row are kept once. */
static int add(struct pickle_edits *e, uint32_t raw, enum pickle_edit_kind kind, const char *text, size_t len)
{
	const struct pickle_edit *last;
	size_t at = e->text.len;
	int rc = reserve(e);

	last = e->count > 0 ? &e->edit[e->count - 1] : NULL;
	if (rc == 0 && last != NULL && last->kind <= EDIT_GLOBAL && last->text_len == len &&
			memcmp(e->text.p + last->text, text, len) == 0)
		at = last->text;
	else if (rc == 0)
		rc = byte_buf_put(&e->text, text, len);
	if (rc == 0)
		enter(e, raw, kind, at, len);
	return rc;
}

int pickle_edit_text(struct pickle_edits *e, uint32_t raw, const char *text, size_t len)
{
	enum pickle_kind kind = pickle_kind_of(e->g, raw);

	if ((kind != PICKLE_STR && kind != PICKLE_STR8) || len > UINT32_MAX)
		return ckpt_fail(EINVAL, "no string to exchange");
	return add(e, raw, EDIT_TEXT, text, len);
}

int pickle_edit_global(struct pickle_edits *e, uint32_t raw, const char *module, const char *name)
{
	struct byte_buf line = { 0 };
	int rc;

	if (pickle_kind_of(e->g, raw) != PICKLE_GLOBAL || strchr(module, '\n') != NULL ||
			strchr(name, '\n') != NULL)
		return ckpt_fail(EINVAL, "no global to exchange");
	rc = byte_buf_format(&line, "%s\n%s\n", module, name);
	if (rc == 0)
		rc = add(e, raw, EDIT_GLOBAL, (const char *)line.p, line.len);
	byte_buf_release(&line);
	return rc;
}

/* Whether the opcode of a node can be left out: it puts a plain value, and nothing memoizes it. */
static bool can_drop(const struct pickle *g, uint32_t raw)
{
	enum pickle_kind kind = pickle_kind_of(g, raw);
	struct pickle_op op;

	if (kind != PICKLE_INT && kind != PICKLE_NONE && kind != PICKLE_BOOL)
		return false;
	return pickle_take(g->p, g->len, g->node[raw].pos, &op) == 0 &&
	       pickle_take(g->p, g->len, op.next, &op) == 0 && op.op != 'q' && op.op != 'r' && op.op != 0x94;
}

int pickle_edit_shorten(struct pickle_edits *e, uint32_t raw, uint32_t keep)
{
	const struct pickle_node *n = &e->g->node[raw];
	uint32_t count;
	const uint32_t *c = pickle_children(e->g, raw, &count);
	int rc = 0;

	if (n->kind != PICKLE_TUPLE || keep == 0 || keep > count || n->shared)
		return ckpt_fail(ENOTSUP, "pickle: a tuple at byte %u can't be shortened", n->pos);
	for (uint32_t i = keep; i < count; i++)
		if (!can_drop(e->g, c[i]))
			return ckpt_fail(ENOTSUP, "pickle: a tuple at byte %u can't be shortened", n->pos);
	for (uint32_t i = keep; rc == 0 && i < count; i++) {
		rc = reserve(e);
		if (rc == 0)
			enter(e, c[i], EDIT_DROP, 0, 0);
	}
	if (rc == 0)
		rc = reserve(e);
	if (rc == 0)
		enter(e, raw, EDIT_KEEP, 0, keep);
	return rc;
}

int pickle_edit_value(struct pickle_edits *e, uint32_t ref, uint32_t other)
{
	int rc = reserve(e);

	if (rc == 0)
		enter(e, ref, EDIT_VALUE, pickle_target(e->g, other), 0);
	return rc;
}

static int by_raw(const void *a, const void *b)
{
	const struct pickle_edit *x = a, *y = b;

	if (x->raw != y->raw)
		return x->raw < y->raw ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

void pickle_edits_sort(struct pickle_edits *e)
{
	size_t n = 0;

	if (e == NULL || e->sorted)
		return;
	qsort(e->edit, e->count, sizeof *e->edit, by_raw);
	for (size_t i = 0; i < e->count; i++) {
		if (n > 0 && e->edit[n - 1].raw == e->edit[i].raw)
			n--;
		e->edit[n++] = e->edit[i];
	}
	e->count = n;
	e->sorted = true;
}

const struct pickle_edit *pickle_edit_of(const struct pickle_edits *e, uint32_t raw)
{
	size_t lo = 0, hi;

	if (e == NULL || (e->has[raw / 8] >> raw % 8 & 1) == 0)
		return NULL;
	for (hi = e->count; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;

		if (e->edit[mid].raw == raw)
			return &e->edit[mid];
		if (e->edit[mid].raw < raw)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

const char *pickle_edit_bytes(const struct pickle_edits *e, const struct pickle_edit *x)
{
	return (const char *)e->text.p + x->text;
}

int pickle_put_str(struct byte_buf *out, const char *p, size_t len)
{
	int rc = byte_buf_reserve(out, len + 5);

	if (rc < 0)
		return rc;
	out->p[out->len++] = 'X';
	rc = byte_buf_le(out, len, 4);
	return rc < 0 ? rc : byte_buf_put(out, p, len);
}

int pickle_put_global(struct byte_buf *out, const struct pickle_global *what)
{
	int rc;

	if (memchr(what->module, '\n', what->module_len) != NULL ||
			memchr(what->name, '\n', what->name_len) != NULL)
		return ckpt_fail(ENOTSUP, "pickle: a global with a newline in its name");
	rc = byte_buf_put(out, "c", 1);
	if (rc == 0)
		rc = byte_buf_put(out, what->module, what->module_len);
	if (rc == 0)
		rc = byte_buf_put(out, "\n", 1);
	if (rc == 0)
		rc = byte_buf_put(out, what->name, what->name_len);
	return rc < 0 ? rc : byte_buf_put(out, "\n", 1);
}

int pickle_put_edit(const struct pickle_edits *e, const struct pickle_edit *x, struct byte_buf *out)
{
	int rc;

	if (x->kind == EDIT_TEXT)
		return pickle_put_str(out, pickle_edit_bytes(e, x), x->text_len);
	rc = byte_buf_put(out, "c", 1);
	return rc < 0 ? rc : byte_buf_put(out, pickle_edit_bytes(e, x), x->text_len);
}

/* ---- applying -------------------------------------------------------------------------------------------------- */

struct copy {
	const struct pickle *g;
	struct byte_buf *out;
	size_t done;    /* bytes of the pickle that are dealt with */
	uint32_t frame; /* the next one to leave out */
};

/* Copies up to `pos`, without the frames. */
static int copy_to(struct copy *c, size_t pos)
{
	int rc = 0;

	while (rc == 0 && c->done < pos) {
		size_t stop = pos;

		if (c->frame < c->g->frames && c->g->frame[c->frame] < pos)
			stop = c->g->frame[c->frame];
		rc = byte_buf_put(c->out, c->g->p + c->done, stop - c->done);
		c->done = stop;
		if (stop < pos) {
			c->done += 9;
			c->frame++;
		}
	}
	return rc;
}

/* Copies up to a node's opcode and leaves that out. */
static int skip_op(struct copy *c, const struct pickle_node *n)
{
	struct pickle_op op;
	int rc = copy_to(c, n->pos);

	if (rc == 0)
		rc = pickle_take(c->g->p, c->g->len, n->pos, &op);
	if (rc == 0)
		c->done = op.next;
	return rc;
}

/* Whether two places read the same after editing, which mean the same value before it. */
static bool same_edit(const struct pickle_edits *e, const struct pickle_edit *x, const struct pickle_edit *y)
{
	if (x == NULL || y == NULL)
		return x == y;
	return x->kind == y->kind &&
	       pickle_same(pickle_edit_bytes(e, x), x->text_len, pickle_edit_bytes(e, y), y->text_len);
}

/* The text as it was, written out. */
static int put_original(const struct pickle *g, uint32_t raw, struct byte_buf *out)
{
	size_t len;
	const char *p = pickle_text(g, raw, &len);
	int rc;

	switch (pickle_kind_of(g, raw)) {
	case PICKLE_GLOBAL:
		return pickle_put_global(out, &g->global[g->node[pickle_target(g, raw)].a]);
	case PICKLE_STR8: /* BINSTRING */
		rc = byte_buf_put(out, "T", 1);
		if (rc == 0)
			rc = byte_buf_le(out, len, 4);
		return rc < 0 ? rc : byte_buf_put(out, p, len);
	default:
		return pickle_put_str(out, p, len);
	}
}

/* want: the edit of this place, or NULL. */
static int apply_alias(struct pickle_edits *e, struct copy *c, uint32_t raw, const struct pickle_edit *want)
{
	const struct pickle_node *n = &e->g->node[raw];
	const struct pickle_edit *have = pickle_edit_of(e, pickle_fetched(e->g, n));
	int rc;

	if (want != NULL && want->kind == EDIT_DROP)
		return skip_op(c, n);
	if (have != NULL && have->kind > EDIT_GLOBAL)
		have = NULL;
	if (same_edit(e, want, have))
		return 0;
	rc = skip_op(c, n);
	if (rc < 0)
		return rc;
	return want != NULL ? pickle_put_edit(e, want, c->out) : put_original(e->g, raw, c->out);
}

static int apply_literal(struct pickle_edits *e, struct copy *c, uint32_t raw, const struct pickle_edit *x)
{
	const struct pickle_node *n = &e->g->node[raw];
	int rc;

	if (x->kind == EDIT_KEEP && e->g->p[n->pos] == 't')
		return 0;
	if (x->kind == EDIT_VALUE)
		return ckpt_fail(ENOTSUP, "pickle: a value can't be exchanged in place");
	rc = skip_op(c, n);
	if (rc < 0)
		return rc;
	switch (x->kind) {
	case EDIT_DROP:
		return 0;
	case EDIT_KEEP: /* TUPLE1, TUPLE2, TUPLE3 */
		return byte_buf_le(c->out, 0x84 + x->text_len, 1);
	case EDIT_GLOBAL:
		if (e->g->p[n->pos] == 0x93) {
			rc = byte_buf_put(c->out, "00", 2);
			if (rc < 0)
				return rc;
		}
		break;
	default:
		break;
	}
	return pickle_put_edit(e, x, c->out);
}

int pickle_edits_apply(struct pickle_edits *e, struct byte_buf *out)
{
	const struct pickle *g = e->g;
	struct copy c = { .g = g, .out = out };
	size_t at = 0; /* the next edit: they are sorted as nodes are */
	int rc = 0;

	pickle_edits_sort(e);
	rc = byte_buf_reserve(out, g->len);
	for (uint32_t i = 0; rc == 0 && i < g->nodes; i++) {
		const struct pickle_edit *x = at < e->count && e->edit[at].raw == i ? &e->edit[at++] : NULL;

		if (pickle_is_alias(&g->node[i]))
			rc = apply_alias(e, &c, i, x);
		else if (x != NULL)
			rc = apply_literal(e, &c, i, x);
	}
	return rc < 0 ? rc : copy_to(&c, g->len);
}
