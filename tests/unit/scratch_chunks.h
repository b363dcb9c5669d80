/*
 * scratch_chunks.h: a store of its own for each test of chunks and their collection: made by setup(), closed and opened
 * again by cycle(), dropped as by a crash by crash(), removed by teardown().  Include after cmocka.h.
 */
#ifndef SCRATCH_CHUNKS_H
#define SCRATCH_CHUNKS_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "codec/ckpt_error.h"
#include "store/store.h"

struct fixture {
	char dir[64], path[80];
	struct store_options opt;
	struct store *s;
};

static inline void reopen(struct fixture *f)
{
	if (store_open(f->path, &f->opt, &f->s))
		fail_msg("open: %s", ckpt_errmsg());
}

static inline void crash(struct fixture *f)
{
	store_crash(f->s);
	f->s = NULL;
	reopen(f);
}

static inline void cycle(struct fixture *f)
{
	assert_int_equal(store_close(f->s), 0);
	f->s = NULL;
	reopen(f);
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->dir, "/tmp/test_store.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/s.ckptfs", f->dir);
	f->opt = (struct store_options){ .create = true, .workers = 2, .history_seconds = -1 };
	reopen(f);
	*state = f;
	return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *w)
{
	(void)st;
	(void)type;
	(void)w;
	return remove(path);
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->s);
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

#endif
