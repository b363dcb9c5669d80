/*
 * store.h: a store, opened.
 *
 * The room store/ keeps everything that outlives the process: the tree of names and inodes, the versions of
 * files, the manifests that say which chunks a version is made of, the chunks, and what checks and cleans
 * them.  It is the only room that speaks SQL, and it knows no FUSE.  Public headers:
 *
 *   store.h          open, close, commit, limits
 *   store_tree.h     inodes, names, extended attributes
 *   store_file.h     the content of one file: read, write, publish
 *   store_history.h  versions that are no longer current
 *   store_version.h  a version is held while somebody looks at it
 *   store_derived.h  what was found out about a version
 *   store_admin.h    gc, verify, usage
 *
 * A store is a directory NAME.ckptfs/ (ckptfs-format(5)):
 *
 *   meta.db    SQLite in WAL mode, synchronous=NORMAL: tree, versions, manifests, chunk index, small files,
 *              staged chunks
 *   chunks.db  SQLite with a rollback journal, synchronous=FULL: the chunks' payloads
 *   reserve    bytes set aside and given up when the disk is full, so that a commit still finds room
 *   lock       flock()ed by the one process that has the store open; holds its pid and mount point
 *   control    unix socket of the process that has it mounted
 *
 * Invariants:
 *  1. One process has a store open, with one connection to each database.
 *  2. A manifest in meta.db names only chunks that are committed in chunks.db or staged in meta.db in the
 *     same transaction or an earlier one.
 *  3. The row that publishes a version (inode.version) changes in the same transaction as its manifest.
 *  4. gc deletes a chunk only after a synced meta.db names it nowhere and no open file has it pinned.
 *
 * Metadata changes run in one open meta.db transaction that is committed when somebody is promised
 * something (close of a written file, fsync, rename of a file) and otherwise within a second; each change is a
 * savepoint of its own in it, so one that fails half way leaves nothing behind.
 *
 * Functions return 0 or -errno and leave a message (ckpt_error.h).  All of them may be called from any thread.
 * -EIO after a database reported an I/O error is final: every later change fails with it until the store is
 * opened anew.
 */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/codec_chunk.h"

struct store;

enum { STORE_FORMAT = 3 };   /* the newest format version this program reads and writes */
enum { STORE_NAME_MAX = 255 };

struct store_options {
	bool create;            /* make the store when the directory does not exist or is empty */
	bool readonly;          /* refuse every change with -EROFS */
	const char *vfs;        /* name of a registered SQLite VFS underneath (tests); NULL: the default */
	const char *mountpoint; /* written into the lock file for the next comer to read; may be NULL */
	enum codec_effort effort;
	size_t cache_bytes;     /* of decoded chunks; 0: 64 MiB */
	size_t dirty_bytes;     /* written and not yet stored, over all files; 0: 64 MiB */
	unsigned workers;       /* encoder threads; 0: one a core, at most 8 */
	int64_t history_seconds; /* how long replaced and deleted versions stay; 0 none; -1: 24 h */
};

/*
 * Opens the store in directory `path`, recovering what a crash left.  Errors beside I/O: -ENOENT (no store
 * there and !create), -ENOTEMPTY (a directory that is no store), -ENOTDIR, -EBUSY (another process has it open; the
 * message names pid and mount point), -EPROTONOSUPPORT (made by a newer format version), -EOPNOTSUPP (a
 * network filesystem that cannot lock), -EROFS (needs recovery or making on a read-only medium).
 */
int store_open(const char *path, const struct store_options *o, struct store **out);

/* Commits and syncs everything, then closes. Open store_files must be closed first. NULL is fine. */
int store_close(struct store *s);

/*
 * Drops the store as a crash would: nothing more is committed (tests).  Memory and descriptors are freed.
 */
void store_crash(struct store *s);

/* True when store_options.readonly or the medium forbids changes. */
bool store_readonly(const struct store *s);
const char *store_path(const struct store *s);

/*
 * Commits what is acknowledged: afterwards it survives a kill -9 of this process; with `durable` also a
 * power cut.  Blocks for the disk when durable.  -ENOSPC, -EDQUOT, -EIO.
 */
int store_commit(struct store *s, bool durable);

/*
 * Housekeeping, called about once a second by the owner: commits, moves staged chunks, checkpoints the WAL,
 * ends history that is too old, collects garbage in small steps when there is enough of it or space is short.
 */
void store_tick(struct store *s);

struct store_space {
	uint64_t total, free, avail; /* bytes of the filesystem below */
	uint64_t inodes, inodes_free; /* 0: no fixed number, as on btrfs: an inode is a row */
	uint64_t stored;             /* bytes the store's own files take */
};
int store_space(struct store *s, struct store_space *out);

/* Who has the store at `path` open: fills pid and mountpoint ("" when none) and returns 1; 0 nobody; -errno. */
int store_owner(const char *path, int *pid, char *mountpoint, size_t len);

/* Versions of the libraries below, for `ckptfs version`. */
const char *store_engine_version(void);

#endif
