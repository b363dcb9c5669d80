/*
 * codec_rans_decode.c: streams in.
 *
 * Lanes are independent: the vector decoder keeps 32 states in four registers, looks eight slots up at once,
 * and hands out words to the lanes that ran low by a permutation.  One slot of a decoding table is
 * symbol | (freq - 1) << 8 | (slot - start) << 20.
 */
#include "codec/codec_rans_internal.h"

#include <string.h>

#if defined __x86_64__
#include <immintrin.h>
#endif

#if defined __GNUC__ && !defined __clang__
#pragma GCC optimize("O3")
#endif

enum { ZEROS_MAX = 2 * RANS_WEIGHT_LEN };

/* ---- tables -------------------------------------------------------------------------------------------- */

struct bit_reader {
	const uint8_t *p, *end;
	unsigned at; /* bits of *p already taken */
	bool over;
};

static unsigned get_bit(struct bit_reader *b)
{
	unsigned bit;

	if (b->p == b->end) {
		b->over = true;
		return 1;
	}
	bit = *b->p >> b->at & 1;
	if (++b->at == 8) {
		b->at = 0;
		b->p++;
	}
	return bit;
}

/* Reads what put_table() wrote; the place after it, or NULL when it is none. */
static const uint8_t *get_table(const uint8_t *in, const uint8_t *end, uint32_t weight[256])
{
	struct bit_reader b;
	unsigned c = 0;

	memset(weight, 0, 256 * sizeof weight[0]);
	if (end - in < 2)
		return NULL;
	if (in[0] > in[1])
		return in[0] == 1 && in[1] == 0 ? in + 2 : NULL;
	b = (struct bit_reader){ .p = in + 2, .end = end };
	for (unsigned s = in[0]; s <= in[1]; s++) {
		unsigned zeros = 0, lead;

		while (get_bit(&b) == 0)
			if (++zeros > ZEROS_MAX)
				return NULL;
		if (zeros & 1 ? zeros / 2 + 1 > c : c + zeros / 2 > RANS_WEIGHT_LEN)
			return NULL;
		c = zeros & 1 ? c - zeros / 2 - 1 : c + zeros / 2;
		if (c == 0)
			continue;
		lead = c > RANS_LEAD ? RANS_LEAD : c - 1;
		weight[s] = UINT32_C(1) << (c - 1);
		for (unsigned i = 0; i < lead; i++)
			weight[s] |= get_bit(&b) << (c - 1 - lead + i);
	}
	if (b.over || (b.at > 0 && *b.p++ >> b.at != 0))
		return NULL;
	return b.p;
}

/* ---- streams ------------------------------------------------------------------------------------------- */

/* Fills n slots and some beyond, which belong to the next symbol. */
static inline void fill(uint32_t *slot, uint32_t e, uint32_t n)
{
	static const uint32_t step[RANS_FILL] = { 0, 1u << 20, 2u << 20, 3u << 20, 4u << 20, 5u << 20,
		6u << 20, 7u << 20 };

	for (uint32_t k = 0; k < n; k += RANS_FILL)
		for (uint32_t j = 0; j < RANS_FILL; j++)
			slot[k + j] = e + (k << 20) + step[j];
}

/* Symbols [i, n), i at lane 0. */
static bool decode_plain(struct rans_decoding *d, uint8_t *sym, size_t i, size_t n)
{
	const uint32_t mask = (1u << d->bits) - 1;
	unsigned l = 0;

	for (; i < n; i++) {
		uint32_t x = d->x[l];
		uint32_t e = d->table[(d->ctx ? (uint32_t)d->ctx[i] << d->bits : 0) | (x & mask)];

		sym[i] = (uint8_t)e;
		x = ((e >> 8 & 0xfff) + 1) * (x >> d->bits) + (e >> 20);
		if (x < RANS_STATE_LOW) {
			if (d->end - d->p < 2)
				return false;
			x = x << 16 | d->p[0] | (uint32_t)d->p[1] << 8;
			d->p += 2;
		}
		d->x[l] = x;
		l = l + 1 == d->lanes ? 0 : l + 1;
	}
	return true;
}

#if defined __x86_64__
/*
 * As many rounds of 32 symbols as surely have their words; how many symbols that were.  All that the loop needs lies in
 * variables of its own: bytes are stored, which might be anything else's.
 */
