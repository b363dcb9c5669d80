/*
 * history.c: versions that lost their place.
 *
 * meta_version_end() decides whether a version is kept: a row in `history` then carries what the inode said
 * about it, and the rows of `version` and `manifest` stay as they are.  Its end, by age or for want of
 * space, is meta_version_delete(); the chunks it named are left to gc, which looks at tree_garbage_hint() to
 * see whether a walk is worth it.
 *
 * Listing.  Users see the paths of the history as a tree, but it is kept as a flat, ordered set of paths,
 * for paths come and go by rename while the history stays what it was.  The names that follow a prefix are
 * found by seeks alone, a few for each, however many versions lie below a name.  Byte order of paths is not
 * quite that of names: '/' (0x2f) comes after ' ', '+', '-' and '.', so
 *
 *     paths   run-2/a   run.log   run/003/model.pt        names   run   run-2   run.log
 *
 * The first path behind the last name therefore ends with a name that may not be the next: one that is a
 * proper beginning of it, and exists as a directory only, comes first (list_next).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hold_internal.h"
#include "pool_internal.h"
#include "store_history.h"
#include "tree_internal.h"

enum {
	EXPIRE_BATCH = 256,           /* versions ended in one operation, */
	LIST_BATCH = 64,
};
#define EXPIRE_BYTES ((uint64_t)64 << 30) /* unless they are so large that their manifests alone are much to delete */
#define HISTORY_DEFAULT ((int64_t)24 * 3600)

/* --- the end of a version ------------------------------------------------------------------------------ */

uint64_t tree_garbage_hint(struct store *s)
{
	return atomic_load(&s->tree->garbage);
}

void tree_garbage_reset(struct store *s)
{
	atomic_store(&s->tree->garbage, 0);
}

static int delete_by(struct store *s, const char *sql, uint64_t id)
{
	sqlite3_stmt *st = meta_stmt(s, sql);

	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)id);
	return meta_exec(s, st);
}

/* *data: its bytes, 0 when all are inline. A draft has manifest rows and no row of its own. */
static int delete_version(struct store *s, uint64_t version, uint64_t *data)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT data, content IS NULL OR tail > 0 FROM version WHERE id = ?1");
	bool chunks = true;
	int rc;

	*data = 0;
	if (st == NULL)
		return meta_fail(s);
	if (meta_version_held(s, version))
		return meta_version_doom(s, version);
	tree_bind(st, 1, (int64_t)version);
	rc = meta_step(s, st);
	if (rc < 0)
		return rc;
	if (rc == 1) {
		chunks = sqlite3_column_int(st, 1) != 0;
		if (chunks)
			*data = (uint64_t)sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
	}
	rc = delete_by(s, "DELETE FROM version WHERE id = ?1", version);
	if (rc == 0 && chunks)
		rc = delete_by(s, "DELETE FROM manifest WHERE version = ?1", version);
	if (rc == 0)
		rc = meta_derived_forget(s, version);
	if (rc == 0 && s->tree != NULL) /* files_open() comes before tree_open() and may delete what a crash left */
		atomic_fetch_add(&s->tree->garbage, *data);
	if (rc == 0 && chunks && s->pool != NULL && *data <= POOL_MAX)
		atomic_store(&s->pool->died, true);
	return rc;
}

int meta_version_delete(struct store *s, uint64_t version)
{
	uint64_t data;

	return delete_version(s, version, &data);
}

static int keep_version(struct store *s, uint64_t version, const struct store_attr *a, int how, const char *path,
		size_t path_len)
{
	sqlite3_stmt *st = meta_stmt(s, "INSERT INTO history(version, path, how, ended, ino, mode, uid, gid, size, data, "
			"atime, mtime, ctime, btime) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)");

	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)version);
	tree_bind_blob(st, 2, path, path_len);
	tree_bind(st, 3, how);
	tree_bind(st, 4, meta_now());
	tree_bind(st, 5, (int64_t)a->ino);
	tree_bind(st, 6, a->mode);
	tree_bind(st, 7, a->uid);
	tree_bind(st, 8, a->gid);
	tree_bind(st, 9, (int64_t)a->size);
	tree_bind(st, 10, (int64_t)a->data);
	tree_bind(st, 11, meta_ns(a->atime));
	tree_bind(st, 12, meta_ns(a->mtime));
	tree_bind(st, 13, meta_ns(a->ctime));
	tree_bind(st, 14, meta_ns(a->btime));
	return meta_exec(s, st);
}

