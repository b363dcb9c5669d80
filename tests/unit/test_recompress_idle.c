/*
 * test_recompress_idle.c: which chunk becomes whose difference, at once or, when writers wait, later.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch_chunks.h"
#include "scratch_train.h"
#include "store/store_admin.h"

enum { N = 20, SEED = 5 };

static const atomic_bool never;

static int start(void **state)
{
	int rc = setup(state);
	struct fixture *f = *state;

	store_close(f->s);
	f->opt.effort = CODEC_DEFAULT;
	reopen(f);
	return rc;
}

static void press(struct store *s, int forced)
{
	atomic_store(&s->chunks->pipe.forced, forced);
	s->chunks->idle.finish_ns = 0;
}

static unsigned waiting(struct store *s)
{
	uint64_t at = 0;
	unsigned n = 0;

	while (chunk_row_waiting(s, at, &at) == 1)
		n++;
	return n;
}

/* Checkpoint k of a training is a difference to the one before, or to the first of its turn. */
static void check_turns(struct store *s, const uint64_t *ids)
{
	for (unsigned k = 0; k < N; k++) {
		unsigned in = k % CHUNK_TURN;

		assert_int_equal(train_head(s, ids[k]).base, in ? ids[k - in + chunk_turn_base(in)] : 0);
		assert_true(train_depth(s, ids[k]) <= CHUNK_DEPTH);
		train_check(s, SEED, k, false, ids[k]);
	}
}

static void test_notes(void **state)
{
	const struct chunk_note notes[] = {
		{ { 0 }, 0, false },
		{ { .width = 4, .kind = CODEC_FLOAT, .exponent_bits = 8, .row = UINT32_MAX }, 15, true },
		{ { .width = 8, .kind = CODEC_INT }, 7, false },
		{ { .width = 1, .kind = CODEC_PIXELS, .row = 84 }, 0, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
		struct chunk_note is;

		assert_true(chunk_note_pack(&notes[i]) > INT64_C(1) << 48);
		chunk_note_unpack(chunk_note_pack(&notes[i]), &is);
		assert_memory_equal(&is.hint, &notes[i].hint, sizeof is.hint);
		assert_int_equal(is.turn, notes[i].turn);
		assert_int_equal(is.done, notes[i].done);
	}
}

static void test_at_once(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N];

	press(f->s, PRESSURE_NEVER);
	train_run(f->s, SEED, N, false, ids);
	assert_int_equal(waiting(f->s), 0);
	check_turns(f->s, ids);
	cycle(f);
	check_turns(f->s, ids);
}

static void test_tiny_steps(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N];
	unsigned deepest = 0;

	press(f->s, PRESSURE_NEVER);
	train_run(f->s, SEED, N, true, ids);
	for (unsigned k = 0; k < N; k++) {
		unsigned d = train_depth(f->s, ids[k]);

		deepest = d > deepest ? d : deepest;
		if (k > 0 && k <= CHUNK_DEPTH_FAR)
			assert_int_equal(train_head(f->s, ids[k]).base, ids[k - 1]);
		train_check(f->s, SEED, k, true, ids[k]);
	}
	assert_int_equal(deepest, CHUNK_DEPTH_FAR);
}

static void test_later(void **state)
{
	struct fixture *f = *state;
	struct chunk_counters n;
	uint64_t ids[N];

	press(f->s, PRESSURE_ALWAYS);
	train_run(f->s, SEED, N, false, ids);
	for (unsigned k = 0; k < N; k++) {
		assert_int_equal(train_head(f->s, ids[k]).base, 0);
		assert_int_equal(train_head(f->s, ids[k]).pred, k % CHUNK_TURN ? ids[k - 1] : 0);
	}
	chunk_counters(f->s, &n);
	uint64_t alone = n.chunk_stored;

	assert_int_equal(n.postponed, N - 2);
	assert_int_equal(recompress_waiting(f->s, 1, false, 0, &never), 0);
	assert_int_equal(waiting(f->s), 0);
	chunk_counters(f->s, &n);
	assert_int_equal(n.taken, N - 2);
	assert_int_equal(n.passed, 0);
	assert_true(n.chunk_stored < alone * 9 / 10);
	check_turns(f->s, ids);
	/* The totals are what the rows come to, and all of it was committed. */
	uint64_t stored = 0;

	for (unsigned k = 0; k < N; k++)
		stored += train_head(f->s, ids[k]).payload_len;
	assert_int_equal(n.chunk_stored, stored);
	crash(f);
	check_turns(f->s, ids);
	chunk_counters(f->s, &n);
	assert_int_equal(n.chunk_stored, stored);
}

