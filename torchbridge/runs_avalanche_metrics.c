/*
 * runs_avalanche_metrics.c: what Avalanche's EvaluationPlugin collected, by experience.
 *
 * Sources: avalanche/training/plugins/evaluation.py, avalanche/evaluation/metric_results.py and metric_utils.py.
 * all_metric_results is {name: ([x, ..], [value, ..])}, x being the training iterations done so far, and a name
 *
 *   <metric>/<train|eval>_phase/<stream>[/Task<NNN>][/Exp<NNN>]
 *
 * Lists are of different lengths: an epoch's metrics have a value an epoch, forgetting begins with the second
 * experience, and after a resume values may be missing in the middle.  So a value's experience is told by its x:
 * each x > 0 at which something was evaluated ends an experience (at 0 nothing was trained), and what training
 * recorded belongs to the first end that is not before it.  What was trained after the last evaluation, by the
 * strategy's clock, is one experience more.
 *
 * Names lose what says nothing: the phase, the usual stream of that phase, and the task label where there is
 * only the label 0.  "Exp003" of an evaluation is "task_3"; accuracies on experiences are a matrix.
 */
#include "runs_torch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

enum {
	LISTS_MAX = 4096,
	NAME_MAX_LEN = 200,
	VALUES_MAX = 1 << 21, /* looked at in all: one list may lie under many names */
};

struct list {
	char name[NAME_MAX_LEN + 32];
	size_t base;  /* of a matrix: length of its name before "/task_N" */
	int64_t task; /* RUNS_NONE: no column of a matrix */
	size_t order;
	uint32_t key, x, value;
};

struct metrics {
	struct list *list;
	size_t lists, cap;
	double end[RUNS_MATRIX_MAX]; /* ascending */
	size_t ends;
	size_t values; /* looked at so far */
	bool crowded;  /* more than that, or none: lists are taken as they are */
	bool labels;   /* there are task labels beside 0 */
};

/* What a name is made of; lengths are 0 where it has no such part. */
struct name {
	const char *metric, *stream, *task, *exp;
	size_t metric_len, stream_len, task_len, exp_len;
	bool eval;
};

static bool begins(const char *p, size_t len, const char *with)
{
	size_t n = strlen(with);

	return len >= n && memcmp(p, with, n) == 0;
}

/* The part at *p up to the next slash; moves behind it. */
static size_t part(const char **p, const char *end)
{
	const char *from = *p, *slash = memchr(from, '/', (size_t)(end - from));

	*p = slash != NULL ? slash + 1 : end;
	return (size_t)((slash != NULL ? slash : end) - from);
}

static bool split(const char *text, size_t len, struct name *out)
{
	const char *p = text, *end = text + len, *phase;
	size_t n;

	*out = (struct name){ .metric = text };
	out->metric_len = part(&p, end);
	phase = p;
	n = part(&p, end);
	out->eval = n == 10 && begins(phase, n, "eval_phase");
	if (out->metric_len == 0 || (!out->eval && !(n == 11 && begins(phase, n, "train_phase"))))
		return false;
	out->stream = p;
	out->stream_len = part(&p, end);
	if (begins(p, (size_t)(end - p), "Task")) {
		out->task = p;
		out->task_len = part(&p, end);
	}
	if (begins(p, (size_t)(end - p), "Exp")) {
		out->exp = p;
		out->exp_len = part(&p, end);
	}
	return p == end && out->stream_len > 0;
}

/* The number behind "Exp"; RUNS_NONE. */
static int64_t place(const struct name *n)
{
	int64_t v = 0;

	if (n->exp_len < 4 || n->exp_len > 9)
		return RUNS_NONE;
	for (size_t i = 3; i < n->exp_len; i++) {
		if (n->exp[i] < '0' || n->exp[i] > '9')
			return RUNS_NONE;
		v = v * 10 + (n->exp[i] - '0');
	}
	return v < RUNS_MATRIX_MAX ? v : RUNS_NONE;
}

static void call(const struct metrics *s, const char *text, size_t len, struct list *l)
{
	struct name n;
	int64_t at;
	bool usual;

	l->task = RUNS_NONE;
	if (!split(text, len, &n)) {
		snprintf(l->name, sizeof l->name, "%.*s", (int)len, text);
		return;
	}
	at = n.eval ? place(&n) : RUNS_NONE;
	usual = n.stream_len == strlen(n.eval ? "test_stream" : "train_stream") &&
		begins(n.stream, n.stream_len, n.eval ? "test_stream" : "train_stream");
	l->base = (size_t)snprintf(l->name, sizeof l->name, "%.*s%s%.*s", (int)n.metric_len, n.metric,
			usual ? "" : "/", usual ? 0 : (int)n.stream_len, n.stream);
	if (at != RUNS_NONE) {
		snprintf(l->name + l->base, sizeof l->name - l->base, "/task_%lld", (long long)at);
		if (strstr(l->name, "Acc") != NULL && !s->crowded)
			l->task = at;
		return;
	}
	snprintf(l->name + l->base, sizeof l->name - l->base, "%s%.*s%s%.*s",
			n.task_len > 0 && s->labels ? "/" : "", s->labels ? (int)n.task_len : 0,
			n.task_len > 0 ? n.task : "", n.exp_len > 0 ? "/" : "", (int)n.exp_len,
			n.exp_len > 0 ? n.exp : "");
}

