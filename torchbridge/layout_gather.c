/*
 * layout_gather.c: elements that lie apart, brought together.
 *
 * A range of a tensor's elements in its own order is a few boxes: a part of one dimension with all of those
 * below it.  The elements of a box are gone through in the order in which they lie in the file, whatever the
 * tensor's order, so that a transposed matrix is read forwards and in runs.  What lies between two elements
 * is read with them and thrown away where that costs less than another call would: bytes come through a
 * window, which is not stopped by gaps of GAP bytes.
 */
#include "layout_gather.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

enum {
	WINDOW = 1 << 18,
	GAP = 8192, /* bytes are copied in the time that a call takes */
};

struct reader {
	const struct gather *g;
	const struct bridge_sources *src;
	uint8_t *window;
	uint64_t begin, end; /* what of the source is in it */
};

/*
 * A box: for each dimension where it begins, how many, and how far apart in the file and in the answer (in
 * elements).
 */
struct box {
	uint32_t ndim;
	uint64_t off; /* of its first element in the source, bytes */
	uint64_t size[GATHER_DIMS_MAX];
	uint64_t from[GATHER_DIMS_MAX]; /* bytes between neighbours in the source */
	uint64_t to[GATHER_DIMS_MAX];   /* bytes between neighbours in the answer */
};

