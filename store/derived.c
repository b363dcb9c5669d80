/*
 * derived.c: bytes remembered with a version (store_derived.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "meta_internal.h"
#include "store_derived.h"
#include "store_internal.h"
#include "tree_internal.h"

int store_derived_get(struct store *s, uint64_t version, const char *key, uint8_t **out, size_t *len)
{
	int rc = -ENOENT;

	if (meta_format(s) < 2)
		return rc;
	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT value FROM derived WHERE version = ?1 AND key = ?2");

	if (!st) {
		rc = meta_fail(s);
		goto unlock;
	}
	sqlite3_bind_int64(st, 1, (int64_t)version);
	sqlite3_bind_text(st, 2, key, -1, SQLITE_STATIC);
	int row = meta_step(s, st);

	if (row == 1) {
		const void *value = sqlite3_column_blob(st, 0);
		size_t n = (size_t)sqlite3_column_bytes(st, 0);
		uint8_t *copy = malloc(n ? n : 1);

		if (!copy || (n && !value)) {
			free(copy);
			rc = ckpt_fail(ENOMEM, "no memory for what is known of version %llu", (unsigned long long)version);
		} else {
			if (n)
				memcpy(copy, value, n);
			*out = copy;
			*len = n;
			rc = 0;
		}
	} else if (row < 0) {
		rc = row;
	}
unlock:
	meta_unlock(s);
	return rc;
}

/* 1 when there is such a version. In a transaction. */
static int is_there(struct store *s, uint64_t version)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT 1 FROM version WHERE id = ?1");

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)version);
	int rc = meta_step(s, st);

	sqlite3_reset(st);
	return rc;
}

/* A log that grows line by line forgets what nobody ever derived from it, at every line. */
static uint64_t *bare_slot(struct store *s, uint64_t version)
{
	return s->tree ? &s->tree->bare[version % TREE_BARE_SLOTS] : NULL;
}

static int put(struct store *s, uint64_t version, const char *key, const void *value, size_t len)
{
	int rc = is_there(s, version);

	if (rc <= 0)
		return rc < 0 ? rc : ckpt_fail(ENOENT, "version %llu is not in the store", (unsigned long long)version);
	uint64_t *bare = bare_slot(s, version);

	if (bare && *bare == version)
		*bare = 0;
	sqlite3_stmt *st = meta_stmt(s, "INSERT OR REPLACE INTO derived(version, key, value) VALUES(?1, ?2, ?3)");

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)version);
	sqlite3_bind_text(st, 2, key, -1, SQLITE_STATIC);
	sqlite3_bind_blob64(st, 3, len ? value : "", len, SQLITE_STATIC);
	return meta_exec(s, st);
}

int store_derived_put(struct store *s, uint64_t version, const char *key, const void *value, size_t len)
{
	size_t key_len = strlen(key);
	int rc;

	if (s->readonly)
		return -EROFS;
	if (!key_len || key_len > STORE_DERIVED_KEY_MAX)
		return ckpt_fail(EINVAL, "a key of %zu bytes for something derived", key_len);
	if (len > STORE_DERIVED_MAX)
		return ckpt_fail(E2BIG, "%zu bytes are too much to remember with a version", len);
	rc = store_space_check(s, len);
	if (rc)
		return rc;
	rc = meta_begin(s);
	return rc ? rc : meta_end(s, put(s, version, key, value, len));
}

int meta_derived_forget(struct store *s, uint64_t version)
{
	uint64_t *bare = bare_slot(s, version);

	if (bare && *bare == version)
		return 0;
	sqlite3_stmt *st = meta_stmt(s, "DELETE FROM derived WHERE version = ?1");

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)version);
	int rc = meta_exec(s, st);

	if (rc == 0 && bare)
		*bare = version;
	return rc;
}
