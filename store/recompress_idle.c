/*
 * recompress_idle.c: what was put off because writers waited (chunk_pipe.c) is done when nobody writes: differences, and
 * the encoding of chunks that were put into chunks.plain.
 *
 * They wait in chunks.db (pred > 0), so they survive whatever ends the process.  The oldest goes first: chunks.plain is
 * emptied from its beginning.  Batches are small, so that a worker that wants the lock waits for
 * little; when a job comes in, or somebody reads, the work ends with the chunk in hand, and what is in the open batch goes
 * with the next commit, the writer's own or store_tick()'s.
 *
 * A predecessor that was deleted meanwhile is no base: it would be kept for this alone.  What is live is looked up once
 * for each run.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <syslog.h>

#include "chunk_parts.h"

enum {
	BATCH_ROWS = 64,
	BATCH_BYTES = 4 << 20,     /* of payloads: what a commit writes */
	HASTE_THREADS = 8,
};
#define SECOND INT64_C(1000000000)
#define QUIET_NS SECOND
#define FINISH_NS (10 * SECOND)

struct haul {
	struct store *s;
	bool yield;
	int64_t until;
	const atomic_bool *stop;
	struct live live;
	pthread_mutex_t lock;      /* guards all below */
	uint64_t above;            /* ids up to here were handed out */
	uint64_t rows, bytes;      /* in the open batch */
	bool left;                 /* the work ended early */
	int rc;
	char error[200];           /* what rc says */
};

static bool time_is_up(const struct haul *h)
{
	return atomic_load(h->stop) || atomic_load(&h->s->failed) || (h->until && meta_monotonic() >= h->until) ||
			(h->yield && !chunk_pipe_quiet(h->s, QUIET_NS));
}

/* The first error ends the work. Lock held. */
static void fail_at(struct haul *h, int rc)
{
	if (h->rc)
		return;
	h->rc = rc;
	strncpy(h->error, ckpt_errmsg(), sizeof h->error - 1);
}

/* The next chunk that waits; 0: no more. */
static uint64_t next_of(struct haul *h)
{
	uint64_t id = 0;

	pthread_mutex_lock(&h->lock);
	if (h->rc || time_is_up(h)) {
		h->left = true;
	} else {
		int rc = chunk_row_waiting(h->s, h->above, &id);

		if (rc < 0)
			fail_at(h, rc);
		else if (rc == 1)
			h->above = id;
	}
	pthread_mutex_unlock(&h->lock);
	return id;
}

static void count(struct haul *h, int rc, const struct recoded *d)
{
	struct chunk_counts *n = &h->s->chunks->counts;
	bool full = false;

	if (rc == RECODE_BETTER)
		atomic_fetch_add(&n->taken, 1);
	else if (rc == RECODE_KEPT)
		atomic_fetch_add(&n->passed, 1);
	pthread_mutex_lock(&h->lock);
	h->rows += rc == RECODE_BETTER || rc == RECODE_KEPT;
	h->bytes += rc == RECODE_BETTER ? d->now : 0;
	if (h->rows >= BATCH_ROWS || h->bytes >= BATCH_BYTES) {
		h->rows = h->bytes = 0;
		full = true;
	}
	pthread_mutex_unlock(&h->lock);
	if (full)
		rc = chunks_commit(h->s);
	/* A chunk that can't be read is verify's to tell; a disk or store that fails ends the work. */
	if (rc < 0 && (full || rc != -EIO || atomic_load(&h->s->failed))) {
		pthread_mutex_lock(&h->lock);
		fail_at(h, rc);
		pthread_mutex_unlock(&h->lock);
	}
}

static void *haul_on(void *arg)
{
	struct haul *h = arg;
	struct recoder r;
	uint64_t id;
	int rc = recoder_init(&r, h->s, h->s->opt.effort == CODEC_MAX ? CODEC_MAX : CODEC_DEFAULT, &h->live);

	if (rc) {
		count(h, rc, NULL);
		return NULL;
	}
	while ((id = next_of(h)) != 0) {
		struct recoded d;

		count(h, recode_chunk(&r, id, NULL, 0, &d), &d);
	}
	recoder_release(&r);
	return NULL;
}

