/*
 * gc.c: chunks that nobody names are found and deleted, and the disk gets their space back.
 *
 *   1. Everything inserted is committed and indexed; from here on the highest id counts as the last, later ones live.
 *   2. Mark: each piece of each manifest row, in the order of their keys (gc_mark.c).  A row that appears
 *      behind the place that is being read names chunks that were pinned when it appeared, and an unpin marks; or it took
 *      them over from a row that comes later, which marks them too (manifest.c).
 *   3. The candidates are the ids in the index that are not marked: what is there is known without reading chunks.db,
 *      where a look costs a page.
 *   4. meta.db is synced.  Otherwise a power cut could bring back the name of a chunk that is gone.
 *   5. Sweep: candidates in small batches, each looked at again under the chunks lock: marked or pinned meanwhile?
 *      staged? the base of a row that is still there?  Ids fall during the sweep, so that a difference goes before its
 *      base; a base with a smaller dependent is left for another round.  Rows first, then their index rows: a crash in
 *      between leaves an index row for nothing, which is harmless, and which the next run takes away.
 *   6. What is left of the candidates are bases of something that stays.  Those are taken out from under it where that
 *      saves space (gc_bases.c), and swept in another round.
 *   7. Free pages go to the end of the file and off it, a few at a time.
 *
 * A matching chunk may be found by a worker at any moment: it pins first and then looks whether the row is (still) there
 * (chunk_index.c), the sweep looks for pins and then deletes, both under the chunks lock, so one of them sees the other.
 * A twin in memory is believed without a look at the row; so only ids count as candidates of which no twin is left.
 *
 * Nothing here holds a lock for longer than a small batch takes.  To be killed at any point costs the work, no more.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "chunk_parts.h"
#include "pool_internal.h"
#include "store_admin.h"
#include "tree_internal.h"

enum {
	INDEX_ROWS = 2048,
	SWEEP_ROWS = 4096,             /* rows looked at in one batch */
	SWEEP_BYTES = 64 << 20,        /* payload deleted in one batch */
	SHRINK_PAGES = 8192,           /* taken off the file in one commit, */
	SHRINK_NS = 30 * 1000 * 1000,  /* and how long that may take */
	SHRINK_HISTORY = 16,           /* versions given up at a time when space is short */
	IDLE_SECONDS = 60,             /* between automatic collections, */
	SHORT_SECONDS = 2,             /* and when space is short */
};
#define GARBAGE_MIN ((uint64_t)64 << 20)

struct run {
	struct store *s;
	store_progress progress;
	void *arg;
	uint64_t *marks;               /* bits of ids that are live; owned by chunk_pin.c while it runs */
	uint64_t *dead;                /* bits of candidates; after the sweep, of bases that stay and rows that weren't there */
	uint64_t max, candidates, stale;
	int unreadable;                /* the error of a row that could not be looked at; told at the end */
	struct store_gc_result res;
};

static int tell(struct run *r, uint64_t done, uint64_t total, bool bytes)
{
	if (atomic_load(&r->s->failed))
		return ckpt_fail(EIO, "the store has failed; open it anew");
	if (r->progress && r->progress(r->arg, done, total, bytes))
		return ckpt_fail(ECANCELED, "the collection was stopped");
	return 0;
}

/* --- mark ----------------------------------------------------------------------------------------- */

static void mark_named(void *arg, const uint64_t *ids, size_t n)
{
	mark(((struct run *)arg)->s, ids, n);
}

static int tell_marked(void *arg, uint64_t done, uint64_t total)
{
	return tell(arg, done, total, false);
}

/* --- candidates ----------------------------------------------------------------------------------- */

struct index_key {
	int64_t prefix;
	int64_t id;
};

/* Index rows behind *at, INDEX_ROWS at most. */
static int index_some(struct store *s, struct index_key at, struct index_key *keys)
{
	int n = 0, rc = 0;

	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT prefix, id FROM chunk_index WHERE (prefix, id) > (?1, ?2)"
			" ORDER BY prefix, id LIMIT 2048");

	if (!st) {
		rc = meta_fail(s);
	} else {
		sqlite3_bind_int64(st, 1, at.prefix);
		sqlite3_bind_int64(st, 2, at.id);
		while (n < INDEX_ROWS && (rc = meta_step(s, st)) == 1) {
			keys[n].prefix = sqlite3_column_int64(st, 0);
			keys[n++].id = sqlite3_column_int64(st, 1);
		}
		sqlite3_reset(st);
	}
	meta_unlock(s);
	return rc < 0 ? rc : n;
}

