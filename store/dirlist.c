/*
 * dirlist.c: the entries of a directory, in the order of their cookies.
 *
 * Entries are fetched in batches under the lock and handed out without it.  The first batch is small, for
 * the kernel asks for a few dozen at a time and comes back with a cookie; a caller that takes everything
 * gets larger and larger ones.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store_tree.h"
#include "tree_internal.h"

enum { BATCH_MIN = 32, BATCH_MAX = 256 };

struct entry {
	struct store_dirent d;
	size_t name;           /* offset in batch.names */
	struct store_attr attr;
};

struct batch {
	size_t want, n;
	uint64_t last;         /* cookie of the last row read, hidden ones included */
	bool more;
	size_t names_len;
	struct entry entries[BATCH_MAX];
	char names[BATCH_MAX * STORE_NAME_MAX];
};

static int take(struct store *s, sqlite3_stmt *st, bool attrs, struct batch *b)
{
	struct entry *e = &b->entries[b->n];
	size_t len = (size_t)sqlite3_column_bytes(st, 2);
	const struct loose *l;

	e->d = (struct store_dirent){
		.ino = (uint64_t)sqlite3_column_int64(st, 1),
		.cookie = (uint64_t)sqlite3_column_int64(st, 0),
		.mode = DTTOIF((uint32_t)sqlite3_column_int64(st, 3)),
		.len = (uint16_t)len,
	};
	b->last = e->d.cookie;
	l = loose_find(s->tree, e->d.ino);
	if (l != NULL && l->hidden)
		return 0;
	if (len == 0 || len > STORE_NAME_MAX)
		return ckpt_fail(EIO, "inode %llu: a name of %zu bytes", (unsigned long long)e->d.ino, len);
	e->name = b->names_len;
	memcpy(b->names + b->names_len, sqlite3_column_blob(st, 2), len);
	b->names_len += len;
	if (attrs)
		tree_read_attr(s, st, 4, e->d.ino, &e->attr);
	b->n++;
	return 0;
}

/* Lock held. */
static int fetch(struct store *s, uint64_t ino, uint64_t after, bool attrs, struct batch *b)
{
	sqlite3_stmt *st;
	size_t rows = 0;
	int rc;

	if (attrs)
		st = meta_stmt(s, "SELECT d.cookie, d.ino, d.name, d.type, " TREE_COLS " FROM dirent d CROSS JOIN inode i "
				"ON i.ino = d.ino WHERE d.parent = ?1 AND d.cookie > ?2 ORDER BY d.cookie LIMIT ?3");
	else
		st = meta_stmt(s, "SELECT cookie, ino, name, type FROM dirent WHERE parent = ?1 AND cookie > ?2 "
				"ORDER BY cookie LIMIT ?3");
	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)ino);
	tree_bind(st, 2, (int64_t)after);
	tree_bind(st, 3, (int64_t)b->want);
	b->n = b->names_len = 0;
	while ((rc = meta_step(s, st)) > 0) {
		rows++;
		rc = take(s, st, attrs, b);
		if (rc < 0) {
			sqlite3_reset(st);
			return rc;
		}
	}
	b->more = rows == b->want;
	return rc;
}

static int is_directory(struct store *s, uint64_t ino)
{
	struct store_attr dir;
	int rc = meta_inode_get(s, ino, &dir);

	if (rc == 0 && !S_ISDIR(dir.mode))
		rc = ckpt_fail(ENOTDIR, "inode %llu: not a directory", (unsigned long long)ino);
	return rc;
}

int store_readdir(struct store *s, uint64_t ino, uint64_t after, bool attrs, store_emit emit, void *arg)
{
	struct batch *b;
	int rc;

	if (after > INT64_MAX)
		return 0;
	b = malloc(sizeof *b);
	if (b == NULL)
		return ckpt_fail(ENOMEM, "no memory to list inode %llu", (unsigned long long)ino);
	b->last = after;
	meta_lock(s);
	rc = is_directory(s, ino);
	for (b->want = BATCH_MIN; rc == 0; b->want = b->want < BATCH_MAX ? b->want * 2 : BATCH_MAX) {
		rc = fetch(s, ino, b->last, attrs, b);
		meta_unlock(s);
		for (size_t i = 0; rc == 0 && i < b->n; i++) {
			struct entry *e = &b->entries[i];

			e->d.name = b->names + e->name;
			rc = emit(arg, &e->d, attrs ? &e->attr : NULL) != 0 ? 1 : 0;
		}
		if (rc != 0 || !b->more)
			goto out;
		meta_lock(s);
	}
	meta_unlock(s);
out:
	free(b);
	return rc > 0 ? 0 : rc;
}

uint64_t store_readdir_mark(struct store *s)
{
	uint64_t mark = INT64_MAX;

	if (s->readonly)
		return mark;
	if (meta_begin(s) < 0)
		return mark;
	if (s->tree->cookie != 0 || tree_cookie(s) > 0)
		mark = s->tree->cookie;
	return meta_end(s, 0) < 0 ? INT64_MAX : mark;
}
