/*
 * chunk_stage.c: chunks that live in meta.db for a while.
 *
 * A small file that is closed must survive a kill of this process, not yet a power cut.  A commit of chunks.db would
 * sync, so its chunks are written to meta.staged in the transaction that publishes the file, and that is all; chunks.db
 * gets them with its next commit, and then the staged rows go.  After a crash what is staged is brought into chunks.db.
 * When a batch is lost (chunk_db.c), staged rows are the only copy: they are inserted again under the same ids, and
 * until that works the chunks are read from here.
 *
 * The map in memory says for each staged id in which batch chunks.db got it.  An id whose staging was rolled back with
 * its transaction may be in the map and not in the table; that costs a look-up and keeps gc off, no more.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chunk_parts.h"

enum { STAGE_ROWS = 64 };

static int map_put(struct store *s, uint64_t id, uint64_t batch)
{
	struct chunk_stage *g = &s->chunks->stage;

	pthread_mutex_lock(&g->lock);
	uint64_t *v = idmap_get(&g->ids, id);

	if (v) {
		*v = batch;
		atomic_store(&g->any, true);
	}
	pthread_mutex_unlock(&g->lock);
	return v ? 0 : ckpt_fail(ENOMEM, "no memory to stage chunk %llu", (unsigned long long)id);
}

static bool map_get(struct store *s, uint64_t id, uint64_t *batch)
{
	struct chunk_stage *g = &s->chunks->stage;

	if (!atomic_load(&g->any))
		return false;
	pthread_mutex_lock(&g->lock);
	uint64_t *v = idmap_find(&g->ids, id);

	if (v && batch)
		*batch = *v;
	pthread_mutex_unlock(&g->lock);
	return v != NULL;
}

bool chunk_maybe_staged(struct store *s, uint64_t id)
{
	return map_get(s, id, NULL);
}

int meta_stage_chunk(struct store *s, const struct chunk_row *r)
{
	int rc = map_put(s, r->id, r->batch);

	if (rc)
		return rc;
	sqlite3_stmt *st = meta_stmt(s, "INSERT OR IGNORE INTO staged(id, hash, raw_len, codec, base, \"check\", data)"
			" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)");

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)r->id);
	chunk_name_bind(st, 2, &r->name);
	sqlite3_bind_int64(st, 3, r->raw_len);
	sqlite3_bind_int(st, 4, r->codec);
	sqlite3_bind_int64(st, 5, (int64_t)r->base);
	sqlite3_bind_int64(st, 6, r->check);
	sqlite3_bind_blob64(st, 7, r->payload, r->payload_len, SQLITE_STATIC);
	rc = meta_exec(s, st);
	sqlite3_clear_bindings(st); /* the payload is the caller's */
	return rc;
}

int meta_chunk_staged(struct store *s, uint64_t id)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT 1 FROM staged WHERE id = ?1");

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)id);
	int rc = meta_step(s, st);

	sqlite3_reset(st);
	return rc;
}

/* The first staged row at or behind `from`: 1, 0 none, -errno. */
static int read_from(struct store *s, uint64_t from, struct chunk_row *out)
{
	struct chunk_row r = { 0 };

	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT id, hash, raw_len, codec, base, \"check\", data FROM staged WHERE id >= ?1"
			" ORDER BY id LIMIT 1");
	int rc = st ? 0 : meta_fail(s);

	if (rc)
		goto unlock;
	sqlite3_bind_int64(st, 1, (int64_t)from);
	rc = meta_step(s, st);
	if (rc != 1)
		goto reset;
	int64_t raw = sqlite3_column_int64(st, 2);

	r.id = (uint64_t)sqlite3_column_int64(st, 0);
	if (raw < 1 || raw > CODEC_CHUNK_MAX || !chunk_name_get(st, 1, &r.name)) {
		rc = ckpt_fail(EIO, "meta.db: staged chunk %llu is malformed", (unsigned long long)r.id);
		goto reset;
	}
	r.raw_len = (uint32_t)raw;
	r.codec = sqlite3_column_int(st, 3);
	r.base = (uint64_t)sqlite3_column_int64(st, 4);
	r.check = sqlite3_column_int64(st, 5);
	const void *data = sqlite3_column_blob(st, 6);

	r.payload_len = (size_t)sqlite3_column_bytes(st, 6);
	r.payload = malloc(r.payload_len ? r.payload_len : 1);
	if (!r.payload || (r.payload_len && !data)) {
		free(r.payload);
		rc = ckpt_fail(ENOMEM, "staged chunk %llu: no memory", (unsigned long long)r.id);
		goto reset;
	}
	if (r.payload_len)
		memcpy(r.payload, data, r.payload_len);
	*out = r;
reset:
	sqlite3_reset(st);
unlock:
	meta_unlock(s);
	return rc;
}

int chunk_staged_read(struct store *s, uint64_t id, struct chunk_row *out)
{
	struct chunk_row r;
	uint64_t batch = 0;
	int rc = read_from(s, id, &r);

	if (rc != 1)
		return rc;
	if (r.id != id) {
		chunk_row_release(&r);
		return 0;
	}
	map_get(s, id, &batch);
	r.batch = batch;
	*out = r;
	return 1;
}

