/*
 * store_stats.h: a store at work, in figures.
 */
#ifndef STORE_STATS_H
#define STORE_STATS_H

#include <stdint.h>

struct store;

struct store_stats {
	/* Now. */
	uint64_t chunks;                 /* in the store */
	uint64_t chunk_raw, chunk_stored; /* their plain bytes, and as they are stored */
	uint64_t open_files;             /* store_files */
	uint64_t dirty_bytes;            /* written and not yet on their way to chunks */
	uint64_t queue, queue_bytes;     /* chunks on their way */
	uint64_t plain_bytes;            /* stored in haste, yet to be encoded */
	uint64_t cache_bytes;            /* decoded chunks kept */
	/* Since the store was opened. */
	uint64_t in_chunks, in_known;    /* chunks that came in; of these, known already */
	uint64_t in_raw, in_new, in_stored; /* plain bytes of all, plain bytes of the new, and as stored */
	uint64_t commits;                /* of chunks */
	uint64_t cache_hits, cache_misses, prefetched;
	uint64_t decoded_bytes;
	uint64_t postponed, taken, passed; /* differences put off; of those and older ones: taken, and not worth it */
	uint64_t gc_runs, gc_chunks, gc_bytes; /* collections, and what they deleted */
};
/* Reads counters only. */
void store_stats(struct store *s, struct store_stats *out);

/* 1 when some inode has an extended attribute whose name begins with `prefix`, 0 when none, -errno. Looks through all of them. */
int store_xattr_any(struct store *s, const char *prefix);

#endif
