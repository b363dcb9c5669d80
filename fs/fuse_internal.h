/*
 * fuse_internal.h: the FUSE adapter, for its own files: fs_fuse.c, fuse_dir.c, fuse_xattr.c and fuse_privilege.c (requests),
 * fuse_notify.c (what we tell the kernel unasked), fs_mount.c (the session's life), readahead.c.  Nobody else
 * includes a FUSE header, but fuse_loop.c.
 */
#ifndef FUSE_INTERNAL_H
#define FUSE_INTERNAL_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs.h"

struct fuse_notifier;
struct open_dir;

/*
 * The userdata of the session: what requests need. Nothing in it but `dirs` and `privileges` changes while requests
 * are served.
 */
struct fuse_adapter {
	struct fs *fs;
	bool sync;          /* -o sync: every file is opened as if with O_SYNC */
	bool dirsync;       /* -o sync or dirsync: a change of names is on the disk before it is answered */
	unsigned max_read;  /* as the mount was made with; 0: not said */
	atomic_bool privileges; /* some file may have got what a write must clear while it was open */
	bool direct_writes; /* write-only handles bypass the page cache; set at INIT from the kernel's version */
	void (*on_init)(void *arg); /* the kernel has said INIT; called before it is answered, must not block */
	void *on_init_arg;
	struct fuse_notifier *notifier; /* NULL: none */

	pthread_mutex_t dirs_lock; /* guards dirs; a leaf */
	struct open_dir *dirs;     /* all that are open */
};

extern const struct fuse_lowlevel_ops fuse_adapter_ops;

static inline struct fuse_adapter *adapter(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static inline struct fs *tree(fuse_req_t req)
{
	return adapter(req)->fs;
}

/* The sign flips here: fs/ has -errno, FUSE wants errno. */
static inline void reply_rc(fuse_req_t req, int64_t rc)
{
	fuse_reply_err(req, rc < 0 ? (int)-rc : 0);
}

/* On whose behalf. */
static inline struct fs_caller caller(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	return (struct fs_caller){ .uid = ctx->uid, .gid = ctx->gid, .pid = ctx->pid, .kernel = true };
}

/* -o dirsync: names that were changed are durable before the caller hears of it. rc, or why they are not. */
static inline int sync_names(fuse_req_t req, int rc)
{
	if (rc < 0 || !adapter(req)->dirsync)
		return rc;
	return store_commit(fs_store(tree(req)), true);
}

/*
 * This thread's buffer of at least `size` bytes, page aligned, contents undefined; NULL when memory is
 * short.
 */
void *fuse_scratch(size_t size);

/* An entry as the kernel takes it, with how long it may be cached. */
struct fuse_entry_param fuse_adapter_entry(const struct fs_entry *e);

/* The name in a CREATE that asks for a file without a name (fuse_tmpfile.c). */
#define FUSE_UNNAMED "/"

/*
 * What a change by a user takes from a file (fuse_privilege.c): the mode bits that go when this caller changes it,
 * none for root.
 */
mode_t fuse_lost_bits(fuse_req_t req, const struct stat *st);
#define FUSE_CAPABILITY_XATTR "security.capability"
/* The file has bits or capabilities that somebody's write must clear. */
bool fuse_may_lose(struct fs *fs, const struct stat *st);
/* Adds to a SETATTR the mode that follows from it, before it is carried out. 0 or -errno. */
int fuse_setattr_privilege(fuse_req_t req, fuse_ino_t ino, struct stat *st, int *to_set);

/* A file got attributes: notes whether writes have something to clear from now on. */
void fuse_privilege_given(struct fuse_adapter *a, const struct stat *st);
/* Clears it, before a write through a handle that the kernel may not have looked after. */
int fuse_privilege_written(fuse_req_t req, fuse_ino_t ino);

/* The requests of fuse_xattr.c. */
void fuse_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void fuse_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void fuse_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
void fuse_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/* The requests of fuse_dir.c. */
void fuse_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fuse_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fuse_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fuse_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fuse_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
/*
 * Closes the directories whose RELEASEDIR never came: the kernel drops those that it has queued at the
 * unmount.
 */
void fuse_dirs_close_all(struct fuse_adapter *a);

/*
 * The queue of notifications and the thread that sends them. post: an fs_notify, with the notifier as arg;
 * never blocks, any thread. stop drops what is queued and ends the thread; the session must still be served,
 * or dead: a notification may wait for a request under way.  Posting goes on to be allowed until free.
 */
int fuse_notifier_start(struct fuse_session *se, struct fuse_notifier **out);
void fuse_notifier_post(void *notifier, uint64_t ino, const char *name, size_t len);
/* Waits until the kernel has been told what this thread posted last, a second at most. No locks held. */
void fuse_notifier_settle(struct fuse_notifier *n);
void fuse_notifier_stop(struct fuse_notifier *n);
void fuse_notifier_free(struct fuse_notifier *n);

/*
 * Sets the readahead of the mount with this device number. -EACCES, -EROFS: not allowed here; -ENOENT: no
 * such knob.
 */
int fuse_readahead_set(unsigned major, unsigned minor, unsigned kib);

#endif
