/*
 * pickle_write.c: writing a part of a graph.
 *
 * One walk, done twice: the first finds what is used more than once, the second writes and gives those, and only
 * those, memo numbers.  A task is a value under way: its parts (elements of a tuple; callable and arguments) first,
 * then the opcode that makes it, then its fills.  A container is memoized before its fills, so that they can
 * refer to it.
 */
#include "codec/pickle_write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "pickle_edit_internal.h"
#include "pickle_internal.h"

enum { BATCH = 1000 }; /* items a SETITEMS or APPENDS takes, as Python's pickler does */

struct task {
	uint32_t node;
	uint32_t part; /* the next part to write */
	bool made, fill_on;
	struct pickle_fill fill;
	uint32_t at, begin; /* in the fill: the next item, the first of its batch */
};

/* Bits a node has while a walk lasts. */
enum {
	SEEN = 1,
	MORE = 2, /* used more than once */
	OPEN = 4, /* begun, and not made yet */
};

struct writer {
	const struct pickle *g;
	struct pickle_edits *edits;
	struct byte_buf *out; /* NULL in the walk that counts */
	uint8_t *state;       /* of each node */
	uint32_t *memo;       /* of each node: number + 1; the writing walk only */
	uint32_t memos;
	struct task *task;
	size_t tasks, task_cap;
	int (*visit)(void *arg, uint32_t node);
	void *arg;
};

static int put(struct writer *w, const char *bytes, size_t n)
{
	return w->out == NULL ? 0 : byte_buf_put(w->out, bytes, n);
}

#define PUT(w, literal) put(w, literal, sizeof(literal) - 1)

static int put_number(struct writer *w, char op, uint64_t v, size_t width)
{
	int rc = put(w, &op, 1);

	return rc < 0 || w->out == NULL ? rc : byte_buf_le(w->out, v, width);
}

/* Memoizes what was just made, if it will be wanted again. */
static int memoize(struct writer *w, uint32_t node)
{
	uint32_t number;

	w->state[node] &= (uint8_t)~OPEN;
	if (w->out == NULL || (w->state[node] & MORE) == 0)
		return 0;
	number = w->memos++;
	w->memo[node] = number + 1;
	return number < 256 ? put_number(w, 'q', number, 1) : put_number(w, 'r', number, 4);
}

static int put_int(struct writer *w, int64_t v)
{
	uint64_t u = (uint64_t)v;
	size_t n = 8;
	int rc;

	if (v >= 0 && v < 256)
		return put_number(w, 'K', u, 1);
	if (v >= 0 && v < 65536)
		return put_number(w, 'M', u, 2);
	if (v >= INT32_MIN && v <= INT32_MAX)
		return put_number(w, 'J', u, 4);
	/* LONG1, as short as it goes: a byte that only repeats the sign is left out. */
	while (n > 1) {
		int64_t rest = v >> (8 * (n - 1) - 1);

		if (rest != 0 && rest != -1)
			break;
		n--;
	}
	rc = put_number(w, (char)0x8a, n, 1);
	return rc < 0 || w->out == NULL ? rc : byte_buf_le(w->out, u, n);
}

static int put_float(struct writer *w, double f)
{
	uint64_t bits;

	memcpy(&bits, &f, sizeof bits);
	return put_number(w, 'G', __builtin_bswap64(bits), 8);
}

/* Bytes as a call: _codecs.encode(text, 'latin1'). */
static int put_bytes(struct writer *w, const char *p, size_t len)
{
	size_t high = 0, at;
	int rc;

	if (w->out == NULL)
		return 0;
	if (len == 0)
		return PUT(w, "c__builtin__\nbytes\n)R");
	for (size_t i = 0; i < len; i++)
		high += (uint8_t)p[i] >= 0x80;
	if (len + high > UINT32_MAX)
		return ckpt_fail(ENOTSUP, "pickle: bytes too long to be written");
	rc = PUT(w, "c_codecs\nencode\n");
	if (rc == 0)
		rc = put_number(w, 'X', len + high, 4);
	if (rc == 0)
		rc = byte_buf_reserve(w->out, len + high);
	if (rc < 0)
		return rc;
	at = w->out->len;
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)p[i];

		if (c >= 0x80) {
			w->out->p[at++] = (uint8_t)(0xc0 | c >> 6);
			c = 0x80 | (c & 0x3f);
		}
		w->out->p[at++] = c;
	}
	w->out->len = at;
	return PUT(w, "X\6\0\0\0latin1\x86R");
}

