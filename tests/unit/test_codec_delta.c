/*
 * test_codec_delta.c: differences to a base, by themselves and through the chooser: they come back, a base is used when
 * it pays and only then, and no base, no payload, however wrong, does harm.
 */
#include "tests/unit/codec_data.h"
#include "tests/unit/codec_golden.h"

#include <errno.h>

#include "codec/codec_chunk.h"
#include "codec/codec_delta.h"

enum { BIG = 200000 };

static const struct {
	unsigned width, exponent_bits;
} format[] = { { 1, 0 }, { 2, 0 }, { 4, 0 }, { 8, 0 }, { 2, 5 }, { 2, 8 }, { 4, 8 }, { 8, 11 } };

/* What became of the base: most of the ways in which a tensor changes. */
enum change { LITTLE, NOTHING, A_FEW_ROWS, SIGNS, ANYTHING, CHANGES };

static void change(enum change how, const uint8_t *base, uint8_t *raw, size_t n, unsigned width)
{
	size_t elements = n / width;

	memcpy(raw, base, n);
	switch (how) {
	case LITTLE:
		data_move(base, raw, elements, width, width == 1 ? 2 : 5);
		break;
	case A_FEW_ROWS:
		for (size_t row = 0; row + 64 <= elements; row += 64)
			if (data_random() % 50 == 0)
				data_move(base + row * width, raw + row * width, 64, width, 6);
		break;
	case SIGNS:
		for (size_t i = 0; i < elements; i++)
			raw[i * width + width - 1] ^= (uint8_t)(data_random() % 10 == 0 ? 128 : 0);
		break;
	case ANYTHING:
		for (size_t i = 0; i < n; i++)
			raw[i] = (uint8_t)(data_random() >> 33);
		break;
	default:
		break;
	}
}

static void round_trips(void **state)
{
	static const size_t len[] = { 16, 63, 130, 700, 3000, 70001, BIG };
	uint8_t *base = malloc(BIG), *raw = malloc(BIG), *out = malloc(2 * BIG);

	(void)state;
	assert_true(base && raw && out);
	for (int thorough = 0; thorough < 2; thorough++) {
		struct codec_work w;

		assert_int_equal(codec_work_init(&w, thorough), 0);
		for (size_t f = 0; f < sizeof format / sizeof format[0]; f++) {
			unsigned width = format[f].width;

			for (unsigned how = 0; how < CHANGES; how++) {
				for (size_t l = 0; l < sizeof len / sizeof len[0]; l++) {
					unsigned phase = how % 2 ? width - 1 : 0;
					struct codec_layout lay = { .lg = (uint8_t)__builtin_ctz(width), .phase = (uint8_t)phase,
						.exponent_bits = (uint8_t)format[f].exponent_bits, .row = 100 };
					size_t n = len[l], k, base_len = how == LITTLE ? n - n / 20 : n;
					uint8_t *b, *exact, *back = malloc(n);

					data_floats(base, BIG / width, width, width == 1 ? 4 : 5);
					change((enum change)how, base, raw, n, width);
					b = data_copy(base, base_len); /* of exactly that length */
					k = codec_delta_encode(&w, raw, n, b, base_len, &lay, out, 2 * BIG);
					assert_true(k > 0 || (base_len - phase) / width < 16);
					if (k > 0) {
						exact = data_copy(out, k);
						assert_true(codec_delta_decode(&w, exact, k, b, base_len, back, n));
						assert_memory_equal(back, raw, n);
						if (how == NOTHING)
							assert_in_range(k, 1, 100 + 3 * phase);
						if (how == A_FEW_ROWS && n > 60000)
							assert_in_range(k, 1, n / 20);
						for (unsigned r = 0; r < (n < 5000 ? 60u : 2u); r++) {
							size_t bad_len = k;
							uint8_t *bad = data_damage(exact, &bad_len);

							codec_delta_decode(&w, bad, bad_len, b, base_len, back, n);
							free(bad);
						}
						/* bases of other lengths: wrong bytes or none */
						for (size_t other = 0; other <= base_len; other += 1 + base_len / 5) {
							uint8_t *shorter = data_copy(base, other);

							codec_delta_decode(&w, exact, k, shorter, other, back, n);
							free(shorter);
						}
						for (size_t room = 0; room < k; room += 1 + k / 13) {
							uint8_t *tight = malloc(room ? room : 1);

							assert_true(codec_delta_encode(&w, raw, n, b, base_len, &lay, tight, room) <= room);
							free(tight);
						}
						free(exact);
					}
					free(b);
					free(back);
				}
			}
		}
		codec_work_release(&w);
	}
	free(base);
	free(raw);
	free(out);
}

