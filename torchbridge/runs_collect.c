/*
 * runs_collect.c: metrics inside a value of a checkpoint.
 *
 *   0.93                        a metric of this experience
 *   [0.5, 0.7, 0.93]            one value an experience, the last is this one's
 *   [[0.9], [0.8, 0.9], ...]    an accuracy matrix: row i after experience i, column k on experience k
 *   {"loss": .., "acc": ..}     each by its name, "a/b" where dicts lie in dicts
 *
 * A pair ([x, ...], [value, ...]) is a history, too.
 */
#include "runs_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

enum { NAME_MAX_LEN = 200, NUMBERS_MAX = 1 << 16, MATRIX_MAX = RUNS_MATRIX_MAX, COLLECT_DEPTH = 6 };

bool runs_numbers(
		const struct torch_file *f, struct runs_reader *r, uint32_t ref, double **out, size_t *count)
{
	const struct torch_object *o = torch_file_object(f);
	enum torch_kind kind = torch_kind_of(o, ref);
	struct torch_iter it;
	struct torch_item item;
	size_t n = 0, cap = 0;
	double *v = NULL;

	if (kind != TORCH_IS_LIST && kind != TORCH_IS_TUPLE)
		return false;
	torch_iter_init(o, ref, &it);
	while (torch_iter_next(&it, &item)) {
		if (n >= NUMBERS_MAX || runs_grow(&v, n, &cap, sizeof *v) < 0 ||
				!runs_number(f, r, item.value, &v[n]))
			break;
		n++;
	}
	if (n == 0 || torch_iter_next(&it, &item)) {
		free(v);
		return false;
	}
	*out = v;
	*count = n;
	return true;
}

/* The items of a list or tuple, at most `max`; how many there are. */
static size_t items(const struct torch_object *o, uint32_t ref, uint32_t *out, size_t max)
{
	enum torch_kind kind = torch_kind_of(o, ref);
	struct torch_iter it;
	struct torch_item item;
	size_t n = 0;

	if (kind != TORCH_IS_LIST && kind != TORCH_IS_TUPLE)
		return 0;
	torch_iter_init(o, ref, &it);
	while (n <= max && torch_iter_next(&it, &item)) {
		if (n < max)
			out[n] = item.value;
		n++;
	}
	return n;
}

int runs_add_matrix(struct runs_making *m, const char *name, const double *v, size_t rows,
		const size_t *width, size_t stride)
{
	char text[NAME_MAX_LEN + 32];
	int rc = 0;

	for (size_t k = 0; k < stride && rc == 0; k++)
		for (size_t i = 0; i < rows && rc == 0; i++) {
			struct runs_record record = { .value = v[i * stride + k],
				.back = (int64_t)(rows - 1 - i),
				.epoch = RUNS_NONE,
				.step = RUNS_NONE,
				.task = (int64_t)k };

			if (k >= width[i])
				continue;
			snprintf(text, sizeof text, "%s/task_%zu", name, k);
			rc = runs_add_record(m, text, &record);
		}
	return rc;
}

/* A list of lists of numbers: 1 when it was one, 0, or -ENOMEM. */
static int matrix(struct runs_making *m, const struct torch_file *f, struct runs_reader *r, uint32_t ref,
		const char *name)
{
	const struct torch_object *o = torch_file_object(f);
	uint32_t *row = calloc(MATRIX_MAX, sizeof *row);
	size_t *width = calloc(MATRIX_MAX, sizeof *width);
	double **v = calloc(MATRIX_MAX, sizeof *v), *all = NULL;
	size_t rows, stride = 0, i = 0;
	int rc = 0;

	if (row == NULL || width == NULL || v == NULL) {
		rc = ckpt_fail(ENOMEM, "out of memory for a matrix");
		goto done;
	}
	rows = items(o, ref, row, MATRIX_MAX);
	if (rows == 0 || rows > MATRIX_MAX)
		goto done;
	for (; i < rows && runs_numbers(f, r, row[i], &v[i], &width[i]); i++)
		stride = width[i] > stride ? width[i] : stride;
	if (i < rows || stride > MATRIX_MAX)
		goto done;
	all = calloc(rows * stride, sizeof *all);
	if (all == NULL) {
		rc = ckpt_fail(ENOMEM, "out of memory for a matrix");
		goto done;
	}
	for (size_t k = 0; k < rows; k++)
		memcpy(all + k * stride, v[k], width[k] * sizeof *all);
	rc = runs_add_matrix(m, name, all, rows, width, stride);
	if (rc == 0)
		rc = 1;
done:
	for (size_t k = 0; v != NULL && k < MATRIX_MAX; k++)
		free(v[k]);
	free(v);
	free(all);
	free(row);
	free(width);
	return rc;
}

