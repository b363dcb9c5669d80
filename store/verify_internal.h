/*
 * verify_internal.h: what the parts of store_verify() share (verify.c tells what they look at).
 */
#ifndef VERIFY_INTERNAL_H
#define VERIFY_INTERNAL_H

#include "store_admin.h"
#include "store_history.h"
#include "store_internal.h"

struct verify {
	struct store *s;
	void (*problem)(void *arg, const char *line);
	store_progress progress;
	void *arg;
	struct store_verify_result *out;
	struct idmap names;      /* inode -> names that lead to it */
	struct idmap good;       /* chunk -> plain length + 1, as far as asked */
	uint64_t done, total;
};

/* Tells a problem, in one line. */
void verify_tell(struct verify *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Progress: so many rows, or bytes, more. -ECANCELED when that is enough. */
int verify_step(struct verify *v, uint64_t done, bool bytes);

/* verify_pages.c: the pages of both databases, and what SQLite makes of those of meta.db. */
int verify_pages(struct verify *v);

#endif
