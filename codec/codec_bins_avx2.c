/*
 * codec_bins_avx2.c: low bits of values of 2 and 4 bytes, eight at a time.
 *
 * Tokens' low bits and beginnings follow from the token by arithmetic, so no table is asked.  Two ways:
 *
 *   even      all values of a block have as many low bits: floats without zeros and escapes, which is nearly
 *             all of them.  Eight values take whole bytes, so what goes where is the same for each eight of
 *             them, and is found once
 *   various   differences, and floats with zeros: the sum of the widths before a value tells where it is
 *
 * What neither can do the caller does value by value, a block at a time.
 */
#include "codec/codec_bins_internal.h"

#if defined __x86_64__
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,bmi2")))
#define INLINE static inline __attribute__((always_inline, target("avx2,bmi2")))

enum {
	PUT_EVEN_MIN = 2,  /* bits of a 32-bit lane with one value, or two of 16 bits */
	PUT_EVEN_MAX = 28, /* two and what is left of a byte fit into 64 */
	PUT_PART_MAX = 56, /* the same for parts of various widths */
	GET_SHORT = 25,    /* a value and what is before it in its first byte fit into 32 bits */
	GET_EVEN_4 = GET_SHORT,
	GET_EVEN_2 = 9, /* and into 16 */
};

bool bins_have_avx2(unsigned lg)
{
	return (lg == 1 || lg == 2) && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

/* What is the same for all values. */
struct constants {
	__m256i low, first, zero, one, two, four, half;
	__m128i limit; /* tokens above this are none of the scheme's own */
	bool length;
};

INLINE struct constants constants_of(const struct bins *b)
{
	return (struct constants){ .limit = _mm_set1_epi8((char)(b->regular - 1)),
		.low = _mm256_set1_epi32(b->bits[0]),
		.first = _mm256_set1_epi32((int)b->first),
		.zero = _mm256_set1_epi32(b->shift == 1 ? -1 : BINS_FLOAT_ZERO),
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

/* Whether one of the 16 tokens of a block is above a limit. */
INLINE bool block_above(const uint8_t *token, __m128i limit)
{
	__m128i above = _mm_subs_epu8(_mm_loadu_si128((const __m128i *)token), limit);

	return !_mm_testz_si128(above, above);
}

INLINE __m256i load_tokens(const uint8_t *token)
{
	return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)token));
}

/* How many low bits each token has. */
INLINE __m256i widths(const struct constants *c, __m256i t)
{
	if (!c->length)
		return _mm256_andnot_si256(_mm256_cmpeq_epi32(t, c->zero), c->low);
	return _mm256_max_epi32(_mm256_sub_epi32(_mm256_srli_epi32(t, 2), c->one), _mm256_setzero_si256());
}

