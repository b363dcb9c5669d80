/*
 * codec_probe.c: see codec_probe.h.
 */
#include "codec/codec_probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#if defined __GNUC__ && !defined __clang__
#pragma GCC optimize("O3")
#endif

enum {
	PIECES = 32, /* of elements, evenly spread */
	PIECE = 64,  /* elements of one */
	RUNS = 8,    /* of bytes, for layouts */
	RUN = 1 << 10,
	IMAGE_PIECES = 4,
	IMAGE_PIECE = 2 << 10,
	UP_MIN = 8, /* distances tried when the row is not known */
	UP_MAX = 2 << 10,
	UP_SAMPLE = 512,
	EXPONENT_BITS_MAX = 11,
	WINDOW_LOOKED = 512, /* elements of the sample that tell the exponents */
	SEEN_BITS = 11,      /* of a hash, by which numbers are remembered */
	REPEATS_MIN = 16,    /* of so many elements one has to come again */
};

/* Bits of one of n symbols. */
static double entropy(const uint32_t count[256], uint32_t n)
{
	unsigned seen;
	double sum = codec_loops()->weigh(count, &seen);

	return n == 0 ? 0 : log2(n) - sum / n + ((double)seen - 1) * 0.72 / n;
}

/* Where the k-th of `pieces` pieces begins, in units, of all units. */
static size_t piece_at(size_t k, size_t pieces, size_t piece, size_t all)
{
	return (all - piece) * k / (pieces - 1);
}

double probe_bytes(const uint8_t *raw, size_t len)
{
	uint32_t count[256] = { 0 };

	for (size_t k = 0; k < PIECES; k++) {
		const uint8_t *p = raw + piece_at(k, PIECES, PIECE, len);

		for (size_t i = 0; i < PIECE; i++)
			count[p[i]]++;
	}
	return entropy(count, PIECES * PIECE) / 8;
}

double probe_planes(const uint8_t *raw, size_t len, const struct codec_layout *lay)
{
	uint32_t count[8][256] = { { 0 } };
	size_t width = (size_t)1 << lay->lg, n = (len - lay->phase) >> lay->lg;
	double bits = 0;

	for (size_t k = 0; k < PIECES; k++) {
		const uint8_t *p = raw + lay->phase + (piece_at(k, PIECES, PIECE, n) << lay->lg);

		for (size_t i = 0; i < PIECE; i++)
			for (size_t b = 0; b < width; b++)
				count[b][*p++]++;
	}
	for (size_t b = 0; b < width; b++) {
		double h = entropy(count[b], PIECES * PIECE);

		bits += h < 8 ? h : 8;
	}
	return bits / 8 / (double)width;
}

/* Gathers the sample's elements at p into to, which is not p. */
static void gather(const uint8_t *p, size_t n, unsigned lg, uint8_t *to)
{
	for (size_t k = 0; k < PIECES; k++)
		memcpy(to + (k * PIECE << lg), p + (piece_at(k, PIECES, PIECE, n) << lg),
				(size_t)PIECE << lg);
}

/* Bits of a value, tokens being w->token. */
static double token_bits(struct codec_work *w, uint32_t count[256])
{
	uint32_t more[256] = { 0 };

	memset(count, 0, 256 * sizeof count[0]);
	for (size_t i = 0; i < PIECES * PIECE; i += 2) {
		count[w->token[i]]++;
		more[w->token[i + 1]]++;
	}
	for (unsigned s = 0; s < 256; s++)
		count[s] += more[s];
	return entropy(count, PIECES * PIECE);
}

unsigned probe_window(const uint8_t *elements, size_t n, const struct codec_layout *lay, unsigned window,
		size_t some)
{
	uint32_t count[1 << EXPONENT_BITS_MAX], in = 0, best = 0;
	unsigned first = 0, last = 0, all = 1u << lay->exponent_bits;

	if (all <= window)
		return 0;
	memset(count, 0, all * sizeof count[0]);
	codec_count_exponents(elements, n, lay, some, count);
	for (unsigned e = 0; e < all; e++) {
		in += count[e] - (e >= window ? count[e - window] : 0);
		if (in < best || e + 1 < window)
			continue;
		last = e + 1 - window;
		if (in > best)
			first = last;
		best = in;
	}
	/* the middle one of equals: there is room for what was not looked at at both ends */
	return (first + last) / 2;
}

