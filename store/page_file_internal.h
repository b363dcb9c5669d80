/*
 * page_file_internal.h: a database whose pages carry sums, as it is written and read
 * (page_sums_internal.h).
 *
 * Each page below the end of the file has a good sum, whoever reads it and why.  SQLite alone would leave
 * holes: it never writes a page that is free when a transaction ends, and may yet read one of these, to use
 * it again.  So whatever a write or a truncation beyond the end would skip is filled with empty pages.  (A
 * crash may yet leave a free page torn, see page_file_scan().)
 *
 * No lock, as there.  The VFS below does the reading and writing; what is written goes through a function
 * of the caller's.
 */
#ifndef PAGE_FILE_INTERNAL_H
#define PAGE_FILE_INTERNAL_H

#include "page_sums_internal.h"

/* Writes n bytes at off; an SQLite result code. */
typedef int (*page_write_fn)(void *arg, const void *buf, int n, long long off);

struct page_file {
	sqlite3_file *under; /* borrowed; its size is asked for */
	bool on; /* pages carry sums; false in stores of an old format, and for all files but databases */
	int size;            /* bytes of a page; 0 not known yet */
	int64_t end;         /* of the file, with what is on its way; -1: has to be asked for */
	uint8_t *room;       /* for one page */
};

/*
 * Sees from its header whether the database just opened has sums; a new one will.  `under` is its file in
 * the VFS below.  Gives an SQLite result code.  A struct of zeros takes writes and checks nothing.
 */
int page_file_open(struct page_file *p, sqlite3_file *under);
void page_file_free(struct page_file *p);

/* What SQLite writes, with its sum; and before it what is skipped. */
int page_file_write(struct page_file *p, const void *buf, int n, int64_t off, page_write_fn write, void *arg);
/* Before the file is cut, or made longer, to `size` bytes. */
int page_file_truncate(struct page_file *p, int64_t size, page_write_fn write, void *arg);
/* Whether what was read is no page, or a good one; else its number into *number. */
bool page_file_good(const struct page_file *p, const void *buf, int n, int64_t off, uint32_t *number);

/*
 * Reads pages of the file, from *at + 1 on and at most up to number `pages`, and calls bad() for each without a good sum, unless skip() says
 * that its content does not count, or it is in the list of free pages: one of those may be torn when a crash
 * ends a transaction that began to use it, and nobody reads it before it is written again.  No transaction is
 * under way, so that the list in the file is the one that counts.
 *
 * Returns how many, which are added to *at; 0 at the end and without sums; -SQLITE_NOMEM or another negative
 * result code.  A page that can't be read is bad.
 */
int page_file_scan(struct page_file *p, int64_t pages, uint32_t *at, bool (*skip)(void *arg, uint32_t page), void *skip_arg,
		void (*bad)(void *arg, uint32_t page), void *bad_arg);

#endif