/* The first end that is not before x; s->ends: none. */
static size_t end_of(const struct metrics *s, double x)
{
	size_t low = 0, high = s->ends;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (s->end[mid] < x)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void add_end(struct metrics *s, double x)
{
	size_t at;

	if (!(x > 0) || s->crowded)
		return;
	at = end_of(s, x);
	if (at < s->ends && s->end[at] == x)
		return;
	if (s->ends == RUNS_MATRIX_MAX) {
		s->crowded = true;
		return;
	}
	memmove(s->end + at + 1, s->end + at, (s->ends - at) * sizeof *s->end);
	s->end[at] = x;
	s->ends++;
}

/* The lists of the dict, and where experiences end. */
static int gather(struct metrics *s, const struct torch_file *f, struct runs_reader *r, uint32_t dict)
{
	const struct torch_object *o = torch_file_object(f);
	struct torch_iter it;
	struct torch_item item;
	int rc = 0;

	torch_iter_init(o, dict, &it);
	while (s->lists < LISTS_MAX && rc == 0 && torch_iter_next(&it, &item)) {
		struct torch_iter pair;
		struct torch_item side;
		uint32_t ref[2];
		struct name name;
		size_t n = 0, len, count;
		double *x;
		const char *text;

		if (item.relation != TORCH_KEY || torch_kind_of(o, item.value) != TORCH_IS_TUPLE)
			continue;
		text = pickle_text(torch_file_graph(f), item.key, &len);
		if (text == NULL || len == 0 || len > NAME_MAX_LEN || memchr(text, 0, len) != NULL)
			continue;
		torch_iter_init(o, item.value, &pair);
		while (n < 2 && torch_iter_next(&pair, &side))
			ref[n++] = side.value;
		if (n < 2 || torch_iter_next(&pair, &side))
			continue;
		if (split(text, len, &name)) {
			s->labels |= name.task_len > 0 && !begins(name.task, name.task_len, "Task000");
			if (name.eval && s->values < VALUES_MAX && runs_numbers(f, r, ref[0], &x, &count)) {
				for (size_t i = 0; i < count; i++)
					add_end(s, x[i]);
				s->values += count;
				free(x);
			}
		}
		rc = runs_grow(&s->list, s->lists, &s->cap, sizeof *s->list);
		if (rc == 0)
			s->list[s->lists] = (struct list){
				.order = s->lists, .key = item.key, .x = ref[0], .value = ref[1]
			};
		s->lists += rc == 0;
	}
	return rc;
}

/* Columns of matrices first, those of one together; the others as they came. */
static int by_matrix(const void *a, const void *b)
{
	const struct list *x = a, *y = b;
	bool one = x->task != RUNS_NONE, two = y->task != RUNS_NONE;
	int d;

	if (one != two)
		return one ? -1 : 1;
	if (one) {
		d = strncmp(x->name, y->name, x->base > y->base ? x->base : y->base);
		if (d != 0 || x->task != y->task)
			return d != 0 ? d : x->task < y->task ? -1 : 1;
	}
	return x->order < y->order ? -1 : x->order > y->order;
}

/* One list: of what fell into one experience the last value counts. */
static int record(struct runs_making *m, const struct metrics *s, const struct list *l, const double *x,
		const double *v, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		size_t ends = s->crowded ? n : s->ends, at = s->crowded ? i : end_of(s, x[i]);

		if (!s->crowded && (!(x[i] > 0) || at == ends || (i + 1 < n && end_of(s, x[i + 1]) == at)))
			continue;
		rc = runs_add_record(m, l->name,
				&(struct runs_record){ .value = v[i],
						.back = (int64_t)(ends - 1 - at),
						.epoch = RUNS_NONE,
						.step = RUNS_NONE,
						.task = l->task });
	}
	return rc;
}

int runs_avalanche_metrics(struct runs_making *m, const struct torch_file *f, struct runs_reader *r,
		uint32_t strategy, uint32_t results)
{
	const struct torch_object *o = torch_file_object(f);
	struct metrics *s = calloc(1, sizeof *s);
	uint32_t clock = torch_lookup(o, strategy, "clock");
	uint32_t done = clock == PICKLE_NIL ? PICKLE_NIL : torch_lookup(o, clock, "train_iterations");
	double now;
	int rc = s == NULL ? ckpt_fail(ENOMEM, "out of memory for metrics") : gather(s, f, r, results);

	if (rc == 0 && done != PICKLE_NIL && runs_number(f, r, done, &now) &&
			(s->ends == 0 || now > s->end[s->ends - 1]))
		add_end(s, now);
	if (rc == 0 && s->ends == 0)
		s->crowded = true;
	for (size_t i = 0; rc == 0 && i < s->lists; i++) {
		size_t len;
		const char *text = pickle_text(torch_file_graph(f), s->list[i].key, &len);

		call(s, text, len, &s->list[i]);
	}
	if (rc == 0 && s->lists > 1)
		qsort(s->list, s->lists, sizeof *s->list, by_matrix);
	for (size_t i = 0; rc == 0 && i < s->lists && s->values < 2 * VALUES_MAX; i++) {
		double *x = NULL, *v = NULL;
		size_t n = 0, k = 0;

		if (runs_numbers(f, r, s->list[i].x, &x, &n) &&
				runs_numbers(f, r, s->list[i].value, &v, &k) && n == k)
			rc = record(m, s, &s->list[i], x, v, n);
		s->values += n + k;
		free(x);
		free(v);
	}
	if (s != NULL)
		free(s->list);
	free(s);
	return rc;
}
