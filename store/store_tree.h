/*
 * store_tree.h: names, inodes and extended attributes, as a POSIX filesystem has them.
 *
 * An inode number is never used twice in the life of a store (a high-water mark is kept).  The root is
 * STORE_ROOT.  Names are 1..255 bytes, any but '/' and NUL, never "." or ".."; they are passed with their
 * length.  Times are set here, from the real-time clock: mtime and ctime of directories whose entries change, ctime of
 * inodes whose link count, mode, owner, name or attributes change.  Permissions are not checked here.
 *
 * The size and mtime of a file that is being written live in its store_file until published; a caller that
 * has one open asks store_file_stat().
 *
 * A new regular file is provisional until its first publish (store_file.h): after a crash it is not there.
 * store_make() with provisional=false makes one that is.
 */
#ifndef STORE_TREE_H
#define STORE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct store;

enum { STORE_ROOT = 1 };

struct store_attr {
	uint64_t ino;
	uint32_t mode;    /* type and permission bits, as st_mode */
	uint32_t nlink;
	uint32_t uid, gid;
	uint64_t rdev;
	uint64_t size;    /* bytes */
	uint64_t data;    /* bytes of it that are no hole; st_blocks is this / 512, rounded up */
	struct timespec atime, mtime, ctime, btime;
	uint64_t version; /* of the published content; changes exactly when that does. 0: empty or no regular file */
	uint64_t parent;  /* of a directory: its parent; else 0 */
};

/* -ENOENT, -ENOTDIR (parent is no directory), -ENAMETOOLONG. ".." and "." are resolved too. */
int store_lookup(struct store *s, uint64_t parent, const char *name, size_t len, struct store_attr *out);
/* -ENOENT when there is no such inode. */
int store_getattr(struct store *s, uint64_t ino, struct store_attr *out);

enum { STORE_SET_MODE = 1, STORE_SET_UID = 2, STORE_SET_GID = 4, STORE_SET_ATIME = 8, STORE_SET_MTIME = 16,
	STORE_SET_ATIME_NOW = 32, STORE_SET_MTIME_NOW = 64, STORE_SET_CTIME = 128, STORE_SET_BTIME = 256,
	STORE_KEEP_CTIME = 512 }; /* what is set is no change of the inode: an access time */

/*
 * Sets what `mask` names from *in (mode: permission bits only) and ctime = now, unless STORE_SET_CTIME gives one.
 * Sizes change through store_file. *out (may be NULL) gets the result.
 */
int store_setattr(struct store *s, uint64_t ino, const struct store_attr *in, unsigned mask,
		struct store_attr *out);

struct store_new {
	uint32_t mode;       /* with type: S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK */
	uint32_t uid, gid;   /* as given; in a setgid directory the group becomes the directory's and a new directory inherits the bit */
	uint64_t rdev;
	const char *target;  /* of a symlink, borrowed, target_len bytes, at most 4095 */
	size_t target_len;
	bool provisional;    /* regular file: not there after a crash until first published */
};
/*
 * Makes an inode and its name; name NULL: a file without one, an orphan (store_reap()) until store_link() gives it its first.
 * -EEXIST, -ENOENT (the directory is gone), -ENOTDIR, -ENAMETOOLONG, -ENOSPC, -EMLINK.
 */
int store_make(struct store *s, uint64_t parent, const char *name, size_t len, const struct store_new *n,
		struct store_attr *out);

/*
 * A further name of a file, or the first of one that was made without.  -EPERM for a directory, -EEXIST, -ENOENT (no longer
 * linked: nlink is 0), -EMLINK.
 */
int store_link(struct store *s, uint64_t ino, uint64_t parent, const char *name, size_t len,
		struct store_attr *out);

/*
 * Removes a name; *out gets the inode as it is afterwards.  An inode whose last name goes is kept as an
 * orphan, readable and writable, until store_reap(); the caller reaps it at once when nothing holds it.
 * Orphans left by a crash are reaped at the next store_open().  unlink: -EISDIR for a directory; rmdir: -ENOTDIR, -ENOTEMPTY.
 */
int store_unlink(struct store *s, uint64_t parent, const char *name, size_t len, struct store_attr *out);
int store_rmdir(struct store *s, uint64_t parent, const char *name, size_t len, struct store_attr *out);

/* Ends an orphan: its content goes to the history (store_history.h) or to gc. No error if it is none. */
int store_reap(struct store *s, uint64_t ino);

/*
 * rename(2), renameat2(2) with RENAME_NOREPLACE and RENAME_EXCHANGE (other flags: -EINVAL).  *replaced gets
 * the inode that lost this name, as it is afterwards (ino 0: none); when its nlink is 0 it is an orphan.  -EINVAL also for a directory
 * into itself, -ENOTEMPTY, -EISDIR, -ENOTDIR, -EEXIST.  Names of one inode onto itself: nothing happens (ino 0).
 * After an exchange *replaced is the inode that is now at the old name.
 */
int store_rename(struct store *s, uint64_t parent, const char *name, size_t len, uint64_t newparent,
		const char *newname, size_t newlen, unsigned flags, struct store_attr *replaced);

/* Target of a symlink, not terminated. buf has room for cap bytes (4096 is enough). Returns its length or -errno. */
ssize_t store_readlink(struct store *s, uint64_t ino, char *buf, size_t cap);

struct store_dirent {
	uint64_t ino;
	uint64_t cookie;     /* pass as `after` to go on behind this entry; stays valid while the directory changes */
	uint32_t mode;       /* type bits */
	uint16_t len;
	const char *name;    /* points into the batch; not terminated */
};
/*
 * Entries of a directory in a stable order, without "." and "..", from behind `after` (0: the first).  Calls
 * emit for each until it returns non-zero or the entries end.  emit is called without locks held.
 * If attrs is set each call also gets the inode's attributes, else NULL.  Every entry that was there throughout the listing
 * is shown exactly once, whatever else comes and goes; so is one that is renamed within the directory.
 */
typedef int (*store_emit)(void *arg, const struct store_dirent *d, const struct store_attr *attr);
int store_readdir(struct store *s, uint64_t ino, uint64_t after, bool attrs, store_emit emit, void *arg);
/*
 * A cookie that no entry made from now on is below: a listing that began here and stops behind it comes to an end also
 * when each of its steps makes a new entry.
 */
uint64_t store_readdir_mark(struct store *s);

/*
 * Extended attributes: names 1..255 bytes, values to 64 KiB.  get: returns the size, copies when cap is
 * enough, -ERANGE when 0 < cap < size, -ENODATA.  list: NUL-terminated names one after the other, same rules.  set: flags
 * XATTR_CREATE (-EEXIST), XATTR_REPLACE (-ENODATA); -E2BIG, -ENOSPC.
 */
ssize_t store_getxattr(struct store *s, uint64_t ino, const char *name, void *buf, size_t cap);
ssize_t store_listxattr(struct store *s, uint64_t ino, char *buf, size_t cap);
int store_setxattr(struct store *s, uint64_t ino, const char *name, const void *value, size_t len, int flags);
int store_removexattr(struct store *s, uint64_t ino, const char *name);

/*
 * Commits what was done so far, so that it survives kill -9 of this process; only times that renames and new or removed names
 * moved may follow a second later (store_tick).
 */
int store_commit_names(struct store *s);

/*
 * The path of an inode from the root ("" for that), without leading '/', NUL-terminated, for messages and history; a file with several
 * names: one of them.  -ENOENT (no name is left), -ERANGE (cap is too small for it and the NUL).  Returns the length.
 */
ssize_t store_pathof(struct store *s, uint64_t ino, char *buf, size_t cap);

#endif
