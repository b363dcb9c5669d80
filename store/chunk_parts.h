/*
 * chunk_parts.h: struct chunks and what its modules share with one another.  Nobody else includes it.
 *
 *   chunk_db.c     chunks.db: statements and batches
 *   chunk_row.c    its rows and ids
 *   chunk_plain.c  chunks.plain: bytes of chunks that are yet to be encoded
 *   chunk_base.c   what a chunk is to be a difference to
 *   chunk_name.c   fingerprint and SHA-256
 *   chunk_index.c  name -> id, in memory for what is new, in meta.db for what is committed
 *   chunk_stage.c  chunks that live in meta.db until theirs is committed in chunks.db
 *   chunk_pipe.c   queue and workers
 *   chunk_cache.c  decoded chunks
 *   chunk_pin.c    ids in use, and the marks of a collection
 *   recode.c       a chunk encoded anew
 *   recompress_idle.c  differences that were put off, taken when nobody writes
 *   gc.c           collection
 *   gc_mark.c      what is live
 *   gc_bases.c     bases that only differences hold
 */
#ifndef CHUNK_PARTS_H
#define CHUNK_PARTS_H

#include <pthread.h>
#include <sqlite3.h>

#include "chunk_internal.h"
#include "meta_internal.h"
#include "row_pages_internal.h"
#include "store_internal.h"

/* --- a map from ids to numbers (chunk_pin.c) ------------------------------------------------------ */

/* Open addressing, linear probing; key 0 is an empty slot. */
struct idmap {
	uint64_t *keys, *vals;
	size_t cap, n;
};
/* The value's place, or NULL. */
uint64_t *idmap_find(const struct idmap *m, uint64_t key);
/* The value's place, made with 0 when new; NULL: no memory. */
uint64_t *idmap_get(struct idmap *m, uint64_t key);
void idmap_remove(struct idmap *m, uint64_t key);
void idmap_release(struct idmap *m);

/* --- chunks.db ------------------------------------------------------------------------------------ */

/* Batches (and the ids in them) that ended badly; neighbours are merged when the table is full. */
struct lost_batch {
	uint64_t from, to;
	uint64_t id_from, id_to;
	int error;
};

enum { CHUNK_LOST_MAX = 64, CHUNK_CACHE_KIB = 16384 };

enum chunk_stmt {
	ST_BEGIN, ST_COMMIT, ST_ROLLBACK, ST_STATE, ST_INSERT, ST_INSERT_AT, ST_REPLACE, ST_SETTLE, ST_ROW, ST_ROW_OLD, ST_HEAD,
	ST_HEAD_OLD, ST_DELETE, ST_LEANED, ST_LIST, ST_WAITING, ST_LATE_ADD, ST_LATE_DROP, ST_SHA_PUT, ST_SHA_DUE, ST_SAVE, ST_UNDO,
	ST_KEEP, ST_PLAIN_FIRST, ST_PLAIN_LAST, CHUNK_STMTS
};

struct chunk_db {
	pthread_mutex_t lock;      /* the chunks lock: guards all of this struct but the atomics */
	sqlite3 *db;
	sqlite3_stmt *stmts[CHUNK_STMTS];
	uint64_t next_id;
	uint64_t first_id, last_id; /* fresh ids of the open batch; 0 none */
	int64_t chunks, raw, stored;             /* totals, the open batch included */
	int64_t was_chunks, was_raw, was_stored; /* as committed */
	struct lost_batch lost[CHUNK_LOST_MAX];
	unsigned nlost;
	bool told;                 /* since the last commit the log was told of a loss */
	bool hurt;                 /* a statement met a damaged page (page_sums_internal.h); who wants to know clears it before */
	bool old;                  /* read-only, of an older format: hint, pred and late are not looked at */
	struct row_pages pages;    /* set at open; needs no lock */
	/* Set at open, read by anybody. */
	uint8_t key[CODEC_PRINT_KEY_LEN]; /* of fingerprints */
	uint64_t sha_upto;         /* chunks up to this id may have no fingerprint; 0: all have one */
	bool plain;                /* its format knows chunks.plain */
	/* Written under the lock, read by anybody. */
	atomic_bool txn;           /* a transaction is open */
	_Atomic uint64_t batch;    /* number of the open batch */
	_Atomic uint64_t committed;
	_Atomic uint64_t pending;
	_Atomic uint64_t pending_chunks, pending_stored;
	atomic_bool any_lost;
};

