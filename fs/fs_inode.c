/*
 * fs_inode.c: inodes looked up, their attributes.
 *
 * The store knows what was published; of a file that is being written, its store_file knows more.  What people see is the
 * first with the second laid over it.
 *
 * atime is kept as relatime does (mount(8)): a read moves it when it is not newer than mtime or ctime, or a day
 * old.  A read only leaves the time in the body; it is written when the handle goes, and stat shows it before that.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "fs_internal.h"

enum { BLKSIZE_FILE = 128 * 1024, BLKSIZE_OTHER = 4096 };
#define NS_PER_S ((int64_t)1000000000)
#define ATIME_DAY (24 * 3600 * NS_PER_S)

static int64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t fs_realtime(void)
{
	return clock_ns(CLOCK_REALTIME);
}

int64_t fs_monotonic(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static struct timespec timespec_of(int64_t ns)
{
	return (struct timespec){ .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };
}

static bool not_after(struct timespec a, struct timespec b)
{
	return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec <= b.tv_nsec);
}

bool fs_atime_due(const struct store_attr *a, int64_t now)
{
	struct timespec t = timespec_of(now);

	if (not_after(a->atime, a->mtime) || not_after(a->atime, a->ctime))
		return not_after(a->atime, t);
	return not_after(a->atime, timespec_of(now - ATIME_DAY));
}

void fs_atime_apply(struct fs *fs, uint64_t ino, int64_t when)
{
	struct store_attr a;

	if (fs->noatime || fs->readonly || store_getattr(fs->store, ino, &a) < 0 || !fs_atime_due(&a, when))
		return;
	a.atime = timespec_of(when);
	if (store_setattr(fs->store, ino, &a, STORE_SET_ATIME | STORE_KEEP_CTIME, NULL) < 0)
		ckpt_log(LOG_WARNING, "access time of inode %llu not kept: %s", (unsigned long long)ino, ckpt_errmsg());
}

static void stat_fill(const struct store_attr *a, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = a->ino;
	st->st_mode = a->mode;
	st->st_nlink = a->nlink;
	st->st_uid = a->uid;
	st->st_gid = a->gid;
	st->st_rdev = a->rdev;
	st->st_size = (off_t)a->size;
	st->st_blocks = (blkcnt_t)(a->data / 512 + (a->data % 512 != 0));
	st->st_blksize = S_ISREG(a->mode) ? BLKSIZE_FILE : BLKSIZE_OTHER;
	st->st_atim = a->atime;
	st->st_mtim = a->mtime;
	st->st_ctim = a->ctime;
}

void fs_entry_fill(struct fs *fs, const struct store_attr *a, unsigned long long seen, struct fs_entry *out)
{
	struct store_attr now = *a, again;
	struct fs_body *b = S_ISREG(a->mode) ? fs_body_hold(fs, a->ino) : NULL;

	out->settled = true;
	if (b) {
		struct store_file_state st;
		int64_t read_at;

		store_file_stat(b->file, &now);
		store_file_state(b->file, &st);
		out->settled = !st.dirty && !st.fresh;
		read_at = atomic_load(&b->read_at);
		if (read_at != 0 && fs_atime_due(&now, read_at))
			now.atime = timespec_of(read_at);
		fs_body_put(fs, b);
	} else if (S_ISREG(a->mode) && atomic_load(&fs->published) != seen && store_getattr(fs->store, a->ino, &again) == 0) {
		now = again;
	}
	stat_fill(&now, &out->st);
}

int fs_lookup(struct fs *fs, uint64_t parent, const char *name, struct fs_entry *out)
{
	unsigned long long published = atomic_load(&fs->published);
	struct store_attr a;
	int rc;

	if ((parent & FS_VIRTUAL) || (parent == FS_ROOT && fs_view_name(name)))
		return fs_view_lookup(fs, parent, name, out);
	for (;;) {
		unsigned long long seen = atomic_load(&fs->gone);

		rc = store_lookup(fs->store, parent, name, strlen(name), &a);
		if (rc < 0)
			return rc;
		rc = fs_inode_ref(fs, a.ino);
		if (rc < 0)
			return rc;
		if (fs_inode_still(fs, a.ino, seen))
			break;
		fs_inode_unref(fs, a.ino, 1);
	}
	fs_entry_fill(fs, &a, published, out);
	return 0;
}

void fs_forget(struct fs *fs, uint64_t ino, uint64_t n)
{
	if (ino & FS_VIRTUAL)
		fs_view_forget(fs, ino, n);
	else
		fs_inode_unref(fs, ino, n);
}

int fs_getattr(struct fs *fs, uint64_t ino, struct fs_entry *out)
{
	unsigned long long published = atomic_load(&fs->published);
	struct store_attr a;
	int rc;

	if (ino & FS_VIRTUAL)
		return fs_view_getattr(fs, ino, out);
	rc = store_getattr(fs->store, ino, &a);
	if (rc < 0)
		return rc;
	fs_entry_fill(fs, &a, published, out);
	return 0;
}

/*
 * A new size.  Cutting everything off begins a session that replaces the content, like O_TRUNC: who then dies in the middle of
 * writing leaves the version before.  By path it is a session of its own, ended at once, unless somebody is writing.
 */
