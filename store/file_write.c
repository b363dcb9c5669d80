/*
 * file_write.c: how written bytes find their layer.
 *
 * A stream is a run of writes that each go on where the one before ended.  Its bytes pass the cutter once and
 * leave as chunks while the file is still being written; only what lies behind the last cut (the tail) is in
 * memory.  A stream begins at the end of the file, in a hole (safetensors sets the final size first), or where a
 * write is large.  Everything else is a random write and goes to blocks: cells of 64 KiB, read once, kept in memory
 * until publish or until memory is short, and then stored as chunks of their own.  A zip writer that seeks back to
 * fill in a header makes one block and leaves the stream alone.
 *
 * Whoever can (the FUSE adapter) answers the writer of a stream first, and lets the bytes pass while that one
 * prepares its next write.  Until then they are late: the topmost layer, lying in the request's own buffer.
 *
 *      write: in order? room? --> late, answered --> file_settle(): tail, cutter, chunks
 *
 * Whoever takes the file's lock to change something settles what is late first, whose ever it is, so that no other
 * function has to know of it, and the owner of the buffer gives it back to the kernel's requests only after he has
 * had the lock again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "file_internal.h"

static void count_dirty(struct store_file *f, int64_t bytes)
{
	atomic_fetch_add_explicit(&f->s->files->dirty, bytes, memory_order_relaxed);
}

/* --- blocks -------------------------------------------------------------------------------------- */

/* Index of the first block whose cell is not below `cell`. */
static size_t block_index(const struct store_file *f, uint64_t cell)
{
	size_t lo = 0, hi = f->nblocks;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->blocks[mid].cell < cell)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void block_remove(struct store_file *f, size_t i)
{
	count_dirty(f, -(int64_t)f->blocks[i].cap);
	free(f->blocks[i].data);
	memmove(&f->blocks[i], &f->blocks[i + 1], (f->nblocks - i - 1) * sizeof(*f->blocks));
	f->nblocks--;
}

static int block_room(struct store_file *f, struct block *b, uint32_t hi)
{
	uint32_t cap = (hi + 4095) & ~4095u;
	uint8_t *p;

	if (cap <= b->cap)
		return 0;
	p = realloc(b->data, cap);
	if (!p)
		return ckpt_fail(ENOMEM, "no memory for a block of a file");
	count_dirty(f, (int64_t)cap - b->cap);
	b->data = p;
	b->cap = cap;
	return 0;
}

/* Fills bytes [from, to) of the block with what the file has there. */
static int block_fill(struct store_file *f, struct block *b, uint32_t from, uint32_t to)
{
	uint64_t start = b->cell * FILE_CELL + from;
	size_t have = 0;
	int rc;

	if (from >= to)
		return 0;
	if (start < f->size)
		have = f->size - start < to - from ? (size_t)(f->size - start) : to - from;
	rc = have ? file_read_locked(f, start, b->data + from, have) : 0;
	memset(b->data + from + have, 0, to - from - have);
	return rc;
}

/* Writes len bytes within one cell to its block, which is made and filled where it isn't there. */
static int block_write(struct store_file *f, uint64_t off, const uint8_t *buf, uint32_t len)
{
	uint64_t cell = off / FILE_CELL, end = f->size > off + len ? f->size : off + len;
	uint32_t from = (uint32_t)(off % FILE_CELL), to = from + len, hi;
	size_t i = block_index(f, cell);
	struct block *b, n = { .cell = cell };
	int rc;

	if (i == f->nblocks || f->blocks[i].cell != cell) {
		hi = end - cell * FILE_CELL < FILE_CELL ? (uint32_t)(end - cell * FILE_CELL) : FILE_CELL;
		rc = block_room(f, &n, hi);
		if (!rc)
			rc = block_fill(f, &n, 0, from);
		if (!rc)
			rc = block_fill(f, &n, to, hi);
		if (!rc && f->nblocks == f->cap_blocks) {
			size_t cap = f->cap_blocks ? f->cap_blocks * 2 : 4;
			struct block *p = realloc(f->blocks, cap * sizeof(*p));

			if (p) {
				f->blocks = p;
				f->cap_blocks = cap;
			} else {
				rc = ckpt_fail(ENOMEM, "no memory for the blocks of a file");
			}
		}
		if (rc) {
			count_dirty(f, -(int64_t)n.cap);
			free(n.data);
			return rc;
		}
		n.hi = hi;
		memmove(&f->blocks[i + 1], &f->blocks[i], (f->nblocks - i) * sizeof(*f->blocks));
		f->blocks[i] = n;
		f->nblocks++;
	}
	b = &f->blocks[i];
	if (to > b->hi) {
		rc = block_room(f, b, to);
		if (!rc)
			rc = block_fill(f, b, b->hi, from);
		if (rc)
			return rc;
		b->hi = to;
	}
	memcpy(b->data + from, buf, len);
	return 0;
}

