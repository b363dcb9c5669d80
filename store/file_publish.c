/*
 * file_publish.c: a session becomes a version.
 *
 * In this order, because a power cut may come between any two steps:
 *
 *   1. blocks and tail go through the pipeline; every piece has its id
 *   2. new chunks are made safe: chunks.db is committed, or, when they are few, their rows are read for staging
 *   3. one meta.db transaction: manifest rows, version, inode, the old version's end, staged rows
 *   4. that transaction is committed; and synced, when the session was large or somebody asked
 *
 * What a version is made of:
 *   - up to FILE_INLINE_MAX bytes: its content, inline in the version's row
 *   - a longer one: manifest rows
 *   - one that a session only appended to: manifest rows and a tail of up to FILE_TAIL_MAX bytes inline, so that a log that
 *     grows by lines rewrites one small row and makes no chunk for each line
 *
 * Which version id: a session that replaces makes a new one.  One that changes in place copies the manifest under a new
 * id the first time, so that the old version can go to the history, and goes on changing that; one that only appended
 * changes the version there is, since its old content is a prefix of the new.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "codec/codec_hash.h"
#include "file_internal.h"
#include "hold_internal.h"
#include "store_history.h"
#include "tree_internal.h"

enum { APPEND_ENCODE_MAX = 1024 };

/* --- what is published -------------------------------------------------------------------------- */

int file_load_base(struct store_file *f)
{
	struct store *s = f->s;
	uint8_t *blob = NULL;
	size_t len = 0;
	sqlite3_stmt *st;
	int rc;

	if (!f->version)
		return 0;
	meta_lock(s);
	st = meta_stmt(s, "SELECT size, data, tail, content FROM version WHERE id = ?1");
	if (!st) {
		rc = meta_fail(s);
		goto out;
	}
	sqlite3_bind_int64(st, 1, (int64_t)f->version);
	rc = meta_step(s, st);
	if (rc == 0) {
		rc = ckpt_fail(ENOENT, "version %llu is not in the store", (unsigned long long)f->version);
		goto out;
	}
	if (rc < 0)
		goto out;
	rc = 0;
	f->size = f->base_size = (uint64_t)sqlite3_column_int64(st, 0);
	f->base_data = (uint64_t)sqlite3_column_int64(st, 1);
	f->inline_off = (uint64_t)sqlite3_column_int64(st, 2);
	len = (size_t)sqlite3_column_bytes(st, 3);
	if (f->size > INT64_MAX) {
		rc = ckpt_fail(EIO, "version %llu: its size is none", (unsigned long long)f->version);
	} else if (sqlite3_column_type(st, 3) != SQLITE_NULL) {
		blob = malloc(len ? len : 1);
		if (!blob)
			rc = ckpt_fail(ENOMEM, "no memory to open a file");
		else if (len)
			memcpy(blob, sqlite3_column_blob(st, 3), len);
	}
	sqlite3_reset(st);
out:
	meta_unlock(s);
	if (!rc && blob)
		rc = file_content_decode(s->files, f->version, blob, len, &f->inline_data, &f->inline_len);
	if (!rc && f->inline_len && (f->inline_off > f->base_size || f->inline_len > f->base_size - f->inline_off))
		rc = ckpt_fail(EIO, "version %llu: inline content does not fit its size", (unsigned long long)f->version);
	free(blob);
	return rc;
}

/* --- drafts -------------------------------------------------------------------------------------- */

int meta_draft(struct store *s, uint64_t version, bool is)
{
	sqlite3_stmt *st = is ? meta_stmt(s, "INSERT OR IGNORE INTO draft(version) VALUES(?1)")
			: meta_stmt(s, "DELETE FROM draft WHERE version = ?1");

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)version);
	return meta_exec(s, st);
}