int meta_version_end(struct store *s, uint64_t version, const struct store_attr *attr, int how, bool keep,
		const char *path, size_t path_len)
{
	char *found = NULL;
	int rc;

	if (version == 0)
		return 0;
	if (how == STORE_TORN)
		keep = attr->size > 0;
	else
		keep = keep && attr->size >= STORE_HISTORY_MIN;
	if (!keep || s->opt.history_seconds == 0)
		return meta_version_delete(s, version);
	if (path == NULL) {
		rc = tree_path_of(s, attr->ino, &found, &path_len);
		if (rc == -ENOENT || rc == -ERANGE)
			return meta_version_delete(s, version); /* no path to find it under */
		if (rc < 0)
			return rc;
		path = found;
	}
	rc = keep_version(s, version, attr, how, path, path_len);
	free(found);
	return rc;
}

/* --- looking ---------------------------------------------------------------------------------------------- */

#define PAST_COLS "version, how, ended, ino, mode, uid, gid, size, data, atime, mtime, ctime, btime"

static void read_past(sqlite3_stmt *st, struct store_past *p)
{
	*p = (struct store_past){
		.version = (uint64_t)sqlite3_column_int64(st, 0),
		.how = (enum store_ending)sqlite3_column_int(st, 1),
		.ended = sqlite3_column_int64(st, 2),
		.attr = {
			.ino = (uint64_t)sqlite3_column_int64(st, 3),
			.mode = (uint32_t)sqlite3_column_int64(st, 4),
			.nlink = 1,
			.uid = (uint32_t)sqlite3_column_int64(st, 5),
			.gid = (uint32_t)sqlite3_column_int64(st, 6),
			.size = (uint64_t)sqlite3_column_int64(st, 7),
			.data = (uint64_t)sqlite3_column_int64(st, 8),
			.atime = meta_timespec(sqlite3_column_int64(st, 9)),
			.mtime = meta_timespec(sqlite3_column_int64(st, 10)),
			.ctime = meta_timespec(sqlite3_column_int64(st, 11)),
			.btime = meta_timespec(sqlite3_column_int64(st, 12)),
			.version = (uint64_t)sqlite3_column_int64(st, 0),
		},
	};
}

int store_history_get(struct store *s, uint64_t version, struct store_past *out)
{
	sqlite3_stmt *st;
	int rc;

	meta_lock(s);
	st = meta_stmt(s, "SELECT " PAST_COLS " FROM history WHERE version = ?1");
	if (st == NULL) {
		rc = meta_fail(s);
	} else {
		tree_bind(st, 1, (int64_t)version);
		rc = meta_step(s, st);
		if (rc > 0)
			read_past(st, out);
		else if (rc == 0)
			rc = ckpt_fail(ENOENT, "version %llu: not in the history", (unsigned long long)version);
	}
	meta_unlock(s);
	return rc < 0 ? rc : 0;
}

static int older(const void *a, const void *b)
{
	const struct store_past *p = a, *q = b;

	if (p->ended != q->ended)
		return p->ended < q->ended ? -1 : 1;
	return p->version < q->version ? -1 : p->version > q->version;
}

/* All of a path; *out malloc()ed. Lock held. */
static int collect(struct store *s, const char *path, size_t len, struct store_past **out, size_t *n)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT " PAST_COLS " FROM history WHERE path = ?1");
	struct store_past *list = NULL;
	size_t count = 0, cap = 0;
	int rc;

	if (st == NULL)
		return meta_fail(s);
	tree_bind_blob(st, 1, path, len);
	while ((rc = meta_step(s, st)) > 0) {
		if (count == cap) {
			struct store_past *bigger;

			cap = cap > 0 ? cap * 2 : 16;
			bigger = reallocarray(list, cap, sizeof *list);
			if (bigger == NULL) {
				sqlite3_reset(st);
				free(list);
				return ckpt_fail(ENOMEM, "no memory for the history of '%.*s'", (int)len, path);
			}
			list = bigger;
		}
		read_past(st, &list[count++]);
	}
	if (rc < 0) {
		free(list);
		return rc;
	}
	*out = list;
	*n = count;
	return 0;
}

