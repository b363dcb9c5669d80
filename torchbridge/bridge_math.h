/*
 * bridge_math.h: statistics of a tensor's elements, and distances of two tensors, in one pass, in the caller.
 *
 * In C and not in libtorch: through the helper process they took several times longer; libtorch judges them
 * in the tests.
 *
 * All is counted in double.  Elements are taken in blocks that fit the first cache: of a block the mean, then
 * the sum of squares about it, and these join what came before as Chan, Golub and LeVeque join two samples
 * ("Algorithms for computing the sample variance", 1983; it is Welford's update with blocks for elements).
 * So std is as good as in two passes over all, and how a tensor is split over several calls matters in the
 * last bits only.  std is torch's: unbiased (n - 1), NaN below two numbers.
 *
 * Every dtype of numbers is known.  Of complex numbers each part counts as an element, first the real one; of
 * quantized ones the stored integers are taken, without scale and zero point; bool is 0 and 1.  -ENOTSUP,
 * from both functions, for what has no numbers (bits) or packs several into a byte (float4_e2m1fn_x2,
 * quint4x2, quint2x4).  Elements are little-endian and need no alignment.  No lock, no allocation, nothing
 * blocks.
 */
#ifndef BRIDGE_MATH_H
#define BRIDGE_MATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/torch_dtype.h"

/* Whether the functions below take the dtype. */
bool bridge_math_knows(enum torch_dtype dtype);

struct bridge_stats {
	uint64_t count, nans, infs; /* of all; those that are finite are count - nans - infs */
	double min, max, mean,
			std; /* of the finite ones; NaN where there is none, from bridge_stats_done() on */
	/* running state */
	double m2; /* sum of squares about the mean */
};
void bridge_stats_init(struct bridge_stats *s);
int bridge_stats_add(struct bridge_stats *s, enum torch_dtype dtype, const void *p, uint64_t count);
/* After the last add; not followed by another. */
void bridge_stats_done(struct bridge_stats *s);

/*
 * Two tensors element by element.  Equal is equal by value: 0 and -0 are, two NaNs are, 1 and 1.0 are; 64-bit
 * integers of one dtype are compared as such, others as doubles.
 */
struct bridge_distance {
	uint64_t count, unequal, nans; /* nans: elements where just one of them is NaN (they are unequal) */
	double max_abs, max_rel;       /* |a - b|, |a - b| / max(|a|, |b|); infinite where just one is */
	double aa, bb, ab, dd;         /* running sums where both are finite: a*a, b*b, a*b, (a-b)^2 */
	uint64_t finite;               /* elements in these sums */
	double cosine, rms;            /* bridge_distance_done(): ab / sqrt(aa * bb), sqrt(dd / finite) */
};
void bridge_distance_init(struct bridge_distance *d);
int bridge_distance_add(struct bridge_distance *d, enum torch_dtype a_dtype, const void *a,
		enum torch_dtype b_dtype, const void *b, uint64_t count);
/*
 * After the last add. cosine: 1 for two tensors of zeros, 0 when just one is; rms: 0 when nothing is finite.
 */
void bridge_distance_done(struct bridge_distance *d);

#endif
