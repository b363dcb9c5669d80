/*
 * fault_vfs.c: the disk in memory, its VFS, and what a power cut leaves of it.
 *
 * A file's content and its name are things apart, as on a real disk: a node holds bytes, an entry gives it a name.
 * The log holds every event in order, with the bytes that were written.  A replay keeps for each node the image that
 * syncs have made safe and the list of events that none has covered yet, and for names the same; a cut takes the
 * images and does to them what the mode says of the lists.
 */
#include "fault_vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NODES_MAX = 256, ENTRIES_MAX = 16, SECTOR = 4096 };

const char *const cut_name[CUT_MODES] = {
	[CUT_ALL] = "all", [CUT_NONE] = "none", [CUT_PREFIX] = "prefix", [CUT_FILES] = "files", [CUT_SECTORS] = "sectors",
	[CUT_TORN] = "torn", [CUT_GARBAGE] = "garbage",
};

struct bytes {
	uint8_t *p;
	size_t size, cap;
};

struct node {
	struct bytes b;
	bool sync_name;              /* its first sync syncs the directory too */
};

struct entry {
	char *path;
	int node;
};

enum event_kind { EV_WRITE, EV_TRUNCATE, EV_SYNC, EV_SYNC_FAILED, EV_CREATE, EV_DELETE, EV_SYNC_DIR };

struct event {
	enum event_kind kind;
	int node;
	size_t off, len;             /* len of a truncation: the new size */
	uint8_t *data;               /* of a write */
	char *path;                  /* of EV_CREATE and EV_DELETE */
};

struct disk {
	pthread_mutex_t lock;        /* guards all below */
	struct node nodes[NODES_MAX];
	int nnodes;
	struct entry entries[ENTRIES_MAX];
	int nentries;
	struct event *log;
	size_t nlog, cap_log;
	uint64_t limit;              /* 0: none */
	uint64_t (*beside)(void);
};

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

static void *get(size_t n)
{
	fault_hold();
	void *p = need(calloc(1, n ? n : 1));
	fault_release();
	return p;
}

static void *more(void *p, size_t n)
{
	fault_hold();
	p = need(realloc(p, n ? n : 1));
	fault_release();
	return p;
}

static void *dup_of(const void *p, size_t n)
{
	void *q = get(n);

	if (n)
		memcpy(q, p, n);
	return q;
}

/* New bytes are zero. */
static void set_size(struct bytes *b, size_t size)
{
	if (size > b->cap) {
		size_t cap = size + size / 2 + 4096;

		b->p = more(b->p, cap);
		b->cap = cap;
	}
	if (size > b->size)
		memset(b->p + b->size, 0, size - b->size);
	b->size = size;
}

static void put_bytes(struct bytes *b, size_t off, const void *p, size_t n)
{
	if (n == 0)
		return;
	if (off + n > b->size)
		set_size(b, off + n);
	memcpy(b->p + off, p, n);
}

/* --- disks ---------------------------------------------------------------------------------------- */

struct disk *disk_new(void)
{
	struct disk *d = get(sizeof *d);

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

static int add_node(struct disk *d)
{
	if (d->nnodes == NODES_MAX)
		need(NULL);
	return d->nnodes++;
}

static void add_entry(struct disk *d, const char *path, int node)
{
	if (d->nentries == ENTRIES_MAX)
		need(NULL);
	d->entries[d->nentries++] = (struct entry){ dup_of(path, strlen(path) + 1), node };
}

static int find_entry(const struct disk *d, const char *path)
{
	for (int i = 0; i < d->nentries; i++)
		if (strcmp(d->entries[i].path, path) == 0)
			return i;
	return -1;
}

static void drop_entry(struct disk *d, int i)
{
	free(d->entries[i].path);
	d->entries[i] = d->entries[--d->nentries];
}

struct disk *disk_copy(const struct disk *d)
{
	struct disk *c = disk_new();

