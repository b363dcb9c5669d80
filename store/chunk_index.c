/*
 * chunk_index.c: from the name of plain bytes to the chunk that holds them.
 *
 * Two halves.  In memory: the twins, names that came in in this life, from the moment a worker takes them in hand until
 * they have their row in meta.db.  In meta.db: chunk_index(prefix, id) for committed chunks, the prefix being eight
 * bytes of the name; a hit is confirmed against the chunk's own row.  A name is always in one of them: rows are written
 * before twins go.
 *
 *      twin_enter          twin_inserted             commit            chunk_index_flush
 *     ------------> busy ----------------> listed ----------> listed -------------------> row in meta.db
 *                    |                       |
 *                    | error, or the index   | batch lost
 *                    v  knew it              v
 *                   gone                    gone
 *
 * Rows are written many at a time, sorted, because each goes to a page of its own in a large store.  config
 * 'chunks_indexed' says up to which id all rows are written; what lies behind it is read from chunks.db at the next open,
 * so a crash costs no dedup, and when the entry is missing the whole index is made anew.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chunk_parts.h"

enum { FLUSH_ROWS = 512, CANDIDATES = 8 };

/* --- twins ---------------------------------------------------------------------------------------- */

static size_t bucket_of(const struct chunk_index *x, const struct chunk_name *n)
{
	return (size_t)chunk_name_prefix(n) & (x->nbuckets - 1);
}

static struct twin *twin_find(const struct chunk_index *x, const struct chunk_name *n, uint32_t raw_len)
{
	for (struct twin *t = x->buckets[bucket_of(x, n)]; t; t = t->next)
		if (t->raw_len == raw_len && chunk_name_same(&t->name, n))
			return t;
	return NULL;
}

static void unhash(struct chunk_index *x, struct twin *t)
{
	struct twin **p = &x->buckets[bucket_of(x, &t->name)];

	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	x->ntwins--;
}

static void unlist(struct chunk_index *x, struct twin *t)
{
	*(t->older ? &t->older->newer : &x->oldest) = t->newer;
	*(t->newer ? &t->newer->older : &x->newest) = t->older;
	x->nlisted--;
}

/* More buckets; when there is no memory for them the chains get longer. */
static void spread(struct chunk_index *x)
{
	size_t old = x->nbuckets;
	struct twin **was = x->buckets, **b = calloc(old * 2, sizeof(struct twin *));

	if (!b)
		return;
	x->buckets = b;
	x->nbuckets = old * 2;
	for (size_t i = 0; i < old; i++) {
		for (struct twin *t = was[i], *next; t; t = next) {
			next = t->next;
			size_t at = bucket_of(x, &t->name);

			t->next = b[at];
			b[at] = t;
		}
	}
	free(was);
}

int twin_enter(struct store *s, struct chunk_job *j, struct twin **mine)
{
	struct chunk_index *x = &s->chunks->index;
	int rc = TWIN_MINE;

	pthread_mutex_lock(&x->lock);
	struct twin *t = twin_find(x, &j->name, j->len);

	if (t && t->busy) {
		j->next = t->waiters;
		t->waiters = j;
		rc = TWIN_WAIT;
	} else if (t) {
		rc = chunk_pin(s, t->id);
		if (rc == 0) {
			j->id = t->id;
			j->batch = t->batch;
			rc = TWIN_KNOWN;
		}
	} else if (!(t = calloc(1, sizeof *t))) {
		rc = ckpt_fail(ENOMEM, "no memory for a chunk's name");
	} else {
		if (x->ntwins > x->nbuckets)
			spread(x);
		size_t at = bucket_of(x, &j->name);

		t->name = j->name;
		t->raw_len = j->len;
		t->busy = true;
		t->next = x->buckets[at];
		x->buckets[at] = t;
		x->ntwins++;
		*mine = t;
	}
	pthread_mutex_unlock(&x->lock);
	return rc;
}

void twin_inserted(struct store *s, struct twin *t, uint64_t id, uint64_t batch)
{
	struct chunk_index *x = &s->chunks->index;

	pthread_mutex_lock(&x->lock);
	t->id = id;
	t->batch = batch;
	t->older = x->newest;
	*(x->newest ? &x->newest->newer : &x->oldest) = t;
	x->newest = t;
	x->nlisted++;
	pthread_mutex_unlock(&x->lock);
}