/* ([x, ...], [value, ...]): one value an experience. */
static int pairs(struct runs_making *m, const struct torch_file *f, struct runs_reader *r, uint32_t ref,
		const char *name)
{
	uint32_t side[2];
	double *x = NULL, *v = NULL;
	size_t n = 0, k = 0;
	int rc = 0;

	if (torch_kind_of(torch_file_object(f), ref) != TORCH_IS_TUPLE ||
			items(torch_file_object(f), ref, side, 2) != 2)
		return 0;
	if (runs_numbers(f, r, side[0], &x, &n) && runs_numbers(f, r, side[1], &v, &k) && n == k) {
		for (size_t i = 0; i < n && rc == 0; i++) {
			struct runs_record record = { .value = v[i],
				.back = (int64_t)(n - 1 - i),
				.epoch = RUNS_NONE,
				.step = RUNS_NONE,
				.task = RUNS_NONE };

			rc = runs_add_record(m, name, &record);
		}
		if (rc == 0)
			rc = 1;
	}
	free(x);
	free(v);
	return rc;
}

/* What is no container of containers: 1 when it was taken. */
static int flat(struct runs_making *m, const struct torch_file *f, struct runs_reader *r, uint32_t ref,
		const char *name)
{
	double *v, one;
	size_t n;
	int rc = 0;

	if (runs_number(f, r, ref, &one)) {
		rc = runs_add_scalar(m, name, one);
		return rc < 0 ? rc : 1;
	}
	if (runs_numbers(f, r, ref, &v, &n)) {
		for (size_t i = 0; i < n && rc == 0; i++) {
			struct runs_record record = { .value = v[i],
				.back = (int64_t)(n - 1 - i),
				.epoch = RUNS_NONE,
				.step = RUNS_NONE,
				.task = RUNS_NONE };

			rc = runs_add_record(m, name, &record);
		}
		free(v);
		return rc < 0 ? rc : 1;
	}
	rc = pairs(m, f, r, ref, name);
	return rc != 0 ? rc : matrix(m, f, r, ref, name);
}

struct place {
	struct torch_iter it;
	size_t len; /* of the name up to here */
};

int runs_collect(struct runs_making *m, const struct torch_file *f, struct runs_reader *r, uint32_t ref,
		const char *name)
{
	const struct torch_object *o = torch_file_object(f);
	struct place stack[COLLECT_DEPTH];
	char path[NAME_MAX_LEN + 1];
	size_t depth = 1, seen = 0, len;
	int rc = flat(m, f, r, ref, name);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (torch_kind_of(o, ref) != TORCH_IS_DICT)
		return 0;
	snprintf(path, sizeof path, "%s", name);
	torch_iter_init(o, ref, &stack[0].it);
	stack[0].len = strlen(path);
	while (depth > 0 && seen < NUMBERS_MAX) {
		struct place *p = &stack[depth - 1];
		struct torch_item item;
		const char *text;
		int64_t number;

		if (!torch_iter_next(&p->it, &item)) {
			depth--;
			continue;
		}
		seen++;
		if (item.relation != TORCH_KEY)
			continue;
		path[p->len] = 0;
		len = p->len;
		text = pickle_text(torch_file_graph(f), item.key, &(size_t){ 0 });
		if (text != NULL) {
			size_t n;

			text = pickle_text(torch_file_graph(f), item.key, &n);
			if (n == 0 || len + n + 2 > sizeof path)
				continue;
			if (len > 0)
				path[len++] = '/';
			memcpy(path + len, text, n);
			len += n;
			path[len] = 0;
		} else if (pickle_int(torch_file_graph(f), item.key, &number)) {
			len += (size_t)snprintf(path + len, sizeof path - len, "%s%lld", len > 0 ? "/" : "",
					(long long)number);
			if (len >= sizeof path)
				continue;
		} else {
			continue;
		}
		rc = flat(m, f, r, item.value, path);
		if (rc < 0)
			return rc;
		if (rc == 0 && torch_kind_of(o, item.value) == TORCH_IS_DICT && depth < COLLECT_DEPTH) {
			torch_iter_init(o, item.value, &stack[depth].it);
			stack[depth++].len = len;
		}
	}
	return 0;
}