	for (int i = 0; i < d->nentries; i++) {
		const struct bytes *b = &d->nodes[d->entries[i].node].b;
		int node = add_node(c);

		put_bytes(&c->nodes[node].b, 0, b->p ? (const void *)b->p : "", b->size);
		add_entry(c, d->entries[i].path, node);
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
		d->log = more(d->log, d->cap_log * sizeof *d->log);
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
		int e = find_entry(d, path);

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
		int e = find_entry(f->disk, f->delete_path);

		if (e >= 0)
			drop_entry(f->disk, e);
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
	put_bytes(&d->nodes[f->node].b, (size_t)off, buf, len);
	if (len)
		note(d, (struct event){ EV_WRITE, f->node, (size_t)off, len, dup_of(buf, len), NULL });
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
	set_size(&d->nodes[f->node].b, (size_t)size);
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
	int e = path ? find_entry(d, path) : -1;

	if (e >= 0) {
		f->node = d->entries[e].node;
	} else if (path && !(flags & SQLITE_OPEN_CREATE)) {
		pthread_mutex_unlock(&d->lock);
		errno = ENOENT;
		return fail_with(SQLITE_CANTOPEN);
	} else {
		f->node = add_node(d);
		if (path) {
			add_entry(d, path, f->node);
			note(d, (struct event){ .kind = EV_CREATE, .node = f->node, .path = dup_of(path, strlen(path) + 1) });
		}
		d->nodes[f->node].sync_name = flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL);
	}
	if (path && (flags & SQLITE_OPEN_DELETEONCLOSE))
		f->delete_path = dup_of(path, strlen(path) + 1);
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
	int e = find_entry(d, path);

	if (e >= 0) {
		note(d, (struct event){ .kind = EV_DELETE, .node = d->entries[e].node, .path = dup_of(path, strlen(path) + 1) });
		drop_entry(d, e);
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
	int e = find_entry(d, path);

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

/* --- power cuts ----------------------------------------------------------------------------------- */

struct list {
	size_t *v, n, cap;           /* places in the log */
};

struct replay {
	const struct disk *disk;
	size_t at;
	struct bytes image[NODES_MAX];
	struct list loose[NODES_MAX];
	size_t lost[NODES_MAX];      /* of `loose`, the first so many were given to a sync that failed */
	struct disk *names;          /* entries that are safe; its nodes are not used */
	struct list loose_names;
};

static void push(struct list *l, size_t v)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->v = more(l->v, l->cap * sizeof *l->v);
	}
	l->v[l->n++] = v;
}

struct replay *replay_new(const struct disk *d)
{
	struct replay *r = get(sizeof *r);

	r->disk = d;
	r->names = disk_new();
	return r;
}

struct replay *replay_on(const struct disk *first, const struct disk *d)
{
	struct replay *r = replay_new(d);

