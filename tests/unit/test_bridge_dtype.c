/*
 * test_bridge_dtype.c: conversions of floats against what the compiler makes of a cast where it knows one, against
 * arithmetic where it does not, and with vectors against without.
 */
#include "memory_file.h"

#include <math.h>
#include <stdlib.h>

#include "torchbridge/bridge_dtype.h"

static float float_of(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof f);
	return f;
}

static uint32_t bits_of(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof u);
	return u;
}

/* Cases with their results, as torch 2.13's .to() gives them. */
static void known(void **state)
{
	static const struct {
		uint32_t from;
		uint16_t half, bfloat16;
	} cases[] = {
		{ 0x00000000, 0x0000, 0x0000 }, { 0x80000000, 0x8000, 0x8000 }, { 0x3f800000, 0x3c00, 0x3f80 },
		{ 0x3f808000, 0x3c04, 0x3f80 }, { 0x3f818000, 0x3c0c, 0x3f82 }, /* ties go to even */
		{ 0x3f808001, 0x3c04, 0x3f81 }, { 0x3f801000, 0x3c00, 0x3f80 }, { 0x3f803000, 0x3c02, 0x3f80 },
		{ 0x477fefff, 0x7bff, 0x4780 }, { 0x477ff000, 0x7c00, 0x4780 }, /* 65520 is infinite */
		{ 0x7f7fffff, 0x7c00, 0x7f80 }, { 0xff7fffff, 0xfc00, 0xff80 }, { 0x7f800000, 0x7c00, 0x7f80 },
		{ 0x7fc00000, 0x7e00, 0x7fc0 }, { 0x33800000, 0x0001, 0x3380 }, { 0x33000000, 0x0000, 0x3300 },
		{ 0x33000001, 0x0001, 0x3300 }, { 0x33c00000, 0x0002, 0x33c0 }, { 0x387fe000, 0x0400, 0x3880 },
		{ 0x387fc000, 0x03ff, 0x3880 }, { 0x00000001, 0x0000, 0x0000 }, { 0x00008001, 0x0000, 0x0001 },
		{ 0x007fffff, 0x0000, 0x0080 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint16_t h, b;

		bridge_dtype_convert(TORCH_FLOAT32, TORCH_FLOAT16, &cases[i].from, 1, &h);
		bridge_dtype_convert(TORCH_FLOAT32, TORCH_BFLOAT16, &cases[i].from, 1, &b);
		if (h != cases[i].half || b != cases[i].bfloat16)
			fail_msg("%08x: half %04x, bfloat16 %04x", cases[i].from, h, b);
	}
}

/* Every number of 16 bits comes back from float32 as it was, and means what its bits say. */
static void sixteen(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 1 << 16; i++) {
		uint16_t u = (uint16_t)i, back;
		float f;
		int e = (int)(i >> 10 & 31), m = (int)(i & 1023);
		double want = e == 0 ? ldexp(m, -24) : ldexp(1024 + m, e - 25);

		bridge_dtype_convert(TORCH_FLOAT16, TORCH_FLOAT32, &u, 1, &f);
		bridge_dtype_convert(TORCH_FLOAT32, TORCH_FLOAT16, &f, 1, &back);
		if (e == 31 && m > 0) {
			assert_true(isnan(f));
		} else {
			assert_true((e == 31 ? INFINITY : want) == fabs((double)f) && back == u);
			assert_true((signbit(f) != 0) == (u >> 15 != 0));
		}
		bridge_dtype_convert(TORCH_BFLOAT16, TORCH_FLOAT32, &u, 1, &f);
		assert_int_equal(bits_of(f), i << 16);
		bridge_dtype_convert(TORCH_FLOAT32, TORCH_BFLOAT16, &f, 1, &back);
		if (isnan(f))
			assert_int_equal(back, 0x7fc0);
		else
			assert_int_equal(back, u);
	}
}

/* Rounding to nearest even, checked by distances to both neighbours. */
static void nearest(void **state)
{
	uint32_t x = 1;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		float f, down, up;
		uint16_t b, lower, upper;
		double to_down, to_up;

		x = x * 1664525 + 1013904223;
		f = float_of(x & 0x7fffffff);
		if (isnan(f) || (x & 0x7fffffff) >= 0x7f000000)
			continue;
		bridge_dtype_convert(TORCH_FLOAT32, TORCH_BFLOAT16, &f, 1, &b);
		lower = (uint16_t)(bits_of(f) >> 16);
		upper = (uint16_t)(lower + 1);
		down = float_of((uint32_t)lower << 16);
		up = float_of((uint32_t)upper << 16);
		to_down = (double)f - down;
		to_up = (double)up - f;
		assert_int_equal(b, to_down < to_up || (to_down == to_up && lower % 2 == 0) ? lower : upper);
	}
}

