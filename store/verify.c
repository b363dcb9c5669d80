/*
 * verify.c: is everything as it should be?
 *
 *   1. databases   every page has its sum; SQLite's own check of each table of meta.db (verify_pages.c)
 *   2. names       every name leads to an inode of its type; link counts; a directory has one name, in its parent
 *   3. versions    every file's version is there; nobody's version is left over; manifests are well formed, lie
 *                  within the size and name bytes that their chunks have; inline content decodes
 *   4. chunks      payloads have their checksum; with data, the plain bytes their SHA-256
 *
 * The store may be in use: the locks are held for a few hundred rows at a time.  What looks wrong because it changed
 * between two looks is looked at again, alone and under the lock, before anything is said.  What can't be read is a problem,
 * and the rest is looked at nevertheless.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "chunk_parts.h"
#include "manifest_internal.h"
#include "meta_internal.h"
#include "store_file.h"
#include "verify_internal.h"

enum { BATCH = 256, PATH_ROOM = 4096 };

void verify_tell(struct verify *v, const char *fmt, ...)
{
	char line[PATH_ROOM + 512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	v->out->problems++;
	if (v->problem)
		v->problem(v->arg, line);
}

/* The path of an inode for a message, or its number. */
static const char *path_of(struct verify *v, uint64_t ino, char *buf)
{
	ssize_t n = store_pathof(v->s, ino, buf, PATH_ROOM - 1);

	if (n < 0)
		snprintf(buf, PATH_ROOM, "inode %llu", (unsigned long long)ino);
	else
		buf[n] = 0;
	return buf;
}

int verify_step(struct verify *v, uint64_t done, bool bytes)
{
	v->done += done;
	if (v->progress && v->progress(v->arg, v->done, v->total > v->done ? v->total : v->done, bytes))
		return ckpt_fail(ECANCELED, "interrupted");
	return 0;
}

/* --- 2: names ------------------------------------------------------------------------------------ */

/* Counts the names of each inode, and of directories' own. */
static int count_names(struct verify *v)
{
	uint64_t parent = 0, *n;
	int64_t cookie = -1;
	sqlite3_stmt *st;
	int rc, rows;

	do {
		meta_lock(v->s);
		rows = 0;
		st = meta_stmt(v->s, "SELECT parent, cookie, ino, type FROM dirent INDEXED BY dirent_order "
				"WHERE (parent, cookie) > (?1, ?2) ORDER BY parent, cookie LIMIT 1024");
		if (!st) {
			rc = meta_fail(v->s);
		} else {
			sqlite3_bind_int64(st, 1, (int64_t)parent);
			sqlite3_bind_int64(st, 2, cookie);
			while ((rc = meta_step(v->s, st)) == 1) {
				rows++;
				parent = (uint64_t)sqlite3_column_int64(st, 0);
				cookie = sqlite3_column_int64(st, 1);
				n = idmap_get(&v->names, (uint64_t)sqlite3_column_int64(st, 2) ? (uint64_t)sqlite3_column_int64(st, 2) : 1);
				if (n && sqlite3_column_int(st, 3) == 4)
					n = (++*n, idmap_get(&v->names, parent)); /* a directory counts in its parent's links */
				if (n)
					++*n;
				if (!n) {
					rc = ckpt_fail(ENOMEM, "no memory to count names");
					sqlite3_reset(st);
					break;
				}
			}
		}
		meta_unlock(v->s);
		if (!rc)
			rc = verify_step(v, 0, false);
	} while (!rc && rows);
	return rc;
}

/* The links an inode should have, counted anew. Slow: only for what looked wrong. Meta lock held. */
static int count_links(struct store *s, const struct store_attr *a, uint64_t *out)
{
	sqlite3_stmt *st = S_ISDIR(a->mode)
			? meta_stmt(s, "SELECT 2 + count(*) FROM dirent WHERE parent = ?1 AND type = 4")
			: meta_stmt(s, "SELECT count(*) FROM dirent WHERE ino = ?1");
	int rc;

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)a->ino);
	rc = meta_step(s, st);
	if (rc != 1)
		return rc < 0 ? rc : ckpt_fail(EIO, "meta.db counts nothing");
	*out = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return 0;
}

