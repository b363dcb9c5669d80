/*
 * cmd_rm.c: ckptfs rm: removes files and trees from a store.
 *
 * A tree is emptied from below with a stack of directories, each of which holds a batch of its names at a time: a cookie stays
 * valid while entries go, so reading goes on behind the batch that was removed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "target.h"

struct options {
	bool recurse, force, verbose;
};

enum { BATCH = 256 };

/* A directory being emptied. */
struct level {
	struct level *up;
	uint64_t parent, ino; /* ino holds a lookup */
	char *name;           /* in parent */
	char *path;           /* for messages */
	char *names[BATCH];
	mode_t modes[BATCH];
	unsigned n;
	uint64_t cookie;
	bool end, failed; /* failed: something stays in it */
};

struct command {
	struct cli *c;
	struct options o;
	int status;
};

static void note(struct command *k, int rc, const char *path)
{
	k->status = cli_worse(k->status, cli_error(k->c, rc, path));
}

/* Removes one name that is no directory, or an empty directory. */
static int remove_name(struct command *k, uint64_t parent, const char *name, const char *path, bool dir)
{
	struct fs_caller caller = cli_caller(k->c);
	int rc = dir ? fs_rmdir(k->c->fs, &caller, parent, name) : fs_unlink(k->c->fs, &caller, parent, name);

	if (rc == -ENOENT)
		return 0;
	if (rc != 0) {
		note(k, rc, path);
		return rc;
	}
	if (k->o.verbose)
		fprintf(k->c->out, dir ? "removed directory '%s'\n" : "removed '%s'\n", path);
	return 0;
}

static void pop(struct command *k, struct level **top)
{
	struct level *l = *top;

	while (l->n > 0)
		free(l->names[--l->n]);
	fs_forget(k->c->fs, l->ino, 1);
	*top = l->up;
	free(l->name);
	free(l->path);
	free(l);
}

static void push(struct command *k, struct level **top, uint64_t parent, const char *name, const char *path)
{
	struct level *l = calloc(1, sizeof(*l));
	struct fs_entry e;
	int rc = -ENOMEM;

	if (l == NULL)
		goto fail;
	l->name = strdup(name);
	l->path = strdup(path);
	if (l->name == NULL || l->path == NULL)
		goto fail;
	rc = fs_lookup(k->c->fs, parent, name, &e);
	if (rc != 0)
		goto fail;
	l->parent = parent;
	l->ino = e.st.st_ino;
	l->up = *top;
	*top = l;
	return;
fail:
	if (l != NULL) {
		free(l->name);
		free(l->path);
		free(l);
	}
	if (rc != -ENOENT) {
		note(k, rc, path);
		if (*top != NULL)
			(*top)->failed = true;
	}
}

