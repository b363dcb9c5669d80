/*
 * verify_pages.c: the databases as such.
 *
 * Each page that something is on is read from its file and compared with its sum; then SQLite looks through
 * the trees that the pages of meta.db make.  A store that was upgraded has a chunks.db
 * without sums: what its rows say is checked one by one (verify.c).
 */
#include <errno.h>
#include <string.h>

#include "chunk_parts.h"
#include "meta_internal.h"
#include "verify_internal.h"
#include "vfs_internal.h"

enum {
	PAGES_MAX = 100, /* damaged pages that are named, a database */
	COMMITS = 16,    /* attempts to find chunks.db without a transaction under way */
};

struct scan {
	struct verify *v;
	const char *name;
	uint64_t bad;
};

static void bad_page(void *arg, uint32_t page)
{
	struct scan *scan = arg;

	if (++scan->bad <= PAGES_MAX)
		verify_tell(scan->v, "%s: page %u is damaged: it does not have its checksum", scan->name,
				(unsigned)page);
	else
		scan->v->out->problems++;
}

static int scan_chunks(struct store *s, uint32_t *at, struct scan *scan)
{
	struct chunk_db *d = &s->chunks->db;
	sqlite3_file *file = NULL;
	int rc = 0;

	ckpt_mutex_lock(&d->lock);
	for (int i = 0; i < COMMITS && atomic_load(&d->txn) && !rc; i++) {
		pthread_mutex_unlock(&d->lock);
		rc = chunks_commit(s);
		ckpt_mutex_lock(&d->lock);
	}
	if (!rc && sqlite3_file_control(d->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK && file)
		rc = store_vfs_scan(s, file, INT64_MAX, at, bad_page, scan);
	pthread_mutex_unlock(&d->lock);
	return rc;
}

static int check_pages(struct verify *v, bool chunks)
{
	struct scan scan = { .v = v, .name = chunks ? "chunks.db" : "meta.db" };
	uint32_t at = 0;
	int rc;

	do {
		rc = chunks ? scan_chunks(v->s, &at, &scan) : meta_scan(v->s, &at, bad_page, &scan);
		if (rc > 0 && verify_step(v, (uint64_t)rc, false) < 0)
			return -ECANCELED;
	} while (rc > 0);
	if (scan.bad > PAGES_MAX)
		verify_tell(v, "%s: %llu pages are damaged, of which %d are named above", scan.name,
				(unsigned long long)scan.bad, PAGES_MAX);
	return rc;
}

/* What SQLite itself finds in meta.db. */
static int check_trees(struct verify *v)
{
	static const char *const checks[] = {
		"PRAGMA integrity_check(inode)",
		"PRAGMA integrity_check(dirent)",
		"PRAGMA integrity_check(xattr)",
		"PRAGMA integrity_check(version)",
		"PRAGMA integrity_check(manifest)",
		"PRAGMA integrity_check(history)",
		"PRAGMA integrity_check(chunk_index)",
		"PRAGMA integrity_check(staged)",
		"PRAGMA integrity_check(orphan)",
		/* of format 2 */
		"PRAGMA integrity_check(derived)",
		"PRAGMA integrity_check(pool)",
	};
	size_t n = sizeof(checks) / sizeof(*checks) - (meta_format(v->s) < 2 ? 2 : 0);
	size_t i;
	int rc = 0;

	for (i = 0; i < n && rc >= 0; i++) {
		sqlite3_stmt *st;

		meta_lock(v->s);
		st = meta_stmt(v->s, checks[i]);
		rc = st ? meta_step(v->s, st) : meta_fail(v->s);
		while (rc == 1) {
			const char *line = (const char *)sqlite3_column_text(st, 0);

			if (line && strcmp(line, "ok"))
				verify_tell(v, "meta.db: %s", line);
			rc = meta_step(v->s, st);
		}
		meta_unlock(v->s);
	}
	return rc < 0 ? rc : 0;
}

int verify_pages(struct verify *v)
{
	int rc = check_pages(v, false);

	if (!rc)
		rc = check_pages(v, true);
	return rc ? rc : check_trees(v);
}
