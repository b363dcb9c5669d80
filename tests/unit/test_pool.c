/*
 * test_pool.c: small files in pools: they read the same, whatever is done to them before, meanwhile and after, and what
 * dies in a pool is given back.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scratch_chunks.h"
#include "scratch_files.h"
#include "store/chunk_internal.h"
#include "store/meta_internal.h"
#include "store/pool_internal.h"
#include "store/store_internal.h"

enum { FILES = 300 };

static int64_t count(struct store *s, const char *sql)
{
	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, sql);

	assert_non_null(st);
	assert_int_equal(meta_step(s, st), 1);
	int64_t n = sqlite3_column_int64(st, 0);

	meta_unlock(s);
	return n;
}

static size_t size_of_file(int i)
{
	return 900 + (size_t)(i * 37 % 5000);
}

static uint64_t seed_of(int i)
{
	return (uint64_t)i * 2 + (i % 50 == 0); /* some are noise */
}

static void make_files(struct store *s, uint64_t *inos)
{
	char name[32];

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof name, "metrics-%03d.%s", i, i % 3 ? "json" : "csv");
		inos[i] = put_some(s, STORE_ROOT, name, seed_of(i), size_of_file(i));
	}
}

static void files_are(struct store *s, const uint64_t *inos, int from, int step)
{
	for (int i = from; i < FILES; i += step)
		file_is(s, inos[i], seed_of(i), size_of_file(i));
}

static void pool_now(struct store *s)
{
	expect(pool_all(s, 1, false, 0), "pool");
}

#define INLINE "SELECT count(*) FROM version WHERE content IS NOT NULL"
#define POOLS "SELECT count(*) FROM pool"

/* Everything of small files goes into a few chunks, and is the same afterwards. */
static void test_pooled(void **state)
{
	struct fixture *f = *state;
	struct chunk_counters n;
	uint64_t inos[FILES];

	make_files(f->s, inos);
	put_some(f->s, STORE_ROOT, "tiny", 2, 20);
	put_some(f->s, STORE_ROOT, "empty", 2, 0);
	put_some(f->s, STORE_ROOT, "big", 2, 100000);
	assert_int_equal(count(f->s, INLINE), FILES + 1);
	pool_now(f->s);
	assert_int_equal(count(f->s, INLINE), 1);
	assert_true(count(f->s, POOLS) >= 1 && count(f->s, POOLS) <= 3);
	assert_int_equal(count(f->s, "SELECT sum(raw) FROM pool"), count(f->s, "SELECT sum(size) FROM version WHERE size"
			" BETWEEN 100 AND 50000"));
	files_are(f->s, inos, 0, 1);
	chunk_counters(f->s, &n);
	assert_true(n.decoded_bytes < 8 << 20); /* a pool is decoded once */
	verify_clean(f->s);
	expect(store_gc(f->s, NULL, NULL, NULL), "gc");
	cycle(f);
	files_are(f->s, inos, 0, 1);
	verify_clean(f->s);
	pool_now(f->s);
	assert_int_equal(count(f->s, INLINE), 1);
}

/* What is left at the end is pooled then, when it is more than a trifle. */
static void test_close(void **state)
{
	struct fixture *f = *state;
	uint64_t inos[FILES], ino = put_some(f->s, STORE_ROOT, "alone", 2, 3000);

	cycle(f);
	assert_int_equal(count(f->s, POOLS), 0);
	file_is(f->s, ino, 2, 3000);
	make_files(f->s, inos);
	cycle(f);
	assert_int_equal(count(f->s, INLINE), 0);
	assert_true(count(f->s, "PRAGMA freelist_count") * 4 <= count(f->s, "PRAGMA page_count"));
	files_are(f->s, inos, 0, 1);
	file_is(f->s, ino, 2, 3000);
}

