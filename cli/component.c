/*
 * component.c: what part of a checkpoint a file is, told by its name.
 *
 * Names are the user's or the framework's own, so this is a guess that serves df's table and nothing else.  On the lower-case name,
 * the first line that applies:
 *
 *   model and optim both in it (Megatron's model_optim_rng.pt)       checkpoint
 *   optim, grad_scaler, or the word scaler or opt                    optimizer
 *   sched                                                            scheduler
 *   replay, exemplar, or the word buffer or memory                   replay
 *   random_state, or the word rng                                    rng
 *   metric, trainer_state, or the word results, scores, or *.csv     metrics
 *   tfevents, wandb, or the word log, logs or loggers                loggers
 *   config, hparams, or the word args                                args
 *   model, weights, adapter, state_dict, or the word ema,
 *   or *.safetensors, *.gguf                                         model
 *   *.pt *.pth *.ckpt *.bin *.pkl *.tar *.t7, or checkpoint          checkpoint
 *   anything else                                                    other
 *
 * A word is a run of letters: "rng_state.pth" has the word rng, "string.txt" has not.
 */
#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "component.h"

static bool has_word(const char *name, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = strstr(name, word); p != NULL; p = strstr(p + 1, word))
		if ((p == name || !isalpha((unsigned char)p[-1])) && !isalpha((unsigned char)p[n]))
			return true;
	return false;
}

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n > m && strcmp(name + n - m, end) == 0;
}

/* "part" anywhere, "=word" as a word, ".end" at the end. */
static bool any(const char *name, const char *const *list)
{
	for (; *list != NULL; list++) {
		const char *mark = *list;

		if (mark[0] == '=' && has_word(name, mark + 1))
			return true;
		if (mark[0] == '.' && ends_in(name, mark))
			return true;
		if (mark[0] != '=' && mark[0] != '.' && strstr(name, mark) != NULL)
			return true;
	}
	return false;
}

static const struct rule {
	enum component component;
	const char *marks[12];
} rules[] = {
	{ COMPONENT_OPTIMIZER, { "optim", "grad_scaler", "=scaler", "=opt" } },
	{ COMPONENT_SCHEDULER, { "sched" } },
	{ COMPONENT_REPLAY, { "replay", "exemplar", "=buffer", "=memory" } },
	{ COMPONENT_RNG, { "random_state", "=rng" } },
	{ COMPONENT_METRICS, { "metric", "trainer_state", "=results", "=scores", ".csv" } },
	{ COMPONENT_LOGGERS, { "tfevents", "wandb", "=log", "=logs", "=loggers" } },
	{ COMPONENT_ARGS, { "config", "hparams", "=args" } },
	{ COMPONENT_MODEL, { "model", "weights", "adapter", "state_dict", "=ema", ".safetensors", ".gguf" } },
	{ COMPONENT_CHECKPOINT, { ".pt", ".pth", ".ckpt", ".bin", ".pkl", ".tar", ".t7", "checkpoint" } },
};

enum component component_of(const char *path)
{
	const char *base = strrchr(path, '/');
	char name[256];
	size_t i;

	base = base != NULL ? base + 1 : path;
	for (i = 0; base[i] != '\0' && i < sizeof(name) - 1; i++)
		name[i] = (char)tolower((unsigned char)base[i]);
	name[i] = '\0';
	if (strstr(name, "model") != NULL && strstr(name, "optim") != NULL)
		return COMPONENT_CHECKPOINT;
	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (any(name, rules[i].marks))
			return rules[i].component;
	return COMPONENT_OTHER;
}

const char *component_name(enum component k)
{
	static const char *const names[] = { "model", "optimizer", "scheduler", "replay", "metrics", "rng",
		"args", "loggers", "checkpoint", "other" };

	return names[k];
}
