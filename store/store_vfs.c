/*
 * store_vfs.c: what SQLite's writes pass through, and the space they find.
 *
 * A full disk.  SQLite ends a transaction by itself when a write of it fails, and with it every operation that was
 * acknowledged since the last commit.  Three things keep it from coming to that:
 *
 *   1. store_space_check() refuses an operation while there still is a margin of SPACE_MARGIN.  It sees other
 *      writers of the filesystem with a delay only, and no quotas.
 *   2. When a write of a database fails for want of space, the file `reserve` is cut to nothing and the write is tried once
 *      more (reserve_internal.h).
 *   3. From then on the store is short of space, operations are refused by the margin or else have their
 *      -ENOSPC, and history and garbage are given back, until there is room for a reserve again.
 *
 * Write-behind.  Chunks are committed with one fsync after possibly gigabytes.  So that the disk works meanwhile and that
 * fsync is short, writeback of every WRITE_BEHIND bytes written to chunks.db is started with sync_file_range(2), which
 * promises nothing.  It needs a descriptor, and SQLite shows none, so the file has a second one, through which payloads
 * are read too (row_pages_internal.h).  Closing it would drop all of a process's POSIX locks on the file, hence
 * it is opened and closed while SQLite's is open without locks or closed.
 *
 * Gathering (gather_internal.h).  SQLite writes each frame of a WAL as two writes and each page of a blob by itself.
 * In the WAL of meta.db and in chunks.db, writes that follow one another leave as one; whatever else is done with the
 * file comes after them.  A commit of meta.db is not a promise before store_vfs_flush(): meta_txn.c calls it before it
 * counts the commit.  All of this happens under the meta lock; only store_vfs_sync(), which leaves the gathered bytes
 * alone, does not.  The journal of chunks.db is synced before its pages are written, and the pages before the journal
 * ends, so waiting a little changes no order.  The journal itself is not gathered: a rollback reads it back, after a
 * write of it has failed too.
 *
 * Sums.  Every page of a database carries a checksum, put there on its way to the file and compared on its way back,
 * and pages of the WAL are compared with what was written (page_sums_internal.h, page_file_internal.h).
 *
 * A file opened read-only is said to be immutable: SQLite then neither locks it nor looks for a journal. That is
 * true, since our flock keeps other writers away, and store_db_flags() has made sure there is nothing to recover.
 * The databases are used in exclusive mode and never mapped, so the methods are those of version 1.
 */
#include "vfs_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "gather_internal.h"
#include "meta_internal.h"
#include "page_file_internal.h"
#include "reserve_internal.h"
#include "store_internal.h"

enum {
	SPACE_MARGIN = 4 << 20,
	WRITE_BEHIND = 8 << 20,
	GATHER = 120 << 10,                /* SQLite's VFS for Unix takes less than 128 KiB a write */
	SPACE_AGE_NS = 5 * 1000 * 1000,    /* how long an answer of statvfs is believed */
	TOLD_MAX = 32,                     /* damaged pages of a file that the log names */
};

static const int64_t SHORT_NS = 5000000000; /* how long a refusal counts as being short of space */

struct vfs {
	sqlite3_vfs base;            /* first: SQLite passes its address back */
	sqlite3_vfs *under;
	const char *dir;             /* the store's path, borrowed */

	atomic_llong room;           /* bytes that may be promised until the next statvfs */
	atomic_llong asked;          /* CLOCK_MONOTONIC ns of the last one; 0 none */
	atomic_llong refused;        /* when space was refused last; 0 never */
	struct reserve reserve;
	struct file *wal;            /* of meta.db, while it is open */
	char name[];
};

struct file {
	sqlite3_file base;           /* first */
	struct vfs *vfs;
	sqlite3_file *under;         /* behind this struct */
	const char *name;            /* within the directory; SQLite's */
	struct page_file pages;      /* of a database */
	struct wal_sums *frames;     /* of a WAL */
	uint32_t told, told_last;    /* damaged pages that the log names: how many, the last */
	bool immutable;
	int own_fd;                  /* of chunks.db and chunks.plain: for what SQLite has no call for; -1 none */
	bool behind;                 /* writeback is started */
	sqlite3_int64 lo, hi;        /* written since writeback was last started */
	sqlite3_int64 amount;
	struct gather gather;        /* of a WAL and of chunks.db */
};