/* Keeps blocks right that lie over a range which another layer takes; those covered whole are dropped. */
static void blocks_patch(struct store_file *f, uint64_t off, const uint8_t *buf, uint64_t len)
{
	uint64_t end = off + len;
	size_t i = block_index(f, off / FILE_CELL);

	while (i < f->nblocks && f->blocks[i].cell * FILE_CELL < end) {
		struct block *b = &f->blocks[i];
		uint64_t start = b->cell * FILE_CELL, stop = start + b->hi;
		uint64_t a = start > off ? start : off, z = stop < end ? stop : end;

		if (off <= start && stop <= end) {
			block_remove(f, i);
			continue;
		}
		if (a < z) {
			if (buf)
				memcpy(b->data + (a - start), buf + (a - off), z - a);
			else
				memset(b->data + (a - start), 0, z - a);
		}
		i++;
	}
}

int file_flush_blocks(struct store_file *f, uint64_t from, uint64_t end)
{
	size_t i = block_index(f, from / FILE_CELL);
	int rc;

	while (i < f->nblocks && f->blocks[i].cell * FILE_CELL < end) {
		struct block b = f->blocks[i];
		uint64_t off = b.cell * FILE_CELL;

		/* The block leaves the list first, so that nothing sees it twice; its bytes go on in the job. */
		count_dirty(f, -(int64_t)b.cap);
		memmove(&f->blocks[i], &f->blocks[i + 1], (f->nblocks - i - 1) * sizeof(*f->blocks));
		f->nblocks--;
		rc = file_submit(f, off, b.data, b.hi, NULL);
		if (!rc)
			rc = file_tidy(f);
		if (rc)
			return rc;
	}
	return 0;
}

/* --- the stream ---------------------------------------------------------------------------------- */

static void drop_tail(struct store_file *f)
{
	codec_cutter_free(f->cutter);
	f->cutter = NULL;
	count_dirty(f, -(int64_t)f->tail_cap);
	free(f->tail);
	f->tail = NULL;
	f->tail_len = f->tail_cap = 0;
}

void file_drop_memory(struct store_file *f)
{
	f->late = NULL;
	f->late_len = 0;
	drop_tail(f);
	while (f->nblocks)
		block_remove(f, f->nblocks - 1);
	free(f->blocks);
	f->blocks = NULL;
	f->cap_blocks = 0;
}

/* The tail but for its last cut->behind bytes becomes a chunk; the stream goes on behind that. */
static int cut_tail(struct store_file *f, const struct codec_cut *cut)
{
	uint64_t off = f->tail_off;
	uint32_t len = f->tail_len, rest = cut->behind < len ? cut->behind : 0;
	uint8_t *raw = f->tail, *next = NULL, *p;

	if (rest) {
		next = malloc(rest);
		if (!next)
			return ckpt_fail(ENOMEM, "no memory to write");
		len -= rest;
		memcpy(next, raw + len, rest);
	}
	count_dirty(f, (int64_t)rest - f->tail_cap);
	if (f->tail_cap - len > len / 8 && (p = realloc(raw, len)))
		raw = p;
	f->tail = next;
	f->tail_cap = f->tail_len = rest;
	f->tail_off += len;
	return file_submit(f, off, raw, len, cut);
}

