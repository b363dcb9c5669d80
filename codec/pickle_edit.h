/*
 * pickle_edit.h: a pickle with some of its words exchanged, and nothing else.
 *
 * A view of a checkpoint on another device is the same pickle with other location strings.  To exchange them in the
 * bytes would be wrong: CPython writes equal strings that are one object once and fetches them from the memo
 * ever after, so the 'cpu' that names a location may be the very string that is a user's dict key (torch's is an
 * interned literal).  What can be told apart is the opcode that put the string where it is used: an edit is given
 * for a raw ref (pickle_graph.h), one place, not for the value.
 *
 * Applying keeps every other opcode and every memo number:
 *
 *   a literal that is edited            is written with its new text, and memoized as before
 *   a fetch whose text now differs from what its memo number holds   is written out as a literal, not memoized
 *   a fetch whose text is what its number holds                      stays
 *
 * New strings are BINUNICODE and new globals GLOBAL (two POPs before it where a STACK_GLOBAL was), which all
 * protocols and torch's weights_only reader know; FRAMEs, whose lengths would be wrong, are left out.
 */
#ifndef PICKLE_EDIT_H
#define PICKLE_EDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/byte_buf.h"
#include "codec/pickle_graph.h"

struct pickle_edits;

/* No edits yet, to a graph that outlives them. */
int pickle_edits_new(const struct pickle *g, struct pickle_edits **out);
void pickle_edits_free(struct pickle_edits *e);

/* The string at this place reads `text`. -EINVAL when there is no string. The last edit of a place counts. */
int pickle_edit_text(struct pickle_edits *e, uint32_t raw, const char *text, size_t len);

/* The global at this place is that one. -EINVAL when there is none, or a name holds a newline. */
int pickle_edit_global(struct pickle_edits *e, uint32_t raw, const char *module, const char *name);

/*
 * The tuple at this place keeps its first `keep` elements.  Those that go must be numbers or None; the tuple must be
 * nobody else's.  -ENOTSUP otherwise.
 */
int pickle_edit_shorten(struct pickle_edits *e, uint32_t raw, uint32_t keep);

/*
 * Wherever the value `ref` (no alias) is used, the value `other` is.  Holds for pickle_write() only; applying in place
 * is -ENOTSUP.
 */
int pickle_edit_value(struct pickle_edits *e, uint32_t ref, uint32_t other);

/* How many edits there are; with none, applying them copies the pickle, less its FRAMEs. */
size_t pickle_edits_count(const struct pickle_edits *e);

/* Appends the edited pickle. */
int pickle_edits_apply(struct pickle_edits *e, struct byte_buf *out);

#endif