int chunk_db_open(struct store *s, bool create);
/* While the store is opened: ids up to this one are not given out again, whatever chunks.db says. */
void chunk_db_pass(struct store *s, uint64_t id);
void chunk_db_close(struct store *s);

/* The positive errno for SQLite's code rc; the same with the message, negative. */
int chunk_db_errno(sqlite3 *db, int rc);
int chunk_db_fail(struct chunk_db *d, int rc);

/* A prepared statement, clean; NULL with the message set and *rc when it can't be made. Lock held. */
sqlite3_stmt *chunk_stmt(struct chunk_db *d, enum chunk_stmt which, int *rc);
/* Runs one that gives no rows. 0 or -errno. Lock held. */
int chunk_run(struct chunk_db *d, enum chunk_stmt which);
/* Runs one that gives at most one id: 1 and *id, 0 none, -errno. Lock held. */
int chunk_run_id(struct chunk_db *d, sqlite3_stmt *st, uint64_t *id);

/* Makes sure that a batch's transaction is open. Lock held. */
int chunk_batch_begin(struct store *s);
/* A changing statement failed with rc (-errno): did it take the transaction with it? Lock held. Returns rc. */
int chunk_batch_failed(struct store *s, int rc);
/*
 * Around a change that may meet a damaged page and stop half way: end, with the change's result, takes back what it did then and
 * leaves the rest of the batch alone (-EIO); after any other failure as chunk_batch_failed().  Lock held, a batch is open.
 */
int chunk_change_begin(struct store *s);
int chunk_change_end(struct store *s, int rc);

/* A chunk's row without its payload. */
struct chunk_head {
	uint64_t base;
	struct chunk_name name;
	uint32_t raw_len, payload_len;
	int codec;
	bool plain;                /* it waits in chunks.plain; codec is CODEC_RAW then */
	int64_t check, hint, pred; /* as in chunk_row */
};
/* 1 and *out, 0 no such row, -errno. The first takes the lock, the second wants it held. */
int chunk_head_read(struct store *s, uint64_t id, struct chunk_head *out);
int chunk_head_locked(struct store *s, uint64_t id, struct chunk_head *out);

/*
 * Inserts r under a fresh id (r->id == 0), or under the id it has unless that is there already.  The id is pinned once
 * with `pin` and entered into the list of what is to be indexed as `twin` (may be NULL).  Sets r->id and r->batch.
 * Takes the lock.
 */
struct twin;
int chunk_row_insert(struct store *s, struct chunk_row *r, bool pin, struct twin *twin);
/* Deletes a row in the open batch. Lock held. */
int chunk_row_delete(struct store *s, uint64_t id, const struct chunk_head *h);
/* Has a row behind `after` that is a difference to `id`: 1 with the smallest such id, 0, -errno. Lock held. */
int chunk_row_leaned_on(struct store *s, uint64_t id, uint64_t after, uint64_t *by);
/*
 * Gives a chunk another form, in the open batch: r's codec, base, check, hint, pred and payload.  Its plain bytes, and so
 * its hash, stay.  The caller has pinned r->base, and knows from decoding r->payload that it gives these bytes.
 * -ESTALE: it is not what `was` says any more, is staged, or its base is gone; -ELOOP: it would have more bases below one
 * another than `deepest`, or a chunk that leans on it more than CHUNK_DEPTH_FAR.  Takes the lock.
 */
