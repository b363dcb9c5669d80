/*
 * test_bridge_runs.c: trees of small files written here, as each framework lays them out: which runs,
 * experiences and components they are, what is latest and best, what components hold, and what a second scan
 * costs.
 */
#include "bridge_data.h"

#include "runs_tree.h"
#include "torchbridge/runs_internal.h"

/*
 * A state dict of one tensor "w" of storage `key`; under keys of a checkpoint; numbers and texts beside it.
 */
#define K(n, s) STR(n, s)
#define STATE(key) "}(" K("\1", "w") VECTOR(PID(FLOAT, key, "K\4"), "K\4") "u"
#define OPTIM "}(" K("\5", "state") "}" K("\14", "param_groups") "]u"
/* A float 0.5, 0.25, .. by its first two bytes. */
#define FLOATS(a, b) "G" a b "\0\0\0\0\0\0"
#define HALF_ONE FLOATS("\x3f", "\xe0")       /* 0.5 */
#define THREE_QUARTERS FLOATS("\x3f", "\xe8") /* 0.75 */

#define BARE P2 STATE("0") "."
#define EPOCH(n) P2 "}(" K("\5", "epoch") "K" n K("\5", "model") STATE("0") K("\11", "optimizer") OPTIM "u."
#define WITH(more) P2 "}(" K("\5", "model") STATE("0") more "u."

/* Names of the components of an experience, joined; "!" behind it when it is torn, "-" when there is none. */
static void components(const struct bridge_runs *r, const char *run, const char *experience, const char *want)
{
	size_t i = run_of(r, run);
	int64_t e = bridge_runs_find_experience(r, i, experience);
	char text[1024] = "-";

	if (e >= 0) {
		text[0] = 0;
		for (size_t k = 0; k < bridge_runs_experience(r, i, (size_t)e)->components; k++) {
			const struct bridge_component *c = bridge_runs_component_at(r, i, (size_t)e, k);

			snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", k > 0 ? " " : "",
					c->name);
			assert_int_equal(bridge_runs_find_component(r, i, (size_t)e, c->name), k);
		}
		if (bridge_runs_experience(r, i, (size_t)e)->torn)
			strcat(text, "!");
	}
	if (strcmp(text, want) != 0)
		fail_msg("%s/%s: \"%s\", wanted \"%s\"", run, experience, text, want);
}

/* "framework experiences latest best". */
static void summary(const struct bridge_runs *r, const char *run, const char *want)
{
	size_t i = run_of(r, run);
	const struct bridge_run *x = bridge_runs_at(r, i);
	char text[1024];

	snprintf(text, sizeof text, "%s", x->framework);
	for (size_t k = 0; k < x->experiences; k++)
		snprintf(text + strlen(text), sizeof text - strlen(text), " %s",
				bridge_runs_experience(r, i, k)->name);
	snprintf(text + strlen(text), sizeof text - strlen(text), " latest=%s best=%s",
			x->latest < 0 ? "-" : bridge_runs_experience(r, i, (size_t)x->latest)->name,
			x->best < 0 ? "-" : bridge_runs_experience(r, i, (size_t)x->best)->name);
	if (strcmp(text, want) != 0)
		fail_msg("%s: \"%s\", wanted \"%s\"", run, text, want);
	assert_true((x->best < 0) == (x->best_by == NULL));
}

static void content(const struct bridge_runs *r, const char *run, const char *experience,
		const char *component, struct byte_buf *out)
{
	struct host_component c = { r, &host, run_of(r, run), 0, 0 };
	int64_t e = bridge_runs_find_experience(r, c.run, experience), k, n;
	uint8_t *p = NULL;

	assert_true(e >= 0);
	k = bridge_runs_find_component(r, c.run, (size_t)e, component);
	assert_true(k >= 0);
	c.experience = (size_t)e;
	c.component = (size_t)k;
	n = host_component_bytes(&c, &p);
	if (n < 0)
		fail_msg("%s: %s", component, ckpt_errmsg());
	assert_int_equal(n, bridge_runs_component_at(r, c.run, c.experience, c.component)->size);
	out->len = 0;
	assert_int_equal(byte_buf_put(out, p, (size_t)n), 0);
	free(p);
}

