/*
 * view_forms.c: the tree, each file seen another way: @cpu, @cuda:1, @auto, @bf16, @cpu+bf16, @summary,
 * @json, @safetensors.
 *
 * Directories, links and what is no file of tensors are shown as they are.  Only @safetensors changes
 * names: a file that it makes anew is listed as `NAME.safetensors`.  NAME leads to it too, for links do;
 * should the tree have a file NAME.safetensors of its own beside it, that one is shown.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "view_host.h"

#define SUFFIX ".safetensors"
enum { SUFFIX_LEN = sizeof(SUFFIX) - 1 };

static bool forms_answers(const char *name)
{
	struct bridge_spec s;

	return bridge_spec_parse(name, &s) && s.form != BRIDGE_TREE && s.form != BRIDGE_RUNS;
}

static const char *last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* A path of a view, looked at. */
struct seen {
	struct view_input in;      /* of regular files; in.path is NULL of others */
	struct view_content content;
	struct view_fact fact;     /* of regular files */
	struct view_source src;
};

static void seen_release(struct seen *s)
{
	if (s->in.path)
		view_input_release(&s->in);
}

/* path[0, len) of the tree, in the view. */
static int see(struct fs *fs, const struct bridge_spec *spec, const char *path, size_t len, bool quick,
		struct seen *out)
{
	char *copy = strndup(path, len);
	int rc;

	*out = (struct seen){ .in = { .path = NULL } };
	if (!copy)
		return ckpt_fail(ENOMEM, "no memory for a path");
	rc = view_source_find(fs, copy, quick, NULL, &out->src);
	if (rc < 0 || !S_ISREG(out->src.st.st_mode))
		goto free_copy;
	rc = view_input_init(&out->in, fs, copy, len, &out->src);
	if (rc < 0)
		goto free_copy;
	rc = view_content_init(&out->content, &out->in, spec, last_name(out->in.path), quick);
	if (rc == 0)
		rc = view_content_fact(&out->content, quick, &out->fact);
	if (rc < 0)
		seen_release(out);
free_copy:
	free(copy);
	return rc;
}

/* Length of the path without the suffix; 0 when there is none, or nothing before it. */
static size_t without_suffix(const char *path)
{
	size_t len = strlen(path), last = strlen(last_name(path));

	return last > SUFFIX_LEN && strcmp(path + len - SUFFIX_LEN, SUFFIX) == 0 ? len - SUFFIX_LEN : 0;
}

/* What a path of the view leads to, by its name there. */
static int see_named(
		struct fs *fs, const struct bridge_spec *spec, const char *path, bool quick, struct seen *out)
{
	size_t base = spec->form == BRIDGE_SAFETENSORS ? without_suffix(path) : 0;
	int rc = see(fs, spec, path, strlen(path), quick, out);

	if (rc != -ENOENT || base == 0)
		return rc;
	rc = see(fs, spec, path, base, quick, out);
	if (rc == 0 && (!S_ISREG(out->src.st.st_mode) || out->fact.verdict == VIEW_SAME)) {
		seen_release(out);
		rc = ckpt_fail(ENOENT, "no '%s'", path);
	}
	return rc;
}

static int forms_stat(struct fs *fs, const char *name, const char *path, struct fs_view_look *look)
{
	struct bridge_spec spec;
	struct seen s;
	int rc;

	if (!bridge_spec_parse(name, &spec))
		return ckpt_fail(ENOENT, "no view '%s'", name);
	rc = see_named(fs, &spec, path, look->quick, &s);
	if (rc < 0)
		return rc;
	look->st = s.src.st;
	look->mark = s.src.mark;
	if (!S_ISREG(s.src.st.st_mode))
		return 0;
	if (s.fact.verdict == VIEW_BAD) {
		rc = view_refuse(&s.in, &s.fact);
	} else if (s.fact.verdict == VIEW_MADE) {
		look->st.st_size = (off_t)s.fact.size;
		look->st.st_blocks = (blkcnt_t)(s.fact.size / 512 + (s.fact.size % 512 != 0));
		look->mark = s.content.mark;
	}
	seen_release(&s);
	return rc;
}

struct listing {
	struct fs *fs;
	const struct bridge_spec *spec;
	const char *dir;
	fs_view_emit emit;
	void *arg;
};

static char *below(const char *dir, const char *name, size_t len, const char *suffix)
{
	size_t dlen = strlen(dir), slen = strlen(suffix);
	char *p = malloc(dlen + len + slen + 2);

	if (!p)
		return NULL;
	memcpy(p, dir, dlen);
	if (dlen > 0)
		p[dlen++] = '/';
	memcpy(p + dlen, name, len);
	memcpy(p + dlen + len, suffix, slen + 1);
	return p;
}

/* @safetensors: under which name a file is shown takes looking into it. */
static int emit_named(void *arg, const char *name, size_t len, mode_t type)
{
	struct listing *l = arg;
	struct view_source there;
	struct seen s;
	char *path;
	int rc;

	if (type != S_IFREG && type != 0)
		return l->emit(l->arg, name, len, type);
	path = below(l->dir, name, len, SUFFIX);
	if (!path)
		return ckpt_fail(ENOMEM, "no memory for a path");
	rc = see(l->fs, l->spec, path, strlen(path) - SUFFIX_LEN, false, &s);
	if (rc == -ENOENT || rc == -ESTALE) {
		free(path);
		return 0; /* it went meanwhile */
	}
	if (rc == 0 && S_ISREG(s.src.st.st_mode) && s.fact.verdict != VIEW_SAME &&
			len + SUFFIX_LEN <= STORE_NAME_MAX) {
		rc = 0;
		if (view_source_find(l->fs, path, true, NULL, &there) == -ENOENT)
			rc = l->emit(l->arg, last_name(path), len + SUFFIX_LEN, S_IFREG);
	} else {
		rc = l->emit(l->arg, name, len, type);
	}
	seen_release(&s);
	free(path);
	return rc;
}

static int forms_list(struct fs *fs, const char *name, const char *path, fs_view_emit emit, void *arg)
{
	struct bridge_spec spec;
	struct listing l = { .fs = fs, .spec = &spec, .dir = path, .emit = emit, .arg = arg };

	if (!bridge_spec_parse(name, &spec))
		return ckpt_fail(ENOENT, "no view '%s'", name);
	if (spec.form == BRIDGE_SAFETENSORS)
		return view_source_list(fs, path, emit_named, &l);
	return view_source_list(fs, path, emit, arg);
}

static ssize_t forms_readlink(struct fs *fs, const char *name, const char *path, char *buf, size_t cap)
{
	(void)name;
	return view_source_readlink(fs, path, buf, cap);
}

static int forms_open(struct fs *fs, const char *name, const char *path, struct fs_view_file *out)
{
	struct bridge_spec spec;
	struct seen s;
	int rc;

	if (!bridge_spec_parse(name, &spec))
		return ckpt_fail(ENOENT, "no view '%s'", name);
	rc = see_named(fs, &spec, path, false, &s);
	if (rc < 0)
		return rc;
	if (!S_ISREG(s.src.st.st_mode))
		return ckpt_fail(S_ISDIR(s.src.st.st_mode) ? EISDIR : ENXIO, "'%s' is no file", path);
	rc = view_content_open(&s.content, out);
	seen_release(&s);
	return rc;
}

const struct fs_view fs_view_forms = {
	.answers = forms_answers,
	.stat = forms_stat,
	.list = forms_list,
	.readlink = forms_readlink,
	.open = forms_open,
};
