/*
 * tree_loose.c: inodes that must not outlive a crash (the idea stands in tree_internal.h).
 *
 * They are found by number in a hash table; those without a row in `orphan` are also on a list, so that a
 * commit looks at these alone, however many files are open.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tree_internal.h"

/* --- the table, and the list ------------------------------------------------------------------------------ */

enum { BUCKETS_MIN = 64 };

static size_t bucket_of(const struct tree *t, uint64_t ino)
{
	return (size_t)((ino * 0x9e3779b97f4a7c15u) >> 32) & t->mask;
}

int loose_open(struct tree *t)
{
	t->buckets = calloc(BUCKETS_MIN, sizeof *t->buckets);
	if (t->buckets == NULL)
		return ckpt_fail(ENOMEM, "no memory for the tree");
	t->mask = BUCKETS_MIN - 1;
	return 0;
}

static void loose_free(struct loose *l)
{
	free(l->path);
	free(l);
}

void loose_close(struct tree *t)
{
	if (t->buckets == NULL)
		return;
	for (size_t i = 0; i <= t->mask; i++) {
		for (struct loose *l = t->buckets[i], *next; l != NULL; l = next) {
			next = l->chain;
			loose_free(l);
		}
	}
	free(t->buckets);
	t->buckets = NULL;
}

struct loose *loose_find(const struct tree *t, uint64_t ino)
{
	struct loose *l;

	if (t == NULL || t->loose == 0)
		return NULL;
	for (l = t->buckets[bucket_of(t, ino)]; l != NULL; l = l->chain)
		if (l->ino == ino)
			return l;
	return NULL;
}

struct loose *loose_new(uint64_t ino)
{
	struct loose *l = calloc(1, sizeof *l);

	if (l != NULL)
		l->ino = ino;
	return l;
}

/* Twice the buckets. Without memory for them chains become longer, and nothing is wrong. */
static void loose_grow(struct tree *t)
{
	size_t n = (t->mask + 1) * 2;
	struct loose **old = t->buckets, **bigger = calloc(n, sizeof *bigger);

	if (bigger == NULL)
		return;
	t->buckets = bigger;
	t->mask = n - 1;
	for (size_t i = 0; i < n / 2; i++) {
		for (struct loose *l = old[i], *next; l != NULL; l = next) {
			struct loose **b = &bigger[bucket_of(t, l->ino)];

			next = l->chain;
			l->chain = *b;
			*b = l;
		}
	}
	free(old);
}

void loose_add(struct tree *t, struct loose *l)
{
	struct loose **b;

	if (t->loose > t->mask)
		loose_grow(t);
	b = &t->buckets[bucket_of(t, l->ino)];
	l->chain = *b;
	*b = l;
	t->loose++;
	if (l->written)
		return;
	l->older = t->unwritten;
	if (l->older != NULL)
		l->older->newer = l;
	t->unwritten = l;
}

static void now_written(struct tree *t, struct loose *l)
{
	if (l->newer != NULL)
		l->newer->older = l->older;
	else
		t->unwritten = l->older;
	if (l->older != NULL)
		l->older->newer = l->newer;
	l->newer = l->older = NULL;
	l->written = true;
}

void loose_drop(struct tree *t, struct loose *l)
{
	struct loose **p = &t->buckets[bucket_of(t, l->ino)];

	while (*p != l)
		p = &(*p)->chain;
	*p = l->chain;
	t->loose--;
	if (!l->written)
		now_written(t, l);
	loose_free(l);
}

int tree_before_commit(struct store *s, bool all)
{
	struct tree *t = s->tree;
	int late = all || tree_late_many(s) ? tree_late_write(s) : 0;

	if (late < 0)
		return late;

	while (t != NULL && t->unwritten != NULL) {
		struct loose *l = t->unwritten;
		sqlite3_stmt *st = meta_stmt(s, "INSERT OR REPLACE INTO orphan(ino, how, path) VALUES(?1, ?2, ?3)");
		int rc;

		if (st == NULL)
			return meta_fail(s);
		tree_bind(st, 1, (int64_t)l->ino);
		tree_bind(st, 2, l->unlinked ? l->how : 0);
		if (l->path != NULL)
			tree_bind_blob(st, 3, l->path, l->path_len);
		rc = meta_exec(s, st);
		if (rc < 0)
			return rc;
		now_written(t, l);
	}
	return 0;
}

/*
 * --- provisional files
 * -------------------------------------------------------------------------------------
 */

bool meta_is_provisional(struct store *s, uint64_t ino)
{
	const struct loose *l = loose_find(s->tree, ino);

	return l != NULL && l->provisional;
}

