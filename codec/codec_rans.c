/*
 * codec_rans.c: see codec_rans.h for what a stream is.
 *
 * Two details make it quick.  The encoder never divides: x / freq is the high half of x * ceil(2^64 /
 * freq), exact for x < 2^32 and freq <= 4096.  And lanes are independent: the vector decoder keeps 32
 * states in four registers, looks eight slots up at once, and hands out words to the lanes that ran low by
 * a permutation.  One slot of a decoding table is symbol | (freq - 1) << 8 | (slot - start) << 20.
 */
#include "codec/codec_rans.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined __x86_64__
#include <immintrin.h>
#endif

enum {
	BITS_ONE = 12,  /* of a frequency, with a single context */
	BITS_MANY = 11, /* and with several, so that the tables stay in the cache */
	LANES_WIDE = 32,
	LANES_NARROW = 4,
	LEAD = 3, /* bits of a weight told after its leading one */
	WEIGHT_LEN = 21,
	ZEROS_MAX = 2 * WEIGHT_LEN,
};

#define STATE_LOW (UINT32_C(1) << 16)

struct enc_symbol {
	uint64_t reciprocal;
	uint32_t bias;
	uint16_t freq;
	uint16_t complement;
};

struct rans {
	bool simd;
	unsigned contexts;
	uint32_t count[RANS_CONTEXTS][256];
	uint32_t more[3][256]; /* counters too, of a single context, so that equal neighbours do not wait */
	uint32_t total[256];
	union {
		struct enc_symbol enc[RANS_CONTEXTS][256];
		uint32_t dec[RANS_CONTEXTS << BITS_MANY]; /* a single context takes two of these tables */
	};
};

static unsigned bits_for(unsigned contexts)
{
	return contexts == 1 ? BITS_ONE : BITS_MANY;
}

static unsigned lanes_for(size_t n)
{
	return n >= RANS_WIDE ? LANES_WIDE : LANES_NARROW;
}

/* 1 + floor(log2 v), 0 for 0. */
static unsigned length_of(uint32_t v)
{
	return v == 0 ? 0 : 32 - (unsigned)__builtin_clz(v);
}

void rans_use_simd(struct rans *r, bool on)
{
#if defined __x86_64__
	r->simd = on && __builtin_cpu_supports("avx2");
#else
	(void)on;
	r->simd = false;
#endif
}

struct rans *rans_new(void)
{
	struct rans *r = malloc(sizeof *r);

	if (r != NULL)
		rans_use_simd(r, true);
	return r;
}

void rans_free(struct rans *r)
{
	free(r);
}

/* ---- tables ----------------------------------------------------------------------------------------------------- */

/* A count as the table tells it: rounded to four significant bits. */
static uint32_t weight_of(uint32_t count)
{
	unsigned len = length_of(count), cut = len > LEAD + 1 ? len - LEAD - 1 : 0;

	return cut == 0 ? count : (count + (UINT32_C(1) << cut >> 1)) >> cut << cut;
}

