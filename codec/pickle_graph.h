/*
 * pickle_graph.h: a pickle as a graph of values, read and never run.
 *
 * A pickle is a program for a small stack machine (CPython's Lib/pickletools.py describes every opcode).  Here the
 * machine works on descriptions: a class stays the text "module name", a call stays a node with the function
 * and its arguments, a persistent id stays a tuple.  What comes out is the value the program would have
 * built, with its sharing, and nothing was imported, called or allocated on the program's word.
 *
 * A value is a `ref`, the number of a node; nodes are numbered in the order of the opcodes that made them.  An
 * opcode that fetches a value again (BINGET, LONG_BINGET, DUP) makes a node of its own, an alias: so a place
 * in a tuple or a dict tells which opcode put the value there, which is what editing needs (pickle_edit.h).
 * Who asks for the value itself goes through pickle_target(); all functions here that look into a value do.
 *
 * Containers and objects are filled after they are made: APPENDS, SETITEMS, ADDITEMS and BUILD add to a node that
 * exists, perhaps long after it was memoized (this is how a list can contain itself).  These are kept in order, as
 * the node's fills.
 *
 * Opcodes: all that protocols 1 to 5 write.  Refused, with -ENOTSUP: the text opcodes of protocol 0 (torch can't
 * read them either; 'I', which protocol 1 uses for booleans, is read), EXT1/2/4, INST, OBJ, PERSID, out-of-band
 * buffers.  What breaks the machine's rules (a stack that runs empty, a memo never set, items for what is no
 * container, an end inside an argument) is -EBADMSG.
 *
 * Cost: linear in the pickle.  A node takes 8 bytes, a place in a container 4, a call 12 more: some 270 bytes a
 * tensor as torch writes them, no more than pickle_limits allows.  What an opcode holds, a number or a string, is
 * read from the pickle when it is asked for.  Nothing here recurses, and reading a graph never
 * needs to: a value may be shared a billion times over on paper (2^60 paths through 60 tuples), so whoever
 * walks it must go by nodes and not by paths.
 *
 * A parsed graph does not change; any number of threads may read it.
 */
#ifndef PICKLE_GRAPH_H
#define PICKLE_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PICKLE_NIL UINT32_MAX /* no node */

enum pickle_kind {
	PICKLE_NONE,
	PICKLE_BOOL,  /* pickle_int(): 0 or 1 */
	PICKLE_INT,   /* pickle_int(); all that fit 64 bits */
	PICKLE_LONG,  /* pickle_text(): two's complement, little-endian, more than 8 bytes */
	PICKLE_FLOAT, /* pickle_float() */
	PICKLE_STR, /* pickle_text(): UTF-8 as Python's "surrogatepass" writes it, unchecked; may hold NULs */
	PICKLE_STR8,      /* pickle_text(): a byte string of Python 2 */
	PICKLE_BYTES,     /* pickle_text() */
	PICKLE_BYTEARRAY, /* pickle_text() */
	PICKLE_TUPLE,     /* pickle_children() */
	PICKLE_FROZENSET, /* pickle_children() */
	PICKLE_LIST,      /* pickle_fills() */
	PICKLE_DICT,      /* pickle_fills() */
	PICKLE_SET,       /* pickle_fills() */
	PICKLE_GLOBAL,    /* pickle_global_at(): a class or a function */
	PICKLE_REDUCE,    /* pickle_call(): callable(*args); pickle_fills() */
	PICKLE_NEWOBJ,    /* pickle_call(): class.__new__(class, *args); pickle_fills() */
	PICKLE_NEWOBJ_EX, /* the same with keyword arguments */
	PICKLE_PERSID,    /* pickle_persid(); pickle_fills() */
	PICKLE_ALIAS,     /* of a value made earlier: pickle_target() */
};

struct pickle_node {
	uint32_t pos : 30;    /* of the opcode in the pickle */
	uint32_t shared : 1;  /* an alias refers to it */
	uint32_t touched : 1; /* argument of a call whose result was thrown away (dill): the node does not tell all of it */
	uint32_t kind : 5;    /* enum pickle_kind */
	uint32_t a : 27;      /* where the rest of it is: pickle_internal.h */
};

struct pickle; /* a parsed graph */

struct pickle_limits {
	size_t bytes;  /* of the pickle; at most 1 GiB whatever is asked */
	size_t ops;    /* at most 2^26 */
	size_t marks;  /* open at one time */
	size_t memory; /* that the graph may take, the pickle's bytes not counted */
};

/* 1 GiB, 2^26, 100,000 and 1 GiB. */
extern const struct pickle_limits pickle_limits_default;

