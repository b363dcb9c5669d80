/*
 * store_admin.h: what df, verify, gc and recompress do.
 *
 * All of these may run while the store is in use: they hold the databases only for moments.  They report progress
 * and stop early, with -ECANCELED, when the callback returns non-zero.
 */
#ifndef STORE_ADMIN_H
#define STORE_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

struct store;

/* done and total in the same unit (bytes, or rows when `bytes` is false); total may grow. May be NULL where a progress is taken. */
typedef int (*store_progress)(void *arg, uint64_t done, uint64_t total, bool bytes);

struct store_gc_result {
	uint64_t chunks, bytes;     /* deleted: how many, and their payloads' bytes */
	uint64_t versions;          /* versions of the history that had their time */
	uint64_t live_chunks, live_bytes;
	uint64_t given_back;        /* bytes by which the store's files shrank */
};
/* Frees every chunk that nobody names. */
int store_gc(struct store *s, store_progress progress, void *arg, struct store_gc_result *out);

struct store_recompress_result {
	uint64_t chunks, better;    /* looked at; of these, got a shorter form */
	uint64_t saved;             /* bytes by which those payloads became shorter */
	uint64_t unreadable;        /* chunks that can't be read: store_verify() tells which */
	uint64_t live_chunks, live_raw, live_bytes; /* afterwards: how many, their plain bytes, their payloads' */
	uint64_t given_back;        /* bytes by which the store's files shrank */
};
/*
 * Gives each chunk that has not been looked at before the shortest form that can be found: all effort, and differences to
 * what lay at the same place of the checkpoints before, also where saving had no time for that or did not know.  Then
 * collects garbage.  Plain bytes, ids and versions stay; it may be killed or stopped at any moment and goes on where it
 * was.  One at a time: a second call waits for the first.  It takes long, and lets writers pass.
 */
int store_recompress(struct store *s, store_progress progress, void *arg, struct store_recompress_result *out);

struct store_verify_result {
	uint64_t inodes, versions, chunks;
	uint64_t bytes;             /* plain bytes compared with their SHA-256 */
	uint64_t problems;
};
/*
 * Checks the store: both databases' own integrity, tree (every inode has its names, link counts, parents),
 * versions and manifests (gapless, chunks exist, within bounds), the index; payload checksums; with `data` every chunk decoded and compared
 * with its SHA-256.  Each problem is told to `problem` in one line for people, naming the path where there is one.
 */
int store_verify(struct store *s, bool data, void (*problem)(void *arg, const char *line), store_progress progress,
		void *arg, struct store_verify_result *out);

/* One line of df: a directory or file of the tree summed up. */
struct store_usage {
	uint64_t files;
	uint64_t raw;     /* bytes as users see them (holes not counted) */
	uint64_t unique;  /* plain bytes of the distinct chunks and inline files it names */
	uint64_t stored;  /* payload bytes of those chunks; shared ones are counted in full for each line, once within a line */
	uint64_t own;     /* payload bytes of chunks that no other line names */
};
struct store_usage_codec { int codec; uint64_t chunks, raw, stored; };
/*
 * Counts what lies below `under` (a path from the root, "" for all; a file is fine).  group() says to which line a file
 * belongs, an index below max_groups, or -1 to leave it out; it gets the path from the root and the rest of it below `under`, and is
 * called for every file before anything is written to out[].  out has room for max_groups lines, codecs for 16 (of the
 * union).  *all is the union of the lines: a chunk that several name counts once, a file with several names too.
 * An inline file counted under two lines by two names counts as each one's own.
 */
int store_usage(struct store *s, const char *under, int (*group)(void *arg, const char *path, const char *rest), void *arg,
		unsigned max_groups, struct store_usage *out, struct store_usage *all, struct store_usage_codec *codecs,
		unsigned *ncodecs);

#endif
