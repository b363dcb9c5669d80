/*
 * file.c: opening, sessions, and the bound on memory.
 *
 * A session, from the first change to publish or abort:
 *
 *        open                write, truncate, ...                publish
 *   (published) ---------------> SESSION ---------------------------------> (published, new content)
 *        ^                          |
 *        +---------- abort ---------+
 *
 * What is written and not yet in the pipeline (tails and blocks) is counted over all files.  A writer that finds the
 * sum beyond store_options.dirty_bytes first hands its own bytes on, then those of files that nobody holds at the moment.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "file_internal.h"
#include "store_version.h"

int files_open(struct store *s)
{
	int rc;

	s->files = calloc(1, sizeof(*s->files));
	if (!s->files)
		return ckpt_fail(ENOMEM, "no memory for the table of open files");
	pthread_mutex_init(&s->files->lock, NULL);
	pthread_mutex_init(&s->files->ctx_lock, NULL);
	rc = codec_ctx_new(CODEC_FAST, &s->files->ctx);
	if (rc) {
		files_close(s);
		return rc;
	}
	return s->readonly ? 0 : drafts_recover(s);
}

void files_close(struct store *s)
{
	if (!s->files)
		return;
	codec_ctx_free(s->files->ctx);
	pthread_mutex_destroy(&s->files->ctx_lock);
	pthread_mutex_destroy(&s->files->lock);
	free(s->files);
	s->files = NULL;
}

static int64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return meta_ns(t);
}

void file_lock(struct store_file *f)
{
	ckpt_rwlock_wrlock(&f->lock);
	file_settle(f);
}

void file_forget_row(struct store_file *f)
{
	ckpt_mutex_lock(&f->row_lock);
	manifest_row_release(&f->row);
	f->row_version = 0;
	pthread_mutex_unlock(&f->row_lock);
}

/* For an inode, or for a version alone. */
static struct store_file *file_new(struct store *s, uint64_t ino, uint64_t version)
{
	struct store_file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->s = s;
	f->ino = ino;
	f->version = version;
	pthread_rwlock_init(&f->lock, NULL);
	pthread_mutex_init(&f->row_lock, NULL);
	ckpt_mutex_lock(&s->files->lock);
	f->next = s->files->all;
	if (f->next)
		f->next->prev = f;
	s->files->all = f;
	pthread_mutex_unlock(&s->files->lock);
	return f;
}

int store_file_open(struct store *s, uint64_t ino, struct store_file **out)
{
	struct store_file *f = file_new(s, ino, 0);
	struct store_attr a;
	int rc;

	if (!f)
		return ckpt_fail(ENOMEM, "no memory to open a file");
	f->readonly = store_readonly(s);
	meta_lock(s);
	rc = meta_inode_get(s, ino, &a);
	if (!rc)
		f->fresh = meta_is_provisional(s, ino);
	meta_unlock(s);
	if (!rc && !S_ISREG(a.mode))
		rc = ckpt_fail(EINVAL, "inode %llu is no regular file", (unsigned long long)ino);
	if (rc) {
		store_file_close(f);
		return rc;
	}
	f->version = a.version;
	f->size = f->base_size = a.size;
	f->base_data = a.data;
	/* What is inline is read at once: it is small, and reads need it under a shared lock. */
	rc = file_load_base(f);
	if (rc) {
		store_file_close(f);
		return rc;
	}
	*out = f;
	return 0;
}

int store_file_open_version(struct store *s, uint64_t version, struct store_file **out)
{
	struct store_file *f = file_new(s, 0, version);
	int rc;

	if (!f)
		return ckpt_fail(ENOMEM, "no memory to open a version");
	f->readonly = true;
	rc = store_version_hold(s, version);
	f->held = rc == 0;
	if (!rc)
		rc = file_load_base(f);
	if (rc) {
		store_file_close(f);
		return rc;
	}
	*out = f;
	return 0;
}

void store_file_close(struct store_file *f)
{
	struct files *files;

	if (!f)
		return;
	files = f->s->files;
	ckpt_mutex_lock(&files->lock);
	if (f->prev)
		f->prev->next = f->next;
	else
		files->all = f->next;
	if (f->next)
		f->next->prev = f->prev;
	pthread_mutex_unlock(&files->lock);
	/* Whoever found it in the list holds its lock; wait for him. */
	ckpt_rwlock_wrlock(&f->lock);
	file_drop_session(f);
	pthread_rwlock_unlock(&f->lock);
	if (f->held)
		store_version_release(f->s, f->version);
	manifest_row_release(&f->row);
	free(f->inline_data);
	free(f->pend);
	pthread_mutex_destroy(&f->row_lock);
	pthread_rwlock_destroy(&f->lock);
	free(f);
}

/* --- sessions ------------------------------------------------------------------------------------ */

