/*
 * codec_work.h: what the number codecs (codec_planes.c, codec_float.c, codec_delta.c, codec_image.c)
 * share: scratch memory, and the part of a payload that holds numbers as tokens and low bits.
 *
 * All their functions keep one contract.  An encoder writes into out[0, cap) and returns the payload's
 * length, or 0 when the payload would not fit, or the codec has nothing to offer for such a chunk; so cap
 * also says how good it has to be.  A decoder is total: it makes exactly the bytes it is asked for or
 * returns false, in time linear in their number, and touches nothing but its arguments and the scratch
 * memory.  Chunks are at most CODEC_CHUNK_MAX long.
 */
#ifndef CODEC_WORK_H
#define CODEC_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/codec_bins.h"
#include "codec/codec_rans.h"
#include "codec/codec_simd.h"

enum { CODEC_WORK_MAX = 1 << 20 };

/* How a chunk's bytes are numbers. */
struct codec_layout {
	uint8_t lg;            /* log2 of the width in bytes, 0 to 3 */
	uint8_t phase;         /* bytes before the first element, less than the width */
	uint8_t exponent_bits; /* of a float; 0 for integers */
	uint32_t row;          /* elements of a row; 0 unknown */
};

/* Of one thread. Each buffer has room for a chunk of CODEC_WORK_MAX, and a little more. */
struct codec_work {
	const struct codec_loops *loops;
	struct rans *rans;
	struct bins bins;
	struct ZSTD_CCtx_s *cctx;
	struct ZSTD_DCtx_s *dctx;
	bool thorough; /* try what takes longer */
	uint8_t *u;    /* values */
	uint8_t *token;
	uint8_t *ctx;
	uint8_t *other; /* planes, and contexts that lost */
	uint16_t *level;
	uint8_t *scale;
	uint8_t *moved; /* a base that drifts */
};

/* -ENOMEM without a message. */
int codec_work_init(struct codec_work *w, bool thorough);
void codec_work_release(struct codec_work *w);

/*
 * Writes n values w->u, tokenised in w->token, their bins in w->bins, under ctx (NULL with one context):
 *
 *   u32 length of the tokens' stream | that stream (codec_rans.h) | low bits (codec_bins.h)
 */
size_t codec_numbers_encode(struct codec_work *w, const uint8_t *ctx, unsigned contexts, size_t n,
		uint8_t *out, size_t cap);

/* About how long that is. Has called rans_model(). */
size_t codec_numbers_estimate(struct codec_work *w, const uint8_t *ctx, unsigned contexts, size_t n);

/* The other way, in[0, len) being all of it. */
bool codec_numbers_decode(struct codec_work *w, const uint8_t *ctx, unsigned contexts, size_t n,
		const uint8_t *in, size_t len);

/*
 * Row and column scales: numbers of a matrix are about as large as their row and column are (Shazeer and
 * Stern, "Adafactor", arXiv:1804.04235, keeps second moments as little more than that), so both means
 * together make a context.  level is twice log2 of an element's size, any origin.  A scale is a byte: the
 * mean over a row or column less `mid`, plus 128.
 */
struct codec_scales {
	uint32_t row, rows; /* columns; rows, the last one maybe not whole */
	uint16_t mid;
	int16_t low; /* of context 0: context = min(31, max(0, row + column - 256 + mid - level - low)) */
};

enum { CODEC_SCALES_HEAD = 10, CODEC_ROW_MIN = 16, CODEC_ROW_JOINED = 256, CODEC_ROW_MAX = 1 << 16 };

/*
 * The elements of a row that scales are worth finding for, 0 none.  Rows too short (a kernel's 3 x 3) are
 * joined, and where there is one row or none is known (biases, flattened parameters) pieces do for rows: what
 * lies together belongs to the same channel or layer, more or less.
 */
uint32_t codec_scales_row(const struct codec_layout *lay, size_t n);

/* Sets s and w->scale from w->level[0, n), for rows of at most CODEC_ROW_MAX elements. Uses w->other. */
void codec_scales_find(struct codec_work *w, size_t n, uint32_t row, struct codec_scales *s);

/*
 * The contexts of n elements. base: elements whose exponents (twice) are the level to take off; NULL:
 * nothing is taken off. codec_scales_centre() chooses s->low first, and uses w->other.
 */
void codec_scales_centre(const struct codec_work *w, const uint8_t *base, const struct codec_layout *lay,
		size_t n, struct codec_scales *s);
void codec_scales_context(const struct codec_work *w, const uint8_t *base, const struct codec_layout *lay,
		size_t n, const struct codec_scales *s, uint8_t *ctx);

/* u32 row, u16 mid, i16 low, u16 length of the stream | the scales' stream, rows and then columns. */
size_t codec_scales_put(struct codec_work *w, const struct codec_scales *s, uint8_t *out, size_t cap);
const uint8_t *codec_scales_get(struct codec_work *w, size_t n, const uint8_t *in, const uint8_t *end,
		struct codec_scales *s);

static inline void codec_put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void codec_put32(uint8_t *p, uint32_t v)
{
	codec_put16(p, v);
	codec_put16(p + 2, v >> 16);
}

static inline uint32_t codec_get16(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t codec_get32(const uint8_t *p)
{
	return codec_get16(p) | codec_get16(p + 2) << 16;
}

/*
 * Adds to count[exponent] for about `some` of n elements, all if they are fewer: in pieces, since what lies
 * far apart takes a look at the memory each.  How many that were.
 */
uint32_t codec_count_exponents(const uint8_t *elements, size_t n, const struct codec_layout *lay, size_t some,
		uint32_t *count);

/* The exponent of the float at p, a field of that many bits under the sign. */
static inline unsigned codec_exponent(const uint8_t *p, const struct codec_layout *lay)
{
	unsigned top = (unsigned)p[(1u << lay->lg) - 1] << 8 | (lay->lg > 0 ? p[(1u << lay->lg) - 2] : 0);

	return (top & 0x7fff) >> (15 - lay->exponent_bits);
}

#endif
