/*
 * pickle_write.h: a part of a graph as a pickle of its own.
 *
 * What is written is protocol 2, in the opcodes that torch's weights_only reader knows (Lib/_weights_only_unpickler.py:
 * PROTO GLOBAL NEWOBJ REDUCE BUILD APPEND(S) SETITEM(S) MARK TUPLE TUPLE1-3 EMPTY_* NONE NEWTRUE NEWFALSE BININT*
 * BINFLOAT BINUNICODE BINPERSID BINGET BINPUT LONG1 STOP), so where that reader took the whole it takes the part.
 * What protocol 2 has no opcode for is written as Python writes it there: bytes through _codecs.encode, sets and
 * bytearrays as calls, keyword arguments of __new__ through copyreg.  Integers of more than 255 bytes and byte
 * strings of Python 2 keep an opcode that reader does not know; it did not take the whole either.
 *
 * Sharing is kept: a value that is used twice is memoized and fetched, and containers may contain themselves.
 *
 * Refused with -ENOTSUP, since nothing written would mean the same: a tuple, set or call that contains itself other
 * than through a list, dict or object; a value that a thrown-away call had finished (dill's functions and classes);
 * members of a set subclass; nesting of more than PICKLE_WRITE_DEPTH.
 *
 * Edits (pickle_edit.h) hold here as they do in place.  NULL: none.
 */
#ifndef PICKLE_WRITE_H
#define PICKLE_WRITE_H

#include "codec/byte_buf.h"
#include "codec/pickle_edit.h"

enum { PICKLE_WRITE_DEPTH = 10000 };

/* Appends a pickle of the value `ref`. */
int pickle_write(const struct pickle *g, uint32_t ref, struct pickle_edits *edits, struct byte_buf *out);

/* Appends a pickle of a new dict of n pairs: key, value, raw refs. */
int pickle_write_dict(const struct pickle *g, const uint32_t *pairs, size_t n, struct pickle_edits *edits,
		struct byte_buf *out);

/*
 * Calls visit(arg, node) for each value that the writers above would write, once, in the order of writing; until it
 * answers other than 0, which is then returned.  Refuses what they refuse.
 */
int pickle_reach(const struct pickle *g, const uint32_t *refs, size_t n,
		int (*visit)(void *arg, uint32_t node), void *arg);

#endif
