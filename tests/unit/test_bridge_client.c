/*
 * test_bridge_client.c: the client of the helper process against helpers that hang, die, lie or are not there.
 *
 * The helpers are this program itself, called through links whose names say what it shall play.  Deadlines of helpers that never
 * answer are short, since they always pass; of those that do answer a minute, which never does.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/ckpt_error.h"
#include "torchbridge/bridge_client.h"
#include "torchbridge/bridge_wire.h"

enum { LONG = 60000, SHORT = 50 };

/* ---- the helpers ---- */

static const char *const roles[] = { "good", "silent", "hangs", "dies", "early", "old", "nonsense",
	"other-id", "too-long", "short", "refuses", "looks" };

static void say(struct bridge_wire_reply *r, size_t len)
{
	r->magic = BRIDGE_WIRE_MAGIC;
	if (write(BRIDGE_WIRE_SOCKET, r, len) != (ssize_t)len)
		_exit(1);
}

/* What a helper must have been given, and no more. */
static const char *look_around(void)
{
	struct sigaction sa;
	struct stat st, null;
	sigset_t blocked;
	DIR *d = opendir("/proc/self/fd");
	const struct dirent *e;

	if (d == NULL || stat("/dev/null", &null) != 0)
		return "no /proc or /dev";
	for (int fd = 0; fd < 3; fd++)
		if (fstat(fd, &st) != 0 || st.st_rdev != null.st_rdev)
			return "a standard stream is not /dev/null";
	while ((e = readdir(d)) != NULL) {
		int fd = atoi(e->d_name);

		if (fd > BRIDGE_WIRE_MEMFD && fd != dirfd(d))
			return "a descriptor too many";
	}
	closedir(d);
	if (sigaction(SIGUSR1, NULL, &sa) != 0 || sa.sa_handler != SIG_DFL)
		return "SIGUSR1 is ignored";
	if (sigprocmask(SIG_SETMASK, NULL, &blocked) != 0 || sigismember(&blocked, SIGUSR2))
		return "SIGUSR2 is blocked";
	if (getpgrp() != getpid())
		return "in the group of its parent";
	if (getenv("LD_PRELOAD") != NULL || getenv("BRIDGE_TEST_SECRET") != NULL)
		return "has the environment of its parent";
	if ((fcntl(BRIDGE_WIRE_MEMFD, F_GET_SEALS) & F_SEAL_SHRINK) == 0)
		return "memory that can shrink";
	return NULL;
}

static bool is(const char *role, const char *name)
{
	return strcmp(role, name) == 0;
}

static int play(const char *role)
{
	struct bridge_wire_reply r = { .version = BRIDGE_WIRE_VERSION,
		.op = BRIDGE_WIRE_HELLO,
		.cuda = 2,
		.cuda_built = 1,
		.text = "9.9" };
	struct bridge_wire_request q;
	uint8_t *m = mmap(NULL, BRIDGE_WIRE_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, BRIDGE_WIRE_MEMFD, 0);
	const char *wrong;

	if (m == MAP_FAILED || is(role, "early"))
		return 7;
	while (is(role, "silent"))
		pause();
	if (is(role, "old"))
		r.version++;
	if (is(role, "nonsense"))
		memset(r.text, 'x', sizeof(r.text));
	if (is(role, "looks") && (wrong = look_around()) != NULL) {
		r.status = -EIO;
		snprintf(r.text, sizeof(r.text), "%s", wrong);
	}
	say(&r, sizeof(r));
	while (read(BRIDGE_WIRE_SOCKET, &q, sizeof(q)) == (ssize_t)sizeof(q)) {
		struct bridge_wire_stats s = { .count = getpid() };

		while (is(role, "hangs"))
			pause();
		if (is(role, "dies"))
			raise(SIGSEGV);
		r = (struct bridge_wire_reply){ .version = BRIDGE_WIRE_VERSION, .op = q.op, .id = q.id };
		r.len = q.count; /* one byte an element is all that is asked of it here */
		memcpy(m + BRIDGE_WIRE_AREA, m, q.count);
		if (q.op == BRIDGE_WIRE_STATS) {
			memcpy(m + BRIDGE_WIRE_AREA, &s, sizeof(s));
			r.len = sizeof(s);
		}
		/* Not what it was given. */
		if (q.op == BRIDGE_WIRE_CHECK && strcmp(q.device, "xpu:0") == 0)
			m[BRIDGE_WIRE_AREA]++;
		if (is(role, "other-id"))
			r.id++;
		if (is(role, "too-long"))
			r.len = UINT64_MAX;
		if (is(role, "refuses")) {
			r.status = -ENOTSUP;
			snprintf(r.text, sizeof(r.text), "not today");
		}
		say(&r, is(role, "short") ? 8 : sizeof(r));
	}
	return 0;
}

/* ---- the tests ---- */

static char dir[] = "/tmp/bridge-client-XXXXXX";

static struct bridge_client *client_of(const char *role)
{
	struct bridge_client *c;
	char path[100];

	snprintf(path, sizeof(path), "%s/%s", dir, role);
	assert_int_equal(bridge_client_new(path, &c), 0);
	return c;
}

