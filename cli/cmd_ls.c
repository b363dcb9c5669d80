/*
 * cmd_ls.c: ckptfs ls: what is in a directory of a store.
 *
 * Names are sorted by their bytes, so that the output does not depend on whose locale the owner runs in.
 */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "format.h"
#include "target.h"

struct options {
	bool all, almost_all, dirs, human, details, recurse, one, numeric, json;
};

struct entry {
	char *name;
	struct stat st;
};

struct list {
	struct entry *e;
	size_t n, cap;
};

struct command {
	struct cli *c;
	struct options o;
	time_t now;
	int status;
	size_t printed; /* JSON objects, or listings of directories, so far */
	/* the last names looked up: a directory's entries mostly have one owner */
	uid_t uid;
	gid_t gid;
	char owner[FORMAT_LEN], group[FORMAT_LEN];
	bool uid_known, gid_known;
};

static void note(struct command *k, int rc, const char *subject)
{
	k->status = cli_worse(k->status, cli_error(k->c, rc, subject));
}

/* --- lists ---------------------------------------------------------------------------------------- */

static int list_add(struct list *l, const char *name, size_t len, const struct stat *st)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct entry *grown = reallocarray(l->e, cap, sizeof(*grown));

		if (grown == NULL)
			return ckpt_fail(ENOMEM, "list: out of memory");
		l->e = grown;
		l->cap = cap;
	}
	l->e[l->n] = (struct entry){ .name = strndup(name, len), .st = *st };
	if (l->e[l->n].name == NULL)
		return ckpt_fail(ENOMEM, "list: out of memory");
	l->n++;
	return 0;
}

static void list_release(struct list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->e[i].name);
	free(l->e);
	*l = (struct list){ 0 };
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

struct reading {
	struct command *k;
	struct list *l;
	uint64_t cookie;
	int rc;
};

static int take_entry(void *arg, const char *name, size_t len, uint64_t ino, mode_t type, uint64_t cookie,
		const struct fs_entry *e)
{
	struct reading *r = arg;
	const struct options *o = &r->k->o;
	struct stat st = { .st_ino = ino, .st_mode = type };

	if (cli_stopped(r->k->c))
		return 1;
	r->cookie = cookie;
	if (name[0] == '.' && !o->all && !(o->almost_all && e != NULL))
		goto skip;
	r->rc = list_add(r->l, name, len, e != NULL ? &e->st : &st);
	if (r->rc != 0)
		return 1;
skip:
	if (e != NULL)
		fs_forget(r->k->c->fs, e->st.st_ino, 1);
	return 0;
}

/* "." and ".." come without attributes. */
static void fill_dots(struct command *k, uint64_t ino, struct list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct fs_entry e;
		const char *name = l->e[i].name;

		if (strcmp(name, ".") == 0 && fs_getattr(k->c->fs, ino, &e) == 0) {
			l->e[i].st = e.st;
		} else if (strcmp(name, "..") == 0 && fs_getattr(k->c->fs, l->e[i].st.st_ino, &e) == 0) {
			l->e[i].st = e.st;
		}
	}
}

static int read_directory(struct command *k, uint64_t ino, struct list *l)
{
	struct reading r = { .k = k, .l = l };
	struct fs_dir *d;
	int rc = fs_opendir(k->c->fs, ino, &d);

	if (rc != 0)
		return rc;
	rc = fs_readdir(k->c->fs, d, 0, true, take_entry, &r);
	fs_closedir(k->c->fs, d);
	if (rc >= 0)
		rc = r.rc;
	if (rc != 0)
		return rc;
	if (k->o.all)
		fill_dots(k, ino, l);
	if (l->n > 0)
		qsort(l->e, l->n, sizeof(*l->e), by_name);
	return 0;
}

/* --- printing ------------------------------------------------------------------------------------- */

static const char *owner_name(struct command *k, uid_t uid)
{
	struct passwd p, *found = NULL;
	char buf[4096];

	if (k->uid_known && k->uid == uid)
		return k->owner;
	if (!k->o.numeric && getpwuid_r(uid, &p, buf, sizeof(buf), &found) == 0 && found != NULL)
		snprintf(k->owner, sizeof(k->owner), "%s", p.pw_name);
	else
		snprintf(k->owner, sizeof(k->owner), "%u", (unsigned)uid);
	k->uid = uid;
	k->uid_known = true;
	return k->owner;
}