int chunk_row_replace(struct store *s, const struct chunk_row *r, const struct chunk_head *was, unsigned deepest);
/* Only its hint and pred. -ESTALE: it is gone or not what `was` says. Takes the lock. */
int chunk_row_settle(struct store *s, uint64_t id, const struct chunk_head *was, int64_t hint, int64_t pred);
/* The lowest id above `above` that waits to be encoded anew (pred > 0): 1, 0 none, -errno. Takes the lock. */
int chunk_row_waiting(struct store *s, uint64_t above, uint64_t *id);
/* Ids and names of the rows behind `after`, up to n of them; returns how many, or -errno. Takes the lock. */
int chunk_rows_list(struct store *s, uint64_t after, uint64_t *ids, struct chunk_name *names, int n);
/*
 * Takes free pages off the file, in the open batch: n at most, and only as many as fit into `ns` nanoseconds.  Returns how
 * many are left, or -errno.  Takes the lock.
 */
int64_t chunk_db_shrink(struct store *s, int n, int64_t ns);
/* Bytes of chunks.db by its own count. */
uint64_t chunk_db_size(struct store *s);
/* The error with which this id was lost, or 0. Takes the lock. */
int chunk_lost(struct store *s, uint64_t id);
/* Ids below this are given out. */
uint64_t chunk_next_id(struct store *s);

/* --- chunks.plain (chunk_plain.c) ----------------------------------------------------------------------- */

/* What the column codec says of a chunk in it; its data is CHUNK_PLAIN_PLACE bytes then, a little-endian offset. */
enum { CHUNK_PLAIN = 64, CHUNK_PLAIN_PLACE = 8 };
/* What may wait there, which is space that the store takes too much meanwhile. */
#define CHUNK_PLAIN_MAX (UINT64_C(1) << 30)

/* Of the chunks lock, but for end, which it guards against writing. */
struct chunk_plain {
	char *path;
	sqlite3_file *file;        /* NULL: not made yet */
	_Atomic uint64_t end;      /* where the next one goes; 0: nobody is in it */
	bool unsynced;             /* there is something that was not synced */
	bool left;                 /* since the last trim a row that named a place here ceased to */
};
/* After the state of chunks.db is known. */
int chunk_plain_open(struct store *s);
void chunk_plain_close(struct store *s);
/* Is there room for another? Any thread. */
bool chunk_plain_room(struct store *s, uint32_t len);
/* The others want the lock held. */
int chunk_plain_put(struct store *s, const uint8_t *raw, uint32_t len, uint8_t place[CHUNK_PLAIN_PLACE]);
/* What a row's data says. */
int chunk_plain_place(const uint8_t *place, size_t len, uint64_t *off);
int chunk_plain_get(struct store *s, uint64_t off, uint8_t *raw, uint32_t len);
/* Before a commit: what its rows name is durable. */
int chunk_plain_sync(struct store *s);
/* After one: the place of those that left is given back. */
void chunk_plain_trim(struct store *s);

/* --- names (chunk_name.c) ---------------------------------------------------------------------------- */

/* The fingerprint of plain bytes alone. */
int chunk_name_print(struct store *s, const uint8_t *raw, size_t len, struct chunk_name *out);
/* SHA-256 too, behind it. */
int chunk_name_sha(const uint8_t *raw, size_t len, struct chunk_name *n);
/* From a column; of no known length: empty, false. */
bool chunk_name_get(sqlite3_stmt *st, int column, struct chunk_name *out);
/* Adds the SHA-256 that was taken later, if it was; false: there is something that can't be there. */
bool chunk_name_late(sqlite3_stmt *st, int column, struct chunk_name *n);
void chunk_name_bind(sqlite3_stmt *st, int param, const struct chunk_name *n); /* n outlives the step */
/* The key under which the index has it. */
int64_t chunk_name_prefix(const struct chunk_name *n);
/* Both are names of the same bytes, as far as what they have in common says; false when that is nothing. */
bool chunk_name_same(const struct chunk_name *a, const struct chunk_name *b);
/* The SHA-256 of plain bytes that n names becomes known, if it was not, in the open batch. No lock held. */
int chunk_name_settle(struct store *s, uint64_t id, const struct chunk_name *n, const uint8_t *raw, size_t len);
/* Plain bytes are those that n names: by SHA-256, or where that is not taken yet by fingerprint.  -EIO: they are not. */
int chunk_name_check(struct store *s, const struct chunk_name *n, uint64_t id, const uint8_t *raw, size_t len);
/*
 * Takes the SHA-256 of chunks that came in without, in the open batch, until none is left or stop() is true: 0 or -errno.
 * No lock held.
 */
