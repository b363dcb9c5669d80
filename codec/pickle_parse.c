/*
 * pickle_parse.c: the stack machine that turns a pickle into a graph.
 *
 *   stack    refs, raw; a MARK is a height of the stack, kept aside, below which nothing may be taken
 *   memo     number -> raw ref that was on top when it was put
 *
 * Memory is bounded three times: by what the caller allows, by the pickle (an opcode makes at most one
 * node, and takes what it puts into a container from the stack, so children <= opcodes), and by the rule that a
 * memo's number is not far above the pickle's length, since a pickler numbers what it has written.
 */
#include "codec/pickle_graph.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/byte_buf.h"
#include "codec/ckpt_error.h"
#include "pickle_build.h"

#define BYTES_MAX ((size_t)1 << 30)
#define OPS_MAX ((size_t)1 << 26) /* so that what they make can be told by 27 bits */

/* Memo numbers by which a pickle may exceed its length: one that was edited may have become shorter. */
enum { MEMO_SPARE = 65536 };

const struct pickle_limits pickle_limits_default = {
	.bytes = BYTES_MAX,
	.ops = OPS_MAX,
	.marks = 100000,
	.memory = (size_t)1 << 30,
};

/* The memo. */
static int put(struct pickle_parser *s, uint64_t number)
{
	size_t had = s->memo_cap;
	int rc = build_need(s, 1);

	if (rc < 0)
		return rc;
	if (number >= s->g->len + MEMO_SPARE)
		return build_bad(s, "a memo number beyond the pickle's length");
	if (number >= had) {
		rc = build_grow(s, &s->memo, &s->memo_cap, (size_t)number + 1, sizeof *s->memo);
		if (rc < 0)
			return rc;
		memset(s->memo + had, 0, (s->memo_cap - had) * sizeof *s->memo);
	}
	s->memo_set += s->memo[number] == 0;
	s->memo[number] = s->stack[s->height - 1] + 1;
	return 0;
}

/* An alias of `from`, which is on the stack already or in the memo. */
static int alias(struct pickle_parser *s, uint32_t from)
{
	struct pickle *g = s->g;
	uint32_t target = pickle_target(g, from), at = g->children, *words;
	int rc;

	g->node[target].shared = 1;
	if (target == from)
		return build_node(s, PICKLE_ALIAS, from);
	rc = build_words(s, 2, &words);
	if (rc < 0)
		return rc;
	words[0] = target;
	words[1] = from;
	return build_node(s, (enum pickle_kind)PICKLE_ALIAS_FAR, at);
}

static int get(struct pickle_parser *s, uint64_t number)
{
	if (number >= s->memo_cap || s->memo[number] == 0)
		return build_bad(s, "a memo number that was never set");
	return alias(s, s->memo[number] - 1);
}

/*
 * A call whose result nobody keeps was made for what it does to its arguments: dill finishes functions and classes
 * so.  Who writes such a value out again must know that the graph does not tell all of it.
 */
static void thrown_away(struct pickle_parser *s, uint32_t ref)
{
	struct pickle *g = s->g;
	const struct pickle_call *c = pickle_call(g, ref);
	uint32_t count, *words;

	if (c == NULL || pickle_is_alias(&g->node[ref]))
		return;
	g->odd.thrown_away++;
	if (pickle_kind_of(g, c->args) != PICKLE_TUPLE)
		return;
	words = &g->child[g->node[pickle_target(g, c->args)].a];
	count = words[0];
	if (count == 0 || (count & PICKLE_SEEN) != 0)
		return;
	words[0] |= PICKLE_SEEN;
	for (uint32_t i = 1; i <= count; i++)
		g->node[pickle_target(g, words[i])].touched = 1;
}

static int pop(struct pickle_parser *s)
{
	if (s->marks > 0 && build_above(s) == 0) {
		s->marks--;
		return 0;
	}
	if (build_need(s, 1) < 0)
		return build_bad(s, "nothing on the stack");
	thrown_away(s, s->stack[--s->height]);
	return 0;
}

