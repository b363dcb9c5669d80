/*
 * store.c: a store's life: looked at, made, opened, kept, closed.
 *
 * Making one is safe against a crash at any point.  Files come into being in this order: directory, lock,
 * meta.db, reserve, chunks.db.  Each is made durable before the next, and a store exists from the commit of
 * meta.db's schema on (meta_schema.c).  A directory that holds nothing but files of our names and no finished
 * meta.db is a store that was being made, and the next open goes on with it.  chunks.db with content beside a
 * missing meta.db is no such thing but a loss, and never covered up by making a new one.
 *
 * A directory is looked at, and refused, before anything in it is touched: a mistyped path must not leave our
 * files among somebody's own.
 *
 * Opening: lock, VFS, meta, chunks, files, tree; closing the other way round.
 */
#include "store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "chunk_internal.h"
#include "hold_internal.h"
#include "lock_internal.h"
#include "meta_internal.h"
#include "pool_internal.h"
#include "vfs_internal.h"

static const int64_t SECOND = 1000000000;

enum {
	STAGED_SECONDS = 5,       /* how long chunks may wait in an open transaction */
	SYNC_SECONDS = 5,         /* how much a power cut takes at most of what nobody asked to be durable */
	WAL_LIMIT = 16 << 20,
	WAL_LIMIT_SHORT = 1 << 20, /* short of space */
	DEFAULT_CACHE = 64 << 20,
	DEFAULT_DIRTY = 64 << 20,
	DEFAULT_HISTORY = 24 * 3600,
	MAX_WORKERS = 8,
};

static const char *const own_names[] = {
	"meta.db", "meta.db-wal", "meta.db-journal", "chunks.db", "chunks.db-journal", "chunks.plain", "reserve", "lock", "control",
};
enum { OWN_NAMES = sizeof own_names / sizeof *own_names };

/* --- looking ----------------------------------------------------------------------------------------- */

static int sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	/* A directory that we may search but not read can't be synced; one of our own always can. */
	if (fd < 0)
		return errno == EACCES ? 0 : ckpt_fail(errno, "can't open '%s': %s", path, strerror(errno));
	if (fsync(fd) < 0 && errno != EINVAL)
		rc = ckpt_fail(errno, "can't sync '%s': %s", path, strerror(errno));
	close(fd);
	return rc;
}

/* What `path` is from the root, without symbolic links; its last name need not exist. malloc()ed into *out. */
static int absolute(const char *path, char **out)
{
	char *copy = NULL, *parent = NULL, *slash;
	int rc = 0;

	if (!*path)
		return ckpt_fail(ENOENT, "no path to a store");
	*out = realpath(path, NULL);
	if (*out)
		return 0;
	if (errno != ENOENT)
		goto fail;
	copy = strdup(path);
	if (!copy)
		goto fail;
	for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	slash = strrchr(copy, '/');
	const char *name = slash ? slash + 1 : copy;
	if (slash)
		*slash = '\0';
	parent = realpath(!slash ? "." : slash == copy ? "/" : copy, NULL);
	if (!parent)
		goto fail;
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		errno = ENOENT;
		goto fail;
	}
	if (asprintf(out, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name) < 0) {
		*out = NULL;
		errno = ENOMEM;
		goto fail;
	}
	goto done;
fail:
	rc = ckpt_fail(errno, "store '%s': %s", path, strerror(errno));
done:
	free(parent);
	free(copy);
	return rc;
}

static bool is_own(const char *name)
{
	for (int i = 0; i < OWN_NAMES; i++)
		if (strcmp(name, own_names[i]) == 0)
			return true;
	/* The root of a fresh ext4 filesystem is an empty directory too. */
	return strcmp(name, "lost+found") == 0;
}

/* Size of a file of the directory; -1 when it isn't there. */
static int64_t size_in(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) ? st.st_size : -1;
}

