/*
 * chunk_plain.c: chunks.plain, bytes as they came, of chunks that are to be encoded when nobody writes.
 *
 * On few cores encoding is most of what a writer would wait for, so under a flood chunks are put here as they are
 * (chunk_pipe.c) and moved to chunks.db later (recompress_idle.c).  They could lie in chunks.db meanwhile; that was tried: their
 * pages pass SQLite's cache, are journaled when they are given back, and what takes their place is scattered among
 * them, so that a file read afterwards took half as long again.  Here they cost one write.
 *
 * A chunk's row says where its bytes are; nothing else knows.  Chunks are put one behind the other, in the order of ids:
 *
 *     [ moved: a hole | waiting ............ | end
 *
 * Order of writes: bytes are durable before the commit of the row that names them; a row that names others is durable before
 * the place of its old ones is given back.  So what a crash leaves behind the last row that was committed is nothing, and is
 * written over.  Beyond CHUNK_PLAIN_MAX nothing is begun (each worker may have one chunk in hand); the file is gone when a store
 * is closed with nothing in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>

#include "chunk_parts.h"
#include "vfs_internal.h"

enum { PIECE = 120 << 10 }; /* SQLite's VFS for Unix takes less than 128 KiB a write */

static int fail(const struct chunk_plain *p, int rc, const char *what)
{
	int e = (rc & 0xff) == SQLITE_FULL || errno == ENOSPC || errno == EDQUOT ? ENOSPC
		: (rc & 0xff) == SQLITE_NOMEM                                    ? ENOMEM
										 : EIO;

	return ckpt_fail(e, "can't %s '%s': %s", what, p->path, e == EIO ? sqlite3_errstr(rc) : strerror(e));
}

static int open_file(struct store *s, int flags)
{
	struct chunk_plain *p = &s->chunks->plain;
	sqlite3_vfs *v = sqlite3_vfs_find(s->vfs);

	p->file = calloc(1, (size_t)v->szOsFile);
	if (!p->file)
		return ckpt_fail(ENOMEM, "no memory to open '%s'", p->path);
	errno = 0;
	/* As a journal, so that its name is durable with the first sync. */
	int rc = v->xOpen(v, p->path, p->file, flags | SQLITE_OPEN_MAIN_JOURNAL, NULL);

	if (rc == SQLITE_OK)
		return 0;
	rc = fail(p, rc, "open");
	if (p->file->pMethods)
		p->file->pMethods->xClose(p->file);
	free(p->file);
	p->file = NULL;
	return rc;
}

static void close_file(struct chunk_plain *p)
{
	if (p->file)
		p->file->pMethods->xClose(p->file);
	free(p->file);
	p->file = NULL;
}

/* Where the bytes of the first or the last chunk here are: 1, 0 there is none, -errno. Lock held. */
static int find(struct chunk_db *d, enum chunk_stmt which, uint64_t *from, uint64_t *to)
{
	int rc = 0;
	sqlite3_stmt *st = chunk_stmt(d, which, &rc);

	if (!st)
		return rc;
	int e = sqlite3_step(st);

	if (e == SQLITE_ROW) {
		rc = chunk_plain_place(sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0), from);
		*to = *from + (uint64_t)sqlite3_column_int64(st, 1);
		rc = rc ? rc : 1;
	} else if (e != SQLITE_DONE) {
		rc = chunk_db_fail(d, e);
	}
	sqlite3_reset(st);
	return rc;
}