/* The VFS below finds its struct aligned as malloc() would have it. */
enum { FILE_SIZE = (sizeof(struct file) + 15) & ~(size_t)15 };

static atomic_uint vfs_count;

/* The damage that this thread met last. */
static _Thread_local char met[64];

static int64_t monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- space ------------------------------------------------------------------------------------------- */

/*
 * Bytes that are free beside the margin; negative when less than that. A filesystem that doesn't say counts
 * as roomy.  `owed`: what the WAL of meta.db may take once more in meta.db.  A WAL that finds no room there can't be cut, grows
 * with every change that would make room, and so would keep a full disk full.
 */
static int64_t free_room(struct vfs *v, int64_t owed)
{
	uint64_t avail, total;

	if (!reserve_disk(v->dir, &avail, &total))
		return INT64_MAX;
	/* On a tiny filesystem the margin is a part of it. */
	uint64_t margin = total / 32 < SPACE_MARGIN ? total / 32 : SPACE_MARGIN;
	return (int64_t)avail - (int64_t)margin - owed;
}

int store_space_check(struct store *s, uint64_t bytes)
{
	struct vfs *v = s->below;
	int64_t now = monotonic(), want = bytes > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)bytes;

	if (now - atomic_load(&v->asked) < SPACE_AGE_NS && atomic_fetch_sub(&v->room, want) >= want)
		return 0;
	int64_t room = free_room(v, meta_wal_owed(s));
	atomic_store(&v->asked, now);
	atomic_store(&v->room, room - want);
	if (room >= want)
		return 0;
	atomic_store(&v->refused, now);
	return ckpt_fail(ENOSPC, "no space left on the disk below '%s'", s->path);
}

bool store_short_of_space(struct store *s)
{
	struct vfs *v = s->below;
	int64_t refused = atomic_load(&v->refused);

	return atomic_load(&v->reserve.short_of) || (refused && monotonic() - refused < SHORT_NS);
}

void store_vfs_tick(struct store *s)
{
	if (!s->readonly)
		reserve_tick(&s->below->reserve);
}

