/*
 * codec_bins.c: see codec_bins.h.  Writing and reading low bits is bound by a shift and a load an element;
 * both go on in 64-bit words with room to spare, and only the last values are read byte by byte.
 */
#include "codec/codec_bins_internal.h"

#include <string.h>

enum { HALF = 32 }; /* low bits moved at once: 7 left over + 32 fit into a word */

void bins_length(struct bins *b, unsigned lg)
{
	unsigned wide = 8u << lg;

	memset(b, 0, sizeof *b);
	b->lg = lg;
	b->simd = bins_have_avx2(lg);
	if (lg == 0) {
		for (unsigned t = 0; t < 256; t++) {
			b->valid[t] = true;
			b->start[t] = t;
		}
		return;
	}
	b->shift = 1;
	b->regular = 4 * (wide - 1) < 256 ? 4 * (wide - 1) : 256;
	for (unsigned m = 0; m < 2 * (wide - 1); m++) { /* lengths up to wide - 1 */
		uint64_t start = m < 4 ? m : (uint64_t)(2 | (m & 1)) << (m / 2 - 1);

		for (unsigned s = 0; s < 2; s++) {
			b->valid[2 * m + s] = true;
			b->bits[2 * m + s] = (uint8_t)(m < 4 ? 0 : m / 2 - 1);
			b->start[2 * m + s] = start << 1 | s;
		}
	}
}

void bins_float(struct bins *b, unsigned lg, unsigned wide, unsigned exponent_bits, unsigned first)
{
	unsigned low = wide - exponent_bits - 2, own = (4u << exponent_bits) - first;

	memset(b, 0, sizeof *b);
	b->lg = lg;
	b->simd = bins_have_avx2(lg);
	b->first = first;
	b->regular = own < BINS_FLOAT_REGULAR ? own : BINS_FLOAT_REGULAR;
	for (unsigned t = 0; t < b->regular; t++) {
		b->valid[t] = true;
		b->bits[t] = (uint8_t)low;
		b->start[t] = (uint64_t)(first + t) << low;
	}
	b->valid[BINS_FLOAT_ZERO] = true;
	b->valid[BINS_FLOAT_ESCAPE] = true;
	b->bits[BINS_FLOAT_ESCAPE] = (uint8_t)wide;
}

size_t bins_low_size(const struct bins *b, const uint32_t count[256])
{
	uint64_t bits = 0;

	for (unsigned t = 0; t < 256; t++)
		bits += (uint64_t)count[t] * b->bits[t];
	return (size_t)((bits + 7) / 8);
}

static inline __attribute__((always_inline)) uint64_t load(const uint8_t *u, size_t i, unsigned lg)
{
	uint64_t v = 0;

	memcpy(&v, u + (i << lg), (size_t)1 << lg);
	return v;
}

/* Values [i, n). */
static inline __attribute__((always_inline)) void put_range(const struct bins *b, const uint8_t *u,
		const uint8_t *token, size_t i, size_t n, struct bins_writer *w, unsigned lg)
{
	for (; i < n; i++) {
		unsigned k = b->bits[token[i]];
		uint64_t v = load(u, i, lg) >> b->shift;

		if (lg == 3 && k > HALF) {
			bins_append(w, v & UINT32_MAX, HALF);
			v >>= HALF;
			k -= HALF;
		}
		bins_append(w, v & ((UINT64_C(1) << k) - 1), k);
	}
}

static inline __attribute__((always_inline)) void put_low(const struct bins *b, const uint8_t *u,
		const uint8_t *token, size_t n, uint8_t *out, unsigned lg)
{
	struct bins_writer w = { .p = out };
	size_t i = 0;

	while (b->simd && n - i >= BINS_BLOCK) {
		size_t from = bins_put_avx2(b, u, token, i, n, &w);

		/* what it can't do, or a rest */
		i = n - from < BINS_BLOCK ? n : from + BINS_BLOCK;
		put_range(b, u, token, from, i, &w, lg);
	}
	put_range(b, u, token, i, n, &w, lg);
	if (w.have > 0)
		*w.p = (uint8_t)w.acc;
}

void bins_put_low(const struct bins *b, const uint8_t *u, const uint8_t *token, size_t n, uint8_t *out)
{
	switch (b->lg) {
	case 0:
		put_low(b, u, token, n, out, 0);
		break;
	case 1:
		put_low(b, u, token, n, out, 1);
		break;
	case 2:
		put_low(b, u, token, n, out, 2);
		break;
	default:
		put_low(b, u, token, n, out, 3);
	}
}

/* 8 bytes at p, zeros beyond end */
static inline uint64_t word_at(const uint8_t *p, const uint8_t *end)
{
	uint64_t v = 0;

	if (p < end)
		memcpy(&v, p, end - p < 8 ? (size_t)(end - p) : 8);
	return v;
}

/* Up to 57 bits from bit `at` on; whole: 8 bytes are there. */
static inline __attribute__((always_inline)) uint64_t low_at(
		const uint8_t *in, const uint8_t *end, uint64_t at, bool whole)
{
	uint64_t v;

	if (whole)
		memcpy(&v, in + at / 8, sizeof v);
	else
		v = at / 8 < (uint64_t)(end - in) ? word_at(in + at / 8, end) : 0;
	return v >> (at & 7);
}

static inline __attribute__((always_inline)) uint64_t get_range(const struct bins *b, const uint8_t *token,
		size_t i, size_t n, const uint8_t *in, const uint8_t *end, uint64_t at, uint8_t *u,
		unsigned lg, bool whole)
{
	const unsigned shift = b->shift;

	for (; i < n; i++) {
		unsigned k = b->bits[token[i]];
		uint64_t v = 0;

		if (lg == 3 && k > HALF) {
			v = low_at(in, end, at + HALF, whole) & ((UINT64_C(1) << (k - HALF)) - 1);
			v = v << HALF | (low_at(in, end, at, whole) & UINT32_MAX);
		} else {
			v = low_at(in, end, at, whole) & ((UINT64_C(1) << k) - 1);
		}
		at += k;
		v = b->start[token[i]] + (v << shift);
		memcpy(u + (i << lg), &v, (size_t)1 << lg);
	}
	return at;
}

static inline __attribute__((always_inline)) bool get(const struct bins *b, const uint8_t *token, size_t n,
		const uint8_t *in, size_t len, uint8_t *u, unsigned lg)
{
	uint64_t at = 0, bits = (uint64_t)len * 8;
	size_t i = 0;

	/* a block takes at most 128 bytes, and a look goes 12 beyond what was taken */
	while (n - i >= BINS_BLOCK && at / 8 + ((uint64_t)BINS_BLOCK << lg) + 16 <= len) {
		if (b->simd) {
			size_t from = bins_get_avx2(b, token, i, n, in, len, &at, u);

			if (from > i) { /* else a block that it can't do */
				i = from;
				continue;
			}
		}
		at = get_range(b, token, i, i + BINS_BLOCK, in, in + len, at, u, lg, true);
		i += BINS_BLOCK;
	}
	at = get_range(b, token, i, n, in, in + len, at, u, lg, false);
	if (at > bits || bits - at >= 8)
		return false;
	return at == bits || in[len - 1] >> (at & 7) == 0;
}

bool bins_get(const struct bins *b, const uint8_t *token, size_t n, const uint8_t *in, size_t len, uint8_t *u)
{
	switch (b->lg) {
	case 0:
		return get(b, token, n, in, len, u, 0);
	case 1:
		return get(b, token, n, in, len, u, 1);
	case 2:
		return get(b, token, n, in, len, u, 2);
	default:
		return get(b, token, n, in, len, u, 3);
	}
}