int drafts_recover(struct store *s)
{
	sqlite3_stmt *st;
	uint64_t version;
	int rc, n;

	for (;;) {
		rc = meta_begin(s);
		if (rc)
			return rc;
		st = meta_stmt(s, "SELECT version FROM draft LIMIT 1");
		n = st ? meta_step(s, st) : meta_fail(s);
		if (n <= 0)
			return meta_end(s, n);
		version = (uint64_t)sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
		rc = meta_version_delete(s, version);
		if (!rc)
			rc = meta_draft(s, version, false);
		rc = meta_end(s, rc);
		if (rc)
			return rc;
	}
}

/* Writes the session's extents into a version's manifest; *data follows the bytes that are no hole. In a transaction. */
static int apply_extents(struct store_file *f, uint64_t version, bool empty, uint64_t *data)
{
	const struct extents *x = &f->ext;
	struct piece *pieces;
	size_t i, j, n;
	int rc = 0;

	pieces = malloc((x->n ? x->n : 1) * sizeof(*pieces));
	if (!pieces)
		return ckpt_fail(ENOMEM, "no memory to publish a file");
	for (i = 0; !rc && i < x->n; i = j) {
		uint64_t from = x->v[i].off, end = from, old = 0;

		for (j = i, n = 0; j < x->n && x->v[j].off == end; j++, n++) {
			pieces[n] = (struct piece){ .len = x->v[j].len, .id = x->v[j].id, .off = x->v[j].at };
			end += x->v[j].len;
			if (x->v[j].id)
				*data += x->v[j].len;
		}
		if (!empty)
			rc = manifest_data(f->s, version, from, end, &old);
		*data -= old;
		if (!rc)
			rc = manifest_replace(f->s, version, from, end, pieces, n);
	}
	free(pieces);
	return rc;
}

int file_to_draft(struct store_file *f)
{
	uint64_t draft = f->draft, data = f->draft_data;
	int rc = meta_begin(f->s);

	if (rc)
		return rc;
	if (!draft) {
		int64_t id = meta_next(f->s, META_VERSION);

		rc = id < 0 ? (int)id : meta_draft(f->s, (uint64_t)id, true);
		draft = (uint64_t)id;
		data = 0;
		if (!rc && !f->replacing && f->version) {
			rc = manifest_copy(f->s, f->version, draft);
			data = f->base_data - f->inline_len;
		}
	}
	if (!rc)
		rc = apply_extents(f, draft, data == 0, &data);
	rc = meta_end(f->s, rc);
	if (rc)
		return rc;
	f->draft = draft;
	f->draft_data = data;
	extents_clear(f->s, &f->ext); /* the draft's rows keep the chunks alive now */
	file_forget_row(f);
	return 0;
}

/* --- publishing ---------------------------------------------------------------------------------- */

/* A version in the making. */
struct making {
	uint64_t id;
	bool small;             /* all of it is inline */
	uint64_t inline_off;
	uint8_t *raw;           /* inline content, plain; NULL: nothing inline */
	uint32_t raw_len;
	uint8_t *content;       /* the same, encoded */
	size_t content_len;
	struct chunk_row *rows; /* to stage */
	size_t nrows;
	uint64_t data;
	bool aside;             /* a version of its own only because the one before is held */
};

static void making_release(struct making *m)
{
	size_t i;

	for (i = 0; i < m->nrows; i++)
		chunk_row_release(&m->rows[i]);
	free(m->rows);
	free(m->content);
	free(m->raw);
}

/* True when the file has a byte that is no hole. */
static int has_data(struct store_file *f, bool *out)
{
	struct segment g;
	uint64_t off;
	int rc;

	*out = false;
	for (off = 0; off < f->size && !*out; off += g.len) {
		rc = file_segment(f, off, f->size, &g);
		if (rc)
			return rc;
		*out = g.kind != SEG_HOLE;
	}
	return 0;
}