int chunk_names_finish(struct store *s, bool (*stop)(void *arg), void *arg);

/* --- bases ---------------------------------------------------------------------------------------- */

/* Bases below one another: as a rule, and where each step is tiny (chunk_base.c). */
enum { CHUNK_DEPTH = 4, CHUNK_DEPTH_FAR = 8, CHUNK_TURN = 17 };

/* chunk.pred of a chunk that waits to be encoded and has no predecessor. */
#define CHUNK_PRED_NONE INT64_MAX

/* What chunk.hint holds. */
struct chunk_note {
	struct codec_hint hint;
	uint8_t turn;              /* which of CHUNK_TURN it is, counted from the last one without a base */
	bool done;                 /* was encoded with all effort */
};
int64_t chunk_note_pack(const struct chunk_note *n); /* never 0, always eight bytes in the row */
void chunk_note_unpack(int64_t packed, struct chunk_note *out); /* all zero for 0 */

/* Which chunks a predecessor offers as bases. */
struct chunk_bases {
	uint64_t near;             /* the predecessor, where its steps are tiny so far; else 0 */
	uint64_t far;              /* the one whose turn it is; 0: this chunk begins a turn, or there is none */
	unsigned near_depth, far_depth; /* bases that each has below itself */
	uint8_t near_turn, far_turn; /* the chunk's own place, if that base is taken */
};
/*
 * Reads rows only.  A predecessor that is not there, or whose row can't be read, offers nothing.  live: only these are
 * offered; NULL: all.
 */
struct live;
void chunk_bases_find(struct store *s, uint64_t pred, const struct live *live, struct chunk_bases *out);
/* Number k of a turn leans on this one, 0 < k < CHUNK_TURN. */
unsigned chunk_turn_base(unsigned k);
/*
 * For idle time, where space counts for more than reading: what chunk `id` may lean on so that neither it nor any chunk
 * above it comes to have more than CHUNK_DEPTH_FAR bases, if those above have no more than CHUNK_DEPTH now.  It is the
 * nearest of `pred`, what that leans on, and so on; 0: none, or one of them leans on the other already.
 */
uint64_t chunk_base_near(struct store *s, uint64_t id, uint64_t pred, const struct live *live);
/* A difference so small that its chain may go on: payload against plain bytes. */
bool chunk_step_tiny(size_t payload_len, size_t raw_len);

/* A base in hand: pinned (but by the collector, who is the one that pins keep off), and its plain bytes. buf NULL: none. */
struct chunk_base {
	uint64_t id;
	struct chunk_buf *buf;
	bool pinned;
};
/* A base is a saving, never a duty: one that is missing or damaged leaves *out empty. */
void chunk_base_take(struct store *s, uint64_t id, struct chunk_base *out);
void chunk_base_drop(struct store *s, struct chunk_base *b);

/* Encodes as a difference to *b, which is dropped when that does not pay; b->buf NULL: alone. Fills r as below. */
int chunk_encode_to(struct codec_ctx *ctx, struct store *s, const uint8_t *raw, uint32_t len, uint8_t *out, size_t cap,
		struct chunk_row *r, const struct chunk_note *note, struct chunk_base *b);
/*
 * Encodes plain bytes, as a difference to what is offered where that pays, into out.  Fills r's codec, base, payload
 * (= out), payload_len, check and note->turn; *used holds r->base until the caller drops it.
 */
int chunk_encode(struct codec_ctx *ctx, struct store *s, const uint8_t *raw, uint32_t len,
		const struct chunk_bases *offer, uint8_t *out, size_t cap, struct chunk_row *r, struct chunk_note *note,
		struct chunk_base *used);

/* --- index ---------------------------------------------------------------------------------------- */

/*
 * A name that came in in this life and has no index row yet.  BUSY: a worker has it in hand, others that bring the same
 * bytes wait in `waiters`.  Then it has its id, and is in the list, which is in the order of ids.
 */
