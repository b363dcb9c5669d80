/*
 * fs_fuse.c: libfuse's low-level requests, each turned into one call of fs.h.
 *
 * Nothing is decided here but how the kernel may cache; what a request means is fs/'s business.  Every
 * callback answers its request exactly once and holds no lock while it does.
 *
 * Caching.  The daemon is the only writer of its store and tells the kernel of what does not come through it
 * (fuse_notify.c), so what is settled is given for a year: a stat, a lookup and a miss are answered by the
 * kernel.  What a write session is open on (fs_entry.settled is false) keeps its name, but its attributes are
 * asked for every time.  So are names in views (FS_VIRTUAL), since their sources change without a word about the
 * view; what such a lookup says of the inode holds for a second, which nobody sees, for each walk along a path
 * begins with the lookup.  Data:
 *
 *   O_RDONLY, O_RDWR   through the page cache, which is kept from the last open when the content is the same
 *   O_WRONLY           past the page cache (direct_io): it cannot be mapped, and whole megabytes arrive in one
 *                      request at twice the speed.  Kernels from 6.6 drop cached pages of the range that is written;
 *                      on older ones another reader would see old bytes, so there it goes through the cache too.  So
 *                      does a file with privileges that a write must clear (fuse_privilege.c).
 *   size not known     past the page cache, for it would be cut off at st_size
 *
 * Lookup counts.  A reply with an entry that the kernel did not take (-ENOENT: the request was given up) is
 * undone, since no FORGET will follow.
 *
 * Left out on purpose: access (default_permissions: the kernel checks), getlk, setlk, flock (the kernel does
 * them, right for one host), ioctl (ENOTTY), poll, bmap, write_buf (bytes must be hashed in memory, so
 * splicing them costs a copy more).
 */
#include "fuse_internal.h"
#include "fuse_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

/* Seconds. */
static const double forever = 86400.0 * 365;
/*
 * Of views: attributes, and names of directories, since each name below would ask for all of them again.  The name
 * of a file is asked for every time: a replaced one shows at once.
 */
static const double view_timeout = 1.0;
/*
 * The kernel checks permissions once more before open(2) returns, and would ask for what CREATE has just said.
 * A write makes it ask again for what the write changes, so nobody sees an old size for this.
 */
static const double create_timeout = 1.0;

/* What one thread needs to answer a READ or a READDIR; it grows to the largest size asked for, 1 MiB. */
struct scratch {
	void *buf;
	size_t cap;
};
static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;
static int scratch_error;

static void scratch_free(void *arg)
{
	struct scratch *s = arg;
	free(s->buf);
	free(s);
}

static void scratch_make_key(void)
{
	scratch_error = pthread_key_create(&scratch_key, scratch_free);
}

void *fuse_scratch(size_t size)
{
	pthread_once(&scratch_once, scratch_make_key);
	if (scratch_error != 0)
		return NULL;
	struct scratch *s = pthread_getspecific(scratch_key);
	if (s == NULL) {
		s = calloc(1, sizeof(*s));
		if (s == NULL || pthread_setspecific(scratch_key, s) != 0) {
			free(s);
			return NULL;
		}
	}
	if (s->cap < size) {
		size_t cap = (size + 4095) / 4096 * 4096;
		void *buf = NULL;
		if (posix_memalign(&buf, 4096, cap) != 0)
			return NULL;
		free(s->buf);
		s->buf = buf;
		s->cap = cap;
	}
	return s->buf;
}

static struct fs_handle *handle(const struct fuse_file_info *fi)
{
	return fi == NULL ? NULL : (struct fs_handle *)(uintptr_t)fi->fh;
}

static double entry_seconds(const struct fs_entry *e)
{
	if (e->st.st_ino & FS_VIRTUAL)
		return S_ISDIR(e->st.st_mode) ? view_timeout : 0;
	return forever;
}

static double attr_seconds(const struct fs_entry *e)
{
	if (e->st.st_ino & FS_VIRTUAL)
		return view_timeout;
	return e->settled ? forever : 0;
}

/* Inode numbers are never used twice, so the generation can stay 0. */
struct fuse_entry_param fuse_adapter_entry(const struct fs_entry *e)
{
	return (struct fuse_entry_param){
		.ino = e->st.st_ino,
		.attr = e->st,
		.attr_timeout = attr_seconds(e),
		.entry_timeout = entry_seconds(e),
	};
}