/* float64 goes to 16 bits through float32: 1 + 2^-8 + 2^-40 would round up at once, and is a tie after one step. */
static void twice(void **state)
{
	double d = 1 + ldexp(1, -8) + ldexp(1, -40), big = 1e300, small = 4e-46;
	uint16_t b;
	float f;

	(void)state;
	bridge_dtype_convert(TORCH_FLOAT64, TORCH_BFLOAT16, &d, 1, &b);
	assert_int_equal(b, 0x3f80);
	bridge_dtype_convert(TORCH_FLOAT64, TORCH_FLOAT32, &big, 1, &f);
	assert_true(isinf(f));
	bridge_dtype_convert(TORCH_FLOAT64, TORCH_FLOAT32, &small, 1, &f);
	assert_true(f == 0);
	bridge_dtype_convert(TORCH_FLOAT64, TORCH_FLOAT16, &big, 1, &b);
	assert_int_equal(b, 0x7c00);
	b = 0x3f81;
	bridge_dtype_convert(TORCH_BFLOAT16, TORCH_FLOAT64, &b, 1, &d);
	assert_true(d == 1.0078125);
}

/* With vectors and without, all conversions, of lengths around the vectors' own, aligned and not. */
static void vectors(void **state)
{
	static const enum torch_dtype floats[] = { TORCH_FLOAT64, TORCH_FLOAT32, TORCH_FLOAT16, TORCH_BFLOAT16 };
	enum { N = 1500 };
	uint8_t *src = malloc(8 * N + 1), *a = malloc(8 * N + 2), *b = malloc(8 * N + 2), *aligned = malloc(8 * N);
	uint32_t x = 99;

	(void)state;
	assert_true(src != NULL && a != NULL && b != NULL && aligned != NULL);
	for (size_t i = 0; i < 8 * N + 1; i++) {
		x = x * 1664525 + 1013904223;
		src[i] = (uint8_t)(x >> 24);
	}
	memcpy(aligned, src + 1, 8 * N);
	for (int i = 0; i < 4; i++)
		for (int k = 0; k < 4; k++)
			for (size_t n = 0; n <= N; n += n < 40 ? 1 : 493) {
				size_t width = torch_dtype_info(floats[k])->width;

				memset(b, 1, 8 * N + 2);
				bridge_dtype_convert_plain(floats[i], floats[k], src + 1, n, b + 1);
				for (int from = 0; from < 2; from++)
					for (int to = 0; to < 2; to++) {
						memset(a, 1, 8 * N + 2);
						bridge_dtype_convert(floats[i], floats[k], from ? src + 1 : aligned, n,
								a + to);
						assert_memory_equal(a + to, b + 1, 8 * N);
						assert_int_equal(a[n * width + to], 1); /* nothing behind the last */
					}
			}
	free(src);
	free(a);
	free(b);
	free(aligned);
}

static void signs(void **state)
{
	float f[4] = { 1, -2, 0, 4 };
	uint16_t h[2] = { 0x3c00, 0xbc00 };

	(void)state;
	bridge_dtype_negate(TORCH_FLOAT32, f, 4);
	assert_memory_equal(f, ((float[4]){ -1, 2, -0.0F, -4 }), sizeof f);
	bridge_dtype_conjugate(TORCH_COMPLEX64, f, 2);
	assert_memory_equal(f, ((float[4]){ -1, -2, -0.0F, 4 }), sizeof f);
	bridge_dtype_conjugate(TORCH_FLOAT32, f, 4);
	assert_memory_equal(f, ((float[4]){ -1, -2, -0.0F, 4 }), sizeof f);
	bridge_dtype_negate(TORCH_COMPLEX32, h, 1);
	assert_int_equal(h[0], 0xbc00);
	assert_int_equal(h[1], 0x3c00);
	assert_true(bridge_dtype_converts(TORCH_INT64, TORCH_INT64));
	assert_false(bridge_dtype_converts(TORCH_INT64, TORCH_FLOAT32));
	assert_false(bridge_dtype_converts(TORCH_FLOAT8_E5M2, TORCH_FLOAT32));
	assert_true(bridge_dtype_converts(TORCH_FLOAT16, TORCH_FLOAT64));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known),
		cmocka_unit_test(sixteen),
		cmocka_unit_test(nearest),
		cmocka_unit_test(twice),
		cmocka_unit_test(vectors),
		cmocka_unit_test(signs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
