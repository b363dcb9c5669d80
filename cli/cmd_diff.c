/*
 * cmd_diff.c: ckptfs diff: which tensors of two checkpoints differ, and by how much; or of all pairs below two directories.
 *
 * Exit statuses are those of diff(1) as far as they fit the house: 0 the same, 1 something differs; 2 usage, 3 could not run.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "diff_pair.h"
#include "format.h"

enum { SAME = 0, DIFFER = 1, LINK_MAX_LEN = 4096 };

struct names {
	struct tentry *e; /* sorted by name; they borrow the directory */
	size_t n, cap;
	struct tdir *dir;
};

struct pending {
	char **path; /* directories below both that are still to be gone through, the next one last */
	size_t n, cap;
};

struct command {
	struct cli *c;
	const struct target *t[2];
	struct tree tree[2];
	bool json;
	int status;
	uint64_t same, differ, only[2];
	json_t *files; /* json */
};

static void note(struct command *k, int rc, const char *subject)
{
	cli_error(k->c, rc, subject);
	k->status = CLI_FAILED;
}

static void differs(struct command *k)
{
	k->status = k->status == SAME ? DIFFER : k->status;
}

/* ---- what is told of a name ---- */

/* o gets the path and is kept. o may be NULL: no memory. */
static int add_file(struct command *k, const char *path, json_t *o)
{
	if (o == NULL || format_json_text(o, "path", path, strlen(path)) != 0 ||
			json_array_append(k->files, o) != 0) {
		json_decref(o);
		return ckpt_fail(ENOMEM, "diff: out of memory");
	}
	json_decref(o);
	return 0;
}

static int tell_word(struct command *k, const char *path, const char *word, const char *text)
{
	differs(k);
	if (k->json)
		return add_file(k, path, json_pack("{s:s}", "change", word));
	format_name(k->c->out, path, strlen(path), k->c->out_tty);
	fprintf(k->c->out, ": %s\n", text);
	return 0;
}

static int tell_only(struct command *k, const char *path, int side)
{
	k->only[side]++;
	return tell_word(k, path, side == 0 ? "only_a" : "only_b",
			side == 0 ? "only in the first" : "only in the second");
}

static int compare_files(struct command *k, const char *path, struct diff_pair *p)
{
	json_t *o = NULL;
	int rc;

	p->json = k->json;
	p->title = path[0] != '\0' ? path : NULL;
	rc = diff_pair(k->c, p, &o);
	if (rc < 0)
		return rc;
	if (rc == SAME) {
		k->same++;
		return 0;
	}
	k->differ++;
	differs(k);
	return k->json ? add_file(k, path, o) : 0;
}

/* ---- directories ---- */

static void names_release(struct tree *t, struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		t->ops->entry_release(t, &l->e[i]);
	free(l->e);
	if (l->dir != NULL)
		t->ops->dir_close(t, l->dir);
	*l = (struct names){ 0 };
}

static int by_name(const void *a, const void *b)
{
	return strverscmp(((const struct tentry *)a)->name, ((const struct tentry *)b)->name);
}

static int list(struct tree *t, const char *root, const char *path, struct names *l)
{
	char *full = cli_join(root, path);
	int rc = full == NULL ? ckpt_fail(ENOMEM, "diff: out of memory") : t->ops->dir_at(t, full, &l->dir);

	free(full);
	if (rc != 0) {
		l->dir = NULL;
		return rc;
	}
	for (;;) {
		struct tentry e;

		if (l->n == l->cap) {
			size_t cap = l->cap > 0 ? l->cap * 2 : 64;
			struct tentry *grown = reallocarray(l->e, cap, sizeof(*grown));

			if (grown == NULL)
				return ckpt_fail(ENOMEM, "diff: out of memory");
			l->e = grown;
			l->cap = cap;
		}
		rc = t->ops->dir_next(t, l->dir, &e);
		if (rc <= 0)
			break;
		l->e[l->n++] = e;
	}
	if (rc == 0 && l->n > 0)
		qsort(l->e, l->n, sizeof(*l->e), by_name);
	return rc;
}

