/*
 * test_fs_names.c: the manners of the tree, without FUSE: names, listings, extended attributes.
 */
#include <linux/falloc.h>
#include <sys/xattr.h>

#include "scratch_fs.h"

/* --- names ------------------------------------------------------------------------------------------- */

static void test_rename_publishes(void **state)
{
	struct fs_handle *h;

	(void)state;
	make_zips();
	save("model.safetensors", "old", 3);
	h = open_as(&trainer, ".tmp1", O_RDWR | O_CREAT | O_EXCL);
	write_as(&trainer, h, 0, new_zip, new_len);
	OK(fs_rename(fs, &trainer, FS_ROOT, ".tmp1", FS_ROOT, "model.safetensors", 0));
	crash_and_reopen();
	expect("model.safetensors", new_zip, new_len);
	assert_false(exists(".tmp1"));

	h = open_as(&trainer, "b", O_RDWR | O_CREAT);
	write_as(&trainer, h, 0, "bb", 2);
	OK(fs_rename(fs, &trainer, FS_ROOT, "b", FS_ROOT, "model.safetensors", RENAME_EXCHANGE));
	assert_int_equal(fs_rename(fs, &trainer, FS_ROOT, "b", FS_ROOT, "model.safetensors", RENAME_NOREPLACE), -EEXIST);
	close_as(&trainer, h);
	expect("model.safetensors", "bb", 2);
	expect("b", new_zip, new_len);
}

static void test_link_publishes(void **state)
{
	struct fs_handle *h = open_as(&trainer, "a", O_WRONLY | O_CREAT);
	struct fs_entry e;
	uint64_t ino = look("a");

	(void)state;
	write_as(&trainer, h, 0, "abc", 3);
	OK(fs_link(fs, &trainer, ino, FS_ROOT, "b", &e));
	assert_int_equal(e.st.st_nlink, 2);
	assert_int_equal(e.st.st_ino, ino);
	OK(store_commit(fs_store(fs), false));
	crash_and_reopen();
	expect("a", "abc", 3);
	expect("b", "abc", 3);
}

static bool in_store(uint64_t ino)
{
	struct store_attr a;

	return store_getattr(fs_store(fs), ino, &a) == 0;
}

static void test_unlinked_lives_while_open(void **state)
{
	struct fs_handle *h;
	struct fs_entry e;
	uint64_t ino;
	char buf[8];

	(void)state;
	save("a", "abc", 3);
	ino = look("a");
	h = open_as(&trainer, "a", O_RDWR);
	OK(fs_unlink(fs, &trainer, FS_ROOT, "a"));
	OK(fs_getattr(fs, ino, &e));
	assert_int_equal(e.st.st_nlink, 0);
	write_as(&trainer, h, 3, "def", 3);
	assert_int_equal(fs_read(fs, h, 0, buf, sizeof(buf)), 6);
	assert_memory_equal(buf, "abcdef", 6);
	OK(fs_flush(fs, &trainer, h));
	fs_forget(fs, ino, 1);
	assert_true(in_store(ino));
	fs_release(fs, h);
	assert_false(in_store(ino));

	/* looked up only; and renamed over */
	save("b", "1", 1);
	save("c", "2", 1);
	ino = look("b");
	OK(fs_rename(fs, &trainer, FS_ROOT, "c", FS_ROOT, "b", 0));
	assert_true(in_store(ino));
	fs_forget(fs, ino, 1);
	assert_false(in_store(ino));
	expect("b", "2", 1);

	/* nobody knows it: gone at once */
	OK(fs_resolve(fs, "b", false, &e));
	fs_forget(fs, e.st.st_ino, 1);
	OK(fs_unlink(fs, &trainer, FS_ROOT, "b"));
	assert_false(in_store(e.st.st_ino));
	for (size_t i = 0; i < FS_SHARDS; i++)
		assert_int_equal(fs->shards[i].count, 0);
}

static void test_errors(void **state)
{
	struct fs_entry e;
	struct fs_handle *h;

	(void)state;
	save("a", "1", 1);
	OK(fs_make(fs, &trainer, FS_ROOT, "d", S_IFDIR | 0755, 0, NULL, &e));
	fs_forget(fs, e.st.st_ino, 1);
	assert_int_equal(fs_create(fs, &trainer, FS_ROOT, "a", 0644, O_WRONLY | O_EXCL, &h, &e), -EEXIST);
	assert_int_equal(fs_create(fs, &trainer, FS_ROOT, "d", 0644, O_WRONLY, &h, &e), -EEXIST);
	OK(fs_create(fs, &trainer, FS_ROOT, "a", 0644, O_WRONLY | O_TRUNC, &h, &e));
	assert_int_equal(e.st.st_size, 0);
	fs_forget(fs, e.st.st_ino, 1);
	close_as(&trainer, h);
	assert_int_equal(fs_unlink(fs, &trainer, FS_ROOT, "d"), -EISDIR);
	assert_int_equal(fs_rmdir(fs, &trainer, FS_ROOT, "a"), -ENOTDIR);
	assert_int_equal(fs_unlink(fs, &trainer, FS_ROOT, "x"), -ENOENT);
	assert_int_equal(fs_create(fs, &trainer, FS_ROOT, "@x", 0644, O_WRONLY, &h, &e), -EPERM);
	assert_int_equal(fs_make(fs, &trainer, FS_ROOT, "@x", S_IFDIR | 0755, 0, NULL, &e), -EPERM);
	assert_int_equal(fs_rename(fs, &trainer, FS_ROOT, "a", FS_ROOT, "@x", 0), -EPERM);
	OK(fs_rmdir(fs, &trainer, FS_ROOT, "d"));
}

