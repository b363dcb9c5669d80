/*
 * test_bridge_math.c: statistics and distances of tensors against sums made in long double, one element after the other, and
 * the small floats against their tables' corners.  libtorch's word on the same is asked in test_bridge_torch.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "torchbridge/bridge_math.h"

static uint64_t seed = 1;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* As near as a double's sums come. */
static void assert_near(double a, double b)
{
	if (isnan(a) || isnan(b) || isinf(a) || isinf(b)) {
		assert_true((isnan(a) && isnan(b)) || a == b);
		return;
	}
	if (fabs(a - b) > 1e-10 * (fabs(a) + fabs(b)) + 1e-300)
		fail_msg("%.17g is not %.17g", a, b);
}

/* Two passes in long double. */
static struct bridge_stats judge(const double *x, size_t n)
{
	struct bridge_stats s = { .count = n, .min = NAN, .max = NAN, .mean = NAN, .std = NAN };
	long double sum = 0, m2 = 0;
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		s.nans += isnan(x[i]) != 0;
		s.infs += isinf(x[i]) != 0;
		if (!isfinite(x[i]))
			continue;
		k++;
		sum += (long double)x[i];
		s.min = k == 1 || x[i] < s.min ? x[i] : s.min;
		s.max = k == 1 || x[i] > s.max ? x[i] : s.max;
	}
	if (k > 0)
		s.mean = (double)(sum / (long double)k);
	for (size_t i = 0; i < n; i++)
		if (isfinite(x[i]))
			m2 += ((long double)x[i] - sum / (long double)k) *
			      ((long double)x[i] - sum / (long double)k);
	if (k > 1)
		s.std = (double)sqrtl(m2 / (long double)(k - 1));
	return s;
}

static void same_stats(const struct bridge_stats *a, const struct bridge_stats *b)
{
	assert_int_equal(a->count, b->count);
	assert_int_equal(a->nans, b->nans);
	assert_int_equal(a->infs, b->infs);
	assert_near(a->min, b->min);
	assert_near(a->max, b->max);
	assert_near(a->mean, b->mean);
	assert_near(a->std, b->std);
}

/* Lengths around the blocks and lanes, odd addresses, values from all of a kind to none. */
static void lengths(void **state)
{
	static const size_t len[] = { 0, 1, 2, 3, 7, 8, 9, 1023, 1024, 1025, 5000 };
	static uint8_t raw[8 * 5000 + 1];
	static double x[5000];

	(void)state;
	for (unsigned kind = 0; kind < 5; kind++) {
		for (size_t i = 0; i < 5000; i++) {
			double v = (double)(int64_t)rnd() / 0x1p60 + 100;

			if (kind == 1 && rnd() % 3 == 0)
				v = NAN;
			if (kind == 2 && rnd() % 3 == 0)
				v = rnd() % 2 ? INFINITY : -INFINITY;
			if (kind == 3)
				v = NAN;
			if (kind == 4)
				v = i % 2 ? -0.0 : 0.0;
			x[i] = v;
			memcpy(raw + 1 + 8 * i, &v, 8);
		}
		for (size_t k = 0; k < sizeof(len) / sizeof(len[0]); k++) {
			struct bridge_stats s, t, want = judge(x, len[k]);

			bridge_stats_init(&s);
			assert_int_equal(bridge_stats_add(&s, TORCH_FLOAT64, raw + 1, len[k]), 0);
			bridge_stats_done(&s);
			same_stats(&s, &want);
			/* In parts of odd lengths. */
			bridge_stats_init(&t);
			for (size_t at = 0, n; at < len[k]; at += n) {
				n = 1 + rnd() % 700;
				n = n < len[k] - at ? n : len[k] - at;
				assert_int_equal(bridge_stats_add(&t, TORCH_FLOAT64, raw + 1 + 8 * at, n), 0);
			}
			bridge_stats_done(&t);
			same_stats(&t, &want);
		}
	}
}

