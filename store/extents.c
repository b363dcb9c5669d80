/*
 * extents.c: the sorted array of unpublished pieces.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "extents_internal.h"
#include "store_internal.h"

size_t extents_find(const struct extents *x, uint64_t off)
{
	size_t lo = 0, hi = x->n;

	if (x->n && off >= x->v[x->n - 1].off + x->v[x->n - 1].len)
		return x->n; /* the common case: a stream appends */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (x->v[mid].off + x->v[mid].len > off)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* Takes what an extent holds: a pin or a reference. */
static int hold(struct store *s, const struct extent *e)
{
	if (e->job) {
		chunk_job_ref(e->job);
		return 0;
	}
	return e->id ? chunk_pin(s, e->id) : 0;
}

static void drop(struct store *s, const struct extent *e)
{
	if (e->job)
		chunk_job_unref(e->job);
	else if (e->id)
		chunk_unpin(s, e->id);
}

/* Room for two more: an insertion adds one, and may split another. */
static int grow(struct extents *x)
{
	size_t cap = x->cap ? x->cap * 2 : 16;
	struct extent *v;

	if (x->n + 2 <= x->cap)
		return 0;
	v = realloc(x->v, cap * sizeof(*v));
	if (!v)
		return ckpt_fail(ENOMEM, "no memory for the changes of a file");
	x->v = v;
	x->cap = cap;
	return 0;
}

static void insert_at(struct extents *x, size_t i, const struct extent *e)
{
	memmove(&x->v[i + 1], &x->v[i], (x->n - i) * sizeof(*x->v));
	x->v[i] = *e;
	x->n++;
}

/* Two extents that are one run of the same thing. */
static bool joins(const struct extent *a, const struct extent *b)
{
	if (a->off + a->len != b->off || a->id != b->id || a->job != b->job)
		return false;
	return (!a->id && !a->job) || a->at + a->len == b->at;
}

int extents_put(struct store *s, struct extents *x, const struct extent *e)
{
	uint64_t end = e->off + e->len;
	size_t i, j, k;
	int rc;

	if (!e->len)
		return 0;
	rc = grow(x);
	if (rc)
		return rc;
	rc = hold(s, e);
	if (rc)
		return rc;
	i = extents_find(x, e->off);
	if (i < x->n && x->v[i].off < e->off) {
		struct extent *a = &x->v[i];

		if (a->off + a->len > end) { /* lies within one: its rest goes behind */
			struct extent rest = *a;

			rc = hold(s, &rest);
			if (rc) {
				drop(s, e);
				return rc;
			}
			rest.at += rest.id || rest.job ? (uint32_t)(end - a->off) : 0;
			rest.off = end;
			rest.len = a->off + a->len - end;
			a->len = e->off - a->off;
			insert_at(x, i + 1, &rest);
		} else {
			a->len = e->off - a->off;
		}
		i++;
	}
	for (j = i; j < x->n && x->v[j].off + x->v[j].len <= end; j++)
		;
	if (j < x->n && x->v[j].off < end) {
		struct extent *b = &x->v[j];
		uint64_t cut = end - b->off;

		b->off += cut;
		b->len -= cut;
		b->at += b->id || b->job ? (uint32_t)cut : 0;
	}
	for (k = i; k < j; k++)
		drop(s, &x->v[k]);
	if (i > 0 && joins(&x->v[i - 1], e)) {
		x->v[i - 1].len += e->len;
		drop(s, e);
		memmove(&x->v[i], &x->v[j], (x->n - j) * sizeof(*x->v));
		x->n -= j - i;
		return 0;
	}
	if (j > i) {
		x->v[i] = *e;
		memmove(&x->v[i + 1], &x->v[j], (x->n - j) * sizeof(*x->v));
		x->n -= j - i - 1;
	} else {
		insert_at(x, i, e);
	}
	return 0;
}

int extents_settle(struct store *s, struct extents *x, uint64_t off, uint64_t len, struct chunk_job *job)
{
	size_t i;
	int rc;

	for (i = extents_find(x, off); i < x->n && x->v[i].off < off + len; i++) {
		struct extent *e = &x->v[i];

		if (e->job != job)
			continue;
		rc = chunk_pin(s, job->id);
		if (rc)
			return rc;
		e->id = job->id;
		e->job = NULL;
		chunk_job_unref(job);
	}
	return 0;
}

void extents_clear(struct store *s, struct extents *x)
{
	size_t i;

	for (i = 0; i < x->n; i++)
		drop(s, &x->v[i]);
	free(x->v);
	memset(x, 0, sizeof(*x));
}
