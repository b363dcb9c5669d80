/*
 * codec_bins_internal.h: low bits being written and read; what codec_bins.c shares with its vector loops
 * (codec_bins_avx2.c).
 */
#ifndef CODEC_BINS_INTERNAL_H
#define CODEC_BINS_INTERNAL_H

#include "codec/codec_bins.h"

/* `have` < 8 bits wait in acc for the rest of the byte at p. */
struct bins_writer {
	uint8_t *p;
	uint64_t acc;
	unsigned have;
};

enum {
	BINS_APPEND_MAX = 56, /* bits that bins_append() takes */
	BINS_BLOCK = 16, /* values between two looks at the end of the input, or at what the scheme can't do */
};

static inline __attribute__((always_inline)) void bins_append(struct bins_writer *w, uint64_t v, unsigned k)
{
	w->acc |= v << w->have;
	__builtin_memcpy(w->p, &w->acc, sizeof w->acc);
	w->have += k;
	w->p += w->have / 8;
	w->acc >>= w->have & ~7u;
	w->have &= 7;
}

/* Whether these functions may be called: for values of 2 and 4 bytes, and where the machine has AVX2. */
bool bins_have_avx2(unsigned lg);

/*
 * Whole blocks from value i on, as long as all of their tokens are below b->regular and their low bits not too
 * many; where that ends.
 */
size_t bins_put_avx2(const struct bins *b, const uint8_t *u, const uint8_t *token, size_t i, size_t n,
		struct bins_writer *w);

/* The same, reading from bit *at of in[0, len), and ending also where a block might look beyond that. */
size_t bins_get_avx2(const struct bins *b, const uint8_t *token, size_t i, size_t n, const uint8_t *in,
		size_t len, uint64_t *at, uint8_t *u);

#endif