static int put_counted(struct writer *w, const char *op, size_t width, const char *p, size_t len)
{
	int rc = put_number(w, *op, len, width);

	return rc < 0 ? rc : put(w, p, len);
}

/* A global; a dotted name of protocol 4 is looked up step by step, as Python's pickler writes it here. */
static int put_global(struct writer *w, const struct pickle_global *what)
{
	const char *p = what->name, *end = what->name + what->name_len;
	const char *dot = memchr(p, '.', what->name_len);
	struct pickle_global head = *what;
	size_t depth = 0;
	int rc = 0;

	if (w->out == NULL)
		return 0;
	if (dot == NULL || w->g->protocol < 4)
		return pickle_put_global(w->out, what);
	for (const char *q = p; q < end; q++)
		depth += *q == '.';
	for (size_t i = 0; rc == 0 && i < depth; i++)
		rc = PUT(w, "c__builtin__\ngetattr\n");
	head.name_len = (uint32_t)(dot - p);
	if (rc == 0)
		rc = pickle_put_global(w->out, &head);
	while (rc == 0 && dot != NULL) {
		p = dot + 1;
		dot = memchr(p, '.', (size_t)(end - p));
		rc = pickle_put_str(w->out, p, (size_t)((dot != NULL ? dot : end) - p));
		if (rc == 0)
			rc = PUT(w, "\x86R");
	}
	return rc;
}

/* A value without parts. */
static int put_leaf(struct writer *w, uint32_t node)
{
	const struct pickle_node *n = &w->g->node[node];
	int64_t v = 0;
	size_t len;
	const char *p = pickle_text(w->g, node, &len);
	int rc;

	switch (n->kind) {
	case PICKLE_NONE:
		return PUT(w, "N");
	case PICKLE_BOOL:
		pickle_int(w->g, node, &v);
		return v != 0 ? PUT(w, "\x88") : PUT(w, "\x89");
	case PICKLE_INT:
		pickle_int(w->g, node, &v);
		return put_int(w, v);
	case PICKLE_FLOAT:
		return put_float(w, pickle_float(w->g, node));
	case PICKLE_LONG:
		rc = len < 256 ? put_counted(w, "\x8a", 1, p, len) : put_counted(w, "\x8b", 4, p, len);
		break;
	case PICKLE_STR:
		rc = w->out == NULL ? 0 : pickle_put_str(w->out, p, len);
		break;
	case PICKLE_STR8:
		rc = len < 256 ? put_counted(w, "U", 1, p, len) : put_counted(w, "T", 4, p, len);
		break;
	case PICKLE_BYTES:
		rc = put_bytes(w, p, len);
		break;
	case PICKLE_BYTEARRAY:
		rc = PUT(w, "c__builtin__\nbytearray\n");
		if (rc == 0)
			rc = put_bytes(w, p, len);
		if (rc == 0)
			rc = PUT(w, "\x85R");
		break;
	default: /* PICKLE_GLOBAL */
		rc = put_global(w, &w->g->global[n->a]);
		break;
	}
	return rc < 0 ? rc : memoize(w, node);
}

/* How many parts a value has. */
static uint32_t parts_of(const struct writer *w, uint32_t node)
{
	const struct pickle_node *n = &w->g->node[node];
	const struct pickle_edit *x;
	uint32_t count;

	switch (n->kind) {
	case PICKLE_TUPLE:
		x = pickle_edit_of(w->edits, node);
		if (x != NULL && x->kind == EDIT_KEEP)
			return (uint32_t)x->text_len;
		pickle_children(w->g, node, &count);
		return count;
	case PICKLE_FROZENSET:
		pickle_children(w->g, node, &count);
		return count;
	case PICKLE_REDUCE:
	case PICKLE_NEWOBJ:
		return 2;
	case PICKLE_NEWOBJ_EX:
		return 3;
	case PICKLE_PERSID:
		return 1;
	default:
		return 0;
	}
}

/* What is written before a value's parts. */
static int put_opening(struct writer *w, uint32_t node)
{
	const struct pickle_node *n = &w->g->node[node];

	switch (n->kind) {
	case PICKLE_TUPLE:
		return parts_of(w, node) > 3 ? PUT(w, "(") : 0;
	case PICKLE_SET:
		return PUT(w, "c__builtin__\nset\n]");
	case PICKLE_FROZENSET:
		return PUT(w, "c__builtin__\nfrozenset\n](");
	case PICKLE_NEWOBJ_EX:
		return PUT(w, "ccopyreg\n__newobj_ex__\n");
	default:
		return 0;
	}
}

