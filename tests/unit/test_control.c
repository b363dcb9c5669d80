/*
 * test_control.c: the control socket: the wire, hostile peers, and commands carried out by a server in this process.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/control.h"
#include "cli/target.h"

/* --- the wire ------------------------------------------------------------------------------------- */

static void messages_come_back(void **state)
{
	struct control_msg out, in;
	enum control_kind kind;
	int sock[2], fds[2] = { -1, -1 }, pipes[2];
	size_t nfds = 2;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	assert_int_equal(pipe(pipes), 0);
	control_msg_init(&out);
	control_put_u32(&out, 7);
	control_put_text(&out, "text");
	control_put_text(&out, NULL);
	control_put_text(&out, "");
	control_put_u64(&out, UINT64_MAX - 1);
	assert_int_equal(control_send(sock[0], CONTROL_REQUEST, &out, pipes, 2), 0);
	assert_int_equal(control_receive(sock[1], &kind, &in, fds, &nfds), 0);
	assert_int_equal(kind, CONTROL_REQUEST);
	assert_int_equal(nfds, 2);
	assert_int_equal(control_get_u32(&in), 7);
	assert_string_equal(control_get_text(&in), "text");
	assert_null(control_get_text(&in));
	assert_string_equal(control_get_text(&in), "");
	assert_true(control_get_u64(&in) == UINT64_MAX - 1);
	assert_int_equal(in.error, 0);
	/* Reading on is an error that stays. */
	assert_int_equal(control_get_u32(&in), 0);
	assert_int_equal(in.error, -EPROTO);
	assert_null(control_get_text(&in));

	/* The descriptors are the pipe's. */
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(read(pipes[0], (char[1]){ 0 }, 1), 1);
	for (int i = 0; i < 2; i++) {
		close(fds[i]);
		close(pipes[i]);
		close(sock[i]);
	}
	control_msg_release(&out);
	control_msg_release(&in);
}

