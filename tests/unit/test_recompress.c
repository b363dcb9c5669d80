/*
 * test_recompress.c: the shortest form of everything, wherever the work is cut off; and what collecting does to bases.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch_chunks.h"
#include "scratch_meta.h"
#include "scratch_train.h"
#include "store/store_admin.h"

enum { N = 18, SEED = 9 };

static void restart(struct fixture *f, enum codec_effort effort)
{
	store_close(f->s);
	f->opt.effort = effort;
	reopen(f);
	f->s->chunks->idle.finish_ns = 0;
}

static struct store_recompress_result recompress(struct store *s)
{
	struct store_recompress_result r = { 0 };

	if (store_recompress(s, NULL, NULL, &r))
		fail_msg("recompress: %s", ckpt_errmsg());
	return r;
}

static void check_all(struct store *s, const uint64_t *ids, unsigned from, unsigned n)
{
	uint64_t stored = 0;
	struct chunk_counters c;

	for (unsigned k = from; k < n; k++) {
		assert_true(train_depth(s, ids[k]) <= CHUNK_DEPTH);
		train_check(s, SEED, k, false, ids[k]);
		stored += train_head(s, ids[k]).payload_len;
	}
	chunk_counters(s, &c);
	assert_true(c.chunk_stored >= stored);
}

/* What was saved for speed ends as small as what was saved with all effort, and the second run has nothing to do. */
static void test_fast_becomes_small(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N];
	struct chunk_counters c;

	restart(f, CODEC_MAX);
	train_run(f->s, SEED, N, false, ids);
	chunk_counters(f->s, &c);
	uint64_t best = c.chunk_stored;

	teardown(state);
	setup(state);
	f = *state;
	restart(f, CODEC_FAST);
	train_run(f->s, SEED, N, false, ids);
	chunk_counters(f->s, &c);
	uint64_t before = c.chunk_stored;
	struct store_recompress_result r = recompress(f->s);

	assert_int_equal(r.chunks, N);
	assert_true(r.better >= N - 2);
	assert_int_equal(r.unreadable, 0);
	assert_int_equal(r.live_chunks, N);
	assert_int_equal(r.live_bytes, before - r.saved);
	assert_true(r.live_bytes <= best);
	assert_int_equal(r.live_raw, (uint64_t)N * TRAIN_LEN);
	check_all(f->s, ids, 0, N);
	r = recompress(f->s);
	assert_int_equal(r.chunks + r.better + r.saved, 0);
	cycle(f);
	check_all(f->s, ids, 0, N);
	/* What comes later is looked at, and only that. */
	uint64_t next = train_save(f->s, SEED, N, false, ids[N - 1]);

	assert_int_equal(chunks_commit(f->s), 0);
	r = recompress(f->s);
	assert_int_equal(r.chunks, 1);
	assert_int_equal(r.better, 1);
	assert_true(train_head(f->s, next).base != 0);
	train_check(f->s, SEED, N, false, next);
}

struct stopper {
	int left;
};

static int stop_at(void *arg, uint64_t done, uint64_t total, bool bytes)
{
	struct stopper *p = arg;

	(void)done;
	(void)total;
	(void)bytes;
	return p->left-- == 0;
}

/* Stopped, or killed with whatever is in the open batch, at every point: each run goes on where the last one was. */
static void cut_off(void **state, bool kill)
{
	struct fixture *f = *state;
	uint64_t ids[N], looked = 0;
	int at, rc = 0;

	restart(f, CODEC_FAST);
	train_run(f->s, SEED, N, false, ids);
	for (at = 0; at < 400; at++) {
		struct stopper p = { at };
		struct store_recompress_result r = { 0 };

		rc = store_recompress(f->s, stop_at, &p, &r);
		assert_true(rc == 0 || rc == -ECANCELED);
		looked += r.chunks;
		if (rc == 0)
			break;
		if (kill)
			crash(f);
		check_all(f->s, ids, 0, N);
	}
	assert_int_equal(rc, 0);
	assert_true(at > 2);
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM config WHERE key LIKE 'recompress\\_%' ESCAPE '\\'"), 0);
	for (unsigned k = 0; k < N; k++)
		assert_int_equal(train_head(f->s, ids[k]).base != 0, k % CHUNK_TURN != 0);
	check_all(f->s, ids, 0, N);
	cycle(f);
	check_all(f->s, ids, 0, N);
}

static void test_stopped(void **state)
{
	cut_off(state, false);
}

static void test_killed(void **state)
{
	cut_off(state, true);
}

/* One chunk that can't be read keeps none of the others from their form, and stays as it is. */
static void test_unreadable(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N];
	char sql[120];
	struct chunk_buf *b;

	restart(f, CODEC_FAST);
	train_run(f->s, SEED, N, false, ids);
	snprintf(sql, sizeof sql, "UPDATE chunk SET data = x'00' || substr(data, 2) WHERE id = %llu",
			(unsigned long long)ids[5]);
	train_sql(f->s, sql);
	cycle(f);
	f->s->chunks->idle.finish_ns = 0;
	int64_t check = train_head(f->s, ids[5]).check;
	struct store_recompress_result r = recompress(f->s);

	assert_int_equal(r.unreadable, 1);
	assert_true(r.better >= N - 5);
	assert_int_equal(train_head(f->s, ids[5]).check, check);
	assert_int_equal(chunk_get(f->s, ids[5], &b), -EIO);
	for (unsigned k = 0; k < N; k++)
		if (k != 5)
			train_check(f->s, SEED, k, false, ids[k]);
}