struct chunk_job *twin_leave(struct store *s, struct twin *t)
{
	struct chunk_index *x = &s->chunks->index;

	pthread_mutex_lock(&x->lock);
	struct chunk_job *waiters = t->waiters;

	t->waiters = NULL;
	t->busy = false;
	if (t->id == 0) {
		unhash(x, t);
		free(t);
	}
	pthread_mutex_unlock(&x->lock);
	return waiters;
}

void twins_lost(struct store *s, uint64_t batch)
{
	struct chunk_index *x = &s->chunks->index;

	pthread_mutex_lock(&x->lock);
	for (struct twin *t = x->newest, *older; t && t->batch >= batch; t = older) {
		older = t->older;
		unlist(x, t);
		if (t->busy) {
			t->id = 0; /* its worker has not left it yet, and frees it then */
		} else {
			unhash(x, t);
			free(t);
		}
	}
	pthread_mutex_unlock(&x->lock);
}

/* --- the index in meta.db ------------------------------------------------------------------------- */

int chunk_index_add(struct store *s, const struct chunk_name *n, uint64_t id)
{
	sqlite3_stmt *st = meta_stmt(s, "INSERT OR IGNORE INTO chunk_index(prefix, id) VALUES(?1, ?2)");

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, chunk_name_prefix(n));
	sqlite3_bind_int64(st, 2, (int64_t)id);
	return meta_exec(s, st);
}

