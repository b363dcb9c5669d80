/*
 * test_chunk_plain.c: under a flood of new data chunks wait in chunks.plain, and are encoded when nobody writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch_chunks.h"
#include "scratch_train.h"
#include "store/store_admin.h"

enum { LEN = 96 << 10, N = 6 };
enum what { WEIGHTS, NOISE, ZEROS, TEXT, SHORT_WEIGHTS };

static const atomic_bool never;

static void set_up_pipe(struct fixture *f)
{
	atomic_store(&f->s->chunks->pipe.forced, PRESSURE_FLOOD);
	f->s->chunks->idle.finish_ns = 0;
}

static int start(void **state)
{
	int rc = setup(state);
	struct fixture *f = *state;

	store_close(f->s);
	f->opt.effort = CODEC_DEFAULT;
	reopen(f);
	set_up_pipe(f);
	return rc;
}

static uint32_t length_of(enum what what)
{
	return what == SHORT_WEIGHTS ? 16 << 10 : LEN;
}

/* Checkpoint k of a tensor that moves a little, or bytes of another kind. */
static uint8_t *fill(enum what what, unsigned k)
{
	uint32_t len = length_of(what);
	uint8_t *p = calloc(1, len);
	uint64_t x = 77 + what, y = 99 + k;

	assert_non_null(p);
	for (uint32_t i = 0; i < len; i += 4) {
		uint32_t noise = (uint32_t)(train_random(&x) >> 20), step = (uint32_t)(train_random(&y) >> 40);
		float w = (float)((noise >> 8) / 16777216.0 * 0.1 - 0.05) + (float)(step / 16777216.0 * 2e-4) * (float)k;

		if (what == WEIGHTS || what == SHORT_WEIGHTS)
			memcpy(p + i, &w, 4);
		else if (what == NOISE)
			memcpy(p + i, &noise, 4);
		else if (what == TEXT)
			memcpy(p + i, noise & 1 ? "abc\n" : "abd ", 4);
	}
	return p;
}

static uint64_t save(struct store *s, enum what what, unsigned k, uint64_t pred)
{
	uint64_t id = train_put(s, fill(what, k), length_of(what), (struct codec_hint){ 0 }, pred);

	train_publish(s, (uint64_t)what * 100 + k + 1, id);
	chunk_unpin(s, id);
	return id;
}

static void commit(struct store *s)
{
	assert_int_equal(chunks_commit(s), 0);
	assert_int_equal(chunks_unstage(s), 0);
	assert_int_equal(store_commit(s, true), 0);
}

/* N checkpoints, each to follow the one before, committed. */
static void save_run(struct store *s, uint64_t *ids)
{
	for (unsigned k = 0; k < N; k++)
		ids[k] = save(s, WEIGHTS, k, k ? ids[k - 1] : 0);
	commit(s);
}

static int get(struct store *s, enum what what, unsigned k, uint64_t id)
{
	struct chunk_buf *b = NULL;

	chunk_cache_drop(s, id);
	int rc = chunk_get(s, id, &b);

	if (rc == 0) {
		uint8_t *want = fill(what, k);

		assert_int_equal(b->len, length_of(what));
		assert_memory_equal(b->data, want, b->len);
		free(want);
		chunk_put(b);
	}
	return rc;
}

static void check_run(struct store *s, const uint64_t *ids, bool plain)
{
	for (unsigned k = 0; k < N; k++) {
		assert_int_equal(get(s, WEIGHTS, k, ids[k]), 0);
		assert_int_equal(train_head(s, ids[k]).plain, plain);
	}
}

static const char *plain_path(const struct fixture *f)
{
	static char path[200];

	snprintf(path, sizeof path, "%s/chunks.plain", f->path);
	return path;
}

/* -1: it is not there. */
static int64_t plain_size(const struct fixture *f)
{
	struct stat st;

	return stat(plain_path(f), &st) == 0 ? (int64_t)st.st_size : -1;
}

/* --- the tests ---------------------------------------------------------------------------------------- */

static void test_way(void **state)
{
	struct fixture *f = *state;
	struct chunk_counters n;
	uint64_t ids[N];

	assert_int_equal(plain_size(f), -1);
	save_run(f->s, ids);
	assert_int_equal(plain_size(f), N * LEN);
	check_run(f->s, ids, true);
	/* To everybody else they are raw, and count as such. */
	assert_int_equal(train_head(f->s, ids[1]).codec, CODEC_RAW);
	assert_int_equal(train_head(f->s, ids[1]).payload_len, LEN);
	chunk_counters(f->s, &n);
	assert_int_equal(n.chunk_stored, N * LEN);
	assert_int_equal(n.postponed, N);
	/* The same bytes again are known. */
	assert_int_equal(save(f->s, WEIGHTS, 2, 0), ids[2]);
	crash(f);
	set_up_pipe(f);
	check_run(f->s, ids, true);

	assert_int_equal(recompress_waiting(f->s, 1, false, 0, &never), 0);
	check_run(f->s, ids, false);
	assert_int_equal(plain_size(f), 0);
	chunk_counters(f->s, &n);
	assert_true(n.chunk_stored < (uint64_t)N * LEN * 9 / 10);
	for (unsigned k = 1; k < N; k++)
		assert_true(train_head(f->s, ids[k]).base != 0);
	/* SHA-256 was taken by the way. */
	for (unsigned k = 0; k < N; k++)
		assert_int_not_equal(train_head(f->s, ids[k]).name.len, CODEC_PRINT_LEN);
	crash(f);
	check_run(f->s, ids, false);
	cycle(f);
	check_run(f->s, ids, false);
	assert_int_equal(plain_size(f), -1);
}

