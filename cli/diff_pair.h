/*
 * diff_pair.h: two files compared and told, for cmd_diff.c.
 *
 * Both are understood as checkpoints and compared tensor by tensor; where one of them is none, byte by byte.
 */
#ifndef DIFF_PAIR_H
#define DIFF_PAIR_H

#include <jansson.h>

#include "checkpoint.h"
#include "cli.h"

struct diff_pair {
	struct checkpoint a, b;
	const char *title; /* for people, before the table; NULL none */
	bool json;
};

/*
 * 0 they are the same, 1 they differ, -errno.  Prints what differs; with `json` sets *out to an object instead (NULL where
 * they are the same).
 */
int diff_pair(struct cli *c, struct diff_pair *p, json_t **out);

#endif