__attribute__((target("avx2,popcnt"), always_inline)) static inline size_t rounds(
		struct rans_decoding *d, const uint8_t (*deal)[8], const uint8_t *ctx, uint8_t *sym, size_t n)
{
	const __m256i mask = _mm256_set1_epi32((1 << d->bits) - 1), low12 = _mm256_set1_epi32(0xfff);
	const __m256i one = _mm256_set1_epi32(1);
	const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7), byte = _mm256_set1_epi32(0xff);
	const __m128i bits = _mm_cvtsi32_si128((int)d->bits);
	const int *table = (const int *)d->table;
	const uint8_t *p = d->p, *end = d->end;
	__m256i x[4], s[4];
	size_t i = 0;

	for (unsigned g = 0; g < 4; g++)
		x[g] = _mm256_loadu_si256((const __m256i *)(d->x + 8 * g));
	/* a round takes at most 64 bytes of words and looks no more than 16 beyond what it has taken */
	for (; n - i >= RANS_LANES_WIDE && end - p >= 2 * RANS_LANES_WIDE + 16; i += RANS_LANES_WIDE) {
#pragma GCC unroll 4
		for (unsigned g = 0; g < 4; g++) {
			__m256i slot = _mm256_and_si256(x[g], mask), e, dealt;
			unsigned low;

			if (ctx != NULL) {
				__m256i c = _mm256_cvtepu8_epi32(
						_mm_loadl_epi64((const __m128i *)(ctx + i + 8 * g)));

				slot = _mm256_or_si256(slot, _mm256_sll_epi32(c, bits));
			}
			e = _mm256_i32gather_epi32(table, slot, 4);
			s[g] = _mm256_and_si256(e, byte);
			x[g] = _mm256_mullo_epi32(
					_mm256_add_epi32(_mm256_and_si256(_mm256_srli_epi32(e, 8), low12),
							one),
					_mm256_srl_epi32(x[g], bits));
			x[g] = _mm256_add_epi32(x[g], _mm256_srli_epi32(e, 20));
			e = _mm256_cmpeq_epi32(_mm256_srli_epi32(x[g], 16), _mm256_setzero_si256());
			low = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(e));
			dealt = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)deal[low]));
			dealt = _mm256_permutevar8x32_epi32(
					_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), dealt);
			dealt = _mm256_or_si256(_mm256_slli_epi32(x[g], 16), dealt);
			x[g] = _mm256_blendv_epi8(x[g], dealt, e);
			p += 2 * (unsigned)__builtin_popcount(low);
		}
		s[0] = _mm256_packus_epi16(_mm256_packus_epi32(s[0], s[1]), _mm256_packus_epi32(s[2], s[3]));
		_mm256_storeu_si256((__m256i *)(sym + i), _mm256_permutevar8x32_epi32(s[0], order));
	}
	for (unsigned g = 0; g < 4; g++)
		_mm256_storeu_si256((__m256i *)(d->x + 8 * g), x[g]);
	d->p = p;
	return i;
}

__attribute__((target("avx2,popcnt"))) static size_t decode_avx2(
		struct rans_decoding *d, const uint8_t (*deal)[8], uint8_t *sym, size_t n)
{
	return d->ctx != NULL ? rounds(d, deal, d->ctx, sym, n) : rounds(d, deal, NULL, sym, n);
}
#endif

/* Puts the symbols told by themselves, escaped[0, often), where the one that stands for them came out. */
static bool put_back(
		struct rans *r, unsigned escape, const uint8_t *escaped, size_t often, uint8_t *sym, size_t n)
{
	uint8_t *p = sym, *end = sym + n;

	r->total[escape] = 0;
	for (size_t k = 0; k < often; k++) {
		p = p < end ? memchr(p, (int)escape, (size_t)(end - p)) : NULL;
		if (p == NULL)
			return false;
		*p++ = escaped[k];
		r->total[escaped[k]] = 1;
	}
	return p == end || memchr(p, (int)escape, (size_t)(end - p)) == NULL;
}

bool rans_decode(struct rans *r, const uint8_t *in, size_t len, const uint8_t *ctx, unsigned contexts,
		uint8_t *sym, size_t n)
{
	struct rans_decoding d = { .p = in,
		.end = in + len,
		.table = r->dec,
		.bits = rans_bits(contexts),
		.lanes = rans_lanes(n),
		.ctx = contexts > 1 ? ctx : NULL };
	size_t i = 0, often = 0;
	const uint8_t *escaped = NULL;

	if (n > RANS_SYMBOLS_MAX || contexts < 1 || contexts > RANS_CONTEXTS)
		return false;
	if (len >= RANS_ESCAPES_HEAD && in[0] == RANS_ESCAPES && in[1] == 0) {
		escaped = in + RANS_ESCAPES_HEAD;
		often = in[3] | (size_t)in[4] << 8 | (size_t)in[5] << 16;
		if (often > len - RANS_ESCAPES_HEAD)
			return false;
		d.p = escaped + often;
	}
	memset(r->total, 0, sizeof r->total);
	for (unsigned c = 0; c < contexts; c++) {
		uint32_t weight[256], *slot = r->dec + ((size_t)c << d.bits);
		uint16_t freq[256];

		d.p = get_table(d.p, d.end, weight);
		if (d.p == NULL)
			return false;
		for (unsigned s = 0; s < 256; s++)
			r->total[s] |= weight[s];
		rans_share_out(weight, d.bits, freq);
		for (uint32_t s = 0; s < 256; s++) {
			uint32_t e = s | ((uint32_t)freq[s] - 1) << 8;

			if (freq[s] == 0)
				continue;
			fill(slot, e, freq[s]);
			slot += freq[s];
		}
	}
	if ((size_t)(d.end - d.p) < 4 * d.lanes)
		return false;
	for (unsigned l = 0; l < d.lanes; l++, d.p += 4) {
		d.x[l] = (uint32_t)d.p[0] | (uint32_t)d.p[1] << 8 | (uint32_t)d.p[2] << 16 |
			 (uint32_t)d.p[3] << 24;
		if (d.x[l] < RANS_STATE_LOW)
			return false;
	}
#if defined __x86_64__
	if (r->simd != RANS_PLAIN && d.lanes == RANS_LANES_WIDE)
		i = r->simd == RANS_AVX512 ? rans_decode_avx512(&d, sym, n)
					   : decode_avx2(&d, (const uint8_t(*)[8])r->deal, sym, n);
#endif
	if (!decode_plain(&d, sym, i, n))
		return false;
	for (unsigned l = 0; l < d.lanes; l++)
		if (d.x[l] != RANS_STATE_LOW)
			return false;
	if (d.p != d.end)
		return false;
	return escaped == NULL || put_back(r, in[2], escaped, often, sym, n);
}
