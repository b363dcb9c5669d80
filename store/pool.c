/*
 * pool.c: when what is pooled (pool_internal.h).
 *
 * A round walks the index version_inline from the first version to the last, a window at a time.  Versions are numbered in the
 * order in which files were published, so neighbours in time are in one window, and mostly neighbours in the tree as
 * well; within the window files are sorted by what their name ends with, by directory and by name, so that likes lie
 * side by side in a pool.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chunk_parts.h"
#include "file_internal.h"
#include "pool_internal.h"

enum { WALK_ROWS = 256 };
#define QUIET_NS ((int64_t)500 * 1000000)

int pool_open(struct store *s)
{
	s->pool = calloc(1, sizeof *s->pool);
	if (!s->pool)
		return ckpt_fail(ENOMEM, "no memory to open store '%s'", s->path);
	pthread_mutex_init(&s->pool->lock, NULL);
	return 0;
}

void pool_close(struct store *s)
{
	if (!s->pool)
		return;
	pool_rest_encoders(s->pool);
	free(s->pool->plan);
	pthread_mutex_destroy(&s->pool->lock);
	free(s->pool);
	s->pool = NULL;
}

/* --- the window ------------------------------------------------------------------------------------- */

static int by_likeness(const void *a, const void *b)
{
	const struct pool_member *x = a, *y = b;
	int c = memcmp(x->ext, y->ext, sizeof x->ext);

	if (c == 0 && x->parent != y->parent)
		c = x->parent < y->parent ? -1 : 1;
	if (c == 0)
		c = memcmp(x->name, y->name, sizeof x->name);
	return c ? c : (x->version > y->version) - (x->version < y->version);
}

/* What a member is sorted by. A file without a name (it will be gone soon) goes to the front. */
static int name_member(struct store *s, struct pool_member *m, int64_t cookie)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT name FROM dirent INDEXED BY dirent_order WHERE parent = ?1 AND cookie = ?2");
	int rc;

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)m->parent);
	sqlite3_bind_int64(st, 2, cookie);
	rc = meta_step(s, st);
	if (rc == 1) {
		const char *name = sqlite3_column_blob(st, 0), *dot;
		size_t len = (size_t)sqlite3_column_bytes(st, 0), n;

		memcpy(m->name, name, len < sizeof m->name ? len : sizeof m->name);
		dot = memrchr(name, '.', len);
		n = dot ? (size_t)(name + len - dot) : 0;
		memcpy(m->ext, dot ? dot : "", n < sizeof m->ext ? n : sizeof m->ext);
		rc = 0;
	}
	sqlite3_reset(st);
	return rc;
}

/* WALK_ROWS at most of what is inline behind *after, which moves on. Returns how many rows were seen. Meta lock held. */
static int walk_some(struct store *s, uint64_t *after, int64_t rested, uint64_t *sum)
{
	struct pool *p = s->pool;
	struct { struct pool_member m; int64_t cookie; } row[WALK_ROWS];
	sqlite3_stmt *st = meta_stmt(s, "SELECT v.id, v.ino, v.size, i.parent, i.cookie, i.ctime + i.btime, i.version "
			"FROM version v INDEXED BY version_inline JOIN inode i ON i.ino = v.ino "
			"WHERE v.id > ?1 AND " META_POOLABLE " ORDER BY v.id LIMIT 256");
	int rc, seen = 0;
	size_t n = 0;

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)*after);
	while ((rc = meta_step(s, st)) == 1) {
		uint64_t id = (uint64_t)sqlite3_column_int64(st, 0), size = (uint64_t)sqlite3_column_int64(st, 2);
		bool current = (uint64_t)sqlite3_column_int64(st, 6) == id;

		if (current && size <= FILE_INLINE_MAX && (p->n + n == POOL_FILES || *sum + size > POOL_WINDOW)) {
			sqlite3_reset(st);
			rc = 0;
			seen = 0; /* the window is full: the rest of the round comes later */
			break;
		}
		*after = id;
		seen++;
		if (!current || size > FILE_INLINE_MAX || sqlite3_column_int64(st, 5) > rested)
			continue;
		row[n].m = (struct pool_member){
			.version = id,
			.ino = (uint64_t)sqlite3_column_int64(st, 1),
			.parent = (uint64_t)sqlite3_column_int64(st, 3),
			.len = (uint32_t)size,
		};
		row[n++].cookie = sqlite3_column_int64(st, 4);
		*sum += size;
	}
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = name_member(s, &row[i].m, row[i].cookie);
		p->plan[p->n++] = row[i].m;
	}
	return rc < 0 ? rc : seen;
}

