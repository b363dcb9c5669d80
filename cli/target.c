/*
 * target.c: from an operand to a store and a path in it.
 */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "fs/mount_table.h"

void target_release(struct target *t)
{
	free(t->text);
	free(t->store);
	free(t->path);
	*t = (struct target){ 0 };
}

void targets_free(struct target *t, size_t n)
{
	for (size_t i = 0; t != NULL && i < n; i++)
		target_release(&t[i]);
	free(t);
}

/* --- mounts --------------------------------------------------------------------------------------- */

/* Undoes mountinfo's \040 and the like, in place. */
static void unescape(char *s)
{
	char *w = s;

	while (*s != '\0') {
		if (s[0] == '\\' && strspn(s + 1, "01234567") >= 3 && s[1] <= '3') {
			*w++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*w++ = *s++;
		}
	}
	*w = '\0';
}

/* What follows directory `dir` in `path` ("" for itself), or NULL when path is not in it. */
static const char *below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	while (n > 0 && dir[n - 1] == '/')
		n--;
	if (strncmp(path, dir, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return NULL;
	path += n;
	while (*path == '/')
		path++;
	return path;
}

/* One line of mountinfo (proc(5)): "36 35 98:0 /root /mount/point rw,... shared:1 - type source rw,...". */
static bool parse_mount(char *line, char **root, char **point, char **type, char **source)
{
	char *save = NULL, *word;
	int field = 0;

	line[strcspn(line, "\n")] = '\0';
	*root = *point = *type = *source = NULL;
	for (word = strtok_r(line, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save), field++) {
		if (field == 3)
			*root = word;
		else if (field == 4)
			*point = word;
		else if (field > 5 && strcmp(word, "-") == 0)
			break;
	}
	*type = strtok_r(NULL, " ", &save);
	*source = strtok_r(NULL, " ", &save);
	if (word == NULL || *root == NULL || *point == NULL || *type == NULL || *source == NULL)
		return false;
	unescape(*root);
	unescape(*point);
	unescape(*source);
	return true;
}

int target_find_mount(FILE *mountinfo, const char *path, struct fs_mount_entry *out, char **rest)
{
	struct fs_mount_entry found = { 0 };
	char *line = NULL, *root, *point, *type, *source, *inside = NULL;
	size_t cap = 0, best = 0;
	int rc = 0;

	while (rc >= 0 && getline(&line, &cap, mountinfo) > 0) {
		const char *in;

		if (!parse_mount(line, &root, &point, &type, &source))
			continue;
		in = below(path, point);
		/* The longest mount point holds the path; a later mount on the same one covers the earlier. */
		if (in == NULL || strlen(point) < best)
			continue;
		best = strlen(point);
		fs_mount_entry_release(&found);
		free(inside);
		inside = NULL;
		rc = 0;
		if (strcmp(type, FS_MOUNT_TYPE) != 0)
			continue;
		found = (struct fs_mount_entry){
			.mountpoint = strdup(point), .type = strdup(type), .source = strdup(source)
		};
		inside = cli_join(root + strspn(root, "/"), in);
		if (found.mountpoint != NULL && found.type != NULL && found.source != NULL && inside != NULL)
			rc = 1;
		else
			rc = ckpt_fail(ENOMEM, "%s: out of memory", path);
	}
	free(line);
	if (rc == 1) {
		*out = found;
		*rest = inside;
		return 1;
	}
	fs_mount_entry_release(&found);
	free(inside);
	return rc;
}

/* 1 and *store, *rest when `path` lies on a mounted ckptfs; 0 no; -errno with a message. */
static int on_mount(const char *path, char **store, char **rest)
{
	struct fs_mount_entry e;
	char *real;
	FILE *f;
	int rc = fs_mount_realpath(path, &real);

	if (rc != 0)
		return rc == -ENOMEM ? rc : 0;
	f = fopen("/proc/self/mountinfo", "re");
	rc = f != NULL ? target_find_mount(f, real, &e, rest) : 0;
	if (f != NULL)
		fclose(f);
	free(real);
	if (rc != 1)
		return rc;
	rc = fs_mount_store(&e, store);
	fs_mount_entry_release(&e);
	if (rc == 0)
		return 1;
	free(*rest);
	return rc;
}

/* --- stores --------------------------------------------------------------------------------------- */

static bool ends_in_ckptfs(const char *s)
{
	size_t n = strlen(s);

	while (n > 0 && s[n - 1] == '/')
		n--;
	return n > 7 && strncmp(s + n - 7, ".ckptfs", 7) == 0 && s[n - 8] != '/';
}

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A store, by what is in it or by its name; with `any` every directory will do: opening it tells what it is. */
static bool looks_like_store(const char *path, bool any)
{
	struct stat st;
	char *db = NULL;
	bool yes = false;

	if (ends_in_ckptfs(path))
		return true;
	if (!is_directory(path))
		return false;
	if (any)
		return true;
	if (asprintf(&db, "%s/meta.db", path) >= 0)
		yes = stat(db, &st) == 0;
	free(db);
	return yes;
}

/* Is s[0, n), the whole operand or what stands before a colon, a store or a place on a mounted one? */
static int store_before(const char *s, size_t n, bool any, bool whole, char **store, char **base)
{
	char *prefix = strndup(s, n);
	int rc;

	*store = *base = NULL;
	if (prefix == NULL)
		return ckpt_fail(ENOMEM, "%s: out of memory", s);
	rc = whole || is_directory(prefix) ? on_mount(prefix, store, base) : 0;
	if (rc == 0 && looks_like_store(prefix, any)) {
		*store = prefix;
		*base = strdup("");
		if (*base == NULL) {
			free(*store);
			*store = NULL;
			return ckpt_fail(ENOMEM, "%s: out of memory", s);
		}
		return 1;
	}
	free(prefix);
	return rc;
}

static int fill_store(const char *text, char *store, char *base, const char *rest, struct target *out)
{
	while (*rest == '/')
		rest++;
	*out = (struct target){
		.in_store = true, .store = store, .text = strdup(text), .path = cli_join(base, rest)
	};
	free(base);
	if (out->text == NULL || out->path == NULL) {
		target_release(out);
		return ckpt_fail(ENOMEM, "%s: out of memory", text);
	}
	return 0;
}

static int parse_served(struct cli *c, const char *text, struct target *out)
{
	*out = (struct target){ 0 };
	for (size_t i = 0; i < c->ntold; i++) {
		if (strcmp(c->told[i].text, text) != 0)
			continue;
		out->in_store = c->told[i].in_store;
		out->text = strdup(text);
		out->path = strdup(c->told[i].path);
		if (out->text == NULL || out->path == NULL) {
			target_release(out);
			return ckpt_fail(ENOMEM, "%s: out of memory", text);
		}
		return 0;
	}
	return ckpt_fail(EINVAL, "\"%s\": the client did not say what this is", text);
}

/* 1 and *out when what stands before one of the colons is a store, or, with `any`, a directory; 0 none. */
static int before_a_colon(const char *text, bool any, struct target *out)
{
	char *store, *base;

	for (const char *colon = strchr(text, ':'); colon != NULL; colon = strchr(colon + 1, ':')) {
		int rc = colon == text ? 0 : store_before(text, (size_t)(colon - text), any, false, &store, &base);

		if (rc > 0)
			rc = fill_store(text, store, base, colon + 1, out);
		else if (rc == 0)
			continue;
		return rc < 0 ? rc : 1;
	}
	return 0;
}

int target_parse(struct cli *c, const char *text, enum target_how how, struct target *out)
{
	char *store = NULL, *base = NULL;
	int rc;

	if (c->served)
		return parse_served(c, text, out);

	rc = before_a_colon(text, false, out);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (how == TARGET_STORE) {
		rc = text[0] != '\0' ? store_before(text, strlen(text), true, true, &store, &base) : 0;
		if (rc < 0)
			return rc;
		if (rc > 0)
			return fill_store(text, store, base, "", out);
		/* A directory that is no store: opening it tells what it is. */
		rc = before_a_colon(text, true, out);
		if (rc != 0)
			return rc < 0 ? rc : 0;
		return ckpt_fail(EINVAL, "\"%s\" names no store: say STORE:PATH", text);
	}
	*out = (struct target){ .text = strdup(text), .path = strdup(text) };
	if (out->text == NULL || out->path == NULL) {
		target_release(out);
		return ckpt_fail(ENOMEM, "%s: out of memory", text);
	}
	return 0;
}

int targets_parse(struct cli *c, char **argv, int n, enum target_how how, struct target **out)
{
	struct target *t = calloc((size_t)(n > 0 ? n : 1), sizeof(*t));
	int i, rc;

	if (t == NULL)
		return cli_error(c, -ENOMEM, NULL);
	for (i = 0; i < n; i++) {
		rc = target_parse(c, argv[i], how, &t[i]);
		if (rc != 0) {
			targets_free(t, (size_t)i);
			return rc == -EINVAL ? cli_usage(c, "%s", ckpt_errmsg()) : cli_error(c, rc, argv[i]);
		}
	}
	*out = t;
	return -1;
}
