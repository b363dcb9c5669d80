/*
 * fs_mount.h: the tree on a mount point, through libfuse's low-level API.
 */
#ifndef FS_MOUNT_H
#define FS_MOUNT_H

#include <stdbool.h>

#include "fs.h"

struct fs_mount_options {
	bool debug;             /* libfuse's own trace of every request, to the log */
	const char *mount_opts; /* flags of mount(8) and FUSE, comma separated ("allow_other,nosuid"); NULL: none.  ro is
	                         * there when the store is read-only */
	const char *fsname;     /* shown as the source; NULL: the store's absolute path */
	bool sync;              /* every write is durable before it is answered */
	bool dirsync;           /* every change of names and attributes is */
	unsigned readahead_kib; /* 0: leave the kernel's */
	unsigned max_read;      /* bytes the kernel may ask for at once; 0: what it likes (1 MiB) */
	unsigned max_threads;   /* 0: default 10 */
};

enum { FS_MOUNT_THREADS = 10, FS_MOUNT_THREADS_MAX = 1000, FS_MOUNT_DRAIN_SECONDS = 30 };

/*
 * Mounts, and serves until unmounted or told to stop. `ready` is called, from another thread, once the kernel
 * has said INIT and the tree is served (used to tell the waiting parent and systemd); `stopping`, at most
 * once, when it winds down. fs_tick() is called once a second meanwhile.
 *
 * SIGINT, SIGTERM and SIGHUP: commit, lazy unmount, users may finish for up to FS_MOUNT_DRAIN_SECONDS, then
 * return; a second signal returns as soon as the requests under way are answered; a third one, or ten seconds
 * in which they are not, ends the process (the store is made for that).  So do FS_MOUNT_DRAIN_SECONDS in which a
 * request hangs that was under way when somebody unmounted.  SIGUSR1 is used inside.  Returns 0 or
 * -errno; the mount is gone either way.  One call at a time.
 */
int fs_mount_serve(struct fs *fs, const char *mountpoint, const struct fs_mount_options *o, void (*ready)(void *),
		void (*stopping)(void *), void *arg);

/* Makes a running fs_mount_serve() stop as a SIGTERM would. Any thread. */
void fs_mount_stop(void);

/*
 * Unmounts a mount point whose daemon is dead (ENOTCONN), if it is one of ours. 1 it was, 0 nothing to do,
 * -errno.
 */
int fs_mount_clean_dead(const char *mountpoint);

/* libfuse's version, for `ckptfs version`. */
const char *fs_mount_engine_version(void);

#endif
