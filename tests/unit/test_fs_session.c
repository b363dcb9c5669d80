/*
 * test_fs_session.c: what becomes of that which was written: writers that die, share a descriptor, run out of space, or
 * keep a log open for long.
 */
#include <signal.h>
#include <sys/wait.h>

#include "scratch_fs.h"

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

/* --- time and space ---------------------------------------------------------------------------------- */

static void test_tick_publishes_logs(void **state)
{
	struct fs_handle *log, *torn, *old, *held;

	(void)state;
	make_zips();
	save("over", "old", 3);
	log = open_as(&trainer, "log", O_WRONLY | O_CREAT | O_APPEND);
	torn = open_as(&trainer, "m.pt", O_WRONLY | O_CREAT);
	old = open_as(&trainer, "over", O_WRONLY | O_TRUNC);
	write_as(&trainer, log, 0, "one\n", 4);
	write_as(&trainer, torn, 0, new_zip, 50000);
	write_as(&trainer, old, 0, "new", 3);
	held = open_as(&trainer, "held", O_WRONLY | O_CREAT);
	fs_hold(fs, held, true);
	write_as(&trainer, held, 0, "half", 4);
	fs_tick(fs);
	usleep(1100000);
	fs_tick(fs);
	write_as(&trainer, log, 0, "two\n", 4);
	crash_and_reopen();
	expect("log", "one\n", 4);
	assert_false(exists("m.pt"));
	assert_false(exists("held"));
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
		TEST(test_killed_over_old),
		TEST(test_killed_when_new),
		TEST(test_killed_before_writing),
		TEST(test_killed_but_published),
		TEST(test_ordinary_close_of_torn),
		TEST(test_strangers),
		TEST(test_taken_up),
		TEST(test_two_writers),
		TEST(test_written_after_last_close),
		TEST(test_tick_publishes_logs),
		TEST(test_close_with_open_handles),
		TEST(test_failed_write),
		TEST(test_real_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
