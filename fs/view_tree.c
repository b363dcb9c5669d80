/*
 * view_tree.c: @tree, each file a directory.
 *
 * What lies above the files is the tree; from a file on, the path goes through what is in it
 * (bridge_tree.h).  The tree of a file is made once for a content and shared, with the document that it
 * refers to.
 *
 *     @tree/run/003/model.pt/state_dict/layer1.0.weight.npy
 *     ^ the view  ^ the file  ^ in it
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/byte_buf.h"
#include "torchbridge/bridge_tree.h"
#include "view_host.h"

static bool tree_answers(const char *name)
{
	struct bridge_spec s;

	return bridge_spec_parse(name, &s) && s.form == BRIDGE_TREE;
}

/* --- the tree of a file ------------------------------------------------------------------------------ */

struct file_tree {
	struct bridge_tree *tree;
	struct view_item *doc;      /* the document it refers to */
	struct view_cache *cache;
};

struct making {
	struct view_input *in;
	int dtype;
};

static void drop_tree(void *object)
{
	struct file_tree *t = object;

	bridge_tree_free(t->tree);
	view_item_put(t->cache, t->doc);
	free(t);
}

static int make_tree(void *arg, void **object, size_t *memory)
{
	struct making *m = arg;
	struct file_tree *t = calloc(1, sizeof(*t));
	const struct bridge_doc *d;
	int rc;

	if (!t)
		return ckpt_fail(ENOMEM, "no memory for the tree of '%s'", m->in->path);
	t->cache = m->in->fs->host->cache;
	rc = view_doc_get(m->in, &d, &t->doc);
	if (rc == 0)
		rc = bridge_tree_new(d, m->dtype, &t->tree);
	if (rc < 0) {
		drop_tree(t);
		return rc;
	}
	/* The document is kept alive by it, whatever the cache thinks of that one. */
	*memory = bridge_tree_memory(t->tree) + bridge_doc_memory(d);
	*object = t;
	return 0;
}

/* --- paths ------------------------------------------------------------------------------------------- */

/* A path of the view, taken apart. */
struct spot {
	struct view_input in;      /* of a regular file; in.path NULL of what else there is */
	struct view_source src;
	const char *inside;        /* "" the file itself */
	bool tree;                 /* the file is a directory here */
	int dtype;
	struct fs_mark mark;       /* of the file's tree */
};

static void spot_release(struct spot *s)
{
	if (s->in.path)
		view_input_release(&s->in);
}

static int spot_find(struct fs *fs, const char *name, const char *path, bool quick, struct spot *out)
{
	struct bridge_spec spec;
	struct view_fact fact;
	char rule[32];
	size_t used;
	int rc;

	*out = (struct spot){ .inside = "" };
	if (!bridge_spec_parse(name, &spec))
		return ckpt_fail(ENOENT, "no view '%s'", name);
	rc = view_source_find(fs, path, quick, &used, &out->src);
	if (rc < 0)
		return rc;
	out->inside = path + used;
	out->dtype = spec.dtype;
	if (!S_ISREG(out->src.st.st_mode))
		return *out->inside ? ckpt_fail(ENOTDIR, "'%s': something in it is no directory", path) : 0;
	while (used > 0 && path[used - 1] == '/')
		used--;
	rc = view_input_init(&out->in, fs, path, used, &out->src);
	if (rc < 0)
		return rc;
	rc = view_doc_fact(&out->in, quick, &fact);
	if (rc == 0 && fact.verdict == VIEW_BAD)
		rc = view_refuse(&out->in, &fact);
	if (rc == 0 && fact.verdict == VIEW_SAME && *out->inside)
		rc = ckpt_fail(ENOTDIR, "'%s' is no directory", out->in.path);
	if (rc < 0) {
		spot_release(out);
		return rc;
	}
	out->tree = fact.verdict == VIEW_MADE;
	snprintf(rule, sizeof(rule), "tree%+d", spec.dtype);
	out->mark = out->src.mark;
	out->mark.rule = view_rule(out->mark.rule, rule);
	return 0;
}

/* Something in the file does not hold what it said; this thread's message says what. */
static int refuse(struct spot *s)
{
	struct view_fact bad;
	int rc = view_learn_bad(&s->in, "tree", &bad);

	return rc < 0 ? rc : view_refuse(&s->in, &bad);
}

static int spot_tree(struct spot *s, const struct bridge_tree **tree, struct view_item **out)
{
	struct view_key k = { .mark = s->mark, .what = VIEW_TREE };
	struct making m = { .in = &s->in, .dtype = s->dtype };
	int rc = view_cache_get(s->in.fs->host->cache, &k, make_tree, &m, drop_tree, out);

	if (rc == 0) {
		*tree = ((struct file_tree *)view_item_object(*out))->tree;
		return 0;
	}
	return view_is_verdict(rc) || rc == -EINVAL ? refuse(s) : rc;
}

/* A directory in a file is open to whom the file is. */
static mode_t dir_mode(mode_t file)
{
	return S_IFDIR | (file & 0444) | (file & 0444) >> 2;
}

/* Damage that only shows where something in the file is looked at. */
static int settle(struct spot *s, int rc)
{
	return view_is_verdict(rc) ? refuse(s) : rc;
}

