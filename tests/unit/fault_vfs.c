/*
 * fault_vfs.c: the disk in memory, its faults, and its VFS.
 */
#include "fault_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECTOR = 4096 };

static _Atomic(struct disk *) in_use;

/* --- memory: a test that has none is over --------------------------------------------------------------- */

static void *need(void *p)
{
	if (!p) {
		fprintf(stderr, "fault_vfs: no memory\n");
		abort();
	}
	return p;
}

void *disk_alloc(size_t n)
{
	fault_hold();
	void *p = need(calloc(1, n ? n : 1));
	fault_release();
	return p;
}

void *disk_realloc(void *p, size_t n)
{
	fault_hold();
	p = need(realloc(p, n ? n : 1));
	fault_release();
	return p;
}

void *disk_dup(const void *p, size_t n)
{
	void *q = disk_alloc(n);

	if (n)
		memcpy(q, p, n);
	return q;
}

/* New bytes are zero. */
void bytes_resize(struct bytes *b, size_t size)
{
	if (size > b->cap) {
		size_t cap = size + size / 2 + 4096;

		b->p = disk_realloc(b->p, cap);
		b->cap = cap;
	}
	if (size > b->size)
		memset(b->p + b->size, 0, size - b->size);
	b->size = size;
}

void bytes_put(struct bytes *b, size_t off, const void *p, size_t n)
{
	if (n == 0)
		return;
	if (off + n > b->size)
		bytes_resize(b, off + n);
	memcpy(b->p + off, p, n);
}

/* --- disks ---------------------------------------------------------------------------------------- */

struct disk *disk_new(void)
{
	struct disk *d = disk_alloc(sizeof *d);

	pthread_mutex_init(&d->lock, NULL);
	return d;
}

void disk_free(struct disk *d)
{
	if (!d)
		return;
	for (int i = 0; i < d->nnodes; i++)
		free(d->nodes[i].b.p);
	for (int i = 0; i < d->nentries; i++)
		free(d->entries[i].path);
	for (size_t i = 0; i < d->nlog; i++) {
		free(d->log[i].data);
		free(d->log[i].path);
	}
	free(d->log);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

int disk_add_node(struct disk *d)
{
	if (d->nnodes == NODES_MAX)
		need(NULL);
	return d->nnodes++;
}

void disk_add_entry(struct disk *d, const char *path, int node)
{
	if (d->nentries == ENTRIES_MAX)
		need(NULL);
	d->entries[d->nentries++] = (struct entry){ disk_dup(path, strlen(path) + 1), node };
}

int disk_find(const struct disk *d, const char *path)
{
	for (int i = 0; i < d->nentries; i++)
		if (strcmp(d->entries[i].path, path) == 0)
			return i;
	return -1;
}

void disk_drop_entry(struct disk *d, int i)
{
	free(d->entries[i].path);
	d->entries[i] = d->entries[--d->nentries];
}

struct disk *disk_copy(const struct disk *d)
{
	struct disk *c = disk_new();

	for (int i = 0; i < d->nentries; i++) {
		const struct bytes *b = &d->nodes[d->entries[i].node].b;
		int node = disk_add_node(c);

		bytes_put(&c->nodes[node].b, 0, b->p ? (const void *)b->p : "", b->size);
		disk_add_entry(c, d->entries[i].path, node);
	}
	return c;
}

void disk_use(struct disk *d)
{
	atomic_store(&in_use, d);
}

static struct disk *current(void)
{
	return atomic_load(&in_use);
}

/* Lock held. */
static void note(struct disk *d, struct event e)
{
	if (d->nlog == d->cap_log) {
		d->cap_log = d->cap_log ? 2 * d->cap_log : 256;
		d->log = disk_realloc(d->log, d->cap_log * sizeof *d->log);
	}
	d->log[d->nlog++] = e;
}

size_t disk_events(const struct disk *d)
{
	pthread_mutex_lock((pthread_mutex_t *)&d->lock);
	size_t n = d->nlog;

	pthread_mutex_unlock((pthread_mutex_t *)&d->lock);
	return n;
}

/* Of all files that have a name. Lock held. */
static uint64_t used(const struct disk *d)
{
	uint64_t n = 0;

	for (int i = 0; i < d->nentries; i++)
		n += d->nodes[d->entries[i].node].b.size;
	return n;
}

uint64_t disk_used(const struct disk *d)
{
	pthread_mutex_lock((pthread_mutex_t *)&d->lock);
	uint64_t n = used(d);

	pthread_mutex_unlock((pthread_mutex_t *)&d->lock);
	return n;
}

void disk_limit(struct disk *d, uint64_t bytes, uint64_t (*beside)(void))
{
	d->limit = bytes;
	d->beside = beside;
}

void disk_sync_dir(struct disk *d)
{
	pthread_mutex_lock(&d->lock);
	note(d, (struct event){ .kind = EV_SYNC_DIR });
	pthread_mutex_unlock(&d->lock);
}

int disk_mirror(const struct disk *d, const char *dir)
{
	static const char *const names[] = { "meta.db", "meta.db-wal", "meta.db-journal", "chunks.db", "chunks.db-journal" };
	char path[512];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		int e = disk_find(d, path);

		if (e < 0) {
			unlink(path);
			continue;
		}
		const struct bytes *b = &d->nodes[d->entries[e].node].b;
		int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		size_t n = b->size < 4096 ? b->size : 4096;

		if (fd < 0 || write(fd, b->p ? (const void *)b->p : "", n) != (ssize_t)n || ftruncate(fd, (off_t)b->size) < 0) {
			if (fd >= 0)
				close(fd);
			return -1;
		}
		close(fd);
	}
	return 0;
}

