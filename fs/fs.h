/*
 * fs.h: the tree that people see.
 *
 * fs/ puts a filesystem's manners on a store: handles, sessions, what a close means when the writer is dying, views under
 * /@name.  It knows no FUSE: fs_fuse.c is the one thin adapter that speaks it, and the command
 * line uses the same functions without a mount.
 *
 * Inode numbers of the ordinary tree are the store's (root FS_ROOT); those of views (names beginning with '@' in the root,
 * hidden from readdir of the root) have FS_VIRTUAL set and live as long as somebody has looked them up.
 *
 * Life of a number: fs_lookup, fs_make, fs_create, fs_create_unnamed and fs_link count one lookup on success; fs_forget gives them back.  An unlinked
 * inode lives until its last lookup and handle are gone.
 *
 * All functions return 0 or -errno (as Linux documents for the call they stand for), may block for the disk, and may be called
 * from any thread.  Permissions are the kernel's business (default_permissions); the command line acts as the store's owner.
 */
#ifndef FS_H
#define FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "store/store.h"
#include "store/store_tree.h"

struct fs;
struct fs_handle;
struct fs_dir;

#define FS_ROOT ((uint64_t)STORE_ROOT)
#define FS_VIRTUAL ((uint64_t)1 << 62)

struct fs_options {
	struct store_options store;
	bool torn_keep;         /* -o torn=keep: what a killed writer left is published like anything else */
	bool noatime;
};

int fs_open(const char *store_path, const struct fs_options *o, struct fs **out);
/* Publishes and closes everything; handles that are still open are freed, and may not be used any more. */
int fs_close(struct fs *fs);
struct store *fs_store(struct fs *fs);
/* Housekeeping about once a second (store_tick, publishing of long-open logs). One thread calls it, the owner's timer. */
void fs_tick(struct fs *fs);

/* Who asks. */
struct fs_caller {
	uid_t uid;
	gid_t gid;
	pid_t pid;     /* of the calling thread; 0 unknown */
	bool kernel;   /* comes through the mount; else the kernel's caches must be told of changes */
};

/*
 * How the adapter hears of changes that did not come through the mount (command line on a mounted store, an aborted
 * session).  Called without a lock that a request needs, from any thread; the adapter queues them for a thread of its own.  name NULL: the inode's data and attributes.
 */
typedef void (*fs_notify)(void *arg, uint64_t ino, const char *name, size_t len);
void fs_set_notify(struct fs *fs, fs_notify fn, void *arg);

struct fs_entry {
	struct stat st;
	bool settled;   /* attributes may be cached for long; false while a session is open on it */
};

int fs_lookup(struct fs *fs, uint64_t parent, const char *name, struct fs_entry *out);
void fs_forget(struct fs *fs, uint64_t ino, uint64_t n);
int fs_getattr(struct fs *fs, uint64_t ino, struct fs_entry *out);

enum { FS_SET_MODE = STORE_SET_MODE, FS_SET_UID = STORE_SET_UID, FS_SET_GID = STORE_SET_GID, FS_SET_ATIME = STORE_SET_ATIME,
	FS_SET_MTIME = STORE_SET_MTIME, FS_SET_ATIME_NOW = STORE_SET_ATIME_NOW, FS_SET_MTIME_NOW = STORE_SET_MTIME_NOW,
	FS_SET_CTIME = STORE_SET_CTIME, FS_SET_SIZE = 1 << 16 };
/* h: the handle an ftruncate came through, or NULL. */
int fs_setattr(struct fs *fs, const struct fs_caller *c, uint64_t ino, const struct stat *st, unsigned mask,
		struct fs_handle *h, struct fs_entry *out);

/* mkdir, mknod, symlink (target != NULL). mode with type. */
int fs_make(struct fs *fs, const struct fs_caller *c, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
		const char *target, struct fs_entry *out);
int fs_link(struct fs *fs, const struct fs_caller *c, uint64_t ino, uint64_t parent, const char *name, struct fs_entry *out);
int fs_unlink(struct fs *fs, const struct fs_caller *c, uint64_t parent, const char *name);
int fs_rmdir(struct fs *fs, const struct fs_caller *c, uint64_t parent, const char *name);
/* Publishes what was written to the file before it is renamed. flags: RENAME_NOREPLACE, RENAME_EXCHANGE. */
int fs_rename(struct fs *fs, const struct fs_caller *c, uint64_t parent, const char *name, uint64_t newparent,
		const char *newname, unsigned flags);
ssize_t fs_readlink(struct fs *fs, uint64_t ino, char *buf, size_t cap);

/*
 * open(2) flags: access mode, O_TRUNC, O_APPEND, O_SYNC, O_DSYNC, O_NOATIME, and for fs_create O_EXCL (without it a file that is there is
 * opened); others are ignored.
 */
int fs_create(struct fs *fs, const struct fs_caller *c, uint64_t parent, const char *name, mode_t mode, int flags,
		struct fs_handle **h, struct fs_entry *out);