static uint32_t part_of(const struct writer *w, uint32_t node, uint32_t i)
{
	const struct pickle_node *n = &w->g->node[node];
	const struct pickle_call *c;

	if (n->kind == PICKLE_TUPLE || n->kind == PICKLE_FROZENSET)
		return w->g->child[n->a + 1 + i];
	c = &w->g->call[n->a];
	if (n->kind == PICKLE_PERSID || i == 1)
		return c->args;
	return i == 0 ? c->callable : c[1].args;
}

/* The opcode that makes a value of its parts. A SET is made after its members. */
static int put_made(struct writer *w, uint32_t node)
{
	uint32_t n = parts_of(w, node);
	char tuple = (char)(0x84 + n);
	int rc;

	switch (w->g->node[node].kind) {
	case PICKLE_TUPLE:
		rc = n == 0 ? PUT(w, ")") : n > 3 ? PUT(w, "t") : put(w, &tuple, 1);
		break;
	case PICKLE_LIST:
		rc = PUT(w, "]");
		break;
	case PICKLE_DICT:
		rc = PUT(w, "}");
		break;
	case PICKLE_SET:
		return 0;
	case PICKLE_FROZENSET:
		rc = PUT(w, "e\x85R");
		break;
	case PICKLE_NEWOBJ:
		rc = PUT(w, "\x81");
		break;
	case PICKLE_NEWOBJ_EX:
		rc = PUT(w, "\x87R");
		break;
	case PICKLE_PERSID:
		rc = PUT(w, "Q");
		break;
	default: /* PICKLE_REDUCE */
		rc = PUT(w, "R");
		break;
	}
	return rc < 0 ? rc : memoize(w, node);
}

static int push(struct writer *w, uint32_t node)
{
	if (w->tasks == PICKLE_WRITE_DEPTH)
		return ckpt_fail(ENOTSUP, "pickle: nested deeper than %d", PICKLE_WRITE_DEPTH);
	if (w->tasks == w->task_cap) {
		size_t cap = w->task_cap > 0 ? 2 * w->task_cap : 32;
		struct task *more = realloc(w->task, cap * sizeof *more);

		if (more == NULL)
			return ckpt_fail(ENOMEM, "out of memory for a nested pickle");
		w->task = more;
		w->task_cap = cap;
	}
	w->task[w->tasks++] = (struct task){ .node = node };
	w->state[node] |= OPEN;
	return put_opening(w, node);
}

static bool is_leaf(enum pickle_kind kind)
{
	return kind <= PICKLE_BYTEARRAY || kind == PICKLE_GLOBAL;
}

/* Begins the value at a place: at once when it is a leaf or known already. */
static int begin(struct writer *w, uint32_t raw)
{
	const struct pickle_edit *x = pickle_edit_of(w->edits, raw);
	uint32_t node = pickle_target(w->g, raw);
	const struct pickle_node *n;
	int rc;

	if (x != NULL && x->kind <= EDIT_GLOBAL)
		return w->out == NULL ? 0 : pickle_put_edit(w->edits, x, w->out);
	x = pickle_edit_of(w->edits, node);
	if (x != NULL && x->kind == EDIT_VALUE)
		node = (uint32_t)x->text;
	n = &w->g->node[node];
	if (w->out != NULL && w->memo[node] != 0) {
		uint32_t number = w->memo[node] - 1;

		return number < 256 ? put_number(w, 'h', number, 1) : put_number(w, 'j', number, 4);
	}
	if ((w->state[node] & OPEN) != 0)
		return ckpt_fail(ENOTSUP, "pickle: the value at byte %u contains itself", n->pos);
	if (w->out == NULL) {
		if ((w->state[node] & SEEN) != 0) {
			w->state[node] |= MORE;
			return 0;
		}
		w->state[node] |= SEEN;
		if (n->touched && !is_leaf((enum pickle_kind)n->kind))
			return ckpt_fail(ENOTSUP, "pickle: the value at byte %u was finished by a call",
					n->pos);
		rc = w->visit != NULL ? w->visit(w->arg, node) : 0;
		if (rc != 0)
			return rc;
	}
	return is_leaf((enum pickle_kind)n->kind) ? put_leaf(w, node) : push(w, node);
}

/* The opcode that ends a batch of a fill. */
static int put_batch_end(struct writer *w, const struct task *t)
{
	uint32_t n = t->at - t->begin;

	switch (t->fill.kind) {
	case PICKLE_FILL_STATE:
		return PUT(w, "b");
	case PICKLE_FILL_ITEMS:
		return n > 2 ? PUT(w, "u") : PUT(w, "s");
	default:
		return n > 1 ? PUT(w, "e") : PUT(w, "a");
	}
}

