/*
 * tree_internal.h: the tree's own memory, shared by tree.c, tree_loose.c, tree_remove.c, tree_rename.c,
 * dirlist.c, xattr.c, pathof.c and history.c.
 *
 * Everything here is guarded by the meta lock.  A function changes a database row first and this memory
 * last, when nothing can fail any more, so that a savepoint rolled back leaves both as they were.
 *
 * Loose inodes.  An inode that must not outlive a crash is loose: a provisional file (never published) or one
 * whose last name is gone.  Most are loose only for moments, so the table `orphan` is not touched until a
 * commit is about to make their row durable:
 *
 *     store_make(provisional) --> loose --- meta_settle() -------> forgotten      (no row was ever written)
 *     last name removed       --> loose --- store_reap() --------> forgotten
 *                                   |
 *                         tree_before_commit(): row in `orphan`, deleted again when settled or reaped
 *
 * What stands in `orphan` at tree_open() was left by a crash: names of provisional files are removed, and
 * inodes without a name are reaped.
 */
#ifndef TREE_INTERNAL_H
#define TREE_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "meta_internal.h"
#include "store_internal.h"

enum {
	TREE_PATH_MAX = 65535,        /* longer paths have no place in the history */
	TREE_DEPTH_MAX = 1 << 20,     /* directories above one another; more is a loop made by damage */
	TREE_PATH_SLOTS = 4096,       /* directories whose path is remembered */
	TREE_DIR_SIZE = 4096,         /* what a directory says */
	TREE_SPACE = 64 << 10,        /* bytes that must be free for a change that takes space */
	TREE_LATE_MAX = 192,          /* inodes whose times wait to be written */
	TREE_KNOWN_SLOTS = 1024,      /* inodes whose attributes are remembered */
	TREE_SEEN_SLOTS = 64,         /* names whose lookups are remembered, */
	TREE_SEEN_NAME = 63,          /* if they are no longer than this */
	TREE_BARE_SLOTS = 64,         /* versions that are known to have nothing derived */
};
/* What btime may be, in ns since the epoch: 1896 to 2116. */
#define TREE_BTIME_MIN (-((int64_t)1 << 61))
#define TREE_BTIME_MAX ((int64_t)1 << 62)
#define TREE_LINK_MAX (UINT32_MAX - 1)

struct loose {
	uint64_t ino;
	struct loose *chain;          /* in its hash bucket */
	struct loose *newer, *older;  /* in tree.unwritten, when !written */
	bool provisional;
	bool unlinked;
	bool unnamed;                 /* made without a name, and may still get one; unlinked is set too */
	bool hidden;                  /* provisional in an earlier life, the store being read-only: shown nowhere */
	bool written;                 /* has a row in `orphan` */
	int how;                      /* enum store_ending, when unlinked */
	char *path;                   /* it had, when unlinked and its version may go to the history; owned */
	size_t path_len;
};

struct path_slot {
	uint64_t ino;                 /* a directory; 0: free */
	char *path;                   /* owned */
	size_t len;
};

/* Times of an inode that its row does not have yet, in ns since the epoch (tree_late.c). */
struct late {
	uint64_t ino;
	int64_t mtime, ctime;
	bool dir;                     /* mtime as well as ctime */
	bool settled;                 /* by the operation under way */
	uint8_t next;                 /* with the same hash: place in late.v and one; 0 none */
};

/* The answer to a lookup (tree_seen.c). */
struct seen {
	uint64_t stamp;               /* tree.names_stamp then */
	uint64_t parent;
	uint64_t ino, cookie;         /* ino 0: not there */
	bool placed;
	uint8_t len;
	char name[TREE_SEEN_NAME];
};

struct tree {
	struct loose **buckets;       /* mask + 1 of them */
	size_t mask, loose;
	struct loose *unwritten;      /* newest first */
	uint64_t cookie;              /* the last that was given out in this life; 0 none yet */
	uint64_t dir;                 /* a directory, or one that is gone: numbers are not used twice; 0 none yet */
	struct {
		unsigned n, settled;
		uint8_t heads[256];
		struct late v[TREE_LATE_MAX];
	} late;
	struct store_attr known[TREE_KNOWN_SLOTS]; /* rows of inodes, by ino; ino 0: free */
	uint64_t names_stamp;         /* changes with every row of dirent */
	struct seen seen[TREE_SEEN_SLOTS];
	uint64_t bare[TREE_BARE_SLOTS]; /* derived.c */
	struct path_slot paths[TREE_PATH_SLOTS];
	char scratch[TREE_PATH_MAX];  /* pathof.c */
	atomic_ullong garbage;        /* not guarded by the lock */
};