/*
 * ---- layouts
 * -----------------------------------------------------------------------------------------------------
 */

static void a_loop(void **state)
{
	struct byte_buf b = { 0 };
	struct bridge_runs *r;
	struct bridge_doc *d;

	(void)state;
	put_torch("loop/epoch-1.pth", DATA(EPOCH("\1")), 1);
	put_torch("loop/epoch-2.pth", DATA(EPOCH("\2")), 2);
	put_torch("loop/epoch-10.pth", DATA(EPOCH("\n")), 3);
	put_torch("loop/best_model.pth", DATA(BARE), 2);
	put("loop/epoch-11.pth", "PK\3\4", 4);
	put("loop/epoch-12.pth", "", 0);
	put("loop/notes.md", "x", 1);
	put("loop/pictures/3/a.png", "x", 1);
	r = scan();
	assert_int_equal(bridge_runs_count(r), 1);
	summary(r, "loop", "PyTorch 1 2 10 11 12 latest=10 best=2");
	components(r, "loop", "2", "model.pt optimizer.pt other.pt");
	components(r, "loop", "11", "epoch-11.pth!");
	components(r, "loop", "3", "-");
	components(r, "loop", "02", "-");
	assert_int_equal(bridge_runs_find(r, "loo"), -1);
	/* The model is a torch file of the state dict and nothing else. */
	content(r, "loop", "2", "model.pt", &b);
	d = data_open(&b);
	assert_int_equal(torch_storages(torch_file_object(bridge_doc_torch(d))), 1);
	assert_true(torch_lookup(torch_file_object(bridge_doc_torch(d)),
				    pickle_root(torch_file_graph(bridge_doc_torch(d))), "w") != PICKLE_NIL);
	bridge_doc_free(d);
	byte_buf_release(&b);
	bridge_runs_free(r);
}