/* One step of a fill. *done: there are no more. */
static int step_fill(struct writer *w, struct task *t, bool *done)
{
	uint32_t most = t->fill.kind == PICKLE_FILL_ITEMS ? 2 * BATCH : BATCH;
	uint32_t single = t->fill.kind == PICKLE_FILL_ITEMS ? 2 : 1, raw;
	uint32_t stop = t->fill.count - t->begin < most ? t->fill.count : t->begin + most;
	int rc = 0;

	if (t->at == t->begin && t->at < stop) {
		if (t->fill.kind == PICKLE_FILL_ADD && w->g->node[t->node].kind != PICKLE_SET)
			return ckpt_fail(ENOTSUP,
					"pickle: a set subclass, whose members protocol 2 can't add");
		if (t->fill.kind != PICKLE_FILL_STATE && stop - t->begin > single)
			rc = PUT(w, "(");
	}
	if (rc == 0 && t->at < stop) {
		raw = t->fill.child[t->at++];
		return begin(w, raw); /* which may move the tasks */
	}
	if (rc == 0 && t->at > t->begin)
		rc = put_batch_end(w, t);
	t->begin = t->at;
	if (rc == 0 && t->at == t->fill.count) {
		t->at = t->begin = 0;
		*done = !pickle_next_fill(w->g, &t->fill);
	}
	return rc;
}

static int step(struct writer *w)
{
	struct task *t = &w->task[w->tasks - 1];
	bool done = false;
	int rc;

	if (t->part < parts_of(w, t->node))
		return begin(w, part_of(w, t->node, t->part++));
	if (!t->made) {
		t->made = true;
		t->fill_on = pickle_first_fill(w->g, t->node, &t->fill);
		return put_made(w, t->node);
	}
	if (t->fill_on) {
		rc = step_fill(w, t, &done);
		if (rc == 0 && done)
			t->fill_on = false;
		return rc;
	}
	w->tasks--;
	if (w->g->node[t->node].kind != PICKLE_SET)
		return 0;
	rc = PUT(w, "\x85R");
	return rc < 0 ? rc : memoize(w, t->node);
}

static int write_value(struct writer *w, uint32_t raw)
{
	int rc = begin(w, raw);

	while (rc == 0 && w->tasks > 0)
		rc = step(w);
	return rc;
}

/* All of refs, with `pair` after each two of them. */
static int write_all(struct writer *w, const uint32_t *refs, size_t n, bool pairs)
{
	int rc = PUT(w, "\x80\2");

	if (rc == 0 && pairs)
		rc = PUT(w, "}");
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = write_value(w, refs[i]);
		if (rc == 0 && pairs && i % 2 == 1)
			rc = PUT(w, "s");
	}
	return rc != 0 ? rc : PUT(w, ".");
}

static int init(struct writer *w, const struct pickle *g, struct pickle_edits *edits)
{
	*w = (struct writer){ .g = g, .edits = edits };
	pickle_edits_sort(edits);
	w->state = calloc((size_t)g->nodes + 1, 1);
	w->memo = calloc((size_t)g->nodes + 1, sizeof *w->memo);
	if (w->state == NULL || w->memo == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a part of a pickle");
	return 0;
}

static void release(struct writer *w)
{
	free(w->state);
	free(w->memo);
	free(w->task);
}

static int write_refs(const struct pickle *g, const uint32_t *refs, size_t n, bool pairs,
		struct pickle_edits *edits, struct byte_buf *out)
{
	struct writer w;
	size_t was = out->len;
	int rc = init(&w, g, edits);

	if (rc == 0)
		rc = write_all(&w, refs, n, pairs);
	if (rc == 0) {
		w.out = out;
		rc = write_all(&w, refs, n, pairs);
	}
	release(&w);
	if (rc < 0)
		out->len = was;
	return rc;
}

int pickle_write(const struct pickle *g, uint32_t ref, struct pickle_edits *edits, struct byte_buf *out)
{
	return write_refs(g, &ref, 1, false, edits, out);
}

int pickle_write_dict(const struct pickle *g, const uint32_t *pairs, size_t n, struct pickle_edits *edits,
		struct byte_buf *out)
{
	return write_refs(g, pairs, 2 * n, true, edits, out);
}

int pickle_reach(const struct pickle *g, const uint32_t *refs, size_t n,
		int (*visit)(void *arg, uint32_t node), void *arg)
{
	struct writer w;
	int rc = init(&w, g, NULL);

	w.visit = visit;
	w.arg = arg;
	if (rc == 0)
		rc = write_all(&w, refs, n, false);
	release(&w);
	return rc;
}