/* Deletes index rows, in one transaction. */
static int unindex(struct store *s, const struct index_key *keys, size_t n)
{
	int rc = n ? meta_begin(s) : 0;

	if (rc || n == 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		sqlite3_stmt *st = meta_stmt(s, "DELETE FROM chunk_index WHERE prefix = ?1 AND id = ?2");

		if (!st) {
			rc = meta_fail(s);
			break;
		}
		sqlite3_bind_int64(st, 1, keys[i].prefix);
		sqlite3_bind_int64(st, 2, keys[i].id);
		rc = meta_exec(s, st);
	}
	return meta_end(s, rc);
}

static bool is_dead(const struct run *r, int64_t id)
{
	return id > 0 && (uint64_t)id <= r->max && (r->dead[id / 64] >> (id % 64) & 1);
}

/* Walks the index: with `stale` deletes the rows of chunks that are not there, else notes the candidates. */
static int walk_index(struct run *r, bool stale)
{
	struct index_key at = { INT64_MIN, INT64_MIN };
	struct index_key *keys = malloc(INDEX_ROWS * sizeof *keys);
	int rc = keys ? 0 : ckpt_fail(ENOMEM, "no memory to collect garbage");

	while (rc == 0) {
		int n = index_some(r->s, at, keys);
		size_t gone = 0;

		if (n <= 0) {
			rc = n;
			break;
		}
		at = keys[n - 1];
		for (int i = 0; i < n; i++) {
			int64_t id = keys[i].id;

			if (stale && is_dead(r, id)) {
				struct chunk_head head;

				if (chunk_head_read(r->s, (uint64_t)id, &head) == 0)
					keys[gone++] = keys[i];
			} else if (!stale && id > 0 && (uint64_t)id <= r->max && !is_dead(r, id) &&
				   chunk_unwanted(r->s, (uint64_t)id)) {
				r->dead[id / 64] |= UINT64_C(1) << (id % 64);
				r->candidates++;
			}
		}
		rc = unindex(r->s, keys, gone);
		if (rc == 0)
			rc = tell(r, r->max, r->max, false);
	}
	free(keys);
	return rc;
}

/* --- sweep ---------------------------------------------------------------------------------------- */

/* The highest candidate at or below `from`; 0 none. */
static uint64_t candidate(const struct run *r, uint64_t from)
{
	uint64_t i = from / 64;
	uint64_t word = r->dead[i] & (UINT64_MAX >> (63 - from % 64));

	while (!word && i > 0)
		word = r->dead[--i];
	return word ? i * 64 + 63 - (uint64_t)__builtin_clzll(word) : 0;
}

static void uncandidate(struct run *r, uint64_t id)
{
	r->dead[id / 64] &= ~(UINT64_C(1) << (id % 64));
}

struct batch {
	struct index_key *keys;        /* of rows that were deleted */
	size_t n;
	uint64_t bytes;
	bool again;                    /* a base with a smaller dependent was left */
};

/* Looks at one candidate and deletes it if nobody wants it. Chunks lock held. */
static int sweep_one(struct run *r, uint64_t id, struct batch *b)
{
	struct store *s = r->s;
	struct chunk_head head;
	uint64_t by;

	if (!chunk_unwanted(s, id) || chunk_maybe_staged(s, id)) {
		uncandidate(r, id);
		return 0;
	}
	int rc = chunk_head_locked(s, id, &head);

	if (rc == 0)
		r->stale++; /* stays in `dead` */
	if (rc < 0 && !atomic_load(&s->failed)) {
		/* One row that can't be read must not keep the others. */
		r->unreadable = rc;
		uncandidate(r, id);
		return 0;
	}
	if (rc <= 0)
		return rc;
	rc = chunk_row_leaned_on(s, id, 0, &by);
	if (rc == 1) {
		b->again |= by < id;
		return 0; /* remains a candidate: what leans on it may go in another round */
	}
	if (rc == 0)
		rc = chunk_row_delete(s, id, &head);
	if (rc == -EIO && !atomic_load(&s->failed)) {
		r->unreadable = rc;
		uncandidate(r, id);
		return 0;
	}
	if (rc)
		return rc;
	uncandidate(r, id);
	b->keys[b->n++] = (struct index_key){ chunk_name_prefix(&head.name), (int64_t)id };
	b->bytes += head.payload_len;
	return 0;
}

