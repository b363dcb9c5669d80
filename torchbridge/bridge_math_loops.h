/*
 * bridge_math_loops.h: the loops of bridge_math.c over a block of doubles, included by it for each kind of
 * machine with
 *
 *   LOOPS_TARGET   attributes of each function
 *   LOOPS(name)    how its functions are called
 *
 * n is a multiple of 2 * LANES: the caller pads.  Two of everything is kept, since an addition takes four
 * cycles and two can be started in each.
 */

/* How elements become doubles. value: an expression of x, which is *(const type *)p. */
#define DECODE(name, type, step, value)                                                                                \
	LOOPS_TARGET static void LOOPS(decode_##name)(const uint8_t *p, size_t n, double *out)                         \
	{                                                                                                              \
		for (size_t i = 0; i < n; i++) {                                                                       \
			type x = *(const type *)(p + i * (step));                                                      \
                                                                                                                       \
			out[i] = (value);                                                                              \
		}                                                                                                      \
	}
DECODE(f64, load_f64, 8, x)
DECODE(f32, load_f32, 4, (double)x)
DECODE(f16, load_u16, 2, (double)half_value(x))
DECODE(bf16, load_u16, 2, (double)float_of((uint32_t)x << 16))
DECODE(i8, int8_t, 1, (double)(int32_t)x)
DECODE(i16, load_i16, 2, (double)(int32_t)x)
DECODE(i32, load_i32, 4, (double)x)
DECODE(i64, load_i64, 8, (double)x)
DECODE(u8, uint8_t, 1, (double)(int32_t)x)
DECODE(u16, load_u16, 2, (double)(int32_t)x)
DECODE(u32, load_u32, 4, (double)x)
DECODE(u64, load_u64, 8, (double)x)
DECODE(bool, uint8_t, 1, (double)(int32_t)(x != 0))
#undef DECODE

/* What of a block's numbers is finite, how many NaNs there are, sum, least, greatest. */
LOOPS_TARGET static void LOOPS(sum)(const double *x, size_t n, struct block *out)
{
	const lanes_i exponent = EACH_I(EXPONENT);
	lanes_i finite[2] = { EACH_I(0), EACH_I(0) }, nan[2] = { EACH_I(0), EACH_I(0) };
	lanes_f sum[2] = { EACH_F(0), EACH_F(0) };
	lanes_f min[2] = { EACH_F(INFINITY), EACH_F(INFINITY) }, max[2] = { EACH_F(-INFINITY), EACH_F(-INFINITY) };

	for (size_t i = 0; i < n; i += 2 * LANES) {
		for (unsigned k = 0; k < 2; k++) {
			lanes_f v = *(const lanes_at_f *)(x + i + k * LANES);
			lanes_i ok = ((lanes_i)v & exponent) != exponent, less, more;

			finite[k] -= ok; /* true is -1 */
			nan[k] -= v != v;
			sum[k] += (lanes_f)((lanes_i)v & ok);
			less = ok & (v < min[k]);
			min[k] = (lanes_f)(((lanes_i)v & less) | ((lanes_i)min[k] & ~less));
			more = ok & (v > max[k]);
			max[k] = (lanes_f)(((lanes_i)v & more) | ((lanes_i)max[k] & ~more));
		}
	}
	*out = (struct block){ .min = INFINITY, .max = -INFINITY };
	for (unsigned k = 0; k < 2; k++) {
		for (unsigned l = 0; l < LANES; l++) {
			out->finite += (uint64_t)finite[k][l];
			out->nans += (uint64_t)nan[k][l];
			out->sum += sum[k][l];
			out->min = min[k][l] < out->min ? min[k][l] : out->min;
			out->max = max[k][l] > out->max ? max[k][l] : out->max;
		}
	}
}

/* The sum of squares of the finite ones about `mean`. */
LOOPS_TARGET static double LOOPS(spread)(const double *x, size_t n, double mean)
{
	const lanes_i exponent = EACH_I(EXPONENT);
	const lanes_f about = EACH_F(mean);
	lanes_f sum[2] = { EACH_F(0), EACH_F(0) };
	double total = 0;

	for (size_t i = 0; i < n; i += 2 * LANES) {
		for (unsigned k = 0; k < 2; k++) {
			lanes_f v = *(const lanes_at_f *)(x + i + k * LANES);
			lanes_i ok = ((lanes_i)v & exponent) != exponent;
			lanes_f d = (lanes_f)((lanes_i)(v - about) & ok);

			sum[k] += d * d;
		}
	}
	for (unsigned k = 0; k < 2; k++)
		for (unsigned l = 0; l < LANES; l++)
			total += sum[k][l];
	return total;
}

/* Adds n pairs to *d (but not to its count). */
LOOPS_TARGET static void LOOPS(pair)(const double *a, const double *b, size_t n, struct bridge_distance *d)
{
	const lanes_i exponent = EACH_I(EXPONENT), magnitude = EACH_I(INT64_MAX);
	lanes_i finite = EACH_I(0), unequal = EACH_I(0), nan = EACH_I(0);
	lanes_f aa = EACH_F(0), bb = EACH_F(0), ab = EACH_F(0), dd = EACH_F(0);
	lanes_f max_abs = EACH_F(0), max_rel = EACH_F(0);

	for (size_t i = 0; i < n; i += LANES) {
		lanes_f x = *(const lanes_at_f *)(a + i), y = *(const lanes_at_f *)(b + i);
		lanes_i nan_x = x != x, nan_y = y != y, number = ~(nan_x | nan_y);
		lanes_i differ = (x != y) & ~(nan_x & nan_y), count = differ & number;
		lanes_i ok = (((lanes_i)x & exponent) != exponent) & (((lanes_i)y & exponent) != exponent);
		lanes_f xo = (lanes_f)((lanes_i)x & ok), yo = (lanes_f)((lanes_i)y & ok), diff = xo - yo;
		lanes_f ax = (lanes_f)((lanes_i)x & magnitude), ay = (lanes_f)((lanes_i)y & magnitude), far, rel;
		lanes_i more = ax > ay;

		finite -= ok;
		unequal -= differ;
		nan -= nan_x ^ nan_y;
		aa += xo * xo;
		bb += yo * yo;
		ab += xo * yo;
		dd += diff * diff;
		/* Of unequal numbers; an infinite one is infinitely far from all others. */
		far = (lanes_f)((lanes_i)(x - y) & magnitude & count);
		rel = far / (lanes_f)(((lanes_i)ax & more) | ((lanes_i)ay & ~more));
		rel = (lanes_f)((((lanes_i)rel & ok) | (exponent & ~ok)) & count);
		more = far > max_abs;
		max_abs = (lanes_f)(((lanes_i)far & more) | ((lanes_i)max_abs & ~more));
		more = rel > max_rel;
		max_rel = (lanes_f)(((lanes_i)rel & more) | ((lanes_i)max_rel & ~more));
	}
	for (unsigned l = 0; l < LANES; l++) {
		d->finite += (uint64_t)finite[l];
		d->unequal += (uint64_t)unequal[l];
		d->nans += (uint64_t)nan[l];
		d->aa += aa[l];
		d->bb += bb[l];
		d->ab += ab[l];
		d->dd += dd[l];
		d->max_abs = max_abs[l] > d->max_abs ? max_abs[l] : d->max_abs;
		d->max_rel = max_rel[l] > d->max_rel ? max_rel[l] : d->max_rel;
	}
}

static const struct math_loops LOOPS(loops) = {
	.decode = {
		[TORCH_FLOAT64] = LOOPS(decode_f64), [TORCH_FLOAT32] = LOOPS(decode_f32),
		[TORCH_FLOAT16] = LOOPS(decode_f16), [TORCH_BFLOAT16] = LOOPS(decode_bf16),
		[TORCH_COMPLEX32] = LOOPS(decode_f16), [TORCH_COMPLEX64] = LOOPS(decode_f32),
		[TORCH_COMPLEX128] = LOOPS(decode_f64), [TORCH_INT8] = LOOPS(decode_i8),
		[TORCH_INT16] = LOOPS(decode_i16), [TORCH_INT32] = LOOPS(decode_i32),
		[TORCH_INT64] = LOOPS(decode_i64), [TORCH_UINT8] = LOOPS(decode_u8),
		[TORCH_UINT16] = LOOPS(decode_u16), [TORCH_UINT32] = LOOPS(decode_u32),
		[TORCH_UINT64] = LOOPS(decode_u64), [TORCH_BOOL] = LOOPS(decode_bool),
		[TORCH_QINT8] = LOOPS(decode_i8), [TORCH_QUINT8] = LOOPS(decode_u8),
		[TORCH_QINT32] = LOOPS(decode_i32),
		[TORCH_FLOAT8_E4M3FN] = decode_e4m3fn, [TORCH_FLOAT8_E5M2] = decode_e5m2,
		[TORCH_FLOAT8_E4M3FNUZ] = decode_e4m3fnuz, [TORCH_FLOAT8_E5M2FNUZ] = decode_e5m2fnuz,
		[TORCH_FLOAT8_E8M0FNU] = decode_e8m0fnu,
	},
	.sum = LOOPS(sum),
	.spread = LOOPS(spread),
	.pair = LOOPS(pair),
};