static int pop_mark(struct pickle_parser *s)
{
	size_t n;
	int rc = build_unmark(s, &n);

	for (; rc == 0 && n > 0; n--)
		thrown_away(s, s->stack[--s->height]);
	return rc;
}

static int set_mark(struct pickle_parser *s)
{
	int rc;

	if (s->marks >= s->limits->marks)
		return ckpt_fail(EFBIG, "pickle: more than %zu open marks", s->limits->marks);
	rc = build_room(s, &s->mark, &s->mark_cap, s->marks + 1, sizeof *s->mark);
	if (rc == 0)
		s->mark[s->marks++] = (uint32_t)s->height;
	return rc;
}

static int frame(struct pickle_parser *s)
{
	struct pickle *g = s->g;
	int rc;

	if (s->op.n > g->len - s->op.next)
		return build_bad(s, "a frame longer than the pickle");
	rc = build_room(s, &g->frame, &g->frame_cap, (size_t)g->frames + 1, sizeof *g->frame);
	if (rc == 0)
		g->frame[g->frames++] = s->op.pos;
	return rc;
}

static int proto(struct pickle_parser *s)
{
	struct pickle *g = s->g;

	if (s->op.n > 5)
		return ckpt_fail(ENOTSUP, "pickle protocol %u is not known", (unsigned)s->op.n);
	if (s->op.n > g->protocol)
		g->protocol = (unsigned)s->op.n;
	g->odd.protos++;
	g->odd.proto_late |= s->op.pos != 0;
	return 0;
}

static int tuple(struct pickle_parser *s, size_t n)
{
	int rc = build_need(s, n);

	return rc < 0 ? rc : build_tuple(s, PICKLE_TUPLE, n);
}

static int tuple_to_mark(struct pickle_parser *s, enum pickle_kind kind)
{
	size_t n;
	int rc = build_unmark(s, &n);

	return rc < 0 ? rc : build_tuple(s, kind, n);
}

/* Carries out the opcode in s->op, all but STOP. */
static int step(struct pickle_parser *s)
{
	switch (s->op.op) {
	case 0x80:
		return proto(s);
	case 0x95:
		return frame(s);
	case '(':
		return set_mark(s);
	case '0':
		return pop(s);
	case '1':
		return pop_mark(s);
	case '2': /* DUP */
		return build_need(s, 1) < 0 ? -EBADMSG : alias(s, s->stack[s->height - 1]);
	case 'N':
		return build_node(s, PICKLE_NONE, 0);
	case 0x88:
	case 0x89:
		return build_node(s, PICKLE_BOOL, 0);
	case 'I':
		return build_decimal(s);
	case 'J':
	case 'K':
	case 'M':
		return build_node(s, PICKLE_INT, 0);
	case 0x8a:
	case 0x8b:
		return build_long(s);
	case 'G':
		return build_node(s, PICKLE_FLOAT, 0);
	case 'X':
	case 0x8c:
	case 0x8d:
		return build_node(s, PICKLE_STR, 0);
	case 'T':
	case 'U':
		return build_node(s, PICKLE_STR8, 0);
	case 'B':
	case 'C':
	case 0x8e:
		return build_node(s, PICKLE_BYTES, 0);
	case 0x96:
		return build_node(s, PICKLE_BYTEARRAY, 0);
	case ')':
		return build_tuple(s, PICKLE_TUPLE, 0);
	case 0x85:
	case 0x86:
	case 0x87:
		return tuple(s, s->op.op - 0x84u);
	case 't':
		return tuple_to_mark(s, PICKLE_TUPLE);
	case 0x91:
		return tuple_to_mark(s, PICKLE_FROZENSET);
	case ']':
		return build_node(s, PICKLE_LIST, 0);
	case '}':
		return build_node(s, PICKLE_DICT, 0);
	case 0x8f:
		return build_node(s, PICKLE_SET, 0);
	case 'l':
		return build_container_of(s, PICKLE_LIST, PICKLE_FILL_APPEND);
	case 'd':
		return build_container_of(s, PICKLE_DICT, PICKLE_FILL_ITEMS);
	case 'a':
		return build_fill(s, PICKLE_FILL_APPEND, 1);
	case 's':
		return build_fill(s, PICKLE_FILL_ITEMS, 2);
	case 'b':
		return build_fill(s, PICKLE_FILL_STATE, 1);
	case 'e':
		return build_fill_to_mark(s, PICKLE_FILL_APPEND);
	case 'u':
		return build_fill_to_mark(s, PICKLE_FILL_ITEMS);
	case 0x90:
		return build_fill_to_mark(s, PICKLE_FILL_ADD);
	case 'c':
		return build_global(s, s->op.text, s->op.len, s->op.text2, s->op.len2);
	case 0x93:
		return build_stack_global(s);
	case 'R':
		return build_call(s, PICKLE_REDUCE, 2);
	case 0x81:
		return build_call(s, PICKLE_NEWOBJ, 2);
	case 0x92:
		return build_call(s, PICKLE_NEWOBJ_EX, 3);
	case 'Q':
		return build_call(s, PICKLE_PERSID, 1);
	case 'q':
	case 'r':
		return put(s, s->op.n);
	case 0x94:
		return put(s, s->memo_set);
	case 'h':
	case 'j':
		return get(s, s->op.n);
	}
	return build_bad(s, "an opcode without a meaning");
}