static void test_which(void **state)
{
	struct fixture *f = *state;
	const struct { enum what what; bool plain; } kinds[] = {
		{ WEIGHTS, true }, { NOISE, true }, { ZEROS, false }, { TEXT, false }, { SHORT_WEIGHTS, false },
	};
	uint64_t ids[5];

	for (int i = 0; i < 5; i++) {
		ids[i] = save(f->s, kinds[i].what, 0, 0);
		assert_int_equal(train_head(f->s, ids[i]).plain, kinds[i].plain);
	}
	commit(f->s);
	/* What does not get shorter leaves all the same. */
	assert_int_equal(recompress_waiting(f->s, 2, false, 0, &never), 0);
	for (int i = 0; i < 5; i++) {
		assert_false(train_head(f->s, ids[i]).plain);
		assert_int_equal(get(f->s, kinds[i].what, 0, ids[i]), 0);
	}
	assert_int_equal(train_head(f->s, ids[1]).codec, CODEC_RAW);
	assert_int_equal(plain_size(f), 0);

	static const struct { enum codec_effort effort; int forced; } others[] = {
		{ CODEC_FAST, PRESSURE_FLOOD }, { CODEC_MAX, PRESSURE_FLOOD }, { CODEC_DEFAULT, PRESSURE_ALWAYS },
		{ CODEC_DEFAULT, PRESSURE_NEVER },
	};
	for (unsigned i = 0; i < 4; i++) {
		f->opt.effort = others[i].effort;
		cycle(f);
		set_up_pipe(f);
		atomic_store(&f->s->chunks->pipe.forced, others[i].forced);
		assert_false(train_head(f->s, save(f->s, WEIGHTS, 1 + i, 0)).plain);
	}
}

static void test_bounded(void **state)
{
	struct fixture *f = *state;
	uint64_t first = save(f->s, WEIGHTS, 0, 0);

	commit(f->s);
	atomic_store(&f->s->chunks->plain.end, CHUNK_PLAIN_MAX - LEN + 1);
	assert_false(train_head(f->s, save(f->s, WEIGHTS, 1, first)).plain);
	/* The last place that there is is as good as the first. */
	atomic_store(&f->s->chunks->plain.end, CHUNK_PLAIN_MAX - LEN);
	uint64_t last = save(f->s, WEIGHTS, 2, first);

	assert_true(train_head(f->s, last).plain);
	assert_false(train_head(f->s, save(f->s, WEIGHTS, 3, first)).plain);
	commit(f->s);
	crash(f);
	set_up_pipe(f);
	assert_int_equal(plain_size(f), CHUNK_PLAIN_MAX);
	assert_int_equal(get(f->s, WEIGHTS, 2, last), 0);
	assert_int_equal(recompress_waiting(f->s, 2, false, 0, &never), 0);
	assert_int_equal(get(f->s, WEIGHTS, 2, last), 0);
	assert_int_equal(plain_size(f), 0);
}

/* A batch that is lost leaves nothing behind; what comes after it finds its place. */
static void test_lost(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N], gone;

	save_run(f->s, ids);
	gone = save(f->s, WEIGHTS, N, ids[N - 1]);
	assert_true(train_head(f->s, gone).plain);
	crash(f);
	set_up_pipe(f);
	assert_int_equal(atomic_load(&f->s->chunks->plain.end), N * LEN);
	check_run(f->s, ids, true);
	uint64_t id = save(f->s, WEIGHTS, N + 1, ids[N - 1]);

	commit(f->s);
	crash(f);
	set_up_pipe(f);
	check_run(f->s, ids, true);
	assert_int_equal(get(f->s, WEIGHTS, N + 1, id), 0);
	assert_int_equal(recompress_waiting(f->s, 2, false, 0, &never), 0);
	check_run(f->s, ids, false);
}

