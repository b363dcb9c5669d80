/*
 * bridge_math.c: see bridge_math.h.
 *
 * The loops are in bridge_math_loops.h, written once with the compiler's vectors of four doubles and compiled twice on x86-64,
 * for any machine and for one with AVX2; both do the same operations in the same order, so their results are the same bits.
 */
#include "bridge_math.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "codec/ckpt_error.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "elements are taken for little-endian"
#endif

/* gcc vectorises little at -O2; others do not mind */
#if defined __GNUC__ && !defined __clang__
#pragma GCC optimize("O3")
#endif

/* BLOCK doubles, twice, stay in the first cache; a multiple of 2 * LANES. */
enum { LANES = 4, BLOCK = 1024 };

typedef double lanes_f __attribute__((vector_size(8 * LANES)));
typedef int64_t lanes_i __attribute__((vector_size(8 * LANES)));
typedef lanes_f lanes_at_f __attribute__((aligned(8), may_alias));

#define EACH_F(v) ((lanes_f){ (v), (v), (v), (v) })
#define EACH_I(v) ((lanes_i){ (v), (v), (v), (v) })
#define EXPONENT INT64_C(0x7ff0000000000000) /* all of it set: infinite, or NaN */

typedef double load_f64 __attribute__((aligned(1), may_alias));
typedef float load_f32 __attribute__((aligned(1), may_alias));
typedef int16_t load_i16 __attribute__((aligned(1), may_alias));
typedef int32_t load_i32 __attribute__((aligned(1), may_alias));
typedef int64_t load_i64 __attribute__((aligned(1), may_alias));
typedef uint16_t load_u16 __attribute__((aligned(1), may_alias));
typedef uint32_t load_u32 __attribute__((aligned(1), may_alias));
typedef uint64_t load_u64 __attribute__((aligned(1), may_alias));

struct block {
	uint64_t finite, nans;
	double sum, min, max;
};

struct math_loops {
	void (*decode[TORCH_DTYPES])(const uint8_t *p, size_t n, double *out); /* NULL: no numbers */
	void (*sum)(const double *x, size_t n, struct block *out);
	double (*spread)(const double *x, size_t n, double mean);
	void (*pair)(const double *a, const double *b, size_t n, struct bridge_distance *d);
};

static inline float float_of(uint32_t bits)
{
	union {
		uint32_t bits;
		float f;
	} v = { .bits = bits };

	return v.f;
}

/*
 * Exponent and mantissa move to a float's places and the exponent is raised by what the biases differ (112).  A subnormal half is
 * read with the exponent of 2^-14 and a leading one that the subtraction takes away again, so that no subnormal float, which
 * processors are slow with, comes into being.
 */
static inline float half_value(uint32_t h)
{
	uint32_t m = (h & 0x7fff) << 13, e = m & 0x0f800000;
	uint32_t normal = m + (112u << 23) + (-(uint32_t)(e == 0x0f800000) & 112u << 23);
	union {
		float f;
		uint32_t bits;
	} small = { .f = float_of(m + (113u << 23)) - 0x1p-14f };
	uint32_t is_small = -(uint32_t)(e == 0);

	return float_of((small.bits & is_small) | (normal & ~is_small) | (h & 0x8000) << 16);
}

/* ---- float8: tables, made at first use ---- */

