/*
 * test_derived.c: what is remembered with a version: kept, replaced, gone with it, and never more than a help.
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
#include "store/store_derived.h"
#include "store/store_internal.h"

static void is_kept(struct store *s, uint64_t version, const char *key, const void *want, size_t n)
{
	uint8_t *p = NULL;
	size_t len = 0;

	expect(store_derived_get(s, version, key, &p, &len), key);
	assert_int_equal(len, n);
	assert_memory_equal(p, want, n);
	free(p);
}

static void is_gone(struct store *s, uint64_t version, const char *key)
{
	uint8_t *p = NULL;
	size_t len;

	assert_int_equal(store_derived_get(s, version, key, &p, &len), -ENOENT);
}

static void test_kept(void **state)
{
	struct fixture *f = *state;
	uint8_t *big = some_bytes(3, STORE_DERIVED_MAX + 1);
	uint64_t v = version_of(f->s, put_some(f->s, STORE_ROOT, "a", 2, 5000));

	is_gone(f->s, v, "layout:1");
	assert_int_equal(store_derived_put(f->s, v, "layout:1", "abc", 3), 0);
	is_kept(f->s, v, "layout:1", "abc", 3);
	is_gone(f->s, v, "layout:2");
	is_gone(f->s, v + 1, "layout:1");
	assert_int_equal(store_derived_put(f->s, v, "layout:1", big, STORE_DERIVED_MAX), 0);
	assert_int_equal(store_derived_put(f->s, v, "empty", NULL, 0), 0);
	assert_int_equal(store_commit(f->s, false), 0);
	crash(f);
	is_kept(f->s, v, "layout:1", big, STORE_DERIVED_MAX);
	is_kept(f->s, v, "empty", "", 0);
	verify_clean(f->s);

	assert_int_equal(store_derived_put(f->s, v, "layout:1", big, STORE_DERIVED_MAX + 1), -E2BIG);
	assert_int_equal(store_derived_put(f->s, v, "", "x", 1), -EINVAL);
	assert_int_equal(store_derived_put(f->s, v + 999, "layout:1", "x", 1), -ENOENT);
	free(big);
}

static void test_readonly(void **state)
{
	struct fixture *f = *state;
	uint64_t v = version_of(f->s, put_some(f->s, STORE_ROOT, "a", 2, 5000));

	assert_int_equal(store_derived_put(f->s, v, "k", "abc", 3), 0);
	f->opt.readonly = true;
	cycle(f);
	is_kept(f->s, v, "k", "abc", 3);
	assert_int_equal(store_derived_put(f->s, v, "k", "x", 1), -EROFS);
}

/* However a version's bytes end, what was derived from them ends too; while they are in the history it stays. */
static void test_gone(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = put_some(f->s, STORE_ROOT, "a", 2, 50000), v = version_of(f->s, ino), w;

	assert_int_equal(store_derived_put(f->s, v, "k", "abc", 3), 0);
	put_some(f->s, STORE_ROOT, "a", 4, 50000);
	is_kept(f->s, v, "k", "abc", 3);
	w = version_of(f->s, ino);
	assert_int_not_equal(v, w);
	is_gone(f->s, w, "k");
	assert_true(history_expire(f->s, INT64_MAX) > 0);
	is_gone(f->s, v, "k");

	/* An append may keep the id, but not what was known of the bytes. */
	assert_int_equal(store_derived_put(f->s, w, "k", "abc", 3), 0);
	append_file(f->s, ino, "more", 4);
	is_gone(f->s, version_of(f->s, ino), "k");
	is_gone(f->s, w, "k");

	w = version_of(f->s, ino);
	assert_int_equal(store_derived_put(f->s, w, "k", "abc", 3), 0);
	remove_from(f->s, STORE_ROOT, "a");
	assert_true(history_expire(f->s, INT64_MAX) > 0);
	is_gone(f->s, w, "k");
	verify_clean(f->s);
}

/* verify sees rows of nobody. */
static void quiet(void *arg, const char *line)
{
	(void)line;
	++*(int *)arg;
}

static void test_verified(void **state)
{
	struct fixture *f = *state;
	struct store_verify_result res;
	int told = 0;

	put_some(f->s, STORE_ROOT, "a", 2, 5000);
	assert_int_equal(meta_begin(f->s), 0);
	sqlite3_stmt *st = meta_stmt(f->s, "INSERT INTO derived VALUES(4711, 'k', x'00')");

	assert_int_equal(meta_end(f->s, meta_exec(f->s, st)), 0);
	assert_int_equal(store_verify(f->s, false, quiet, NULL, &told, &res), 0);
	assert_int_equal(res.problems, 1);
	assert_int_equal(told, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readonly, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_verified, setup, teardown),
	};

	return cmocka_run_group_tests_name("derived", tests, NULL, NULL);
}
