/*
 * codec_delta.c: see codec_delta.h.
 */
#include "codec/codec_delta.h"

#include <string.h>

#include "codec/codec_drift.h"

enum {
	HEAD = 6,
	WIDTH_MASK = 3,
	ORDERED = 4,
	RUNS = 8,
	MODE_SHIFT = 4,
	MODE_MASK = 3,
	DRIFTS = 64,
	FLAGS = 127,
	BY_NONE = 0,
	BY_EXPONENT = 1,
	BY_SCALES = 2,
	EXPONENT_BITS_MAX = 11,
	FACTOR = 4, /* bytes of a drift's factor */

	BLOCK = 16,    /* elements */
	LOOKED = 1024, /* elements that tell the greatest exponents */
	STRIP = 4096,  /* elements whose differences, tokens and contexts stay in the nearest cache */
	ELEMENTS_MIN = 16,
	CONTEXTS = 12, /* of the exponent: more bring nothing */
	SCALED_MIN = 1 << 14,
};

static size_t blocks_of(size_t n)
{
	return (n + BLOCK - 1) / BLOCK;
}

static size_t block_bytes(size_t block, size_t n, unsigned lg)
{
	size_t first = block * BLOCK;

	return (n - first < BLOCK ? n - first : BLOCK) << lg;
}

/* Whether a block of n tokens is all zero, and so its values. */
static bool all_zero(const uint8_t *token, size_t n)
{
	uint64_t a, b;
	uint8_t any = 0;

	if (n == BLOCK) {
		memcpy(&a, token, sizeof a);
		memcpy(&b, token + sizeof a, sizeof b);
		return (a | b) == 0;
	}
	while (n > 0)
		any |= token[--n];
	return any == 0;
}

static size_t put_number(uint8_t *p, size_t v)
{
	size_t n = 0;

	for (; v >= 128; v >>= 7)
		p[n++] = (uint8_t)(v | 128);
	p[n++] = (uint8_t)v;
	return n;
}

/*
 * If many blocks are zero, as w->other tells: takes them out of w->u and writes runs to out.  *live: how many
 * values are left.  Returns the section's length, 0 when nothing was done.
 */
static size_t take_out_zeros(
		struct codec_work *w, size_t n, unsigned lg, uint8_t *out, size_t cap, size_t *live)
{
	const uint8_t *zero_block = w->other;
	size_t blocks = blocks_of(n), zeros = 0, runs = 0, len = 4, run = 0, to = 0;
	bool zero = true;

	for (size_t b = 0; b < blocks; b++) {
		zeros += zero_block[b];
		runs += b == 0 || zero_block[b] != zero_block[b - 1];
	}
	if (zeros < blocks / 16 + 1 || runs > blocks / 8 + 2 || cap < 4 + 3 * (runs + 2))
		return 0;
	for (size_t b = 0; b < blocks; b++) {
		size_t k = block_bytes(b, n, lg);

		if (zero_block[b] != zero) {
			len += put_number(out + len, run);
			zero = !zero;
			run = 0;
		}
		run++;
		if (!zero) {
			memmove(w->u + to, w->u + (b * BLOCK << lg), k);
			to += k;
		}
	}
	len += put_number(out + len, run);
	codec_put32(out, (uint32_t)(len - 4));
	*live = to >> lg;
	return len;
}

/* Keeps of x[0, n), one byte an element, those in blocks that are live. */
static void keep_live(const uint8_t *zero, uint8_t *x, size_t n)
{
	size_t to = 0;

	for (size_t b = 0; b < blocks_of(n); b++) {
		size_t k = block_bytes(b, n, 0);

		if (zero[b])
			continue;
		memmove(x + to, x + b * BLOCK, k);
		to += k;
	}
}

/* Reads runs into w->other; the place after them, or NULL. */
static const uint8_t *get_runs(
		struct codec_work *w, const uint8_t *p, const uint8_t *end, size_t n, size_t *live)
{
	size_t blocks = blocks_of(n), b = 0;
	const uint8_t *stop;
	bool zero = true;

	if (end - p < 4 || codec_get32(p) > (size_t)(end - p) - 4)
		return NULL;
	stop = p + 4 + codec_get32(p);
	*live = 0;
	for (p += 4; p < stop; zero = !zero) {
		size_t run = 0;
		unsigned shift = 0;

		do {
			if (p == stop || shift > 14)
				return NULL;
			run |= (size_t)(*p & 127) << shift;
			shift += 7;
		} while (*p++ & 128);
		if (run > blocks - b)
			return NULL;
		for (; run > 0; run--, b++) {
			w->other[b] = zero;
			*live += zero ? 0 : block_bytes(b, n, 0);
		}
	}
	return b == blocks ? stop : NULL;
}

/* Puts the zeros back into w->u, which holds the live values: from the end, so that nothing is overwritten. */
static void put_zeros_back(struct codec_work *w, size_t n, unsigned lg, size_t live)
{
	size_t from = live << lg;

	for (size_t b = blocks_of(n); b-- > 0;) {
		uint8_t *to = w->u + (b * BLOCK << lg);
		size_t k = block_bytes(b, n, lg);

		if (w->other[b]) {
			memset(to, 0, k);
		} else {
			from -= k;
			memmove(to, w->u + from, k);
		}
	}
}