static void hostile_bytes_are_refused(void **state)
{
	static const struct {
		uint8_t bytes[24];
		size_t len;
		int rc;
	} cases[] = {
		{ "GET / HTTP/1.1\r\n\r\n", 18, -EPROTO },
		{ { 'C', 'K', 'F', 'S', 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 16, -EPROTONOSUPPORT },
		{ { 'C', 'K', 'F', 'S', 1, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0 }, 16, -EPROTO },
		{ { 'C', 'K', 'F', 'S', 1, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1, 2 }, 18, -ECONNRESET },
		{ { 'C', 'K', 'F', 'S', 1, 0 }, 6, -ECONNRESET },
		{ { 0 }, 0, -ECONNRESET },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct control_msg in;
		enum control_kind kind;
		int sock[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
		assert_int_equal(write(sock[0], cases[i].bytes, cases[i].len), (ssize_t)cases[i].len);
		close(sock[0]);
		assert_int_equal(control_receive(sock[1], &kind, &in, NULL, NULL), cases[i].rc);
		close(sock[1]);
	}
}

static void texts_are_bounded(void **state)
{
	uint8_t bytes[] = { 4, 0, 0, 0, 'a', 0, 'b', 'c', 0 };
	struct control_msg m = { .p = bytes, .len = sizeof(bytes) };

	(void)state;
	assert_null(control_get_text(&m)); /* a NUL within */
	assert_int_equal(m.error, -EPROTO);
	m = (struct control_msg){ .p = bytes, .len = 7 };
	assert_null(control_get_text(&m)); /* longer than the message */
	assert_int_equal(m.error, -EPROTO);
	bytes[3] = 0xf0;
	m = (struct control_msg){ .p = bytes, .len = sizeof(bytes) };
	assert_null(control_get_text(&m));
	assert_int_equal(m.error, -EPROTO);
}

static void descriptors_too_many_are_closed(void **state)
{
	struct control_msg out, in;
	enum control_kind kind;
	int sock[2], p[2], fds[4], got[1] = { -1 };
	size_t nfds = 1;
	char c;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	assert_int_equal(pipe(p), 0);
	for (int i = 0; i < 4; i++)
		fds[i] = p[1];
	control_msg_init(&out);
	assert_int_equal(control_send(sock[0], CONTROL_REQUEST, &out, fds, 4), 0);
	assert_int_equal(control_receive(sock[1], &kind, &in, got, &nfds), 0);
	assert_int_equal(nfds, 1);
	close(p[1]);
	close(got[0]);
	/* All ends for writing are closed: end of file. */
	assert_int_equal(read(p[0], &c, 1), 0);
	close(p[0]);
	close(sock[0]);
	close(sock[1]);
	control_msg_release(&out);
	control_msg_release(&in);
}

/* --- a server ------------------------------------------------------------------------------------- */

struct fixture {
	char dir[64], store[96];
	struct fs *fs;
	struct control_server *server;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct fs_options o = { .store = { .create = true, .history_seconds = -1 } };
	struct fs_caller c = { .uid = geteuid(), .gid = getegid() };
	struct fs_handle *h;
	struct fs_entry e;

	snprintf(f->dir, sizeof(f->dir), "/tmp/test_control.XXXXXX");
	if (mkdtemp(f->dir) == NULL)
		return -1;
	snprintf(f->store, sizeof(f->store), "%s/s.ckptfs", f->dir);
	if (fs_open(f->store, &o, &f->fs) != 0 || control_server_start(f->fs, "", &f->server) != 0)
		return -1;
	if (fs_create(f->fs, &c, FS_ROOT, "hello", S_IFREG | 0644, O_RDWR, &h, &e) != 0)
		return -1;
	if (fs_write(f->fs, &c, h, 0, "hello\n", 6) != 6 || fs_flush(f->fs, &c, h) != 0)
		return -1;
	fs_release(f->fs, h);
	fs_forget(f->fs, e.st.st_ino, 1);
	/* A file that takes long to print: 1 TiB of nothing. */
	if (fs_create(f->fs, &c, FS_ROOT, "huge", S_IFREG | 0644, O_RDWR, &h, &e) != 0)
		return -1;
	e.st.st_size = (off_t)1 << 40;
	if (fs_setattr(f->fs, &c, e.st.st_ino, &e.st, FS_SET_SIZE, h, &e) != 0 || fs_flush(f->fs, &c, h) != 0)
		return -1;
	fs_release(f->fs, h);
	fs_forget(f->fs, e.st.st_ino, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = { "meta.db", "meta.db-wal", "meta.db-shm", "chunks.db",
		"chunks.db-journal", "lock", "reserve", "control" };
	struct fixture *f = *state;
	int rc;

	control_server_stop(f->server);
	rc = fs_close(f->fs);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char path[160];

		snprintf(path, sizeof(path), "%s/%s", f->store, files[i]);
		unlink(path);
	}
	rc = rmdir(f->store) == 0 && rmdir(f->dir) == 0 ? rc : -1;
	free(f);
	return rc;
}

/* Sends `words` with out_fd as standard output and error, as control_run() does; returns the connected socket. */
static int send_request(struct fixture *f, unsigned version, char *const *words, int argc, const char *path,
		int out_fd)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct control_msg m;
	int sock = socket(AF_UNIX, SOCK_STREAM, 0), root = open("/", O_PATH | O_DIRECTORY);
	int fds[CONTROL_FDS] = { out_fd, out_fd, out_fd, root };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/control", f->store);
	assert_int_equal(connect(sock, (struct sockaddr *)&a, sizeof(a)), 0);
	if (version != CONTROL_VERSION) {
		uint8_t header[16] = { 'C', 'K', 'F', 'S', (uint8_t)version, 0, 1 };

		assert_int_equal(write(sock, header, sizeof(header)), (ssize_t)sizeof(header));
	} else {
		control_msg_init(&m);
		for (int i = 0; i < 3; i++)
			control_put_u32(&m, i == 1 ? 022 : 0);
		control_put_u32(&m, (uint32_t)argc);
		for (int i = 0; i < argc; i++)
			control_put_text(&m, words[i]);
		control_put_u32(&m, 1);
		control_put_u32(&m, 1);
		control_put_text(&m, words[argc - 1]);
		control_put_text(&m, path);
		control_put_u32(&m, 0);
		assert_int_equal(control_send(sock, CONTROL_REQUEST, &m, fds, CONTROL_FDS), 0);
		control_msg_release(&m);
	}
	close(root);
	return sock;
}

static int answer(int sock, enum control_kind *kind, char *text, size_t cap)
{
	struct control_msg m;
	int status = -1;

	assert_int_equal(control_receive(sock, kind, &m, NULL, NULL), 0);
	if (*kind == CONTROL_STATUS) {
		status = (int)control_get_u32(&m);
	} else {
		const char *s = control_get_text(&m);

		snprintf(text, cap, "%s", s != NULL ? s : "");
	}
	control_msg_release(&m);
	return status;
}

static void commands_are_carried_out(void **state)
{
	struct fixture *f = *state;
	char *cat[] = { "cat", "S:hello" }, *none[] = { "cat", "S:none" }, *bad[] = { "mount", "S:x" },
	     text[256];
	enum control_kind kind;
	int p[2], sock;
	ssize_t n;

	assert_int_equal(pipe(p), 0);
	sock = send_request(f, CONTROL_VERSION, cat, 2, "hello", p[1]);
	assert_int_equal(answer(sock, &kind, text, sizeof(text)), CLI_DONE);
	close(sock);
	n = read(p[0], text, sizeof(text));
	assert_int_equal(n, 6);
	assert_memory_equal(text, "hello\n", 6);

	sock = send_request(f, CONTROL_VERSION, none, 2, "none", p[1]);
	assert_int_equal(answer(sock, &kind, text, sizeof(text)), CLI_FAILED);
	close(sock);
	n = read(p[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	assert_string_equal(text, "ckptfs cat: S:none: No such file or directory\n");

	sock = send_request(f, CONTROL_VERSION, bad, 2, "x", p[1]);
	answer(sock, &kind, text, sizeof(text));
	assert_int_equal(kind, CONTROL_REFUSED);
	assert_string_equal(text, "no such command here");
	close(sock);

	/* Nobody holds the pipe any more. */
	close(p[1]);
	assert_int_equal(read(p[0], text, 1), 0);
	close(p[0]);
}

static void another_version_is_told(void **state)
{
	char text[256] = "";
	enum control_kind kind;
	int sock = send_request(*state, 99, NULL, 0, NULL, 1);

	answer(sock, &kind, text, sizeof(text));
	assert_int_equal(kind, CONTROL_REFUSED);
	assert_non_null(strstr(text, "different versions"));
	close(sock);
}

/* The command writes into a pipe that nobody reads; it ends when the client goes, and when the server stops. */
static void who_hangs_up_cancels(void **state)
{
	struct fixture *f = *state;
	char *cat[] = { "cat", "S:huge" };
	int p[2], q[2], sock, other;
	char buf[65536];
	ssize_t n;

	assert_int_equal(pipe(p), 0);
	assert_int_equal(pipe(q), 0);
	sock = send_request(f, CONTROL_VERSION, cat, 2, "huge", p[1]);
	other = send_request(f, CONTROL_VERSION, cat, 2, "huge", q[1]);
	/* Both are at it. */
	assert_int_equal(read(p[0], buf, 1), 1);
	assert_int_equal(read(q[0], buf, 1), 1);
	close(sock);
	close(p[1]);
	/* What fits in the pipe, then end of file: the server's copies are closed. */
	while ((n = read(p[0], buf, sizeof(buf))) > 0)
		;
	assert_int_equal(n, 0);
	close(p[0]);

	control_server_stop(f->server);
	assert_int_equal(control_server_start(f->fs, "", &f->server), 0);
	close(other);
	close(q[0]);
	close(q[1]);
}

/* A reader that closes early ends the command quietly. */
static void a_closed_pipe_is_no_error(void **state)
{
	char *cat[] = { "cat", "S:huge" }, text[64], buf[64];
	enum control_kind kind;
	int p[2], sock;

	assert_int_equal(pipe(p), 0);
	sock = send_request(*state, CONTROL_VERSION, cat, 2, "huge", p[1]);
	close(p[1]);
	assert_true(read(p[0], buf, sizeof(buf)) > 0);
	close(p[0]);
	assert_int_equal(answer(sock, &kind, text, sizeof(text)), CLI_DONE);
	close(sock);
}

int main(void)
{
	const struct CMUnitTest wire[] = {
		cmocka_unit_test(messages_come_back),
		cmocka_unit_test(hostile_bytes_are_refused),
		cmocka_unit_test(texts_are_bounded),
		cmocka_unit_test(descriptors_too_many_are_closed),
	};
	const struct CMUnitTest server[] = {
		cmocka_unit_test(commands_are_carried_out),
		cmocka_unit_test(another_version_is_told),
		cmocka_unit_test(who_hangs_up_cancels),
		cmocka_unit_test(a_closed_pipe_is_no_error),
	};
	int rc = cmocka_run_group_tests(wire, NULL, NULL);

	return rc + cmocka_run_group_tests(server, setup, teardown);
}
