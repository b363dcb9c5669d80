/*
 * chunk_open.c: the chunks of a store are opened, closed and counted, and chunks.db as a file.
 *
 * The parts depend on one another from the top: pins; chunks.db; the cache; the index, which catches up with chunks.db;
 * staged chunks, which go into chunks.db and the index and count for the next id; the workers, who use them all.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "chunk_parts.h"
#include "page_sums_internal.h"
#include "vfs_internal.h"

/*
 * 2: `hint` and `pred`. 3: fingerprints (chunk_name.c). 4: the same tables on pages that carry sums (page_sums_internal.h),
 * which no older file ever gets. 5: rows may name a place in chunks.plain.
 */
enum { CHUNKS_COLUMNS = 2, CHUNKS_PRINTS = 3, CHUNKS_SUMS = 4, CHUNKS_PLAIN = 5, CHUNKS_FORMAT = 5 };

/* For chunk_name.c. A row comes and goes with its chunk's: by triggers it would take a journal for each statement. */
#define LATE_TABLE \
	"CREATE TABLE late(id INTEGER PRIMARY KEY, sha BLOB);" \
	"CREATE INDEX late_due ON late(id) WHERE sha IS NULL;"

/* Columns behind the payload would cost a walk along its pages. */
static const char *const schema =
	"BEGIN IMMEDIATE;"
	"CREATE TABLE chunk(id INTEGER PRIMARY KEY, hash BLOB NOT NULL, raw_len INTEGER NOT NULL,"
	" codec INTEGER NOT NULL, base INTEGER NOT NULL, \"check\" INTEGER NOT NULL, hint INTEGER NOT NULL DEFAULT 0,"
	" pred INTEGER NOT NULL DEFAULT 0, data BLOB NOT NULL);"
	"CREATE INDEX chunk_base ON chunk(base, id) WHERE base > 0;"
	"CREATE INDEX chunk_waiting ON chunk(id) WHERE pred > 0;"
	"CREATE TABLE state(one INTEGER PRIMARY KEY CHECK(one = 1), next INTEGER NOT NULL, chunks INTEGER NOT NULL,"
	" raw INTEGER NOT NULL, stored INTEGER NOT NULL, print_key BLOB, sha_upto INTEGER NOT NULL DEFAULT 0);"
	"INSERT INTO state(one, next, chunks, raw, stored) VALUES(1, 1, 0, 0, 0);"
	LATE_TABLE
	"PRAGMA user_version = 5;"
	"COMMIT;";

/* From format 1, where nobody knows what its chunks hold and follow. */
static const char *const upgrade_1 =
	"BEGIN IMMEDIATE;"
	"ALTER TABLE chunk ADD COLUMN hint INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE chunk ADD COLUMN pred INTEGER NOT NULL DEFAULT 0;"
	"CREATE INDEX chunk_waiting ON chunk(id) WHERE pred > 0;"
	"PRAGMA user_version = 2;"
	"COMMIT;";

/* From format 2, whose chunks have no fingerprints. */
static const char *const upgrade_2 =
	"BEGIN IMMEDIATE;"
	"ALTER TABLE state ADD COLUMN print_key BLOB;"
	"ALTER TABLE state ADD COLUMN sha_upto INTEGER NOT NULL DEFAULT 0;"
	"UPDATE state SET sha_upto = max(next - 1, (SELECT coalesce(max(id), 0) FROM chunk));"
	LATE_TABLE
	"PRAGMA user_version = 3;"
	"COMMIT;";

/* The first column of the first row of a statement. */
static int query_int(struct chunk_db *d, const char *text, int64_t *out)
{
	sqlite3_stmt *st = NULL;
	int rc = 0;
	int e = sqlite3_prepare_v2(d->db, text, -1, &st, NULL);

	if (e == SQLITE_OK)
		e = sqlite3_step(st);
	if (e == SQLITE_ROW)
		*out = sqlite3_column_int64(st, 0);
	else
		rc = e == SQLITE_DONE ? ckpt_fail(EIO, "chunks.db: no answer to \"%s\"", text) : chunk_db_fail(d, e);
	sqlite3_finalize(st);
	return rc;
}

