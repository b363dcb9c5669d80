/*
 * mount_table.h: what is mounted where, as the kernel tells in /proc/self/mountinfo.
 *
 * Reading the table touches no mount: it works, and ends, where a stat() would fail (dead daemon) or wait
 * for ever (hung daemon; the daemon's own mount).
 */
#ifndef MOUNT_TABLE_H
#define MOUNT_TABLE_H

#include <stdbool.h>

/* What the kernel calls the type of our mounts. */
#define FS_MOUNT_TYPE "fuse.ckptfs"

/*
 * An extended attribute of a mount's root, not listed: the absolute path of the store, whatever -o fsname=
 * shows.
 */
#define FS_MOUNT_STORE_XATTR "user.ckptfs.store"

struct fs_mount_entry {
	unsigned major, minor; /* the device number of the mounted tree; one mount has one of its own */
	char *mountpoint;      /* absolute; caller frees all three with fs_mount_entry_release() */
	char *type;            /* "fuse.ckptfs" */
	char *source;          /* fsname: the absolute path of the store, or what -o fsname= said */
};

void fs_mount_entry_release(struct fs_mount_entry *e);

/*
 * The mount on top at `mountpoint` (an absolute path without links): 1 and *out filled, 0 nothing is mounted
 * exactly there, -errno.
 */
int fs_mount_find(const char *mountpoint, struct fs_mount_entry *out);

/*
 * The absolute path of the store that a mount of ours shows: what its daemon answers (this touches the mount), or,
 * where it does not, the mount's source if that is a path.  Caller frees *out. -ENODATA: it can not be found out.
 */
int fs_mount_store(const struct fs_mount_entry *e, char **out);

/*
 * The absolute path, without links, of a mount point or of a directory to be made: `path` itself is not
 * followed into what is mounted there, so it works on a dead mount too.  Its parent must exist.  Caller
 * frees *out.
 */
int fs_mount_realpath(const char *path, char **out);

/* What is at `mountpoint` has lost its daemon: every access gives ENOTCONN. */
bool fs_mount_is_dead(const char *mountpoint);

/*
 * Takes away the mount on top at `mountpoint`: umount2(2) where it is allowed, else fusermount3 (the owner of
 * a mount may do that). lazy: the name goes at once, the rest when nobody uses it any more. -EBUSY, -EINVAL
 * (not a mount point), -EPERM.
 */
int fs_unmount(const char *mountpoint, bool lazy);

#endif