static int node_stat(struct spot *s, struct fs_view_look *look)
{
	const struct bridge_tree *tree;
	struct view_item *item;
	struct bridge_node n;
	int rc = spot_tree(s, &tree, &item);

	if (rc < 0)
		return rc;
	rc = settle(s, bridge_tree_find(tree, s->inside, view_input_read, &s->in, &n));
	view_item_put(s->in.fs->host->cache, item);
	if (rc < 0)
		return rc;
	look->st = s->src.st;
	look->st.st_size = n.type == S_IFDIR ? 0 : (off_t)n.size;
	look->st.st_blocks = (blkcnt_t)((uint64_t)look->st.st_size / 512 +
					((uint64_t)look->st.st_size % 512 != 0));
	look->st.st_mode = n.type == S_IFDIR ? dir_mode(s->src.st.st_mode)
			: n.type == S_IFLNK ? (mode_t)(S_IFLNK | 0777) : S_IFREG | (s->src.st.st_mode & 0444);
	if (n.type == S_IFREG) {
		look->mark = s->mark;
		look->mark.rule = view_rule(s->mark.rule, s->inside);
	}
	return 0;
}

static int tree_stat(struct fs *fs, const char *name, const char *path, struct fs_view_look *look)
{
	struct spot s;
	int rc = spot_find(fs, name, path, look->quick, &s);

	if (rc < 0)
		return rc;
	if (s.tree && *s.inside) {
		rc = node_stat(&s, look);
	} else {
		look->st = s.src.st;
		look->mark = s.src.mark;
		if (s.tree) {
			look->st.st_mode = dir_mode(s.src.st.st_mode);
			look->st.st_size = look->st.st_blocks = 0;
			look->mark = (struct fs_mark){ 0 };
		}
	}
	spot_release(&s);
	return rc;
}

struct listing {
	fs_view_emit emit;
	void *arg;
};

/* Whether a file is a directory here only stat knows. */
static int emit_unsure(void *arg, const char *name, size_t len, mode_t type)
{
	struct listing *l = arg;

	return l->emit(l->arg, name, len, type == S_IFREG ? 0 : type);
}

static int tree_list(struct fs *fs, const char *name, const char *path, fs_view_emit emit, void *arg)
{
	struct listing l = { .emit = emit, .arg = arg };
	const struct bridge_tree *tree;
	struct view_item *item;
	struct spot s;
	int rc = spot_find(fs, name, path, false, &s);

	if (rc < 0)
		return rc;
	if (S_ISDIR(s.src.st.st_mode)) {
		rc = view_source_list(fs, path, emit_unsure, &l);
	} else if (!s.tree) {
		rc = ckpt_fail(ENOTDIR, "'%s' is no directory", path);
	} else {
		rc = spot_tree(&s, &tree, &item);
		if (rc == 0) {
			rc = settle(&s, bridge_tree_list(tree, s.inside, emit, arg));
			view_item_put(fs->host->cache, item);
		}
	}
	spot_release(&s);
	return rc;
}

static ssize_t tree_readlink(struct fs *fs, const char *name, const char *path, char *buf, size_t cap)
{
	const struct bridge_tree *tree;
	struct byte_buf target = { 0 };
	struct view_item *item;
	struct spot s;
	ssize_t n = spot_find(fs, name, path, false, &s);

	if (n < 0)
		return n;
	if (!s.tree) {
		n = view_source_readlink(fs, path, buf, cap);
		goto release_spot;
	}
	n = spot_tree(&s, &tree, &item);
	if (n < 0)
		goto release_spot;
	n = settle(&s, bridge_tree_link(tree, s.inside, &target));
	if (n == 0) {
		n = (ssize_t)(target.len < cap ? target.len : cap);
		if (n > 0)
			memcpy(buf, target.p, (size_t)n);
	}
	view_item_put(fs->host->cache, item);
	byte_buf_release(&target);
release_spot:
	spot_release(&s);
	return n;
}

struct making_leaf {
	struct spot *s;
	const struct bridge_tree *tree;
};

static int make_leaf(void *arg, void **object, size_t *memory)
{
	struct making_leaf *m = arg;
	struct bridge_layout *l = NULL;
	int rc = bridge_tree_open(m->tree, m->s->inside, view_input_read, &m->s->in, &l);

	if (rc < 0)
		return rc;
	*memory = bridge_layout_memory(l);
	*object = l;
	return 0;
}

static void drop_leaf(void *object)
{
	bridge_layout_free(object);
}

static int tree_open(struct fs *fs, const char *name, const char *path, struct fs_view_file *out)
{
	struct view_item *item, *leaf = NULL;
	const struct bridge_tree *tree;
	struct view_key k;
	struct spot s;
	int rc = spot_find(fs, name, path, false, &s);

	if (rc < 0)
		return rc;
	if (!s.tree) {
		rc = S_ISREG(s.src.st.st_mode) ? view_input_pass(&s.in, out)
					       : ckpt_fail(EISDIR, "'%s' is no file", path);
		goto release_spot;
	}
	rc = spot_tree(&s, &tree, &item);
	if (rc < 0)
		goto release_spot;
	k = (struct view_key){ .mark = s.mark, .what = VIEW_LAYOUT };
	k.mark.rule = view_rule(s.mark.rule, s.inside);
	rc = settle(&s, view_cache_get(fs->host->cache, &k, make_leaf, &(struct making_leaf){ &s, tree },
					drop_leaf, &leaf));
	view_item_put(fs->host->cache, item);
	if (rc < 0)
		goto release_spot;
	rc = view_layout_open(fs, &s.in, 1, leaf, &k.mark, out);
	if (rc < 0)
		view_item_put(fs->host->cache, leaf);
release_spot:
	spot_release(&s);
	return rc;
}

const struct fs_view fs_view_tree = {
	.answers = tree_answers,
	.stat = tree_stat,
	.list = tree_list,
	.readlink = tree_readlink,
	.open = tree_open,
};
