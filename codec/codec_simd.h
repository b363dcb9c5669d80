/*
 * codec_simd.h: the loops over the elements of a chunk that the codecs share, plain and vectorised.
 *
 * Each loop is written once, in C that a compiler can vectorise, and compiled twice on x86-64: for any
 * machine, and for one with AVX2 (asked at run time).  So both do the same by construction, and a test
 * compares them all the same.
 *
 * Elements are little-endian and of 1, 2, 4 or 8 bytes; lg is log2 of that.  Pointers need no alignment.
 * A value "u" is an element after one of the two maps that make small or alike numbers of floats, both one
 * to one:
 *
 *   rotate      the bits rotated left by one: exponent, mantissa, sign from the top down
 *   difference  of integers x - b; of floats o(x) - o(b), where o is the integer that orders like floats do (sign-magnitude
 *               to two's complement), and both are negated first if b is negative: so a number that shrinks has a
 *               negative difference whatever its sign.  Modulo 2^w, as zigzag (0, -1, 1, -2 ... are 0, 1, 2, 3 ...)
 *
 * A token is what is entropy-coded of a value, the value's low bits follow as they are (codec_bins.h).
 */
#ifndef CODEC_SIMD_H
#define CODEC_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct codec_loops {
	/* n elements to planes[p * n + i] = byte p of element i, and back */
	void (*split[4])(const uint8_t *x, size_t n, uint8_t *planes);
	void (*merge[4])(const uint8_t *planes, size_t n, uint8_t *x);
	/*
	 * the bits that are set anywhere among the values it makes; *changing: those that are not always the
	 * same
	 */
	uint64_t (*rotate[4])(const uint8_t *x, size_t n, uint8_t *u, uint64_t *changing);
	void (*unrotate[4])(const uint8_t *u, size_t n, uint8_t *x);
	/*
	 * Rotated floats without `drop` low mantissa bits, and without the lowest bit, the sign, unless
	 * sign is set: in place, the rest moved down; and back, sign being `negative` where it was not
	 * kept
	 */
	void (*squeeze[4])(uint8_t *u, size_t n, unsigned drop, bool sign);
	void (*stretch[4])(uint8_t *u, size_t n, unsigned drop, bool sign, bool negative);
	/* ordered: floats. */
	void (*difference[4])(const uint8_t *x, const uint8_t *b, size_t n, bool ordered, uint8_t *u);
	void (*sum[4])(const uint8_t *u, const uint8_t *b, size_t n, bool ordered, uint8_t *x);
	/* tokens of the two schemes of codec_bins.h */
	void (*length_token[4])(const uint8_t *u, size_t n, uint8_t *token);
	void (*float_token[4])(const uint8_t *u, size_t n, unsigned shift, unsigned first, uint8_t *token);
	/* ctx[i] = min(most, max(0, top - exponent)), the exponent being (element << 1) >> shift */
	void (*exponent_context[4])(const uint8_t *x, size_t n, unsigned shift, unsigned top, unsigned most,
			uint8_t *ctx);
	/* ctx[i] = min(31, max(0, part + column[i] - 2 * exponent)) */
	void (*scale_context[4])(const uint8_t *x, size_t n, unsigned shift, int part, const uint8_t *column,
			uint8_t *ctx);
	/*
	 * The sum of count * log2(count), counts below 2^24, to 1 / 8000 of a bit a symbol; *seen: how many
	 * are not 0.  The same on all machines.
	 */
	double (*weigh)(const uint32_t count[256], unsigned *seen);
};

extern const struct codec_loops codec_loops_plain;

/* The best of this machine. */
const struct codec_loops *codec_loops(void);

#endif
