/*
 * meta_internal.h: the connection to meta.db, for the modules of store/.
 *
 * One connection, one mutex, one long transaction.  Every access is
 *
 *     rc = meta_begin(s);               takes the lock, makes sure a transaction is open, opens a savepoint
 *     ...                               statements from meta_stmt()
 *     return meta_end(s, rc);           rc >= 0 keeps the changes, else they are rolled back; drops the lock
 *
 * or meta_lock()/meta_unlock() around reading statements alone.  The lock is not recursive.  Lock order in the store:
 * file lock, then chunks lock, then meta lock; never the other way round, so chunks_* is not called under the meta lock.
 *
 * The transaction is committed by meta_commit().  If SQLite rolls the transaction back by itself (full disk beyond the
 * reserve, I/O error, no memory) acknowledged changes may be gone: the store is marked failed and every later
 * meta_begin() gives -EIO.  So that a commit always finds room, meta_end() commits by itself after every thousand rows.
 */
#ifndef META_INTERNAL_H
#define META_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct store;

/*
 * Tables (the schema itself is in meta_schema.c; ckptfs-format(5) documents it).  All times are ns since the epoch, but
 * for inode.atime, mtime and ctime, which are differences to its btime (tree_internal.h)
 *
 *   config(key TEXT PRIMARY KEY, value)                       format version, store uuid, id high-water marks
 *   inode(ino INTEGER PRIMARY KEY, mode, nlink, uid, gid, rdev, size, data, atime, mtime, ctime, btime,
 *         version, parent, cookie, target BLOB)               parent, cookie: the dirent of one of its names (cookie 0:
 *                                                             not known, look through dirent); target: of symlinks
 *   dirent(parent, name BLOB, cookie, ino, type, PRIMARY KEY(parent, name)) WITHOUT ROWID
 *   dirent_order: UNIQUE INDEX on dirent(parent, cookie, ino, type)      readdir, covering; the name of an inode
 *   xattr(ino, name TEXT, value BLOB, PRIMARY KEY(ino, name)) WITHOUT ROWID
 *   orphan(ino INTEGER PRIMARY KEY, how, path BLOB)           to reap at open: how 0: a file never published; else unlinked,
 *                                                             enum store_ending and the path it had (NULL: not for the history)
 *   version(id INTEGER PRIMARY KEY, ino, size, data, tail, content BLOB)      content: the bytes from offset `tail` on, where
 *                                                             they are inline (file_publish.c); NULL: nothing is inline
 *   draft(version INTEGER PRIMARY KEY)                        versions under way, deleted at open
 *   manifest(version, off, pieces BLOB, PRIMARY KEY(version, off)) WITHOUT ROWID          manifest_internal.h
 *   record(scope, fp, version, off, PRIMARY KEY(scope, fp)) WITHOUT ROWID          record.c
 *   history(version INTEGER PRIMARY KEY, path BLOB, how, ended, ino, mode, uid, gid, size, data, atime, mtime, ctime, btime)
 *   history_path: INDEX on history(path, version)    history_ended: INDEX on history(ended)
 *   chunk_index(prefix, id, PRIMARY KEY(prefix, id)) WITHOUT ROWID          prefix: codec_hash_prefix()
 *   derived(version, key TEXT, value BLOB, PRIMARY KEY(version, key)) WITHOUT ROWID          derived.c
 *   pool(chunk INTEGER PRIMARY KEY, raw, lo, hi)          pool_internal.h
 *   version_inline: INDEX on version(id), of those whose whole content is inline and may be pooled
 *   staged(id INTEGER PRIMARY KEY, hash BLOB, raw_len, codec, base, "check", data BLOB)   as chunk in chunks.db
 */

/* Versions that are worth pooling: all inline, and more than a row would cost. */
#define META_POOLABLE "content IS NOT NULL AND tail = 0 AND length(content) >= 96"

enum { META_APPLICATION_ID = 0x434b5054 }; /* "CKPT": tells our meta.db from anybody else's */

/* Opens meta.db, making it when `create`. Errors as store_open(). meta_close() rolls back what is not committed. */
int meta_open(struct store *s, bool create);
void meta_close(struct store *s);

void meta_lock(struct store *s);
void meta_unlock(struct store *s);
int meta_begin(struct store *s);
int meta_end(struct store *s, int rc);

/*
 * A prepared statement, reset and without bindings, made on first use from `sql` (a string literal: its address is
 * the key).  NULL with the message set when it can't be prepared; then meta_fail() gives the errno.  Lock held; it is reset
 * again, by meta_end() or meta_unlock(), and what is bound needs to live until then.
 */
sqlite3_stmt *meta_stmt(struct store *s, const char *sql);

/* Steps a statement: 1 a row, 0 done (the statement is reset then), -errno with the message "meta.db: ...". Lock held. */
int meta_step(struct store *s, sqlite3_stmt *st);
/* Steps a statement that gives no rows. 0 or -errno. Resets it. */
int meta_exec(struct store *s, sqlite3_stmt *st);
/* -errno for what SQLite last said on this connection. */
int meta_fail(struct store *s);