/* --- faults --------------------------------------------------------------------------------------- */

static struct {
	pthread_mutex_t lock;        /* guards the rest */
	struct fault_plan plan;
	uint64_t seen, struck;
} fault = { .lock = PTHREAD_MUTEX_INITIALIZER };
static atomic_bool armed;
static _Thread_local int held;

void fault_arm(const struct fault_plan *p)
{
	pthread_mutex_lock(&fault.lock);
	fault.plan = *p;
	fault.seen = fault.struck = 0;
	pthread_mutex_unlock(&fault.lock);
	atomic_store(&armed, true);
}

uint64_t fault_disarm(void)
{
	atomic_store(&armed, false);
	pthread_mutex_lock(&fault.lock);
	uint64_t n = fault.struck;

	pthread_mutex_unlock(&fault.lock);
	return n;
}

bool fault_strikes(enum fault_kind kind)
{
	bool yes = false;

	if (!atomic_load(&armed) || held)
		return false;
	pthread_mutex_lock(&fault.lock);
	const struct fault_plan *p = &fault.plan;

	if (p->kind == kind) {
		fault.seen++;
		yes = fault.seen >= p->first && (p->times == 0 || fault.seen < p->first + p->times);
		fault.struck += yes;
	}
	pthread_mutex_unlock(&fault.lock);
	return yes;
}

void fault_hold(void)
{
	held++;
}

void fault_release(void)
{
	held--;
}

/* Counts an event; when it fails sets errno and returns SQLite's code, else SQLITE_OK. */
static int strike(enum fault_kind kind, int code)
{
	if (!fault_strikes(kind))
		return SQLITE_OK;
	errno = fault.plan.full ? ENOSPC : EIO;
	return fault.plan.full && (kind == FAULT_WRITE || kind == FAULT_GROW) ? SQLITE_FULL : code;
}

/* --- files ---------------------------------------------------------------------------------------- */

struct file {
	sqlite3_file base;           /* first */
	struct disk *disk;
	int node;
	char *delete_path;           /* to delete at close; NULL: stays */
};

static _Thread_local int last_errno;

static struct file *file_of(sqlite3_file *p)
{
	return (struct file *)p;
}

static int fail_with(int code)
{
	last_errno = errno;
	return code;
}

static int f_close(sqlite3_file *p)
{
	struct file *f = file_of(p);

	if (f->delete_path) {
		pthread_mutex_lock(&f->disk->lock);
		int e = disk_find(f->disk, f->delete_path);

		if (e >= 0)
			disk_drop_entry(f->disk, e);
		pthread_mutex_unlock(&f->disk->lock);
		free(f->delete_path);
	}
	return SQLITE_OK;
}