int chunk_plain_open(struct store *s)
{
	struct chunk_plain *p = &s->chunks->plain;
	sqlite3_vfs *v = sqlite3_vfs_find(s->vfs);
	uint64_t from, to = 0;
	int there = 0;

	/* SQLite's files have a name and two zero bytes behind it. */
	p->path = calloc(1, strlen(s->path) + sizeof "/chunks.plain" + 2);
	if (!p->path)
		return ckpt_fail(ENOMEM, "no memory for a path");
	strcat(strcpy(p->path, s->path), "/chunks.plain");
	if (!s->chunks->db.plain)
		return 0;
	int rc = find(&s->chunks->db, ST_PLAIN_LAST, &from, &to);

	if (rc < 0)
		return rc;
	bool any = rc == 1;

	errno = 0;
	rc = v->xAccess(v, p->path, SQLITE_ACCESS_EXISTS, &there);
	if (rc != SQLITE_OK)
		return fail(p, rc, "look for");
	atomic_store(&p->end, any ? to : 0);
	/* Where it is missing its chunks are, and whoever reads one hears of it. */
	if (!there)
		return 0;
	return open_file(s, s->readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
}

void chunk_plain_close(struct store *s)
{
	struct chunk_plain *p = &s->chunks->plain;
	sqlite3_vfs *v = sqlite3_vfs_find(s->vfs);
	/* Also one that is empty, which SQLite takes for missing when the store is opened. */
	bool drop = p->path && s->chunks->db.plain && atomic_load(&p->end) == 0 && !s->crash && !s->readonly &&
			!atomic_load(&s->failed);

	close_file(p);
	if (drop)
		v->xDelete(v, p->path, 0);
	free(p->path);
	p->path = NULL;
}

bool chunk_plain_room(struct store *s, uint32_t len)
{
	return s->chunks->db.plain && atomic_load(&s->chunks->plain.end) + len <= CHUNK_PLAIN_MAX;
}

int chunk_plain_put(struct store *s, const uint8_t *raw, uint32_t len, uint8_t place[CHUNK_PLAIN_PLACE])
{
	struct chunk_plain *p = &s->chunks->plain;
	uint64_t off = atomic_load(&p->end);
	int rc = p->file ? 0 : open_file(s, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);

	if (rc)
		return rc;
	p->unsynced = true;
	for (uint32_t at = 0; at < len; at += PIECE) {
		uint32_t n = len - at < PIECE ? len - at : PIECE;

		errno = 0;
		rc = p->file->pMethods->xWrite(p->file, raw + at, (int)n, (sqlite3_int64)off + at);
		if (rc != SQLITE_OK)
			return fail(p, rc, "write to");
	}
	atomic_store(&p->end, off + len);
	for (int i = 0; i < CHUNK_PLAIN_PLACE; i++)
		place[i] = (uint8_t)(off >> 8 * i);
	return 0;
}

int chunk_plain_place(const uint8_t *place, size_t len, uint64_t *off)
{
	*off = 0;
	for (int i = 0; place && i < CHUNK_PLAIN_PLACE && len == CHUNK_PLAIN_PLACE; i++)
		*off |= (uint64_t)place[i] << 8 * i;
	/* Whether it is in the file is seen when it is read. */
	if (!place || len != CHUNK_PLAIN_PLACE || *off > INT64_MAX - CODEC_CHUNK_MAX)
		return ckpt_fail(EIO, "chunks.db: it has a chunk whose place in chunks.plain is malformed");
	return 0;
}

int chunk_plain_get(struct store *s, uint64_t off, uint8_t *raw, uint32_t len)
{
	struct chunk_plain *p = &s->chunks->plain;

	if (!p->file)
		return ckpt_fail(EIO, "'%s' is missing, and a chunk is in it", p->path);
	errno = 0;
	int rc = p->file->pMethods->xRead(p->file, raw, (int)len, (sqlite3_int64)off);

	if (rc == SQLITE_IOERR_SHORT_READ)
		return ckpt_fail(EIO, "'%s' ends within a chunk", p->path);
	return rc == SQLITE_OK ? 0 : fail(p, rc, "read");
}

int chunk_plain_sync(struct store *s)
{
	struct chunk_plain *p = &s->chunks->plain;

	if (!p->unsynced)
		return 0;
	errno = 0;
	int rc = p->file->pMethods->xSync(p->file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);

	if (rc != SQLITE_OK)
		return fail(p, rc, "sync");
	p->unsynced = false;
	return 0;
}

void chunk_plain_trim(struct store *s)
{
	struct chunk_plain *p = &s->chunks->plain;
	uint64_t from = 0, to;

	if (!p->left || !p->file || s->readonly)
		return;
	p->left = false;
	int rc = find(&s->chunks->db, ST_PLAIN_FIRST, &from, &to);

	/* Place that can't be given back now is given back with the next chunk that leaves. */
	if (rc == 1)
		store_vfs_punch(p->file, from);
	else if (rc == 0 && p->file->pMethods->xTruncate(p->file, 0) == SQLITE_OK)
		atomic_store(&p->end, 0);
}
