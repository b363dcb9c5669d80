/*
 * codec_simd.c: see codec_simd.h.  The loops are in codec_simd_loops.h, included once for each machine.
 */
#include "codec/codec_simd.h"

#include <string.h>

#include "codec/codec_bins.h"
#include "codec/codec_rans.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "elements are taken for little-endian"
#endif

/* gcc vectorises little at -O2; others do not mind */
#if defined __GNUC__ && !defined __clang__
#pragma GCC optimize("O3")
#endif

typedef uint8_t load1 __attribute__((may_alias));
typedef uint16_t load2 __attribute__((aligned(1), may_alias));
typedef uint32_t load4 __attribute__((aligned(1), may_alias));
typedef uint64_t load8 __attribute__((aligned(1), may_alias));

/*
 * The token of the length scheme.  A float's exponent and top mantissa bit are the length and the bit that
 * follows the leading one; clearing the bit 8 below the leading one keeps rounding from changing them.
 */
static inline uint32_t token_of_4(uint32_t u)
{
	int32_t m = (int32_t)(u >> 1), least = m < 1 ? m : 1, t;
	union {
		float f;
		int32_t bits;
	} v = { .f = (float)(m & ~(m >> 8)) };

	t = (v.bits >> 22) - 254; /* right from 2 on, no more than `least` below */
	return (uint32_t)(2 * (t > least ? t : least)) + (u & 1);
}

static inline uint32_t token_of_8(uint64_t u)
{
	uint64_t m = u >> 1;
	unsigned len = 64 - (unsigned)__builtin_clzll(m | 2);

	return 2 * (m < 4 ? (uint32_t)m : 2 * (len - 1) + (uint32_t)(m >> (len - 2) & 1)) + (uint32_t)(u & 1);
}

/*
 * log2 v: the exponent of v as a float, and of its mantissa a polynomial, right at both ends.  Of 0:
 * something.
 */
static inline float log2_of(int32_t v)
{
	union {
		float f;
		int32_t bits;
	} whole = { .f = (float)v }, part = { .bits = (whole.bits & 0x7fffff) | 0x3f800000 };
	float x = part.f - 1;

	return (float)((whole.bits >> 23) - 127) +
	       x * (1.4387256f + x * (-0.6777835f + x * (0.3211882f + x * -0.0821303f)));
}

#define token_of_1(u) (u)
#define token_of_2(u) token_of_4(u)

#define LOOPS_TARGET
#define LOOPS(name) plain_##name
#define LOOPS_TABLE codec_loops_plain
#define LOOPS_LINKAGE
#include "codec/codec_simd_loops.h"

#if defined __x86_64__
#undef LOOPS_TARGET
#undef LOOPS
#undef LOOPS_TABLE
#undef LOOPS_LINKAGE
#define LOOPS_TARGET __attribute__((target("avx2,bmi,bmi2,popcnt")))
#define LOOPS(name) avx2_##name
#define LOOPS_TABLE loops_avx2
#define LOOPS_LINKAGE static
#include "codec/codec_simd_loops.h"
#endif

const struct codec_loops *codec_loops(void)
{
#if defined __x86_64__
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
			__builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt"))
		return &loops_avx2;
#endif
	return &codec_loops_plain;
}