/* An exponent that few of the base's exceed, by a look at some: context 0. */
static unsigned find_top(const uint8_t *base, const struct codec_layout *lay, size_t n)
{
	uint32_t count[1 << EXPONENT_BITS_MAX] = { 0 }, above = 0, seen;
	unsigned top = (1u << lay->exponent_bits) - 1;

	seen = codec_count_exponents(base, n, lay, LOOKED, count);
	for (; top > 0; top--) {
		above += count[top];
		if (above > seen / 64)
			break;
	}
	return top;
}

static void exponent_contexts(const struct codec_work *w, const uint8_t *base, const struct codec_layout *lay,
		size_t n, unsigned top, unsigned contexts, uint8_t *ctx)
{
	w->loops->exponent_context[lay->lg](
			base, n, (8u << lay->lg) - lay->exponent_bits, top, contexts - 1, ctx);
}

/*
 * Makes the values w->u and their tokens, tells which blocks are zero, in w->other, and with more than one
 * context finds w->ctx: all in one go over both sides.
 */
static void find_values(struct codec_work *w, const uint8_t *elements, const uint8_t *from, size_t n,
		const struct codec_layout *lay, unsigned top, unsigned contexts)
{
	const unsigned lg = lay->lg;

	for (size_t i = 0; i < n; i += STRIP) {
		size_t k = n - i < STRIP ? n - i : STRIP, at = i << lg;

		w->loops->difference[lg](elements + at, from + at, k, lay->exponent_bits != 0, w->u + at);
		w->loops->length_token[lg](w->u + at, k, w->token + i);
		for (size_t b = i / BLOCK; b < blocks_of(i + k); b++)
			w->other[b] = all_zero(w->token + b * BLOCK, block_bytes(b, n, 0));
		if (contexts > 1)
			exponent_contexts(w, from + at, lay, k, top, contexts, w->ctx + i);
	}
}

/* Finds scales and their contexts in w->other; whether these are better than `best` bytes. */
static bool find_scales(struct codec_work *w, const uint8_t *base, size_t n, const struct codec_layout *lay,
		struct codec_scales *s, uint8_t *out, size_t cap, size_t *scales_len, size_t best)
{
	uint32_t row = w->thorough ? codec_scales_row(lay, n) : 0;

	if (row == 0)
		return false;
	/* twice the length of the step: tokens 2 * t + sign, t = 2 * (length - 1) + one bit */
	for (size_t i = 0; i < n; i++)
		w->level[i] = (uint16_t)((w->token[i] >> 1) + 2 * codec_exponent(base + (i << lay->lg), lay));
	codec_scales_find(w, n, row, s);
	codec_scales_centre(w, base, lay, n, s);
	codec_scales_context(w, base, lay, n, s, w->other);
	*scales_len = codec_scales_put(w, s, out, cap);
	return *scales_len > 0 && *scales_len + codec_numbers_estimate(w, w->other, RANS_CONTEXTS, n) < best;
}

/* How many contexts n values are worth. */
static unsigned contexts_of(size_t n, bool floats)
{
	return !floats || n < 1024 ? 1 : n < SCALED_MIN ? CONTEXTS / 3 : CONTEXTS;
}

size_t codec_delta_encode(struct codec_work *w, const uint8_t *raw, size_t len, const uint8_t *base,
		size_t base_len, const struct codec_layout *lay, uint8_t *out, size_t cap)
{
	unsigned lg = lay->lg, mode = BY_NONE, contexts, top;
	size_t common = len < base_len ? len : base_len,
	       n = common < lay->phase ? 0 : (common - lay->phase) >> lg;
	size_t tail = len - lay->phase - (n << lg), at = HEAD, live = n, runs = 0, k = 0;
	const uint8_t *elements = raw + lay->phase, *from = base + lay->phase, *ctx = NULL;
	struct codec_scales scales;
	bool ordered = lay->exponent_bits != 0;
	uint32_t factor = 0;

	if (n < ELEMENTS_MIN || cap < HEAD + FACTOR + lay->phase + tail)
		return 0;
	if (ordered && (lay->exponent_bits + 4u > 8u << lg || lay->exponent_bits > EXPONENT_BITS_MAX))
		return 0;
	if (lg == 2 && lay->exponent_bits == 8 && n >= CODEC_DRIFT_MIN)
		factor = codec_drift_find(w, elements, from, n);
	if (factor != 0) {
		codec_drift_apply(from, n, factor, w->moved);
		from = w->moved;
		codec_put32(out + at, factor);
		at += FACTOR;
	}
	memcpy(out + at, raw, lay->phase);
	at += lay->phase;
	memcpy(out + at, elements + (n << lg), tail);
	at += tail;

	top = ordered ? find_top(from, lay, n) : 0;
	contexts = contexts_of(n, ordered);
	find_values(w, elements, from, n, lay, top, contexts);
	runs = take_out_zeros(w, n, lg, out + at, cap - at, &live);
	at += runs;
	if (runs > 0) {
		keep_live(w->other, w->token, n);
		if (contexts != contexts_of(live, ordered)) {
			contexts = contexts_of(live, ordered);
			if (contexts > 1)
				exponent_contexts(w, from, lay, n, top, contexts, w->ctx);
		}
		if (contexts > 1)
			keep_live(w->other, w->ctx, n);
	}
	bins_length(&w->bins, lg);
	if (contexts == 1) {
		top = 0;
	} else {
		mode = BY_EXPONENT;
		ctx = w->ctx;
		if (w->thorough && runs == 0 &&
				find_scales(w, from, n, lay, &scales, out + at, cap - at, &k,
						codec_numbers_estimate(w, ctx, contexts, n))) {
			mode = BY_SCALES;
			contexts = RANS_CONTEXTS;
			top = 0;
			ctx = w->other;
			at += k;
		}
	}
	k = codec_numbers_encode(w, ctx, contexts, live, out + at, cap - at);
	if (k == 0)
		return 0;
	out[0] = (uint8_t)(lg | (ordered ? ORDERED : 0) | (runs ? RUNS : 0) | mode << MODE_SHIFT |
			   (factor ? DRIFTS : 0));
	out[1] = lay->exponent_bits;
	out[2] = lay->phase;
	out[3] = (uint8_t)contexts;
	codec_put16(out + 4, top);
	return at + k;
}

