/*
 * checkpoint.c: see checkpoint.h.
 */
#include "checkpoint.h"

#include <errno.h>

#include "cli.h"

#define SERVED_MEMORY ((size_t)128 << 20)

static int attach(struct cli *c, const struct target *t, size_t n)
{
	bool stores = false, hosts = false;

	for (size_t i = 0; i < n; i++) {
		stores |= t[i].in_store;
		hosts |= !t[i].in_store;
	}
	return stores ? cli_attach(c, t, n, CLI_READ | (hosts ? CLI_HOST : 0)) : -1;
}

int checkpoint_on(struct cli *c, char **operand, size_t n, cli_work work, const void *options)
{
	struct target *t;
	bool stores = false;
	int status = targets_parse(c, operand, n, TARGET_EITHER, &t);

	if (status != -1)
		return status;
	status = attach(c, t, n);
	if (status == -1) {
		status = work(c, t, options);
		for (size_t i = 0; i < n; i++)
			stores |= t[i].in_store;
		if (stores)
			status = cli_detach(c, status);
	}
	targets_free(t, n);
	return status;
}

void checkpoint_tree(struct cli *c, const struct target *t, struct tree *out)
{
	if (t->in_store)
		tree_store_init(out, c);
	else
		tree_host_init(out, c);
}

int checkpoint_open(struct tree *t, const struct tentry *e, struct checkpoint *out)
{
	int rc;

	*out = (struct checkpoint){ .tree = t };
	if (S_ISDIR(e->st.st_mode))
		return ckpt_fail(EISDIR, "%s: is a directory", e->name);
	if (!S_ISREG(e->st.st_mode))
		return ckpt_fail(EINVAL, "%s: not a regular file", e->name);
	rc = t->ops->file_open(t, e, &out->file, &out->st);
	if (rc != 0)
		out->file = NULL;
	return rc;
}

int checkpoint_open_path(struct tree *t, const char *path, struct checkpoint *out)
{
	struct tplace place;
	struct tentry e;
	int rc = tree_place(t, path, &place);

	*out = (struct checkpoint){ .tree = t };
	if (rc != 0)
		return rc;
	rc = t->ops->lookup(t, place.dir, place.name, true, &e);
	if (rc == 0) {
		rc = checkpoint_open(t, &e, out);
		t->ops->entry_release(t, &e);
	}
	tree_place_release(t, &place);
	return rc;
}

void checkpoint_close(struct checkpoint *k)
{
	bridge_doc_free(k->doc);
	if (k->file != NULL)
		k->tree->ops->file_close(k->tree, k->file);
	*k = (struct checkpoint){ 0 };
}

int64_t checkpoint_read(void *arg, uint64_t off, void *buf, size_t len)
{
	struct checkpoint *k = arg;

	if (cli_cancelled(k->tree->c))
		return ckpt_fail(ECANCELED, "cancelled");
	return k->tree->ops->read(k->tree, k->file, off, buf, len);
}

int64_t checkpoint_same(void *a, uint64_t aoff, void *b, uint64_t boff, uint64_t len)
{
	const struct checkpoint *x = a, *y = b;

	return x->tree->in_store && y->tree->in_store ? tree_store_same(x->file, aoff, y->file, boff, len) : 0;
}

int checkpoint_understand(struct checkpoint *k)
{
	return bridge_doc_open(checkpoint_read, k, (uint64_t)k->st.st_size,
			k->tree->c->served ? SERVED_MEMORY : 0, &k->doc);
}
