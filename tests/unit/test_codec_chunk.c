/*
 * test_codec_chunk.c: whatever goes in comes back, in the form one expects; and what never was a payload
 * never becomes one.  Payloads and chunks lie in memory of exactly their length, so that a sanitizer
 * sees a byte too many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "codec/codec_chunk.h"

static uint64_t seed = 88172645463325252u;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void fill_zero(uint8_t *p, size_t n) { memset(p, 0, n); }

static void fill_noise(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(next_random() >> 24);
}

static void fill_pattern(uint8_t *p, size_t n, size_t period)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i % period * 37 + 1);
}

static void fill_2(uint8_t *p, size_t n) { fill_pattern(p, n, 2); }
static void fill_4(uint8_t *p, size_t n) { fill_pattern(p, n, 4); }
static void fill_8(uint8_t *p, size_t n) { fill_pattern(p, n, 8); }
static void fill_3(uint8_t *p, size_t n) { fill_pattern(p, n, 3); }

/* Zeros with one other byte at the end. */
static void fill_nearly(uint8_t *p, size_t n)
{
	memset(p, 0, n);
	p[n - 1] = 1;
}

/* What fp32 weights look like: exponents of few values, mantissas of all. */
static void fill_floats(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = i % 4 == 3 ? (uint8_t)(0x3b + next_random() % 3) : (uint8_t)(next_random() >> 24);
}

static void fill_text(uint8_t *p, size_t n)
{
	static const char *word[] = { "loss", "accuracy", "experience", "momentum", ", ", ": ", "0.125" };
	size_t i = 0;

	while (i < n)
		for (const char *w = word[next_random() % 7]; *w != '\0' && i < n; w++)
			p[i++] = (uint8_t)*w;
}

/* Floats of which each row is the same: as numbers they cost what any do. */
static void fill_rows(uint8_t *p, size_t n)
{
	fill_floats(p, n < 240 ? n : 240);
	for (size_t i = 240; i < n; i++)
		p[i] = p[i - 240];
}

/* Every byte as often as any other, and yet there is nothing to it. */
static void fill_ramp(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)i;
}

static const struct {
	const char *name;
	void (*fill)(uint8_t *p, size_t n);
	int id;          /* expected for long chunks */
	size_t most;     /* expected payload of 256 KiB, at most */
} kind[] = {
	{ "zeros", fill_zero, CODEC_CONST, 1 },
	{ "period 2", fill_2, CODEC_CONST, 2 },
	{ "period 4", fill_4, CODEC_CONST, 4 },
	{ "period 8", fill_8, CODEC_CONST, 8 },
	{ "period 3", fill_3, CODEC_ZSTD, 100 },
	{ "nearly zeros", fill_nearly, CODEC_ZSTD, 100 },
	{ "noise", fill_noise, CODEC_RAW, 256 << 10 },
	{ "floats", fill_floats, CODEC_FLOATS, 211 << 10 },
	{ "floats, rows again", fill_rows, CODEC_ZSTD, 4000 },
	{ "text", fill_text, CODEC_ZSTD, 90 << 10 },
	{ "ramp", fill_ramp, CODEC_ZSTD, 2000 },
};

/* Encodes, decodes, compares; returns the payload's length and codec. */
static size_t round_trip(struct codec_ctx *ctx, const uint8_t *raw, size_t n, int *id)
{
	static const struct codec_hint hint = { .width = 4, .kind = CODEC_FLOAT, .exponent_bits = 8 };
	size_t cap = codec_bound(n), len = 0;
	uint8_t *out = malloc(cap), *exact, *back = malloc(n);
	int used_base = 7;

	assert_non_null(out);
	assert_non_null(back);
	assert_int_equal(codec_encode(ctx, raw, n, &hint, NULL, 0, out, cap, &len, id, &used_base), 0);
	assert_int_equal(used_base, 0);
	assert_in_range(len, 1, n);
	exact = malloc(len);
	assert_non_null(exact);
	memcpy(exact, out, len);
	free(out);
	assert_int_equal(codec_decode(ctx, *id, exact, len, NULL, 0, back, n), 0);
	assert_memory_equal(back, raw, n);
	free(exact);
	free(back);
	return len;
}

static void everything_comes_back(void **state)
{
	static const size_t len[] = { 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 100, 1000, 4096, 32767, 32768,
		65537, 256 << 10, CODEC_CHUNK_MAX - 1, CODEC_CHUNK_MAX };

	(void)state;
	for (int effort = CODEC_FAST; effort <= CODEC_MAX; effort++) {
		struct codec_ctx *ctx;

		assert_int_equal(codec_ctx_new((enum codec_effort)effort, &ctx), 0);
		for (size_t k = 0; k < sizeof kind / sizeof kind[0]; k++) {
			for (size_t l = 0; l < sizeof len / sizeof len[0]; l++) {
				uint8_t *raw = malloc(len[l]);
				int id = 0;
				size_t n;

				assert_non_null(raw);
				kind[k].fill(raw, len[l]);
				n = round_trip(ctx, raw, len[l], &id);
				if (len[l] >= 1000 && id != kind[k].id)
					fail_msg("%s of %zu bytes became %s", kind[k].name, len[l], codec_name(id));
				if (len[l] == 256 << 10 && n > kind[k].most)
					fail_msg("%s takes %zu bytes", kind[k].name, n);
				free(raw);
			}
		}
		codec_ctx_free(ctx);
	}
	codec_ctx_free(NULL);
}

