/*
 * image_linear.c: see image_linear.h.
 *
 * A row is predicted in two steps.  What comes from the rows above is summed up for all of the row at once,
 * which compilers make vectors of; then W and WW are added.  The encoder has those as well, the way back has to
 * wait for each pixel: a multiplication, an addition, a shift.  Predictions are not limited to what a byte holds,
 * since that would be three instructions more in this chain; beyond it they go round, and so do residues.
 */
#include "codec/image_linear.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined __GNUC__ && !defined __clang__
#pragma GCC optimize("O3")
#endif

enum {
	UNIT_BITS = 10,
	HALF = 1 << (UNIT_BITS - 1),
	CONSTANT_MAX = 1 << 20,
	HEAD = 13,
	KIND_BYTES = 2 * IMAGE_NEIGHBOURS + 4,
	TERMS = IMAGE_NEIGHBOURS + 1, /* and the constant */
	SAMPLE_ROWS = 256,         /* of rows that are not a picture's first ones: as many are looked at, */
	SAMPLE_PIXELS = 12 << 10,  /* and so many inner pixels in all */
	SEEN_MIN = 4 * TERMS,      /* pixels of a kind that make weights */
};

/* --- where things are ---------------------------------------------------------------------------- */

/* The kind of row number r behind m->first. */
static unsigned row_kind(const struct image_linear *m, size_t r)
{
	size_t y = m->rows == 0 ? 2 : (r + m->rows - m->top) % m->rows;

	return y < 2 ? (unsigned)y : 2;
}

static unsigned column_kind(size_t x, size_t pixels)
{
	return x < 2 ? (unsigned)x : x + 1 == pixels ? 3 : 2;
}

/* Odd, so that every row of a picture has its turn. */
static size_t sample_step(size_t rows)
{
	return rows / SAMPLE_ROWS | 1;
}

/* Where the rows of raw begin, from 0 to up - 1: the column whose pixels differ most from those on their left. */
static uint32_t find_side(const uint8_t *raw, size_t len, uint32_t left, uint32_t up, uint32_t *sum)
{
	size_t rows = len / up - 1, step = sample_step(rows);
	uint32_t best = 0, at = 0;

	memset(sum, 0, up * sizeof *sum);
	for (size_t r = 1; r < rows; r += step) {
		const uint8_t *p = raw + r * up;

		for (uint32_t i = 0; i < up; i++)
			sum[i] += (uint32_t)abs(p[i] - p[(ptrdiff_t)i - (ptrdiff_t)left]);
	}
	for (uint32_t i = 0; i < up; i++) {
		uint32_t all = 0;

		for (uint32_t k = 0; k < left; k++)
			all += sum[(i + k) % up];
		if (i == 0)
			all += all / 8; /* pieces are cut at pictures more often than not */
		if (all > best) {
			best = all;
			at = i;
		}
	}
	return at;
}

/* The row, of the first `rows` ones behind raw, at which pictures begin: it differs most from the one above. */
static uint32_t find_top(const uint8_t *raw, size_t len, uint32_t up, uint32_t rows)
{
	uint64_t best = 0;
	uint32_t at = 0;

	for (uint32_t k = 0; k < rows; k++) {
		uint64_t all = 0;

		for (size_t r = k; (r + 1) * up <= len; r += rows) {
			const uint8_t *p = raw + r * up;
			uint32_t sum = 0;

			for (uint32_t i = 0; i < up; i++)
				sum += (uint32_t)abs(p[i] - p[(ptrdiff_t)i - (ptrdiff_t)up]);
			all += sum;
		}
		/* the last ones come once less, maybe */
		all /= (len / up - k + rows - 1) / rows;
		if (all > best) {
			best = all;
			at = k;
		}
	}
	return at;
}

/* --- weights ------------------------------------------------------------------------------------- */

/* Products of neighbours (and 1) with one another, and with the pixel; the lower half of them. */
struct sums {
	int64_t a[TERMS][TERMS], b[TERMS];
	uint32_t n;
};

static void add_pixel(struct sums *s, const uint8_t *p, ptrdiff_t left, ptrdiff_t up, ptrdiff_t right)
{
	const int t[TERMS] = { p[-left], p[-2 * left], p[-up], p[-up - left], p[-up + right], p[-2 * up], 1 };

	for (unsigned i = 0; i < TERMS; i++) {
		for (unsigned k = 0; k <= i; k++)
			s->a[i][k] += t[i] * t[k];
		s->b[i] += t[i] * p[0];
	}
	s->n++;
}

