/* test_cut_content.c: cuts by content: vectors and plain C agree, runs have no cuts, an insertion moves few. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/codec_cut.h"
#include "codec/cut_internal.h"

enum { SIZE = 8 << 20 };

static uint8_t *noise(size_t n, uint64_t seed)
{
	uint8_t *p = malloc(n);

	assert_non_null(p);
	for (size_t i = 0; i < n; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		p[i] = (uint8_t)(seed >> 56);
	}
	return p;
}

static size_t find_avx2(const uint8_t *p, size_t n)
{
#if defined __x86_64__
	if (!__builtin_cpu_supports("avx2"))
		return cut_find_plain(p, n);
#endif
	return cut_find_avx2(p, n);
}

static void test_alike(void **state)
{
	uint8_t *p = noise(SIZE, 1);
	size_t places = 0;

	(void)state;
	for (size_t at = CUT_WINDOW; at < SIZE;) {
		size_t n = SIZE - at, found = cut_find(p + at, n);

		assert_int_equal(found, cut_find_plain(p + at, n));
		assert_int_equal(found, find_avx2(p + at, n));
		/* However short the rest is, and wherever it begins. */
		for (size_t k = 1; k < 80 && k <= found; k += 7)
			assert_int_equal(cut_find(p + at + found - k, k), k);
		for (size_t k = 1; k < 80 && k <= found; k += 7)
			assert_int_equal(find_avx2(p + at + found - k, k), k);
		places += found < n;
		at += found + 1;
	}
	/* One of 112 Ki: 73 are to be expected. */
	assert_in_range(places, 30, 130);
	free(p);
}

static void test_runs(void **state)
{
	uint8_t run[CUT_WINDOW + 64];

	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		memset(run, byte, sizeof run);
		assert_int_equal(cut_find(run + CUT_WINDOW, 64), 64);
		assert_int_equal(find_avx2(run + CUT_WINDOW, 64), 64);
		assert_int_equal(cut_find_plain(run + CUT_WINDOW, 64), 64);
	}
}

/* Ends of chunks, told `step` bytes at a time. */
static size_t cuts(const uint8_t *p, size_t n, size_t step, size_t *ends)
{
	struct codec_cutter *c;
	size_t count = 0;

	assert_int_equal(codec_cutter_new(1, &c), 0);
	for (size_t at = 0; at < n;) {
		struct codec_cut cut;

		at += codec_cut_feed(c, p + at, n - at < step ? n - at : step, &cut);
		if (cut.end)
			ends[count++] = at - cut.behind;
	}
	codec_cutter_free(c);
	return count;
}

static void test_steps(void **state)
{
	uint8_t *p = noise(SIZE, 2);
	size_t whole[SIZE >> 16], parts[SIZE >> 16];
	size_t n = cuts(p, SIZE, SIZE, whole);

	(void)state;
	assert_in_range(n, SIZE / CODEC_CHUNK_MAX, SIZE >> 17);
	for (size_t step = 1; step < 200000; step = step * 13 + 6) {
		assert_int_equal(cuts(p, SIZE, step, parts), n);
		assert_memory_equal(parts, whole, n * sizeof *whole);
	}
	free(p);
}

static void test_insertion(void **state)
{
	uint8_t *p = noise(SIZE, 3), *q = malloc(SIZE + 1000);
	size_t before[SIZE >> 16], after[SIZE >> 16], same = 0;

	(void)state;
	assert_non_null(q);
	memcpy(q, p, SIZE / 4);
	memset(q + SIZE / 4, 7, 1000);
	memcpy(q + SIZE / 4 + 1000, p + SIZE / 4, SIZE - SIZE / 4);
	size_t n = cuts(p, SIZE, SIZE, before), m = cuts(q, SIZE + 1000, SIZE, after);

	for (size_t i = 0, j = 0; i < n && j < m;) {
		size_t was = before[i] + (before[i] > SIZE / 4 ? 1000 : 0);

		same += was == after[j];
		if (was <= after[j])
			i++;
		else
			j++;
	}
	/* Some dozen chunks, of which a few around the place are new. */
	assert_in_range(same, n - 8, n);
	free(p);
	free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alike),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_insertion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
