/*
 * runs_zip.c: Stable-Baselines3: a zip of torch files.
 *
 *   data  policy.pth  policy.optimizer.pth  pytorch_variables.pth  system_info.txt      stable_baselines3/common/save_util.py
 *
 * The members are stored, so each is a range of the file.
 */
#include "runs_internal.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

static const struct {
	const char *member, *name;
	uint8_t component;
} members[] = {
	{ "policy.pth", "model.pt", RUNS_MODEL },
	{ "policy.optimizer.pth", "optimizer.pt", RUNS_OPTIMIZER },
	{ "data", "args.json", RUNS_ARGS },
	{ "pytorch_variables.pth", "other.pt", RUNS_OTHER },
};

/* num_timesteps in the JSON that SB3 keeps of the algorithm. */
static int steps(struct runs_making *m, struct runs_reader *r, uint64_t off, uint64_t len)
{
	json_error_t e;
	json_t *root, *v;
	char *text;

	if (len > RUNS_TEXT_MAX)
		return 0;
	text = malloc((size_t)len + 1);
	if (text == NULL)
		return ckpt_fail(ENOMEM, "out of memory for \"data\"");
	if (zip_read_full(runs_read, r, off, text, (size_t)len) < 0) {
		free(text);
		return 0;
	}
	root = json_loadb(text, (size_t)len, JSON_ALLOW_NUL, &e);
	v = json_object_get(root, "num_timesteps");
	if (json_is_integer(v) && json_integer_value(v) >= 0)
		m->fact.step = json_integer_value(v);
	json_decref(root);
	free(text);
	return 0;
}

int runs_facts_zip(struct runs_making *m, struct runs_reader *r, uint64_t size)
{
	struct zip *z;
	int rc = zip_open(runs_read, r, size, 16 << 20, &z);

	if (rc < 0)
		return rc;
	if (zip_find(z, "policy.pth", 10) == NULL)
		goto done;
	m->fact.state = RUNS_READABLE;
	m->fact.kind = RUNS_IS_CHECKPOINT;
	m->fact.framework = RUNS_SB3;
	for (size_t i = 0; i < sizeof members / sizeof members[0] && rc == 0; i++) {
		const struct zip_entry *e = zip_find(z, members[i].member, strlen(members[i].member));
		uint32_t ref[4];
		struct runs_part p = { .component = members[i].component,
			.how = RUNS_RANGE,
			.from = members[i].member,
			.name = members[i].name,
			.refs = 4,
			.ref = ref };
		uint64_t off;

		if (e == NULL || e->method != ZIP_STORED || e->size == 0)
			continue;
		rc = zip_data(z, e, runs_read, r, &off);
		if (rc < 0)
			break;
		ref[0] = (uint32_t)off;
		ref[1] = (uint32_t)(off >> 32);
		ref[2] = (uint32_t)e->size;
		ref[3] = (uint32_t)(e->size >> 32);
		p.size = e->size;
		rc = runs_add_part(m, &p);
		if (rc == 0 && members[i].component == RUNS_ARGS)
			rc = steps(m, r, off, e->size);
	}
done:
	zip_free(z);
	return rc;
}