static void names(void **state)
{
	static const struct {
		const char *name;
		int64_t number, step;
		const char *stem, *flags; /* b: best, l: last, a: aside; c: a component */
	} cases[] = {
		{ "epoch-3.pth", 3, RUNS_NONE, "", "" },
		{ "epoch=3-step=40-val_loss=0.25.ckpt", 3, 40, "", "" },
		{ "epoch=3-step=40-v1.ckpt", 3, 40, "", "a" },
		{ "resnet50_epoch_7.pt", 7, RUNS_NONE, "resnet50", "" },
		{ "resnet50.pt", RUNS_NONE, RUNS_NONE, "resnet50", "" },
		{ "model_0012.pt", 12, RUNS_NONE, "", "" },
		{ "ckpt.pt", RUNS_NONE, RUNS_NONE, "", "" },
		{ "best_model.pth", RUNS_NONE, RUNS_NONE, "", "b" },
		{ "model_best.pth.tar", RUNS_NONE, RUNS_NONE, "", "b" },
		{ "best_coco_bbox_mAP_epoch_12.pth", 12, RUNS_NONE, "", "b" },
		{ "last.ckpt", RUNS_NONE, RUNS_NONE, "", "l" },
		{ "checkpoint-5.pth.tar", 5, RUNS_NONE, "", "" },
		{ "recovery-5-100.pth.tar", 100, RUNS_NONE, "recovery-5", "a" },
		{ "checkpoint12.pt", 12, RUNS_NONE, "", "" },
		{ "checkpoint_3_1000.pt", 3, 1000, "", "" },
		{ "checkpoint_last.pt", RUNS_NONE, RUNS_NONE, "", "l" },
		{ "iter_2000.pth", 2000, 2000, "", "" },
		{ "ppo_10000_steps.zip", 10000, 10000, "ppo", "" },
		{ "ppo_replay_buffer_10000_steps.pkl", 10000, 10000, "ppo", "c" },
		{ "rl_model_200_steps.zip", 200, 200, "rl", "" },
		{ "rl_model_replay_buffer_200_steps.pkl", 200, 200, "rl", "c" },
		{ "rl_model_vecnormalize_200_steps.pkl", 200, 200, "rl", "c" },
		{ "model_optim_rng.pt", RUNS_NONE, RUNS_NONE, "model_optim_rng", "" },
		{ "run_20260101-120000.pt", RUNS_NONE, RUNS_NONE, "run_20260101-120000", "" },
		{ "net_99999999999999999999.pt", RUNS_NONE, RUNS_NONE, "net_99999999999999999999", "" },
		{ "er_ace_seq-cifar10_d_200_1_20260101-120000_ab-cd_7.pt", 7, RUNS_NONE,
				"er_ace_seq-cifar10_d_200_1_20260101-120000_ab-cd", "" },
		{ "seq-cifar100_task_3_num_aaT.pt", 3, RUNS_NONE, "seq-cifar100", "c" },
		{ "optimizer.pt", RUNS_NONE, RUNS_NONE, "", "c" },
		{ "-.pt", RUNS_NONE, RUNS_NONE, "", "" },
		{ "=.=_.pt", RUNS_NONE, RUNS_NONE, "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct runs_name n;
		char flags[8];

		runs_name_file(cases[i].name, strlen(cases[i].name), &n);
		snprintf(flags, sizeof flags, "%s%s%s%s", n.best ? "b" : "", n.last ? "l" : "",
				n.aside ? "a" : "", n.role == RUNS_COMPONENT ? "c" : "");
		if (n.number != cases[i].number || n.step != cases[i].step ||
				strcmp(n.stem, cases[i].stem) != 0 || strcmp(flags, cases[i].flags) != 0)
			fail_msg("%s: number %lld, step %lld, stem \"%s\", flags \"%s\"", cases[i].name,
					(long long)n.number, (long long)n.step, n.stem, flags);
	}
	assert_true(runs_name_directory("003", 3, &(struct runs_name){ 0 }));
	assert_true(runs_name_directory("checkpoint-500", 14, &(struct runs_name){ 0 }));
	assert_true(runs_name_directory("global_step100", 14, &(struct runs_name){ 0 }));
	assert_false(runs_name_directory("version_0", 9, &(struct runs_name){ 0 }));
	assert_false(runs_name_directory("seed_3", 6, &(struct runs_name){ 0 }));
	assert_false(runs_name_directory("resnet_epoch_3", 14, &(struct runs_name){ 0 }));
}

static void a_tree(void **state)
{
	struct bridge_runs *r;

	(void)state;
	for (int i = 0; i < 3; i++) {
		char path[64], text[128];

		snprintf(path, sizeof path, "split/%03d/model.pt", i);
		put_torch(path, DATA(BARE), (uint8_t)i);
		if (i < 2) {
			snprintf(path, sizeof path, "split/%03d/optimizer.pt", i);
			put_torch(path, DATA(P2 OPTIM "."), 0);
		}
		snprintf(path, sizeof path, "split/%03d/metrics.json", i);
		snprintf(text, sizeof text,
				"{\"val_acc\": 0.%d, \"acc_matrix\": [[0.9], [0.7, 0.8], [0.6, 0.5, 0.9]]}",
				i == 1 ? 8 : 5);
		put(path, text, strlen(text));
	}
	put("numbers/1/a.png", "x", 1);
	put("numbers/2/train.pt", "x", 1);
	r = scan();
	assert_int_equal(bridge_runs_count(r), 1);
	/* The last lacks the optimizer that the others have: its save was cut short. */
	summary(r, "split", "PyTorch 0 1 2 latest=1 best=1");
	components(r, "split", "0", "model.pt optimizer.pt metrics.json");
	components(r, "split", "2", "model.pt metrics.json!");
	bridge_runs_free(r);
}

/* A link in an experience's directory is one of its files, whatever its name: nothing is hidden by it, or missing. */
static void linked_files(void **state)
{
	struct bridge_runs *r;
	char to[4096];

	(void)state;
	put_torch("shared.pt", DATA(P2 OPTIM "."), 0);
	for (int i = 1; i < 4; i++) {
		char path[64];

		snprintf(path, sizeof path, "exp/%d/model.pt", i);
		put_torch(path, DATA(BARE), (uint8_t)i);
		snprintf(path, sizeof path, i < 3 ? "exp/%d/optimizer.pt" : "exp/%d/aside.pt", i);
		put_torch(path, DATA(P2 OPTIM "."), 0);
	}
	full("exp/2/a_link.pt", to);
	assert_int_equal(symlink("model.pt", to), 0);
	full("exp/3/a_link.pt", to);
	assert_int_equal(symlink("nowhere.pt", to), 0);
	full("exp/3/optimizer.pt", to);
	assert_int_equal(symlink("../../shared.pt", to), 0);
	r = scan();
	summary(r, "exp", "PyTorch 1 2 3 latest=3 best=-");
	components(r, "exp", "2", "model.pt optimizer.pt");
	components(r, "exp", "3", "model.pt aside.pt");
	bridge_runs_free(r);
}

static void forgetting(void **state)
{
	static const char text[] = "{\"acc_matrix\": [[1.0], [0.75, 0.5], [0.5, 0.25, 0.75]]}";
	struct byte_buf b = { 0 };
	struct bridge_runs *r;

	(void)state;
	put_torch("cl/0/model.pt", DATA(BARE), 0);
	put_torch("cl/1/model.pt", DATA(BARE), 1);
	put_torch("cl/2/model.pt", DATA(BARE), 2);
	put("cl/2/metrics.json", text, sizeof text - 1);
	r = scan();
	assert_int_equal(bridge_runs_csv(r, run_of(r, "cl"), &b), 0);
	byte_buf_put(&b, "", 1);
	assert_string_equal((char *)b.p, "experience,acc_matrix/task_0,acc_matrix/task_1,acc_matrix/"
					 "task_2,acc_matrix,forgetting\n"
					 "0,1.0,,,1.0,\n"
					 "1,0.75,0.5,,0.625,0.25\n"
					 "2,0.5,0.25,0.75,0.5,0.375\n");
	byte_buf_release(&b);
	bridge_runs_free(r);
}

/* A list in each experience's metrics.json: a history, or a row of the accuracy matrix. */
static void lists(void **state)
{
	static const struct {
		const char *run, *list[3], *want;
	} cases[] = {
		{ "growing", { "[0.5]", "[0.5, 0.25]", "[0.5, 0.25, 0.75]" },
				"experience,accuracy\n0,0.5\n1,0.25\n2,0.75\n" },
		{ "rows", { "[1.0]", "[0.75, 0.5]", "[0.5, 0.25, 0.75]" },
				"experience,accuracy/task_0,accuracy/task_1,accuracy/task_2,accuracy,forgetting\n"
				"0,1.0,,,1.0,\n"
				"1,0.75,0.5,,0.625,0.25\n"
				"2,0.5,0.25,0.75,0.5,0.375\n" },
		{ "wide", { "[1.0, 0.0, 0.5]", "[0.75, 0.5, 0.25]", "[0.5, 0.25, 0.75]" },
				"experience,accuracy/task_0,accuracy/task_1,accuracy/task_2,accuracy\n"
				"0,1.0,0.0,0.5,0.5\n"
				"1,0.75,0.5,0.25,0.5\n"
				"2,0.5,0.25,0.75,0.5\n" },
		{ "alone", { NULL, NULL, "[0.5, 0.25, 0.75]" },
				"experience,accuracy\n0,0.5\n1,0.25\n2,0.75\n" },
		/* Begun anew; and of something that there were more of than experiences. */
		{ "again", { "[1.0]", "[1.0, 0.5]", "[0.25]" }, "experience,accuracy\n2,0.25\n" },
		{ "long", { "[4.0, 3.0]", "[3.0, 2.0]", "[2.0, 1.5, 1.25, 1.0]" },
				"experience,accuracy\n2,1.0\n" },
	};
	struct bridge_runs *r;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (int k = 0; k < 3; k++) {
			char path[64], text[128];

			snprintf(path, sizeof path, "%s/%d/model.pt", cases[i].run, k);
			put_torch(path, DATA(BARE), (uint8_t)k);
			if (cases[i].list[k] == NULL)
				continue;
			snprintf(path, sizeof path, "%s/%d/metrics.json", cases[i].run, k);
			snprintf(text, sizeof text, "{\"accuracy\": %s}", cases[i].list[k]);
			put(path, text, strlen(text));
		}
	r = scan();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct byte_buf b = { 0 };

		assert_int_equal(bridge_runs_csv(r, run_of(r, cases[i].run), &b), 0);
		byte_buf_put(&b, "", 1);
		assert_string_equal((char *)b.p, cases[i].want);
		byte_buf_release(&b);
	}
	bridge_runs_free(r);
}