/* Whether side by side, or with chunks that lean on those that wait: bounds hold, bytes stay. */
static void test_side_by_side(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N];

	press(f->s, PRESSURE_ALWAYS);
	for (unsigned k = 0; k < N; k++) {
		press(f->s, k % 3 ? PRESSURE_ALWAYS : PRESSURE_NEVER);
		ids[k] = train_save(f->s, SEED, k, false, k ? ids[k - 1] : 0);
	}
	assert_int_equal(recompress_waiting(f->s, 4, false, 0, &never), 0);
	assert_int_equal(waiting(f->s), 0);
	cycle(f);
	for (unsigned k = 0; k < N; k++) {
		assert_true(train_depth(f->s, ids[k]) <= CHUNK_DEPTH_FAR);
		train_check(f->s, SEED, k, false, ids[k]);
	}
}

static void test_fast_takes_none(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N];

	store_close(f->s);
	f->opt.effort = CODEC_FAST;
	reopen(f);
	train_run(f->s, SEED, N, false, ids);
	assert_int_equal(waiting(f->s), N - 2);
	cycle(f);
	assert_int_equal(waiting(f->s), N - 2);
	/* Whoever opens it with another effort takes them at the end. */
	store_close(f->s);
	f->opt.effort = CODEC_DEFAULT;
	reopen(f);
	f->s->chunks->idle.finish_ns = INT64_C(60000000000);
	cycle(f);
	assert_int_equal(waiting(f->s), 0);
	check_turns(f->s, ids);
}

static void test_max_takes_all(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N];

	store_close(f->s);
	f->opt.effort = CODEC_MAX;
	reopen(f);
	press(f->s, PRESSURE_ALWAYS);
	train_run(f->s, SEED, N, false, ids);
	assert_int_equal(waiting(f->s), 0);
	check_turns(f->s, ids);
}

static void test_dead_predecessor(void **state)
{
	struct fixture *f = *state;
	struct chunk_counters n;
	uint64_t ids[3];

	press(f->s, PRESSURE_ALWAYS);
	train_run(f->s, SEED, 3, false, ids);
	train_publish(f->s, 1, 0);
	assert_int_equal(recompress_waiting(f->s, 1, false, 0, &never), 0);
	chunk_counters(f->s, &n);
	assert_int_equal(train_head(f->s, ids[1]).base, 0);
	assert_int_equal(train_head(f->s, ids[1]).pred, -(int64_t)ids[0]);
	assert_int_equal(n.taken + n.passed, 2);
	assert_int_equal(waiting(f->s), 0);
	assert_int_equal(store_gc(f->s, NULL, NULL, NULL), 0);
	struct chunk_head h;

	assert_int_equal(chunk_head_read(f->s, ids[0], &h), 0);
	train_check(f->s, SEED, 1, false, ids[1]);
	train_check(f->s, SEED, 2, false, ids[2]);
}

/* A batch that was open when the process died never was; those before it stay. */
static void test_crash(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N], at = UINT64_MAX;

	press(f->s, PRESSURE_ALWAYS);
	train_run(f->s, SEED, N, false, ids);
	for (unsigned done = 0; done < N - 2; done++) {
		struct recoder r;
		struct recoded d;

		assert_int_equal(recoder_init(&r, f->s, CODEC_DEFAULT, NULL), 0);
		assert_int_equal(chunk_row_waiting(f->s, 0, &at), 1);
		assert_int_equal(recode_chunk(&r, at, NULL, 0, &d), RECODE_BETTER);
		assert_true(d.now < d.was);
		recoder_release(&r);
		if (done % 2)
			assert_int_equal(chunks_commit(f->s), 0);
		crash(f);
		assert_int_equal(waiting(f->s), N - 2 - (done + 1) / 2);
		for (unsigned k = 0; k < N; k++)
			train_check(f->s, SEED, k, false, ids[k]);
	}
	assert_int_equal(recompress_waiting(f->s, 1, false, 0, &never), 0);
	check_turns(f->s, ids);
}