static void test_resolve(void **state)
{
	struct fs_entry d, e;

	(void)state;
	OK(fs_make(fs, &trainer, FS_ROOT, "d", S_IFDIR | 0755, 0, NULL, &d));
	OK(fs_make(fs, &trainer, d.st.st_ino, "up", S_IFLNK | 0777, 0, "../a", &e));
	fs_forget(fs, e.st.st_ino, 1);
	OK(fs_make(fs, &trainer, FS_ROOT, "ld", S_IFLNK | 0777, 0, "/d/", &e));
	fs_forget(fs, e.st.st_ino, 1);
	OK(fs_make(fs, &trainer, FS_ROOT, "loop", S_IFLNK | 0777, 0, "loop", &e));
	fs_forget(fs, e.st.st_ino, 1);
	fs_forget(fs, d.st.st_ino, 1);
	save("a", "1", 1);
	expect("ld/up", "1", 1);
	expect("//d/../d/./up", "1", 1);
	assert_true(S_ISLNK(stat_of("ld").st_mode));
	assert_true(S_ISDIR(stat_of("ld/").st_mode));
	assert_true(S_ISDIR(stat_of("/").st_mode));
	assert_int_equal(fs_resolve(fs, "loop", true, &e), -ELOOP);
	assert_int_equal(fs_resolve(fs, "a/", true, &e), -ENOTDIR);
	assert_int_equal(fs_resolve(fs, "d/up/", false, &e), -ENOTDIR);
	assert_int_equal(fs_resolve(fs, "a/b", true, &e), -ENOTDIR);
	assert_int_equal(fs_resolve(fs, "d/x", true, &e), -ENOENT);
	for (size_t i = 0; i < FS_SHARDS; i++)
		assert_int_equal(fs->shards[i].count, 0);
}

static int stop_after_three(void *arg, const char *name, size_t len, uint64_t ino, mode_t type, uint64_t cookie,
		const struct fs_entry *e)
{
	uint64_t *at = arg;

	(void)name;
	(void)len;
	(void)ino;
	(void)type;
	if (at[0]++ == 3)
		return 1;
	at[1] = cookie;
	if (e)
		fs_forget(fs, e->st.st_ino, 1);
	return 0;
}

static void test_readdir(void **state)
{
	struct names l;
	struct fs_dir *d;
	uint64_t at[2] = { 0 };

	(void)state;
	save("a", "1", 1);
	save("b", "1", 1);
	l = list("/", false);
	assert_string_equal(l.text, ". .. a b ");
	l = list("/", true);
	assert_string_equal(l.text, ". .. a b ");
	OK(fs_opendir(fs, FS_ROOT, &d));
	OK(fs_readdir(fs, d, 0, true, stop_after_three, at));
	l = (struct names){ .n = 0 };
	OK(fs_readdir(fs, d, at[1], true, add_name, &l));
	assert_string_equal(l.text, "b ");
	fs_closedir(fs, d);
	for (size_t i = 0; i < FS_SHARDS; i++)
		assert_int_equal(fs->shards[i].count, 0);
}

static void test_xattr(void **state)
{
	char buf[16];
	uint64_t ino;

	(void)state;
	save("a", "1", 1);
	ino = look("a");
	assert_int_equal(fs_getxattr(fs, ino, "security.capability", buf, sizeof(buf)), -ENODATA);
	assert_int_equal(fs_getxattr(fs, ino, "system.posix_acl_access", buf, sizeof(buf)), -EOPNOTSUPP);
	assert_int_equal(fs_setxattr(fs, &trainer, ino, "system.posix_acl_access", "x", 1, 0), -EOPNOTSUPP);
	assert_int_equal(fs_setxattr(fs, &trainer, ino, "user.", "x", 1, 0), -EINVAL);
	OK(fs_setxattr(fs, &trainer, ino, "user.k", "v", 1, XATTR_CREATE));
	assert_int_equal(fs_setxattr(fs, &trainer, ino, "user.k", "v", 1, XATTR_CREATE), -EEXIST);
	assert_int_equal(fs_getxattr(fs, ino, "user.k", buf, 0), 1);
	OK(fs_setxattr(fs, &trainer, ino, "security.capability", "cap", 3, 0));
	fs_forget(fs, ino, 1);
	close_and_reopen();
	assert_true(atomic_load(&fs->security));
	ino = look("a");
	assert_int_equal(fs_getxattr(fs, ino, "security.capability", buf, sizeof(buf)), 3);
	assert_int_equal(fs_listxattr(fs, ino, NULL, 0), sizeof("user.k") + sizeof("security.capability"));
	OK(fs_removexattr(fs, &trainer, ino, "user.k"));
	assert_int_equal(fs_getxattr(fs, ino, "user.k", buf, sizeof(buf)), -ENODATA);
	fs_forget(fs, ino, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_rename_publishes),
		TEST(test_link_publishes),
		TEST(test_unlinked_lives_while_open),
		TEST(test_errors),
		TEST(test_resolve),
		TEST(test_readdir),
		TEST(test_xattr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
