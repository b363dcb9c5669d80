/*
 * test_codec_text.c: text with its decimals apart: all of it comes back, it is smaller than zstd makes it, and damaged payloads
 * do no harm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include <cmocka.h>

#include "codec/codec_chunk.h"
#include "codec/codec_text.h"

enum { N = 200000 };

static uint64_t rng = 1;

static uint32_t below(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 20) % n;
}

static int set_up(void **state)
{
	struct codec_work *w = calloc(1, sizeof *w);

	*state = w;
	return codec_work_init(w, true);
}

static int tear_down(void **state)
{
	codec_work_release(*state);
	free(*state);
	return 0;
}

static size_t metrics(char *p)
{
	static const char *const name[] = { "accuracy", "loss", "lr", "grad_norm" };
	size_t n = 0;

	while (n < N - 100) {
		n += (size_t)sprintf(p + n, "  {\"%s\": %u.", name[below(4)], below(3));
		for (uint32_t i = below(17) + 1; i > 0; i--)
			p[n++] = (char)('0' + below(10));
		n += (size_t)sprintf(p + n, ", \"step\": %zu},\n", n / 50);
	}
	return n;
}

static void comes_back(struct codec_work *w, const char *text, size_t len, bool offered)
{
	uint8_t *out = malloc(2 * N), *back = malloc(len), *exact;
	size_t n = codec_text_encode(w, (const uint8_t *)text, len, 3, out, 2 * N);

	assert_int_equal(n > 0, offered);
	if (n) {
		/* Exactly as long, for the address sanitizer to see a step too far. */
		exact = malloc(n);
		memcpy(exact, out, n);
		assert_true(codec_text_decode(w, exact, n, back, len));
		assert_memory_equal(back, text, len);
		assert_false(codec_text_decode(w, exact, n, back, len - 1));
		assert_false(codec_text_decode(w, exact, n - 1, back, len));
		free(exact);
	}
	free(out);
	free(back);
}

static void test_round(void **state)
{
	static const struct {
		const char *text;
		bool offered;
	} cases[] = {
		{ "0.12", true }, { ".00", true }, { "x.99", true }, { "1.2.3.4.5", false }, { "no numbers at all", false },
		{ "0.123456789012345678901234567", true },   /* as long as a run gets, */
		{ "0.1234567890123456789012345678", true },  /* and longer */
		{ "0.12345678901234567890123456789012345678901234567890123456789", true },
		{ "a.12b.345C.6789d.01234-5.67e-05 .", true }, { "..12..34.", true },
		{ "a byte of ours \x05 0.1234", false }, { "\x1f.12", false }, { "caf\xc3\xa9 0.1234", true },
	};
	char *big = malloc(N);

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		comes_back(*state, cases[i].text, strlen(cases[i].text), cases[i].offered);
	comes_back(*state, "0.12\0", 5, false);
	comes_back(*state, big, metrics(big), true);
	free(big);
}

/* It is worth having: the whole encoder takes it where there is time. */
static void test_chosen(void **state)
{
	char *text = malloc(N);
	size_t len = metrics(text), cap = codec_bound(len), n;
	uint8_t *out = malloc(cap), *back = malloc(len);
	struct codec_ctx *ctx;
	int id, used;

	(void)state;
	assert_int_equal(codec_ctx_new(CODEC_MAX, &ctx), 0);
	assert_int_equal(codec_encode(ctx, (const uint8_t *)text, len, NULL, NULL, 0, out, cap, &n, &id, &used), 0);
	assert_int_equal(id, CODEC_TEXT);
	assert_string_equal(codec_name(id), "text");
	assert_true(n < 0.9 * (double)ZSTD_compress(back, len, text, len, 9));
	assert_int_equal(codec_decode(ctx, id, out, n, NULL, 0, back, len), 0);
	assert_memory_equal(back, text, len);
	codec_ctx_free(ctx);
	free(back);
	free(out);
	free(text);
}

static void test_hostile(void **state)
{
	char *text = malloc(N);
	size_t len = metrics(text) / 20, n;
	uint8_t *out = malloc(2 * N), *back = malloc(len), *bad;

	n = codec_text_encode(*state, (const uint8_t *)text, len, 3, out, 2 * N);
	assert_true(n > 0);
	for (int i = 0; i < 4000; i++) {
		size_t m = below(4) ? n : below((uint32_t)n + 1);

		bad = malloc(m ? m : 1);
		memcpy(bad, out, m);
		for (uint32_t k = 0; m && k <= below(4); k++)
			bad[below(3) ? below((uint32_t)m) : below(m < 40 ? (uint32_t)m : 40)] = (uint8_t)below(256);
		codec_text_decode(*state, bad, m, back, len);
		free(bad);
	}
	free(back);
	free(out);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_chosen),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests_name("codec_text", tests, set_up, tear_down);
}
