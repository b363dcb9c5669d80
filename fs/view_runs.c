/*
 * view_runs.c: @runs, the tree as runs, experiences and components.
 *
 * Whatever framework wrote it, what a scan (view_scan.c) found is shown as
 *
 *     @runs/<run>/<experience>/<component>      @runs/<run>/latest, best: links to experiences
 *     @runs/<run>/metrics.csv, metrics.svg, report.html
 *
 * A component is a file of the tree as it is, or a part of one, made as a layout over it.  A scan may be a
 * little older than the tree; a component whose file has changed since is noticed by that file's mtime,
 * and the question is asked again of a new scan.
 *
 * A directory that is one in the tree has its mode and owner; for what is only here see view_access.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "view_runs.h"

int runs_moved(struct runs_place *p, int rc, const char *what)
{
	if (rc != -ENOENT && rc != -ENOTDIR)
		return rc;
	view_scan_wrong(p->fs, p->scan);
	return ckpt_fail(ESTALE, "'%s' was replaced", what);
}

int runs_refuse(struct runs_place *p, const struct fs_mark *m, const char *what)
{
	const char *run = bridge_runs_at(p->scan->runs, p->run)->path;
	struct view_fact said = { .verdict = VIEW_BAD }, before;
	struct view_host *h = p->fs->host;
	bool first;

	strncpy(said.text, ckpt_errmsg(), sizeof(said.text) - 1);
	ckpt_mutex_lock(&h->said);
	first = view_fact_get(p->fs, m, "said", &before) < 0;
	if (first)
		view_fact_put(p->fs, m, "said", &said);
	pthread_mutex_unlock(&h->said);
	if (first)
		ckpt_log(LOG_WARNING, "views can't show '%s' of the run '%s': %s", what, run, said.text);
	return ckpt_fail(EIO, "views can't show '%s' of the run '%s': %s", what, run, said.text);
}

static void place_release(struct runs_place *p)
{
	view_scan_put(p->fs, p->scan);
}

static bool has_text(const struct runs_place *p, enum runs_text t)
{
	return t == RUNS_REPORT || bridge_runs_metrics(p->scan->runs, p->run) > 0;
}

/* An entry of run p->run. */
static bool find_in_run(struct runs_place *p, const char *name)
{
	const struct bridge_runs *r = p->scan->runs;
	const struct bridge_run *run = bridge_runs_at(r, p->run);
	int64_t to = strcmp(name, "latest") == 0 ? run->latest : strcmp(name, "best") == 0 ? run->best : -1;
	int64_t i = bridge_runs_find_experience(r, p->run, name);

	if (i >= 0) {
		p->kind = RUNS_EXPERIENCE;
		p->experience = (size_t)i;
		return true;
	}
	if (to >= 0) {
		p->kind = RUNS_LINK;
		p->target = bridge_runs_experience(r, p->run, (size_t)to)->name;
		return true;
	}
	for (p->text = 0; p->text < RUNS_TEXTS; p->text++)
		if (strcmp(name, runs_texts[p->text]) == 0)
			break;
	p->kind = RUNS_TEXT;
	return p->text < RUNS_TEXTS && has_text(p, p->text);
}

/* path is cut up here. */
static bool find_in_scan(struct runs_place *p, char *path)
{
	const struct bridge_runs *r = p->scan->runs;
	char *last, *above;
	int64_t i;

	p->kind = RUNS_DIRECTORY;
	p->below = bridge_runs_below(r, path, &p->first);
	if (p->below > 0 || path[0] == '\0')
		return true;
	last = strrchr(path, '/');
	if (!last)
		return false;
	*last++ = '\0';
	i = bridge_runs_find(r, path);
	if (i >= 0) {
		p->run = (size_t)i;
		return find_in_run(p, last);
	}
	above = strrchr(path, '/');
	if (!above)
		return false;
	*above++ = '\0';
	i = bridge_runs_find(r, path);
	if (i < 0)
		return false;
	p->run = (size_t)i;
	i = bridge_runs_find_experience(r, p->run, above);
	if (i < 0)
		return false;
	p->experience = (size_t)i;
	i = bridge_runs_find_component(r, p->run, p->experience, last);
	p->component = (size_t)i;
	p->kind = RUNS_COMPONENT;
	return i >= 0;
}

