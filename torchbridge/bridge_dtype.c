/*
 * bridge_dtype.c: conversions between the four floating-point dtypes.
 *
 * Six loops do it all: float32 from and to each of the others.  A conversion without float32 in it takes two
 * of them, some elements at a time on the stack.
 */
#include "bridge_dtype.h"

#include <stdint.h>
#include <string.h>

#if defined __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#endif

enum { STEP = 512 }; /* elements between the two halves of a conversion */

/* To float32, and from it. */
typedef void (*widen_fn)(const uint8_t *src, size_t n, float *dst);
typedef void (*narrow_fn)(const float *src, size_t n, uint8_t *dst);

struct loops {
	widen_fn widen[TORCH_BFLOAT16 + 1];
	narrow_fn narrow[TORCH_BFLOAT16 + 1];
};

static uint32_t bits_of(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof u);
	return u;
}

static float float_of(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof f);
	return f;
}

/*
 * ---- one element
 * -----------------------------------------------------------------------------------------------
 */

static uint16_t bfloat16_of(uint32_t u)
{
	if ((u & 0x7fffffff) > 0x7f800000)
		return 0x7fc0;
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static uint16_t half_of(uint32_t u)
{
	uint32_t sign = u >> 16 & 0x8000, a = u & 0x7fffffff;

	if (a > 0x7f800000)
		return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff));
	if (a >= 0x477ff000) /* 65520: halfway to what would be 65536 */
		return (uint16_t)(sign | 0x7c00);
	if (a < 0x38800000) {
		/*
		 * Below 2^-14: adding 0.5 leaves the significand in units of 2^-24, rounded by the machine.
		 */
		float f = float_of(a) + 0.5F;

		return (uint16_t)(sign | (bits_of(f) - 0x3f000000));
	}
	a -= (127 - 15) << 23;
	return (uint16_t)(sign | (a + 0xfff + (a >> 13 & 1)) >> 13);
}

static uint32_t of_half(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, a = h & 0x7fff;

	if (a > 0x7c00)
		return sign | 0x7fc00000 | a << 13;
	if (a == 0x7c00)
		return sign | 0x7f800000;
	if (a >= 0x400)
		return sign | ((a << 13) + ((127 - 15) << 23));
	return sign | bits_of((float)a * 0x1p-24F);
}

/*
 * ---- loops, for any machine
 * ------------------------------------------------------------------------------------
 */

static void widen_double(const uint8_t *src, size_t n, float *dst)
{
	for (size_t i = 0; i < n; i++) {
		double d;

		memcpy(&d, src + 8 * i, sizeof d);
		dst[i] = (float)d;
	}
}

static void widen_float(const uint8_t *src, size_t n, float *dst)
{
	memcpy(dst, src, n * sizeof *dst);
}

static void widen_half(const uint8_t *src, size_t n, float *dst)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t h;

		memcpy(&h, src + 2 * i, sizeof h);
		dst[i] = float_of(of_half(h));
	}
}

static void widen_bfloat16(const uint8_t *src, size_t n, float *dst)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t h;

		memcpy(&h, src + 2 * i, sizeof h);
		dst[i] = float_of((uint32_t)h << 16);
	}
}

static void narrow_double(const float *src, size_t n, uint8_t *dst)
{
	for (size_t i = 0; i < n; i++) {
		double d = src[i];

		memcpy(dst + 8 * i, &d, sizeof d);
	}
}

static void narrow_float(const float *src, size_t n, uint8_t *dst)
{
	memcpy(dst, src, n * sizeof *src);
}

static void narrow_half(const float *src, size_t n, uint8_t *dst)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t h = half_of(bits_of(src[i]));

		memcpy(dst + 2 * i, &h, sizeof h);
	}
}

static void narrow_bfloat16(const float *src, size_t n, uint8_t *dst)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t h = bfloat16_of(bits_of(src[i]));

		memcpy(dst + 2 * i, &h, sizeof h);
	}
}

static const struct loops plain = {
	.widen = { [TORCH_FLOAT64] = widen_double,
			[TORCH_FLOAT32] = widen_float,
			[TORCH_FLOAT16] = widen_half,
			[TORCH_BFLOAT16] = widen_bfloat16 },
	.narrow = { [TORCH_FLOAT64] = narrow_double,
			[TORCH_FLOAT32] = narrow_float,
			[TORCH_FLOAT16] = narrow_half,
			[TORCH_BFLOAT16] = narrow_bfloat16 },
};

/*
 * ---- loops with AVX2 and F16C
 * ----------------------------------------------------------------------------------
 */

#if defined __x86_64__
#define VECTOR __attribute__((target("avx2,f16c")))

VECTOR static void vector_widen_half(const uint8_t *src, size_t n, float *dst)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		_mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(src + 2 * i))));
	widen_half(src + 2 * i, n - i, dst + i);
}

VECTOR static void vector_widen_bfloat16(const uint8_t *src, size_t n, float *dst)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		__m256i v = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i_u *)(src + 2 * i)));

		_mm256_storeu_ps(dst + i, _mm256_castsi256_ps(_mm256_slli_epi32(v, 16)));
	}
	widen_bfloat16(src + 2 * i, n - i, dst + i);
}

VECTOR static void vector_widen_double(const uint8_t *src, size_t n, float *dst)
{
	size_t i = 0;

	for (; i + 4 <= n; i += 4)
		_mm_storeu_ps(dst + i, _mm256_cvtpd_ps(_mm256_castsi256_pd(_mm256_loadu_si256(
						       (const __m256i_u *)(src + 8 * i)))));
	widen_double(src + 8 * i, n - i, dst + i);
}

