/*
 * runs_list.c: see runs_list.h.
 */
#include "runs_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "tree.h"

enum { LINK_LEN = 1024 };

static const char view[] = "@runs";
static const char mark_of_run[] = "report.html";

struct todo {
	char **path; /* below @runs; the next one last */
	size_t n, cap;
};

/* What a directory has. */
struct content {
	bool run;
	char **dir; /* names of directories, sorted */
	size_t dirs, cap;
	char *latest, *best;
	uint64_t size; /* of its files */
};

static int no_memory(void)
{
	return ckpt_fail(ENOMEM, "runs: out of memory");
}

static int add(char ***list, size_t *n, size_t *cap, const char *name)
{
	if (*n == *cap) {
		size_t more = *cap > 0 ? *cap * 2 : 16;
		char **grown = reallocarray(*list, more, sizeof(**list));

		if (grown == NULL)
			return no_memory();
		*list = grown;
		*cap = more;
	}
	(*list)[*n] = strdup(name);
	return (*list)[(*n)] == NULL ? no_memory() : (++*n, 0);
}

static void free_names(char **list, size_t n)
{
	while (n > 0)
		free(list[--n]);
	free(list);
}

static void content_release(struct content *x)
{
	free_names(x->dir, x->dirs);
	free(x->latest);
	free(x->best);
	*x = (struct content){ 0 };
}

static int by_number(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

/* The last name that a link says. */
static int read_link(struct tree *t, const struct tentry *e, char **out)
{
	char target[LINK_LEN];
	ssize_t n = t->ops->readlink(t, e, target, sizeof(target) - 1);
	char *slash;

	if (n < 0)
		return (int)n;
	target[n] = '\0';
	slash = strrchr(target, '/');
	free(*out);
	*out = strdup(slash != NULL ? slash + 1 : target);
	return *out == NULL ? no_memory() : 0;
}

static int take(struct tree *t, struct content *x, const struct tentry *e)
{
	if (S_ISDIR(e->st.st_mode))
		return add(&x->dir, &x->dirs, &x->cap, e->name);
	if (S_ISLNK(e->st.st_mode) && strcmp(e->name, "latest") == 0)
		return read_link(t, e, &x->latest);
	if (S_ISLNK(e->st.st_mode) && strcmp(e->name, "best") == 0)
		return read_link(t, e, &x->best);
	if (S_ISREG(e->st.st_mode)) {
		x->run |= strcmp(e->name, mark_of_run) == 0;
		x->size += (uint64_t)e->st.st_size;
	}
	return 0;
}

static int look(struct tree *t, const char *path, struct content *x)
{
	char *full = cli_join(view, path);
	struct tdir *d;
	struct tentry e;
	int rc = full == NULL ? no_memory() : t->ops->dir_at(t, full, &d);

	*x = (struct content){ 0 };
	free(full);
	if (rc != 0)
		return rc;
	while ((rc = t->ops->dir_next(t, d, &e)) == 1) {
		rc = cli_stopped(t->c) ? ckpt_fail(ECANCELED, "cancelled") : take(t, x, &e);
		t->ops->entry_release(t, &e);
		if (rc != 0)
			break;
	}
	t->ops->dir_close(t, d);
	if (rc == 0 && x->dirs > 0)
		qsort(x->dir, x->dirs, sizeof(*x->dir), by_number);
	return rc;
}

void run_list_release(struct run_info *r)
{
	free(r->path);
	free_names(r->experience, r->experiences);
	free(r->latest);
	free(r->best);
	*r = (struct run_info){ 0 };
}

/* The directories of a run: experiences, or something with runs below, which `todo` gets. */
static int split(struct tree *t, const char *path, const struct content *x, struct run_info *r,
		struct todo *todo)
{
	size_t cap = 0;
	int rc = 0;

	for (size_t i = 0; i < x->dirs && rc == 0; i++) {
		char *below = cli_join(path, x->dir[i]);
		struct content y;

		rc = below == NULL ? no_memory() : look(t, below, &y);
		if (rc == 0) {
			if (y.run || y.dirs > 0)
				rc = todo != NULL ? add(&todo->path, &todo->n, &todo->cap, below) : 0;
			else
				rc = add(&r->experience, &r->experiences, &cap, x->dir[i]);
			r->size += y.run || y.dirs > 0 ? 0 : y.size;
		}
		if (below != NULL)
			content_release(&y);
		free(below);
	}
	return rc;
}

/* Fills r of a run's directory. */
static int fill(struct tree *t, const char *path, struct content *x, struct run_info *r, struct todo *todo)
{
	r->path = strdup(path);
	r->latest = x->latest;
	r->best = x->best;
	x->latest = x->best = NULL;
	return r->path == NULL ? no_memory() : split(t, path, x, r, todo);
}

/* One directory: its run is told, what is below it is still to be done. */
static int visit(struct tree *t, const char *path, struct todo *todo,
		int (*each)(void *arg, const struct run_info *r), void *arg)
{
	struct run_info r = { 0 };
	struct content x;
	size_t before = todo->n;
	int rc = look(t, path, &x);

	if (rc == 0 && x.run) {
		rc = fill(t, path, &x, &r, todo);
		rc = rc ? rc : each(arg, &r);
	}
	for (size_t i = 0; i < x.dirs && rc == 0 && !x.run; i++) {
		char *below = cli_join(path, x.dir[i]);

		rc = below == NULL ? no_memory() : add(&todo->path, &todo->n, &todo->cap, below);
		free(below);
	}
	/* The last is taken first. */
	for (size_t i = before, k = todo->n; i + 1 < k; i++) {
		char *swap = todo->path[i];

		todo->path[i] = todo->path[--k];
		todo->path[k] = swap;
	}
	run_list_release(&r);
	content_release(&x);
	return rc;
}

int run_list_each(
		struct cli *c, const char *under, int (*each)(void *arg, const struct run_info *r), void *arg)
{
	struct todo todo = { 0 };
	struct tree t;
	int rc = add(&todo.path, &todo.n, &todo.cap, under);

	tree_store_init(&t, c);
	while (rc == 0 && todo.n > 0) {
		char *path = todo.path[--todo.n];

		rc = visit(&t, path, &todo, each, arg);
		free(path);
	}
	free_names(todo.path, todo.n);
	return rc;
}

int run_list_find(struct cli *c, const char *path, struct run_info *out)
{
	struct content x;
	struct tree t;
	int rc;

	*out = (struct run_info){ 0 };
	tree_store_init(&t, c);
	rc = look(&t, path, &x);
	if (rc == 0 && !x.run)
		rc = ckpt_fail(ENODATA,
				"no run, nor anything that is known as one ('ckptfs runs' lists them)");
	rc = rc ? rc : fill(&t, path, &x, out, NULL);
	content_release(&x);
	return rc;
}

char *run_list_path(const char *path)
{
	size_t n;

	while (*path == '/')
		path++;
	if (strncmp(path, view, strlen(view)) == 0 &&
			(path[strlen(view)] == '/' || path[strlen(view)] == '\0'))
		path += strlen(view);
	while (*path == '/')
		path++;
	for (n = strlen(path); n > 0 && path[n - 1] == '/';)
		n--;
	return strndup(path, n);
}