static int place_find(struct fs *fs, const char *path, struct runs_place *out)
{
	char *copy = strdup(path);
	int rc = copy ? 0 : ckpt_fail(ENOMEM, "no memory for a path");

	*out = (struct runs_place){ .fs = fs };
	if (rc == 0)
		rc = view_scan_get(fs, &out->scan);
	if (rc == 0 && !find_in_scan(out, copy)) {
		place_release(out);
		rc = ckpt_fail(ENOENT, "no '%s' among the runs", path);
	}
	free(copy);
	return rc;
}

/* --- attributes -------------------------------------------------------------------------------------- */

static struct timespec when(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u) };
}

/* The mode of the directory at its path, or of the nearest one above: a part of a file's name is one here. */
static int directory_look(struct runs_place *p, const char *path, struct stat *st)
{
	char *copy = strdup(path), *slash;
	struct view_source s;
	int rc;

	if (!copy)
		return ckpt_fail(ENOMEM, "no memory for a path");
	for (;;) {
		rc = view_source_find(p->fs, copy, false, NULL, &s);
		if ((rc == 0 && S_ISDIR(s.st.st_mode)) || (rc < 0 && rc != -ENOENT && rc != -ENOTDIR))
			break;
		slash = strrchr(copy, '/');
		*(slash ? slash : copy) = '\0';
	}
	free(copy);
	if (rc == 0)
		*st = s.st;
	return rc;
}

/* Who may list the directories that an experience's files lie in. */
static int experience_look(struct runs_place *p, struct stat *st)
{
	const struct bridge_experience *e = bridge_runs_experience(p->scan->runs, p->run, p->experience);
	struct view_access a = { .any = false };
	char *dir = NULL, *slash;
	int rc = 0;

	for (size_t c = 0; c < e->components && rc == 0; c++) {
		const char *source =
				bridge_runs_component_at(p->scan->runs, p->run, p->experience, c)->source;
		size_t len = (slash = strrchr(source, '/')) ? (size_t)(slash - source) : 0;

		if (dir && strlen(dir) == len && memcmp(dir, source, len) == 0)
			continue;
		free(dir);
		dir = strndup(source, len);
		rc = dir ? view_access_path(p->fs, &a, dir, 5, NULL)
			 : ckpt_fail(ENOMEM, "no memory for a path");
	}
	free(dir);
	if (rc < 0)
		return runs_moved(p, rc, e->name);
	if (a.any) {
		st->st_uid = a.uid;
		st->st_gid = a.gid;
	}
	st->st_mode = S_IFDIR | a.mode | a.mode >> 2;
	st->st_mtim = st->st_ctim = st->st_atim = when(e->mtime_ns);
	return 0;
}

/* What is made for a run, its links too, is as old as the youngest of its experiences. */
static void made_look(const struct runs_place *p, struct stat *st)
{
	size_t n = bridge_runs_at(p->scan->runs, p->run)->experiences;
	uint64_t youngest = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t t = bridge_runs_experience(p->scan->runs, p->run, i)->mtime_ns;

		youngest = t > youngest ? t : youngest;
	}
	if (youngest > 0)
		st->st_mtim = st->st_ctim = st->st_atim = when(youngest);
}

static int runs_stat(struct fs *fs, const char *name, const char *path, struct fs_view_look *look)
{
	struct runs_place p;
	int rc = place_find(fs, path, &p);

	(void)name;
	if (rc < 0)
		return rc;
	switch (p.kind) {
	case RUNS_DIRECTORY:
		rc = directory_look(&p, path, &look->st);
		break;
	case RUNS_EXPERIENCE:
		rc = experience_look(&p, &look->st);
		break;
	case RUNS_COMPONENT:
		rc = runs_component_look(&p, look);
		break;
	case RUNS_LINK:
		look->st.st_mode = S_IFLNK | 0777;
		look->st.st_size = (off_t)strlen(p.target);
		made_look(&p, &look->st);
		break;
	case RUNS_TEXT:
		rc = runs_text_look(&p, look);
		made_look(&p, &look->st);
		break;
	}
	place_release(&p);
	return rc;
}

/* --- directories ------------------------------------------------------------------------------------- */