static void test_yields(void **state)
{
	struct fixture *f = *state;
	struct chunk_pipe *p = &f->s->chunks->pipe;
	uint64_t ids[N];

	press(f->s, PRESSURE_ALWAYS);
	train_run(f->s, SEED, N, false, ids);
	/* As if a writer's job were on its way. */
	pthread_mutex_lock(&p->lock);
	p->jobs++;
	pthread_mutex_unlock(&p->lock);
	assert_int_equal(recompress_waiting(f->s, 1, true, 0, &never), 0);
	assert_int_equal(waiting(f->s), N - 2);
	assert_true(atomic_load(&f->s->chunks->idle.any));
	/* Nor does it begin then, or right after. */
	assert_int_equal(recompress_idle_step(f->s), 0);
	assert_false(f->s->chunks->idle.started);
	pthread_mutex_lock(&p->lock);
	p->jobs--;
	p->last_ns = INT64_MAX;
	pthread_mutex_unlock(&p->lock);
	assert_int_equal(recompress_idle_step(f->s), 0);
	assert_false(f->s->chunks->idle.started);
	pthread_mutex_lock(&p->lock);
	p->last_ns = 0;
	pthread_mutex_unlock(&p->lock);
	assert_int_equal(recompress_idle_step(f->s), 0);
	assert_true(f->s->chunks->idle.started);
	for (int i = 0; i < 6000 && !atomic_load(&f->s->chunks->idle.finished); i++)
		usleep(10000);
	assert_int_equal(waiting(f->s), 0);
	assert_int_equal(recompress_idle_step(f->s), 0);
	assert_false(f->s->chunks->idle.started);
	check_turns(f->s, ids);
	recompress_idle_stop(f->s);
	recompress_idle_stop(f->s);
}

static void test_damage_is_not_covered(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[2];
	struct recoder r;
	struct recoded d;
	struct chunk_buf *b;
	char sql[200];

	press(f->s, PRESSURE_ALWAYS);
	train_run(f->s, SEED, 2, false, ids);
	/* The payload is sound as a payload, the bytes are others. */
	snprintf(sql, sizeof sql, "UPDATE chunk SET hash = zeroblob(32) WHERE id = %llu", (unsigned long long)ids[1]);
	train_sql(f->s, sql);
	struct chunk_head before = train_head(f->s, ids[1]);

	assert_int_equal(recoder_init(&r, f->s, CODEC_DEFAULT, NULL), 0);
	assert_int_equal(recode_chunk(&r, ids[1], NULL, 0, &d), -EIO);
	snprintf(sql, sizeof sql, "UPDATE chunk SET \"check\" = 1 WHERE id = %llu", (unsigned long long)ids[1]);
	train_sql(f->s, sql);
	chunk_cache_drop(f->s, ids[1]);
	assert_int_equal(recode_chunk(&r, ids[1], NULL, 0, &d), -EIO);
	assert_int_equal(train_head(f->s, ids[1]).pred, before.pred);
	assert_int_equal(train_head(f->s, ids[1]).payload_len, before.payload_len);
	assert_int_equal(chunk_get(f->s, ids[1], &b), -EIO);
	recoder_release(&r);
	/* And the others get theirs. */
	assert_int_equal(recompress_waiting(f->s, 1, false, 0, &never), 0);
}

static void test_replace_refuses(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[10];
	char sql[200];

	press(f->s, PRESSURE_ALWAYS);
	train_run(f->s, SEED, 10, false, ids);
	struct chunk_head h = train_head(f->s, ids[0]), other = h;
	struct chunk_row r = { .id = ids[0], .base = ids[9], .codec = CODEC_RAW, .payload = (uint8_t *)"x", .payload_len = 1 };

	/* 9 -> 8 -> ... -> 1 -> 0 */
	for (unsigned k = 1; k < 10; k++) {
		snprintf(sql, sizeof sql, "UPDATE chunk SET base = %llu WHERE id = %llu", (unsigned long long)ids[k - 1],
				(unsigned long long)ids[k]);
		train_sql(f->s, sql);
	}
	assert_int_equal(chunk_row_replace(f->s, &r, &h, CHUNK_DEPTH_FAR), -ELOOP); /* a ring */
	r.base = ids[3];
	assert_int_equal(chunk_row_replace(f->s, &r, &h, CHUNK_DEPTH_FAR), -ELOOP);
	r.base = 999999;
	assert_int_equal(chunk_row_replace(f->s, &r, &h, CHUNK_DEPTH_FAR), -ESTALE);
	r.base = 0;
	other.check++;
	assert_int_equal(chunk_row_replace(f->s, &r, &other, CHUNK_DEPTH_FAR), -ESTALE);
	assert_int_equal(chunk_row_settle(f->s, ids[0], &other, 0, 0), -ESTALE);
	/* A chunk alone may not be put on top of four, nor below one that has eight. */
	r.id = train_save(f->s, SEED + 1, 0, false, 0);
	h = train_head(f->s, r.id);
	r.base = ids[4];
	assert_int_equal(chunk_row_replace(f->s, &r, &h, CHUNK_DEPTH), -ELOOP);
	r.id = ids[0];
	h = train_head(f->s, r.id);
	r.base = train_save(f->s, SEED + 1, 0, false, 0);
	assert_int_equal(chunk_row_replace(f->s, &r, &h, CHUNK_DEPTH_FAR), -ELOOP);
	train_check(f->s, SEED, 0, false, ids[0]);
}

