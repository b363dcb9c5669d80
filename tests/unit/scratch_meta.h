/* scratch_meta.h: what the open store's meta.db says, for tests.  Include after cmocka.h. */
#ifndef SCRATCH_META_H
#define SCRATCH_META_H

#include "store/meta_internal.h"

/* The first column of a query's first row; false: it has no row. */
static inline bool meta_first(struct store *s, const char *sql, int64_t *out)
{
	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, sql);

	assert_non_null(st);
	bool row = meta_step(s, st) == 1;

	if (row)
		*out = sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	meta_unlock(s);
	return row;
}

/* The same, -1 for no row. */
static inline int64_t meta_number(struct store *s, const char *sql)
{
	int64_t n = -1;

	meta_first(s, sql, &n);
	return n;
}

/* The same of a query that always has one, as count(*) has. */
static inline int64_t count(struct store *s, const char *sql)
{
	int64_t n = 0;

	assert_true(meta_first(s, sql, &n));
	return n;
}

#endif