VECTOR static void vector_narrow_double(const float *src, size_t n, uint8_t *dst)
{
	size_t i = 0;

	for (; i + 4 <= n; i += 4)
		_mm256_storeu_si256((__m256i_u *)(dst + 8 * i),
				_mm256_castpd_si256(_mm256_cvtps_pd(_mm_loadu_ps(src + i))));
	narrow_double(src + i, n - i, dst + 8 * i);
}

VECTOR static void vector_narrow_half(const float *src, size_t n, uint8_t *dst)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		_mm_storeu_si128((__m128i_u *)(dst + 2 * i),
				_mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
	narrow_half(src + i, n - i, dst + 2 * i);
}

/* Eight bfloat16 as the low halves of eight numbers. */
VECTOR static inline __m256i vector_bfloat16(__m256i u)
{
	__m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
	__m256i up = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
	__m256i nan = _mm256_cmpgt_epi32(
			_mm256_and_si256(u, _mm256_set1_epi32(0x7fffffff)), _mm256_set1_epi32(0x7f800000));

	return _mm256_blendv_epi8(_mm256_srli_epi32(up, 16), _mm256_set1_epi32(0x7fc0), nan);
}

VECTOR static void vector_narrow_bfloat16(const float *src, size_t n, uint8_t *dst)
{
	size_t i = 0;

	for (; i + 16 <= n; i += 16) {
		__m256i lo = vector_bfloat16(_mm256_loadu_si256((const __m256i_u *)(src + i)));
		__m256i hi = vector_bfloat16(_mm256_loadu_si256((const __m256i_u *)(src + i + 8)));

		/* Packing goes by halves of the registers: put the quarters back in order. */
		_mm256_storeu_si256((__m256i_u *)(dst + 2 * i),
				_mm256_permute4x64_epi64(_mm256_packus_epi32(lo, hi), 0xd8));
	}
	narrow_bfloat16(src + i, n - i, dst + 2 * i);
}

static const struct loops vector = {
	.widen = { [TORCH_FLOAT64] = vector_widen_double,
			[TORCH_FLOAT32] = widen_float,
			[TORCH_FLOAT16] = vector_widen_half,
			[TORCH_BFLOAT16] = vector_widen_bfloat16 },
	.narrow = { [TORCH_FLOAT64] = vector_narrow_double,
			[TORCH_FLOAT32] = narrow_float,
			[TORCH_FLOAT16] = vector_narrow_half,
			[TORCH_BFLOAT16] = vector_narrow_bfloat16 },
};
#endif

#if defined __x86_64__
/* cpuid, leaf 1 (Intel SDM, volume 2A): not every compiler's __builtin_cpu_supports() knows the name. */
static bool has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

static const struct loops *best(void)
{
#if defined __x86_64__
	if (__builtin_cpu_supports("avx2") && has_f16c())
		return &vector;
#endif
	return &plain;
}

/*
 * ---- all
 * -------------------------------------------------------------------------------------------------------
 */

bool bridge_dtype_converts(enum torch_dtype from, enum torch_dtype to)
{
	return from == to || (torch_dtype_info(from)->floating && torch_dtype_info(to)->floating);
}

static void convert(const struct loops *loops, enum torch_dtype from, enum torch_dtype to, const uint8_t *src,
		size_t count, uint8_t *dst)
{
	size_t from_width = torch_dtype_info(from)->width, to_width = torch_dtype_info(to)->width;
	float between[STEP];

	if (from == to) {
		memcpy(dst, src, count * from_width);
		return;
	}
	/* With float32 on one side there is only one loop, unless its elements lie askew. */
	if (from == TORCH_FLOAT32 && (uintptr_t)src % sizeof(float) == 0) {
		loops->narrow[to]((const void *)src, count, dst);
		return;
	}
	if (to == TORCH_FLOAT32 && (uintptr_t)dst % sizeof(float) == 0) {
		loops->widen[from](src, count, (void *)dst);
		return;
	}
	while (count > 0) {
		size_t n = count < STEP ? count : STEP;

		loops->widen[from](src, n, between);
		loops->narrow[to](between, n, dst);
		src += n * from_width;
		dst += n * to_width;
		count -= n;
	}
}

void bridge_dtype_convert(
		enum torch_dtype from, enum torch_dtype to, const void *src, size_t count, void *dst)
{
	convert(best(), from, to, src, count, dst);
}

void bridge_dtype_convert_plain(
		enum torch_dtype from, enum torch_dtype to, const void *src, size_t count, void *dst)
{
	convert(&plain, from, to, src, count, dst);
}

/* Bytes of the numbers that an element consists of, and how many they are. */
static size_t number_width(enum torch_dtype dtype, size_t *numbers)
{
	*numbers = dtype == TORCH_COMPLEX32 || dtype == TORCH_COMPLEX64 || dtype == TORCH_COMPLEX128 ? 2 : 1;
	return torch_dtype_info(dtype)->width / *numbers;
}

void bridge_dtype_negate(enum torch_dtype dtype, void *p, size_t count)
{
	size_t numbers, width = number_width(dtype, &numbers);
	uint8_t *b = p;

	for (size_t i = 0; i < count * numbers; i++)
		b[(i + 1) * width - 1] ^= 0x80;
}

void bridge_dtype_conjugate(enum torch_dtype dtype, void *p, size_t count)
{
	size_t numbers, width = number_width(dtype, &numbers);
	uint8_t *b = p;

	for (size_t i = 0; numbers == 2 && i < count; i++)
		b[(2 * i + 2) * width - 1] ^= 0x80;
}
