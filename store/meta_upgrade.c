/*
 * meta_upgrade.c: a meta.db of an older format, made anew in the newest.
 *
 * Pages carry sums from format 3 on, for which each has to give up some bytes, so the whole file is written
 * anew.  That is done beside the old one:
 *
 *     meta.db       its WAL is copied into it, then it is only read
 *     meta.db-new   VACUUM INTO; the steps between the formats, in one transaction; synced
 *     rename        meta.db-new becomes meta.db
 *
 * Up to the rename nothing happened, whatever ends the upgrade: a full disk, a kill, a power cut; the next
 * one begins by removing what is left of meta.db-new.  The old file's WAL is gone before, so that it can't
 * meet the new file.  It takes the space of another meta.db and little memory, and keeps owner, group and
 * mode.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "meta_conn.h"
#include "page_sums_internal.h"
#include "store_internal.h"
#include "vfs_internal.h"

static int fail(sqlite3 *db, const char *doing)
{
	int code = sqlite3_extended_errcode(db), sys = sqlite3_system_errno(db), err = EIO;

	if ((code & 0xff) == SQLITE_FULL)
		err = ENOSPC;
	else if ((code & 0xff) == SQLITE_NOMEM)
		err = ENOMEM;
	else if ((code & 0xff) == SQLITE_IOERR && (sys == ENOSPC || sys == EDQUOT))
		err = sys;
	return ckpt_fail(err, "%s: %s", doing, sqlite3_errmsg(db));
}

/* What an upgrade that did not end left behind. 0 or an errno. */
static int remove_new(const char *path)
{
	static const char *const suffixes[] = { "", "-wal", "-journal" };
	char name[PATH_MAX];
	int err = 0;

	for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
		snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
		if (unlink(name) < 0 && errno != ENOENT)
			err = errno;
	}
	return err;
}

/* A copy of the database, with room for sums. */
static int copy(struct store *s, sqlite3 *db, const char *path)
{
	int room = PAGE_SUM, rc = 0;
	sqlite3_int64 pages = 0, size = 0;
	sqlite3_stmt *st;

	if (sqlite3_prepare_v2(db, "SELECT page_count, page_size FROM pragma_page_count, pragma_page_size",
			    -1, &st, NULL) != SQLITE_OK)
		return fail(db, "meta.db");
	if (sqlite3_step(st) == SQLITE_ROW) {
		pages = sqlite3_column_int64(st, 0);
		size = sqlite3_column_int64(st, 1);
	}
	sqlite3_finalize(st);
	rc = store_space_check(s, (uint64_t)pages * (uint64_t)size);
	if (rc < 0)
		return rc;
	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &room) != SQLITE_OK)
		return fail(db, "meta.db");
	char *sql = sqlite3_mprintf("VACUUM INTO %Q", path);
	if (!sql)
		return ckpt_fail(ENOMEM, "no memory to upgrade the store");
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		rc = fail(db, "writing meta.db anew");
	sqlite3_free(sql);
	return rc;
}

/* The steps to the newest format, in the copy; closes it. */
static int take_steps(struct store *s, const char *path)
{
	sqlite3 *db = NULL;
	int rc = 0;

	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
			    s->vfs) != SQLITE_OK) {
		rc = db ? fail(db, "meta.db-new") : ckpt_fail(ENOMEM, "no memory to upgrade the store");
		goto close;
	}
	if (sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL;"
			"PRAGMA temp_store = MEMORY; PRAGMA journal_mode = WAL; BEGIN IMMEDIATE;",
			NULL, NULL, NULL) != SQLITE_OK)
		rc = fail(db, "meta.db-new");
	if (rc == 0)
		rc = meta_schema_steps(s, db, s->meta->format);
	if (rc == 0 && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		rc = fail(db, "meta.db-new");
	if (rc == 0 && sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) != SQLITE_OK)
		rc = fail(db, "meta.db-new");
close:
	if (sqlite3_close(db) != SQLITE_OK && rc == 0)
		rc = ckpt_fail(EIO, "meta.db-new can't be closed");
	return rc;
}

/* On the disk, and whose the old one was. */
static int settle(const char *old, const char *path)
{
	struct stat was, is;
	int rc = 0;

	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return ckpt_fail(errno, "can't open '%s': %s", path, strerror(errno));
	if (stat(old, &was) < 0 || fstat(fd, &is) < 0)
		rc = ckpt_fail(errno, "can't look at '%s': %s", old, strerror(errno));
	else if ((was.st_uid != is.st_uid || was.st_gid != is.st_gid) &&
			fchown(fd, was.st_uid, was.st_gid) < 0)
		rc = ckpt_fail(errno, "can't give '%s' the owner of '%s': %s", path, old, strerror(errno));
	else if (fchmod(fd, was.st_mode & 07777) < 0 || fsync(fd) < 0)
		rc = ckpt_fail(errno, "can't settle '%s': %s", path, strerror(errno));
	close(fd);
	return rc;
}

/* The new file takes the old one's place, which nobody has open. */
static int put_in_place(struct store *s, const char *old, const char *path)
{
	int left = store_db_leftover(old, "-wal"), rc = 0;

	if (left != 0)
		return left < 0 ? left : ckpt_fail(EIO, "the WAL of meta.db does not go away");
	if (rename(path, old) < 0)
		return ckpt_fail(errno, "can't rename '%s': %s", path, strerror(errno));
	int dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || (fsync(dir) < 0 && errno != EINVAL))
		rc = ckpt_fail(errno, "can't sync '%s': %s", s->path, strerror(errno));
	if (dir >= 0)
		close(dir);
	return rc;
}

int meta_upgrade(struct store *s)
{
	struct meta *m = s->meta;
	int from = m->format;
	char *old = sqlite3_mprintf("%s/meta.db", s->path),
	     *path = sqlite3_mprintf("%s/meta.db-new", s->path);
	int rc = 0, err = 0;

	if (!old || !path)
		rc = ckpt_fail(ENOMEM, "no memory");
	else if ((err = remove_new(path)) != 0)
		rc = ckpt_fail(err, "can't remove '%s': %s", path, strerror(err));
	if (rc == 0 && sqlite3_wal_checkpoint_v2(m->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) !=
					SQLITE_OK)
		rc = fail(m->db, "meta.db");
	if (rc == 0)
		rc = copy(s, m->db, path);
	if (rc == 0)
		rc = take_steps(s, path);
	if (rc == 0)
		rc = settle(old, path);
	if (rc == 0) {
		if (sqlite3_close(m->db) == SQLITE_OK)
			m->db = NULL;
		else
			rc = ckpt_fail(EBUSY, "meta.db can't be closed");
	}
	if (rc == 0)
		rc = put_in_place(s, old, path);
	if (rc == 0) {
		ckpt_log(LOG_INFO, "store '%s': upgraded from format %d to %d", s->path, from, STORE_FORMAT);
	} else {
		rc = ckpt_context(rc, "upgrading the store '%s' from format %d to %d", s->path, from,
				STORE_FORMAT);
		if (path)
			remove_new(path);
	}
	sqlite3_free(old);
	sqlite3_free(path);
	return rc;
}