struct reader {
	struct store *s;
	const uint64_t *ids;
	atomic_bool stop;
	bool failed;
};

static void *read_on(void *arg)
{
	struct reader *r = arg;

	while (!atomic_load(&r->stop)) {
		for (unsigned k = 0; k < N; k++) {
			struct chunk_buf *b = NULL;

			chunk_cache_drop(r->s, r->ids[k]);
			if (chunk_get(r->s, r->ids[k], &b))
				r->failed = true;
			chunk_put(b);
		}
	}
	return NULL;
}

/* Chains change under a reader's hands, bases go. */
static void test_while_others_read(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N];
	pthread_t t;

	press(f->s, PRESSURE_ALWAYS);
	train_run(f->s, SEED, N, false, ids);
	struct reader r = { .s = f->s, .ids = ids };

	assert_int_equal(pthread_create(&t, NULL, read_on, &r), 0);
	for (int round = 0; round < 20; round++) {
		assert_int_equal(recompress_waiting(f->s, 2, false, 0, &never), 0);
		/* Each has a form of its own again, and waits. */
		for (unsigned k = N; k-- > 0;) {
			struct chunk_buf *b = NULL;
			struct chunk_head h = train_head(f->s, ids[k]);

			assert_int_equal(chunk_get(f->s, ids[k], &b), 0);
			struct chunk_row raw = { .id = ids[k], .codec = CODEC_RAW, .check = codec_check(b->data, b->len),
				.hint = h.hint, .pred = k % CHUNK_TURN ? (int64_t)ids[k - 1] : 0, .payload = b->data,
				.payload_len = b->len };

			assert_int_equal(chunk_row_replace(f->s, &raw, &h, CHUNK_DEPTH), 0);
			chunk_put(b);
		}
	}
	atomic_store(&r.stop, true);
	pthread_join(t, NULL);
	assert_false(r.failed);
}

/* A chunks.db of format 1: read as it is, brought up to date when it is opened for writing. */
static void test_format_1(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N];

	press(f->s, PRESSURE_NEVER);
	train_run(f->s, SEED, N, false, ids);
	train_sql(f->s, "DROP INDEX chunk_waiting; ALTER TABLE chunk DROP COLUMN hint; ALTER TABLE chunk DROP COLUMN pred;"
			"ALTER TABLE state DROP COLUMN print_key; ALTER TABLE state DROP COLUMN sha_upto; DROP TABLE late;"
			"PRAGMA user_version = 1");
	for (int i = 0; i < CHUNK_STMTS; i++) {
		sqlite3_finalize(f->s->chunks->db.stmts[i]);
		f->s->chunks->db.stmts[i] = NULL;
	}
	atomic_store(&f->s->chunks->idle.any, false);
	assert_int_equal(store_close(f->s), 0);
	f->opt.readonly = true;
	reopen(f);
	assert_true(f->s->chunks->db.old);
	assert_int_equal(train_head(f->s, ids[3]).hint, 0);
	check_turns(f->s, ids);
	assert_int_equal(waiting(f->s), 0);
	assert_int_equal(store_close(f->s), 0);
	f->opt.readonly = false;
	reopen(f);
	check_turns(f->s, ids);
	/* Its chunks have no place; new ones begin to count there. */
	uint64_t next = train_save(f->s, SEED, N, false, ids[N - 1]);

	assert_int_equal(train_head(f->s, next).base, ids[N - 1]);
	train_check(f->s, SEED, N, false, next);
	cycle(f);
	check_turns(f->s, ids);
	train_check(f->s, SEED, N, false, next);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, start, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notes), T(test_at_once), T(test_tiny_steps), T(test_later), T(test_side_by_side),
		T(test_fast_takes_none), T(test_max_takes_all), T(test_dead_predecessor), T(test_crash), T(test_yields),
		T(test_damage_is_not_covered), T(test_replace_refuses), T(test_while_others_read), T(test_format_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