static double e4m3fn[256], e5m2[256], e4m3fnuz[256], e5m2fnuz[256], e8m0fnu[256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

/* sign, 7 - mantissa bits of exponent, mantissa (OCP 8-bit Floating Point, and c10/util/Float8_*.h). */
static double small_float(unsigned code, unsigned mantissa, int bias)
{
	int m = (int)(code & ((1u << mantissa) - 1)), e = (int)((code & 0x7f) >> mantissa);
	double v = e == 0 ? ldexp(m, 1 - bias - (int)mantissa)
			  : ldexp(m | 1 << mantissa, e - bias - (int)mantissa);

	return code & 0x80 ? -v : v;
}

static void make_tables(void)
{
	for (unsigned c = 0; c < 256; c++) {
		e4m3fn[c] = (c & 0x7f) == 0x7f ? NAN : small_float(c, 3, 7);
		e5m2[c] = (c & 0x7f) > 0x7c    ? NAN
			  : (c & 0x7f) == 0x7c ? (c & 0x80 ? -INFINITY : INFINITY)
					       : small_float(c, 2, 15);
		e4m3fnuz[c] = c == 0x80 ? NAN : small_float(c, 3, 8);
		e5m2fnuz[c] = c == 0x80 ? NAN : small_float(c, 2, 16);
		e8m0fnu[c] = c == 0xff ? NAN : ldexp(1, (int)c - 127);
	}
}

#define DECODE_TABLE(name)                                                                                   \
	static void decode_##name(const uint8_t *p, size_t n, double *out)                                   \
	{                                                                                                    \
		for (size_t i = 0; i < n; i++)                                                               \
			out[i] = (name)[p[i]];                                                               \
	}
DECODE_TABLE(e4m3fn)
DECODE_TABLE(e5m2)
DECODE_TABLE(e4m3fnuz)
DECODE_TABLE(e5m2fnuz)
DECODE_TABLE(e8m0fnu)
#undef DECODE_TABLE

/* ---- the loops, for each kind of machine ---- */

#define LOOPS_TARGET
#define LOOPS(name) plain_##name
#include "bridge_math_loops.h"

#if defined __x86_64__
#undef LOOPS_TARGET
#undef LOOPS
#define LOOPS_TARGET __attribute__((target("avx2")))
#define LOOPS(name) avx2_##name
#include "bridge_math_loops.h"
#endif

static const struct math_loops *loops(void)
{
	pthread_once(&tables_once, make_tables);
#if defined __x86_64__
	if (__builtin_cpu_supports("avx2"))
		return &avx2_loops;
#endif
	return &plain_loops;
}

bool bridge_math_knows(enum torch_dtype dtype)
{
	return dtype >= 0 && dtype < TORCH_DTYPES && plain_loops.decode[dtype] != NULL;
}

static int not_numbers(enum torch_dtype dtype)
{
	if (dtype < 0 || dtype >= TORCH_DTYPES)
		return ckpt_fail(EINVAL, "statistics: no dtype %d", (int)dtype);
	return ckpt_fail(ENOTSUP, "statistics: %s has no numbers to count with",
			torch_dtype_info(dtype)->name);
}

/* Numbers of an element: of a complex one, two. */
static unsigned parts_of(enum torch_dtype dtype)
{
	return dtype == TORCH_COMPLEX32 || dtype == TORCH_COMPLEX64 || dtype == TORCH_COMPLEX128 ? 2 : 1;
}

/* Fills x[n, ..) up to the next multiple that the loops take; returns it. */
static size_t pad(double *x, size_t n, double with)
{
	while (n % (2 * (size_t)LANES) != 0)
		x[n++] = with;
	return n;
}

/* ---- one tensor ---- */

void bridge_stats_init(struct bridge_stats *s)
{
	*s = (struct bridge_stats){ .min = INFINITY, .max = -INFINITY };
}

/* Joins m finite numbers with that mean and sum of squares to the n that are in s already. */
static void join(struct bridge_stats *s, uint64_t n, uint64_t m, double mean, double m2)
{
	double all = (double)n + (double)m, part = (double)m / all, delta = mean - s->mean;

	if (n == 0) {
		s->mean = mean;
		s->m2 = m2;
	} else {
		s->mean += delta * part;
		s->m2 += m2 + delta * delta * (double)n * part;
	}
}

/* The mean where the sum went beyond the range of a double. */
static double careful_mean(const double *x, size_t n)
{
	double mean = 0, k = 0;

	for (size_t i = 0; i < n; i++) {
		if (isfinite(x[i])) {
			k++;
			mean += x[i] / k - mean / k;
		}
	}
	return mean;
}

static void add_block(const struct math_loops *l, struct bridge_stats *s, double *x, size_t n)
{
	uint64_t before = s->count - s->nans - s->infs;
	size_t all = pad(x, n, NAN);
	struct block b;

	l->sum(x, all, &b);
	b.nans -= all - n;
	s->count += n;
	s->nans += b.nans;
	s->infs += n - b.nans - b.finite;
	s->min = b.min < s->min ? b.min : s->min;
	s->max = b.max > s->max ? b.max : s->max;
	if (b.finite > 0) {
		double mean = isfinite(b.sum) ? b.sum / (double)b.finite : careful_mean(x, n);

		join(s, before, b.finite, mean, l->spread(x, all, mean));
	}
}

int bridge_stats_add(struct bridge_stats *s, enum torch_dtype dtype, const void *p, uint64_t count)
{
	double x[BLOCK] __attribute__((aligned(64)));
	const struct math_loops *l = loops();
	const uint8_t *at = p;
	size_t width;
	unsigned parts;

	if (!bridge_math_knows(dtype))
		return not_numbers(dtype);
	parts = parts_of(dtype);
	width = torch_dtype_info(dtype)->width;
	while (count > 0) {
		size_t n = count < BLOCK / parts ? (size_t)count : BLOCK / parts;

		l->decode[dtype](at, n * parts, x);
		add_block(l, s, x, n * parts);
		at += n * width;
		count -= n;
	}
	return 0;
}

void bridge_stats_done(struct bridge_stats *s)
{
	uint64_t n = s->count - s->nans - s->infs;

	if (n == 0)
		s->min = s->max = s->mean = NAN;
	s->std = n < 2 ? NAN : sqrt(s->m2 / (double)(n - 1));
}

/* ---- two tensors ---- */

void bridge_distance_init(struct bridge_distance *d)
{
	*d = (struct bridge_distance){ .count = 0 };
}

/* Integers that doubles can't tell apart: counted here, where the doubles were equal. */
static void add_close_integers(struct bridge_distance *d, bool is_signed, const uint8_t *a, const uint8_t *b,
		const double *x, const double *y, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t p = ((const load_u64 *)a)[i], q = ((const load_u64 *)b)[i], far;
		double diff, rel;

		if (p == q || x[i] != y[i])
			continue;
		far = (is_signed ? (int64_t)p > (int64_t)q : p > q) ? p - q : q - p;
		diff = (double)far;
		rel = diff / fabs(x[i]);
		d->unequal++;
		d->dd += diff * diff;
		d->max_abs = diff > d->max_abs ? diff : d->max_abs;
		d->max_rel = rel > d->max_rel ? rel : d->max_rel;
	}
}

