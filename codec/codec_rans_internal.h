/*
 * codec_rans_internal.h: what the two directions of codec_rans.h share.
 *
 *   codec_rans.c           memory, and how symbols share the slots
 *   codec_rans_encode.c    counts, tables and streams out
 *   codec_rans_decode.c    streams in
 *   codec_rans_avx512.c    the loops of both, with wider registers
 */
#ifndef CODEC_RANS_INTERNAL_H
#define CODEC_RANS_INTERNAL_H

#include "codec/codec_rans.h"

enum {
	RANS_BITS_ONE = 12,  /* of a frequency, with a single context */
	RANS_BITS_MANY = 11, /* and with several, so that the tables stay in the cache */
	RANS_LANES_WIDE = 32,
	RANS_LANES_NARROW = 4,
	RANS_FILL = 8, /* slots of a decoding table that are filled at once */
	RANS_LEAD = 3, /* bits of a weight told after its leading one */
	RANS_WEIGHT_LEN = 21,
	RANS_ESCAPES = 255, /* what a stream with escapes begins with, and a 0 */
	RANS_ESCAPES_HEAD = 6,
};

#define RANS_STATE_LOW (UINT32_C(1) << 16)

struct rans {
	enum rans_simd simd;
	unsigned contexts;
	/*
	 * By the set of the lanes, of 8, that want a word or give one off: which of the next words each
	 * gets, and their words moved up to the end.
	 */
	uint8_t deal[256][8], close[256][16];
	uint32_t count[RANS_CONTEXTS][256];
	uint32_t more[RANS_CONTEXTS][256]; /* as well, so that equal neighbours do not wait */
	uint32_t total[256];
	unsigned lo, hi; /* encoding: the least and the greatest symbol that occur */
	uint8_t rare[RANS_CONTEXTS][256]; /* encoding: is escaped */
	union { /* a single context takes two decoding tables */
		uint64_t enc[RANS_CONTEXTS][256];
		uint32_t dec[(RANS_CONTEXTS << RANS_BITS_MANY) + RANS_FILL];
	};
};

/* An entry of an encoding table; codec_rans_encode.c tells what for. */
enum {
	RANS_START_AT = 32,
	RANS_FREQ_AT = 44,
	RANS_MORE_AT = 56,
	RANS_ESCAPED_AT = 57,
	RANS_SHIFT_AT = 60,
	RANS_FIELD = 0xfff, /* of start and f - 1 */
};

/* A stream's words on their way down, from `end` to `low`. */
struct rans_encoding {
	uint32_t x[RANS_LANES_WIDE];
	uint8_t *p, *low;
	const uint64_t (*enc)[256];
	const uint8_t *sym, *ctx;
	uint8_t *escaped; /* where the last escaped symbol went; those before it go below */
	unsigned bits, lanes;
};

/* What is left to decode: the lanes' states, and the words from p to end. */
struct rans_decoding {
	uint32_t x[RANS_LANES_WIDE];
	const uint8_t *p, *end;
	const uint32_t *table;
	const uint8_t *ctx;
	unsigned bits, lanes;
};

/* Puts down those of the 32 symbols before symbol i that are escaped. */
void rans_take_escapes(struct rans_encoding *e, size_t i);

/* Whether this machine has what the next two are made of. */
bool rans_have_avx512(void);

/*
 * Whole rounds of 32 symbols that end at symbol i, as long as there surely is room; how many symbols are
 * left.
 */
size_t rans_encode_avx512(struct rans_encoding *e, size_t i);

/* As many rounds of 32 symbols as surely have their words; how many symbols that were. */
size_t rans_decode_avx512(struct rans_decoding *d, uint8_t *sym, size_t n);

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
