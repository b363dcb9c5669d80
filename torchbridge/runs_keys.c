/*
 * runs_keys.c: what the key of a checkpoint names, whatever its value.
 *
 * The words are those of the frameworks (facts of layouts in runs_layouts.c) and of the loops that people
 * write; exact names first, then parts of names: "lr_scheduler_state_dict", "ema_optimizer", "val_loss".
 */
#include "runs_internal.h"

#include <ctype.h>
#include <string.h>

static const struct {
	const char *key;
	uint8_t component;
} exact[] = {
	{ "model", RUNS_MODEL }, { "state_dict", RUNS_MODEL }, { "module", RUNS_MODEL },
	{ "model_state_dict", RUNS_MODEL }, { "model_state", RUNS_MODEL }, { "net", RUNS_MODEL },
	{ "network", RUNS_MODEL }, { "policy", RUNS_MODEL }, { "weights", RUNS_MODEL },
	{ "net_state_dict", RUNS_MODEL }, { "model_dict", RUNS_MODEL }, { "opt", RUNS_OPTIMIZER },
	{ "lr_sched", RUNS_SCHEDULER }, { "buffer", RUNS_REPLAY }, { "memory", RUNS_REPLAY },
	{ "results", RUNS_METRICS }, { "callbacks", RUNS_METRICS }, { "message_hub", RUNS_METRICS },
	{ "trainer_state", RUNS_METRICS }, { "history", RUNS_METRICS }, { "log_history", RUNS_METRICS },
	{ "accuracies", RUNS_METRICS }, { "rng_manager", RUNS_RNG }, { "random_states", RUNS_RNG },
	{ "random_state", RUNS_RNG }, { "args", RUNS_ARGS }, { "cfg", RUNS_ARGS }, { "config", RUNS_ARGS },
	{ "configs", RUNS_ARGS }, { "hparams", RUNS_ARGS }, { "hyper_parameters", RUNS_ARGS },
	{ "datamodule_hyper_parameters", RUNS_ARGS }, { "hyperparameters", RUNS_ARGS },
	{ "model_args", RUNS_ARGS }, { "training_args", RUNS_ARGS }, { "ds_config", RUNS_ARGS },
	{ "meta", RUNS_ARGS }, { "options", RUNS_ARGS }, { "loggers", RUNS_LOGGERS },
	{ "logger", RUNS_LOGGERS }, { "buffer_names", RUNS_OTHER }, { "memory_size", RUNS_OTHER },
	{ "optimizer_history", RUNS_OTHER }, /* fairseq: of which last_optimizer_state is the state */
};

/* A word of a key, or the head of one; the first that a key has counts. */
static const struct {
	const char *part;
	uint8_t component;
	bool word; /* the whole word, not its head */
} partly[] = {
	{ "sched", RUNS_SCHEDULER, false },
	{ "scheduler", RUNS_SCHEDULER, false },
	{ "schedulers", RUNS_SCHEDULER, false },
	{ "optim", RUNS_OPTIMIZER, false },
	{ "rng", RUNS_RNG, true },
	{ "replay", RUNS_REPLAY, false },
	{ "exemplar", RUNS_REPLAY, false },
	{ "buffer", RUNS_REPLAY, true },
	{ "logger", RUNS_LOGGERS, false },
	{ "metric", RUNS_METRICS, false },
	{ "loss", RUNS_METRICS, false },
	{ "acc", RUNS_METRICS, true },
	{ "acc1", RUNS_METRICS, true },
	{ "acc5", RUNS_METRICS, true },
	{ "accuracy", RUNS_METRICS, false },
	{ "score", RUNS_METRICS, false },
	{ "error", RUNS_METRICS, true },
	{ "f1", RUNS_METRICS, true },
	{ "auc", RUNS_METRICS, true },
	{ "map", RUNS_METRICS, true },
	{ "miou", RUNS_METRICS, true },
	{ "iou", RUNS_METRICS, true },
	{ "bleu", RUNS_METRICS, true },
	{ "ppl", RUNS_METRICS, true },
	{ "perplexity", RUNS_METRICS, true },
	{ "reward", RUNS_METRICS, false },
	{ "forgetting", RUNS_METRICS, true },
	{ "psnr", RUNS_METRICS, true },
	{ "best", RUNS_METRICS, true },
};

int runs_key_component(const char *key, size_t len)
{
	char low[64];

	if (len >= sizeof low || len == 0)
		return -1;
	for (size_t i = 0; i < len; i++)
		low[i] = (char)tolower((unsigned char)key[i]);
	low[len] = 0;
	for (size_t i = 0; i < sizeof exact / sizeof exact[0]; i++)
		if (strcmp(exact[i].key, low) == 0)
			return exact[i].component;
	for (size_t i = 0; i < sizeof partly / sizeof partly[0]; i++)
		for (const char *w = low; (w = strstr(w, partly[i].part)) != NULL; w++) {
			size_t n = strlen(partly[i].part);

			if (w > low && isalnum((unsigned char)w[-1]))
				continue;
			if (!partly[i].word || !isalpha((unsigned char)w[n]))
				return partly[i].component;
		}
	return -1;
}
