/*
 * test_fs.c: the manners of the tree, without FUSE: content, times, views.
 */
#include <linux/falloc.h>
#include <pthread.h>
#include <sys/statvfs.h>

#include "scratch_fs.h"

/* --- content ----------------------------------------------------------------------------------------- */

static void test_save_and_read(void **state)
{
	struct stat st;

	(void)state;
	save("a", "hello", 5);
	expect("a", "hello", 5);
	save("a", "bye", 3);
	expect("/a", "bye", 3);
	st = stat_of("a");
	assert_int_equal(st.st_size, 3);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(st.st_blksize, 128 * 1024);
	crash_and_reopen();
	expect("a", "bye", 3);
	close_and_reopen();
	expect("a", "bye", 3);
}

static void test_unpublished_is_seen_but_not_kept(void **state)
{
	struct fs_handle *h;

	(void)state;
	save("a", "old", 3);
	h = open_as(&trainer, "a", O_RDWR | O_TRUNC);
	write_as(&trainer, h, 0, "new content", 11);
	expect("a", "new content", 11);
	assert_int_equal(stat_of("a").st_size, 11);
	assert_non_null(open_as(&trainer, "b", O_WRONLY | O_CREAT)); /* freed by the crash */
	crash_and_reopen();
	expect("a", "old", 3);
	assert_false(exists("b"));
}

static void test_append_and_sync(void **state)
{
	struct fs_handle *a, *b;

	(void)state;
	save("log", "", 0);
	a = open_as(&trainer, "log", O_WRONLY | O_APPEND);
	b = open_as(&other, "log", O_WRONLY | O_APPEND);
	write_as(&trainer, a, 0, "one\n", 4);
	write_as(&other, b, 0, "two\n", 4);
	write_as(&trainer, a, 0, "three\n", 6);
	OK(fs_fsync(fs, a, true));
	write_as(&other, b, 0, "lost\n", 5);
	crash_and_reopen();
	expect("log", "one\ntwo\nthree\n", 14);
	a = open_as(&trainer, "log", O_WRONLY | O_APPEND | O_SYNC);
	write_as(&trainer, a, 0, "four\n", 5);
	crash_and_reopen();
	expect("log", "one\ntwo\nthree\nfour\n", 19);
	/* dirty pages of a mapping know where they belong */
	a = open_as(&trainer, "log", O_RDWR | O_APPEND);
	write_as(NULL, a, 0, "ONE", 3);
	close_as(&trainer, a);
	expect("log", "ONE\ntwo\nthree\nfour\n", 19);
}

static void test_truncate_and_holes(void **state)
{
	struct fs_handle *h;
	struct fs_entry e;
	struct stat st = { .st_size = 4 };
	uint64_t ino, at;

	(void)state;
	save("a", "0123456789", 10);
	ino = look("a");
	OK(fs_setattr(fs, &trainer, ino, &st, FS_SET_SIZE, NULL, &e));
	assert_int_equal(e.st.st_size, 4);
	assert_true(e.settled);
	crash_and_reopen();
	expect("a", "0123", 4);
	ino = look("a");
	h = open_as(&trainer, "a", O_RDWR);
	st.st_size = 8;
	OK(fs_setattr(fs, &trainer, ino, &st, FS_SET_SIZE, h, &e));
	assert_false(e.settled);
	expect("a", "0123\0\0\0\0", 8);
	OK(fs_fallocate(fs, &trainer, h, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, 2));
	expect("a", "0\0\0" "3\0\0\0\0", 8);
	OK(fs_fallocate(fs, &trainer, h, FALLOC_FL_KEEP_SIZE, 0, 100));
	expect("a", "0\0\0" "3\0\0\0\0", 8);
	OK(fs_fallocate(fs, &trainer, h, 0, 0, 9));
	expect("a", "0\0\0" "3\0\0\0\0\0", 9);
	OK(fs_fallocate(fs, &trainer, h, FALLOC_FL_ZERO_RANGE, 3, 7));
	expect("a", "0\0\0\0\0\0\0\0\0\0", 10);
	assert_int_equal(fs_fallocate(fs, &trainer, h, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), -EOPNOTSUPP);
	assert_int_equal(fs_fallocate(fs, &trainer, h, 0, 0, 0), -EINVAL);
	assert_int_equal(fs_fallocate(fs, &trainer, h, 0, INT64_MAX, 2), -EFBIG);
	assert_int_equal(fs_fallocate(fs, &trainer, h, 0, 0, INT64_MAX), -ENOSPC);
	OK(fs_lseek(fs, h, 0, SEEK_DATA, &at));
	assert_int_equal(fs_lseek(fs, h, 10, SEEK_DATA, &at), -ENXIO);
	close_as(&trainer, h);
	st.st_size = -1;
	assert_int_equal(fs_setattr(fs, &trainer, ino, &st, FS_SET_SIZE, NULL, &e), -EINVAL);
	fs_forget(fs, ino, 1);
}

