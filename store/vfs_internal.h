/*
 * vfs_internal.h: the VFS of a store, between SQLite and the VFS below.
 *
 * Each open store registers one under a name of its own (store.vfs, "ckptfs:<below>:<n>").  It passes
 * everything on and adds what only this place can do: it gives up the reserve when a database's write meets a
 * full disk, has new chunks written to the disk while more are coming, and sees to it that each page that is read is
 * the one that was written.  store_vfs.c tells how.
 */
#ifndef VFS_INTERNAL_H
#define VFS_INTERNAL_H

#include <stdint.h>

struct store;
struct sqlite3_file;

/*
 * Registers the VFS (over the one named `below`; NULL: SQLite's default) and sets store.vfs and store.below.
 * -ENOENT: no such VFS.
 */
int store_vfs_open(struct store *s, const char *below);
/*
 * Sets the reserve aside, where there is room for it. For a store that may be changed, once it is known to be
 * one.
 */
int store_vfs_reserve(struct store *s);
/* After the last database is closed. Without store_vfs_open() before, nothing. */
void store_vfs_close(struct store *s);

/* Sets the reserve aside again when there is room for it. Called from store_tick. */
void store_vfs_tick(struct store *s);

/*
 * The WAL of meta.db, as SQLite shows it.  flush: hands on what is gathered; meta lock held; an SQLite result code.  sync: makes
 * what was handed on durable; any thread.
 */
int store_vfs_flush(struct sqlite3_file *wal);
int store_vfs_sync(struct sqlite3_file *wal);

/* What a file has below `end` is of no use any more: its place on the disk is given back, as far as the filesystem can. */
void store_vfs_punch(struct sqlite3_file *f, uint64_t end);

/*
 * For who got PAGE_DAMAGED (page_sums_internal.h) from SQLite: the message that names the page which this thread met last; -EIO.
 */
int store_vfs_damage(void);

/*
 * Looks at some pages of a database as they stand in its file, from page *at + 1 on, and calls bad() with the number of each that is
 * damaged, unless the WAL has a newer one in its place.  `pages`: how many the connection knows, where a WAL may say that there
 * are fewer than in the file.  Returns how many it looked at, and has added them to *at; 0 at the end
 * and for a database without sums; -EIO or -ENOMEM.  The lock of the connection is held; it reads about a megabyte.
 */
int store_vfs_scan(struct store *s, struct sqlite3_file *db, int64_t pages, uint32_t *at,
		void (*bad)(void *arg, uint32_t page), void *arg);

/*
 * For reading past SQLite (row_pages_internal.h): a descriptor of the database's file, and how long its pages are.  -1:
 * there is none, since the VFS below keeps its files elsewhere, or pages have no sums.  It lives as long as SQLite's own;
 * nobody else closes it.
 */
int store_vfs_reads(struct sqlite3_file *db, uint32_t *page_size);

/* db_flags.c: is there a WAL with frames, or a journal whose header is not cleared, beside `db`?  1, 0, or -errno. */
int store_db_leftover(const char *db, const char *suffix);
/*
 * db_flags.c: writes a WAL or a journal that somebody left once more, as it is, before anybody believes it.  When a sync has failed
 * the kernel counts the pages as clean that it could not write, shows them to whoever reads, and calls the next sync a
 * success; what is then done on the word of that file would, after a power cut, stand on nothing.  An SQLite result code.
 */
int store_db_again(struct sqlite3_file *f);

#endif
