/*
 * bridge_dtype.h: elements of one dtype as elements of another, bit for bit as torch's .to() on a CPU.
 *
 * Between float64, float32, float16 and bfloat16 in all directions: to nearest, ties to even; overflow is
 * infinite; subnormals stay.  What torch does in two steps is done in two: float64 goes to 16 bits through
 * float32 (so it is rounded twice), and so do the two 16-bit types to each other.  A NaN stays a NaN; its
 * payload is what the F16C instructions make of it, and 0x7fc0 in bfloat16 (torch's depends on where in a
 * tensor it stands).
 *
 * Everything is little-endian and needs no alignment.  On x86-64 with AVX2 and F16C (asked at run time)
 * float32 and the 16-bit types go eight at a time; results are the same without.
 */
#ifndef BRIDGE_DTYPE_H
#define BRIDGE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/torch_dtype.h"

/* Whether the conversion is known here; from a dtype to itself always (a copy). */
bool bridge_dtype_converts(enum torch_dtype from, enum torch_dtype to);

/* count elements from src to dst, which do not overlap. The conversion is a known one. */
void bridge_dtype_convert(
		enum torch_dtype from, enum torch_dtype to, const void *src, size_t count, void *dst);

/* The same in plain C whatever the machine; for tests. */
void bridge_dtype_convert_plain(
		enum torch_dtype from, enum torch_dtype to, const void *src, size_t count, void *dst);

/*
 * Turns the sign of count elements at p in place: of floating and complex dtypes; of complex dtypes the
 * imaginary part's.
 */
void bridge_dtype_negate(enum torch_dtype dtype, void *p, size_t count);
void bridge_dtype_conjugate(enum torch_dtype dtype, void *p, size_t count);

#endif