static int check_links(struct verify *v, const struct store_attr *seen)
{
	uint64_t *n = idmap_find(&v->names, seen->ino), want = n ? *n : 0;
	struct store_attr a;
	char path[PATH_ROOM];
	int rc;

	if (S_ISDIR(seen->mode))
		want += seen->ino == STORE_ROOT ? 2 : 1; /* its own name and '.', the root has no name */
	if (seen->nlink == want)
		return 0;
	meta_lock(v->s);
	rc = meta_inode_get(v->s, seen->ino, &a);
	if (!rc)
		rc = count_links(v->s, &a, &want);
	meta_unlock(v->s);
	if (rc == -ENOENT)
		return 0;
	if (!rc && a.nlink != want && a.nlink)
		verify_tell(v, "%s: has %u links, %llu names were found", path_of(v, a.ino, path), a.nlink, (unsigned long long)want);
	return rc;
}

/* Every name leads to an inode of the type it says. */
static int check_names(struct verify *v)
{
	sqlite3_stmt *st;
	int rc;

	meta_lock(v->s);
	st = meta_stmt(v->s, "SELECT d.parent, d.ino, CAST(d.name AS TEXT) FROM dirent d LEFT JOIN inode i ON i.ino = d.ino "
			"LEFT JOIN inode p ON p.ino = d.parent WHERE i.ino IS NULL OR p.ino IS NULL OR (i.mode >> 12) != d.type "
			"OR (p.mode >> 12) != 4 OR (d.type = 4 AND i.parent != d.parent) LIMIT 1000");
	rc = st ? meta_step(v->s, st) : meta_fail(v->s);
	while (rc == 1) {
		const char *name = (const char *)sqlite3_column_text(st, 2);

		verify_tell(v, "name '%s' in directory %lld leads to inode %lld, which is missing or something else", name ? name : "",
				(long long)sqlite3_column_int64(st, 0), (long long)sqlite3_column_int64(st, 1));
		rc = meta_step(v->s, st);
	}
	meta_unlock(v->s);
	return rc;
}

/* --- 3: versions --------------------------------------------------------------------------------- */

struct walk {
	struct verify *v;
	uint64_t version, size, ino;
	const char *bad;
	int rc;
};

/* Plain length of a chunk, remembered; 0 when it is missing. */
static int chunk_length(struct verify *v, uint64_t id, uint64_t *out)
{
	uint64_t *known = idmap_get(&v->good, id);
	struct chunk_head h;
	struct chunk_row r;
	int rc;

	if (!known)
		return ckpt_fail(ENOMEM, "no memory to check manifests");
	if (!*known) {
		rc = chunk_head_read(v->s, id, &h);
		if (rc < 0)
			return rc;
		*known = 1;
		if (rc == 1) {
			*known = (uint64_t)h.raw_len + 1;
		} else if (!chunk_row_read(v->s, id, &r)) {
			*known = (uint64_t)r.raw_len + 1; /* staged only */
			chunk_row_release(&r);
		}
	}
	*out = *known - 1;
	return 0;
}

static int check_piece(void *arg, uint64_t off, const struct piece *p)
{
	struct walk *w = arg;
	uint64_t len = 0;

	if (p->len > w->size || off > w->size - p->len) {
		w->bad = "its manifest goes beyond its size";
		return 1;
	}
	if (!p->id)
		return 0;
	w->rc = chunk_length(w->v, p->id, &len);
	if (w->rc)
		return 1;
	if (p->off + p->len > len) {
		w->bad = len ? "its manifest names bytes that a chunk does not have" : "a chunk of it is missing";
		return 1;
	}
	return 0;
}

