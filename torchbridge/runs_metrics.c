/*
 * runs_metrics.c: what was recorded, over the experiences; as a table.
 *
 * Four sources, the later beats the earlier where both tell of one value:
 *
 *   history   of the newest whole experience that has one, and logs of the run (metrics.csv, trainer_state.json)
 *   matrices  in it: the mean over the tasks met so far, and forgetting: the mean over earlier tasks of how far each is below
 *             the best it ever was (Chaudhry et al., "Riemannian Walk for Incremental Learning", ECCV 2018)
 *   rows      a list in it that the next older file's list of that name is no prefix of is the row of tasks of its
 *             experience, not a history, and each experience's file has its own: see runs_tasks.c
 *   scalars   that each checkpoint gives for itself, and values in its name
 *
 * metrics.csv is wide: a row an experience (or step) that something was recorded for, the first column its
 * number, then a column for each name in the order in which they are first met, empty where nothing was
 * recorded.
 */
#include "runs_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "codec/codec_hash.h"

enum {
	NAMES_MAX = 4096,
	CELLS_MAX = 1 << 25, /* of metrics.csv: most are empty where there are many */
};

struct row {
	int64_t experience;
	uint32_t name, order;
	double value;
};

struct table {
	struct runs_arena *arena;
	struct row *row;
	size_t rows, cap;
	const char **name;
	size_t names, name_cap;
	uint32_t *hash;   /* number + 1 of a name; NAMES_MAX * 2 places */
	const char *last; /* the name that was asked for last, and its number */
	uint32_t last_number;
};

static int name_of(struct table *t, const char *name, uint32_t *out)
{
	size_t h;
	int rc;

	if (t->last == name) {
		*out = t->last_number;
		return 0;
	}
	h = (size_t)codec_check(name, strlen(name));
	for (h &= 2 * NAMES_MAX - 1; t->hash[h] != 0; h = (h + 1) & (2 * NAMES_MAX - 1))
		if (strcmp(t->name[t->hash[h] - 1], name) == 0)
			goto found;
	if (t->names == NAMES_MAX) {
		*out = UINT32_MAX;
		return 0;
	}
	rc = runs_grow(&t->name, t->names, &t->name_cap, sizeof *t->name);
	if (rc < 0)
		return rc;
	t->name[t->names++] = name;
	t->hash[h] = (uint32_t)t->names;
found:
	*out = t->last_number = t->hash[h] - 1;
	t->last = name;
	return 0;
}

static int put(struct table *t, int64_t experience, const char *name, double value)
{
	uint32_t number;
	int rc = name_of(t, name, &number);

	if (rc < 0 || number == UINT32_MAX)
		return rc;
	rc = runs_grow(&t->row, t->rows, &t->cap, sizeof *t->row);
	if (rc < 0)
		return rc;
	t->row[t->rows] = (struct row){ experience, number, (uint32_t)t->rows, value };
	t->rows++;
	return 0;
}