#define LIGHTNING(epoch, step)                                                                               \
	P2 "}(" K("\5", "epoch") "K" epoch K("\13", "global_step") "K" step K(                               \
			"\x19", "pytorch-lightning_version") K("\3", "2.6") K("\12", "state_dict")           \
			STATE("0") K("\11", "callbacks") "}" K("\17", "ModelCheckpoint") "}(" K(             \
					"\x0f", "best_model_path") K("\x17", "/w/epoch=1-step=20.ckpt")      \
					K("\7", "monitor") K("\3", "val") K("\x0d", "current_score")         \
							HALF_ONE "usu."

static void lightning(void **state)
{
	struct bridge_runs *r;
	char from[4096];

	(void)state;
	put_torch("p/version_0/checkpoints/epoch=0-step=10.ckpt", DATA(LIGHTNING("\0", "\12")), 0);
	put_torch("p/version_0/checkpoints/epoch=1-step=20.ckpt", DATA(LIGHTNING("\1", "\24")), 1);
	put_torch("p/version_0/checkpoints/last.ckpt", DATA(LIGHTNING("\2", "\36")), 2);
	put("p/version_0/metrics.csv", "epoch,step,val\n0,9,0.25\n1,19,\n1,19,0.75\n", 38);
	put_torch("q/epoch=0-step=10.ckpt", DATA(LIGHTNING("\0", "\12")), 0);
	put_torch("q/epoch=0-step=20.ckpt", DATA(LIGHTNING("\0", "\24")), 1);
	full("q/last.ckpt", from);
	assert_int_equal(symlink("epoch=0-step=20.ckpt", from), 0);
	full("q/loop", from);
	assert_int_equal(symlink(".", from), 0);
	r = scan();
	summary(r, "p/version_0", "Lightning 0 1 2 latest=2 best=1");
	components(r, "p/version_0", "2", "model.pt metrics.json other.pt");
	assert_int_equal(bridge_runs_metrics(r, run_of(r, "p/version_0")), 3);
	assert_float_equal(bridge_runs_metric(r, run_of(r, "p/version_0"), 2)->value, 0.5, 0);
	/* An epoch with several: by step. */
	summary(r, "q", "Lightning 10 20 latest=20 best=-");
	bridge_runs_free(r);
}

