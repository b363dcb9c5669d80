/*
 * codec_rans.c: see codec_rans.h for what a stream is.
 */
#include "codec/codec_rans_internal.h"

#include <stdlib.h>
#include <string.h>

void rans_use_simd(struct rans *r, enum rans_simd most)
{
	r->simd = RANS_PLAIN;
#if defined __x86_64__
	if (most >= RANS_AVX2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt"))
		r->simd = most >= RANS_AVX512 && rans_have_avx512() ? RANS_AVX512 : RANS_AVX2;
#else
	(void)most;
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
	rans_use_simd(r, RANS_AVX512);
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
	unsigned most, missing = 0, lo = 0, hi = 256;

	memset(freq, 0, 256 * sizeof freq[0]);
	while (lo < 256 && weight[lo] == 0)
		lo++;
	if (lo == 256) { /* nothing occurs: any table that is one */
		freq[0] = (uint16_t)(1u << bits);
		return;
	}
	while (weight[hi - 1] == 0)
		hi--;
	for (unsigned s = lo; s < hi; s++)
		sum += weight[s];
	most = lo;
	for (unsigned s = lo; s < hi; s++) {
		uint32_t border;

		if (weight[s] == 0)
			continue;
		run += weight[s];
		/*
		 * The same as with whole numbers, and much quicker: the quotient is below 2^13 and differs
		 * from the next whole number by 1 / sum or more, sum being below 2^30, so no rounding of
		 * 2^-40 gets there.
		 */
		border = (uint32_t)((double)(int64_t)((run << bits) + sum / 2) / (double)(int64_t)sum);
		freq[s] = (uint16_t)(border - below);
		below = border;
		if (freq[s] > freq[most])
			most = s;
		missing += freq[s] == 0;
	}
	for (unsigned s = lo; s < hi && missing > 0; s++)
		if (weight[s] != 0 && freq[s] == 0)
			freq[s] = 1;
	while (missing > 0) {
		unsigned take = freq[most] / 2u < missing ? freq[most] / 2u : missing;

		freq[most] = (uint16_t)(freq[most] - take);
		missing -= take;
		for (unsigned s = lo; s < hi; s++)
			if (freq[s] > freq[most] || (freq[s] == freq[most] && s < most))
				most = s;
	}
}
