/*
 * test_history.c: versions that lost their place: which are kept, under which path, for how long, and how they are listed.
 *
 * Versions are rows made here, without content, so that thousands cost nothing.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch_meta.h"
#include "store/store.h"
#include "store/store_history.h"
#include "store/store_tree.h"
#include "store/tree_internal.h"

struct fixture {
	char dir[64];
	char path[96];
	int64_t history;
	struct store *s;
};

static void open_store(struct fixture *f)
{
	struct store_options o = { .create = true, .history_seconds = f->history };

	if (store_open(f->path, &o, &f->s) < 0)
		fail_msg("store_open: %s", ckpt_errmsg());
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	f->history = -1;
	snprintf(f->dir, sizeof f->dir, "/tmp/ckptfs-history-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/h.ckptfs", f->dir);
	open_store(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char cmd[128];

	store_close(f->s);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", f->dir);
	assert_int_equal(system(cmd), 0);
	free(f);
	return 0;
}

static void crash(struct fixture *f)
{
	store_crash(f->s);
	open_store(f);
}

/* A file or directory in `parent`. */
static uint64_t make(struct store *s, uint64_t parent, const char *name, uint32_t type)
{
	struct store_new n = { .mode = type | 0750, .uid = 5, .gid = 6 };
	struct store_attr a;

	assert_int_equal(store_make(s, parent, name, strlen(name), &n, &a), 0);
	return a.ino;
}

/* A row of `version` with two of `manifest`. */
static uint64_t insert_version(struct store *s, uint64_t ino, uint64_t size)
{
	int64_t id = meta_next(s, META_VERSION);
	sqlite3_stmt *st;

	assert_true(id > 0);
	st = meta_stmt(s, "INSERT INTO version(id, ino, size, data) VALUES(?1, ?2, ?3, ?3)");
	assert_non_null(st);
	tree_bind(st, 1, id);
	tree_bind(st, 2, (int64_t)ino);
	tree_bind(st, 3, (int64_t)size);
	assert_int_equal(meta_exec(s, st), 0);
	st = meta_stmt(s, "INSERT INTO manifest(version, off, pieces) VALUES(?1, 0, x'00'), (?1, 9, x'00')");
	assert_non_null(st);
	tree_bind(st, 1, id);
	assert_int_equal(meta_exec(s, st), 0);
	return (uint64_t)id;
}

/* What a publish does: a new version of the file, the old one ends. */
static uint64_t publish(struct store *s, uint64_t ino, uint64_t size, bool keep)
{
	struct store_attr old;
	sqlite3_stmt *st;
	uint64_t id;

	assert_int_equal(meta_begin(s), 0);
	assert_int_equal(meta_inode_get(s, ino, &old), 0);
	id = insert_version(s, ino, size);
	st = meta_stmt(s, "UPDATE inode SET version = ?2, size = ?3, data = ?3 WHERE ino = ?1");
	assert_non_null(st);
	tree_bind(st, 1, (int64_t)ino);
	tree_bind(st, 2, (int64_t)id);
	tree_bind(st, 3, (int64_t)size);
	assert_int_equal(meta_exec(s, st), 0);
	assert_int_equal(meta_version_end(s, old.version, &old, STORE_REPLACED, keep, NULL, 0), 0);
	assert_int_equal(meta_end(s, 0), 0);
	return id;
}

/* Straight into the history under a path. */
static uint64_t put(struct store *s, const char *path)
{
	struct store_attr a = { .ino = 77, .mode = S_IFREG | 0600, .size = 1000 };

	assert_int_equal(meta_begin(s), 0);
	a.version = insert_version(s, a.ino, a.size);
	assert_int_equal(meta_version_end(s, a.version, &a, STORE_REPLACED, true, path, strlen(path)), 0);
	assert_int_equal(meta_end(s, 0), 0);
	return a.version;
}

struct list {
	struct store_past past[64];
	size_t n, stop;
};

static int take(void *arg, const struct store_past *p)
{
	struct list *l = arg;

	assert_in_range(l->n, 0, 63);
	l->past[l->n++] = *p;
	return l->n == l->stop;
}

static void history_of(struct store *s, const char *path, struct list *l)
{
	*l = (struct list){ 0 };
	assert_int_equal(store_history_of(s, path, strlen(path), take, l), 0);
}

/* --- which are kept ------------------------------------------------------------------------------------- */

