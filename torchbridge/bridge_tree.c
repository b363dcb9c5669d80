/*
 * bridge_tree.c: a checkpoint as a directory: paths, listings, links.
 */
#include "bridge_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "bridge_tree_internal.h"
#include "view_policy.h"

int bridge_tree_new(const struct bridge_doc *d, int dtype, struct bridge_tree **out)
{
	struct bridge_tree *t = calloc(1, sizeof *t);
	int rc;

	if (t == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a tree");
	t->doc = d;
	t->dtype = dtype;
	pthread_mutex_init(&t->lock, NULL);
	atomic_init(&t->names_memory, 0);
	rc = tree_build(t);
	if (rc == 0 && dtype >= 0 && bridge_doc_torch(d) != NULL)
		rc = view_policy(d, &t->holds);
	if (rc < 0) {
		bridge_tree_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

void bridge_tree_free(struct bridge_tree *t)
{
	if (t == NULL)
		return;
	for (uint32_t i = 0; i < t->dirs; i++)
		free(atomic_load_explicit(&t->dir[i].names, memory_order_relaxed));
	pthread_mutex_destroy(&t->lock);
	free(t->dir);
	free(t->entry);
	free(t->part);
	free(t->holds);
	free(t);
}

size_t bridge_tree_memory(const struct bridge_tree *t)
{
	return sizeof *t + t->entry_cap * sizeof *t->entry + t->dir_cap * sizeof *t->dir +
	       ((size_t)t->parts + 1) * sizeof *t->part + atomic_load(&t->names_memory);
}

/* The entry that a path names; TREE_ROOT. */
static int walk(const struct bridge_tree *t, const char *path, uint32_t *out)
{
	uint32_t dir = 0, entry = TREE_ROOT;

	for (;;) {
		size_t n;
		int rc;

		path += strspn(path, "/");
		if (*path == '\0')
			break;
		if (entry != TREE_ROOT) {
			if (t->entry[entry].what != TREE_DIR)
				return -ENOTDIR;
			dir = t->entry[entry].at;
		}
		n = strcspn(path, "/");
		rc = tree_lookup(t, dir, path, n, &entry);
		if (rc < 0)
			return rc;
		path += n;
	}
	*out = entry;
	return 0;
}

/*
 * ---- links
 * -----------------------------------------------------------------------------------------------------
 */

static uint32_t parent_of(const struct bridge_tree *t, uint32_t dir)
{
	return dir == 0 ? 0 : tree_dir_of(t, t->dir[dir].entry);
}

static int put_name(const struct bridge_tree *t, uint32_t entry, struct byte_buf *out)
{
	const struct tree_names *names;
	struct tree_name name;
	int rc = tree_names(t, tree_dir_of(t, entry), &names);

	if (rc < 0)
		return rc;
	tree_name(t, entry, &name);
	return byte_buf_put(out, name.p, name.len);
}

/* From the directory of a link up to the directory that both lie in, and down to what it means. */
static int put_link(const struct bridge_tree *t, uint32_t link, struct byte_buf *out)
{
	uint32_t down[TORCH_DEPTH_MAX + 2];
	uint32_t target = t->entry[link].at, from = tree_dir_of(t, link), to;
	size_t n = 0, ups = 0;
	int rc = 0;

	to = target == TREE_ROOT ? 0 : tree_dir_of(t, target);
	if (target != TREE_ROOT)
		down[n++] = target;
	while (from != to) {
		if (t->dir[from].depth >= t->dir[to].depth) {
			from = parent_of(t, from);
			ups++;
		} else {
			down[n++] = t->dir[to].entry;
			to = parent_of(t, to);
		}
	}
	for (size_t i = 0; rc == 0 && i < ups; i++)
		rc = byte_buf_text(out, i > 0 ? "/.." : "..");
	if (rc == 0 && ups == 0 && n == 0)
		rc = byte_buf_put(out, ".", 1);
	while (rc == 0 && n-- > 0) {
		if (out->len > 0 && out->p[out->len - 1] != '/')
			rc = byte_buf_put(out, "/", 1);
		if (rc == 0)
			rc = put_name(t, down[n], out);
	}
	return rc;
}

int bridge_tree_link(const struct bridge_tree *t, const char *path, struct byte_buf *out)
{
	struct byte_buf link = { 0 };
	uint32_t entry;
	int rc = walk(t, path, &entry);

	if (rc == 0 && (entry == TREE_ROOT || t->entry[entry].what != TREE_LINK))
		rc = -EINVAL;
	if (rc == 0)
		rc = put_link(t, entry, &link);
	if (rc == 0)
		rc = byte_buf_put(out, link.p, link.len);
	byte_buf_release(&link);
	return rc;
}

/*
 * ---- looking
 * ---------------------------------------------------------------------------------------------------
 */

static mode_t type_of(const struct tree_entry *e)
{
	return e->what == TREE_DIR ? S_IFDIR : e->what == TREE_LINK ? S_IFLNK : S_IFREG;
}

int bridge_tree_find(const struct bridge_tree *t, const char *path, codec_read_at read, void *arg,
		struct bridge_node *out)
{
	struct bridge_node node = { .type = S_IFDIR, .number = 1 };
	struct byte_buf link = { 0 };
	uint32_t entry;
	int rc = walk(t, path, &entry);

	(void)read; /* sizes follow from the object alone */
	(void)arg;
	if (rc == 0 && entry != TREE_ROOT) {
		node.type = type_of(&t->entry[entry]);
		node.number = (uint64_t)entry + 2;
		if (node.type == S_IFREG) {
			rc = tree_file_size(t, entry, &node.size);
		} else if (node.type == S_IFLNK) {
			rc = put_link(t, entry, &link);
			node.size = link.len;
			byte_buf_release(&link);
		}
	}
	if (rc == 0)
		*out = node;
	return rc;
}

int bridge_tree_list(const struct bridge_tree *t, const char *path,
		int (*emit)(void *e, const char *name, size_t len, mode_t type), void *e)
{
	const struct tree_names *names;
	const struct tree_dir *d;
	uint32_t entry;
	int rc = walk(t, path, &entry);

	if (rc < 0)
		return rc;
	if (entry != TREE_ROOT && t->entry[entry].what != TREE_DIR)
		return -ENOTDIR;
	d = &t->dir[entry == TREE_ROOT ? 0 : t->entry[entry].at];
	rc = tree_names(t, (uint32_t)(d - t->dir), &names);
	for (uint32_t i = 0; rc == 0 && i < d->count; i++) {
		struct tree_name name;

		tree_name(t, d->first + i, &name);
		rc = emit(e, name.p, name.len, type_of(&t->entry[d->first + i]));
	}
	return rc;
}

int bridge_tree_open(const struct bridge_tree *t, const char *path, codec_read_at read, void *arg,
		struct bridge_layout **out)
{
	struct bridge_layout *l;
	uint32_t entry;
	int rc = walk(t, path, &entry);

	if (rc < 0)
		return rc;
	if (entry == TREE_ROOT || t->entry[entry].what == TREE_DIR)
		return -EISDIR;
	if (t->entry[entry].what == TREE_LINK)
		return -ELOOP;
	rc = bridge_layout_new(&l);
	if (rc < 0)
		return rc;
	rc = tree_file_open(t, entry, read, arg, l);
	if (rc < 0) {
		bridge_layout_free(l);
		return rc;
	}
	*out = l;
	return 0;
}
