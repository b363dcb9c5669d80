/*
 * bridge_compare.c: see bridge_compare.h.
 */
#include "bridge_compare.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "compare_data.h"

struct comparison {
	const struct bridge_side *a, *b;
	struct compare_list one, all; /* A's present row; all of B */
	uint8_t *piece;               /* two of BRIDGE_PIECE */
	int (*tell)(void *arg, const struct bridge_difference *d);
	void *arg;
};

static bool same_shape(const struct compare_data *p, const struct compare_data *q)
{
	return p->ndim == q->ndim && memcmp(p->size, q->size, p->ndim * sizeof(p->size[0])) == 0;
}

/* Whether the bytes of two of one length are the same: 1, 0, -errno. */
static int same_bytes(struct comparison *c, const struct compare_data *p, const struct compare_data *q)
{
	uint8_t *x = c->piece, *y = x + BRIDGE_PIECE;

	for (uint64_t off = 0; off < p->bytes;) {
		size_t n = p->bytes - off < BRIDGE_PIECE ? (size_t)(p->bytes - off) : BRIDGE_PIECE;
		int64_t known = compare_data_same(c->a, p, c->b, q, off);
		int rc = known < 0 ? (int)known : 0;

		if (known > 0) {
			off += (uint64_t)known;
			continue;
		}
		rc = rc ? rc : compare_data_read(c->a, p, off, x, n);
		rc = rc ? rc : compare_data_read(c->b, q, off, y, n);
		if (rc != 0)
			return rc;
		if (memcmp(x, y, n) != 0)
			return 0;
		off += n;
	}
	return 1;
}

static int distance(struct comparison *c, const struct compare_data *p, const struct compare_data *q,
		struct bridge_distance *d)
{
	uint32_t width = p->width > q->width ? p->width : q->width;
	uint64_t count = p->bytes / p->width;
	uint8_t *x = c->piece, *y = x + BRIDGE_PIECE;

	bridge_distance_init(d);
	for (uint64_t at = 0; at < count;) {
		uint64_t n = count - at < BRIDGE_PIECE / width ? count - at : BRIDGE_PIECE / width;
		int64_t known = p->dtype == q->dtype ? compare_data_same(c->a, p, c->b, q, at * width) : 0;
		bool once = known >= (int64_t)width;
		int rc = known < 0 ? (int)known : 0;

		if (once && (uint64_t)known / width < n)
			n = (uint64_t)known / width;
		rc = rc ? rc : compare_data_read(c->a, p, at * p->width, x, (size_t)n * p->width);
		if (!once)
			rc = rc ? rc : compare_data_read(c->b, q, at * q->width, y, (size_t)n * q->width);
		rc = rc ? rc
			: bridge_distance_add(d, (enum torch_dtype)p->dtype, x, (enum torch_dtype)q->dtype,
					  once ? x : y, n);
		if (rc != 0)
			return rc;
		at += n;
	}
	bridge_distance_done(d);
	return 0;
}

/* Both have data of the same shape. */
static int compare_numbers(struct comparison *c, const struct compare_data *p, const struct compare_data *q,
		struct bridge_difference *d, struct bridge_distance *dist)
{
	bool alike = p->dtype == q->dtype && p->bytes == q->bytes;
	int same = alike ? same_bytes(c, p, q) : 0, rc;

	if (same < 0)
		return same;
	if (same == 1 && (p->dtype >= 0 || strcmp(d->a, d->b) == 0)) {
		d->change = strcmp(d->a, d->b) == 0 || p->dtype >= 0 ? BRIDGE_EQUAL : BRIDGE_DIFFERS;
		return 0;
	}
	d->change = BRIDGE_DIFFERS;
	if (p->dtype < 0 || q->dtype < 0 || p->bytes / p->width != q->bytes / q->width)
		return 0;
	rc = distance(c, p, q, dist);
	/* Parts of complex numbers have no distance to single ones. */
	if (rc == -ENOTSUP)
		return 0;
	if (rc == 0)
		d->distance = dist;
	return rc;
}

static int compare_items(struct comparison *c, const struct compare_item *x, const struct compare_item *y,
		struct bridge_difference *d, struct bridge_distance *dist)
{
	struct compare_data p, q = { 0 };
	int rc = compare_data_open(c->a, x, &p);

	rc = rc ? rc : compare_data_open(c->b, y, &q);
	if (rc == 0 && p.layout != NULL && q.layout != NULL) {
		if (same_shape(&p, &q))
			rc = compare_numbers(c, &p, &q, d, dist);
		else
			d->change = BRIDGE_OTHER_SHAPE;
	} else if (rc == 0) {
		if (strcmp(d->a, d->b) != 0)
			d->change = BRIDGE_DIFFERS;
		else
			d->change = x->unknown || y->unknown ? BRIDGE_UNKNOWN : BRIDGE_EQUAL;
	}
	compare_data_release(&p);
	compare_data_release(&q);
	return rc;
}

/* An item of A: told with its match in B. */
static int tell_one(struct comparison *c, const struct compare_item *x)
{
	struct bridge_distance dist;
	struct bridge_difference d = {
		.path = compare_path(&c->one, x), .a = compare_text(&c->one, x), .change = BRIDGE_ONLY_A
	};
	const struct compare_item *y = compare_list_take(&c->all, d.path);
	int rc = 0;

	if (y != NULL) {
		d.b = compare_text(&c->all, y);
		rc = compare_items(c, x, y, &d, &dist);
		if (rc != 0)
			return ckpt_context(rc, "'%s'", d.path);
	}
	return c->tell(c->arg, &d);
}

static int on_row(void *arg, const struct view_row *row)
{
	struct comparison *c = arg;
	int rc;

	compare_list_clear(&c->one);
	rc = compare_list_add(&c->one, row);
	for (uint32_t i = 0; i < c->one.count && rc == 0; i++)
		rc = tell_one(c, &c->one.item[i]);
	return rc;
}

int bridge_compare(const struct bridge_side *a, const struct bridge_side *b,
		int (*tell)(void *arg, const struct bridge_difference *d), void *arg)
{
	struct comparison c = { .a = a, .b = b, .tell = tell, .arg = arg };
	int rc;

	c.piece = malloc(2 * (size_t)BRIDGE_PIECE);
	rc = c.piece == NULL ? ckpt_fail(ENOMEM, "compare: out of memory")
			     : compare_list_make(&c.all, b->doc);
	if (rc == 0)
		rc = view_rows(a->doc, on_row, &c);
	for (uint32_t i = 0; i < c.all.count && rc == 0; i++) {
		const struct compare_item *y = &c.all.item[i];
		const struct bridge_difference d = {
			.path = compare_path(&c.all, y), .change = BRIDGE_ONLY_B, .b = compare_text(&c.all, y)
		};

		if (!y->used)
			rc = tell(arg, &d);
	}
	compare_list_release(&c.one);
	compare_list_release(&c.all);
	free(c.piece);
	return rc;
}
