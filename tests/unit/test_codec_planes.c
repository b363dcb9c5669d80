/*
 * test_codec_planes.c: planes, floats and pixels: what goes in comes back, at the size that the data allows; old payloads
 * decode; damaged ones end; and the vectorised loops do what the plain ones do.
 */
#include "tests/unit/codec_data.h"
#include "tests/unit/codec_golden.h"

#include <math.h>

#include "codec/codec_float.h"
#include "codec/codec_image.h"
#include "codec/codec_planes.h"
#include "codec/codec_probe.h"

enum { BIG = 200000 };

static void loops_agree(void **state)
{
	static const size_t len[] = { 0, 1, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 1000 };
	const struct codec_loops *a = &codec_loops_plain, *b = codec_loops();
	static uint8_t x[8100], y[8100], p[8100], q[8100], column[1000];

	(void)state;
	for (unsigned round = 0; round < 40; round++) {
		size_t n = len[round % (sizeof len / sizeof len[0])];
		unsigned skew = round % 3;

		for (size_t i = 0; i < sizeof x; i++) {
			x[i] = (uint8_t)(data_random() >> 13) & (data_random() % 3 ? 255 : 0);
			y[i] = (uint8_t)(x[i] ^ (data_random() % 4 ? 0 : data_random() >> 50));
			column[i % 1000] = (uint8_t)(data_random() >> 30);
		}
		for (unsigned lg = 0; lg < 4; lg++) {
			size_t bytes = n << lg;
			uint64_t ca, cb, used_a, used_b;

#define SAME(call_a, call_b, size)                                                                                 \
	do {                                                                                                       \
		memset(p, 1, sizeof p);                                                                            \
		memset(q, 1, sizeof q);                                                                            \
		call_a;                                                                                            \
		call_b;                                                                                            \
		assert_memory_equal(p, q, sizeof p);                                                               \
		assert_true(p[(size)] == 1);                                                                       \
	} while (0)
			SAME(a->split[lg](x + skew, n, p), b->split[lg](x + skew, n, q), bytes);
			SAME(a->merge[lg](x + skew, n, p), b->merge[lg](x + skew, n, q), bytes);
			SAME(used_a = a->rotate[lg](x + skew, n, p, &ca), used_b = b->rotate[lg](x + skew, n, q, &cb), bytes);
			assert_true(used_a == used_b && ca == cb && (ca & ~used_a) == 0);
			SAME(a->unrotate[lg](x + skew, n, p), b->unrotate[lg](x + skew, n, q), bytes);
			for (int ordered = 0; ordered < 2; ordered++) {
				SAME(a->difference[lg](x + skew, y, n, ordered, p), b->difference[lg](x + skew, y, n, ordered, q),
						bytes);
				SAME(a->sum[lg](x + skew, y, n, ordered, p), b->sum[lg](x + skew, y, n, ordered, q), bytes);
				a->difference[lg](x + skew, y, n, ordered, p);
				b->sum[lg](p, y, n, ordered, q);
				assert_memory_equal(q, x + skew, bytes);
			}
			for (int sign = 0; sign < 2; sign++) {
				SAME(memcpy(p, x, bytes); a->squeeze[lg](p, n, 3, sign), memcpy(q, x, bytes);
						b->squeeze[lg](q, n, 3, sign), bytes);
				SAME(memcpy(p, x, bytes); a->stretch[lg](p, n, 3, sign, true), memcpy(q, x, bytes);
						b->stretch[lg](q, n, 3, sign, true), bytes);
			}
			SAME(a->length_token[lg](x, n, p), b->length_token[lg](x, n, q), n);
			SAME(a->float_token[lg](x, n, lg * 5, 3 * lg, p), b->float_token[lg](x, n, lg * 5, 3 * lg, q), n);
			SAME(a->exponent_context[lg](x, n, 3, 20, 11, p), b->exponent_context[lg](x, n, 3, 20, 11, q), n);
			SAME(a->scale_context[lg](x, n, (8u << lg) - 4, 6, column, p),
					b->scale_context[lg](x, n, (8u << lg) - 4, 6, column, q), n);
		}
	}
}

