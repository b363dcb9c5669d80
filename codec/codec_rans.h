/*
 * codec_rans.h: bytes to bits, each symbol under a context, at the cost its frequency deserves.
 *
 * A range coder in its "asymmetric numeral system" form (Duda, "Asymmetric numeral systems",
 * arXiv:1311.2540, with the byte-wise renormalisation and interleaving of Giesen, "Interleaved entropy
 * coders", arXiv:1402.3392).  Unlike a Huffman code it spends less than one bit on a symbol that is nearly
 * certain, which is what the top of a small difference is.  The model is static: one table of frequencies
 * a context, sent before the symbols.
 *
 * A stream is
 *
 *   tables    for each context: u8 least symbol, u8 greatest symbol (least > greatest: none occurs), then for each symbol
 *             between them a weight, as bits from the low end on.  A weight w is told by its length c (0 when w = 0, else
 *             1 + floor(log2 w), at most 21) as the zigzag of c minus the c before it (0 at first), z zeros and a one; and by
 *             the up to 3 bits that follow its leading one, the lowest first.  Weights have no more than 4 significant
 *             bits.  Each context's bits are filled up to a whole byte with zeros.
 *   states    one u32 LE a lane: 32 lanes from RANS_WIDE symbols on, 4 below
 *   words     u16 LE, to the end of the stream
 *
 * A symbol that deserves a small part of a slot takes a whole one, and 60 such symbols, the ends of quantized weights, take
 * 1.5 % of them.  So a stream may begin with escapes instead, which no table begins with:
 *
 *   255, 0    u8 the symbol that stands for another one | u24 LE how often it does | these symbols, one after the other
 *
 * and tables, states and words as above.  Each time that symbol comes out the next of these takes its place.
 *
 * Symbol i belongs to lane i % lanes.  Frequencies are out of 4096 for a single context and out of 2048
 * for more: the weights' running sum, scaled and rounded to nearest, gives the slots' borders.  Symbols
 * left without a slot get one, taken from the symbol that has most (the lowest of equals): as many as are
 * needed, but no more than half of what it has, then from the one that has most now.  Where no symbol
 * occurs, symbol 0 has all slots.  A state x lies in [2^16, 2^32), starts at 2^16 in the encoder, and
 * takes or gives 16 bits at a time.  The encoder goes through the symbols backwards; a decoder that is
 * done has every state at 2^16 again and no word left, or the stream is damaged.
 */
#ifndef CODEC_RANS_H
#define CODEC_RANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RANS_CONTEXTS = 32,         /* at most */
	RANS_SYMBOLS_MAX = 1 << 20, /* of one stream */
	RANS_WIDE = 16384,          /* symbols from which on 32 lanes are worth their states */
};

/* Counts and tables; some 400 KiB. */
struct rans;

/* NULL for lack of memory. */
struct rans *rans_new(void);
void rans_free(struct rans *r);

/*
 * Counts sym[0, n) by context (ctx NULL: all under context 0; else ctx[i] < contexts, 1 <= contexts <=
 * RANS_CONTEXTS) and makes the tables for rans_encode().  Returns about how many bytes the stream will
 * take.
 */
size_t rans_model(struct rans *r, const uint8_t *sym, const uint8_t *ctx, unsigned contexts, size_t n);

/*
 * How often symbol s was counted, over all contexts, by the last rans_model().  After a rans_decode(): not
 * 0 for every symbol that may have come out, but symbol 0, which may always have.
 */
uint32_t rans_count(const struct rans *r, unsigned s);

/* Writes the stream of the symbols just counted.  Its length, or 0 when cap may be too little for it. */
size_t rans_encode(
		struct rans *r, const uint8_t *sym, const uint8_t *ctx, size_t n, uint8_t *out, size_t cap);

/*
 * Decodes exactly n <= RANS_SYMBOLS_MAX symbols from the stream in[0, len), which must be used up.  Time
 * is linear in n and contexts; touches only its arguments.  False when the stream is no such thing; ctx[i]
 * >= contexts is the caller's error.
 */
bool rans_decode(struct rans *r, const uint8_t *in, size_t len, const uint8_t *ctx, unsigned contexts,
		uint8_t *sym, size_t n);

/*
 * For tests: which vector instructions to use, as far as this machine has them; at first the last ones.  All
 * ways give the same bytes.
 */
enum rans_simd { RANS_PLAIN, RANS_AVX2, RANS_AVX512, RANS_SIMD_ALL };
void rans_use_simd(struct rans *r, enum rans_simd most);

#endif
