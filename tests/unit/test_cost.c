/*
 * test_cost.c: what a file costs: bytes inline, pooled, in chunks; what is its own; with whom it shares.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scratch_chunks.h"
#include "scratch_files.h"
#include "store/pool_internal.h"
#include "store/store_cost.h"
#include "store/store_internal.h"

static struct store_cost cost_of(struct store *s, uint64_t ino)
{
	struct store_cost c;
	uint64_t raw = 0, stored = 0;

	expect(store_cost(s, ino, &c), "cost");
	for (unsigned i = 0; i < c.ncodecs; i++) {
		raw += c.codecs[i].raw;
		stored += c.codecs[i].stored;
		if (i)
			assert_true(c.codecs[i].stored <= c.codecs[i - 1].stored);
	}
	assert_int_equal(stored, c.stored);
	assert_true(raw >= c.inlined + c.pooled);
	assert_true(c.own <= c.stored);
	return c;
}

struct list {
	unsigned n;
	struct { char path[32]; uint64_t bytes; int past; } v[8];
};

static int note(void *arg, const char *path, size_t len, uint64_t bytes, int past)
{
	struct list *l = arg;

	assert_true(l->n < 8 && len < 32);
	assert_int_equal(strlen(path), len);
	strcpy(l->v[l->n].path, path);
	l->v[l->n].bytes = bytes;
	l->v[l->n++].past = past;
	return 0;
}

static struct list shared(struct store *s, uint64_t ino, unsigned most)
{
	struct list l = { 0 };

	expect(store_cost_shared(s, ino, most, note, &l), "shared");
	return l;
}

static uint64_t clone_of(struct store *s, uint64_t from, const char *name, uint64_t off, uint64_t len)
{
	uint64_t ino = make_in(s, STORE_ROOT, name, S_IFREG);
	struct store_file *a, *b;

	expect(store_file_open(s, from, &a), "open");
	expect(store_file_open(s, ino, &b), "open");
	assert_int_equal(store_file_clone(a, off, b, 0, len), (int64_t)len);
	expect(store_file_publish(b, false), "publish");
	store_file_close(a);
	store_file_close(b);
	return ino;
}

static void test_kinds(void **state)
{
	struct fixture *f = *state;
	struct store_cost c, before;
	uint64_t dir = make_in(f->s, STORE_ROOT, "d", S_IFDIR), ino;

	assert_int_equal(store_cost(f->s, dir, &c), -EINVAL);
	assert_int_equal(store_cost(f->s, 4711, &c), -ENOENT);
	c = cost_of(f->s, put_some(f->s, dir, "empty", 2, 0));
	assert_true(c.raw == 0 && c.stored == 0 && c.chunks == 0 && c.ncodecs == 0);

	ino = put_some(f->s, dir, "small", 2, 5000);
	c = cost_of(f->s, ino);
	assert_true(c.raw == 5000 && c.data == 5000 && c.inlined == 5000 && c.inlined_stored < 3000 && c.chunks == 0);
	assert_int_equal(c.own, c.inlined_stored);
	assert_int_equal(shared(f->s, ino, 5).n, 0);

	for (int i = 0; i < 60; i++) {
		char name[8];

		snprintf(name, sizeof name, "s%d", i);
		put_some(f->s, dir, name, (uint64_t)i * 2 + 4, 4000);
	}
	before = c;
	expect(pool_all(f->s, 1, false, 0), "pool");
	c = cost_of(f->s, ino);
	assert_true(c.inlined == 0 && c.pooled == 5000 && c.chunks == 1);
	assert_true(c.pooled_stored > 0 && c.pooled_stored < before.inlined_stored);
	assert_int_equal(c.own, c.pooled_stored);
	assert_int_equal(c.stored, c.pooled_stored);
	assert_int_equal(shared(f->s, ino, 5).n, 0); /* a pool is not shared content */

	ino = put_some(f->s, dir, "noise", 3, 700000);
	c = cost_of(f->s, ino);
	assert_true(c.raw == 700000 && c.data == 700000 && c.chunks > 1 && c.inlined == 0 && c.pooled == 0);
	assert_true(c.stored >= 700000 && c.own == c.stored && c.deepest == 0);
}

static void test_shared(void **state)
{
	struct fixture *f = *state;
	struct store_cost c;
	struct list l;
	uint64_t ino = put_some(f->s, STORE_ROOT, "a", 3, 700000);

	clone_of(f->s, ino, "b", 0, 700000);
	clone_of(f->s, ino, "c", 0, 200000);
	c = cost_of(f->s, ino);
	assert_int_equal(c.own, 0);
	l = shared(f->s, ino, 8);
	assert_int_equal(l.n, 2);
	assert_string_equal(l.v[0].path, "b");
	assert_int_equal(l.v[0].bytes, 700000);
	assert_string_equal(l.v[1].path, "c");
	assert_int_equal(l.v[1].bytes, 200000);
	assert_int_equal(shared(f->s, ino, 1).n, 1);

	/* What the history keeps is not the file's own either, and is shown as past. */
	remove_from(f->s, STORE_ROOT, "b");
	l = shared(f->s, ino, 8);
	assert_int_equal(l.n, 2);
	assert_true(l.v[0].past && !l.v[1].past);
	assert_string_equal(l.v[0].path, "b");
	assert_true(history_expire(f->s, INT64_MAX) > 0);
	c = cost_of(f->s, ino);
	assert_true(c.own > 0 && c.own < c.stored);
	remove_from(f->s, STORE_ROOT, "c");
	assert_true(history_expire(f->s, INT64_MAX) > 0);
	c = cost_of(f->s, ino);
	assert_int_equal(c.own, c.stored);
}

/* A pooled file that was cloned shares just its own bytes. */
static void test_pool_shared(void **state)
{
	struct fixture *f = *state;
	struct store_cost c;
	struct list l;
	uint64_t ino = put_some(f->s, STORE_ROOT, "a", 2, 30000);

	for (int i = 0; i < 10; i++) {
		char name[8];

		snprintf(name, sizeof name, "s%d", i);
		put_some(f->s, STORE_ROOT, name, (uint64_t)i * 2 + 4, 4000);
	}
	expect(pool_all(f->s, 1, false, 0), "pool");
	c = cost_of(f->s, ino);
	assert_int_equal(c.pooled, 30000);
	assert_int_equal(c.own, c.stored);
	uint64_t twin = clone_of(f->s, ino, "b", 0, 30000);

	append_file(f->s, twin, "more than is kept inline", 24);
	expect(pool_all(f->s, 1, false, 0), "pool");
	l = shared(f->s, ino, 8);
	if (l.n) { /* the clone is small: it may have become bytes of its own */
		assert_int_equal(l.n, 1);
		assert_string_equal(l.v[0].path, "b");
		assert_true(l.v[0].bytes <= 30000);
	}
	file_is(f->s, ino, 2, 30000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shared, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pool_shared, setup, teardown),
	};

	return cmocka_run_group_tests_name("cost", tests, NULL, NULL);
}
