/*
 * pickle_internal.h: the graph, for those who build it (pickle_parse.c), read it (pickle_graph.c) and write it out.
 */
#ifndef PICKLE_INTERNAL_H
#define PICKLE_INTERNAL_H

#include "codec/pickle_graph.h"

/*
 * What is behind pickle_node.a, by kind:
 *
 *   NONE .. BYTEARRAY   nothing: the opcode says all
 *   TUPLE, FROZENSET    child[a]: how many elements, and PICKLE_SEEN; child[a + 1], ..: these.  Of empty ones a is 0
 *   LIST, DICT, SET     ends[a - 1]: its fills; 0: it has none
 *   GLOBAL              global[a]
 *   REDUCE, NEWOBJ      call[a]
 *   NEWOBJ_EX           call[a], and call[a + 1].args: the keyword arguments
 *   PERSID              call[a].args: what it names
 *   ALIAS               a: the node that the opcode fetched, which is a value
 *   PICKLE_ALIAS_FAR    of an alias: child[a] is the value, child[a + 1] the node that the opcode fetched
 */
enum { PICKLE_ALIAS_FAR = PICKLE_ALIAS + 1 };

#define PICKLE_INDEX_MAX ((size_t)1 << 27)
#define PICKLE_SEEN (UINT32_C(1) << 31) /* the parser has marked its elements */

/* A step of filling: count children from `first` on. Chained in order. */
struct pickle_run {
	uint32_t first, next;
	uint32_t count : 29, kind : 3;
};

/* The fills of a value: the first and the last of the chain. */
struct pickle_ends {
	uint32_t head, tail;
};

struct pickle {
	const uint8_t *p; /* borrowed */
	size_t len;

	struct pickle_node *node;
	uint32_t nodes;
	uint32_t *child; /* of tuples and runs; the first is 0 */
	uint32_t children;
	struct pickle_run *run;
	uint32_t runs;
	struct pickle_call *call;
	uint32_t calls;
	struct pickle_ends *ends;
	uint32_t ends_len;
	struct pickle_global *global;
	uint32_t globals;
	uint32_t *frame; /* positions of FRAME opcodes */
	uint32_t frames;
	size_t node_cap, child_cap, run_cap, call_cap, ends_cap, global_cap, frame_cap;

	uint32_t root;
	unsigned protocol;
	struct pickle_oddities odd;
	size_t memory;
};

/* An opcode's argument: what a byte after it means. */
enum pickle_arg {
	ARG_BAD = 0, /* no opcode, or one that is refused */
	ARG_NONE,
	ARG_U1,
	ARG_U2,
	ARG_U4,
	ARG_I4,
	ARG_U8,
	ARG_F8,
	ARG_S1, /* a length of 1 byte and as many bytes */
	ARG_S4,
	ARG_S8,
	ARG_LINE,
	ARG_LINES, /* two lines */
};
extern const uint8_t pickle_args[256];

/* An opcode taken apart. */
struct pickle_op {
	uint8_t op;
	uint32_t pos, next;   /* where it begins; where the next one does */
	uint64_t n;           /* a number */
	uint32_t text, len;   /* the bytes of a string or the first line, without the newline */
	uint32_t text2, len2; /* the second line */
};

/* Takes apart the opcode at pos. -EBADMSG when the bytes end in it, -ENOTSUP for one that is refused. */
int pickle_take(const uint8_t *p, size_t len, size_t pos, struct pickle_op *out);

static inline bool pickle_is_alias(const struct pickle_node *n)
{
	return n->kind >= PICKLE_ALIAS;
}

/* The node that the opcode of an alias fetched. */
static inline uint32_t pickle_fetched(const struct pickle *g, const struct pickle_node *n)
{
	return n->kind == PICKLE_ALIAS ? n->a : g->child[n->a + 1];
}

/* A decimal line with or without a minus; false: none that fits. */
bool pickle_decimal(const char *p, size_t len, int64_t *out);

/* Whether two byte strings are equal. */
bool pickle_same(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
