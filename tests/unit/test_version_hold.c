/*
 * test_version_hold.c: a version that is held stays as it is, whatever becomes of its file, and goes when nobody holds it.
 *
 * The same for small files, whose bytes are inline, for files of chunks, and for files with both.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scratch_chunks.h"
#include "scratch_files.h"
#include "store/meta_internal.h"
#include "store/store_internal.h"
#include "store/store_version.h"

static const size_t sizes[] = { 1, 700, 20000, 200000, 1500000 };
enum { SIZES = sizeof sizes / sizeof *sizes };

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

static void version_is(struct store *s, uint64_t version, uint64_t seed, size_t n)
{
	uint8_t *want = some_bytes(seed, n);
	struct store_file *f;

	expect(store_file_open_version(s, version, &f), "open version");
	read_is(f, want, n);
	store_file_close(f);
	free(want);
}

static void clean_up(struct store *s)
{
	assert_true(history_expire(s, INT64_MAX) >= 0);
	expect(store_gc(s, NULL, NULL, NULL), "gc");
}

/* What happens to the file while its version is held. */
static void replace_it(struct store *s, uint64_t ino, size_t n)
{
	uint8_t *p = some_bytes(99, n + 5);

	put_file(s, ino, p, n + 5);
	free(p);
}

static void append_to_it(struct store *s, uint64_t ino, size_t n)
{
	(void)n;
	for (int i = 0; i < 3; i++)
		append_file(s, ino, "and more", 8);
}

/* Through one handle, so that the second and the third session go on in place. */
static void write_into_it(struct store *s, uint64_t ino, size_t n)
{
	struct store_file *f;

	expect(store_file_open(s, ino, &f), "open");
	for (int i = 0; i < 3; i++) {
		expect(store_file_write(f, n / 2, "xyz", 3), "write");
		expect(store_file_publish(f, false), "publish");
	}
	store_file_close(f);
}

static void cut_it(struct store *s, uint64_t ino, size_t n)
{
	struct store_file *f;

	expect(store_file_open(s, ino, &f), "open");
	expect(store_file_truncate(f, n / 3 + 1), "truncate");
	expect(store_file_publish(f, true), "publish");
	store_file_close(f);
}

static void remove_it(struct store *s, uint64_t ino, size_t n)
{
	(void)ino, (void)n;
	remove_from(s, STORE_ROOT, "a");
}

static void rename_over_it(struct store *s, uint64_t ino, size_t n)
{
	struct store_attr a;

	(void)ino, (void)n;
	put_some(s, STORE_ROOT, "b", 8, 3000);
	expect(store_rename(s, STORE_ROOT, "b", 1, STORE_ROOT, "a", 1, 0, &a), "rename");
	expect(store_reap(s, a.ino), "reap");
}

static void (*const fates[])(struct store *s, uint64_t ino, size_t n) = {
	replace_it, append_to_it, write_into_it, cut_it, remove_it, rename_over_it,
};
enum { FATES = sizeof fates / sizeof *fates };

static void test_fates(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < SIZES; i++) {
		for (size_t k = 0; k < FATES; k++) {
			uint64_t ino = put_some(f->s, STORE_ROOT, "a", i, sizes[i]), v = version_of(f->s, ino);

			expect(store_version_hold(f->s, v), "hold");
			fates[k](f->s, ino, sizes[i]);
			clean_up(f->s);
			version_is(f->s, v, i, sizes[i]);
			verify_clean(f->s);
			store_version_release(f->s, v);
			struct store_file *gone;

			if (find_in(f->s, STORE_ROOT, "a") == 0 || version_of(f->s, find_in(f->s, STORE_ROOT, "a")) != v)
				assert_int_equal(store_file_open_version(f->s, v, &gone), -ENOENT);
			verify_clean(f->s);
			if (find_in(f->s, STORE_ROOT, "a"))
				remove_from(f->s, STORE_ROOT, "a");
		}
	}
	clean_up(f->s);
	assert_int_equal(count(f->s, "SELECT (SELECT count(*) FROM version) + (SELECT count(*) FROM draft) +"
			" (SELECT count(*) FROM manifest)"), 0);
}