/* Rows must follow one another without overlap; manifest_walk() alone would not see a row that another one covers. */
static int check_rows(struct verify *v, uint64_t version, const char **bad)
{
	uint64_t end = 0;
	int64_t at = INT64_MIN;
	sqlite3_stmt *st;
	int rc, rows;

	do {
		rows = 0;
		meta_lock(v->s);
		st = meta_stmt(v->s, "SELECT off, pieces FROM manifest WHERE version = ?1 AND off > ?2 ORDER BY off LIMIT 64");
		if (!st) {
			rc = meta_fail(v->s);
		} else {
			sqlite3_bind_int64(st, 1, (int64_t)version);
			sqlite3_bind_int64(st, 2, at);
			while ((rc = meta_step(v->s, st)) == 1) {
				struct manifest_row row = { 0 };
				const uint8_t *p = sqlite3_column_blob(st, 1);

				rows++;
				at = sqlite3_column_int64(st, 0);
				if (manifest_decode(p, (size_t)sqlite3_column_bytes(st, 1), (uint64_t)at, &row))
					*bad = "a row of its manifest is malformed";
				else if ((uint64_t)at < end)
					*bad = "rows of its manifest overlap";
				end = row.end;
				manifest_row_release(&row);
			}
		}
		meta_unlock(v->s);
	} while (!rc && rows && !*bad);
	return rc;
}

static int check_version(struct verify *v, uint64_t version, uint64_t ino, uint64_t size)
{
	struct walk w = { .v = v, .version = version, .size = size, .ino = ino };
	struct store_file *f = NULL;
	struct store_attr now;
	char path[PATH_ROOM];
	int rc = check_rows(v, version, &w.bad);

	if (!rc && !w.bad) {
		rc = manifest_walk(v->s, version, check_piece, &w);
		rc = rc < 0 ? rc : w.rc;
	}
	if (rc == -EIO)
		w.bad = "its manifest, or a chunk's row, can't be read";
	else if (rc)
		return rc;
	if (!w.bad) {
		rc = store_file_open_version(v->s, version, &f);
		if (rc == -EIO)
			w.bad = "its inline content is damaged";
		else if (rc && rc != -ENOENT)
			return rc;
		store_file_close(f);
	}
	if (!w.bad)
		return 0;
	/* It may have been published anew while we looked. */
	meta_lock(v->s);
	rc = meta_inode_get(v->s, ino, &now);
	meta_unlock(v->s);
	if (!rc && (now.version != version || now.size != size))
		return 0;
	verify_tell(v, "%s: version %llu: %s", path_of(v, ino, path), (unsigned long long)version, w.bad);
	return 0;
}

/* Inodes in order, with what hangs on each. */
static int check_inodes(struct verify *v)
{
	struct store_attr a[BATCH];
	uint64_t after = 0;
	char path[PATH_ROOM];
	sqlite3_stmt *st;
	int rc = 0, n, i;

	do {
		n = 0;
		meta_lock(v->s);
		st = meta_stmt(v->s, "SELECT i.ino, i.mode, i.nlink, i.size, i.version, v.size FROM inode i "
				"LEFT JOIN version v ON v.id = i.version WHERE i.ino > ?1 ORDER BY i.ino LIMIT 256");
		if (!st) {
			rc = meta_fail(v->s);
		} else {
			sqlite3_bind_int64(st, 1, (int64_t)after);
			while ((rc = meta_step(v->s, st)) == 1) {
				memset(&a[n], 0, sizeof(a[n]));
				a[n].ino = after = (uint64_t)sqlite3_column_int64(st, 0);
				a[n].mode = (uint32_t)sqlite3_column_int64(st, 1);
				a[n].nlink = (uint32_t)sqlite3_column_int64(st, 2);
				a[n].size = (uint64_t)sqlite3_column_int64(st, 3);
				a[n].version = (uint64_t)sqlite3_column_int64(st, 4);
				/* data: 1 when version and inode agree */
				a[n].data = !a[n].version || (sqlite3_column_type(st, 5) == SQLITE_INTEGER
						&& (uint64_t)sqlite3_column_int64(st, 5) == a[n].size);
				n++;
			}
		}
		meta_unlock(v->s);
		for (i = 0; !rc && i < n; i++) {
			v->out->inodes++;
			rc = check_links(v, &a[i]);
			if (!rc && !a[i].data)
				verify_tell(v, "%s: its version %llu is missing or has another size", path_of(v, a[i].ino, path),
						(unsigned long long)a[i].version);
			else if (!rc && a[i].version) {
				v->out->versions++;
				rc = check_version(v, a[i].version, a[i].ino, a[i].size);
			}
		}
		if (!rc)
			rc = verify_step(v, (uint64_t)n, false);
	} while (!rc && n);
	return rc;
}

