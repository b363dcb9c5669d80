/*
 * meta_conn.h: struct meta, shared by meta.c (the connection and its statements) and meta_txn.c (operations,
 * commits, ids).  Nobody else includes it.
 */
#ifndef META_CONN_H
#define META_CONN_H

#include <pthread.h>
#include <stdatomic.h>

#include "meta_internal.h"

enum { META_BUCKETS = 256 };

struct meta_cached {
	const char *sql;           /* key: the address of the literal */
	sqlite3_stmt *st;
	bool used;                 /* handed out since the lock was taken */
	struct meta_cached *next;  /* in its bucket */
	struct meta_cached *next_used;
};

struct meta_ids {
	int64_t next, end;         /* ids that are reserved and free: [next, end) */
	int64_t undo;              /* `end` before this operation reserved a block; 0: it did not */
};

struct meta {
	/* Guards the connection and all down to the empty line; taken last, but for sync_lock. */
	pthread_mutex_t lock;
	sqlite3 *db;
	struct meta_cached *bucket[META_BUCKETS];
	struct meta_cached *used;
	sqlite3_stmt *begin, *commit, *savepoint, *release, *undo, *rollback;
	bool shared;               /* reads and operations share transactions: set when the connection is ready, unless read-only */
	bool begun;                /* SQLite is in a transaction of ours */
	bool txn;                  /* it had an operation */
	bool op;                   /* between meta_begin() and meta_end() */
	bool alone;                /* the operation under way is the first to change anything: no savepoint is needed for it */
	bool torn;                 /* a change met a damaged page half way; what it did so far is to be undone */
	int format;                /* of the store */
	int error;                 /* errno of a failure here that SQLite knows nothing of; 0 none */
	int64_t changes;           /* sqlite3_total_changes64() at the last commit */
	_Atomic int64_t wal_bytes; /* what the WAL held at the last commit, since it was last copied; read without the lock */
	struct meta_ids ids[META_SEQS];
	atomic_bool dirty;         /* read without the lock */
	atomic_ullong commits;     /* number of the last commit; grows under the lock, read without */

	sqlite3_file *wal;         /* the WAL; set at open, valid until close. NULL: read-only */
	pthread_mutex_t sync_lock; /* guards the rest; innermost */
	pthread_cond_t sync_done;
	bool syncing;
	uint64_t synced;           /* commits up to this one are on the disk */
};

/* Acknowledged changes may be gone: marks the store failed, and says so in the log once. */
void meta_lost(struct store *s, const char *what);
/* -EIO with a message when the store has failed, else 0. */
int meta_failed(struct store *s);
/* Ends a transaction that only reads, if one is open. Lock held, statements reset. */
void meta_end_reading(struct meta *m);
/* Resets what meta_stmt() gave out. Lock held. */
void meta_reset_used(struct meta *m);
/* Reads the high-water marks of the ids. At open. */
int meta_load_ids(struct store *s);

#endif