/* Step 1: everything is in the inline content or has an id. */
static int gather(struct store_file *f, struct making *m)
{
	bool grows = f->appended && !f->replacing, data, keep_tail;
	int rc;

	if (f->size <= (grows ? FILE_TAIL_MAX : FILE_INLINE_MAX)) {
		m->small = true;
		rc = has_data(f, &data);
		if (rc || !data)
			return rc;
		m->raw = malloc(f->size);
		if (!m->raw)
			return ckpt_fail(ENOMEM, "no memory to publish a file");
		m->raw_len = (uint32_t)f->size;
		rc = file_read_locked(f, 0, m->raw, f->size);
	} else {
		rc = file_flush_blocks(f, 0, UINT64_MAX);
		if (rc)
			return rc;
		keep_tail = grows && f->tail_len && f->tail_len <= FILE_TAIL_MAX
				&& f->tail_off + f->tail_len == f->size;
		if (keep_tail) {
			m->raw = malloc(f->tail_len);
			if (!m->raw)
				return ckpt_fail(ENOMEM, "no memory to publish a file");
			memcpy(m->raw, f->tail, f->tail_len);
			m->raw_len = f->tail_len;
			m->inline_off = f->tail_off;
		} else {
			rc = file_end_stream(f);
		}
		if (!rc)
			rc = file_harvest(f, true);
	}
	if (!rc && m->raw)
		rc = file_content_encode(f->s->files, m->raw, m->raw_len, grows && m->raw_len > APPEND_ENCODE_MAX,
				&m->content, &m->content_len);
	return rc;
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Reads the rows of the session's chunks that are not committed. */
static int read_rows(struct store_file *f, struct making *m)
{
	uint64_t committed = chunks_committed(f->s), *ids;
	size_t i, n = 0;
	int rc = 0;

	ids = malloc((f->ext.n ? f->ext.n : 1) * sizeof(*ids));
	m->rows = calloc(f->ext.n ? f->ext.n : 1, sizeof(*m->rows));
	if (!ids || !m->rows) {
		free(ids);
		return ckpt_fail(ENOMEM, "no memory to publish a file");
	}
	for (i = 0; i < f->ext.n; i++)
		if (f->ext.v[i].id > committed)
			ids[n++] = f->ext.v[i].id;
	qsort(ids, n, sizeof(*ids), compare_ids);
	for (i = 0; !rc && i < n; i++) {
		if (i && ids[i] == ids[i - 1])
			continue;
		rc = chunk_row_read(f->s, ids[i], &m->rows[m->nrows]);
		if (!rc)
			m->nrows++;
	}
	free(ids);
	return rc;
}

/* Step 2: what the manifest will name outlives a crash. */
static int secure_chunks(struct store_file *f, struct making *m)
{
	uint64_t b, fresh = 0, committed = chunks_committed(f->s);
	bool open = false;
	size_t i;
	int rc;

	if (m->small)
		return 0;
	for (b = f->batch_lo; b && b <= f->batch_hi; b++) {
		rc = chunks_batch_state(f->s, b);
		if (rc < 0)
			return rc;
		open |= rc == 1;
	}
	if (!open)
		return 0;
	for (i = 0; i < f->ext.n; i++)
		if (f->ext.v[i].id > committed)
			fresh += f->ext.v[i].len;
	if (f->draft || fresh >= FILE_STAGE_MAX || f->written >= FILE_DURABLE_MIN)
		return chunks_commit_range(f->s, f->batch_lo, f->batch_hi);
	return read_rows(f, m);
}

static int write_version(struct store_file *f, const struct making *m)
{
	sqlite3_stmt *st = m->id == f->version
			? meta_stmt(f->s, "UPDATE version SET ino = ?2, size = ?3, data = ?4, tail = ?5, content = ?6 WHERE id = ?1")
			: meta_stmt(f->s, "INSERT OR REPLACE INTO version(id, ino, size, data, tail, content) VALUES(?1, ?2, ?3, ?4, ?5, ?6)");

	if (!st)
		return meta_fail(f->s);
	sqlite3_bind_int64(st, 1, (int64_t)m->id);
	sqlite3_bind_int64(st, 2, (int64_t)f->ino);
	sqlite3_bind_int64(st, 3, (int64_t)f->size);
	sqlite3_bind_int64(st, 4, (int64_t)m->data);
	sqlite3_bind_int64(st, 5, (int64_t)m->inline_off);
	if (m->content)
		sqlite3_bind_blob(st, 6, m->content, (int)m->content_len, SQLITE_STATIC);
	return meta_exec(f->s, st);
}

/* The rows of the version: manifest, inline content, staged chunks. In a transaction. */
static int build_version(struct store_file *f, struct making *m, bool torn)
{
	struct store *s = f->s;
	bool in_place = f->version && !f->replacing && !torn && (f->own || f->appended), empty = false, same_tail;
	uint64_t end;
	int64_t id;
	size_t i;
	int rc = 0;

	m->aside = in_place && meta_version_held(s, f->version) && !(f->draft && !m->small);
	if (f->draft && !m->small) {
		m->id = f->draft;
		m->data = f->draft_data;
	} else if (in_place && !m->aside) {
		m->id = f->version;
		m->data = f->base_data - f->inline_len;
		rc = meta_derived_forget(s, m->id);
	} else {
		id = meta_next(s, META_VERSION);
		if (id < 0)
			return (int)id;
		m->id = (uint64_t)id;
		empty = f->replacing || m->small || !f->version;
		if (!empty) {
			rc = manifest_copy(s, f->version, m->id);
			m->data = f->base_data - f->inline_len;
		}
	}
	/* A line more in the inline content: the rows of the manifest stay as they are. */
	same_tail = m->id == f->version && !f->ext.n && m->content && f->inline_len && m->inline_off == f->inline_off;
	if (!rc && !m->small)
		rc = apply_extents(f, m->id, empty, &m->data);
	/* Nothing of the manifest may lie where inline content is, nor behind the end. */
	end = m->small ? 0 : m->content ? m->inline_off : f->size;
	if (!rc && !empty && !same_tail) {
		uint64_t old = 0;

		rc = manifest_data(s, m->id, end, INT64_MAX, &old);
		m->data -= old;
		if (!rc)
			rc = manifest_replace(s, m->id, end, INT64_MAX, NULL, 0);
	}
	m->data += m->raw_len;
	if (!rc)
		rc = write_version(f, m);
	for (i = 0; !rc && i < m->nrows; i++)
		rc = meta_stage_chunk(s, &m->rows[i]);
	if (!rc && f->draft)
		rc = meta_draft(s, f->draft, false);
	if (!rc && f->draft && m->id != f->draft)
		rc = meta_version_delete(s, f->draft);
	return rc;
}

/* Step 3. */
static int change_tree(struct store_file *f, struct making *m)
{
	struct store *s = f->s;
	struct store_attr old;
	sqlite3_stmt *st;
	int rc = meta_begin(s);

	if (rc)
		return rc;
	rc = meta_inode_get(s, f->ino, &old);
	if (!rc)
		rc = build_version(f, m, false);
	if (!rc)
		rc = tree_late_settle(s, f->ino, true);
	if (!rc) {
		st = meta_stmt(s, "UPDATE inode SET size = ?2, data = ?3, mtime = ?4, ctime = ?5, version = ?6 WHERE ino = ?1");
		if (!st) {
			rc = meta_fail(s);
			goto end;
		}
		sqlite3_bind_int64(st, 1, (int64_t)f->ino);
		sqlite3_bind_int64(st, 2, (int64_t)f->size);
		sqlite3_bind_int64(st, 3, (int64_t)m->data);
		sqlite3_bind_int64(st, 4, (int64_t)((uint64_t)f->mtime - (uint64_t)meta_ns(old.btime)));
		sqlite3_bind_int64(st, 5, (int64_t)((uint64_t)f->ctime - (uint64_t)meta_ns(old.btime)));
		sqlite3_bind_int64(st, 6, (int64_t)m->id);
		rc = meta_exec(s, st);
	}
	if (!rc) {
		struct store_attr now = old;

		now.size = f->size;
		now.data = m->data;
		now.mtime = meta_timespec(f->mtime);
		now.ctime = meta_timespec(f->ctime);
		now.version = m->id;
		tree_known_put(s, &now);
	}
	if (!rc && !m->small)
		rc = records_publish(f, m->id);
	if (!rc && f->version && f->version != m->id)
		rc = meta_version_end(s, f->version, &old, STORE_REPLACED, !f->appended && !m->aside, NULL, 0);
	if (!rc && f->fresh)
		rc = meta_settle(s, f->ino);
end:
	return meta_end(s, rc);
}

/* The session is the published content now. Takes the inline bytes. */
static void adopt(struct store_file *f, struct making *m)
{
	f->version = m->id;
	f->base_size = f->size;
	f->base_data = m->data;
	free(f->inline_data);
	f->inline_data = m->raw;
	f->inline_len = m->raw_len;
	f->inline_off = m->inline_off;
	m->raw = NULL;
	f->draft = 0;
	f->own = true;
	f->fresh = false;
	file_drop_session(f);
}

/* A new file that nobody wrote to is published as it is, with the times it has. */
static int begin_empty(struct store_file *f)
{
	struct store_attr a;
	int rc;

	meta_lock(f->s);
	rc = meta_inode_get(f->s, f->ino, &a);
	meta_unlock(f->s);
	if (!rc)
		rc = file_begin(f, false);
	if (!rc) {
		f->mtime = meta_ns(a.mtime);
		f->ctime = meta_ns(a.ctime);
	}
	return rc;
}

static int publish_locked(struct store_file *f, bool durable, bool *sync)
{
	struct making m = { 0 };
	int rc = f->error ? ckpt_fail(f->error, "what was written could not be stored") : 0;

	*sync = durable || f->written >= FILE_DURABLE_MIN;
	if (!rc && !f->session)
		rc = begin_empty(f);
	if (!rc)
		rc = gather(f, &m);
	if (!rc)
		rc = secure_chunks(f, &m);
	if (!rc)
		rc = change_tree(f, &m);
	if (!rc)
		adopt(f, &m);
	making_release(&m);
	return rc;
}

int store_file_publish(struct store_file *f, bool durable)
{
	bool sync = durable, nothing;
	int rc = 0;

	file_lock(f);
	nothing = f->readonly || (!f->session && !f->fresh);
	if (!nothing)
		rc = publish_locked(f, durable, &sync);
	pthread_rwlock_unlock(&f->lock);
	if (rc || (nothing && !durable))
		return rc;
	/* Step 4, without the file's lock: others may read and write on. */
	return sync ? meta_commit(f->s, true) : meta_commit_names(f->s);
}

/* Puts what the session has into the history. */
static int keep_torn(struct store_file *f)
{
	struct making m = { 0 };
	struct store_attr attr;
	int rc;

	rc = gather(f, &m);
	if (!rc)
		rc = secure_chunks(f, &m);
	if (!rc)
		rc = meta_begin(f->s);
	if (rc)
		goto out;
	rc = meta_inode_get(f->s, f->ino, &attr);
	if (!rc)
		rc = build_version(f, &m, true);
	if (!rc) {
		attr.size = f->size;
		attr.data = m.data;
		attr.mtime = meta_timespec(f->mtime);
		attr.ctime = meta_timespec(f->ctime);
		attr.version = m.id;
		rc = meta_version_end(f->s, m.id, &attr, STORE_TORN, true, NULL, 0);
	}
	rc = meta_end(f->s, rc);
	if (!rc) {
		f->draft = 0;
		rc = meta_commit(f->s, false);
	}
out:
	making_release(&m);
	return rc;
}

int store_file_abort(struct store_file *f, bool keep)
{
	int rc = 0;

	file_lock(f);
	if (f->session && keep && f->size && !f->error && f->s->opt.history_seconds) {
		rc = keep_torn(f);
		if (rc)
			ckpt_log(LOG_WARNING, "inode %llu: the torn bytes could not be kept: %s", (unsigned long long)f->ino,
					ckpt_errmsg());
	}
	if (f->session)
		file_drop_session(f);
	pthread_rwlock_unlock(&f->lock);
	return 0;
}