int bridge_distance_add(struct bridge_distance *d, enum torch_dtype a_dtype, const void *a,
		enum torch_dtype b_dtype, const void *b, uint64_t count)
{
	double x[BLOCK] __attribute__((aligned(64))), y[BLOCK] __attribute__((aligned(64)));
	const struct math_loops *l = loops();
	const uint8_t *p = a, *q = b;
	size_t a_width, b_width;
	unsigned parts;

	if (!bridge_math_knows(a_dtype) || !bridge_math_knows(b_dtype))
		return not_numbers(bridge_math_knows(a_dtype) ? b_dtype : a_dtype);
	parts = parts_of(a_dtype);
	if (parts != parts_of(b_dtype))
		return ckpt_fail(ENOTSUP, "no distance between %s and %s", torch_dtype_info(a_dtype)->name,
				torch_dtype_info(b_dtype)->name);
	a_width = torch_dtype_info(a_dtype)->width;
	b_width = torch_dtype_info(b_dtype)->width;
	while (count > 0) {
		size_t n = count < BLOCK / parts ? (size_t)count : BLOCK / parts, m = n * parts, all;

		l->decode[a_dtype](p, m, x);
		l->decode[b_dtype](q, m, y);
		all = pad(x, m, 0);
		pad(y, m, 0);
		l->pair(x, y, all, d);
		d->finite -= all - m;
		d->count += m;
		if (a_dtype == b_dtype && (a_dtype == TORCH_INT64 || a_dtype == TORCH_UINT64))
			add_close_integers(d, a_dtype == TORCH_INT64, p, q, x, y, n);
		p += n * a_width;
		q += n * b_width;
		count -= n;
	}
	return 0;
}

void bridge_distance_done(struct bridge_distance *d)
{
	if (d->aa == 0 || d->bb == 0)
		d->cosine = d->aa == d->bb ? 1 : 0;
	else
		d->cosine = fmin(1, fmax(-1, d->ab / (sqrt(d->aa) * sqrt(d->bb))));
	d->rms = d->finite == 0 ? 0 : sqrt(d->dd / (double)d->finite);
}