static void test_rules(void **state)
{
	static const struct {
		int64_t history;
		uint64_t size;
		int how;
		bool keep, kept;
	} cases[] = {
		{ -1, STORE_HISTORY_MIN, STORE_REPLACED, true, true },
		{ -1, STORE_HISTORY_MIN - 1, STORE_REPLACED, true, false },
		{ -1, 1 << 20, STORE_REPLACED, false, false },
		{ -1, 1 << 20, STORE_DELETED, true, true },
		{ 60, 1 << 20, STORE_DELETED, true, true },
		{ 0, 1 << 20, STORE_DELETED, true, false },
		{ 0, 1 << 20, STORE_TORN, true, false },
		{ -1, 1, STORE_TORN, false, true },
		{ -1, 0, STORE_TORN, true, false },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct store_attr a = { .ino = 9, .mode = S_IFREG | 0640, .uid = 1, .gid = 2, .size = cases[i].size,
			.data = 7, .atime = { 1, 2 }, .mtime = { 3, 4 }, .ctime = { 5, 6 }, .btime = { -7, 8 } };
		struct store_past p;
		int64_t before;
		uint64_t v;

		assert_int_equal(store_close(f->s), 0);
		f->history = cases[i].history;
		open_store(f);
		assert_int_equal(meta_begin(f->s), 0);
		v = a.version = insert_version(f->s, 9, a.size);
		before = meta_now();
		assert_int_equal(meta_version_end(f->s, v, &a, cases[i].how, cases[i].keep, "a/b", 3), 0);
		assert_int_equal(meta_end(f->s, 0), 0);
		if (!cases[i].kept) {
			assert_int_equal(store_history_get(f->s, v, &p), -ENOENT);
			assert_int_equal(tree_garbage_hint(f->s), cases[i].size);
			continue;
		}
		assert_int_equal(tree_garbage_hint(f->s), 0);
		assert_int_equal(store_history_get(f->s, v, &p), 0);
		a.nlink = 1;
		assert_memory_equal(&p.attr, &a, sizeof a);
		assert_int_equal(p.version, v);
		assert_int_equal(p.how, cases[i].how);
		assert_in_range(p.ended, before, meta_now());
	}
	/* each version has its manifest or is gone with it */
	assert_int_equal(count(f->s, "SELECT count(*) FROM version"), count(f->s, "SELECT count(*) FROM history"));
	assert_int_equal(count(f->s, "SELECT count(*) FROM manifest"), 2 * count(f->s, "SELECT count(*) FROM history"));
}

/* --- under which path ------------------------------------------------------------------------------------- */

static void test_paths(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->s;
	uint64_t run = make(s, STORE_ROOT, "run", S_IFDIR), dir = make(s, run, "003", S_IFDIR);
	uint64_t file = make(s, dir, "model.pt", S_IFREG), other = make(s, dir, "tmp", S_IFREG), v[5];
	struct store_attr gone;
	struct list l;

	v[0] = publish(s, other, 4000, true);
	v[1] = publish(s, file, 1000, true);
	v[2] = publish(s, file, 2000, true);        /* 1 ends, replaced */
	assert_int_equal(store_rename(s, STORE_ROOT, "run", 3, STORE_ROOT, "old", 3, 0, NULL), 0);
	v[3] = publish(s, file, 3000, true);        /* 2 ends, the directory being renamed */
	/* renamed over: 3 ends when the file is reaped; 0, older than it, takes the place and ends later */
	assert_int_equal(store_rename(s, dir, "tmp", 3, dir, "model.pt", 8, 0, &gone), 0);
	assert_int_equal(gone.ino, file);
	assert_int_equal(store_reap(s, file), 0);
	assert_int_equal(store_unlink(s, dir, "model.pt", 8, &gone), 0);
	assert_int_equal(gone.ino, other);
	assert_int_equal(store_reap(s, other), 0);

	history_of(s, "run/003/model.pt", &l);
	assert_int_equal(l.n, 1);
	assert_int_equal(l.past[0].version, v[1]);
	assert_int_equal(l.past[0].attr.size, 1000);
	assert_int_equal(l.past[0].attr.uid, 5);
	history_of(s, "old/003/model.pt", &l);
	assert_int_equal(l.n, 3);
	assert_int_equal(l.past[0].version, v[2]);
	assert_int_equal(l.past[0].how, STORE_REPLACED);
	assert_int_equal(l.past[1].version, v[3]);
	assert_int_equal(l.past[1].how, STORE_REPLACED);
	assert_int_equal(l.past[2].version, v[0]);
	assert_int_equal(l.past[2].how, STORE_DELETED);
	l = (struct list){ .stop = 2 };
	assert_int_equal(store_history_of(s, "old/003/model.pt", 16, take, &l), 0);
	assert_int_equal(l.n, 2);
	history_of(s, "old/003/tmp", &l);
	assert_int_equal(l.n, 0);
	assert_int_equal(count(s, "SELECT count(*) FROM history"), 4);
}