/* All short chunks of two letters: periods that end in the middle and such. */
static void short_chunks(void **state)
{
	struct codec_ctx *ctx;

	(void)state;
	assert_int_equal(codec_ctx_new(CODEC_DEFAULT, &ctx), 0);
	for (size_t n = 1; n <= 11; n++) {
		for (unsigned bits = 0; bits < 1u << n; bits++) {
			uint8_t *raw = malloc(n);
			int id;

			assert_non_null(raw);
			for (size_t i = 0; i < n; i++)
				raw[i] = bits >> i & 1 ? 'b' : 'a';
			round_trip(ctx, raw, n, &id);
			free(raw);
		}
	}
	codec_ctx_free(ctx);
}

static void lengths_out_of_range(void **state)
{
	static uint8_t raw[CODEC_CHUNK_MAX + 1], out[CODEC_CHUNK_MAX * 2];
	struct codec_ctx *ctx;
	size_t len;
	int id, used;

	(void)state;
	assert_int_equal(codec_ctx_new(CODEC_FAST, &ctx), 0);
	assert_int_equal(codec_encode(ctx, raw, 0, NULL, NULL, 0, out, sizeof out, &len, &id, &used), -EINVAL);
	assert_int_equal(codec_encode(ctx, raw, sizeof raw, NULL, NULL, 0, out, sizeof out, &len, &id, &used), -EINVAL);
	assert_int_equal(codec_encode(ctx, raw, 1000, NULL, NULL, 0, out, codec_bound(1000) - 1, &len, &id, &used),
			-EINVAL);
	assert_int_equal(codec_decode(ctx, CODEC_RAW, raw, 0, NULL, 0, out, 0), -EIO);
	assert_int_equal(codec_decode(ctx, CODEC_RAW, raw, sizeof raw, NULL, 0, out, sizeof raw), -EIO);
	codec_ctx_free(ctx);
}

/* A wrong payload is an error and not a crash, nor the wrong length. */
static void hostile_payloads(void **state)
{
	struct codec_ctx *ctx;
	uint8_t raw[3000], frame[4000], more[4100], back[3000];
	size_t n, k;

	(void)state;
	assert_int_equal(codec_ctx_new(CODEC_DEFAULT, &ctx), 0);
	fill_text(raw, sizeof raw);

	/* constant: periods that are none, longer than the chunk */
	for (size_t len = 0; len <= 17; len++) {
		int want = len == 1 || len == 2 || len == 4 || len == 8 ? 0 : -EIO;

		assert_int_equal(codec_decode(ctx, CODEC_CONST, raw, len, NULL, 0, back, sizeof back), want);
	}
	assert_int_equal(codec_decode(ctx, CODEC_CONST, raw, 8, NULL, 0, back, 7), -EIO);
	/* raw: too short, too long */
	assert_int_equal(codec_decode(ctx, CODEC_RAW, raw, 99, NULL, 0, back, 100), -EIO);
	assert_int_equal(codec_decode(ctx, CODEC_RAW, raw, 101, NULL, 0, back, 100), -EIO);
	/* unknown codecs */
	assert_int_equal(codec_decode(ctx, 0, raw, 100, NULL, 0, back, 100), -EIO);
	assert_int_equal(codec_decode(ctx, 77, raw, 100, NULL, 0, back, 100), -EIO);
	assert_string_equal(codec_name(77), "codec 77");
	assert_string_equal(codec_name(CODEC_ZSTD), "zstd");

	/* zstd: the right frame for another length, two frames, a skippable one in front, one cut anywhere */
	n = ZSTD_compress(frame, sizeof frame, raw, sizeof raw, 1);
	assert_false(ZSTD_isError(n));
	assert_int_equal(codec_decode(ctx, CODEC_ZSTD, frame, n, NULL, 0, back, sizeof back), 0);
	assert_int_equal(codec_decode(ctx, CODEC_ZSTD, frame, n, NULL, 0, back, sizeof back - 1), -EIO);
	k = ZSTD_compress(frame, sizeof frame, raw, sizeof raw - 1, 1);
	assert_int_equal(codec_decode(ctx, CODEC_ZSTD, frame, k, NULL, 0, back, sizeof back), -EIO);
	k = ZSTD_compress(frame, sizeof frame, raw, 1500, 1);
	n = k + ZSTD_compress(frame + k, sizeof frame - k, raw + 1500, 1500, 1);
	assert_int_equal(codec_decode(ctx, CODEC_ZSTD, frame, n, NULL, 0, back, sizeof back), -EIO);
	n = ZSTD_compress(frame, sizeof frame, raw, sizeof raw, 1);
	memcpy(more, "\x50\x2a\x4d\x18\x04\0\0\0abcd", 12);
	memcpy(more + 12, frame, n);
	assert_int_equal(codec_decode(ctx, CODEC_ZSTD, more, n + 12, NULL, 0, back, sizeof back), -EIO);
	for (k = 0; k < n; k++) {
		uint8_t *exact = malloc(k + 1);

		assert_non_null(exact);
		memcpy(exact, frame, k);
		assert_int_equal(codec_decode(ctx, CODEC_ZSTD, exact, k, NULL, 0, back, sizeof back), -EIO);
		free(exact);
	}
	/* and with bytes changed: some decode to something, none to another length */
	for (int i = 0; i < 20000; i++) {
		memcpy(more, frame, n);
		for (unsigned m = 0; m <= i % 3u; m++)
			more[next_random() % n] = (uint8_t)next_random();
		k = (size_t)-codec_decode(ctx, CODEC_ZSTD, more, n, NULL, 0, back, sizeof back);
		assert_true(k == 0 || k == EIO);
	}
	codec_ctx_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_comes_back),
		cmocka_unit_test(short_chunks),
		cmocka_unit_test(lengths_out_of_range),
		cmocka_unit_test(hostile_payloads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
