/*
 * runs_torch.c: what a torch file says of itself.
 *
 * A checkpoint is a dict that has components under keys of its own (runs_keys.c); what a value looks like
 * decides where the key does not: a dict with "param_groups" is an optimizer's, one of tensors only is a
 * model's.  A dict of nothing but tensors is a bare state dict, the whole file a model.  What is neither is
 * data: other people's tensors are no checkpoint.
 *
 * The size of each component is found out here, once, by laying it out; so listing a run opens no file.
 */
#include "runs_torch.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "codec/codec_hash.h"

enum { LOOK = 64 /* items that tell what a container holds */ };

/*
 * ---- what values are
 * -----------------------------------------------------------------------------------------------
 */

bool runs_is_state_dict(const struct torch_object *o, uint32_t ref)
{
	struct torch_iter it;
	struct torch_item item;
	size_t tensors = 0, others = 0;

	if (torch_kind_of(o, ref) != TORCH_IS_DICT)
		return false;
	torch_iter_init(o, ref, &it);
	while (tensors + others < LOOK && torch_iter_next(&it, &item)) {
		if (item.relation != TORCH_KEY)
			continue;
		if (torch_kind_of(o, item.key) != TORCH_IS_STR)
			return false;
		if (torch_kind_of(o, item.value) == TORCH_IS_TENSOR)
			tensors++;
		else
			others++;
	}
	return tensors > 0 && others * 4 <= tensors;
}

/* A state dict, a module, or a dict of them. */
static bool is_model(const struct torch_object *o, uint32_t ref)
{
	struct torch_iter it;
	struct torch_item item;
	size_t n = 0;

	if (runs_is_state_dict(o, ref) || runs_is_module(o, ref))
		return true;
	if (torch_kind_of(o, ref) != TORCH_IS_DICT)
		return false;
	torch_iter_init(o, ref, &it);
	while (n < LOOK && torch_iter_next(&it, &item))
		if (item.relation == TORCH_KEY) {
			if (!runs_is_state_dict(o, item.value) && !runs_is_module(o, item.value))
				return false;
			n++;
		}
	return n > 0;
}

static bool has(const struct torch_object *o, uint32_t ref, const char *key)
{
	return torch_lookup(o, ref, key) != PICKLE_NIL;
}

static bool is_optimizer(const struct torch_object *o, uint32_t ref)
{
	return torch_kind_of(o, ref) == TORCH_IS_DICT && has(o, ref, "param_groups");
}

static bool is_scheduler(const struct torch_object *o, uint32_t ref)
{
	return torch_kind_of(o, ref) == TORCH_IS_DICT && has(o, ref, "last_epoch") &&
	       (has(o, ref, "_step_count") || has(o, ref, "base_lrs") || has(o, ref, "_last_lr"));
}

static bool is_simple(enum torch_kind k)
{
	return k <= TORCH_IS_STR;
}

/* A component for a key and its value. */
static int component_of(const struct torch_object *o, const char *key, size_t len, uint32_t value)
{
	enum torch_kind kind = torch_kind_of(o, value);
	int c = runs_key_component(key, len);

	if (is_optimizer(o, value))
		return RUNS_OPTIMIZER;
	if (is_scheduler(o, value))
		return RUNS_SCHEDULER;
	switch (c) {
	case RUNS_MODEL:
		return is_model(o, value) ? RUNS_MODEL : RUNS_OTHER;
	case RUNS_OPTIMIZER:
	case RUNS_SCHEDULER:
	case RUNS_REPLAY:
	case RUNS_RNG:
	case RUNS_LOGGERS:
		return is_simple(kind) ? RUNS_OTHER : c;
	case RUNS_METRICS:
		return is_model(o, value) ? RUNS_OTHER : RUNS_METRICS;
	case RUNS_ARGS:
		return is_model(o, value) || kind == TORCH_IS_TENSOR ? RUNS_OTHER : RUNS_ARGS;
	default:
		return RUNS_OTHER;
	}
}

/*
 * ---- numbers and best
 * ------------------------------------------------------------------------------------------------
 */