/* Average and forgetting of one matrix: its records lie together, column by column. */
static int matrix(struct table *t, struct runs_run *run, const struct runs_record *r, size_t n,
		int64_t number, int64_t rows)
{
	double *sum, *lost, *v;
	size_t *seen, *old, tasks = 0;
	const char *slash = strrchr(r->name, '/');
	char *name = runs_text(
			t->arena, r->name, slash != NULL ? (size_t)(slash - r->name) : strlen(r->name));
	const char *fall;
	int rc = 0;

	for (size_t i = 0; i < n; i++)
		tasks = r[i].task >= (int64_t)tasks ? (size_t)r[i].task + 1 : tasks;
	if (name == NULL)
		return -ENOMEM;
	run->mean = run->mean == NULL ? name : run->mean;
	fall = run->mean == name ? "forgetting" : NULL; /* of further matrices by their names */
	if (fall == NULL) {
		char *own = runs_alloc(t->arena, strlen(name) + sizeof "_forgetting", 1);

		if (own == NULL)
			return -ENOMEM;
		sprintf(own, "%s_forgetting", name);
		fall = own;
	}
	sum = calloc((size_t)rows, sizeof *sum);
	lost = calloc((size_t)rows, sizeof *lost);
	v = calloc((size_t)rows, sizeof *v);
	seen = calloc((size_t)rows, sizeof *seen);
	old = calloc((size_t)rows, sizeof *old);
	if (sum == NULL || lost == NULL || v == NULL || seen == NULL || old == NULL)
		rc = ckpt_fail(ENOMEM, "out of memory for a matrix");
	for (size_t k = 0; k < tasks && rc == 0; k++) {
		double peak = (double)NAN;

		for (int64_t i = 0; i < rows; i++)
			v[i] = (double)NAN;
		for (size_t i = 0; i < n; i++)
			if (r[i].task == (int64_t)k && r[i].back >= 0 && r[i].back < rows)
				v[rows - 1 - r[i].back] = r[i].value;
		for (int64_t i = (int64_t)k; i < rows; i++) {
			if (!isfinite(v[i]))
				continue;
			sum[i] += v[i];
			seen[i]++;
			if (i > (int64_t)k && isfinite(peak)) {
				lost[i] += peak - v[i];
				old[i]++;
			}
			if (!(peak >= v[i]))
				peak = v[i];
		}
	}
	for (int64_t i = 0; i < rows && rc == 0; i++) {
		if (seen[i] > 0)
			rc = put(t, number - (rows - 1 - i), name, sum[i] / (double)seen[i]);
		if (rc == 0 && old[i] > 0)
			rc = put(t, number - (rows - 1 - i), fall, lost[i] / (double)old[i]);
	}
	free(sum);
	free(lost);
	free(v);
	free(seen);
	free(old);
	return rc;
}

static int history(struct table *t, struct runs_run *run, const struct runs_history *h, int64_t number)
{
	int rc = 0;

	for (size_t i = 0; i < h->count && rc == 0;) {
		const struct runs_record *r = &h->record[i];
		size_t end = i + 1, base = strlen(r->name);
		int64_t rows = r->back + 1, from = number;

		if (r->back == RUNS_NONE) {
			int64_t at = (run->by_step || r->epoch == RUNS_NONE) && r->step != RUNS_NONE
						     ? r->step
						     : r->epoch;

			if (at != RUNS_NONE)
				rc = put(t, at, r->name, r->value);
			i++;
			continue;
		}
		/* All of one list; of a matrix, all its columns: "accuracy/task_0", "accuracy/task_1", .. */
		if (r->task != RUNS_NONE)
			base = (size_t)(strrchr(r->name, '/') - r->name);
		while (end < h->count && h->record[end].back != RUNS_NONE &&
				(h->record[end].task != RUNS_NONE) == (r->task != RUNS_NONE) &&
				(h->record[end].name == r->name ||
						(r->task != RUNS_NONE && strncmp(h->record[end].name, r->name,
											 base + 1) == 0))) {
			rows = h->record[end].back + 1 > rows ? h->record[end].back + 1 : rows;
			end++;
		}
		if (from == RUNS_NONE)
			from = rows - 1;
		/*
		 * A list longer than there were experiences counts something else: its last value is this
		 * one's.
		 */
		for (size_t k = i; k < end && rc == 0; k++)
			if (h->record[k].back == 0 || rows - 1 <= from)
				rc = put(t, from - h->record[k].back, h->record[k].name, h->record[k].value);
		if (rc == 0 && r->task != RUNS_NONE && rows - 1 <= from) {
			run->matrix = true;
			rc = matrix(t, run, r, end - i, from, rows);
		}
		i = end;
	}
	return rc;
}

