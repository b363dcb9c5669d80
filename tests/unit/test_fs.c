/*
 * test_fs.c: the manners of the tree, without FUSE.
 *
 * Processes are made up: a table says of each pid to which process it belongs and what is becoming of it, so that a writer
 * can die at any moment of a test.  A crash is fs_crash(): nothing more is committed, and the store is opened again.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/fs_internal.h"

static char base[256], path[300];
static struct fs *fs;

/* --- processes --------------------------------------------------------------------------------------- */

enum { TRAINER = 100, TRAINER_THREAD = 101, CHILD = 200, OTHER = 300, WORKER = 400, PIDS = 512 };

static struct { atomic_int life; pid_t group; } people[PIDS];

static enum fs_life fake_life(pid_t pid)
{
	return pid > 0 && pid < PIDS ? (enum fs_life)atomic_load(&people[pid].life) : FS_UNSEEN;
}

static pid_t fake_group(pid_t pid)
{
	return pid > 0 && pid < PIDS ? people[pid].group : 0;
}

static void everybody_lives(void)
{
	for (pid_t p = 0; p < PIDS; p++) {
		atomic_store(&people[p].life, FS_ALIVE);
		people[p].group = p;
	}
	people[TRAINER_THREAD].group = TRAINER;
	atomic_store(&people[WORKER].life, FS_UNSEEN);
}

static const struct fs_caller trainer = { .pid = TRAINER, .kernel = true };
static const struct fs_caller thread = { .pid = TRAINER_THREAD, .kernel = true };
static const struct fs_caller child = { .pid = CHILD, .kernel = true };
static const struct fs_caller other = { .pid = OTHER, .kernel = true };
static const struct fs_caller worker = { .pid = WORKER, .kernel = true };
static const struct fs_caller command = { .pid = 0, .kernel = false };

static void dies(enum fs_life how)
{
	atomic_store(&people[TRAINER].life, how);
	atomic_store(&people[TRAINER_THREAD].life, how);
}

/* --- helpers ----------------------------------------------------------------------------------------- */

static void open_tree_with(bool torn_keep)
{
	struct fs_options o = { .store = { .create = true, .workers = 1, .history_seconds = -1 }, .torn_keep = torn_keep };
	int rc = fs_open(path, &o, &fs);

	if (rc < 0)
		fail_msg("fs_open: %s", ckpt_errmsg());
	fs->proc = (struct fs_proc){ .life = fake_life, .group = fake_group };
	everybody_lives();
}

static void crash_and_reopen(void)
{
	fs_crash(fs);
	open_tree_with(false);
}

static void close_and_reopen(void)
{
	assert_int_equal(fs_close(fs), 0);
	open_tree_with(false);
}

