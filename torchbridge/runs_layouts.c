/*
 * runs_layouts.c: what names say: the layouts of every framework that is known.
 *
 *   Avalanche     N/checkpoint.pth; one pickled file under any name
 *   Mammoth       [<name>_]<model>_<dataset>_.._<date>-<time>_<uid>_<task|last|joint>.pt; <data>_task_<id>_aaT.pt, ...
 *   PyTorch       epoch-N.pth, model_3.pt, best_model.pth, 003/{model,optimizer}.pt
 *   Lightning     epoch=N-step=M[-val_loss=x][-vK].ckpt, last.ckpt
 *   Transformers  checkpoint-N/{model.safetensors,optimizer.pt,scheduler.pt,rng_state.pth,trainer_state.json,...}
 *   Accelerate    checkpoints/checkpoint_N/{model.safetensors,optimizer.bin,random_states_0.pkl,...}
 *   nanoGPT       ckpt.pt
 *   timm          checkpoint-N.pth.tar, last.pth.tar, model_best.pth.tar, recovery-N-M.pth.tar
 *   DCP           step-N/{.metadata,__R_S.distcp}
 *   fairseq       checkpointN.pt, checkpoint_N_M.pt, checkpoint_best.pt, checkpoint_last.pt
 *   SB3           <p>_N_steps.zip, <p>_replay_buffer_N_steps.pkl, <p>_vecnormalize_N_steps.pkl
 *   DeepSpeed     global_stepN/{mp_rank_00_model_states,zero_pp_rank_0_mp_rank_00_optim_states}.pt
 *   Megatron      iter_N/mp_rank_00/model_optim_rng.pt
 *   mmengine      epoch_N.pth, iter_N.pth, best_<metric>_epoch_N.pth
 *
 * A name is taken apart into words and numbers; a number counts when a word before it says what it counts
 * (or when it stands last), and what is left of the name is what the run is called where a directory holds
 * many.  Names that no rule is for stay whole: 0-9 inside words (resnet50) are no numbers, nor are dates.
 */
#include "runs_internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "runs_words.h"

const char *runs_component_name(enum runs_component c)
{
	static const char *const name[] = { "model", "optimizer", "scheduler", "replay", "metrics", "rng",
		"args", "loggers", "other" };

	return name[c];
}

const char *runs_framework_name(enum runs_framework f)
{
	static const char *const name[] = { "PyTorch", "Avalanche", "Mammoth", "Lightning", "Transformers",
		"Accelerate", "nanoGPT", "timm", "DCP", "fairseq", "Stable-Baselines3", "DeepSpeed",
		"Megatron-LM", "MMEngine" };

	return name[f];
}

/* Names that say by themselves what is in the file. A number behind one is a rank or a shard. */
static const struct {
	const char *name;
	uint8_t component;
	int8_t framework;
} whole_names[] = {
	{ "model", RUNS_MODEL, -1 },
	{ "pytorch_model", RUNS_MODEL, RUNS_TRANSFORMERS },
	{ "adapter_model", RUNS_MODEL, RUNS_TRANSFORMERS },
	{ "weights", RUNS_MODEL, -1 },
	{ "state_dict", RUNS_MODEL, -1 },
	{ "optimizer", RUNS_OPTIMIZER, -1 },
	{ "optimizer_state", RUNS_OPTIMIZER, -1 },
	{ "optim", RUNS_OPTIMIZER, -1 },
	{ "scheduler", RUNS_SCHEDULER, -1 },
	{ "lr_scheduler", RUNS_SCHEDULER, -1 },
	{ "replay", RUNS_REPLAY, -1 },
	{ "buffer", RUNS_REPLAY, -1 },
	{ "replay_buffer", RUNS_REPLAY, -1 },
	{ "exemplars", RUNS_REPLAY, -1 },
	{ "rng", RUNS_RNG, -1 },
	{ "rng_state", RUNS_RNG, -1 },
	{ "random_state", RUNS_RNG, -1 },
	{ "random_states", RUNS_RNG, RUNS_ACCELERATE },
	{ "metrics", RUNS_METRICS, -1 },
	{ "results", RUNS_METRICS, -1 },
	{ "history", RUNS_METRICS, -1 },
	{ "trainer_state", RUNS_METRICS, RUNS_TRANSFORMERS },
	{ "args", RUNS_ARGS, -1 },
	{ "hparams", RUNS_ARGS, -1 },
	{ "training_args", RUNS_ARGS, RUNS_TRANSFORMERS },
	{ "loggers", RUNS_LOGGERS, -1 },
	{ "logger", RUNS_LOGGERS, -1 },
	{ "scaler", RUNS_OTHER, -1 },
	{ "sampler", RUNS_OTHER, RUNS_ACCELERATE },
	{ "dl_state_dict", RUNS_OTHER, RUNS_ACCELERATE },
	{ "custom_checkpoint", RUNS_OTHER, RUNS_ACCELERATE },
};

