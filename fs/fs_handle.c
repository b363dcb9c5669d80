/*
 * fs_handle.c: open files.
 *
 * A handle is what one open(2) made; all handles of a file share its body and through it one store_file, which does the reading and
 * writing under a lock of its own.  What a close means is decided in fs_session.c.
 *
 * Caching.  `keep_cache` lets the kernel keep the pages it has: the content is the one that this inode had when it was last opened,
 * or became what it is by writes that went through these very pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "fs_internal.h"

/* The largest offset a file can have, so that off_t holds it. */
#define FILE_MAX ((uint64_t)INT64_MAX)

static struct fs_handle *handle_new(const struct fs_caller *c, int flags)
{
	struct fs_handle *h = calloc(1, sizeof(*h));

	if (!h) {
		ckpt_fail(ENOMEM, "no memory for an open file");
		return NULL;
	}
	h->flags = flags;
	/* O_RDONLY | O_TRUNC changes the content too, and its close publishes that; writes don't get past the kernel. */
	h->writable = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
	atomic_init(&h->append, flags & O_APPEND);
	h->opener = c ? c->pid : 0;
	atomic_init(&h->writer, h->opener);
	return h;
}

/* The handle takes the caller's reference to b. */
static void handle_attach(struct fs *fs, struct fs_handle *h, struct fs_body *b)
{
	struct fs_shard *sh = fs_shard_of(fs, b->ino);

	ckpt_rwlock_rdlock(&b->gate);
	h->epoch = b->epoch;
	pthread_rwlock_unlock(&b->gate);
	h->body = b;
	pthread_mutex_lock(&sh->lock);
	if (atomic_load(&b->outside)) {
		b->inode->cached = FS_NOT_CACHED;
	} else {
		h->keep_cache = b->inode->cached == b->version && b->version != FS_NOT_CACHED;
		b->inode->cached = b->version;
	}
	h->next = b->handles;
	if (b->handles)
		b->handles->prev = h;
	b->handles = h;
	if (h->writable)
		b->writers++;
	pthread_mutex_unlock(&sh->lock);
}

/* True when this was the last handle that could write. */
static bool handle_detach(struct fs *fs, struct fs_handle *h)
{
	struct fs_body *b = h->body;
	struct fs_shard *sh = fs_shard_of(fs, b->ino);
	bool last;

	pthread_mutex_lock(&sh->lock);
	if (h->prev)
		h->prev->next = h->next;
	else
		b->handles = h->next;
	if (h->next)
		h->next->prev = h->prev;
	if (h->writable)
		b->writers--;
	last = h->writable && b->writers == 0;
	pthread_mutex_unlock(&sh->lock);
	return last;
}

/* O_TRUNC: from here on the session replaces the whole content. */
static int open_truncate(struct fs *fs, const struct fs_caller *c, struct fs_handle *h)
{
	int rc = fs_change_begin(fs, c, h->body, h, false);

	if (rc < 0)
		return rc;
	rc = store_file_replace(h->body->file);
	fs_change_end(h->body);
	if (rc == 0)
		fs_change_result(fs, h->body, STORE_APPEND, 0);
	return rc;
}

int fs_open_file(struct fs *fs, const struct fs_caller *c, uint64_t ino, int flags, struct fs_handle **out)
{
	struct fs_handle *h;
	struct fs_body *b;
	int rc;

	if (((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC)) && ((ino & FS_VIRTUAL) || fs->readonly))
		return ckpt_fail(EROFS, ino & FS_VIRTUAL ? "views are read-only" : "the store is read-only");
	h = handle_new(c, flags);
	if (!h)
		return -ENOMEM;
	if (ino & FS_VIRTUAL) {
		rc = fs_view_open(fs, ino, c && c->kernel, &h->view);
		if (rc < 0)
			goto free_handle;
		h->keep_cache = !h->view.unsized; /* a number stands for one content */
		*out = h;
		return 0;
	}
	rc = fs_body_open(fs, ino, &b);
	if (rc < 0)
		goto free_handle;
	handle_attach(fs, h, b);
	if (flags & O_TRUNC) {
		rc = open_truncate(fs, c, h);
		if (rc < 0) {
			fs_release(fs, h);
			return rc;
		}
	}
	*out = h;
	return 0;

free_handle:
	free(h);
	return rc;
}

