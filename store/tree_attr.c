/*
 * tree_attr.c: attributes of inodes, read and set.
 */
#include <errno.h>
#include <sys/stat.h>

#include "store_tree.h"
#include "tree_internal.h"

/*
 * Times are kept as differences to btime, which make most of them numbers of a few bytes (format 1 had them as they are).  The
 * differences wrap around, so that every time comes back.
 */
static int64_t time_to_row(struct timespec t, int64_t btime)
{
	return (int64_t)((uint64_t)meta_ns(t) - (uint64_t)btime);
}

static struct timespec time_of_row(int64_t v, int64_t btime)
{
	return meta_timespec((int64_t)((uint64_t)v + (uint64_t)btime));
}

void tree_read_attr(struct store *s, sqlite3_stmt *st, int col, uint64_t ino, struct store_attr *out)
{
	int64_t btime = sqlite3_column_int64(st, col + 10), from = meta_format(s) < 2 ? 0 : btime;

	*out = (struct store_attr){
		.ino = ino,
		.mode = (uint32_t)sqlite3_column_int64(st, col),
		.nlink = (uint32_t)sqlite3_column_int64(st, col + 1),
		.uid = (uint32_t)sqlite3_column_int64(st, col + 2),
		.gid = (uint32_t)sqlite3_column_int64(st, col + 3),
		.rdev = (uint64_t)sqlite3_column_int64(st, col + 4),
		.size = (uint64_t)sqlite3_column_int64(st, col + 5),
		.data = (uint64_t)sqlite3_column_int64(st, col + 6),
		.atime = time_of_row(sqlite3_column_int64(st, col + 7), from),
		.mtime = time_of_row(sqlite3_column_int64(st, col + 8), from),
		.ctime = time_of_row(sqlite3_column_int64(st, col + 9), from),
		.btime = meta_timespec(btime),
		.version = (uint64_t)sqlite3_column_int64(st, col + 11),
	};
	if (S_ISDIR(out->mode)) {
		out->parent = (uint64_t)sqlite3_column_int64(st, col + 12);
		out->size = TREE_DIR_SIZE;
	}
	tree_late_lay(s, out);
}

int tree_no_inode(uint64_t ino)
{
	return ckpt_fail(ENOENT, "inode %llu: not there", (unsigned long long)ino);
}

static int read_inode(struct store *s, uint64_t ino, struct store_attr *out)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT " TREE_COLS " FROM inode i WHERE i.ino = ?1");
	int rc;

	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)ino);
	rc = meta_step(s, st);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return tree_no_inode(ino);
	tree_read_attr(s, st, 0, ino, out);
	sqlite3_reset(st);
	tree_known_put(s, out);
	return 0;
}

int meta_inode_get(struct store *s, uint64_t ino, struct store_attr *out)
{
	int rc = tree_known_get(s, ino, out) ? 0 : read_inode(s, ino, out);
	const struct loose *l = rc == 0 ? loose_find(s->tree, ino) : NULL;

	return l != NULL && l->hidden ? tree_no_inode(ino) : rc;
}

int store_getattr(struct store *s, uint64_t ino, struct store_attr *out)
{
	struct store_attr a;
	int rc;

	meta_lock(s);
	rc = meta_inode_get(s, ino, &a);
	meta_unlock(s);
	if (rc == 0)
		*out = a;
	return rc;
}

/* The nearest time that a row can hold: 1677 to 2262. */
static struct timespec kept_time(struct timespec t)
{
	const int64_t most = INT64_MAX / 1000000000;

	if (t.tv_sec >= most)
		return (struct timespec){ .tv_sec = most };
	if (t.tv_sec < -most)
		return (struct timespec){ .tv_sec = -most };
	return t;
}

static void apply(struct store_attr *a, const struct store_attr *in, unsigned mask)
{
	struct timespec now = meta_timespec(meta_now());

	if (mask & STORE_SET_MODE)
		a->mode = (a->mode & S_IFMT) | (in->mode & 07777);
	if (mask & STORE_SET_UID)
		a->uid = in->uid;
	if (mask & STORE_SET_GID)
		a->gid = in->gid;
	if (mask & STORE_SET_ATIME)
		a->atime = kept_time(in->atime);
	if (mask & STORE_SET_ATIME_NOW)
		a->atime = now;
	if (mask & STORE_SET_MTIME)
		a->mtime = kept_time(in->mtime);
	if (mask & STORE_SET_MTIME_NOW)
		a->mtime = now;
	/* Within reason: other times less this one must fit into a row. */
	if ((mask & STORE_SET_BTIME) && meta_ns(in->btime) >= TREE_BTIME_MIN && meta_ns(in->btime) <= TREE_BTIME_MAX)
		a->btime = in->btime;
	if (!(mask & STORE_KEEP_CTIME))
		a->ctime = mask & STORE_SET_CTIME ? kept_time(in->ctime) : now;
}

int store_setattr(struct store *s, uint64_t ino, const struct store_attr *in, unsigned mask, struct store_attr *out)
{
	struct store_attr a;
	sqlite3_stmt *st;
	int rc;

	rc = tree_check_change(s, false);
	if (rc < 0)
		return rc;
	rc = meta_begin(s);
	if (rc < 0)
		return rc;
	rc = meta_inode_get(s, ino, &a);
	if (rc < 0)
		goto end;
	apply(&a, in, mask);
	rc = tree_late_settle(s, ino, true);
	if (rc < 0)
		goto end;
	st = meta_stmt(s, "UPDATE inode SET mode = ?2, uid = ?3, gid = ?4, atime = ?5, mtime = ?6, ctime = ?7, "
			"btime = ?8 WHERE ino = ?1");
	if (st == NULL) {
		rc = meta_fail(s);
		goto end;
	}
	tree_bind(st, 1, (int64_t)ino);
	tree_bind(st, 2, a.mode);
	tree_bind(st, 3, a.uid);
	tree_bind(st, 4, a.gid);
	tree_bind(st, 5, time_to_row(a.atime, meta_ns(a.btime)));
	tree_bind(st, 6, time_to_row(a.mtime, meta_ns(a.btime)));
	tree_bind(st, 7, time_to_row(a.ctime, meta_ns(a.btime)));
	tree_bind(st, 8, meta_ns(a.btime));
	rc = meta_exec(s, st);
end:
	rc = meta_end(s, rc);
	if (rc == 0 && out != NULL)
		*out = a;
	return rc;
}