static int set_size(struct fs *fs, const struct fs_caller *c, uint64_t ino, struct fs_handle *h, off_t size)
{
	struct store_file_state before;
	struct fs_body *b;
	bool alone;
	int rc;

	if (size < 0)
		return ckpt_fail(EINVAL, "size %lld of inode %llu", (long long)size, (unsigned long long)ino);
	rc = fs_body_open(fs, ino, &b);
	if (rc < 0)
		return rc;
	rc = fs_change_begin(fs, c, b, h, false);
	if (rc < 0)
		goto put_body;
	store_file_state(b->file, &before);
	rc = size == 0 ? store_file_replace(b->file) : store_file_truncate(b->file, (uint64_t)size);
	fs_change_end(b);
	if (rc < 0)
		goto put_body;
	if (size == 0)
		fs_change_result(fs, b, FS_NOT_CACHED, 0);
	if (!h) {
		struct fs_shard *sh = fs_shard_of(fs, ino);

		pthread_mutex_lock(&sh->lock);
		alone = b->writers == 0;
		pthread_mutex_unlock(&sh->lock);
		if (alone)
			rc = fs_session_publish(fs, b, false);
		if (rc < 0 && !before.dirty)
			fs_session_undo(fs, b);
	}
put_body:
	fs_body_put(fs, b);
	return rc;
}

static int set_rest(struct fs *fs, uint64_t ino, const struct stat *st, unsigned mask)
{
	struct store_attr in = {
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.atime = st->st_atim,
		.mtime = st->st_mtim,
		.ctime = st->st_ctim,
	};
	struct store_attr out;
	unsigned told = STORE_SET_CTIME;
	struct fs_body *b;
	int rc;

	rc = store_setattr(fs->store, ino, &in, mask, &out);
	if (rc < 0)
		return rc;
	b = fs_body_hold(fs, ino);
	if (!b)
		return 0;
	if (mask & (STORE_SET_ATIME | STORE_SET_ATIME_NOW)) {
		told |= STORE_SET_ATIME;
		atomic_store(&b->read_at, 0);
	}
	if (mask & (STORE_SET_MTIME | STORE_SET_MTIME_NOW))
		told |= STORE_SET_MTIME;
	store_file_set_times(b->file, &out, told);
	fs_body_put(fs, b);
	return 0;
}

int fs_setattr(struct fs *fs, const struct fs_caller *c, uint64_t ino, const struct stat *st, unsigned mask,
		struct fs_handle *h, struct fs_entry *out)
{
	unsigned rest = mask & ~(unsigned)FS_SET_SIZE;
	int rc;

	if (ino & FS_VIRTUAL)
		return ckpt_fail(EROFS, "views are read-only");
	if (fs->readonly)
		return ckpt_fail(EROFS, "the store is read-only");
	if (mask & FS_SET_SIZE) {
		rc = set_size(fs, c, ino, h, st->st_size);
		if (rc < 0)
			return rc;
	}
	if (rest != 0) {
		rc = set_rest(fs, ino, st, rest);
		if (rc < 0)
			return rc;
	}
	fs_notify_outside(fs, c, ino, NULL);
	return fs_getattr(fs, ino, out);
}

ssize_t fs_readlink(struct fs *fs, uint64_t ino, char *buf, size_t cap)
{
	ssize_t n;

	if (ino & FS_VIRTUAL)
		return fs_view_readlink(fs, ino, buf, cap);
	n = store_readlink(fs->store, ino, buf, cap);
	if (n >= 0)
		fs_atime_apply(fs, ino, fs_realtime());
	return n;
}

void fs_set_notify(struct fs *fs, fs_notify fn, void *arg)
{
	pthread_rwlock_wrlock(&fs->notify_lock);
	fs->notify = fn;
	fs->notify_arg = arg;
	pthread_rwlock_unlock(&fs->notify_lock);
}

void fs_notify_change(struct fs *fs, uint64_t ino, const char *name)
{
	pthread_rwlock_rdlock(&fs->notify_lock);
	if (fs->notify)
		fs->notify(fs->notify_arg, ino, name, name ? strlen(name) : 0);
	pthread_rwlock_unlock(&fs->notify_lock);
}

void fs_notify_outside(struct fs *fs, const struct fs_caller *c, uint64_t ino, const char *name)
{
	atomic_fetch_add(&fs->changes, 1);
	if (c && !c->kernel)
		fs_notify_change(fs, ino, name);
}