/* The name was there already: the open part of open(2) with O_CREAT. */
static int create_existing(struct fs *fs, const struct fs_caller *c, uint64_t parent, const char *name, int flags,
		struct fs_handle **h, struct fs_entry *out)
{
	struct fs_entry e;
	int rc = fs_lookup(fs, parent, name, &e);

	if (rc < 0)
		return rc;
	if (S_ISREG(e.st.st_mode))
		rc = fs_open_file(fs, c, e.st.st_ino, flags, h);
	else
		rc = ckpt_fail(EEXIST, "'%s' exists and is no file", name);
	if (rc == 0) {
		rc = fs_getattr(fs, e.st.st_ino, out);
		if (rc < 0)
			fs_release(fs, *h);
	}
	if (rc < 0)
		fs_forget(fs, e.st.st_ino, 1);
	return rc;
}

int fs_create(struct fs *fs, const struct fs_caller *c, uint64_t parent, const char *name, mode_t mode, int flags,
		struct fs_handle **out, struct fs_entry *entry)
{
	/* Without write access nothing will ever be published: an empty file is all it is meant to be (a lock, a mark). */
	struct store_new n = {
		.mode = S_IFREG | (mode & 07777),
		.uid = c->uid,
		.gid = c->gid,
		.provisional = (flags & O_ACCMODE) != O_RDONLY,
	};
	struct store_attr a;
	struct fs_handle *h;
	struct fs_body *b;
	int rc;

	rc = fs_name_allowed(parent, name);
	if (rc < 0)
		return rc;
	ckpt_rwlock_rdlock(&fs->names);
	rc = store_make(fs->store, parent, name, strlen(name), &n, &a);
	pthread_rwlock_unlock(&fs->names);
	if (rc == -EEXIST && !(flags & O_EXCL))
		return create_existing(fs, c, parent, name, flags, out, entry);
	if (rc < 0)
		return rc;

	rc = fs_inode_ref(fs, a.ino);
	if (rc < 0)
		goto remove_name;
	h = handle_new(c, flags);
	if (!h) {
		rc = -ENOMEM;
		goto unref_inode;
	}
	rc = fs_body_open(fs, a.ino, &b);
	if (rc < 0)
		goto free_handle;
	ckpt_mutex_lock(&b->session);
	free(b->name);
	b->parent = parent;
	b->name = strdup(name);
	rc = b->name ? 0 : ckpt_fail(ENOMEM, "no memory for a name");
	pthread_mutex_unlock(&b->session);
	if (rc < 0)
		goto put_body;
	handle_attach(fs, h, b);
	fs_entry_fill(fs, &a, atomic_load(&fs->published), entry); /* with a body: what holds now */
	fs_notify_outside(fs, c, parent, name);
	fs_notify_outside(fs, c, parent, NULL);
	*out = h;
	return 0;

put_body:
	fs_body_put(fs, b);
free_handle:
	free(h);
unref_inode:
	fs_inode_unref(fs, a.ino, 1);
remove_name:
	fs_name_remove(fs, parent, name, a.ino);
	return rc;
}

void fs_handle_set_append(struct fs_handle *h, bool append)
{
	if (atomic_load_explicit(&h->append, memory_order_relaxed) != append)
		atomic_store(&h->append, append);
}

bool fs_handle_keep_cache(const struct fs_handle *h)
{
	return h->keep_cache;
}

bool fs_handle_unsized(const struct fs_handle *h)
{
	return !h->body && h->view.unsized;
}

/* --- reading ----------------------------------------------------------------------------------------- */

/* Remembers that atime has to move; a clock read in a second is enough. */
static void note_read(struct fs *fs, struct fs_handle *h)
{
	int64_t now;

	if (fs->noatime || fs->readonly || (h->flags & O_NOATIME))
		return;
	now = fs_realtime();
	if (now - atomic_load_explicit(&h->body->read_at, memory_order_relaxed) > 1000000000)
		atomic_store(&h->body->read_at, now);
	if (!atomic_load_explicit(&h->was_read, memory_order_relaxed))
		atomic_store(&h->was_read, true);
}