static const struct {
	const char *suffix;
	bool torch; /* nothing else is called so */
} suffixes[] = {
	{ ".pth.tar", true },
	{ ".pt.tar", true },
	{ ".safetensors", true },
	{ ".distcp", true },
	{ ".ckpt", true },
	{ ".pth", true },
	{ ".pt", true },
	{ ".pkl", false },
	{ ".pickle", false },
	{ ".bin", false },
	{ ".zip", false },
	{ ".tar", false },
	{ ".chkpt", false },
	{ ".model", false },
};

/* Files that are shown beside checkpoints, and read where they hold metrics. */
static const char *const beside[] = { ".json", ".csv", ".npy", ".npz", ".yaml", ".yml", ".txt", ".jinja" };

static bool ends(const char *name, size_t len, const char *with)
{
	size_t n = strlen(with);

	return len > n && strncasecmp(name + len - n, with, n) == 0;
}

static bool digits(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] < '0' || p[i] > '9')
			return false;
	return len > 0;
}

static int64_t number(const char *p, size_t len)
{
	int64_t v = 0;

	if (len > 18 || !digits(p, len))
		return RUNS_NONE;
	for (size_t i = 0; i < len; i++)
		v = v * 10 + (p[i] - '0');
	return v;
}

static void set_stem(struct runs_name *out, const char *p, size_t len)
{
	out->stem_len = (uint32_t)(len < sizeof out->stem ? len : sizeof out->stem - 1);
	memcpy(out->stem, p, out->stem_len);
	out->stem[out->stem_len] = 0;
}

/* Mammoth: ..._<%Y%m%d-%H%M%S>_<uid>_<task|last|joint>, read from the right. */
static bool mammoth(const char *name, size_t len, struct runs_name *out)
{
	size_t task, uid, date;

	for (task = len; task > 0 && name[task - 1] != '_'; task--)
		;
	for (uid = task > 0 ? task - 1 : 0; uid > 0 && name[uid - 1] != '_'; uid--)
		;
	for (date = uid > 0 ? uid - 1 : 0; date > 0 && name[date - 1] != '_'; date--)
		;
	if (date == 0 || uid - date != 16 || name[date + 8] != '-' || !digits(name + date, 8) ||
			!digits(name + date + 9, 6))
		return false;
	out->framework = RUNS_MAMMOTH;
	out->many = true;
	set_stem(out, name, task - 1);
	out->number = number(name + task, len - task);
	out->counter = out->number != RUNS_NONE ? RUNS_COUNT_TASK : RUNS_COUNT_NONE;
	out->last = len - task == 4 && memcmp(name + task, "last", 4) == 0;
	return out->number != RUNS_NONE || out->last ||
	       (len - task == 5 && memcmp(name + task, "joint", 5) == 0);
}