struct twin {
	struct twin *next;         /* same bucket */
	struct twin *older, *newer;
	struct chunk_name name;
	uint32_t raw_len;
	bool busy;
	uint64_t id, batch;
	struct chunk_job *waiters;
};

struct chunk_index {
	pthread_mutex_t lock;      /* guards all below; a leaf but for the pins' lock */
	struct twin **buckets;
	size_t nbuckets, ntwins;
	struct twin *oldest, *newest;
	size_t nlisted;
	pthread_mutex_t flush;     /* one at a time writes index rows; taken before all others */
};

int chunk_index_open(struct store *s);   /* brings the index in meta.db up to date */
void chunk_index_close(struct store *s);

enum twin_found { TWIN_MINE, TWIN_WAIT, TWIN_KNOWN };
/*
 * Looks the job's name up among the twins.  TWIN_KNOWN: j->id and j->batch are set, the id is pinned.  TWIN_WAIT: the
 * job now belongs to the worker that has its twin.  TWIN_MINE: *mine is a fresh busy twin.  -ENOMEM.
 */
int twin_enter(struct store *s, struct chunk_job *j, struct twin **mine);
/* The twin got its id in `batch`: from now on it is found. Chunks lock held, in the order of ids. */
void twin_inserted(struct store *s, struct twin *t, uint64_t id, uint64_t batch);
/* The worker is done with its twin; returns the jobs that waited. A twin that is not in the list is freed. */
struct chunk_job *twin_leave(struct store *s, struct twin *t);
/* The batch is lost: forget its twins. Chunks lock held. */
void twins_lost(struct store *s, uint64_t batch);

/* Looks in meta.db's index; 1: *id is a chunk with these bytes, pinned; 0: none; -errno. No lock held. */
int chunk_index_lookup(struct store *s, const struct chunk_name *n, uint32_t raw_len, uint64_t *id);
/* Writes index rows of committed chunks; all, or only when there are at least `least`. */
int chunk_index_flush(struct store *s, size_t least);
/* The highest id below which no twin is left. */
uint64_t chunk_index_settled(struct store *s);
/* One index row. Meta lock held, in a transaction. */
int chunk_index_add(struct store *s, const struct chunk_name *n, uint64_t id);

/* --- staged --------------------------------------------------------------------------------------- */

struct chunk_stage {
	pthread_mutex_t lock;      /* guards the map; a leaf */
	struct idmap ids;          /* staged id (or one whose staging was rolled back) -> its batch */
	atomic_bool any;
};
int chunk_stage_open(struct store *s);   /* recovery; also tells the highest staged id to chunk_db */
void chunk_stage_close(struct store *s);
bool chunk_maybe_staged(struct store *s, uint64_t id);
/* The staged form of a chunk: 1, 0 there is none, -errno. Takes the meta lock. */
int chunk_staged_read(struct store *s, uint64_t id, struct chunk_row *out);

/* --- pipeline ------------------------------------------------------------------------------------- */

enum { CHUNK_WORKERS_MAX = 64, CHUNK_PREFETCH_MAX = 64 };

struct chunk_pipe {
	pthread_mutex_t lock;      /* guards all below; a leaf */
	pthread_cond_t work, room, done;
	struct chunk_job *head, **tail;
	size_t jobs, bytes, limit; /* not done yet, attached ones included */
	unsigned waiting;          /* in chunk_wait() */
	int64_t last_ns;           /* CLOCK_MONOTONIC of the last job */
	bool flood;                /* see chunk_pipe_flooded() */
	unsigned calm;             /* jobs in a row that came when none was under way */
	_Atomic int64_t read_ns;   /* and of the last chunk that somebody read */
	bool stop;
	uint64_t ahead[CHUNK_PREFETCH_MAX]; /* ring of ids to decode ahead */
	unsigned ahead_at, ahead_n, ahead_busy;
	atomic_int forced;         /* PRESSURE_...: see chunk_pipe_pressed() */
	pthread_t threads[CHUNK_WORKERS_MAX];
	unsigned nthreads;
};
/*
 * Are writers about to wait?  By the queue's length; tests say so themselves with `forced`: each of the values from
 * PRESSURE_NEVER on says no more than the next.
 */