/* Slots of 2^bits for each symbol, from the weights.  Both sides compute it, so it is part of the format. */
static void share_out(const uint32_t weight[256], unsigned bits, uint16_t freq[256])
{
	uint64_t sum = 0, run = 0;
	uint32_t below = 0;
	unsigned most = 0, missing = 0;

	for (unsigned s = 0; s < 256; s++)
		sum += weight[s];
	if (sum == 0) { /* nothing occurs: any table that is one */
		memset(freq, 0, 256 * sizeof freq[0]);
		freq[0] = (uint16_t)(1u << bits);
		return;
	}
	for (unsigned s = 0; s < 256; s++) {
		uint32_t border;

		freq[s] = 0;
		if (weight[s] == 0)
			continue;
		run += weight[s];
		border = (uint32_t)(((run << bits) + sum / 2) / sum);
		freq[s] = (uint16_t)(border - below);
		below = border;
		if (freq[s] > freq[most])
			most = s;
		missing += freq[s] == 0;
	}
	for (unsigned s = 0; s < 256 && missing > 0; s++)
		if (weight[s] != 0 && freq[s] == 0)
			freq[s] = 1;
	while (missing > 0) {
		unsigned take = freq[most] / 2u < missing ? freq[most] / 2u : missing;

		freq[most] = (uint16_t)(freq[most] - take);
		missing -= take;
		for (unsigned s = 0; s < 256; s++)
			if (freq[s] > freq[most] || (freq[s] == freq[most] && s < most))
				most = s;
	}
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
		unsigned c = length_of(weight[s]), lead = c > LEAD ? LEAD : c == 0 ? 0 : c - 1;
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
		if (zeros & 1 ? zeros / 2 + 1 > c : c + zeros / 2 > WEIGHT_LEN)
			return NULL;
		c = zeros & 1 ? c - zeros / 2 - 1 : c + zeros / 2;
		if (c == 0)
			continue;
		lead = c > LEAD ? LEAD : c - 1;
		weight[s] = UINT32_C(1) << (c - 1);
		for (unsigned i = 0; i < lead; i++)
			weight[s] |= get_bit(&b) << (c - 1 - lead + i);
	}
	if (b.over || (b.at > 0 && *b.p++ >> b.at != 0))
		return NULL;
	return b.p;
}

/* ---- encoding --------------------------------------------------------------------------------------------------- */

size_t rans_model(struct rans *r, const uint8_t *sym, const uint8_t *ctx, unsigned contexts, size_t n)
{
	double bits = 0;
	size_t i = 0;

	r->contexts = contexts;
	memset(r->count, 0, contexts * sizeof r->count[0]);
	memset(r->total, 0, sizeof r->total);
	if (ctx == NULL) {
		memset(r->more, 0, sizeof r->more);
		for (; i + 4 <= n; i += 4) {
			r->count[0][sym[i]]++;
			r->more[0][sym[i + 1]]++;
			r->more[1][sym[i + 2]]++;
			r->more[2][sym[i + 3]]++;
		}
		for (; i < n; i++)
			r->count[0][sym[i]]++;
		for (unsigned s = 0; s < 256; s++)
			r->count[0][s] += r->more[0][s] + r->more[1][s] + r->more[2][s];
	} else {
		for (; i < n; i++)
			r->count[ctx[i]][sym[i]]++;
	}
	for (unsigned c = 0; c < contexts; c++) {
		double sum = 0, own = 0;

		for (unsigned s = 0; s < 256; s++) {
			uint32_t k = r->count[c][s];

			if (k == 0)
				continue;
			r->total[s] += k;
			sum += k;
			own -= k * (double)log2f((float)k);
			bits += 5;
		}
		if (sum > 0)
			bits += own + sum * log2(sum);
		bits += 16;
	}
	return (size_t)(bits / 8) + 1 + 2 * lanes_for(n);
}

uint32_t rans_count(const struct rans *r, unsigned s)
{
	return r->total[s];
}

static void make_encoder(struct enc_symbol enc[256], const uint16_t freq[256], unsigned bits)
{
	uint32_t start = 0;

	for (unsigned s = 0; s < 256; s++) {
		uint32_t f = freq[s];

		if (f == 0)
			continue;
		/* f = 1: x * (2^64 - 1) / 2^64 is x - 1, which the bias makes good */
		enc[s] = (struct enc_symbol){
			.reciprocal = f == 1 ? UINT64_MAX : UINT64_MAX / f + 1,
			.bias = f == 1 ? start + (1u << bits) - 1 : start,
			.freq = (uint16_t)f,
			.complement = (uint16_t)((1u << bits) - f),
		};
		start += f;
	}
}

/* Puts one symbol into a state; p moves down by the word given off, if one is. */
static inline uint32_t encode_one(uint32_t x, const struct enc_symbol *e, unsigned bits, uint8_t **p)
{
	unsigned emit = x >> (32 - bits) >= e->freq;
	uint32_t quotient;

	(*p)[-2] = (uint8_t)x;
	(*p)[-1] = (uint8_t)(x >> 8);
	*p -= 2 * emit;
	x >>= 16 * emit;
	quotient = (uint32_t)((unsigned __int128)x * e->reciprocal >> 64);
	return x + e->bias + quotient * e->complement;
}

