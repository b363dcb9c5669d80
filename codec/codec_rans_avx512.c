/*
 * codec_rans_avx512.c: the loops of codec_rans_encode.c and codec_rans_decode.c with 16 lanes to a register.
 *
 * What takes AVX2 a shuffle by a table is an instruction here: packing the words of the lanes that ran full,
 * and dealing out words to those that ran low (VBMI2's compress and expand).
 */
#include "codec/codec_rans_internal.h"

#if defined __x86_64__
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt,bmi2")))
#define INLINE                                                                                               \
	static inline __attribute__((                                                                        \
			always_inline, target("avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt,bmi2")))

enum { LANES = 16, ODD = 0xaaaa };

bool rans_have_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi2") &&
	       __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi2");
}

AVX512 size_t rans_encode_avx512(struct rans_encoding *e, size_t i)
{
	const __m512i field = _mm512_set1_epi32(RANS_FIELD), one = _mm512_set1_epi32(1);
	const __m512i all = _mm512_set1_epi32((1 << e->bits) - 1);
	const __m512i escaped = _mm512_set1_epi32(1 << (RANS_ESCAPED_AT - 32));
	const __m256i low_half = _mm256_set1_epi32(0xffff);
	const __m128i top = _mm_cvtsi32_si128(32 - (int)e->bits);
	const long long *table = (const long long *)e->enc;
	uint8_t *p = e->p;
	__m512i x[2];

	for (unsigned g = 0; g < 2; g++)
		x[g] = _mm512_loadu_si512(e->x + LANES * g);
	for (; i > 0 && p - e->low >= 2 * RANS_LANES_WIDE; i -= RANS_LANES_WIDE) {
		__m512i any = _mm512_setzero_si512();

#pragma GCC unroll 2
		for (unsigned g = 2; g-- > 0;) {
			size_t at = i - RANS_LANES_WIDE + LANES * g;
			__m256i index = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(e->sym + at))),
				words;
			__m512i even, odd, info, freq, q;
			__mmask16 emit;
			unsigned many;

			if (e->ctx != NULL)
				index = _mm256_or_si256(index,
						_mm256_slli_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128(
										  (const __m128i *)(e->ctx +
												    at))),
								8));
			even = _mm512_i32gather_epi64(_mm256_and_si256(index, low_half), table, 8);
			odd = _mm512_i32gather_epi64(_mm256_srli_epi32(index, 16), table, 8);
			info = _mm512_mask_blend_epi32(ODD, _mm512_srli_epi64(even, 32), odd);
			any = _mm512_or_si512(any, info);

			freq = _mm512_and_si512(_mm512_srli_epi32(info, RANS_FREQ_AT - RANS_START_AT), field);
			emit = _mm512_cmpgt_epu32_mask(
					_mm512_srl_epi32(x[g], top), freq); /* freq is 1 less */
			words = _mm256_maskz_compress_epi16(emit, _mm512_cvtepi32_epi16(x[g]));
			many = (unsigned)__builtin_popcount(emit);
			p -= 2 * many;
			_mm256_mask_storeu_epi16(p, (__mmask16)_bzhi_u32(0xffff, many), words);
			x[g] = _mm512_mask_srli_epi32(x[g], emit, x[g], 16);

			q = _mm512_add_epi32(x[g],
					_mm512_and_si512(
							_mm512_srli_epi32(info, RANS_MORE_AT - RANS_START_AT),
							one));
			q = _mm512_mask_blend_epi32(ODD, _mm512_srli_epi64(_mm512_mul_epu32(q, even), 32),
					_mm512_mul_epu32(_mm512_srli_epi64(q, 32), odd));
			q = _mm512_srlv_epi32(q, _mm512_srli_epi32(info, RANS_SHIFT_AT - RANS_START_AT));
			q = _mm512_mullo_epi32(q, _mm512_sub_epi32(all, freq));
			x[g] = _mm512_add_epi32(_mm512_add_epi32(x[g], q), _mm512_and_si512(info, field));
		}
		if (_mm512_test_epi32_mask(any, escaped) != 0)
			rans_take_escapes(e, i);
	}
	for (unsigned g = 0; g < 2; g++)
		_mm512_storeu_si512(e->x + LANES * g, x[g]);
	e->p = p;
	return i;
}

INLINE size_t rounds(struct rans_decoding *d, const uint8_t *ctx, uint8_t *sym, size_t n)
{
	const __m512i mask = _mm512_set1_epi32((1 << d->bits) - 1), low12 = _mm512_set1_epi32(0xfff);
	const __m512i one = _mm512_set1_epi32(1), least = _mm512_set1_epi32((int)RANS_STATE_LOW);
	const __m128i bits = _mm_cvtsi32_si128((int)d->bits);
	const int *table = (const int *)d->table;
	const uint8_t *p = d->p, *end = d->end;
	__m512i x[2];
	size_t i = 0;

	for (unsigned g = 0; g < 2; g++)
		x[g] = _mm512_loadu_si512(d->x + LANES * g);
	/* a round takes at most 64 bytes of words and looks no further */
	for (; n - i >= RANS_LANES_WIDE && end - p >= 2 * RANS_LANES_WIDE; i += RANS_LANES_WIDE) {
#pragma GCC unroll 2
		for (unsigned g = 0; g < 2; g++) {
			__m512i slot = _mm512_and_si512(x[g], mask), e, words;
			__mmask16 low;

			if (ctx != NULL) {
				__m512i c = _mm512_cvtepu8_epi32(
						_mm_loadu_si128((const __m128i *)(ctx + i + LANES * g)));

				slot = _mm512_or_si512(slot, _mm512_sll_epi32(c, bits));
			}
			e = _mm512_i32gather_epi32(slot, table, 4);
			_mm_storeu_si128((__m128i *)(sym + i + LANES * g), _mm512_cvtepi32_epi8(e));
			x[g] = _mm512_mullo_epi32(
					_mm512_add_epi32(_mm512_and_si512(_mm512_srli_epi32(e, 8), low12),
							one),
					_mm512_srl_epi32(x[g], bits));
			x[g] = _mm512_add_epi32(x[g], _mm512_srli_epi32(e, 20));
			low = _mm512_cmplt_epu32_mask(x[g], least);
			words = _mm512_maskz_expand_epi32(
					low, _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)));
			x[g] = _mm512_mask_or_epi32(x[g], low, _mm512_slli_epi32(x[g], 16), words);
			p += 2 * (unsigned)__builtin_popcount(low);
		}
	}
	for (unsigned g = 0; g < 2; g++)
		_mm512_storeu_si512(d->x + LANES * g, x[g]);
	d->p = p;
	return i;
}

AVX512 size_t rans_decode_avx512(struct rans_decoding *d, uint8_t *sym, size_t n)
{
	return d->ctx != NULL ? rounds(d, d->ctx, sym, n) : rounds(d, NULL, sym, n);
}

#else

bool rans_have_avx512(void)
{
	return false;
}

size_t rans_encode_avx512(struct rans_encoding *e, size_t i)
{
	(void)e;
	return i;
}

size_t rans_decode_avx512(struct rans_decoding *d, uint8_t *sym, size_t n)
{
	(void)d, (void)sym, (void)n;
	return 0;
}

#endif
