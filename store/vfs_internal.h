/*
 * vfs_internal.h: the VFS of a store, between SQLite and the VFS below.
 *
 * Each open store registers one under a name of its own (store.vfs, "ckptfs:<below>:<n>").  It passes
 * everything on and adds what only this place can do: it gives up the reserve when a database's write meets a
 * full disk, and has new chunks written to the disk while more are coming.  store_vfs.c tells how.
 */
#ifndef VFS_INTERNAL_H
#define VFS_INTERNAL_H

struct store;

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
struct sqlite3_file;
int store_vfs_flush(struct sqlite3_file *wal);
int store_vfs_sync(struct sqlite3_file *wal);

#endif