/* One batch, from candidate *at downwards; *at moves on, to 0 at the end. */
static int sweep_some(struct run *r, uint64_t *at, struct batch *b)
{
	struct store *s = r->s;
	int rc = 0;

	b->n = 0;
	b->bytes = 0;
	pthread_mutex_lock(&s->chunks->db.lock);
	for (int looked = 0; rc == 0 && *at && looked < SWEEP_ROWS && b->bytes < SWEEP_BYTES; looked++) {
		rc = sweep_one(r, *at, b);
		*at = candidate(r, *at - 1);
	}
	pthread_mutex_unlock(&s->chunks->db.lock);
	if (rc == 0)
		rc = b->n ? chunks_commit(s) : 0;
	if (rc || b->n == 0)
		return rc;
	for (size_t i = 0; i < b->n; i++)
		chunk_cache_drop(s, (uint64_t)b->keys[i].id);
	r->res.chunks += b->n;
	r->res.bytes += b->bytes;
	atomic_fetch_add(&s->chunks->counts.gc_chunks, b->n);
	atomic_fetch_add(&s->chunks->counts.gc_bytes, b->bytes);
	return unindex(s, b->keys, b->n);
}

static int sweep_all(struct run *r)
{
	struct batch b = { 0 };
	uint64_t before;
	int rc = 0;

	b.keys = malloc(SWEEP_ROWS * sizeof *b.keys);
	if (!b.keys)
		return ckpt_fail(ENOMEM, "no memory to collect garbage");
	do {
		uint64_t at = candidate(r, r->max);

		before = r->res.chunks;
		b.again = false;
		r->stale = 0;
		while (rc == 0 && at) {
			rc = sweep_some(r, &at, &b);
			if (rc == 0)
				rc = tell(r, r->res.chunks, r->candidates, false);
		}
	} while (rc == 0 && b.again && r->res.chunks > before);
	free(b.keys);
	return rc;
}

static int tell_freed(void *arg, uint64_t freed)
{
	struct run *r = arg;

	return tell(r, r->res.chunks + freed, r->candidates, false);
}

/* Sweeps, and again as long as bases can be taken out from under what stays. Short of space there is no room for that. */
static int sweep(struct run *r)
{
	uint64_t freed;
	int rc;

	do {
		freed = 0;
		rc = sweep_all(r);
		if (rc == 0 && !store_short_of_space(r->s))
			rc = gc_free_bases(r->s, r->dead, r->max, tell_freed, r, &freed);
	} while (rc == 0 && freed);
	if (rc == 0 && r->stale)
		rc = walk_index(r, true);
	return rc;
}

/* --- the file ------------------------------------------------------------------------------------- */

static int shrink(struct run *r)
{
	struct store *s = r->s;
	uint64_t before = chunk_db_size(s);
	int64_t left = INT64_MAX, was;
	int rc = 0;

	/* Writers take free pages and give others back meanwhile; whoever wins, this ends. */
	do {
		was = left;
		left = chunk_db_shrink(s, SHRINK_PAGES, SHRINK_NS);
		if (left < 0)
			return (int)left;
		rc = chunks_commit(s);
		if (rc == 0)
			rc = tell(r, r->res.chunks, r->candidates, false);
	} while (rc == 0 && left > 0 && left < was);
	uint64_t after = chunk_db_size(s);

	r->res.given_back = before > after ? before - after : 0;
	return rc;
}

/* --- a run ---------------------------------------------------------------------------------------- */

static int collect(struct run *r)
{
	struct store *s = r->s;
	int rc = history_expire(s, meta_now());

	if (rc < 0)
		return rc;
	r->res.versions = (uint64_t)rc;
	tree_garbage_reset(s); /* what is deleted from here on may be missed, so it counts for the next run */
	rc = chunks_commit(s);
	if (rc == 0)
		rc = chunks_unstage(s);
	if (rc)
		return rc;
	r->max = chunk_index_settled(s);
	r->marks = calloc((size_t)(r->max / 64 + 1), sizeof *r->marks);
	r->dead = calloc((size_t)(r->max / 64 + 1), sizeof *r->dead);
	if (!r->marks || !r->dead)
		return ckpt_fail(ENOMEM, "no memory to collect garbage");
	marks_begin(s, r->marks, r->max);
	rc = chunks_named(s, mark_named, tell_marked, r);
	if (rc == 0)
		rc = walk_index(r, false);
	if (rc == 0)
		rc = meta_commit(s, true);
	if (rc == 0)
		rc = sweep(r);
	marks_end(s);
	if (rc == 0)
		rc = shrink(r);
	return rc ? rc : r->unreadable;
}

