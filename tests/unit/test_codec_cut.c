/*
 * test_codec_cut.c: cuts do not depend on how the bytes arrive, an insertion moves few of them, and lengths keep
 * their bounds, whatever the bytes are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec_cut.h"

enum { LEN = 12 << 20, CUTS_MAX = LEN / (64 << 10) + 2, SMALLEST = 144 << 10 };

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static uint8_t *noise(size_t len, uint64_t seed)
{
	uint8_t *p = malloc(len);

	assert_non_null(p);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(next_random(&seed) >> 32);
	return p;
}

/* Cuts p[0, len), fed in pieces of at most `most` bytes (0: random ones). Returns how many ends, at `ends`. */
static size_t cut_all(const uint8_t *p, size_t len, size_t most, size_t *ends)
{
	struct codec_cutter *c;
	struct codec_cut cut;
	uint64_t seed = 99;
	size_t off = 0, n = 0;

	assert_int_equal(codec_cutter_new(12345, &c), 0);
	while (off < len) {
		size_t k = most > 0 ? most : next_random(&seed) % 300000 + 1, used;

		k = k < len - off ? k : len - off;
		memset(&cut, 0xff, sizeof cut);
		used = codec_cut_feed(c, p + off, k, &cut);
		assert_in_range(used, 1, k);
		off += used;
		if (cut.end) {
			assert_true(n < CUTS_MAX);
			ends[n++] = off;
			assert_int_equal(cut.hint.width, 0);
			assert_int_equal(cut.record, 0);
		} else {
			assert_int_equal(used, k);
		}
	}
	codec_cut_end(c, &cut);
	assert_true(cut.end);
	codec_cutter_free(c);
	return n;
}

static void same_whatever_the_pieces(void **state)
{
	static const size_t most[] = { 0, 1, 63, 64, 65, 4096, 131072, 1 << 20 };
	uint8_t *p = noise(LEN, 1);
	size_t *want = calloc(CUTS_MAX, sizeof *want), *got = calloc(CUTS_MAX, sizeof *got);
	size_t n;

	(void)state;
	assert_non_null(want);
	assert_non_null(got);
	memset(p + (2 << 20), 0, 3 << 20);
	n = cut_all(p, LEN, LEN, want);
	assert_in_range(n, 20, 80);
	for (size_t i = 0; i < sizeof most / sizeof most[0]; i++) {
		/* Byte by byte a few MiB are enough. */
		size_t len = most[i] == 1 ? 4 << 20 : LEN, m = cut_all(p, len, most[i], got);

		assert_true(m <= n && (len < LEN || m == n));
		assert_memory_equal(got, want, m * sizeof *want);
	}
	free(got);
	free(want);
	free(p);
}

static void bounds_and_mean(void **state)
{
	uint8_t *p = noise(LEN, 2);
	size_t *ends = calloc(CUTS_MAX, sizeof *ends), n, last = 0;

	(void)state;
	assert_non_null(ends);
	n = cut_all(p, LEN, LEN, ends);
	for (size_t i = 0; i < n; i++) {
		assert_in_range(ends[i] - last, SMALLEST, CODEC_CHUNK_MAX);
		last = ends[i];
	}
	assert_in_range(last / n, 220 << 10, 290 << 10);
	free(ends);
	free(p);
}

/* One byte more in the middle: before it nothing moves, after it the old cuts are soon found again. */
static void insertion_stays_local(void **state)
{
	uint8_t *p = noise(LEN, 3), *q = malloc(LEN);
	size_t *a = calloc(CUTS_MAX, sizeof *a), *b = calloc(CUTS_MAX, sizeof *b);
	size_t at = LEN / 2 + 4321, na, nb, lost = 0;

	(void)state;
	assert_non_null(q);
	assert_non_null(a);
	assert_non_null(b);
	memcpy(q, p, at);
	q[at] = 0x5a;
	memcpy(q + at + 1, p + at, LEN - at - 1);
	na = cut_all(p, LEN, LEN, a);
	nb = cut_all(q, LEN, LEN, b);
	for (size_t i = 0, j = 0; i < na; i++) {
		size_t want = a[i] <= at ? a[i] : a[i] + 1;

		while (j < nb && b[j] < want)
			j++;
		lost += !(j < nb && b[j] == want) && want <= LEN;
	}
	assert_in_range(lost, 0, 8);
	free(b);
	free(a);
	free(q);
	free(p);
}

/* A run of any one byte is cut at the greatest length, so all its chunks are the same. */
static void runs_are_cut_evenly(void **state)
{
	uint8_t *p = malloc(LEN);
	size_t *ends = calloc(CUTS_MAX, sizeof *ends);

	(void)state;
	assert_non_null(p);
	assert_non_null(ends);
	for (unsigned byte = 0; byte < 256; byte++) {
		size_t len = CODEC_CHUNK_MAX + 5, n;

		memset(p, (int)byte, len);
		n = cut_all(p, len, LEN, ends);
		assert_int_equal(n, 1);
		assert_int_equal(ends[0], CODEC_CHUNK_MAX);
	}
	/* One in fp32, over and over: whatever the cuts are, they are evenly spaced. */
	for (size_t i = 0; i < LEN; i += 4)
		memcpy(p + i, "\0\0\x80\x3f", 4);
	for (size_t n = cut_all(p, LEN, LEN, ends), i = 1; i < n; i++)
		assert_int_equal(ends[i] - ends[i - 1], ends[0]);
	free(ends);
	free(p);
}

/* After codec_cut_end() the cutter is as new. */
static void end_starts_over(void **state)
{
	uint8_t *p = noise(2 << 20, 4);
	struct codec_cutter *c;
	struct codec_cut cut;
	size_t want, got;

	(void)state;
	assert_int_equal(codec_cutter_new(0, &c), 0);
	want = codec_cut_feed(c, p, 2 << 20, &cut);
	assert_true(cut.end);
	codec_cut_feed(c, p + 777, 70000, &cut);
	codec_cut_end(c, &cut);
	got = codec_cut_feed(c, p, 2 << 20, &cut);
	assert_int_equal(got, want);
	codec_cutter_free(c);
	codec_cutter_free(NULL);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_whatever_the_pieces),
		cmocka_unit_test(bounds_and_mean),
		cmocka_unit_test(insertion_stays_local),
		cmocka_unit_test(runs_are_cut_evenly),
		cmocka_unit_test(end_starts_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
