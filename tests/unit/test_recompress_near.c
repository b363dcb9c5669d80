/*
 * test_recompress_near.c: predecessors that nobody wrote down are found by their place.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scratch_chunks.h"
#include "scratch_train.h"
#include "store/recompress_internal.h"
#include "store/store_admin.h"

enum { HEAD = 5000, SMALL = 8000 };

/* Version v: a head of `head` bytes, then the chunks ids[0, n) of TRAIN_LEN bytes. Its row in `version` as well. */
static uint64_t version_of(struct store *s, uint64_t v, uint32_t head, uint64_t head_id, const uint64_t *ids, size_t n)
{
	struct piece p[32];
	uint64_t size = head;

	assert_true(n < 32);
	p[0] = (struct piece){ .len = head, .id = head_id };
	for (size_t i = 0; i < n; i++) {
		p[i + 1] = (struct piece){ .len = TRAIN_LEN, .id = ids[i] };
		size += TRAIN_LEN;
	}
	assert_int_equal(meta_begin(s), 0);
	int rc = manifest_replace(s, v, 0, size, p, n + 1);

	if (rc == 0) {
		sqlite3_stmt *st = meta_stmt(s, "INSERT INTO version(id, ino, size, data) VALUES(?1, 99, ?2, ?2)");

		assert_non_null(st);
		sqlite3_bind_int64(st, 1, (int64_t)v);
		sqlite3_bind_int64(st, 2, (int64_t)size);
		rc = meta_exec(s, st);
	}
	assert_int_equal(meta_end(s, rc), 0);
	return size;
}

static void test_places(void **state)
{
	struct fixture *f = *state;
	struct near n = { 0 };
	uint64_t a[8], b[8], found[NEAR_FILES], size_a, size_b;

	for (unsigned i = 0; i < 8; i++) {
		a[i] = 100 + i;
		b[i] = 200 + i;
	}
	size_a = version_of(f->s, 1, HEAD, 50, a, 8);
	size_b = version_of(f->s, 2, HEAD + 100, 51, b, 8);
	near_begin(&n, 1, size_a);
	assert_int_equal(near_find(f->s, &n, HEAD, TRAIN_LEN, found), 0);
	/* The head is longer by 100 bytes: still the same pieces. */
	near_begin(&n, 2, size_b);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(near_find(f->s, &n, HEAD + 100 + i * TRAIN_LEN, TRAIN_LEN, found), 1);
		assert_int_equal(found[0], a[i]);
	}
	/* No piece of such a length. */
	assert_int_equal(near_find(f->s, &n, HEAD + 100, TRAIN_LEN - 4, found), 0);
	/* The same size as one, about the size of the other: both, that one first. */
	near_begin(&n, 3, size_a);
	assert_int_equal(near_find(f->s, &n, HEAD, TRAIN_LEN, found), 2);
	assert_int_equal(found[0], a[0]);
	assert_int_equal(found[1], b[0]);
	/* Another kind of file, a small one, and places that are none. */
	near_begin(&n, 4, size_a * 2);
	assert_int_equal(near_find(f->s, &n, HEAD, TRAIN_LEN, found), 0);
	near_begin(&n, 5, SMALL);
	assert_int_equal(near_find(f->s, &n, 0, SMALL, found), 0);
	near_begin(&n, 6, size_a);
	assert_int_equal(near_find(f->s, &n, UINT64_MAX - 10, 10, found), 0);
	assert_int_equal(near_find(f->s, &n, size_a * 1000, TRAIN_LEN, found), 0);
	near_release(&n);
}

/* Many files between: those that were written long ago are not looked at any more. */
static void test_recent(void **state)
{
	struct fixture *f = *state;
	struct near n = { 0 };
	uint64_t a[8], found[NEAR_FILES], size;

	for (unsigned i = 0; i < 8; i++)
		a[i] = 100 + i;
	size = version_of(f->s, 1, HEAD, 50, a, 8);
	near_begin(&n, 1, size);
	for (uint64_t v = 2; v < 2 + NEAR_RECENT - 1; v++)
		near_begin(&n, v, size * 10 + v * size);
	near_begin(&n, 1000, size);
	assert_int_equal(near_find(f->s, &n, HEAD, TRAIN_LEN, found), 1);
	for (uint64_t v = 2; v < 2 + NEAR_RECENT; v++)
		near_begin(&n, v, size * 10 + v * size);
	near_begin(&n, 1001, size);
	assert_int_equal(near_find(f->s, &n, HEAD, TRAIN_LEN, found), 0);
	near_release(&n);
}

/* A training of which nobody knew that it is one: its rows have no predecessors and, as in a store of format 1, no hints. */
static void test_unknown_training(void **state)
{
	enum { N = 6, TENSORS = 5 };
	struct fixture *f = *state;
	uint64_t ids[N][TENSORS];
	struct store_recompress_result r;

	for (unsigned k = 0; k < N; k++) {
		for (unsigned t = 0; t < TENSORS; t++) {
			ids[k][t] = train_save(f->s, t + 1, k, false, 0);
			train_publish(f->s, k + 1, 0);
		}
		uint64_t head = train_save(f->s, 100 + k, 0, false, 0);

		train_publish(f->s, 1, 0);
		version_of(f->s, 1000 + k, HEAD + k % 2 * 8, head, ids[k], TENSORS);
	}
	assert_int_equal(chunks_commit(f->s), 0);
	train_sql(f->s, "UPDATE chunk SET hint = 0");
	assert_int_equal(store_recompress(f->s, NULL, NULL, &r), 0);
	assert_int_equal(r.chunks, N * TENSORS + N);
	assert_true(r.better >= (N - 1) * TENSORS);
	for (unsigned k = 0; k < N; k++) {
		for (unsigned t = 0; t < TENSORS; t++) {
			uint64_t base = train_head(f->s, ids[k][t]).base;

			bool of_tensor = k == 0 && base == 0;

			for (unsigned i = 0; i < k; i++)
				of_tensor |= base == ids[i][t];
			assert_true(of_tensor);
			assert_true(train_depth(f->s, ids[k][t]) <= CHUNK_DEPTH);
			train_check(f->s, t + 1, k, false, ids[k][t]);
		}
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_places), T(test_recent), T(test_unknown_training) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