static void transformers(void **state)
{
	static const char text[] =
			"{\"best_metric\": 0.5, \"best_model_checkpoint\": \"out/checkpoint-10\", "
			"\"log_history\": "
			"[{\"step\": 5, \"loss\": 1.5, \"epoch\": 0.1}, {\"step\": 10, \"eval_loss\": 0.5}]}";
	static const char safe[] = "\x38\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_"
				   "offsets\":[0,4]}}  abcd";
	struct byte_buf b = { 0 };
	struct bridge_runs *r;

	(void)state;
	for (int i = 10; i <= 30; i += 10) {
		static const char *const file[] = { "optimizer.pt", "scheduler.pt", "rng_state.pth" };
		char path[64];

		snprintf(path, sizeof path, "out/checkpoint-%d/model.safetensors", i);
		put(path, safe, sizeof safe - 1);
		for (size_t k = 0; k < 3; k++) {
			snprintf(path, sizeof path, "out/checkpoint-%d/%s", i, file[k]);
			put_torch(path, DATA(P2 OPTIM "."), 0);
		}
		snprintf(path, sizeof path, "out/checkpoint-%d/config.json", i);
		put(path, "{}", 2);
		snprintf(path, sizeof path, "out/checkpoint-%d/trainer_state.json", i);
		if (i < 30)
			put(path, text, sizeof text - 1);
	}
	r = scan();
	summary(r, "out", "Transformers 10 20 30 latest=20 best=10");
	components(r, "out", "10",
			"model.safetensors optimizer.pt scheduler.pt metrics.json rng.pt config.json");
	assert_int_equal(bridge_runs_csv(r, run_of(r, "out"), &b), 0);
	byte_buf_put(&b, "", 1);
	assert_string_equal((char *)b.p, "step,loss,eval_loss\n5,1.5,\n10,,0.5\n");
	byte_buf_release(&b);
	bridge_runs_free(r);
}