/* Killed while they leave, again and again: each is there in one form or the other. */
static void test_killed(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N], at;

	save_run(f->s, ids);
	for (unsigned done = 0; done < N; done++) {
		struct recoder r;
		struct recoded d;

		assert_int_equal(recoder_init(&r, f->s, CODEC_DEFAULT, NULL), 0);
		assert_int_equal(chunk_row_waiting(f->s, 0, &at), 1);
		assert_int_equal(recode_chunk(&r, at, NULL, 0, &d), RECODE_BETTER);
		recoder_release(&r);
		if (done % 2)
			commit(f->s);
		crash(f);
		set_up_pipe(f);
		for (unsigned k = 0; k < N; k++) {
			assert_int_equal(get(f->s, WEIGHTS, k, ids[k]), 0);
			assert_int_equal(train_head(f->s, ids[k]).plain, k >= (done + 1) / 2);
		}
	}
	/* A new one goes behind those that are left, not over them. */
	uint64_t id = save(f->s, NOISE, 0, 0);

	commit(f->s);
	for (unsigned k = N / 2; k < N; k++)
		assert_int_equal(get(f->s, WEIGHTS, k, ids[k]), 0);
	assert_int_equal(get(f->s, NOISE, 0, id), 0);
}

static void test_collected(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N];

	save_run(f->s, ids);
	for (unsigned k = 0; k < N; k++)
		train_publish(f->s, k + 1, 0);
	assert_int_equal(store_commit(f->s, true), 0);
	assert_int_equal(store_gc(f->s, NULL, NULL, NULL), 0);
	assert_int_equal(plain_size(f), 0);
	cycle(f);
	assert_int_equal(plain_size(f), -1);
}

/* What is not encoded in time waits for the next opening, whatever that one's effort, and is read by who may only read. */
static void test_later(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N];

	save_run(f->s, ids);
	cycle(f);
	check_run(f->s, ids, true);
	f->s->chunks->idle.finish_ns = 0;
	assert_int_equal(store_close(f->s), 0);
	f->opt.readonly = true;
	reopen(f);
	check_run(f->s, ids, true);
	assert_int_equal(store_close(f->s), 0);
	f->opt.readonly = false;
	f->opt.effort = CODEC_FAST;
	reopen(f);
	f->s->chunks->idle.finish_ns = INT64_C(60000000000);
	cycle(f);
	check_run(f->s, ids, false);
}

static void count_problem(void *arg, const char *line)
{
	(void)line;
	++*(int *)arg;
}

/* Damage is an error for who reads and a line of verify's, and harms no other chunk. */
static void test_damaged(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N];
	uint8_t byte;

	save_run(f->s, ids);
	f->s->chunks->idle.finish_ns = 0;
	assert_int_equal(store_close(f->s), 0);
	int fd = open(plain_path(f), O_RDWR);

	assert_int_equal(pread(fd, &byte, 1, 2 * LEN + 500), 1);
	byte ^= 4;
	assert_int_equal(pwrite(fd, &byte, 1, 2 * LEN + 500), 1);
	assert_int_equal(ftruncate(fd, N * LEN - 1), 0);
	close(fd);
	reopen(f);
	set_up_pipe(f);
	for (int pass = 0; pass < 2; pass++) {
		struct store_verify_result res;
		int problems = 0;

		for (unsigned k = 0; k < N; k++)
			assert_int_equal(get(f->s, WEIGHTS, k, ids[k]), k == 2 || k == N - 1 ? -EIO : 0);
		assert_int_equal(store_verify(f->s, true, count_problem, NULL, &problems, &res), 0);
		assert_true(problems >= 2);
		/* They stay where they are; the others leave. */
		assert_int_equal(recompress_waiting(f->s, 1, false, 0, &never), 0);
	}
	assert_true(train_head(f->s, ids[2]).plain);
	assert_false(train_head(f->s, ids[3]).plain);
	f->s->chunks->idle.finish_ns = 0;
	assert_int_equal(store_close(f->s), 0);
	assert_int_equal(unlink(plain_path(f)), 0);
	reopen(f);
	f->s->chunks->idle.finish_ns = 0;
	assert_int_equal(get(f->s, WEIGHTS, 2, ids[2]), -EIO);
	assert_non_null(strstr(ckpt_errmsg(), "chunks.plain"));
	assert_int_equal(get(f->s, WEIGHTS, 3, ids[3]), 0);
}

/* A chunks.db of format 4 knows nothing of it, and learns when it is opened for writing. */
static void test_format_4(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[N];

	train_sql(f->s, "PRAGMA user_version = 4");
	cycle(f);
	set_up_pipe(f);
	save_run(f->s, ids);
	check_run(f->s, ids, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_way, start, teardown),
		cmocka_unit_test_setup_teardown(test_which, start, teardown),
		cmocka_unit_test_setup_teardown(test_bounded, start, teardown),
		cmocka_unit_test_setup_teardown(test_lost, start, teardown),
		cmocka_unit_test_setup_teardown(test_killed, start, teardown),
		cmocka_unit_test_setup_teardown(test_collected, start, teardown),
		cmocka_unit_test_setup_teardown(test_later, start, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, start, teardown),
		cmocka_unit_test_setup_teardown(test_format_4, start, teardown),
	};

	return cmocka_run_group_tests_name("chunk_plain", tests, NULL, NULL);
}
