/*
 * copy_command.h: what cp, import and export have in common: from operands to a treecopy.
 */
#ifndef COPY_COMMAND_H
#define COPY_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "treecopy.h"

struct cli;
struct target;

struct copy_rules {
	struct treecopy_options opt;
	/*
	 * Where things go.  false: as cp(1): into TARGET when that is a directory, else the one source becomes TARGET.
	 * true: as rsync(1): a directory goes into the directory TARGET, which is made when missing, with its parents; "SOURCE/" stands for
	 * what is in it; a single file becomes TARGET unless that is a directory.
	 */
	bool as_rsync;
	bool sync; /* a copy out of the store is on the disk when the command returns (one into a store always is) */
};

/* A `got` for cli_options(), of import and export: -j N, into a struct treecopy_options. */
bool copy_option(void *arg, int opt, const char *value);

/* Copies t[0, n-1) to t[n-1]. The store is attached. Returns the exit status. */
int copy_command(struct cli *c, const struct target *t, size_t n, const struct copy_rules *r);

#endif
