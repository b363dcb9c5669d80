/*
 * store_internal.h: the open store, for the modules of store/. Each module keeps its part in a struct of its
 * own.
 */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "codec/ckpt_error.h"
#include "codec/ckpt_wait.h"
#include "store.h"
#include "store_tree.h"

struct meta;   /* meta.c: meta.db, its lock and statements */
struct chunks; /* chunk_db.c, chunk_pipe.c, chunk_cache.c */
struct files;  /* file.c: the open files */
struct tree;   /* store_tree.c */
struct holds;  /* version_hold.c: versions that somebody looks at */
struct pool;   /* pool.c: small files, many in a chunk */
struct vfs;    /* store_vfs.c: the files below the databases, and the space they have */

struct store {
	char *path;               /* absolute */
	struct store_options opt; /* strings in it are not valid after store_open */
	char *vfs;                /* name of the store's own VFS (vfs_internal.h), for sqlite3_open_v2(); owned */
	bool readonly;
	bool crash;               /* store_crash(): closing commits and tidies nothing */
	int lock_fd;
	atomic_int failed;        /* errno of a database error that is final; 0 none */
	struct meta *meta;
	struct chunks *chunks;
	struct files *files;
	struct tree *tree;
	struct holds *holds;
	struct pool *pool;
	struct vfs *below;
	struct {                  /* of store_tick(), which one thread calls; monotonic ns, 0 none */
		int64_t pending_since, unsynced_since;
		int told;         /* the error that is in the log already */
	} tick;
};

/* --- store_vfs.c --------------------------------------------------------------------------------- */

/*
 * Flags for sqlite3_open_v2() of the store's database `name` ("meta.db"), or -EROFS with a message: the store
 * is read-only and the file needs a recovery that can't be made.  Where the store is read-only the flags are
 * READONLY, and the VFS says that the file never changes, so SQLite takes no locks and makes no files; only a
 * database with a recovery to do is opened for writing, for that.
 */
int store_db_flags(struct store *s, const char *name, bool create);

/*
 * -ENOSPC when the filesystem below has no room for `bytes` more beside a margin.  Asked before what consumes
 * space, so that a full disk is an error of this operation and not of a database's transaction.  Cheap:
 * statvfs is called now and then only.
 */
int store_space_check(struct store *s, uint64_t bytes);
/*
 * The same, and does not say no before staged chunks have gone to their place and the WAL is copied and cut: both hold room
 * that is only lent.  May write for a while; the meta lock and the lock of chunks.db are not held.
 */
int store_space_ask(struct store *s, uint64_t bytes);
/* The reserve is given up, or space_check() said no a moment ago: give back what can be given back. */
bool store_short_of_space(struct store *s);

/* --- the modules, in the order they are opened ------------------------------------------------------- */

int tree_open(struct store *s);  /* store_tree.c: what it keeps in memory; reaps the orphans of an earlier life */
void tree_close(struct store *s);
int history_expire(struct store *s, int64_t now); /* history.c: ends what had its time; now as meta_now() */

int files_open(struct store *s);
void files_close(struct store *s);

int records_tidy(struct store *s); /* record.c: rows of versions that are gone. Called by gc. Lock not held */

#endif