int store_history_of(struct store *s, const char *path, size_t len, int (*emit)(void *arg, const struct store_past *),
		void *arg)
{
	struct store_past *list = NULL;
	size_t n = 0;
	int rc;

	meta_lock(s);
	rc = collect(s, path, len, &list, &n);
	meta_unlock(s);
	if (rc < 0)
		return rc;
	if (n > 1)
		qsort(list, n, sizeof *list, older); /* a version renamed to this path may have an older id */
	for (size_t i = 0; i < n; i++)
		if (emit(arg, &list[i]) != 0)
			break;
	free(list);
	return 0;
}

/*
 * --- names below a path
 * -------------------------------------------------------------------------------------
 */

struct item {
	char name[STORE_NAME_MAX];
	size_t len;
	bool leaf, dir;
};

struct listing {
	char *key;             /* the directory's path and '/' (nothing for the root), then room for a name and one byte */
	size_t base;           /* length of the former */
	struct item last;      /* the name behind which to go on; len 0: from the beginning */
	struct item batch[LIST_BATCH];
};

static int compare(const char *a, size_t alen, const char *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	return c != 0 ? c : (alen > blen) - (alen < blen);
}

/*
 * The first path at or behind base + name + the byte `then` (none when negative): 1 with the name in it that
 * follows base (leaf: the path ends with it), 0 when none has that base.
 */
static int seek(struct store *s, struct listing *l, const char *name, size_t len, int then, struct item *out)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT path FROM history WHERE path >= ?1 ORDER BY path LIMIT 1");
	const char *path, *slash;
	size_t path_len, n;
	int rc;

	if (st == NULL)
		return meta_fail(s);
	memcpy(l->key + l->base, name, len);
	if (then >= 0)
		l->key[l->base + len] = (char)then;
	tree_bind_blob(st, 1, l->key, l->base + len + (then >= 0));
	rc = meta_step(s, st);
	if (rc <= 0)
		return rc;
	path = sqlite3_column_blob(st, 0);
	path_len = (size_t)sqlite3_column_bytes(st, 0);
	if (path_len <= l->base || memcmp(path, l->key, l->base) != 0) {
		sqlite3_reset(st);
		return 0;
	}
	path += l->base;
	path_len -= l->base;
	slash = memchr(path, '/', path_len);
	n = slash != NULL ? (size_t)(slash - path) : path_len;
	if (n == 0 || n > STORE_NAME_MAX) {
		sqlite3_reset(st);
		return ckpt_fail(EIO, "the history has a path with a name of %zu bytes", n);
	}
	*out = (struct item){ .len = n, .leaf = slash == NULL, .dir = slash != NULL };
	memcpy(out->name, path, n);
	sqlite3_reset(st);
	return 1;
}

/* 1 when there are paths below base + name. */
static int has_below(struct store *s, struct listing *l, const char *name, size_t len)
{
	struct item found;
	int rc = seek(s, l, name, len, '/', &found);

	return rc <= 0 ? rc : compare(found.name, found.len, name, len) == 0;
}

/* The next name: 1, 0 at the end, -errno. */
static int list_next(struct store *s, struct listing *l, struct item *out)
{
	const struct item *last = &l->last;
	int rc = seek(s, l, last->name, last->len, last->len > 0 ? 0 : -1, out);

	/* Below a name that was shown, `last` or a beginning of it: go on behind that directory. */
	while (rc > 0 && compare(out->name, out->len, last->name, last->len) <= 0) {
		struct item shown = *out;

		rc = seek(s, l, shown.name, shown.len, '/' + 1, out);
	}
	if (rc <= 0)
		return rc;
	for (size_t n = 1; n < out->len; n++) {
		if ((unsigned char)out->name[n] >= '/' || compare(out->name, n, last->name, last->len) <= 0)
			continue;
		rc = has_below(s, l, out->name, n);
		if (rc < 0)
			return rc;
		if (rc > 0) {
			out->len = n;
			out->leaf = false;
			out->dir = true;
			return 1;
		}
	}
	if (!out->dir) {
		rc = has_below(s, l, out->name, out->len);
		if (rc < 0)
			return rc;
		out->dir = rc > 0;
	}
	return 1;
}

static int list_batch(struct store *s, struct listing *l, size_t *n)
{
	int rc = 1;

	meta_lock(s);
	for (*n = 0; *n < LIST_BATCH; (*n)++) {
		rc = list_next(s, l, &l->batch[*n]);
		if (rc <= 0)
			break;
		l->last = l->batch[*n];
	}
	meta_unlock(s);
	return rc < 0 ? rc : 0;
}

