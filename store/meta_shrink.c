/*
 * meta_shrink.c: the pages of meta.db that nothing is on.
 *
 * What small files leave behind when they are pooled, and what deleted trees do, are free pages, which SQLite uses again
 * and never gives back by itself.  While the store is open they will be wanted again soon; when it is closed and a good part of
 * the file is free, the rest is written anew (VACUUM), which also fills the pages that random names left half empty.
 * It is one transaction that goes through the WAL, so it may be cut off anywhere.  SQLite keeps the new file in memory while it
 * is made: beyond SHRINK_MAX the pages stay.
 */
#include <errno.h>
#include <syslog.h>

#include "meta_conn.h"
#include "store_internal.h"

enum {
	SHRINK_MAX = 64 << 20,   /* bytes that are not free */
	SHRINK_MIN = 64,         /* free pages that are worth it, */
	SHRINK_PART = 4,         /* if they are a quarter of the file, */
	SHRINK_SMALL = 16 << 20, /* or a tenth of one that takes no time */
	SHRINK_PART_SMALL = 10,
};

static int pragma(struct store *s, const char *sql, int64_t *out)
{
	sqlite3_stmt *st = meta_stmt(s, sql);
	int rc = st ? meta_step(s, st) : meta_fail(s);

	if (rc == 1) {
		*out = sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
	}
	return rc < 0 ? rc : 0;
}

static int shrink(struct store *s)
{
	struct meta *m = s->meta;
	int64_t free = 0, pages = 0, size = 0;
	int rc = pragma(s, "PRAGMA freelist_count", &free);

	if (rc == 0)
		rc = pragma(s, "PRAGMA page_count", &pages);
	if (rc == 0)
		rc = pragma(s, "PRAGMA page_size", &size);
	if (rc || m->txn || free < SHRINK_MIN || (pages - free) > SHRINK_MAX / size)
		return rc;
	if (free < pages / ((pages - free) > SHRINK_SMALL / size ? SHRINK_PART : SHRINK_PART_SMALL))
		return 0;
	/* Once in the WAL and once, after that, in the file's place. */
	rc = store_space_check(s, (uint64_t)((pages - free) * size) * 2);
	if (rc)
		return 0;
	meta_reset_used(m);
	return sqlite3_exec(m->db, "VACUUM", NULL, NULL, NULL) == SQLITE_OK ? 0 : meta_fail(s);
}

void meta_shrink(struct store *s)
{
	meta_lock(s);
	meta_end_reading(s->meta);
	int rc = meta_failed(s);

	if (rc == 0)
		rc = shrink(s);
	meta_unlock(s);
	if (rc < 0)
		ckpt_log(LOG_NOTICE, "store '%s': meta.db keeps its free pages: %s", s->path, ckpt_errmsg());
}
