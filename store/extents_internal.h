/*
 * extents_internal.h: the part of a file's content that is stored but not yet published.
 *
 * A map from ranges of a file to pieces of chunks or holes, over the published manifest: what it does not
 * cover shows what lies below.  Ranges never overlap.  It is a sorted array: nearly all insertions are at its end, and a session hands
 * it over to a draft manifest before it grows beyond EXTENTS_MAX.
 *
 * Each extent that names a chunk holds a pin on it, or, while the chunk is under way, a reference to its job.
 */
#ifndef EXTENTS_INTERNAL_H
#define EXTENTS_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "chunk_internal.h"

enum { EXTENTS_MAX = 16384 };

struct extent {
	uint64_t off, len;      /* in the file */
	uint64_t id;            /* chunk; 0: under way (job) or a hole (no job) */
	struct chunk_job *job;
	uint32_t at;            /* first byte within the chunk */
};

struct extents {
	struct extent *v;
	size_t n, cap;
};

/* Index of the first extent that ends behind off; n when there is none. */
size_t extents_find(const struct extents *x, uint64_t off);

/*
 * Puts one extent over whatever was in its range.  Takes a pin or a job reference of its own: the caller keeps his.
 * -ENOMEM: nothing changed.
 */
int extents_put(struct store *s, struct extents *x, const struct extent *e);

/* A job is done: extents in [off, off+len) that wait for it get its id, pinned. -ENOMEM. */
int extents_settle(struct store *s, struct extents *x, uint64_t off, uint64_t len, struct chunk_job *job);

/* Drops everything, pins and references included. */
void extents_clear(struct store *s, struct extents *x);

#endif
