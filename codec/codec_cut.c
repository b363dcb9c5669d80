/*
 * codec_cut.c: content-defined cuts by a gear hash.
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
#include "codec/codec_cut.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

enum {
	CUT_WINDOW = 64,
	CUT_MIN = 64 << 10,
	CUT_NORMAL = 208 << 10,
	CUT_MAX = CODEC_CHUNK_MAX,
};

#define LIMIT_HARD (UINT64_C(1) << (64 - 20))
#define LIMIT_EASY (UINT64_C(1) << (64 - 16))

struct codec_cutter {
	uint64_t h;
	size_t pos; /* bytes of the open chunk so far */
};

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

/* Where a chunk begins in the file says nothing about its content, so `off` is of no use to this cutter. */
int codec_cutter_new(uint64_t off, struct codec_cutter **out)
{
	struct codec_cutter *c;

	(void)off;
	pthread_once(&gear_once, make_gear);
	c = calloc(1, sizeof *c);
	if (c == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a cutter");
	*out = c;
	return 0;
}

void codec_cutter_free(struct codec_cutter *c)
{
	free(c);
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
	*cut = false;
	return n;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t codec_cut_feed(struct codec_cutter *c, const uint8_t *p, size_t n, struct codec_cut *cut)
{
	static const struct {
		size_t upto;
		uint64_t limit;
	} zone[] = { { CUT_MIN, 0 }, { CUT_NORMAL, LIMIT_HARD }, { CUT_MAX, LIMIT_EASY } };
	size_t used = 0;
	bool end = false;

	if (c->pos < CUT_MIN - CUT_WINDOW) {
		used = smaller(n, CUT_MIN - CUT_WINDOW - c->pos);
		c->pos += used;
	}
	for (size_t z = 0; z < sizeof zone / sizeof zone[0] && used < n && !end; z++) {
		size_t k;

		if (c->pos >= zone[z].upto)
			continue;
		k = scan(&c->h, p + used, smaller(n - used, zone[z].upto - c->pos), zone[z].limit, &end);
		c->pos += k;
		used += k;
	}
	memset(cut, 0, sizeof *cut);
	if (end || c->pos == CUT_MAX)
		codec_cut_end(c, cut);
	return used;
}

void codec_cut_end(struct codec_cutter *c, struct codec_cut *cut)
{
	memset(cut, 0, sizeof *cut);
	cut->end = true;
	c->h = 0;
	c->pos = 0;
}
