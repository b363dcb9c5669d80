/*
 * recompress.c: every chunk gets the best form that can be found for it, with all effort and without haste.
 *
 *     versions, in the order they were made -- their pieces -- [ tasks ] -- a thread a core: recode_chunk() -- the open batch
 *
 * Older versions first, so that whatever a chunk may lean on has its last form already.  A version is done when all its
 * tasks are; pieces that several versions share are looked at once (a bit a chunk).
 *
 * Two numbers in config make it resumable, and the next run quick:
 *
 *     recompressed          chunks up to this id have been looked at, by runs that came to their end
 *     recompress_version    the run under way, or killed, is through with the versions up to this one,
 *     recompress_to         and with chunks up to this id only
 *
 * They are written after the batch that they speak of is committed.  A chunk that was given its form by a run that was
 * killed says so itself (chunk_note.done), so that it is not tried again under the next version that names it.
 *
 * Chunks that nothing names are left to the collection that ends the run; it also gives back the space.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "chunk_parts.h"
#include "recompress_internal.h"
#include "store_admin.h"

enum {
	TASKS = 64,                /* that wait for a thread */
	THREADS_MAX = 8,
	VERSIONS = 256,            /* read at a time */
	BATCH_ROWS = 512,
	BATCH_BYTES = 16 << 20,
	TELL = 4 << 20,            /* bytes between two looks at the progress */
	WAIT_MS = 2, WAITS = 25,   /* for writers to come through, before each chunk */
};

struct task {
	uint64_t id;
	uint64_t near[NEAR_FILES];
	size_t n;
};

struct crew {
	struct store *s;
	struct live live;
	uint64_t *seen;            /* a bit a chunk, up to live.max; the main thread's */
	uint64_t done_to;          /* chunks up to here were looked at by earlier runs */
	uint64_t raw;              /* plain bytes handed out or passed over; the main thread's */
	struct near near;
	store_progress progress;
	void *arg;
	pthread_t threads[THREADS_MAX];
	unsigned nthreads;

	pthread_mutex_t lock;      /* guards all below; a leaf */
	pthread_cond_t work, room;
	struct task tasks[TASKS];
	unsigned at, n, busy;
	bool end;
	uint64_t rows, bytes;      /* changed since the last commit */
	struct store_recompress_result res;
	int rc;                    /* the first error, and what it says */
	char error[200];
};

/* --- threads -------------------------------------------------------------------------------------- */

/* Lock held. */
static void fail_at(struct crew *c, int rc)
{
	if (c->rc)
		return;
	c->rc = rc;
	strncpy(c->error, ckpt_errmsg(), sizeof c->error - 1);
}

static void let_writers_pass(struct store *s)
{
	struct timespec t = { 0, WAIT_MS * 1000000 };

	for (int i = 0; i < WAITS && !chunk_pipe_quiet(s, 0); i++)
		nanosleep(&t, NULL);
}

/* Takes in what became of a task. Lock held. */
static void count(struct crew *c, int rc, const struct recoded *d)
{
	if (rc == -EIO && !atomic_load(&c->s->failed)) {
		c->res.unreadable++; /* verify's to tell; it must not keep the others */
		return;
	}
	if (rc < 0) {
		fail_at(c, rc);
		return;
	}
	c->res.chunks++;
	if (rc != RECODE_BETTER)
		return;
	c->res.better++;
	c->res.saved += d->was - d->now;
	c->rows++;
	c->bytes += d->now;
}

static void *work_on(void *arg)
{
	struct crew *c = arg;
	struct recoder r;

	/* Of this thread alone, on Linux: whoever uses the store meanwhile goes first. */
	setpriority(PRIO_PROCESS, 0, 19);
	int rc = recoder_init(&r, c->s, CODEC_MAX, &c->live);

	pthread_mutex_lock(&c->lock);
	if (rc)
		fail_at(c, rc);
	for (;;) {
		while (c->n == 0 && !c->end)
			pthread_cond_wait(&c->work, &c->lock);
		if (c->n == 0)
			break;
		struct task t = c->tasks[c->at];
		struct recoded d = { 0 };

		c->at = (c->at + 1) % TASKS;
		c->n--;
		c->busy++;
		rc = c->rc;
		pthread_mutex_unlock(&c->lock);
		if (rc == 0) {
			let_writers_pass(c->s);
			rc = recode_chunk(&r, t.id, t.near, t.n, &d);
		}
		pthread_mutex_lock(&c->lock);
		count(c, rc, &d);
		c->busy--;
		pthread_cond_signal(&c->room);
	}
	pthread_mutex_unlock(&c->lock);
	recoder_release(&r);
	return NULL;
}

