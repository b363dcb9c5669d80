/*
 * cut_content.c: content-defined cuts by a hash of a window.
 *
 *   h = C + K0 w(i) + K1 w(i - 8) + K2 w(i - 16)  mod 2^32           a cut where h falls below a limit
 *
 * w(i) is the little-endian 32-bit word that ends with byte i.  Whether a place may be a cut is a property of the 20 bytes
 * before it, not of where the chunk began: after an insertion the old cuts come back with the first one that both
 * streams accept.  No place waits for the one before it, as in a rolling hash, so many are looked at together.  Bytes
 * hashed, GB/s: gear hash (Xia et al., "FastCDC", USENIX ATC 2016) 1.1, this plain 0.7, with AVX2 4.2 (with 32-bit
 * products 2.5), with AVX-512 6.0.
 *
 *   0              MIN - WINDOW MIN                                       MAX
 *   |  not looked at     |      |  a cut at one of MEAN bytes              | cut
 *
 * After an edit the new cuts meet the old ones when both streams, MIN behind a cut of their own, wait for the
 * same place.  Four schemes of 256 KiB on average, in 256 MiB of noise with 20 to 170 KiB put in every 4 MiB (bytes
 * hashed, of all; KiB that are no known chunks, for each edit, with those put in):
 *
 *   MIN  64, places of 2^-20 a byte up to 208, then 2^-16 (FastCDC's normalised chunking)     0.75    694
 *   MIN 128, MEAN 128                                                                         0.50    493
 *   MIN 144, MEAN 112                                                                         0.44    486
 *   MIN 176, MEAN  80                                                                         0.31    553
 *
 * On a run of one byte value h stands still, and not below the limit for any of the 256 values (a test looks): such a run
 * is cut at MAX, so the zeros of an empty optimizer are pieces of one and the same chunk, wherever they lie.  Runs with a
 * longer period behave alike each time they come, too.
 *
 * The numbers are part of what makes two stores cut alike, but never of what a store means: they may change.
 */
#include "cut_internal.h"

#include <endian.h>
#include <string.h>

#if defined __x86_64__
#include <immintrin.h>
#endif

enum {
	WINDOW = CUT_WINDOW,
	MIN = 144 << 10,
	MEAN = 112 << 10,
	MAX = CODEC_CHUNK_MAX,
};

/* The first outputs of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) seeded with 0, the multipliers made odd. */
#define K0 UINT32_C(0xe220a839)
#define K1 UINT32_C(0x6e789e6b)
#define K2 UINT32_C(0x06c45d19)
#define C UINT32_C(0xf88bb8a8)
#define LIMIT (UINT32_MAX / MEAN)

static uint32_t word(const uint8_t *p)
{
	uint32_t w;

	memcpy(&w, p - 3, sizeof w);
	return le32toh(w);
}

size_t cut_find_plain(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (C + K0 * word(p + i) + K1 * word(p + i - 8) + K2 * word(p + i - 16) < LIMIT)
			return i;
	return n;
}

#if defined __x86_64__
/*
 * A vector's 16-bit lanes are every other place.  With w = lo + 2^16 hi, and K alike, the upper half of h is
 *
 *   upper(C) + for each term  (K.lo lo >> 16) + K.lo hi + K.hi lo  mod 2^16,  and a carry of 0 to 3 from the lower halves
 *
 * LIMIT is below 2^16, so at a cut it is 0, and without the carry one of -3 to 0: one place in 2^14, which is looked at again.
 */
#define UPPER ((int16_t)((C >> 16) + 3))
#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f,avx512bw")))

AVX2 static inline __attribute__((always_inline)) __m256i term_avx2(const uint8_t *p, uint32_t k)
{
	__m256i lo = _mm256_loadu_si256((const __m256i *)(const void *)(p - 3));
	__m256i hi = _mm256_loadu_si256((const __m256i *)(const void *)(p - 1));
	__m256i klo = _mm256_set1_epi16((int16_t)k), khi = _mm256_set1_epi16((int16_t)(k >> 16));
	__m256i sum = _mm256_add_epi16(_mm256_mullo_epi16(hi, klo), _mm256_mullo_epi16(lo, khi));

	return _mm256_add_epi16(_mm256_mulhi_epu16(lo, klo), sum);
}