/* Each task's value and the mean over each row; where they make a matrix, its mean and forgetting. */
static int row_of_tasks(struct table *t, struct runs_run *run, const struct runs_rows *rows, int64_t number)
{
	const struct runs_record *r = rows->record;
	int rc = 0;

	for (size_t i = 0; i < rows->count && rc == 0; i++)
		rc = put(t, number - r[i].back, r[i].name, r[i].value);
	run->matrix = run->matrix || rows->longest > 1;
	if (rc < 0 || rows->count == 0)
		return rc;
	if (rows->even)
		return matrix(t, run, r, rows->count, number, rows->longest);
	for (size_t i = 0, end; i < rows->count && rc == 0; i = end) {
		double sum = 0;
		size_t n = 0;

		for (end = i; end < rows->count && r[end].back == r[i].back; end++)
			if (isfinite(r[end].value))
				sum += r[end].value, n++;
		if (n > 0)
			rc = put(t, number - r[i].back, rows->name, sum / (double)n);
	}
	if (rows->grows && run->mean == NULL)
		run->mean = rows->name;
	return rc;
}

static int newest_history(struct bridge_runs *r, struct table *t, struct runs_run *run, size_t newest,
		const struct runs_file *f)
{
	int64_t number = run->experience[newest].pub.number;
	struct runs_history h;
	struct runs_rows *rows = NULL;
	size_t count = 0;
	int rc = runs_history_of(&r->files, &r->arena, f->path, f->said, f->size, &h);

	if (rc == 0)
		rc = runs_tasks(r, run, newest, &h, &rows, &count);
	if (rc == 0)
		rc = history(t, run, &h, number);
	for (size_t i = 0; i < count && rc == 0; i++)
		if (rows[i].is)
			rc = row_of_tasks(t, run, &rows[i], number);
	runs_rows_release(rows, count);
	return rc;
}

static int scalars(struct table *t, const struct runs_experience *e)
{
	int rc = 0;

	if (!e->pub.numbered)
		return 0;
	for (size_t i = 0; i < e->files && rc == 0; i++) {
		const struct runs_file *f = e->file[i];

		if (f->said->metric[0] != 0 && f->dir == NULL)
			rc = put(t, e->pub.number, f->said->metric, f->said->value);
		for (size_t k = 0; f->fact != NULL && k < f->fact->scalars && rc == 0; k++)
			rc = put(t, e->pub.number, f->fact->scalar[k].name, f->fact->scalar[k].value);
	}
	return rc;
}

static int by_place(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->experience != y->experience)
		return x->experience < y->experience ? -1 : 1;
	if (x->name != y->name)
		return x->name < y->name ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* The rows in order, each value once: the one that was put last. */
static int finish(struct bridge_runs *r, struct table *t, struct runs_run *run)
{
	size_t n = 0;

	if (t->rows > 1)
		qsort(t->row, t->rows, sizeof *t->row, by_place);
	run->metric = runs_alloc(&r->arena, t->rows, sizeof *run->metric);
	run->name = runs_alloc(&r->arena, t->names, sizeof *run->name);
	if (run->metric == NULL || run->name == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < t->rows; i++) {
		if (i + 1 < t->rows && t->row[i + 1].experience == t->row[i].experience &&
				t->row[i + 1].name == t->row[i].name)
			continue;
		run->metric[n++] = (struct bridge_metric){ t->row[i].experience, t->name[t->row[i].name],
			t->row[i].value };
	}
	run->metrics = n;
	memcpy(run->name, t->names > 0 ? (void *)t->name : "", t->names * sizeof *run->name);
	run->names = t->names;
	return 0;
}

bool runs_is_whole(const struct runs_run *run, const struct runs_experience *e)
{
	return !e->pub.torn && !e->aside && (e->pub.numbered || run->pub.experiences == 1);
}

