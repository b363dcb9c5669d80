/*
 * codec_simd_loops.h: the loops of codec_simd.h, included by codec_simd.c for each kind of machine with
 *
 *   LOOPS_TARGET   attributes of each function
 *   LOOPS(name)    how its functions are called
 *   LOOPS_TABLE    the table that this defines, and LOOPS_LINKAGE before it
 */

#define LOOPS_OF(W, U, T)                                                                                    \
	LOOPS_TARGET static void LOOPS(split##W)(const uint8_t *x, size_t n, uint8_t *planes)                \
	{                                                                                                    \
		for (size_t i = 0; i < n; i++)                                                               \
			for (unsigned p = 0; p < W; p++)                                                     \
				planes[p * n + i] = x[W * i + p];                                            \
	}                                                                                                    \
	LOOPS_TARGET static void LOOPS(merge##W)(const uint8_t *planes, size_t n, uint8_t *x)                \
	{                                                                                                    \
		for (size_t i = 0; i < n; i++)                                                               \
			for (unsigned p = 0; p < W; p++)                                                     \
				x[W * i + p] = planes[p * n + i];                                            \
	}                                                                                                    \
	LOOPS_TARGET static uint64_t LOOPS(rotate##W)(                                                       \
			const uint8_t *x, size_t n, uint8_t *u, uint64_t *changing)                          \
	{                                                                                                    \
		const load##W *from = (const load##W *)x;                                                    \
		load##W *to = (load##W *)u;                                                                  \
		U used = 0, change = 0, first = n > 0 ? from[0] : 0;                                         \
                                                                                                             \
		first = (U)(first << 1 | first >> (8 * W - 1));                                              \
		for (size_t i = 0; i < n; i++) {                                                             \
			U v = (U)(from[i] << 1 | from[i] >> (8 * W - 1));                                    \
                                                                                                             \
			to[i] = v;                                                                           \
			used |= v;                                                                           \
			change |= (U)(v ^ first);                                                            \
		}                                                                                            \
		*changing = change;                                                                          \
		return used;                                                                                 \
	}                                                                                                    \
	LOOPS_TARGET static void LOOPS(unrotate##W)(const uint8_t *u, size_t n, uint8_t *x)                  \
	{                                                                                                    \
		const load##W *from = (const load##W *)u;                                                    \
		load##W *to = (load##W *)x;                                                                  \
                                                                                                             \
		for (size_t i = 0; i < n; i++)                                                               \
			to[i] = (U)(from[i] >> 1 | from[i] << (8 * W - 1));                                  \
	}                                                                                                    \
	LOOPS_TARGET static void LOOPS(squeeze##W)(uint8_t * u, size_t n, unsigned drop, bool sign)          \
	{                                                                                                    \
		load##W *at = (load##W *)u;                                                                  \
                                                                                                             \
		for (size_t i = 0; i < n; i++)                                                               \
			at[i] = (U)((U)(at[i] >> 1 >> drop) << sign | (at[i] & sign));                       \
	}                                                                                                    \
	LOOPS_TARGET static void LOOPS(stretch##W)(                                                          \
			uint8_t * u, size_t n, unsigned drop, bool sign, bool negative)                      \
	{                                                                                                    \
		const U keep = (U)sign, rest = (U)(negative && !sign);                                       \
		load##W *at = (load##W *)u;                                                                  \
                                                                                                             \
		for (size_t i = 0; i < n; i++)                                                               \
			at[i] = (U)((U)((U)(at[i] >> sign) << drop) << 1 | (at[i] & keep) | rest);           \
	}                                                                                                    \
	LOOPS_TARGET static void LOOPS(difference##W)(                                                       \
			const uint8_t *x, const uint8_t *b, size_t n, bool ordered, uint8_t *u)              \
	{                                                                                                    \
		const load##W *px = (const load##W *)x, *pb = (const load##W *)b;                            \
		const U magnitude = (U)(ordered ? (U) ~(U)0 >> 1 : (U) ~(U)0), sign = (U)~magnitude;         \
		const U flip = ordered ? magnitude : 0;                                                      \
		load##W *to = (load##W *)u;                                                                  \
                                                                                                             \
		for (size_t i = 0; i < n; i++) {                                                             \
			U ox = (U)(px[i] ^ (pb[i] & sign));                                                  \
			U d = (U)((ox ^ ((U) - (U)(ox >> (8 * W - 1)) & flip)) - (pb[i] & magnitude));       \
                                                                                                             \
			to[i] = (U)((U)(d << 1) ^ (U) - (U)(d >> (8 * W - 1)));                              \
		}                                                                                            \
	}                                                                                                    \
	LOOPS_TARGET static void LOOPS(sum##W)(                                                              \
			const uint8_t *u, const uint8_t *b, size_t n, bool ordered, uint8_t *x)              \
	{                                                                                                    \
		const load##W *pu = (const load##W *)u, *pb = (const load##W *)b;                            \
		const U magnitude = (U)(ordered ? (U) ~(U)0 >> 1 : (U) ~(U)0), sign = (U)~magnitude;         \
		const U flip = ordered ? magnitude : 0;                                                      \
		load##W *to = (load##W *)x;                                                                  \
                                                                                                             \
		for (size_t i = 0; i < n; i++) {                                                             \
			U ox = (U)((U)(pu[i] >> 1 ^ (U) - (U)(pu[i] & 1)) + (pb[i] & magnitude));            \
                                                                                                             \
			to[i] = (U)(ox ^ ((U) - (U)(ox >> (8 * W - 1)) & flip) ^ (pb[i] & sign));            \
		}                                                                                            \
	}                                                                                                    \
	LOOPS_TARGET static void LOOPS(length_token##W)(const uint8_t *u, size_t n, uint8_t *token)          \
	{                                                                                                    \
		const load##W *from = (const load##W *)u;                                                    \
                                                                                                             \
		for (size_t i = 0; i < n; i++)                                                               \
			token[i] = (uint8_t)token_of_##W(from[i]);                                           \
	}                                                                                                    \
	LOOPS_TARGET static void LOOPS(float_token##W)(                                                      \
			const uint8_t *u, size_t n, unsigned shift, unsigned first, uint8_t *token)          \
	{                                                                                                    \
		const load##W *from = (const load##W *)u;                                                    \
		const T from_first = (T)first;                                                               \
                                                                                                             \
		for (size_t i = 0; i < n; i++) {                                                             \
			T t = (T)((T)(from[i] >> shift) - from_first);                                       \
                                                                                                             \
			t = t < BINS_FLOAT_REGULAR ? t : BINS_FLOAT_ESCAPE;                                  \
			token[i] = (uint8_t)(from[i] == 0 ? BINS_FLOAT_ZERO : t);                            \
		}                                                                                            \
	}                                                                                                    \
	LOOPS_TARGET static void LOOPS(exponent_context##W)(const uint8_t *x, size_t n, unsigned shift,      \
			unsigned top, unsigned most, uint8_t *ctx)                                           \
	{                                                                                                    \
		const load##W *from = (const load##W *)x;                                                    \
		const T above = (T)top, limit = (T)most;                                                     \
                                                                                                             \
		for (size_t i = 0; i < n; i++) {                                                             \
			T e = (T)((U)(from[i] << 1) >> shift);                                               \
			T c = (T)(above - (e < above ? e : above));                                          \
                                                                                                             \
			ctx[i] = (uint8_t)(c < limit ? c : limit);                                           \
		}                                                                                            \
	}                                                                                                    \
	LOOPS_TARGET static void LOOPS(scale_context##W)(const uint8_t *x, size_t n, unsigned shift,         \
			int part, const uint8_t *column, uint8_t *ctx)                                       \
	{                                                                                                    \
		const load##W *from = (const load##W *)x;                                                    \
                                                                                                             \
		for (size_t i = 0; i < n; i++) {                                                             \
			int c = part + column[i] - 2 * (int)((U)(from[i] << 1) >> shift);                    \
                                                                                                             \
			c = c > RANS_CONTEXTS - 1 ? RANS_CONTEXTS - 1 : c;                                   \
			ctx[i] = (uint8_t)(c < 0 ? 0 : c);                                                   \
		}                                                                                            \
	}

/* T is what tokens and exponents of values of type U are found in */
LOOPS_OF(1, uint8_t, uint32_t)
LOOPS_OF(2, uint16_t, uint16_t)
LOOPS_OF(4, uint32_t, uint32_t)
LOOPS_OF(8, uint64_t, uint32_t)
#undef LOOPS_OF

LOOPS_TARGET static double LOOPS(weigh)(const uint32_t count[256], unsigned *seen)
{
	enum { PARTS = 8 };
	float sum[PARTS] = { 0 };
	double all = 0;
	uint32_t some[PARTS] = { 0 };

	for (unsigned s = 0; s < 256; s += PARTS) {
		for (unsigned k = 0; k < PARTS; k++) {
			int32_t v = (int32_t)count[s + k];

			sum[k] += (float)v * log2_of(v);
			some[k] += v != 0;
		}
	}
	*seen = 0;
	for (unsigned k = 0; k < PARTS; k++) {
		all += (double)sum[k];
		*seen += some[k];
	}
	return all;
}

#define LOOPS_ROW(name)                                                                                      \
	{                                                                                                    \
		LOOPS(name##1), LOOPS(name##2), LOOPS(name##4), LOOPS(name##8)                               \
	}

LOOPS_LINKAGE const struct codec_loops LOOPS_TABLE = {
	.split = LOOPS_ROW(split),
	.merge = LOOPS_ROW(merge),
	.rotate = LOOPS_ROW(rotate),
	.unrotate = LOOPS_ROW(unrotate),
	.squeeze = LOOPS_ROW(squeeze),
	.stretch = LOOPS_ROW(stretch),
	.difference = LOOPS_ROW(difference),
	.sum = LOOPS_ROW(sum),
	.length_token = LOOPS_ROW(length_token),
	.float_token = LOOPS_ROW(float_token),
	.exponent_context = LOOPS_ROW(exponent_context),
	.scale_context = LOOPS_ROW(scale_context),
	.weigh = LOOPS(weigh),
};
#undef LOOPS_ROW