/* Its process, which the good helper tells in place of a count. */
static pid_t helper_pid(struct bridge_client *c)
{
	struct bridge_stats s;

	assert_int_equal(bridge_client_stats(c, LONG, TORCH_UINT8, "", 0, &s), 0);
	return (pid_t)s.count;
}

static int echo(struct bridge_client *c, unsigned timeout_ms)
{
	uint8_t in[300], out[300] = { 0 };
	int rc;

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	rc = bridge_client_convert(c, timeout_ms, TORCH_UINT8, TORCH_INT8, in, sizeof(in), 1, 0, out);
	if (rc == 0)
		assert_memory_equal(in, out, sizeof(in));
	return rc;
}

static void a_good_one(void **state)
{
	struct bridge_client *c = client_of("good");
	size_t n = 3 * (size_t)BRIDGE_WIRE_AREA + 17;
	uint8_t *in = malloc(n), *out = calloc(1, n);
	struct bridge_devices d;

	(void)state;
	assert_true(in != NULL && out != NULL);
	assert_int_equal(bridge_client_devices(c, LONG, &d), 0);
	assert_true(d.cuda == 2 && d.xpu == 0 && !d.mps && d.cuda_known);
	assert_string_equal(d.torch, "9.9");
	assert_int_equal(echo(c, LONG), 0);
	/* In pieces. */
	for (size_t i = 0; i < n; i++)
		in[i] = (uint8_t)(i * 7 ^ i >> 9);
	assert_int_equal(bridge_client_convert(c, LONG, TORCH_UINT8, TORCH_QINT8, in, n, 0.5, 3, out), 0);
	assert_memory_equal(in, out, n);
	assert_int_equal(bridge_client_check(c, LONG, "cpu", TORCH_UINT8, in, n), 1);
	assert_int_equal(bridge_client_check(c, LONG, "xpu:0", TORCH_UINT8, in, 100), 0);
	free(in);
	free(out);
	bridge_client_free(c);
}

static void what_is_never_passed(void **state)
{
	struct bridge_client *c = client_of("early");
	uint64_t x = 0, y = 0;
	struct bridge_stats s;

	(void)state;
	assert_int_equal(bridge_client_convert(c, LONG, TORCH_BITS8, TORCH_UINT8, &x, 1, 1, 0, &y), -ENOTSUP);
	assert_int_equal(bridge_client_convert(c, LONG, TORCH_QUINT4X2, TORCH_FLOAT32, &x, 1, 1, 0, &y),
			-ENOTSUP);
	assert_int_equal(
			bridge_client_convert(c, LONG, TORCH_QINT8, TORCH_FLOAT32, &x, 1, 0, 0, &y), -EINVAL);
	assert_int_equal(bridge_client_check(c, LONG, "a-device-with-a-long-name", TORCH_UINT8, &x, 1),
			-EINVAL);
	assert_int_equal(bridge_client_stats(c, LONG, TORCH_FLOAT32, &x, BRIDGE_WIRE_AREA, &s), -EFBIG);
	bridge_client_free(c);
}

static void not_there(void **state)
{
	struct bridge_client *c = client_of("nowhere");

	(void)state;
	assert_int_equal(echo(c, LONG), -ENOSYS);
	assert_non_null(strstr(ckpt_errmsg(), "CKPTFS_BRIDGE"));
	bridge_client_free(c);
}

static void one_that_ends_at_once(void **state)
{
	static const char *const role[] = { "early", "old", "nonsense" };

	(void)state;
	for (size_t i = 0; i < sizeof(role) / sizeof(role[0]); i++) {
		struct bridge_client *c = client_of(role[i]);

		assert_int_equal(echo(c, LONG), -ENOSYS);
		assert_non_null(strstr(ckpt_errmsg(), "--version"));
		/* And is not tried at each call from then on. */
		assert_int_equal(echo(c, LONG), -ENOSYS);
		bridge_client_free(c);
	}
}

/* The start goes on while its first caller has given up. */
static void one_that_never_greets(void **state)
{
	struct bridge_client *c = client_of("silent");

	(void)state;
	assert_int_equal(echo(c, SHORT), -ETIMEDOUT);
	assert_int_equal(echo(c, SHORT), -ETIMEDOUT);
	bridge_client_free(c);
}

static void one_that_hangs(void **state)
{
	struct bridge_client *c = client_of("hangs");
	struct bridge_devices d;

	(void)state;
	for (int i = 0; i < 2; i++) {
		/* It must have greeted before it can hang in a request: that is not what is measured. */
		while (echo(c, SHORT) != -ETIMEDOUT)
			;
	}
	assert_int_equal(bridge_client_devices(c, LONG, &d), 0);
	bridge_client_free(c);
}

static void ones_that_lie_or_die(void **state)
{
	static const char *const role[] = { "dies", "other-id", "too-long", "short" };

	(void)state;
	for (size_t i = 0; i < sizeof(role) / sizeof(role[0]); i++) {
		struct bridge_client *c = client_of(role[i]);

		assert_int_equal(echo(c, LONG), -EIO);
		/* Each call gets a new one. */
		assert_int_equal(echo(c, LONG), -EIO);
		bridge_client_free(c);
	}
}