static bool is_full(int rc)
{
	return rc == SQLITE_FULL ||
			(((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN) && (errno == ENOSPC || errno == EDQUOT));
}

/* --- a file ------------------------------------------------------------------------------------------ */

static struct file *file_of(sqlite3_file *p)
{
	return (struct file *)p;
}

static int write_through(void *arg, const void *buf, int n, sqlite3_int64 off)
{
	struct file *f = arg;
	int rc = f->under->pMethods->xWrite(f->under, buf, n, off);

	if (rc != SQLITE_OK && is_full(rc) && reserve_give_up(&f->vfs->reserve))
		rc = f->under->pMethods->xWrite(f->under, buf, n, off);
	return rc;
}

static int end_gathering(struct file *f)
{
	return gather_end(&f->gather, write_through, f);
}

int store_vfs_flush(sqlite3_file *p)
{
	return end_gathering(file_of(p));
}

int store_vfs_sync(sqlite3_file *p)
{
	struct file *f = file_of(p);

	return f->under->pMethods->xSync(f->under, SQLITE_SYNC_NORMAL);
}

static int file_close(sqlite3_file *p)
{
	struct file *f = file_of(p);
	int rc = SQLITE_OK;

	/* Bytes still gathered belong to no commit that counted. */
	if (f->under->pMethods)
		rc = f->under->pMethods->xClose(f->under);
	gather_free(&f->gather);
	page_file_free(&f->pages);
	if (f->frames)
		wal_sums_free(f->frames);
	free(f->frames);
	f->frames = NULL;
	if (f->vfs->wal == f)
		f->vfs->wal = NULL;
	if (f->own_fd >= 0)
		close(f->own_fd);
	f->own_fd = -1;
	return rc;
}

/* Notes and tells that page or frame `number` is damaged. */
static int damaged(struct file *f, const char *what, uint32_t number)
{
	snprintf(met, sizeof met, "%s %u of %s is damaged", what, (unsigned)number, f->name);
	if (f->told < TOLD_MAX && f->told_last != number) {
		f->told++;
		f->told_last = number;
		ckpt_log(LOG_ERR, "store '%s': %s: it does not have its checksum", f->vfs->dir, met);
	}
	return PAGE_DAMAGED;
}

int store_vfs_damage(void)
{
	return ckpt_fail(EIO, "%s", met);
}

static int file_read(sqlite3_file *p, void *buf, int n, sqlite3_int64 off)
{
	struct file *f = file_of(p);
	uint32_t number;
	int rc = gather_touches(&f->gather, n, off) ? gather_flush(&f->gather, write_through, f) : SQLITE_OK;

	if (rc == SQLITE_OK)
		rc = f->under->pMethods->xRead(f->under, buf, n, off);
	if (rc != SQLITE_OK)
		return rc;
	if (f->frames) {
		rc = wal_sums_read(f->frames, buf, n, off, &number);
		return rc == PAGE_DAMAGED ? damaged(f, "frame", number) : rc;
	}
	return page_file_good(&f->pages, buf, n, off, &number) ? SQLITE_OK : damaged(f, "page", number);
}

static void write_behind(struct file *f, int n, sqlite3_int64 off)
{
	if (f->amount == 0 || off < f->lo)
		f->lo = off;
	if (f->amount == 0 || off + n > f->hi)
		f->hi = off + n;
	f->amount += n;
	if (f->amount < WRITE_BEHIND)
		return;
	if (sync_file_range(f->own_fd, f->lo, f->hi - f->lo, SYNC_FILE_RANGE_WRITE) < 0 &&
	    (errno == ENOSYS || errno == ESPIPE || errno == EINVAL)) {
		/*
		 * A filesystem without it: the fsync of the commit does it all. The descriptor stays (POSIX locks).
		 */
		f->amount = INT64_MIN / 2;
		return;
	}
	f->amount = 0;
}

/* What has its sum already. */
static int file_put(void *arg, const void *buf, int n, long long off)
{
	struct file *f = arg;
	int rc = gather_write(&f->gather, buf, n, off, write_through, f);

	if (rc == SQLITE_OK && f->behind)
		write_behind(f, n, off);
	return rc;
}

static int file_write(sqlite3_file *p, const void *buf, int n, sqlite3_int64 off)
{
	struct file *f = file_of(p);

	if (f->frames && wal_sums_wrote(f->frames, buf, n, off) != SQLITE_OK)
		return SQLITE_NOMEM;
	/* The file's size is going to be asked for. */
	int rc = f->pages.on && f->pages.end < 0 ? end_gathering(f) : SQLITE_OK;

	if (rc != SQLITE_OK)
		return rc;
	return page_file_write(&f->pages, buf, n, off, file_put, f);
}

static int file_truncate(sqlite3_file *p, sqlite3_int64 size)
{
	struct file *f = file_of(p);
	int rc = page_file_truncate(&f->pages, size, file_put, f);

	if (rc == SQLITE_OK)
		rc = end_gathering(f);
	if (rc != SQLITE_OK)
		return rc;
	if (f->frames)
		wal_sums_cut(f->frames, size);
	return f->under->pMethods->xTruncate(f->under, size);
}

static int file_sync(sqlite3_file *p, int flags)
{
	struct file *f = file_of(p);
	int rc = end_gathering(f);

	return rc != SQLITE_OK ? rc : f->under->pMethods->xSync(f->under, flags);
}

static int file_size(sqlite3_file *p, sqlite3_int64 *size)
{
	struct file *f = file_of(p);
	int rc = end_gathering(f);

	return rc != SQLITE_OK ? rc : f->under->pMethods->xFileSize(f->under, size);
}

static bool in_wal(void *arg, uint32_t page)
{
	struct file *f = arg;

	return f->vfs->wal && strcmp(f->name, "meta.db") == 0 && wal_sums_has(f->vfs->wal->frames, page);
}

void store_vfs_punch(sqlite3_file *p, uint64_t end)
{
	struct file *f = file_of(p);

	/* Where holes can't be punched the place is given back when the file is cut. */
	if (f->own_fd >= 0)
		fallocate(f->own_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)(end & ~(uint64_t)4095));
}

int store_vfs_scan(struct store *s, sqlite3_file *db, int64_t pages, uint32_t *at, void (*bad)(void *arg, uint32_t page),
		void *arg)
{
	struct file *f = file_of(db);
	int rc = end_gathering(f);

	if (rc == SQLITE_OK)
		rc = page_file_scan(&f->pages, pages, at, in_wal, f, bad, arg);
	return rc >= 0 ? rc : ckpt_fail(rc == -SQLITE_NOMEM ? ENOMEM : EIO, "store '%s': can't read %s", s->path, f->name);
}