static int f_read(sqlite3_file *p, void *buf, int n, sqlite3_int64 off)
{
	struct file *f = file_of(p);
	int code = strike(FAULT_READ, SQLITE_IOERR_READ);

	if (code != SQLITE_OK)
		return fail_with(code);
	pthread_mutex_lock(&f->disk->lock);
	const struct bytes *b = &f->disk->nodes[f->node].b;
	size_t have = (size_t)off < b->size ? b->size - (size_t)off : 0;

	if (have > (size_t)n)
		have = (size_t)n;
	if (have)
		memcpy(buf, b->p + off, have);
	pthread_mutex_unlock(&f->disk->lock);
	if (have == (size_t)n)
		return SQLITE_OK;
	memset((char *)buf + have, 0, (size_t)n - have);
	return SQLITE_IOERR_SHORT_READ;
}

static int f_write(sqlite3_file *p, const void *buf, int n, sqlite3_int64 off)
{
	struct file *f = file_of(p);
	struct disk *d = f->disk;
	size_t len = (size_t)n;
	int code = strike(FAULT_WRITE, SQLITE_IOERR_WRITE);

	pthread_mutex_lock(&d->lock);
	size_t size = d->nodes[f->node].b.size, grow = (size_t)off + len > size ? (size_t)off + len - size : 0;

	if (code == SQLITE_OK && grow)
		code = strike(FAULT_GROW, SQLITE_IOERR_WRITE);
	if (code == SQLITE_OK && grow && d->limit && used(d) + grow + d->beside() > d->limit) {
		errno = ENOSPC;
		code = SQLITE_FULL;
		len = 0;
	}
	if (code != SQLITE_OK)
		len /= 3; /* some of it got there */
	bytes_put(&d->nodes[f->node].b, (size_t)off, buf, len);
	if (len)
		note(d, (struct event){ EV_WRITE, f->node, (size_t)off, len, disk_dup(buf, len), NULL });
	pthread_mutex_unlock(&d->lock);
	return code == SQLITE_OK ? code : fail_with(code);
}

static int f_truncate(sqlite3_file *p, sqlite3_int64 size)
{
	struct file *f = file_of(p);
	struct disk *d = f->disk;
	int code = strike(FAULT_TRUNCATE, SQLITE_IOERR_TRUNCATE);

	if (code != SQLITE_OK)
		return fail_with(code);
	pthread_mutex_lock(&d->lock);
	bytes_resize(&d->nodes[f->node].b, (size_t)size);
	note(d, (struct event){ .kind = EV_TRUNCATE, .node = f->node, .len = (size_t)size });
	pthread_mutex_unlock(&d->lock);
	return SQLITE_OK;
}

static int f_sync(sqlite3_file *p, int flags)
{
	struct file *f = file_of(p);
	struct disk *d = f->disk;
	int code = strike(FAULT_SYNC, SQLITE_IOERR_FSYNC);

	(void)flags;
	pthread_mutex_lock(&d->lock);
	note(d, (struct event){ .kind = code == SQLITE_OK ? EV_SYNC : EV_SYNC_FAILED, .node = f->node });
	if (code == SQLITE_OK && d->nodes[f->node].sync_name) {
		d->nodes[f->node].sync_name = false;
		note(d, (struct event){ .kind = EV_SYNC_DIR });
	}
	pthread_mutex_unlock(&d->lock);
	return code == SQLITE_OK ? code : fail_with(code);
}

static int f_size(sqlite3_file *p, sqlite3_int64 *size)
{
	struct file *f = file_of(p);

	pthread_mutex_lock(&f->disk->lock);
	*size = (sqlite3_int64)f->disk->nodes[f->node].b.size;
	pthread_mutex_unlock(&f->disk->lock);
	return SQLITE_OK;
}

/* One process has a disk: locks always are to be had. */
static int f_lock(sqlite3_file *p, int level)
{
	(void)p;
	(void)level;
	return SQLITE_OK;
}

static int f_reserved(sqlite3_file *p, int *out)
{
	(void)p;
	*out = 0;
	return SQLITE_OK;
}

static int f_control(sqlite3_file *p, int op, void *arg)
{
	(void)p;
	(void)op;
	(void)arg;
	return SQLITE_NOTFOUND;
}

static int f_sector(sqlite3_file *p)
{
	(void)p;
	return SECTOR;
}

