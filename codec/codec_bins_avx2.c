/*
 * codec_bins_avx2.c: low bits of values of 2 and 4 bytes, eight at a time.
 *
 * Most blocks have tokens whose low bits and beginnings follow from the token by arithmetic, so no table is
 * asked.  Writing, low bits are first joined in pairs, those of short values in fours, and then appended one
 * after the other.  Reading, the sum of the widths before a value tells where its bits are, and all eight are
 * fetched at once.
 */
#include "codec/codec_bins_internal.h"

#if defined __x86_64__
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,bmi2")))
#define INLINE static inline __attribute__((always_inline, target("avx2,bmi2")))

bool bins_have_avx2(unsigned lg)
{
	return (lg == 1 || lg == 2) && __builtin_cpu_supports("avx2") &&
	       __builtin_cpu_supports("bmi2");
}

/* What is the same for all values. */
struct constants {
	__m256i limit, low, first, one, two, four, half;
	bool length;
};

INLINE struct constants constants_of(const struct bins *b)
{
	return (struct constants){ .limit = _mm256_set1_epi32((int)b->regular - 1),
		.low = _mm256_set1_epi32(b->bits[0]),
		.first = _mm256_set1_epi32((int)b->first),
		.one = _mm256_set1_epi32(1),
		.two = _mm256_set1_epi32(2),
		.four = _mm256_set1_epi32(4),
		.half = _mm256_set1_epi64x(UINT32_MAX),
		.length = b->shift == 1 };
}

INLINE bool any(__m256i lanes)
{
	return !_mm256_testz_si256(lanes, lanes);
}

INLINE __m256i load_tokens(const uint8_t *token)
{
	return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)token));
}

/* How many low bits each token has. */
INLINE __m256i widths(const struct constants *c, __m256i t)
{
	if (!c->length)
		return c->low;
	return _mm256_max_epi32(_mm256_sub_epi32(_mm256_srli_epi32(t, 2), c->one), _mm256_setzero_si256());
}

INLINE __m256i low_mask(__m256i k)
{
	return _mm256_sllv_epi32(_mm256_set1_epi32(-1), k);
}

/* The low bits of eight values, joined in pairs, and the pairs' lengths. */
INLINE __m256i pairs(const struct constants *c, const uint8_t *u, __m256i k, unsigned lg, __m256i *len)
{
	__m256i v = lg == 1 ? _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)u))
			    : _mm256_loadu_si256((const __m256i *)u);
	__m256i even = _mm256_and_si256(k, c->half);

	v = _mm256_andnot_si256(low_mask(k), c->length ? _mm256_srli_epi32(v, 1) : v);
	*len = _mm256_add_epi64(even, _mm256_srli_epi64(k, 32));
	return _mm256_or_si256(
			_mm256_and_si256(v, c->half), _mm256_sllv_epi64(_mm256_srli_epi64(v, 32), even));
}

INLINE size_t put(const struct bins *b, const uint8_t *u, const uint8_t *token, size_t i, size_t n,
		struct bins_writer *out, unsigned lg)
{
	const struct constants c = constants_of(b);
	struct bins_writer w = *out;

	for (; n - i >= BINS_BLOCK; i += BINS_BLOCK) {
		__m256i t[2] = { load_tokens(token + i), load_tokens(token + i + 8) }, p[2], len[2];
		uint64_t bits[8], wide[8];
		unsigned step = lg == 1 ? 2 : 1;

		if (any(_mm256_cmpgt_epi32(_mm256_max_epi32(t[0], t[1]), c.limit)))
			break;
		for (unsigned h = 0; h < 2; h++) {
			p[h] = pairs(&c, u + ((i + 8 * h) << lg), widths(&c, t[h]), lg, &len[h]);
			if (lg == 1) { /* four of up to 14 bits fit, too: in the lower half of each 128 */
				p[h] = _mm256_or_si256(
						p[h], _mm256_sllv_epi64(_mm256_srli_si256(p[h], 8), len[h]));
				len[h] = _mm256_add_epi64(len[h], _mm256_srli_si256(len[h], 8));
			}
			_mm256_storeu_si256((__m256i *)(bits + 4 * h), p[h]);
			_mm256_storeu_si256((__m256i *)(wide + 4 * h), len[h]);
		}
		if (lg == 2 && c.length &&
				any(_mm256_cmpgt_epi32(_mm256_max_epi32(len[0], len[1]),
						_mm256_set1_epi32(BINS_APPEND_MAX))))
			break;
		for (unsigned k = 0; k < 8; k += step)
			bins_append(&w, bits[k], (unsigned)wide[k]);
	}
	*out = w;
	return i;
}

AVX2 size_t bins_put_avx2(const struct bins *b, const uint8_t *u, const uint8_t *token, size_t i, size_t n,
		struct bins_writer *w)
{
	return b->lg == 1 ? put(b, u, token, i, n, w, 1) : put(b, u, token, i, n, w, 2);
}

