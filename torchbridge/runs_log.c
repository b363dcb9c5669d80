/*
 * runs_log.c: metrics in files of text.
 *
 *   trainer_state.json   Transformers: log_history, best_metric, best_model_checkpoint (transformers/trainer_callback.py)
 *   metrics.json         of a loop: numbers, lists, matrices, nested in objects, as in checkpoints (runs_collect.c)
 *   metrics.csv          Lightning's CSVLogger: epoch, step and a column a metric; cells may be empty
 */
#include "runs_internal.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

enum { PATH_LEN = 200, DEPTH = 6, ROWS_MAX = RUNS_MATRIX_MAX, COLUMNS_MAX = 256 };

static int set_best(struct runs_making *m, json_t *root)
{
	json_t *path = json_object_get(root, "best_model_checkpoint"),
	       *value = json_object_get(root, "best_metric");

	if (!json_is_string(path) || json_string_length(path) == 0)
		return 0;
	m->fact.best = runs_text(m->arena, json_string_value(path), json_string_length(path));
	m->fact.best_key = "best_model_checkpoint";
	if (json_is_number(value))
		m->fact.best_value = json_number_value(value);
	return m->fact.best != NULL ? 0 : -ENOMEM;
}

/* A row of log_history: every number in it, at its step. */
static int log_row(struct runs_making *m, json_t *row)
{
	json_t *step = json_object_get(row, "step"), *value;
	const char *key;
	int rc = 0;

	if (!json_is_integer(step))
		return 0;
	json_object_foreach(row, key, value)
	{
		struct runs_record r = { .back = RUNS_NONE,
			.epoch = RUNS_NONE,
			.step = json_integer_value(step),
			.task = RUNS_NONE,
			.value = json_is_number(value) ? json_number_value(value) : (double)NAN };

		if (strcmp(key, "step") == 0 || strcmp(key, "epoch") == 0 || !json_is_number(value) || rc < 0)
			continue;
		rc = runs_add_record(m, key, &r);
	}
	return rc;
}

/* A list of numbers, the last of this experience; or of lists of numbers: 1 when it was taken. */
static int list(struct runs_making *m, const char *name, json_t *v)
{
	size_t rows = json_array_size(v), stride = 0, *width;
	double *all;
	int rc = 0;

	if (rows == 0)
		return 0;
	if (json_is_number(json_array_get(v, 0))) {
		for (size_t i = 0; i < rows && rc == 0; i++) {
			json_t *x = json_array_get(v, i);
			struct runs_record r = { .back = (int64_t)(rows - 1 - i),
				.epoch = RUNS_NONE,
				.step = RUNS_NONE,
				.task = RUNS_NONE,
				.value = json_is_number(x) ? json_number_value(x) : (double)NAN };

			if (json_is_number(x))
				rc = runs_add_record(m, name, &r);
		}
		return rc < 0 ? rc : 1;
	}
	if (rows > ROWS_MAX)
		return 0;
	for (size_t i = 0; i < rows; i++) {
		json_t *row = json_array_get(v, i);

		if (!json_is_array(row) || json_array_size(row) == 0 || json_array_size(row) > ROWS_MAX)
			return 0;
		stride = json_array_size(row) > stride ? json_array_size(row) : stride;
	}
	width = calloc(rows, sizeof *width);
	all = calloc(rows * stride, sizeof *all);
	if (width == NULL || all == NULL)
		rc = ckpt_fail(ENOMEM, "out of memory for a matrix");
	for (size_t i = 0; i < rows && rc == 0; i++) {
		json_t *row = json_array_get(v, i);

		for (size_t k = 0; k < json_array_size(row); k++) {
			json_t *x = json_array_get(row, k);

			all[i * stride + k] = json_is_number(x) ? json_number_value(x) : (double)NAN;
		}
		width[i] = json_array_size(row);
	}
	if (rc == 0)
		rc = runs_add_matrix(m, name, all, rows, width, stride);
	free(width);
	free(all);
	return rc < 0 ? rc : 1;
}

struct level {
	json_t *object;
	void *at;
	size_t len;
};

/* Numbers and lists in objects in objects, by their path. */
static int collect(struct runs_making *m, json_t *root)
{
	struct level stack[DEPTH] = { { root, json_object_iter(root), 0 } };
	char path[PATH_LEN + 1] = "";
	size_t depth = 1;
	int rc = 0;

	while (depth > 0 && rc >= 0) {
		struct level *l = &stack[depth - 1];
		const char *key;
		json_t *v;
		size_t n;

		if (l->at == NULL) {
			depth--;
			continue;
		}
		key = json_object_iter_key(l->at);
		v = json_object_iter_value(l->at);
		l->at = json_object_iter_next(l->object, l->at);
		n = strlen(key);
		if (n == 0 || l->len + n + 2 > sizeof path)
			continue;
		memcpy(path + l->len, "/", 1);
		memcpy(path + l->len + (l->len > 0), key, n + 1);
		if (json_is_number(v) || json_is_boolean(v))
			rc = runs_add_scalar(
					m, path, json_is_number(v) ? json_number_value(v) : json_is_true(v));
		else if (json_is_array(v))
			rc = list(m, path, v);
		else if (json_is_object(v) && depth < DEPTH)
			stack[depth++] = (struct level){ v, json_object_iter(v), strlen(path) };
	}
	return rc < 0 ? rc : 0;
}