INLINE __m256i low_mask(__m256i k)
{
	return _mm256_sllv_epi32(_mm256_set1_epi32(-1), k);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

/*
 * Values are joined in pairs or fours to 64 bits, and those to a piece of 128, one in each half of a
 * register.  A piece is moved up to where its first byte begins and gets the part of that byte that the piece
 * before it ends in; then 16 bytes are written, and what is too much of them the next piece overwrites.
 */

/*
 * Per piece: how far its two parts are moved up, and the second one down into the upper half; 64 is out of
 * sight.
 */
struct moves {
	__m256i first, second, down;
};

/*
 * wide: bits of the first part; up: of the byte that are taken already.  The same in both halves of a piece.
 */
INLINE struct moves moves_of(__m256i wide, __m256i up)
{
	const __m256i gone = _mm256_set1_epi64x(64);
	const __m256i upper = _mm256_setr_epi64x(0, 64, 0, 64), lower = _mm256_setr_epi64x(64, 0, 64, 0);
	__m256i at = _mm256_add_epi64(wide, up);

	return (struct moves){ .first = _mm256_or_si256(up, upper),
		.second = _mm256_or_si256(at, upper),
		.down = _mm256_or_si256(_mm256_sub_epi64(gone, at), lower) };
}

INLINE __m256i join(__m256i parts, const struct moves *m)
{
	__m256i second = _mm256_unpackhi_epi64(parts, parts);

	return _mm256_or_si256(_mm256_sllv_epi64(parts, m->first),
			_mm256_or_si256(_mm256_sllv_epi64(second, m->second),
					_mm256_srlv_epi64(second, m->down)));
}

/* For a shuffle that leaves of each piece the byte that it ends in, number n, as its first. */
INLINE __m256i ends(__m256i n)
{
	return _mm256_or_si256(
			n, _mm256_setr_epi64x((long long)0x8080808080808000, (long long)0x8080808080808080,
					   (long long)0x8080808080808000, (long long)0x8080808080808080));
}

INLINE size_t put_even(const struct bins *b, const uint8_t *u, const uint8_t *token, size_t i, size_t n,
		struct bins_writer *w, unsigned lg)
{
	const unsigned k = b->bits[0], wide = lg == 1 ? 2 * k : k,
		       up[2] = { w->have, (4 * wide + w->have) & 7 };
	const size_t bytes = (4 * wide + up[0]) / 8;
	const __m128i limit = _mm_set1_epi8((char)(b->regular - 1)), count = _mm_cvtsi32_si128((int)wide);
	const __m256i half = _mm256_set1_epi64x(UINT32_MAX);
	const __m256i mask = lg == 1 ? _mm256_set1_epi16((short)((1u << k) - 1))
				     : _mm256_set1_epi32((int)((1u << k) - 1));
	const __m256i two = _mm256_set1_epi32((int)(1u | 1u << (16 + k % 16))); /* 1 and 2^k */
	const struct moves m = moves_of(
			_mm256_set1_epi64x(2 * wide), _mm256_setr_epi64x(up[0], up[0], up[1], up[1]));
	const __m256i end = ends(_mm256_setr_epi64x((long long)bytes, 0, (4 * wide + up[1]) / 8, 0));
	__m256i before = _mm256_setr_epi64x(0, 0, (long long)w->acc, 0);
	uint8_t *p = w->p;

	for (; n - i >= BINS_BLOCK; i += BINS_BLOCK) {
		if (block_above(token + i, limit))
			break;
		for (unsigned h = 0; h < (lg == 1 ? 1 : 2); h++) {
			__m256i v = _mm256_loadu_si256((const __m256i *)(u + ((i + 8 * h) << lg))), last;

			v = _mm256_and_si256(v, mask);
			if (lg == 1)
				v = _mm256_madd_epi16(v, two);
			v = _mm256_or_si256(_mm256_and_si256(v, half),
					_mm256_sll_epi64(_mm256_srli_epi64(v, 32), count));
			v = join(v, &m);
			last = _mm256_shuffle_epi8(v, end);
			v = _mm256_or_si256(v, _mm256_permute2x128_si256(before, last, 0x21));
			before = last;
			_mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(v));
			_mm_storeu_si128((__m128i *)(p + bytes), _mm256_extracti128_si256(v, 1));
			p += wide;
		}
	}
	w->p = p;
	w->acc = (uint8_t)_mm256_extract_epi8(before, 16);
	return i;
}

/* The low bits of eight values joined in pairs, and how many those are. */
INLINE __m256i join_pairs(const struct constants *c, __m256i v, __m256i t, __m256i *len)
{
	__m256i k = widths(c, t), even = _mm256_and_si256(k, c->half);

	v = _mm256_andnot_si256(low_mask(k), c->length ? _mm256_srli_epi32(v, 1) : v);
	*len = _mm256_add_epi64(even, _mm256_srli_epi64(k, 32));
	return _mm256_or_si256(
			_mm256_and_si256(v, c->half), _mm256_sllv_epi64(_mm256_srli_epi64(v, 32), even));
}

/* How long fours are, in the lower part of each half. */
INLINE __m256i length_of_fours(__m256i pair_len)
{
	return _mm256_add_epi64(pair_len, _mm256_srli_si256(pair_len, 8));
}

/* Pairs joined to fours of up to 64 bits, in the lower part of each half. */
INLINE __m256i join_fours(__m256i pairs, __m256i pair_len)
{
	return _mm256_or_si256(pairs, _mm256_sllv_epi64(_mm256_srli_si256(pairs, 8), pair_len));
}

/*
 * What put_various() goes on with: the bit after what is written, counted from `p`, and the byte that holds
 * it.
 */
struct place {
	uint8_t *p;
	__m256i at;
	__m128i last;
};

