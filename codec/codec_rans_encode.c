/*
 * codec_rans_encode.c: counts, tables and streams out.
 *
 * Nothing is divided.  A symbol of frequency f has a reciprocal of 32 bits, and
 *
 *   x / f = (x + more) * reciprocal >> 32 + shift        shift = floor(log2(f - 1)), 0 for f = 1
 *
 * A state that takes a symbol is below f << (32 - bits), which is less than 32 bits ask for: so of
 * 2^(32 + shift) / f rounded up (more 0) and rounded down (more 1; Robison, "N-bit unsigned division via N-bit
 * multiply-add", ARITH 2005) the one with the smaller error, at most f / 2, is always right.  For f = 1 it is
 * 2^32 - 1 with more 1, and for a certain symbol it does not matter: its quotient is multiplied by 0.
 *
 * Lanes are independent.  The vector encoder keeps 32 states in four registers, looks eight symbols up at
 * once, and packs the words of the lanes that ran full with a shuffle.  An entry of a table, from the low end:
 *
 *   reciprocal 32 bits | slot where the symbol starts 12 | f - 1 12 | more 1 | is escaped 1 | 0 2 | shift 4
 *
 * Escaped symbols are met backwards, too, and how many there are is known: so they fill their place from its
 * end.
 */
#include "codec/codec_rans_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec_simd.h"

#if defined __x86_64__
#include <immintrin.h>
#endif

#if defined __GNUC__ && !defined __clang__
#pragma GCC optimize("O3")
#endif

enum { STRIP = 1024 }; /* symbols joined with their contexts before they are counted */

/* 1 + floor(log2 v), 0 for 0. */
static unsigned length_of(uint32_t v)
{
	return v == 0 ? 0 : 32 - (unsigned)__builtin_clz(v);
}

/* ---- tables -------------------------------------------------------------------------------------------- */

/* A count as the table tells it: rounded to four significant bits. */
static uint32_t weight_of(uint32_t count)
{
	unsigned len = length_of(count), cut = len > RANS_LEAD + 1 ? len - RANS_LEAD - 1 : 0;

	return cut == 0 ? count : (count + (UINT32_C(1) << cut >> 1)) >> cut << cut;
}

struct bit_writer {
	uint8_t *p, *end;
	uint64_t acc;
	unsigned have;
	bool full;
};

/* n <= 48 */
static void put_bits(struct bit_writer *w, uint64_t v, unsigned n)
{
	w->acc |= v << w->have;
	for (w->have += n; w->have >= 8; w->have -= 8, w->acc >>= 8) {
		if (w->p == w->end)
			w->full = true;
		else
			*w->p++ = (uint8_t)w->acc;
	}
}

/* Writes one context's weights; the place after them, or NULL when there is no room. */
static uint8_t *put_table(const uint32_t weight[256], uint8_t *out, uint8_t *end)
{
	struct bit_writer w = { .p = out + 2, .end = end };
	unsigned lo = 0, hi = 255, before = 0;

	if (end - out < 2)
		return NULL;
	while (lo < 256 && weight[lo] == 0)
		lo++;
	if (lo == 256) {
		out[0] = 1;
		out[1] = 0;
		return out + 2;
	}
	while (weight[hi] == 0)
		hi--;
	out[0] = (uint8_t)lo;
	out[1] = (uint8_t)hi;
	for (unsigned s = lo; s <= hi; s++) {
		unsigned c = length_of(weight[s]), lead = c > RANS_LEAD ? RANS_LEAD : c == 0 ? 0 : c - 1;
		unsigned zeros = c >= before ? 2 * (c - before) : 2 * (before - c) - 1;

		put_bits(&w, UINT64_C(1) << zeros, zeros + 1);
		if (lead > 0)
			put_bits(&w, weight[s] >> (c - 1 - lead) & ((1u << lead) - 1), lead);
		before = c;
	}
	if (w.have > 0)
		put_bits(&w, 0, 8 - w.have);
	return w.full ? NULL : w.p;
}

/* ---- counts -------------------------------------------------------------------------------------------- */