/* Unlinked, committed, then a crash: the version is in the history all the same. One that was small is not. */
static void test_crash(void **state)
{
	struct fixture *f = *state;
	uint64_t big = make(f->s, STORE_ROOT, "big", S_IFREG), small = make(f->s, STORE_ROOT, "small", S_IFREG);
	uint64_t over = make(f->s, STORE_ROOT, "over", S_IFREG), v;
	struct list l;

	v = publish(f->s, big, 1000, true);
	publish(f->s, small, 10, true);
	publish(f->s, over, 1000, true);
	assert_int_equal(store_unlink(f->s, STORE_ROOT, "big", 3, NULL), 0);
	assert_int_equal(store_unlink(f->s, STORE_ROOT, "small", 5, NULL), 0);
	make(f->s, STORE_ROOT, "new", S_IFREG);
	assert_int_equal(store_rename(f->s, STORE_ROOT, "new", 3, STORE_ROOT, "over", 4, 0, NULL), 0);
	assert_int_equal(store_commit(f->s, false), 0);
	crash(f);
	history_of(f->s, "big", &l);
	assert_int_equal(l.n, 1);
	assert_int_equal(l.past[0].version, v);
	assert_int_equal(l.past[0].how, STORE_DELETED);
	history_of(f->s, "over", &l);
	assert_int_equal(l.n, 1);
	assert_int_equal(l.past[0].how, STORE_REPLACED);
	history_of(f->s, "small", &l);
	assert_int_equal(l.n, 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM version"), 2);
}

/* A file that is written after its last name went: what it was goes to the history under the path it had. */
static void test_unlinked(void **state)
{
	struct fixture *f = *state;
	uint64_t file = make(f->s, STORE_ROOT, "f", S_IFREG), none = make(f->s, STORE_ROOT, "n", S_IFREG);
	struct list l;

	publish(f->s, file, 1000, true);
	assert_int_equal(store_unlink(f->s, STORE_ROOT, "f", 1, NULL), 0);
	publish(f->s, file, 2000, true);
	assert_int_equal(store_reap(f->s, file), 0);
	history_of(f->s, "f", &l);
	assert_int_equal(l.n, 2);
	/* one that never had a version under its name leaves nothing */
	assert_int_equal(store_unlink(f->s, STORE_ROOT, "n", 1, NULL), 0);
	publish(f->s, none, 1000, true);
	publish(f->s, none, 1000, true);
	assert_int_equal(store_reap(f->s, none), 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM history"), 2);
	assert_int_equal(count(f->s, "SELECT count(*) FROM version"), 2);
	assert_int_equal(tree_garbage_hint(f->s), 2000);
	tree_garbage_reset(f->s);
	assert_int_equal(tree_garbage_hint(f->s), 0);
}

/* --- listing ------------------------------------------------------------------------------------------------ */

struct names {
	char text[65536];
	size_t len, n, stop;
};

static int take_name(void *arg, const char *name, size_t len, int leaf, int dir)
{
	struct names *l = arg;

	l->len += (size_t)snprintf(l->text + l->len, sizeof l->text - l->len, "%.*s%s ", (int)len, name,
			dir ? leaf ? "+" : "/" : "");
	return ++l->n == l->stop;
}

static const char *list(struct store *s, const char *prefix, struct names *l)
{
	l->len = l->n = 0;
	l->text[0] = '\0';
	assert_int_equal(store_history_list(s, prefix, strlen(prefix), take_name, l), 0);
	return l->text;
}

static void test_list(void **state)
{
	/* "x" a leaf, "x/" a directory, "x+" both */
	static const char *const paths[] = {
		"run-2/a", "run.log", "run/003/model.pt", "run/003/model.pt", "run/003/optimizer.pt", "run/003.tmp", "run/003",
		"run/004/x", "run/004 old/x", "run/latest", "run0", "ru", "r/x", "r", "a", "a-", "a-/b", "a/c", "a!/d/e",
		"z/\x01/a", "z/\xff", "z/\xff/b",
	};
	static const struct {
		const char *prefix, *want;
	} cases[] = {
		{ "", "a+ a!/ a-+ r+ ru run/ run-2/ run.log run0 z/ " },
		{ "run", "003+ 003.tmp 004/ 004 old/ latest " },
		{ "run/003", "model.pt optimizer.pt " }, { "run/003/model.pt", "" }, { "ru", "" }, { "a!", "d/ " },
		{ "a-", "b " }, { "none", "" }, { "z", "\x01/ \xff+ " }, { "run/004", "x " },
	};
	struct fixture *f = *state;
	struct names *l = calloc(1, sizeof *l);

	assert_non_null(l);
	assert_string_equal(list(f->s, "", l), "");
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		put(f->s, paths[i]);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_string_equal(list(f->s, cases[i].prefix, l), cases[i].want);
	l->stop = 2;
	assert_string_equal(list(f->s, "", l), "a+ a!/ ");
	free(l);
}

static unsigned seed = 1;

static unsigned pick(unsigned n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 16) % n;
}

enum { PATHS = 400 };

struct component {
	char name[16];
	bool leaf, dir;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct component *)a)->name, ((const struct component *)b)->name);
}

