/*
 * meta_schema.c: the tables of meta.db, made and recognised.
 *
 * A store is made in one transaction that ends with the row 'format' of config.  A crash before its commit
 * leaves a meta.db of no tables (SQLite writes the page that says "WAL" on its own), and that counts as not
 * yet made: the next open with `create` goes on from there.  A file with tables that does not carry our
 * application id is somebody else's and is left alone.
 *
 * Formats.  The tables of format 1 stand below, then what each later one changed.  A new store is made by all of these steps
 * one after the other, an old one gets the steps it lacks at its first writable open (meta_upgrade.c).  Read-only, a store
 * stays what it is (meta_format()).  From format 3 on, and only then, pages carry sums: a header that names the one without
 * the other is damaged.
 *
 * The version of the format stands twice: as user_version in the file's header, where every program can read
 * it whatever the tables look like, and as config.format.  A program reads and writes formats up to its own
 * STORE_FORMAT.
 *
 * Tables are STRICT, so that a name bound as text where bytes are kept is an error and not a second, unequal
 * name.  Names, paths and hashes are bytes (BLOB); only the names of extended attributes are TEXT.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "meta_conn.h"
#include "page_sums_internal.h"
#include "store_internal.h"

static const char format_1[] =
	"CREATE TABLE config(key TEXT NOT NULL PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;"

	"CREATE TABLE inode("
	" ino INTEGER PRIMARY KEY,"
	" mode INTEGER NOT NULL, nlink INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,"
	" rdev INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL DEFAULT 0, data INTEGER NOT NULL DEFAULT 0,"
	" atime INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, btime INTEGER NOT NULL,"
	" version INTEGER NOT NULL DEFAULT 0, parent INTEGER NOT NULL DEFAULT 0,"
	" cookie INTEGER NOT NULL DEFAULT 0, target BLOB"
	") STRICT;"

	"CREATE TABLE dirent("
	" parent INTEGER NOT NULL, name BLOB NOT NULL, cookie INTEGER NOT NULL, ino INTEGER NOT NULL,"
	" type INTEGER NOT NULL, PRIMARY KEY(parent, name)"
	") STRICT, WITHOUT ROWID;"
	"CREATE UNIQUE INDEX dirent_order ON dirent(parent, cookie, ino, type);"

	"CREATE TABLE xattr("
	" ino INTEGER NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY(ino, name)"
	") STRICT, WITHOUT ROWID;"

	"CREATE TABLE orphan(ino INTEGER PRIMARY KEY, how INTEGER NOT NULL, path BLOB) STRICT;"

	"CREATE TABLE version("
	" id INTEGER PRIMARY KEY,"
	" ino INTEGER NOT NULL, size INTEGER NOT NULL, data INTEGER NOT NULL, tail INTEGER NOT NULL DEFAULT 0,"
	" content BLOB"
	") STRICT;"
	"CREATE TABLE draft(version INTEGER PRIMARY KEY) STRICT;"

	"CREATE TABLE manifest("
	" version INTEGER NOT NULL, off INTEGER NOT NULL, pieces BLOB NOT NULL, PRIMARY KEY(version, off)"
	") STRICT, WITHOUT ROWID;"

	"CREATE TABLE record("
	" scope INTEGER NOT NULL, fp INTEGER NOT NULL, version INTEGER NOT NULL, off INTEGER NOT NULL,"
	" PRIMARY KEY(scope, fp)"
	") STRICT, WITHOUT ROWID;"

	"CREATE TABLE history("
	" version INTEGER PRIMARY KEY,"
	" path BLOB NOT NULL, how INTEGER NOT NULL, ended INTEGER NOT NULL, ino INTEGER NOT NULL,"
	" mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,"
	" size INTEGER NOT NULL, data INTEGER NOT NULL, atime INTEGER NOT NULL, mtime INTEGER NOT NULL,"
	" ctime INTEGER NOT NULL, btime INTEGER NOT NULL"
	") STRICT;"
	"CREATE INDEX history_path ON history(path, version);"
	"CREATE INDEX history_ended ON history(ended);"

	"CREATE TABLE chunk_index("
	" prefix INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY(prefix, id)"
	") STRICT, WITHOUT ROWID;"

	"CREATE TABLE staged("
	" id INTEGER PRIMARY KEY,"
	" hash BLOB NOT NULL, raw_len INTEGER NOT NULL, codec INTEGER NOT NULL, base INTEGER NOT NULL,"
	" \"check\" INTEGER NOT NULL, data BLOB NOT NULL"
	") STRICT;";

/*
 * What may be pooled (pool_internal.h) is found by a partial index, whose condition stands in the queries word by word.
 */
