/*
 * row_pages_internal.h: a chunk's payload, read from the file of chunks.db and not through SQLite.
 *
 * SQLite reads a payload page by page, a system call each, into its cache, from there into a column, and
 * from there we copy it out; all under the lock of the connection.  But a payload that was written in one go
 * lies in pages that follow one another.  So the row is looked up here, in the pages of the table's B-tree,
 * and its payload is read by one preadv(2) a run of pages straight to where it is wanted, side by side with
 * other readers and with whoever writes.
 *
 * Nothing keeps the file as it is meanwhile.  A transaction may have spilled some of its pages, a rollback or
 * a commit may be half done, a page be half written, or be another table's by now.  What makes the result
 * right all the same:
 *
 *   1. A page of the tree counts only if it has its sum (page_sums_internal.h), a row only if it is one of
 *      the table `chunk` in every column, a payload only if it has the check that stands in its row.  The
 *      check is of the payload as a whole, so no sum of its pages is looked at: bytes that have the check are
 *      the ones that were stored.
 *   2. A row has had several forms in its time, a chunk never but one content (chunk_row.c): any payload that
 *      goes with its row's codec and base gives the chunk's plain bytes, whichever of the forms it is,
 *      committed or not.
 *   3. "No" is no answer.  Whatever does not fit, a row that is not found or a damaged page, is for SQLite to
 *      say, which is asked then under its lock and has the last word on what is missing and what is damaged.
 *
 * The file is read through a descriptor of the VFS (store_vfs_reads()), which lives as long as SQLite's own.
 *
 * Reading ahead.  Chunks that were stored one after another mostly are neighbours in the file, and who reads
 * them in that order is to find the disk at work while they are decoded.  Where the kernel reads far enough
 * ahead by itself that is left to it: it does so in large folios, which took 0.10 s of CPU for 512 MiB where
 * POSIX_FADV_WILLNEED, a page at a time, took 0.26.  On a disk with the usual 128 KiB, less than one payload,
 * it is done here: the descriptor is set to random access, and with a payload that lies behind the last one
 * the next ROW_AHEAD bytes are asked for.
 */
#ifndef ROW_PAGES_INTERNAL_H
#define ROW_PAGES_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ROW_PAGE_MAX = 8192, /* larger pages, as no store with sums has them, are left to SQLite */
	ROW_AHEAD = 8 << 20,
};

struct row_pages {
	int fd;                 /* borrowed; -1: nothing is ever found */
	uint32_t size;          /* bytes of a page */
	uint32_t root;          /* page of the root of table `chunk` */
	bool ahead;             /* we read ahead, not the kernel */
	_Atomic int64_t end;    /* where the payload that was read last ends in the file */
	_Atomic int64_t asked;  /* up to where pages were asked for */
	_Atomic uint64_t found; /* payloads that were read here; */
	_Atomic uint64_t left;  /* and those left to SQLite */
};

/* The columns of a row that reading takes, and where its payload is. */
struct row_place {
	uint32_t raw_len;
	int codec;
	uint64_t base;
	int64_t check;
	uint32_t payload_len;
	uint32_t local; /* bytes of the payload in the leaf, from `at` of `page` */
	uint32_t at;
	uint32_t next; /* page with what comes behind them; 0 none */
	uint8_t page[ROW_PAGE_MAX];
};

/* For chunks.db with pages of `size` bytes that carry sums, where `root` is known; else with fd -1. */
void row_pages_init(struct row_pages *p, int fd, uint32_t size, uint32_t root);

/* The row of chunk `id`: true and *out. No lock; it waits for the disk. */
bool row_pages_find(struct row_pages *p, uint64_t id, struct row_place *out);
/* The payload into out[0, place->payload_len); true: it has its check. As above. */
bool row_pages_read(struct row_pages *p, const struct row_place *place, uint8_t *out);

#endif