/* Through the chooser. */
static size_t choose(struct codec_ctx *ctx, const uint8_t *raw, size_t n, const struct codec_hint *hint,
		const uint8_t *base, size_t base_len, int *id, int *used)
{
	size_t cap = codec_bound(n), k = 0;
	uint8_t *out = malloc(cap), *back = malloc(n), *exact;

	assert_true(out && back);
	assert_int_equal(codec_encode(ctx, raw, n, hint, base, base_len, out, cap, &k, id, used), 0);
	assert_in_range(k, 1, n);
	exact = data_copy(out, k);
	assert_int_equal(codec_decode(ctx, *id, exact, k, *used ? base : NULL, *used ? base_len : 0, back, n), 0);
	assert_memory_equal(back, raw, n);
	if (*used)
		assert_int_equal(codec_decode(ctx, *id, exact, k, NULL, 0, back, n), -EINVAL);
	free(out);
	free(back);
	free(exact);
	return k;
}

static void base_when_it_pays(void **state)
{
	static const struct codec_hint hint = { .width = 4, .kind = CODEC_FLOAT, .exponent_bits = 8, .row = 400 }, none;
	uint8_t *base = malloc(BIG), *raw = malloc(BIG);
	size_t alone, k;
	int id, used;

	(void)state;
	assert_true(base && raw);
	for (int effort = CODEC_FAST; effort <= CODEC_MAX; effort++) {
		struct codec_ctx *ctx;

		assert_int_equal(codec_ctx_new((enum codec_effort)effort, &ctx), 0);
		data_floats(base, BIG / 4, 4, 8);
		data_move(base, raw, BIG / 4, 4, 12);
		alone = choose(ctx, raw, BIG, &hint, NULL, 0, &id, &used);
		assert_int_equal(id, CODEC_FLOATS);
		assert_int_equal(used, 0);
		k = choose(ctx, raw, BIG, &hint, base, BIG, &id, &used);
		assert_int_equal(id, CODEC_DELTA);
		assert_int_equal(used, 1);
		assert_true(k < BIG / 2);
		/* not told what it is, and out of step with the elements */
		k = choose(ctx, raw + 3, BIG - 3, &none, base + 3, BIG - 3, &id, &used);
		assert_int_equal(id, CODEC_DELTA);
		assert_true(k < BIG / 2);
		/* a base that has grown, one that has not yet */
		k = choose(ctx, raw, BIG - 40000, &hint, base, BIG, &id, &used);
		assert_int_equal(id, CODEC_DELTA);
		k = choose(ctx, raw, BIG, &hint, base, BIG - 40000, &id, &used);
		assert_int_equal(id, CODEC_DELTA);
		k = choose(ctx, raw, BIG, &hint, base, 5, &id, &used);
		assert_int_equal(used, 0);
		assert_true(k <= alone);
		/* an unrelated one, and one that only just helps */
		data_floats(base, BIG / 4, 4, 8);
		k = choose(ctx, raw, BIG, &hint, base, BIG, &id, &used);
		assert_int_equal(used, 0);
		assert_true(k <= alone);
		for (unsigned bits = 18; bits < 27; bits++) {
			data_move(raw, base, BIG / 4, 4, bits);
			k = choose(ctx, raw, BIG, &hint, base, BIG, &id, &used);
			assert_true(!used || k + k / 50 < alone);
			assert_true(used || k <= alone);
		}
		/* short ones */
		for (size_t n = 1; n < 9000; n += 1 + n / 3) {
			data_move(raw, base, BIG / 4, 4, 6);
			choose(ctx, raw, n, &hint, base, n, &id, &used);
			choose(ctx, raw, n, &hint, base, n / 2, &id, &used);
			choose(ctx, raw, n, &none, base, n, &id, &used);
		}
		codec_ctx_free(ctx);
	}
	free(base);
	free(raw);
}

