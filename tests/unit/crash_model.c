/*
 * crash_model.c: the workload, its model, and the comparison.
 */
#include "crash_model.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "codec/ckpt_error.h"
#include "codec/codec_hash.h"
#include "store/chunk_internal.h"
#include "store/meta_internal.h"
#include "store/store_admin.h"
#include "store/store_file.h"
#include "store/store_internal.h"
#include "store/store_tree.h"

enum {
	PIECE = 48 << 10,        /* what contents are put together from; the same ones come again */
	PIECES = 40,
	BIG_MAX = 2 << 20,
	DIRS = 3, FILES = 7,
};

struct content {
	atomic_int refs;
	uint64_t hash;
	size_t size;
	uint8_t *data;
};

/* --- memory, without faults ----------------------------------------------------------------------- */

static void *need(void *p)
{
	if (!p) {
		fprintf(stderr, "crash_model: no memory\n");
		abort();
	}
	return p;
}

static void *more(void *p, size_t n)
{
	fault_hold();
	p = need(realloc(p, n ? n : 1));
	fault_release();
	return p;
}

static struct content *content_new(size_t size)
{
	struct content *c = more(NULL, sizeof *c);

	*c = (struct content){ .refs = 1, .size = size, .data = more(NULL, size) };
	memset(c->data, 0, size);
	return c;
}

static struct content *content_ref(struct content *c)
{
	if (c)
		atomic_fetch_add(&c->refs, 1);
	return c;
}

static void content_drop(struct content *c)
{
	if (c && atomic_fetch_sub(&c->refs, 1) == 1) {
		free(c->data);
		free(c);
	}
}

static struct content *content_seal(struct content *c)
{
	c->hash = (uint64_t)codec_check(c->data, c->size);
	return c;
}

static struct content *content_copy(const struct content *c, size_t size)
{
	struct content *n = content_new(size);

	memcpy(n->data, c->data, size < c->size ? size : c->size);
	return n;
}

static uint64_t rnd(struct world *w)
{
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 7;
	w->rng ^= w->rng << 17;
	return w->rng;
}

static size_t below(struct world *w, size_t n)
{
	return (size_t)((rnd(w) >> 11) % n);
}

static void fill(uint8_t *p, size_t n, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

	for (size_t i = 0; i < n; i++) {
		if (i % 8 == 0) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		p[i] = (uint8_t)(x >> (8 * (i % 8)));
	}
}

/* Pieces that come again now and then; one in eight is new. */
static struct content *content_random(struct world *w, size_t size)
{
	struct content *c = content_new(size);

	for (size_t at = 0; at < size; at += PIECE)
		fill(c->data + at, size - at < PIECE ? size - at : PIECE, below(w, 8) ? 1 + below(w, PIECES) : rnd(w));
	return content_seal(c);
}

/* --- steps ---------------------------------------------------------------------------------------- */

static void state_release(struct tree_state *t)
{
	for (size_t i = 0; i < t->n; i++)
		content_drop(t->v[i].content);
	free(t->v);
	*t = (struct tree_state){ 0 };
}

static struct tree_state state_copy(const struct tree_state *t)
{
	struct tree_state c = { more(NULL, t->n * sizeof *t->v), t->n };

	for (size_t i = 0; i < t->n; i++) {
		c.v[i] = t->v[i];
		content_ref(c.v[i].content);
	}
	return c;
}

static struct tree_state *now(struct world *w)
{
	return &w->steps[w->nsteps - 1];
}

/* A step begins: a copy of the tree so far, to be changed. */
static struct tree_state *begin(struct world *w)
{
	if (w->nsteps == w->cap_steps) {
		w->cap_steps = w->cap_steps ? 2 * w->cap_steps : 64;
		w->steps = more(w->steps, w->cap_steps * sizeof *w->steps);
		w->begun = more(w->begun, w->cap_steps * sizeof *w->begun);
	}
	w->steps[w->nsteps] = w->nsteps ? state_copy(now(w)) : (struct tree_state){ 0 };
	w->begun[w->nsteps] = disk_events(w->disk);
	w->nsteps++;
	return now(w);
}

static void promise(struct world *w, bool durable)
{
	if (w->npromises == w->cap_promises) {
		w->cap_promises = w->cap_promises ? 2 * w->cap_promises : 64;
		w->promises = more(w->promises, w->cap_promises * sizeof *w->promises);
	}
	w->promises[w->npromises++] = (struct promise){ disk_events(w->disk), w->nsteps - 1, durable };
}