static void gather(const uint8_t *raw, size_t len, const struct image_linear *m,
		struct sums sums[IMAGE_ROW_KINDS][IMAGE_COLUMN_KINDS])
{
	size_t pixels = m->up / m->left, rows = (len - m->first) / m->up, step = sample_step(rows), count = 0;
	size_t looked = rows / step + (m->rows ? 2 * rows / m->rows : 0) + 1;
	size_t among = looked * pixels / SAMPLE_PIXELS | 1; /* odd: all columns have their turn */

	for (size_t r = 0; r < rows; r++) {
		unsigned kind = row_kind(m, r);
		const uint8_t *p = raw + m->first + r * m->up;

		if (kind == 2 && r % step != 0)
			continue;
		for (size_t x = 0; x < pixels; x++) {
			unsigned column = column_kind(x, pixels);

			if (column == 2 && ++count % among != 0)
				continue;
			add_pixel(&sums[kind][column], p + x * m->left + x % m->left, (ptrdiff_t)m->left,
					(ptrdiff_t)m->up, column == 3 ? 0 : (ptrdiff_t)m->left);
		}
	}
}

/* Least squares by Cholesky's way; a little is added to the diagonal, so that flat pictures have a solution. */
static bool solve(const struct sums *s, struct image_kind *out)
{
	double l[TERMS][TERMS], y[TERMS];

	if (s->n < SEEN_MIN)
		return false;
	for (unsigned i = 0; i < TERMS; i++) {
		for (unsigned k = 0; k <= i; k++) {
			double v = (double)s->a[i][k] + (i == k ? 0.05 * s->n : 0);

			for (unsigned j = 0; j < k; j++)
				v -= l[i][j] * l[k][j];
			if (i == k && !(v > 0))
				return false;
			l[i][k] = i == k ? sqrt(v) : v / l[k][k];
		}
	}
	for (unsigned i = 0; i < TERMS; i++) {
		y[i] = (double)s->b[i];
		for (unsigned j = 0; j < i; j++)
			y[i] -= l[i][j] * y[j];
		y[i] /= l[i][i];
	}
	for (unsigned i = TERMS; i-- > 0;) {
		for (unsigned j = i + 1; j < TERMS; j++)
			y[i] -= l[j][i] * y[j];
		y[i] /= l[i][i];
		if (!(fabs(y[i]) < (i < IMAGE_NEIGHBOURS ? 31 : CONSTANT_MAX >> UNIT_BITS)))
			return false;
	}
	for (unsigned i = 0; i < IMAGE_NEIGHBOURS; i++)
		out->weight[i] = (int16_t)lrint(y[i] * (1 << UNIT_BITS));
	out->constant = (int32_t)lrint(y[IMAGE_NEIGHBOURS] * (1 << UNIT_BITS));
	return true;
}

bool image_linear_find(struct codec_work *w, const uint8_t *raw, size_t len, uint32_t left, uint32_t up,
		struct image_linear *out)
{
	struct sums sums[IMAGE_ROW_KINDS][IMAGE_COLUMN_KINDS];
	struct image_linear m = { .left = left, .up = up };

	if (left < 1 || up % left != 0 || up / left < IMAGE_PIXELS_MIN || up > IMAGE_ROW_MAX || len / up < 16)
		return false;
	m.first = 2 * up + find_side(raw, len, left, up, (uint32_t *)(void *)w->other);
	m.rows = up / left;
	if ((len - m.first) / up < 2 * m.rows)
		m.rows = 0;
	else
		m.top = find_top(raw + m.first, len - m.first, up, m.rows);
	memset(sums, 0, sizeof sums);
	gather(raw, len, &m, sums);
	if (!solve(&sums[2][2], &m.kind[2][2]))
		return false;
	for (unsigned r = IMAGE_ROW_KINDS; r-- > 0;)
		for (unsigned c = 0; c < IMAGE_COLUMN_KINDS; c++)
			if (!solve(&sums[r][c], &m.kind[r][c]))
				m.kind[r][c] = m.kind[2][2];
	*out = m;
	return true;
}

/* --- predictions --------------------------------------------------------------------------------- */

/* A sum as a prediction: what is beyond a byte goes round, as the residues do. */
static inline uint8_t rounded(int32_t sum)
{
	return (uint8_t)((uint32_t)sum >> UNIT_BITS);
}

