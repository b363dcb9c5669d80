/*
 * chunk_internal.h: chunks, for the modules of store/.
 *
 * chunks.db: chunk(id INTEGER PRIMARY KEY, hash BLOB, raw_len, codec, base, "check", hint, pred, data BLOB);
 * rollback journal (PERSIST), synchronous=FULL, 4 KiB pages, auto_vacuum=INCREMENTAL, secure_delete=OFF, mmap_size=0.  One connection,
 * one mutex (the chunks lock); one open transaction, the open batch, that chunks_commit() ends.  base is 0 or the id of
 * the chunk that the payload is a difference to.  check is codec_check() of the payload.  hint and pred are for those who
 * encode the chunk anew: chunk_note_pack(), and the predecessor where its difference was put off (negative: was looked
 * at), or 0.  A chunk's plain bytes never change; codec, base, check, hint, pred and data may, together (recode.c).
 * Partial indexes say who leans on a chunk (base > 0) and who waits (pred > 0); the row of table `state` holds the next
 * id and the totals.
 *
 * A chunk on its way in:
 *
 *   chunk_submit ---> queue ---> worker: fingerprint, known? (index in meta.db, confirmed against the row; or another one
 *   under way), else SHA-256, encode, insert ---> id.
 *
 * Where more chunks wait, SHA-256 is taken later (chunk_name.c).
 *
 * Ids grow in the order of insertion and are never used twice.  What is inserted is readable at once, but is safe only
 * when its batch is committed: a manifest may name a chunk only after chunks_commit() or chunks_commit_batch(), or after
 * meta_stage_chunk() in the manifest's own transaction.
 *
 * Batches are numbered from 1.  One ends by being committed or by being lost: SQLite rolls a transaction back by itself
 * when the disk is full beyond the reserve or fails.  The chunks of a lost batch are gone (but for those staged, which
 * are brought in again) and whoever counted on them hears it from chunks_commit_batch().  After a full disk the next
 * batch starts clean; an I/O error marks the store failed.
 *
 * Pins: whoever will name a chunk in a manifest that is not yet written holds a pin on its id, so that gc leaves it
 * alone.
 *
 * Locks: file lock, then chunks lock, then meta lock; the locks of queue, cache, twins, staged ids and pins are leaves
 * below them.  No function here may be called with the meta lock held unless it says so.  Reading and inserting wait
 * while a commit syncs; hashing, encoding and decoding hold no lock and go on.
 */
#ifndef CHUNK_INTERNAL_H
#define CHUNK_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/codec_chunk.h"
#include "codec/codec_hash.h"
#include "codec/codec_print.h"

struct store;

/*
 * Opens chunks.db of s->path (meta.db is open already), brings staged chunks of an earlier life into it, catches up with
 * the index, starts the workers.  With s->readonly nothing is written.  -ENOENT, -EIO, -EROFS, -EPROTONOSUPPORT.
 */
int chunks_open(struct store *s, bool create);
/*
 * Stops the threads and closes.  Commits nothing: whoever wants to keep what is inserted calls chunks_commit() before.
 * Jobs still queued end with -ECANCELED.  Nothing opened is fine.
 */
void chunks_close(struct store *s);

/* --- the way in ---------------------------------------------------------------------------------- */

/*
 * What a chunk's plain bytes are known by: their fingerprint under the store's key (16 bytes) and their SHA-256 (32).  In
 * chunk.hash and staged.hash, and in b, they follow one another; len says which are there: 48 both; 16 SHA-256 is not
 * taken yet; 32 a chunk of format 2, which had no fingerprints; 0 nothing is known (a damaged row).
 */
enum { CHUNK_NAME_MAX = CODEC_PRINT_LEN + CODEC_HASH_LEN };
struct chunk_name {
	uint8_t len;
	uint8_t b[CHUNK_NAME_MAX];
};

/*
 * A chunk under way.  The submitter fills raw (taken: freed with free() when the last reference goes), len, hint;
 * after `done` reads id or error.  raw stays readable as long as a reference is held.
 */
