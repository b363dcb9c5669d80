/*
 * summary_internal.h: what the makers of @summary share.
 */
#ifndef SUMMARY_INTERNAL_H
#define SUMMARY_INTERNAL_H

#include "view_facts.h"
#include "view_lines.h"

enum {
	LINE = 80,
	NAME_MIN = 20,
	SHAPE_MIN = 5,
	SHAPE_MOST = 20,
	DEVICE_MOST = 10,
	SIZE_COLUMN = 9,
	VALUE_NAME_MAX = 36,
	SUMS = 40,
	ITEMS_MAX = 64, /* of a list that are looked at: more never fit a line */
};
#define VALUES_BYTES ((size_t)16 << 20)
#define OUTPUT_MAX ((size_t)512 << 20)

/* Tensors of one dtype, or on one device. */
struct sum {
	char name[VIEW_DEVICE_MAX];
	uint64_t tensors, elements, bytes;
};

struct summary {
	struct byte_buf *out;
	size_t start;
	int color;
	size_t name, dtype, shape, device; /* widths */
	struct sum by_dtype[SUMS], by_device[SUMS];
	struct sum all;
	uint64_t shared, values, omitted;
	size_t values_start;
	struct view_users users;
	struct byte_buf group; /* the path that rows stand under now */
	bool in_group;
	struct byte_buf text;
};

/* Makes a column wide enough for `len`, up to `most`. */
static inline void summary_widen(size_t *width, size_t len, size_t most)
{
	if (len > *width)
		*width = len < most ? len : most;
}

/* A blank line and a heading. */
int summary_heading(struct summary *s, const char *text);

/*
 * Begins a row with a mark of 4 columns, under a new heading where its container is another than that of the
 * row before.
 */
int summary_begin(struct summary *s, const struct view_row *row, const char *mark);

/* Of a row's path how much the heading says that it stands under; and what is left of it. */
size_t summary_above(const struct view_row *row);
void summary_name(const struct view_row *row, const uint8_t **p, size_t *len);

/* Whether a row is in the table of tensors; all others are values. */
bool summary_is_tensor(const struct view_row *row);

int summary_tensors(struct summary *s, const struct bridge_doc *d);
int summary_values(struct summary *s, const struct bridge_doc *d);

#endif