/* What frequencies weigh: the same either way, and nearly what it is. */
static void weights(void **state)
{
	const struct codec_loops *a = &codec_loops_plain, *b = codec_loops();
	uint32_t count[256];

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		unsigned seen_a, seen_b, seen = 0;
		double is = 0, n = 0, got;

		for (unsigned s = 0; s < 256; s++) {
			count[s] = data_random() % (round + 1) < 3 ? (uint32_t)(data_random() >> 44) >> data_random() % 20 : 0;
			seen += count[s] != 0;
			is += count[s] > 0 ? count[s] * log2(count[s]) : 0;
			n += count[s];
		}
		got = a->weigh(count, &seen_a);
		assert_true(got == b->weigh(count, &seen_b));
		assert_true(seen_a == seen && seen_b == seen);
		assert_true(fabs(got - is) <= n / 4000);
	}
}

/* Tokens and low bits of values of every length. */
static void bins(void **state)
{
	const struct codec_loops *l = codec_loops();
	static uint8_t u[4096 * 8], token[4096], back[4096 * 8], low[4096 * 8 + 64];

	(void)state;
	for (unsigned lg = 0; lg < 4; lg++) {
		unsigned wide = 8u << lg;
		struct bins b;

		for (unsigned scheme = 0; scheme < 2; scheme++) {
			unsigned n = 4096 - scheme, first = 8;
			uint32_t count[256] = { 0 };
			size_t size;
			uint8_t *exact;

			if (scheme == 1 && lg == 0)
				continue;
			for (unsigned i = 0; i < n; i++) {
				uint64_t v = data_random() >> (64 - wide) >> data_random() % wide;

				if (i < 64)
					v = i < wide ? UINT64_C(1) << i : (UINT64_C(2) << (i % wide)) - 1;
				memcpy(u + ((size_t)i << lg), &v, (size_t)1 << lg);
			}
			if (scheme == 0) {
				bins_length(&b, lg);
				l->length_token[lg](u, n, token);
			} else {
				bins_float(&b, lg, wide, 5, first);
				l->float_token[lg](u, n, wide - 7, first, token);
			}
			for (unsigned i = 0; i < n; i++) {
				assert_true(b.valid[token[i]]);
				count[token[i]]++;
			}
			size = bins_low_size(&b, count);
			bins_put_low(&b, u, token, n, low);
			exact = data_copy(low, size);
			assert_true(bins_get(&b, token, n, exact, size, back));
			assert_memory_equal(back, u, (size_t)n << lg);
			assert_false(bins_get(&b, token, n, low, size + 1, back));
			if (size > 0)
				assert_false(bins_get(&b, token, n, exact, size - 1, back));
			free(exact);
		}
	}
}

/* Encodes and decodes with one codec; the payload (caller frees), NULL when the codec declined. */
enum which { PLANES, FLOATS };
static uint8_t *through(struct codec_work *w, enum which which, const uint8_t *raw, size_t n,
		const struct codec_layout *lay, size_t *len)
{
	size_t cap = n + n / 8 + 1000;
	uint8_t *out = malloc(cap), *exact, *back = malloc(n ? n : 1);

	assert_true(out && back);
	*len = which == PLANES ? codec_planes_encode(w, raw, n, lay, out, cap) : codec_float_encode(w, raw, n, lay, out, cap);
	if (*len == 0) {
		free(out);
		free(back);
		return NULL;
	}
	exact = data_copy(out, *len);
	assert_true(which == PLANES ? codec_planes_decode(w, exact, *len, back, n)
				    : codec_float_decode(w, exact, *len, back, n));
	assert_memory_equal(back, raw, n);
	/* never more than it was given room for */
	for (size_t room = 0; room < *len; room += 1 + *len / 29) {
		uint8_t *tight = malloc(room ? room : 1);
		size_t k = which == PLANES ? codec_planes_encode(w, raw, n, lay, tight, room)
					   : codec_float_encode(w, raw, n, lay, tight, room);

		assert_true(k <= room);
		free(tight);
	}
	free(out);
	free(back);
	return exact;
}

static const struct {
	unsigned lg, exponent_bits;
	double most; /* of 256 KiB of data_floats(): an exponent of 2 bits */
} format[] = { { 1, 5, 0.90 }, { 1, 8, 0.73 }, { 2, 8, 0.85 }, { 3, 11, 0.90 } };

