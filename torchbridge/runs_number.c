/*
 * runs_number.c: what the experiences of a run are counted by.
 *
 * Runs count in epochs (or experiences, or saves), or in steps.  Lightning's count in epochs unless an epoch has several
 * checkpoints; then all of the run's are called by their steps.
 */
#include "runs_group.h"

#include <stdlib.h>

/* Whether the run counts in steps: most names do, or an epoch has several checkpoints. */
static bool counts_steps(const struct grouping *s)
{
	size_t steps = 0, epochs = 0, none = 0;

	for (size_t i = 0; i < s->groups; i++) {
		const struct group *g = &s->group[i];

		/* Transformers' "checkpoint-500" is after 500 steps. */
		for (size_t k = 0; k < g->files; k++)
			if (g->file[k]->fact != NULL && g->file[k]->fact->framework == RUNS_TRANSFORMERS)
				return true;
		if (g->said != NULL && g->said->counter == RUNS_COUNT_STEP)
			steps++;
		else if (g->said != NULL && g->said->counter != RUNS_COUNT_NONE)
			epochs++;
		else if (g->epoch == RUNS_NONE && g->step != RUNS_NONE)
			none++;
	}
	return steps > epochs || (steps + epochs == 0 && none > 0);
}

struct moment {
	int64_t epoch, step;
};

static int by_moment(const void *a, const void *b)
{
	const struct moment *x = a, *y = b;

	if (x->epoch != y->epoch)
		return x->epoch < y->epoch ? -1 : 1;
	return x->step < y->step ? -1 : x->step > y->step;
}

/* Whether an epoch has checkpoints of several steps. */
static bool crowded(const struct grouping *s)
{
	struct moment *m = s->groups > 1 ? calloc(s->groups, sizeof *m) : NULL;
	size_t n = 0;
	bool several = false;

	if (m == NULL)
		return false;
	for (size_t i = 0; i < s->groups; i++) {
		const struct group *g = &s->group[i];

		/* Only where the epoch is the number: in names, or in files that say both. */
		if (g->aside || g->dir || g->epoch == RUNS_NONE || g->step == RUNS_NONE || g->torn)
			continue;
		if (g->said_number && g->said->counter != RUNS_COUNT_EPOCH)
			continue;
		m[n++] = (struct moment){ g->epoch, g->step };
	}
	if (n > 1)
		qsort(m, n, sizeof *m, by_moment);
	for (size_t i = 1; i < n; i++)
		several |= m[i].epoch == m[i - 1].epoch && m[i].step != m[i - 1].step;
	free(m);
	return several;
}

void runs_number_groups(struct grouping *s)
{
	bool several = crowded(s);

	s->by_step = several || counts_steps(s);
	for (size_t i = 0; i < s->groups; i++) {
		struct group *g = &s->group[i];

		if (g->aside) {
			g->number = RUNS_NONE;
			continue;
		}
		if (several && g->step != RUNS_NONE)
			g->number = g->step;
		else if (g->number == RUNS_NONE && s->by_step)
			g->number = g->step != RUNS_NONE ? g->step : g->epoch;
		else if (g->number == RUNS_NONE)
			g->number = g->epoch != RUNS_NONE ? g->epoch : g->step;
	}
}