/* Of p[0], p[2], ... p[30]: at most 3 where there may be a cut. */
AVX2 static inline __attribute__((always_inline)) __m256i uppers_avx2(const uint8_t *p)
{
	__m256i sum = _mm256_add_epi16(term_avx2(p, K0), term_avx2(p - 8, K1));

	return _mm256_add_epi16(sum, _mm256_add_epi16(term_avx2(p - 16, K2), _mm256_set1_epi16(UPPER)));
}

AVX2 size_t cut_find_avx2(const uint8_t *p, size_t n)
{
	size_t i = 0, at;

	for (; i + 32 <= n; i += 32) {
		__m256i low = _mm256_min_epu16(uppers_avx2(p + i), uppers_avx2(p + i + 1));
		__m256i hit = _mm256_cmpeq_epi16(_mm256_min_epu16(low, _mm256_set1_epi16(3)), low);

		if (_mm256_testz_si256(hit, hit))
			continue;
		at = cut_find_plain(p + i, 32);
		if (at < 32)
			return i + at;
	}
	return i + cut_find_plain(p + i, n - i);
}

AVX512 static inline __attribute__((always_inline)) __m512i term_avx512(const uint8_t *p, uint32_t k)
{
	__m512i lo = _mm512_loadu_si512(p - 3), hi = _mm512_loadu_si512(p - 1);
	__m512i klo = _mm512_set1_epi16((int16_t)k), khi = _mm512_set1_epi16((int16_t)(k >> 16));
	__m512i sum = _mm512_add_epi16(_mm512_mullo_epi16(hi, klo), _mm512_mullo_epi16(lo, khi));

	return _mm512_add_epi16(_mm512_mulhi_epu16(lo, klo), sum);
}

AVX512 static inline __attribute__((always_inline)) __m512i uppers_avx512(const uint8_t *p)
{
	__m512i sum = _mm512_add_epi16(term_avx512(p, K0), term_avx512(p - 8, K1));

	return _mm512_add_epi16(sum, _mm512_add_epi16(term_avx512(p - 16, K2), _mm512_set1_epi16(UPPER)));
}

AVX512 static size_t find_avx512(const uint8_t *p, size_t n)
{
	size_t i = 0, at;

	for (; i + 64 <= n; i += 64) {
		__m512i low = _mm512_min_epu16(uppers_avx512(p + i), uppers_avx512(p + i + 1));

		if (_mm512_cmple_epu16_mask(low, _mm512_set1_epi16(3)) == 0)
			continue;
		at = cut_find_plain(p + i, 64);
		if (at < 64)
			return i + at;
	}
	return i + cut_find_plain(p + i, n - i);
}
#else
size_t cut_find_avx2(const uint8_t *p, size_t n)
{
	return cut_find_plain(p, n);
}
#endif

size_t cut_find(const uint8_t *p, size_t n)
{
#if defined __x86_64__
	if (__builtin_cpu_supports("avx512bw"))
		return find_avx512(p, n);
	if (__builtin_cpu_supports("avx2"))
		return cut_find_avx2(p, n);
#endif
	return cut_find_plain(p, n);
}

/* Remembers the last bytes told: p[0, n) came behind what is remembered. */
static void remember(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	if (n < WINDOW)
		memmove(c->last, c->last + n, WINDOW - n);
	size_t k = n < WINDOW ? n : WINDOW;

	memcpy(c->last + WINDOW - k, p + n - k, k);
}

/* The first place among the n >= 1 bytes behind those remembered; n: none. */
static size_t find(const struct codec_cutter *c, const uint8_t *p, size_t n)
{
	uint8_t seam[2 * WINDOW];
	size_t k = n < WINDOW ? n : WINDOW;

	memcpy(seam, c->last, WINDOW);
	memcpy(seam + WINDOW, p, k);
	size_t at = cut_find_plain(seam + WINDOW, k);

	return at < k || n == k ? at : k + cut_find(p + k, n - k);
}

size_t cut_content(struct codec_cutter *c, const uint8_t *p, size_t n, bool *end)
{
	size_t most = n < MAX - c->pos ? n : MAX - c->pos, from = 0, at;

	/* The last byte of a chunk is at MIN - 1 or behind. */
	if (c->pos < MIN - 1)
		from = most < MIN - 1 - c->pos ? most : MIN - 1 - c->pos;
	if (from > 0)
		remember(c, p, from);
	at = from < most ? from + find(c, p + from, most - from) : most;
	if (at < most) {
		*end = true;
		most = at + 1;
	}
	if (most > from)
		remember(c, p + from, most - from);
	c->pos += (uint32_t)most;
	if (c->pos == MAX)
		*end = true;
	return most;
}
