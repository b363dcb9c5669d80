/*
 * codec_data.h: numbers like those of checkpoints, and payloads in memory of exactly their length, for the codecs' tests.
 */
#ifndef CODEC_DATA_H
#define CODEC_DATA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static uint64_t data_seed = 88172645463325252u;

static inline uint64_t data_random(void)
{
	data_seed ^= data_seed << 13;
	data_seed ^= data_seed >> 7;
	data_seed ^= data_seed << 17;
	return data_seed;
}

/* A float of that layout as trained ones are: a few exponents below 1, any mantissa, either sign. */
static inline uint64_t data_float(unsigned width, unsigned exponent_bits)
{
	unsigned wide = 8 * width, mantissa = wide - 1 - exponent_bits;
	uint64_t exponent = (UINT64_C(1) << (exponent_bits - 1)) - 3 - (uint64_t)__builtin_ctzll(data_random() | 64);
	uint64_t r = data_random();

	return (r >> 63) << (wide - 1) | exponent << mantissa | (r & ((UINT64_C(1) << mantissa) - 1));
}

static inline void data_floats(uint8_t *p, size_t n, unsigned width, unsigned exponent_bits)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t v = data_float(width, exponent_bits);

		memcpy(p + i * width, &v, width);
	}
}

/* Each element of `width` bytes moved by less than 2^bits. */
static inline void data_move(const uint8_t *base, uint8_t *p, size_t n, unsigned width, unsigned bits)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t v = 0, r = data_random();

		memcpy(&v, base + i * width, width);
		v += (r & 1 ? 1 : -UINT64_C(1)) * (r >> 8 & ((UINT64_C(1) << bits) - 1));
		memcpy(p + i * width, &v, width);
	}
}

static inline uint8_t *data_copy(const void *p, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	assert_non_null(copy);
	if (n > 0)
		memcpy(copy, p, n);
	return copy;
}

/* A copy with some bytes changed, cut off or put on; *n its length. */
static inline uint8_t *data_damage(const uint8_t *p, size_t *n)
{
	size_t len = *n;
	uint8_t *copy;

	if (data_random() % 8 == 0)
		len = data_random() % (len + 8);
	copy = malloc(len + 1);
	assert_non_null(copy);
	memset(copy, 0, len + 1);
	memcpy(copy, p, len < *n ? len : *n);
	for (unsigned k = 1 + data_random() % 3; k > 0 && len > 0; k--) {
		/* heads are short and matter most */
		size_t at = data_random() % (data_random() % 2 ? len : len < 40 ? len : 40);

		if (data_random() % 2)
			copy[at] ^= (uint8_t)(1u << data_random() % 8);
		else
			copy[at] = (uint8_t)data_random();
	}
	*n = len;
	copy = realloc(copy, len ? len : 1);
	assert_non_null(copy);
	return copy;
}

#endif