/* The symbols' words end at `end`; returns where they begin, or NULL if that would be below low. */
static inline __attribute__((always_inline)) uint8_t *encode_lanes(const struct rans *r, const uint8_t *sym,
		const uint8_t *ctx, size_t n, unsigned lanes, unsigned bits, uint32_t *x, uint8_t *low,
		uint8_t *end)
{
	uint8_t *p = end;
	size_t i = n;

	for (unsigned l = 0; l < lanes; l++)
		x[l] = STATE_LOW;
	while (i > 0) {
		size_t first = (i - 1) / lanes * lanes;

		if ((size_t)(p - low) < 2 * lanes + 2)
			return NULL;
		if (i - first < lanes) {
			for (; i > first; i--)
				x[i - 1 - first] = encode_one(x[i - 1 - first],
						&r->enc[ctx ? ctx[i - 1] : 0][sym[i - 1]], bits, &p);
			continue;
		}
		for (unsigned l = lanes; l-- > 0;)
			x[l] = encode_one(x[l], &r->enc[ctx ? ctx[first + l] : 0][sym[first + l]], bits, &p);
		i = first;
	}
	return p;
}

size_t rans_encode(struct rans *r, const uint8_t *sym, const uint8_t *ctx, size_t n, uint8_t *out, size_t cap)
{
	unsigned bits = bits_for(r->contexts), lanes = lanes_for(n);
	uint8_t *p = out, *end = out + cap, *words;
	uint32_t x[LANES_WIDE];

	for (unsigned c = 0; c < r->contexts; c++) {
		uint32_t weight[256];
		uint16_t freq[256];

		for (unsigned s = 0; s < 256; s++)
			weight[s] = weight_of(r->count[c][s]);
		p = put_table(weight, p, end);
		if (p == NULL)
			return 0;
		share_out(weight, bits, freq);
		make_encoder(r->enc[c], freq, bits);
	}
	if ((size_t)(end - p) < 4 * lanes)
		return 0;
	if (lanes == LANES_NARROW)
		words = encode_lanes(r, sym, ctx, n, LANES_NARROW, bits, x, p + 4 * lanes, end);
	else if (ctx == NULL)
		words = encode_lanes(r, sym, NULL, n, LANES_WIDE, BITS_ONE, x, p + 4 * lanes, end);
	else
		words = encode_lanes(r, sym, ctx, n, LANES_WIDE, bits, x, p + 4 * lanes, end);
	if (words == NULL)
		return 0;
	for (unsigned l = 0; l < lanes; l++, p += 4)
		for (unsigned b = 0; b < 4; b++)
			p[b] = (uint8_t)(x[l] >> (8 * b));
	memmove(p, words, (size_t)(end - words));
	return (size_t)(p - out) + (size_t)(end - words);
}

/* ---- decoding --------------------------------------------------------------------------------------------------- */

/* What is left to decode: the lanes' states, and the words from p to end. */
struct decoding {
	uint32_t x[LANES_WIDE];
	const uint8_t *p, *end;
	const uint32_t *table;
	const uint8_t *ctx;
	unsigned bits, lanes;
};

