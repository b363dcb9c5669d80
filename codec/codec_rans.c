/*
 * codec_rans.c: see codec_rans.h for what a stream is.
 */
#include "codec/codec_rans_internal.h"

#include <stdlib.h>
#include <string.h>

void rans_use_simd(struct rans *r, bool on)
{
#if defined __x86_64__
	r->simd = on && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
#else
	(void)on;
	r->simd = false;
#endif
}

/* Lanes and words go in order: the lowest lane that is in the set has the first word. */
static void make_orders(struct rans *r)
{
	enum { NOTHING = 0x80 }; /* makes a zero of a byte */

	for (unsigned set = 0; set < 256; set++) {
		unsigned k = 0, to = 16;

		for (unsigned l = 0; l < 8; l++)
			r->deal[set][l] = (uint8_t)(set >> l & 1 ? k++ : 0);
		for (unsigned l = 8; l-- > 0;) {
			if (!(set >> l & 1))
				continue;
			r->close[set][--to] = (uint8_t)(2 * l + 1);
			r->close[set][--to] = (uint8_t)(2 * l);
		}
		while (to > 0)
			r->close[set][--to] = NOTHING;
	}
}

struct rans *rans_new(void)
{
	struct rans *r = malloc(sizeof *r);

	if (r == NULL)
		return NULL;
	rans_use_simd(r, true);
	make_orders(r);
	return r;
}

void rans_free(struct rans *r)
{
	free(r);
}

void rans_share_out(const uint32_t weight[256], unsigned bits, uint16_t freq[256])
{
	uint64_t sum = 0, run = 0;
	uint32_t below = 0;
	unsigned most = 0, missing = 0;

	for (unsigned s = 0; s < 256; s++)
		sum += weight[s];
	if (sum == 0) { /* nothing occurs: any table that is one */
		memset(freq, 0, 256 * sizeof freq[0]);
		freq[0] = (uint16_t)(1u << bits);
		return;
	}
	for (unsigned s = 0; s < 256; s++) {
		uint32_t border;

		freq[s] = 0;
		if (weight[s] == 0)
			continue;
		run += weight[s];
		border = (uint32_t)(((run << bits) + sum / 2) / sum);
		freq[s] = (uint16_t)(border - below);
		below = border;
		if (freq[s] > freq[most])
			most = s;
		missing += freq[s] == 0;
	}
	for (unsigned s = 0; s < 256 && missing > 0; s++)
		if (weight[s] != 0 && freq[s] == 0)
			freq[s] = 1;
	while (missing > 0) {
		unsigned take = freq[most] / 2u < missing ? freq[most] / 2u : missing;

		freq[most] = (uint16_t)(freq[most] - take);
		missing -= take;
		for (unsigned s = 0; s < 256; s++)
			if (freq[s] > freq[most] || (freq[s] == freq[most] && s < most))
				most = s;
	}
}
