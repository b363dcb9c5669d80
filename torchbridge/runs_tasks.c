/*
 * runs_tasks.c: lists that are rows of an accuracy matrix, each in its own experience's file.
 *
 * A list [0.9, 0.8, 0.7] in the newest experience's file is a history of experiences, or the accuracies on
 * tasks 0, 1, 2 after this one. The next older file tells which: a history grows at its end, so the older
 * list is a prefix of it; a row of tasks is measured anew each time. What is longer than there were
 * experiences is neither, and what became shorter was begun anew: both stay what they were without this rule.
 *
 * That one older file is read where there is such a list at all, those of the other experiences only where
 * it was a row; one is in memory at a time, and looking ends with the file that makes RECORDS_MAX values.
 */
#include "runs_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	LISTS_MAX = 64,                     /* of one file that are looked at */
	RECORDS_MAX = 4 * RUNS_HISTORY_MAX, /* of all older files */
};

/* One list of a history: records that follow one another. */
struct list {
	const struct runs_record *record;
	size_t count;
	int64_t len; /* with the places that hold no number */
};

static bool plain(const struct runs_record *r)
{
	return r->task == RUNS_NONE && r->back >= 0 && r->back < RUNS_HISTORY_MAX;
}

/* The list at *at or the first one behind it; moves *at to its end. */
static bool next_list(const struct runs_history *h, size_t *at, struct list *out)
{
	while (*at < h->count && !plain(&h->record[*at]))
		(*at)++;
	if (*at == h->count)
		return false; /* and there may be no array at all */
	*out = (struct list){ .record = h->record + *at };
	for (; *at < h->count && plain(&h->record[*at]) && h->record[*at].name == out->record->name;
			(*at)++) {
		out->len = h->record[*at].back + 1 > out->len ? h->record[*at].back + 1 : out->len;
		out->count++;
	}
	return out->count > 0;
}

static bool find(const struct runs_history *h, const char *name, struct list *out)
{
	for (size_t at = 0; next_list(h, &at, out);)
		if (strcmp(out->record->name, name) == 0)
			return true;
	return false;
}

static bool same(double a, double b)
{
	return a == b || (isnan(a) && isnan(b));
}

static bool prefix(const struct list *old, const struct list *now)
{
	size_t k = 0;

	for (size_t i = 0; i < old->count; i++) {
		int64_t place = old->len - 1 - old->record[i].back;

		while (k < now->count && now->len - 1 - now->record[k].back < place)
			k++;
		if (k == now->count || now->len - 1 - now->record[k].back != place ||
				!same(old->record[i].value, now->record[k].value))
			return false;
	}
	return old->len <= now->len;
}

/* One experience's row, `back` experiences before the newest. */
static int add_row(struct runs_arena *a, struct runs_rows *rows, const struct list *l, int64_t back)
{
	if (l->len > rows->longest)
		return 0;
	rows->even = rows->even && l->len == rows->longest - back;
	rows->grows = rows->grows || l->len != rows->longest;
	for (size_t i = 0; i < l->count; i++) {
		int64_t task = l->len - 1 - l->record[i].back;
		int rc = runs_grow(&rows->record, rows->count, &rows->cap, sizeof *rows->record);

		if (rc < 0)
			return rc;
		if (rows->task[task] == NULL) {
			size_t room = strlen(rows->name) + sizeof "/task_" + 20;
			char *name = runs_alloc(a, room, 1);

			if (name == NULL)
				return -ENOMEM;
			snprintf(name, room, "%s/task_%lld", rows->name, (long long)task);
			rows->task[task] = name;
		}
		rows->record[rows->count++] = (struct runs_record){ .name = rows->task[task],
			.value = l->record[i].value,
			.back = back,
			.epoch = RUNS_NONE,
			.step = RUNS_NONE,
			.task = task };
	}
	return 0;
}

/* What one older file says: of the lists, or of their kind while that is not known. */
static int look(struct bridge_runs *r, const struct runs_file *f, struct runs_rows *rows, size_t n,
		const struct list *list, int64_t back, size_t *records)
{
	struct runs_arena arena = { 0 };
	struct runs_history h;
	struct list l;
	int rc = runs_history_of(&r->files, &arena, f->path, f->said, f->size, &h);

	*records += rc == 0 ? h.count : 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (!find(&h, rows[i].name, &l))
			continue;
		if (list != NULL) {
			rows[i].is = l.len <= list[i].len && !prefix(&l, &list[i]);
		} else if (rows[i].is) {
			rc = add_row(&r->arena, &rows[i], &l, back);
		}
	}
	runs_arena_release(&arena);
	return rc;
}

/* All older experiences, or with `list` the next older one that has a history. */
static int look_back(struct bridge_runs *r, const struct runs_run *run, size_t newest, struct runs_rows *rows,
		size_t n, const struct list *list)
{
	int64_t number = run->experience[newest].pub.number;
	size_t records = 0, met = 0;
	int rc = 0;

	for (size_t i = newest; i-- > 0 && met < RUNS_MATRIX_MAX && records < RECORDS_MAX && rc == 0;) {
		const struct runs_experience *e = &run->experience[i];
		bool found = false;

		for (size_t k = 0; runs_is_whole(run, e) && k < e->files && rc == 0; k++)
			if (e->file[k]->fact != NULL && e->file[k]->fact->has_history) {
				rc = look(r, e->file[k], rows, n, list, number - e->pub.number, &records);
				found = true;
			}
		met += found;
		if (found && list != NULL)
			break;
	}
	return rc;
}

/* Takes the rows' own lists out of the history. */
static void take_out(struct runs_history *h, const struct runs_rows *rows, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < h->count; i++) {
		bool taken = false;

		for (size_t k = 0; k < n; k++)
			taken = taken ||
				(rows[k].is && plain(&h->record[i]) && h->record[i].name == rows[k].name);
		if (!taken)
			h->record[kept++] = h->record[i];
	}
	h->count = kept;
}

int runs_tasks(struct bridge_runs *r, const struct runs_run *run, size_t newest, struct runs_history *h,
		struct runs_rows **out, size_t *count)
{
	const struct runs_experience *e = &run->experience[newest];
	struct runs_rows *rows;
	struct list list[LISTS_MAX], l;
	size_t n = 0;
	int rc = 0;

	*out = NULL;
	*count = 0;
	if (!e->pub.numbered || run->by_step || newest == 0)
		return 0;
	for (size_t at = 0; n < LISTS_MAX && next_list(h, &at, &l);)
		if (l.len <= RUNS_MATRIX_MAX && l.len - 1 <= e->pub.number)
			list[n++] = l;
	if (n == 0)
		return 0;
	rows = runs_alloc(&r->arena, n, sizeof *rows);
	if (rows == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		rows[i] = (struct runs_rows){
			.name = list[i].record->name, .longest = list[i].len, .even = true
		};
	rc = look_back(r, run, newest, rows, n, list);
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (!rows[i].is)
			continue;
		*out = rows;
		*count = n;
		rows[i].task = runs_alloc(&r->arena, (size_t)rows[i].longest, sizeof *rows[i].task);
		rc = rows[i].task == NULL ? -ENOMEM : add_row(&r->arena, &rows[i], &list[i], 0);
	}
	if (*out != NULL && rc == 0) {
		rc = look_back(r, run, newest, rows, n, NULL);
		take_out(h, rows, n);
	}
	return rc;
}

void runs_rows_release(struct runs_rows *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(rows[i].record);
}