/* The directories below `path` on the way to runs: neighbours in the order of runs, so each is told once. */
static int list_ways(struct runs_place *p, const char *path, fs_view_emit emit, void *arg)
{
	size_t len = strlen(path), before_len = 0;
	const char *before = NULL;
	int rc = 0;

	for (size_t i = p->first; i < p->first + p->below && rc == 0; i++) {
		const char *name = bridge_runs_at(p->scan->runs, i)->path + len;
		size_t n;

		name += *name == '/';
		n = strcspn(name, "/");
		if (n == 0 || (before && n == before_len && memcmp(before, name, n) == 0))
			continue;
		before = name;
		before_len = n;
		rc = emit(arg, name, n, S_IFDIR);
	}
	return rc;
}

static int list_run(struct runs_place *p, fs_view_emit emit, void *arg)
{
	const struct bridge_runs *r = p->scan->runs;
	const struct bridge_run *run = bridge_runs_at(r, p->run);
	int rc = 0;

	for (size_t e = 0; e < run->experiences && rc == 0; e++) {
		const char *name = bridge_runs_experience(r, p->run, e)->name;

		rc = emit(arg, name, strlen(name), S_IFDIR);
	}
	if (rc == 0 && run->latest >= 0)
		rc = emit(arg, "latest", strlen("latest"), S_IFLNK);
	if (rc == 0 && run->best >= 0)
		rc = emit(arg, "best", strlen("best"), S_IFLNK);
	for (enum runs_text t = 0; t < RUNS_TEXTS && rc == 0; t++)
		if (has_text(p, t))
			rc = emit(arg, runs_texts[t], strlen(runs_texts[t]), S_IFREG);
	return rc;
}

static int list_experience(struct runs_place *p, fs_view_emit emit, void *arg)
{
	const struct bridge_runs *r = p->scan->runs;
	size_t n = bridge_runs_experience(r, p->run, p->experience)->components;
	int rc = 0;

	for (size_t c = 0; c < n && rc == 0; c++) {
		const char *name = bridge_runs_component_at(r, p->run, p->experience, c)->name;

		rc = emit(arg, name, strlen(name), S_IFREG);
	}
	return rc;
}

static int runs_list(struct fs *fs, const char *name, const char *path, fs_view_emit emit, void *arg)
{
	struct runs_place p;
	int64_t run;
	int rc = place_find(fs, path, &p);

	(void)name;
	if (rc < 0)
		return rc;
	switch (p.kind) {
	case RUNS_DIRECTORY:
		rc = list_ways(&p, path, emit, arg);
		run = rc == 0 ? bridge_runs_find(p.scan->runs, path) : -1;
		if (run >= 0) {
			p.run = (size_t)run;
			rc = list_run(&p, emit, arg);
		}
		break;
	case RUNS_EXPERIENCE:
		rc = list_experience(&p, emit, arg);
		break;
	default:
		rc = ckpt_fail(ENOTDIR, "'%s' is no directory", path);
	}
	place_release(&p);
	return rc;
}

static ssize_t runs_readlink(struct fs *fs, const char *name, const char *path, char *buf, size_t cap)
{
	struct runs_place p;
	ssize_t n = place_find(fs, path, &p);

	(void)name;
	if (n < 0)
		return n;
	if (p.kind == RUNS_LINK) {
		n = (ssize_t)strlen(p.target);
		if ((size_t)n > cap)
			n = (ssize_t)cap;
		memcpy(buf, p.target, (size_t)n);
	} else {
		n = ckpt_fail(EINVAL, "'%s' is no symbolic link", path);
	}
	place_release(&p);
	return n;
}

static int runs_open(struct fs *fs, const char *name, const char *path, struct fs_view_file *out)
{
	struct runs_place p;
	int rc = place_find(fs, path, &p);

	(void)name;
	if (rc < 0)
		return rc;
	if (p.kind == RUNS_COMPONENT)
		rc = runs_component_open(&p, out);
	else if (p.kind == RUNS_TEXT)
		rc = runs_text_open(&p, out);
	else
		rc = ckpt_fail(EISDIR, "'%s' is no file", path);
	place_release(&p);
	return rc;
}

const struct fs_view fs_view_runs = {
	.name = "@runs",
	.stat = runs_stat,
	.list = runs_list,
	.readlink = runs_readlink,
	.open = runs_open,
};