/* What the rows above say of one pixel. */
static inline int32_t part_above(const uint8_t *p, ptrdiff_t left, ptrdiff_t up, ptrdiff_t right,
		const struct image_kind *k)
{
	return k->weight[2] * p[-up] + k->weight[3] * p[-up - left] + k->weight[4] * p[-up + right] +
	       k->weight[5] * p[-2 * up] + k->constant + HALF;
}

/* Those beside it. */
static inline int32_t part_beside(const uint8_t *p, ptrdiff_t left, const struct image_kind *k)
{
	return k->weight[0] * p[-left] + k->weight[1] * p[-2 * left];
}

/*
 * The sums over the rows above row p[0, n), n <= up.  All columns are summed as inner ones, without an end for the
 * compiler to care for, then those at the sides anew.
 */
static void sum_above(const uint8_t *p, size_t n, const struct image_linear *m, const struct image_kind *kinds,
		int32_t *sum)
{
	const struct image_kind k = kinds[2];
	const size_t left = m->left, up = m->up;
	const uint8_t *above = p - up, *corner = above - left, *right = above + left, *far = above - up;
	const size_t end = n < up - left ? n : up - left;

	for (size_t i = 0; i < n; i++)
		sum[i] = (int16_t)above[i] * k.weight[2] + (int16_t)corner[i] * k.weight[3] +
			 (int16_t)right[i] * k.weight[4] + (int16_t)far[i] * k.weight[5] + k.constant + HALF;
	for (size_t i = 0; i < 2 * left && i < n; i++)
		sum[i] = part_above(p + i, (ptrdiff_t)left, (ptrdiff_t)up, (ptrdiff_t)left, &kinds[i >= left]);
	for (size_t i = end; i < n; i++)
		sum[i] = part_above(p + i, (ptrdiff_t)left, (ptrdiff_t)up, 0, &kinds[3]);
}

void image_linear_contexts(const struct image_linear *m, size_t len, uint8_t *ctx)
{
	size_t r = 0;

	memset(ctx, 0, len < m->first ? len : m->first);
	for (size_t at = m->first; at < len; at += m->up, r++) {
		size_t n = len - at < m->up ? len - at : m->up;

		memset(ctx + at, row_kind(m, r) == 0, n);
		memset(ctx + at, 1, n < m->left ? n : m->left);
	}
}

void image_linear_residues(struct codec_work *w, const uint8_t *raw, size_t len, const struct image_linear *m,
		uint8_t *res, uint8_t *ctx)
{
	int32_t *sum = (int32_t *)(void *)w->other;
	const size_t left = m->left;
	size_t r = 0;

	for (size_t i = 0; i < m->first && i < len; i++)
		res[i] = (uint8_t)(raw[i] - (i < left ? 0 : raw[i - left]));
	for (size_t at = m->first; at < len; at += m->up, r++) {
		const struct image_kind *kinds = m->kind[row_kind(m, r)];
		const int16_t one = kinds[2].weight[0], two = kinds[2].weight[1];
		const size_t n = len - at < m->up ? len - at : m->up;
		const uint8_t *p = raw + at, *a = p - left, *b = a - left;
		uint8_t *to = res + at;

		sum_above(p, n, m, kinds, sum);
		for (size_t i = 0; i < n; i++)
			to[i] = (uint8_t)(p[i] - rounded(sum[i] + (int16_t)a[i] * one + (int16_t)b[i] * two));
		for (size_t i = 0; i < 2 * left && i < n; i++)
			to[i] = (uint8_t)(p[i] -
					  rounded(sum[i] + part_beside(p + i, (ptrdiff_t)left, &kinds[i >= left])));
		for (size_t i = m->up - left; i < n; i++)
			to[i] = (uint8_t)(p[i] - rounded(sum[i] + part_beside(p + i, (ptrdiff_t)left, &kinds[3])));
	}
	image_linear_contexts(m, len, ctx);
}

/* Pixels [i, end) of a row, one after the other; `left` is known to the compiler where it is 1. */
static inline __attribute__((always_inline)) void restore(const int32_t *sum, const uint8_t *res, uint8_t *p,
		size_t i, size_t end, size_t left, const struct image_kind *k)
{
	const int32_t one = k->weight[0], two = k->weight[1];

	if (left == 1) {
		int32_t a = p[(ptrdiff_t)i - 1], b = p[(ptrdiff_t)i - 2];

		for (; i < end; i++) {
			/* what does not wait for the pixel before comes first */
			int32_t v = sum[i] + (int32_t)((uint32_t)res[i] << UNIT_BITS) + b * two;

			b = a;
			a = rounded(v + a * one);
			p[i] = (uint8_t)a;
		}
		return;
	}
	for (; i < end; i++)
		p[i] = (uint8_t)(res[i] + rounded(sum[i] + p[(ptrdiff_t)i - (ptrdiff_t)left] * one +
							p[(ptrdiff_t)i - 2 * (ptrdiff_t)left] * two));
}