static int tail_add(struct store_file *f, const uint8_t *buf, uint32_t len)
{
	uint32_t need = f->tail_len + len, cap = f->tail_cap;
	uint8_t *p;

	if (need > cap) {
		/* Far into a stream chunks are large: a tail that grows by doubling copies each byte once more. */
		if (cap == 0 && f->tail_off >= CODEC_CUT_PIECE)
			cap = CODEC_CUT_PIECE + CODEC_CUT_OWN;
		else
			cap = cap * 2 < 4096 ? 4096 : cap * 2;
		if (cap < need)
			cap = need;
		if (cap > CODEC_CHUNK_MAX)
			cap = CODEC_CHUNK_MAX;
		p = realloc(f->tail, cap);
		if (!p)
			return ckpt_fail(ENOMEM, "no memory to write");
		count_dirty(f, (int64_t)cap - f->tail_cap);
		f->tail = p;
		f->tail_cap = cap;
	}
	memcpy(f->tail + f->tail_len, buf, len);
	f->tail_len = need;
	return 0;
}

int file_start_stream(struct store_file *f, uint64_t off)
{
	int rc = file_end_stream(f);

	if (!rc)
		rc = codec_cutter_new(off, &f->cutter);
	if (!rc)
		f->tail_off = off;
	return rc;
}

/* The stream goes on with the first *k of the bytes, to the next cut at most. */
static int stream_piece(struct store_file *f, const uint8_t *buf, size_t len, size_t *k, bool *cut_here)
{
	struct codec_cut cut;
	int rc;

	*k = codec_cut_feed(f->cutter, buf, len, &cut);
	*cut_here = cut.end;
	rc = tail_add(f, buf, (uint32_t)*k);
	return !rc && cut.end ? cut_tail(f, &cut) : rc;
}

int file_stream(struct store_file *f, const uint8_t *buf, size_t len)
{
	bool cut;
	size_t k;
	int rc;

	while (len) {
		rc = stream_piece(f, buf, len, &k, &cut);
		if (!rc && cut)
			rc = file_tidy(f);
		if (rc)
			return rc;
		buf += k;
		len -= k;
	}
	return 0;
}

void file_late(struct store_file *f, const uint8_t *buf, uint32_t len)
{
	blocks_patch(f, f->tail_off + f->tail_len, buf, len);
	f->late = buf;
	f->late_len = len;
	f->late_size = f->size;
}

void file_settle(struct store_file *f)
{
	const uint8_t *buf = f->late;
	size_t len = f->late_len, k;
	bool cut;
	int rc = 0;

	f->late = NULL;
	f->late_len = 0;
	while (len && !rc) {
		rc = stream_piece(f, buf, len, &k, &cut);
		if (!rc && cut)
			file_tidy(f);
		buf += k;
		len -= k;
	}
	if (!rc)
		return;
	if (!f->error)
		f->error = -rc;
	if (f->size > f->late_size) {
		f->size = f->late_size;
		file_cut_off(f, f->size);
	}
}

int file_end_stream(struct store_file *f)
{
	struct codec_cut cut = { 0 };
	int rc = 0;

	if (!f->cutter)
		return 0;
	if (f->tail_len) {
		codec_cut_end(f->cutter, &cut);
		rc = cut_tail(f, &cut);
		if (!rc)
			rc = file_tidy(f);
	}
	drop_tail(f);
	return rc;
}

/* The stream's bytes are fewer, or others, than the cutter saw: it starts anew with what the tail holds. */
static int restart_tail(struct store_file *f)
{
	uint8_t *bytes = f->tail;
	uint32_t len = f->tail_len, cap = f->tail_cap;
	uint64_t off = f->tail_off;
	int rc;

	f->tail = NULL;
	f->tail_len = f->tail_cap = 0;
	drop_tail(f);
	rc = file_start_stream(f, off);
	if (!rc)
		rc = file_stream(f, bytes, len);
	/* They were acknowledged and are gone, as in submit(). */
	if (rc && !f->error)
		f->error = -rc;
	count_dirty(f, -(int64_t)cap);
	free(bytes);
	return rc;
}

/*
 * A stream at the end of the file.  When the last piece is a short one, its bytes go into the tail again, so that a
 * file that grows by lines does not become a row of tiny chunks.
 */
