/*
 * codec_float.c: see codec_float.h.
 */
#include "codec/codec_float.h"

#include <string.h>

enum {
	HEAD = 6,
	WIDTH_MASK = 3,
	SIGNED = 4,
	NEGATIVE = 8,
	SCALED = 16,
	FLAGS = 31,
	ELEMENTS_MIN = 32,
	WINDOW = BINS_FLOAT_REGULAR / 4, /* exponents that have tokens of their own */
	EXPONENT_BITS_MAX = 11,
};

/* How wide values are, and what is left out of them. */
struct shape {
	unsigned lg, exponent_bits, drop;
	bool sign;     /* stored */
	bool negative; /* if not */
};

static unsigned wide_of(const struct shape *s)
{
	return (8u << s->lg) - s->drop - !s->sign;
}

/* What w->u, rotated floats, has that says nothing. */
static struct shape find_shape(const struct codec_work *w, size_t n, const struct codec_layout *lay)
{
	struct shape s = { .lg = lay->lg, .exponent_bits = lay->exponent_bits };
	unsigned most = (8u << lay->lg) - 1 - lay->exponent_bits - 2;
	uint64_t changing, used = w->loops->bits_used[lay->lg](w->u, n, &changing) >> 1;

	s.drop = used == 0 ? most : (unsigned)__builtin_ctzll(used);
	if (s.drop > most)
		s.drop = most;
	s.sign = changing & 1;
	s.negative = w->u[0] & 1;
	return s;
}

/* The least of WINDOW exponents that most elements have, by a look at some. */
static unsigned find_window(const uint8_t *elements, size_t n, const struct codec_layout *lay)
{
	uint32_t count[1 << EXPONENT_BITS_MAX] = { 0 }, in = 0, best = 0;
	unsigned first = 0, all = 1u << lay->exponent_bits;
	size_t step = n / 4096 + 1;

	if (all <= WINDOW)
		return 0;
	for (size_t i = 0; i < n; i += step)
		count[codec_exponent(elements + (i << lay->lg), lay)]++;
	for (unsigned e = 0; e < all; e++) {
		in += count[e] - (e >= WINDOW ? count[e - WINDOW] : 0);
		if (in > best) {
			best = in;
			first = e >= WINDOW ? e - WINDOW + 1 : 0;
		}
	}
	return first;
}

/* Finds scales for w->token's elements and their contexts in w->ctx; whether these are better than none. */
static bool find_scales(struct codec_work *w, const uint8_t *elements, size_t n,
		const struct codec_layout *lay, struct codec_scales *s, uint8_t *out, size_t cap,
		size_t *scales_len)
{
	uint32_t row = w->thorough ? codec_scales_row(lay, n) : 0;
	size_t plain;

	if (row == 0)
		return false;
	for (size_t i = 0; i < n; i++)
		w->level[i] = (uint16_t)(2 * codec_exponent(elements + (i << lay->lg), lay));
	codec_scales_find(w, n, row, s);
	codec_scales_centre(w, NULL, lay, n, s);
	codec_scales_context(w, NULL, lay, n, s, w->ctx);
	*scales_len = codec_scales_put(w, s, out, cap);
	if (*scales_len == 0)
		return false;
	plain = codec_numbers_estimate(w, NULL, 1, n);
	return *scales_len + codec_numbers_estimate(w, w->ctx, RANS_CONTEXTS, n) < plain;
}

