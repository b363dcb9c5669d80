/*
 * scratch_dice.h: numbers that look random and are the same in every run (Marsaglia, "Xorshift RNGs", 2003).
 */
#ifndef SCRATCH_DICE_H
#define SCRATCH_DICE_H

#include <stdint.h>

static uint64_t dice = 88172645463325252u; /* a test may begin anew */

/* One of 0 ... n - 1. */
static inline uint64_t roll(uint64_t n)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return dice % n;
}

#endif