int chunk_index_lookup(struct store *s, const struct chunk_name *name, uint32_t raw_len, uint64_t *id)
{
	uint64_t found[CANDIDATES];
	int n = 0, rc = 0;

	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT id FROM chunk_index WHERE prefix = ?1 ORDER BY id DESC LIMIT 8");

	if (st) {
		sqlite3_bind_int64(st, 1, chunk_name_prefix(name));
		while (n < CANDIDATES && (rc = meta_step(s, st)) == 1)
			found[n++] = (uint64_t)sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
	} else {
		rc = meta_fail(s);
	}
	meta_unlock(s);
	if (rc < 0)
		return rc;
	for (int i = 0; i < n; i++) {
		struct chunk_head head;

		/* Pinned first: from then on no collection takes the row away. */
		rc = chunk_pin(s, found[i]);
		if (rc)
			return rc;
		rc = chunk_head_read(s, found[i], &head);
		if (rc == 1 && head.raw_len == raw_len && chunk_name_same(&head.name, name)) {
			*id = found[i];
			return 1;
		}
		chunk_unpin(s, found[i]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

struct index_row {
	int64_t prefix;
	uint64_t id;
};

static int by_prefix(const void *a, const void *b)
{
	const struct index_row *x = a, *y = b;

	if (x->prefix != y->prefix)
		return x->prefix < y->prefix ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* Writes rows (sorted here) and that all up to `upto` are indexed, in one transaction. */
static int write_rows(struct store *s, struct index_row *rows, size_t n, uint64_t upto)
{
	qsort(rows, n, sizeof *rows, by_prefix);
	int rc = meta_begin(s);

	if (rc)
		return rc;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		sqlite3_stmt *st = meta_stmt(s, "INSERT OR IGNORE INTO chunk_index(prefix, id) VALUES(?1, ?2)");

		if (!st) {
			rc = meta_fail(s);
			break;
		}
		sqlite3_bind_int64(st, 1, rows[i].prefix);
		sqlite3_bind_int64(st, 2, (int64_t)rows[i].id);
		rc = meta_exec(s, st);
	}
	if (rc == 0) {
		sqlite3_stmt *st = meta_stmt(s, "INSERT INTO config(key, value) VALUES('chunks_indexed', ?1)"
				" ON CONFLICT(key) DO UPDATE SET value = excluded.value");

		if (st) {
			sqlite3_bind_int64(st, 1, (int64_t)upto);
			rc = meta_exec(s, st);
		} else {
			rc = meta_fail(s);
		}
	}
	return meta_end(s, rc);
}

int chunk_index_flush(struct store *s, size_t least)
{
	struct chunk_index *x = &s->chunks->index;
	struct index_row rows[FLUSH_ROWS];
	int rc = 0;

	pthread_mutex_lock(&x->lock);
	bool due = x->oldest && x->nlisted >= least;

	pthread_mutex_unlock(&x->lock);
	if (!due)
		return 0;
	ckpt_mutex_lock(&x->flush);
	while (rc == 0) {
		/* Nobody else takes committed twins off the list: a batch that is lost is a later one. */
		uint64_t committed = chunks_committed(s), upto = 0;
		size_t n = 0;

		pthread_mutex_lock(&x->lock);
		for (struct twin *t = x->oldest; t && n < FLUSH_ROWS && t->id <= committed; t = t->newer) {
			rows[n++] = (struct index_row){ chunk_name_prefix(&t->name), t->id };
			upto = t->id;
		}
		pthread_mutex_unlock(&x->lock);
		if (n == 0)
			break;
		rc = write_rows(s, rows, n, upto);
		if (rc)
			break;
		pthread_mutex_lock(&x->lock);
		for (struct twin *t = x->oldest, *newer; t && n > 0; t = newer, n--) {
			newer = t->newer;
			if (t->busy)
				break; /* its worker leaves it in a moment: the row is there, the next flush takes the twin */
			unlist(x, t);
			unhash(x, t);
			free(t);
		}
		pthread_mutex_unlock(&x->lock);
		if (n > 0)
			break;
	}
	pthread_mutex_unlock(&x->flush);
	return rc;
}

uint64_t chunk_index_settled(struct store *s)
{
	struct chunk_index *x = &s->chunks->index;
	uint64_t committed = chunks_committed(s);

	pthread_mutex_lock(&x->lock);
	if (x->oldest && x->oldest->id <= committed)
		committed = x->oldest->id - 1;
	pthread_mutex_unlock(&x->lock);
	return committed;
}

/* config 'chunks_indexed': 1 and *upto, 0 missing, -errno. */
static int indexed_upto(struct store *s, uint64_t *upto)
{
	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT value FROM config WHERE key = 'chunks_indexed'");
	int rc = st ? meta_step(s, st) : meta_fail(s);

	if (rc == 1)
		*upto = (uint64_t)sqlite3_column_int64(st, 0);
	if (st)
		sqlite3_reset(st);
	meta_unlock(s);
	return rc;
}

static int index_empty(struct store *s)
{
	int rc = meta_begin(s);

	if (rc)
		return rc;
	sqlite3_stmt *st = meta_stmt(s, "DELETE FROM chunk_index");

	return meta_end(s, st ? meta_exec(s, st) : meta_fail(s));
}

int chunk_index_open(struct store *s)
{
	struct chunk_index *x = &s->chunks->index;
	uint64_t upto = 0, ids[FLUSH_ROWS];
	struct chunk_name *names = NULL;
	struct index_row rows[FLUSH_ROWS];

	pthread_mutex_init(&x->lock, NULL);
	pthread_mutex_init(&x->flush, NULL);
	x->nbuckets = 4096;
	x->buckets = calloc(x->nbuckets, sizeof(struct twin *));
	names = calloc(FLUSH_ROWS, sizeof *names);
	int rc = x->buckets && names ? 0 : ckpt_fail(ENOMEM, "no memory for the chunk index");

	if (rc == 0 && !s->readonly) {
		rc = indexed_upto(s, &upto);
		if (rc == 0)
			rc = index_empty(s);
		else if (rc == 1)
			rc = 0;
		/* Where chunks.db is an older copy, ids that files name are not given to other bytes: they read as missing. */
		chunk_db_pass(s, upto);
	}
	while (rc == 0 && !s->readonly) {
		int n = chunk_rows_list(s, upto, ids, names, FLUSH_ROWS);

		if (n <= 0) {
			rc = n;
			break;
		}
		for (int i = 0; i < n; i++)
			rows[i] = (struct index_row){ chunk_name_prefix(&names[i]), ids[i] };
		upto = ids[n - 1];
		rc = write_rows(s, rows, (size_t)n, upto);
	}
	free(names);
	return rc;
}

void chunk_index_close(struct store *s)
{
	struct chunk_index *x = &s->chunks->index;

	for (size_t i = 0; x->buckets && i < x->nbuckets; i++) {
		for (struct twin *t = x->buckets[i], *next; t; t = next) {
			next = t->next;
			free(t);
		}
	}
	free(x->buckets);
	pthread_mutex_destroy(&x->lock);
	pthread_mutex_destroy(&x->flush);
}