static void test_copy_range(void **state)
{
	struct fs_handle *in, *out;

	(void)state;
	make_zips();
	save("a", old_zip, old_len);
	in = open_as(&trainer, "a", O_RDWR);
	out = open_as(&trainer, "b", O_WRONLY | O_CREAT);
	assert_int_equal(fs_copy_range(fs, &trainer, in, 0, out, 0, INT64_MAX), old_len);
	assert_int_equal(fs_copy_range(fs, &trainer, in, 0, in, 10, 20), -EINVAL);
	assert_int_equal(fs_copy_range(fs, &trainer, out, 0, in, 0, 20), -EBADF);
	close_as(&trainer, out);
	close_as(&trainer, in);
	crash_and_reopen();
	expect("b", old_zip, old_len);
}

static void test_times(void **state)
{
	struct fs_handle *h = open_as(&trainer, "a", O_WRONLY | O_CREAT);
	struct stat st = { .st_mtim = { 1000000, 7 }, .st_atim = { 2000000, 8 } };
	struct fs_entry e;
	uint64_t ino = look("a");

	(void)state;
	write_as(&trainer, h, 0, "x", 1);
	OK(fs_setattr(fs, &trainer, ino, &st, FS_SET_MTIME | FS_SET_ATIME, h, &e));
	close_as(&trainer, h);
	st = stat_of("a");
	assert_int_equal(st.st_mtim.tv_sec, 1000000);
	assert_int_equal(st.st_mtim.tv_nsec, 7);
	assert_int_equal(st.st_atim.tv_sec, 2000000);
	/* relatime: older than ctime and than a day, so a read moves it, at once and for good */
	h = open_as(&trainer, "a", O_RDONLY);
	assert_int_equal(fs_read(fs, h, 0, &(char){ 0 }, 1), 1);
	assert_true(stat_of("a").st_atim.tv_sec > 2000000);
	fs_release(fs, h);
	assert_true(stat_of("a").st_atim.tv_sec > 2000000);
	assert_int_equal(stat_of("a").st_mtim.tv_sec, 1000000);
	assert_int_equal(stat_of("a").st_ctim.tv_sec, st.st_ctim.tv_sec);
	assert_int_equal(stat_of("a").st_ctim.tv_nsec, st.st_ctim.tv_nsec);
	fs_forget(fs, ino, 1);
}

static void test_keep_cache(void **state)
{
	struct fs_handle *h;
	uint64_t ino;

	(void)state;
	save("a", "one", 3);
	ino = look("a");
	h = open_as(&other, "a", O_RDONLY);
	assert_false(fs_handle_keep_cache(h));
	fs_release(fs, h);
	h = open_as(&other, "a", O_RDONLY);
	assert_true(fs_handle_keep_cache(h));
	fs_release(fs, h);
	/* through the kernel: its pages have it */
	h = open_as(&trainer, "a", O_RDWR);
	write_as(&trainer, h, 0, "two", 3);
	close_as(&trainer, h);
	h = open_as(&other, "a", O_RDONLY);
	assert_true(fs_handle_keep_cache(h));
	fs_release(fs, h);
	/* past it */
	h = open_as(&command, "a", O_RDWR);
	write_as(&command, h, 0, "six", 3);
	close_as(&command, h);
	h = open_as(&other, "a", O_RDONLY);
	assert_false(fs_handle_keep_cache(h));
	fs_release(fs, h);
	fs_forget(fs, ino, 1);
}

/* --- views ------------------------------------------------------------------------------------------- */

