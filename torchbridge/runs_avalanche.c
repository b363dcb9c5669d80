/*
 * runs_avalanche.c: a pickled Avalanche strategy as components.
 *
 * Sources: avalanche/checkpointing/checkpoint.py (0.4 and later), avalanche/training/plugins/checkpoint.py
 * (0.3.1).  One file holds {strategy, rng_manager, exp_counter}, the strategy being one Python object with
 * everything in it:
 *
 *   model       strategy.model, a module: its state dict
 *   optimizer   the state of strategy.optimizer (its class is often pickled by value: code that only dill can read)
 *   scheduler   the scheduler of an LRSchedulerPlugin
 *   replay      storage_policy of a ReplayPlugin and its kind
 *   metrics     what the evaluator collected, as JSON
 *   rng         the state of the rng_manager: {torch, torch.cuda, numpy, random}
 *   loggers     the evaluator's loggers
 *   other       exp_counter and the other plugins (importances, distillation copies)
 *
 * What can't be written without dill's own functions is left out of its component.
 */
#include "runs_torch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PLUGINS_MAX = 256 };

static uint32_t under(const struct torch_object *o, uint32_t ref, const char *name)
{
	return ref == PICKLE_NIL ? PICKLE_NIL : torch_lookup(o, ref, name);
}

/* What an object was given as its state, or itself where it is a plain value. */
static uint32_t state_of(const struct torch_object *o, uint32_t ref)
{
	struct pickle_fill fill;

	if (ref == PICKLE_NIL || torch_kind_of(o, ref) != TORCH_IS_OBJECT)
		return ref;
	if (pickle_first_fill(torch_graph(o), ref, &fill))
		do
			if (fill.kind == PICKLE_FILL_STATE)
				return fill.child[0];
		while (pickle_next_fill(torch_graph(o), &fill));
	return PICKLE_NIL;
}

struct plugins {
	uint32_t ref[PLUGINS_MAX];
	size_t n;
};

static void plugins(const struct torch_object *o, uint32_t strategy, struct plugins *p)
{
	uint32_t list = under(o, strategy, "plugins");
	struct torch_iter it;
	struct torch_item item;

	p->n = 0;
	if (list == PICKLE_NIL)
		return;
	torch_iter_init(o, list, &it);
	while (p->n < PLUGINS_MAX && torch_iter_next(&it, &item))
		p->ref[p->n++] = item.value;
}

static uint32_t of_plugins(const struct torch_object *o, const struct plugins *p, const char *name)
{
	for (size_t i = 0; i < p->n; i++) {
		uint32_t ref = torch_lookup(o, p->ref[i], name);

		if (ref != PICKLE_NIL && torch_kind_of(o, ref) != TORCH_IS_NONE)
			return ref;
	}
	return PICKLE_NIL;
}

static int lay(struct runs_making *m, const struct torch_file *f, struct runs_reader *r,
		enum runs_component c, enum runs_how how, const char *from, uint32_t ref)
{
	int rc;

	if (ref == PICKLE_NIL || torch_kind_of(torch_file_object(f), ref) == TORCH_IS_NONE)
		return 0;
	rc = runs_lay(m, f, r, c, how, from, &ref, 1);
	return rc < 0 ? rc : 0;
}

int runs_facts_avalanche(
		struct runs_making *m, const struct torch_file *f, struct runs_reader *r, uint32_t root)
{
	const struct torch_object *o = torch_file_object(f);
	uint32_t strategy = torch_lookup(o, root, "strategy"), model = under(o, strategy, "model");
	uint32_t evaluator = under(o, strategy, "evaluator"), metrics, all, pairs[4];
	struct torch_iter it;
	struct torch_item item;
	struct plugins p;
	size_t n = 0;
	int rc = 0;

	m->fact.kind = RUNS_IS_CHECKPOINT;
	m->fact.framework = RUNS_AVALANCHE;
	plugins(o, strategy, &p);
	if (model != PICKLE_NIL && runs_is_module(o, model)) {
		m->fact.shape = runs_model_shape(f, model);
		rc = lay(m, f, r, RUNS_MODEL, RUNS_MODULE, "strategy.model", model);
	}
	if (rc == 0)
		rc = lay(m, f, r, RUNS_OPTIMIZER, RUNS_PART, "strategy.optimizer",
				state_of(o, under(o, strategy, "optimizer")));
	if (rc == 0)
		rc = lay(m, f, r, RUNS_SCHEDULER, RUNS_PART, "strategy.plugins: scheduler",
				state_of(o, of_plugins(o, &p, "scheduler")));
	if (rc == 0)
		rc = lay(m, f, r, RUNS_REPLAY, RUNS_PART, "strategy.plugins: storage_policy",
				of_plugins(o, &p, "storage_policy"));
	metrics = all = under(o, evaluator, "all_metric_results");
	if (metrics == PICKLE_NIL) /* with collect_all=False */
		metrics = under(o, evaluator, "last_metric_results");
	if (rc == 0 && metrics != PICKLE_NIL) {
		rc = lay(m, f, r, RUNS_METRICS, RUNS_TEXT, "strategy.evaluator", metrics);
		if (rc == 0)
			rc = all != PICKLE_NIL ? runs_avalanche_metrics(m, f, r, strategy, all)
					       : runs_collect(m, f, r, metrics, "");
	}
	if (rc == 0)
		rc = lay(m, f, r, RUNS_RNG, RUNS_PART, "rng_manager",
				state_of(o, torch_lookup(o, root, "rng_manager")));
	if (rc == 0)
		rc = lay(m, f, r, RUNS_LOGGERS, RUNS_PART, "strategy.evaluator.loggers",
				under(o, evaluator, "loggers"));
	/* Key and value of exp_counter, and the plugins with them where they can be written. */
	torch_iter_init(o, root, &it);
	while (n < 2 && torch_iter_next(&it, &item))
		if (item.relation == TORCH_KEY && pickle_is_text(torch_graph(o), item.key, "exp_counter")) {
			pairs[n++] = item.key;
			pairs[n++] = item.value;
		}
	torch_iter_init(o, strategy, &it);
	while (n < 4 && torch_iter_next(&it, &item))
		if (item.relation == TORCH_ATTR && pickle_is_text(torch_graph(o), item.key, "plugins")) {
			pairs[n++] = item.key;
			pairs[n++] = item.value;
			break;
		}
	if (rc == 0 && n > 0) {
		rc = runs_lay(m, f, r, RUNS_OTHER, RUNS_PAIRS, "", pairs, n);
		if (rc == 0 && n == 4)
			rc = runs_lay(m, f, r, RUNS_OTHER, RUNS_PAIRS, "", pairs, 2);
	}
	return rc < 0 ? rc : 0;
}