int store_history_list(struct store *s, const char *prefix, size_t len,
		int (*emit)(void *arg, const char *name, size_t name_len, int leaf, int dir), void *arg)
{
	struct listing *l;
	size_t n;
	int rc;

	if (len > TREE_PATH_MAX)
		return ckpt_fail(ENAMETOOLONG, "a path of %zu bytes", len);
	l = calloc(1, sizeof *l);
	if (l == NULL)
		return ckpt_fail(ENOMEM, "no memory to list the history");
	l->key = malloc(len + 1 + STORE_NAME_MAX + 1);
	if (l->key == NULL) {
		rc = ckpt_fail(ENOMEM, "no memory to list the history");
		goto free_listing;
	}
	if (len > 0) {
		memcpy(l->key, prefix, len);
		l->key[len] = '/';
		l->base = len + 1;
	}
	do {
		rc = list_batch(s, l, &n);
		for (size_t i = 0; rc == 0 && i < n; i++) {
			const struct item *it = &l->batch[i];

			rc = emit(arg, it->name, it->len, it->leaf, it->dir) != 0 ? 1 : 0;
		}
	} while (rc == 0 && n == LIST_BATCH);
	free(l->key);
free_listing:
	free(l);
	return rc > 0 ? 0 : rc;
}

/*
 * --- the end of the history
 * ------------------------------------------------------------------------------------
 */

/* The versions that ended first and before `cutoff`, at most max. Returns how many. Lock held. */
static int oldest(struct store *s, int64_t cutoff, unsigned max, uint64_t versions[static EXPIRE_BATCH])
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT version FROM history WHERE ended < ?1 ORDER BY ended LIMIT ?2");
	int n = 0, rc;

	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, cutoff);
	tree_bind(st, 2, max < EXPIRE_BATCH ? max : EXPIRE_BATCH);
	while ((rc = meta_step(s, st)) > 0)
		versions[n++] = (uint64_t)sqlite3_column_int64(st, 0);
	return rc < 0 ? rc : n;
}

/* One operation. Returns how many were ended, 0 when there are none. */
static int end_batch(struct store *s, int64_t cutoff, unsigned max)
{
	uint64_t versions[EXPIRE_BATCH], bytes = 0;
	int n, done = 0, rc;

	rc = meta_begin(s);
	if (rc < 0)
		return rc;
	n = oldest(s, cutoff, max, versions);
	rc = n < 0 ? n : 0;
	while (rc == 0 && done < n && bytes < EXPIRE_BYTES) {
		uint64_t data;

		rc = delete_by(s, "DELETE FROM history WHERE version = ?1", versions[done]);
		if (rc == 0)
			rc = delete_version(s, versions[done], &data);
		if (rc == 0) {
			bytes += data;
			done++;
		}
	}
	rc = meta_end(s, rc);
	return rc < 0 ? rc : done;
}

/* Whether there is anything to end, found without a transaction: once a second mostly there is not. */
static bool any_before(struct store *s, int64_t cutoff)
{
	uint64_t versions[EXPIRE_BATCH];
	int n;

	meta_lock(s);
	n = oldest(s, cutoff, 1, versions);
	meta_unlock(s);
	return n != 0; /* an error shows again when the transaction meets it */
}

static int end_oldest(struct store *s, int64_t cutoff, unsigned max)
{
	unsigned done = 0;
	int rc;

	rc = tree_check_change(s, false);
	if (rc == 0 && !any_before(s, cutoff))
		return 0;
	while (rc >= 0 && done < max) {
		rc = end_batch(s, cutoff, max - done);
		if (rc <= 0)
			break;
		done += (unsigned)rc;
		if (done < max)
			rc = meta_commit(s, false); /* so that no transaction grows with the history */
	}
	return rc < 0 ? rc : (int)done;
}

int history_expire(struct store *s, int64_t now_ns)
{
	int64_t seconds = s->opt.history_seconds < 0 ? HISTORY_DEFAULT : s->opt.history_seconds;
	int64_t age;

	if (__builtin_mul_overflow(seconds, 1000000000, &age) || __builtin_sub_overflow(now_ns, age, &age))
		return 0; /* for ever */
	return end_oldest(s, age, INT32_MAX);
}

int history_shrink(struct store *s, unsigned n)
{
	return end_oldest(s, INT64_MAX, n < INT32_MAX ? n : INT32_MAX);
}