/* Hints are advice: any hint, any bytes. */
static void odd_hints(void **state)
{
	struct codec_ctx *ctx[2];
	uint8_t *base = malloc(20000), *raw = malloc(20000);
	int id, used;

	(void)state;
	assert_true(base && raw);
	assert_int_equal(codec_ctx_new(CODEC_DEFAULT, &ctx[0]), 0);
	assert_int_equal(codec_ctx_new(CODEC_MAX, &ctx[1]), 0);
	for (unsigned round = 0; round < 1500; round++) {
		size_t n = 1 + data_random() % (data_random() % 3 ? 600 : 20000), base_len = data_random() % 20000;
		struct codec_hint hint = { .width = (uint8_t)(data_random() % 4 ? 1u << data_random() % 4 : data_random()),
			.kind = (uint8_t)(data_random() % 5),
			.exponent_bits = (uint8_t)(data_random() % 3 ? data_random() % 12 : data_random()),
			.row = (uint32_t)(data_random() % 3 ? data_random() % 300 : data_random()) };

		if (round % 4 == 0)
			data_floats(raw, 5000, 4, 8);
		for (size_t i = 0; i < 20000; i++) {
			uint8_t r = (uint8_t)(data_random() >> 21);

			raw[i] = round % 4 == 0 ? raw[i] : round % 4 == 1 ? r : round % 4 == 2 ? r & 3 : (uint8_t)(i / 8 + (r & 1));
			base[i] = (uint8_t)(raw[i] + (r % 16 == 0));
		}
		choose(ctx[round % 2], raw, n, &hint, base_len % 3 ? base : NULL, base_len % 3 ? base_len : 0, &id, &used);
	}
	codec_ctx_free(ctx[0]);
	codec_ctx_free(ctx[1]);
	free(base);
	free(raw);
}

/* A payload as the first version wrote it. */
static void golden(void **state)
{
	static const uint8_t payload[] = {
		0x0e, 0x08, 0x01, 0x01, 0x00, 0x00, 0xcc, 0xbb, 0xbb, 0x02, 0x00, 0x00, 0x00, 0x02, 0x03, 0x3a, 0x00,
		0x00, 0x00, 0x00, 0x7b, 0x30, 0x0e, 0x11, 0x10, 0xc2, 0xc3, 0xc4, 0x48, 0xe0, 0x2c, 0xe0, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x4f, 0xca, 0x2c, 0x0d, 0x00, 0x91, 0x58,
		0x12, 0x00, 0x7c, 0x05, 0x0d, 0x00, 0x3c, 0x90, 0x03, 0x00, 0x00, 0xa5, 0x20, 0x7a, 0xba, 0x30, 0x34,
		0x1d, 0x0e, 0x0c, 0xc1, 0x7e, 0x32, 0x26, 0x6f, 0x72, 0xeb, 0x8a, 0xaf, 0x71, 0xb2, 0x62, 0x49, 0x77,
		0xd6, 0x35, 0x5d, 0x53, 0xce, 0xe9,
	};
	uint8_t base[GOLDEN], want[GOLDEN], raw[GOLDEN];
	struct codec_ctx *ctx;

	(void)state;
	assert_int_equal(codec_ctx_new(CODEC_FAST, &ctx), 0);
	golden_floats(base);
	golden_moved(want);
	assert_int_equal(codec_decode(ctx, CODEC_DELTA, payload, sizeof payload, base, sizeof base, raw, sizeof raw), 0);
	assert_memory_equal(raw, want, sizeof raw);
	assert_int_equal(codec_decode(ctx, CODEC_DELTA, payload, sizeof payload - 1, base, sizeof base, raw, sizeof raw), -EIO);
	assert_int_equal(codec_decode(ctx, CODEC_DELTA, payload, sizeof payload, base, 100, raw, sizeof raw), -EIO);
	codec_ctx_free(ctx);
}