static void one_that_refuses(void **state)
{
	struct bridge_client *c = client_of("refuses");

	(void)state;
	assert_int_equal(echo(c, LONG), -ENOTSUP);
	assert_string_equal(ckpt_errmsg(), "bridge: not today");
	bridge_client_free(c);
}

static void killed_and_stopped(void **state)
{
	struct bridge_client *c = client_of("good");
	pid_t first = helper_pid(c), second, third;

	(void)state;
	assert_int_equal(kill(first, SIGKILL), 0);
	while (echo(c, LONG) != 0) /* killed in the middle, perhaps */
		assert_non_null(strstr(ckpt_errmsg(), "ended"));
	second = helper_pid(c);
	assert_true(second != first);
	assert_int_equal(kill(second, SIGSTOP), 0);
	while (echo(c, SHORT) != -ETIMEDOUT) /* signals arrive in their time */
		;
	third = helper_pid(c);
	assert_true(third != second);
	/* What was stopped is no zombie either; one that takes its time to die is buried with the next. */
	for (int i = 0; i < 600 && kill(second, 0) == 0; i++) {
		usleep(100000);
		bridge_client_reap(c, 0);
		third = helper_pid(c);
	}
	assert_int_equal(kill(second, 0), -1);
	assert_int_equal(errno, ESRCH);
	bridge_client_free(c);
	assert_int_equal(kill(third, 0), -1);
}

static void reaped(void **state)
{
	struct bridge_client *c = client_of("good");
	pid_t pid = helper_pid(c);

	(void)state;
	bridge_client_reap(c, 3600);
	assert_int_equal(helper_pid(c), pid);
	bridge_client_reap(c, 0);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(echo(c, LONG), 0);
	bridge_client_free(c);
}

static void what_it_is_given(void **state)
{
	struct bridge_client *c = client_of("looks");
	int extra = open("/dev/zero", O_RDONLY);
	sigset_t usr2, before;
	int rc;

	(void)state;
	assert_true(extra >= 0);
	setenv("BRIDGE_TEST_SECRET", "1", 1);
	signal(SIGUSR1, SIG_IGN);
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &usr2, &before);
	rc = echo(c, LONG);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	signal(SIGUSR1, SIG_DFL);
	unsetenv("BRIDGE_TEST_SECRET");
	close(extra);
	if (rc != 0)
		fail_msg("%s", ckpt_errmsg());
	bridge_client_free(c);
}

static void *many(void *arg)
{
	for (int i = 0; i < 50; i++)
		if (echo(arg, LONG) != 0)
			return arg;
	return NULL;
}

static void threads(void **state)
{
	struct bridge_client *c = client_of("good");
	pthread_t t[4];
	void *failed;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, many, c), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &failed);
		assert_null(failed);
	}
	bridge_client_free(c);
}

static void best_device(void **state)
{
	static const struct {
		unsigned cuda;
		const char *was, *is;
	} t[] = {
		{ 0, "cuda:3", "cpu" },
		{ 0, "", "cpu" },
		{ 1, "", "cuda:0" },
		{ 1, "cuda:3", "cuda:0" },
		{ 4, "cuda:3", "cuda:3" },
		{ 4, "cuda", "cuda:0" },
		{ 2, "xpu:1", "cuda:0" },
		{ 2, "cuda:99999999999999999999", "cuda:0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char out[32];

		bridge_auto_device(t[i].cuda, t[i].was, out, sizeof(out));
		assert_string_equal(out, t[i].is);
	}
}

static int make_links(void **state)
{
	char path[100];

	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		char self[4096];
		ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

		self[n > 0 ? n : 0] = '\0';
		snprintf(path, sizeof(path), "%s/%s", dir, roles[i]);
		if (symlink(self, path) != 0)
			return -1;
	}
	return 0;
}

static int remove_links(void **state)
{
	char path[100];

	(void)state;
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, roles[i]);
		unlink(path);
	}
	return rmdir(dir);
}

int main(void)
{
	const char *called = (const char *)getauxval(AT_EXECFN);
	const char *name = called != NULL && strrchr(called, '/') != NULL ? strrchr(called, '/') + 1 : "";
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_one),
		cmocka_unit_test(what_is_never_passed),
		cmocka_unit_test(not_there),
		cmocka_unit_test(one_that_ends_at_once),
		cmocka_unit_test(one_that_never_greets),
		cmocka_unit_test(one_that_hangs),
		cmocka_unit_test(ones_that_lie_or_die),
		cmocka_unit_test(one_that_refuses),
		cmocka_unit_test(killed_and_stopped),
		cmocka_unit_test(reaped),
		cmocka_unit_test(what_it_is_given),
		cmocka_unit_test(threads),
		cmocka_unit_test(best_device),
	};

	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (strcmp(name, roles[i]) == 0)
			return play(name);
	return cmocka_run_group_tests(tests, make_links, remove_links);
}
