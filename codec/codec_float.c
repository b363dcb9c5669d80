/*
 * codec_float.c: see codec_float.h.
 */
#include "codec/codec_float.h"

#include <string.h>

#include "codec/codec_probe.h"

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
	LOOKED = 512, /* elements that tell which exponents those are */
	STRIP = 4096, /* elements */
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

/* What values have that says nothing, if these are the bits used and changing in them. */
static struct shape shape_of(const struct codec_layout *lay, uint64_t used, uint64_t changing, bool negative)
{
	struct shape s = {
		.lg = lay->lg, .exponent_bits = lay->exponent_bits, .sign = changing & 1, .negative = negative
	};
	unsigned most = (8u << lay->lg) - 1 - lay->exponent_bits - 2;

	s.drop = used >> 1 == 0 ? most : (unsigned)__builtin_ctzll(used >> 1);
	if (s.drop > most)
		s.drop = most;
	return s;
}

/*
 * Rotates n floats to w->u, takes out what says nothing and finds tokens, strip by strip, so that each stays
 * in the nearest cache.  The first strip's shape is taken for all; when that is wrong, once more.
 */
static struct shape find_values(struct codec_work *w, const uint8_t *elements, size_t n,
		const struct codec_layout *lay, unsigned first)
{
	const unsigned lg = lay->lg;
	struct shape s = { 0 }, is;

	for (bool again = false;; again = true) {
		uint64_t used = 0, changing = 0, begin = 0;

		for (size_t i = 0; i < n; i += STRIP) {
			size_t k = n - i < STRIP ? n - i : STRIP;
			uint8_t *u = w->u + (i << lg);
			uint64_t own, one = 0;

			used |= w->loops->rotate[lg](elements + (i << lg), k, u, &own);
			memcpy(&one, u, (size_t)1 << lg);
			if (i == 0)
				begin = one;
			changing |= own | (one ^ begin);
			if (i == 0 && !again)
				s = shape_of(lay, used, changing, begin & 1);
			if (s.drop > 0 || !s.sign)
				w->loops->squeeze[lg](u, k, s.drop, s.sign);
			w->loops->float_token[lg](
					u, k, wide_of(&s) - s.exponent_bits - 2, 4 * first, w->token + i);
		}
		is = shape_of(lay, used, changing, begin & 1);
		if (is.drop == s.drop && is.sign == s.sign)
			return s;
		s = is;
	}
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
	first = probe_window(elements, n, lay, WINDOW, LOOKED);
	s = find_values(w, elements, n, lay, first);
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