static void count_one(struct rans *r, const uint8_t *sym, size_t n)
{
	size_t i = 0;

	memset(r->more, 0, 3 * sizeof r->more[0]);
	for (; i + 8 <= n; i += 8) {
		uint64_t v;

		memcpy(&v, sym + i, sizeof v);
		r->count[0][v & 255]++;
		r->more[0][v >> 8 & 255]++;
		r->more[1][v >> 16 & 255]++;
		r->more[2][v >> 24 & 255]++;
		r->count[0][v >> 32 & 255]++;
		r->more[0][v >> 40 & 255]++;
		r->more[1][v >> 48 & 255]++;
		r->more[2][v >> 56]++;
	}
	for (; i < n; i++)
		r->count[0][sym[i]]++;
	for (unsigned s = 0; s < 256; s++)
		r->count[0][s] += r->more[0][s] + r->more[1][s] + r->more[2][s];
}

static void count_many(struct rans *r, const uint8_t *sym, const uint8_t *ctx, unsigned contexts, size_t n)
{
	uint32_t *one = r->count[0], *two = r->more[0];
	uint16_t at[STRIP];

	memset(r->more, 0, contexts * sizeof r->more[0]);
	for (size_t i = 0; i < n; i += STRIP) {
		size_t k = n - i < STRIP ? n - i : STRIP, j = 0;

		for (size_t l = 0; l < k; l++)
			at[l] = (uint16_t)(ctx[i + l] << 8 | sym[i + l]);
		for (; j + 4 <= k; j += 4) {
			uint64_t v;

			memcpy(&v, at + j, sizeof v);
			one[v & 0xffff]++;
			two[v >> 16 & 0xffff]++;
			one[v >> 32 & 0xffff]++;
			two[v >> 48]++;
		}
		for (; j < k; j++)
			one[at[j]]++;
	}
	for (unsigned c = 0; c < contexts; c++)
		for (unsigned s = 0; s < 256; s++)
			r->count[c][s] += r->more[c][s];
}

size_t rans_model(struct rans *r, const uint8_t *sym, const uint8_t *ctx, unsigned contexts, size_t n)
{
	const struct codec_loops *loops = codec_loops();
	double bits = 0;

	r->contexts = contexts;
	memset(r->count, 0, contexts * sizeof r->count[0]);
	memset(r->total, 0, sizeof r->total);
	if (ctx == NULL)
		count_one(r, sym, n);
	else
		count_many(r, sym, ctx, contexts, n);
	for (unsigned c = 0; c < contexts; c++) {
		uint32_t sum = 0;
		unsigned seen;

		for (unsigned s = 0; s < 256; s++) {
			r->total[s] += r->count[c][s];
			sum += r->count[c][s];
		}
		bits -= loops->weigh(r->count[c], &seen);
		bits += (sum > 0 ? sum * log2(sum) : 0) + 5 * seen + 16;
	}
	r->lo = 0;
	r->hi = 255;
	while (r->lo < r->hi && r->total[r->lo] == 0)
		r->lo++;
	while (r->hi > r->lo && r->total[r->hi] == 0)
		r->hi--;
	return (size_t)((bits > 0 ? bits : 0) / 8) + 1 + 2 * rans_lanes(n);
}

uint32_t rans_count(const struct rans *r, unsigned s)
{
	return r->total[s];
}

/* ---- escapes ------------------------------------------------------------------------------------------ */

/* The symbol that occurs least; of several, mostly such as never do, the nearest to the commonest: tables end soon. */
static unsigned least_symbol(const struct rans *r)
{
	unsigned most = 0, least = 0;

	for (unsigned s = 1; s < 256; s++)
		if (r->total[s] > r->total[most])
			most = s;
	for (unsigned s = 1; s < 256; s++)
		if (r->total[s] < r->total[least] ||
				(r->total[s] == r->total[least] &&
						abs((int)s - (int)most) < abs((int)least - (int)most)))
			least = s;
	return least;
}

/* What escapes a stream has. */
struct escapes {
	bool any;
	unsigned symbol;
	uint32_t often, taken[RANS_CONTEXTS]; /* in all, and by context */
};