/* A mean far from zero with a small spread; sums past the range of a double. */
static void hard_numbers(void **state)
{
	static double x[3000];
	struct bridge_stats s;

	(void)state;
	for (size_t i = 0; i < 3000; i++)
		x[i] = 1e9 + (double)(i % 2);
	bridge_stats_init(&s);
	assert_int_equal(bridge_stats_add(&s, TORCH_FLOAT64, x, 3000), 0);
	bridge_stats_done(&s);
	assert_near(s.mean, 1e9 + 0.5);
	assert_near(s.std, sqrt(0.25 * 3000 / 2999));
	for (size_t i = 0; i < 3000; i++)
		x[i] = 1e308;
	bridge_stats_init(&s);
	assert_int_equal(bridge_stats_add(&s, TORCH_FLOAT64, x, 3000), 0);
	bridge_stats_done(&s);
	assert_near(s.mean, 1e308);
}

/* Single elements whose values are known, of every dtype. */
static void values(void **state)
{
	static const struct {
		enum torch_dtype dtype;
		uint64_t bits;
		double value;
	} known[] = {
		{ TORCH_FLOAT64, 0x3ff8000000000000, 1.5 },
		{ TORCH_FLOAT32, 0xc0490fdb, -0x1.921fb6p+1 },
		{ TORCH_FLOAT32, 1, 0x1p-149 },
		{ TORCH_FLOAT16, 0x3c00, 1 },
		{ TORCH_FLOAT16, 0xfbff, -65504 },
		{ TORCH_FLOAT16, 0x0001, 0x1p-24 },
		{ TORCH_FLOAT16, 0x83ff, -0x1.ff8p-15 },
		{ TORCH_FLOAT16, 0x7c00, INFINITY },
		{ TORCH_FLOAT16, 0x7e00, NAN },
		{ TORCH_FLOAT16, 0x8000, -0.0 },
		{ TORCH_BFLOAT16, 0x3f80, 1 },
		{ TORCH_BFLOAT16, 0xff80, -INFINITY },
		{ TORCH_BFLOAT16, 0x7fc0, NAN },
		{ TORCH_INT8, 0x80, -128 },
		{ TORCH_INT16, 0x8000, -32768 },
		{ TORCH_INT32, 0x80000000, -0x1p31 },
		{ TORCH_INT64, 0x8000000000000000, -0x1p63 },
		{ TORCH_UINT8, 0xff, 255 },
		{ TORCH_UINT16, 0xffff, 65535 },
		{ TORCH_UINT32, 0xffffffff, 4294967295.0 },
		{ TORCH_UINT64, 0x8000000000000000, 0x1p63 },
		{ TORCH_BOOL, 1, 1 },
		{ TORCH_BOOL, 0, 0 },
		{ TORCH_BOOL, 7, 1 },
		{ TORCH_QINT8, 0xff, -1 },
		{ TORCH_QUINT8, 0xff, 255 },
		{ TORCH_QINT32, 0xffffffff, -1 },
		/* c10/util/Float8_*.h; OCP 8-bit Floating Point Specification, tables 2 and 3 */
		{ TORCH_FLOAT8_E4M3FN, 0x7e, 448 },
		{ TORCH_FLOAT8_E4M3FN, 0x7f, NAN },
		{ TORCH_FLOAT8_E4M3FN, 0x08, 0x1p-6 },
		{ TORCH_FLOAT8_E4M3FN, 0x87, -0x1.cp-7 },
		{ TORCH_FLOAT8_E4M3FN, 0x01, 0x1p-9 },
		{ TORCH_FLOAT8_E5M2, 0x7b, 57344 },
		{ TORCH_FLOAT8_E5M2, 0x7c, INFINITY },
		{ TORCH_FLOAT8_E5M2, 0xfc, -INFINITY },
		{ TORCH_FLOAT8_E5M2, 0x7d, NAN },
		{ TORCH_FLOAT8_E5M2, 0x01, 0x1p-16 },
		{ TORCH_FLOAT8_E4M3FNUZ, 0x7f, 240 },
		{ TORCH_FLOAT8_E4M3FNUZ, 0x80, NAN },
		{ TORCH_FLOAT8_E4M3FNUZ, 0x01, 0x1p-10 },
		{ TORCH_FLOAT8_E5M2FNUZ, 0xff, -57344 },
		{ TORCH_FLOAT8_E5M2FNUZ, 0x80, NAN },
		{ TORCH_FLOAT8_E5M2FNUZ, 0x01, 0x1p-17 },
		{ TORCH_FLOAT8_E8M0FNU, 0x00, 0x1p-127 },
		{ TORCH_FLOAT8_E8M0FNU, 0x7f, 1 },
		{ TORCH_FLOAT8_E8M0FNU, 0xfe, 0x1p127 },
		{ TORCH_FLOAT8_E8M0FNU, 0xff, NAN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct bridge_stats s;

		bridge_stats_init(&s);
		assert_int_equal(bridge_stats_add(&s, known[i].dtype, &known[i].bits, 1), 0);
		bridge_stats_done(&s);
		assert_int_equal(s.count, 1);
		assert_int_equal(s.nans, isnan(known[i].value) != 0);
		assert_int_equal(s.infs, isinf(known[i].value) != 0);
		if (isfinite(known[i].value) &&
				(s.min != known[i].value || s.max != s.min || s.mean != s.min))
			fail_msg("%s %llx: %.17g is not %.17g", torch_dtype_info(known[i].dtype)->name,
					(unsigned long long)known[i].bits, s.min, known[i].value);
		assert_true(isnan(s.std));
	}
}

static void what_has_no_numbers(void **state)
{
	static const enum torch_dtype none[] = { TORCH_FLOAT4_E2M1FN_X2, TORCH_BITS8, TORCH_BITS16,
		TORCH_BITS1X8, TORCH_BITS2X4, TORCH_BITS4X2, TORCH_QUINT4X2, TORCH_QUINT2X4, TORCH_UNTYPED };
	struct bridge_stats s;
	struct bridge_distance d;
	uint64_t x = 0;
	unsigned known = 0;

	(void)state;
	bridge_stats_init(&s);
	bridge_distance_init(&d);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		assert_false(bridge_math_knows(none[i]));
		assert_int_equal(bridge_stats_add(&s, none[i], &x, 1), -ENOTSUP);
		assert_int_equal(bridge_distance_add(&d, TORCH_FLOAT32, &x, none[i], &x, 1), -ENOTSUP);
	}
	for (int i = 0; i < TORCH_DTYPES; i++)
		known += bridge_math_knows((enum torch_dtype)i);
	assert_int_equal(known + sizeof(none) / sizeof(none[0]), TORCH_DTYPES);
	assert_int_equal(bridge_distance_add(&d, TORCH_FLOAT32, &x, TORCH_COMPLEX64, &x, 1), -ENOTSUP);
	assert_int_equal(s.count + d.count, 0);
}