size_t codec_float_encode(struct codec_work *w, const uint8_t *raw, size_t len,
		const struct codec_layout *lay, uint8_t *out, size_t cap)
{
	unsigned lg = lay->lg, first;
	size_t width = (size_t)1 << lg, n = len < lay->phase ? 0 : (len - lay->phase) >> lg, tail, at = HEAD,
	       more = 0, k;
	const uint8_t *elements = raw + lay->phase;
	struct codec_scales scales;
	struct shape s;
	bool scaled;

	if (lg == 0 || n < ELEMENTS_MIN || lay->exponent_bits + 4u > 8 * width ||
			lay->exponent_bits > EXPONENT_BITS_MAX)
		return 0;
	tail = len - lay->phase - (n << lg);
	if (cap < HEAD + 2 * width)
		return 0;
	w->loops->rotate[lg](elements, n, w->u);
	s = find_shape(w, n, lay);
	if (s.drop > 0 || !s.sign)
		w->loops->squeeze[lg](w->u, n, s.drop, s.sign);
	first = find_window(elements, n, lay);
	w->loops->float_token[lg](w->u, n, wide_of(&s) - s.exponent_bits - 2, 4 * first, w->token);
	bins_float(&w->bins, lg, wide_of(&s), s.exponent_bits, 4 * first);

	memcpy(out + at, raw, lay->phase);
	at += lay->phase;
	memcpy(out + at, elements + (n << lg), tail);
	at += tail;
	scaled = find_scales(w, elements, n, lay, &scales, out + at, cap - at, &more);
	if (scaled)
		at += more;
	k = codec_numbers_encode(
			w, scaled ? w->ctx : NULL, scaled ? RANS_CONTEXTS : 1, n, out + at, cap - at);
	if (k == 0)
		return 0;
	out[0] = (uint8_t)(lg | (s.sign ? SIGNED : s.negative ? NEGATIVE : 0) | (scaled ? SCALED : 0));
	out[1] = (uint8_t)s.exponent_bits;
	out[2] = lay->phase;
	out[3] = (uint8_t)s.drop;
	codec_put16(out + 4, first);
	return at + k;
}

bool codec_float_decode(struct codec_work *w, const uint8_t *in, size_t in_len, uint8_t *raw, size_t len)
{
	struct codec_layout lay;
	struct codec_scales scales;
	struct shape s;
	const uint8_t *p, *end = in + in_len, *ctx = NULL;
	unsigned first;
	size_t n, tail;

	if (in_len < HEAD || in[0] & ~FLAGS)
		return false;
	s = (struct shape){ .lg = in[0] & WIDTH_MASK,
		.exponent_bits = in[1],
		.drop = in[3],
		.sign = in[0] & SIGNED,
		.negative = in[0] & NEGATIVE };
	lay = (struct codec_layout){ .lg = (uint8_t)s.lg, .phase = in[2], .exponent_bits = in[1] };
	first = codec_get16(in + 4);
	if (s.lg == 0 || s.exponent_bits < 2 || s.exponent_bits > EXPONENT_BITS_MAX ||
			s.exponent_bits + 4u > 8u << s.lg ||
			s.drop > (8u << s.lg) - 1 - s.exponent_bits - 2 || lay.phase >> s.lg != 0 ||
			lay.phase > len || first >= 1u << s.exponent_bits)
		return false;
	n = (len - lay.phase) >> s.lg;
	tail = len - lay.phase - (n << s.lg);
	p = in + HEAD;
	if ((size_t)(end - p) < lay.phase + tail)
		return false;
	memcpy(raw, p, lay.phase);
	memcpy(raw + len - tail, p + lay.phase, tail);
	p += lay.phase + tail;
	if (in[0] & SCALED) {
		p = codec_scales_get(w, n, p, end, &scales);
		if (p == NULL)
			return false;
		codec_scales_context(w, NULL, &lay, n, &scales, w->ctx);
		ctx = w->ctx;
	}
	bins_float(&w->bins, s.lg, wide_of(&s), s.exponent_bits, 4 * first);
	if (!codec_numbers_decode(w, ctx, ctx ? RANS_CONTEXTS : 1, n, p, (size_t)(end - p)))
		return false;
	if (s.drop > 0 || !s.sign)
		w->loops->stretch[s.lg](w->u, n, s.drop, s.sign, s.negative);
	w->loops->unrotate[s.lg](w->u, n, raw + lay.phase);
	return true;
}
