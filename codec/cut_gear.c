/*
 * cut_gear.c: content-defined cuts by a gear hash.
 *
 *   h' = (h << 1) + gear[byte]                       a cut where h falls below a limit
 *
 * Each byte's share is shifted out after 64 steps, so h is a function of the last 64 bytes alone, and its
 * high bits, the ones a comparison with a limit asks for, of nearly all of them.  Whether a place may be a
 * cut is therefore a property of the content just before it, not of where the chunk began: after an
 * insertion the old cuts come back with the first one that both streams accept.
 *
 *   0              MIN - 64    MIN                                        MAX
 *   |  not looked at     | warm  |  a cut at one of MEAN bytes              | cut
 *
 * After an edit the new cuts meet the old ones when both streams, MIN behind a cut of their own, wait for the
 * same place.  Four schemes of 256 KiB on average, in 256 MiB of noise with 20 to 170 KiB put in every 4 MiB (bytes
 * hashed, of all; KiB that are no known chunks, for each edit, with those put in):
 *
 *   MIN  64, places of 2^-20 a byte up to 208, then 2^-16 (FastCDC's normalised chunking)     0.75    694
 *   MIN 128, MEAN 128                                                                         0.50    493
 *   MIN 144, MEAN 112                                                                         0.44    486
 *   MIN 176, MEAN  80                                                                         0.31    553
 *
 * On a run of one byte value h stands still at -gear[byte], which is not below the limit for any of the 256
 * values (a test looks): such a run is cut at MAX, so the zeros of an empty optimizer are pieces of one
 * and the same chunk, wherever they lie.  Runs with a longer period behave alike each time they come, too.
 *
 * The table is part of what makes two stores cut alike, but never of what a store means: it may change.
 */
#include "cut_internal.h"

#include <pthread.h>

enum {
	WINDOW = 64,
	MIN = 144 << 10,
	MEAN = 112 << 10,
	MAX = CODEC_CHUNK_MAX,
};

#define LIMIT (UINT64_MAX / MEAN)

static uint64_t gear[256];
static pthread_once_t gear_once = PTHREAD_ONCE_INIT;

/* The table: the first output of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) seeded with the byte's value. */
static void make_gear(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t z = i + UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		gear[i] = z ^ z >> 31;
	}
}

void cut_gear_init(void)
{
	pthread_once(&gear_once, make_gear);
}

/* Hashes p[0, n) into *state; returns how many bytes. With `cut` it ends where a cut may be, and sets *cut. */
static size_t scan(uint64_t *state, const uint8_t *p, size_t n, bool *cut)
{
	uint64_t h = *state, limit = cut != NULL ? LIMIT : 0;

	for (size_t i = 0; i < n; i++) {
		h = (h << 1) + gear[p[i]];
		if (h < limit) {
			*state = h;
			*cut = true;
			return i + 1;
		}
	}
	*state = h;
	return n;
}

/* Bytes of n that the chunk takes before it is `upto` long. */
static size_t below(const struct codec_cutter *c, uint32_t upto, size_t n)
{
	if (c->pos >= upto)
		return 0;
	return n < upto - c->pos ? n : upto - c->pos;
}

size_t cut_gear(struct codec_cutter *c, const uint8_t *p, size_t n, bool *end)
{
	size_t used = below(c, MIN - WINDOW, n), k;
	bool cut = false;

	c->pos += (uint32_t)used;
	k = scan(&c->h, p + used, below(c, MIN, n - used), NULL);
	c->pos += (uint32_t)k;
	used += k;
	k = scan(&c->h, p + used, below(c, MAX, n - used), &cut);
	c->pos += (uint32_t)k;
	used += k;
	if (cut || c->pos == MAX)
		*end = true;
	return used;
}
