/*
 * fs_change.c: around each change of content.
 *
 * Every write passes the body's gate, which is closed while a session is abandoned, so that none lands between the two contents.
 *
 * A handle may go on writing after its session was abandoned: the process that was killed shared it with one that lives
 * on.  Then what was set aside is taken up again, as a session that replaces the content, so that no write is lost.  Only a new file
 * whose name is gone already, and bytes that were not kept, give EIO.  A handle opened since then writes to what it found, and
 * the older ones with it.
 *
 * A write that failed for want of room spoils a session that replaces the content, unless the same place is written again
 * with success: fs_session.c abandons it at the close.
 */
#include <errno.h>
#include <syslog.h>

#include "fs_internal.h"

/* What was set aside becomes the content of a session again. Session lock and gate (exclusive) held. */
static int take_up(struct fs *fs, struct fs_body *b)
{
	struct store_file *past = NULL;
	int64_t n = 0;
	int rc;

	if (b->torn != 0) {
		rc = store_file_open_version(fs->store, b->torn, &past);
		if (rc < 0)
			return rc;
	}
	rc = store_file_replace(b->file);
	if (rc == 0 && past) {
		uint64_t size = fs_content_size(past);

		n = store_file_clone(past, 0, b->file, 0, size);
		if (n < 0)
			rc = (int)n;
		else if ((uint64_t)n != size)
			rc = ckpt_fail(EIO, "only %lld of %llu bytes came back", (long long)n, (unsigned long long)size);
		if (rc < 0)
			store_file_abort(b->file, false);
	}
	store_file_close(past);
	return rc;
}

static int revive(struct fs *fs, struct fs_body *b, const struct fs_handle *h)
{
	int rc = 0;

	ckpt_mutex_lock(&b->session);
	ckpt_rwlock_wrlock(&b->gate);
	if (b->abandoned == FS_GONE && h && h->epoch != b->epoch) {
		rc = ckpt_fail(EIO, "what was written before it was given up");
		ckpt_log(LOG_WARNING, "inode %llu: a write is refused: %s", (unsigned long long)b->ino, ckpt_errmsg());
	} else if (b->abandoned == FS_REVIVABLE && h && h->epoch != b->epoch) {
		rc = take_up(fs, b);
		if (rc == 0) {
			ckpt_log(LOG_NOTICE, "inode %llu: somebody goes on writing, what was set aside is taken up again",
					(unsigned long long)b->ino);
		} else {
			ckpt_log(LOG_WARNING, "inode %llu: what was set aside can't be taken up: %s",
					(unsigned long long)b->ino, ckpt_errmsg());
			rc = -EIO;
		}
	}
	if (rc == 0)
		b->abandoned = FS_NOT_ABANDONED;
	pthread_rwlock_unlock(&b->gate);
	pthread_mutex_unlock(&b->session);
	return rc;
}

int fs_change_begin(struct fs *fs, const struct fs_caller *c, struct fs_body *b, struct fs_handle *h, bool exclusive)
{
	for (;;) {
		int rc;

		if (exclusive)
			ckpt_rwlock_wrlock(&b->gate);
		else
			ckpt_rwlock_rdlock(&b->gate);
		if (b->abandoned == FS_NOT_ABANDONED)
			break;
		pthread_rwlock_unlock(&b->gate);
		rc = revive(fs, b, h);
		if (rc < 0)
			return rc;
	}
	if (h && c && c->pid > 0 && atomic_load_explicit(&h->writer, memory_order_relaxed) != c->pid)
		atomic_store(&h->writer, c->pid);
	if (c && !c->kernel)
		atomic_store(&b->outside, true);
	return 0;
}

void fs_change_end(struct fs_body *b)
{
	pthread_rwlock_unlock(&b->gate);
}

void fs_change_result(struct fs *fs, struct fs_body *b, uint64_t off, int rc)
{
	struct fs_shard *sh = fs_shard_of(fs, b->ino);
	struct store_file_state st;

	if (rc == 0) {
		if (atomic_load(&b->failed) == 0)
			return;
		pthread_mutex_lock(&sh->lock);
		if (off == STORE_APPEND || off == b->failed_off)
			atomic_store(&b->failed, 0);
		pthread_mutex_unlock(&sh->lock);
		return;
	}
	if (!fs_no_room(rc))
		return;
	store_file_state(b->file, &st);
	if (!st.replacing)
		return;
	pthread_mutex_lock(&sh->lock);
	if (atomic_load(&b->failed) == 0) {
		b->failed_off = off;
		atomic_store(&b->failed, -rc);
	}
	pthread_mutex_unlock(&sh->lock);
}