/* What store_history_list() should say, by looking at every path. */
static void list_plainly(char paths[][16], const char *prefix, struct names *out)
{
	struct component *c = calloc(PATHS, sizeof *c);
	size_t n = 0, base = strlen(prefix);

	assert_non_null(c);
	for (size_t i = 0; i < PATHS; i++) {
		const char *p = paths[i];
		size_t len, j;

		if (base > 0 && (strncmp(p, prefix, base) != 0 || p[base] != '/'))
			continue;
		p += base > 0 ? base + 1 : 0;
		len = strcspn(p, "/");
		for (j = 0; j < n; j++)
			if (strlen(c[j].name) == len && memcmp(c[j].name, p, len) == 0)
				break;
		if (j == n)
			memcpy(c[n++].name, p, len);
		if (p[len] == '/')
			c[j].dir = true;
		else
			c[j].leaf = true;
	}
	qsort(c, n, sizeof *c, by_name);
	*out = (struct names){ 0 };
	for (size_t j = 0; j < n; j++)
		take_name(out, c[j].name, strlen(c[j].name), c[j].leaf, c[j].dir);
	free(c);
}

static void test_list_random(void **state)
{
	static const char alphabet[] = "a-/./b0!";
	static const char *const prefixes[] = { "", "a", "b", "a-", "a/a", "-", "0", "a.b" };
	struct fixture *f = *state;
	char (*paths)[16] = calloc(PATHS, sizeof *paths);
	struct names *got = calloc(1, sizeof *got), *want = calloc(1, sizeof *want);

	assert_true(paths != NULL && got != NULL && want != NULL);
	for (size_t i = 0; i < PATHS; i++) {
		size_t len = 1 + pick(10);

		for (size_t j = 0; j < len; j++) {
			char c = alphabet[pick(8)];

			if (c == '/' && (j == 0 || j == len - 1 || paths[i][j - 1] == '/'))
				c = 'a';
			paths[i][j] = c;
		}
		put(f->s, paths[i]);
	}
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		list_plainly(paths, prefixes[i], want);
		list(f->s, prefixes[i], got);
		assert_true(i > 0 || want->n > 50);
		assert_string_equal(got->text, want->text);
	}
	free(paths);
	free(got);
	free(want);
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

static void test_expire(void **state)
{
	struct fixture *f = *state;
	const int64_t hour = (int64_t)3600 * 1000000000;
	struct store_past p;
	uint64_t first, last = 0;
	char path[16];

	first = put(f->s, "first");
	for (int i = 0; i < 1000; i++) {
		snprintf(path, sizeof path, "d/%d", i % 100);
		last = put(f->s, path);
	}
	assert_int_equal(history_expire(f->s, meta_now()), 0);
	assert_int_equal(history_expire(f->s, meta_now() + 23 * hour), 0);
	/* short of space: the oldest go */
	assert_int_equal(history_shrink(f->s, 1), 1);
	assert_int_equal(store_history_get(f->s, first, &p), -ENOENT);
	assert_int_equal(history_shrink(f->s, 300), 300);
	assert_int_equal(store_history_get(f->s, last, &p), 0);
	assert_int_equal(tree_garbage_hint(f->s), 301 * 1000);
	assert_int_equal(history_expire(f->s, meta_now() + 25 * hour), 700);
	assert_int_equal(history_shrink(f->s, 10), 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM history"), 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM version"), 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM manifest"), 0);
	/* for ever */
	put(f->s, "x");
	assert_int_equal(store_close(f->s), 0);
	f->history = INT64_MAX;
	open_store(f);
	assert_int_equal(history_expire(f->s, INT64_MAX), 0);
	/* the history is turned off: what is left of it goes */
	assert_int_equal(store_close(f->s), 0);
	f->history = 0;
	open_store(f);
	assert_int_equal(history_expire(f->s, meta_now()), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rules, setup, teardown),
		cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_crash, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unlinked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list_random, setup, teardown),
		cmocka_unit_test_setup_teardown(test_expire, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
