/*
 * scratch_store.h: for test programs of store/: a store in a directory of its own, and a disk below it that
 * fails on demand.  Each program includes it once.
 *
 * Rows of xattr serve as data where any row will do: nothing refers to them.
 */
#ifndef SCRATCH_STORE_H
#define SCRATCH_STORE_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "meta_internal.h"
#include "store_internal.h"

static char base[256], path[300]; /* a fresh directory, and the store in it */

/* --- a VFS that fails on demand ---------------------------------------------------------------------- */

/* Counts down on writes and syncs of the store's files; at 0 fails it, and, when `stay`, all that follow. */
static struct {
	atomic_int writes, syncs;        /* seen */
	atomic_int fail_write, fail_sync; /* the how manieth from now on fails; 0 none */
	int code;                        /* what a failing write returns */
	bool stay;
	atomic_bool down;
} fault;

struct faulty {
	sqlite3_file base;
	sqlite3_file *real;
};

static sqlite3_vfs *real_vfs;

static inline bool strike(atomic_int *count)
{
	if (atomic_load(&fault.down))
		return true;
	if (atomic_load(count) == 0 || atomic_fetch_sub(count, 1) != 1)
		return false;
	if (fault.stay)
		atomic_store(&fault.down, true);
	return true;
}

#define REAL(f) (((struct faulty *)(f))->real)

static inline int f_close(sqlite3_file *f)
{
	return REAL(f)->pMethods->xClose(REAL(f));
}
static inline int f_read(sqlite3_file *f, void *p, int n, sqlite3_int64 off)
{
	return REAL(f)->pMethods->xRead(REAL(f), p, n, off);
}
static inline int f_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 off)
{
	atomic_fetch_add(&fault.writes, 1);
	if (strike(&fault.fail_write)) {
		errno = fault.code == SQLITE_FULL ? ENOSPC : EIO;
		return fault.code;
	}
	return REAL(f)->pMethods->xWrite(REAL(f), p, n, off);
}
static inline int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return atomic_load(&fault.down) ? SQLITE_IOERR_TRUNCATE : REAL(f)->pMethods->xTruncate(REAL(f), size);
}
static inline int f_sync(sqlite3_file *f, int flags)
{
	atomic_fetch_add(&fault.syncs, 1);
	if (strike(&fault.fail_sync)) {
		errno = EIO;
		return SQLITE_IOERR_FSYNC;
	}
	return REAL(f)->pMethods->xSync(REAL(f), flags);
}
static inline int f_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return REAL(f)->pMethods->xFileSize(REAL(f), size);
}
static inline int f_lock(sqlite3_file *f, int level)
{
	return REAL(f)->pMethods->xLock(REAL(f), level);
}
static inline int f_unlock(sqlite3_file *f, int level)
{
	return REAL(f)->pMethods->xUnlock(REAL(f), level);
}
static inline int f_reserved(sqlite3_file *f, int *out)
{
	return REAL(f)->pMethods->xCheckReservedLock(REAL(f), out);
}
static inline int f_control(sqlite3_file *f, int op, void *arg)
{
	return REAL(f)->pMethods->xFileControl(REAL(f), op, arg);
}
static inline int f_sector(sqlite3_file *f)
{
	return REAL(f)->pMethods->xSectorSize(REAL(f));
}
static inline int f_characteristics(sqlite3_file *f)
{
	return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f));
}

static const sqlite3_io_methods f_methods = {
	.iVersion = 1, .xClose = f_close, .xRead = f_read, .xWrite = f_write, .xTruncate = f_truncate, .xSync = f_sync,
	.xFileSize = f_size, .xLock = f_lock, .xUnlock = f_unlock, .xCheckReservedLock = f_reserved,
	.xFileControl = f_control, .xSectorSize = f_sector, .xDeviceCharacteristics = f_characteristics,
};

static inline int f_open(sqlite3_vfs *v, const char *name, sqlite3_file *file, int flags, int *out)
{
	struct faulty *f = (struct faulty *)file;

	(void)v;
	f->real = (sqlite3_file *)(f + 1);
	int rc = real_vfs->xOpen(real_vfs, name, f->real, flags, out);
	f->base.pMethods = f->real->pMethods ? &f_methods : NULL;
	return rc;
}

static inline int f_delete(sqlite3_vfs *v, const char *name, int sync)
{
	(void)v;
	return atomic_load(&fault.down) ? SQLITE_IOERR_DELETE : real_vfs->xDelete(real_vfs, name, sync);
}

static sqlite3_vfs faulty_vfs;

static inline int set_up(void **state)
{
	(void)state;
	/* In memory where that can be: these tests sync a lot and learn nothing from a real disk. */
	const char *tmp = getenv("TMPDIR");
	if (!tmp)
		tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(base, sizeof base, "%s/ckptfs-store-XXXXXX", tmp);
	if (!mkdtemp(base))
		return -1;
	snprintf(path, sizeof path, "%s/s.ckptfs", base);
	real_vfs = sqlite3_vfs_find(NULL);
	faulty_vfs = *real_vfs;
	faulty_vfs.pNext = NULL;
	faulty_vfs.zName = "faulty";
	faulty_vfs.szOsFile = (int)sizeof(struct faulty) + real_vfs->szOsFile;
	faulty_vfs.xOpen = f_open;
	faulty_vfs.xDelete = f_delete;
	return sqlite3_vfs_register(&faulty_vfs, 0) == SQLITE_OK ? 0 : -1;
}

static inline void remove_tree(const char *dir)
{
	char cmd[400];

	snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
	assert_int_equal(system(cmd), 0);
}

static inline int tear_down(void **state)
{
	(void)state;
	remove_tree(base);
	return 0;
}

static inline int fresh(void **state)
{
	(void)state;
	remove_tree(path);
	memset(&fault, 0, sizeof fault);
	return 0;
}

/* --- helpers ----------------------------------------------------------------------------------------- */

static const struct store_options plain = { .create = true, .workers = 1, .history_seconds = -1 };
static const struct store_options on_faulty = {
	.create = true, .workers = 1, .history_seconds = -1, .vfs = "faulty",
};

static inline struct store *open_with(const struct store_options *o)
{
	struct store *s = NULL;
	int rc = store_open(path, o, &s);

	if (rc < 0)
		fail_msg("store_open: %d: %s", rc, ckpt_errmsg());
	return s;
}

/* Inserts the row (ino, "k") within an operation. */
static inline int put_row(struct store *s, int64_t ino, size_t len)
{
	static const char zeros[65536];
	sqlite3_stmt *st = meta_stmt(s, "INSERT INTO xattr(ino, name, value) VALUES(?1, 'k', ?2)");

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, ino);
	sqlite3_bind_blob(st, 2, zeros, (int)len, SQLITE_STATIC);
	return meta_exec(s, st);
}

static inline int put(struct store *s, int64_t ino, size_t len)
{
	int rc = meta_begin(s);

	return rc < 0 ? rc : meta_end(s, put_row(s, ino, len));
}

static inline int64_t number(struct store *s, const char *sql)
{
	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, sql);
	assert_non_null(st);
	assert_int_equal(meta_step(s, st), 1);
	int64_t n = sqlite3_column_int64(st, 0);
	meta_unlock(s);
	return n;
}

static inline int64_t size_of(const char *name)
{
	char file[400];
	struct stat st;

	snprintf(file, sizeof file, "%s/%s", path, name);
	return stat(file, &st) == 0 ? st.st_size : -1;
}

#endif