/* Symbols [i, n), i at lane 0. */
static bool decode_plain(struct decoding *d, uint8_t *sym, size_t i, size_t n)
{
	const uint32_t mask = (1u << d->bits) - 1;
	unsigned l = 0;

	for (; i < n; i++) {
		uint32_t x = d->x[l];
		uint32_t e = d->table[(d->ctx ? (uint32_t)d->ctx[i] << d->bits : 0) | (x & mask)];

		sym[i] = (uint8_t)e;
		x = ((e >> 8 & 0xfff) + 1) * (x >> d->bits) + (e >> 20);
		if (x < STATE_LOW) {
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
/* For each set of lanes that want a word, which of the next words each gets: lanes in order, words in order. */
static void make_deal(uint8_t deal[256][8])
{
	for (unsigned m = 0; m < 256; m++)
		for (unsigned l = 0, k = 0; l < 8; l++)
			deal[m][l] = (uint8_t)(m >> l & 1 ? k++ : 0);
}

/* As many rounds of 32 symbols as surely have their words; how many symbols that were. */
__attribute__((target("avx2,popcnt"))) static size_t decode_avx2(struct decoding *d, uint8_t *sym, size_t n)
{
	uint8_t deal[256][8];
	const __m256i mask = _mm256_set1_epi32((1 << d->bits) - 1), low12 = _mm256_set1_epi32(0xfff);
	const __m256i one = _mm256_set1_epi32(1), byte = _mm256_set1_epi32(0xff);
	const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
	const __m128i bits = _mm_cvtsi32_si128((int)d->bits);
	const int *table = (const int *)d->table;
	__m256i x[4], s[4];
	size_t i = 0;

	make_deal(deal);
	for (unsigned g = 0; g < 4; g++)
		x[g] = _mm256_loadu_si256((const __m256i *)(d->x + 8 * g));
	/* a round takes at most 64 bytes of words and looks no more than 16 beyond what it has taken */
	for (; n - i >= LANES_WIDE && d->end - d->p >= 2 * LANES_WIDE + 16; i += LANES_WIDE) {
		const uint8_t *p = d->p;

#pragma GCC unroll 4
		for (unsigned g = 0; g < 4; g++) {
			__m256i slot = _mm256_and_si256(x[g], mask), e, dealt;
			unsigned low;

			if (d->ctx != NULL) {
				__m256i c = _mm256_cvtepu8_epi32(
						_mm_loadl_epi64((const __m128i *)(d->ctx + i + 8 * g)));

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
		d->p = p;
		s[0] = _mm256_packus_epi16(_mm256_packus_epi32(s[0], s[1]), _mm256_packus_epi32(s[2], s[3]));
		_mm256_storeu_si256((__m256i *)(sym + i), _mm256_permutevar8x32_epi32(s[0], order));
	}
	for (unsigned g = 0; g < 4; g++)
		_mm256_storeu_si256((__m256i *)(d->x + 8 * g), x[g]);
	return i;
}
#endif

bool rans_decode(struct rans *r, const uint8_t *in, size_t len, const uint8_t *ctx, unsigned contexts,
		uint8_t *sym, size_t n)
{
	struct decoding d = { .p = in,
		.end = in + len,
		.table = r->dec,
		.bits = bits_for(contexts),
		.lanes = lanes_for(n),
		.ctx = contexts > 1 ? ctx : NULL };
	size_t i = 0;

	if (n > RANS_SYMBOLS_MAX || contexts < 1 || contexts > RANS_CONTEXTS)
		return false;
	memset(r->total, 0, sizeof r->total);
	for (unsigned c = 0; c < contexts; c++) {
		uint32_t weight[256], *slot = r->dec + ((size_t)c << d.bits);
		uint16_t freq[256];

		d.p = get_table(d.p, d.end, weight);
		if (d.p == NULL)
			return false;
		for (unsigned s = 0; s < 256; s++)
			r->total[s] |= weight[s];
		share_out(weight, d.bits, freq);
		for (uint32_t s = 0; s < 256; s++) {
			uint32_t e = s | ((uint32_t)freq[s] - 1) << 8;

			if (freq[s] == 0)
				continue;
			for (uint32_t k = 0; k < freq[s]; k++)
				*slot++ = e + (k << 20);
		}
	}
	if ((size_t)(d.end - d.p) < 4 * d.lanes)
		return false;
	for (unsigned l = 0; l < d.lanes; l++, d.p += 4) {
		d.x[l] = (uint32_t)d.p[0] | (uint32_t)d.p[1] << 8 | (uint32_t)d.p[2] << 16 |
			 (uint32_t)d.p[3] << 24;
		if (d.x[l] < STATE_LOW)
			return false;
	}
#if defined __x86_64__
	if (r->simd && d.lanes == LANES_WIDE)
		i = decode_avx2(&d, sym, n);
#endif
	if (!decode_plain(&d, sym, i, n))
		return false;
	for (unsigned l = 0; l < d.lanes; l++)
		if (d.x[l] != STATE_LOW)
			return false;
	return d.p == d.end;
}