static int stream_at_end(struct store_file *f)
{
	uint64_t from = f->size > FILE_TAIL_MAX / 2 ? f->size - FILE_TAIL_MAX / 2 : 0, off, last = f->size;
	struct segment g = { 0 };
	uint8_t *bytes;
	int rc;

	for (off = from; off < f->size; off += g.len) {
		rc = file_segment(f, off, f->size, &g);
		if (rc)
			return rc;
		last = off;
	}
	if (last == f->size || g.kind != SEG_PIECE || g.at != 0)
		return file_start_stream(f, f->size);
	bytes = malloc(f->size - last);
	if (!bytes)
		return ckpt_fail(ENOMEM, "no memory to append");
	rc = file_read_locked(f, last, bytes, f->size - last);
	if (!rc)
		rc = file_start_stream(f, last);
	if (!rc)
		rc = file_stream(f, bytes, f->size - last);
	free(bytes);
	return rc;
}

/* Begins a stream for a write outside the present one where that pays; *started tells. */
static int maybe_stream(struct store_file *f, uint64_t off, size_t len, bool *started)
{
	struct segment g;
	int rc;

	*started = false;
	if (f->cutter && len < FILE_STREAM_MIN)
		return 0;
	if (off == f->size) {
		rc = stream_at_end(f);
	} else {
		if (len < FILE_STREAM_MIN && off < f->size) {
			rc = file_segment(f, off, f->size, &g);
			if (rc || g.kind != SEG_HOLE)
				return rc;
		}
		rc = file_start_stream(f, off);
	}
	*started = !rc;
	return rc;
}

int file_write_locked(struct store_file *f, uint64_t off, const uint8_t *buf, size_t len)
{
	bool started;
	int rc;

	while (len) {
		uint64_t tail_end = f->tail_off + f->tail_len;
		size_t n = len;

		if (f->cutter && off >= f->tail_off && off <= tail_end) {
			n = off + len <= tail_end ? len : (size_t)(tail_end - off);
			blocks_patch(f, off, buf, len);
			if (n)
				memcpy(f->tail + (off - f->tail_off), buf, n);
			return len > n ? file_stream(f, buf + n, len - n) : 0;
		}
		rc = maybe_stream(f, off, len, &started);
		if (rc)
			return rc;
		if (started)
			continue;
		if (f->cutter && off < f->tail_off && off + len > f->tail_off)
			n = (size_t)(f->tail_off - off); /* the rest lies in the tail */
		if (n > FILE_CELL - off % FILE_CELL)
			n = FILE_CELL - off % FILE_CELL;
		rc = block_write(f, off, buf, (uint32_t)n);
		if (rc)
			return rc;
		off += n;
		buf += n;
		len -= n;
		if (off > f->size)
			f->size = off; /* the next block's filling must see it */
	}
	return 0;
}

int file_cut_off(struct store_file *f, uint64_t size)
{
	struct extent hole = { .off = size, .len = INT64_MAX - size };
	int rc;

	rc = extents_put(f->s, &f->ext, &hole);
	if (rc)
		return rc;
	while (f->nblocks) {
		struct block *b = &f->blocks[f->nblocks - 1];
		uint64_t start = b->cell * FILE_CELL;

		if (start + b->hi <= size)
			break;
		if (start < size) {
			b->hi = (uint32_t)(size - start);
			break;
		}
		block_remove(f, f->nblocks - 1);
	}
	if (f->cutter && f->tail_off + f->tail_len > size) {
		if (f->tail_off >= size) {
			drop_tail(f);
		} else {
			f->tail_len = (uint32_t)(size - f->tail_off);
			rc = restart_tail(f);
		}
	}
	return rc;
}

int file_punch_locked(struct store_file *f, uint64_t off, uint64_t end)
{
	struct extent hole = { .off = off, .len = end - off };
	int rc;

	if (f->cutter && off < f->tail_off + f->tail_len && end > f->tail_off) {
		uint64_t a = off > f->tail_off ? off - f->tail_off : 0;
		uint64_t z = end - f->tail_off < f->tail_len ? end - f->tail_off : f->tail_len;

		if (a == 0 && z == f->tail_len)
			drop_tail(f); /* all of it is a hole now: it must not hide that */
		else
			memset(f->tail + a, 0, z - a);
	}
	rc = extents_put(f->s, &f->ext, &hole);
	if (!rc)
		blocks_patch(f, off, NULL, end - off);
	return rc;
}
