/*
 * chunk_name.c: what a chunk's plain bytes are known by.
 *
 * Two names.  The fingerprint under the store's key (codec_print.h) answers, while a writer waits, whether the bytes are
 * there already: it costs a fifth of SHA-256, and nobody who lacks the key can make two contents that share one.
 * SHA-256 is what `verify` holds the bytes against, and what anybody can check without the key.
 *
 * SHA-256 is taken at once where no other chunk waits, else later.  512 MiB of noise on two cores: of 3.0 s of CPU it took 0.6 s,
 * and of 1.0 s 0.55 s where all was known.
 *
 *      chunk.hash   late             SHA-256
 *      48 bytes     -                in the row, behind the fingerprint
 *      16 bytes     (id, NULL)       due: chunk_names_finish() takes it in idle time
 *      16 bytes     (id, SHA-256)    taken later; changing the row would write its payload again
 *      32 bytes     -                alone, in a chunk of format 2: for those alone writers take SHA-256 at once
 *
 * Until it is taken the fingerprint stands in for it: as a guard against damage both are as good.
 */
#include <errno.h>
#include <string.h>

#include "chunk_parts.h"

enum { NAMES_BATCH = 1024 }; /* chunks that are named between two commits */

static bool has_print(const struct chunk_name *n)
{
	return n->len == CODEC_PRINT_LEN || n->len == CHUNK_NAME_MAX;
}

static const uint8_t *sha_of(const struct chunk_name *n)
{
	return n->len == CHUNK_NAME_MAX ? n->b + CODEC_PRINT_LEN : n->len == CODEC_HASH_LEN ? n->b : NULL;
}

int chunk_name_print(struct store *s, const uint8_t *raw, size_t len, struct chunk_name *out)
{
	struct codec_print p;
	int rc = codec_print(s->chunks->db.key, raw, len, &p);

	if (rc)
		return rc;
	memcpy(out->b, p.b, sizeof p.b);
	out->len = CODEC_PRINT_LEN;
	return 0;
}

int chunk_name_sha(const uint8_t *raw, size_t len, struct chunk_name *n)
{
	struct codec_hash h;
	int rc = codec_sha256(raw, len, &h);

	if (rc)
		return rc;
	memcpy(n->b + CODEC_PRINT_LEN, h.b, sizeof h.b);
	n->len = CHUNK_NAME_MAX;
	return 0;
}

bool chunk_name_get(sqlite3_stmt *st, int column, struct chunk_name *out)
{
	int n = sqlite3_column_bytes(st, column);

	*out = (struct chunk_name){ 0 };
	if (n != CODEC_PRINT_LEN && n != CODEC_HASH_LEN && n != CHUNK_NAME_MAX)
		return false;
	memcpy(out->b, sqlite3_column_blob(st, column), (size_t)n);
	out->len = (uint8_t)n;
	return true;
}

bool chunk_name_late(sqlite3_stmt *st, int column, struct chunk_name *n)
{
	if (sqlite3_column_type(st, column) == SQLITE_NULL)
		return true;
	if (n->len != CODEC_PRINT_LEN || sqlite3_column_bytes(st, column) != CODEC_HASH_LEN)
		return false;
	memcpy(n->b + CODEC_PRINT_LEN, sqlite3_column_blob(st, column), CODEC_HASH_LEN);
	n->len = CHUNK_NAME_MAX;
	return true;
}

void chunk_name_bind(sqlite3_stmt *st, int param, const struct chunk_name *n)
{
	sqlite3_bind_blob(st, param, n->b, n->len, SQLITE_STATIC);
}

int64_t chunk_name_prefix(const struct chunk_name *n)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | n->b[i];
	return (int64_t)v;
}

bool chunk_name_same(const struct chunk_name *a, const struct chunk_name *b)
{
	if (has_print(a) && has_print(b))
		return memcmp(a->b, b->b, CODEC_PRINT_LEN) == 0;
	const uint8_t *x = sha_of(a), *y = sha_of(b);

	return x && y && memcmp(x, y, CODEC_HASH_LEN) == 0;
}