ssize_t fs_read(struct fs *fs, struct fs_handle *h, uint64_t off, void *buf, size_t len)
{
	ssize_t n;

	if (!h->body)
		return h->view.read(&h->view, off, buf, len);
	n = store_file_read(h->body->file, off, buf, len);
	if (n >= 0)
		note_read(fs, h);
	return n;
}

int fs_lseek(struct fs *fs, struct fs_handle *h, uint64_t off, int whence, uint64_t *out)
{
	(void)fs;
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return ckpt_fail(EINVAL, "lseek: whence %d", whence);
	if (h->body)
		return store_file_seek(h->body->file, off, whence, out);
	if (h->view.content)
		return store_file_seek(h->view.content, off, whence, out);
	if (off >= h->view.size)
		return ckpt_fail(ENXIO, "no data behind offset %llu", (unsigned long long)off);
	*out = whence == SEEK_DATA ? off : h->view.size;
	return 0;
}

/* --- writing ----------------------------------------------------------------------------------------- */

/* After a change that went well. */
static int changed(struct fs *fs, struct fs_handle *h)
{
	if (h->flags & (O_SYNC | O_DSYNC))
		return fs_session_publish(fs, h->body, true);
	return 0;
}

static int check_writable(const struct fs_handle *h)
{
	if (!h->body)
		return ckpt_fail(EROFS, "views are read-only");
	if (!h->writable)
		return ckpt_fail(EBADF, "the file is not open for writing");
	return 0;
}

ssize_t fs_write_begin(struct fs *fs, const struct fs_caller *c, struct fs_handle *h, uint64_t off, const void *buf,
		size_t len, struct fs_body **rest)
{
	/* Dirty pages of a mapping know where they belong, also in a file that is open with O_APPEND. */
	bool pages = !c || (c->kernel && c->pid == 0), late = false;
	int rc;

	rc = check_writable(h);
	if (rc < 0)
		return rc;
	if (len == 0)
		return 0;
	rc = fs_change_begin(fs, c, h->body, h, false);
	if (rc < 0)
		return rc;
	if (atomic_load_explicit(&h->append, memory_order_relaxed) && !pages)
		off = STORE_APPEND;
	rc = store_file_write_begin(h->body->file, off, buf, len, rest ? &late : NULL);
	/* The handle may be closed as soon as its writer hears of it. */
	if (late)
		*rest = fs_body_again(fs, h->body);
	fs_change_result(fs, h->body, off, rc);
	fs_change_end(h->body);
	if (rc == 0)
		rc = changed(fs, h);
	return rc < 0 ? rc : (ssize_t)len;
}

void fs_write_end(struct fs *fs, struct fs_body *rest)
{
	store_file_write_end(rest->file);
	fs_body_put(fs, rest);
}

ssize_t fs_write(struct fs *fs, const struct fs_caller *c, struct fs_handle *h, uint64_t off, const void *buf, size_t len)
{
	return fs_write_begin(fs, c, h, off, buf, len, NULL);
}

/* 1 when it is what it was. */
static int fill_range(struct fs *fs, struct store_file *f, int mode, uint64_t off, uint64_t len)
{
	struct store_attr a = { 0 };
	struct store_space space;
	uint64_t end = off + len, grow;
	int rc;

	store_file_stat(f, &a);
	if (mode & FALLOC_FL_PUNCH_HOLE)
		return store_file_punch(f, off, len);
	if (mode & FALLOC_FL_ZERO_RANGE) {
		rc = off < a.size ? store_file_punch(f, off, len) : 1;
	} else {
		/* Nothing is set aside for content that may take any room; only what can't ever fit is refused. */
		grow = end > a.size ? end - (off > a.size ? off : a.size) : 0;
		rc = store_space(fs->store, &space);
		if (rc == 0 && grow > space.avail)
			rc = ckpt_fail(ENOSPC, "%llu bytes are asked for, %llu are free", (unsigned long long)grow,
					(unsigned long long)space.avail);
		if (rc == 0)
			rc = 1;
	}
	if (rc >= 0 && !(mode & FALLOC_FL_KEEP_SIZE) && end > a.size)
		rc = store_file_truncate(f, end);
	return rc;
}

