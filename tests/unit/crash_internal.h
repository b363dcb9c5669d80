/*
 * crash_internal.h: what crash_model.c, crash_work.c, crash_tree.c and crash_check.c share.
 */
#ifndef CRASH_INTERNAL_H
#define CRASH_INTERNAL_H

#include <stdatomic.h>

#include "crash_model.h"
#include "store/store_tree.h"

/* The bytes of a file, shared by the steps in which it has them. */
struct content {
	atomic_int refs;
	uint64_t hash;           /* set by content_seal() */
	size_t size;
	uint8_t *data;
};

/* realloc() that meets no faults and never fails. */
void *crash_alloc(void *p, size_t n);

struct content *content_new(size_t size); /* zeros */
struct content *content_ref(struct content *c);
void content_drop(struct content *c);
struct content *content_seal(struct content *c); /* it is complete; returns it */
struct content *content_copy(const struct content *c, size_t size); /* cut off or followed by zeros */
struct content *content_random(struct world *w, size_t size); /* sealed */
void content_fill(uint8_t *p, size_t n, uint64_t seed);

uint64_t world_random(struct world *w);
size_t world_below(struct world *w, size_t n);
struct tree_state *world_now(struct world *w);
/* A step begins: a copy of the tree so far, to be changed. */
struct tree_state *world_begin(struct world *w);
/* What there is now lasts. */
void world_promise(struct world *w, bool durable);

void tree_state_release(struct tree_state *t);
struct tree_state tree_state_copy(const struct tree_state *t);
struct item *item_find(struct tree_state *t, const char *path); /* NULL: none */
struct item *item_add(struct tree_state *t, const char *path, uint32_t type, uint64_t ino, struct content *c);
void item_remove(struct tree_state *t, const char *path);
/* Of all names of the file. */
void item_set_content(struct tree_state *t, uint64_t ino, struct content *c);

/* --- crash_tree.c --------------------------------------------------------------------------------- */

enum { CRASH_PATH = 48, CRASH_FILES = 7 }; /* bytes of a path; names that files have */

/* In the store: the directory of a path and its last name, or the file. 0 or -errno. */
int world_parent(struct store *s, const char *path, uint64_t *parent, const char **name);
int world_lookup(struct store *s, const char *path, struct store_attr *out);
/* A path for a file named `stem` and a number below n, in one of the directories that there are. */
void world_path(struct world *w, char *path, const char *stem, unsigned n);
/* Any item of this type; NULL: there is none. The slow file is left alone. */
struct item *world_pick(struct world *w, uint32_t type);

/* Operations: 0 or -errno, as world_step(). */
int op_rename(struct world *w); /* a file, over another or in exchange with it */
int op_unlink(struct world *w);
int op_dir(struct world *w);    /* makes or removes one */
int op_small(struct world *w);  /* a symbolic link, a further name or an attribute */

#endif