/* A crash before the rows are committed leaves the files inline, and a chunk for gc. */
static void test_crash(void **state)
{
	struct fixture *f = *state;
	struct store_gc_result gc;
	uint64_t inos[FILES];

	make_files(f->s, inos);
	expect(store_commit(f->s, false), "commit");
	pool_now(f->s);
	crash(f);
	files_are(f->s, inos, 0, 1);
	verify_clean(f->s);
	int64_t left = count(f->s, INLINE);

	expect(store_gc(f->s, NULL, NULL, &gc), "gc");
	files_are(f->s, inos, 0, 1);
	pool_now(f->s);
	assert_int_equal(count(f->s, INLINE), 0);
	assert_true(left <= FILES);
	expect(store_commit(f->s, true), "commit");
	crash(f);
	assert_int_equal(count(f->s, INLINE), 0);
	files_are(f->s, inos, 0, 1);
	verify_clean(f->s);
}

/* Files that are open stay inline, and what they do next is right; others of the same pool go. */
static void test_open(void **state)
{
	struct fixture *f = *state;
	struct store_file *w, *v;
	uint64_t inos[FILES];
	uint8_t *want = some_bytes(seed_of(7), size_of_file(7));

	make_files(f->s, inos);
	expect(store_file_open(f->s, inos[7], &w), "open");
	expect(store_file_open_version(f->s, version_of(f->s, inos[8]), &v), "open version");
	pool_now(f->s);
	assert_int_equal(count(f->s, INLINE), 2);
	read_is(w, want, size_of_file(7));
	expect(store_file_write(w, STORE_APPEND, "more", 4), "append");
	expect(store_file_publish(w, false), "publish");
	store_file_close(w);
	store_file_close(v);
	want = realloc(want, size_of_file(7) + 4);
	memcpy(want + size_of_file(7), "more", 4);
	for (int i = 0; i < 2; i++) {
		expect(store_file_open(f->s, inos[7], &w), "open");
		read_is(w, want, size_of_file(7) + 4);
		store_file_close(w);
		pool_now(f->s);
	}
	assert_int_equal(count(f->s, INLINE), 0);
	files_are(f->s, inos, 8, 1);
	verify_clean(f->s);
	free(want);
}

/* What is done to a pooled file makes it what it would have become inline. */
static void test_changed(void **state)
{
	struct fixture *f = *state;
	struct store_file *a, *b;
	struct store_attr attr;
	uint64_t inos[FILES];
	uint8_t *p;

	make_files(f->s, inos);
	pool_now(f->s);
	/* appended */
	append_file(f->s, inos[1], "xyz", 3);
	p = some_bytes(seed_of(1), size_of_file(1) + 3);
	memcpy(p + size_of_file(1), "xyz", 3);
	expect(store_file_open(f->s, inos[1], &a), "open");
	read_is(a, p, size_of_file(1) + 3);
	/* in place, twice through one handle */
	for (int i = 0; i < 2; i++) {
		expect(store_file_write(a, 100, "abc", 3), "write");
		expect(store_file_publish(a, false), "publish");
		pool_now(f->s);
	}
	memcpy(p + 100, "abc", 3);
	read_is(a, p, size_of_file(1) + 3);
	/* cloned, whole and in part */
	uint64_t copy = make_in(f->s, STORE_ROOT, "copy", S_IFREG);

	store_file_close(a);
	expect(store_file_open(f->s, inos[2], &a), "open");
	expect(store_file_open(f->s, copy, &b), "open");
	assert_int_equal(store_file_clone(a, 0, b, 0, UINT32_MAX), (int64_t)size_of_file(2));
	expect(store_file_publish(b, false), "publish");
	store_file_close(a);
	store_file_close(b);
	file_is(f->s, copy, seed_of(2), size_of_file(2));
	free(p);
	/* a hard link, a replacement that goes to the history, a removal */
	expect(store_link(f->s, inos[3], STORE_ROOT, "second", 6, &attr), "link");
	uint64_t old = version_of(f->s, inos[4]);

	put_file(f->s, inos[4], "new", 3);
	remove_from(f->s, STORE_ROOT, "metrics-002.json");
	file_is(f->s, copy, seed_of(2), size_of_file(2));
	expect(store_file_open_version(f->s, old, &a), "open version");
	p = some_bytes(seed_of(4), size_of_file(4));
	read_is(a, p, size_of_file(4));
	free(p);
	store_file_close(a);
	verify_clean(f->s);
	cycle(f);
	files_are(f->s, inos, 5, 1);
	file_is(f->s, inos[3], seed_of(3), size_of_file(3));
	file_is(f->s, copy, seed_of(2), size_of_file(2));
	verify_clean(f->s);
}