/* Weights that all became smaller by the same part: the base is multiplied first, if it can be. */
static void drift(void **state)
{
	enum { N = 20000, WHERE = 64 };
	static const uint32_t wrong[] = { 0, 1, 0x3effffff, 0x40000000, 0x7f800000, 0x7fc00000, 0xbf800000 };
	static const struct codec_hint hint = { .width = 4, .kind = CODEC_FLOAT, .exponent_bits = 8, .row = 400 };
	uint8_t *base = malloc(4 * N), *raw = malloc(4 * N), *out = malloc(codec_bound(4 * N)), *back = malloc(4 * N);
	struct codec_ctx *ctx;
	size_t k;
	int id, used;

	(void)state;
	assert_true(base && raw && out && back);
	assert_int_equal(codec_ctx_new(CODEC_DEFAULT, &ctx), 0);
	data_floats(base, N, 4, 8);
	for (size_t i = 0; i < N; i++) {
		static const uint32_t odd[] = { 0, 0x80000000, 1, 0x007fffff, 0x00800000, 0x7f7fffff, 0x7f800000, 0xffc12345 };
		float b, v;

		if (i % 1000 == 7)
			memcpy(base + 4 * i, &odd[i / 1000 % 8], 4);
		memcpy(&b, base + 4 * i, 4);
		v = b * 0.9f;
		memcpy(raw + 4 * i, &v, 4);
		raw[4 * i] ^= (uint8_t)data_random();
	}
	assert_int_equal(codec_encode(ctx, raw, 4 * N, &hint, base, 4 * N, out, codec_bound(4 * N), &k, &id, &used), 0);
	assert_int_equal(id, CODEC_DELTA);
	assert_int_equal(out[0] & WHERE, WHERE);
	assert_true(k < 2 * N);
	assert_int_equal(codec_decode(ctx, id, out, k, base, 4 * N, back, 4 * N), 0);
	assert_memory_equal(back, raw, 4 * N);
	for (unsigned round = 0; round < 300; round++) {
		size_t bad_len = k;
		uint8_t *bad = data_damage(out, &bad_len);

		codec_decode(ctx, id, bad, bad_len, base, 4 * N, back, 4 * N); /* a sanitizer watches */
		free(bad);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		memcpy(out + 6, &wrong[i], 4);
		assert_int_equal(codec_decode(ctx, id, out, k, base, 4 * N, back, 4 * N), -EIO);
	}
	/* one that stays where it is on the whole is not multiplied */
	data_move(base, raw, N, 4, 12);
	assert_int_equal(codec_encode(ctx, raw, 4 * N, &hint, base, 4 * N, out, codec_bound(4 * N), &k, &id, &used), 0);
	assert_int_equal(id, CODEC_DELTA);
	assert_int_equal(out[0] & WHERE, 0);
	codec_ctx_free(ctx);
	free(base);
	free(raw);
	free(out);
	free(back);
}

