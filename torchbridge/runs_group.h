/*
 * runs_group.h: the files of one run on their way to being its experiences (runs_group.c, runs_number.c).
 */
#ifndef RUNS_GROUP_H
#define RUNS_GROUP_H

#include "runs_internal.h"

/* Files that are one thing: a checkpoint file, or all of a directory. */
struct group {
	struct runs_file **file;
	size_t files;
	int64_t number, epoch, step;
	uint64_t mtime_ns;
	const struct runs_name *said; /* of the file, or of the directory; NULL: the run's own directory */
	const char *tag, *best_name;
	bool best, last, aside, torn, gone, dir, said_number;
};

struct grouping {
	struct bridge_runs *r;
	struct group *group;
	size_t groups, cap;
	bool by_step;
};

/* Gives each group its number: in epochs or experiences, or in steps where the run counts so. */
void runs_number_groups(struct grouping *s);

#endif