/* Sums of lanes up to each one, itself included. */
INLINE __m256i sums(__m256i k)
{
	__m256i low;

	k = _mm256_add_epi32(k, _mm256_slli_si256(k, 4));
	k = _mm256_add_epi32(k, _mm256_slli_si256(k, 8));
	low = _mm256_shuffle_epi32(
			_mm256_permute2x128_si256(k, k, 0x08), 0xff); /* 0, then the lower half's sum */
	return _mm256_add_epi32(k, low);
}

/* The bits from bit `from` of in on, 8 times; of 32-bit loads the first 25 are right, of 64-bit ones all 32. */
INLINE __m256i fetch(const uint8_t *in, __m256i from, unsigned lg)
{
	__m256i byte = _mm256_srli_epi32(from, 3), bit = _mm256_and_si256(from, _mm256_set1_epi32(7)), a, b;

	if (lg == 1)
		return _mm256_srlv_epi32(_mm256_i32gather_epi32((const int *)(const void *)in, byte, 1), bit);
	a = _mm256_i32gather_epi64((const long long *)(const void *)in, _mm256_castsi256_si128(byte), 1);
	b = _mm256_i32gather_epi64((const long long *)(const void *)in, _mm256_extracti128_si256(byte, 1), 1);
	a = _mm256_srlv_epi64(a, _mm256_cvtepu32_epi64(_mm256_castsi256_si128(bit)));
	b = _mm256_srlv_epi64(b, _mm256_cvtepu32_epi64(_mm256_extracti128_si256(bit, 1)));
	a = _mm256_castps_si256(_mm256_shuffle_ps(
			_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), _MM_SHUFFLE(2, 0, 2, 0)));
	return _mm256_permute4x64_epi64(a, _MM_SHUFFLE(3, 1, 2, 0));
}

/* The values of tokens t with these low bits, k of them. */
INLINE __m256i values(const struct constants *c, __m256i t, __m256i k, __m256i low)
{
	__m256i m = _mm256_srli_epi32(t, 1), lead;

	if (!c->length)
		return _mm256_or_si256(_mm256_sllv_epi32(_mm256_add_epi32(c->first, t), k), low);
	lead = _mm256_or_si256(_mm256_and_si256(m, c->one), c->two);
	lead = _mm256_blendv_epi8(lead, m, _mm256_cmpgt_epi32(c->four, m));
	return _mm256_or_si256(_mm256_slli_epi32(_mm256_or_si256(_mm256_sllv_epi32(lead, k), low), 1),
			_mm256_and_si256(t, c->one));
}

INLINE size_t get(const struct bins *b, const uint8_t *token, size_t i, size_t n, const uint8_t *in,
		size_t len, uint64_t *at_bit, uint8_t *u, unsigned lg)
{
	const struct constants c = constants_of(b);
	uint64_t at = *at_bit;

	/* eight values take at most 32 bytes, and 8 are read at the last one's */
	for (; n - i >= 8 && at / 8 + 64 <= len; i += 8) {
		__m256i t = load_tokens(token + i), k = widths(&c, t), end = sums(k), v;

		if (any(_mm256_cmpgt_epi32(t, c.limit)))
			break;
		v = _mm256_add_epi32(_mm256_sub_epi32(end, k), _mm256_set1_epi32((int)(at & 7)));
		v = values(&c, t, k, _mm256_andnot_si256(low_mask(k), fetch(in + at / 8, v, lg)));
		if (lg == 1)
			_mm_storeu_si128((__m128i *)(u + (i << 1)),
					_mm_packus_epi32(_mm256_castsi256_si128(v),
							_mm256_extracti128_si256(v, 1)));
		else
			_mm256_storeu_si256((__m256i *)(u + (i << 2)), v);
		at += (unsigned)_mm256_extract_epi32(end, 7);
	}
	*at_bit = at;
	return i;
}

AVX2 size_t bins_get_avx2(const struct bins *b, const uint8_t *token, size_t i, size_t n, const uint8_t *in,
		size_t len, uint64_t *at, uint8_t *u)
{
	return b->lg == 1 ? get(b, token, i, n, in, len, at, u, 1) : get(b, token, i, n, in, len, at, u, 2);
}

#else

bool bins_have_avx2(unsigned lg)
{
	(void)lg;
	return false;
}

size_t bins_put_avx2(const struct bins *b, const uint8_t *u, const uint8_t *token, size_t i, size_t n,
		struct bins_writer *w)
{
	(void)b, (void)u, (void)token, (void)n, (void)w;
	return i;
}

size_t bins_get_avx2(const struct bins *b, const uint8_t *token, size_t i, size_t n, const uint8_t *in,
		size_t len, uint64_t *at, uint8_t *u)
{
	(void)b, (void)token, (void)n, (void)in, (void)len, (void)at, (void)u;
	return i;
}

#endif