int store_vfs_reads(sqlite3_file *db, uint32_t *page_size)
{
	struct file *f = file_of(db);

	*page_size = (uint32_t)f->pages.size;
	return f->pages.on ? f->own_fd : -1;
}

static int file_lock(sqlite3_file *p, int level)
{
	struct file *f = file_of(p);

	return f->under->pMethods->xLock(f->under, level);
}

static int file_unlock(sqlite3_file *p, int level)
{
	struct file *f = file_of(p);

	return f->under->pMethods->xUnlock(f->under, level);
}

static int file_check_reserved(sqlite3_file *p, int *out)
{
	struct file *f = file_of(p);

	return f->under->pMethods->xCheckReservedLock(f->under, out);
}

static int file_control(sqlite3_file *p, int op, void *arg)
{
	struct file *f = file_of(p);

	return f->under->pMethods->xFileControl(f->under, op, arg);
}

static int file_sector_size(sqlite3_file *p)
{
	struct file *f = file_of(p);

	return f->under->pMethods->xSectorSize ? f->under->pMethods->xSectorSize(f->under) : 0;
}

static int file_characteristics(sqlite3_file *p)
{
	struct file *f = file_of(p);
	int dc = f->under->pMethods->xDeviceCharacteristics ? f->under->pMethods->xDeviceCharacteristics(f->under) : 0;

	return f->immutable ? dc | SQLITE_IOCAP_IMMUTABLE : dc;
}

static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_check_reserved,
	.xFileControl = file_control,
	.xSectorSize = file_sector_size,
	.xDeviceCharacteristics = file_characteristics,
};

/* --- the VFS ----------------------------------------------------------------------------------------- */

static struct vfs *vfs_of(sqlite3_vfs *p)
{
	return (struct vfs *)p;
}

static bool named(const char *path, const char *name)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash && strcmp(slash + 1, name) == 0;
}

/* What is to be known of the file's pages, where it has some. The file below is open. */
static int look_at_pages(struct file *f, const char *path, int flags)
{
	f->name = path ? strrchr(path, '/') ? strrchr(path, '/') + 1 : path : "a temporary file";
	if (path && (flags & SQLITE_OPEN_MAIN_DB))
		return page_file_open(&f->pages, f->under);
	if (!(flags & SQLITE_OPEN_WAL))
		return SQLITE_OK;
	f->frames = calloc(1, sizeof *f->frames);
	if (!f->frames)
		return SQLITE_NOMEM;
	if (named(path, "meta.db-wal"))
		f->vfs->wal = f;
	return SQLITE_OK;
}

