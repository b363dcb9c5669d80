/*
 * pickle_build.h: the state of the parser, and what its opcodes do to the graph (pickle_build.c).
 */
#ifndef PICKLE_BUILD_H
#define PICKLE_BUILD_H

#include "pickle_internal.h"

struct pickle_parser {
	struct pickle *g; /* what is being built */
	const struct pickle_limits *limits;
	struct pickle_op op;

	uint32_t *stack;
	size_t height, stack_cap;
	uint32_t *mark;
	size_t marks, mark_cap;
	uint32_t *memo; /* ref + 1; 0 is not set */
	size_t memo_cap, memo_set;

	uint32_t *seen; /* hash table of globals: number + 1; a power of 2 places */
	size_t seen_cap;
};

/* -EBADMSG with a message that names what is wrong, and where. */
int build_bad(const struct pickle_parser *s, const char *what);

/*
 * Makes room for `need` items of `size` bytes in the array that the pointer at p points to, *cap items long
 * now, within the limit of memory.  What is new is not zeroed.
 */
int build_grow(struct pickle_parser *s, void *p, size_t *cap, size_t need, size_t size);
static inline int build_room(struct pickle_parser *s, void *p, size_t *cap, size_t need, size_t size)
{
	return need <= *cap ? 0 : build_grow(s, p, cap, need, size);
}

/* What most opcodes do is in line: a checkpoint of a hundred thousand tensors has three million of them. */

/* Values above the last mark; whether there are n of them; taking that mark off, with *n values above it. */
static inline size_t build_above(const struct pickle_parser *s)
{
	return s->height - (s->marks > 0 ? s->mark[s->marks - 1] : 0);
}
static inline int build_need(const struct pickle_parser *s, size_t n)
{
	return build_above(s) >= n ? 0 : build_bad(s, "nothing on the stack");
}
int build_unmark(struct pickle_parser *s, size_t *n);

/* Makes a node of the opcode in s->op and pushes it; a: pickle_internal.h. */
static inline int build_node(struct pickle_parser *s, enum pickle_kind kind, uint32_t a)
{
	struct pickle *g = s->g;
	int rc = build_room(s, &g->node, &g->node_cap, (size_t)g->nodes + 1, sizeof *g->node);

	if (rc == 0)
		rc = build_room(s, &s->stack, &s->stack_cap, s->height + 1, sizeof *s->stack);
	if (rc < 0)
		return rc;
	s->stack[s->height++] = g->nodes;
	g->node[g->nodes++] = (struct pickle_node){ .pos = s->op.pos & 0x3fffffff,
		.kind = (unsigned)kind & 31,
		.a = a & (PICKLE_INDEX_MAX - 1) };
	return 0;
}

/* n new words at the end of the children. */
int build_words(struct pickle_parser *s, size_t n, uint32_t **out);

/* The node of a number, by the opcode's argument; a global. */
int build_long(struct pickle_parser *s);
int build_decimal(struct pickle_parser *s);
int build_global(struct pickle_parser *s, uint32_t module, uint32_t module_len, uint32_t name,
		uint32_t name_len);
int build_stack_global(struct pickle_parser *s);

/* A TUPLE or FROZENSET of the top n values; a call of the top n: function, arguments, keywords, or one persistent id. */
int build_tuple(struct pickle_parser *s, enum pickle_kind kind, size_t n);
int build_call(struct pickle_parser *s, enum pickle_kind kind, size_t n);

/* A LIST or DICT of what lies above the mark. */
int build_container_of(struct pickle_parser *s, enum pickle_kind kind, enum pickle_fill_kind how);

/* Adds the top n values, or those above the mark, to the value below them. */
int build_fill(struct pickle_parser *s, enum pickle_fill_kind kind, size_t n);
int build_fill_to_mark(struct pickle_parser *s, enum pickle_fill_kind kind);

#endif