int runs_metrics(struct bridge_runs *r, struct runs_run *run, struct runs_file *const *log, size_t logs)
{
	struct table t = { .arena = &r->arena, .hash = calloc(2 * NAMES_MAX, sizeof *t.hash) };
	bool found = false;
	int rc = t.hash == NULL ? ckpt_fail(ENOMEM, "out of memory for a table") : 0;

	for (size_t i = 0; i < logs && rc == 0; i++) {
		struct runs_history h;

		if (log[i]->fact == NULL || !log[i]->fact->has_history)
			continue;
		rc = runs_history_of(&r->files, &r->arena, log[i]->path, log[i]->said, log[i]->size, &h);
		if (rc == 0)
			rc = history(&t, run, &h, RUNS_NONE);
	}
	for (size_t i = run->pub.experiences; i-- > 0 && rc == 0 && !found;) {
		const struct runs_experience *e = &run->experience[i];

		if (!runs_is_whole(run, e))
			continue;
		for (size_t k = 0; k < e->files && rc == 0; k++) {
			const struct runs_file *f = e->file[k];

			if (f->fact == NULL || !f->fact->has_history)
				continue;
			found = true;
			rc = newest_history(r, &t, run, i, f);
		}
	}
	for (size_t i = 0; i < run->pub.experiences && rc == 0; i++)
		rc = scalars(&t, &run->experience[i]);
	if (rc == 0)
		rc = finish(r, &t, run);
	free(t.row);
	free(t.name);
	free(t.hash);
	return rc;
}

/*
 * ---- CSV (RFC 4180)
 * ----------------------------------------------------------------------------------------------------
 */

static int cell(struct byte_buf *out, const char *s)
{
	int rc;

	if (strpbrk(s, ",\"\r\n") == NULL)
		return byte_buf_text(out, s);
	rc = byte_buf_text(out, "\"");
	for (; *s != 0 && rc == 0; s++)
		rc = *s == '"' ? byte_buf_text(out, "\"\"") : byte_buf_put(out, s, 1);
	return rc < 0 ? rc : byte_buf_text(out, "\"");
}

static int value(struct byte_buf *out, double v)
{
	if (isnan(v))
		return byte_buf_text(out, "nan");
	if (isinf(v))
		return byte_buf_text(out, v > 0 ? "inf" : "-inf");
	return runs_json_number(out, v);
}

int bridge_runs_csv(const struct bridge_runs *r, size_t run, struct byte_buf *out)
{
	const struct runs_run *x = &r->run[run];
	size_t lines = 0;
	int rc;

	for (size_t i = 0; i < x->metrics; i++)
		lines += i == 0 || x->metric[i - 1].experience != x->metric[i].experience;
	if (x->names > 0 && lines > CELLS_MAX / x->names)
		return ckpt_fail(EFBIG, "the metrics of \"%s\" are too many for a table: %zu by %zu", x->pub.path,
				lines, x->names);
	rc = byte_buf_text(out, x->by_step ? "step" : "experience");
	for (size_t i = 0; i < x->names && rc == 0; i++) {
		rc = byte_buf_text(out, ",");
		if (rc == 0)
			rc = cell(out, x->name[i]);
	}
	/* Rows hold their metrics in the order of the columns. */
	for (size_t i = 0, column = 0; i < x->metrics && rc == 0; i++) {
		const struct bridge_metric *m = &x->metric[i];

		if (i == 0 || x->metric[i - 1].experience != m->experience) {
			while (i > 0 && column < x->names && rc == 0)
				rc = byte_buf_text(out, ","), column++;
			if (rc == 0)
				rc = byte_buf_format(out, "\n%lld", (long long)m->experience);
			column = 0;
		}
		do
			rc = rc < 0 ? rc : byte_buf_text(out, ",");
		while (x->name[column++] != m->name && column < x->names); /* the same pointers */
		if (rc == 0)
			rc = value(out, m->value);
		if (i + 1 == x->metrics)
			while (column++ < x->names && rc == 0)
				rc = byte_buf_text(out, ",");
	}
	return rc < 0 ? rc : byte_buf_text(out, "\n");
}
