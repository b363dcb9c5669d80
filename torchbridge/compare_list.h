/*
 * compare_list.h: a document as a list of things to compare, found again by their paths; for bridge_compare.c only.
 *
 * The things are the rows of view_rows.h, and the parts of tensors that are made of several (indices and values of a sparse
 * one), which follow it under its path.  Of what can't be read as numbers the text says all, if need be with a hash at its end.
 */
#ifndef COMPARE_LIST_H
#define COMPARE_LIST_H

#include "bridge_compare.h"
#include "view_rows.h"

enum { COMPARE_TEXT_MAX = 200 }; /* bytes of a text of values that are shown; the rest is in the hash */

struct compare_item {
	enum view_row_kind kind;
	bool unknown;  /* the text does not say all */
	uint32_t node; /* of file's object */
	const struct torch_file *file;
	const char *member; /* of a .distcp */
	const struct safetensors *set;
	const struct safetensors_entry *entry;
	const struct npy_header *npy;
	size_t path, text; /* in the texts; terminated */
	uint32_t next;     /* item of the same hash; COMPARE_NIL */
	bool used;         /* matched */
};

#define COMPARE_NIL UINT32_MAX

struct compare_list {
	struct compare_item *item;
	uint32_t count, cap;
	struct byte_buf texts;
	uint32_t *head; /* table of first items, by hash */
	uint32_t heads; /* a power of two */
};

/* The items of a row are appended: one, or more for a tensor made of several. -ENOMEM, -EFBIG. */
int compare_list_add(struct compare_list *l, const struct view_row *row);
/* All of a document, findable. */
int compare_list_make(struct compare_list *l, const struct bridge_doc *d);
void compare_list_release(struct compare_list *l);
/* Forgets the items, keeps the memory. */
void compare_list_clear(struct compare_list *l);

static inline const char *compare_path(const struct compare_list *l, const struct compare_item *x)
{
	return (const char *)l->texts.p + x->path;
}

static inline const char *compare_text(const struct compare_list *l, const struct compare_item *x)
{
	return (const char *)l->texts.p + x->text;
}

/* The first item of that path that is not used; NULL. Marks it used. */
struct compare_item *compare_list_take(struct compare_list *l, const char *path);

#endif