static void floats(void **state)
{
	static const size_t len[] = { 0, 1, 31, 64, 65, 127, 300, 1001, 4096, 70001, BIG };
	uint8_t *raw = malloc(BIG + 8);

	(void)state;
	assert_non_null(raw);
	for (int thorough = 0; thorough < 2; thorough++) {
		struct codec_work w;

		assert_int_equal(codec_work_init(&w, thorough), 0);
		for (size_t f = 0; f < sizeof format / sizeof format[0]; f++) {
			unsigned width = 1u << format[f].lg, e = format[f].exponent_bits;

			for (unsigned kind = 0; kind < 7; kind++) {
				for (size_t l = 0; l < sizeof len / sizeof len[0]; l++) {
					unsigned phase = kind == 5 ? width - 1 : 0;
					struct codec_layout lay = { .lg = (uint8_t)format[f].lg, .phase = (uint8_t)phase,
						.exponent_bits = (uint8_t)e, .row = 128 };
					size_t n = len[l], k;
					uint8_t *payload;

					for (size_t i = 0; i < n; i++)
						raw[i] = (uint8_t)(data_random() >> 11);
					if (n > phase)
						data_floats(raw + phase, (n - phase) / width, width, e);
					for (size_t i = phase; i + width <= n; i += width) {
						uint64_t v;

						if (kind == 1) /* never negative */
							raw[i + width - 1] &= 127;
						if (kind == 2) /* always, and the mantissa ends in zeros */
							raw[i + width - 1] |= 128;
						if (kind == 2)
							raw[i] &= 0xf0;
						if (kind == 3 && data_random() % 3) /* zeros */
							memset(raw + i, 0, width);
						if (kind == 6 && i / width < 4500) { /* both, but not to the end */
							raw[i + width - 1] &= 127;
							raw[i] &= 0xf0;
						}
						if (kind == 4) { /* any bits: exponents everywhere */
							v = data_random();
							memcpy(raw + i, &v, width);
						}
					}
					payload = through(&w, FLOATS, raw, n, &lay, &k);
					if (n >= 70000 && kind != 4 && (payload == NULL || (double)k > format[f].most * (double)n))
						fail_msg("width %u, kind %u: %zu bytes of %zu", width, kind, k, n);
					if (payload != NULL && n < 5000) {
						for (unsigned r = 0; r < 40; r++) {
							size_t bad_len = k;
							uint8_t *bad = data_damage(payload, &bad_len), *back = malloc(n);

							codec_float_decode(&w, bad, bad_len, back, n);
							free(back);
							free(bad);
						}
					}
					free(payload);
				}
			}
		}
		codec_work_release(&w);
	}
	free(raw);
}

/* A matrix whose rows and columns differ in size: worth its scales when there is time, whatever is said of its rows. */
static void scales(void **state)
{
	enum { ROWS = 256, COLUMNS = 250, BYTES = ROWS * COLUMNS * sizeof(float) };
	static const uint32_t row[] = { COLUMNS, 5, 0, ROWS * COLUMNS }; /* the last three: pieces do for rows */
	float *m = malloc(BYTES);

	(void)state;
	assert_non_null(m);
	for (unsigned r = 0; r < ROWS; r++)
		for (unsigned c = 0; c < COLUMNS; c++)
			m[r * COLUMNS + c] = (float)((double)(data_random() >> 40) * (1u << r / 9 % 7) / (1u << c % 5));
	for (size_t k = 0; k < sizeof row / sizeof row[0]; k++) {
		struct codec_layout lay = { .lg = 2, .exponent_bits = 8, .row = row[k] };
		uint8_t *payload[2];
		size_t len[2];

		for (int thorough = 0; thorough < 2; thorough++) {
			struct codec_work w;

			assert_int_equal(codec_work_init(&w, thorough), 0);
			payload[thorough] = through(&w, FLOATS, (const uint8_t *)m, BYTES, &lay, &len[thorough]);
			assert_non_null(payload[thorough]);
			for (unsigned r = 0; r < (k == 0 ? 300 : 20); r++) {
				size_t bad_len = len[thorough];
				uint8_t *bad = data_damage(payload[thorough], &bad_len), *back = malloc(BYTES);

				codec_float_decode(&w, bad, bad_len, back, BYTES);
				free(back);
				free(bad);
			}
			codec_work_release(&w);
		}
		assert_false(payload[0][0] & 16);
		assert_true(payload[1][0] & 16);
		assert_true(len[1] + len[1] / (k == 0 ? 50 : 200) < len[0]);
		free(payload[0]);
		free(payload[1]);
	}
	free(m);
}