static void count(struct runs_making *m, json_t *root, const char *key, int64_t *to)
{
	json_t *v = json_object_get(root, key);

	(void)m;
	if (*to == RUNS_NONE && json_is_integer(v) && json_integer_value(v) >= 0)
		*to = json_integer_value(v);
}

int runs_facts_json(struct runs_making *m, const char *name, const char *text, size_t len)
{
	bool trainer = strcmp(name, "trainer_state.json") == 0;
	json_error_t e;
	json_t *root = json_loadb(text, len, JSON_ALLOW_NUL, &e), *log, *row;
	size_t i;
	int rc = 0;

	if (root == NULL) {
		m->fact.state = RUNS_TORN;
		m->fact.why = "no JSON: it is cut off, or damaged";
		return 0;
	}
	if (json_is_object(root)) {
		count(m, root, "global_step", &m->fact.step);
		count(m, root, "step", &m->fact.step);
		count(m, root, "experience", &m->fact.experience);
		count(m, root, "task", &m->fact.experience);
		count(m, root, "epoch", &m->fact.epoch);
		rc = set_best(m, root);
		log = json_object_get(root, "log_history");
		if (trainer && rc == 0) {
			m->fact.framework = RUNS_TRANSFORMERS;
			json_array_foreach(log, i, row) rc = rc < 0 ? rc : log_row(m, row);
		} else if (rc == 0 && (strncmp(name, "metrics", 7) == 0 || strncmp(name, "results", 7) == 0 ||
						      strncmp(name, "history", 7) == 0 ||
						      strncmp(name, "eval", 4) == 0)) {
			rc = collect(m, root);
		}
	}
	json_decref(root);
	return rc;
}

/*
 * ---- CSV
 * -----------------------------------------------------------------------------------------------------------
 */

/* The next cell of a line: ends at ',' or the line's end; quotes are taken off. Moves *p behind it. */
static size_t cell(const char **p, const char *end, char *out, size_t room)
{
	bool quoted = false;
	size_t n = 0;

	for (; *p < end && **p != '\n' && (quoted || **p != ','); (*p)++) {
		if (**p == '"')
			quoted = !quoted;
		else if (**p != '\r' && n + 1 < room)
			out[n++] = **p;
	}
	out[n] = 0;
	return n;
}

static int columns(const char **p, const char *end, char (*name)[64])
{
	int n = 0;

	while (*p < end && **p != '\n' && n < COLUMNS_MAX) {
		cell(p, end, name[n++], sizeof name[0]);
		if (*p < end && **p == ',')
			(*p)++;
	}
	while (*p < end && **p != '\n')
		(*p)++;
	return n;
}

int runs_facts_csv(struct runs_making *m, const char *text, size_t len)
{
	const char *p = text, *end = text + len;
	char(*name)[64] = calloc(COLUMNS_MAX, sizeof *name), value[64];
	int n, epoch = -1, step = -1, rc = 0;

	if (name == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a table");
	n = columns(&p, end, name);
	for (int i = 0; i < n; i++) {
		epoch = strcmp(name[i], "epoch") == 0 ? i : epoch;
		step = strcmp(name[i], "step") == 0 ? i : step;
	}
	while (p < end && rc == 0 && (epoch >= 0 || step >= 0)) {
		double v[COLUMNS_MAX];
		struct runs_record r = { .back = RUNS_NONE, .task = RUNS_NONE };

		p++; /* the newline */
		for (int i = 0; i < n; i++) {
			size_t k = cell(&p, end, value, sizeof value);
			char *rest;

			v[i] = k > 0 ? strtod(value, &rest) : (double)NAN;
			if (k > 0 && *rest != 0)
				v[i] = (double)NAN;
			if (p < end && *p == ',')
				p++;
		}
		while (p < end && *p != '\n')
			p++;
		r.epoch = epoch >= 0 && v[epoch] >= 0 && v[epoch] < 1e15 ? (int64_t)v[epoch] : RUNS_NONE;
		r.step = step >= 0 && v[step] >= 0 && v[step] < 1e15 ? (int64_t)v[step] : RUNS_NONE;
		for (int i = 0; i < n && rc == 0; i++) {
			if (i == epoch || i == step || !isfinite(v[i]))
				continue;
			r.value = v[i];
			rc = runs_add_record(m, name[i], &r);
		}
	}
	free(name);
	return rc;
}
