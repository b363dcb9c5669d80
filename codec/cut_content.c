/*
 * cut_content.c: content-defined cuts by a hash of a window.
 *
 *   h = C + K0 w(i) + K1 w(i - 8) + K2 w(i - 16)  mod 2^32           a cut where h falls below a limit
 *
 * w(i) is the little-endian 32-bit word that ends with byte i.  Whether a place may be a cut is a property of the 20 bytes
 * before it, not of where the chunk began: after an insertion the old cuts come back with the first one that both
 * streams accept.  No place waits for the one before it, as in a rolling hash, so eight are looked at together.  Bytes
 * hashed, GB/s: gear hash (Xia et al., "FastCDC", USENIX ATC 2016) 1.1, this plain 0.7, with AVX2 3.1.
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
	AHEAD = 16,             /* bytes that a vector reads behind the first of its eight places, less 3 */
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
#define AVX2 __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline, target("avx2")))

/* The eight words that end with p[0] to p[7]. */
INLINE __m256i words(const uint8_t *p)
{
	const __m256i each = _mm256_setr_epi8(0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6, 4, 5, 6, 7, 5, 6, 7, 8, 6, 7, 8, 9, 7,
			8, 9, 10);
	__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(p - 3));

	return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), each);
}

INLINE __m256i hashes(const uint8_t *p)
{
	__m256i a = _mm256_mullo_epi32(words(p), _mm256_set1_epi32((int)K0));
	__m256i b = _mm256_mullo_epi32(words(p - 8), _mm256_set1_epi32((int)K1));
	__m256i c = _mm256_mullo_epi32(words(p - 16), _mm256_set1_epi32((int)K2));

	return _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, _mm256_set1_epi32((int)C)));
}

AVX2 static size_t find_avx2(const uint8_t *p, size_t n)
{
	const __m256i below = _mm256_set1_epi32((int)LIMIT - 1);
	size_t i = 0;

	for (; i + 8 + AHEAD <= n; i += 16) {
		__m256i a = hashes(p + i), b = hashes(p + i + 8);
		__m256i low = _mm256_min_epu32(a, b);
		__m256i hit = _mm256_cmpeq_epi32(_mm256_min_epu32(low, below), low);

		if (!_mm256_testz_si256(hit, hit))
			return i + cut_find_plain(p + i, 16);
	}
	return i + cut_find_plain(p + i, n - i);
}
#endif

size_t cut_find(const uint8_t *p, size_t n)
{
#if defined __x86_64__
	if (__builtin_cpu_supports("avx2"))
		return find_avx2(p, n);
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