static void planes(void **state)
{
	static const size_t len[] = { 1, 7, 8, 9, 100, 1003, 5000, 100001 };
	struct codec_work w;

	(void)state;
	assert_int_equal(codec_work_init(&w, false), 0);
	for (unsigned lg = 0; lg < 4; lg++) {
		for (unsigned kind = 0; kind < 4; kind++) {
			for (size_t l = 0; l < sizeof len / sizeof len[0]; l++) {
				struct codec_layout lay = { .lg = (uint8_t)lg, .phase = kind == 1 ? (uint8_t)((1u << lg) - 1) : 0 };
				size_t n = len[l], k;
				uint8_t *raw = malloc(n), *payload;

				for (size_t i = 0; i < n; i++) {
					unsigned at = (unsigned)((i - lay.phase) & ((1u << lg) - 1));

					/* noise below, few values above; a ramp; constants */
					raw[i] = kind == 3                    ? (uint8_t)(i >> lg >> 8 * at)
						 : at == 0 && kind != 2       ? (uint8_t)(data_random() >> 9)
						 : at + 1u == 1u << lg        ? (uint8_t)(data_random() % 3)
									      : (uint8_t)at;
				}
				payload = through(&w, PLANES, raw, n, &lay, &k);
				assert_true(payload != NULL || n < 2u << lg);
				if (kind == 3 && n > 100000 && lg > 0)
					assert_in_range(k, 1, n / 8 + (n >> lg) / 8);
				if (kind == 2 && n > 100000)
					assert_in_range(k, 1, (n >> lg) / 4 + 200);
				for (unsigned r = 0; r < (n < 6000 ? 200u : 3u) && payload != NULL; r++) {
					size_t bad_len = k;
					uint8_t *bad = data_damage(payload, &bad_len), *back = malloc(n);

					codec_planes_decode(&w, bad, bad_len, back, n);
					free(back);
					free(bad);
				}
				free(payload);
				free(raw);
			}
		}
	}
	codec_work_release(&w);
}

static void pixels(void **state)
{
	enum { SIDE = 64, COUNT = 20, N = SIDE * SIDE * COUNT };
	static const struct codec_image image[] = { { 1, 0 }, { 1, SIDE }, { 3, 3 * SIDE }, { 255, 256 }, { 4, N + 7 },
		{ 2, N - 1 } };
	uint8_t *raw = malloc(N), *out = malloc(2 * N), *back, *exact;
	struct codec_image im;
	struct codec_work w;

	(void)state;
	assert_true(raw && out);
	assert_int_equal(codec_work_init(&w, false), 0);
	for (unsigned i = 0; i < N; i++) /* a slope, with noise */
		raw[i] = (uint8_t)(i % SIDE + i / SIDE % SIDE * 2 + data_random() % 5);
	for (size_t k = 0; k < sizeof image / sizeof image[0]; k++) {
		for (size_t n = 0; n <= N; n = n < 300 ? n + 1 + n / 7 : n < N ? N : N + 1) {
			size_t len = codec_image_encode(&w, raw, n, &image[k], out, 2 * N);

			assert_true(len > 0);
			exact = data_copy(out, len);
			back = malloc(n ? n : 1);
			assert_true(codec_image_decode(&w, exact, len, back, n));
			assert_memory_equal(back, raw, n);
			for (unsigned r = 0; r < 20; r++) {
				size_t bad_len = len;
				uint8_t *bad = data_damage(exact, &bad_len);

				codec_image_decode(&w, bad, bad_len, back, n);
				free(bad);
			}
			if (n == N && k == 1)
				assert_in_range(len, 1, N * 4 / 8);
			free(exact);
			free(back);
		}
	}
	/* the row is found, told or not */
	assert_true(probe_image(raw, N, SIDE, 1, &im) < 0.5);
	assert_int_equal(im.left, 1);
	assert_int_equal(im.up, SIDE);
	assert_true(probe_image(raw, N, 0, 1, &im) < 0.5);
	assert_int_equal(im.up, SIDE);
	codec_work_release(&w);
	free(raw);
	free(out);
}

