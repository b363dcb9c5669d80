/*
 * test_tree_attrs.c: attributes of inodes, and directories listed.
 */
#include "scratch_tree.h"

/* --- attributes ------------------------------------------------------------------------------------------------- */

static void test_make_attributes(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->s;
	struct store_new n = { .mode = S_IFCHR | 0640, .uid = 7, .gid = 8, .rdev = 0x0105 };
	struct store_attr d, a;
	char buf[4096], target[4097];

	assert_int_equal(store_make(s, STORE_ROOT, "null", 4, &n, &a), 0);
	assert_int_equal(a.rdev, 0x0105);
	assert_int_equal(a.mode, S_IFCHR | 0640);
	assert_int_equal(a.uid, 7);
	assert_int_equal(a.gid, 8);
	assert_int_equal(a.nlink, 1);
	assert_int_equal(meta_ns(a.btime), meta_ns(a.mtime));

	/* setgid: the group is the directory's, and a directory inherits the bit */
	assert_int_equal(make(s, "g", S_IFDIR | S_ISGID | 0770, false, &d), 0);
	n = (struct store_new){ .mode = S_IFREG | 0600, .uid = 7, .gid = 8 };
	assert_int_equal(store_make(s, d.ino, "f", 1, &n, &a), 0);
	assert_int_equal(a.gid, 100);
	assert_int_equal(a.mode, S_IFREG | 0600);
	n.mode = S_IFDIR | 0700;
	assert_int_equal(store_make(s, d.ino, "d", 1, &n, &a), 0);
	assert_int_equal(a.gid, 100);
	assert_int_equal(a.mode, S_IFDIR | S_ISGID | 0700);
	assert_int_equal(a.parent, d.ino);

	/* symbolic links */
	memset(target, 'x', sizeof target);
	n = (struct store_new){ .mode = S_IFLNK | 0777, .target = target, .target_len = 4095 };
	assert_int_equal(store_make(s, STORE_ROOT, "l", 1, &n, &a), 0);
	assert_int_equal(a.size, 4095);
	assert_int_equal(store_readlink(s, a.ino, buf, sizeof buf), 4095);
	assert_memory_equal(buf, target, 4095);
	assert_int_equal(store_readlink(s, a.ino, buf, 10), 10);
	assert_int_equal(store_readlink(s, STORE_ROOT, buf, 10), -EINVAL);
	assert_int_equal(store_readlink(s, 999999, buf, 10), -ENOENT);
	n.target_len = 4096;
	assert_int_equal(store_make(s, STORE_ROOT, "m", 1, &n, &a), -ENAMETOOLONG);
	n.target_len = 0;
	assert_int_equal(store_make(s, STORE_ROOT, "m", 1, &n, &a), -ENOENT);
	n.mode = 0644;
	assert_int_equal(store_make(s, STORE_ROOT, "m", 1, &n, &a), -EINVAL);
	assert_int_equal(store_make(s, STORE_ROOT, "a/b", 3, &(struct store_new){ .mode = S_IFREG }, &a), -EINVAL);
	check_tree(s, 0);
}

static bool later(struct timespec a, struct timespec b)
{
	return meta_ns(a) > meta_ns(b);
}

