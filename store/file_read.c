/*
 * file_read.c: finding and reading a file's bytes through the layers of file_internal.h.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "file_internal.h"

enum { AHEAD_WINDOW = 4 << 20, AHEAD_LONG = 64 << 10, AHEAD_IDS = 64 };

/* First block that ends behind off. */
static size_t block_after(const struct store_file *f, uint64_t off)
{
	size_t lo = 0, hi = f->nblocks;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->blocks[mid].cell * FILE_CELL + f->blocks[mid].hi > off)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* What the published manifest, or the draft, has at off. */
static int base_segment(struct store_file *f, uint64_t off, uint64_t end, struct segment *out)
{
	uint64_t version = f->draft ? f->draft : f->session && f->replacing ? 0 : f->version;
	uint64_t at;
	size_t lo, hi;
	int rc = 0;

	out->kind = SEG_HOLE;
	out->len = end - off;
	if (!version)
		return 0;
	ckpt_mutex_lock(&f->row_lock);
	if (f->row_version != version || off < f->row.off || off >= f->row.end) {
		manifest_row_release(&f->row);
		f->row_version = 0;
		meta_lock(f->s);
		rc = manifest_find(f->s, version, off, &f->row);
		meta_unlock(f->s);
		if (rc)
			goto out;
		f->row_version = version;
	}
	if (end > f->row.end)
		out->len = f->row.end - off;
	if (!f->row.n)
		goto out;
	/* Rows hold a few hundred pieces at most; walk them. */
	at = f->row.off;
	for (lo = 0, hi = f->row.n; lo < hi && at + f->row.pieces[lo].len <= off; lo++)
		at += f->row.pieces[lo].len;
	if (lo == hi)
		goto out;
	if (out->len > at + f->row.pieces[lo].len - off)
		out->len = at + f->row.pieces[lo].len - off;
	if (f->row.pieces[lo].id) {
		out->kind = SEG_PIECE;
		out->id = f->row.pieces[lo].id;
		out->at = f->row.pieces[lo].off + (uint32_t)(off - at);
	}
out:
	pthread_mutex_unlock(&f->row_lock);
	return rc;
}

int file_segment(struct store_file *f, uint64_t off, uint64_t end, struct segment *out)
{
	size_t i;
	int rc;

	memset(out, 0, sizeof(*out));
	if (f->late_len) {
		uint64_t from = f->tail_off + f->tail_len, stop = from + f->late_len;

		if (off >= from && off < stop) {
			out->kind = SEG_MEMORY;
			out->mem = f->late + (off - from);
			out->len = (stop < end ? stop : end) - off;
			return 0;
		}
		if (from > off && from < end)
			end = from;
	}
	if (f->tail_len) {
		if (off >= f->tail_off && off < f->tail_off + f->tail_len) {
			uint64_t n = f->tail_off + f->tail_len - off;

			out->kind = SEG_MEMORY;
			out->mem = f->tail + (off - f->tail_off);
			out->len = n < end - off ? n : end - off;
			return 0;
		}
		if (f->tail_off > off && f->tail_off < end)
			end = f->tail_off;
	}
	i = block_after(f, off);
	if (i < f->nblocks) {
		uint64_t start = f->blocks[i].cell * FILE_CELL, stop = start + f->blocks[i].hi;

		if (start <= off) {
			out->kind = SEG_MEMORY;
			out->mem = f->blocks[i].data + (off - start);
			out->len = (stop < end ? stop : end) - off;
			return 0;
		}
		if (start < end)
			end = start;
	}
	i = extents_find(&f->ext, off);
	if (i < f->ext.n) {
		const struct extent *e = &f->ext.v[i];

		if (e->off <= off) {
			uint64_t n = e->off + e->len - off;

			out->len = n < end - off ? n : end - off;
			if (e->job) {
				out->kind = SEG_MEMORY;
				out->mem = e->job->raw + e->at + (off - e->off);
			} else if (e->id) {
				out->kind = SEG_PIECE;
				out->id = e->id;
				out->at = e->at + (uint32_t)(off - e->off);
			} else {
				out->kind = SEG_HOLE;
			}
			return 0;
		}
		if (e->off < end)
			end = e->off;
	}
	if (f->inline_len && !(f->session && f->replacing) && !f->draft) {
		if (off >= f->inline_off && off < f->inline_off + f->inline_len) {
			uint64_t n = f->inline_off + f->inline_len - off;

			out->kind = SEG_MEMORY;
			out->mem = f->inline_data + (off - f->inline_off);
			out->len = n < end - off ? n : end - off;
			return 0;
		}
		if (f->inline_off > off && f->inline_off < end)
			end = f->inline_off;
	}
	rc = base_segment(f, off, end, out);
	return rc;
}

/* passing: by a reader who goes on and won't come back to what he has read. */
static int read_segments(struct store_file *f, uint64_t off, uint8_t *buf, size_t len, bool passing)
{
	uint64_t end = off + len;
	struct segment g;
	struct chunk_buf *c;
	int rc;

	while (off < end) {
		rc = file_segment(f, off, end, &g);
		if (rc)
			return rc;
		switch (g.kind) {
		case SEG_HOLE:
			memset(buf, 0, g.len);
			break;
		case SEG_MEMORY:
			memcpy(buf, g.mem, g.len);
			break;
		case SEG_PIECE:
			chunk_reader_came(f->s);
			rc = chunk_get(f->s, g.id, &c);
			if (rc)
				return rc;
			if (g.at > c->len || g.len > c->len - g.at) {
				chunk_put(c);
				return ckpt_fail(EIO, "chunk %llu is shorter than its manifest says", (unsigned long long)g.id);
			}
			memcpy(buf, c->data + g.at, g.len);
			if (passing && g.at + g.len == c->len)
				chunk_spent(f->s, g.id);
			chunk_put(c);
			break;
		}
		buf += g.len;
		off += g.len;
	}
	return 0;
}