/* What elements are is found out, wherever they begin. */
static void layouts(void **state)
{
	uint8_t *raw = malloc(BIG);
	struct codec_layout lay;
	struct codec_work w;

	(void)state;
	assert_non_null(raw);
	assert_int_equal(codec_work_init(&w, false), 0);
	for (size_t f = 0; f < sizeof format / sizeof format[0]; f++) {
		unsigned width = 1u << format[f].lg;

		for (unsigned phase = 0; phase < width; phase++) {
			memset(raw, 0, BIG);
			data_floats(raw + phase, (BIG - phase) / width, width, format[f].exponent_bits);
			assert_true(probe_layout(&w, raw, BIG, &lay) < format[f].most + 0.03);
			if (lay.lg != format[f].lg || lay.exponent_bits != format[f].exponent_bits || lay.phase != phase)
				fail_msg("floats of %u bytes and %u bits at %u look like 1 << %u, %u, %u", width,
						format[f].exponent_bits, phase, lay.lg, lay.exponent_bits, lay.phase);
		}
	}
	for (size_t i = 0; i < BIG; i++)
		raw[i] = (uint8_t)(data_random() >> 17);
	assert_true(probe_layout(&w, raw, BIG, &lay) > 0.98);
	assert_int_equal(lay.lg, 0);
	codec_work_release(&w);
	free(raw);
}