static void test_times(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->s;
	struct store_attr d0, d1, a0, a1, e0, e1, gone;

	assert_int_equal(make(s, "d", S_IFDIR | 0755, false, &d0), 0);
	assert_int_equal(make(s, "e", S_IFDIR | 0755, false, &e0), 0);
	assert_int_equal(make(s, "d/f", S_IFREG | 0644, false, &a0), 0);
	assert_int_equal(look(s, "d", &d1), 0);
	assert_true(later(d1.mtime, d0.mtime) && later(d1.ctime, d0.ctime));

	assert_int_equal(link_path(s, "d/f", "d/g"), 0);
	assert_int_equal(look(s, "d/f", &a1), 0);
	assert_true(later(a1.ctime, a0.ctime));
	assert_int_equal(meta_ns(a1.mtime), meta_ns(a0.mtime));

	a0 = a1;
	d0 = d1;
	assert_int_equal(rename_path(s, "d/f", "e/f", 0), 0);
	assert_int_equal(look(s, "e/f", &a1), 0);
	assert_int_equal(look(s, "d", &d1), 0);
	assert_int_equal(look(s, "e", &e1), 0);
	assert_true(later(a1.ctime, a0.ctime) && later(d1.mtime, d0.mtime) && later(e1.ctime, e0.ctime));

	a0 = a1;
	assert_int_equal(store_unlink(s, d0.ino, "g", 1, &gone), 0);
	assert_int_equal(gone.nlink, 1);
	assert_int_equal(store_getattr(s, a0.ino, &a1), 0);
	assert_memory_equal(&gone, &a1, sizeof a1);
	assert_true(later(a1.ctime, a0.ctime));

	/* nothing happens: no time moves */
	assert_int_equal(link_path(s, "e/f", "d/h"), 0);
	assert_int_equal(look(s, "d", &d0), 0);
	assert_int_equal(look(s, "d/h", &a0), 0);
	assert_int_equal(rename_path(s, "d/h", "e/f", 0), 0);
	assert_int_equal(look(s, "d", &d1), 0);
	assert_int_equal(look(s, "d/h", &a1), 0);
	assert_memory_equal(&d0, &d1, sizeof d0);
	assert_memory_equal(&a0, &a1, sizeof a0);

	/* a rename over a file: what was there is told */
	assert_int_equal(make(s, "d/n", S_IFREG | 0644, false, &a0), 0);
	assert_int_equal(store_rename(s, d0.ino, "n", 1, e0.ino, "f", 1, 0, &gone), 0);
	assert_int_equal(gone.ino, a1.ino);
	assert_int_equal(gone.nlink, 1);
	assert_int_equal(store_rename(s, e0.ino, "f", 1, d0.ino, "h", 1, 0, &gone), 0);
	assert_int_equal(gone.ino, a1.ino);
	assert_int_equal(gone.nlink, 0);
	assert_int_equal(store_getattr(s, gone.ino, &a1), 0);
	assert_memory_equal(&gone, &a1, sizeof a1);
	assert_int_equal(store_rename(s, d0.ino, "h", 1, d0.ino, "i", 1, 0, &gone), 0);
	assert_int_equal(gone.ino, 0);
	check_tree(s, 1);
	reopen(f);
	check_tree(f->s, 0);
}

static void test_setattr(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->s;
	struct store_attr a, b, in = { .mode = S_IFDIR | 07601, .uid = 1, .gid = 4000000000u,
		.atime = { -5, 999999999 }, .mtime = { 4000000000, 1 }, .ctime = { 17, 18 }, .btime = { 3, 4 } };

	assert_int_equal(make(s, "f", S_IFREG | 0644, false, &a), 0);
	assert_int_equal(store_setattr(s, a.ino, &in, STORE_SET_MODE, &b), 0);
	assert_int_equal(b.mode, S_IFREG | 07601);
	assert_true(later(b.ctime, a.ctime));
	assert_int_equal(meta_ns(b.mtime), meta_ns(a.mtime));
	assert_int_equal(b.uid, a.uid);
	assert_int_equal(store_setattr(s, a.ino, &in, STORE_SET_UID | STORE_SET_GID, NULL), 0);
	assert_int_equal(store_setattr(s, a.ino, &in, STORE_SET_ATIME | STORE_SET_MTIME | STORE_SET_CTIME |
			STORE_SET_BTIME, &b), 0);
	reopen(f);
	assert_int_equal(store_getattr(f->s, a.ino, &a), 0);
	assert_memory_equal(&a, &b, sizeof a);
	assert_int_equal(a.gid, 4000000000u);
	assert_int_equal(a.atime.tv_sec, -5);
	assert_int_equal(a.atime.tv_nsec, 999999999);
	assert_int_equal(a.mtime.tv_sec, 4000000000);
	assert_int_equal(a.ctime.tv_nsec, 18);
	assert_int_equal(a.btime.tv_sec, 3);
	assert_int_equal(store_setattr(f->s, a.ino, &in, STORE_SET_ATIME_NOW | STORE_SET_MTIME_NOW, &b), 0);
	assert_true(later(b.atime, a.atime));
	assert_int_equal(meta_ns(b.mtime), meta_ns(b.ctime));
	assert_int_equal(store_setattr(f->s, 999999, &in, STORE_SET_MODE, &b), -ENOENT);
	/* also of a file without a name */
	assert_int_equal(store_unlink(f->s, STORE_ROOT, "f", 1, &b), 0);
	assert_int_equal(store_setattr(f->s, a.ino, &in, STORE_SET_MODE, &b), 0);
	assert_int_equal(b.nlink, 0);
	assert_int_equal(store_link(f->s, a.ino, STORE_ROOT, "f", 1, &b), -ENOENT);
}