int recompress_waiting(struct store *s, unsigned threads, bool yield, int64_t until, const atomic_bool *stop)
{
	struct haul h = { .s = s, .yield = yield, .until = until, .stop = stop };
	pthread_t t[HASTE_THREADS];
	uint64_t id;
	unsigned n = 0;

	/* Set again by whoever puts one off from now on. */
	atomic_store(&s->chunks->idle.any, false);
	int rc = chunk_row_waiting(s, 0, &id);

	if (rc == 1)
		rc = live_find(s, stop, &h.live);
	else if (rc == 0)
		return 0;
	if (rc) {
		atomic_store(&s->chunks->idle.any, true);
		return rc;
	}
	sigset_t all, was;

	pthread_mutex_init(&h.lock, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	for (; n + 1 < threads && n < HASTE_THREADS; n++)
		if (pthread_create(&t[n], NULL, haul_on, &h))
			break;
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	haul_on(&h);
	while (n > 0)
		pthread_join(t[--n], NULL);
	pthread_mutex_destroy(&h.lock);
	live_release(&h.live);
	if (h.left || h.rc)
		atomic_store(&s->chunks->idle.any, true);
	if (h.rc)
		return ckpt_fail(-h.rc, "%s", h.error);
	return h.rows && !(yield && h.left) ? chunks_commit(s) : 0;
}

/* --- by itself ------------------------------------------------------------------------------------ */

/* Does something wait?  Differences do for ever where the effort is for speed; what is in chunks.plain does not. */
static bool is_due(struct store *s)
{
	return atomic_load(&s->chunks->idle.any) && (s->opt.effort != CODEC_FAST || atomic_load(&s->chunks->plain.end) > 0);
}

/* Short of space nothing is begun, but for what gives space back. */
static bool must_not_grow(struct store *s)
{
	return store_short_of_space(s) && atomic_load(&s->chunks->plain.end) == 0;
}

static bool give_way(void *arg)
{
	struct store *s = arg;

	return atomic_load(&s->chunks->idle.stop) || atomic_load(&s->failed) || !chunk_pipe_quiet(s, QUIET_NS);
}

/* SHA-256 comes last: it makes nothing smaller. */
static int name_the_nameless(struct store *s)
{
	struct idle *i = &s->chunks->idle;

	if (!atomic_exchange(&i->nameless, false))
		return 0;
	int rc = chunk_names_finish(s, give_way, s);

	if (rc || give_way(s))
		atomic_store(&i->nameless, true);
	return rc;
}

static void *run_alone(void *arg)
{
	struct store *s = arg;
	struct idle *i = &s->chunks->idle;

	/* The calling thread's own: Linux keeps a nice value for each. */
	setpriority(PRIO_PROCESS, 0, 19);
	int rc = is_due(s) ? recompress_waiting(s, 1, true, 0, &i->stop) : 0;

	if (rc == 0)
		rc = name_the_nameless(s);
	if (rc < 0 && rc != -ECANCELED)
		ckpt_log(LOG_WARNING, "store '%s': differences that wait: %s", s->path, ckpt_errmsg());
	atomic_store(&i->finished, true);
	return NULL;
}

int recompress_idle_step(struct store *s)
{
	struct idle *i = &s->chunks->idle;

	if (s->readonly || atomic_load(&s->failed) || atomic_load(&i->stop))
		return 0;
	if (i->started) {
		if (!atomic_load(&i->finished))
			return 0;
		pthread_join(i->thread, NULL);
		i->started = false;
	}
	if ((!is_due(s) && !atomic_load(&i->nameless)) || !chunk_pipe_quiet(s, QUIET_NS) || must_not_grow(s))
		return 0;
	sigset_t all, was;

	atomic_store(&i->finished, false);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	int e = pthread_create(&i->thread, NULL, run_alone, s);

	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (e)
		return ckpt_fail(e, "can't start a thread to take differences: %s", strerror(e));
	i->started = true;
	return 0;
}

void recompress_idle_stop(struct store *s)
{
	struct idle *i = s->chunks ? &s->chunks->idle : NULL;

	if (!i)
		return;
	atomic_store(&i->stop, true);
	if (i->started)
		pthread_join(i->thread, NULL);
	i->started = false;
}

void recompress_idle_finish(struct store *s)
{
	static const atomic_bool never;
	struct idle *i = &s->chunks->idle;

	if (s->readonly || atomic_load(&s->failed) || !is_due(s) || i->finish_ns <= 0 || must_not_grow(s))
		return;
	int rc = recompress_waiting(s, s->opt.workers, false, meta_monotonic() + i->finish_ns, &never);

	if (rc == 0)
		rc = chunks_commit(s);
	if (rc)
		ckpt_log(LOG_WARNING, "store '%s': differences that wait: %s", s->path, ckpt_errmsg());
}

void recompress_idle_open(struct store *s)
{
	struct idle *i = &s->chunks->idle;

	pthread_mutex_init(&i->run, NULL);
	i->finish_ns = FINISH_NS;
	atomic_store(&i->any, true);
	atomic_store(&i->nameless, true);
}

void recompress_idle_close(struct store *s)
{
	recompress_idle_stop(s);
	pthread_mutex_destroy(&s->chunks->idle.run);
}