/* O_TMPFILE: a file without a name in the directory's filesystem, which fs_link() may give it. */
int fs_create_unnamed(struct fs *fs, const struct fs_caller *c, uint64_t parent, mode_t mode, int flags,
		struct fs_handle **h, struct fs_entry *out);
int fs_open_file(struct fs *fs, const struct fs_caller *c, uint64_t ino, int flags, struct fs_handle **h);
/* fcntl(F_SETFL) took O_APPEND or gave it; nobody says so but the next write. */
void fs_handle_set_append(struct fs_handle *h, bool append);
/* How the kernel may cache this handle's data. */
bool fs_handle_keep_cache(const struct fs_handle *h); /* content is what this inode had at the last open */
bool fs_handle_unsized(const struct fs_handle *h);    /* generated, size not known at stat time (@stats): direct_io */

ssize_t fs_read(struct fs *fs, struct fs_handle *h, uint64_t off, void *buf, size_t len);
/*
 * Returns len or -errno.  With O_APPEND off is ignored, unless it is the kernel that writes dirty pages of a mapping: c is NULL then, or
 * has kernel set and pid 0.
 */
ssize_t fs_write(struct fs *fs, const struct fs_caller *c, struct fs_handle *h, uint64_t off, const void *buf, size_t len);
/*
 * The same for who answers its caller in between (store_file_write_begin).  When *rest (NULL before) is set, also
 * beside an error, buf must stay as it is until fs_write_end(), whatever becomes of the handle meanwhile.
 */
struct fs_body;
ssize_t fs_write_begin(struct fs *fs, const struct fs_caller *c, struct fs_handle *h, uint64_t off, const void *buf,
		size_t len, struct fs_body **rest);
void fs_write_end(struct fs *fs, struct fs_body *rest);
/* close(2) of one descriptor: publishes, or, when the caller is being killed, decides (see fs_session.c). */
int fs_flush(struct fs *fs, const struct fs_caller *c, struct fs_handle *h);
int fs_fsync(struct fs *fs, struct fs_handle *h, bool datasync);
/*
 * With `hold`, fs_tick() does not publish what is written through h, a handle that fs_create() made, as it does with a log that is
 * written slowly: a copy from a slow disk is shown when it is whole.  Without, it may again.
 */
void fs_hold(struct fs *fs, struct fs_handle *h, bool hold);
/* The last descriptor of the handle is gone; frees it. */
void fs_release(struct fs *fs, struct fs_handle *h);
int fs_fallocate(struct fs *fs, const struct fs_caller *c, struct fs_handle *h, int mode, uint64_t off, uint64_t len);
int fs_lseek(struct fs *fs, struct fs_handle *h, uint64_t off, int whence, uint64_t *out);
int64_t fs_copy_range(struct fs *fs, const struct fs_caller *c, struct fs_handle *in, uint64_t off_in, struct fs_handle *out,
		uint64_t off_out, uint64_t len);
/* As store_file_same(); 0 for what is generated. */
int64_t fs_same_range(struct fs_handle *a, uint64_t off_a, struct fs_handle *b, uint64_t off_b, uint64_t len);

/*
 * Entries with "." and ".." first. cookie: 0 from the start. emit non-zero stops. With FS_ATTRS, each but "." and ".." carries an
 * fs_entry and counts one lookup if emit returned 0; a file of a view that can't be understood is shown as one that has no mode and no
 * size.  With FS_ATTRS_QUICK only those carry one that are known without a file being opened.
 */
enum fs_listing { FS_NAMES = 0, FS_ATTRS = 1, FS_ATTRS_QUICK = 2 };
typedef int (*fs_emit)(void *arg, const char *name, size_t len, uint64_t ino, mode_t type, uint64_t cookie,
		const struct fs_entry *e);
int fs_opendir(struct fs *fs, uint64_t ino, struct fs_dir **d);
int fs_readdir(struct fs *fs, struct fs_dir *d, uint64_t cookie, enum fs_listing how, fs_emit emit, void *arg);
void fs_closedir(struct fs *fs, struct fs_dir *d);
int fs_fsyncdir(struct fs *fs, uint64_t ino);

/*
 * user.*, trusted.* and security.* are kept; system.* (ACLs) and others give -EOPNOTSUPP.  As long as no security.* was ever set, a get
 * of one is answered without the store.  Views have none and say so: -EOPNOTSUPP.
 */
ssize_t fs_getxattr(struct fs *fs, uint64_t ino, const char *name, void *buf, size_t cap);
ssize_t fs_listxattr(struct fs *fs, uint64_t ino, char *buf, size_t cap);
int fs_setxattr(struct fs *fs, const struct fs_caller *c, uint64_t ino, const char *name, const void *value, size_t len, int flags);
int fs_removexattr(struct fs *fs, const struct fs_caller *c, uint64_t ino, const char *name);
int fs_statfs(struct fs *fs, struct statvfs *out);

/*
 * Resolves a path from the root (symlinks in the middle followed inside the tree, at most 40; the last one when `follow`).
 * Counts one lookup.  -ENOENT, -ENOTDIR, -ELOOP.
 */
int fs_resolve(struct fs *fs, const char *path, bool follow, struct fs_entry *out);

#endif
