/*
 * runs_list.h: the runs of a store, as its view @runs shows them (ckptfs-views(7)); for cmd_runs.c and cmd_best.c.
 *
 * A run is a directory of the view that has a report.html; of its directories those without one, and without directories of their own, are
 * experiences.
 */
#ifndef RUNS_LIST_H
#define RUNS_LIST_H

#include <stddef.h>
#include <stdint.h>

struct cli;

struct run_info {
	char *path;        /* below @runs */
	char **experience; /* names, in their order: numbers by value */
	size_t experiences;
	char *latest, *best; /* names of experiences; NULL: none */
	uint64_t size;       /* of all components, as users see them */
};

/* What an operand's path is below @runs: without the view's name, slashes at its ends. Caller frees. NULL: no memory. */
char *run_list_path(const char *path);

/* Calls each() for every run at or below `under` ("" for all), by path; non-zero stops and is returned. -ENOENT. */
int run_list_each(struct cli *c, const char *under, int (*each)(void *arg, const struct run_info *r),
		void *arg);

/* One run. -ENODATA: what is there is no run. -ENOENT. To be released in any case. */
int run_list_find(struct cli *c, const char *path, struct run_info *out);
void run_list_release(struct run_info *r);

/* Values in the run's metrics.csv: (experience, name, value), row by row; none when there is no such file. */
int run_list_metrics(struct cli *c, const char *path,
		int (*row)(void *arg, int64_t experience, const char *name, double value), void *arg);

#endif