/* In place under one handle: what is held is the version of the moment; without a hold no version is made aside. */
static void test_in_place(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = put_some(f->s, STORE_ROOT, "a", 2, 300000), v;
	uint8_t *want = some_bytes(2, 300000);
	struct store_file *w, *r;

	expect(store_file_open(f->s, ino, &w), "open");
	expect(store_file_write(w, 1000, "one", 3), "write");
	expect(store_file_publish(w, false), "publish");
	v = version_of(f->s, ino);
	expect(store_file_write(w, 2000, "two", 3), "write");
	expect(store_file_publish(w, false), "publish");
	assert_int_equal(version_of(f->s, ino), v);
	memcpy(want + 1000, "one", 3);
	memcpy(want + 2000, "two", 3);

	int64_t past = count(f->s, "SELECT count(*) FROM history");

	expect(store_file_open_version(f->s, v, &r), "open version");
	expect(store_file_write(w, 3000, "three", 5), "write");
	expect(store_file_publish(w, false), "publish");
	assert_int_not_equal(version_of(f->s, ino), v);
	read_is(r, want, 300000);
	store_file_close(r);
	assert_int_equal(store_file_open_version(f->s, v, &r), -ENOENT);
	assert_int_equal(count(f->s, "SELECT count(*) FROM history"), past);
	v = version_of(f->s, ino);
	expect(store_file_write(w, 4000, "four", 4), "write");
	expect(store_file_publish(w, false), "publish");
	assert_int_equal(version_of(f->s, ino), v);
	memcpy(want + 3000, "three", 5);
	memcpy(want + 4000, "four", 4);
	read_is(w, want, 300000);
	store_file_close(w);
	verify_clean(f->s);
	free(want);
}

static void test_counted(void **state)
{
	struct fixture *f = *state;
	uint64_t v = version_of(f->s, put_some(f->s, STORE_ROOT, "a", 2, 100000));

	assert_int_equal(store_version_hold(f->s, v + 1), -ENOENT);
	expect(store_version_hold(f->s, v), "hold");
	expect(store_version_hold(f->s, v), "hold again");
	remove_from(f->s, STORE_ROOT, "a");
	clean_up(f->s);
	store_version_release(f->s, v);
	version_is(f->s, v, 2, 100000);
	/* Held again by somebody who came while it was there. */
	expect(store_version_hold(f->s, v), "hold");
	store_version_release(f->s, v);
	version_is(f->s, v, 2, 100000);
	store_version_release(f->s, v);
	assert_int_equal(store_version_hold(f->s, v), -ENOENT);
	clean_up(f->s);
	assert_int_equal(count(f->s, "SELECT count(*) FROM version"), 0);

	/* A hold on what stays changes nothing. */
	v = version_of(f->s, put_some(f->s, STORE_ROOT, "a", 2, 100));
	expect(store_version_hold(f->s, v), "hold");
	store_version_release(f->s, v);
	version_is(f->s, v, 2, 100);
}

/* A crash, or a close, takes away what only a hold kept. */
static void test_left(void **state)
{
	struct fixture *f = *state;

	for (int close = 0; close < 2; close++) {
		uint64_t v = version_of(f->s, put_some(f->s, STORE_ROOT, "a", 2, 100000));

		expect(store_version_hold(f->s, v), "hold");
		remove_from(f->s, STORE_ROOT, "a");
		assert_true(history_expire(f->s, INT64_MAX) > 0);
		expect(store_commit(f->s, false), "commit");
		if (close)
			cycle(f);
		else
			crash(f);
		assert_int_equal(store_version_hold(f->s, v), -ENOENT);
		assert_int_equal(count(f->s, "SELECT (SELECT count(*) FROM version) + (SELECT count(*) FROM draft)"), 0);
		verify_clean(f->s);
	}
}

/* A deletion that is undone leaves nothing behind to be deleted later. */
static void test_undone(void **state)
{
	struct fixture *f = *state;
	uint64_t v = version_of(f->s, put_some(f->s, STORE_ROOT, "a", 2, 100000));

	expect(store_version_hold(f->s, v), "hold");
	expect(meta_begin(f->s), "begin");
	expect(meta_version_delete(f->s, v), "delete");
	assert_int_equal(meta_end(f->s, -ECANCELED), -ECANCELED);
	store_version_release(f->s, v);
	version_is(f->s, v, 2, 100000);
	verify_clean(f->s);
}

static void test_readonly(void **state)
{
	struct fixture *f = *state;
	uint64_t v = version_of(f->s, put_some(f->s, STORE_ROOT, "a", 2, 100000));

	f->opt.readonly = true;
	cycle(f);
	expect(store_version_hold(f->s, v), "hold");
	version_is(f->s, v, 2, 100000);
	store_version_release(f->s, v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_left, setup, teardown),
		cmocka_unit_test_setup_teardown(test_undone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readonly, setup, teardown),
	};

	return cmocka_run_group_tests_name("version_hold", tests, NULL, NULL);
}