/*
 * Takes and carries out the opcode at pos if it is one of those that a large pickle consists of: 1 when it is
 * none.  A single jump that can't be foreseen in place of two.
 */
static int quick(struct pickle_parser *s, size_t pos)
{
	const uint8_t *p = s->g->p + pos;
	size_t left = s->g->len - pos;

	if (left < 5)
		return 1;
	s->op.op = *p;
	s->op.pos = (uint32_t)pos;
	s->op.next = (uint32_t)pos + 1;
	switch (*p) {
	case '(':
		return set_mark(s);
	case 'N':
		return build_node(s, PICKLE_NONE, 0);
	case 0x88:
	case 0x89:
		return build_node(s, PICKLE_BOOL, 0);
	case 't':
		return tuple_to_mark(s, PICKLE_TUPLE);
	case 0x85:
	case 0x86:
	case 0x87:
		return tuple(s, *p - 0x84u);
	case 'R':
		return build_call(s, PICKLE_REDUCE, 2);
	case 'Q':
		return build_call(s, PICKLE_PERSID, 1);
	case 'q':
		s->op.next += 1;
		return put(s, p[1]);
	case 'h':
		s->op.next += 1;
		return get(s, p[1]);
	case 'K':
		s->op.next += 1;
		return build_node(s, PICKLE_INT, 0);
	case 'M':
		s->op.next += 2;
		return build_node(s, PICKLE_INT, 0);
	case 'J':
		s->op.next += 4;
		return build_node(s, PICKLE_INT, 0);
	case 'r':
		s->op.next += 4;
		return put(s, byte_le32(p + 1));
	case 'j':
		s->op.next += 4;
		return get(s, byte_le32(p + 1));
	case 'X':
		if (byte_le32(p + 1) > left - 5)
			return 1;
		s->op.next += 4 + byte_le32(p + 1);
		return build_node(s, PICKLE_STR, 0);
	default:
		return 1;
	}
}

static int run(struct pickle_parser *s, size_t *end)
{
	size_t pos = 0;

	for (size_t ops = 0;; ops++) {
		int rc;

		if (ops >= s->limits->ops || ops >= OPS_MAX)
			return ckpt_fail(EFBIG, "pickle of more than %zu opcodes", ops);
		rc = quick(s, pos);
		if (rc == 1) {
			rc = pickle_take(s->g->p, s->g->len, pos, &s->op);
			if (rc == 0 && s->op.op == '.')
				break;
			rc = rc ? rc : step(s);
		}
		if (rc < 0)
			return rc;
		pos = s->op.next;
	}
	pos = s->op.next;
	if (s->height == 0 || build_above(s) == 0)
		return build_bad(s, "nothing on the stack");
	s->g->root = s->stack[s->height - 1];
	s->g->odd.left = (uint32_t)(s->height - 1);
	*end = pos;
	return 0;
}

