/*
 * view_about.c: recognising containers and frameworks.
 */
#include "view_about.h"

#include <stdio.h>
#include <string.h>

#include "name_escape.h"

/* Keys at the root that tell something. */
enum root_key {
	KEY_PL_VERSION,
	KEY_STATE_DICT,
	KEY_MODEL,
	KEY_MODEL_ARGS,
	KEY_STRATEGY,
	KEY_ARGS,
	KEY_RESULTS,
	KEY_ARCH,
	KEY_META,
	KEY_MESSAGE_HUB,
	KEY_EXTRA_STATE,
	KEY_OPTIMIZER_HISTORY,
	KEY_DS_VERSION,
	KEY_DS_CONFIG,
	KEY_CHECKPOINT_VERSION,
	KEY_STATE,
	KEY_PARAM_GROUPS,
	KEY_PYTHON,
	KEY_NUMPY,
	KEY_CPU,
	KEY_RANDOM_STATE,
	KEY_TORCH_MANUAL_SEED,
	KEY_COUNTERS, /* from here on: how far the training was */
	KEY_EPOCH = KEY_COUNTERS,
	KEY_GLOBAL_STEP,
	KEY_STEP,
	KEY_ITER_NUM,
	KEY_ITERATION,
	KEY_GLOBAL_STEPS,
	KEY_EXP_COUNTER,
	KEYS,
};

static const char *const key_name[KEYS] = {
	[KEY_PL_VERSION] = "pytorch-lightning_version",
	[KEY_STATE_DICT] = "state_dict",
	[KEY_MODEL] = "model",
	[KEY_MODEL_ARGS] = "model_args",
	[KEY_STRATEGY] = "strategy",
	[KEY_ARGS] = "args",
	[KEY_RESULTS] = "results",
	[KEY_ARCH] = "arch",
	[KEY_META] = "meta",
	[KEY_MESSAGE_HUB] = "message_hub",
	[KEY_EXTRA_STATE] = "extra_state",
	[KEY_OPTIMIZER_HISTORY] = "optimizer_history",
	[KEY_DS_VERSION] = "ds_version",
	[KEY_DS_CONFIG] = "ds_config",
	[KEY_CHECKPOINT_VERSION] = "checkpoint_version",
	[KEY_STATE] = "state",
	[KEY_PARAM_GROUPS] = "param_groups",
	[KEY_PYTHON] = "python",
	[KEY_NUMPY] = "numpy",
	[KEY_CPU] = "cpu",
	[KEY_RANDOM_STATE] = "random_state",
	[KEY_TORCH_MANUAL_SEED] = "torch_manual_seed",
	[KEY_EPOCH] = "epoch",
	[KEY_GLOBAL_STEP] = "global_step",
	[KEY_STEP] = "step",
	[KEY_ITER_NUM] = "iter_num",
	[KEY_ITERATION] = "iteration",
	[KEY_GLOBAL_STEPS] = "global_steps",
	[KEY_EXP_COUNTER] = "exp_counter",
};

#define K(key) (UINT64_C(1) << (key))

/* The first that has all its keys. */
static const struct {
	uint64_t keys;
	const char *framework;
} by_keys[] = {
	{ K(KEY_PL_VERSION), "Lightning" },
	{ K(KEY_STRATEGY) | K(KEY_EXP_COUNTER), "Avalanche" },
	{ K(KEY_MODEL_ARGS) | K(KEY_ITER_NUM), "nanoGPT" },
	{ K(KEY_MODEL) | K(KEY_ARGS) | K(KEY_RESULTS), "Mammoth" },
	{ K(KEY_ARCH) | K(KEY_STATE_DICT) | K(KEY_EPOCH), "timm" },
	{ K(KEY_MESSAGE_HUB) | K(KEY_STATE_DICT), "MMEngine" },
	{ K(KEY_META) | K(KEY_STATE_DICT), "MMEngine" },
	{ K(KEY_EXTRA_STATE) | K(KEY_OPTIMIZER_HISTORY), "fairseq" },
	{ K(KEY_DS_VERSION), "DeepSpeed" },
	{ K(KEY_DS_CONFIG), "DeepSpeed" },
	{ K(KEY_CHECKPOINT_VERSION) | K(KEY_ITERATION), "Megatron" },
	{ K(KEY_PYTHON) | K(KEY_NUMPY) | K(KEY_CPU), "Transformers" },
	{ K(KEY_RANDOM_STATE) | K(KEY_TORCH_MANUAL_SEED), "Accelerate" },
};

