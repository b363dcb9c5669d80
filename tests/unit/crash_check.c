/*
 * crash_check.c: what a store shows, compared with what it may show.
 */
#include "crash_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "codec/ckpt_error.h"
#include "store/meta_internal.h"
#include "store/store_admin.h"
#include "store/store_file.h"
#include "store/store_internal.h"
#include "store/store_tree.h"

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
	item_add(l->t, path, d->mode & S_IFMT, attr->ino, NULL);
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
	if (w->unsure || !w->s || atomic_load(&w->s->failed)) {
		w->unsure = true;
		return false;
	}
	fault_hold();
	int rc = look(w->s, w->slow ? w->slow_inode : 0, &t);

	fault_release();
	if (rc) {
		if (!atomic_load(&w->s->failed))
			*why = complain("after a failure to %s the tree can't be read: %s", w->doing, ckpt_errmsg());
	} else if (w->nsteps < 2 || !differ(&w->steps[w->nsteps - 2], &t, "slow", before, sizeof before)) {
		if (w->nsteps >= 2) {
			tree_state_release(world_now(w));
			*world_now(w) = tree_state_copy(&w->steps[w->nsteps - 2]);
		}
		ok = true;
	} else if (!differ(world_now(w), &t, "slow", after, sizeof after)) {
		ok = !old;
		if (!ok)
			*why = complain("a failed attempt to %s is to be seen", w->doing);
	} else {
		*why = complain("after a failure to %s the tree is neither as before (%s) nor as after (%s)", w->doing, before, after);
	}
	tree_state_release(&t);
	w->unsure = !ok;
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
	uint8_t *p = crash_alloc(NULL, 200 << 10);

	content_fill(p, 200 << 10, 4711);
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

/* Versions under way, or held by somebody, when it happened: none of them is anybody's after an opening. */
static bool leftovers(struct store *s)
{
	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT 1 FROM draft");
	int rc = st ? meta_step(s, st) : 1;

	meta_unlock(s);
	return rc != 0;
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
	wrong = leftovers(s) ? complain("after recovery there are drafts") : verified(s, "after recovery");
	if (!wrong && use) {
		rc = use_it(s);
		wrong = rc ? complain("after recovery a change fails: %s", ckpt_errmsg()) : verified(s, "after a change");
	}
close:
	rc = store_close(s);
	if (rc && !wrong)
		wrong = complain("after recovery the store does not close: %s", ckpt_errmsg());
out:
	tree_state_release(&t);
	fault_release();
	return wrong;
}