static const char *group_name(struct command *k, gid_t gid)
{
	struct group g, *found = NULL;
	char buf[4096];

	if (k->gid_known && k->gid == gid)
		return k->group;
	if (!k->o.numeric && getgrgid_r(gid, &g, buf, sizeof(buf), &found) == 0 && found != NULL)
		snprintf(k->group, sizeof(k->group), "%s", g.gr_name);
	else
		snprintf(k->group, sizeof(k->group), "%u", (unsigned)gid);
	k->gid = gid;
	k->gid_known = true;
	return k->group;
}

static const char *colour_of(const struct stat *st)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFDIR:
		return "\033[1;34m";
	case S_IFLNK:
		return "\033[36m";
	case S_IFREG:
		return st->st_mode & 0111 ? "\033[32m" : "";
	default:
		return "\033[33m";
	}
}

static void print_name(struct command *k, const struct entry *e)
{
	FILE *f = k->c->out;
	const char *colour = k->c->colour ? colour_of(&e->st) : "";

	fputs(colour, f);
	format_name(f, e->name, strlen(e->name), k->c->out_tty);
	if (colour[0] != '\0')
		fputs("\033[0m", f);
}

static void size_text(struct command *k, const struct stat *st, char buf[FORMAT_LEN])
{
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		snprintf(buf, FORMAT_LEN, "%u, %u", major(st->st_rdev), minor(st->st_rdev));
	else if (k->o.human)
		format_short((uint64_t)st->st_size, buf);
	else
		snprintf(buf, FORMAT_LEN, "%llu", (unsigned long long)st->st_size);
}

static int widest(int a, int b)
{
	return a > b ? a : b;
}

static void print_details(struct command *k, const struct list *l)
{
	int links = 0, owner = 0, group = 0, size = 0;
	char mode[FORMAT_LEN], bytes[FORMAT_LEN], when[FORMAT_LEN], count[FORMAT_LEN], target[PATH_MAX];
	FILE *f = k->c->out;

	for (size_t i = 0; i < l->n; i++) {
		const struct stat *st = &l->e[i].st;

		size_text(k, st, bytes);
		links = widest(links, snprintf(count, sizeof(count), "%lu", (unsigned long)st->st_nlink));
		owner = widest(owner, (int)strlen(owner_name(k, st->st_uid)));
		group = widest(group, (int)strlen(group_name(k, st->st_gid)));
		size = widest(size, (int)strlen(bytes));
	}
	for (size_t i = 0; i < l->n && !cli_stopped(k->c); i++) {
		const struct entry *e = &l->e[i];
		const struct stat *st = &e->st;
		ssize_t n;

		size_text(k, st, bytes);
		fprintf(f, "%s %*lu %-*s %-*s %*s %s ", format_mode(st->st_mode, mode), links,
				(unsigned long)st->st_nlink, owner, owner_name(k, st->st_uid), group,
				group_name(k, st->st_gid), size, bytes,
				format_time(k->c->zone, &st->st_mtim, k->now, when));
		print_name(k, e);
		if (S_ISLNK(st->st_mode)) {
			n = fs_readlink(k->c->fs, st->st_ino, target, sizeof(target));
			if (n >= 0) {
				fputs(" -> ", f);
				format_name(f, target, (size_t)n, k->c->out_tty);
			}
		}
		fputc('\n', f);
	}
}

/* As many columns as fit, filled downwards. */
static void print_columns(struct command *k, const struct list *l)
{
	unsigned width = 0, columns;
	size_t rows;

	for (size_t i = 0; i < l->n; i++) {
		unsigned own = format_name_width(l->e[i].name, strlen(l->e[i].name));

		width = own > width ? own : width;
	}
	columns = (k->c->width + 1) / (width + 2);
	columns = columns > 0 ? columns : 1;
	rows = (l->n + columns - 1) / columns;
	for (size_t r = 0; r < rows && !cli_stopped(k->c); r++) {
		for (size_t i = r; i < l->n; i += rows) {
			unsigned own = format_name_width(l->e[i].name, strlen(l->e[i].name));

			print_name(k, &l->e[i]);
			if (i + rows < l->n)
				fprintf(k->c->out, "%*s", (int)(width + 2 - own), "");
		}
		fputc('\n', k->c->out);
	}
}

static const char *type_of(mode_t m)
{
	switch (m & S_IFMT) {
	case S_IFDIR:
		return "directory";
	case S_IFREG:
		return "file";
	case S_IFLNK:
		return "symlink";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	case S_IFCHR:
		return "char";
	default:
		return "block";
	}
}