/* What was derived goes with its version. */
static int check_derived(struct verify *v)
{
	sqlite3_stmt *st;
	int rc;

	meta_lock(v->s);
	st = meta_stmt(v->s, "SELECT count(*) FROM derived d WHERE NOT EXISTS (SELECT 1 FROM version v WHERE v.id = d.version)");
	rc = st ? meta_step(v->s, st) : meta_fail(v->s);
	if (rc == 1) {
		int64_t left = sqlite3_column_int64(st, 0);

		sqlite3_reset(st);
		rc = 0;
		if (left)
			verify_tell(v, "meta.db: %lld things were derived from versions that are not there", (long long)left);
	}
	meta_unlock(v->s);
	return rc;
}

/* Versions of the history, and those that nobody has. */
static int check_others(struct verify *v)
{
	struct { uint64_t version, ino, size; } h[BATCH];
	uint64_t after = 0;
	sqlite3_stmt *st;
	int rc = 0, n, i;

	do {
		n = 0;
		meta_lock(v->s);
		st = meta_stmt(v->s, "SELECT version, ino, size FROM history WHERE version > ?1 ORDER BY version LIMIT 256");
		if (!st) {
			rc = meta_fail(v->s);
		} else {
			sqlite3_bind_int64(st, 1, (int64_t)after);
			while ((rc = meta_step(v->s, st)) == 1) {
				h[n].version = after = (uint64_t)sqlite3_column_int64(st, 0);
				h[n].ino = (uint64_t)sqlite3_column_int64(st, 1);
				h[n++].size = (uint64_t)sqlite3_column_int64(st, 2);
			}
		}
		meta_unlock(v->s);
		for (i = 0; !rc && i < n; i++) {
			v->out->versions++;
			rc = check_version(v, h[i].version, h[i].ino, h[i].size);
		}
		if (!rc)
			rc = verify_step(v, (uint64_t)n, false);
	} while (!rc && n);
	if (rc)
		return rc;
	meta_lock(v->s);
	st = meta_stmt(v->s, "SELECT count(*) FROM version v WHERE NOT EXISTS (SELECT 1 FROM history h WHERE h.version = v.id) "
			"AND NOT EXISTS (SELECT 1 FROM inode i WHERE i.ino = v.ino AND i.version = v.id) "
			"AND NOT EXISTS (SELECT 1 FROM draft d WHERE d.version = v.id)");
	rc = st ? meta_step(v->s, st) : meta_fail(v->s);
	if (rc == 1) {
		int64_t left = sqlite3_column_int64(st, 0);

		sqlite3_reset(st);
		rc = 0;
		if (left)
			verify_tell(v, "meta.db: %lld versions belong to no file", (long long)left);
	}
	meta_unlock(v->s);
	return rc || meta_format(v->s) < 2 ? rc : check_derived(v);
}

/*
 * A file that a chunk belongs to, for a message: its path, or the number of one in the history; "" when nobody names it.  Looks
 * through all manifests, so only for chunks that are damaged.
 */
