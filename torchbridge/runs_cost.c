/*
 * runs_cost.c: what runs cost in the store.
 *
 * Checkpoints of a run share most of what they hold, so the sum over its files says little.  To count what is
 * shared once the host goes through all of its files; it does so for all runs together, once a scan.
 */
#include "runs_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "codec/ckpt_error.h"
#include "codec/ckpt_wait.h"

struct runs_costs {
	pthread_mutex_t lock; /* guards the rest; held while the host counts */
	uint64_t *stored;     /* of each run; NULL: not asked yet */
};

int runs_costs_new(struct runs_costs **out)
{
	struct runs_costs *c = calloc(1, sizeof *c);

	if (c == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a scan");
	pthread_mutex_init(&c->lock, NULL);
	*out = c;
	return 0;
}

void runs_costs_free(struct runs_costs *c)
{
	if (c == NULL)
		return;
	pthread_mutex_destroy(&c->lock);
	free(c->stored);
	free(c);
}

/* Every file of every run; symlinks cost nothing. */
static size_t list(const struct bridge_runs *r, const char **path, uint32_t *group)
{
	size_t n = 0;

	for (size_t i = 0; i < r->runs; i++)
		for (size_t e = 0; e < r->run[i].pub.experiences; e++)
			for (size_t k = 0; k < r->run[i].experience[e].files; k++) {
				const struct runs_file *f = r->run[i].experience[e].file[k];

				if (f->link)
					continue;
				if (path != NULL) {
					path[n] = f->path;
					group[n] = (uint32_t)i;
				}
				n++;
			}
	return n;
}

static int count(const struct bridge_runs *r, uint64_t **out)
{
	size_t n = list(r, NULL, NULL);
	const char **path = calloc(n + 1, sizeof *path);
	uint32_t *group = calloc(n + 1, sizeof *group);
	uint64_t *stored = calloc(r->runs + 1, sizeof *stored);
	int rc = 0;

	if (path == NULL || group == NULL || stored == NULL)
		rc = ckpt_fail(ENOMEM, "out of memory for the costs of %zu files", n);
	else if (r->runs > UINT32_MAX)
		rc = ckpt_fail(EFBIG, "too many runs to count what they cost");
	if (rc == 0) {
		list(r, path, group);
		rc = r->files.cost_together(r->files.arg, path, group, n, (uint32_t)r->runs, stored);
	}
	if (rc == 0) {
		*out = stored;
		stored = NULL;
	}
	free(stored);
	free(group);
	free(path);
	return rc;
}

int runs_stored(const struct bridge_runs *r, size_t run, uint64_t *out)
{
	struct runs_costs *c = r->costs;
	int rc = 0;

	if (r->files.cost_together == NULL)
		return -ENOTSUP;
	ckpt_mutex_lock(&c->lock);
	if (c->stored == NULL)
		rc = count(r, &c->stored);
	if (rc == 0)
		*out = c->stored[run];
	pthread_mutex_unlock(&c->lock);
	return rc;
}