double probe_float(struct codec_work *w, const uint8_t *raw, size_t len, const struct codec_layout *lay)
{
	const double all = PIECES * PIECE;
	unsigned lg = lay->lg, wide = 8u << lg, low = wide - lay->exponent_bits - 2, drop;
	uint8_t *x = w->u + CODEC_WORK_MAX / 2;
	uint64_t changing, used;
	uint32_t count[256];
	double bits;

	gather(raw + lay->phase, (len - lay->phase) >> lg, lg, x);
	used = w->loops->rotate[lg](x, PIECES * PIECE, w->u, &changing) >> 1;
	drop = used == 0 ? low - 1 : (unsigned)__builtin_ctzll(used);
	drop = (drop < low - 1 ? drop : low - 1) + !(changing & 1);
	w->loops->float_token[lg](w->u, PIECES * PIECE, low,
			4 * probe_window(x, PIECES * PIECE, lay, BINS_FLOAT_REGULAR / 4, WINDOW_LOOKED),
			w->token);
	bits = token_bits(w, count);
	bits += (low - drop) * (1 - (count[BINS_FLOAT_ZERO] + count[BINS_FLOAT_ESCAPE]) / all);
	bits += (wide - drop) * (count[BINS_FLOAT_ESCAPE] / all);
	return bits / wide;
}

double probe_delta(struct codec_work *w, const uint8_t *raw, size_t len, const uint8_t *base, size_t base_len,
		const struct codec_layout *lay)
{
	uint8_t *x = w->u + CODEC_WORK_MAX / 2, *b = x + CODEC_WORK_MAX / 4;
	size_t common = len < base_len ? len : base_len, n;
	unsigned lg = lay->lg;
	uint32_t count[256];
	double bits;

	if (common < PROBE_MIN)
		return 1;
	n = (common - lay->phase) >> lg;
	gather(raw + lay->phase, n, lg, x);
	gather(base + lay->phase, n, lg, b);
	w->loops->difference[lg](x, b, PIECES * PIECE, lay->exponent_bits != 0, w->u);
	w->loops->length_token[lg](w->u, PIECES * PIECE, w->token);
	bins_length(&w->bins, lg);
	bits = token_bits(w, count);
	for (unsigned t = 0; t < 256; t++)
		bits += (double)count[t] * w->bins.bits[t] / (PIECES * PIECE);
	bits /= 8u << lg;
	return (bits * (double)common + (double)(len - common)) / (double)len;
}

/* Bits a pixel, by some pieces. */
static double image_bits(const uint8_t *raw, size_t len, const struct codec_image *im)
{
	uint8_t res[IMAGE_PIECE];
	uint32_t count[256] = { 0 };
	size_t before = (size_t)im->up + im->left;

	for (size_t k = 0; k < IMAGE_PIECES; k++) {
		size_t at = before + piece_at(k, IMAGE_PIECES, IMAGE_PIECE, len - before);

		codec_image_residues(raw, at, at + IMAGE_PIECE, im, res);
		for (size_t i = 0; i < IMAGE_PIECE; i++)
			count[res[i]]++;
	}
	return entropy(count, IMAGE_PIECES * IMAGE_PIECE);
}

/* The distance at which two pieces of raw are most like themselves. */
static uint32_t find_up(const uint8_t *raw, size_t len, unsigned left)
{
	uint32_t least = UINT32_MAX, up = 0;
	size_t most = len / 4 < UP_MAX ? len / 4 : UP_MAX;

	for (size_t d = UP_MIN; d <= most; d++) {
		uint32_t sum = 0;

		if (left > 1 && d % left != 0)
			continue;
		for (size_t k = 1; k < 3; k++) {
			const uint8_t *p = raw + (len - UP_SAMPLE - most) / 3 * k + most, *above = p - d;

			for (size_t i = 0; i < UP_SAMPLE; i++)
				sum += (uint32_t)abs(p[i] - above[i]);
		}
		if (sum < least) {
			least = sum;
			up = (uint32_t)d;
		}
	}
	return up;
}

double probe_image(const uint8_t *raw, size_t len, uint32_t row, double limit, struct codec_image *im)
{
	static const uint8_t lefts[] = { 1, 3, 4 };
	double best = 8;

	if (len < 4 * IMAGE_PIECE)
		return 1;
	for (size_t k = 0; k < sizeof lefts; k++) {
		struct codec_image it = { .left = lefts[k] };
		double bits;

		if (row > 1 && row < UP_MIN && row != it.left)
			continue;
		if (row >= UP_MIN && row % it.left != 0)
			continue;
		bits = image_bits(raw, len, &it);
		if (bits < best) {
			best = bits;
			*im = it;
		}
	}
	if (best > 7.8 || best > 8 * limit)
		return 1;
	for (int k = 0; k < 2; k++) {
		struct codec_image it = { .left = im->left,
			.up = k == 0 ? row : find_up(raw, len, im->left) };
		double bits;

		if (k == 1 && im->up != 0)
			break; /* the row was right */
		if (it.up < UP_MIN || it.up + IMAGE_PIECE + it.left > len)
			continue;
		bits = image_bits(raw, len, &it);
		if (bits < best - 0.02) {
			best = bits;
			*im = it;
		}
	}
	return best / 8;
}