static int vfs_open(sqlite3_vfs *p, const char *path, sqlite3_file *file, int flags, int *out_flags)
{
	struct vfs *v = vfs_of(p);
	struct file *f = file_of(file);
	int granted = 0, rc;

	memset(f, 0, sizeof *f);
	f->vfs = v;
	f->own_fd = -1;
	f->under = (sqlite3_file *)((char *)f + FILE_SIZE);
	memset(f->under, 0, (size_t)v->under->szOsFile);
	rc = v->under->xOpen(v->under, path, f->under, flags, &granted);
	if (rc != SQLITE_OK && is_full(rc) && reserve_give_up(&v->reserve)) {
		if (f->under->pMethods)
			f->under->pMethods->xClose(f->under);
		memset(f->under, 0, (size_t)v->under->szOsFile);
		rc = v->under->xOpen(v->under, path, f->under, flags, &granted);
	}
	if (rc == SQLITE_OK)
		rc = look_at_pages(f, path, flags);
	if (rc == SQLITE_OK && (granted & SQLITE_OPEN_READWRITE) && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) &&
	    !named(path, "chunks.plain"))
		rc = store_db_again(f->under);
	/* A VFS that sets pMethods on failure wants xClose called; so do we then. */
	f->base.pMethods = f->under->pMethods ? &methods : NULL;
	if (rc != SQLITE_OK)
		return rc;
	if (out_flags)
		*out_flags = granted;
	bool pages = (flags & SQLITE_OPEN_MAIN_DB) && named(path, "chunks.db");

	if ((flags & SQLITE_OPEN_READWRITE) && (pages || (flags & SQLITE_OPEN_WAL)) &&
	    !gather_init(&f->gather, GATHER, pages)) {
		file_close(file);
		f->base.pMethods = NULL;
		return SQLITE_NOMEM;
	}
	bool plain = named(path, "chunks.plain");

	/* A VFS below that keeps its files elsewhere (tests) leaves nothing here to open: none of its uses then. */
	if (pages || plain)
		f->own_fd = open(path, (plain && (granted & SQLITE_OPEN_READWRITE) ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
	f->behind = (granted & SQLITE_OPEN_READWRITE) && f->own_fd >= 0;
	if (!path || !((flags & SQLITE_OPEN_MAIN_DB) || plain))
		return SQLITE_OK;
	f->immutable = (flags & SQLITE_OPEN_READONLY) && store_db_leftover(path, "-wal") == 0 &&
			store_db_leftover(path, "-journal") == 0;

	struct stat st; /* a new database is its owner's, and its journals are as it is */
	if ((flags & SQLITE_OPEN_CREATE) && lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0 &&
	    (st.st_mode & 077) && chmod(path, 0600) < 0)
		ckpt_log(LOG_WARNING, "can't set the mode of '%s': %s", path, strerror(errno));
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *p, const char *path, int sync)
{
	return vfs_of(p)->under->xDelete(vfs_of(p)->under, path, sync);
}

static int vfs_access(sqlite3_vfs *p, const char *path, int flags, int *out)
{
	return vfs_of(p)->under->xAccess(vfs_of(p)->under, path, flags, out);
}

static int vfs_full_pathname(sqlite3_vfs *p, const char *path, int n, char *out)
{
	return vfs_of(p)->under->xFullPathname(vfs_of(p)->under, path, n, out);
}

static int vfs_randomness(sqlite3_vfs *p, int n, char *out)
{
	return vfs_of(p)->under->xRandomness(vfs_of(p)->under, n, out);
}

static int vfs_sleep(sqlite3_vfs *p, int us)
{
	return vfs_of(p)->under->xSleep(vfs_of(p)->under, us);
}

static int vfs_current_time(sqlite3_vfs *p, double *out)
{
	return vfs_of(p)->under->xCurrentTime(vfs_of(p)->under, out);
}

static int vfs_last_error(sqlite3_vfs *p, int n, char *out)
{
	return vfs_of(p)->under->xGetLastError ? vfs_of(p)->under->xGetLastError(vfs_of(p)->under, n, out) : 0;
}

int store_vfs_reserve(struct store *s)
{
	return reserve_open(&s->below->reserve);
}

int store_vfs_open(struct store *s, const char *below)
{
	sqlite3_vfs *under = sqlite3_vfs_find(below);

	if (!under)
		return ckpt_fail(ENOENT, "no SQLite VFS is named '%s'", below ? below : "(default)");
	size_t len = strlen(under->zName) + sizeof "ckptfs::4294967295";
	struct vfs *v = calloc(1, sizeof *v + len);
	if (!v)
		return ckpt_fail(ENOMEM, "no memory to open store '%s'", s->path);
	sqlite3_snprintf((int)len, v->name, "ckptfs:%s:%u", under->zName, atomic_fetch_add(&vfs_count, 1));
	v->under = under;
	v->dir = s->path;
	reserve_init(&v->reserve, s->path, !s->readonly);
	v->base = (sqlite3_vfs){
		.iVersion = 1,
		.szOsFile = FILE_SIZE + under->szOsFile,
		.mxPathname = under->mxPathname,
		.zName = v->name,
		.xOpen = vfs_open,
		.xDelete = vfs_delete,
		.xAccess = vfs_access,
		.xFullPathname = vfs_full_pathname,
		.xRandomness = vfs_randomness,
		.xSleep = vfs_sleep,
		.xCurrentTime = vfs_current_time,
		.xGetLastError = vfs_last_error,
	};
	s->vfs = strdup(v->name);
	if (!s->vfs || sqlite3_vfs_register(&v->base, 0) != SQLITE_OK) {
		free(s->vfs);
		s->vfs = NULL;
		reserve_close(&v->reserve, true);
		free(v);
		return ckpt_fail(ENOMEM, "no memory to open store '%s'", s->path);
	}
	s->below = v;
	return 0;
}

void store_vfs_close(struct store *s)
{
	struct vfs *v = s->below;

	if (!v)
		return;
	sqlite3_vfs_unregister(&v->base);
	reserve_close(&v->reserve, s->crash || atomic_load(&s->failed));
	free(v);
	free(s->vfs);
	s->vfs = NULL;
	s->below = NULL;
}