/*
 * Commits the open transaction if there is one; with `sync` its WAL frames reach the disk before it returns (a sync runs without
 * the lock, several callers share one).  Lock not held.  Before the COMMIT it calls tree_before_commit() (tree_internal.h) with the
 * lock held, in the transaction; an error of that is its own.
 */
int meta_commit(struct store *s, bool sync);
/* The same without sync, and without the times that are late (tree_late.c): they follow with the next meta_commit(). */
int meta_commit_names(struct store *s);
/* Something waits to be committed. Takes no lock. */
bool meta_dirty(struct store *s);
/* Commits that no sync covers yet. */
bool meta_unsynced(struct store *s);
/*
 * Copies the WAL into meta.db when it has grown beyond `limit` bytes; short of space its blocks are given back too.  Called from
 * store_tick only.
 */
int meta_checkpoint(struct store *s, uint64_t limit);
/* Bytes of the WAL that have not been copied to meta.db, where they may take as many. Any thread, no lock. */
int64_t meta_wal_owed(const struct store *s);

/*
 * Looks at some pages of meta.db's file; arguments and result as store_vfs_scan()'s (vfs_internal.h).  Lock not held.
 */
int meta_scan(struct store *s, uint32_t *at, void (*bad)(void *arg, uint32_t page), void *arg);

/*
 * Gives back what is free in meta.db when that is much of it and the rest is small enough to be written anew in a moment.  Before
 * closing, with everything committed.  A failure leaves the file as it is, and goes to the log.
 */
void meta_shrink(struct store *s);

/* Fresh ids, never used twice in the life of the store (blocks are reserved in config). Lock held, in a transaction. */
enum meta_seq { META_INO, META_COOKIE, META_VERSION, META_SEQS };
int64_t meta_next(struct store *s, enum meta_seq which); /* > 0 or -errno */

static inline int64_t meta_ns(struct timespec t) { return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec; }
struct timespec meta_timespec(int64_t ns);  /* floor division, so that times before 1970 work */
int64_t meta_now(void);                     /* CLOCK_REALTIME */
int64_t meta_monotonic(void);               /* CLOCK_MONOTONIC */

/*
 * meta_schema.c.  open: makes the tables in a new meta.db, or sees that they are ours and not too new; sets meta_format(), which may
 * be an older one.  steps: from format `from` to the newest, within a transaction of the caller's; ends with the marks.
 */
int meta_schema_open(struct store *s, sqlite3 *db, bool create);
int meta_schema_steps(struct store *s, sqlite3 *db, int from);
/* -EPROTONOSUPPORT, with the message, for a store of a format beyond STORE_FORMAT. */
int store_too_new(const char *path, int64_t format);

/*
 * meta_upgrade.c: puts a meta.db of the newest format in the place of the one that is open, and leaves none open.  -errno: the old one
 * is as it was, and may be open still.
 */
int meta_upgrade(struct store *s);

/*
 * The format of the open store: that of STORE_FORMAT unless the store is read-only, since the first writable open upgrades.
 * What came with a later format (derived and pool with 2) is not to be asked for before.
 */
int meta_format(const struct store *s);

/* --- tree pieces that content needs (store_tree.c) --------------------------------------------------- */

/* The row of an inode into *out; -ENOENT. Lock held. */
struct store_attr;
int meta_inode_get(struct store *s, uint64_t ino, struct store_attr *out);

/* A provisional file is settled: it stays after a crash from the next commit on. Lock held; the last step of its transaction. */
int meta_settle(struct store *s, uint64_t ino);
bool meta_is_provisional(struct store *s, uint64_t ino);

/* --- history pieces (history.c) --------------------------------------------------- */

/*
 * The version loses its place: kept in the history under the path of `ino` (or, with path given, that), or, where the rules
 * say no (too small, history off, appended), deleted with its manifest rows.  `how` is enum store_ending.  attr: the inode as it was.  Lock held, in a transaction.
 */
int meta_version_end(struct store *s, uint64_t version, const struct store_attr *attr, int how, bool keep,
		const char *path, size_t path_len);
/*
 * Deletes a version, its inline content, manifest rows and what was derived from it; one that is held stays until it no longer is
 * (hold_internal.h).  Lock held, in a transaction.
 */
int meta_version_delete(struct store *s, uint64_t version);

/* Forgets what was derived from a version (derived.c): it goes, or its bytes change. Lock held, in a transaction. */
int meta_derived_forget(struct store *s, uint64_t version);

/* --- content pieces (file_publish.c) --------------------------------------------------- */

/* Notes, or forgets, that a version is a draft: one that a crash leaves behind. Lock held, in a transaction. */
int meta_draft(struct store *s, uint64_t version, bool is);
/* Deletes the drafts that a crash left. At open, after tree_open(). Lock not held. */
int drafts_recover(struct store *s);

#endif