enum { PRESSURE_BY_QUEUE, PRESSURE_NEVER, PRESSURE_ALWAYS, PRESSURE_FLOOD };
bool chunk_pipe_pressed(struct store *s);
/*
 * Somebody writes more than the workers encode: true from when the queue held a few MiB until the writer pauses or the
 * workers wait for him.
 */
bool chunk_pipe_flooded(struct store *s);
/* Has a worker more to do when he is done with his chunk?  Forced alike. */
bool chunk_pipe_behind(struct store *s);
/*
 * Whether the disk has room for `bytes` more; what SQLite holds back in its cache is committed first when that makes the
 * difference, so that the disk is used to its end and no batch is lost there.  -ENOSPC.
 */
int chunk_room_for(struct store *s, uint64_t bytes);
enum { CHUNK_ROW_OVERHEAD = 64 << 10 }; /* space that a row may take beside its payload */
/* No job is under way, and for `ns` nobody brought or read a chunk. */
bool chunk_pipe_quiet(struct store *s, int64_t ns);
int chunk_pipe_open(struct store *s);
void chunk_pipe_close(struct store *s);

/* --- cache ---------------------------------------------------------------------------------------- */

enum { CHUNK_SPENT_MAX = 32 };

struct cache_entry;
struct chunk_cache {
	pthread_mutex_t lock;      /* guards all below; a leaf */
	pthread_cond_t loaded;
	struct cache_entry **buckets;
	size_t nbuckets, n;
	struct cache_entry *first, *last; /* by last use, newest first; entries being loaded are not in it */
	size_t bytes, limit;
	struct codec_ctx *spare[16];      /* decoding contexts not in use */
	unsigned nspare;
	uint64_t spent[CHUNK_SPENT_MAX];  /* ring of ids that readers are through with; 0 none */
	unsigned spent_at;
};
int chunk_cache_open(struct store *s);
void chunk_cache_close(struct store *s);
/* As chunk_get(), but what is not in the cache does not come into it: for bytes that nobody will read soon. */
int chunk_get_aside(struct store *s, uint64_t id, struct chunk_buf **out);
/* In the cache, or on its way into it. */
bool chunk_cached(struct store *s, uint64_t id);
void chunk_cache_drop(struct store *s, uint64_t id);

/* --- pins and marks ------------------------------------------------------------------------------- */

struct chunk_pins {
	pthread_mutex_t lock;      /* guards all below; innermost of all */
	struct idmap counts;
	uint64_t *marks;           /* a bit an id, while a collection runs; else NULL */
	uint64_t mark_max;
};
int chunk_pins_open(struct store *s);
void chunk_pins_close(struct store *s);
/* From here on an id that is unpinned is marked, until marks_end(). *marks stays the caller's. */
void marks_begin(struct store *s, uint64_t *marks, uint64_t max);
void marks_end(struct store *s);
void mark(struct store *s, const uint64_t *ids, size_t n);
/* Neither marked nor pinned. */
bool chunk_unwanted(struct store *s, uint64_t id);

/* --- what is live (gc_mark.c) ----------------------------------------------------------------------- */

/* Gets the chunks that a manifest row names. Called with the meta lock held. */
typedef void (*chunk_sink)(void *arg, const uint64_t *ids, size_t n);
/*
 * Shows every manifest row to sink(); tell() is called between, without a lock, with how far it is, and stops the walk by
 * returning non-zero, which is then returned.  -EIO: a manifest that can't be read, of which nobody knows what it names.
 */
int chunks_named(struct store *s, chunk_sink sink, int (*tell)(void *arg, uint64_t done, uint64_t total), void *arg);

/* A bit for each id up to max that some manifest names; later ones count as live. */
struct live {
	uint64_t *bits;
	uint64_t max;
};
/* As of now: what dies afterwards still counts. `stop` may be NULL. -ECANCELED when it became true. live_release(). */
int live_find(struct store *s, const atomic_bool *stop, struct live *out);
bool live_has(const struct live *l, uint64_t id);
void live_release(struct live *l);

/* --- another form (recode.c) ------------------------------------------------------------------------ */

