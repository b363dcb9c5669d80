/*
 * crash_work.c: the workload, and those of its operations that are on content or on the store as a whole (the others:
 * crash_tree.c), each done to the store and to the model.
 */
#include "crash_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "store/chunk_internal.h"
#include "store/meta_internal.h"
#include "store/pool_internal.h"
#include "store/store_admin.h"
#include "store/store_file.h"
#include "store/store_internal.h"
#include "store/store_tree.h"
#include "store/store_version.h"

enum { BIG_MAX = 3 << 19 };

static size_t pick_size(struct world *w)
{
	switch (world_below(w, w->little ? 5 : 8)) {
	case 0:
		return world_below(w, 200);
	case 1:
		return 512 + world_below(w, 8000);
	case 2:
		return world_below(w, 33 << 10);
	case 3:
	case 4:
		return (40 << 10) + world_below(w, 60 << 10);
	case 5:
	case 6:
		return world_below(w, 400 << 10);
	default:
		return (1 << 20) + world_below(w, BIG_MAX - (1 << 20));
	}
}

/* --- operations ----------------------------------------------------------------------------------- */

/* The file's session has failed: it ends, and a file that never was published goes. Returns rc. */
static int give_up(struct world *w, struct store_file *f, const char *path, int rc)
{
	struct store_file_state st;
	struct store_attr a;
	uint64_t parent;
	const char *name;

	store_file_abort(f, false);
	store_file_state(f, &st);
	store_file_close(f);
	if (!st.fresh)
		return rc;
	int e = world_parent(w->s, path, &parent, &name);

	if (e == 0)
		e = store_unlink(w->s, parent, name, strlen(name), &a);
	if (e == 0)
		e = store_reap(w->s, a.ino);
	if (e)
		w->unsure = true;
	return rc;
}

static int write_all(struct world *w, struct store_file *f, size_t off, const uint8_t *p, size_t n)
{
	size_t part = 1 + world_below(w, 300 << 10), at = 0;
	int rc = 0;

	for (; rc == 0 && at < n; at += part) {
		if (part > n - at)
			part = n - at;
		rc = store_file_write(f, off + at, p + at, part);
	}
	return rc;
}

static int publish(struct world *w, struct store_file *f, const char *path, size_t written, bool durable)
{
	struct store_file_state st;

	store_file_state(f, &st);
	int rc = store_file_publish(f, durable);

	if (rc)
		return give_up(w, f, path, rc);
	/* Where there was nothing to publish nothing is promised of other things. */
	if (st.dirty || st.fresh || durable)
		world_promise(w, durable || written >= 1 << 20);
	store_file_close(f);
	return 0;
}

/* A file gets a whole new content, or is made with it. */
static int op_put(struct world *w)
{
	char path[48];

	world_path(w, path, "f", CRASH_FILES);
	struct item *there = item_find(world_now(w), path);
	struct content *c = content_random(w, pick_size(w));
	bool durable = world_below(w, 4) == 0;
	struct store_file *f = NULL;
	struct store_attr a;
	uint64_t parent;
	const char *name;
	int rc;

	w->doing = there ? "replace a file" : "make a file";
	if (there) {
		item_set_content(world_begin(w), there->ino, c);
		rc = world_lookup(w->s, path, &a);
	} else {
		item_add(world_begin(w), path, S_IFREG, w->next_ino++, c);
		rc = world_parent(w->s, path, &parent, &name);
		if (rc == 0)
			rc = store_make(w->s, parent, name, strlen(name),
					&(struct store_new){ .mode = S_IFREG | 0644, .provisional = true }, &a);
	}
	if (rc)
		goto out;
	rc = store_file_open(w->s, a.ino, &f);
	if (rc) {
		w->unsure = !there;
		goto out;
	}
	if (there)
		rc = store_file_replace(f);
	if (rc == 0)
		rc = write_all(w, f, 0, c->data, c->size);
	rc = rc ? give_up(w, f, path, rc) : publish(w, f, path, c->size, durable);
out:
	content_drop(c);
	return rc;
}

/* One change, to the file and to *c. *in_place: it was to bytes that were there. */
static int edit(struct world *w, struct store_file *f, struct content **c, bool *in_place)
{
	size_t size = (*c)->size, off = world_below(w, size + 1);
	size_t len = world_below(w, 6) ? world_below(w, 5000) : world_below(w, 200 << 10);
	struct content *n;
	int rc;

	*in_place = true;
	switch (world_below(w, 5)) {
	case 0:
		rc = store_file_truncate(f, off);
		n = content_copy(*c, off);
		break;
	case 1:
		if (len > size - off)
			len = size - off;
		rc = len ? store_file_punch(f, off, len) : 0;
		n = content_copy(*c, size);
		memset(n->data + off, 0, len);
		break;
	case 2:
		off = size;
		*in_place = false;
		/* fall through */
	default:
		n = content_copy(*c, off + len > size ? off + len : size);
		content_fill(n->data + off, len, world_random(w));
		rc = store_file_write(f, off, n->data + off, len);
	}
	if (rc) {
		content_drop(n);
		return rc;
	}
	content_drop(*c);
	*c = content_seal(n);
	return 0;
}

