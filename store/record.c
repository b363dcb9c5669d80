/*
 * record.c: where the predecessor of a chunk is.
 *
 * A record is what a cutter finds in a container: one tensor's bytes.  Its fingerprint says what it is (name, dtype,
 * length), not what it holds, so the same tensor of the next checkpoint has the same one.  For each record that a published
 * version holds a row tells where it lies:
 *
 *     record(scope, fp) -> version, file offset of its first byte
 *
 * once for each of the nearest SCOPES directories above the file, since the next checkpoint may lie beside this one
 * (epoch-7.pth after epoch-6.pth), in a directory beside its directory (003/model.pt after 002/model.pt), or take its place.
 * The nearest directory that knows the record wins; a later version takes the row.
 *
 * A chunk at some offset of the record has as predecessor the chunk that begins at the same offset of the record found.  All
 * of this is advice: a version that is gone, or cut elsewhere, has none.  A chunk without predecessor may have a twin, an earlier
 * tensor of this file that looks alike (an average behind the weights); else it is stored by itself.
 * Rows of versions that are gone are removed by records_tidy().
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "file_internal.h"

/* The nearest directories above the file. Of a file with several names, those of the one that its inode remembers. */
static int find_scopes(struct store_file *f)
{
	uint64_t at = f->ino;
	sqlite3_stmt *st;
	int rc;

	f->nscopes = 0;
	while (f->nscopes < FILE_SCOPES && at != STORE_ROOT) {
		st = meta_stmt(f->s, "SELECT parent FROM inode WHERE ino = ?1");
		if (!st)
			return meta_fail(f->s);
		sqlite3_bind_int64(st, 1, (int64_t)at);
		rc = meta_step(f->s, st);
		if (rc <= 0)
			return rc;
		at = (uint64_t)sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
		if (!at)
			break;
		f->scopes[f->nscopes++] = at;
	}
	return 0;
}

/* 1 and where the record lies, 0 nobody knows it. Meta lock held. */
static int find_record(struct store_file *f, uint64_t fp)
{
	unsigned i;
	int rc;

	f->old_version = 0;
	if (!f->nscopes) {
		rc = find_scopes(f);
		if (rc)
			return rc;
	}
	for (i = 0; i < f->nscopes; i++) {
		sqlite3_stmt *st = meta_stmt(f->s, "SELECT version, off FROM record WHERE scope = ?1 AND fp = ?2");

		if (!st)
			return meta_fail(f->s);
		sqlite3_bind_int64(st, 1, (int64_t)f->scopes[i]);
		sqlite3_bind_int64(st, 2, (int64_t)fp);
		rc = meta_step(f->s, st);
		if (rc < 0)
			return rc;
		if (rc == 1) {
			f->old_version = (uint64_t)sqlite3_column_int64(st, 0);
			f->old_off = (uint64_t)sqlite3_column_int64(st, 1);
			sqlite3_reset(st);
			return 1;
		}
	}
	return 0;
}

/* The chunk that begins at `at` of the record found, or 0. Meta lock held. */
static uint64_t chunk_at(struct store_file *f, uint64_t at)
{
	uint64_t off = f->old_off + at, start;
	size_t i;

	if (f->old_row_version != f->old_version || off < f->old_row.off || off >= f->old_row.end) {
		manifest_row_release(&f->old_row);
		f->old_row_version = 0;
		if (manifest_find(f->s, f->old_version, off, &f->old_row))
			return 0;
		f->old_row_version = f->old_version;
	}
	start = f->old_row.off;
	for (i = 0; i < f->old_row.n && start < off; i++)
		start += f->old_row.pieces[i].len;
	return i < f->old_row.n && start == off && !f->old_row.pieces[i].off ? f->old_row.pieces[i].id : 0;
}

