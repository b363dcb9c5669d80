/*
 * chunk_pipe.c: the way in: a queue and the threads that work on it.
 *
 *     submit --> [ jobs, at most `limit` plain bytes ] --> worker --+--> known: pin, done
 *                                                                   +--> another worker has its twin: wait there
 *                                                                   +--> new: encode, insert, done (and the waiting twins)
 *     prefetch --> [ ids, at most CHUNK_PREFETCH_MAX ] --> worker, when there are no jobs
 *
 * A job counts against the limit until it is done, so the bytes that writers have given away and that are not stored yet
 * are bounded; chunk_submit() waits for room, which is the back-pressure a writer feels.  A job that waits for its twin
 * takes no thread: whoever has the twin finishes both.  Workers hold no lock while they hash and encode.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chunk_parts.h"

enum {
	BATCH_CHUNKS_MAX = 65536, /* a batch that nobody commits is committed here: its twins are kept in memory */
	WORKERS_DEFAULT_MAX = 8,
	FLOOD_BYTES = 8 << 20,
	FLOOD_CALM = 32,
};
#define FLOOD_PAUSE_NS INT64_C(100000000)

struct worker {
	struct store *s;
	struct codec_ctx *ctx;
	uint8_t *out;
	size_t cap;
};

/* --- jobs ----------------------------------------------------------------------------------------- */

struct chunk_job *chunk_job_new(uint8_t *raw, uint32_t len)
{
	struct chunk_job *j = calloc(1, sizeof *j);

	if (!j)
		return NULL;
	atomic_init(&j->refs, 1);
	j->raw = raw;
	j->len = len;
	return j;
}

void chunk_job_ref(struct chunk_job *j)
{
	atomic_fetch_add(&j->refs, 1);
}

void chunk_job_unref(struct chunk_job *j)
{
	if (j && atomic_fetch_sub(&j->refs, 1) == 1) {
		free(j->raw);
		free(j);
	}
}

/* Tells everybody that the job is done, and drops the pipeline's reference. rc: 0 or -errno. */
static void finish(struct store *s, struct chunk_job *j, int rc)
{
	struct chunk_pipe *p = &s->chunks->pipe;

	j->error = rc;
	if (rc)
		j->id = j->batch = 0;
	pthread_mutex_lock(&p->lock);
	atomic_store_explicit(&j->done, 1, memory_order_release);
	p->jobs--;
	p->bytes -= j->len;
	pthread_cond_broadcast(&p->room);
	if (p->waiting)
		pthread_cond_broadcast(&p->done);
	pthread_mutex_unlock(&p->lock);
	chunk_job_unref(j);
}

