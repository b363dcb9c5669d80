/*
 * page_sums_internal.h: a checksum on every page of a database.
 *
 * SQLite leaves the last PAGE_SUM bytes of each page alone when a database is made with so many bytes
 * "reserved", which stands in byte 20 of its header.  The store's VFS keeps there the XXH3-64 of the bytes
 * before them, plus the page's number so that a page in another's place is noticed too, little-endian.
 * They are put there when a page goes to the file and compared when it comes back; nobody above the VFS
 * knows of them.
 *
 * Pages of a WAL carry none: SQLite has reckoned the checksum of a frame before the VFS sees it, and that
 * one covers the page, its number and all frames before it.  It is compared at recovery alone, though; so
 * what is written to the WAL, or read by a recovery, is remembered here (16 bytes a frame) and compared
 * each time the frame is read later.
 *
 * No locks: a file is used under the lock of its connection.
 */
#ifndef PAGE_SUMS_INTERNAL_H
#define PAGE_SUMS_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PAGE_SUM = 8,
	PAGE_HEADER = 100, /* bytes of a database's header */
	/*
	 * What a read of a damaged page gives.  No I/O error, for which SQLite rolls back the open
	 * transaction with all that was acknowledged in it, nor plain SQLITE_CORRUPT, after which it
	 * refuses to commit: what is not damaged goes on.  The price: a change that meets one may stop half
	 * way, and whoever made it has to go back to a savepoint before it, or roll back.
	 */
	PAGE_DAMAGED = SQLITE_CORRUPT | 99 << 8,
};

/* --- of a database ----------------------------------------------------------------------------------- */

/* Whether pages carry sums: 1 or 0, as a header says; -1: this is no header. */
int page_sums_marked(const uint8_t header[PAGE_HEADER]);

void page_sum_put(uint8_t *page, size_t size, uint32_t number);
bool page_sum_good(const uint8_t *page, size_t size, uint32_t number);

/* n bytes at off are a page, whatever a page's size is in this database. Its number into *number. */
bool page_is_whole(int n, int64_t off, uint32_t *number);

/* --- of a WAL ---------------------------------------------------------------------------------------- */

struct wal_frame {
	uint64_t sum;        /* of the page */
	uint32_t page;       /* its number; 0 not known */
	bool known;          /* the sum is */
};

/* All zero at first. */
struct wal_sums {
	int page;            /* bytes of a page; 0 not known yet, nothing is checked */
	struct wal_frame *frame;
	size_t n, cap;
};

void wal_sums_free(struct wal_sums *w);
/* n bytes were written, or handed on to be: SQLITE_OK or SQLITE_NOMEM. */
int wal_sums_wrote(struct wal_sums *w, const void *buf, int n, int64_t off);
/*
 * n bytes came back. *frame: which frame is damaged, from 1, where the result is PAGE_DAMAGED. Else as
 * above.
 */
int wal_sums_read(struct wal_sums *w, const void *buf, int n, int64_t off, uint32_t *frame);
/* The WAL ends at `size`. */
void wal_sums_cut(struct wal_sums *w, int64_t size);
/* The page may stand in the WAL, so that what the database has of it does not count. */
bool wal_sums_has(const struct wal_sums *w, uint32_t page);

#endif