uint64_t chunk_db_size(struct store *s)
{
	struct chunk_db *d = &s->chunks->db;
	int64_t pages = 0, size = 0;

	pthread_mutex_lock(&d->lock);
	if (query_int(d, "PRAGMA page_count", &pages) || query_int(d, "PRAGMA page_size", &size))
		pages = 0;
	pthread_mutex_unlock(&d->lock);
	return (uint64_t)(pages * size);
}

int64_t chunk_db_shrink(struct store *s, int n, int64_t ns)
{
	struct chunk_db *d = &s->chunks->db;
	sqlite3_stmt *st = NULL;
	char text[64];
	int64_t left = 0;

	pthread_mutex_lock(&d->lock);
	int rc = chunk_batch_begin(s);

	if (rc == 0)
		rc = chunk_change_begin(s);
	if (rc)
		goto out;
	sqlite3_snprintf(sizeof text, text, "PRAGMA incremental_vacuum(%d)", n);
	int e = sqlite3_prepare_v2(d->db, text, -1, &st, NULL);
	int64_t until = meta_monotonic() + ns;

	/* One page a step, each of which looks for it in the whole list of free pages. */
	while (e == SQLITE_OK || (e == SQLITE_ROW && meta_monotonic() < until))
		e = sqlite3_step(st);
	if (e != SQLITE_DONE && e != SQLITE_ROW)
		rc = chunk_db_fail(d, e);
	sqlite3_finalize(st);
	rc = chunk_change_end(s, rc);
	if (rc == 0)
		rc = query_int(d, "PRAGMA freelist_count", &left);
out:
	pthread_mutex_unlock(&d->lock);
	return rc ? rc : left;
}

static int exec(struct chunk_db *d, const char *text)
{
	int e = sqlite3_exec(d->db, text, NULL, NULL, NULL);

	return e == SQLITE_OK ? 0 : chunk_db_fail(d, e);
}

/* Bytes at the end of each page that SQLite leaves alone; `want`: those of a file that is yet to be written, -1 just asks. */
static int reserved(struct chunk_db *d, int want, int *out)
{
	*out = want;
	int e = sqlite3_file_control(d->db, "main", SQLITE_FCNTL_RESERVE_BYTES, out);

	return e == SQLITE_OK ? 0 : chunk_db_fail(d, e);
}

/* A chunks.db without tables is one that is being made, unless there are files whose chunks it had. */
static int refuse_lost(struct store *s)
{
	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT 1 FROM manifest LIMIT 1");
	int rc = st ? meta_step(s, st) : meta_fail(s);

	if (st)
		sqlite3_reset(st);
	meta_unlock(s);
	return rc == 1 ? ckpt_fail(EIO, "store '%s' is damaged: its chunks.db is missing or empty, and files have their "
			"bytes there; bring it back from a copy", s->path) : rc;
}

/*
 * Pages of a file that is yet to be written.  One whose making was begun has its first page, which a program that knew no sums
 * may have written.
 */
static int set_pages(struct chunk_db *d, bool begun)
{
	int had = PAGE_SUM, was;
	int rc = begun ? reserved(d, -1, &had) : 0;

	if (rc == 0)
		rc = exec(d, "PRAGMA page_size = 8192;");
	if (rc == 0)
		rc = reserved(d, PAGE_SUM, &was);
	if (rc == 0)
		rc = exec(d, "PRAGMA auto_vacuum = INCREMENTAL;");
	return rc == 0 && had != PAGE_SUM ? exec(d, "VACUUM") : rc;
}

/* The key of fingerprints, made when there is none: a crash may have come between it and the tables. */
static int load_key(struct store *s)
{
	struct chunk_db *d = &s->chunks->db;
	sqlite3_stmt *st = NULL;
	int rc = 0;
	int e = sqlite3_prepare_v2(d->db, "SELECT print_key FROM state", -1, &st, NULL);

	if (e == SQLITE_OK)
		e = sqlite3_step(st);
	bool none = e == SQLITE_ROW && sqlite3_column_type(st, 0) == SQLITE_NULL;

	if (e == SQLITE_ROW && sqlite3_column_bytes(st, 0) == CODEC_PRINT_KEY_LEN)
		memcpy(d->key, sqlite3_column_blob(st, 0), CODEC_PRINT_KEY_LEN);
	else if (!none)
		rc = e == SQLITE_ROW || e == SQLITE_DONE ? ckpt_fail(EIO, "chunks.db: the key of its fingerprints is damaged")
							 : chunk_db_fail(d, e);
	sqlite3_finalize(st);
	if (rc || !none || s->readonly)
		return rc;
	rc = codec_print_key(d->key);
	if (rc)
		return rc;
	e = sqlite3_prepare_v2(d->db, "UPDATE state SET print_key = ?1", -1, &st, NULL);
	if (e == SQLITE_OK) {
		sqlite3_bind_blob(st, 1, d->key, CODEC_PRINT_KEY_LEN, SQLITE_STATIC);
		e = sqlite3_step(st);
	}
	if (e != SQLITE_DONE)
		rc = chunk_db_fail(d, e);
	sqlite3_finalize(st);
	return rc;
}