struct chunk_job {
	atomic_int refs;
	uint8_t *raw;
	uint32_t len;
	struct codec_hint hint;
	uint64_t record, record_off;
	struct codec_ctx *ctx;     /* lent until done: encodes, with all effort; NULL: the worker's own */
	uint64_t predecessor;      /* id of a chunk that may serve as base; 0 none */
	/* set by the pipeline before done; the id is pinned once for the submitter, who calls chunk_unpin() */
	atomic_int done;
	uint64_t id;
	uint64_t batch;            /* the batch that holds the chunk; 0: it is committed */
	int error;                 /* 0 or -errno */
	bool known;                /* the bytes were in the store already */
	/* the pipeline's own */
	struct chunk_name name;
	struct chunk_job *next;
};

/* A job with one reference, for len bytes at raw. NULL: no memory (raw is not freed then). */
struct chunk_job *chunk_job_new(uint8_t *raw, uint32_t len);
void chunk_job_ref(struct chunk_job *j);
void chunk_job_unref(struct chunk_job *j); /* NULL is fine */

/*
 * Queues a job; the pipeline takes a reference of its own until it is done.  Blocks while store_options.dirty_bytes of
 * plain bytes are under way.  Before a chunk is inserted the free space is looked at, so that a full disk shows as
 * -ENOSPC of this job and the database's transaction survives.  Fails at once, and nothing is queued, with -EIO (the
 * store has failed), -EROFS, -EINVAL (length out of range).  No lock may be held but the file's.
 */
int chunk_submit(struct store *s, struct chunk_job *j);
/* Waits until it is done; returns j->error (the message is set). */
int chunk_wait(struct store *s, struct chunk_job *j);

/* --- commit --------------------------------------------------------------------------------------- */

/*
 * Commits all that is inserted so far, synced.  Afterwards staged rows up to there may go (store_tick deletes them).
 * Callers that wait while another one commits share its result.  -ENOSPC, -EDQUOT, -ENOMEM: the batch that was open at
 * the call is lost; -EIO: and the store has failed.
 */
int chunks_commit(struct store *s);
/* 0 when this batch is committed (commits it if it is the open one), or the error it was lost with. 0 is fine. */
int chunks_commit_batch(struct store *s, uint64_t batch);
/* The same for every batch from lo to hi, hi included; 0, 0: nothing. */
int chunks_commit_range(struct store *s, uint64_t lo, uint64_t hi);
/* 0: committed; 1: open; or the error it was lost with. Commits nothing; no message for 0 and 1. */
int chunks_batch_state(struct store *s, uint64_t batch);
/* The highest id that is committed. Lower ones may have been lost with their batch: ask by batch where that matters. */
uint64_t chunks_committed(struct store *s);
/* Plain bytes of the chunks inserted or encoded anew since the last commit. */
uint64_t chunks_pending(struct store *s);

/*
 * The stored form of an uncommitted chunk, read for staging: *payload is malloc()ed, caller frees. Meta lock not held.
 * -ENOENT: there is no such chunk; the error of its batch when it was lost.
 */
struct chunk_row {
	uint64_t id, base;
	uint64_t batch;            /* as in chunk_job */
	struct chunk_name name;
	uint32_t raw_len;
	int codec;
	int64_t check;
	int64_t hint, pred;        /* for chunk_row_insert() and chunk_row_replace(); not read */
	bool plain;                /* for chunk_row_insert(): into chunks.plain (chunk_plain.c); codec is CODEC_RAW, pred > 0 */
	uint8_t *payload;
	size_t payload_len;
};
int chunk_row_read(struct store *s, uint64_t id, struct chunk_row *out);
void chunk_row_release(struct chunk_row *r);
/* Writes such a row to meta.staged (once; a second time for one id is no error). Meta lock held, in a transaction. */
int meta_stage_chunk(struct store *s, const struct chunk_row *r);
/* 1 when the chunk is in meta.staged as this transaction sees it, else 0; -errno. Meta lock held. */
int meta_chunk_staged(struct store *s, uint64_t id);
/*
 * Deletes staged rows of chunks that are committed, brings those of a lost batch into chunks.db again, and writes index
 * rows that are due.  Called by store_tick and after chunks_commit().
 */