/* Writes two pieces, the parts of one in each half. */
INLINE void put_pieces(struct place *to, __m256i parts, __m256i len)
{
	__m256i first = _mm256_unpacklo_epi64(len, len);
	__m256i all = _mm256_add_epi64(first, _mm256_unpackhi_epi64(len, len));
	__m256i begin = _mm256_add_epi64(to->at, _mm256_permute2x128_si256(all, all, 0x08));
	__m256i up = _mm256_and_si256(begin, _mm256_set1_epi64x(7)), byte = _mm256_srli_epi64(begin, 3);
	__m256i end = ends(_mm256_srli_epi64(_mm256_add_epi64(all, up), 3));
	struct moves m = moves_of(first, up);
	__m128i piece;

	to->at = _mm256_permute4x64_epi64(_mm256_add_epi64(begin, all), 0xff);
	parts = join(parts, &m);
	piece = _mm_or_si128(_mm256_castsi256_si128(parts), to->last);
	to->last = _mm_shuffle_epi8(piece, _mm256_castsi256_si128(end));
	_mm_storeu_si128((__m128i *)(to->p + _mm256_extract_epi64(byte, 0)), piece);
	piece = _mm_or_si128(_mm256_extracti128_si256(parts, 1), to->last);
	to->last = _mm_shuffle_epi8(piece, _mm256_extracti128_si256(end, 1));
	_mm_storeu_si128((__m128i *)(to->p + _mm256_extract_epi64(byte, 2)), piece);
}

/* Values 0-3 and 8-11 of a block, and 4-7 and 12-15. */
INLINE void load_block(const uint8_t *u, unsigned lg, __m256i v[2])
{
	if (lg == 1) {
		__m256i all = _mm256_loadu_si256((const __m256i *)u);

		v[0] = _mm256_unpacklo_epi16(all, _mm256_setzero_si256());
		v[1] = _mm256_unpackhi_epi16(all, _mm256_setzero_si256());
	} else {
		__m256i low = _mm256_loadu_si256((const __m256i *)u),
			high = _mm256_loadu_si256((const __m256i *)(u + 32));

		v[0] = _mm256_permute2x128_si256(low, high, 0x20);
		v[1] = _mm256_permute2x128_si256(low, high, 0x31);
	}
}

INLINE size_t put_various(const struct bins *b, const uint8_t *u, const uint8_t *token, size_t i, size_t n,
		struct bins_writer *w, unsigned lg, bool even)
{
	const struct constants c = constants_of(b);
	const __m128i most = c.length ? c.limit : _mm_set1_epi8((char)BINS_FLOAT_ZERO);
	const __m256i too_long = _mm256_set1_epi32(PUT_PART_MAX);
	struct place to = {
		.p = w->p, .at = _mm256_set1_epi64x(w->have), .last = _mm_cvtsi64_si128((long long)w->acc)
	};
	uint64_t bit;

	for (; n - i >= BINS_BLOCK; i += BINS_BLOCK) {
		__m256i t = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(token + i)));
		__m256i v[2], pairs[2], len[2], fours[2];

		if (block_above(token + i, most) || (even && !block_above(token + i, c.limit)))
			break;
		load_block(u + (i << lg), lg, v);
		pairs[0] = join_pairs(&c, v[0], _mm256_unpacklo_epi16(t, _mm256_setzero_si256()), &len[0]);
		pairs[1] = join_pairs(&c, v[1], _mm256_unpackhi_epi16(t, _mm256_setzero_si256()), &len[1]);
		fours[0] = length_of_fours(len[0]);
		fours[1] = length_of_fours(len[1]);
		if (lg == 1 || !any(_mm256_cmpgt_epi32(_mm256_max_epi32(fours[0], fours[1]), too_long))) {
			put_pieces(&to,
					_mm256_unpacklo_epi64(join_fours(pairs[0], len[0]),
							join_fours(pairs[1], len[1])),
					_mm256_unpacklo_epi64(fours[0], fours[1]));
			continue;
		}
		if (any(_mm256_cmpgt_epi32(_mm256_max_epi32(len[0], len[1]), too_long)))
			break;
		put_pieces(&to, _mm256_permute2x128_si256(pairs[0], pairs[1], 0x20),
				_mm256_permute2x128_si256(len[0], len[1], 0x20));
		put_pieces(&to, _mm256_permute2x128_si256(pairs[0], pairs[1], 0x31),
				_mm256_permute2x128_si256(len[0], len[1], 0x31));
	}
	bit = (uint64_t)_mm256_extract_epi64(to.at, 0);
	w->p += bit / 8;
	w->have = bit % 8;
	w->acc = (uint8_t)_mm_cvtsi128_si32(to.last);
	return i;
}

INLINE size_t put(const struct bins *b, const uint8_t *u, const uint8_t *token, size_t i, size_t n,
		struct bins_writer *w, unsigned lg)
{
	const unsigned wide = lg == 1 ? 2u * b->bits[0] : b->bits[0];
	const bool even = b->shift == 0 && wide >= PUT_EVEN_MIN && wide <= PUT_EVEN_MAX;
	size_t from;