int meta_settle(struct store *s, uint64_t ino)
{
	struct loose *l = loose_find(s->tree, ino);
	int rc;

	if (l == NULL || !l->provisional)
		return 0;
	if (l->unlinked) {
		l->provisional = false;
		return 0;
	}
	if (l->written) {
		rc = tree_delete_orphan(s, ino);
		if (rc < 0)
			return rc;
	}
	loose_drop(s->tree, l);
	return 0;
}

int loose_named(struct store *s, struct loose *l)
{
	int rc = l->written ? tree_delete_orphan(s, l->ino) : 0;

	if (rc == 0)
		loose_drop(s->tree, l);
	return rc;
}

/*
 * --- after a crash
 * -------------------------------------------------------------------------------------------
 */

struct left {
	uint64_t ino;
	int how;
	char *path;
	size_t path_len;
};

/* One row of `orphan` behind `after`: 1, 0 (no more) or -errno. path is malloc()ed. */
static int next_left(struct store *s, uint64_t after, struct left *out)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT ino, how, path FROM orphan WHERE ino > ?1 ORDER BY ino LIMIT 1");
	const void *path;
	int rc;

	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)after);
	rc = meta_step(s, st);
	if (rc <= 0)
		return rc;
	*out = (struct left){ .ino = (uint64_t)sqlite3_column_int64(st, 0), .how = sqlite3_column_int(st, 1) };
	path = sqlite3_column_blob(st, 2);
	if (path != NULL) {
		out->path_len = (size_t)sqlite3_column_bytes(st, 2);
		out->path = malloc(out->path_len);
		if (out->path == NULL)
			rc = ckpt_fail(ENOMEM, "no memory to clean up inode %llu", (unsigned long long)out->ino);
		else
			memcpy(out->path, path, out->path_len);
	}
	sqlite3_reset(st);
	return rc;
}

/*
 * All names of a file that was never published.  There may be several, or one whose place is not known, if
 * it was linked before its first publish; those are looked for in the whole of dirent.
 */
static int delete_names(struct store *s, const struct store_attr *a)
{
	sqlite3_stmt *st = meta_stmt(s, "DELETE FROM dirent WHERE ino = ?1 AND parent = (SELECT parent FROM inode WHERE "
			"ino = ?1) AND cookie = (SELECT cookie FROM inode WHERE ino = ?1)");
	int rc;

	tree_seen_forget(s);
	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)a->ino);
	rc = meta_exec(s, st);
	if (rc < 0 || tree_changes(st) == a->nlink)
		return rc;
	return tree_delete_of(s, "DELETE FROM dirent WHERE ino = ?1", a->ino);
}

static int recover(struct store *s, const struct left *o)
{
	struct store_attr a;
	int rc = meta_inode_get(s, o->ino, &a);

	if (rc == 0 && a.nlink == 0)
		rc = tree_delete_inode(s, &a, o->how, o->path, o->path_len);
	else if (rc == 0 && o->how == 0 && S_ISREG(a.mode) && a.version == 0) {
		rc = delete_names(s, &a);
		if (rc == 0)
			rc = tree_delete_inode(s, &a, 0, NULL, 0);
	}
	if (rc < 0 && rc != -ENOENT)
		return rc;
	return tree_delete_orphan(s, o->ino);
}

/* Read-only: nothing can be removed, so what would be is not shown. */
static int hide(struct store *s, const struct left *o)
{
	struct loose *l;

	if (o->how != 0)
		return 0;
	l = loose_new(o->ino);
	if (l == NULL)
		return ckpt_fail(ENOMEM, "no memory for inode %llu", (unsigned long long)o->ino);
	l->written = l->hidden = true;
	loose_add(s->tree, l);
	return 0;
}

/*
 * The row behind *ino in an operation of its own, so that after an error the rest is there the next time.
 * *ino 0: no more.
 */
static int recover_next(struct store *s, uint64_t *ino)
{
	struct left o = { 0 };
	int rc;

	rc = meta_begin(s);
	if (rc < 0)
		return rc;
	rc = next_left(s, *ino, &o);
	if (rc > 0)
		rc = recover(s, &o);
	rc = meta_end(s, rc);
	free(o.path);
	*ino = o.ino;
	return rc;
}

static int hide_next(struct store *s, uint64_t *ino)
{
	struct left o = { 0 };
	int rc;

	meta_lock(s);
	rc = next_left(s, *ino, &o);
	if (rc > 0)
		rc = hide(s, &o);
	meta_unlock(s);
	free(o.path);
	*ino = o.ino;
	return rc;
}

int loose_recover(struct store *s)
{
	uint64_t ino = 0;
	int rc;

	do {
		rc = s->readonly ? hide_next(s, &ino) : recover_next(s, &ino);
	} while (rc == 0 && ino != 0);
	return rc;
}
