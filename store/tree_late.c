/*
 * tree_late.c: what of inodes is kept in memory: times that are written later, and attributes read lately.
 *
 * Late times.  A name that is made, moved or removed also moves the times of its directory, and a rename the
 * ctime of its file: rows on other pages than the name's.  A rename is committed by itself, and would write
 * those pages each time anew.  So such times wait here:
 *
 *     tree_touch(), rename --> late ---- tree_late_write(), before a commit ----> row
 *                               \------- a statement that sets the times of that inode -----> forgotten
 *
 * They are written with the first commit that takes all there is (a tick, once a second; whatever is synced),
 * and with any when they have become many.  Until then tree_read_attr() lays them over the row, so nobody
 * sees a difference; a crash loses the times of the last second, as it does any that utimes sets, and never
 * the names.
 *
 *  1. What is late is newer than the row.  So whoever writes a time of an inode to its row calls
 *     tree_late_settle() first.
 *  2. What an operation settled comes back when it is undone.
 *
 * Attributes read lately are rows as they stand, found by number; SQLite tells of every row of `inode` that
 * changes, whoever changes it (meta.c), and then the slot is free again.
 */
#include <string.h>
#include <sys/stat.h>

#include "tree_internal.h"

/* --- late times ---------------------------------------------------------------------------------------- */

static uint8_t *late_head(struct tree *t, uint64_t ino)
{
	return &t->late.heads[(ino * 0x9e3779b97f4a7c15u) >> 56];
}
_Static_assert(sizeof ((struct tree *)0)->late.heads == 256, "late_head() takes eight bits");
_Static_assert(TREE_LATE_MAX < 256, "a place in late.v fits a byte");

static struct late *late_find(struct tree *t, uint64_t ino)
{
	if (t == NULL || t->late.n == 0)
		return NULL;
	for (unsigned i = *late_head(t, ino); i != 0; i = t->late.v[i - 1].next)
		if (t->late.v[i - 1].ino == ino && !t->late.v[i - 1].settled)
			return &t->late.v[i - 1];
	return NULL;
}

static int write_row(struct store *s, const struct late *l)
{
	sqlite3_stmt *st = l->dir ? meta_stmt(s, "UPDATE inode SET mtime = ?2 - btime, ctime = ?3 - btime WHERE ino = ?1")
			: meta_stmt(s, "UPDATE inode SET ctime = ?3 - btime WHERE ino = ?1");

	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)l->ino);
	if (l->dir)
		tree_bind(st, 2, l->mtime);
	tree_bind(st, 3, l->ctime);
	return meta_exec(s, st);
}

int tree_late_put(struct store *s, uint64_t ino, bool dir, int64_t now)
{
	struct tree *t = s->tree;
	struct late *l = late_find(t, ino);

	if (l == NULL && t->late.n == TREE_LATE_MAX)
		return write_row(s, &(struct late){ .ino = ino, .dir = dir, .mtime = now, .ctime = now });
	if (l == NULL) {
		uint8_t *head = late_head(t, ino);

		l = &t->late.v[t->late.n++];
		*l = (struct late){ .ino = ino, .next = *head };
		*head = (uint8_t)t->late.n;
	}
	if (dir) {
		l->dir = true;
		l->mtime = now;
	}
	l->ctime = now;
	return 0;
}

int tree_late_settle(struct store *s, uint64_t ino, bool both)
{
	struct late *l = late_find(s->tree, ino);
	int rc;

	if (l == NULL)
		return 0;
	/* ctime is what every writer sets: only mtime may be missed. */
	rc = l->dir && !both ? write_row(s, l) : 0;
	if (rc == 0) {
		l->settled = true;
		s->tree->late.settled++;
	}
	return rc;
}

void tree_late_done(struct store *s, bool kept)
{
	struct tree *t = s->tree;

	if (t == NULL || t->late.settled == 0)
		return;
	for (unsigned i = 0; i < t->late.n; i++) {
		if (t->late.v[i].settled && kept)
			t->late.v[i].ino = 0; /* no inode has it; the place is free again after the next write */
		t->late.v[i].settled = false;
	}
	t->late.settled = 0;
}

bool tree_late_many(const struct store *s)
{
	return s->tree != NULL && s->tree->late.n > TREE_LATE_MAX / 2;
}

bool tree_late_any(const struct store *s)
{
	return s->tree != NULL && s->tree->late.n > 0;
}

int tree_late_write(struct store *s)
{
	struct tree *t = s->tree;

	if (t == NULL || t->late.n == 0)
		return 0;
	/* A row that was written and stays here, because a later one could not be, is written again, with the same. */
	for (unsigned i = 0; i < t->late.n; i++) {
		int rc = t->late.v[i].ino != 0 ? write_row(s, &t->late.v[i]) : 0;

		if (rc < 0)
			return rc;
	}
	t->late.n = 0;
	memset(t->late.heads, 0, sizeof t->late.heads);
	return 0;
}

void tree_late_lay(struct store *s, struct store_attr *a)
{
	const struct late *l = late_find(s->tree, a->ino);

	if (l == NULL)
		return;
	if (l->dir)
		a->mtime = meta_timespec(l->mtime);
	a->ctime = meta_timespec(l->ctime);
}

/* --- attributes read lately ------------------------------------------------------------------------------ */

static struct store_attr *known_slot(struct tree *t, uint64_t ino)
{
	return &t->known[ino % TREE_KNOWN_SLOTS];
}

bool tree_known_get(struct store *s, uint64_t ino, struct store_attr *out)
{
	const struct store_attr *a;

	if (s->tree == NULL)
		return false;
	a = known_slot(s->tree, ino);
	if (a->ino != ino || ino == 0)
		return false;
	*out = *a;
	tree_late_lay(s, out);
	return true;
}

void tree_known_put(struct store *s, const struct store_attr *a)
{
	if (s->tree != NULL)
		*known_slot(s->tree, a->ino) = *a;
}

void tree_known_forget(struct store *s, uint64_t ino)
{
	if (s->tree != NULL && known_slot(s->tree, ino)->ino == ino)
		known_slot(s->tree, ino)->ino = 0;
}

void tree_memory_forget(struct store *s)
{
	struct tree *t = s->tree;

	if (t == NULL)
		return;
	for (size_t i = 0; i < TREE_KNOWN_SLOTS; i++)
		t->known[i].ino = 0;
	memset(t->bare, 0, sizeof t->bare);
	tree_seen_forget(s);
}
