/*
 * runs_torch.h: between the files that look into torch files (runs_torch.c, runs_avalanche.c, runs_module.c).
 */
#ifndef RUNS_TORCH_H
#define RUNS_TORCH_H

#include <stdio.h>

#include "runs_internal.h"

/* A dict from strings to tensors, nearly nothing else. */
bool runs_is_state_dict(const struct torch_object *o, uint32_t ref);

/*
 * Adds a component after laying it out. 1; 0: it can't be told apart from the rest, nothing was added;
 * -errno.
 */
int runs_lay(struct runs_making *m, const struct torch_file *f, struct runs_reader *r, enum runs_component c,
		enum runs_how how, const char *from, const uint32_t *ref, size_t refs);

/* {strategy, rng_manager, exp_counter}, or an older one: the strategy's attributes are the components. */
int runs_facts_avalanche(
		struct runs_making *m, const struct torch_file *f, struct runs_reader *r, uint32_t root);

/* Its evaluator's all_metric_results, by experience. */
int runs_avalanche_metrics(struct runs_making *m, const struct torch_file *f, struct runs_reader *r,
		uint32_t strategy, uint32_t results);

/* The tensors of a state dict or module, by the names that state_dict() gives them: an array for free(). */
struct runs_named {
	char *key; /* of the arena */
	size_t len;
	uint32_t ref;
};
int runs_model_tensors(const struct torch_file *f, uint32_t ref, struct runs_arena *a,
		struct runs_named **out, size_t *count);
/* A number for names, dtypes and sizes; never 0, but where there are none. */
uint64_t runs_model_shape(const struct torch_file *f, uint32_t ref);

#endif