int file_read_locked(struct store_file *f, uint64_t off, uint8_t *buf, size_t len)
{
	return read_segments(f, off, buf, len, false);
}

/*
 * Before a read: what it takes from other chunks than its first is asked for, so that they are decoded side by side, and
 * with them what will be read next.  A reader that goes on where an earlier one ended is sequential; one that begins
 * somewhere with a long read mostly is (a tensor is a jump and then a long way straight on), but may be a page fault in a
 * mapping.  What is remembered is advice; races between readers cost a useless prefetch at most.
 * Returns whether he goes on.
 */
static bool read_ahead(struct store_file *f, uint64_t off, uint64_t len)
{
	uint64_t ids[AHEAD_IDS], end = off + len, from = off, window;
	struct segment g;
	size_t n = 0;
	unsigned i;

	for (i = 0; i < 4; i++)
		if (atomic_load_explicit(&f->read_end[i], memory_order_relaxed) == off && off)
			break;
	atomic_store_explicit(&f->read_end[i < 4 ? i : (off >> 20) & 3], end, memory_order_relaxed);
	if (i < 4) {
		window = AHEAD_WINDOW;
		from = atomic_load_explicit(&f->ahead, memory_order_relaxed);
		if (from < off || from > end + 2 * AHEAD_WINDOW)
			from = off;
	} else {
		window = len < AHEAD_LONG ? 0 : off ? len : 4 * len;
		if (window > AHEAD_WINDOW)
			window = AHEAD_WINDOW;
	}
	bool goes_on = window > 0;
	uint64_t to = window < f->size - end ? end + window : f->size;

	if (from >= to || (from > end + AHEAD_WINDOW / 2 && to < f->size))
		return goes_on; /* half the window is still ahead of the reader */
	atomic_store_explicit(&f->ahead, to, memory_order_relaxed);
	while (from < to && n < AHEAD_IDS) {
		if (file_segment(f, from, to, &g))
			break;
		/* The first is read by who asks for it. */
		if (g.kind == SEG_PIECE && from > off && (!n || ids[n - 1] != g.id))
			ids[n++] = g.id;
		from += g.len;
	}
	if (n)
		chunk_prefetch(f->s, ids, n);
	return goes_on;
}

ssize_t store_file_read(struct store_file *f, uint64_t off, void *buf, size_t len)
{
	ssize_t rc;

	if (len > PTRDIFF_MAX)
		len = PTRDIFF_MAX;
	ckpt_rwlock_rdlock(&f->lock);
	if (off >= f->size) {
		len = 0;
	} else if (len > f->size - off) {
		len = (size_t)(f->size - off);
	}
	rc = len ? read_segments(f, off, buf, len, read_ahead(f, off, len)) : 0;
	pthread_rwlock_unlock(&f->lock);
	return rc ? rc : (ssize_t)len;
}

/* The first place from `off` on that is a hole, or is none; the size if there is no such place. Lock held. */
static int skip_segments(struct store_file *f, uint64_t *off, bool holes)
{
	struct segment g;

	while (*off < f->size) {
		int rc = file_segment(f, *off, f->size, &g);

		if (rc)
			return rc;
		if ((g.kind == SEG_HOLE) != holes)
			return 0;
		*off += g.len;
	}
	*off = f->size;
	return 0;
}

/*
 * Holes are told in whole cells, like the blocks of a disk's filesystem: what a random write touches becomes data by
 * the cell when it is published, and a hole that was shown must not vanish by that.
 */
static int seek_hole(struct store_file *f, uint64_t off, uint64_t *out)
{
	uint64_t cell = off & ~(uint64_t)(FILE_CELL - 1), data;
	int rc;

	while (cell < f->size) {
		data = cell;
		rc = skip_segments(f, &data, true);
		if (rc)
			return rc;
		if (data - cell >= FILE_CELL || data == f->size)
			break;
		rc = skip_segments(f, &data, false);
		if (rc)
			return rc;
		cell = data == f->size ? data : (data + FILE_CELL - 1) & ~(uint64_t)(FILE_CELL - 1);
	}
	if (cell > f->size)
		cell = f->size; /* the hole behind the end */
	*out = off > cell ? off : cell;
	return 0;
}

int store_file_seek(struct store_file *f, uint64_t off, int whence, uint64_t *out)
{
	uint64_t at = off & ~(uint64_t)(FILE_CELL - 1);
	int rc;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return ckpt_fail(EINVAL, "lseek: whence %d is neither SEEK_DATA nor SEEK_HOLE", whence);
	ckpt_rwlock_rdlock(&f->lock);
	if (off >= f->size) {
		rc = -ENXIO;
	} else if (whence == SEEK_HOLE) {
		rc = seek_hole(f, off, out);
	} else {
		rc = skip_segments(f, &at, true);
		if (!rc && at == f->size)
			rc = -ENXIO;
		at &= ~(uint64_t)(FILE_CELL - 1);
		if (!rc)
			*out = off > at ? off : at;
	}
	pthread_rwlock_unlock(&f->lock);
	return rc;
}