static int f_characteristics(sqlite3_file *p)
{
	(void)p;
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods f_methods = {
	.iVersion = 1, .xClose = f_close, .xRead = f_read, .xWrite = f_write, .xTruncate = f_truncate, .xSync = f_sync,
	.xFileSize = f_size, .xLock = f_lock, .xUnlock = f_lock, .xCheckReservedLock = f_reserved,
	.xFileControl = f_control, .xSectorSize = f_sector, .xDeviceCharacteristics = f_characteristics,
};

/* --- the VFS -------------------------------------------------------------------------------------- */

static int v_open(sqlite3_vfs *v, const char *path, sqlite3_file *p, int flags, int *out)
{
	struct file *f = file_of(p);
	struct disk *d = current();
	int code = strike(FAULT_OPEN, SQLITE_CANTOPEN);

	(void)v;
	memset(f, 0, sizeof *f);
	if (code != SQLITE_OK)
		return fail_with(code);
	f->disk = d;
	pthread_mutex_lock(&d->lock);
	int e = path ? disk_find(d, path) : -1;

	if (e >= 0) {
		f->node = d->entries[e].node;
	} else if (path && !(flags & SQLITE_OPEN_CREATE)) {
		pthread_mutex_unlock(&d->lock);
		errno = ENOENT;
		return fail_with(SQLITE_CANTOPEN);
	} else {
		f->node = disk_add_node(d);
		if (path) {
			disk_add_entry(d, path, f->node);
			note(d, (struct event){ .kind = EV_CREATE, .node = f->node, .path = disk_dup(path, strlen(path) + 1) });
		}
		d->nodes[f->node].sync_name = flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL);
	}
	if (path && (flags & SQLITE_OPEN_DELETEONCLOSE))
		f->delete_path = disk_dup(path, strlen(path) + 1);
	pthread_mutex_unlock(&d->lock);
	f->base.pMethods = &f_methods;
	if (out)
		*out = flags;
	return SQLITE_OK;
}

static int v_delete(sqlite3_vfs *v, const char *path, int sync)
{
	struct disk *d = current();
	int code = strike(FAULT_DELETE, SQLITE_IOERR_DELETE);

	(void)v;
	if (code != SQLITE_OK)
		return fail_with(code);
	pthread_mutex_lock(&d->lock);
	int e = disk_find(d, path);

	if (e >= 0) {
		note(d, (struct event){ .kind = EV_DELETE, .node = d->entries[e].node, .path = disk_dup(path, strlen(path) + 1) });
		disk_drop_entry(d, e);
		if (sync)
			note(d, (struct event){ .kind = EV_SYNC_DIR });
	}
	pthread_mutex_unlock(&d->lock);
	return e >= 0 ? SQLITE_OK : SQLITE_IOERR_DELETE_NOENT;
}

static int v_access(sqlite3_vfs *v, const char *path, int flags, int *out)
{
	struct disk *d = current();

	(void)v;
	pthread_mutex_lock(&d->lock);
	int e = disk_find(d, path);

	/* As the unix VFS: an empty file is none, to whom asks whether it exists. */
	*out = e >= 0 && (flags != SQLITE_ACCESS_EXISTS || d->nodes[d->entries[e].node].b.size > 0);
	pthread_mutex_unlock(&d->lock);
	return SQLITE_OK;
}

static int v_full_pathname(sqlite3_vfs *v, const char *path, int n, char *out)
{
	(void)v;
	return snprintf(out, (size_t)n, "%s", path) < n ? SQLITE_OK : SQLITE_CANTOPEN;
}

static sqlite3_vfs *real;

static int v_randomness(sqlite3_vfs *v, int n, char *out)
{
	(void)v;
	return real->xRandomness(real, n, out);
}

static int v_sleep(sqlite3_vfs *v, int us)
{
	(void)v;
	return us;
}

static int v_current_time(sqlite3_vfs *v, double *out)
{
	(void)v;
	return real->xCurrentTime(real, out);
}

static int v_last_error(sqlite3_vfs *v, int n, char *out)
{
	(void)v;
	(void)n;
	(void)out;
	return last_errno;
}

int fault_vfs_register(void)
{
	static sqlite3_vfs vfs = {
		.iVersion = 1, .szOsFile = sizeof(struct file), .mxPathname = 512, .zName = FAULT_VFS, .xOpen = v_open,
		.xDelete = v_delete, .xAccess = v_access, .xFullPathname = v_full_pathname, .xRandomness = v_randomness,
		.xSleep = v_sleep, .xCurrentTime = v_current_time, .xGetLastError = v_last_error,
	};

	real = sqlite3_vfs_find(NULL);
	return real ? sqlite3_vfs_register(&vfs, 0) : SQLITE_ERROR;
}
