/*
 * store_cost.h: what a file costs, for `ckptfs stat`.
 */
#ifndef STORE_COST_H
#define STORE_COST_H

#include <stddef.h>
#include <stdint.h>

struct store;

enum { STORE_COST_CODECS = 16 };

struct store_cost_codec {
	int codec;               /* as codec_name() takes it */
	uint64_t chunks;
	uint64_t raw, stored;    /* plain bytes of these chunks, and payloads; of pools the file's part */
};

struct store_cost {
	uint64_t version;        /* what was looked at: the file's present version; 0: empty, and all else is 0 */
	uint64_t raw;            /* size */
	uint64_t data;           /* bytes that are no hole */
	uint64_t inlined, inlined_stored; /* of these, kept in meta.db beside the file's row: plain, and as stored */
	uint64_t pooled, pooled_stored;   /* kept in a chunk together with other small files: plain, and their part of its payload */
	uint64_t chunks;         /* distinct ones that it names, pools included */
	uint64_t stored;         /* payloads of these chunks in full (of a pool: the file's part), and what is inline */
	uint64_t own;            /* of `stored`, what no other file names: it goes when the file is deleted, and nothing else needs it */
	unsigned deepest;        /* bases below one another, under the worst of its chunks; 0: it holds no difference */
	unsigned ncodecs;
	struct store_cost_codec codecs[STORE_COST_CODECS]; /* most stored first */
};

/*
 * What inode `ino` costs.  Other files are those of the tree and the versions of the history; a chunk that only serves one
 * of them as base counts as named by it, so `own` is what a collection gives back.  Looks through the manifests of the whole
 * store, a few rows at a time, some bytes of memory a chunk of the file; what changes meanwhile is counted as it is met.
 * -ENOENT, -EINVAL (no regular file), -ENOMEM.
 */
int store_cost(struct store *s, uint64_t ino, struct store_cost *out);

/*
 * Tells emit() which other files name chunks of inode `ino`: path (from the root; of a version of the history the path it had, with
 * `past` set), how many plain bytes of the file they share.  Largest first, then by path, `most` at most (the smaller ones
 * are left out).  Files that are in one pool with it share nothing.  emit returns non-zero to stop; no lock is held in it.
 */
int store_cost_shared(struct store *s, uint64_t ino, unsigned most,
		int (*emit)(void *arg, const char *path, size_t len, uint64_t bytes, int past), void *arg);

#endif
