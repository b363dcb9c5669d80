/*
 * copy_internal.h: copying one thing of one tree to another, for treecopy.c.
 */
#ifndef COPY_INTERNAL_H
#define COPY_INTERNAL_H

#include <stdbool.h>

#include "tree.h"

struct cli;
struct progress;

enum { COPY_BUFFER = 1 << 20 };

struct copy_env {
	struct cli *c;
	struct tree *src, *dst;
	struct progress *progress; /* may be NULL */
};

/* What a copy of `st` gets: everything with attrs (the owner only where root asks), else nothing but a mode. */
void copy_attributes(const struct copy_env *env, const struct stat *st, bool attrs, struct tattr *out);
/* The user.* attributes of a directory, or of a file. -EOPNOTSUPP of a destination that knows none is no error. */
int copy_xattrs(const struct copy_env *env, struct tdir *sd, struct tfile *sf, struct tdir *dd,
		struct tfile *df);
/* A regular file; holes stay holes. buf: COPY_BUFFER bytes of scratch. -ECANCELED when the command is. */
int copy_file(const struct copy_env *env, const struct tentry *e, struct tdir *into, const char *name,
		bool attrs, void *buf);
/* A symlink, fifo, socket or device. */
int copy_other(const struct copy_env *env, const struct tentry *e, struct tdir *into, const char *name,
		bool attrs);

#endif