/* What a header says, if it says nothing wrong. */
static bool get_head(const uint8_t *in, struct codec_layout *lay, unsigned *mode)
{
	bool ordered = in[0] & ORDERED;

	*mode = (unsigned)in[0] >> MODE_SHIFT & MODE_MASK;
	*lay = (struct codec_layout){ .lg = in[0] & WIDTH_MASK, .exponent_bits = in[1], .phase = in[2] };
	if (in[0] & ~FLAGS || *mode > BY_SCALES || lay->phase >> lay->lg != 0)
		return false;
	if (ordered ? lay->exponent_bits < 2 || lay->exponent_bits > EXPONENT_BITS_MAX ||
							lay->exponent_bits + 4u > 8u << lay->lg
		    : lay->exponent_bits != 0 || *mode != BY_NONE)
		return false;
	if (in[0] & DRIFTS && (lay->lg != 2 || lay->exponent_bits != 8))
		return false;
	switch (*mode) {
	case BY_NONE:
		return in[3] == 1 && codec_get16(in + 4) == 0;
	case BY_EXPONENT:
		return in[3] >= 2 && in[3] <= RANS_CONTEXTS;
	default:
		return in[3] == RANS_CONTEXTS && codec_get16(in + 4) == 0 && !(in[0] & RUNS);
	}
}

bool codec_delta_decode(struct codec_work *w, const uint8_t *in, size_t in_len, const uint8_t *base,
		size_t base_len, uint8_t *raw, size_t len)
{
	size_t common = len < base_len ? len : base_len, n, tail, live;
	const uint8_t *p = in + HEAD, *end = in + in_len, *from;
	struct codec_layout lay;
	struct codec_scales scales;
	unsigned mode;

	if (in_len < HEAD || !get_head(in, &lay, &mode) || lay.phase > common)
		return false;
	from = base + lay.phase;
	n = live = (common - lay.phase) >> lay.lg;
	tail = len - lay.phase - (n << lay.lg);
	if (in[0] & DRIFTS) {
		if (end - p < FACTOR || !codec_drift_valid(codec_get32(p)))
			return false;
		codec_drift_apply(from, n, codec_get32(p), w->moved);
		from = w->moved;
		p += FACTOR;
	}
	if ((size_t)(end - p) < lay.phase + tail)
		return false;
	memcpy(raw, p, lay.phase);
	memcpy(raw + len - tail, p + lay.phase, tail);
	p += lay.phase + tail;
	if (in[0] & RUNS) {
		p = get_runs(w, p, end, n, &live);
		if (p == NULL)
			return false;
	}
	if (mode == BY_EXPONENT) {
		exponent_contexts(w, from, &lay, n, codec_get16(in + 4), in[3], w->ctx);
		if (in[0] & RUNS)
			keep_live(w->other, w->ctx, n);
	} else if (mode == BY_SCALES) {
		p = codec_scales_get(w, n, p, end, &scales);
		if (p == NULL)
			return false;
		codec_scales_context(w, from, &lay, n, &scales, w->ctx);
	}
	bins_length(&w->bins, lay.lg);
	if (!codec_numbers_decode(w, mode == BY_NONE ? NULL : w->ctx, in[3], live, p, (size_t)(end - p)))
		return false;
	if (in[0] & RUNS)
		put_zeros_back(w, n, lay.lg, live);
	w->loops->sum[lay.lg](w->u, from, n, in[0] & ORDERED, raw + lay.phase);
	return true;
}