/*
 * Finds the symbols of a context that are better told by themselves: those below a quarter of a slot, which one
 * slot or little more then does for.  Each of the others costs some bits of the table, and the rest of its slot,
 * which the other symbols would have had.  Escaped, a symbol costs eight bits more.  The bits saved.
 */
static double find_rare(struct rans *r, unsigned c, struct escapes *e)
{
	const unsigned slots = rans_bits(r->contexts);
	uint8_t *rare = r->rare[c];
	uint32_t n = 0, taken = 0, least;
	unsigned lo = 0, hi = 255, found = 0; /* range of the table as it will be without the escape */
	double share, saved;

	for (unsigned s = r->lo; s <= r->hi; s++)
		n += r->count[c][s];
	least = (n + (4u << slots) - 1) >> (slots + 2); /* in less than this, a quarter of a slot */
	for (unsigned s = r->lo; s <= r->hi; s++) {
		uint32_t k = r->count[c][s];

		rare[s] = (k > 0) & ((k < least) | (s == e->symbol));
		found += rare[s];
		taken += rare[s] ? k : 0;
	}
	if (taken == 0)
		return 0;
	while (lo < 255 && (r->count[c][lo] == 0 || rare[lo]))
		lo++;
	while (hi > 0 && (r->count[c][hi] == 0 || rare[hi]))
		hi--;
	share = (double)taken * (1u << slots) / n;
	saved = (found - (share > 1 ? share : 1)) * 1.44 * n / (1u << slots) + 5 * ((double)found - 1) -
		8 * (double)taken;
	saved -= e->symbol > hi ? e->symbol - hi : e->symbol < lo ? lo - e->symbol : 0;
	if (saved <= 0 && r->count[c][e->symbol] == 0) {
		memset(rare, 0, 256);
		return 0;
	}
	e->taken[c] = taken;
	e->often += taken;
	return saved;
}

static void find_escapes(struct rans *r, struct escapes *e)
{
	double saved = -8.0 * RANS_ESCAPES_HEAD - 64;

	memset(e, 0, sizeof *e);
	e->symbol = least_symbol(r);
	for (unsigned c = 0; c < r->contexts; c++)
		saved += find_rare(r, c, e);
	e->any = saved > 0;
}

/* Writes the head; the place after it and the escaped symbols, which rans_encode() meets on its way. */
static uint8_t *put_escapes_head(const struct escapes *e, uint8_t *out)
{
	out[0] = RANS_ESCAPES;
	out[1] = 0;
	out[2] = (uint8_t)e->symbol;
	for (unsigned b = 0; b < 3; b++)
		out[3 + b] = (uint8_t)(e->often >> (8 * b));
	return out + RANS_ESCAPES_HEAD + e->often;
}

/* ---- streams ------------------------------------------------------------------------------------------- */

static uint64_t make_entry(uint32_t f, uint32_t start)
{
	unsigned shift = f < 3 ? 0 : length_of(f - 1) - 1, more = 1;
	uint64_t reciprocal = UINT32_MAX;

	if (f > 1) {
		uint64_t one = UINT64_C(1) << (32 + shift);
		uint32_t rest = (uint32_t)(one % f);

		reciprocal = one / f;
		more = rest > 0 && rest <= f / 2;
		reciprocal += rest > 0 && !more;
	}
	return reciprocal | (uint64_t)start << RANS_START_AT | (uint64_t)(f - 1) << RANS_FREQ_AT |
	       (uint64_t)more << RANS_MORE_AT | (uint64_t)shift << RANS_SHIFT_AT;
}

static void make_encoder(uint64_t enc[256], const uint16_t freq[256])
{
	uint32_t start = 0;

	for (unsigned s = 0; s < 256; s++) {
		if (freq[s] == 0) {
			enc[s] = 0;
			continue;
		}
		enc[s] = make_entry(freq[s], start);
		start += freq[s];
	}
}