/* Shards that are not all there. */
static void shards(void **state)
{
	struct bridge_runs *r;

	(void)state;
	put_torch("s/1/pytorch_model-00001-of-00002.bin", DATA(BARE), 0);
	put_torch("s/1/pytorch_model-00002-of-00002.bin", DATA(BARE), 1);
	put_torch("s/2/pytorch_model-00001-of-00002.bin", DATA(BARE), 0);
	put_torch("s/3/pytorch_model-00002-of-00002.bin", DATA(BARE), 0);
	put("d/step-1/__0_0.distcp", "x", 1);
	r = scan();
	summary(r, "s", "Transformers 1 2 3 latest=1 best=-");
	components(r, "s", "1", "pytorch_model-00001-of-00002.bin pytorch_model-00002-of-00002.bin");
	summary(r, "d", "DCP 1 latest=- best=-");
	bridge_runs_free(r);
}

/* Several runs in one directory; a run below another; looking up by directory. */
static void directories(void **state)
{
	struct bridge_runs *r;
	size_t first;

	(void)state;
	put_torch("many/vgg_epoch_1.pth", DATA(EPOCH("\1")), 1);
	put_torch("many/res_epoch_1.pth", DATA(EPOCH("\1")), 1);
	put_torch("many/res_epoch_2.pth", DATA(EPOCH("\2")), 2);
	put_torch("many/res_best.pth", DATA(EPOCH("\1")), 1);
	put_torch("many-a/epoch_1.pth", DATA(EPOCH("\1")), 1);
	put_torch("many/res/deep/model.pt", DATA(BARE), 1);
	put_torch("epoch_4.pth", DATA(EPOCH("\4")), 1);
	r = scan();
	assert_int_equal(bridge_runs_count(r), 5);
	summary(r, "many/res", "PyTorch 1 2 latest=2 best=1");
	summary(r, "many/vgg", "PyTorch 1 latest=1 best=-");
	summary(r, "many/res/deep", "PyTorch last latest=last best=-");
	summary(r, "root", "PyTorch 4 latest=4 best=-");
	assert_int_equal(bridge_runs_below(r, "", &first), 5);
	assert_int_equal(bridge_runs_below(r, "many", &first), 3);
	assert_string_equal(bridge_runs_at(r, first)->path, "many/res");
	assert_int_equal(bridge_runs_below(r, "many/res", &first), 2);
	assert_int_equal(bridge_runs_below(r, "man", &first), 0);
	bridge_runs_free(r);
}

/*
 * ---- what it costs, what hurts
 * ---------------------------------------------------------------------------------------
 */

static void second_scan(void **state)
{
	struct bridge_runs *r;
	unsigned docs;

	(void)state;
	put_torch("loop/epoch-1.pth", DATA(EPOCH("\1")), 1);
	put_torch("loop/epoch-2.pth", DATA(EPOCH("\2")), 2);
	put_torch("loop/best.pth", DATA(EPOCH("\1")), 1);
	bridge_runs_free(scan());
	docs = host.docs;
	r = scan();
	assert_int_equal(host.docs, docs);
	summary(r, "loop", "PyTorch 1 2 latest=2 best=1");
	bridge_runs_free(r);
	/* A file that changed is looked at anew, it alone: what it says, and whether the best is its copy. */
	put_torch("loop/epoch-2.pth", DATA(WITH(K("\3", "acc") THREE_QUARTERS)), 2);
	r = scan();
	assert_int_equal(host.docs, docs + 2);
	components(r, "loop", "2", "model.pt metrics.json");
	bridge_runs_free(r);
}