/* The array that the pointer at p points to, made as long as it is used. */
static void shrink(struct pickle *g, void *p, size_t *cap, size_t len, size_t size)
{
	void *now;

	memcpy(&now, p, sizeof now);
	now = now != NULL && len > 0 ? realloc(now, len * size) : NULL;
	if (now == NULL)
		return;
	memcpy(p, &now, sizeof now);
	g->memory -= (*cap - len) * size;
	*cap = len;
}

/* Gives back what growing left over, and what only parsing needed. */
static void settle(struct pickle_parser *s)
{
	free(s->stack);
	free(s->mark);
	free(s->memo);
	free(s->seen);
	s->g->memory -= s->stack_cap * sizeof *s->stack + s->mark_cap * sizeof *s->mark +
			s->memo_cap * sizeof *s->memo;
	shrink(s->g, &s->g->node, &s->g->node_cap, s->g->nodes, sizeof *s->g->node);
	shrink(s->g, &s->g->child, &s->g->child_cap, s->g->children, sizeof *s->g->child);
	shrink(s->g, &s->g->call, &s->g->call_cap, s->g->calls, sizeof *s->g->call);
	shrink(s->g, &s->g->ends, &s->g->ends_cap, s->g->ends_len, sizeof *s->g->ends);
	shrink(s->g, &s->g->run, &s->g->run_cap, s->g->runs, sizeof *s->g->run);
}

/*
 * Arrays as long as a pickle of this length makes them when torch wrote it: memory that is not touched costs
 * nothing, growing step by step does.  What is short of the mark grows, and what is limited starts small.
 */
static int expect(struct pickle_parser *s)
{
	struct pickle *g = s->g;
	size_t n = g->len < s->limits->memory / 8 ? g->len : 0;
	int rc = build_room(s, &g->child, &g->child_cap, n / 4 + 1, sizeof *g->child);

	if (rc == 0)
		rc = build_room(s, &g->node, &g->node_cap, n / 4 + 1, sizeof *g->node);
	if (rc == 0)
		rc = build_room(s, &g->call, &g->call_cap, n / 24 + 1, sizeof *g->call);
	if (rc == 0)
		rc = build_room(s, &s->memo, &s->memo_cap, n / 8 + 1, sizeof *s->memo);
	if (rc == 0)
		memset(s->memo, 0, s->memo_cap * sizeof *s->memo);
	if (rc == 0)
		g->child[g->children++] = 0;
	return rc;
}

int pickle_parse(const uint8_t *p, size_t len, const struct pickle_limits *limits, struct pickle **out,
		size_t *used)
{
	struct pickle_parser s = { .limits = limits != NULL ? limits : &pickle_limits_default };
	size_t most = s.limits->bytes < BYTES_MAX ? s.limits->bytes : BYTES_MAX, end = 0;
	int rc;

	if (len > most)
		len = most + 1; /* a pickle that stops in time may be followed by anything */
	s.g = calloc(1, sizeof *s.g);
	if (s.g == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a pickle");
	s.g->p = p;
	s.g->len = len;
	s.g->protocol = 1;
	rc = expect(&s);
	if (rc == 0)
		rc = run(&s, &end);
	if (rc == -EBADMSG && len > most)
		rc = ckpt_fail(EFBIG, "pickle of more than %zu bytes", most);
	settle(&s);
	if (rc < 0) {
		pickle_free(s.g);
		return rc;
	}
	s.g->len = end;
	if (used != NULL)
		*used = end;
	*out = s.g;
	return 0;
}