/* The same numbers as in golden(), as differences to three quarters of the base. */
static void golden_drift(void **state)
{
	static const uint8_t payload[] = {
		0x46, 0x08, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x40, 0x3f, 0xcc, 0xbb, 0xbb, 0x32, 0x00, 0x00, 0x00,
		0x00, 0x7b, 0x30, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0xc0, 0x00, 0x08,
		0x00, 0x0b, 0x80, 0xf4, 0xff, 0xff, 0xff, 0x3f, 0x01, 0xc3, 0x2f, 0x98, 0x0b, 0x52, 0x21, 0x01, 0x00,
		0xf8, 0xca, 0x2c, 0x0b, 0xb1, 0x4a, 0x0d, 0x00, 0x84, 0x68, 0x4c, 0x5d, 0xb0, 0x1b, 0x55, 0x2d, 0x00,
		0x00, 0xe0, 0xf1, 0x77, 0xe5, 0x80, 0x48, 0x15, 0xcc, 0x75, 0xfc, 0x9d, 0x23, 0x54, 0xa8, 0x82, 0xb9,
		0x9c, 0x47, 0x8c, 0x03, 0xe2, 0x3f, 0x64, 0x7b, 0x74, 0x51, 0x63, 0xb8, 0xa7, 0xc6, 0x0f, 0x1d, 0x7f,
		0x8b, 0x47, 0xd8, 0x7f, 0xc8, 0x26, 0x6f, 0x5e, 0xe4, 0x5e, 0x51, 0x49, 0x09, 0x9c, 0xd8, 0x9b, 0x6b,
		0x5c, 0xaa, 0x60, 0x16, 0x4b, 0x3a, 0x8f, 0x2e, 0xf8, 0xcb, 0xa2, 0xc6, 0x70, 0x4b, 0x66, 0xc9, 0xd4,
		0xf8, 0xbf, 0xcd, 0x73, 0x3d, 0xfe, 0x76, 0x4e, 0xdc, 0xef, 0x08, 0xf7, 0x60, 0x36, 0x01, 0x91, 0x33,
		0x50, 0xcd, 0xe3, 0xcd, 0x61, 0xd1, 0xd5, 0x18, 0xa1, 0x2e, 0x52, 0x7e, 0xaf, 0xad, 0x0b, 0xd3, 0x86,
		0x3b, 0xb1, 0x1f, 0x58, 0xa1, 0x43, 0x39, 0xf4, 0xd4, 0x97, 0x56, 0x7d, 0x90, 0x55, 0xc0, 0xb2, 0x01,
		0xb3, 0xaf, 0xa5, 0x1c, 0xe1, 0xa2, 0xd3, 0xae, 0x22, 0xff, 0x99, 0x66, 0xb0, 0xf3, 0x13, 0xc3, 0x7d,
		0x9a, 0x76, 0x30, 0xd3, 0xf2, 0xb3, 0x95, 0x4e, 0xe3, 0xa7, 0x93, 0xf2, 0x6e, 0xf3, 0xfc, 0xb7, 0x77,
		0xed, 0xf8, 0x53, 0xb9, 0x88, 0xa7, 0x13, 0x6b, 0x89, 0x8c, 0xbf, 0x23, 0x38, 0xbd, 0xaa, 0x44, 0x98,
		0xe9, 0xbe, 0x3b, 0x04, 0x44, 0x8e, 0x7e, 0x26, 0x14, 0x54, 0x03,
	};
	uint8_t base[GOLDEN], want[GOLDEN], raw[GOLDEN];
	struct codec_ctx *ctx;

	(void)state;
	assert_int_equal(codec_ctx_new(CODEC_FAST, &ctx), 0);
	golden_floats(base);
	golden_moved(want);
	assert_int_equal(codec_decode(ctx, CODEC_DELTA, payload, sizeof payload, base, sizeof base, raw, sizeof raw), 0);
	assert_memory_equal(raw, want, sizeof raw);
	codec_ctx_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips),
		cmocka_unit_test(base_when_it_pays),
		cmocka_unit_test(odd_hints),
		cmocka_unit_test(golden),
		cmocka_unit_test(drift),
		cmocka_unit_test(golden_drift),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
