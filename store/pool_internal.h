/*
 * pool_internal.h: many small files in one chunk.
 *
 * A small file's content is inline in its version's row: written with one append and read with one look.  Compressed alone it
 * hardly shrinks, though, and a run leaves thousands of files that look alike.  So what has rested is pooled: the contents
 * of many files, like beside like, are joined into a chunk of up to POOL_MAX plain bytes, which is encoded with all
 * effort.  The files then are what any file is that names a piece of a chunk, and nothing that reads, shares, checks
 * or collects needs to know more:
 *
 *     version 7: content "{...}"  \          version 7: manifest  [ chunk 90, bytes 0..3511 )
 *     version 8: content "{...}"   >  -->    version 8: manifest  [ chunk 90, bytes 3511..7004 )
 *     version 9: content "{...}"  /          ...
 *
 * The order is that of all chunks: the chunk is committed, then one transaction of meta.db changes the rows.  A crash between
 * them leaves a chunk that nobody names.
 *
 * The table pool(chunk, raw, lo, hi) remembers which chunks are pools, how many bytes they were made of, and the range of
 * versions in it, where alone their members are looked for.  A pool of which less than half lives is thinned: what lives
 * becomes inline content again, to be pooled anew with others.  A member that was cloned lives on under the clone's name, too;
 * that one is not counted and keeps the chunk.
 *
 * Versions of files that are open are left alone: an open file has its inline content in memory.
 *
 * One at a time works on pools; its lock comes before all others, and no other lock may be held in the calls below.
 */
#ifndef POOL_INTERNAL_H
#define POOL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct codec_ctx;
struct store;

enum {
	POOL_MAX = 1 << 20,        /* plain bytes of a pool: a chunk */
	POOL_WINDOW = 16 << 20,    /* of the files that are sorted and pooled together */
	POOL_FILES = 16384,        /* at most */
	POOL_MIN = 256 << 10,      /* less waits for more, */
	POOL_MIN_CLOSE = 16 << 10, /* but not beyond the closing of the store */
	POOL_TURN = 4,             /* pools made in one go, committed together */
};
#define POOL_REST_NS ((int64_t)10 * 1000000000)     /* how long a file has to be left alone */
#define POOL_ROUND_NS ((int64_t)10 * 1000000000)    /* between two walks through what is inline */
#define POOL_THIN_NS ((int64_t)60 * 1000000000)     /* between two looks for pools to thin */
#define POOL_CLOSE_NS ((int64_t)3 * 1000000000)     /* what closing may take */

/* A version on its way into a pool. */
struct pool_member {
	uint64_t version, ino, parent;
	uint32_t len;              /* plain bytes */
	uint32_t at;               /* in the pool */
	uint8_t head[13];          /* of the inline content: tells whether it changed */
	bool busy;                 /* it is left alone: open, or changed meanwhile */
	char ext[8], name[40];     /* what it is sorted by */
};

struct pool {
	pthread_mutex_t lock;
	struct codec_ctx *ctx[2];  /* with all effort, for two chunks under way; made when first needed */
	struct pool_member *plan;  /* POOL_FILES of them: a window, sorted; NULL before the first */
	size_t n, next;            /* in the plan; the next to be pooled */
	uint64_t share;            /* plain bytes that a pool of this window gets */
	uint64_t cursor;           /* versions up to here were looked at in this round */
	int64_t round_ns, thin_ns; /* CLOCK_MONOTONIC of the last ones; 0 none */
	atomic_bool died;          /* a version that may have been pooled is gone */
};

int pool_open(struct store *s);
void pool_close(struct store *s);

/* Called about once a second: a little of what is due, when nobody writes. 0 or -errno. */
int pool_tick(struct store *s);
/*
 * Pools what there is, at least `least` bytes at a time; with `rested` only what has been left alone.  Ends at `until`
 * (CLOCK_MONOTONIC ns; 0: no end), but not before one turn (POOL_TURN).  0 or -errno: what is done is done.
 */
int pool_all(struct store *s, uint64_t least, bool rested, int64_t until);
/* Thins what should be thinned. */
int pool_thin(struct store *s);

/* --- pool.c, pool_fill.c, pool_thin.c among themselves; pool.lock held ------------------------------------- */

/* Frees the encoders: some MiB that nobody needs for a while. */
void pool_rest_encoders(struct pool *p);
/* Makes up to `chunks` pools of the plan's next members. */
int pool_fill(struct store *s, unsigned chunks);

#endif