/* The Fisher caches of Mammoth's TAK: <dataset>_task_<id>_{num_aaT,num_ggT,aaT,ggT,ffT}. */
static bool fisher(const char *name, size_t len, struct runs_name *out)
{
	static const char *const what[] = { "num_aaT", "num_ggT", "aaT", "ggT", "ffT" };

	for (size_t i = 0; i < sizeof what / sizeof what[0]; i++) {
		size_t n = strlen(what[i]), at, task;

		if (len <= n + 1 || name[len - n - 1] != '_' || memcmp(name + len - n, what[i], n) != 0)
			continue;
		at = len - n - 1;
		for (task = at; task > 0 && name[task - 1] != '_'; task--)
			;
		if (task < 6 || memcmp(name + task - 6, "_task_", 6) != 0)
			continue;
		out->number = number(name + task, at - task);
		if (out->number == RUNS_NONE)
			continue;
		out->framework = RUNS_MAMMOTH;
		out->many = true;
		out->role = RUNS_COMPONENT;
		out->component = RUNS_OTHER;
		out->counter = RUNS_COUNT_TASK;
		set_stem(out, name, task - 6);
		return true;
	}
	return false;
}

/* DeepSpeed's files: [bf16_]zero_pp_rank_R_mp_rank_M_{optim,model}_states, mp_rank_M_model_states. */
static bool deepspeed(const char *name, size_t len, struct runs_name *out)
{
	const char *zero = "zero_pp_rank_", *mp = "mp_rank_";
	bool optim = len > 13 && memcmp(name + len - 13, "_optim_states", 13) == 0;
	size_t at = 0, n;

	if (!optim && (len <= 13 || memcmp(name + len - 13, "_model_states", 13) != 0))
		return false;
	if (len > 5 && memcmp(name, "bf16_", 5) == 0)
		at = 5;
	if (len - at > strlen(zero) && memcmp(name + at, zero, strlen(zero)) == 0)
		at += strlen(zero);
	else if (len - at > strlen(mp) && memcmp(name + at, mp, strlen(mp)) == 0)
		at += strlen(mp);
	else
		return false;
	for (n = 0; at + n < len && name[at + n] >= '0' && name[at + n] <= '9'; n++)
		;
	out->rank = number(name + at, n);
	out->rank_only = true;
	out->framework = RUNS_DEEPSPEED;
	out->role = optim || out->rank != 0 ? RUNS_COMPONENT : RUNS_FILE;
	out->component = optim ? RUNS_OPTIMIZER : RUNS_MODEL;
	return true;
}

/* A name of the table, with a rank (_3) or a shard (-00001-of-00005) behind it. */
static bool component(const char *name, size_t len, struct runs_name *out)
{
	size_t stem = len, i;

	if (len > 15 && name[len - 15] == '-' && memcmp(name + len - 9, "-of-", 4) == 0 &&
			digits(name + len - 14, 5) && digits(name + len - 5, 5)) {
		out->rank = number(name + len - 14, 5);
		out->step = number(name + len - 5, 5);
		stem = len - 15;
	} else {
		while (stem > 0 && name[stem - 1] >= '0' && name[stem - 1] <= '9')
			stem--;
		if (stem < len && stem > 0 && name[stem - 1] == '_')
			out->rank = number(name + stem, len - stem), stem--;
		else
			stem = len;
	}
	for (i = 0; i < sizeof whole_names / sizeof whole_names[0]; i++)
		if (strlen(whole_names[i].name) == stem && strncasecmp(whole_names[i].name, name, stem) == 0)
			break;
	/* model_3.pt counts; rng_state_3.pth and optimizer_1.bin are of rank 3, of the second optimizer. */
	if (i == sizeof whole_names / sizeof whole_names[0] ||
			(out->rank != RUNS_NONE && out->step == RUNS_NONE &&
					whole_names[i].component == RUNS_MODEL)) {
		out->rank = out->step = RUNS_NONE;
		return false;
	}
	out->role = RUNS_COMPONENT;
	out->component = whole_names[i].component;
	out->framework = whole_names[i].framework;
	out->rank_only = out->rank != RUNS_NONE;
	return true;
}