	do {
		from = i;
		if (even)
			i = put_even(b, u, token, i, n, w, lg);
		i = put_various(b, u, token, i, n, w, lg, even);
	} while (even && i > from);
	return i;
}

AVX2 size_t bins_put_avx2(const struct bins *b, const uint8_t *u, const uint8_t *token, size_t i, size_t n,
		struct bins_writer *w)
{
	return b->lg == 1 ? put(b, u, token, i, n, w, 1) : put(b, u, token, i, n, w, 2);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

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

/* The 32 bits from bit `from` of in on, 8 times. */
INLINE __m256i fetch(const uint8_t *in, __m256i from)
{
	__m256i byte = _mm256_srli_epi32(from, 3), bit = _mm256_and_si256(from, _mm256_set1_epi32(7)), a, b;

	a = _mm256_i32gather_epi64((const long long *)(const void *)in, _mm256_castsi256_si128(byte), 1);
	b = _mm256_i32gather_epi64((const long long *)(const void *)in, _mm256_extracti128_si256(byte, 1), 1);
	a = _mm256_srlv_epi64(a, _mm256_cvtepu32_epi64(_mm256_castsi256_si128(bit)));
	b = _mm256_srlv_epi64(b, _mm256_cvtepu32_epi64(_mm256_extracti128_si256(bit, 1)));
	a = _mm256_castps_si256(_mm256_shuffle_ps(
			_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), _MM_SHUFFLE(2, 0, 2, 0)));
	return _mm256_permute4x64_epi64(a, _MM_SHUFFLE(3, 1, 2, 0));
}

/*
 * The bits of eight values of widths k, all at most 25, from bit *at of in on, which moves behind them.  Each
 * half's lie in 16 bytes, out of which a shuffle takes the four bytes that each value begins in.
 */
INLINE __m256i fetch_short(const uint8_t *in, __m256i k, uint64_t *at)
{
	const __m256i four = _mm256_set1_epi32(0x03020100);
	const __m256i low_bytes = _mm256_setr_epi32(
			0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c);
	__m256i sum = _mm256_add_epi32(k, _mm256_slli_si256(k, 4)), from, order, v;
	uint64_t half;

	sum = _mm256_add_epi32(sum, _mm256_slli_si256(sum, 8));
	half = *at + (unsigned)_mm256_extract_epi32(sum, 3);
	from = _mm256_setr_m128i(_mm_set1_epi32((int)(*at & 7)), _mm_set1_epi32((int)(half & 7)));
	from = _mm256_add_epi32(from, _mm256_sub_epi32(sum, k));
	order = _mm256_add_epi8(_mm256_shuffle_epi8(_mm256_srli_epi32(from, 3), low_bytes), four);
	v = _mm256_setr_m128i(_mm_loadu_si128((const __m128i *)(in + *at / 8)),
			_mm_loadu_si128((const __m128i *)(in + half / 8)));
	*at = half + (unsigned)_mm256_extract_epi32(sum, 7);
	return _mm256_srlv_epi32(_mm256_shuffle_epi8(v, order), _mm256_and_si256(from, _mm256_set1_epi32(7)));
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

/*
 * Reads blocks of values of k low bits each: eight lie in k bytes, so a shuffle takes each one's bytes to its
 * lane.  In lanes of 16 bits a product moves it up to the end, there being no shift of one's own for each.
 */
INLINE size_t get_even(const struct bins *b, const uint8_t *token, size_t i, size_t n, const uint8_t *in,
		size_t len, uint64_t *at_bit, uint8_t *u, unsigned lg)
{
	const unsigned k = b->bits[0], up = *at_bit & 7, lanes = lg == 1 ? 8 : 4, width = 1u << lg;
	const unsigned second = (up + lanes * k) / 8, up_second = (up + lanes * k) & 7;
	const __m128i limit = _mm_set1_epi8((char)(b->regular - 1)), count = _mm_cvtsi32_si128((int)k);
	const __m256i first = lg == 1 ? _mm256_set1_epi16((short)b->first) : _mm256_set1_epi32((int)b->first);
	const __m256i mask = _mm256_set1_epi32((int)((UINT32_C(1) << k) - 1));
	__m256i order, move, v;
	uint64_t byte = *at_bit / 8;
	uint8_t from[32];
	uint32_t moves[16];

	for (unsigned l = 0; l < 2 * lanes; l++) {
		unsigned bit = l % lanes * k + (l < lanes ? up : up_second);

		for (unsigned k8 = 0; k8 < width; k8++)
			from[l * width + k8] = (uint8_t)(bit / 8 + k8);
		moves[l] = lg == 1 ? 1u << (16 - k - bit % 8) : bit % 8;
	}
	order = _mm256_loadu_si256((const __m256i *)from);
	move = _mm256_loadu_si256((const __m256i *)moves);
	if (lg == 1) /* not saturated: 2^16 shall be 0, and 2^15 stay */
		move = _mm256_permute4x64_epi64(
				_mm256_packus_epi32(_mm256_and_si256(move, _mm256_set1_epi32(0xffff)),
						_mm256_and_si256(_mm256_loadu_si256((
										 const __m256i *)(moves + 8)),
								_mm256_set1_epi32(0xffff))),
				_MM_SHUFFLE(3, 1, 2, 0));

	/* a block takes at most 50 bytes, the last 16 of them at once, and as many beyond */
	for (; n - i >= BINS_BLOCK && byte + 64 <= len; i += BINS_BLOCK) {
		if (block_above(token + i, limit))
			break;
		for (unsigned h = 0; h < (lg == 1 ? 1 : 2); h++) {
			__m256i t = lg == 1 ? _mm256_cvtepu8_epi16(
							      _mm_loadu_si128((const __m128i *)(token + i)))
					    : load_tokens(token + i + 8 * h);

			v = _mm256_inserti128_si256(
					_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(in + byte))),
					_mm_loadu_si128((const __m128i *)(in + byte + second)), 1);
			v = _mm256_shuffle_epi8(v, order);
			if (lg == 1) {
				v = _mm256_srl_epi16(
						_mm256_mullo_epi16(v, move), _mm_cvtsi32_si128(16 - (int)k));
				v = _mm256_or_si256(v, _mm256_sll_epi16(_mm256_add_epi16(t, first), count));
			} else {
				v = _mm256_and_si256(_mm256_srlv_epi32(v, move), mask);
				v = _mm256_or_si256(v, _mm256_sll_epi32(_mm256_add_epi32(t, first), count));
			}
			_mm256_storeu_si256((__m256i *)(u + ((i + 8 * h) << lg)), v);
			byte += lg == 1 ? 2 * k : k;
		}
	}
	*at_bit = 8 * byte + up;
	return i;
}