static struct item *find(struct tree_state *t, const char *path)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->v[i].path, path) == 0)
			return &t->v[i];
	return NULL;
}

static struct item *add(struct tree_state *t, const char *path, uint32_t type, uint64_t ino, struct content *c)
{
	size_t i = 0;

	t->v = more(t->v, (t->n + 1) * sizeof *t->v);
	while (i < t->n && strcmp(t->v[i].path, path) < 0)
		i++;
	memmove(&t->v[i + 1], &t->v[i], (t->n - i) * sizeof *t->v);
	t->n++;
	t->v[i] = (struct item){ .type = type, .ino = ino, .content = content_ref(c) };
	snprintf(t->v[i].path, sizeof t->v[i].path, "%s", path);
	return &t->v[i];
}

static void take_away(struct tree_state *t, const char *path)
{
	struct item *it = find(t, path);

	if (!it)
		return;
	content_drop(it->content);
	t->n--;
	memmove(it, it + 1, (size_t)(t->v + t->n - it) * sizeof *it);
}

static void set_content(struct tree_state *t, uint64_t ino, struct content *c)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].ino == ino) {
			content_drop(t->v[i].content);
			t->v[i].content = content_ref(c);
		}
}

/* --- names ---------------------------------------------------------------------------------------- */

/* The directory of a path and its last name. */
static int parent_of(struct store *s, const char *path, uint64_t *parent, const char **name)
{
	struct store_attr a;
	const char *slash;

	*parent = STORE_ROOT;
	for (; (slash = strchr(path, '/')); path = slash + 1) {
		int rc = store_lookup(s, *parent, path, (size_t)(slash - path), &a);

		if (rc)
			return rc;
		*parent = a.ino;
	}
	*name = path;
	return 0;
}

static int lookup(struct store *s, const char *path, struct store_attr *out)
{
	uint64_t parent;
	const char *name;
	int rc = parent_of(s, path, &parent, &name);

	return rc ? rc : store_lookup(s, parent, name, strlen(name), out);
}

static void pick_path(struct world *w, char *path, const char *stem, unsigned n)
{
	size_t dir = below(w, DIRS + 1);

	if (dir == DIRS || !find(now(w), (char[]){ 'd', (char)('0' + dir), '\0' }))
		snprintf(path, 48, "%s%zu", stem, below(w, n));
	else
		snprintf(path, 48, "d%zu/%s%zu", dir, stem, below(w, n));
}

/* Any item of this type; NULL: there is none. The slow file is left alone. */
static struct item *pick(struct world *w, uint32_t type)
{
	struct tree_state *t = now(w);

	for (size_t i = 0, at = t->n ? below(w, t->n) : 0; i < t->n; i++, at = (at + 1) % t->n)
		if (t->v[at].type == type && strcmp(t->v[at].path, "slow") != 0)
			return &t->v[at];
	return NULL;
}