/* Chunks of format 2 may be gone by now. */
static int load_sha_upto(struct store *s)
{
	struct chunk_db *d = &s->chunks->db;
	int64_t upto = 0, first = 0;
	int rc = query_int(d, "SELECT sha_upto FROM state", &upto);

	if (rc == 0 && upto > 0)
		rc = query_int(d, "SELECT coalesce(min(id), 0) FROM chunk", &first);
	d->sha_upto = upto > 0 && first > 0 && first <= upto ? (uint64_t)upto : 0;
	return rc;
}

static int load_state(struct store *s)
{
	struct chunk_db *d = &s->chunks->db;
	int64_t next = 1, max = 0;
	int rc = query_int(d, "SELECT next FROM state", &next);

	if (rc == 0)
		rc = query_int(d, "SELECT coalesce(max(id), 0) FROM chunk", &max);
	if (rc == 0)
		rc = query_int(d, "SELECT chunks FROM state", &d->chunks);
	if (rc == 0)
		rc = query_int(d, "SELECT raw FROM state", &d->raw);
	if (rc == 0)
		rc = query_int(d, "SELECT stored FROM state", &d->stored);
	if (rc == 0 && !d->old)
		rc = load_key(s);
	if (rc == 0 && !d->old)
		rc = load_sha_upto(s);
	if (rc)
		return rc;
	if (next < 1 || max < 0 || max >= INT64_MAX / 2)
		return ckpt_fail(EIO, "chunks.db: ids are out of range");
	d->was_chunks = d->chunks;
	d->was_raw = d->raw;
	d->was_stored = d->stored;
	d->next_id = (uint64_t)(next > max ? next : max + 1);
	atomic_store(&d->committed, d->next_id - 1);
	atomic_store(&d->batch, 1);
	return 0;
}