void file_drop_session(struct store_file *f)
{
	size_t i;

	for (i = f->pend_head; i < f->npend; i++) {
		if (!chunk_wait(f->s, f->pend[i].job))
			chunk_unpin(f->s, f->pend[i].job->id);
		chunk_job_unref(f->pend[i].job);
	}
	f->pend_head = f->npend = 0;
	extents_clear(f->s, &f->ext);
	file_drop_memory(f);
	records_forget(f);
	if (f->draft) {
		int rc = meta_begin(f->s);

		if (!rc) {
			rc = meta_version_delete(f->s, f->draft);
			if (!rc)
				rc = meta_draft(f->s, f->draft, false);
			meta_end(f->s, rc); /* a draft that stays behind is removed at the next open */
		}
		f->draft = 0;
	}
	file_forget_row(f);
	f->session = f->replacing = f->appended = false;
	f->error = 0;
	f->written = 0;
	f->batch_lo = f->batch_hi = 0;
	f->size = f->base_size;
}

int file_begin(struct store_file *f, bool replace)
{
	int rc;

	f->mtime = f->ctime = meta_now();
	if (replace) {
		if (f->session)
			file_drop_session(f);
		f->session = f->replacing = true;
		f->since = monotonic_ns();
		f->size = 0;
		f->appended = false;
		return 0;
	}
	if (f->session)
		return 0;
	f->session = f->appended = true;
	f->replacing = f->fresh;
	f->since = monotonic_ns();
	/* Inline content becomes the tail of a stream: the session treats it as written just now. */
	if (f->inline_len) {
		rc = file_start_stream(f, f->inline_off);
		if (!rc)
			rc = file_stream(f, f->inline_data, f->inline_len);
		if (rc) {
			file_drop_session(f);
			return rc;
		}
	}
	return 0;
}

/* --- memory -------------------------------------------------------------------------------------- */

static bool over(struct store *s)
{
	int64_t limit = s->opt.dirty_bytes ? (int64_t)s->opt.dirty_bytes : 64 << 20;

	return atomic_load_explicit(&s->files->dirty, memory_order_relaxed) > limit / 2;
}

/* Hands on what is in memory of other files until the sum is in bounds again. No file lock is held. */
static void relieve(struct store *s)
{
	struct store_file *f;

	ckpt_mutex_lock(&s->files->lock);
	for (f = s->files->all; f && over(s); f = f->next) {
		if (pthread_rwlock_trywrlock(&f->lock))
			continue;
		file_settle(f);
		if (f->session && !f->error && (f->nblocks || f->tail_len)) {
			/* Errors stay with that file's session (f->error) and show at its next call. */
			file_flush_blocks(f, 0, UINT64_MAX);
			if (over(s))
				file_end_stream(f);
		}
		pthread_rwlock_unlock(&f->lock);
	}
	pthread_mutex_unlock(&s->files->lock);
}

/*
 * A write failed.  A session that replaces the content can't become what its writer meant any more: it keeps the error, so
 * that the version before stands.  Others keep what was acknowledged.
 */
static void refuse(struct store_file *f, int rc)
{
	if (f->session && f->replacing && !f->error)
		f->error = -rc;
}

/* Keeps memory bounded after a write. */
static int hand_on(struct store_file *f)
{
	int rc;

	if (!over(f->s))
		return 0;
	rc = file_flush_blocks(f, 0, UINT64_MAX);
	if (!rc && over(f->s) && f->tail_len >= FILE_CELL)
		rc = file_end_stream(f);
	return rc;
}

/* May a write that was found in order be settled after its writer was answered?  Not where something is short. */
static bool may_be_late(const struct store_file *f, uint64_t off, size_t len)
{
	return f->cutter && off == f->tail_off + f->tail_len && len >= FILE_LATE_MIN && len <= FILE_LATE_MAX &&
			f->ext.n < EXTENTS_MAX && !over(f->s);
}

int store_file_write_begin(struct store_file *f, uint64_t off, const void *buf, size_t len, bool *late)
{
	struct store *s = f->s;
	uint64_t old;
	int rc;

	if (f->readonly)
		return ckpt_fail(EROFS, "the store is read-only");
	if (!len)
		return 0;
	file_lock(f);
	if (off == STORE_APPEND)
		off = f->size;
	if (off > INT64_MAX || len > INT64_MAX - off) {
		rc = ckpt_fail(EFBIG, "a file can't be larger than 2^63-1 bytes");
		goto out;
	}
	rc = f->error ? ckpt_fail(f->error, "an earlier write could not be stored") : file_begin(f, false);
	if (!rc)
		rc = store_space_ask(s, len);
	if (rc) {
		refuse(f, rc);
		goto out;
	}
	old = f->size;
	if (off < old)
		f->appended = false; /* also when it fails: some of it may have been overwritten by then */
	if (late && may_be_late(f, off, len)) {
		file_late(f, buf, (uint32_t)len);
		*late = true;
		goto written;
	}
	rc = file_write_locked(f, off, buf, len);
	if (rc) {
		/* What was added behind the end must not show; what was overwritten can't be told from what was not. */
		if (f->size > old || (f->cutter && f->tail_off + f->tail_len > old)) {
			int undo;

			f->size = old;
			undo = file_cut_off(f, old);
			/* It still is there, behind the end: such a session must not become a version. */
			if (undo && !f->error)
				f->error = -undo;
		}
		refuse(f, rc);
		goto out;
	}
written:
	if (f->size < off + len)
		f->size = off + len;
	f->written += len;
	if (!f->late_len)
		rc = hand_on(f);
out:
	pthread_rwlock_unlock(&f->lock);
	if (!rc && over(s))
		relieve(s);
	return rc;
}

