/* fs: files made without a name (O_TMPFILE), or without being open for writing; what a handle's flags mean. */
#include "scratch_fs.h"

static struct fs_handle *unnamed(struct fs_entry *e)
{
	struct fs_handle *h = NULL;

	OK(fs_create_unnamed(fs, &trainer, FS_ROOT, 0640, O_RDWR, &h, e));
	assert_int_equal(e->st.st_nlink, 0);
	assert_int_equal(e->st.st_mode, S_IFREG | 0640);
	return h;
}

static void give(uint64_t ino, const char *name)
{
	struct fs_entry e;

	OK(fs_link(fs, &trainer, ino, FS_ROOT, name, &e));
	assert_int_equal(e.st.st_nlink, 1);
	fs_forget(fs, ino, 1);
}

/* It gets what was written so far, and stays open. */
static void test_gets_a_name(void **state)
{
	struct fs_entry e;
	struct fs_handle *h = unnamed(&e);

	(void)state;
	write_as(&trainer, h, 0, "one", 3);
	give(e.st.st_ino, "a");
	expect("a", "one", 3);
	OK(store_commit(fs->store, true));
	crash_and_reopen();
	expect("a", "one", 3);
}

/* The row that says it may go is on the disk before it gets its name. */
static void test_gets_a_name_after_a_commit(void **state)
{
	struct fs_entry e;
	struct fs_handle *h = unnamed(&e);

	(void)state;
	OK(store_commit(fs->store, true));
	write_as(&trainer, h, 0, "one", 3);
	give(e.st.st_ino, "a");
	close_as(&trainer, h);
	fs_forget(fs, e.st.st_ino, 1);
	OK(store_commit(fs->store, true));
	crash_and_reopen();
	expect("a", "one", 3);
	close_and_reopen();
	expect("a", "one", 3);
}

static void test_goes_without_a_name(void **state)
{
	struct fs_entry e, again;
	struct fs_handle *h = unnamed(&e);

	(void)state;
	write_as(&trainer, h, 0, "one", 3);
	OK(store_commit(fs->store, true));
	crash_and_reopen();
	assert_int_equal(fs_getattr(fs, e.st.st_ino, &again), -ENOENT);
	h = unnamed(&e);
	write_as(&trainer, h, 0, "one", 3);
	close_as(&trainer, h);
	fs_forget(fs, e.st.st_ino, 1);
	assert_int_equal(fs_getattr(fs, e.st.st_ino, &again), -ENOENT);
}

/* A name that could not be given leaves it as it was; a file that lost its last name gets none. */
static void test_keeps_no_name(void **state)
{
	struct fs_entry e, again;
	struct fs_handle *h = unnamed(&e);

	(void)state;
	save("there", "x", 1);
	assert_int_equal(fs_link(fs, &trainer, e.st.st_ino, FS_ROOT, "there", &again), -EEXIST);
	close_as(&trainer, h);
	fs_forget(fs, e.st.st_ino, 1);
	assert_int_equal(fs_getattr(fs, e.st.st_ino, &again), -ENOENT);
	h = open_as(&trainer, "there", O_RDWR);
	OK(fs_resolve(fs, "there", false, &e));
	OK(fs_unlink(fs, &trainer, FS_ROOT, "there"));
	assert_int_equal(fs_link(fs, &trainer, e.st.st_ino, FS_ROOT, "back", &again), -ENOENT);
	close_as(&trainer, h);
	fs_forget(fs, e.st.st_ino, 1);
	assert_int_equal(fs_getattr(fs, e.st.st_ino, &again), -ENOENT);
}

static void test_created_for_reading(void **state)
{
	struct fs_handle *h = NULL;
	struct fs_entry e;

	(void)state;
	OK(fs_create(fs, &trainer, FS_ROOT, "lock", 0600, O_RDONLY, &h, &e));
	OK(store_commit(fs->store, true));
	crash_and_reopen();
	expect("lock", "", 0);
}

static void test_truncated_for_reading(void **state)
{
	(void)state;
	save("a", "text", 4);
	close_as(&trainer, open_as(&trainer, "a", O_RDONLY | O_TRUNC));
	expect("a", "", 0);
	crash_and_reopen();
	expect("a", "", 0);
}

static void test_append_comes_and_goes(void **state)
{
	struct fs_handle *h;

	(void)state;
	save("a", "123", 3);
	h = open_as(&trainer, "a", O_WRONLY);
	fs_handle_set_append(h, true);
	write_as(&trainer, h, 0, "4", 1);
	fs_handle_set_append(h, false);
	write_as(&trainer, h, 0, "I", 1);
	close_as(&trainer, h);
	expect("a", "I234", 4);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_gets_a_name),
		TEST(test_gets_a_name_after_a_commit),
		TEST(test_goes_without_a_name),
		TEST(test_keeps_no_name),
		TEST(test_created_for_reading),
		TEST(test_truncated_for_reading),
		TEST(test_append_comes_and_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