static int json_entry(struct command *k, const char *dir, const struct entry *e)
{
	const struct stat *st = &e->st;
	json_t *o = json_object();
	char mode[FORMAT_LEN], target[PATH_MAX], *path;
	ssize_t n;
	int rc = 0;

	path = cli_join(dir, e->name);
	snprintf(mode, sizeof(mode), "%04o", (unsigned)st->st_mode & 07777);
	if (o == NULL || path == NULL)
		rc = ckpt_fail(ENOMEM, "json: out of memory");
	if (rc == 0)
		rc = format_json_text(o, "name", e->name, strlen(e->name));
	if (rc == 0)
		rc = format_json_text(o, "path", path, strlen(path));
	if (rc == 0 && S_ISLNK(st->st_mode)) {
		n = fs_readlink(k->c->fs, st->st_ino, target, sizeof(target));
		rc = n < 0 ? (int)n : format_json_text(o, "target", target, (size_t)n);
	}
	if (rc == 0 && json_object_update_new(o,
				       json_pack("{s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "type",
						       type_of(st->st_mode), "size", (json_int_t)st->st_size,
						       "mode", mode, "nlink", (json_int_t)st->st_nlink, "uid",
						       (json_int_t)st->st_uid, "gid", (json_int_t)st->st_gid,
						       "inode", (json_int_t)st->st_ino, "mtime",
						       format_json_time(&st->st_mtim), "ctime",
						       format_json_time(&st->st_ctim))) != 0)
		rc = ckpt_fail(ENOMEM, "json: out of memory");
	if (rc == 0) {
		fputs(k->printed++ == 0 ? "\n" : ",\n", k->c->out);
		if (json_dumpf(o, k->c->out, JSON_COMPACT | JSON_ENSURE_ASCII) != 0 && !cli_stopped(k->c))
			rc = ckpt_fail(ENOMEM, "json: out of memory");
	}
	json_decref(o);
	free(path);
	return rc;
}

static void print_list(struct command *k, const char *dir, const struct list *l)
{
	int rc = 0;

	if (k->o.json) {
		for (size_t i = 0; i < l->n && rc == 0 && !cli_stopped(k->c); i++)
			rc = json_entry(k, dir, &l->e[i]);
		if (rc != 0)
			note(k, rc, dir);
	} else if (k->o.details) {
		print_details(k, l);
	} else if (k->c->out_tty && !k->o.one) {
		print_columns(k, l);
	} else {
		for (size_t i = 0; i < l->n && !cli_stopped(k->c); i++) {
			print_name(k, &l->e[i]);
			fputc('\n', k->c->out);
		}
	}
}

/* --- directories ---------------------------------------------------------------------------------- */

/* Still to be listed, the next one last. */
struct pending {
	char **path, **title;
	size_t n, cap;
};

static int pend(struct pending *p, const char *dir, const char *title, const char *name)
{
	if (p->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 16;
		char **a = reallocarray(p->path, cap, sizeof(*a)), **b;

		if (a != NULL)
			p->path = a;
		b = a != NULL ? reallocarray(p->title, cap, sizeof(*b)) : NULL;
		if (b == NULL)
			return ckpt_fail(ENOMEM, "list: out of memory");
		p->title = b;
		p->cap = cap;
	}
	p->path[p->n] = cli_join(dir, name);
	p->title[p->n] = cli_join_shown(title, name);
	if (p->path[p->n] == NULL || p->title[p->n] == NULL) {
		free(p->path[p->n]);
		free(p->title[p->n]);
		return ckpt_fail(ENOMEM, "list: out of memory");
	}
	p->n++;
	return 0;
}

static void list_directories(struct command *k, struct pending *p, bool titles)
{
	while (p->n > 0 && !cli_stopped(k->c)) {
		char *path, *title;
		struct list l = { 0 };
		struct fs_entry e;
		int rc;

		p->n--;
		path = p->path[p->n];
		title = p->title[p->n];
		rc = fs_resolve(k->c->fs, path, true, &e);
		if (rc == 0) {
			rc = read_directory(k, e.st.st_ino, &l);
			fs_forget(k->c->fs, e.st.st_ino, 1);
		}
		if (rc == 0) {
			if (titles && !k->o.json) {
				fputs(k->printed > 0 ? "\n" : "", k->c->out);
				format_name(k->c->out, title, strlen(title), k->c->out_tty);
				fputs(":\n", k->c->out);
			}
			print_list(k, path, &l);
			k->printed += !k->o.json;
			for (size_t i = l.n; k->o.recurse && i-- > 0 && rc == 0;)
				if (S_ISDIR(l.e[i].st.st_mode) && strcmp(l.e[i].name, ".") != 0 &&
						strcmp(l.e[i].name, "..") != 0)
					rc = pend(p, path, title, l.e[i].name);
		}
		if (rc != 0)
			note(k, rc, title);
		list_release(&l);
		free(path);
		free(title);
	}
}