static const char format_2[] =
	/* Times become differences to btime (tree.c); what would not fit, before 1823 or after 2189, is moved there. */
	"UPDATE inode SET btime = max(-2305843009213693952, min(btime, 4611686018427387904));"
	"UPDATE inode SET atime = max(-4611686018427387904, min(atime, 6917529027641081855)) - btime,"
	" mtime = max(-4611686018427387904, min(mtime, 6917529027641081855)) - btime,"
	" ctime = max(-4611686018427387904, min(ctime, 6917529027641081855)) - btime;"
	"CREATE TABLE derived("
	" version INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY(version, key)"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE pool("
	" chunk INTEGER PRIMARY KEY, raw INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL"
	") STRICT;"
	"CREATE INDEX version_inline ON version(id) WHERE " META_POOLABLE ";";

/* The file itself is another one: its pages have room for sums (page_sums_internal.h). */
static const char format_3[] = "";

static const char *const steps[] = { format_1, format_2, format_3 };
enum { FORMAT_SUMS = 3 };
_Static_assert(sizeof steps / sizeof *steps == STORE_FORMAT, "a step for each format");

/* Cookies below 16 are left to those who list directories ("." and ".."); inode 1 is the root. */
static const char first_ids[] =
	"INSERT INTO config VALUES('next_ino', 2), ('next_cookie', 16), ('next_version', 1);";

static int pragma_int(struct store *s, sqlite3 *db, const char *sql, int64_t *out)
{
	sqlite3_stmt *st;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		return meta_fail(s);
	int rc = 0;
	if (sqlite3_step(st) == SQLITE_ROW)
		*out = sqlite3_column_int64(st, 0);
	else
		rc = meta_fail(s);
	sqlite3_finalize(st);
	return rc;
}

static int run(struct store *s, sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : meta_fail(s);
}

/* The store's uuid: 16 random bytes. */
static int put_uuid(struct store *s, sqlite3 *db)
{
	sqlite3_stmt *st;
	uint8_t uuid[16];

	if (getrandom(uuid, sizeof uuid, 0) != (ssize_t)sizeof uuid)
		return ckpt_fail(EIO, "no random bytes for the store's uuid");
	if (sqlite3_prepare_v2(db, "INSERT INTO config VALUES('uuid', ?)", -1, &st, NULL) != SQLITE_OK)
		return meta_fail(s);
	sqlite3_bind_blob(st, 1, uuid, sizeof uuid, SQLITE_STATIC);
	int rc = sqlite3_step(st) == SQLITE_DONE ? 0 : meta_fail(s);
	sqlite3_finalize(st);
	return rc;
}

static int put_root(struct store *s, sqlite3 *db)
{
	sqlite3_stmt *st;

	if (sqlite3_prepare_v2(db, "INSERT INTO inode(ino, mode, nlink, uid, gid, atime, mtime, ctime, btime, parent)"
			" VALUES(?1, ?2, 2, ?3, ?4, 0, 0, 0, ?5, ?1)", -1, &st, NULL) != SQLITE_OK)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, STORE_ROOT);
	sqlite3_bind_int64(st, 2, S_IFDIR | 0755);
	sqlite3_bind_int64(st, 3, geteuid());
	sqlite3_bind_int64(st, 4, getegid());
	sqlite3_bind_int64(st, 5, meta_now());
	int rc = sqlite3_step(st) == SQLITE_DONE ? 0 : meta_fail(s);
	sqlite3_finalize(st);
	return rc;
}

int meta_schema_steps(struct store *s, sqlite3 *db, int from)
{
	char mark[160];
	int rc = 0;

	for (int i = from; rc == 0 && i < STORE_FORMAT; i++)
		rc = run(s, db, steps[i]);
	if (rc < 0)
		return rc;
	sqlite3_snprintf(sizeof mark, mark, "PRAGMA application_id = %d; PRAGMA user_version = %d;"
			"INSERT OR REPLACE INTO config VALUES('format', %d);", META_APPLICATION_ID, STORE_FORMAT,
			STORE_FORMAT);
	return run(s, db, mark);
}