/* By the module that the object's class is in, or one below it. */
static const struct {
	const char *module, *framework;
} by_class[] = {
	{ "transformers", "Transformers" },
	{ "torch.distributed.checkpoint", "PyTorch DCP" },
	{ "avalanche", "Avalanche" },
	{ "pytorch_lightning", "Lightning" },
	{ "lightning", "Lightning" },
	{ "stable_baselines3", "Stable-Baselines3" },
	{ "fastai", "fastai" },
	{ "torch", "PyTorch" },
};

static void take_counter(struct view_about *a, const char *name, int64_t value)
{
	if (a->counters < VIEW_COUNTERS) {
		a->counter[a->counters].name = name;
		a->counter[a->counters++].value = value;
	}
}

static void take_key(struct view_about *a, const struct pickle *g, enum root_key key, uint32_t value)
{
	const char *p;
	size_t len;
	int64_t v;

	if (key == KEY_PL_VERSION) {
		p = pickle_text(g, value, &len);
		for (size_t i = 0; p != NULL && i < len && i < sizeof a->version - 1 && p[i] > ' ' &&
				   p[i] < 0x7f;
				i++)
			a->version[i] = p[i];
	}
	if (key >= KEY_COUNTERS && pickle_kind_of(g, value) == PICKLE_INT && pickle_int(g, value, &v))
		take_counter(a, key_name[key], v);
}

static void by_root(const struct torch_object *o, uint32_t root, struct view_about *a)
{
	const struct pickle *g = torch_graph(o);
	struct torch_iter it;
	struct torch_item item;
	uint64_t keys = 0;

	torch_iter_init(o, root, &it);
	while (torch_iter_next(&it, &item))
		for (int i = 0; (item.relation == TORCH_KEY || item.relation == TORCH_ATTR) && i < KEYS; i++)
			if ((keys & K(i)) == 0 && pickle_is_text(g, item.key, key_name[i])) {
				keys |= K(i);
				take_key(a, g, (enum root_key)i, item.value);
				break;
			}
	for (size_t i = 0; a->framework == NULL && i < sizeof by_keys / sizeof by_keys[0]; i++)
		if ((keys & by_keys[i].keys) == by_keys[i].keys)
			a->framework = by_keys[i].framework;
}

static void by_root_class(const struct torch_object *o, uint32_t root, struct view_about *a)
{
	int64_t made = torch_kind_of(o, root) == TORCH_IS_OBJECT ? torch_class_of(o, root) : -1;
	const struct pickle_global *c;

	if (made < 0)
		return;
	c = pickle_global_at(torch_graph(o), (uint32_t)made);
	for (size_t i = 0; a->framework == NULL && i < sizeof by_class / sizeof by_class[0]; i++) {
		size_t n = strlen(by_class[i].module);

		if (c->module_len >= n && memcmp(c->module, by_class[i].module, n) == 0 &&
				(c->module_len == n || c->module[n] == '.'))
			a->framework = by_class[i].framework;
	}
}

static void about_torch(const struct torch_file *f, struct view_about *a)
{
	static const char *const container[] = { "zip", "torchscript", "legacy", "pickle" };
	const struct torch_object *o = torch_file_object(f);
	uint32_t root = pickle_root(torch_file_graph(f));

	a->container = container[torch_file_container(f)];
	a->protocol = pickle_protocol(torch_file_graph(f));
	torch_file_pickle(f, &a->pickle_bytes);
	if (torch_file_zip(f) != NULL) {
		a->records = zip_count(torch_file_zip(f));
		a->byteorder = torch_file_record(f, "byteorder") != NULL ? "little" : NULL;
		a->torch = torch_file_record(f, ".data/serialization_id") != NULL ? ">=2.1" : "<2.1";
	}
	if (torch_file_container(f) == TORCH_SCRIPT)
		a->framework = "TorchScript";
	by_root(o, root, a);
	by_root_class(o, root, a);
	if (a->framework == NULL && torch_file_container(f) != TORCH_PICKLE)
		a->framework = "PyTorch";
}

void view_about(const struct bridge_doc *d, struct view_about *out)
{
	static const char *const kind[] = { "torch", "safetensors", "npy", "npz", "distcp" };

	memset(out, 0, sizeof *out);
	out->kind = kind[bridge_doc_kind(d)];
	if (bridge_doc_torch(d) != NULL)
		about_torch(bridge_doc_torch(d), out);
	else if (bridge_doc_kind(d) == BRIDGE_DISTCP)
		out->framework = "PyTorch DCP";
	if (bridge_doc_kind(d) == BRIDGE_NPZ || bridge_doc_kind(d) == BRIDGE_DISTCP)
		out->records = bridge_doc_members(d);
}