static int append(struct world *w, struct store_file *f, struct content **c)
{
	size_t size = (*c)->size, len = 1 + world_below(w, 3000);
	struct content *n = content_copy(*c, size + len);

	content_fill(n->data + size, len, world_random(w));
	int rc = store_file_write(f, STORE_APPEND, n->data + size, len);

	if (rc) {
		content_drop(n);
		return rc;
	}
	content_drop(*c);
	*c = content_seal(n);
	return 0;
}

static int op_edit(struct world *w)
{
	struct item *it = world_pick(w, S_IFREG);
	struct store_file *f;
	struct store_attr a;
	int rc, failed = 0;

	w->doing = "change a file";
	if (!it)
		return 0;
	char path[48];
	uint64_t ino = it->ino;
	struct content *c = content_ref(it->content);

	memcpy(path, it->path, sizeof path);
	bool lines = world_below(w, 3) == 0, in_place = false;
	struct tree_state *t = world_begin(w);

	rc = world_lookup(w->s, path, &a);
	if (rc == 0)
		rc = store_file_open(w->s, a.ino, &f);
	if (rc)
		goto out;
	for (size_t i = 1 + world_below(w, 3); failed == 0 && i > 0; i--)
		failed = lines ? append(w, f, &c) : edit(w, f, &c, &in_place);
	if (failed && in_place) {
		/* What was to be overwritten may be so in part: back to what was published. */
		rc = give_up(w, f, path, failed);
		goto out;
	}
	/* An append that failed is not there, and all that came before it is; so the operation counts. */
	item_set_content(t, ino, c);
	rc = publish(w, f, path, 0, world_below(w, 4) == 0);
out:
	content_drop(c);
	return rc;
}

/* Writes a file under a temporary name and renames it over another. */
static int op_save(struct world *w)
{
	char path[48];
	uint64_t parent, from_parent;
	const char *name, *from;
	struct store_attr gone;

	world_path(w, path, "f", CRASH_FILES);
	if (item_find(world_now(w), "tmp"))
		return 0;
	struct content *c = content_random(w, pick_size(w));
	struct store_attr a;
	struct store_file *f;
	uint64_t ino = w->next_ino++;

	w->doing = "write a temporary file";
	item_add(world_begin(w), "tmp", S_IFREG, ino, c);
	int rc = store_make(w->s, STORE_ROOT, "tmp", 3, &(struct store_new){ .mode = S_IFREG | 0600, .provisional = true }, &a);

	if (rc)
		goto out;
	rc = store_file_open(w->s, a.ino, &f);
	if (rc) {
		w->unsure = true;
		goto out;
	}
	rc = write_all(w, f, 0, c->data, c->size);
	rc = rc ? give_up(w, f, "tmp", rc) : publish(w, f, "tmp", c->size, world_below(w, 2));
	if (rc)
		goto out;

	w->doing = "rename over a file";
	struct tree_state *t = world_begin(w);

	item_remove(t, "tmp");
	item_remove(t, path);
	item_add(t, path, S_IFREG, ino, c);
	rc = world_parent(w->s, path, &parent, &name);
	if (rc == 0)
		rc = world_parent(w->s, "tmp", &from_parent, &from);
	if (rc == 0)
		rc = store_rename(w->s, from_parent, from, strlen(from), parent, name, strlen(name), 0, &gone);
	if (rc == 0 && gone.ino && gone.nlink == 0)
		rc = store_reap(w->s, gone.ino);
	if (rc == 0 && world_below(w, 2)) {
		rc = store_commit(w->s, false);
		if (rc == 0)
			world_promise(w, false);
	}
out:
	content_drop(c);
	return rc;
}