static int pend(struct pending *p, char *path)
{
	if (p->n == p->cap) {
		size_t cap = p->cap > 0 ? p->cap * 2 : 16;
		char **grown = reallocarray(p->path, cap, sizeof(*grown));

		if (grown == NULL)
			return ckpt_fail(ENOMEM, "diff: out of memory");
		p->path = grown;
		p->cap = cap;
	}
	p->path[p->n++] = path;
	return 0;
}

static int compare_links(struct command *k, const char *path, const struct tentry *a, const struct tentry *b)
{
	char x[LINK_MAX_LEN], y[LINK_MAX_LEN];
	ssize_t n = k->tree[0].ops->readlink(&k->tree[0], a, x, sizeof(x));
	ssize_t m = n < 0 ? n : k->tree[1].ops->readlink(&k->tree[1], b, y, sizeof(y));

	if (m < 0)
		return (int)m;
	if (n == m && memcmp(x, y, (size_t)n) == 0) {
		k->same++;
		return 0;
	}
	k->differ++;
	return tell_word(k, path, "link", "links to elsewhere");
}

/* A name that both have. Takes `path` when it is a directory that is to be gone through. */
static int compare_entries(struct command *k, struct pending *todo, char **path, const struct tentry *a,
		const struct tentry *b)
{
	struct diff_pair p = { .json = k->json };
	int rc;

	if ((a->st.st_mode & S_IFMT) != (b->st.st_mode & S_IFMT)) {
		k->differ++;
		return tell_word(k, *path, "type", "files of different types");
	}
	if (S_ISDIR(a->st.st_mode)) {
		rc = pend(todo, *path);
		if (rc == 0)
			*path = NULL;
		return rc;
	}
	if (S_ISLNK(a->st.st_mode))
		return compare_links(k, *path, a, b);
	if (!S_ISREG(a->st.st_mode))
		return 0;
	rc = checkpoint_open(&k->tree[0], a, &p.a);
	rc = rc ? rc : checkpoint_open(&k->tree[1], b, &p.b);
	rc = rc ? rc : compare_files(k, *path, &p);
	checkpoint_close(&p.a);
	checkpoint_close(&p.b);
	return rc;
}

/* One directory of each, names side by side. */
static int compare_lists(struct command *k, struct pending *todo, const char *dir, const struct names *a,
		const struct names *b)
{
	size_t i = 0, j = 0;
	int rc = 0;

	while ((i < a->n || j < b->n) && rc == 0 && !cli_stopped(k->c)) {
		int order = i == a->n ? 1 : j == b->n ? -1 : strverscmp(a->e[i].name, b->e[j].name);
		char *path = cli_join(dir, order <= 0 ? a->e[i].name : b->e[j].name);

		if (path == NULL)
			return ckpt_fail(ENOMEM, "diff: out of memory");
		if (order == 0)
			rc = compare_entries(k, todo, &path, &a->e[i], &b->e[j]);
		else
			rc = tell_only(k, path, order > 0);
		/* A file that can't be read does not end the others' comparison. */
		if (rc != 0 && rc != -ENOMEM && rc != -ECANCELED) {
			note(k, rc, path);
			rc = 0;
		}
		free(path);
		i += order <= 0;
		j += order >= 0;
	}
	return rc;
}

