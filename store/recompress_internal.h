/*
 * recompress_internal.h: for the modules recompress*.c: which chunks of older files may be like one of this file.
 *
 * Where nobody knows a chunk's predecessor (the store is from before that was written down, or a name changed), it is
 * sought by place: the checkpoints of a training have the same layout, so the piece of equal length at about the same
 * offset of a file of about the same size, written shortly before, holds the same tensor.  What comes out is a guess, and
 * the codec's probe is the judge of it.
 */
#ifndef RECOMPRESS_INTERNAL_H
#define RECOMPRESS_INTERNAL_H

#include "manifest_internal.h"

struct store;

enum {
	NEAR_FILES = 2,            /* that a file is compared with */
	NEAR_RECENT = 64,          /* versions among which those are sought */
	NEAR_MIN = 64 << 10,       /* smaller files are not looked at */
};

/* A file that this one is compared with. */
struct neighbour {
	uint64_t version;
	int64_t shift;             /* what lies at x in this file lies at x + shift there, as far as was seen */
	struct manifest_row row;   /* the row read last; empty: none */
};

/* All zero is an empty one. */
struct near {
	struct { uint64_t version, size; } recent[NEAR_RECENT]; /* a ring */
	unsigned at, n;
	struct neighbour with[NEAR_FILES];
	unsigned nwith;
};

/* From here on chunks of `version`, `size` bytes long, are asked for; older ones were shown before, in order. */
void near_begin(struct near *n, uint64_t version, uint64_t size);
/*
 * Chunks that the one at [off, off + len) of the file may follow, the likeliest first, at most NEAR_FILES. Returns how many.
 * Takes the meta lock.
 */
size_t near_find(struct store *s, struct near *n, uint64_t off, uint64_t len, uint64_t *ids);
void near_release(struct near *n);

#endif