static void test_views(void **state)
{
	static const char *const readonly[] = { "@", "@history", "@stats" };
	struct fs_entry e;
	struct fs_handle *h;
	struct names l;
	struct stat st = { .st_mode = 0777 };
	struct statvfs vfs;
	char buf[4096];
	uint64_t ino;
	ssize_t n;

	(void)state;
	l = list("@", true);
	assert_string_equal(l.text, ". .. @cpu @cuda @auto @fp32 @fp16 @bf16 @summary @json @tree @safetensors @runs @history @stats ");
	ino = look("@/@stats");
	n = fs_readlink(fs, ino, buf, sizeof(buf));
	assert_int_equal(n, 9);
	assert_memory_equal(buf, "../@stats", 9);
	fs_forget(fs, ino, 1);
	assert_false(exists("@nothing"));

	for (size_t i = 0; i < 3; i++) {
		ino = look(readonly[i]);
		assert_true(ino & FS_VIRTUAL);
		assert_int_equal(fs_open_file(fs, &trainer, ino, O_WRONLY, &h), -EROFS);
		assert_int_equal(fs_setattr(fs, &trainer, ino, &st, FS_SET_MODE, NULL, &e), -EROFS);
		assert_int_equal(fs_link(fs, &trainer, ino, FS_ROOT, "x", &e), -EROFS);
		assert_int_equal(fs_setxattr(fs, &trainer, ino, "user.a", "", 0, 0), -EROFS);
		assert_int_equal(fs_make(fs, &trainer, ino, "x", S_IFDIR | 0755, 0, NULL, &e), -EROFS);
		assert_int_equal(fs_unlink(fs, &trainer, FS_ROOT, readonly[i]), -EROFS);
		assert_int_equal(fs_rename(fs, &trainer, FS_ROOT, readonly[i], FS_ROOT, "x", 0), -EROFS);
		fs_forget(fs, ino, 1);
	}

	ino = look("@stats");
	assert_int_equal(look("@stats"), ino);
	OK(fs_open_file(fs, &trainer, ino, O_RDONLY, &h));
	assert_true(fs_handle_unsized(h));
	n = fs_read(fs, h, 0, buf, sizeof(buf) - 1);
	assert_true(n > 100);
	buf[n] = '\0';
	assert_non_null(strstr(buf, "\nchunks "));
	assert_non_null(strstr(buf, "\ncache_hits "));
	assert_int_equal(fs_read(fs, h, (uint64_t)n, buf, sizeof(buf)), 0);
	fs_release(fs, h);
	fs_forget(fs, ino, 2);
	assert_int_equal(fs_getattr(fs, ino, &e), -ENOENT);

	OK(fs_statfs(fs, &vfs));
	assert_int_equal(vfs.f_namemax, 255);
	assert_true(vfs.f_blocks > 0 && vfs.f_files > 0);
}

static void test_history(void **state)
{
	struct fs_entry d, e;
	struct fs_handle *h, *copy;
	struct names l;
	char name[300];
	uint64_t ino;

	(void)state;
	make_zips();
	OK(fs_make(fs, &trainer, FS_ROOT, "run", S_IFDIR | 0750, 0, NULL, &d));
	OK(fs_create(fs, &trainer, d.st.st_ino, "model.pt", 0640, O_WRONLY, &h, &e));
	write_as(&trainer, h, 0, old_zip, old_len);
	close_as(&trainer, h);
	OK(fs_open_file(fs, &trainer, e.st.st_ino, O_WRONLY | O_TRUNC, &h));
	write_as(&trainer, h, 0, new_zip, new_len);
	close_as(&trainer, h);
	fs_forget(fs, e.st.st_ino, 1);

	l = list("@history", true);
	assert_string_equal(l.text, ". .. run ");
	l = list("@history/run", false);
	assert_string_equal(l.text, ". .. model.pt ");
	assert_int_equal(stat_of("@history/run").st_mode, S_IFDIR | 0550);
	version_of("run/model.pt", name);
	assert_int_equal(strlen(strrchr(name, '/') + 1), strlen("20261122T065401.123456Z.pt"));
	assert_int_equal(stat_of(name).st_mode, S_IFREG | 0440);
	expect(name, old_zip, old_len);

	/* cp shares */
	ino = look(name);
	OK(fs_open_file(fs, &trainer, ino, O_RDONLY, &h));
	copy = open_as(&trainer, "copy.pt", O_WRONLY | O_CREAT);
	assert_int_equal(fs_copy_range(fs, &trainer, h, 0, copy, 0, old_len), old_len);
	close_as(&trainer, copy);
	fs_release(fs, h);
	fs_forget(fs, ino, 1);
	expect("copy.pt", old_zip, old_len);

	OK(fs_unlink(fs, &trainer, d.st.st_ino, "model.pt"));
	l = list("@history/run/model.pt", true);
	assert_int_equal(l.n, 4);
	assert_non_null(strstr(l.text, "Z-deleted.pt"));
	/* where the directory is gone only the owner of the store gets in */
	OK(fs_rmdir(fs, &trainer, FS_ROOT, "run"));
	assert_int_equal(stat_of("@history/run").st_mode, S_IFDIR | 0500);
	fs_forget(fs, d.st.st_ino, 1);
	assert_false(exists("@history/run/x"));
	assert_false(exists("@history/run/model.pt/20200101T000000.000000Z.pt"));
	assert_true(S_ISDIR(stat_of("@history/run/..").st_mode));
	assert_int_equal(stat_of("@history/..").st_ino, FS_ROOT);
}