void store_file_write_end(struct store_file *f)
{
	/* The lock is taken even if others have settled it: one of them may still be at it, or read the buffer. */
	file_lock(f);
	hand_on(f); /* what can't be handed on stays, or is an error of the session's */
	pthread_rwlock_unlock(&f->lock);
	if (over(f->s))
		relieve(f->s);
}

int store_file_write(struct store_file *f, uint64_t off, const void *buf, size_t len)
{
	return store_file_write_begin(f, off, buf, len, NULL);
}

int store_file_replace(struct store_file *f)
{
	int rc;

	if (f->readonly)
		return ckpt_fail(EROFS, "the store is read-only");
	file_lock(f);
	rc = file_begin(f, true);
	pthread_rwlock_unlock(&f->lock);
	return rc;
}

int store_file_truncate(struct store_file *f, uint64_t size)
{
	int rc;

	if (f->readonly)
		return ckpt_fail(EROFS, "the store is read-only");
	if (size > INT64_MAX)
		return ckpt_fail(EFBIG, "a file can't be larger than 2^63-1 bytes");
	file_lock(f);
	if (!size && f->size) {
		rc = file_begin(f, true);
	} else {
		rc = f->error ? -f->error : file_begin(f, false);
		if (!rc && size < f->size) {
			f->appended = false;
			rc = file_cut_off(f, size);
		}
		if (!rc)
			f->size = size;
	}
	pthread_rwlock_unlock(&f->lock);
	return rc;
}

int store_file_punch(struct store_file *f, uint64_t off, uint64_t len)
{
	uint64_t end;
	int rc;

	if (f->readonly)
		return ckpt_fail(EROFS, "the store is read-only");
	if (!len || len > UINT64_MAX - off)
		return ckpt_fail(EINVAL, "punch: the range is empty or too long");
	file_lock(f);
	end = off + len < f->size ? off + len : f->size;
	rc = f->error ? -f->error : file_begin(f, false);
	if (!rc && off < end) {
		f->appended = false;
		rc = file_punch_locked(f, off, end);
	}
	pthread_rwlock_unlock(&f->lock);
	return rc;
}

/* --- what holds now ------------------------------------------------------------------------------ */

void store_file_stat(struct store_file *f, struct store_attr *io)
{
	uint64_t data, own = 0;
	size_t i;

	ckpt_rwlock_rdlock(&f->lock);
	if (f->session) {
		/* An estimate while it is being written: what lies below may be covered by what lies above. */
		for (i = 0; i < f->ext.n; i++)
			if (f->ext.v[i].id || f->ext.v[i].job)
				own += f->ext.v[i].len;
		for (i = 0; i < f->nblocks; i++)
			own += f->blocks[i].hi;
		data = own + f->tail_len + f->late_len + (f->replacing ? 0 : f->base_data);
		if (f->draft && f->replacing && f->written > data)
			data = f->written;
		io->size = f->size;
		io->data = data < f->size ? data : f->size;
		io->mtime = meta_timespec(f->mtime);
		io->ctime = meta_timespec(f->ctime);
	} else {
		io->size = f->base_size;
		io->data = f->base_data;
		io->version = f->version;
	}
	pthread_rwlock_unlock(&f->lock);
}

void store_file_set_times(struct store_file *f, const struct store_attr *attr, unsigned mask)
{
	ckpt_rwlock_wrlock(&f->lock);
	if (f->session) {
		f->ctime = mask & STORE_SET_CTIME ? meta_ns(attr->ctime) : meta_now();
		if (mask & STORE_SET_MTIME)
			f->mtime = meta_ns(attr->mtime);
		else if (mask & STORE_SET_MTIME_NOW)
			f->mtime = meta_now();
	}
	pthread_rwlock_unlock(&f->lock);
}

void store_file_state(struct store_file *f, struct store_file_state *out)
{
	ckpt_rwlock_rdlock(&f->lock);
	*out = (struct store_file_state){
		.dirty = f->session,
		.replacing = f->session && f->replacing,
		.fresh = f->fresh,
		.appended = f->session && f->appended,
		.error = f->error,
		.written = f->written,
		.since = f->since,
	};
	pthread_rwlock_unlock(&f->lock);
}