static void test_readonly(void **state)
{
	struct fixture *f = *state;
	struct store_recompress_result r;

	store_close(f->s);
	f->opt.readonly = true;
	reopen(f);
	assert_int_equal(store_recompress(f->s, NULL, NULL, &r), -EROFS);
}

/* Where it is known what lay in the same place before, heads of chains and of turns lean on that; no row becomes too long. */
static void test_nearer_bases(void **state)
{
	enum { MANY = 40 };
	struct fixture *f = *state;
	struct chunk_counters c;
	uint64_t ids[MANY];
	struct recoder r;
	struct recoded d;
	unsigned better = 0, deepest = 0;

	restart(f, CODEC_DEFAULT);
	atomic_store(&f->s->chunks->pipe.forced, PRESSURE_NEVER);
	train_run(f->s, SEED, MANY, false, ids);
	check_all(f->s, ids, 0, MANY);
	chunk_counters(f->s, &c);
	uint64_t before = c.chunk_stored;

	assert_int_equal(recoder_init(&r, f->s, CODEC_MAX, NULL), 0);
	for (unsigned k = 0; k < MANY; k++) {
		struct chunk_head was = train_head(f->s, ids[k]);
		int rc = recode_chunk(&r, ids[k], k ? &ids[k - 1] : NULL, k ? 1 : 0, &d);

		assert_true(rc == RECODE_BETTER || rc == RECODE_KEPT);
		better += rc == RECODE_BETTER && train_head(f->s, ids[k]).base != was.base;
		assert_true(train_head(f->s, ids[k]).payload_len <= was.payload_len);
		for (unsigned i = 0; i < MANY; i++)
			assert_true(train_depth(f->s, ids[i]) <= CHUNK_DEPTH_FAR);
	}
	assert_int_equal(train_head(f->s, ids[CHUNK_DEPTH + 1]).base, ids[CHUNK_DEPTH]);
	assert_true(better >= 4);
	for (unsigned k = 0; k < MANY; k++) {
		unsigned depth = train_depth(f->s, ids[k]);

		deepest = depth > deepest ? depth : deepest;
		assert_int_equal(recode_chunk(&r, ids[k], k ? &ids[k - 1] : NULL, k ? 1 : 0, &d), RECODE_KEPT);
		train_check(f->s, SEED, k, false, ids[k]);
	}
	assert_true(deepest > CHUNK_DEPTH);
	recoder_release(&r);
	chunk_counters(f->s, &c);
	assert_true(c.chunk_stored < before);
	/* What is saved afterwards has the bases of one that is saved anywhere. */
	uint64_t next = train_save(f->s, SEED, MANY, false, ids[MANY - 1]);

	assert_true(train_head(f->s, next).base != 0);
	assert_true(train_depth(f->s, next) <= CHUNK_DEPTH);
	train_check(f->s, SEED, MANY, false, next);
}

/* A training that keeps its last two holds little more than two, whatever the older ones were for. */
static void test_keep_last_two(void **state)
{
	struct fixture *f = *state;
	struct chunk_counters c;
	uint64_t ids[40];

	restart(f, CODEC_DEFAULT);
	atomic_store(&f->s->chunks->pipe.forced, PRESSURE_NEVER);
	for (unsigned k = 0; k < 40; k++) {
		ids[k] = train_save(f->s, SEED, k, false, k ? ids[k - 1] : 0);
		if (k < 2)
			continue;
		train_publish(f->s, k - 1, 0);
		assert_int_equal(store_gc(f->s, NULL, NULL, NULL), 0);
		chunk_counters(f->s, &c);
		assert_int_equal(c.chunks, 2);
		assert_true(c.chunk_stored < 2 * TRAIN_LEN);
		train_check(f->s, SEED, k - 1, false, ids[k - 1]);
		train_check(f->s, SEED, k, false, ids[k]);
	}
}

/* Whatever is deleted, in whatever order: what stays is whole, and the store never grows. */
static void test_deleting(void **state)
{
	for (unsigned step = 1; step < N; step += 2) {
		struct fixture *f = *state;
		uint64_t ids[N], x = step;
		struct chunk_counters c;
		bool gone[N] = { false };

		restart(f, CODEC_DEFAULT);
		atomic_store(&f->s->chunks->pipe.forced, PRESSURE_NEVER);
		train_run(f->s, SEED, N, false, ids);
		chunk_counters(f->s, &c);
		for (unsigned left = N; left > 0; left--) {
			uint64_t before = c.chunk_stored;
			unsigned k = 0;

			/* Oldest first, newest first, or anyhow. */
			if (step == 1)
				k = N - left;
			else if (step == 3)
				k = left - 1;
			else
				for (k = (unsigned)(train_random(&x) % N); gone[k];)
					k = (k + 1) % N;
			gone[k] = true;
			train_publish(f->s, k + 1, 0);
			assert_int_equal(store_gc(f->s, NULL, NULL, NULL), 0);
			chunk_counters(f->s, &c);
			assert_true(c.chunk_stored <= before);
			for (unsigned i = 0; i < N; i++)
				if (!gone[i])
					train_check(f->s, SEED, i, false, ids[i]);
		}
		assert_int_equal(c.chunk_stored, 0);
		teardown(state);
		setup(state);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_fast_becomes_small), T(test_nearer_bases), T(test_stopped), T(test_killed), T(test_unreadable), T(test_readonly),
		T(test_keep_last_two), T(test_deleting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