/* A complex number is two. */
static void complex_numbers(void **state)
{
	const float x[4] = { 1, -2, 3, NAN };
	struct bridge_stats s;

	(void)state;
	bridge_stats_init(&s);
	assert_int_equal(bridge_stats_add(&s, TORCH_COMPLEX64, x, 2), 0);
	bridge_stats_done(&s);
	assert_int_equal(s.count, 4);
	assert_int_equal(s.nans, 1);
	assert_true(s.min == -2 && s.max == 3);
}

/* ---- distances ---- */

static struct bridge_distance between(
		enum torch_dtype p, const void *a, enum torch_dtype q, const void *b, uint64_t n)
{
	struct bridge_distance d;

	bridge_distance_init(&d);
	assert_int_equal(bridge_distance_add(&d, p, a, q, b, n), 0);
	bridge_distance_done(&d);
	return d;
}

static void distances(void **state)
{
	enum { N = 3001 };
	static float a[N], b[N];
	long double aa = 0, bb = 0, ab = 0, dd = 0;
	double max_abs = 0, max_rel = 0;
	struct bridge_distance d;
	unsigned unequal = 0;

	(void)state;
	for (size_t i = 0; i < N; i++) {
		double far;

		a[i] = (float)(int64_t)rnd() * 0x1p-62f;
		b[i] = i % 3 ? a[i] : a[i] * (1 + (float)(rnd() % 1000) * 1e-5f);
		aa += (long double)a[i] * a[i];
		bb += (long double)b[i] * b[i];
		ab += (long double)a[i] * b[i];
		far = fabs((double)a[i] - (double)b[i]);
		dd += (long double)far * far;
		unequal += far != 0;
		max_abs = fmax(max_abs, far);
		max_rel = fmax(max_rel, far == 0 ? 0 : far / fmax(fabs((double)a[i]), fabs((double)b[i])));
	}
	d = between(TORCH_FLOAT32, a, TORCH_FLOAT32, b, N);
	assert_int_equal(d.count, N);
	assert_int_equal(d.finite, N);
	assert_int_equal(d.unequal, unequal);
	assert_int_equal(d.nans, 0);
	assert_near(d.max_abs, max_abs);
	assert_near(d.max_rel, max_rel);
	assert_near(d.cosine, (double)(ab / sqrtl(aa * bb)));
	assert_near(d.rms, (double)sqrtl(dd / N));
	d = between(TORCH_FLOAT32, a, TORCH_FLOAT32, a, N);
	assert_true(d.unequal == 0 && d.max_abs == 0 && d.max_rel == 0 && d.rms == 0);
	assert_near(d.cosine, 1);
}

