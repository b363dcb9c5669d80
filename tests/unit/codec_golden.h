/*
 * codec_golden.h: the chunks, made of integers alone, whose payloads the codecs' tests keep.
 */
#ifndef CODEC_GOLDEN_H
#define CODEC_GOLDEN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { GOLDEN = 303 }; /* bytes of each; 1 before the first element, 2 after the last */

/* uint32: small numbers under a constant */
static inline void golden_planes(uint8_t raw[GOLDEN])
{
	memset(raw, 0xaa, GOLDEN);
	for (size_t i = 0; i < 75; i++) {
		uint32_t v = 0x07000000 + (uint32_t)(i * i % 13);

		memcpy(raw + 1 + 4 * i, &v, 4);
	}
}

/* fp32 between 1/8 and 1, of either sign; one zero, one infinity, one denormal */
static inline void golden_floats(uint8_t raw[GOLDEN])
{
	memset(raw, 0xbb, GOLDEN);
	for (size_t i = 0; i < 75; i++) {
		uint32_t v = (uint32_t)(i & 1) << 31 | (124 + (uint32_t)(i * i % 3)) << 23 | (uint32_t)(i * 2654435) % (1u << 23);

		v = i == 10 ? 0 : i == 11 ? 0x7f800000 : i == 12 ? 5 : v;
		memcpy(raw + 1 + 4 * i, &v, 4);
	}
}

/* the same, some moved by a little, one by much */
static inline void golden_moved(uint8_t raw[GOLDEN])
{
	golden_floats(raw);
	raw[0] = 0xcc;
	for (size_t i = 32; i < 75; i++) {
		uint32_t v;

		memcpy(&v, raw + 1 + 4 * i, 4);
		v = i == 50 ? v ^ 0x80000000 : v + (uint32_t)(i * i % 57) - 28;
		memcpy(raw + 1 + 4 * i, &v, 4);
	}
}

/* rows of 20, a slope */
static inline void golden_pixels(uint8_t raw[GOLDEN])
{
	for (size_t i = 0; i < GOLDEN; i++)
		raw[i] = (uint8_t)(i % 20 * 3 + i / 20 * 5 + i * i % 4);
}

#endif