static const struct {
	const char *key;
	uint8_t counter;
} count_keys[] = {
	{ "exp_counter", RUNS_COUNT_TASK },
	{ "experience", RUNS_COUNT_TASK },
	{ "current_experience", RUNS_COUNT_TASK },
	{ "task", RUNS_COUNT_TASK },
	{ "task_id", RUNS_COUNT_TASK },
	{ "current_task", RUNS_COUNT_TASK },
	{ "epoch", RUNS_COUNT_EPOCH },
	{ "cur_epoch", RUNS_COUNT_EPOCH },
	{ "current_epoch", RUNS_COUNT_EPOCH },
	{ "global_step", RUNS_COUNT_STEP },
	{ "global_steps", RUNS_COUNT_STEP },
	{ "iter_num", RUNS_COUNT_STEP },
	{ "iteration", RUNS_COUNT_STEP },
	{ "iter", RUNS_COUNT_STEP },
	{ "step", RUNS_COUNT_STEP },
	{ "steps", RUNS_COUNT_STEP },
	{ "num_updates", RUNS_COUNT_STEP },
	{ "n_iter", RUNS_COUNT_STEP },
};

/* What a dict says of how far the training was. */
static void counts(struct runs_making *m, const struct torch_object *o, uint32_t dict)
{
	for (size_t i = 0; i < sizeof count_keys / sizeof count_keys[0]; i++) {
		int64_t *to = count_keys[i].counter == RUNS_COUNT_TASK    ? &m->fact.experience
			      : count_keys[i].counter == RUNS_COUNT_EPOCH ? &m->fact.epoch
									  : &m->fact.step;
		uint32_t ref = *to == RUNS_NONE ? torch_lookup(o, dict, count_keys[i].key) : PICKLE_NIL;
		int64_t v;

		if (ref != PICKLE_NIL && torch_kind_of(o, ref) == TORCH_IS_INT &&
				pickle_int(torch_graph(o), ref, &v) && v >= 0)
			*to = v;
	}
}

static int set_text(struct runs_making *m, const char **to, const struct torch_object *o, uint32_t ref)
{
	size_t len;
	const char *text = ref != PICKLE_NIL && torch_kind_of(o, ref) == TORCH_IS_STR
					   ? pickle_text(torch_graph(o), ref, &len)
					   : NULL;

	if (text == NULL || len == 0 || (*to)[0] != 0)
		return 0;
	*to = runs_text(m->arena, text, len);
	return *to != NULL ? 1 : -ENOMEM;
}

/* A pointer to the best in a dict: of Lightning's ModelCheckpoint, of mmengine's hub. */
static int pointer(struct runs_making *m, const struct torch_file *f, struct runs_reader *r, uint32_t dict)
{
	static const char *const key[] = { "best_model_path", "best_model_checkpoint", "best_ckpt",
		"best_ckpt_path", "best_checkpoint" };
	static const char *const value[] = { "best_model_score", "best_metric", "best_score" };
	const struct torch_object *o = torch_file_object(f);
	const char *monitor = "";
	double now;
	int rc = 0;

	for (size_t i = 0; i < sizeof key / sizeof key[0] && rc == 0; i++) {
		rc = set_text(m, &m->fact.best, o, torch_lookup(o, dict, key[i]));
		if (rc == 1)
			m->fact.best_key = key[i];
	}
	for (size_t i = 0; rc == 1 && i < sizeof value / sizeof value[0]; i++) {
		uint32_t ref = torch_lookup(o, dict, value[i]);

		if (ref != PICKLE_NIL && runs_number(f, r, ref, &now))
			m->fact.best_value = now;
	}
	if (rc >= 0 && set_text(m, &monitor, o, torch_lookup(o, dict, "monitor")) == 1 &&
			has(o, dict, "current_score") &&
			runs_number(f, r, torch_lookup(o, dict, "current_score"), &now))
		rc = runs_add_scalar(m, monitor, now);
	return rc < 0 ? rc : 0;
}

/* Pointers in a value and in the dicts right below it. */
static int best(struct runs_making *m, const struct torch_file *f, struct runs_reader *r, uint32_t ref)
{
	const struct torch_object *o = torch_file_object(f);
	struct torch_iter it;
	struct torch_item item;
	size_t n = 0;
	int rc;

	if (torch_kind_of(o, ref) != TORCH_IS_DICT)
		return 0;
	rc = pointer(m, f, r, ref);
	torch_iter_init(o, ref, &it);
	while (rc == 0 && n++ < LOOK && torch_iter_next(&it, &item))
		if (item.relation == TORCH_KEY && torch_kind_of(o, item.value) == TORCH_IS_DICT)
			rc = pointer(m, f, r, item.value);
	return rc;
}

/*
 * ---- components
 * ------------------------------------------------------------------------------------------------------
 */

