/*
 * file_clone.c: sharing pieces between files (copy_file_range).
 *
 * Stored pieces are shared by naming them again; what is only in memory (a tail, blocks, chunks under way, a small file) is copied.
 */
#include <errno.h>
#include <string.h>

#include "file_internal.h"

/* Both files' locks, in the order of their addresses: src for reading, dst exclusive. */
static void lock_both(struct store_file *src, struct store_file *dst)
{
	if (src == dst) {
		file_lock(dst);
	} else if (src < dst) {
		ckpt_rwlock_rdlock(&src->lock);
		file_lock(dst);
	} else {
		file_lock(dst);
		ckpt_rwlock_rdlock(&src->lock);
	}
}

static void unlock_both(struct store_file *src, struct store_file *dst)
{
	pthread_rwlock_unlock(&dst->lock);
	if (src != dst)
		pthread_rwlock_unlock(&src->lock);
}

/* Puts one segment of src at off of dst. */
static int put_segment(struct store_file *src, const struct segment *g, struct store_file *dst, uint64_t off)
{
	struct extent e = { .off = off, .len = g->len, .id = g->id, .at = g->at };
	int rc;

	if (g->kind == SEG_MEMORY) {
		/* In one file the bytes may move while they are written: go through a copy. */
		static __thread uint8_t copy[16 << 10];
		uint64_t done, n;

		for (done = 0; done < g->len; done += n) {
			n = g->len - done < sizeof(copy) ? g->len - done : sizeof(copy);
			memcpy(copy, g->mem + done, n);
			rc = file_write_locked(dst, off + done, copy, n);
			if (rc)
				return rc;
			if (dst->size < off + done + n)
				dst->size = off + done + n;
			if (src == dst)
				return 1; /* the rest is looked up again */
		}
		return 0;
	}
	/* Nothing in memory may lie over the range. */
	if (dst->cutter && off < dst->tail_off + dst->tail_len && off + g->len > dst->tail_off) {
		rc = file_end_stream(dst);
		if (rc)
			return rc;
	}
	rc = file_flush_blocks(dst, off, off + g->len);
	if (rc)
		return rc;
	/* A stream that stops where the clone begins would go on behind it otherwise. */
	if (dst->cutter && dst->tail_off + dst->tail_len == off) {
		rc = file_end_stream(dst);
		if (rc)
			return rc;
	}
	rc = extents_put(dst->s, &dst->ext, &e);
	if (rc)
		return rc;
	if (dst->size < off + g->len)
		dst->size = off + g->len;
	return file_spill(dst);
}

int64_t store_file_clone(struct store_file *src, uint64_t soff, struct store_file *dst, uint64_t doff, uint64_t len)
{
	struct segment g;
	uint64_t done = 0, copied;
	int rc = 0;

	if (dst->readonly)
		return ckpt_fail(EROFS, "the store is read-only");
	if (doff > INT64_MAX || len > INT64_MAX - doff)
		return ckpt_fail(EFBIG, "a file can't be larger than 2^63-1 bytes");
	lock_both(src, dst);
	if (soff >= src->size)
		len = 0;
	else if (len > src->size - soff)
		len = src->size - soff;
	if (src == dst && len && soff < doff + len && doff < soff + len) {
		rc = ckpt_fail(EINVAL, "the ranges of a copy within one file overlap");
		goto out;
	}
	if (len)
		rc = dst->error ? -dst->error : store_space_check(dst->s, 0);
	if (!rc && len)
		rc = file_begin(dst, false);
	if (rc || !len)
		goto out;
	if (doff < dst->size)
		dst->appended = false;
	if (src->batch_lo && (!dst->batch_lo || src->batch_lo < dst->batch_lo))
		dst->batch_lo = src->batch_lo;
	if (src->batch_hi > dst->batch_hi)
		dst->batch_hi = src->batch_hi;
	while (!rc && done < len) {
		uint64_t size = dst->size;

		rc = file_segment(src, soff + done, soff + len, &g);
		if (rc)
			break;
		copied = g.len;
		if (src == dst && g.kind == SEG_MEMORY && copied > 16 << 10)
			copied = g.len = 16 << 10;
		rc = put_segment(src, &g, dst, doff + done);
		if (rc == 1)
			rc = 0;
		if (rc)
			dst->size = size;
		else
			done += copied;
	}
	dst->written += done;
out:
	unlock_both(src, dst);
	return done ? (int64_t)done : rc;
}