void image_linear_restore(struct codec_work *w, const uint8_t *res, size_t len, const struct image_linear *m,
		uint8_t *raw)
{
	int32_t *sum = (int32_t *)(void *)w->other;
	const size_t left = m->left, up = m->up;
	size_t r = 0;

	for (size_t i = 0; i < m->first && i < len; i++)
		raw[i] = (uint8_t)(res[i] + (i < left ? 0 : raw[i - left]));
	for (size_t at = m->first; at < len; at += up, r++) {
		const struct image_kind *kinds = m->kind[row_kind(m, r)];
		const size_t stop[IMAGE_COLUMN_KINDS] = { left, 2 * left, up - left, up };
		const size_t n = len - at < up ? len - at : up;
		size_t i = 0;

		sum_above(raw + at, n, m, kinds, sum);
		for (unsigned c = 0; c < IMAGE_COLUMN_KINDS && i < n; c++) {
			size_t end = stop[c] < n ? stop[c] : n;

			if (left == 1)
				restore(sum, res + at, raw + at, i, end, 1, &kinds[c]);
			else
				restore(sum, res + at, raw + at, i, end, left, &kinds[c]);
			i = end;
		}
	}
}

/* --- the head ------------------------------------------------------------------------------------ */

static unsigned first_kind(const struct image_linear *m)
{
	return m->rows == 0 ? 2 : 0;
}

size_t image_linear_put(const struct image_linear *m, uint8_t *out)
{
	uint8_t *p = out + HEAD;

	out[0] = (uint8_t)m->left;
	codec_put16(out + 1, m->rows);
	codec_put32(out + 3, m->up);
	codec_put32(out + 7, m->first);
	codec_put16(out + 11, m->top);
	for (unsigned r = first_kind(m); r < IMAGE_ROW_KINDS; r++) {
		for (unsigned c = 0; c < IMAGE_COLUMN_KINDS; c++, p += KIND_BYTES) {
			for (unsigned i = 0; i < IMAGE_NEIGHBOURS; i++)
				codec_put16(p + 2 * i, (uint16_t)m->kind[r][c].weight[i]);
			codec_put32(p + 2 * IMAGE_NEIGHBOURS, (uint32_t)m->kind[r][c].constant);
		}
	}
	return (size_t)(p - out);
}

size_t image_linear_get(const uint8_t *in, size_t cap, struct image_linear *m)
{
	const uint8_t *p = in + HEAD;

	if (cap < HEAD)
		return 0;
	*m = (struct image_linear){ .left = in[0], .rows = codec_get16(in + 1), .up = codec_get32(in + 3),
		.first = codec_get32(in + 7), .top = codec_get16(in + 11) };
	if (m->left < 1 || m->up > IMAGE_ROW_MAX || m->up % m->left != 0 || m->up / m->left < IMAGE_PIXELS_MIN ||
			m->first < 2 * m->up || m->first >= 3 * m->up || m->rows == 1 ||
			(m->rows == 0 ? m->top != 0 : m->top >= m->rows))
		return 0;
	if (cap < HEAD + (IMAGE_ROW_KINDS - first_kind(m)) * (size_t)IMAGE_COLUMN_KINDS * KIND_BYTES)
		return 0;
	for (unsigned r = first_kind(m); r < IMAGE_ROW_KINDS; r++) {
		for (unsigned c = 0; c < IMAGE_COLUMN_KINDS; c++, p += KIND_BYTES) {
			struct image_kind *k = &m->kind[r][c];

			for (unsigned i = 0; i < IMAGE_NEIGHBOURS; i++)
				k->weight[i] = (int16_t)codec_get16(p + 2 * i);
			k->constant = (int32_t)codec_get32(p + 2 * IMAGE_NEIGHBOURS);
			if (k->constant < -CONSTANT_MAX || k->constant > CONSTANT_MAX)
				return 0;
		}
	}
	return (size_t)(p - in);
}