/* Pools of which most has died are dissolved, and their chunks collected. */
static void test_thin(void **state)
{
	struct fixture *f = *state;
	struct store_file *open;
	struct chunk_counters n;
	uint64_t inos[FILES], before;
	char name[32];

	make_files(f->s, inos);
	pool_now(f->s);
	chunk_counters(f->s, &n);
	before = n.chunk_raw;
	expect(pool_thin(f->s), "thin");
	assert_int_equal(count(f->s, INLINE), 0);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof name, "metrics-%03d.%s", i, i % 3 ? "json" : "csv");
		if (i % 4)
			remove_from(f->s, STORE_ROOT, name);
	}
	/* The history still has them. */
	expect(pool_thin(f->s), "thin");
	assert_true(count(f->s, POOLS) > 0);
	assert_true(history_expire(f->s, INT64_MAX) > 0);
	/* Somebody reads one: it stays where it is. */
	expect(store_file_open(f->s, inos[4], &open), "open");
	expect(store_gc(f->s, NULL, NULL, NULL), "gc");
	assert_true(count(f->s, POOLS) >= 1);
	assert_true(count(f->s, INLINE) > 0);
	uint8_t *want = some_bytes(seed_of(4), size_of_file(4));

	read_is(open, want, size_of_file(4));
	free(want);
	store_file_close(open);
	expect(store_gc(f->s, NULL, NULL, NULL), "gc");
	assert_int_equal(count(f->s, POOLS), 0);
	files_are(f->s, inos, 0, 4);
	chunk_counters(f->s, &n);
	assert_int_equal(n.chunks, 0);
	verify_clean(f->s);
	pool_now(f->s);
	assert_int_equal(count(f->s, INLINE), 0);
	chunk_counters(f->s, &n);
	assert_true(n.chunk_raw < before / 2);
	files_are(f->s, inos, 0, 4);
	verify_clean(f->s);
}

static void shift_times(struct store *s, int64_t ns)
{
	assert_int_equal(meta_begin(s), 0);
	sqlite3_stmt *st = meta_stmt(s, "UPDATE inode SET ctime = ctime + ?1");

	assert_non_null(st);
	sqlite3_bind_int64(st, 1, ns);
	assert_int_equal(meta_end(s, meta_exec(s, st)), 0);
}

/* The housekeeper takes what has rested, a little at a time, and nothing that has not. */
static void test_tick(void **state)
{
	struct fixture *f = *state;
	uint64_t inos[FILES];

	make_files(f->s, inos);
	/* Changed an hour from now, so that it does not matter how long it took to make them. */
	shift_times(f->s, INT64_C(3600000000000));
	expect(pool_all(f->s, 1, true, 0), "pool");
	assert_int_equal(count(f->s, INLINE), FILES);
	shift_times(f->s, INT64_C(-7200000000000));
	expect(pool_all(f->s, 1, true, 0), "pool");
	assert_int_equal(count(f->s, INLINE), 0);
	files_are(f->s, inos, 0, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pooled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close, setup, teardown),
		cmocka_unit_test_setup_teardown(test_crash, setup, teardown),
		cmocka_unit_test_setup_teardown(test_open, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_thin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tick, setup, teardown),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
