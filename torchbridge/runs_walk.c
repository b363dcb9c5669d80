/*
 * runs_walk.c: the walk over the tree: which run and which experience each file belongs to.
 *
 * Two forms of layouts there are.  A directory is an experience when its name is a count (or best, or last)
 * and a checkpoint lies right in it: its files are components, its run is the directory above.  In all other
 * directories each checkpoint file is an experience of its own and the directory is the run; where names
 * differ in more than their count it holds several runs, which are called after what is left of the names.
 * Files that are named as components (model.pt, optimizer.pt) and lie in a directory that counts nothing are
 * one experience of it.
 *
 * Nothing below an experience is a run.  Symlinks are not followed: what they lead to is met where it lies.
 */
#include "runs_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "codec/ckpt_error.h"

struct todo {
	const char *path;
	const char *experience; /* the directory whose experience the files belong to; NULL: not known yet */
	const struct runs_name *name;
};

struct walk {
	const struct bridge_files *files;
	struct runs_arena *arena;
	struct todo *todo;
	size_t todos, todo_cap;
	struct runs_file **out;
	size_t count, cap;

	/* The directory at hand. */
	const char *dir;
	struct runs_file **file;
	size_t n, file_cap;
	const char **sub;
	size_t subs, sub_cap;
};

static int push(struct walk *w, const char *path, const char *experience, const struct runs_name *name)
{
	int rc = runs_grow(&w->todo, w->todos, &w->todo_cap, sizeof *w->todo);

	if (rc == 0)
		w->todo[w->todos++] = (struct todo){ path, experience, name };
	return rc;
}

