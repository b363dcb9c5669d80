/*
 * db_flags.c: how a database of a store is opened, and what a crash left beside it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_internal.h"
#include "vfs_internal.h"

enum { AGAIN = 64 << 10 }; /* bytes at once */

int store_db_leftover(const char *db, const char *suffix)
{
	static const unsigned char magic[8] = { 0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7 };
	enum { WAL_HEADER = 32 };
	unsigned char head[8];
	struct stat st;
	int rc = 0;

	char *path = sqlite3_mprintf("%s%s", db, suffix);
	if (!path)
		return ckpt_fail(ENOMEM, "no memory to open '%s'", db);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		if (errno != ENOENT)
			rc = ckpt_fail(errno, "can't open '%s': %s", path, strerror(errno));
		goto done;
	}
	if (fstat(fd, &st) < 0)
		rc = ckpt_fail(errno, "can't look at '%s': %s", path, strerror(errno));
	else if (strcmp(suffix, "-wal") == 0)
		rc = st.st_size > WAL_HEADER;
	else
		rc = pread(fd, head, sizeof head, 0) == (ssize_t)sizeof head && memcmp(head, magic, sizeof head) == 0;
	close(fd);
done:
	sqlite3_free(path);
	return rc;
}

int store_db_flags(struct store *s, const char *name, bool create)
{
	int wal, journal;

	if (!s->readonly)
		return SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
	char *path = sqlite3_mprintf("%s/%s", s->path, name);
	if (!path)
		return ckpt_fail(ENOMEM, "no memory to open store '%s'", s->path);
	wal = store_db_leftover(path, "-wal");
	journal = store_db_leftover(path, "-journal");
	sqlite3_free(path);
	if (wal < 0 || journal < 0)
		return wal < 0 ? wal : journal;
	if (!wal && !journal)
		return SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;
	if (access(s->path, W_OK) < 0)
		return ckpt_fail(EROFS, "store '%s' was not closed cleanly: its %s needs a recovery, which takes write "
				"access", s->path, name);
	return SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
}

int store_db_again(sqlite3_file *f)
{
	uint8_t *piece = malloc(AGAIN);
	sqlite3_int64 size = 0;
	int rc = piece ? f->pMethods->xFileSize(f, &size) : SQLITE_NOMEM;

	for (sqlite3_int64 at = 0; rc == SQLITE_OK && at < size; at += AGAIN) {
		int n = size - at < AGAIN ? (int)(size - at) : AGAIN;

		rc = f->pMethods->xRead(f, piece, n, at);
		if (rc == SQLITE_OK)
			rc = f->pMethods->xWrite(f, piece, n, at);
	}
	free(piece);
	return rc;
}