INLINE size_t get_various(const struct bins *b, const uint8_t *token, size_t i, size_t n, const uint8_t *in,
		size_t len, uint64_t *at_bit, uint8_t *u, unsigned lg, bool even)
{
	const struct constants c = constants_of(b);
	const __m256i limit = _mm256_cvtepu8_epi32(c.limit), short_most = _mm256_set1_epi32(GET_SHORT);
	uint64_t at = *at_bit;

	/* eight values take at most 32 bytes, and 8 are read at the last one's */
	for (; n - i >= 8 && at / 8 + 64 <= len; i += 8) {
		__m256i t = load_tokens(token + i), zero = _mm256_cmpeq_epi32(t, c.zero);
		__m256i k = widths(&c, t), v;

		if (any(_mm256_andnot_si256(zero, _mm256_cmpgt_epi32(t, limit))))
			break;
		if (even && n - i >= BINS_BLOCK && !block_above(token + i, c.limit))
			break;
		if (lg == 1 || !any(_mm256_cmpgt_epi32(k, short_most))) {
			v = fetch_short(in, k, &at);
		} else {
			__m256i end = sums(k), from = _mm256_add_epi32(_mm256_sub_epi32(end, k),
							       _mm256_set1_epi32((int)(at & 7)));

			v = fetch(in + at / 8, from);
			at += (unsigned)_mm256_extract_epi32(end, 7);
		}
		v = values(&c, t, k, _mm256_andnot_si256(low_mask(k), v));
		v = _mm256_andnot_si256(zero, v);
		if (lg == 1)
			_mm_storeu_si128((__m128i *)(u + (i << 1)),
					_mm_packus_epi32(_mm256_castsi256_si128(v),
							_mm256_extracti128_si256(v, 1)));
		else
			_mm256_storeu_si256((__m256i *)(u + (i << 2)), v);
	}
	*at_bit = at;
	return i;
}

INLINE size_t get(const struct bins *b, const uint8_t *token, size_t i, size_t n, const uint8_t *in,
		size_t len, uint64_t *at, uint8_t *u, unsigned lg)
{
	const bool even = b->shift == 0 && b->bits[0] <= (lg == 1 ? GET_EVEN_2 : GET_EVEN_4);
	size_t from;

	do {
		from = i;
		if (even)
			i = get_even(b, token, i, n, in, len, at, u, lg);
		i = get_various(b, token, i, n, in, len, at, u, lg, even);
	} while (even && i > from);
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