struct runs_name *runs_name_keep(struct runs_arena *a, const struct runs_name *n)
{
	size_t len = offsetof(struct runs_name, stem) + n->stem_len + 1;
	struct runs_name *to = runs_alloc(a, 1, len);

	if (to != NULL)
		memcpy(to, n, len);
	return to;
}

static void blank(struct runs_name *out)
{
	memset(out, 0, sizeof *out);
	out->framework = -1;
	out->component = RUNS_OTHER;
	out->number = out->step = out->rank = RUNS_NONE;
}

void runs_name_file(const char *name, size_t len, struct runs_name *out)
{
	size_t stem = 0, i;

	blank(out);
	if (len > 255 || len == 0)
		return;
	if (len == 9 && memcmp(name, ".metadata", 9) == 0) {
		out->role = RUNS_COMPONENT;
		out->framework = RUNS_DCP;
		out->suffix = 9;
		out->torch = true;
		return;
	}
	if (name[0] == '.') /* temporary files of safetensors and editors, hidden ones */
		return;
	for (i = 0; i < sizeof suffixes / sizeof suffixes[0] && stem == 0; i++)
		if (ends(name, len, suffixes[i].suffix)) {
			stem = len - strlen(suffixes[i].suffix);
			out->torch = suffixes[i].torch;
		}
	out->suffix = (uint32_t)stem;
	if (stem == 0) {
		for (i = 0; i < sizeof beside / sizeof beside[0]; i++)
			if (ends(name, len, beside[i])) {
				out->role = RUNS_BESIDE;
				out->suffix = (uint32_t)(len - strlen(beside[i]));
				if (component(name, out->suffix, out))
					out->role = RUNS_BESIDE;
			}
		return;
	}
	out->role = RUNS_FILE;
	if (ends(name, len, ".distcp")) {
		out->role = RUNS_COMPONENT;
		out->framework = RUNS_DCP;
		out->rank_only = true;
		return;
	}
	if (mammoth(name, stem, out) || fisher(name, stem, out) || deepspeed(name, stem, out) ||
			component(name, stem, out))
		return;
	runs_words_file(name, stem, out);
}

bool runs_name_directory(const char *name, size_t len, struct runs_name *out)
{
	size_t stem = len;

	blank(out);
	if (len > 255 || len == 0 || name[0] == '.')
		return false;
	if (ends(name, len, ".ckpt"))
		stem = len - 5;
	if (digits(name, stem)) {
		out->number = number(name, stem);
		out->counter = RUNS_COUNT_PLAIN;
		return out->number != RUNS_NONE;
	}
	return runs_words_directory(name, stem, out);
}

bool runs_name_inner(const char *name, size_t len)
{
	static const char *const inner[] = { "mp_rank_", "pytorch_model_fsdp_", "optimizer_", "global_step" };

	for (size_t i = 0; i < sizeof inner / sizeof inner[0]; i++) {
		size_t n = strlen(inner[i]);

		if (len > n && memcmp(name, inner[i], n) == 0 && name[n] >= '0' && name[n] <= '9')
			return true;
	}
	return false;
}

void runs_name_component(const struct runs_name *n, const char *name, size_t len, char out[256])
{
	const char *suffix = name + n->suffix;
	size_t at;

	memcpy(out, name, len);
	out[len] = 0;
	if (n->component == RUNS_OTHER || (n->rank_only && n->step != RUNS_NONE) || n->suffix >= len)
		return;
	if (n->role == RUNS_BESIDE && strcasecmp(suffix, ".json") != 0)
		return;
	/* A replay buffer that is a plain pickle (SB3) is no torch file. */
	if (n->role != RUNS_BESIDE && strcasecmp(suffix, ".safetensors") != 0 &&
			!(n->component == RUNS_REPLAY && strcasecmp(suffix, ".pkl") == 0))
		suffix = ".pt";
	at = strlen(strcpy(out, runs_component_name(n->component)));
	if (n->rank > 0)
		at += (size_t)snprintf(out + at, 256 - at, "_%lld", (long long)n->rank);
	snprintf(out + at, 256 - at, "%s", suffix);
}