static void test_read_only(void **state)
{
	struct fs_options o = { .store = { .readonly = true, .workers = 1 } };
	struct fs_handle *h;
	struct fs_entry e;
	struct stat st = { .st_size = 0 };
	uint64_t ino;

	(void)state;
	save("a", "old", 3);
	OK(fs_close(fs));
	OK(fs_open(path, &o, &fs));
	expect("a", "old", 3);
	ino = look("a");
	assert_int_equal(fs_open_file(fs, &trainer, ino, O_WRONLY, &h), -EROFS);
	assert_int_equal(fs_open_file(fs, &trainer, ino, O_RDONLY | O_TRUNC, &h), -EROFS);
	assert_int_equal(fs_setattr(fs, &trainer, ino, &st, FS_SET_SIZE, NULL, &e), -EROFS);
	assert_int_equal(fs_create(fs, &trainer, FS_ROOT, "b", 0644, O_WRONLY, &h, &e), -EROFS);
	assert_int_equal(fs_unlink(fs, &trainer, FS_ROOT, "a"), -EROFS);
	fs_forget(fs, ino, 1);
	fs_tick(fs);
}

/* --- many at once ------------------------------------------------------------------------------------ */

enum { CROWD = 8, ROUNDS = 60 };

/* Each round saves, reads, renames over and removes a few names that all share. */
static void *be_busy(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	bool ticks = seed == 1;

	for (int i = 0; i < ROUNDS; i++) {
		struct fs_caller c = { .pid = (pid_t)(TRAINER + seed % 3), .kernel = i % 2 == 0 };
		char a[8], b[8], buf[64];
		struct fs_handle *h;
		struct fs_entry e;
		struct fs_dir *d;
		struct names l = { .n = 0 };

		snprintf(a, sizeof(a), "f%d", rand_r(&seed) % 4);
		snprintf(b, sizeof(b), "f%d", rand_r(&seed) % 4);
		if (fs_create(fs, &c, FS_ROOT, a, 0644, O_RDWR, &h, &e) == 0) {
			assert_true(fs_write(fs, &c, h, 0, "0123456789abcdef", 16) >= 0);
			fs_rename(fs, &c, FS_ROOT, a, FS_ROOT, b, 0);
			assert_true(fs_read(fs, h, 0, buf, sizeof(buf)) >= 0);
			fs_flush(fs, &c, h);
			fs_release(fs, h);
			fs_forget(fs, e.st.st_ino, 1);
		}
		if (fs_lookup(fs, FS_ROOT, b, &e) == 0) {
			if (fs_open_file(fs, &c, e.st.st_ino, i % 3 ? O_RDONLY : O_RDWR | O_TRUNC, &h) == 0) {
				assert_true(fs_read(fs, h, 0, buf, sizeof(buf)) >= 0);
				fs_release(fs, h);
			}
			fs_getattr(fs, e.st.st_ino, &e);
			fs_forget(fs, e.st.st_ino, 1);
		}
		if (i % 5 == 0)
			fs_unlink(fs, &c, FS_ROOT, a);
		if (fs_opendir(fs, FS_ROOT, &d) == 0) {
			fs_readdir(fs, d, 0, i % 2 == 0, add_name, &l);
			fs_closedir(fs, d);
		}
		if (ticks && i % 8 == 0)
			fs_tick(fs);
	}
	return NULL;
}

static void test_crowd(void **state)
{
	pthread_t crowd[CROWD];
	size_t left = 0;

	(void)state;
	fs_set_notify(fs, NULL, NULL);
	for (uintptr_t i = 0; i < CROWD; i++)
		assert_int_equal(pthread_create(&crowd[i], NULL, be_busy, (void *)(i + 1)), 0);
	for (size_t i = 0; i < CROWD; i++)
		pthread_join(crowd[i], NULL);
	for (size_t i = 0; i < FS_SHARDS; i++)
		left += fs->shards[i].count;
	assert_int_equal(left, 0);
	for (int i = 0; i < 4; i++) {
		char name[8];

		snprintf(name, sizeof(name), "f%d", i);
		if (exists(name))
			assert_true(stat_of(name).st_size == 16 || stat_of(name).st_size == 0);
	}
	close_and_reopen();
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_save_and_read),
		TEST(test_unpublished_is_seen_but_not_kept),
		TEST(test_append_and_sync),
		TEST(test_truncate_and_holes),
		TEST(test_copy_range),
		TEST(test_times),
		TEST(test_keep_cache),
		TEST(test_views),
		TEST(test_history),
		TEST(test_read_only),
		TEST(test_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