static int finish(struct store *s, sqlite3 *db, int rc, const char *doing)
{
	if (rc == 0)
		rc = run(s, db, "COMMIT");
	if (rc == 0)
		return 0;
	if (!sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return ckpt_context(rc, "%s the store '%s'", doing, s->path);
}

static int make(struct store *s, sqlite3 *db)
{
	int rc = run(s, db, "BEGIN IMMEDIATE");

	if (rc < 0)
		return rc;
	if ((rc = meta_schema_steps(s, db, 0)) == 0 && (rc = run(s, db, first_ids)) == 0 && (rc = put_root(s, db)) == 0)
		rc = put_uuid(s, db);
	rc = finish(s, db, rc, "making");
	if (rc < 0)
		return rc;
	if (sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) != SQLITE_OK)
		return ckpt_context(meta_fail(s), "making the store '%s'", s->path);
	return 0;
}

/* Bytes at the end of each page that SQLite leaves alone; `want`: those of a file that is yet to be written, -1 just asks. */
static int reserved(struct store *s, sqlite3 *db, int want, int *out)
{
	*out = want;
	return sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, out) == SQLITE_OK ? 0 : meta_fail(s);
}

/* An empty database becomes one of ours: its pages and its journal, but no tables yet. */
static int prepare_file(struct store *s, sqlite3 *db)
{
	int64_t pages;
	int had, was;
	int rc = pragma_int(s, db, "PRAGMA page_count", &pages);

	if (rc == 0)
		rc = reserved(s, db, -1, &had);
	if (rc == 0)
		rc = run(s, db, "PRAGMA page_size = 4096;");
	if (rc == 0)
		rc = reserved(s, db, PAGE_SUM, &was);
	/* One whose making an older program began has its first page, without room for a sum. */
	if (rc == 0 && pages > 0 && had != PAGE_SUM)
		rc = run(s, db, "VACUUM;");
	return rc < 0 ? rc : run(s, db, "PRAGMA auto_vacuum = NONE; PRAGMA journal_mode = WAL;");
}

int store_too_new(const char *path, int64_t format)
{
	return ckpt_fail(EPROTONOSUPPORT, "store '%s' has format %lld, made by a newer ckptfs; this one knows formats "
			"up to %d", path, (long long)format, STORE_FORMAT);
}

int meta_schema_open(struct store *s, sqlite3 *db, bool create)
{
	int64_t id, user_version, tables, format;
	int rc, room;

	if ((rc = pragma_int(s, db, "PRAGMA application_id", &id)) < 0 ||
	    (rc = pragma_int(s, db, "PRAGMA user_version", &user_version)) < 0 ||
	    (rc = pragma_int(s, db, "SELECT count(*) FROM sqlite_schema", &tables)) < 0)
		return rc;
	if (tables == 0 && id == 0) {
		if (!create)
			return ckpt_fail(ENOENT, "no store at '%s': its meta.db was never finished", s->path);
		if (s->readonly)
			return ckpt_fail(EROFS, "store '%s' was never finished and can't be made read-only", s->path);
		/* chunks.db comes after a finished meta.db: what is missing here was lost, and is not made anew. */
		char *chunks = sqlite3_mprintf("%s/chunks.db", s->path);
		struct stat st;

		if (!chunks)
			return ckpt_fail(ENOMEM, "no memory to make store '%s'", s->path);
		rc = stat(chunks, &st);
		sqlite3_free(chunks);
		if (rc == 0 && st.st_size > 0)
			return ckpt_fail(EIO, "store '%s' is damaged: it has chunks, but its meta.db is empty", s->path);
		/* Only now: nothing of a file that is not ours may be changed. */
		rc = prepare_file(s, db);
		if (rc == 0)
			rc = make(s, db);
		s->meta->format = STORE_FORMAT;
		return rc;
	}
	if (id != META_APPLICATION_ID)
		return ckpt_fail(ENOTEMPTY, "'%s/meta.db' is no database of ckptfs", s->path);
	if (user_version > STORE_FORMAT)
		return store_too_new(s->path, user_version);
	if ((rc = pragma_int(s, db, "SELECT coalesce((SELECT value FROM config WHERE key = 'format'), 0)", &format)) < 0)
		return rc;
	if (format > STORE_FORMAT)
		return store_too_new(s->path, format);
	if (format < 1 || format != user_version)
		return ckpt_fail(EIO, "store '%s': meta.db is damaged (format %lld, header %lld)", s->path,
				(long long)format, (long long)user_version);
	if ((rc = reserved(s, db, -1, &room)) < 0)
		return rc;
	if (format >= FORMAT_SUMS ? room != PAGE_SUM : room != 0)
		return ckpt_fail(EIO, "store '%s': meta.db is damaged (format %lld, %d bytes reserved)", s->path,
				(long long)format, room);
	s->meta->format = (int)format;
	return 0;
}