int chunk_name_check(struct store *s, const struct chunk_name *n, uint64_t id, const uint8_t *raw, size_t len)
{
	const uint8_t *sha = sha_of(n);
	struct chunk_name is;
	int rc = sha ? chunk_name_sha(raw, len, &is) : chunk_name_print(s, raw, len, &is);

	if (rc)
		return rc;
	if (sha ? memcmp(sha_of(&is), sha, CODEC_HASH_LEN) != 0 : !chunk_name_same(&is, n))
		rc = ckpt_fail(EIO, "chunk %llu: its bytes do not have their %s", (unsigned long long)id,
				sha ? "SHA-256" : "fingerprint");
	return rc;
}

/* --- later ---------------------------------------------------------------------------------------- */

/* The first chunk behind `after` whose SHA-256 is due: 1, 0 none, -errno. */
static int next_due(struct store *s, uint64_t after, uint64_t *id)
{
	struct chunk_db *d = &s->chunks->db;
	int rc = 0;

	ckpt_mutex_lock(&d->lock);
	sqlite3_stmt *st = chunk_stmt(d, ST_SHA_DUE, &rc);

	if (st) {
		sqlite3_bind_int64(st, 1, (int64_t)after);
		rc = chunk_run_id(d, st, id);
	}
	pthread_mutex_unlock(&d->lock);
	return rc;
}

/* A row that went meanwhile took its place in `late` with it: then nothing is changed. */
static int put_sha(struct store *s, uint64_t id, const struct chunk_name *n)
{
	struct chunk_db *d = &s->chunks->db;

	ckpt_mutex_lock(&d->lock);
	int rc = chunk_batch_begin(s);
	sqlite3_stmt *st = rc ? NULL : chunk_stmt(d, ST_SHA_PUT, &rc);

	if (st) {
		sqlite3_bind_int64(st, 1, (int64_t)id);
		sqlite3_bind_blob(st, 2, sha_of(n), CODEC_HASH_LEN, SQLITE_STATIC);
		rc = chunk_run(d, ST_SHA_PUT);
		sqlite3_clear_bindings(st);
		if (rc)
			chunk_batch_failed(s, rc);
	}
	pthread_mutex_unlock(&d->lock);
	return rc;
}

int chunk_name_settle(struct store *s, uint64_t id, const struct chunk_name *n, const uint8_t *raw, size_t len)
{
	struct chunk_name all = *n;

	if (sha_of(n))
		return 0;
	int rc = chunk_name_sha(raw, len, &all);

	return rc ? rc : put_sha(s, id, &all);
}

/* A chunk that is damaged keeps its place in `late`: verify tells of it. */
static int name_one(struct store *s, uint64_t id)
{
	struct chunk_head h;
	struct chunk_buf *b = NULL;
	int rc = chunk_pin(s, id);

	if (rc)
		return rc;
	rc = chunk_head_read(s, id, &h);
	if (rc == 1 && !sha_of(&h.name)) {
		rc = chunk_get_aside(s, id, &b);
		if (rc == 0)
			rc = chunk_name_check(s, &h.name, id, b->data, b->len);
		if (rc == 0)
			rc = chunk_name_settle(s, id, &h.name, b->data, b->len);
		chunk_put(b);
	}
	chunk_unpin(s, id);
	return rc == -EIO && !atomic_load(&s->failed) ? 0 : rc < 0 ? rc : 0;
}

int chunk_names_finish(struct store *s, bool (*stop)(void *arg), void *arg)
{
	uint64_t id = 0;
	unsigned n = 0;
	int rc = 0;

	while (!stop(arg) && (rc = next_due(s, id, &id)) == 1) {
		rc = name_one(s, id);
		if (rc == 0 && ++n % NAMES_BATCH == 0)
			rc = chunks_commit(s);
		if (rc)
			return rc;
	}
	return rc < 0 ? rc : n % NAMES_BATCH ? chunks_commit(s) : 0;
}
