/*
 * crash_internal.h: what crash_model.c, crash_work.c and crash_check.c share.
 */
#ifndef CRASH_INTERNAL_H
#define CRASH_INTERNAL_H

#include <stdatomic.h>

#include "crash_model.h"

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

#endif