double probe_zstd(struct codec_work *w, const uint8_t *raw, size_t len, size_t piece)
{
	size_t got;

	piece = piece < len ? piece : len;
	ZSTD_CCtx_setParameter(w->cctx, ZSTD_c_compressionLevel, 1);
	got = ZSTD_compress2(w->cctx, w->other, CODEC_WORK_MAX, raw + (len - piece) / 2, piece);
	return ZSTD_isError(got) ? 1 : (double)got / (double)piece;
}

bool probe_repeats(const uint8_t *raw, size_t len, size_t piece, const struct codec_layout *lay)
{
	/* two short ones together are as much as a match begins with */
	size_t step = (size_t)1 << lay->lg, took = step < 4 ? 4 : step, begin, hits = 0, looks = 0;
	uint64_t seen[1 << SEEN_BITS] = { 0 };

	piece = piece < len ? piece : len;
	begin = (len - piece) / 2;
	begin += (lay->phase - begin) & (step - 1);
	for (size_t i = begin; i + took <= begin + piece && i + took <= len; i += step, looks++) {
		uint64_t v = 0, *at;

		if (took == 8)
			memcpy(&v, raw + i, 8);
		else
			memcpy(&v, raw + i, 4);
		at = &seen[v * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SEEN_BITS)];
		hits += *at == v;
		*at = v;
	}
	return hits * REPEATS_MIN >= looks;
}

double probe_layout(struct codec_work *w, const uint8_t *raw, size_t len, struct codec_layout *lay)
{
	static const uint8_t exponents[4][2] = { { 0, 0 }, { 5, 8 }, { 8, 0 }, { 11, 0 } };
	uint32_t count[15][256] = { { 0 } }; /* of 8 phases, of 4, of 2, of 1 */
	double best = 1, guess;

	for (size_t k = 0; k < RUNS; k++) {
		const uint8_t *p = raw + (piece_at(k, RUNS, RUN, len) & ~(size_t)7);

		for (size_t i = 0; i < RUN; i += 8) {
			uint64_t v;

			memcpy(&v, p + i, sizeof v);
#pragma GCC unroll 8
			for (unsigned b = 0; b < 8; b++)
				count[b][v >> 8 * b & 255]++;
		}
	}
	for (unsigned half = 4, from = 0, to = 8; half > 0; from = to, to += half, half /= 2)
		for (unsigned p = 0; p < half; p++)
			for (unsigned s = 0; s < 256; s++)
				count[to + p][s] = count[from + p][s] + count[from + p + half][s];
	memset(lay, 0, sizeof *lay);
	for (unsigned lg = 0; lg < 4; lg++) {
		unsigned width = 1u << lg, at = 16 - 2 * width, first = 0;
		double sum = 0, step = 0, h[8];

		for (unsigned p = 0; p < width; p++) {
			h[p] = entropy(count[at + p], RUNS * RUN / width);
			h[p] = h[p] < 8 ? h[p] : 8;
			sum += h[p] / 8 / width;
		}
		/* an element begins with its noisiest byte, after its quietest */
		for (unsigned p = 0; p < width; p++) {
			double up = h[p] - h[(p + width - 1) % width];

			if (up > step) {
				step = up;
				first = p;
			}
		}
		/* a wider one has to be better than chance makes it */
		if (lg == 0 || sum < best - 0.02) {
			best = sum;
			lay->lg = (uint8_t)lg;
			lay->phase = (uint8_t)first;
		}
	}
	guess = best + 0.005; /* floats as such are quicker, and have better differences: they win a draw */
	for (unsigned k = 0; k < 2 && exponents[lay->lg][k] != 0; k++) {
		struct codec_layout f = *lay;
		double is;

		f.exponent_bits = exponents[lay->lg][k];
		is = probe_float(w, raw, len, &f);
		/* taking mantissa for exponent costs nothing, so the longer one has to be better */
		if (is < guess - (lay->exponent_bits != 0 ? 0.005 : 0)) {
			guess = best = is;
			*lay = f;
		}
	}
	return best;
}
