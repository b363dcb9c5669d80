/*
 * scratch_sql.h: for tests that change the databases of a closed store by SQL: through a VFS of the store's
 * kind, so that pages keep their sums and rows are what the test means them to be.  One at a time.
 */
#ifndef SCRATCH_SQL_H
#define SCRATCH_SQL_H

#include <sqlite3.h>
#include <stdio.h>

#include "store/meta_internal.h"
#include "store/page_sums_internal.h"
#include "store/store_internal.h"
#include "store/vfs_internal.h"

/* It only lends its VFS. */
static struct store sql_store;

/* Opens `name` ("meta.db") of the store in `dir`, makes one where there is none; NULL: it can't be opened. */
static inline sqlite3 *sql_open(const char *dir, const char *name)
{
	static char path[512];
	char file[600];
	sqlite3 *db = NULL;

	snprintf(path, sizeof path, "%s", dir);
	snprintf(file, sizeof file, "%s/%s", dir, name);
	sql_store = (struct store){ .path = path, .crash = true }; /* the reserve stays as it is */
	if (store_vfs_open(&sql_store, NULL) < 0)
		return NULL;
	if (sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, sql_store.vfs) !=
					SQLITE_OK ||
			sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK) {
		sqlite3_close(db);
		store_vfs_close(&sql_store);
		return NULL;
	}
	return db;
}

static inline int sql_close(sqlite3 *db)
{
	int rc = sqlite3_close(db);

	if (rc == SQLITE_OK)
		store_vfs_close(&sql_store);
	return rc;
}

/*
 * Makes of the closed store in `dir` one of format 1, in a file without room for sums.  SQLITE_OK or what
 * went wrong.
 */
static inline int sql_make_old(const char *dir)
{
	static const char *const tables[] = { "config", "inode", "dirent", "xattr", "orphan", "version",
		"draft", "manifest", "record", "history", "chunk_index", "staged" };
	char old[600], new[600], sql[2000];
	sqlite3_stmt *st;
	sqlite3 *from = sql_open(dir, "meta.db"), *to = NULL;

	snprintf(old, sizeof old, "%s/meta.db", dir);
	snprintf(new, sizeof new, "%s/meta.db-old", dir);
	if (!from || sqlite3_open_v2(new, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI,
				     NULL) != SQLITE_OK)
		return SQLITE_CANTOPEN;
	int rc = sqlite3_prepare_v2(from,
			"SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name NOT IN "
			"('derived', 'pool') AND name != 'version_inline' ORDER BY type DESC",
			-1, &st, NULL);

	while (rc == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		rc = sqlite3_exec(to, (const char *)sqlite3_column_text(st, 0), NULL, NULL, NULL);
	sqlite3_finalize(st);
	if (rc == SQLITE_OK)
		rc = sqlite3_close(from);
	snprintf(sql, sizeof sql, "PRAGMA locking_mode = EXCLUSIVE; ATTACH 'file:%s?vfs=%s' AS f", old,
			sql_store.vfs);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(to, sql, NULL, NULL, NULL);
	for (size_t i = 0; rc == SQLITE_OK && i < sizeof tables / sizeof *tables; i++) {
		snprintf(sql, sizeof sql, "INSERT INTO main.%s SELECT * FROM f.%s", tables[i], tables[i]);
		rc = sqlite3_exec(to, sql, NULL, NULL, NULL);
	}
	snprintf(sql, sizeof sql,
			"DETACH f;"
			"UPDATE inode SET atime = atime + btime, mtime = mtime + btime, ctime = ctime + btime;"
			"UPDATE config SET value = 1 WHERE key = 'format'; PRAGMA user_version = 1;"
			"PRAGMA application_id = %d; PRAGMA journal_mode = WAL",
			META_APPLICATION_ID);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(to, sql, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_close(to);
	store_vfs_close(&sql_store);
	return rc == SQLITE_OK && rename(new, old) < 0 ? SQLITE_IOERR : rc;
}

#endif