	/* As disk_copy() gives out its nodes. */
	for (int i = 0; i < first->nentries; i++) {
		const struct bytes *b = &first->nodes[first->entries[i].node].b;

		put_bytes(&r->image[i], 0, b->p ? (const void *)b->p : "", b->size);
		add_entry(r->names, first->entries[i].path, i);
	}
	return r;
}

void replay_free(struct replay *r)
{
	for (int i = 0; i < NODES_MAX; i++) {
		free(r->image[i].p);
		free(r->loose[i].v);
	}
	free(r->loose_names.v);
	disk_free(r->names);
	free(r);
}

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static void do_event(struct bytes *b, const struct event *e)
{
	if (e->kind == EV_WRITE)
		put_bytes(b, e->off, e->data, e->len);
	else
		set_size(b, e->len);
}

static void do_name(struct disk *names, const struct event *e)
{
	int i = find_entry(names, e->path);

	if (i >= 0)
		drop_entry(names, i);
	if (e->kind == EV_CREATE)
		add_entry(names, e->path, e->node);
}

/* How many of n events of a thing (a sector, a size, a name) count: all, none and anything between, equally often. */
static size_t some(uint64_t seed, uint64_t thing, size_t n)
{
	uint64_t x = mix(seed ^ mix(thing));

	switch (x % 3) {
	case 0:
		return 0;
	case 1:
		return n;
	default:
		return (size_t)((x >> 8) % (n + 1));
	}
}

/* Does to *b what of the n events in l gets there, each sector on its own. */
static void do_sectors(struct bytes *b, const struct disk *d, const struct list *l, size_t n, size_t sector, bool noise,
		uint64_t seed)
{
	size_t size = b->size, max = size, old = size, sized = some(seed, 1, n), sectors;
	size_t *count;

	for (size_t i = 0; i < n; i++) {
		const struct event *e = &d->log[l->v[i]];
		size_t end = e->kind == EV_WRITE ? e->off + e->len : e->len;

		if (i < sized)
			size = e->kind == EV_TRUNCATE || end > size ? end : size;
		if (end > max)
			max = end;
	}
	set_size(b, max);
	if (noise)
		for (size_t i = old; i < max; i++)
			b->p[i] = (uint8_t)mix(seed + i);
	sectors = max / sector + 1;
	count = get(sectors * sizeof *count);
	for (size_t i = 0; i < sectors; i++)
		count[i] = some(seed, 2 + i, n);
	for (size_t i = 0; i < n; i++) {
		const struct event *e = &d->log[l->v[i]];
		size_t from = e->kind == EV_WRITE ? e->off : e->len, end = e->kind == EV_WRITE ? e->off + e->len : max, to;

		for (size_t at = from; at < end; at = to) {
			to = (at / sector + 1) * sector;
			if (to > end)
				to = end;
			if (i >= count[at / sector])
				continue;
			if (e->kind == EV_WRITE)
				memcpy(b->p + at, e->data + (at - e->off), to - at);
			else
				memset(b->p + at, 0, to - at);
		}
	}
	free(count);
	set_size(b, size);
}

static void synced(struct replay *r, int node)
{
	struct list *l = &r->loose[node];

	/* What a failed sync has let go of reaches the disk by chance only. */
	if (r->lost[node])
		do_sectors(&r->image[node], r->disk, l, r->lost[node], 4096, false, r->at);
	for (size_t i = r->lost[node]; i < l->n; i++)
		do_event(&r->image[node], &r->disk->log[l->v[i]]);
	l->n = r->lost[node] = 0;
}

static void advance(struct replay *r, size_t events)
{
	for (; r->at < events; r->at++) {
		const struct event *e = &r->disk->log[r->at];

		switch (e->kind) {
		case EV_WRITE:
		case EV_TRUNCATE:
			push(&r->loose[e->node], r->at);
			break;
		case EV_SYNC:
			synced(r, e->node);
			break;
		case EV_SYNC_FAILED:
			r->lost[e->node] = r->loose[e->node].n;
			break;
		case EV_CREATE:
		case EV_DELETE:
			push(&r->loose_names, r->at);
			break;
		case EV_SYNC_DIR:
			for (size_t i = 0; i < r->loose_names.n; i++)
				do_name(r->names, &r->disk->log[r->loose_names.v[i]]);
			r->loose_names.n = 0;
			break;
		}
	}
}

/* The content of a node after the cut, into *b. */
static void cut_node(const struct replay *r, int node, enum cut_mode mode, size_t until, uint64_t seed, struct bytes *b)
{
	const struct list *l = &r->loose[node];
	size_t n = l->n;

	put_bytes(b, 0, r->image[node].p ? (const void *)r->image[node].p : "", r->image[node].size);
	seed = mix(seed ^ (uint64_t)node);
	if (mode == CUT_NONE || (mode == CUT_FILES && (seed & 1)))
		n = 0;
	if (mode >= CUT_SECTORS) {
		/* Files as a whole differ too, or all of a long log would never be there together. */
		if (seed % 5 == 0)
			n = 0;
		else if (seed % 5 > 1) {
			do_sectors(b, r->disk, l, n, mode == CUT_SECTORS ? 4096 : 512, mode == CUT_GARBAGE, mix(seed));
			return;
		}
	}
	for (size_t i = 0; i < n; i++) {
		const struct event *e = &r->disk->log[l->v[i]];

		if (mode == CUT_PREFIX && l->v[i] > until)
			break;
		if (mode == CUT_PREFIX && l->v[i] == until && e->kind == EV_WRITE) {
			size_t part = (size_t)(mix(seed) % (e->len + 1));

			put_bytes(b, e->off, e->data, part);
			break;
		}
		do_event(b, e);
	}
}

struct disk *replay_cut(struct replay *r, size_t events, enum cut_mode mode, uint64_t seed)
{
	struct disk *d = disk_new();
	size_t oldest = events, until;
	int nodes[NODES_MAX];

	advance(r, events);
	for (int i = 0; i < NODES_MAX; i++)
		if (r->loose[i].n && r->loose[i].v[0] < oldest)
			oldest = r->loose[i].v[0];
	until = oldest + (size_t)(mix(seed) % (events - oldest + 1));

	/* Names first: what has none is not there. */
	for (int i = 0; i < r->names->nentries; i++)
		add_entry(d, r->names->entries[i].path, r->names->entries[i].node);
	for (size_t i = 0; i < r->loose_names.n; i++) {
		const struct event *e = &r->disk->log[r->loose_names.v[i]];
		uint64_t name = 0;
		bool done = mode == CUT_ALL || (mode == CUT_PREFIX && r->loose_names.v[i] <= until);

		for (const char *c = e->path; *c; c++)
			name = mix(name ^ (uint8_t)*c);
		if (mode == CUT_FILES)
			done = mix(seed ^ name) & 1;
		else if (mode >= CUT_SECTORS)
			done = i < some(seed, name, r->loose_names.n);
		if (done)
			do_name(d, e);
	}
	for (int i = 0; i < NODES_MAX; i++)
		nodes[i] = -1;
	for (int i = 0; i < d->nentries; i++) {
		int node = d->entries[i].node;

		if (nodes[node] < 0) {
			nodes[node] = add_node(d);
			cut_node(r, node, mode, until, seed, &d->nodes[nodes[node]].b);
		}
		d->entries[i].node = nodes[node];
	}
	return d;
}