int runs_lay(struct runs_making *m, const struct torch_file *f, struct runs_reader *r, enum runs_component c,
		enum runs_how how, const char *from, const uint32_t *ref, size_t refs)
{
	char name[32];
	struct runs_part p = { .component = (uint8_t)c,
		.how = (uint8_t)how,
		.from = from,
		.name = name,
		.refs = (uint32_t)refs,
		.ref = (uint32_t *)(uintptr_t)ref };
	struct bridge_layout *l;
	int rc;

	snprintf(name, sizeof name, "%s.%s", runs_component_name(c), how == RUNS_TEXT ? "json" : "pt");
	rc = runs_part_layout(f, &p, r, &l);
	if (rc < 0) /* it can't be told apart from the rest: -ENOTSUP, or its text is too long */
		return rc == -ENOTSUP || rc == -EFBIG || rc == -EINVAL ? 0 : rc;
	p.size = bridge_layout_size(l);
	bridge_layout_free(l);
	rc = runs_add_part(m, &p);
	return rc < 0 ? rc : 1;
}

struct bin {
	uint32_t *ref; /* key, value */
	size_t refs, cap;
	const char *from;
};

static int bin_add(struct bin *b, uint32_t key, uint32_t value)
{
	int rc;

	if (b->refs >= RUNS_REFS_MAX)
		return 0;
	rc = runs_grow(&b->ref, b->refs + 1, &b->cap, sizeof *b->ref);
	if (rc < 0)
		return rc;
	b->ref[b->refs++] = key;
	b->ref[b->refs++] = value;
	return 0;
}

static const char *key_text(struct runs_making *m, const struct pickle *g, uint32_t key)
{
	size_t len;
	const char *p = pickle_text(g, key, &len);

	return p != NULL ? runs_text(m->arena, p, len < 200 ? len : 200) : "";
}

/* Lays out one component; what can't be goes to `other`. */
static int lay_bin(struct runs_making *m, const struct torch_file *f, struct runs_reader *r, int c,
		struct bin *b, struct bin *other)
{
	const struct torch_object *o = torch_file_object(f);
	const char *from = b->refs == 2 ? key_text(m, torch_file_graph(f), b->ref[0]) : "";
	enum torch_kind kind;
	int rc;

	if (b->refs == 0 || from == NULL)
		return b->refs == 0 ? 0 : -ENOMEM;
	kind = torch_kind_of(o, b->ref[1]);
	if (c == RUNS_METRICS || c == RUNS_ARGS) {
		bool alone = b->refs == 2 &&
			     (kind == TORCH_IS_DICT || kind == TORCH_IS_OBJECT ||
					     (kind >= TORCH_IS_LIST && kind <= TORCH_IS_TUPLE));

		rc = runs_lay(m, f, r, (enum runs_component)c, RUNS_TEXT, from, b->ref + alone,
				alone ? 1 : b->refs);
	} else if (c == RUNS_MODEL && b->refs == 2 && runs_is_module(o, b->ref[1])) {
		rc = runs_lay(m, f, r, RUNS_MODEL, RUNS_MODULE, from, &b->ref[1], 1);
	} else if (b->refs == 2 && c != RUNS_OTHER) {
		rc = runs_lay(m, f, r, (enum runs_component)c, RUNS_PART, from, &b->ref[1], 1);
	} else {
		rc = runs_lay(m, f, r, (enum runs_component)c, RUNS_PAIRS, from, b->ref, b->refs);
	}
	for (size_t i = 0; rc == 0 && other != NULL && i < b->refs; i += 2) {
		rc = bin_add(other, b->ref[i], b->ref[i + 1]);
		if (rc < 0)
			return rc;
	}
	return rc < 0 ? rc : 0;
}

static int metrics(
		struct runs_making *m, const struct torch_file *f, struct runs_reader *r, const struct bin *b)
{
	const struct torch_object *o = torch_file_object(f);