static uint32_t big_endian(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* meta.db is an SQLite file and not somebody else's, as far as its header tells without a lock. */
static int look_at_meta(const char *path, int dir)
{
	enum { HEADER = 100, USER_VERSION = 60, APPLICATION_ID = 68 };
	uint8_t h[HEADER];
	int rc = 0;

	int fd = openat(dir, "meta.db", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return ckpt_fail(errno, "can't open '%s/meta.db': %s", path, strerror(errno));
	ssize_t n = pread(fd, h, sizeof h, 0);
	if (n < 0)
		rc = ckpt_fail(errno, "can't read '%s/meta.db': %s", path, strerror(errno));
	else if (n < HEADER || memcmp(h, "SQLite format 3", 16) != 0)
		rc = ckpt_fail(EIO, "store '%s' is damaged: meta.db is no database", path);
	if (rc == 0) {
		uint32_t id = big_endian(h + APPLICATION_ID), format = big_endian(h + USER_VERSION);

		/* Before a page is read: what a newer format has at its end is not for us to judge. */
		if (id == META_APPLICATION_ID && format > STORE_FORMAT)
			rc = store_too_new(path, format);
		else if (id != 0 && id != META_APPLICATION_ID)
			rc = ckpt_fail(ENOTEMPTY, "'%s' is no store: its meta.db belongs to another program", path);
	}
	close(fd);
	return rc;
}

/*
 * A power cut may leave meta.db with a size and without its first sector while its very first transaction, the one that
 * makes the header, is written.  SQLite has synced that transaction's rollback journal before and will undo it.  A
 * finished meta.db is in WAL mode and has no such journal, and chunks.db comes after it.
 */
static bool header_under_way(int dir)
{
	static const uint8_t journal[8] = { 0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7 };
	static const char database[16] = "SQLite format 3";
	uint8_t h[16], j[8];

	if (size_in(dir, "chunks.db") > 0 || size_in(dir, "meta.db-journal") <= 0)
		return false;
	int fd = openat(dir, "meta.db", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool lacks = fd >= 0 && (pread(fd, h, sizeof h, 0) < (ssize_t)sizeof h || memcmp(h, database, sizeof h) != 0);

	if (fd >= 0)
		close(fd);
	fd = lacks ? openat(dir, "meta.db-journal", O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	lacks = fd >= 0 && pread(fd, j, sizeof j, 0) == (ssize_t)sizeof j && memcmp(j, journal, sizeof j) == 0;
	if (fd >= 0)
		close(fd);
	return lacks;
}

/* May the directory be opened as a store? *made: it has a meta.db with content. */
static int look(const char *path, bool create, bool *made)
{
	struct dirent *e;
	int rc = 0;

	DIR *d = opendir(path);
	if (!d)
		return ckpt_fail(errno, "store '%s': %s", path, strerror(errno));
	*made = size_in(dirfd(d), "meta.db") > 0 && !header_under_way(dirfd(d));
	if (*made) {
		rc = look_at_meta(path, dirfd(d));
		goto done;
	}
	while ((errno = 0, e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !is_own(e->d_name)) {
			rc = ckpt_fail(ENOTEMPTY, "directory '%s' is no store and not empty (it has '%s')", path, e->d_name);
			goto done;
		}
	if (errno)
		rc = ckpt_fail(errno, "can't read '%s': %s", path, strerror(errno));
	else if (size_in(dirfd(d), "chunks.db") > 0)
		rc = ckpt_fail(EIO, "store '%s' is damaged: it has chunks, but its meta.db is missing or empty", path);
	else if (!create)
		rc = ckpt_fail(ENOENT, "no store at '%s'", path);
done:
	closedir(d);
	return rc;
}

/* Makes the directory, durably. */
static int make_dir(const char *path)
{
	char *parent = strdup(path);
	int rc;

	if (!parent)
		return ckpt_fail(ENOMEM, "no memory to make store '%s'", path);
	char *slash = strrchr(parent, '/');
	slash[slash == parent ? 1 : 0] = '\0';
	rc = store_lock_medium(parent);
	if (rc == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
		rc = ckpt_fail(errno, "can't make the store '%s': %s", path, strerror(errno));
	if (rc == 0)
		rc = sync_dir(parent);
	free(parent);
	return rc;
}

/* --- open and close ---------------------------------------------------------------------------------- */

static void configure_sqlite(void)
{
	/*
	 * Statistics cost a mutex at each allocation. Refused, harmlessly, where the program has used SQLite before.
	 */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static void set_options(struct store *s, const struct store_options *o)
{
	s->opt = *o;
	s->opt.vfs = NULL;
	s->opt.mountpoint = NULL;
	if (!s->opt.cache_bytes)
		s->opt.cache_bytes = DEFAULT_CACHE;
	if (!s->opt.dirty_bytes)
		s->opt.dirty_bytes = DEFAULT_DIRTY;
	if (!s->opt.workers) {
		long cores = sysconf(_SC_NPROCESSORS_ONLN);

		s->opt.workers = cores < 1 ? 1 : cores > MAX_WORKERS ? MAX_WORKERS : (unsigned)cores;
	}
	if (s->opt.history_seconds < 0)
		s->opt.history_seconds = DEFAULT_HISTORY;
}

/* Closes what is open, last opened first, and frees the store. */
static void put_down(struct store *s)
{
	recompress_idle_stop(s);
	gc_stop(s); /* its thread uses the tree */
	if (s->tree)
		tree_close(s);
	if (s->files)
		files_close(s);
	pool_close(s);
	holds_close(s);
	if (s->chunks)
		chunks_close(s);
	meta_close(s);
	store_vfs_close(s);
	store_lock_drop(s->lock_fd);
	free(s->path);
	free(s);
}

/* Looks at s->path, makes it a directory where that is asked for, and sees whether it takes changes. */
static int find(struct store *s, const struct store_options *o)
{
	struct statvfs fs;
	struct stat st;
	bool made = false;
	int rc;

	if (stat(s->path, &st) < 0) {
		if (errno != ENOENT)
			return ckpt_fail(errno, "store '%s': %s", s->path, strerror(errno));
		if (!o->create || o->readonly)
			return ckpt_fail(ENOENT, "no store at '%s'", s->path);
		rc = make_dir(s->path);
		if (rc < 0)
			return rc;
	} else if (!S_ISDIR(st.st_mode)) {
		return ckpt_fail(ENOTDIR, "'%s' is no store: not a directory", s->path);
	}
	if ((rc = store_lock_medium(s->path)) < 0 || (rc = look(s->path, o->create && !o->readonly, &made)) < 0)
		return rc;
	if (statvfs(s->path, &fs) < 0)
		return ckpt_fail(errno, "store '%s': %s", s->path, strerror(errno));
	if (fs.f_flag & ST_RDONLY)
		s->readonly = true;
	if (s->readonly && !made)
		return ckpt_fail(EROFS, "a store can't be made at '%s': the filesystem is read-only", s->path);
	return 0;
}

int store_open(const char *path, const struct store_options *o, struct store **out)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int rc;

	pthread_once(&once, configure_sqlite);
	struct store *s = calloc(1, sizeof *s);
	if (!s)
		return ckpt_fail(ENOMEM, "no memory to open store '%s'", path);
	s->lock_fd = -1;
	s->readonly = o->readonly;
	set_options(s, o);
	if ((rc = absolute(path, &s->path)) < 0 || (rc = find(s, o)) < 0)
		goto fail;

	bool writable = access(s->path, W_OK) == 0;
	if (!writable && !s->readonly) {
		rc = ckpt_fail(errno, "no write access to store '%s': %s", s->path, strerror(errno));
		goto fail;
	}
	bool create = o->create && !s->readonly;
	if ((rc = store_lock_take(s->path, writable, o->mountpoint, &s->lock_fd)) < 0 ||
	    (rc = store_vfs_open(s, o->vfs)) < 0 || (rc = meta_open(s, create)) < 0)
		goto fail;
	if (!s->readonly && ((rc = sync_dir(s->path)) < 0 || (rc = store_vfs_reserve(s)) < 0))
		goto fail;
	if ((rc = chunks_open(s, create)) < 0 || (rc = holds_open(s)) < 0 || (rc = pool_open(s)) < 0 ||
	    (rc = files_open(s)) < 0 || (rc = tree_open(s)) < 0)
		goto fail;
	if (!s->readonly && ((rc = meta_commit(s, true)) < 0 || (rc = sync_dir(s->path)) < 0))
		goto fail;
	*out = s;
	return 0;
fail:
	/* Nothing of a store that did not open is tidied up. */
	s->crash = true;
	put_down(s);
	return rc;
}

/* Small files need not wait for the next opening to be pooled. */
static void pool_rest(struct store *s)
{
	struct timespec t;

	if (atomic_load(&s->failed) || store_short_of_space(s))
		return;
	clock_gettime(CLOCK_MONOTONIC, &t);
	if (pool_all(s, POOL_MIN_CLOSE, false, meta_ns(t) + POOL_CLOSE_NS) < 0)
		ckpt_log(LOG_NOTICE, "store '%s': small files stay unpooled: %s", s->path, ckpt_errmsg());
}

int store_close(struct store *s)
{
	int rc = 0;

	if (!s)
		return 0;
	recompress_idle_stop(s);
	gc_stop(s);
	if (!s->readonly) {
		pool_rest(s);
		rc = chunks_commit(s);
		if (rc == 0)
			rc = chunks_unstage(s);
		int end = meta_commit(s, true);
		if (rc == 0)
			rc = end;
		if (rc == 0)
			recompress_idle_finish(s);
		if (rc == 0)
			meta_shrink(s);
	}
	put_down(s);
	return rc;
}

void store_crash(struct store *s)
{
	if (!s)
		return;
	s->crash = true;
	atomic_store(&s->failed, EIO);
	put_down(s);
}

bool store_readonly(const struct store *s)
{
	return s->readonly;
}

const char *store_path(const struct store *s)
{
	return s->path;
}

/* --- while it is open -------------------------------------------------------------------------------- */

int store_commit(struct store *s, bool durable)
{
	/* Chunks are not asked: what is published names only chunks that are committed or staged. */
	return meta_commit(s, durable);
}

int store_space_ask(struct store *s, uint64_t bytes)
{
	static pthread_mutex_t making_room = PTHREAD_MUTEX_INITIALIZER; /* taken before all locks of databases */
	int rc = store_space_check(s, bytes);

	if (rc != -ENOSPC || meta_wal_owed(s) <= WAL_LIMIT_SHORT)
		return rc;
	ckpt_mutex_lock(&making_room);
	/* Who waited here finds it done.  Whatever of it fails: the answer is how much room there is then. */
	if (meta_wal_owed(s) > WAL_LIMIT_SHORT && chunks_commit(s) == 0 && chunks_unstage(s) == 0)
		(void)meta_checkpoint(s, 0);
	pthread_mutex_unlock(&making_room);
	return store_space_check(s, bytes);
}

/* Chunks that nobody waits for stay in the open transaction for some seconds, their staged copies in meta.db. */
static int tick_chunks(struct store *s, int64_t now)
{
	int rc = 0;

	if (chunks_pending(s) == 0) {
		s->tick.pending_since = 0;
	} else if (!s->tick.pending_since) {
		s->tick.pending_since = now;
	} else if (now - s->tick.pending_since >= STAGED_SECONDS * SECOND) {
		s->tick.pending_since = 0;
		rc = chunks_commit(s);
	}
	/* Also what a publisher committed: its staged rows may go. */
	return rc < 0 ? rc : chunks_unstage(s);
}

static int tick_sync(struct store *s, int64_t now)
{
	if (!meta_unsynced(s)) {
		s->tick.unsynced_since = 0;
		return 0;
	}
	if (!s->tick.unsynced_since)
		s->tick.unsynced_since = now;
	if (now - s->tick.unsynced_since < SYNC_SECONDS * SECOND)
		return 0;
	s->tick.unsynced_since = 0;
	return meta_commit(s, true);
}

void store_tick(struct store *s)
{
	struct timespec t;
	int rc = 0, r;

	if (s->readonly || atomic_load(&s->failed))
		return;
	clock_gettime(CLOCK_MONOTONIC, &t);
	int64_t now = meta_ns(t);
	/* Each does its part whatever became of the others; the first error is told. */
	store_vfs_tick(s);
	if (meta_dirty(s) && (r = meta_commit(s, false)) < 0)
		rc = r;
	if ((r = tick_chunks(s, now)) < 0 && rc == 0)
		rc = r;
	if ((r = history_expire(s, meta_now())) < 0 && rc == 0)
		rc = r;
	if ((r = gc_step(s)) < 0 && rc == 0)
		rc = r;
	if ((r = pool_tick(s)) < 0 && rc == 0)
		rc = r;
	if ((r = recompress_idle_step(s)) < 0 && rc == 0)
		rc = r;
	if ((r = meta_checkpoint(s, store_short_of_space(s) ? WAL_LIMIT_SHORT : WAL_LIMIT)) < 0 && rc == 0)
		rc = r;
	if ((r = tick_sync(s, now)) < 0 && rc == 0)
		rc = r;
	if (rc < 0 && rc != s->tick.told)
		ckpt_log(LOG_WARNING, "store '%s': housekeeping: %s", s->path, ckpt_errmsg());
	s->tick.told = rc;
}

int store_space(struct store *s, struct store_space *out)
{
	struct store_space sp = { 0 };
	struct statvfs fs;

	int dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return ckpt_fail(errno, "store '%s': %s", s->path, strerror(errno));
	if (fstatvfs(dir, &fs) < 0) {
		int rc = ckpt_fail(errno, "store '%s': %s", s->path, strerror(errno));

		close(dir);
		return rc;
	}
	uint64_t unit = fs.f_frsize ? fs.f_frsize : fs.f_bsize;
	sp.total = (uint64_t)fs.f_blocks * unit;
	sp.free = (uint64_t)fs.f_bfree * unit;
	sp.avail = (uint64_t)fs.f_bavail * unit;
	for (int i = 0; i < OWN_NAMES; i++) {
		struct stat st;

		/* stat and not open: closing a descriptor would drop SQLite's locks on a file. */
		if (fstatat(dir, own_names[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
			sp.stored += (uint64_t)st.st_blocks * 512;
	}
	close(dir);
	*out = sp;
	return 0;
}

static char engine[64];

static void name_engine(void)
{
	snprintf(engine, sizeof engine, "SQLite %s", sqlite3_libversion());
}

const char *store_engine_version(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, name_engine);
	return engine;
}