int fs_fallocate(struct fs *fs, const struct fs_caller *c, struct fs_handle *h, int mode, uint64_t off, uint64_t len)
{
	int rc = check_writable(h);

	if (rc < 0)
		return rc;
	switch (mode) {
	case 0:
	case FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_ZERO_RANGE:
	case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		break;
	default:
		return ckpt_fail(EOPNOTSUPP, "fallocate: mode %#x", (unsigned)mode);
	}
	if (len == 0)
		return ckpt_fail(EINVAL, "fallocate: no length");
	if (off > FILE_MAX || len > FILE_MAX - off)
		return ckpt_fail(EFBIG, "fallocate: beyond the largest file");
	/* Exclusive: between looking at the size and setting it nobody may append. */
	rc = fs_change_begin(fs, c, h->body, h, true);
	if (rc < 0)
		return rc;
	rc = fill_range(fs, h->body->file, mode, off, len);
	fs_change_end(h->body);
	if (rc > 0) {
		struct stat st = { 0 };
		struct fs_entry e;

		rc = fs_setattr(fs, c, h->body->ino, &st, FS_SET_MTIME_NOW, h, &e);
	}
	return rc < 0 ? rc : changed(fs, h);
}

int64_t fs_same_range(struct fs_handle *a, uint64_t off_a, struct fs_handle *b, uint64_t off_b, uint64_t len)
{
	struct store_file *x = a->body ? a->body->file : a->view.content;
	struct store_file *y = b->body ? b->body->file : b->view.content;

	return x && y ? store_file_same(x, off_a, y, off_b, len) : 0;
}

int64_t fs_copy_range(struct fs *fs, const struct fs_caller *c, struct fs_handle *in, uint64_t off_in, struct fs_handle *out,
		uint64_t off_out, uint64_t len)
{
	struct store_file *src = in->body ? in->body->file : in->view.content;
	int64_t n;
	int rc;

	rc = check_writable(out);
	if (rc < 0)
		return rc;
	if (!src)
		return ckpt_fail(EOPNOTSUPP, "what is generated can't be shared");
	if (in->body && (in->flags & O_ACCMODE) == O_WRONLY)
		return ckpt_fail(EBADF, "the source is not open for reading");
	if (off_in > FILE_MAX || off_out > FILE_MAX || len > FILE_MAX - off_out)
		return ckpt_fail(EFBIG, "copy: beyond the largest file");
	if (len > FILE_MAX - off_in)
		len = FILE_MAX - off_in;
	if (src == out->body->file && off_in < off_out + len && off_out < off_in + len)
		return ckpt_fail(EINVAL, "copy: the ranges overlap");
	if (len == 0)
		return 0;
	rc = fs_change_begin(fs, c, out->body, out, false);
	if (rc < 0)
		return rc;
	n = store_file_clone(src, off_in, out->body->file, off_out, len);
	fs_change_result(fs, out->body, off_out, n < 0 ? (int)n : 0);
	fs_change_end(out->body);
	if (n < 0)
		return n;
	if (in->body)
		note_read(fs, in);
	rc = n > 0 ? changed(fs, out) : 0;
	return rc < 0 ? rc : n;
}

/* --- the end ----------------------------------------------------------------------------------------- */

int fs_flush(struct fs *fs, const struct fs_caller *c, struct fs_handle *h)
{
	return h->body && h->writable ? fs_session_flush(fs, c, h) : 0;
}

int fs_fsync(struct fs *fs, struct fs_handle *h, bool datasync)
{
	(void)datasync; /* what makes the content durable makes its attributes so */
	if (!h->body || fs->readonly)
		return 0;
	return fs_session_publish(fs, h->body, true);
}

void fs_release(struct fs *fs, struct fs_handle *h)
{
	if (!h)
		return;
	if (!h->body) {
		if (h->view.close)
			h->view.close(&h->view);
		free(h);
		return;
	}
	/* Pages of a mapping that were dirtied after the last close have been written by now, through some handle. */
	if (handle_detach(fs, h))
		fs_session_settle(fs, h->body);
	if (atomic_load(&h->was_read)) {
		int64_t when = atomic_load(&h->body->read_at);

		if (when != 0)
			fs_atime_apply(fs, h->body->ino, when);
	}
	fs_body_put(fs, h->body);
	free(h);
}