/* Puts a staged chunk into chunks.db (again). */
static int restage(struct store *s, struct chunk_row *r)
{
	int rc = chunk_row_insert(s, r, false, NULL);

	return rc ? rc : map_put(s, r->id, r->batch);
}

/* Ids and names of up to STAGE_ROWS staged rows behind `after`. */
static int list(struct store *s, uint64_t after, uint64_t *ids, struct chunk_name *names)
{
	int n = 0, rc = 0;

	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT id, hash FROM staged WHERE id > ?1 ORDER BY id LIMIT 64");

	if (!st) {
		rc = meta_fail(s);
	} else {
		sqlite3_bind_int64(st, 1, (int64_t)after);
		while (n < STAGE_ROWS && (rc = meta_step(s, st)) == 1) {
			ids[n] = (uint64_t)sqlite3_column_int64(st, 0);
			chunk_name_get(st, 1, &names[n]);
			n++;
		}
		sqlite3_reset(st);
	}
	if (rc >= 0 && n == 0 && after == 0) {
		/* Under the meta lock nobody is in the middle of staging: what is left in the map was rolled back. */
		struct chunk_stage *g = &s->chunks->stage;

		pthread_mutex_lock(&g->lock);
		idmap_release(&g->ids);
		atomic_store(&g->any, false);
		pthread_mutex_unlock(&g->lock);
	}
	meta_unlock(s);
	return rc < 0 ? rc : n;
}

/* Deletes staged rows, giving their chunks an index row: the index may have gone past those ids already. */
static int forget(struct store *s, const uint64_t *ids, const struct chunk_name *names, int n)
{
	struct chunk_stage *g = &s->chunks->stage;
	int rc = meta_begin(s);

	if (rc)
		return rc;
	for (int i = 0; rc == 0 && i < n; i++) {
		sqlite3_stmt *st = meta_stmt(s, "DELETE FROM staged WHERE id = ?1");

		if (!st) {
			rc = meta_fail(s);
			break;
		}
		sqlite3_bind_int64(st, 1, (int64_t)ids[i]);
		rc = meta_exec(s, st);
		if (rc == 0)
			rc = chunk_index_add(s, &names[i], ids[i]);
	}
	rc = meta_end(s, rc);
	pthread_mutex_lock(&g->lock);
	for (int i = 0; rc == 0 && i < n; i++)
		idmap_remove(&g->ids, ids[i]);
	atomic_store(&g->any, g->ids.n > 0);
	pthread_mutex_unlock(&g->lock);
	return rc;
}

static int unstage(struct store *s)
{
	uint64_t ids[STAGE_ROWS], gone[STAGE_ROWS], after = 0;
	struct chunk_name names[STAGE_ROWS], gone_names[STAGE_ROWS];
	int first = 0;

	for (;;) {
		int n = list(s, after, ids, names), m = 0;

		if (n <= 0)
			return n ? n : first;
		after = ids[n - 1];
		for (int i = 0; i < n; i++) {
			uint64_t batch = 0;

			if (!map_get(s, ids[i], &batch))
				continue;
			int state = chunks_batch_state(s, batch);

			if (state == 0) {
				gone_names[m] = names[i];
				gone[m++] = ids[i];
			} else if (state < 0) {
				struct chunk_row r;
				int rc = chunk_staged_read(s, ids[i], &r);

				if (rc == 1) {
					rc = restage(s, &r);
					chunk_row_release(&r);
				}
				if (rc < 0 && first == 0)
					first = rc;
			}
		}
		int rc = m > 0 ? forget(s, gone, gone_names, m) : 0;

		if (rc)
			return rc;
	}
}

int chunks_unstage(struct store *s)
{
	if (s->readonly)
		return 0;
	int rc = atomic_load(&s->chunks->stage.any) ? unstage(s) : 0;
	int rc2 = chunk_index_flush(s, 1);

	return rc ? rc : rc2;
}

int chunk_stage_open(struct store *s)
{
	struct chunk_db *d = &s->chunks->db;
	uint64_t from = 1;
	int rc;

	pthread_mutex_init(&s->chunks->stage.lock, NULL);
	for (;;) {
		struct chunk_row r;

		rc = read_from(s, from, &r);
		if (rc <= 0)
			break;
		from = r.id + 1;
		ckpt_mutex_lock(&d->lock);
		if (d->next_id < from)
			d->next_id = from;
		pthread_mutex_unlock(&d->lock);
		rc = s->readonly ? map_put(s, r.id, 0) : restage(s, &r);
		chunk_row_release(&r);
		if (rc)
			return rc;
	}
	if (rc < 0 || from == 1 || s->readonly)
		return rc;
	rc = chunks_commit(s);
	if (rc)
		return rc;
	rc = unstage(s);
	return rc ? rc : meta_commit(s, true);
}

void chunk_stage_close(struct store *s)
{
	idmap_release(&s->chunks->stage.ids);
	pthread_mutex_destroy(&s->chunks->stage.lock);
}