static int take_name(void *arg, const char *name, size_t len, uint64_t ino, mode_t type, uint64_t cookie,
		const struct fs_entry *e)
{
	struct level *l = arg;

	(void)ino;
	(void)e;
	if (l->n == BATCH)
		return 1;
	if ((len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.')) {
		l->cookie = cookie;
		return 0;
	}
	l->names[l->n] = strndup(name, len);
	if (l->names[l->n] == NULL)
		return 1;
	l->modes[l->n++] = type;
	l->cookie = cookie;
	return 0;
}

/* The next names of l; l->end when there are none. */
static void refill(struct command *k, struct level *l)
{
	struct fs_dir *d;
	uint64_t before = l->cookie;
	int rc = fs_opendir(k->c->fs, l->ino, &d);

	if (rc == 0) {
		rc = fs_readdir(k->c->fs, d, l->cookie, false, take_name, l);
		fs_closedir(k->c->fs, d);
	}
	if (rc < 0) {
		note(k, rc, l->path);
		l->failed = true;
	}
	l->end = rc < 0 || (l->n == 0 && l->cookie == before);
}

static void remove_tree(struct command *k, uint64_t parent, const char *name, const char *path)
{
	struct level *top = NULL;

	push(k, &top, parent, name, path);
	while (top != NULL) {
		struct level *l = top;
		char *below, *entry;
		bool dir;

		if (cli_stopped(k->c)) {
			pop(k, &top);
			continue;
		}
		if (l->n == 0 && !l->end)
			refill(k, l);
		if (l->n == 0 && l->end) {
			if ((l->failed || remove_name(k, l->parent, l->name, l->path, true) != 0) &&
					l->up != NULL)
				l->up->failed = true;
			pop(k, &top);
			continue;
		}
		if (l->n == 0)
			continue;
		entry = l->names[--l->n];
		dir = S_ISDIR(l->modes[l->n]);
		below = cli_join_shown(l->path, entry);
		if (below == NULL) {
			note(k, -ENOMEM, l->path);
			l->failed = true;
		} else if (dir) {
			push(k, &top, l->ino, entry, below);
		} else if (remove_name(k, l->ino, entry, below, false) != 0) {
			l->failed = true;
		}
		free(below);
		free(entry);
	}
}

static void remove_target(struct command *k, const struct target *t)
{
	struct fs_entry parent, e;
	char *copy, *slash, *name;
	size_t n = strlen(t->path);
	int rc;

	copy = strdup(t->path);
	if (copy == NULL) {
		note(k, -ENOMEM, t->text);
		return;
	}
	while (n > 0 && copy[n - 1] == '/')
		copy[--n] = '\0';
	slash = strrchr(copy, '/');
	name = slash != NULL ? slash + 1 : copy;
	if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		note(k, ckpt_fail(EINVAL, "%s: \".\", \"..\" and the root are not removed", t->text),
				t->text);
		free(copy);
		return;
	}
	if (slash != NULL)
		*slash = '\0';
	rc = fs_resolve(k->c->fs, slash != NULL ? copy : "", true, &parent);
	if (rc == 0) {
		rc = fs_lookup(k->c->fs, parent.st.st_ino, name, &e);
		if (rc == 0) {
			fs_forget(k->c->fs, e.st.st_ino, 1);
			if (!S_ISDIR(e.st.st_mode))
				remove_name(k, parent.st.st_ino, name, t->text, false);
			else if (k->o.recurse)
				remove_tree(k, parent.st.st_ino, name, t->text);
			else
				note(k, ckpt_fail(EINVAL, "%s: is a directory; -r removes it", t->text),
						t->text);
		}
		fs_forget(k->c->fs, parent.st.st_ino, 1);
	}
	if (rc != 0 && !(k->o.force && (rc == -ENOENT || rc == -ENOTDIR)))
		note(k, rc, t->text);
	free(copy);
}

static int remove_targets(struct cli *c, const struct target *t, size_t n, const struct options *o)
{
	struct command k = { .c = c, .o = *o };
	int rc;

	for (size_t i = 0; i < n && !cli_cancelled(c); i++)
		remove_target(&k, &t[i]);
	rc = store_commit(fs_store(c->fs), true);
	if (rc != 0)
		note(&k, rc, NULL);
	return cli_cancelled(c) ? cli_worse(k.status, CLI_FAILED) : k.status;
}

static bool option(void *arg, int opt, const char *value)
{
	struct options *o = arg;

	(void)value;
	if (opt == 'f')
		o->force = true;
	else if (opt == 'v')
		o->verbose = true;
	else
		o->recurse = true;
	return true;
}

static int cmd_rm(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "force", no_argument, NULL, 'f' },
		{ "recursive", no_argument, NULL, 'r' },
		{ "verbose", no_argument, NULL, 'v' },
		{ 0 },
	};
	struct options o = { 0 };
	struct target *t;
	int at, status = cli_options(c, argc, argv, "frRv", longs, option, &o, &at);

	if (status != -1)
		return status;
	if (at == argc)
		return o.force ? CLI_DONE : cli_usage(c, "STORE:PATH is needed");
	status = targets_parse(c, argv + at, argc - at, TARGET_STORE, &t);
	if (status != -1)
		return status;
	status = cli_attach(c, t, (size_t)(argc - at), CLI_WRITE);
	if (status == -1)
		status = cli_detach(c, remove_targets(c, t, (size_t)(argc - at), &o));
	targets_free(t, (size_t)(argc - at));
	return status;
}

const struct cli_command command_rm = {
	.name = "rm",
	.synopsis = "rm [-frv] STORE:PATH...",
	.summary = "remove files and trees from a store",
	.help = "  -r, -R, --recursive  directories with all that is in them\n"
		"  -f, --force          what is not there is no error\n"
		"  -v, --verbose        name what is removed\n"
		"      --help           this text\n",
	.served = true,
	.run = cmd_rm,
};