static void reply_entry(fuse_req_t req, const struct fs_entry *e)
{
	struct fs *fs = tree(req);
	struct fuse_entry_param p = fuse_adapter_entry(e);
	if (fuse_reply_entry(req, &p) == -ENOENT)
		fs_forget(fs, p.ino, 1);
}

/* --- the session ----------------------------------------------------------------------------------- */

static bool kernel_is_at_least(int want_major, int want_minor)
{
	struct utsname u;
	int have_major = 0, have_minor = 0;
	if (uname(&u) != 0 || sscanf(u.release, "%d.%d", &have_major, &have_minor) != 2)
		return false;
	return have_major > want_major || (have_major == want_major && have_minor >= want_minor);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fuse_adapter *a = userdata;

	/*
	 * Ours: asked for where the kernel has it. "." and ".." can be looked up by number (NFS export,
	 * open_by_handle_at).
	 */
	conn->want |= conn->capable & (FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO |
			FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
	/*
	 * Not ours.  AUTO_INVAL_DATA drops all pages of a file whenever its mtime is seen to have moved, which
	 * our own writes do.  Without HANDLE_KILLPRIV the kernel clears setuid and setgid bits itself, without
	 * DONT_MASK it applies the umask, without the lock capabilities it keeps the locks.  CACHE_SYMLINKS
	 * would freeze links of views.
	 */
	conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_WRITEBACK_CACHE |
			FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_DONT_MASK | FUSE_CAP_POSIX_ACL | FUSE_CAP_POSIX_LOCKS |
			FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
			FUSE_CAP_CACHE_SYMLINKS);
	conn->max_write = 1 << 20;
	conn->max_read = a->max_read; /* libfuse ends the session when it is not what the mount was told */
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	conn->time_gran = 1;
	a->direct_writes = kernel_is_at_least(6, 6);
	if (a->on_init != NULL)
		a->on_init(a->on_init_arg);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	(void)ino;
	struct statvfs st;
	int rc = fs_statfs(tree(req), &st);
	if (rc < 0)
		reply_rc(req, rc);
	else
		fuse_reply_statfs(req, &st);
}

/* --- names ----------------------------------------------------------------------------------------- */