/*
 * Parses the pickle at p, which ends at its STOP opcode within `len` bytes; *used, which may be NULL, is set to
 * its length.  The graph borrows p for as long as it lives.  limits may be NULL for the default.
 *
 * -EBADMSG: not a pickle that any reader takes; -ENOTSUP: see above; -EFBIG: past a limit; -ENOMEM.
 */
int pickle_parse(const uint8_t *p, size_t len, const struct pickle_limits *limits, struct pickle **out,
		size_t *used);
void pickle_free(struct pickle *g);

/* The value the program leaves, as a raw ref: it may be an alias. */
uint32_t pickle_root(const struct pickle *g);

/* How many nodes there are: refs are 0 .. count-1. */
uint32_t pickle_count(const struct pickle *g);

/* The highest number a PROTO opcode gave; 1 where there is none. */
unsigned pickle_protocol(const struct pickle *g);

/* The bytes parsed, from the first opcode to STOP. */
const uint8_t *pickle_bytes(const struct pickle *g, size_t *len);

/* Bytes of memory the graph takes, without the pickle itself. */
size_t pickle_memory(const struct pickle *g);

/* The node itself, aliases as they are. */
const struct pickle_node *pickle_node(const struct pickle *g, uint32_t ref);

/* The value that ref means: ref, or what an alias stands for (never an alias itself). */
uint32_t pickle_target(const struct pickle *g, uint32_t ref);
enum pickle_kind pickle_kind_of(const struct pickle *g, uint32_t ref);

/* The bytes of a STR, STR8, BYTES, BYTEARRAY or LONG, inside the pickle; NULL for other kinds. */
const char *pickle_text(const struct pickle *g, uint32_t ref, size_t *len);

/* Whether ref is the STR (or STR8) `text`. */
bool pickle_is_text(const struct pickle *g, uint32_t ref, const char *text);

/* An INT or BOOL: sets *out; false for other kinds. */
bool pickle_int(const struct pickle *g, uint32_t ref, int64_t *out);

/* A FLOAT; 0 for other kinds. */
double pickle_float(const struct pickle *g, uint32_t ref);

/* The elements of a TUPLE or FROZENSET, as raw refs; NULL and 0 for other kinds. */
const uint32_t *pickle_children(const struct pickle *g, uint32_t ref, uint32_t *count);

/* What was done to a LIST, DICT, SET or object after it was made, in order. */
enum pickle_fill_kind {
	PICKLE_FILL_APPEND, /* count elements */
	PICKLE_FILL_ITEMS,  /* count / 2 pairs: key, value */
	PICKLE_FILL_ADD,    /* count members of a set */
	PICKLE_FILL_STATE,  /* one: what BUILD gave to __setstate__, or to __dict__ */
};

struct pickle_fill {
	enum pickle_fill_kind kind;
	uint32_t count;
	const uint32_t *child; /* raw refs */
	uint32_t next;         /* for pickle_next_fill() */
};

/* The first fill of ref, then the next ones; false after the last, and at once for values that have none. */
bool pickle_first_fill(const struct pickle *g, uint32_t ref, struct pickle_fill *fill);
bool pickle_next_fill(const struct pickle *g, struct pickle_fill *fill);

/* Of a REDUCE, NEWOBJ or NEWOBJ_EX: raw refs. NULL for other kinds. */
struct pickle_call {
	uint32_t callable, args;
	uint32_t ends; /* pickle_internal.h */
};
const struct pickle_call *pickle_call(const struct pickle *g, uint32_t ref);

/* What a PERSID names: a raw ref; PICKLE_NIL for other kinds. */
uint32_t pickle_persid(const struct pickle *g, uint32_t ref);

/*
 * The globals, each once: what an unpickler would import.  A GLOBAL's number is pickle_global_of(); -1 for
 * other kinds.  Texts are inside the pickle and not terminated.
 */
struct pickle_global {
	const char *module, *name;
	uint32_t module_len, name_len;
	uint32_t first; /* node that mentions it first */
};
uint32_t pickle_globals(const struct pickle *g);
const struct pickle_global *pickle_global_at(const struct pickle *g, uint32_t number);
int64_t pickle_global_of(const struct pickle *g, uint32_t ref);
bool pickle_is_global(const struct pickle *g, uint32_t ref, const char *module, const char *name);

/* What a scanner would mark, whether the values matter or not. */
struct pickle_oddities {
	uint32_t protos;      /* PROTO opcodes; 1 at the head is right */
	bool proto_late;      /* one of them is not at the head */
	uint32_t thrown_away; /* calls whose result was popped */
	uint32_t left;        /* values left on the stack at STOP */
};
const struct pickle_oddities *pickle_oddities(const struct pickle *g);

#endif