/* The slow file goes on: written a little, published now and then, torn now and then. */
static int op_slow(struct world *w)
{
	int rc = 0;

	w->doing = "write the slow file";
	if (!w->slow) {
		struct store_attr a;

		if (!item_find(world_now(w), "slow")) {
			struct content *c = content_seal(content_new(0));

			item_add(world_begin(w), "slow", S_IFREG, w->slow_ino = w->next_ino++, c);
			content_drop(c);
			rc = store_make(w->s, STORE_ROOT, "slow", 4, &(struct store_new){ .mode = S_IFREG | 0644 }, &a);
		} else {
			rc = world_lookup(w->s, "slow", &a);
		}
		w->slow_inode = a.ino;
		return rc ? rc : store_file_open(w->s, a.ino, &w->slow);
	}
	size_t dice = w->slow_session ? world_below(w, 8) : 7;

	if (dice == 0) {
		w->doing = "tear the slow file";
		rc = store_file_abort(w->slow, world_below(w, 2));
		w->slow_session = false;
	} else if (dice < 3) {
		bool durable = world_below(w, 3) == 0;

		w->doing = "publish the slow file";
		item_set_content(world_begin(w), w->slow_ino, content_seal(w->slow_now));
		rc = store_file_publish(w->slow, durable);
		if (rc == 0)
			world_promise(w, durable || w->slow_now->size >= 1 << 20);
		else
			store_file_abort(w->slow, false);
		w->slow_session = false;
	} else {
		if (!w->slow_session) {
			rc = store_file_replace(w->slow);
			if (rc)
				return rc;
			content_drop(w->slow_now);
			w->slow_now = content_new(0);
			w->slow_session = true;
		}
		size_t len = world_below(w, w->little ? 30 << 10 : 120 << 10);
		struct content *n = content_copy(w->slow_now, w->slow_now->size + len);

		content_fill(n->data + w->slow_now->size, len, world_below(w, 3) ? world_random(w) : 7);
		rc = store_file_write(w->slow, w->slow_now->size, n->data + w->slow_now->size, len);
		if (rc) {
			content_drop(n);
			store_file_abort(w->slow, false);
			w->slow_session = false;
			return rc;
		}
		content_drop(w->slow_now);
		w->slow_now = n;
	}
	return rc;
}

/* Somebody looks at a version for a while, whatever becomes of its file. */
static int op_hold(struct world *w)
{
	struct item *it = world_pick(w, S_IFREG);
	struct store_attr a;

	w->doing = "hold a version";
	if (w->held) {
		store_version_release(w->s, w->held);
		w->held = 0;
		return 0;
	}
	if (!it)
		return 0;
	int rc = world_lookup(w->s, it->path, &a);

	if (rc == 0 && a.version)
		rc = store_version_hold(w->s, a.version);
	if (rc == 0)
		w->held = a.version;
	return rc;
}

static int op_house(struct world *w)
{
	struct store_gc_result gc;
	bool durable;
	int rc;

	switch (world_below(w, 14)) {
	case 0:
	case 1:
		durable = world_below(w, 2);
		w->doing = durable ? "commit and sync" : "commit";
		rc = store_commit(w->s, durable);
		if (rc == 0)
			world_promise(w, durable);
		return rc;
	case 2:
		w->doing = "collect garbage";
		return store_gc(w->s, NULL, NULL, &gc);
	case 3:
		w->doing = "end the history";
		rc = history_expire(w->s, meta_now() + (int64_t)30 * 24 * 3600 * 1000000000);
		return rc < 0 ? rc : store_gc(w->s, NULL, NULL, &gc);
	case 4:
	case 5:
		w->doing = "checkpoint";
		return meta_checkpoint(w->s, 0);
	case 6:
		w->doing = "bring in staged chunks";
		rc = chunks_commit(w->s);
		return rc ? rc : chunks_unstage(w->s);
	case 7:
	case 8:
		w->doing = "pool small files";
		return pool_all(w->s, 1, false, 0);
	case 10:
		w->doing = "recompress";
		return store_recompress(w->s, NULL, NULL, NULL);
	case 9:
		w->doing = "thin pools";
		return pool_thin(w->s);
	case 11:
	case 12:
		return op_hold(w);
	default:
		w->doing = "tick";
		store_tick(w->s);
		return 0;
	}
}

static int op_reopen(struct world *w)
{
	w->doing = "close";
	int rc = world_close(w);

	if (rc)
		return rc;
	w->doing = "open";
	return world_open(w);
}

int world_step(struct world *w)
{
	static const struct {
		int (*run)(struct world *w);
		unsigned weight;
	} ops[] = {
		{ op_put, 10 }, { op_edit, 9 }, { op_save, 5 }, { op_rename, 4 }, { op_unlink, 4 }, { op_dir, 4 }, { op_small, 4 },
		{ op_slow, 7 }, { op_house, 9 }, { op_reopen, 1 },
	};
	size_t sum = 0, dice;

	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
		sum += ops[i].weight;
	dice = world_below(w, sum);
	for (size_t i = 0;; i++) {
		if (dice < ops[i].weight)
			return ops[i].run(w);
		dice -= ops[i].weight;
	}
}
