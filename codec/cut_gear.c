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
 *   0        MIN - 64    MIN              NORMAL                             MAX
 *   |  not looked at | warm |  P = 2^-20 a byte  |  P = 2^-16 a byte           | cut
 *
 * That is normalised chunking (FastCDC, section 3.4): hard to cut before NORMAL, easy after, which makes most
 * chunks nearly as long as the next.  NORMAL is put where random bytes give chunks of 256 KiB on average.
 *
 * On a run of one byte value h stands still at -gear[byte], which is below neither limit for any of the 256
 * values (a test looks): such a run is cut at MAX, so the zeros of an empty optimizer are pieces of one
 * and the same chunk, wherever they lie.  Runs with a longer period behave alike each time they come, too.
 *
 * The table is part of what makes two stores cut alike, but never of what a store means: it may change.
 */
#include "cut_internal.h"

#include <pthread.h>

enum {
	WINDOW = 64,
	MIN = 64 << 10,
	NORMAL = 208 << 10,
	MAX = CODEC_CHUNK_MAX,
};

#define LIMIT_HARD (UINT64_C(1) << (64 - 20))
#define LIMIT_EASY (UINT64_C(1) << (64 - 16))

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

/* Hashes p[0, n) until h falls below limit; *cut tells whether it did. Returns how many bytes were hashed. */
static size_t scan(uint64_t *state, const uint8_t *p, size_t n, uint64_t limit, bool *cut)
{
	uint64_t h = *state;

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

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t cut_gear(struct codec_cutter *c, const uint8_t *p, size_t n, bool *end)
{
	static const struct {
		uint32_t upto;
		uint64_t limit;
	} zone[] = { { MIN, 0 }, { NORMAL, LIMIT_HARD }, { MAX, LIMIT_EASY } };
	size_t used = 0;
	bool cut = false;

	if (c->pos < MIN - WINDOW) {
		used = smaller(n, MIN - WINDOW - c->pos);
		c->pos += (uint32_t)used;
	}
	for (size_t z = 0; z < sizeof zone / sizeof zone[0] && used < n && !cut; z++) {
		size_t k;

		if (c->pos >= zone[z].upto)
			continue;
		k = scan(&c->h, p + used, smaller(n - used, zone[z].upto - c->pos), zone[z].limit, &cut);
		c->pos += (uint32_t)k;
		used += k;
	}
	if (cut || c->pos == MAX)
		*end = true;
	return used;
}