static int name_chunk(struct verify *v, uint64_t id, char *buf)
{
	uint64_t version = 0, ino = 0;
	int64_t off = -1;
	sqlite3_stmt *st;
	int rc, rows;

	*buf = 0;
	do {
		rows = 0;
		meta_lock(v->s);
		st = meta_stmt(v->s, "SELECT m.version, m.off, m.pieces, v.ino FROM manifest m JOIN version v ON v.id = m.version "
				"WHERE (m.version, m.off) > (?1, ?2) ORDER BY m.version, m.off LIMIT 512");
		if (!st) {
			rc = meta_fail(v->s);
		} else {
			sqlite3_bind_int64(st, 1, (int64_t)version);
			sqlite3_bind_int64(st, 2, off);
			while (!ino && (rc = meta_step(v->s, st)) == 1) {
				struct manifest_row row = { 0 };

				rows++;
				version = (uint64_t)sqlite3_column_int64(st, 0);
				off = sqlite3_column_int64(st, 1);
				if (manifest_decode(sqlite3_column_blob(st, 2), (size_t)sqlite3_column_bytes(st, 2), 0, &row))
					continue;
				for (size_t i = 0; i < row.n && !ino; i++)
					if (row.pieces[i].id == id)
						ino = (uint64_t)sqlite3_column_int64(st, 3);
				manifest_row_release(&row);
			}
			if (ino) {
				sqlite3_reset(st);
				rc = 0;
			}
		}
		meta_unlock(v->s);
	} while (!rc && rows && !ino);
	if (ino)
		path_of(v, ino, buf);
	return rc;
}

/* A problem of a chunk, with a file that suffers from it. */
static int tell_chunk(struct verify *v, uint64_t id, const char *what)
{
	char path[PATH_ROOM], message[512];
	int rc;

	snprintf(message, sizeof(message), "%s", what); /* `what` may be ckpt_errmsg() */
	rc = name_chunk(v, id, path);
	verify_tell(v, "%s%schunk %llu: %s", path, *path ? ": " : "", (unsigned long long)id, message);
	return rc;
}

/* --- 4: chunks ----------------------------------------------------------------------------------- */

static int check_chunk(struct verify *v, uint64_t id, bool data)
{
	struct chunk_buf *b;
	struct chunk_row r;
	int rc = chunk_row_read(v->s, id, &r);

	if (rc == -ENOENT)
		return 0; /* collected meanwhile */
	if (rc)
		return rc == -EIO ? tell_chunk(v, id, ckpt_errmsg()) : rc;
	v->out->chunks++;
	if (codec_check(r.payload, r.payload_len) != r.check) {
		rc = tell_chunk(v, id, "its payload is damaged");
	} else if (data) {
		rc = chunk_get(v->s, id, &b);
		if (rc == -EIO) {
			rc = tell_chunk(v, id, ckpt_errmsg());
		} else if (!rc) {
			rc = chunk_name_check(v->s, &r.name, id, b->data, b->len);
			if (rc == -EIO)
				rc = tell_chunk(v, id, ckpt_errmsg());
			v->out->bytes += b->len;
			chunk_put(b);
		}
	}
	if (!rc)
		rc = verify_step(v, r.payload_len, true);
	chunk_row_release(&r);
	return rc;
}

static int check_chunks(struct verify *v, bool data)
{
	struct chunk_name names[BATCH];
	struct chunk_counters c;
	uint64_t ids[BATCH], after = 0;
	int rc = 0, n, i;

	chunk_counters(v->s, &c);
	v->done = 0;
	v->total = c.chunk_stored;
	do {
		n = chunk_rows_list(v->s, after, ids, names, BATCH);
		if (n < 0)
			return n;
		for (i = 0; !rc && i < n; i++) {
			rc = check_chunk(v, ids[i], data);
			after = ids[i];
		}
	} while (!rc && n);
	return rc;
}

int store_verify(struct store *s, bool data, void (*problem)(void *arg, const char *line), store_progress progress,
		void *arg, struct store_verify_result *out)
{
	static int (*const parts[])(struct verify *v) = { verify_pages, check_names, count_names, check_inodes, check_others };
	struct verify v = { .s = s, .problem = problem, .progress = progress, .arg = arg, .out = out };
	char message[512];
	int rc = 0;

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; !rc && i <= sizeof(parts) / sizeof(parts[0]); i++) {
		rc = i < sizeof(parts) / sizeof(parts[0]) ? parts[i](&v) : check_chunks(&v, data);
		if (rc == -EIO) {
			snprintf(message, sizeof(message), "%s", ckpt_errmsg());
			verify_tell(&v, "%s: a part of the store was not looked at", message);
			rc = 0;
		}
	}
	idmap_release(&v.names);
	idmap_release(&v.good);
	return rc;
}
