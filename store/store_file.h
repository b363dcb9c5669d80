/*
 * store_file.h: the content of one file.
 *
 * One store_file stands for the content of one inode, shared by everybody who has it open.  Reading and
 * writing see one another at once, as POSIX asks.  What is written is not yet the file's published version:
 * it becomes that in one transaction, at store_file_publish(); until then a crash leaves the version before.
 *
 *   write ---> stream ---> cutter ---> pipeline (hash, known?, encode, chunks.db) ---> pieces
 *         \--> blocks (random writes: 64 KiB cells with their content)  --at publish--^
 *
 *   read:  stream's tail, then blocks, then pieces not yet published, then the published manifest
 *
 * A session begins with the first change after open or publish and ends with publish or abort.  A session that
 * began with store_file_replace() (O_TRUNC) makes its version from nothing; others from the one before.
 *
 * Memory is bounded by store_options.dirty_bytes over all files, whatever their size: a writer that goes
 * beyond waits for the pipeline.
 *
 * Concurrency: all functions take the file's own lock; reads run side by side.  They may block for the disk.
 */
#ifndef STORE_FILE_H
#define STORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "store_tree.h"

struct store;
struct store_file;

/* The content of inode `ino` (a regular file), or -ENOENT, -EINVAL.  The caller has at most one open for an inode at a time. */
int store_file_open(struct store *s, uint64_t ino, struct store_file **out);
/*
 * A version by its id, read-only: one of the history, or a file's present one as it is published.  It is held (store_version.h)
 * until it is closed, whatever becomes of the file.  -ENOENT.
 */
int store_file_open_version(struct store *s, uint64_t version, struct store_file **out);
/* Frees it. What was not published is lost: publish first. NULL is fine. */
void store_file_close(struct store_file *f);

/* Reads up to len bytes at off; returns how many (fewer only at the end of the file) or -EIO: damage, never wrong bytes. */
ssize_t store_file_read(struct store_file *f, uint64_t off, void *buf, size_t len);

/*
 * Writes all of len bytes at off (off == STORE_APPEND: at the end) or fails having written nothing that counts.
 * -ENOSPC, -EDQUOT, -EIO, -EFBIG (beyond 2^63-1), -EROFS.  Sets mtime and ctime.
 */
#define STORE_APPEND UINT64_MAX
int store_file_write(struct store_file *f, uint64_t off, const void *buf, size_t len);
/*
 * The same in two steps, for whoever answers a writer in between.  begin decides whether the write is in order and
 * makes it visible to everybody.  Where *late (false before) comes back true, buf is borrowed until end, which the
 * same caller calls soon, whatever became of the file meanwhile (but that it is not closed); it hands the bytes on,
 * which may block.  What goes wrong then is an error of the session: the next write tells it, and so does publish.
 */
int store_file_write_begin(struct store_file *f, uint64_t off, const void *buf, size_t len, bool *late);
void store_file_write_end(struct store_file *f);

/* Sets the size; new bytes are a hole. Sets mtime and ctime. -EFBIG. */
int store_file_truncate(struct store_file *f, uint64_t size);
/* O_TRUNC on open: the session from now on replaces the whole content; size is 0. Sets mtime and ctime. */
int store_file_replace(struct store_file *f);
/* fallocate(2): makes [off, off+len) a hole, size unchanged, clipped at the size. Sets mtime and ctime. */
int store_file_punch(struct store_file *f, uint64_t off, uint64_t len);
/* Shares len bytes of src with dst at doff without copying (they may be one file, not overlapping: -EINVAL).
 * Clipped at src's size; returns how many bytes. Content of src written so far is included. Sets dst's mtime and ctime. */
int64_t store_file_clone(struct store_file *src, uint64_t soff, struct store_file *dst, uint64_t doff,
		uint64_t len);
/*
 * How many bytes from aoff of a and from boff of b, at most len, are known to be the same without looking at them: both name the
 * same bytes of the same chunks, or are holes.  0: nothing is known of the first ones, which may be equal all the
 * same.  a and b may be one file.  -EIO: a manifest is damaged.
 */
int64_t store_file_same(struct store_file *a, uint64_t aoff, struct store_file *b, uint64_t boff, uint64_t len);
/* lseek(2) SEEK_DATA, SEEK_HOLE, in cells of 64 KiB: a smaller hole is told as data. -ENXIO. */
int store_file_seek(struct store_file *f, uint64_t off, int whence, uint64_t *out);

/* Replaces size, data, mtime, ctime, version in *io (from store_getattr) by what holds now, session included. */
void store_file_stat(struct store_file *f, struct store_attr *io);
/* Tells the session of times set by utimens or chmod, so that publish does not undo them (mask as store_setattr). */
void store_file_set_times(struct store_file *f, const struct store_attr *attr, unsigned mask);

/* What is going on in it. */
struct store_file_state {
	bool dirty;      /* something is not published */
	bool replacing;  /* the session began with store_file_replace() or the file is new and never was published */
	bool fresh;      /* never published: provisional */
	bool appended;   /* all the session did was to append */
	int error;       /* a write of this session failed with this errno in the background; 0 none */
	uint64_t written; /* bytes written in this session */
	int64_t since;   /* CLOCK_MONOTONIC ns of the session's first change */
};
void store_file_state(struct store_file *f, struct store_file_state *out);

/*
 * Publishes the session as the file's version, in one transaction, and commits it: after success the content
 * survives kill -9.  A session with nothing new still settles a provisional file.  With `durable`, or when the
 * session wrote 1 MiB or more, it and the names committed so far survive a power cut.  The version before goes to
 * the history where its rules say so.  A session that failed in the background returns that error; nothing
 * is published and the session stands (see abort).
 */
int store_file_publish(struct store_file *f, bool durable);

/*
 * Ends the session without publishing: the version before stands.  With keep_torn what was written is kept
 * in the history, marked torn.  A file that is fresh afterwards is an empty provisional file: the caller removes its name.
 */
int store_file_abort(struct store_file *f, bool keep_torn);

#endif