/* --- one life -------------------------------------------------------------------------------------- */

/*
 * Writes the rows of inodes that are loose now, and, with `all` or when they are many, the times that are late.  Called before a
 * commit: lock held, in the transaction.
 */
int tree_before_commit(struct store *s, bool all);

/* Plain bytes of deleted versions since the last reset: what gc may find. Any thread, no lock. */
uint64_t tree_garbage_hint(struct store *s);
void tree_garbage_reset(struct store *s);

/* --- statements (tree.c, tree_attr.c) ----------------------------------------------------------------------------- */

static inline void tree_bind(sqlite3_stmt *st, int n, int64_t v)
{
	sqlite3_bind_int64(st, n, v);
}

/* Borrows p until the statement is stepped; an empty blob is not NULL. */
static inline void tree_bind_blob(sqlite3_stmt *st, int n, const void *p, size_t len)
{
	sqlite3_bind_blob64(st, n, len > 0 ? p : "", len, SQLITE_STATIC);
}

/*
 * Columns of an inode (aliased i), in the order of tree_read_attr().  atime, mtime and ctime are differences to btime: a statement
 * that sets one to now says "ctime = ?2 - btime"; other times are bound as differences that wrap around.
 */
#define TREE_COLS "i.mode, i.nlink, i.uid, i.gid, i.rdev, i.size, i.data, i.atime, i.mtime, i.ctime, i.btime, " \
	"i.version, i.parent"
enum { TREE_NCOLS = 13 };
void tree_read_attr(struct store *s, sqlite3_stmt *st, int col, uint64_t ino, struct store_attr *out);

/* -ENOENT, with the message. */
int tree_no_inode(uint64_t ino);

/* Rows the last statement that changes rows has changed. */
int64_t tree_changes(sqlite3_stmt *st);

/* --- pieces that the operations share; lock held ------------------------------------------------------- */

/*
 * 0, or why not: -ENOENT (empty), -ENAMETOOLONG, -EINVAL ('/' or NUL in it), dots (a negative errno) for
 * "." and "..".
 */
int tree_check_name(const char *name, size_t len, int dots);
/* 0, -EROFS, and with `space` what store_space_check() says. Lock not held. */
int tree_check_change(struct store *s, bool space);

/* A directory that can take names: -ENOENT (gone, or removed), -ENOTDIR. */
int tree_dir(struct store *s, uint64_t ino, struct store_attr *out);

struct tree_entry {
	uint64_t cookie;
	bool placed;                  /* the inode remembers this very dirent (tree.c, 2) */
	struct store_attr attr;
};
/* A name and its inode: 1, or 0 when there is no such name. */
int tree_seek(struct store *s, uint64_t parent, const char *name, size_t len, struct tree_entry *out);
/* The same: 0, -ENOENT, -ENOTDIR when parent is no directory. */
int tree_find(struct store *s, uint64_t parent, const char *name, size_t len, struct tree_entry *out);
/* -ENOTEMPTY unless it has no entries. */
int tree_empty(struct store *s, uint64_t ino);
/* mtime and ctime of a directory whose entries changed (late when nothing else does); dlinks is added to its link count. */
int tree_touch(struct store *s, uint64_t ino, int64_t now, int64_t dlinks);
int tree_add_name(struct store *s, uint64_t parent, const char *name, size_t len, uint64_t ino, uint32_t mode,
		uint64_t *cookie); /* -EEXIST */
/* A fresh cookie, > 0, or -errno. In a transaction. */
int64_t tree_cookie(struct store *s);