int gather_source(const struct bridge_sources *src, uint32_t source, uint64_t off, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len > 0) {
		int64_t n = src->read(src->arg, source, off, p, len);

		if (n < 0)
			return (int)n;
		if (n == 0 || (uint64_t)n > len)
			return ckpt_fail(EIO, "a view's file ends at byte %llu, before it should",
					(unsigned long long)off);
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int gather_simplify(uint32_t ndim, const uint64_t *size, const uint64_t *stride, uint64_t *simple,
		uint64_t *count)
{
	uint64_t kept_size[GATHER_DIMS_MAX], kept_stride[GATHER_DIMS_MAX], total = 1;
	uint32_t n = 0;

	if (ndim > GATHER_DIMS_MAX)
		return ckpt_fail(EINVAL, "a tensor of %u dimensions", ndim);
	for (uint32_t i = 0; i < ndim; i++)
		if (size[i] == 0)
			total = 0;
	for (uint32_t i = 0; i < ndim && total > 0; i++) {
		uint64_t end;

		if (__builtin_mul_overflow(total, size[i], &total) || total > INT64_MAX ||
				__builtin_mul_overflow(size[i] - 1, stride[i], &end) || end > INT64_MAX)
			return ckpt_fail(EINVAL, "a tensor that is too large");
		if (size[i] == 1)
			continue;
		if (n > 0 && !__builtin_mul_overflow(size[i], stride[i], &end) && kept_stride[n - 1] == end) {
			kept_size[n - 1] *= size[i];
			kept_stride[n - 1] = stride[i];
			continue;
		}
		kept_size[n] = size[i];
		kept_stride[n++] = stride[i];
	}
	*count = total;
	if (total == 0)
		return 0;
	memcpy(simple, kept_size, n * sizeof *simple);
	memcpy(simple + n, kept_stride, n * sizeof *simple);
	return (int)n;
}

bool gather_scattered(const struct gather *g, const uint64_t *dims)
{
	const uint64_t *stride = dims + g->dims + g->ndim;

	for (uint32_t i = 0; i + 1 < g->ndim; i++)
		if (stride[i] > 0 && stride[i] < stride[g->ndim - 1])
			return true;
	return false;
}

uint64_t gather_block(const struct gather *g, const uint64_t *dims, uint64_t size, uint64_t most)
{
	const uint64_t *n = dims + g->dims;

	for (uint32_t i = 0; i < g->ndim && size > most; i++)
		size /= n[i];
	return size;
}

/*
 * Puts the dimensions in the order in which the file has them: far strides first, elements that are repeated
 * last.
 */
static void sort_dims(struct box *b)
{
	for (uint32_t i = 1; i < b->ndim; i++)
		for (uint32_t k = i; k > 0 && b->from[k] > b->from[k - 1]; k--) {
			uint64_t size = b->size[k], from = b->from[k], to = b->to[k];

			b->size[k] = b->size[k - 1];
			b->from[k] = b->from[k - 1];
			b->to[k] = b->to[k - 1];
			b->size[k - 1] = size;
			b->from[k - 1] = from;
			b->to[k - 1] = to;
		}
}

/*
 * The bytes [off, off + len) of the source, len being at most WINDOW; up to `ahead` more are read with them.
 */
static int need(struct reader *r, uint64_t off, size_t len, uint64_t ahead, const uint8_t **out)
{
	size_t n = ahead > WINDOW - len ? WINDOW : len + (size_t)ahead;
	int rc;

	if (off < r->begin || off + len > r->end) {
		r->begin = r->end = 0;
		rc = gather_source(r->src, r->g->source, off, r->window, n);
		if (rc < 0)
			return rc;
		r->begin = off;
		r->end = off + n;
	}
	*out = r->window + (off - r->begin);
	return 0;
}

/* One element repeated n times, or n elements of a run, `to` bytes apart in the answer. */
static void scatter(const uint8_t *p, uint64_t from, uint8_t *dst, uint64_t to, uint64_t n, size_t width)
{
	if (from == width && to == width) {
		memcpy(dst, p, (size_t)n * width);
		return;
	}
	switch (width) {
	case 1:
		for (uint64_t i = 0; i < n; i++)
			dst[i * to] = p[i * from];
		break;
	case 2:
		for (uint64_t i = 0; i < n; i++)
			memcpy(dst + i * to, p + i * from, 2);
		break;
	case 4:
		for (uint64_t i = 0; i < n; i++)
			memcpy(dst + i * to, p + i * from, 4);
		break;
	case 8:
		for (uint64_t i = 0; i < n; i++)
			memcpy(dst + i * to, p + i * from, 8);
		break;
	default:
		for (uint64_t i = 0; i < n; i++)
			memcpy(dst + i * to, p + i * from, width);
	}
}

/*
 * The innermost dimension from `off` on: in pieces that fit the window. `end`: until where reading on is
 * worth it.
 */
static int read_run(struct reader *r, uint64_t off, uint64_t end, uint64_t n, uint64_t from, uint8_t *dst,
		uint64_t to)
{
	size_t width = r->g->width;
	uint64_t most = from == 0 || n == 1 ? n : from <= GAP + width ? (WINDOW - width) / from + 1 : 1;

	while (n > 0) {
		uint64_t k = n < most ? n : most, span = (k - 1) * from + width;
		const uint8_t *p;
		int rc = need(r, off, (size_t)span, end > off + span ? end - off - span : 0, &p);

		if (rc < 0)
			return rc;
		scatter(p, from, dst, to, k, width);
		off += k * from;
		dst += k * to;
		n -= k;
	}
	return 0;
}

/*
 * The dimensions from the returned one on have no gap that is worth another call; *span: how far they reach.
 */
static uint32_t near_dims(const struct box *b, size_t width, uint64_t *span)
{
	uint32_t i = b->ndim;

	*span = width;
	while (i > 0 && b->from[i - 1] <= *span + GAP) {
		i--;
		*span += (b->size[i] - 1) * b->from[i];
	}
	return i;
}

static int read_box(struct reader *r, struct box *b, uint8_t *dst)
{
	uint64_t at[GATHER_DIMS_MAX] = { 0 }, span, off = b->off;
	uint32_t last, near;

	if (b->ndim == 0) {
		b->ndim = 1;
		b->size[0] = 1;
		b->from[0] = b->to[0] = r->g->width;
	}
	sort_dims(b);
	near = near_dims(b, r->g->width, &span);
	last = b->ndim - 1;
	for (;;) {
		uint32_t i = last;
		uint64_t region = off; /* where what is near begins */
		uint8_t *d = dst;
		int rc;

		for (uint32_t k = 0; k < last; k++) {
			d += at[k] * b->to[k];
			if (k >= near)
				region -= at[k] * b->from[k];
		}
		rc = read_run(r, off, region + span, b->size[last], b->from[last], d, b->to[last]);
		if (rc < 0)
			return rc;
		while (i-- > 0) {
			off += b->from[i];
			if (++at[i] < b->size[i])
				break;
			off -= b->size[i] * b->from[i];
			at[i] = 0;
		}
		if (i == UINT32_MAX)
			return 0;
	}
}

int gather_read(const struct gather *g, const uint64_t *dims, const struct bridge_sources *src,
		uint64_t first, uint64_t n, uint8_t *dst)
{
	const uint64_t *size = dims + g->dims, *stride = size + g->ndim;
	struct reader r = { .g = g, .src = src };
	int rc = 0;

	r.window = malloc(WINDOW);
	if (r.window == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a tensor");
	while (rc == 0 && n > 0) {
		struct box b = { .off = g->off };
		uint64_t block = 1, rest = first, count = 1;
		uint32_t d = g->ndim;

		/* The largest block of whole dimensions that begins here and is wanted whole. */
		while (d > 0 && first % (block * size[d - 1]) == 0 && n >= block * size[d - 1])
			block *= size[--d];
		if (d > 0) {
			uint64_t i = first / block % size[d - 1];

			count = n / block < size[d - 1] - i ? n / block : size[d - 1] - i;
			b.size[0] = count;
			b.from[0] = stride[d - 1] * g->width;
			b.to[0] = block * g->width;
			b.ndim = count > 1;
		}
		for (uint64_t inner = block, k = d; k < g->ndim; k++, b.ndim++) {
			inner /= size[k];
			b.size[b.ndim] = size[k];
			b.from[b.ndim] = stride[k] * g->width;
			b.to[b.ndim] = inner * g->width;
		}
		for (uint32_t k = g->ndim; k-- > 0; rest /= size[k])
			b.off += rest % size[k] * stride[k] * g->width;
		rc = read_box(&r, &b, dst);
		dst += block * count * g->width;
		first += block * count;
		n -= block * count;
	}
	free(r.window);
	return rc;
}