/* Makes a plan of what comes next in this round. With nothing in it the round is over. */
static int plan(struct store *s, uint64_t least, bool rested)
{
	struct pool *p = s->pool;
	int64_t now = meta_now();
	uint64_t sum = 0;
	int rc;

	p->n = p->next = 0;
	if (!p->plan) {
		p->plan = calloc(POOL_FILES, sizeof *p->plan);
		if (!p->plan)
			return ckpt_fail(ENOMEM, "no memory to pool small files");
	}
	do {
		meta_lock(s);
		rc = walk_some(s, &p->cursor, rested ? now - POOL_REST_NS : INT64_MAX, &sum);
		meta_unlock(s);
	} while (rc == WALK_ROWS);
	if (rc < 0 || sum < least) {
		p->n = 0;
		p->cursor = 0;
		return rc < 0 ? rc : 0;
	}
	qsort(p->plan, p->n, sizeof *p->plan, by_likeness);
	/* Equal shares, each with room for one file beyond it, so that no small rest is left. */
	uint64_t most = POOL_MAX - FILE_INLINE_MAX, chunks = (sum + most - 1) / most;

	p->share = (sum + chunks - 1) / chunks;
	return 0;
}

/* --- turns ------------------------------------------------------------------------------------------- */

static int pool_some(struct store *s, uint64_t least, bool rested, unsigned chunks, bool *over)
{
	struct pool *p = s->pool;
	int rc = 0;

	if (p->next == p->n)
		rc = plan(s, least, rested);
	*over = p->n == 0;
	if (rc == 0 && !*over)
		rc = pool_fill(s, chunks);
	if (rc) {
		p->n = p->next = 0; /* whatever it was, the next round begins anew */
		p->cursor = 0;
	}
	return rc;
}

int pool_all(struct store *s, uint64_t least, bool rested, int64_t until)
{
	struct pool *p = s->pool;
	bool over = false;
	int rc = 0;

	if (s->readonly)
		return 0;
	pthread_mutex_lock(&p->lock);
	p->n = p->next = 0;
	p->cursor = 0;
	do {
		rc = pool_some(s, least, rested, POOL_TURN, &over);
	} while (rc == 0 && !over && (!until || meta_monotonic() < until));
	pthread_mutex_unlock(&p->lock);
	return rc;
}

int pool_tick(struct store *s)
{
	struct pool *p = s->pool;
	int64_t now = meta_monotonic();
	bool over = false;
	int rc = 0;

	if (s->readonly || atomic_load(&s->failed) || store_short_of_space(s) || !chunk_pipe_quiet(s, QUIET_NS))
		return 0;
	if (pthread_mutex_trylock(&p->lock))
		return 0;
	if (p->next < p->n || p->cursor || !p->round_ns || now - p->round_ns >= POOL_ROUND_NS) {
		if (p->next == p->n && !p->cursor)
			p->round_ns = now;
		rc = pool_some(s, POOL_MIN, true, POOL_TURN, &over);
		if (over)
			pool_rest_encoders(p);
	}
	bool thin = rc == 0 && atomic_load(&p->died) && now - p->thin_ns >= POOL_THIN_NS;

	if (thin)
		p->thin_ns = now;
	pthread_mutex_unlock(&p->lock);
	return thin ? pool_thin(s) : rc;
}