/* tree_late.c; lock held */
/* ctime, of a directory also mtime, is `now`, and its row will have it later. In an operation. */
int tree_late_put(struct store *s, uint64_t ino, bool dir, int64_t now);
/*
 * Before ctime of an inode is written to its row, or with `both` mtime and ctime: nothing of it is late any more.  In an
 * operation.
 */
int tree_late_settle(struct store *s, uint64_t ino, bool both);
/* The operation ended: what it settled stays so, or (not kept) does not. */
void tree_late_done(struct store *s, bool kept);
bool tree_late_any(const struct store *s);
int tree_late_write(struct store *s); /* all; in a transaction, between operations */
bool tree_late_many(const struct store *s);
void tree_late_lay(struct store *s, struct store_attr *a); /* over the times of a row */

/* Attributes as the row has them, times that are late included. */
bool tree_known_get(struct store *s, uint64_t ino, struct store_attr *out);
void tree_known_put(struct store *s, const struct store_attr *a);
void tree_known_forget(struct store *s, uint64_t ino);
void tree_memory_forget(struct store *s); /* all that was read: an operation is undone */

/* tree_seen.c; lock held */
/* 1 and the entry, 0 there is no such name, -ENOENT (without a message): ask the table. */
int tree_seen_get(struct store *s, uint64_t parent, const char *name, size_t len, struct tree_entry *out);
void tree_seen_put(struct store *s, uint64_t parent, const char *name, size_t len, const struct tree_entry *found); /* NULL: none */
void tree_seen_forget(struct store *s); /* a row of dirent is about to change */

/* tree_loose.c */
struct loose *loose_find(const struct tree *t, uint64_t ino); /* t may be NULL: before tree_open() nothing is loose */
struct loose *loose_new(uint64_t ino); /* not yet in the tree; NULL: no memory */
void loose_add(struct tree *t, struct loose *l); /* takes it */
void loose_drop(struct tree *t, struct loose *l); /* frees it; its row, if any, is the caller's */
/* A name was given to an inode that was made without one: it is loose no more. In an operation. */
int loose_named(struct store *s, struct loose *l);
int loose_open(struct tree *t);
void loose_close(struct tree *t);
int loose_recover(struct store *s); /* lock not held */

/* tree_remove.c */
int tree_delete_name(struct store *s, uint64_t parent, const char *name, size_t len);
int tree_delete_of(struct store *s, const char *sql, uint64_t ino); /* a DELETE with ?1, an inode number */
int tree_delete_orphan(struct store *s, uint64_t ino);
/* The row of an inode, its attributes and its content; path NULL: no version goes to the history. */
int tree_delete_inode(struct store *s, const struct store_attr *a, int how, const char *path, size_t path_len);

/*
 * A name of an inode is gone: its link count and ctime (*attr: as before, becomes as after), and what it
 * takes to make it loose if that was the last.  The dirent is the caller's.  Then one of
 *   tree_unname_done()   everything went well; cannot fail
 *   tree_unname_undo()   something after it failed
 */
struct unnamed {
	struct loose *l;      /* to become unlinked; NULL: has other names */
	bool fresh;           /* l is not in the tree yet */
	int how;
	char *path;
	size_t path_len;
};
int tree_unname(struct store *s, struct store_attr *attr, uint64_t parent, const char *name, size_t len,
		uint64_t cookie, int64_t now, int how, struct unnamed *u);
void tree_unname_done(struct store *s, struct unnamed *u);
void tree_unname_undo(struct unnamed *u);

/* pathof.c */
/*
 * The path of `name` in directory `parent` (with len 0: of the directory). *out is malloc()ed, caller
 * frees. -ERANGE, -EIO.
 */
int tree_path(struct store *s, uint64_t parent, const char *name, size_t len, char **out, size_t *out_len);
/* The path of an inode, or the one it had when its last name went. -ENOENT: none. */
int tree_path_of(struct store *s, uint64_t ino, char **out, size_t *out_len);
void tree_paths_forget(struct tree *t); /* all: a directory was renamed */
void tree_path_forget(struct tree *t, uint64_t ino);

/* --- history.c ----------------------------------------------------------------------------------------- */

/* history_expire() and history_shrink() return how many versions they ended, or -errno. Lock not held. */
/* Ends the n oldest. */
int history_shrink(struct store *s, unsigned n);

#endif