static int emit(void *arg, const char *name, size_t len, const struct stat *st)
{
	struct walk *w = arg;
	struct runs_name said;
	struct runs_file *f;
	char *text;
	int rc;

	if (S_ISDIR(st->st_mode)) {
		if ((len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
			return 0;
		rc = runs_grow(&w->sub, w->subs, &w->sub_cap, sizeof *w->sub);
		text = rc == 0 ? runs_text(w->arena, name, len) : NULL;
		if (text == NULL)
			return -ENOMEM;
		w->sub[w->subs++] = text;
		return 0;
	}
	if (!S_ISREG(st->st_mode) && !S_ISLNK(st->st_mode))
		return 0;
	runs_name_file(name, len, &said);
	if (said.role == RUNS_NOTHING)
		return 0;
	rc = runs_grow(&w->file, w->n, &w->file_cap, sizeof *w->file);
	f = rc == 0 ? runs_alloc(w->arena, 1, sizeof *f) : NULL;
	text = f != NULL ? runs_text(w->arena, name, len) : NULL;
	if (text == NULL)
		return -ENOMEM;
	f->name = text;
	f->said = runs_name_keep(w->arena, &said);
	f->path = runs_join(w->arena, w->dir, text);
	if (f->said == NULL || f->path == NULL)
		return -ENOMEM;
	f->size = (uint64_t)st->st_size;
	f->mtime_ns = (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
	f->ino = st->st_ino;
	f->link = S_ISLNK(st->st_mode);
	f->number = RUNS_NONE;
	w->file[w->n++] = f;
	return 0;
}

/* A file beside checkpoints that may tell of metrics. */
static bool tells(const struct runs_file *f)
{
	const char *suffix = f->name + f->said->suffix;

	if (f->said->role != RUNS_BESIDE || f->said->component != RUNS_METRICS || f->said->rank_only)
		return false;
	return strcasecmp(suffix, ".json") == 0 || strcmp(f->name, "metrics.csv") == 0;
}

static int facts(struct walk *w)
{
	for (size_t i = 0; i < w->n; i++) {
		struct runs_file *f = w->file[i];
		struct stat st;
		int rc;

		if (f->link) {
			/* stat() follows: what it leads to is known by its inode. */
			f->ino = w->files->stat(w->files->arg, f->path, &st) == 0 && S_ISREG(st.st_mode)
						 ? st.st_ino
						 : 0;
			continue;
		}
		if (f->said->role == RUNS_BESIDE && !tells(f))
			continue;
		if (f->said->rank_only && f->said->framework == RUNS_DCP && strcmp(f->name, ".metadata") != 0)
			continue; /* .metadata tells of it */
		rc = runs_fact_of(w->files, w->arena, f->path, f->said, f->size, &f->fact);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Whether a file is a checkpoint, or was to be one. */
static bool checkpoint(const struct runs_file *f)
{
	if (f->link || f->said->role == RUNS_BESIDE || f->said->role == RUNS_NOTHING)
		return false;
	if (f->fact == NULL) /* a shard */
		return true;
	switch (f->fact->state) {
	case RUNS_READABLE:
		return f->said->role == RUNS_COMPONENT || f->fact->kind != RUNS_IS_DATA;
	case RUNS_TORN:
		return f->said->torch || f->said->role == RUNS_COMPONENT;
	case RUNS_OPAQUE:
		return f->said->torch || f->said->role == RUNS_COMPONENT;
	default:
		return false;
	}
}

static int place(struct walk *w, struct runs_file *f, const char *run)
{
	int rc = runs_grow(&w->out, w->count, &w->cap, sizeof *w->out);

	if (rc < 0)
		return rc;
	f->run = run;
	w->out[w->count++] = f;
	return 0;
}

/*
 * The directory of a run: without "checkpoints" for those that always save below one; "root" for the tree's
 * own.
 */
static const char *run_of(struct walk *w, const char *dir, size_t len, int framework)
{
	if ((framework == RUNS_ACCELERATE || framework == RUNS_LIGHTNING) && len > 12 &&
			memcmp(dir + len - 12, "/checkpoints", 12) == 0)
		len -= 12;
	else if ((framework == RUNS_ACCELERATE || framework == RUNS_LIGHTNING) && len == 11 &&
			memcmp(dir, "checkpoints", 11) == 0)
		len = 0;
	return len > 0 ? runs_text(w->arena, dir, len) : "root";
}

static int framework_here(const struct walk *w)
{
	int framework = -1;

	for (size_t i = 0; i < w->n; i++) {
		const struct runs_file *f = w->file[i];
		int x = f->fact != NULL && f->fact->framework >= 0 ? f->fact->framework : f->said->framework;

		if (x == RUNS_LIGHTNING || x == RUNS_ACCELERATE)
			return x;
		framework = x >= 0 ? x : framework;
	}
	return framework;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* All files of the directory at hand are components of one experience. */
static int whole(struct walk *w, const char *dir, const struct runs_name *name, const char *run)
{
	int rc = run == NULL ? -ENOMEM : 0;

	for (size_t i = 0; i < w->n && rc == 0; i++) {
		w->file[i]->dir = dir;
		w->file[i]->dir_name = name;
		rc = place(w, w->file[i], run);
	}
	return rc;
}

/*
 * The directory of an experience, if the one at hand is one: its name counts, and a checkpoint lies in it
 * without a count.
 */
static bool is_experience(const struct walk *w)
{
	for (size_t i = 0; i < w->n; i++)
		if (checkpoint(w->file[i]) && w->file[i]->said->counter == RUNS_COUNT_NONE &&
				!w->file[i]->said->many)
			return true;
	return false;
}

/* Of how many sorts the names are; *one: the only one that is not "". */
static size_t sorts(const struct walk *w)
{
	const char *one = NULL;

	for (size_t i = 0; i < w->n; i++) {
		const struct runs_file *f = w->file[i];

		if (!checkpoint(f) || f->said->many || f->said->stem_len == 0 ||
				(f->said->role == RUNS_COMPONENT && f->said->counter == RUNS_COUNT_NONE))
			continue;
		if (one != NULL && strcmp(one, f->said->stem) != 0)
			return 2;
		one = f->said->stem;
	}
	return one != NULL ? 1 : 0;
}

/* A directory of files that are experiences of their own. */
static int single(struct walk *w)
{
	const char *run = run_of(w, w->dir, strlen(w->dir), framework_here(w));
	bool many = sorts(w) > 1, parts = false;
	int rc = run == NULL ? -ENOMEM : 0;

	for (size_t i = 0; i < w->n; i++)
		parts |= checkpoint(w->file[i]) && w->file[i]->said->role == RUNS_COMPONENT &&
			 w->file[i]->said->counter == RUNS_COUNT_NONE;
	for (size_t i = 0; i < w->n && rc == 0; i++) {
		struct runs_file *f = w->file[i];
		const char *own = run;

		if (tells(f)) {
			f->log = true;
			rc = place(w, f, run);
			if (rc < 0 || !parts)
				continue;
		}
		if (f->said->role == RUNS_BESIDE ||
				(f->said->role == RUNS_COMPONENT && f->said->counter == RUNS_COUNT_NONE)) {
			if (!parts || f->log)
				continue;
			f->dir = w->dir;
			rc = place(w, f, run);
			continue;
		}
		/*
		 * A damaged one among others that count as it does is told of; one alone is just some file.
		 */
		if (!checkpoint(f) && !f->link &&
				!(f->said->torch && f->said->counter != RUNS_COUNT_NONE && f->fact != NULL &&
						f->fact->state == RUNS_UNKNOWN))
			continue;
		if ((many || f->said->many) && f->said->stem_len > 0)
			own = runs_join(w->arena, strcmp(run, "root") == 0 ? "" : run, f->said->stem);
		if (own == NULL)
			return -ENOMEM;
		rc = place(w, f, own);
	}
	return rc;
}

static int below(struct walk *w, const char *experience, const struct runs_name *name, bool inner_only)
{
	for (size_t i = 0; i < w->subs; i++) {
		bool inner = runs_name_inner(w->sub[i], strlen(w->sub[i]));
		const char *path;
		int rc;

		if (inner_only && !inner)
			continue;
		path = runs_join(w->arena, w->dir, w->sub[i]);
		rc = path == NULL ? -ENOMEM
				  : push(w, path, experience != NULL && inner ? experience : NULL,
						    experience != NULL && inner ? name : NULL);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int one(struct walk *w, const struct todo *t)
{
	const char *base = base_of(t->path);
	struct runs_name said;
	struct runs_name *kept;
	bool counts, is;
	int rc = facts(w);

	if (rc < 0)
		return rc;
	if (t->experience != NULL) {
		size_t len = strlen(t->experience) - strlen(base_of(t->experience));

		rc = whole(w, t->experience, t->name,
				run_of(w, t->experience, len > 0 ? len - 1 : 0, framework_here(w)));
		return rc < 0 ? rc : below(w, t->experience, t->name, true);
	}
	counts = base[0] != 0 && runs_name_directory(base, strlen(base), &said);
	is = counts && is_experience(w);
	if (!counts) {
		rc = single(w);
		return rc < 0 ? rc : below(w, NULL, NULL, false);
	}
	kept = runs_name_keep(w->arena, &said);
	if (kept == NULL)
		return -ENOMEM;
	if (is) {
		size_t len = (size_t)(base - t->path);

		rc = whole(w, t->path, kept, run_of(w, t->path, len > 0 ? len - 1 : 0, framework_here(w)));
		return rc < 0 ? rc : below(w, t->path, kept, true);
	}
	rc = single(w);
	return rc < 0 ? rc : below(w, t->path, kept, false);
}

int runs_walk(const struct bridge_files *files, struct runs_arena *a, const char *root,
		struct runs_file ***out, size_t *count)
{
	struct walk w = { .files = files, .arena = a };
	const char *top = runs_text(a, root, strlen(root));
	int rc = top == NULL ? -ENOMEM : push(&w, top, NULL, NULL);

	while (w.todos > 0 && rc == 0) {
		struct todo t = w.todo[--w.todos];

		w.dir = t.path;
		w.n = w.subs = 0;
		rc = files->list(files->arg, t.path, emit, &w);
		/* What went away meanwhile, or may not be read, holds nothing; the top must be there. */
		if (rc < 0 && rc != -ENOMEM && t.path != top) {
			rc = 0;
			w.n = w.subs = 0;
		}
		if (rc == 0)
			rc = one(&w, &t);
	}
	free(w.todo);
	free(w.file);
	free(w.sub);
	if (rc < 0) {
		free(w.out);
		return rc;
	}
	*out = w.out;
	*count = w.count;
	return 0;
}