/* What it takes to encode chunks anew; one thread's. */
struct recoder {
	struct store *s;
	const struct live *live;   /* only these become bases; NULL: all */
	bool all;                  /* all effort: chunks that have their base are looked at too, and end as done */
	struct codec_ctx *ctx;
	uint8_t *out, *best, *raw; /* room for a payload, the best so far, and plain bytes */
	size_t cap;
};
int recoder_init(struct recoder *r, struct store *s, enum codec_effort effort, const struct live *live);
void recoder_release(struct recoder *r);

enum recode_end {
	RECODE_BETTER,             /* it has another, shorter form */
	RECODE_KEPT,               /* its form is as good, and that is noted */
	RECODE_NOT_NOW,            /* it is staged, gone, or somebody else changed it */
};
struct recoded {
	uint64_t raw, was, now;    /* bytes: plain, and of the payload before and after */
};
/*
 * Looks for a shorter form of a chunk and puts it into the open batch.  Bases are sought at its own base, at its
 * predecessor where the difference was put off, and, when it has neither, at those in near[0, n); one in chunks.plain
 * gets the form that it did not get, and leaves.  Its SHA-256, if that is due, is taken by the way.  The bytes are compared
 * with their name first, and what the new payload decodes to with the bytes, so damage is never covered up.  No lock
 * held.  Returns an enum recode_end or -errno: -EIO for a chunk that can't be read, -ENOSPC, what chunk_row_replace() says.
 */
int recode_chunk(struct recoder *r, uint64_t id, const uint64_t *near, size_t n, struct recoded *out);

/* --- differences that were put off (recompress_idle.c) ----------------------------------------------- */

struct idle {
	pthread_mutex_t run;       /* one store_recompress() at a time; taken before all others */
	pthread_t thread;
	bool started;              /* of recompress_idle_step() and _stop(), which one thread calls */
	atomic_bool finished, stop;
	atomic_bool any;           /* there may be some; set by whoever puts one off */
	atomic_bool nameless;      /* there may be chunks without SHA-256 (chunk_name.c); set alike */
	int64_t finish_ns;         /* how long recompress_idle_finish() may take; tests change it */
};
void recompress_idle_open(struct store *s);
void recompress_idle_close(struct store *s);
/*
 * Takes the differences that wait, newest first, until none is left, `until` (CLOCK_MONOTONIC ns; 0: no end), *stop, or,
 * when `yield`, until a writer comes.  Commits as it goes.  `threads` work side by side.  0 or -errno.
 */
int recompress_waiting(struct store *s, unsigned threads, bool yield, int64_t until, const atomic_bool *stop);

/* --- collection ----------------------------------------------------------------------------------- */

struct gc {
	pthread_mutex_t run;       /* one collection at a time; taken before all others */
	pthread_t thread;
	/* Of gc_step() and gc_stop(), which one thread calls. */
	bool started;              /* thread is to be joined */
	int64_t next_ns;           /* CLOCK_MONOTONIC: no automatic one before */
	atomic_bool finished, stop, hurry;
};
/*
 * Stores dependents of dead bases anew where that lets the base go and saves space (gc_bases.c), for the bits of dead[]
 * up to max; *freed is how many nobody leans on any more.  The bit of a base that is worth its keep is cleared.  tell()
 * stops it with non-zero.
 */
int gc_free_bases(struct store *s, uint64_t *dead, uint64_t max, int (*tell)(void *arg, uint64_t freed), void *arg,
		uint64_t *freed);
int gc_open(struct store *s);
void gc_close(struct store *s);

struct chunk_counts {
	_Atomic uint64_t jobs, known, raw_bytes, new_bytes, stored_bytes, commits, lost, hits, misses, decoded_bytes,
		prefetched, gc_runs, gc_chunks, gc_bytes, postponed, taken, passed;
};

struct chunks {
	struct chunk_db db;
	struct chunk_plain plain;
	struct chunk_index index;
	struct chunk_stage stage;
	struct chunk_pipe pipe;
	struct chunk_cache cache;
	struct chunk_pins pins;
	struct gc gc;
	struct idle idle;
	struct chunk_counts counts;
};

#endif