static void test_xattr(void **state)
{
	static const struct {
		const char *name, *value;
		int flags, want;
	} sets[] = {
		{ "user.a", "1", 0, 0 }, { "user.a", "22", XATTR_CREATE, EEXIST }, { "user.a", "22", XATTR_REPLACE, 0 },
		{ "user.b", "", XATTR_REPLACE, ENODATA }, { "user.b", "", XATTR_CREATE, 0 }, { "user.a", "333", 0, 0 },
		{ "", "x", 0, ERANGE }, { LONG255 "x", "x", 0, ERANGE }, { LONG255, "x", 0, 0 },
		{ "user.a", "x", XATTR_CREATE | XATTR_REPLACE, EINVAL }, { "user.\xff\xfe", "bytes", 0, 0 },
	};
	struct fixture *f = *state;
	struct store *s = f->s;
	struct store_attr a, b;
	char list[1024], *big = calloc(1, 65537), value[256];
	static const char want[] = LONG255 "\0user.a\0user.b\0user.\xff\xfe";

	assert_non_null(big);
	assert_int_equal(make(s, "f", S_IFREG | 0644, false, &a), 0);
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
		assert_int_equal(store_setxattr(s, a.ino, sets[i].name, sets[i].value, strlen(sets[i].value), sets[i].flags),
				-sets[i].want);
	reopen(f);
	s = f->s;
	assert_int_equal(store_getxattr(s, a.ino, "user.a", list, 2), -ERANGE);
	assert_int_equal(store_getxattr(s, a.ino, "user.a", NULL, 0), 3);
	assert_int_equal(store_getxattr(s, a.ino, "user.a", list, 3), 3);
	assert_memory_equal(list, "333", 3);
	assert_int_equal(store_getxattr(s, a.ino, "user.b", list, 3), 0);
	assert_int_equal(store_getxattr(s, a.ino, "user.c", list, 3), -ENODATA);
	assert_int_equal(store_listxattr(s, a.ino, NULL, 0), sizeof want);
	assert_int_equal(store_listxattr(s, a.ino, list, sizeof want - 1), -ERANGE);
	assert_int_equal(store_listxattr(s, a.ino, list, sizeof want), sizeof want);
	assert_memory_equal(list, want, sizeof want);
	assert_int_equal(store_listxattr(s, 999999, NULL, 0), -ENOENT);
	assert_int_equal(store_setxattr(s, 999999, "user.a", "", 0, 0), -ENOENT);
	assert_int_equal(store_setxattr(s, a.ino, "user.big", big, 65537, 0), -E2BIG);
	assert_int_equal(store_setxattr(s, a.ino, "user.big", big, 65536, 0), 0);
	assert_int_equal(store_getxattr(s, a.ino, "user.big", big, 65536), 65536);
	assert_int_equal(store_removexattr(s, a.ino, "user.big"), 0);
	assert_int_equal(store_removexattr(s, a.ino, "user.big"), -ENODATA);
	assert_int_equal(store_getattr(s, a.ino, &b), 0);
	assert_true(later(b.ctime, a.ctime));
	/* names in all fit what listxattr(2) can return */
	int rc = 0, n;
	for (n = 0; n < 1000 && rc == 0; n++) {
		snprintf(value, sizeof value, "user.%0240d", n);
		rc = store_setxattr(s, a.ino, value, "", 0, 0);
	}
	assert_int_equal(rc, -ENOSPC);
	assert_in_range(store_listxattr(s, a.ino, NULL, 0), 65000, 65536);
	assert_int_equal(remove_path(s, "f", false), 0);
	assert_int_equal(count(s, "SELECT count(*) FROM xattr"), 0);
	free(big);
}

static void test_pathof(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->s;
	struct store_attr a;
	char buf[64];

	assert_int_equal(make(s, "run", S_IFDIR | 0755, false, NULL), 0);
	assert_int_equal(make(s, "run/003", S_IFDIR | 0755, false, NULL), 0);
	assert_int_equal(make(s, "run/003/model.pt", S_IFREG | 0644, false, &a), 0);
	assert_int_equal(store_pathof(s, a.ino, buf, sizeof buf), 16);
	assert_string_equal(buf, "run/003/model.pt");
	assert_int_equal(store_pathof(s, a.ino, buf, 16), -ERANGE);
	assert_int_equal(store_pathof(s, a.ino, buf, 17), 16);
	assert_int_equal(rename_path(s, "run", "old", 0), 0);
	assert_int_equal(store_pathof(s, a.ino, buf, sizeof buf), 16);
	assert_string_equal(buf, "old/003/model.pt");
	assert_int_equal(store_pathof(s, STORE_ROOT, buf, sizeof buf), 0);
	assert_int_equal(store_pathof(s, 999999, buf, sizeof buf), -ENOENT);
}

/* --- listing ------------------------------------------------------------------------------------------------------- */

enum { MANY = 3000 };

struct listing {
	struct fixture *f;
	uint64_t dir, mark;
	unsigned seen[MANY];
	unsigned others, calls, stop;
	uint64_t last;
	bool change;
};