/* Payloads as the first version wrote them. */
static void golden(void **state)
{
	static const uint8_t planes_payload[] = {
		0x06, 0xaa, 0xaa, 0xaa, 0x02, 0x35, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x40, 0x39, 0x40, 0x80, 0x3c, 0xc0,
		0x03, 0x5c, 0x02, 0x02, 0x24, 0x55, 0xf0, 0x24, 0x00, 0xa7, 0x81, 0x22, 0x00, 0xd6, 0xe6, 0x13, 0x00,
		0xfd, 0x39, 0x03, 0x00, 0x65, 0xad, 0x75, 0x7e, 0xdf, 0x74, 0xb7, 0xb9, 0x9c, 0xae, 0xc5, 0x1c, 0x71,
		0xab, 0x6c, 0x4f, 0xe6, 0x79, 0xdc, 0x45, 0x48, 0xae, 0x28, 0x7d, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07,
	};
	static const uint8_t float_payload[] = {
		0x06, 0x08, 0x01, 0x00, 0x40, 0x00, 0xbb, 0xbb, 0xbb, 0x30, 0x00, 0x00, 0x00, 0xf0, 0xf9, 0x40, 0x37,
		0x22, 0x77, 0x0b, 0x24, 0xd0, 0xa0, 0x5f, 0x04, 0xa2, 0xd9, 0xf1, 0x00, 0xa2, 0xfb, 0x70, 0x0e, 0x08,
		0xe4, 0x0e, 0x01, 0x70, 0xa5, 0x4e, 0x8a, 0x09, 0x63, 0xec, 0xa5, 0xdb, 0x0d, 0xdb, 0x0d, 0x2b, 0x22,
		0x53, 0x9b, 0xec, 0xe7, 0xcd, 0x9c, 0x79, 0xc0, 0xec, 0xe7, 0x00, 0x00, 0xc0, 0x71, 0x40, 0xc4, 0x38,
		0x20, 0x4e, 0x15, 0xcc, 0x18, 0x07, 0xc4, 0x37, 0x42, 0x45, 0xaa, 0x60, 0xae, 0x31, 0xdc, 0x30, 0x0e,
		0xc8, 0xfd, 0x43, 0x06, 0x00, 0x00, 0xf0, 0xaf, 0x00, 0x00, 0x00, 0xf0, 0x70, 0xd1, 0x51, 0x63, 0xb8,
		0x9b, 0x1a, 0x3f, 0x18, 0x07, 0x74, 0xe2, 0x11, 0xb2, 0x7f, 0xc8, 0xb3, 0x21, 0x03, 0xde, 0x08, 0xf5,
		0x53, 0x52, 0x12, 0x9c, 0xd8, 0xcb, 0x28, 0x07, 0xa4, 0x0a, 0x76, 0xc5, 0x92, 0x72, 0xb8, 0xe8, 0xe3,
		0x2f, 0x0b, 0x6a, 0x0c, 0xf7, 0x36, 0xd3, 0xd2, 0xd4, 0xf8, 0xfb, 0x36, 0x0f, 0x30, 0x0e, 0x78, 0xa8,
		0x13, 0x33, 0xf1, 0x08, 0x13, 0x3e, 0x13, 0xf6, 0x0f, 0xf9, 0x19, 0x54, 0x93, 0x0d, 0x19, 0x2b, 0x45,
		0x17, 0xbc, 0x11, 0x7a, 0x8b, 0x94, 0xf3, 0x29, 0x29, 0x43, 0x4c, 0x1b, 0x82, 0x13, 0xfb, 0xfc, 0xd4,
		0x53, 0x46, 0x39, 0x5b, 0x53, 0x1f, 0x48, 0x15, 0x7c, 0x6e, 0x15, 0xb0, 0x62, 0x49, 0x73, 0x5a, 0x23,
		0x0e, 0x17, 0xfd, 0xdf, 0x55, 0x10, 0x7f, 0x59, 0x8b, 0x61, 0x27, 0xd4, 0x18, 0x7e, 0x51, 0x96, 0x70,
		0x9b, 0x69, 0xa3, 0x68, 0x2b, 0x9a, 0x1a, 0xff, 0xc2, 0xd6, 0xd0, 0xb7, 0x79, 0xbb, 0x6f, 0x2f, 0x60,
		0x1c, 0x70, 0x34, 0x17, 0x31, 0xd4, 0x89, 0xd3, 0x76, 0x33, 0x26, 0x1e, 0xf1, 0xa5, 0x57, 0x91, 0xf0,
		0x99, 0xeb, 0x7d, 0x37, 0xec, 0x1f, 0x72, 0x17, 0x98, 0xf1, 0x0c, 0xaa,
	};
	static const uint8_t image_payload[] = {
		0x01, 0x14, 0x00, 0x00, 0x00, 0x00, 0xcb, 0x00, 0x0f, 0x08, 0x00, 0x30, 0x00, 0x80, 0x00, 0x00, 0x03,
		0x00, 0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x09, 0x5c, 0x80, 0xe9, 0x03, 0x9b, 0x39, 0x04,
		0x00, 0x91, 0x71, 0x03, 0x00, 0x3c, 0xfd, 0x01, 0x00, 0x95, 0x2c, 0x95, 0x2c, 0xdd, 0x93, 0x51, 0xf2,
		0x8f, 0x76, 0x65, 0x69, 0x65, 0x69, 0x19, 0x57, 0x7e, 0x01, 0xe5, 0x04, 0x2b, 0x2f, 0x2b, 0x2f, 0x66,
		0x74, 0xc4, 0x43, 0x6a, 0x7e, 0x6a, 0x7e, 0xcd, 0xd2, 0x75, 0x90, 0x43, 0x78, 0x36, 0xca, 0x36, 0xca,
		0x24, 0xf1, 0x42, 0xb8,
	};
	uint8_t raw[303], want[303];
	struct codec_work w;

	(void)state;
	assert_int_equal(codec_work_init(&w, false), 0);
	golden_planes(want);
	assert_true(codec_planes_decode(&w, planes_payload, sizeof planes_payload, raw, sizeof raw));
	assert_memory_equal(raw, want, sizeof raw);
	golden_floats(want);
	assert_true(codec_float_decode(&w, float_payload, sizeof float_payload, raw, sizeof raw));
	assert_memory_equal(raw, want, sizeof raw);
	golden_pixels(want);
	assert_true(codec_image_decode(&w, image_payload, sizeof image_payload, raw, sizeof raw));
	assert_memory_equal(raw, want, sizeof raw);
	codec_work_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loops_agree),
		cmocka_unit_test(weights),
		cmocka_unit_test(bins),
		cmocka_unit_test(floats),
		cmocka_unit_test(scales),
		cmocka_unit_test(planes),
		cmocka_unit_test(pixels),
		cmocka_unit_test(layouts),
		cmocka_unit_test(golden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
