/*
 * codec_rans_internal.h: what the two directions of codec_rans.h share.
 *
 *   codec_rans.c           memory, and how symbols share the slots
 *   codec_rans_encode.c    counts, tables and streams out
 *   codec_rans_decode.c    streams in
 */
#ifndef CODEC_RANS_INTERNAL_H
#define CODEC_RANS_INTERNAL_H

#include "codec/codec_rans.h"

enum {
	RANS_BITS_ONE = 12,  /* of a frequency, with a single context */
	RANS_BITS_MANY = 11, /* and with several, so that the tables stay in the cache */
	RANS_LANES_WIDE = 32,
	RANS_LANES_NARROW = 4,
	RANS_LEAD = 3, /* bits of a weight told after its leading one */
	RANS_WEIGHT_LEN = 21,
	RANS_ESCAPES = 255, /* what a stream with escapes begins with, and a 0 */
	RANS_ESCAPES_HEAD = 6,
};

#define RANS_STATE_LOW (UINT32_C(1) << 16)

struct rans {
	bool simd;
	unsigned contexts;
	/*
	 * By the set of the lanes, of 8, that want a word or give one off: which of the next words each
	 * gets, and their words moved up to the end.
	 */
	uint8_t deal[256][8], close[256][16];
	uint32_t count[RANS_CONTEXTS][256];
	uint32_t more[RANS_CONTEXTS][256]; /* as well, so that equal neighbours do not wait */
	uint32_t total[256];
	uint8_t rare[RANS_CONTEXTS][256]; /* encoding: is escaped */
	union { /* a single context takes two decoding tables */
		uint64_t enc[RANS_CONTEXTS][256];
		uint32_t dec[RANS_CONTEXTS << RANS_BITS_MANY];
	};
};

static inline unsigned rans_bits(unsigned contexts)
{
	return contexts == 1 ? RANS_BITS_ONE : RANS_BITS_MANY;
}

static inline unsigned rans_lanes(size_t n)
{
	return n >= RANS_WIDE ? RANS_LANES_WIDE : RANS_LANES_NARROW;
}

/* Slots of 2^bits for each symbol, from the weights.  Both sides compute it, so it is part of the format. */
void rans_share_out(const uint32_t weight[256], unsigned bits, uint16_t freq[256]);

#endif
