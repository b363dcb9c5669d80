/*
 * codec_bins.h: numbers of 1 to 8 bytes as tokens, which are entropy-coded, and low bits, which are not.
 *
 * The low bits of a trained number are noise: coding them costs time and tables and gains nothing.  What
 * is worth coding is how large it is, and roughly where in that range.  So one symbol an element is coded,
 * of an alphabet of a few dozen; and since its tables are small, many contexts are affordable
 * (codec_rans.h).  The idea is that of pcodec's bins and of the "hybrid integers" of JPEG XL (ISO/IEC
 * 18181-1, C.2.6).  An element of width w bytes is one of two schemes:
 *
 *   length   differences as zigzag (codec_simd.h), 2 * m + s.  w = 1: the token is the value.  Else 2 * t + s, where t is m for
 *            m < 4, and for an m of L bits 2 * (L - 1) + the bit after its leading one; L - 2 low bits of m follow.  The sign
 *            is in the token, since it is not always a coin's (weight decay, second moments)
 *   float    rotated floats with E exponent bits, k bits wide in all (codec_float.c drops bits that say nothing): the E + 2
 *            top bits less 4 * e0 if that is below 248, and k - E - 2 low bits; 248 for the value 0, no low bits; 249 for
 *            the rest, and the whole value as low bits
 *
 * The low bits of all elements follow one another, the lowest bit of each first, in bytes filled from
 * their low end.
 */
#ifndef CODEC_BINS_H
#define CODEC_BINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	BINS_FLOAT_REGULAR = 248,
	BINS_FLOAT_ZERO = 248,
	BINS_FLOAT_ESCAPE = 249,
	BINS_SLACK = 16, /* bytes that may be written beyond the end of low bits */
};

/* What each token stands for: the value is start + (low bits << shift). */
struct bins {
	unsigned lg;      /* log2 of the width in bytes */
	unsigned shift;   /* 1 with the length scheme, 0 with the other */
	unsigned first;   /* float scheme: what token 0 stands for, less its low bits; else 0 */
	unsigned regular; /* tokens below this are the scheme's own, none of them invalid or special */
	bool simd;
	uint8_t bits[256]; /* how many low bits */
	bool valid[256];
	uint64_t start[256];
};

void bins_length(struct bins *b, unsigned lg);

/* wide: bits of a value, exponent_bits + 2 <= wide <= 8 << lg; first: 4 * e0. */
void bins_float(struct bins *b, unsigned lg, unsigned wide, unsigned exponent_bits, unsigned first);

/*
 * Both schemes set b->simd to whether this machine has the vector instructions; a test may clear it. Both ways
 * give the same bytes.
 */

/* Bytes that the low bits take when token t occurs count[t] times. */
size_t bins_low_size(const struct bins *b, const uint32_t count[256]);

/*
 * Writes the low bits of n values u with these tokens into out, which has bins_low_size() + BINS_SLACK bytes.
 */
void bins_put_low(const struct bins *b, const uint8_t *u, const uint8_t *token, size_t n, uint8_t *out);

/*
 * Makes the n values of these tokens, their low bits being in[0, len) and nothing else; false if that is
 * not so.  A token that is not valid makes a 0.
 */
bool bins_get(const struct bins *b, const uint8_t *token, size_t n, const uint8_t *in, size_t len,
		uint8_t *u);

#endif
