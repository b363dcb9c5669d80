/*
 * pickle_edit_internal.h: looking up edits, and writing literals, for pickle_edit.c and pickle_write.c.
 */
#ifndef PICKLE_EDIT_INTERNAL_H
#define PICKLE_EDIT_INTERNAL_H

#include "codec/pickle_edit.h"

enum pickle_edit_kind {
	EDIT_TEXT,
	EDIT_GLOBAL, /* text: "module\nname\n" */
	EDIT_KEEP,   /* of a tuple: text_len elements */
	EDIT_DROP,   /* an element of such a tuple */
	EDIT_VALUE,  /* text: the node to take its place */
};

struct pickle_edit {
	uint32_t raw;
	uint32_t order; /* in which it was asked for */
	enum pickle_edit_kind kind;
	size_t text, text_len; /* in the edits' text */
};

/* Puts the edits in order, for pickle_edit_of(). */
void pickle_edits_sort(struct pickle_edits *e);

/* The edit of a place, or NULL; e may be NULL. */
const struct pickle_edit *pickle_edit_of(const struct pickle_edits *e, uint32_t raw);
const char *pickle_edit_bytes(const struct pickle_edits *e, const struct pickle_edit *x);

/* Writes what an EDIT_TEXT or EDIT_GLOBAL asks for. */
int pickle_put_edit(const struct pickle_edits *e, const struct pickle_edit *x, struct byte_buf *out);

/* BINUNICODE; GLOBAL, -ENOTSUP when a name can't be written on a line. */
int pickle_put_str(struct byte_buf *out, const char *p, size_t len);
int pickle_put_global(struct byte_buf *out, const struct pickle_global *what);

#endif
