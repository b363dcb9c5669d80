/*
 * compare_data.h: the bytes of an item in row-major order; for bridge_compare.c only.
 */
#ifndef COMPARE_DATA_H
#define COMPARE_DATA_H

#include "bridge_layout.h"
#include "compare_list.h"

struct compare_data {
	struct bridge_layout *layout; /* NULL: it has no data; the text says all */
	int dtype;                    /* enum torch_dtype of numbers; -1: bytes that are only equal or not */
	uint32_t width;               /* of an element; 1 for bytes */
	uint64_t bytes;
	uint32_t ndim;
	uint64_t size[TORCH_DIMS_MAX];
};

/* Released in any case. -ENOTSUP never: what is not understood has no data. */
int compare_data_open(const struct bridge_side *side, const struct compare_item *x, struct compare_data *out);
void compare_data_release(struct compare_data *d);

/*
 * How many of the bytes from off on both are known to have in common, without reading them (bridge_side.same of a);
 * 0 not known, -errno.
 */
int64_t compare_data_same(const struct bridge_side *a, const struct compare_data *p,
		const struct bridge_side *b, const struct compare_data *q, uint64_t off);

/* Exactly len bytes at off. -EIO where the file has become shorter. */
int compare_data_read(const struct bridge_side *side, const struct compare_data *d, uint64_t off, void *buf,
		size_t len);

#endif