int chunk_submit(struct store *s, struct chunk_job *j)
{
	struct chunk_pipe *p = &s->chunks->pipe;
	int rc = 0;

	if (j->len < 1 || j->len > CODEC_CHUNK_MAX)
		return ckpt_fail(EINVAL, "a chunk of %u bytes", j->len);
	if (s->readonly)
		return ckpt_fail(EROFS, "the store is read-only");
	if (atomic_load(&s->failed))
		return ckpt_fail(EIO, "the store has failed; open it anew");
	pthread_mutex_lock(&p->lock);
	while (!p->stop && p->bytes > 0 && p->bytes + j->len > p->limit)
		ckpt_cond_wait(&p->room, &p->lock);
	if (p->stop) {
		rc = ckpt_fail(ECANCELED, "the store is being closed");
	} else {
		int64_t now = meta_monotonic();

		chunk_job_ref(j);
		j->next = NULL;
		*p->tail = j;
		p->tail = &j->next;
		p->calm = p->jobs ? 0 : p->calm + 1;
		if (p->calm && (p->calm == FLOOD_CALM || now - p->last_ns > FLOOD_PAUSE_NS))
			p->flood = false;
		p->jobs++;
		p->bytes += j->len;
		if (p->bytes > FLOOD_BYTES)
			p->flood = true;
		p->last_ns = now;
		pthread_cond_signal(&p->work);
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

int chunk_wait(struct store *s, struct chunk_job *j)
{
	struct chunk_pipe *p = &s->chunks->pipe;

	if (!atomic_load_explicit(&j->done, memory_order_acquire)) {
		pthread_mutex_lock(&p->lock);
		p->waiting++;
		while (!atomic_load_explicit(&j->done, memory_order_acquire))
			ckpt_cond_wait(&p->done, &p->lock);
		p->waiting--;
		pthread_mutex_unlock(&p->lock);
	}
	return j->error ? ckpt_fail(-j->error, "can't store a chunk: %s", strerror(-j->error)) : 0;
}

void chunk_prefetch(struct store *s, const uint64_t *ids, size_t n)
{
	struct chunk_pipe *p = &s->chunks->pipe;

	for (size_t i = 0; i < n; i++) {
		if (ids[i] == 0 || chunk_cached(s, ids[i]))
			continue;
		bool full;

		pthread_mutex_lock(&p->lock);
		full = p->nthreads == 0 || p->head || p->ahead_n + p->ahead_busy >= CHUNK_PREFETCH_MAX;
		for (unsigned k = 0; !full && k <= p->ahead_n; k++) {
			if (k == p->ahead_n) {
				p->ahead[(p->ahead_at + p->ahead_n++) % CHUNK_PREFETCH_MAX] = ids[i];
				pthread_cond_signal(&p->work);
				break;
			}
			if (p->ahead[(p->ahead_at + k) % CHUNK_PREFETCH_MAX] == ids[i])
				break;
		}
		pthread_mutex_unlock(&p->lock);
		if (full)
			return;
	}
}

/* --- work ----------------------------------------------------------------------------------------- */

int chunk_room_for(struct store *s, uint64_t bytes)
{
	uint64_t held = atomic_load(&s->chunks->db.pending_stored), cache = (uint64_t)CHUNK_CACHE_KIB << 10;

	/* What SQLite holds back in its cache until the commit has no place on the disk yet. */
	if (held > cache)
		held = cache;
	int rc = store_space_check(s, bytes + held);

	if (rc != -ENOSPC)
		return rc;
	rc = held > 0 ? chunks_commit(s) : 0;
	return rc ? rc : store_space_ask(s, bytes);
}

bool chunk_pipe_pressed(struct store *s)
{
	struct chunk_pipe *p = &s->chunks->pipe;
	int forced = atomic_load(&p->forced);

	if (forced)
		return forced >= PRESSURE_ALWAYS;
	pthread_mutex_lock(&p->lock);
	bool yes = p->bytes > p->limit / 2;

	pthread_mutex_unlock(&p->lock);
	return yes;
}

bool chunk_pipe_behind(struct store *s)
{
	struct chunk_pipe *p = &s->chunks->pipe;
	int forced = atomic_load(&p->forced);

	if (forced)
		return forced >= PRESSURE_ALWAYS;
	pthread_mutex_lock(&p->lock);
	bool yes = p->head != NULL;

	pthread_mutex_unlock(&p->lock);
	return yes;
}

bool chunk_pipe_flooded(struct store *s)
{
	struct chunk_pipe *p = &s->chunks->pipe;
	int forced = atomic_load(&p->forced);

	if (forced)
		return forced == PRESSURE_FLOOD;
	pthread_mutex_lock(&p->lock);
	bool yes = p->flood;

	pthread_mutex_unlock(&p->lock);
	return yes;
}

bool chunk_pipe_quiet(struct store *s, int64_t ns)
{
	struct chunk_pipe *p = &s->chunks->pipe;

	pthread_mutex_lock(&p->lock);
	int64_t read = atomic_load_explicit(&p->read_ns, memory_order_relaxed);
	bool yes = p->jobs == 0 && meta_monotonic() - (p->last_ns > read ? p->last_ns : read) >= ns;

	pthread_mutex_unlock(&p->lock);
	return yes;
}

void chunk_reader_came(struct store *s)
{
	atomic_store_explicit(&s->chunks->pipe.read_ns, meta_monotonic(), memory_order_relaxed);
}

/*
 * What the chunk is to be compared with.  A base has to be read and decoded, which is no thing for writers to wait for:
 * under pressure nothing is offered, the chunk is stored by itself, with the place it would have had and the predecessor
 * in its row, and the difference is taken later (recompress_idle.c; where the effort is for speed, recompress.c).
 */
static void bases_for(struct store *s, const struct chunk_job *j, bool plain, struct chunk_bases *offer, struct chunk_row *r,
		uint8_t *planned)
{
	*offer = (struct chunk_bases){ 0 };
	if (!j->predecessor)
		return;
	chunk_bases_find(s, j->predecessor, NULL, offer);
	if ((!offer->near && !offer->far) || s->opt.effort == CODEC_MAX ||
			(s->opt.effort != CODEC_FAST && !plain && !chunk_pipe_pressed(s)))
		return;
	r->pred = (int64_t)j->predecessor;
	*planned = offer->far_turn;
	*offer = (struct chunk_bases){ 0 };
}

/*
 * The bytes as they are, to be encoded when nobody writes (recompress_idle.c): on few cores encoding is most of what a
 * writer would wait for.  So much of it may wait, no more, and nothing where the disk is nearly full.
 */
static bool may_stay_plain(struct store *s, const struct chunk_job *j)
{
	return s->opt.effort == CODEC_DEFAULT && !j->ctx && chunk_pipe_flooded(s) &&
			chunk_plain_room(s, j->len) && !store_short_of_space(s) && codec_is_dense(j->raw, j->len);
}

static void leave_plain(const struct chunk_job *j, struct chunk_row *r)
{
	r->plain = true;
	r->codec = CODEC_RAW;
	r->payload = j->raw;
	r->payload_len = j->len;
	r->check = codec_check(j->raw, j->len);
	if (!r->pred)
		r->pred = CHUNK_PRED_NONE;
}

/* Encodes and inserts bytes that the store doesn't have. The id is pinned. */
static int store_new(struct worker *w, struct chunk_job *j, struct twin *t)
{
	struct store *s = w->s;
	struct chunk_bases offer;
	struct chunk_base base = { 0 };
	struct chunk_row r = { .raw_len = j->len };
	struct chunk_note note = { .hint = j->hint, .done = j->ctx != NULL };
	uint8_t planned = 0;

	/* Where more chunks wait SHA-256 is taken later (chunk_name.c). */
	if (j->name.len == CODEC_PRINT_LEN && !chunk_pipe_behind(s) && !chunk_pipe_flooded(s)) {
		int rc = chunk_name_sha(j->raw, j->len, &j->name);

		if (rc)
			return rc;
	}
	r.name = j->name;
	bool plain = may_stay_plain(s, j);
	int rc = 0;

	bases_for(s, j, plain, &offer, &r, &planned);
	if (plain)
		leave_plain(j, &r);
	else
		rc = chunk_encode(j->ctx ? j->ctx : w->ctx, s, j->raw, j->len, &offer, w->out, w->cap, &r, &note, &base);
	if (rc)
		return rc;
	if (r.pred)
		note.turn = planned;
	r.hint = chunk_note_pack(&note);
	rc = chunk_room_for(s, r.payload_len + CHUNK_ROW_OVERHEAD);
	if (rc == 0)
		rc = chunk_row_insert(s, &r, true, t);
	if (rc == -ESTALE) {
		j->predecessor = 0;
		chunk_base_drop(s, &base);
		return store_new(w, j, t);
	}
	if (rc == 0) {
		j->id = r.id;
		j->batch = r.batch;
		atomic_fetch_add(&s->chunks->counts.new_bytes, j->len);
		atomic_fetch_add(&s->chunks->counts.stored_bytes, r.payload_len);
		if (r.name.len == CODEC_PRINT_LEN)
			atomic_store(&s->chunks->idle.nameless, true);
		if (r.pred) {
			atomic_fetch_add(&s->chunks->counts.postponed, 1);
			atomic_store(&s->chunks->idle.any, true);
		}
	}
	chunk_base_drop(s, &base);
	return rc;
}

/* 1: the store has these bytes, *id is pinned; 0, -errno. */
static int look_up(struct store *s, struct chunk_job *j)
{
	int rc = chunk_index_lookup(s, &j->name, j->len, &j->id);

	if (rc != 0 || s->chunks->db.sha_upto == 0)
		return rc;
	/* Chunks of format 2 are known by SHA-256 alone. */
	struct chunk_name sha = { .len = CODEC_HASH_LEN };

	rc = chunk_name_sha(j->raw, j->len, &j->name);
	if (rc)
		return rc;
	memcpy(sha.b, j->name.b + CODEC_PRINT_LEN, CODEC_HASH_LEN);
	return chunk_index_lookup(s, &sha, j->len, &j->id);
}

static void process(struct worker *w, struct chunk_job *j)
{
	struct store *s = w->s;
	struct chunk_counts *n = &s->chunks->counts;
	struct twin *mine = NULL;
	int rc = chunk_name_print(s, j->raw, j->len, &j->name);

	atomic_fetch_add(&n->jobs, 1);
	atomic_fetch_add(&n->raw_bytes, j->len);
	if (rc == 0)
		rc = twin_enter(s, j, &mine);
	if (rc == TWIN_WAIT)
		return;
	if (rc == TWIN_KNOWN) {
		j->known = true;
		atomic_fetch_add(&n->known, 1);
		rc = 0;
	}
	if (!mine) {
		finish(s, j, rc);
		return;
	}
	rc = look_up(s, j);
	if (rc == 1) {
		j->known = true;
		atomic_fetch_add(&n->known, 1);
		rc = 0;
	} else if (rc == 0) {
		rc = store_new(w, j, mine);
	}
	/* Those who waited get a pin each while this job's own still holds. */
	for (struct chunk_job *o = twin_leave(s, mine), *next; o; o = next) {
		int rc2 = rc ? rc : chunk_pin(s, j->id);

		next = o->next;
		if (rc2 == 0) {
			o->id = j->id;
			o->batch = j->batch;
			o->known = true;
			atomic_fetch_add(&n->known, 1);
		}
		finish(s, o, rc2);
	}
	finish(s, j, rc);
	if (atomic_load(&s->chunks->db.pending_chunks) >= BATCH_CHUNKS_MAX) {
		/* An error is told to those whose batch it was. */
		chunks_commit(s);
		chunk_index_flush(s, 1);
	}
}

static void look_ahead(struct store *s, uint64_t id)
{
	struct chunk_buf *b;

	if (chunk_cached(s, id))
		return;
	/* Whoever reads the chunk hears of an error himself. */
	if (chunk_get(s, id, &b) == 0) {
		atomic_fetch_add(&s->chunks->counts.prefetched, 1);
		chunk_put(b);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct chunk_pipe *p = &w->s->chunks->pipe;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		struct chunk_job *j = p->head;

		if (j) {
			p->head = j->next;
			if (!p->head)
				p->tail = &p->head;
			pthread_mutex_unlock(&p->lock);
			process(w, j);
			pthread_mutex_lock(&p->lock);
		} else if (p->ahead_n) {
			uint64_t id = p->ahead[p->ahead_at];

			p->ahead_at = (p->ahead_at + 1) % CHUNK_PREFETCH_MAX;
			p->ahead_n--;
			p->ahead_busy++;
			pthread_mutex_unlock(&p->lock);
			look_ahead(w->s, id);
			pthread_mutex_lock(&p->lock);
			p->ahead_busy--;
		} else {
			pthread_cond_wait(&p->work, &p->lock);
		}
	}
	pthread_mutex_unlock(&p->lock);
	codec_ctx_free(w->ctx);
	free(w->out);
	free(w);
	return NULL;
}

/* --- open and close ------------------------------------------------------------------------------- */

static int start_worker(struct store *s)
{
	struct chunk_pipe *p = &s->chunks->pipe;
	struct worker *w = calloc(1, sizeof *w);
	int rc = ckpt_fail(ENOMEM, "no memory for a worker");

	if (!w)
		return rc;
	w->s = s;
	w->cap = codec_bound(CODEC_CHUNK_MAX);
	w->out = malloc(w->cap);
	if (!w->out)
		goto free_worker;
	rc = codec_ctx_new(s->opt.effort, &w->ctx);
	if (rc)
		goto free_worker;
	int e = pthread_create(&p->threads[p->nthreads], NULL, work, w);

	if (e) {
		rc = ckpt_fail(e, "can't start a worker: %s", strerror(e));
		goto free_worker;
	}
	p->nthreads++;
	return 0;
free_worker:
	codec_ctx_free(w->ctx);
	free(w->out);
	free(w);
	return rc;
}

int chunk_pipe_open(struct store *s)
{
	struct chunk_pipe *p = &s->chunks->pipe;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = s->opt.workers;
	sigset_t all, was;
	int rc = 0;

	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->room, NULL);
	pthread_cond_init(&p->done, NULL);
	p->tail = &p->head;
	p->limit = s->opt.dirty_bytes ? s->opt.dirty_bytes : (size_t)64 << 20;
	if (n == 0)
		n = cores < 1 ? 1 : cores > WORKERS_DEFAULT_MAX ? WORKERS_DEFAULT_MAX : (unsigned)cores;
	if (n > CHUNK_WORKERS_MAX)
		n = CHUNK_WORKERS_MAX;
	/* Signals are the business of whoever made us. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	while (rc == 0 && p->nthreads < n)
		rc = start_worker(s);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (rc)
		chunk_pipe_close(s);
	return rc;
}

void chunk_pipe_close(struct store *s)
{
	struct chunk_pipe *p = &s->chunks->pipe;

	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	pthread_cond_broadcast(&p->room);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->nthreads; i++)
		pthread_join(p->threads[i], NULL);
	p->nthreads = 0;
	for (struct chunk_job *j = p->head, *next; j; j = next) {
		next = j->next;
		finish(s, j, -ECANCELED);
	}
	p->head = NULL;
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->room);
	pthread_cond_destroy(&p->done);
	pthread_mutex_destroy(&p->lock);
}
