/*
 * page_sums.c: see page_sums_internal.h.
 *
 * A WAL is a header of 32 bytes and frames, each a header of 24 bytes, which begins with the page's number,
 * and the page (https://www.sqlite.org/fileformat2.html#walformat).  SQLite writes header and page of a
 * frame one after the other, later perhaps one of the two anew, and reads pages alone, or whole frames.
 * Any other piece that is written makes the frames it touches unknown again.  A new header begins the WAL
 * anew: frames that are still behind it count no more.
 */
#include "page_sums_internal.h"

#include <stdlib.h>
#include <string.h>

#include "codec/codec_hash.h"

enum { WAL_HEADER = 32, FRAME_HEADER = 24, WAL_PAGE_SIZE_AT = 8, RESERVED_AT = 20, FRAMES_FIRST = 256 };

static bool is_page_size(int64_t n)
{
	return n >= 512 && n <= 65536 && (n & (n - 1)) == 0;
}

static uint32_t big_endian(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* --- of a database ----------------------------------------------------------------------------------- */

int page_sums_marked(const uint8_t header[PAGE_HEADER])
{
	static const char magic[16] = "SQLite format 3";

	return memcmp(header, magic, sizeof magic) != 0 ? -1 : header[RESERVED_AT] == PAGE_SUM;
}

static uint64_t sum_of(const uint8_t *page, size_t size, uint32_t number)
{
	return (uint64_t)codec_check(page, size - PAGE_SUM) + number;
}

void page_sum_put(uint8_t *page, size_t size, uint32_t number)
{
	uint64_t sum = sum_of(page, size, number);

	for (int i = 0; i < PAGE_SUM; i++)
		page[size - PAGE_SUM + (size_t)i] = (uint8_t)(sum >> 8 * i);
}

bool page_sum_good(const uint8_t *page, size_t size, uint32_t number)
{
	uint64_t sum = 0;

	for (int i = 0; i < PAGE_SUM; i++)
		sum |= (uint64_t)page[size - PAGE_SUM + (size_t)i] << 8 * i;
	return sum == sum_of(page, size, number);
}

bool page_is_whole(int n, int64_t off, uint32_t *number)
{
	if (!is_page_size(n) || off < 0 || off % n != 0 || off / n >= UINT32_MAX)
		return false;
	*number = (uint32_t)(off / n) + 1;
	return true;
}

/* --- of a WAL ---------------------------------------------------------------------------------------- */

void wal_sums_free(struct wal_sums *w)
{
	free(w->frame);
	*w = (struct wal_sums){ 0 };
}

/* The header says how long pages are. */
static void begin(struct wal_sums *w, const uint8_t *header)
{
	int64_t page = big_endian(header + WAL_PAGE_SIZE_AT);

	w->page = is_page_size(page) ? (int)page : 0;
}

/* Frame i, which may be new then; NULL: no memory. */
static struct wal_frame *frame_at(struct wal_sums *w, size_t i)
{
	if (i >= w->cap) {
		size_t cap = w->cap ? w->cap : FRAMES_FIRST;

		while (cap <= i)
			cap *= 2;
		struct wal_frame *more = realloc(w->frame, cap * sizeof *more);
		if (!more)
			return NULL;
		w->frame = more;
		w->cap = cap;
	}
	if (i >= w->n) {
		memset(w->frame + w->n, 0, (i + 1 - w->n) * sizeof *w->frame);
		w->n = i + 1;
	}
	return &w->frame[i];
}

/*
 * Where a piece of n bytes lies: its first frame into *frame; the offset of a page in it, or -1: it has
 * none; whether it has a frame's header.  False: it is not made of such pieces.
 */
static bool take_apart(
		const struct wal_sums *w, int n, int64_t off, size_t *frame, int *page_at, bool *header)
{
	int64_t size = FRAME_HEADER + w->page, in = (off - WAL_HEADER) % size;

	*frame = (size_t)((off - WAL_HEADER) / size);
	*header = in == 0 && (n == FRAME_HEADER || n == size);
	*page_at = in == FRAME_HEADER && n == w->page ? 0 : in == 0 && n == size ? FRAME_HEADER : -1;
	return *header || *page_at >= 0;
}

int wal_sums_wrote(struct wal_sums *w, const void *buf, int n, int64_t off)
{
	size_t i;
	int page_at;
	bool header;

	if (off < WAL_HEADER) {
		w->n = 0;
		w->page = 0;
		if (off == 0 && n == WAL_HEADER)
			begin(w, buf);
		return SQLITE_OK;
	}
	if (w->page == 0)
		return SQLITE_OK;
	if (!take_apart(w, n, off, &i, &page_at, &header)) {
		size_t end = i + (size_t)n / (FRAME_HEADER + (size_t)w->page) + 2;

		for (; i < end && i < w->n; i++)
			w->frame[i] = (struct wal_frame){ 0 };
		return SQLITE_OK;
	}
	struct wal_frame *f = frame_at(w, i);
	if (!f)
		return SQLITE_NOMEM;
	if (header)
		f->page = big_endian(buf);
	if (page_at >= 0) {
		f->sum = (uint64_t)codec_check((const uint8_t *)buf + page_at, (size_t)w->page);
		f->known = true;
	}
	return SQLITE_OK;
}

int wal_sums_read(struct wal_sums *w, const void *buf, int n, int64_t off, uint32_t *frame)
{
	size_t i;
	int page_at;
	bool header;

	if (off < WAL_HEADER) {
		/* A recovery begins, or goes over what this process wrote: frames that are known stay so. */
		if (off == 0 && n == WAL_HEADER && w->n == 0)
			begin(w, buf);
		return SQLITE_OK;
	}
	if (w->page == 0 || !take_apart(w, n, off, &i, &page_at, &header))
		return SQLITE_OK;
	struct wal_frame *f = frame_at(w, i);
	if (!f)
		return SQLITE_NOMEM;
	if (header && f->page == 0)
		f->page = big_endian(buf);
	if (page_at < 0)
		return SQLITE_OK;
	uint64_t sum = (uint64_t)codec_check((const uint8_t *)buf + page_at, (size_t)w->page);

	if (f->known && f->sum != sum) {
		*frame = (uint32_t)i + 1;
		return PAGE_DAMAGED;
	}
	f->sum = sum;
	f->known = true;
	return SQLITE_OK;
}

void wal_sums_cut(struct wal_sums *w, int64_t size)
{
	if (size < WAL_HEADER || w->page == 0) {
		w->n = 0;
		w->page = 0;
		return;
	}
	size_t whole = (size_t)((size - WAL_HEADER) / (FRAME_HEADER + w->page));

	if (w->n > whole)
		w->n = whole;
}

bool wal_sums_has(const struct wal_sums *w, uint32_t page)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->frame[i].page == page)
			return true;
	return false;
}
