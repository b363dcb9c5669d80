/*
 * file_same.c: what two files have in common, known from what their pieces name and not from their bytes.
 */
#include "file_internal.h"

static void lock_both(struct store_file *a, struct store_file *b)
{
	ckpt_rwlock_rdlock(a < b ? &a->lock : &b->lock);
	if (a != b)
		ckpt_rwlock_rdlock(a < b ? &b->lock : &a->lock);
}

static void unlock_both(struct store_file *a, struct store_file *b)
{
	pthread_rwlock_unlock(&a->lock);
	if (a != b)
		pthread_rwlock_unlock(&b->lock);
}

/* What is in memory only is not looked into. */
static bool same_segment(const struct segment *x, const struct segment *y)
{
	if (x->kind != y->kind || x->kind == SEG_MEMORY)
		return false;
	return x->kind == SEG_HOLE || (x->id == y->id && x->at == y->at);
}

int64_t store_file_same(struct store_file *a, uint64_t aoff, struct store_file *b, uint64_t boff, uint64_t len)
{
	uint64_t done = 0;
	int rc = 0;

	lock_both(a, b);
	if (aoff >= a->size || boff >= b->size) {
		len = 0;
	} else {
		len = len < a->size - aoff ? len : a->size - aoff;
		len = len < b->size - boff ? len : b->size - boff;
	}
	while (done < len) {
		struct segment x, y;

		rc = file_segment(a, aoff + done, aoff + len, &x);
		rc = rc ? rc : file_segment(b, boff + done, boff + len, &y);
		if (rc || !same_segment(&x, &y))
			break;
		done += x.len < y.len ? x.len : y.len;
	}
	unlock_both(a, b);
	return rc ? rc : (int64_t)done;
}