static int note_record(struct store_file *f, uint64_t fp, uint64_t off)
{
	if (f->nrecords == f->cap_records) {
		size_t cap = f->cap_records ? f->cap_records * 2 : 32;
		struct record *p = realloc(f->records, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		f->records = p;
		f->cap_records = cap;
	}
	f->records[f->nrecords++] = (struct record){ .fp = fp, .off = off };
	return 0;
}

/* The chunk that begins at `off` of this file and came by in this session, if its id is known by now; else 0. */
static uint64_t session_chunk(const struct store_file *f, uint64_t off)
{
	size_t i = extents_find(&f->ext, off);

	if (i == f->ext.n)
		return 0;
	const struct extent *e = &f->ext.v[i];

	if (e->off != off || e->at != 0)
		return 0;
	if (e->id)
		return e->id;
	return e->job && atomic_load(&e->job->done) && !e->job->error ? e->job->id : 0;
}

uint64_t record_predecessor(struct store_file *f, const struct codec_cut *cut, uint64_t off, uint32_t len)
{
	uint64_t id = 0;

	if (!cut->record || off < cut->record_off)
		return 0;
	if (cut->record_off == 0 && len >= RECORD_MIN)
		note_record(f, cut->record, off); /* without memory the next checkpoint has no predecessor here */
	meta_lock(f->s);
	if (cut->record != f->old_fp || cut->record_off == 0) {
		f->old_fp = cut->record;
		if (find_record(f, cut->record) < 0)
			f->old_version = 0;
	}
	if (f->old_version)
		id = chunk_at(f, cut->record_off);
	meta_unlock(f->s);
	return id || !cut->twin ? id : session_chunk(f, cut->twin + cut->record_off);
}

int records_publish(struct store_file *f, uint64_t version)
{
	size_t i;
	unsigned k;
	int rc;

	if (!f->nrecords)
		return 0;
	/* The file may have moved since the stream began. */
	rc = find_scopes(f);
	for (i = 0; !rc && i < f->nrecords; i++) {
		for (k = 0; !rc && k < f->nscopes; k++) {
			sqlite3_stmt *st = meta_stmt(f->s, "INSERT INTO record(scope, fp, version, off) VALUES(?1, ?2, ?3, ?4) "
					"ON CONFLICT(scope, fp) DO UPDATE SET version = ?3, off = ?4");

			if (!st)
				return meta_fail(f->s);
			sqlite3_bind_int64(st, 1, (int64_t)f->scopes[k]);
			sqlite3_bind_int64(st, 2, (int64_t)f->records[i].fp);
			sqlite3_bind_int64(st, 3, (int64_t)version);
			sqlite3_bind_int64(st, 4, (int64_t)f->records[i].off);
			rc = meta_exec(f->s, st);
		}
	}
	return rc;
}

void records_forget(struct store_file *f)
{
	free(f->records);
	f->records = NULL;
	f->nrecords = f->cap_records = 0;
	manifest_row_release(&f->old_row);
	f->old_row_version = f->old_version = f->old_fp = 0;
	f->nscopes = 0;
}

int records_tidy(struct store *s)
{
	int64_t scope = INT64_MIN, fp = INT64_MIN;
	sqlite3_stmt *st;
	int rc, rows;

	do {
		rc = meta_begin(s);
		if (rc)
			return rc;
		rows = 0;
		st = meta_stmt(s, "SELECT scope, fp FROM record WHERE (scope, fp) > (?1, ?2) ORDER BY scope, fp LIMIT 1 OFFSET 1999");
		if (!st) {
			rc = meta_fail(s);
			goto end;
		}
		sqlite3_bind_int64(st, 1, scope);
		sqlite3_bind_int64(st, 2, fp);
		rows = meta_step(s, st);
		if (rows < 0) {
			rc = rows;
			goto end;
		}
		int64_t to_scope = rows ? sqlite3_column_int64(st, 0) : INT64_MAX, to_fp = rows ? sqlite3_column_int64(st, 1) : INT64_MAX;

		sqlite3_reset(st);
		st = meta_stmt(s, "DELETE FROM record WHERE (scope, fp) > (?1, ?2) AND (scope, fp) <= (?3, ?4) "
				"AND NOT EXISTS (SELECT 1 FROM version v WHERE v.id = record.version)");
		if (!st) {
			rc = meta_fail(s);
			goto end;
		}
		sqlite3_bind_int64(st, 1, scope);
		sqlite3_bind_int64(st, 2, fp);
		sqlite3_bind_int64(st, 3, to_scope);
		sqlite3_bind_int64(st, 4, to_fp);
		rc = meta_exec(s, st);
		scope = to_scope;
		fp = to_fp;
end:
		rc = meta_end(s, rc);
	} while (!rc && rows);
	return rc;
}