static int list_emit(void *arg, const struct store_dirent *d, const struct store_attr *attr)
{
	static unsigned made;
	struct listing *l = arg;
	char name[32];
	unsigned i;

	(void)attr;
	if (d->cookie > l->mark)
		return 1;
	assert_true(d->cookie > l->last);
	l->last = d->cookie;
	l->calls++;
	snprintf(name, sizeof name, "%.*s", (int)d->len, d->name);
	if (sscanf(name, "keep-%u", &i) == 1 || sscanf(name, "moved-%u", &i) == 1)
		l->seen[i]++;
	else
		l->others++;
	if (l->change && l->calls % 3 == 0) {
		struct store *s = l->f->s;
		char to[32];
		int n;

		/* each step makes, removes and renames */
		n = snprintf(to, sizeof to, "new-%u", made++);
		assert_int_equal(store_make(s, l->dir, to, (size_t)n, &(struct store_new){ .mode = S_IFREG }, NULL), 0);
		i = (l->calls * 7919u) % MANY;
		n = snprintf(name, sizeof name, "drop-%u", i);
		store_unlink(s, l->dir, name, (size_t)n, NULL);
		n = snprintf(name, sizeof name, "keep-%u", i);
		snprintf(to, sizeof to, "moved-%u", i);
		store_rename(s, l->dir, name, (size_t)n, l->dir, to, strlen(to), 0, NULL);
	}
	return l->stop != 0 && l->calls % l->stop == 0;
}

static void fill(struct fixture *f, uint64_t dir)
{
	struct store_new n = { .mode = S_IFREG | 0644 };
	char name[32];

	for (unsigned i = 0; i < MANY; i++) {
		int len = snprintf(name, sizeof name, "keep-%u", i);

		assert_int_equal(store_make(f->s, dir, name, (size_t)len, &n, NULL), 0);
		len = snprintf(name, sizeof name, "drop-%u", i);
		assert_int_equal(store_make(f->s, dir, name, (size_t)len, &n, NULL), 0);
	}
}

static void check_seen(const struct listing *l)
{
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(l->seen[i], 1);
}

static void test_readdir(void **state)
{
	struct fixture *f = *state;
	struct store_attr d, file;
	struct listing l = { .f = f, .mark = UINT64_MAX };

	assert_int_equal(make(f->s, "d", S_IFDIR | 0755, false, &d), 0);
	assert_int_equal(make(f->s, "f", S_IFREG | 0644, false, &file), 0);
	l.dir = d.ino;
	assert_int_equal(store_readdir(f->s, d.ino, 0, false, list_emit, &l), 0);
	assert_int_equal(l.calls, 0);
	assert_int_equal(store_readdir(f->s, file.ino, 0, false, list_emit, &l), -ENOTDIR);
	assert_int_equal(store_readdir(f->s, 999999, 0, false, list_emit, &l), -ENOENT);
	fill(f, d.ino);
	for (int attrs = 0; attrs < 2; attrs++) {
		l = (struct listing){ .f = f, .dir = d.ino, .mark = UINT64_MAX };
		assert_int_equal(store_readdir(f->s, d.ino, 0, attrs, list_emit, &l), 0);
		check_seen(&l);
		assert_int_equal(l.others, MANY);
		/* in pieces, and beyond the end */
		l = (struct listing){ .f = f, .dir = d.ino, .mark = UINT64_MAX, .stop = 41 };
		do {
			assert_int_equal(store_readdir(f->s, d.ino, l.last, attrs, list_emit, &l), 0);
		} while (l.calls % 41 == 0);
		check_seen(&l);
		assert_int_equal(store_readdir(f->s, d.ino, UINT64_MAX, attrs, list_emit, &l), 0);
	}
	/* the tree changes at each step; what stays is seen once */
	for (int pass = 0; pass < 2; pass++) {
		l = (struct listing){ .f = f, .dir = d.ino, .change = true, .mark = store_readdir_mark(f->s) };
		if (pass == 1)
			l.stop = 17;
		unsigned before;
		do {
			before = l.calls;
			assert_int_equal(store_readdir(f->s, d.ino, l.last, pass == 0, list_emit, &l), 0);
		} while (l.calls > before && l.stop != 0);
		check_seen(&l);
	}
	reopen(f);
	l = (struct listing){ .f = f, .dir = d.ino, .mark = store_readdir_mark(f->s) };
	assert_int_equal(store_readdir(f->s, d.ino, 0, true, list_emit, &l), 0);
	check_seen(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_make_attributes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_times, setup, teardown),
		cmocka_unit_test_setup_teardown(test_setattr, setup, teardown),
		cmocka_unit_test_setup_teardown(test_xattr, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pathof, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readdir, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