int store_gc(struct store *s, store_progress progress, void *arg, struct store_gc_result *out)
{
	struct run r = { .s = s, .progress = progress, .arg = arg };
	struct chunk_counters n;

	if (s->readonly)
		return ckpt_fail(EROFS, "the store is read-only");
	pthread_mutex_lock(&s->chunks->gc.run);
	int rc = records_tidy(s);

	if (rc == 0)
		pool_thin(s); /* what can't be thinned costs space, and is told by verify */
	if (rc == 0)
		rc = collect(&r);

	free(r.marks);
	free(r.dead);
	pthread_mutex_unlock(&s->chunks->gc.run);
	atomic_fetch_add(&s->chunks->counts.gc_runs, 1);
	chunk_counters(s, &n);
	r.res.live_chunks = n.chunks;
	r.res.live_bytes = n.chunk_stored;
	if (rc == 0 && out)
		*out = r.res;
	return rc;
}

/* --- by itself ------------------------------------------------------------------------------------ */

/* Leaves the databases to others between two batches, unless space is short. */
static int pace(void *arg, uint64_t done, uint64_t total, bool bytes)
{
	struct gc *g = &((struct store *)arg)->chunks->gc;
	struct timespec t = { 0, 2000000 };

	(void)done;
	(void)total;
	(void)bytes;
	if (!atomic_load(&g->hurry))
		nanosleep(&t, NULL);
	return atomic_load(&g->stop);
}

static void *run_alone(void *arg)
{
	struct store *s = arg;
	struct gc *g = &s->chunks->gc;
	struct store_gc_result res;
	int rc = 0;

	if (atomic_load(&g->hurry))
		rc = history_shrink(s, SHRINK_HISTORY);
	if (rc >= 0 && tree_garbage_hint(s) > 0) {
		rc = store_gc(s, pace, s, &res);
		if (rc == 0 && res.chunks)
			ckpt_log(LOG_INFO, "store '%s': %llu chunks (%llu bytes) that nobody named are gone", s->path,
					(unsigned long long)res.chunks, (unsigned long long)res.bytes);
	}
	if (rc < 0 && rc != -ECANCELED)
		ckpt_log(LOG_WARNING, "store '%s': garbage: %s", s->path, ckpt_errmsg());
	atomic_store(&g->finished, true);
	return NULL;
}

int gc_step(struct store *s)
{
	struct gc *g = &s->chunks->gc;
	struct chunk_counters n;
	int64_t now = meta_monotonic();

	if (s->readonly || atomic_load(&s->failed) || atomic_load(&g->stop))
		return 0;
	bool hurry = store_short_of_space(s);

	if (g->started) {
		if (hurry)
			atomic_store(&g->hurry, true);
		if (!atomic_load(&g->finished))
			return 0;
		pthread_join(g->thread, NULL);
		g->started = false;
		g->next_ns = now + (int64_t)(hurry ? SHORT_SECONDS : IDLE_SECONDS) * 1000000000;
	}
	uint64_t hint = tree_garbage_hint(s);

	if (!hurry) {
		chunk_counters(s, &n);
		if (now < g->next_ns || hint < GARBAGE_MIN || hint < n.chunk_stored / 20)
			return 0;
	} else if (now < g->next_ns && g->next_ns - now <= (int64_t)SHORT_SECONDS * 1000000000) {
		return 0;
	}
	atomic_store(&g->hurry, hurry);
	atomic_store(&g->finished, false);
	sigset_t all, was;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	int e = pthread_create(&g->thread, NULL, run_alone, s);

	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (e)
		return ckpt_fail(e, "can't start a thread to collect garbage: %s", strerror(e));
	g->started = true;
	return 0;
}

void gc_stop(struct store *s)
{
	struct gc *g = s->chunks ? &s->chunks->gc : NULL;

	if (!g)
		return;
	atomic_store(&g->stop, true);
	if (g->started)
		pthread_join(g->thread, NULL);
	g->started = false;
}

int gc_open(struct store *s)
{
	pthread_mutex_init(&s->chunks->gc.run, NULL);
	return 0;
}

void gc_close(struct store *s)
{
	gc_stop(s);
	pthread_mutex_destroy(&s->chunks->gc.run);
}
