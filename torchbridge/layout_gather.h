/*
 * layout_gather.h: a strided tensor read in row-major order, for bridge_layout.c only.
 */
#ifndef LAYOUT_GATHER_H
#define LAYOUT_GATHER_H

#include "bridge_layout.h"

enum { GATHER_DIMS_MAX = 64 };

/*
 * Dimensions of a tensor, made simple: those of one element are left out, and neighbours that are one run in
 * memory are one dimension. The last one is the fastest in the tensor's order.
 */
struct gather {
	uint64_t off; /* of element (0, ..) in the source */
	uint32_t source;
	uint8_t width, dtype; /* of what lies there */
	uint8_t to;           /* the dtype it becomes */
	bool conj, neg;
	uint32_t ndim;
	size_t dims; /* where its sizes and then its strides are in the layout's numbers */
};

/*
 * Takes size and stride (ndim of them) into `simple`, which has room for 2 * ndim numbers: sizes first, then
 * strides. *count: elements. Returns how many dimensions are left, or -EINVAL: a product that overflows, or
 * too many.
 */
int gather_simplify(uint32_t ndim, const uint64_t *size, const uint64_t *stride, uint64_t *simple,
		uint64_t *count);

/* Whether the source has the elements in another order: a run of the tensor is everywhere in the file. */
bool gather_scattered(const struct gather *g, const uint64_t *dims);

/*
 * Of a tensor that takes `size` bytes as it is shown: the largest block of whole inner dimensions that takes at most
 * `most` bytes.
 */
uint64_t gather_block(const struct gather *g, const uint64_t *dims, uint64_t size, uint64_t most);

/* Elements [first, first + n) as they lie in the source, in the tensor's order, to dst. */
int gather_read(const struct gather *g, const uint64_t *dims, const struct bridge_sources *src,
		uint64_t first, uint64_t n, uint8_t *dst);

/* Reads exactly len bytes of a source. -EIO where it ends before. */
int gather_source(const struct bridge_sources *src, uint32_t source, uint64_t off, void *buf, size_t len);

#endif