static int set_up(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(base, sizeof(base), "%s/ckptfs-fs-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(base))
		return -1;
	snprintf(path, sizeof(path), "%s/s.ckptfs", base);
	open_tree_with(false);
	return 0;
}

static int tear_down(void **state)
{
	char cmd[400];

	(void)state;
	fs_close(fs);
	fs = NULL;
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", base);
	return system(cmd);
}

static void ok_at(long rc, int line)
{
	if (rc < 0)
		fail_msg("line %d: %s: %s", line, strerror((int)-rc), ckpt_errmsg());
}
#define OK(call) ok_at((long)(call), __LINE__)

/* The number of a path, which the caller forgets; 0 when it is not there. */
static uint64_t look(const char *p)
{
	struct fs_entry e;
	int rc = fs_resolve(fs, p, false, &e);

	if (rc == -ENOENT)
		return 0;
	OK(rc);
	return e.st.st_ino;
}

static bool exists(const char *p)
{
	uint64_t ino = look(p);

	if (ino)
		fs_forget(fs, ino, 1);
	return ino != 0;
}

static struct stat stat_of(const char *p)
{
	struct fs_entry e;

	OK(fs_resolve(fs, p, false, &e));
	fs_forget(fs, e.st.st_ino, 1);
	return e.st;
}

/* Opens a path of the root; creates it if asked. */
static struct fs_handle *open_as(const struct fs_caller *c, const char *name, int flags)
{
	struct fs_handle *h = NULL;
	struct fs_entry e;

	if ((flags & O_CREAT) && !exists(name)) {
		OK(fs_create(fs, c, FS_ROOT, name, 0644, flags, &h, &e));
		assert_false(e.settled);
	} else {
		OK(fs_resolve(fs, name, true, &e));
		OK(fs_open_file(fs, c, e.st.st_ino, flags, &h));
	}
	fs_forget(fs, e.st.st_ino, 1);
	return h;
}

static void write_as(const struct fs_caller *c, struct fs_handle *h, uint64_t off, const void *p, size_t len)
{
	ssize_t n = fs_write(fs, c, h, off, p, len);

	OK(n);
	assert_int_equal(n, len);
}

static void close_as(const struct fs_caller *c, struct fs_handle *h)
{
	OK(fs_flush(fs, c, h));
	fs_release(fs, h);
}

static void save(const char *name, const void *p, size_t len)
{
	struct fs_handle *h = open_as(&trainer, name, O_WRONLY | O_CREAT | O_TRUNC);

	if (len > 0)
		write_as(&trainer, h, 0, p, len);
	close_as(&trainer, h);
}

static void expect(const char *p, const void *want, size_t len)
{
	struct fs_entry e;
	struct fs_handle *h;
	uint8_t *got = malloc(len + 1);
	size_t have = 0;
	ssize_t n;

	assert_non_null(got);
	OK(fs_resolve(fs, p, true, &e));
	OK(fs_open_file(fs, &other, e.st.st_ino, O_RDONLY, &h));
	while (have < len + 1 && (n = fs_read(fs, h, have, got + have, len + 1 - have)) != 0) {
		OK(n);
		have += (size_t)n;
	}
	assert_int_equal(have, len);
	assert_memory_equal(got, want, len);
	fs_release(fs, h);
	fs_forget(fs, e.st.st_ino, 1);
	free(got);
}

struct names {
	char text[4096];
	size_t n;
};

static int add_name(void *arg, const char *name, size_t len, uint64_t ino, mode_t type, uint64_t cookie, const struct fs_entry *e)
{
	struct names *l = arg;

	(void)type;
	(void)cookie;
	assert_true(ino != 0);
	if (e)
		fs_forget(fs, e->st.st_ino, 1);
	assert_true(strlen(l->text) + len + 2 < sizeof(l->text));
	strncat(l->text, name, len);
	strcat(l->text, " ");
	l->n++;
	return 0;
}

static struct names list(const char *p, bool attrs)
{
	struct names l = { .n = 0 };
	uint64_t ino = look(p);
	struct fs_dir *d;

	assert_true(ino != 0);
	OK(fs_opendir(fs, ino, &d));
	OK(fs_readdir(fs, d, 0, attrs, add_name, &l));
	fs_closedir(fs, d);
	fs_forget(fs, ino, 1);
	return l;
}

/* The name of the only version of a path in the history, "" when there is none. */
static void version_of(const char *p, char out[300])
{
	char dir[256];
	struct names l;

	snprintf(dir, sizeof(dir), "@history/%s", p);
	out[0] = '\0';
	if (!exists(dir))
		return;
	l = list(dir, true);
	assert_int_equal(l.n, 3);
	assert_memory_equal(l.text, ". .. ", 5);
	l.text[strlen(l.text) - 1] = '\0';
	snprintf(out, 300, "%.200s/%.90s", dir, l.text + 5);
}

/* A zip with one stored entry of `len` bytes; without its end when torn. Returns its length. */
static size_t make_zip(uint8_t *out, size_t len, uint8_t fill, bool torn)
{
	static const uint8_t local[30] = { 'P', 'K', 3, 4, 20 }, entry[46] = { 'P', 'K', 1, 2, 20, 0, 20 },
			end[22] = { 'P', 'K', 5, 6, 0, 0, 0, 0, 1, 0, 1, 0, 47 };
	uint32_t n = (uint32_t)len, at;
	uint8_t *p = out;

	memcpy(p, local, sizeof(local));
	memcpy(p + 18, &n, 4);
	memcpy(p + 22, &n, 4);
	p[26] = 1;
	p[30] = 'a';
	memset(p + 31, fill, len);
	p += 31 + len;
	if (torn)
		return (size_t)(p - out);
	at = (uint32_t)(p - out);
	memcpy(p, entry, sizeof(entry));
	memcpy(p + 20, &n, 4);
	memcpy(p + 24, &n, 4);
	p[28] = 1;
	p[46] = 'a';
	memcpy(p + 47, end, sizeof(end));
	memcpy(p + 47 + 16, &at, 4);
	return (size_t)(p - out) + 47 + sizeof(end);
}

enum { ZIP = 100000 };
static uint8_t old_zip[ZIP + 200], new_zip[ZIP + 200];
static size_t old_len, new_len;

static void make_zips(void)
{
	old_len = make_zip(old_zip, ZIP, 1, false);
	new_len = make_zip(new_zip, ZIP, 2, false);
}

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

/* --- dying writers ----------------------------------------------------------------------------------- */

static struct {
	size_t data, names;
	char name[64];
} told;

static void hear(void *arg, uint64_t ino, const char *name, size_t len)
{
	(void)arg;
	(void)ino;
	if (name) {
		told.names++;
		snprintf(told.name, sizeof(told.name), "%.*s", (int)len, name);
	} else {
		told.data++;
	}
}

/* Killed in the middle of saving over an older checkpoint, by main thread or another one. */
static void test_killed_over_old(void **state)
{
	const enum fs_life ends[] = { FS_KILLED, FS_EXITING };
	const struct fs_caller *closers[] = { &trainer, &thread };
	char version[300];
	struct stat st;

	(void)state;
	make_zips();
	for (size_t i = 0; i < 2; i++) {
		char name[16];
		struct fs_handle *h;

		snprintf(name, sizeof(name), "m%zu.pt", i);
		everybody_lives();
		save(name, old_zip, old_len);
		memset(&told, 0, sizeof(told));
		fs_set_notify(fs, hear, NULL);
		h = open_as(&trainer, name, O_WRONLY | O_TRUNC);
		write_as(&trainer, h, 0, new_zip, 60000);
		dies(ends[i]);
		close_as(closers[i], h);
		assert_true(told.data > 0);
		assert_int_equal(told.names, 0);
		expect(name, old_zip, old_len);
		version_of(name, version);
		assert_non_null(strstr(version, "Z-torn.pt"));
		expect(version, new_zip, 60000);
		st = stat_of(version);
		assert_int_equal(st.st_size, 60000);
		assert_int_equal(st.st_mode, S_IFREG | 0444);
		crash_and_reopen();
		expect(name, old_zip, old_len);
	}
}

static void test_killed_when_new(void **state)
{
	struct fs_handle *h;
	char version[300];

	(void)state;
	make_zips();
	memset(&told, 0, sizeof(told));
	fs_set_notify(fs, hear, NULL);
	h = open_as(&trainer, "model.pth", O_WRONLY | O_CREAT | O_TRUNC);
	write_as(&trainer, h, 0, new_zip, 50000);
	dies(FS_KILLED);
	OK(fs_flush(fs, &trainer, h));
	assert_false(exists("model.pth"));
	assert_int_equal(told.names, 1);
	assert_string_equal(told.name, "model.pth");
	version_of("model.pth", version);
	assert_non_null(strstr(version, "Z-torn.pth"));
	expect(version, new_zip, 50000);
	/* whoever shares the descriptor is told that its writes go nowhere */
	assert_int_equal(fs_write(fs, &child, h, 50000, "x", 1), -EIO);
	fs_release(fs, h);
	/* the name is free again */
	everybody_lives();
	save("model.pth", new_zip, new_len);
	expect("model.pth", new_zip, new_len);
}

static void test_killed_before_writing(void **state)
{
	struct fs_handle *h;

	(void)state;
	save("a.json", "{}", 2);
	h = open_as(&trainer, "a.json", O_WRONLY | O_TRUNC);
	dies(FS_KILLED);
	close_as(&trainer, h);
	expect("a.json", "{}", 2);
	everybody_lives();
	h = open_as(&trainer, "b", O_WRONLY | O_CREAT);
	dies(FS_KILLED);
	close_as(&trainer, h);
	assert_false(exists("b"));
	/* who ends by itself leaves an empty file, as anywhere */
	everybody_lives();
	h = open_as(&trainer, "c", O_WRONLY | O_CREAT);
	dies(FS_EXITING);
	close_as(&trainer, h);
	assert_true(exists("c"));
}

/* What is published although its writer dies: odd bytes, in-place changes, whole containers; and everything with torn=keep. */
static void test_killed_but_published(void **state)
{
	struct fs_handle *h;

	(void)state;
	make_zips();
	h = open_as(&trainer, "log", O_WRONLY | O_CREAT);
	write_as(&trainer, h, 0, "step 1\nste", 10);
	dies(FS_KILLED);
	close_as(&trainer, h);
	expect("log", "step 1\nste", 10);

	everybody_lives();
	h = open_as(&trainer, "whole.pt", O_WRONLY | O_CREAT);
	write_as(&trainer, h, 0, new_zip, new_len);
	dies(FS_KILLED);
	close_as(&trainer, h);
	expect("whole.pt", new_zip, new_len);

	everybody_lives();
	h = open_as(&trainer, "whole.pt", O_WRONLY);
	write_as(&trainer, h, new_len - 22, "PK\1\2", 4); /* no end record any more */
	dies(FS_KILLED);
	close_as(&trainer, h);
	memcpy(new_zip + new_len - 22, "PK\1\2", 4);
	expect("whole.pt", new_zip, new_len);
	crash_and_reopen();
	expect("whole.pt", new_zip, new_len);

	OK(fs_close(fs));
	open_tree_with(true);
	h = open_as(&trainer, "kept.pt", O_WRONLY | O_CREAT);
	write_as(&trainer, h, 0, old_zip, 5000);
	dies(FS_KILLED);
	close_as(&trainer, h);
	expect("kept.pt", old_zip, 5000);
}

static void test_ordinary_close_of_torn(void **state)
{
	struct fs_handle *h;

	(void)state;
	make_zips();
	save("a.pt", old_zip, old_len);
	h = open_as(&trainer, "a.pt", O_WRONLY | O_TRUNC);
	write_as(&trainer, h, 0, new_zip, 4000);
	close_as(&trainer, h);
	expect("a.pt", new_zip, 4000);
}

/* A child that has the descriptor closes it, by exec, by ending, through a kernel thread: the save goes on. */
static void test_strangers(void **state)
{
	struct fs_handle *h;

	(void)state;
	make_zips();
	save("a.pt", old_zip, old_len);
	h = open_as(&trainer, "a.pt", O_WRONLY | O_TRUNC);
	write_as(&trainer, h, 0, new_zip, 40000);
	OK(fs_flush(fs, &child, h));
	atomic_store(&people[CHILD].life, FS_EXITING);
	OK(fs_flush(fs, &child, h));
	OK(fs_flush(fs, &worker, h));
	write_as(&thread, h, 40000, new_zip + 40000, 10000);
	/* now the save itself dies, and the old version is still what stood before it */
	dies(FS_KILLED);
	OK(fs_flush(fs, &worker, h));
	expect("a.pt", old_zip, old_len);
	fs_release(fs, h);

	/* the same with a file that is new, which lives */
	everybody_lives();
	h = open_as(&trainer, "b.pt", O_WRONLY | O_CREAT);
	write_as(&trainer, h, 0, new_zip, 40000);
	atomic_store(&people[CHILD].life, FS_KILLED);
	OK(fs_flush(fs, &child, h));
	write_as(&trainer, h, 40000, new_zip + 40000, new_len - 40000);
	close_as(&thread, h);
	expect("b.pt", new_zip, new_len);
}

/* The child wrote last and dies; its parent goes on writing: nothing is lost. */
static void test_taken_up(void **state)
{
	struct fs_handle *h;

	(void)state;
	make_zips();
	save("a.pt", old_zip, old_len);
	h = open_as(&trainer, "a.pt", O_WRONLY | O_TRUNC);
	write_as(&trainer, h, 0, new_zip, 30000);
	write_as(&child, h, 30000, new_zip + 30000, 10000);
	atomic_store(&people[CHILD].life, FS_KILLED);
	OK(fs_flush(fs, &child, h));
	expect("a.pt", old_zip, old_len);
	write_as(&trainer, h, 40000, new_zip + 40000, new_len - 40000);
	expect("a.pt", new_zip, new_len);
	close_as(&trainer, h);
	expect("a.pt", new_zip, new_len);
}

static void test_two_writers(void **state)
{
	struct fs_handle *a, *b;

	(void)state;
	make_zips();
	/* both belong to the one that is killed: the last one decides */
	save("a.pt", old_zip, old_len);
	a = open_as(&trainer, "a.pt", O_WRONLY | O_TRUNC);
	b = open_as(&trainer, "a.pt", O_RDWR);
	write_as(&trainer, a, 0, new_zip, 20000);
	write_as(&trainer, b, 20000, new_zip + 20000, 20000);
	dies(FS_KILLED);
	OK(fs_flush(fs, &trainer, a));
	OK(fs_flush(fs, &trainer, b));
	fs_release(fs, a);
	fs_release(fs, b);
	expect("a.pt", old_zip, old_len);
	/* one lives on: what is there is its business */
	everybody_lives();
	a = open_as(&trainer, "a.pt", O_WRONLY | O_TRUNC);
	b = open_as(&other, "a.pt", O_RDWR);
	write_as(&trainer, a, 0, new_zip, 20000);
	write_as(&other, b, 20000, new_zip + 20000, new_len - 20000);
	dies(FS_KILLED);
	close_as(&trainer, a);
	close_as(&other, b);
	expect("a.pt", new_zip, new_len);
	/* the other one wrote nothing and is gone without a flush: the release decides */
	everybody_lives();
	a = open_as(&trainer, "a.pt", O_WRONLY | O_TRUNC);
	b = open_as(&other, "a.pt", O_RDWR);
	write_as(&trainer, a, 0, old_zip, 20000);
	dies(FS_KILLED);
	close_as(&trainer, a);
	fs_release(fs, b);
	expect("a.pt", new_zip, new_len);
}

static void test_written_after_last_close(void **state)
{
	struct fs_handle *h = open_as(&trainer, "map", O_RDWR | O_CREAT);

	(void)state;
	write_as(&trainer, h, 0, "....", 4);
	OK(fs_flush(fs, &trainer, h));
	write_as(NULL, h, 1, "ab", 2);
	fs_release(fs, h);
	crash_and_reopen();
	expect("map", ".ab.", 4);
}

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
	assert_int_equal(fs_setxattr(fs, &trainer, ino, "user.", "x", 1, 0), -EOPNOTSUPP);
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
	assert_string_equal(l.text, ". .. @history @stats ");
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

/* --- time and space ---------------------------------------------------------------------------------- */

static void test_tick_publishes_logs(void **state)
{
	struct fs_handle *log, *torn, *old;

	(void)state;
	make_zips();
	save("over", "old", 3);
	log = open_as(&trainer, "log", O_WRONLY | O_CREAT | O_APPEND);
	torn = open_as(&trainer, "m.pt", O_WRONLY | O_CREAT);
	old = open_as(&trainer, "over", O_WRONLY | O_TRUNC);
	write_as(&trainer, log, 0, "one\n", 4);
	write_as(&trainer, torn, 0, new_zip, 50000);
	write_as(&trainer, old, 0, "new", 3);
	fs_tick(fs);
	usleep(1100000);
	fs_tick(fs);
	write_as(&trainer, log, 0, "two\n", 4);
	crash_and_reopen();
	expect("log", "one\n", 4);
	assert_false(exists("m.pt"));
	expect("over", "old", 3);
}

static void test_close_with_open_handles(void **state)
{
	struct fs_handle *h;

	(void)state;
	make_zips();
	save("a.pt", old_zip, old_len);
	h = open_as(&trainer, "a.pt", O_WRONLY | O_TRUNC);
	write_as(&trainer, h, 0, new_zip, 40000);
	h = open_as(&trainer, "log", O_WRONLY | O_CREAT);
	write_as(&trainer, h, 0, "x", 1);
	close_and_reopen();
	expect("a.pt", old_zip, old_len);
	expect("log", "x", 1);
}

/* A write that failed and was not made good ends a session that replaces; one that was repeated does not. */
static void test_failed_write(void **state)
{
	struct fs_handle *h;

	(void)state;
	save("a", "old", 3);
	h = open_as(&trainer, "a", O_WRONLY | O_TRUNC);
	write_as(&trainer, h, 0, "new", 3);
	fs_change_result(fs, h->body, 3, -ENOSPC);
	assert_int_equal(fs_fsync(fs, h, false), -ENOSPC);
	assert_int_equal(fs_flush(fs, &trainer, h), -ENOSPC);
	assert_int_equal(fs_write(fs, &trainer, h, 3, "x", 1), -EIO);
	fs_release(fs, h);
	expect("a", "old", 3);

	h = open_as(&trainer, "a", O_WRONLY | O_TRUNC);
	write_as(&trainer, h, 0, "new", 3);
	fs_change_result(fs, h->body, 3, -ENOSPC);
	write_as(&trainer, h, 3, "er", 2);
	close_as(&trainer, h);
	expect("a", "newer", 5);

	h = open_as(&trainer, "b", O_WRONLY | O_CREAT);
	write_as(&trainer, h, 0, "new", 3);
	fs_change_result(fs, h->body, 3, -ENOSPC);
	assert_int_equal(fs_flush(fs, &trainer, h), -ENOSPC);
	assert_false(exists("b"));
	fs_release(fs, h);

	/* appends keep what they have */
	h = open_as(&trainer, "a", O_WRONLY | O_APPEND);
	write_as(&trainer, h, 0, "!", 1);
	fs_change_result(fs, h->body, STORE_APPEND, -ENOSPC);
	close_as(&trainer, h);
	expect("a", "newer!", 6);
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

/* --- real processes ---------------------------------------------------------------------------------- */

static void test_real_processes(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(fs_proc_linux.life(getpid()), FS_ALIVE);
	assert_int_equal(fs_proc_linux.life(0), FS_UNSEEN);
	assert_int_equal(fs_proc_linux.group(getpid()), getpid());
	assert_int_equal(fs_proc_linux.group(0), 0);

	/* A zombie still tells how it died. */
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		pause();
		_exit(0);
	}
	assert_int_equal(fs_proc_linux.life(pid), FS_ALIVE);
	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	assert_int_equal(fs_proc_linux.life(pid), FS_KILLED);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(fs_proc_linux.life(pid), FS_EXITING);

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	assert_int_equal(fs_proc_linux.life(pid), FS_EXITING);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_save_and_read),
		TEST(test_unpublished_is_seen_but_not_kept),
		TEST(test_append_and_sync),
		TEST(test_truncate_and_holes),
		TEST(test_copy_range),
		TEST(test_times),
		TEST(test_keep_cache),
		TEST(test_killed_over_old),
		TEST(test_killed_when_new),
		TEST(test_killed_before_writing),
		TEST(test_killed_but_published),
		TEST(test_ordinary_close_of_torn),
		TEST(test_strangers),
		TEST(test_taken_up),
		TEST(test_two_writers),
		TEST(test_written_after_last_close),
		TEST(test_rename_publishes),
		TEST(test_link_publishes),
		TEST(test_unlinked_lives_while_open),
		TEST(test_errors),
		TEST(test_resolve),
		TEST(test_readdir),
		TEST(test_xattr),
		TEST(test_views),
		TEST(test_history),
		TEST(test_tick_publishes_logs),
		TEST(test_close_with_open_handles),
		TEST(test_failed_write),
		TEST(test_read_only),
		TEST(test_crowd),
		TEST(test_real_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