static int compare_directories(struct command *k)
{
	struct pending todo = { 0 };
	char *first = strdup("");
	int rc = first == NULL ? ckpt_fail(ENOMEM, "diff: out of memory") : pend(&todo, first);

	while (rc == 0 && todo.n > 0 && !cli_stopped(k->c)) {
		char *dir = todo.path[--todo.n];
		struct names a = { 0 }, b = { 0 };

		rc = list(&k->tree[0], k->t[0]->path, dir, &a);
		rc = rc ? rc : list(&k->tree[1], k->t[1]->path, dir, &b);
		rc = rc ? rc : compare_lists(k, &todo, dir, &a, &b);
		names_release(&k->tree[0], &a);
		names_release(&k->tree[1], &b);
		free(dir);
	}
	while (todo.n > 0)
		free(todo.path[--todo.n]);
	free(todo.path);
	if (rc == 0 && !k->json)
		fprintf(k->c->out,
				"%llu files the same, %llu differ, %llu only in the first, %llu only in the "
				"second\n",
				(unsigned long long)k->same, (unsigned long long)k->differ,
				(unsigned long long)k->only[0], (unsigned long long)k->only[1]);
	return rc;
}

/* ---- the command ---- */

static int compare(struct command *k)
{
	struct diff_pair p = { 0 };
	int ra, rb, rc = 0;

	ra = checkpoint_open_path(&k->tree[0], k->t[0]->path, &p.a);
	if (ra != 0 && ra != -EISDIR) {
		note(k, ra, k->t[0]->text);
		return 0;
	}
	rb = checkpoint_open_path(&k->tree[1], k->t[1]->path, &p.b);
	if (rb != 0 && rb != -EISDIR)
		note(k, rb, k->t[1]->text);
	else if (ra != rb)
		rc = ckpt_fail(EINVAL, "a file and a directory can't be compared");
	else
		rc = ra == -EISDIR ? compare_directories(k) : compare_files(k, "", &p);
	checkpoint_close(&p.a);
	checkpoint_close(&p.b);
	return rc;
}

static int print_json(struct command *k)
{
	json_t *o = json_object();
	int bad = format_json_text(o, "a", k->t[0]->text, strlen(k->t[0]->text));

	bad |= format_json_text(o, "b", k->t[1]->text, strlen(k->t[1]->text));
	bad |= json_object_set_new(o, "same", json_boolean(k->status == SAME));
	bad |= json_object_set(o, "files", k->files);
	if (bad) {
		json_decref(o);
		return ckpt_fail(ENOMEM, "json: out of memory");
	}
	return format_json_print(k->c->out, o, JSON_INDENT(2));
}

static int diff(struct cli *c, const struct target *t, const void *arg)
{
	bool json = *(const bool *)arg;
	struct command k = {
		.c = c, .t = { &t[0], &t[1] }, .json = json, .status = SAME, .files = json_array()
	};
	int rc;

	checkpoint_tree(c, &t[0], &k.tree[0]);
	checkpoint_tree(c, &t[1], &k.tree[1]);
	rc = k.files == NULL ? ckpt_fail(ENOMEM, "diff: out of memory") : compare(&k);
	if (rc == 0 && json)
		rc = print_json(&k);
	if (rc != 0)
		note(&k, rc, NULL);
	json_decref(k.files);
	return k.status;
}

static int cmd_diff(struct cli *c, int argc, char **argv)
{
	bool json = false;
	int at, status = cli_options_json(c, argc, argv, &json, &at);

	if (status != -1)
		return status;
	if (argc - at != 2)
		return cli_usage(c, "two files or two directories are needed");
	return checkpoint_on(c, argv + at, 2, diff, &json);
}

const struct cli_command command_diff = {
	.name = "diff",
	.synopsis = "diff [--json] A B",
	.summary = "which tensors of two checkpoints, or of two runs, differ, and by how much",
	.help = "A and B are two files or two directories, each FILE or STORE:PATH. Exit status: 0 the "
		"same,\n"
		"1 something differs, 2 usage, 3 could not run.\n\n"
		"  ~ differs   - only in A   + only in B   ! another shape   ? not compared\n\n"
		"changed: elements that are not equal. max abs, max rel: the greatest |a - b| and\n"
		"|a - b| / max(|a|, |b|). cosine: of the two tensors as vectors.\n\n"
		"      --json           an object\n"
		"      --help           this text\n",
	.served = true,
	.run = cmd_diff,
};
