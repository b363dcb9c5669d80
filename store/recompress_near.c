/*
 * recompress_near.c: see recompress_internal.h.
 *
 * Heads of containers grow and shrink, so that tensors lie some bytes before or behind where they lay.  Each neighbour
 * remembers by how much: the next piece is expected at the same distance, and when it is not there the nearest one of
 * its length within reach moves the distance.  Pieces are cut at tensors and every 256 KiB, so lengths tell them apart
 * only roughly, but their order does the rest.
 */
#include <stdlib.h>

#include "meta_internal.h"
#include "recompress_internal.h"
#include "store_internal.h"

enum {
	REACH = 1 << 20,           /* a piece further from where it is expected is another one */
	ALIKE = 64,                /* sizes that differ by this part may be of one kind */
};

void near_release(struct near *n)
{
	for (unsigned i = 0; i < NEAR_FILES; i++)
		manifest_row_release(&n->with[i].row);
	*n = (struct near){ 0 };
}

static void take(struct near *n, uint64_t version)
{
	struct neighbour *w = &n->with[n->nwith++];

	w->version = version;
	w->shift = 0;
	manifest_row_release(&w->row);
	w->row = (struct manifest_row){ 0 };
}

static bool taken(const struct near *n, uint64_t version)
{
	for (unsigned i = 0; i < n->nwith; i++)
		if (n->with[i].version == version)
			return true;
	return false;
}

void near_begin(struct near *n, uint64_t version, uint64_t size)
{
	n->nwith = 0;
	if (size < NEAR_MIN)
		return;
	/* The latest of exactly this size, then the latest of about this size. */
	for (int exact = 1; exact >= 0; exact--) {
		for (unsigned i = 1; i <= n->n && n->nwith < NEAR_FILES; i++) {
			unsigned at = (n->at + NEAR_RECENT - i) % NEAR_RECENT;
			uint64_t other = n->recent[at].size, apart = other > size ? other - size : size - other;

			if ((exact ? apart == 0 : apart <= size / ALIKE) && !taken(n, n->recent[at].version))
				take(n, n->recent[at].version);
		}
	}
	n->recent[n->at].version = version;
	n->recent[n->at].size = size;
	n->at = (n->at + 1) % NEAR_RECENT;
	n->n += n->n < NEAR_RECENT;
}

/* The row of a neighbour that covers `off`. Meta lock held. */
static bool find_row(struct store *s, struct neighbour *w, uint64_t off)
{
	if (w->row.n && off >= w->row.off && off < w->row.end)
		return true;
	manifest_row_release(&w->row);
	w->row = (struct manifest_row){ 0 };
	if (manifest_find(s, w->version, off, &w->row))
		w->row.n = 0; /* a guess less */
	return w->row.n > 0;
}

static uint64_t find_one(struct store *s, struct neighbour *w, uint64_t off, uint64_t len)
{
	int64_t want = (int64_t)off + w->shift, best = REACH, at;
	uint64_t id = 0;

	if (want < 0)
		want = 0;
	if (!find_row(s, w, (uint64_t)want))
		return 0;
	at = (int64_t)w->row.off;
	for (size_t i = 0; i < w->row.n; i++) {
		const struct piece *p = &w->row.pieces[i];
		int64_t apart = at > want ? at - want : want - at;

		if (p->id && p->off == 0 && p->len == len && apart < best) {
			best = apart;
			id = p->id;
			w->shift = at - (int64_t)off;
		}
		at += (int64_t)p->len;
	}
	return id;
}

size_t near_find(struct store *s, struct near *n, uint64_t off, uint64_t len, uint64_t *ids)
{
	size_t found = 0;

	if (n->nwith == 0 || off > INT64_MAX / 2)
		return 0;
	meta_lock(s);
	for (unsigned i = 0; i < n->nwith; i++) {
		uint64_t id = find_one(s, &n->with[i], off, len);

		if (id && (found == 0 || ids[0] != id))
			ids[found++] = id;
	}
	meta_unlock(s);
	return found;
}