static void odd_pairs(void **state)
{
	static const struct {
		double a, b;
		unsigned unequal, nans;
		double max_abs, max_rel, cosine;
	} t[] = {
		{ 1, 1, 0, 0, 0, 0, 1 },
		{ 0, -0.0, 0, 0, 0, 0, 1 },
		{ 1, -1, 1, 0, 2, 2, -1 },
		{ 0, 3, 1, 0, 3, 1, 0 },
		{ NAN, NAN, 0, 0, 0, 0, 1 },
		{ NAN, 1, 1, 1, 0, 0, 1 },
		{ INFINITY, INFINITY, 0, 0, 0, 0, 1 },
		{ INFINITY, -INFINITY, 1, 0, INFINITY, INFINITY, 1 },
		{ 1, -INFINITY, 1, 0, INFINITY, INFINITY, 1 },
		{ INFINITY, NAN, 1, 1, 0, 0, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct bridge_distance d = between(TORCH_FLOAT64, &t[i].a, TORCH_FLOAT64, &t[i].b, 1);

		assert_int_equal(d.unequal, t[i].unequal);
		assert_int_equal(d.nans, t[i].nans);
		assert_true(d.max_abs == t[i].max_abs && d.max_rel == t[i].max_rel &&
				d.cosine == t[i].cosine);
	}
}

/* Integers that become the same double are not the same; dtypes may differ. */
static void integers(void **state)
{
	const int64_t a[3] = { INT64_C(1) << 60, -5, INT64_MIN },
		      b[3] = { (INT64_C(1) << 60) + 1, -5, INT64_MIN };
	const uint64_t u[1] = { UINT64_MAX }, v[1] = { UINT64_MAX - 1 };
	const int8_t small[3] = { 1, 2, 3 };
	const float same[3] = { 1, 2, 3 };
	struct bridge_distance d = between(TORCH_INT64, a, TORCH_INT64, b, 3);

	(void)state;
	assert_int_equal(d.unequal, 1);
	assert_true(d.max_abs == 1);
	d = between(TORCH_UINT64, u, TORCH_UINT64, v, 1);
	assert_int_equal(d.unequal, 1);
	assert_true(d.max_abs == 1);
	d = between(TORCH_INT8, small, TORCH_FLOAT32, same, 3);
	assert_int_equal(d.unequal, 0);
	assert_int_equal(d.count, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lengths),
		cmocka_unit_test(hard_numbers),
		cmocka_unit_test(values),
		cmocka_unit_test(what_has_no_numbers),
		cmocka_unit_test(complex_numbers),
		cmocka_unit_test(distances),
		cmocka_unit_test(odd_pairs),
		cmocka_unit_test(integers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