/* How long "there is no such name" holds. Names of views come and go with what they show. */
static double miss_seconds(uint64_t parent, const char *name)
{
	return (parent & FS_VIRTUAL) || (parent == FS_ROOT && name[0] == '@') ? 0 : forever;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs_entry e;
	int rc = fs_lookup(tree(req), parent, name, &e);
	if (rc == 0) {
		reply_entry(req, &e);
	} else if (rc == -ENOENT) {
		struct fuse_entry_param miss = { .ino = 0, .entry_timeout = miss_seconds(parent, name) };
		fuse_reply_entry(req, &miss);
	} else {
		reply_rc(req, rc);
	}
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	fs_forget(tree(req), ino, n);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		fs_forget(tree(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev, const char *target)
{
	struct fs_caller c = caller(req);
	struct fs_entry e;
	int rc = fs_make(tree(req), &c, parent, name, mode, rdev, target, &e);
	if (rc == 0 && (rc = sync_names(req, rc)) < 0)
		fs_forget(tree(req), e.st.st_ino, 1);
	if (rc < 0)
		reply_rc(req, rc);
	else
		reply_entry(req, &e);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	make(req, parent, name, mode, rdev, NULL);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make(req, parent, name, S_IFDIR | (mode & 07777), 0, NULL);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	make(req, parent, name, S_IFLNK | 0777, 0, target);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct fs_caller c = caller(req);
	struct fs_entry e;
	int rc = fs_link(tree(req), &c, ino, parent, name, &e);
	if (rc == 0 && (rc = sync_names(req, rc)) < 0)
		fs_forget(tree(req), e.st.st_ino, 1);
	if (rc < 0)
		reply_rc(req, rc);
	else
		reply_entry(req, &e);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs_caller c = caller(req);
	reply_rc(req, sync_names(req, fs_unlink(tree(req), &c, parent, name)));
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs_caller c = caller(req);
	reply_rc(req, sync_names(req, fs_rmdir(tree(req), &c, parent, name)));
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname,
		unsigned flags)
{
	struct fs_caller c = caller(req);
	reply_rc(req, sync_names(req, fs_rename(tree(req), &c, parent, name, newparent, newname, flags)));
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[PATH_MAX];
	ssize_t n = fs_readlink(tree(req), ino, target, sizeof(target) - 1);
	if (n < 0) {
		reply_rc(req, n);
		return;
	}
	target[n] = '\0';
	fuse_reply_readlink(req, target);
}

/* --- attributes ------------------------------------------------------------------------------------ */

static void reply_attr(fuse_req_t req, int rc, const struct fs_entry *e)
{
	if (rc < 0)
		reply_rc(req, rc);
	else
		fuse_reply_attr(req, &e->st, attr_seconds(e));
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	struct fs_entry e;
	int rc = fs_getattr(tree(req), ino, &e);
	reply_attr(req, rc, &e);
}

static unsigned setattr_mask(int to_set)
{
	unsigned mask = 0;
	if (to_set & FUSE_SET_ATTR_MODE)
		mask |= FS_SET_MODE;
	if (to_set & FUSE_SET_ATTR_UID)
		mask |= FS_SET_UID;
	if (to_set & FUSE_SET_ATTR_GID)
		mask |= FS_SET_GID;
	if (to_set & FUSE_SET_ATTR_SIZE)
		mask |= FS_SET_SIZE;
	if (to_set & FUSE_SET_ATTR_CTIME)
		mask |= FS_SET_CTIME;
	/* UTIME_NOW comes as both bits, UTIME_OMIT as neither. */
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		mask |= FS_SET_ATIME_NOW;
	else if (to_set & FUSE_SET_ATTR_ATIME)
		mask |= FS_SET_ATIME;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		mask |= FS_SET_MTIME_NOW;
	else if (to_set & FUSE_SET_ATTR_MTIME)
		mask |= FS_SET_MTIME;
	return mask;
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	struct fs_caller c = caller(req);
	struct fs_entry e;
	int rc = fuse_setattr_privilege(req, ino, st, &to_set);
	if (rc == 0)
		rc = fs_setattr(tree(req), &c, ino, st, setattr_mask(to_set), handle(fi), &e);
	if (rc == 0)
		fuse_privilege_given(adapter(req), &e.st);
	reply_attr(req, sync_names(req, rc), &e);
}

/* --- open files ------------------------------------------------------------------------------------ */

static int open_flags(fuse_req_t req, const struct fuse_file_info *fi)
{
	return adapter(req)->sync ? fi->flags | O_SYNC : fi->flags;
}

/* st: of the file, NULL when it could not be had. */
static void set_caching(fuse_req_t req, struct fs_handle *h, const struct stat *st, struct fuse_file_info *fi)
{
	int access = fi->flags & O_ACCMODE;
	fi->fh = (uint64_t)(uintptr_t)h;
	fi->keep_cache = fs_handle_keep_cache(h);
	fi->direct_io = fs_handle_unsized(h) || (access == O_WRONLY && adapter(req)->direct_writes && st != NULL &&
			!fuse_may_lose(tree(req), st));
	fi->noflush = access == O_RDONLY && !(fi->flags & O_TRUNC); /* its close has nothing to publish */
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct fs *fs = tree(req);
	struct fs_caller c = caller(req);
	struct fs_handle *h = NULL;
	struct fs_entry e;
	int rc = strcmp(name, FUSE_UNNAMED) == 0 ? fs_create_unnamed(fs, &c, parent, mode, open_flags(req, fi), &h, &e)
			: fs_create(fs, &c, parent, name, mode, open_flags(req, fi), &h, &e);
	if (rc == 0 && (rc = sync_names(req, rc)) < 0) {
		fs_release(fs, h);
		fs_forget(fs, e.st.st_ino, 1);
	}
	if (rc < 0) {
		reply_rc(req, rc);
		return;
	}
	set_caching(req, h, &e.st, fi);
	struct fuse_entry_param p = fuse_adapter_entry(&e);
	if (p.attr_timeout < create_timeout)
		p.attr_timeout = create_timeout;
	if (fuse_reply_create(req, &p, fi) == -ENOENT) {
		fs_release(fs, h);
		fs_forget(fs, p.ino, 1);
	}
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = tree(req);
	struct fs_caller c = caller(req);
	struct fs_handle *h = NULL;
	struct fs_entry e;
	bool changes = (fi->flags & O_ACCMODE) == O_WRONLY || (fi->flags & O_TRUNC);
	int rc = fs_open_file(fs, &c, ino, open_flags(req, fi), &h);
	if (rc == 0 && changes)
		rc = fs_getattr(fs, ino, &e);
	/*
	 * Of a truncation that is part of open the kernel leaves this to us; it asks for the attributes
	 * afterwards.
	 */
	mode_t bits = rc == 0 && (fi->flags & O_TRUNC) ? fuse_lost_bits(req, &e.st) : 0;
	if (bits != 0) {
		e.st.st_mode &= ~bits;
		rc = fs_setattr(fs, &c, ino, &e.st, FS_SET_MODE, NULL, &e);
	}
	if (rc < 0) {
		if (h != NULL)
			fs_release(fs, h);
		reply_rc(req, rc);
		return;
	}
	set_caching(req, h, changes ? &e.st : NULL, fi);
	if (fuse_reply_open(req, fi) == -ENOENT)
		fs_release(fs, h);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	void *buf = fuse_scratch(size);
	ssize_t n = buf == NULL ? -ENOMEM : fs_read(tree(req), handle(fi), (uint64_t)off, buf, size);
	if (n < 0)
		reply_rc(req, n);
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		struct fuse_file_info *fi)
{
	struct fs *fs = tree(req);
	struct fs_body *rest = NULL;
	struct fs_caller c = caller(req);
	ssize_t n = 0;
	if (fi->writepage)
		c.pid = 0; /* dirty pages of a mapping, written by the kernel: whose they were is not known */
	else
		fs_handle_set_append(handle(fi), fi->flags & O_APPEND);
	if (!fi->writepage && atomic_load_explicit(&adapter(req)->privileges, memory_order_relaxed))
		n = fuse_privilege_written(req, ino);
	if (n == 0)
		n = fs_write_begin(fs, &c, handle(fi), (uint64_t)off, buf, size, &rest);
	if (n < 0)
		reply_rc(req, n);
	else
		fuse_reply_write(req, (size_t)n);
	/* The writer prepares its next request while this one's bytes are cut; buf is the loop's until we return. */
	if (rest != NULL) {
		fuse_loop_beside();
		fs_write_end(fs, rest);
	}
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	struct fs_caller c = caller(req);
	int rc = fs_flush(tree(req), &c, handle(fi));
	/* A save that was given up took the name of a new file with it: who waits for its writer finds it gone. */
	fuse_notifier_settle(adapter(req)->notifier);
	reply_rc(req, rc);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fs_release(tree(req), handle(fi));
	reply_rc(req, 0);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	reply_rc(req, fs_fsync(tree(req), handle(fi), datasync != 0));
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	(void)ino;
	struct fs_caller c = caller(req);
	reply_rc(req, fs_fallocate(tree(req), &c, handle(fi), mode, (uint64_t)off, (uint64_t)len));
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	(void)ino;
	uint64_t out = 0;
	int rc = off < 0 ? -ENXIO : fs_lseek(tree(req), handle(fi), (uint64_t)off, whence, &out);
	if (rc < 0)
		reply_rc(req, rc);
	else
		fuse_reply_lseek(req, (off_t)out);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in,
		fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *fi_out, size_t len, int flags)
{
	(void)ino_in;
	(void)ino_out;
	struct fs_caller c = caller(req);
	/* The answer has 32 bits, and a caller goes on after a short copy. */
	if (len > INT_MAX / 4096 * 4096)
		len = INT_MAX / 4096 * 4096;
	int64_t n = -EINVAL;
	if (flags == 0)
		n = fs_copy_range(tree(req), &c, handle(fi_in), (uint64_t)off_in, handle(fi_out), (uint64_t)off_out, len);
	if (n < 0)
		reply_rc(req, n);
	else
		fuse_reply_write(req, (size_t)n);
}

const struct fuse_lowlevel_ops fuse_adapter_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = fuse_op_opendir,
	.readdir = fuse_op_readdir,
	.readdirplus = fuse_op_readdirplus,
	.releasedir = fuse_op_releasedir,
	.fsyncdir = fuse_op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = fuse_op_setxattr,
	.getxattr = fuse_op_getxattr,
	.listxattr = fuse_op_listxattr,
	.removexattr = fuse_op_removexattr,
	.create = op_create,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
};