static size_t pick_size(struct world *w)
{
	switch (below(w, w->little ? 5 : 9)) {
	case 0:
		return below(w, 200);
	case 1:
		return 512 + below(w, 8000);
	case 2:
		return below(w, 33 << 10);
	case 3:
	case 4:
		return (40 << 10) + below(w, 60 << 10);
	case 5:
	case 6:
		return below(w, 900 << 10);
	default:
		return (1 << 20) + below(w, BIG_MAX - (1 << 20));
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
	int e = parent_of(w->s, path, &parent, &name);

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
	size_t part = 1 + below(w, 300 << 10), at = 0;
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
		promise(w, durable || written >= 1 << 20);
	store_file_close(f);
	return 0;
}

/* A file gets a whole new content, or is made with it. */
static int op_put(struct world *w)
{
	char path[48];

	pick_path(w, path, "f", FILES);
	struct item *there = find(now(w), path);
	struct content *c = content_random(w, pick_size(w));
	bool durable = below(w, 4) == 0;
	struct store_file *f = NULL;
	struct store_attr a;
	uint64_t parent;
	const char *name;
	int rc;

	w->doing = there ? "replace a file" : "make a file";
	if (there) {
		set_content(begin(w), there->ino, c);
		rc = lookup(w->s, path, &a);
	} else {
		add(begin(w), path, S_IFREG, w->next_ino++, c);
		rc = parent_of(w->s, path, &parent, &name);
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

/* One change in place, to the file and to *c. */
static int edit(struct world *w, struct store_file *f, struct content **c)
{
	size_t size = (*c)->size, off = below(w, size + 1), len = below(w, 6) ? below(w, 5000) : below(w, 200 << 10);
	struct content *n;
	int rc;

	switch (below(w, 5)) {
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
		/* fall through */
	default:
		n = content_copy(*c, off + len > size ? off + len : size);
		fill(n->data + off, len, rnd(w));
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

static int op_edit(struct world *w)
{
	struct item *it = pick(w, S_IFREG);
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
	bool append = below(w, 3) == 0;
	struct tree_state *t = begin(w);

	rc = lookup(w->s, path, &a);
	if (rc == 0)
		rc = store_file_open(w->s, a.ino, &f);
	if (rc)
		goto out;
	for (size_t i = 1 + below(w, 3); failed == 0 && i > 0; i--) {
		if (append) {
			size_t len = 1 + below(w, 3000);
			struct content *n = content_copy(c, c->size + len);

			fill(n->data + c->size, len, rnd(w));
			failed = store_file_write(f, STORE_APPEND, n->data + c->size, len);
			if (failed) {
				content_drop(n);
			} else {
				content_drop(c);
				c = content_seal(n);
			}
		} else {
			failed = edit(w, f, &c);
		}
	}
	/* Whatever failed, what succeeded before it counts, and the operation with it. */
	set_content(t, ino, c);
	rc = publish(w, f, path, 0, below(w, 4) == 0);
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

	pick_path(w, path, "f", FILES);
	if (find(now(w), "tmp"))
		return 0;
	struct content *c = content_random(w, pick_size(w));
	struct store_attr a;
	struct store_file *f;
	uint64_t ino = w->next_ino++;

	w->doing = "write a temporary file";
	add(begin(w), "tmp", S_IFREG, ino, c);
	int rc = store_make(w->s, STORE_ROOT, "tmp", 3, &(struct store_new){ .mode = S_IFREG | 0600, .provisional = true }, &a);

	if (rc)
		goto out;
	rc = store_file_open(w->s, a.ino, &f);
	if (rc) {
		w->unsure = true;
		goto out;
	}
	rc = write_all(w, f, 0, c->data, c->size);
	rc = rc ? give_up(w, f, "tmp", rc) : publish(w, f, "tmp", c->size, below(w, 2));
	if (rc)
		goto out;

	w->doing = "rename over a file";
	struct tree_state *t = begin(w);

	take_away(t, "tmp");
	take_away(t, path);
	add(t, path, S_IFREG, ino, c);
	rc = parent_of(w->s, path, &parent, &name);
	if (rc == 0)
		rc = parent_of(w->s, "tmp", &from_parent, &from);
	if (rc == 0)
		rc = store_rename(w->s, from_parent, from, strlen(from), parent, name, strlen(name), 0, &gone);
	if (rc == 0 && gone.ino && gone.nlink == 0)
		rc = store_reap(w->s, gone.ino);
	if (rc == 0 && below(w, 2)) {
		rc = store_commit(w->s, false);
		if (rc == 0)
			promise(w, false);
	}
out:
	content_drop(c);
	return rc;
}

/* Renames a file, over another or in exchange with it. */
static int op_rename(struct world *w)
{
	struct item *it = pick(w, S_IFREG);
	char from[48], to[48];
	uint64_t fp, tp;
	const char *fname, *tname;
	struct store_attr gone;

	w->doing = "rename a file";
	if (!it)
		return 0;
	memcpy(from, it->path, sizeof from);
	struct item moved = *it;

	content_ref(moved.content);
	pick_path(w, to, "f", FILES);
	struct item *there = find(now(w), to);
	struct item other = there ? *there : (struct item){ 0 };
	unsigned flags = there && below(w, 2) ? RENAME_EXCHANGE : 0;
	int rc = 0;

	content_ref(other.content);
	if (strcmp(from, to) == 0 || other.ino == moved.ino)
		goto out;
	struct tree_state *t = begin(w);

	take_away(t, from);
	take_away(t, to);
	add(t, to, moved.type, moved.ino, moved.content)->mark = moved.mark;
	if (flags)
		add(t, from, other.type, other.ino, other.content)->mark = other.mark;
	rc = parent_of(w->s, from, &fp, &fname);
	if (rc == 0)
		rc = parent_of(w->s, to, &tp, &tname);
	if (rc == 0)
		rc = store_rename(w->s, fp, fname, strlen(fname), tp, tname, strlen(tname), flags, &gone);
	if (rc == 0 && gone.ino && gone.nlink == 0)
		rc = store_reap(w->s, gone.ino);
out:
	content_drop(moved.content);
	content_drop(other.content);
	return rc;
}

static int op_unlink(struct world *w)
{
	struct item *it = pick(w, below(w, 4) ? S_IFREG : S_IFLNK);
	char path[48];
	uint64_t parent;
	const char *name;
	struct store_attr a;

	w->doing = "unlink a file";
	if (!it)
		return 0;
	memcpy(path, it->path, sizeof path);
	take_away(begin(w), path);
	int rc = parent_of(w->s, path, &parent, &name);

	if (rc == 0)
		rc = store_unlink(w->s, parent, name, strlen(name), &a);
	if (rc == 0 && a.nlink == 0)
		rc = store_reap(w->s, a.ino);
	return rc;
}

static int op_dir(struct world *w)
{
	char path[48];
	struct store_attr a;
	int rc;

	snprintf(path, sizeof path, "d%zu", below(w, DIRS));
	struct item *there = find(now(w), path);
	bool empty = true;

	for (size_t i = 0; there && i < now(w)->n; i++)
		empty &= strncmp(now(w)->v[i].path, path, 2) != 0 || now(w)->v[i].path[2] == '\0';
	w->doing = there ? "rmdir" : "mkdir";
	if (there && !empty)
		return 0;
	if (there) {
		take_away(begin(w), path);
		rc = store_rmdir(w->s, STORE_ROOT, path, strlen(path), &a);
		return rc ? rc : store_reap(w->s, a.ino);
	}
	add(begin(w), path, S_IFDIR, w->next_ino++, NULL);
	return store_make(w->s, STORE_ROOT, path, strlen(path), &(struct store_new){ .mode = S_IFDIR | 0755 }, &a);
}

/* A symbolic link, a further name or an attribute. */
static int op_small(struct world *w)
{
	struct item *it = pick(w, S_IFREG);
	char path[48], from[48];
	uint64_t parent, value = rnd(w);
	const char *name;
	struct store_attr a;
	int rc;

	w->doing = "make a link";
	pick_path(w, path, "l", 4);
	if (!it || (find(now(w), path) && below(w, 2)))
		return 0;
	memcpy(from, it->path, sizeof from);
	if (find(now(w), path)) {
		uint64_t ino = it->ino;
		struct tree_state *t = begin(w);

		w->doing = "set an attribute";
		for (size_t i = 0; i < t->n; i++)
			if (t->v[i].ino == ino)
				t->v[i].mark = value;
		rc = lookup(w->s, from, &a);
		return rc ? rc : store_setxattr(w->s, a.ino, "user.mark", &value, sizeof value, 0);
	}
	struct item source = *it;
	struct tree_state *t = begin(w);

	rc = parent_of(w->s, path, &parent, &name);
	if (below(w, 2)) {
		struct content *c = content_new(strlen(from));

		memcpy(c->data, from, c->size);
		add(t, path, S_IFLNK, w->next_ino++, content_seal(c));
		content_drop(c);
		return rc ? rc : store_make(w->s, parent, name, strlen(name),
				&(struct store_new){ .mode = S_IFLNK | 0777, .target = from, .target_len = strlen(from) }, &a);
	}
	add(t, path, S_IFREG, source.ino, source.content)->mark = source.mark;
	if (rc == 0)
		rc = lookup(w->s, from, &a);
	return rc ? rc : store_link(w->s, a.ino, parent, name, strlen(name), &a);
}

/* The slow file goes on: written a little, published now and then, torn now and then. */
static int op_slow(struct world *w)
{
	int rc = 0;

	w->doing = "write the slow file";
	if (!w->slow) {
		struct store_attr a;

		if (!find(now(w), "slow")) {
			struct content *c = content_seal(content_new(0));

			add(begin(w), "slow", S_IFREG, w->slow_ino = w->next_ino++, c);
			content_drop(c);
			rc = store_make(w->s, STORE_ROOT, "slow", 4, &(struct store_new){ .mode = S_IFREG | 0644 }, &a);
		} else {
			rc = lookup(w->s, "slow", &a);
		}
		w->slow_inode = a.ino;
		return rc ? rc : store_file_open(w->s, a.ino, &w->slow);
	}
	size_t dice = w->slow_session ? below(w, 8) : 7;

	if (dice == 0) {
		w->doing = "tear the slow file";
		rc = store_file_abort(w->slow, below(w, 2));
		w->slow_session = false;
	} else if (dice < 3) {
		bool durable = below(w, 3) == 0;

		w->doing = "publish the slow file";
		set_content(begin(w), w->slow_ino, content_seal(w->slow_now));
		rc = store_file_publish(w->slow, durable);
		if (rc == 0)
			promise(w, durable || w->slow_now->size >= 1 << 20);
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
		size_t len = below(w, w->little ? 30 << 10 : 250 << 10);
		struct content *n = content_copy(w->slow_now, w->slow_now->size + len);

		fill(n->data + w->slow_now->size, len, below(w, 3) ? rnd(w) : 7);
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

static int op_house(struct world *w)
{
	struct store_gc_result gc;
	bool durable;
	int rc;

	switch (below(w, 8)) {
	case 0:
	case 1:
		durable = below(w, 2);
		w->doing = durable ? "commit and sync" : "commit";
		rc = store_commit(w->s, durable);
		if (rc == 0)
			promise(w, durable);
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
	dice = below(w, sum);
	for (size_t i = 0;; i++) {
		if (dice < ops[i].weight)
			return ops[i].run(w);
		dice -= ops[i].weight;
	}
}

/* --- a world's life --------------------------------------------------------------------------------- */

void world_init(struct world *w, const char *dir, struct disk *d, uint64_t seed)
{
	*w = (struct world){ .dir = dir, .disk = d, .rng = seed * 0x9e3779b97f4a7c15u | 1, .next_ino = 2 };
	w->opt = (struct store_options){ .create = true, .vfs = FAULT_VFS, .workers = 1, .history_seconds = -1,
		.cache_bytes = 1 << 20, .dirty_bytes = 4 << 20 };
	begin(w);
}

void world_fork(struct world *w, const struct world *from, struct disk *d, uint64_t seed)
{
	world_init(w, from->dir, d, seed);
	w->opt = from->opt;
	w->little = from->little;
	w->next_ino = from->next_ino;
	w->slow_ino = from->slow_ino;
	state_release(&w->steps[0]);
	w->steps[0] = state_copy(&from->steps[from->nsteps - 1]);
	promise(w, true);
}

static void drop_slow(struct world *w)
{
	if (w->slow) {
		store_file_abort(w->slow, false);
		store_file_close(w->slow);
	}
	w->slow = NULL;
	w->slow_session = false;
	content_drop(w->slow_now);
	w->slow_now = NULL;
}

void world_release(struct world *w)
{
	for (size_t i = 0; i < w->nsteps; i++)
		state_release(&w->steps[i]);
	free(w->steps);
	free(w->begun);
	free(w->promises);
	content_drop(w->slow_now);
}

int world_open(struct world *w)
{
	if (disk_mirror(w->disk, w->dir))
		return -EIO;
	return store_open(w->dir, &w->opt, &w->s);
}

int world_close(struct world *w)
{
	struct store *s = w->s;

	if (!s)
		return 0;
	drop_slow(w);
	w->s = NULL;
	int rc = store_close(s);

	if (rc == 0)
		promise(w, true);
	return rc;
}

void world_crash(struct world *w)
{
	drop_slow(w);
	store_crash(w->s);
	w->s = NULL;
}

void world_range(const struct world *w, size_t events, bool power, size_t *lo, size_t *hi)
{
	*lo = *hi = 0;
	for (size_t i = 0; i < w->npromises; i++)
		if (w->promises[i].events <= events && (w->promises[i].durable || !power))
			*lo = w->promises[i].step;
	for (size_t i = 0; i < w->nsteps; i++)
		if (w->begun[i] <= events)
			*hi = i;
}

/* --- what a store shows --------------------------------------------------------------------------- */

static char complaint[1500];

static const char *complain(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(complaint, sizeof complaint, format, ap);
	va_end(ap);
	return complaint;
}

struct listing {
	struct store *s;
	struct tree_state *t;
	char dir[48];
	int rc;
};

static int see(void *arg, const struct store_dirent *d, const struct store_attr *attr)
{
	struct listing *l = arg;
	char path[200];

	snprintf(path, sizeof path, "%s%s%.*s", l->dir, *l->dir ? "/" : "", (int)d->len, d->name);
	path[47] = '\0';
	add(l->t, path, d->mode & S_IFMT, attr->ino, NULL);
	return 0;
}

static int read_whole(struct store *s, uint64_t ino, const struct store_attr *a, struct content **out)
{
	struct content *c = content_new(a->size);
	struct store_file *f;
	int rc = store_file_open(s, ino, &f);

	if (rc == 0) {
		ssize_t n = store_file_read(f, 0, c->data, c->size);

		rc = n < 0 ? (int)n : (size_t)n == c->size ? 0 : ckpt_fail(EIO, "a read came back short");
		store_file_close(f);
	}
	if (rc)
		content_drop(c);
	else
		*out = content_seal(c);
	return rc;
}

static int read_link(struct store *s, uint64_t ino, struct content **out)
{
	char buf[4096];
	ssize_t n = store_readlink(s, ino, buf, sizeof buf);

	if (n < 0)
		return (int)n;
	*out = content_new((size_t)n);
	memcpy((*out)->data, buf, (size_t)n);
	content_seal(*out);
	return 0;
}

/* The tree of an open store; the content of `but` (an inode) is not read. */
static int look(struct store *s, uint64_t but, struct tree_state *t)
{
	struct listing l = { .s = s, .t = t };
	int rc = store_readdir(s, STORE_ROOT, 0, true, see, &l);

	for (size_t i = 0; rc == 0 && i < t->n; i++) {
		if (t->v[i].type != S_IFDIR || strchr(t->v[i].path, '/'))
			continue;
		memcpy(l.dir, t->v[i].path, sizeof l.dir);
		rc = store_readdir(s, t->v[i].ino, 0, true, see, &l);
	}
	for (size_t i = 0; rc == 0 && i < t->n; i++) {
		struct item *it = &t->v[i];
		struct store_attr a;

		rc = store_getattr(s, it->ino, &a);
		if (rc == 0 && it->type == S_IFREG && it->ino != but)
			rc = read_whole(s, it->ino, &a, &it->content);
		else if (rc == 0 && it->type == S_IFLNK)
			rc = read_link(s, it->ino, &it->content);
		if (rc)
			break;
		ssize_t n = store_getxattr(s, it->ino, "user.mark", &it->mark, sizeof it->mark);

		if (n < 0 && n != -ENODATA)
			rc = (int)n;
	}
	return rc;
}

/* The first item with the same inode. */
static size_t first_of(const struct tree_state *t, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (t->v[j].ino == t->v[i].ino)
			return j;
	return i;
}

/* Where two trees differ; false: nowhere. */
static bool differ(const struct tree_state *want, const struct tree_state *is, const char *but, char *text, size_t len)
{
	for (size_t i = 0; i < want->n || i < is->n; i++) {
		const struct item *a = i < want->n ? &want->v[i] : NULL, *b = i < is->n ? &is->v[i] : NULL;

		if (!b || (a && strcmp(a->path, b->path) < 0)) {
			snprintf(text, len, "%s is missing", a->path);
			return true;
		}
		if (!a || strcmp(a->path, b->path) > 0) {
			snprintf(text, len, "%s is too much", b->path);
			return true;
		}
		if (a->type != b->type || first_of(want, i) != first_of(is, i) || a->mark != b->mark) {
			snprintf(text, len, "%s has another type, inode or attribute", a->path);
			return true;
		}
		if (!a->content || (but && strcmp(a->path, but) == 0))
			continue;
		const struct content *x = a->content, *y = b->content;

		if (x->size == y->size && x->hash == y->hash)
			continue;
		size_t at = 0;

		while (at < x->size && at < y->size && x->data[at] == y->data[at])
			at++;
		snprintf(text, len, "%s has %zu bytes for %zu, and differs from byte %zu on", a->path, y->size, x->size, at);
		return true;
	}
	return false;
}

bool world_settle(struct world *w, bool old, const char **why)
{
	struct tree_state t = { 0 };
	char after[200], before[200];
	bool ok = false;

	*why = NULL;
	if (w->unsure || !w->s || atomic_load(&w->s->failed))
		return false;
	fault_hold();
	int rc = look(w->s, w->slow ? w->slow_inode : 0, &t);

	fault_release();
	if (rc) {
		if (!atomic_load(&w->s->failed))
			*why = complain("after a failure to %s the tree can't be read: %s", w->doing, ckpt_errmsg());
	} else if (w->nsteps < 2 || !differ(&w->steps[w->nsteps - 2], &t, "slow", before, sizeof before)) {
		if (w->nsteps >= 2) {
			state_release(now(w));
			*now(w) = state_copy(&w->steps[w->nsteps - 2]);
		}
		ok = true;
	} else if (!differ(now(w), &t, "slow", after, sizeof after)) {
		ok = !old;
		if (!ok)
			*why = complain("a failed attempt to %s is to be seen", w->doing);
	} else {
		*why = complain("after a failure to %s the tree is neither as before (%s) nor as after (%s)", w->doing, before, after);
	}
	state_release(&t);
	return ok;
}

static void note_problem(void *arg, const char *line)
{
	char *text = arg;

	if (!*text)
		snprintf(text, 400, "%s", line);
}

/* Makes a file, durably, and renames it: the store takes changes. */
static int use_it(struct store *s)
{
	struct store_attr a;
	struct store_file *f;
	uint8_t *p = more(NULL, 200 << 10);

	fill(p, 200 << 10, 4711);
	int rc = store_make(s, STORE_ROOT, "new", 3, &(struct store_new){ .mode = S_IFREG | 0600, .provisional = true }, &a);

	if (rc == 0)
		rc = store_file_open(s, a.ino, &f);
	if (rc == 0) {
		rc = store_file_write(f, 0, p, 200 << 10);
		if (rc == 0)
			rc = store_file_publish(f, true);
		store_file_close(f);
	}
	free(p);
	if (rc == 0)
		rc = store_gc(s, NULL, NULL, NULL);
	if (rc == 0)
		rc = store_rename(s, STORE_ROOT, "new", 3, STORE_ROOT, "newer", 5, 0, &a);
	return rc;
}

static const char *verified(struct store *s, const char *when)
{
	struct store_verify_result res;
	char problem[400] = "";
	int rc = store_verify(s, true, note_problem, NULL, problem, &res);

	if (rc)
		return complain("%s verify fails: %s", when, ckpt_errmsg());
	if (res.problems)
		return complain("%s verify finds %llu problems, the first: %s", when, (unsigned long long)res.problems, problem);
	return NULL;
}

const char *world_check(const struct world *w, struct disk *d, size_t lo, size_t hi, bool use)
{
	struct tree_state t = { 0 };
	struct store *s = NULL;
	const char *wrong = NULL;
	char low[200] = "", high[200] = "";

	fault_hold();
	disk_use(d);
	if (disk_mirror(d, w->dir)) {
		wrong = complain("the mirror can't be written");
		goto out;
	}
	int rc = store_open(w->dir, &w->opt, &s);

	if (rc) {
		wrong = complain("the store does not open: %d: %s", rc, ckpt_errmsg());
		goto out;
	}
	rc = look(s, 0, &t);
	if (rc) {
		wrong = complain("the tree can't be read: %s", ckpt_errmsg());
		goto close;
	}
	bool found = false;

	for (size_t i = hi + 1; !found && i-- > lo;)
		found = !differ(&w->steps[i], &t, NULL, high, sizeof high);
	if (!found) {
		differ(&w->steps[lo], &t, NULL, low, sizeof low);
		differ(&w->steps[hi], &t, NULL, high, sizeof high);
		size_t fits = w->nsteps;

		for (size_t i = 0; i < w->nsteps; i++) {
			char text[200];

			if (!differ(&w->steps[i], &t, NULL, text, sizeof text))
				fits = i;
		}
		wrong = complain("the tree is none of steps %zu to %zu (%zu fits, of %zu): against the first %s, against the last %s",
				lo, hi, fits, w->nsteps, low, high);
		goto close;
	}
	wrong = verified(s, "after recovery");
	if (!wrong && use) {
		rc = use_it(s);
		wrong = rc ? complain("after recovery a change fails: %s", ckpt_errmsg()) : verified(s, "after a change");
	}
close:
	rc = store_close(s);
	if (rc && !wrong)
		wrong = complain("after recovery the store does not close: %s", ckpt_errmsg());
out:
	state_release(&t);
	fault_release();
	return wrong;
}
