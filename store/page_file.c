/*
 * page_file.c: see page_file_internal.h.
 *
 * Whether there are sums is what the header of the file says, and changes only when another header is
 * written.  A file that has none yet is one that is being made, where pages may come before the first one:
 * ours are always made with sums.  Parts of pages are not checked.  SQLite reads two when it opens a file,
 * before it looks for a journal that would mend it, and reads the whole page before it believes them.
 */
#include "page_file_internal.h"

#include <stdlib.h>
#include <string.h>

/* Far beyond what a transaction may leave unwritten: only a damaged journal asks for more. */
static const int64_t FILL_MAX = INT64_C(4) << 30;

enum {
	SCAN = 1 << 20,    /* bytes a step */
	ROOM = 64 << 10,   /* the longest page there is */
	/* In the header: a number that changes with each transaction; how many pages there are, and as of when. */
	CHANGE_AT = 24,
	PAGES_AT = 28,
	AS_OF_AT = 92,
	FREE_LIST_AT = 32, /* the first page of the list of free pages */
};

static uint32_t big_endian(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int size_from(const uint8_t *header)
{
	int size = header[16] << 8 | header[17];

	return size == 1 ? 65536 : size;
}

int page_file_open(struct page_file *p, sqlite3_file *under)
{
	uint8_t header[PAGE_HEADER];
	sqlite3_int64 size;
	uint32_t number;
	int rc = under->pMethods->xFileSize(under, &size);

	/* Now, since a write must not want memory: the one that undoes a transaction for want of it would fail too. */
	*p = (struct page_file){ .under = under, .on = true, .end = -1, .room = malloc(ROOM) };
	if (!p->room)
		return SQLITE_NOMEM;
	if (rc != SQLITE_OK || size < PAGE_HEADER)
		return rc;
	rc = under->pMethods->xRead(under, header, sizeof header, 0);
	if (rc != SQLITE_OK)
		return rc;
	p->on = page_sums_marked(header) != 0;
	if (page_is_whole(size_from(header), 0, &number))
		p->size = size_from(header);
	return SQLITE_OK;
}

void page_file_free(struct page_file *p)
{
	free(p->room);
	*p = (struct page_file){ 0 };
}

/* Writes page `off / size + 1`; its bytes, or an empty one's where there are none. */
static int put(struct page_file *p, const void *buf, int64_t off, page_write_fn write, void *arg)
{
	size_t size = (size_t)p->size;

	if (buf)
		memcpy(p->room, buf, size - PAGE_SUM);
	else
		memset(p->room, 0, size - PAGE_SUM);
	page_sum_put(p->room, size, (uint32_t)(off / p->size) + 1);
	int rc = write(arg, p->room, p->size, off);

	p->end = rc != SQLITE_OK ? -1 : off + p->size > p->end ? off + p->size : p->end;
	return rc;
}

/* Empty pages up to `to`. */
static int fill(struct page_file *p, int64_t to, page_write_fn write, void *arg)
{
	int rc = SQLITE_OK;

	if (p->end < 0) {
		sqlite3_int64 size;

		rc = p->under->pMethods->xFileSize(p->under, &size);
		if (rc != SQLITE_OK)
			return rc;
		p->end = size;
	}
	if (to - p->end > FILL_MAX)
		return SQLITE_CORRUPT;
	while (rc == SQLITE_OK && p->end < to)
		rc = put(p, NULL, p->end - p->end % p->size, write, arg);
	return rc;
}

int page_file_write(struct page_file *p, const void *buf, int n, int64_t off, page_write_fn write, void *arg)
{
	uint32_t number;

	if (p->under && off == 0 && n >= PAGE_HEADER && page_sums_marked(buf) >= 0)
		p->on = page_sums_marked(buf) == 1;
	if (!p->on || !page_is_whole(n, off, &number)) {
		p->end = -1;
		return write(arg, buf, n, off);
	}
	p->size = n;
	int rc = fill(p, off, write, arg);

	return rc != SQLITE_OK ? rc : put(p, buf, off, write, arg);
}

int page_file_truncate(struct page_file *p, int64_t size, page_write_fn write, void *arg)
{
	if (!p->on || !p->size) {
		p->end = -1;
		return SQLITE_OK;
	}
	int rc = fill(p, size, write, arg);

	p->end = -1;
	return rc;
}

bool page_file_good(const struct page_file *p, const void *buf, int n, int64_t off, uint32_t *number)
{
	return !p->on || (p->size && n != p->size) || !page_is_whole(n, off, number) ||
	       page_sum_good(buf, (size_t)n, *number);
}

/* How many pages count: a crash may leave more of them in the file than the last commit had. */
static int64_t count(const struct page_file *p, int64_t size)
{
	int64_t pages = size / p->size, counted;
	uint8_t header[PAGE_HEADER];

	if (pages == 0 || p->under->pMethods->xRead(p->under, header, sizeof header, 0) != SQLITE_OK ||
			big_endian(header + CHANGE_AT) != big_endian(header + AS_OF_AT))
		return pages;
	counted = big_endian(header + PAGES_AT);
	return counted > 0 && counted < pages ? counted : pages;
}

/* A bit for each page of the file that is a leaf of the list of free pages. NULL: no memory. */
static uint8_t *free_pages(const struct page_file *p, int64_t pages)
{
	uint8_t *free_map = calloc(1, (size_t)(pages / 8) + 1), *trunk = malloc((size_t)p->size);
	uint8_t header[PAGE_HEADER];
	int64_t left = pages;
	uint32_t at = 0;

	if (!free_map || !trunk) {
		free(free_map);
		free_map = NULL;
		goto out;
	}
	if (p->under->pMethods->xRead(p->under, header, sizeof header, 0) == SQLITE_OK)
		at = big_endian(header + FREE_LIST_AT);
	/* A trunk says which is the next, how many leaves it has, and which; damaged, it says nothing. */
	while (at > 0 && at <= pages && left-- > 0) {
		if (p->under->pMethods->xRead(p->under, trunk, p->size, (int64_t)(at - 1) * p->size) != SQLITE_OK ||
				!page_sum_good(trunk, (size_t)p->size, at))
			break;
		uint32_t n = big_endian(trunk + 4), most = (uint32_t)(p->size - PAGE_SUM) / 4 - 2;

		for (uint32_t i = 0; i < n && i < most; i++) {
			uint32_t leaf = big_endian(trunk + 8 + 4 * (size_t)i);

			if (leaf <= pages)
				free_map[leaf / 8] |= (uint8_t)(1 << leaf % 8);
		}
		at = big_endian(trunk);
	}
out:
	free(trunk);
	return free_map;
}

/* Tells of those of the pages [first, first + n) that are marked bad, unless nothing is on them. */
static int tell(const struct page_file *p, const bool *is_bad, uint32_t first, int n, int64_t pages,
		bool (*skip)(void *arg, uint32_t page), void *skip_arg, void (*bad)(void *arg, uint32_t page),
		void *bad_arg)
{
	uint8_t *free_map = free_pages(p, pages);

	if (!free_map)
		return -SQLITE_NOMEM;
	for (int i = 0; i < n; i++) {
		uint32_t number = first + (uint32_t)i;

		if (is_bad[i] && !(free_map[number / 8] >> number % 8 & 1) && !skip(skip_arg, number))
			bad(bad_arg, number);
	}
	free(free_map);
	return n;
}

int page_file_scan(struct page_file *p, int64_t pages, uint32_t *at, bool (*skip)(void *arg, uint32_t page), void *skip_arg,
		void (*bad)(void *arg, uint32_t page), void *bad_arg)
{
	int64_t off = (int64_t)*at * p->size;
	sqlite3_int64 size;
	bool is_bad[SCAN / 512] = { false }, any = false;
	int rc, n, i;

	if (!p->on || p->size == 0)
		return 0;
	rc = p->under->pMethods->xFileSize(p->under, &size);
	if (rc != SQLITE_OK)
		return -rc;
	size = count(p, size);
	size = (pages < size ? pages : size) * p->size;
	n = size - off >= SCAN ? SCAN / p->size : size > off ? (int)((size - off) / p->size) : 0;
	if (n == 0)
		return 0;
	uint8_t *read_in = malloc((size_t)n * (size_t)p->size);
	if (!read_in)
		return -SQLITE_NOMEM;
	bool all = p->under->pMethods->xRead(p->under, read_in, n * p->size, off) == SQLITE_OK;

	for (i = 0; i < n; i++) {
		uint8_t *page = read_in + (size_t)i * (size_t)p->size;
		bool read = all || p->under->pMethods->xRead(p->under, page, p->size,
						   off + (int64_t)i * p->size) == SQLITE_OK;

		is_bad[i] = !read || !page_sum_good(page, (size_t)p->size, *at + (uint32_t)i + 1);
		any |= is_bad[i];
	}
	free(read_in);
	rc = any ? tell(p, is_bad, *at + 1, n, size / p->size, skip, skip_arg, bad, bad_arg) : n;
	if (rc > 0)
		*at += (uint32_t)n;
	return rc;
}