/* Where payloads can be read past SQLite (row_pages_internal.h). Roots of tables stay where they are while it is open. */
static int find_pages(struct chunk_db *d)
{
	sqlite3_file *file = NULL;
	uint32_t size = 0;
	int64_t root = 0;
	int fd = -1, rc = query_int(d, "SELECT rootpage FROM sqlite_schema WHERE name = 'chunk'", &root);

	if (rc == 0 && sqlite3_file_control(d->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK && file)
		fd = store_vfs_reads(file, &size);
	row_pages_init(&d->pages, fd, size, root > 0 && root < UINT32_MAX ? (uint32_t)root : 0);
	return rc;
}

void chunk_db_pass(struct store *s, uint64_t id)
{
	struct chunk_db *d = &s->chunks->db;

	if (id < d->next_id)
		return;
	d->next_id = id + 1;
	atomic_store(&d->committed, id);
}

int chunk_db_open(struct store *s, bool create)
{
	struct chunk_db *d = &s->chunks->db;
	int flags = store_db_flags(s, "chunks.db", create);
	int64_t version = 0, pages = 0;
	char *path = NULL;
	int room;

	pthread_mutex_init(&d->lock, NULL);
	if (flags < 0)
		return flags;
	if (asprintf(&path, "%s/chunks.db", s->path) < 0)
		return ckpt_fail(ENOMEM, "no memory for a path");
	int rc = 0;
	int e = sqlite3_open_v2(path, &d->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, s->vfs);

	if (e != SQLITE_OK) {
		/* stat() opens nothing: closing another descriptor of the file would drop SQLite's locks. */
		struct stat st;

		if ((e & 0xff) == SQLITE_CANTOPEN && stat(path, &st) < 0 && errno == ENOENT && (rc = refuse_lost(s)) == 0)
			rc = ckpt_fail(ENOENT, "\"%s\" is missing", path);
		else if (rc == 0)
			rc = ckpt_fail(d->db ? chunk_db_errno(d->db, e) : ENOMEM, "can't open \"%s\": %s", path, sqlite3_errstr(e));
		goto out;
	}
	rc = exec(d, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA mmap_size = 0;"
			"PRAGMA secure_delete = OFF; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"
			"PRAGMA max_page_count = 4294967294;");
	if (rc == 0)
		rc = query_int(d, "PRAGMA user_version", &version);
	if (rc == 0)
		rc = query_int(d, "PRAGMA page_count", &pages);
	if (rc == 0 && version == 0 && pages <= 1)
		rc = refuse_lost(s);
	/*
	 * Small pages: a payload's tail fills half of one in the mean.  At 4 KiB checkpoints take 0.3 % less, many small tensors 3 %,
	 * but rows of 2 KiB (differences of which little changed) pack worse: 1 % of an embedding's rows 0.0108 of raw against
	 * 0.0088; and SQLite takes twice the CPU, 8 % of what new data costs.  The largest file that it makes of them has 32
	 * TiB, if it is told.
	 *
	 * auto_vacuum writes page 1 at once: a file of one page and no version is one whose making was cut short.  To a file that has
	 * more it would write although nothing changes.
	 */
	if (rc == 0 && version == 0 && pages <= 1 && !s->readonly)
		rc = set_pages(d, pages == 1);
	if (rc == 0 && !s->readonly)
		rc = exec(d, "PRAGMA journal_mode = PERSIST; PRAGMA journal_size_limit = 67108864; PRAGMA synchronous = FULL;");
	/* After the page size is known: SQLite 3.40 reckons it in pages of the size it has in mind at that moment. */
	if (rc == 0) {
		char text[40];

		snprintf(text, sizeof text, "PRAGMA cache_size = -%d", CHUNK_CACHE_KIB);
		rc = exec(d, text);
	}
	if (rc)
		goto out;
	if (version == 0 && pages <= 1) {
		/* Being made; a crash may have left the file, not yet the tables. */
		if (s->readonly)
			rc = ckpt_fail(EROFS, "\"%s\" was never finished and the store is read-only", path);
		else
			rc = exec(d, schema);
	} else if (version > CHUNKS_FORMAT) {
		rc = ckpt_fail(EPROTONOSUPPORT, "\"%s\" has format %lld, made by a newer program", path, (long long)version);
	} else if (version < 1) {
		rc = ckpt_fail(EIO, "\"%s\" is no store of chunks", path);
	} else if (version < CHUNKS_PRINTS) {
		d->old = s->readonly;
		rc = d->old || version >= CHUNKS_COLUMNS ? 0 : exec(d, upgrade_1);
		if (rc == 0 && !d->old)
			rc = exec(d, upgrade_2);
	}
	if (rc == 0 && version == CHUNKS_SUMS && !s->readonly)
		rc = exec(d, "PRAGMA user_version = 5");
	if (rc && !sqlite3_get_autocommit(d->db))
		sqlite3_exec(d->db, "ROLLBACK", NULL, NULL, NULL);
	d->plain = version == 0 || version >= CHUNKS_PLAIN || (version == CHUNKS_SUMS && !s->readonly);
	if (rc == 0 && version >= CHUNKS_SUMS && (rc = reserved(d, -1, &room)) == 0 && room != PAGE_SUM)
		rc = ckpt_fail(EIO, "\"%s\" is damaged (format %lld, %d bytes reserved)", path, (long long)version, room);
	if (rc == 0)
		rc = load_state(s);
	if (rc == 0)
		rc = find_pages(d);
	if (rc == 0)
		rc = chunk_plain_open(s);
out:
	free(path);
	return rc;
}

/*
 * A store that is closed as it should be keeps no journal beside chunks.db.  SQLite deletes it where it leaves the exclusive
 * mode; when that does not work the journal stays, empty, and harms nobody.
 */
static void drop_journal(struct store *s)
{
	struct chunk_db *d = &s->chunks->db;

	if (d->db && !s->crash && !s->readonly && !atomic_load(&s->failed) && sqlite3_get_autocommit(d->db))
		sqlite3_exec(d->db, "PRAGMA locking_mode = NORMAL; SELECT count(*) FROM state; PRAGMA journal_mode = DELETE;",
				NULL, NULL, NULL);
}

void chunk_db_close(struct store *s)
{
	struct chunk_db *d = &s->chunks->db;

	for (int i = 0; i < CHUNK_STMTS; i++)
		sqlite3_finalize(d->stmts[i]);
	chunk_plain_close(s);
	drop_journal(s);
	sqlite3_close(d->db); /* an open batch is rolled back */
	pthread_mutex_destroy(&d->lock);
}

void chunk_counters(struct store *s, struct chunk_counters *out)
{
	struct chunks *c = s->chunks;
	struct chunk_counts *n = &c->counts;

	*out = (struct chunk_counters){
		.jobs = atomic_load(&n->jobs), .known = atomic_load(&n->known), .raw_bytes = atomic_load(&n->raw_bytes),
		.new_bytes = atomic_load(&n->new_bytes), .stored_bytes = atomic_load(&n->stored_bytes),
		.commits = atomic_load(&n->commits), .lost = atomic_load(&n->lost), .hits = atomic_load(&n->hits),
		.misses = atomic_load(&n->misses), .decoded_bytes = atomic_load(&n->decoded_bytes),
		.prefetched = atomic_load(&n->prefetched), .gc_runs = atomic_load(&n->gc_runs),
		.gc_chunks = atomic_load(&n->gc_chunks), .gc_bytes = atomic_load(&n->gc_bytes), .postponed = atomic_load(&n->postponed),
		.taken = atomic_load(&n->taken), .passed = atomic_load(&n->passed), .plain_bytes = atomic_load(&c->plain.end),
	};
	pthread_mutex_lock(&c->pipe.lock);
	out->queue = c->pipe.jobs;
	out->queue_bytes = c->pipe.bytes;
	pthread_mutex_unlock(&c->pipe.lock);
	pthread_mutex_lock(&c->cache.lock);
	out->cache_bytes = c->cache.bytes;
	pthread_mutex_unlock(&c->cache.lock);
	pthread_mutex_lock(&c->pins.lock);
	out->pins = c->pins.counts.n;
	pthread_mutex_unlock(&c->pins.lock);
	pthread_mutex_lock(&c->db.lock);
	out->chunks = (uint64_t)c->db.chunks;
	out->chunk_raw = (uint64_t)c->db.raw;
	out->chunk_stored = (uint64_t)c->db.stored;
	pthread_mutex_unlock(&c->db.lock);
}

int chunks_open(struct store *s, bool create)
{
	int rc;

	s->chunks = calloc(1, sizeof *s->chunks);
	if (!s->chunks)
		return ckpt_fail(ENOMEM, "no memory for the chunks");
	rc = chunk_pins_open(s);
	if (rc)
		goto free_chunks;
	rc = chunk_db_open(s, create);
	if (rc)
		goto close_db;
	rc = chunk_cache_open(s);
	if (rc)
		goto close_db;
	rc = chunk_index_open(s);
	if (rc)
		goto close_index;
	rc = chunk_stage_open(s);
	if (rc)
		goto close_stage;
	rc = gc_open(s);
	if (rc)
		goto close_stage;
	recompress_idle_open(s);
	rc = chunk_pipe_open(s);
	if (rc)
		goto close_gc;
	return 0;
close_gc:
	recompress_idle_close(s);
	gc_close(s);
close_stage:
	chunk_stage_close(s);
close_index:
	chunk_index_close(s);
	chunk_cache_close(s);
close_db:
	chunk_db_close(s);
	chunk_pins_close(s);
free_chunks:
	free(s->chunks);
	s->chunks = NULL;
	return rc;
}

void chunks_close(struct store *s)
{
	if (!s->chunks)
		return;
	recompress_idle_close(s);
	gc_close(s);
	chunk_pipe_close(s);
	chunk_stage_close(s);
	chunk_index_close(s);
	chunk_cache_close(s);
	chunk_db_close(s);
	chunk_pins_close(s);
	free(s->chunks);
	s->chunks = NULL;
}