static void trim(char *path)
{
	size_t n = strlen(path);

	while (n > 0 && path[n - 1] == '/')
		path[--n] = '\0';
}

static int list_targets(struct cli *c, struct target *t, size_t n, const struct options *o)
{
	struct command k = { .c = c, .o = *o, .now = time(NULL) };
	struct pending dirs = { 0 };
	struct list files = { 0 };
	int rc;

	if (o->json)
		fputc('[', c->out);
	/* Backwards for the directories, which are taken from the end. */
	for (size_t i = n; i-- > 0;) {
		struct fs_entry e;
		bool slash = t[i].path[0] == '\0' || t[i].path[strlen(t[i].path) - 1] == '/';

		/* As ls: an operand that is a symlink to a directory is listed as that, unless it is to be shown itself. */
		rc = fs_resolve(c->fs, t[i].path, slash || (!o->details && !o->dirs), &e);
		if (rc == 0) {
			fs_forget(c->fs, e.st.st_ino, 1);
			trim(t[i].path);
			if (S_ISDIR(e.st.st_mode) && !o->dirs)
				rc = pend(&dirs, t[i].path, t[i].text, "");
			else
				rc = list_add(&files, o->json ? t[i].path : t[i].text,
						strlen(o->json ? t[i].path : t[i].text), &e.st);
		}
		if (rc != 0)
			note(&k, rc, t[i].text);
	}
	if (files.n > 0) {
		qsort(files.e, files.n, sizeof(*files.e), by_name);
		print_list(&k, "", &files);
		k.printed += !o->json;
	}
	list_directories(&k, &dirs, n > 1 || o->recurse);
	if (o->json)
		fputs(k.printed > 0 ? "\n]\n" : "]\n", c->out);
	while (dirs.n > 0) {
		free(dirs.path[--dirs.n]);
		free(dirs.title[dirs.n]);
	}
	free(dirs.path);
	free(dirs.title);
	list_release(&files);
	return k.status;
}

static bool option(void *arg, int opt, const char *value)
{
	struct options *o = arg;

	(void)value;
	switch (opt) {
	case '1':
		o->one = true;
		break;
	case 'a':
		o->all = true;
		break;
	case 'A':
		o->almost_all = true;
		break;
	case 'd':
		o->dirs = true;
		break;
	case 'h':
		o->human = true;
		break;
	case 'l':
		o->details = true;
		break;
	case 'n':
		o->details = o->numeric = true;
		break;
	case 'R':
		o->recurse = true;
		break;
	default:
		o->json = true;
	}
	return true;
}

static int cmd_ls(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "almost-all", no_argument, NULL, 'A' },
		{ "directory", no_argument, NULL, 'd' },
		{ "human-readable", no_argument, NULL, 'h' },
		{ "json", no_argument, NULL, 'j' },
		{ "numeric-uid-gid", no_argument, NULL, 'n' },
		{ "recursive", no_argument, NULL, 'R' },
		{ 0 },
	};
	struct options o = { 0 };
	struct target *t;
	int at, status = cli_options(c, argc, argv, "1aAdhlnR", longs, option, &o, &at);

	if (status != -1)
		return status;
	if (at == argc)
		return cli_usage(c, "STORE:PATH is needed");
	status = targets_parse(c, argv + at, argc - at, TARGET_STORE, &t);
	if (status != -1)
		return status;
	status = cli_attach(c, t, (size_t)(argc - at), CLI_READ);
	if (status == -1)
		status = cli_detach(c, list_targets(c, t, (size_t)(argc - at), &o));
	targets_free(t, (size_t)(argc - at));
	return status;
}

const struct cli_command command_ls = {
	.name = "ls",
	.synopsis = "ls [-1AadhlnR] [--json] STORE:PATH...",
	.summary = "list what is in a store",
	.help = "  -l                   mode, links, owner, group, size, time\n"
		"  -n, --numeric-uid-gid  the same with numbers for owner and group\n"
		"  -h, --human-readable sizes as 1.2K, 34M\n"
		"  -a, --all            names that begin with a dot too\n"
		"  -A, --almost-all     but not \".\" and \"..\"\n"
		"  -d, --directory      directories themselves, not what is in them\n"
		"  -R, --recursive      and everything below\n"
		"  -1                   one name a line\n"
		"      --json           an array of objects\n"
		"      --help           this text\n",
	.served = true,
	.run = cmd_ls,
};