/* Facts that were damaged are found out anew. */
static void damaged_facts(void **state)
{
	struct bridge_runs *r;

	(void)state;
	put_torch("loop/epoch-1.pth", DATA(EPOCH("\1")), 1);
	bridge_runs_free(scan());
	for (size_t cut = 0; cut < host.fact[0].len; cut++) {
		struct runs_arena a = { 0 };
		struct runs_fact f;

		assert_int_equal(runs_fact_read(&a, host.fact[0].p, cut, &f), -EBADMSG);
		runs_arena_release(&a);
	}
	for (size_t i = 0; i < host.facts; i++)
		memset(host.fact[i].p, 0xff, host.fact[i].len);
	r = scan();
	summary(r, "loop", "PyTorch 1 latest=1 best=-");
	bridge_runs_free(r);
}

/* Names and keys that would be markup, and bytes that are no text. */
static void page(void **state)
{
	struct byte_buf b = { 0 };
	struct bridge_runs *r;
	size_t i;

	(void)state;
	put_torch("<b>&\xff\"'/epoch-1.pth",
			DATA(P2 "}(" K("\5", "model") "}(" K("\x08", "<script>") VECTOR(
					PID(FLOAT, "0", "K\4"), "K\4") "u" K("\12", "<img>_loss") HALF_ONE
					"u."),
			1);
	put_torch("<b>&\xff\"'/epoch-2.pth",
			DATA(P2 "}(" K("\5", "model") "}(" K("\x08", "<script>") VECTOR(
					PID(FLOAT, "0", "K\4"), "K\4") "u" K("\12", "<img>_loss")
							THREE_QUARTERS "u."),
			1);
	r = scan();
	i = run_of(r, "<b>&\xff\"'");
	assert_int_equal(bridge_runs_report(r, i, &b), 0);
	assert_true(data_has(&b, "&lt;script&gt;"));
	assert_true(data_has(&b, "&lt;img&gt;_loss"));
	assert_false(data_has(&b, "<script"));
	assert_false(data_has(&b, "<img"));
	assert_false(data_has(&b, "<b>&"));
	assert_false(data_has(&b, "http://") && !data_has(&b, "http://www.w3.org/2000/svg"));
	assert_false(data_has(&b, "https:"));
	b.len = 0;
	assert_int_equal(bridge_runs_svg(r, i, &b), 0);
	assert_true(data_has(&b, "&lt;img&gt;_loss"));
	assert_false(data_has(&b, "<img"));
	assert_null(memchr(b.p, 0xff, b.len));
	byte_buf_release(&b);
	bridge_runs_free(r);
}

/* Files cut at any byte: never a crash, never latest. */
static void cut_files(void **state)
{
	struct byte_buf f = { 0 };
	char path[4096];
	FILE *in;
	int c;

	(void)state;
	put_torch("loop/epoch-1.pth", DATA(EPOCH("\1")), 1);
	put_torch("loop/epoch-2.pth", DATA(EPOCH("\2")), 2);
	full("loop/epoch-2.pth", path);
	in = fopen(path, "r");
	assert_non_null(in);
	while ((c = fgetc(in)) != EOF)
		assert_int_equal(byte_buf_le(&f, (uint64_t)c, 1), 0);
	fclose(in);
	for (size_t cut = 0; cut < f.len; cut += 13) {
		struct bridge_runs *r;

		put("loop/epoch-2.pth", f.p, cut);
		r = scan();
		summary(r, "loop", "PyTorch 1 2 latest=1 best=-");
		bridge_runs_free(r);
	}
	byte_buf_release(&f);
}

/*
 * ----
 * ----------------------------------------------------------------------------------------------------------
 * -------
 */

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(names),
		TEST(a_loop),
		TEST(a_tree),
		TEST(forgetting),
		TEST(linked_files),
		TEST(lists),
		TEST(lightning),
		TEST(transformers),
		TEST(shards),
		TEST(directories),
		TEST(second_scan),
		TEST(damaged_facts),
		TEST(page),
		TEST(cut_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