/* Puts one symbol into a state; e->p moves down by the word given off, if one is. */
static inline uint32_t encode_one(struct rans_encoding *e, uint32_t x, uint64_t entry)
{
	uint32_t freq = (uint32_t)(entry >> RANS_FREQ_AT & RANS_FIELD) + 1;
	unsigned emit = x >> (32 - e->bits) >= freq;
	uint32_t quotient;

	e->p[-2] = (uint8_t)x;
	e->p[-1] = (uint8_t)(x >> 8);
	e->p -= 2 * emit;
	x >>= 16 * emit;
	quotient = (uint32_t)((x + (entry >> RANS_MORE_AT & 1)) * (entry & UINT32_MAX) >> 32 >>
			      (entry >> RANS_SHIFT_AT));
	return x + (uint32_t)(entry >> RANS_START_AT & RANS_FIELD) + quotient * ((1u << e->bits) - freq);
}

/* Symbols [from, i), from at lane 0, the last first; how many are left when there may be no room. */
static size_t encode_plain(struct rans_encoding *e, size_t i, size_t from)
{
	while (i > from) {
		size_t first = (i - 1) / e->lanes * e->lanes;

		if ((size_t)(e->p - e->low) < 2 * e->lanes + 2)
			break;
		for (; i > first; i--) {
			uint64_t entry = e->enc[e->ctx ? e->ctx[i - 1] : 0][e->sym[i - 1]];

			if (entry >> RANS_ESCAPED_AT & 1)
				*--e->escaped = e->sym[i - 1];
			e->x[i - 1 - first] = encode_one(e, e->x[i - 1 - first], entry);
		}
	}
	return i;
}

void rans_take_escapes(struct rans_encoding *e, size_t i)
{
	for (size_t k = i; k-- > i - RANS_LANES_WIDE;)
		if (e->enc[e->ctx ? e->ctx[k] : 0][e->sym[k]] >> RANS_ESCAPED_AT & 1)
			*--e->escaped = e->sym[k];
}

#if defined __x86_64__
/* Whole rounds of 32 symbols that end at i, as long as there surely is room; how many symbols are left. */
__attribute__((target("avx2,popcnt"))) static size_t encode_avx2(
		struct rans_encoding *e, const uint8_t (*close)[16], size_t i)
{
	const __m256i field = _mm256_set1_epi32(RANS_FIELD), one = _mm256_set1_epi32(1);
	const __m256i word = _mm256_set1_epi32(0xffff), all = _mm256_set1_epi32((1 << e->bits) - 1);
	const __m128i top = _mm_cvtsi32_si128(32 - (int)e->bits);
	const __m128i low_half = _mm_set1_epi32(0xffff);
	const __m256i escaped = _mm256_set1_epi32(1 << (RANS_ESCAPED_AT - 32));
	const long long *table = (const long long *)e->enc;
	uint8_t *p = e->p;
	__m256i x[4];

	for (unsigned g = 0; g < 4; g++)
		x[g] = _mm256_loadu_si256((const __m256i *)(e->x + 8 * g));
	/* a round gives off at most 64 bytes, and 16 are written at a time */
	for (; i > 0 && p - e->low >= 2 * RANS_LANES_WIDE + 16; i -= RANS_LANES_WIDE) {
		__m256i any = _mm256_setzero_si256();

#pragma GCC unroll 4
		for (unsigned g = 4; g-- > 0;) {
			size_t at = i - RANS_LANES_WIDE + 8 * g;
			__m128i index = _mm_loadl_epi64((const __m128i *)(e->sym + at)), words;
			__m256i even, odd, info, freq, emit, q;
			unsigned set;

			index = _mm_unpacklo_epi8(index,
					e->ctx == NULL ? _mm_setzero_si128()
						       : _mm_loadl_epi64((const __m128i *)(e->ctx + at)));
			even = _mm256_i32gather_epi64(table, _mm_and_si128(index, low_half), 8);
			odd = _mm256_i32gather_epi64(table, _mm_srli_epi32(index, 16), 8);
			info = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
			any = _mm256_or_si256(any, info);

			freq = _mm256_and_si256(_mm256_srli_epi32(info, RANS_FREQ_AT - RANS_START_AT),
					field); /* less 1 */
			emit = _mm256_cmpgt_epi32(_mm256_srl_epi32(x[g], top), freq);
			set = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(emit));
			q = _mm256_and_si256(x[g], word);
			words = _mm_packus_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
			words = _mm_shuffle_epi8(words, _mm_loadu_si128((const __m128i *)close[set]));
			_mm_storeu_si128((__m128i *)(p - 16), words);
			p -= 2 * (unsigned)__builtin_popcount(set);
			x[g] = _mm256_blendv_epi8(x[g], _mm256_srli_epi32(x[g], 16), emit);

			q = _mm256_add_epi32(x[g],
					_mm256_and_si256(
							_mm256_srli_epi32(info, RANS_MORE_AT - RANS_START_AT),
							one));
			q = _mm256_blend_epi32(_mm256_srli_epi64(_mm256_mul_epu32(q, even), 32),
					_mm256_mul_epu32(_mm256_srli_epi64(q, 32), odd), 0xaa);
			q = _mm256_srlv_epi32(q, _mm256_srli_epi32(info, RANS_SHIFT_AT - RANS_START_AT));
			q = _mm256_mullo_epi32(q, _mm256_sub_epi32(all, freq));
			x[g] = _mm256_add_epi32(_mm256_add_epi32(x[g], q), _mm256_and_si256(info, field));
		}
		if (!_mm256_testz_si256(any, escaped))
			rans_take_escapes(e, i);
	}
	for (unsigned g = 0; g < 4; g++)
		_mm256_storeu_si256((__m256i *)(e->x + 8 * g), x[g]);
	e->p = p;
	return i;
}
#endif