	for (size_t i = 0; i < b->refs; i += 2) {
		const char *name = key_text(m, torch_file_graph(f), b->ref[i]);
		enum torch_kind kind = torch_kind_of(o, b->ref[i + 1]);
		double v;
		int rc = name == NULL ? -ENOMEM : best(m, f, r, b->ref[i + 1]);

		if (rc < 0)
			return rc;
		if (strncmp(name, "best", 4) == 0) {
			/* Of the whole training up to here. */
			if (m->fact.best_key[0] == 0 && runs_number(f, r, b->ref[i + 1], &v)) {
				m->fact.best_key = name;
				m->fact.best_value = v;
				rc = runs_add_scalar(m, name, v);
				if (rc < 0)
					return rc;
			} else if (m->fact.best[0] == 0 &&
					set_text(m, &m->fact.best, o, b->ref[i + 1]) == 1) {
				m->fact.best_key = name;
			}
			continue;
		}
		if (strcmp(name, "callbacks") == 0 || strcmp(name, "message_hub") == 0)
			continue;
		/* Dicts that are called metrics, history, .. say nothing by that. */
		rc = runs_collect(m, f, r, b->ref[i + 1], kind == TORCH_IS_DICT ? "" : name);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Mammoth's [accuracies, accuracies within the task, logger]: row t after task t. */
static int mammoth(struct runs_making *m, const struct torch_file *f, struct runs_reader *r, uint32_t results)
{
	static const char *const name[] = { "accuracy", "accuracy_task_il" };
	const struct torch_object *o = torch_file_object(f);
	struct torch_iter it;
	struct torch_item item;
	int rc = 0;

	torch_iter_init(o, results, &it);
	for (size_t i = 0; i < 2 && rc == 0 && torch_iter_next(&it, &item); i++) {
		struct torch_iter rows;
		struct torch_item row;
		int64_t n = 0;

		if (torch_kind_of(o, item.value) != TORCH_IS_LIST)
			break;
		rc = runs_collect(m, f, r, item.value, name[i]);
		for (torch_iter_init(o, item.value, &rows); i == 0 && torch_iter_next(&rows, &row);)
			n++;
		if (i == 0 && n > 0 && m->fact.experience == RUNS_NONE)
			m->fact.experience = n - 1;
	}
	return rc;
}

static int framework_of(const struct torch_object *o, uint32_t root)
{
	static const struct {
		const char *key[3]; /* all that are there */
		int8_t framework;
	} rule[] = {
		{ { "strategy", "exp_counter", NULL }, RUNS_AVALANCHE },
		{ { "strategy", "rng_manager", NULL }, RUNS_AVALANCHE },
		{ { "pytorch-lightning_version", "state_dict", NULL }, RUNS_LIGHTNING },
		{ { "iter_num", "model_args", "model" }, RUNS_NANOGPT },
		{ { "ds_version", NULL, NULL }, RUNS_DEEPSPEED },
		{ { "ds_config", "module", NULL }, RUNS_DEEPSPEED },
		{ { "checkpoint_version", "iteration", "model" }, RUNS_MEGATRON },
		{ { "extra_state", "optimizer_history", "model" }, RUNS_FAIRSEQ },
		{ { "meta", "message_hub", "state_dict" }, RUNS_MMENGINE },
		{ { "meta", "param_schedulers", "state_dict" }, RUNS_MMENGINE },
		{ { "arch", "state_dict", "amp_scaler" }, RUNS_TIMM },
		{ { "arch", "state_dict", "version" }, RUNS_TIMM },
		{ { "arch", "state_dict", "metric" }, RUNS_TIMM },
		{ { "args", "results", "model" }, RUNS_MAMMOTH },
	};

	for (size_t i = 0; i < sizeof rule / sizeof rule[0]; i++) {
		size_t k = 0;

		while (k < 3 && rule[i].key[k] != NULL && has(o, root, rule[i].key[k]))
			k++;
		if (k == 3 || rule[i].key[k] == NULL)
			return rule[i].framework;
	}
	return -1;
}

static int sort_out(struct runs_making *m, const struct torch_file *f, uint32_t root, struct bin *bin)
{
	const struct torch_object *o = torch_file_object(f);
	struct torch_iter it;
	struct torch_item item;
	bool known = false, model = false;
	uint32_t nested;
	int rc = 0;

	torch_iter_init(o, root, &it);
	while (torch_iter_next(&it, &item) && rc == 0) {
		const char *key;
		size_t len = 0;
		int c = RUNS_OTHER;

		if (item.relation != TORCH_KEY)
			continue;
		key = torch_kind_of(o, item.key) == TORCH_IS_STR
				      ? pickle_text(torch_file_graph(f), item.key, &len)
				      : NULL;
		if (key != NULL)
			c = component_of(o, key, len, item.value);
		known |= c != RUNS_OTHER;
		/* One model is model.pt; an averaged one beside it is something else. */
		if (c == RUNS_MODEL && model)
			c = RUNS_OTHER;
		model |= c == RUNS_MODEL;
		rc = bin_add(&bin[c], item.key, item.value);
	}
	if (rc < 0 || model)
		goto end;
	/*
	 * No key that names one: state dicts under keys of their own (generator, discriminator, ..) are the
	 * model.
	 */
	for (size_t i = 0, keep = 0, n = bin[RUNS_OTHER].refs; known && i < n && rc == 0; i += 2) {
		uint32_t *ref = bin[RUNS_OTHER].ref;

		if (is_model(o, ref[i + 1])) {
			rc = bin_add(&bin[RUNS_MODEL], ref[i], ref[i + 1]);
		} else {
			ref[keep++] = ref[i];
			ref[keep++] = ref[i + 1];
		}
		bin[RUNS_OTHER].refs = i + 2 >= n ? keep : n;
	}
end:
	if (rc < 0)
		return rc;
	m->fact.kind = known ? RUNS_IS_CHECKPOINT : RUNS_IS_DATA;
	counts(m, o, root);
	nested = torch_lookup(o, root, "meta");
	if (nested != PICKLE_NIL)
		counts(m, o, nested);
	nested = torch_lookup(o, root, "extra_state");
	nested = nested != PICKLE_NIL ? torch_lookup(o, nested, "train_iterator") : PICKLE_NIL;
	if (nested != PICKLE_NIL)
		counts(m, o, nested);
	return 0;
}

static int checkpoint(struct runs_making *m, const struct torch_file *f, struct runs_reader *r, uint32_t root)
{
	const struct torch_object *o = torch_file_object(f);
	struct bin bin[RUNS_COMPONENTS] = { { 0 } };
	uint32_t results;
	int rc = sort_out(m, f, root, bin);

	if (rc == 0 && m->fact.kind == RUNS_IS_CHECKPOINT) {
		m->fact.framework = (int8_t)framework_of(o, root);
		results = m->fact.framework == RUNS_MAMMOTH ? torch_lookup(o, root, "results") : PICKLE_NIL;
		if (results != PICKLE_NIL)
			rc = mammoth(m, f, r, results);
		else
			rc = metrics(m, f, r, &bin[RUNS_METRICS]);
		if (bin[RUNS_MODEL].refs == 2)
			m->fact.shape = runs_model_shape(f, bin[RUNS_MODEL].ref[1]);
		for (int c = 0; c < RUNS_OTHER && rc == 0; c++)
			rc = lay_bin(m, f, r, c, &bin[c], &bin[RUNS_OTHER]);
		if (rc == 0)
			rc = lay_bin(m, f, r, RUNS_OTHER, &bin[RUNS_OTHER], NULL);
	}
	for (int c = 0; c < RUNS_COMPONENTS; c++)
		free(bin[c].ref);
	return rc;
}

int runs_facts_torch(struct runs_making *m, const struct torch_file *f, struct runs_reader *r,
		const struct runs_name *n)
{
	const struct torch_object *o = torch_file_object(f);
	uint32_t root = pickle_root(torch_file_graph(f));
	enum torch_kind kind = torch_kind_of(o, root);
	int rc;

	m->fact.kind = RUNS_IS_DATA;
	/* Arguments and metrics that are a file of their own: as JSON. */
	if (n->role == RUNS_COMPONENT && (n->component == RUNS_ARGS || n->component == RUNS_METRICS)) {
		rc = runs_lay(m, f, r, (enum runs_component)n->component, RUNS_TEXT, "", &root, 1);
		if (rc >= 0 && n->component == RUNS_METRICS)
			rc = runs_collect(m, f, r, root, kind == TORCH_IS_DICT ? "" : "metric");
		return rc < 0 ? rc : 0;
	}
	if (kind == TORCH_IS_DICT && torch_lookup(o, root, "strategy") != PICKLE_NIL &&
			framework_of(o, root) == RUNS_AVALANCHE) {
		counts(m, o, root);
		return runs_facts_avalanche(m, f, r, root);
	}
	if (runs_is_module(o, root)) {
		m->fact.kind = RUNS_IS_MODEL;
		m->fact.shape = runs_model_shape(f, root);
		rc = runs_lay(m, f, r, RUNS_MODEL, RUNS_MODULE, "", &root, 1);
		return rc < 0 ? rc : 0;
	}
	if (runs_is_state_dict(o, root) && !is_optimizer(o, root)) {
		m->fact.kind = RUNS_IS_MODEL;
		m->fact.shape = runs_model_shape(f, root);
		return 0;
	}
	if (kind == TORCH_IS_DICT && n->role != RUNS_COMPONENT)
		return checkpoint(m, f, r, root);
	/* What is called model.pt and holds a whole checkpoint. */
	if (kind == TORCH_IS_DICT && n->component == RUNS_MODEL)
		return checkpoint(m, f, r, root);
	return 0;
}
