/*
 * hold_internal.h: versions that are held, for what changes or deletes versions (version_hold.c).
 */
#ifndef HOLD_INTERNAL_H
#define HOLD_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

struct store;

int holds_open(struct store *s);
void holds_close(struct store *s); /* holds that are left are dropped; their versions go at the next open */

/* Somebody holds it: its rows may not be changed nor deleted. Meta lock held. */
bool meta_version_held(struct store *s, uint64_t version);
/* A version that is held belongs to nobody from now on. Meta lock held, in a transaction. */
int meta_version_doom(struct store *s, uint64_t version);

#endif