size_t rans_encode(struct rans *r, const uint8_t *sym, const uint8_t *ctx, size_t n, uint8_t *out, size_t cap)
{
	uint8_t *p = out, *end = out + cap;
	struct rans_encoding e = { .p = end,
		.enc = (const uint64_t(*)[256])r->enc,
		.sym = sym,
		.ctx = ctx,
		.bits = rans_bits(r->contexts),
		.lanes = rans_lanes(n) };
	size_t left = n;
	struct escapes escapes;

	find_escapes(r, &escapes);
	if (escapes.any) {
		if (cap < (size_t)RANS_ESCAPES_HEAD + escapes.often)
			return 0;
		p = e.escaped = put_escapes_head(&escapes, p);
	}
	for (unsigned c = 0; c < r->contexts; c++) {
		bool some = escapes.any && escapes.taken[c] > 0;
		uint32_t weight[256];
		uint16_t freq[256];

		memset(weight, 0, sizeof weight);
		for (unsigned s = r->lo; s <= r->hi; s++)
			weight[s] = some && r->rare[c][s] ? 0 : weight_of(r->count[c][s]);
		if (some)
			weight[escapes.symbol] = weight_of(escapes.taken[c]);
		p = put_table(weight, p, end);
		if (p == NULL)
			return 0;
		rans_share_out(weight, e.bits, freq);
		make_encoder(r->enc[c], freq);
		for (unsigned s = r->lo; some && s <= r->hi; s++)
			if (r->rare[c][s])
				r->enc[c][s] = r->enc[c][escapes.symbol] | UINT64_C(1) << RANS_ESCAPED_AT;
	}
	if ((size_t)(end - p) < 4 * e.lanes)
		return 0;
	e.low = p + 4 * e.lanes;
	for (unsigned l = 0; l < e.lanes; l++)
		e.x[l] = RANS_STATE_LOW;
#if defined __x86_64__
	if (r->simd != RANS_PLAIN && e.lanes == RANS_LANES_WIDE) {
		left = encode_plain(&e, left, n - n % RANS_LANES_WIDE);
		if (left % RANS_LANES_WIDE == 0)
			left = r->simd == RANS_AVX512 ? rans_encode_avx512(&e, left)
						      : encode_avx2(&e, (const uint8_t(*)[16])r->close, left);
	}
#endif
	if (encode_plain(&e, left, 0) > 0)
		return 0;
	for (unsigned l = 0; l < e.lanes; l++, p += 4)
		for (unsigned b = 0; b < 4; b++)
			p[b] = (uint8_t)(e.x[l] >> (8 * b));
	memmove(p, e.p, (size_t)(end - e.p));
	return (size_t)(p - out) + (size_t)(end - e.p);
}