static int start(struct crew *c)
{
	sigset_t all, was;
	int e = 0;

	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->work, NULL);
	pthread_cond_init(&c->room, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	while (c->nthreads < c->s->opt.workers && c->nthreads < THREADS_MAX) {
		e = pthread_create(&c->threads[c->nthreads], NULL, work_on, c);
		if (e)
			break;
		c->nthreads++;
	}
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	return c->nthreads ? 0 : ckpt_fail(e, "can't start a thread to recompress: %s", strerror(e));
}

static void finish(struct crew *c)
{
	pthread_mutex_lock(&c->lock);
	c->end = true;
	pthread_cond_broadcast(&c->work);
	pthread_mutex_unlock(&c->lock);
	while (c->nthreads > 0)
		pthread_join(c->threads[--c->nthreads], NULL);
	pthread_cond_destroy(&c->room);
	pthread_cond_destroy(&c->work);
	pthread_mutex_destroy(&c->lock);
}

/* The error that a thread met, with its message. Lock held. */
static int crew_error(const struct crew *c)
{
	return c->rc ? ckpt_fail(-c->rc, "%s", c->error) : 0;
}

static int hand_out(struct crew *c, const struct task *t)
{
	pthread_mutex_lock(&c->lock);
	while (c->n == TASKS && !c->rc)
		pthread_cond_wait(&c->room, &c->lock);
	int rc = crew_error(c);

	if (rc == 0) {
		c->tasks[(c->at + c->n++) % TASKS] = *t;
		pthread_cond_signal(&c->work);
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* Until all that was handed out is done. */
static int settle(struct crew *c, bool *due)
{
	pthread_mutex_lock(&c->lock);
	while (c->n || c->busy)
		pthread_cond_wait(&c->room, &c->lock);
	int rc = crew_error(c);

	*due = c->rows >= BATCH_ROWS || c->bytes >= BATCH_BYTES;
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* --- marks ---------------------------------------------------------------------------------------- */

static int get_mark(struct store *s, const char *key, uint64_t *out)
{
	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT value FROM config WHERE key = ?1");
	int rc = st ? 0 : meta_fail(s);

	*out = 0;
	if (st) {
		sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
		rc = meta_step(s, st);
		if (rc == 1)
			*out = (uint64_t)sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
	}
	meta_unlock(s);
	return rc < 0 ? rc : 0;
}

/* In an operation. */
static int put_mark(struct store *s, const char *key, uint64_t value)
{
	sqlite3_stmt *st = meta_stmt(s, "INSERT INTO config(key, value) VALUES(?1, ?2)"
			" ON CONFLICT(key) DO UPDATE SET value = excluded.value");

	if (!st)
		return meta_fail(s);
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, (int64_t)value);
	return meta_exec(s, st);
}

/* All up to this version is done: commits it and says so. */
static int mark_version(struct crew *c, uint64_t version)
{
	struct store *s = c->s;

	pthread_mutex_lock(&c->lock);
	c->rows = c->bytes = 0;
	pthread_mutex_unlock(&c->lock);
	int rc = chunks_commit(s);

	if (rc == 0)
		rc = meta_begin(s);
	if (rc)
		return rc;
	rc = put_mark(s, "recompress_version", version);
	if (rc == 0)
		rc = put_mark(s, "recompress_to", c->live.max);
	return meta_end(s, rc);
}

/* The run is through. */
static int mark_end(struct crew *c)
{
	int rc = chunks_commit(c->s);

	if (rc == 0)
		rc = meta_begin(c->s);
	if (rc)
		return rc;
	rc = put_mark(c->s, "recompressed", c->live.max);
	if (rc == 0) {
		sqlite3_stmt *st = meta_stmt(c->s, "DELETE FROM config WHERE key IN ('recompress_version', 'recompress_to')");

		rc = st ? meta_exec(c->s, st) : meta_fail(c->s);
	}
	return meta_end(c->s, rc);
}

/* --- the walk ------------------------------------------------------------------------------------- */

static int tell(struct crew *c)
{
	struct chunk_counters n;

	if (atomic_load(&c->s->failed))
		return ckpt_fail(EIO, "the store has failed; open it anew");
	chunk_counters(c->s, &n);
	if (c->progress && c->progress(c->arg, c->raw, n.chunk_raw > c->raw ? n.chunk_raw : c->raw, true))
		return ckpt_fail(ECANCELED, "recompressing was stopped");
	return 0;
}

static int see_piece(void *arg, uint64_t off, const struct piece *p)
{
	struct crew *c = arg;
	struct task t = { .id = p->id };
	uint64_t bit = UINT64_C(1) << (p->id % 64), before = c->raw;

	/* Its length is known where it is whole; a part of a chunk is somebody else's whole, as a rule. */
	if (!p->id || p->id > c->live.max || c->seen[p->id / 64] & bit)
		return 0;
	c->seen[p->id / 64] |= bit;
	c->raw += p->len;
	if (p->id <= c->done_to)
		return 0;
	t.n = near_find(c->s, &c->near, off, p->len, t.near);
	int rc = hand_out(c, &t);

	return rc == 0 && (before ^ c->raw) >= TELL ? tell(c) : rc;
}

/* Versions behind `after`; returns how many. */
static int list_versions(struct store *s, uint64_t after, uint64_t *ids, uint64_t *sizes)
{
	int n = 0, rc;

	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT id, size FROM version WHERE id > ?1 ORDER BY id LIMIT 256");

	rc = st ? 0 : meta_fail(s);
	if (st) {
		sqlite3_bind_int64(st, 1, (int64_t)after);
		while (n < VERSIONS && (rc = meta_step(s, st)) == 1) {
			ids[n] = (uint64_t)sqlite3_column_int64(st, 0);
			sizes[n++] = (uint64_t)sqlite3_column_int64(st, 1);
		}
		sqlite3_reset(st);
	}
	meta_unlock(s);
	return rc < 0 ? rc : n;
}

static int walk(struct crew *c, uint64_t from)
{
	uint64_t ids[VERSIONS], sizes[VERSIONS], after = 0;
	int n, rc = 0;

	while (rc == 0 && (n = list_versions(c->s, after, ids, sizes)) != 0) {
		if (n < 0)
			return n;
		for (int i = 0; rc == 0 && i < n; i++) {
			bool due = false;

			after = ids[i];
			/* Those that are done already are still shown to near, which compares the others with them. */
			near_begin(&c->near, ids[i], sizes[i]);
			if (ids[i] <= from)
				continue;
			rc = manifest_walk(c->s, ids[i], see_piece, c);
			if (rc == 0)
				rc = settle(c, &due);
			if (rc == 0 && due)
				rc = mark_version(c, ids[i]);
			if (rc == 0)
				rc = tell(c);
		}
	}
	return rc;
}

static int run(struct crew *c)
{
	struct store *s = c->s;
	uint64_t from, to;
	bool due;
	int rc = chunks_commit(s);

	if (rc == 0)
		rc = chunks_unstage(s);
	if (rc == 0)
		rc = get_mark(s, "recompressed", &c->done_to);
	if (rc == 0)
		rc = get_mark(s, "recompress_version", &from);
	if (rc == 0)
		rc = get_mark(s, "recompress_to", &to);
	if (rc == 0)
		rc = live_find(s, NULL, &c->live);
	if (rc)
		return rc;
	if (from && to < c->live.max) {
		/* What came since is left to the next run: the versions that this one skips may have it. */
		c->live.max = to;
	}
	c->seen = calloc((size_t)(c->live.max / 64 + 1), sizeof *c->seen);
	if (!c->seen) {
		rc = ckpt_fail(ENOMEM, "no memory to recompress");
		goto release;
	}
	rc = start(c);
	if (rc == 0)
		rc = walk(c, from);
	int end = settle(c, &due);

	finish(c);
	if (rc == 0)
		rc = end;
	/* What was done counts, however it ended. */
	end = rc ? chunks_commit(s) : mark_end(c);
	if (rc == 0)
		rc = end;
	near_release(&c->near);
	free(c->seen);
release:
	live_release(&c->live);
	return rc;
}

int store_recompress(struct store *s, store_progress progress, void *arg, struct store_recompress_result *out)
{
	struct store_gc_result freed = { 0 };
	struct chunk_counters n;

	if (s->readonly)
		return ckpt_fail(EROFS, "the store is read-only");
	struct crew *c = calloc(1, sizeof *c);

	if (!c)
		return ckpt_fail(ENOMEM, "no memory to recompress");
	c->s = s;
	c->progress = progress;
	c->arg = arg;
	pthread_mutex_lock(&s->chunks->idle.run);
	int rc = run(c);

	pthread_mutex_unlock(&s->chunks->idle.run);
	if (rc == 0)
		rc = store_gc(s, progress, arg, &freed);
	if (rc == 0 && out) {
		chunk_counters(s, &n);
		c->res.given_back = freed.given_back;
		c->res.live_chunks = n.chunks;
		c->res.live_raw = n.chunk_raw;
		c->res.live_bytes = n.chunk_stored;
		*out = c->res;
	}
	free(c);
	return rc;
}