int chunks_unstage(struct store *s);

/* --- the way out ---------------------------------------------------------------------------------- */

/* Decoded bytes of a chunk, shared, never changed. */
struct chunk_buf {
	atomic_int refs;
	uint32_t len;
	uint64_t id;
	uint8_t *data;
};
/*
 * The plain bytes of a chunk, through the cache.  The payload's checksum is verified, bases are followed (without
 * recursion, bounded).  -EIO: damaged or missing, the message names the chunk.
 */
int chunk_get(struct store *s, uint64_t id, struct chunk_buf **out);
void chunk_put(struct chunk_buf *b); /* NULL is fine */
/*
 * Who reads on and on is through with a chunk: of these only the last few stay in the cache, unless they are asked for again.  The
 * kernel has the bytes in its own cache now, and what is decoded next comes into memory that is at hand.
 */
void chunk_spent(struct store *s, uint64_t id);
/* Somebody reads a file: work that can wait gives way for a while. */
void chunk_reader_came(struct store *s);
/* Asks workers to bring these chunks into the cache; never blocks, may do nothing. */
void chunk_prefetch(struct store *s, const uint64_t *ids, size_t n);

/* --- pins ----------------------------------------------------------------------------------------- */

int chunk_pin(struct store *s, uint64_t id);   /* counted. -ENOMEM */
void chunk_unpin(struct store *s, uint64_t id);

/* --- what is going on ----------------------------------------------------------------------------- */

/* Counted since chunks_open(), but for the last group. */
struct chunk_counters {
	uint64_t jobs, known;                /* chunks that came in; of these, the bytes were there already */
	uint64_t raw_bytes;                  /* plain bytes of all jobs */
	uint64_t new_bytes, stored_bytes;    /* of the chunks that were new: plain, and as stored */
	uint64_t commits, lost;              /* batches by their end */
	uint64_t hits, misses;               /* of the cache of decoded chunks */
	uint64_t decoded_bytes;
	uint64_t prefetched;                 /* chunks decoded ahead */
	uint64_t gc_runs, gc_chunks, gc_bytes;
	uint64_t postponed;                  /* differences put off for writers' sake, */
	uint64_t taken, passed;              /* and what became of those and older ones: taken, or not worth it */
	/* now */
	uint64_t queue, queue_bytes;         /* jobs not done yet, and their plain bytes */
	uint64_t plain_bytes;                /* of chunks.plain: chunks that are yet to be encoded, and what was before them */
	uint64_t cache_bytes;
	uint64_t pins;                       /* ids pinned */
	uint64_t chunks, chunk_raw, chunk_stored; /* all in chunks.db: how many, plain bytes, payload bytes */
};
void chunk_counters(struct store *s, struct chunk_counters *out);

/* --- idle time (recompress_idle.c; store_recompress() is in store_admin.h) ------------------------------ */

/*
 * Called about once a second, by one thread: when differences or chunks that are yet to be encoded wait and no chunk came
 * for a second, a thread of the lowest priority takes them.  It gives way as soon as one comes.
 */
int recompress_idle_step(struct store *s);
/* Stops that thread and waits for it; none is started any more. A second time does nothing. */
void recompress_idle_stop(struct store *s);
/*
 * Before the store is closed, all else being committed: takes what still waits, in haste, for some seconds at most.  A
 * failure costs no more than that work, and goes to the log.
 */
void recompress_idle_finish(struct store *s);

/* --- garbage (gc.c; store_gc() itself is in store_admin.h) ---------------------------------------- */

/*
 * Called about once a second, by one thread: starts an automatic collection in a thread of its own when one is due.
 * Short of space, the oldest of the history is given up first.
 */
int gc_step(struct store *s);
/*
 * Stops that thread and waits for it; none is started any more.  Called first of all when the store is closed: it uses
 * the tree.  A second time does nothing.
 */
void gc_stop(struct store *s);

#endif
