/*
 * control_client.c: sends a command to the process that has the store mounted, and waits for its exit status.
 */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"
#include "format.h"
#include "target.h"

enum { LOOK_MS = 200, LAST_LOOKS = 25 };

/*
 * Connects to STORE/control.  A socket's address has room for 107 bytes, which a path may exceed: it is reached through the
 * directory's descriptor.
 */
static int connect_to(const char *store, int *out)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int dir, sock, rc = 0;

	dir = open(store, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return ckpt_fail(errno, "%s: %s", store, strerror(errno));
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0) {
		rc = ckpt_fail(errno, "control socket: %s", strerror(errno));
		goto close_dir;
	}
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/control", dir);
	if (connect(sock, (const struct sockaddr *)&a, sizeof(a)) != 0) {
		rc = ckpt_fail(errno, "%s/control: %s", store, strerror(errno));
		close(sock);
		goto close_dir;
	}
	*out = sock;
close_dir:
	close(dir);
	return rc;
}

static int put_request(
		struct control_msg *m, const struct cli *c, const struct target *t, size_t n, unsigned need)
{
	struct zone *z = zone_of_process();

	if (z == NULL)
		return ckpt_fail(ENOMEM, "control message: out of memory");
	control_put_u32(m, need);
	control_put_u32(m, c->umask);
	control_put_u32(m, c->colour ? CONTROL_COLOUR : 0);
	control_put_u32(m, (uint32_t)c->argc);
	for (int i = 0; i < c->argc; i++)
		control_put_text(m, c->argv[i]);
	control_put_u32(m, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		control_put_u32(m, t[i].in_store);
		control_put_text(m, t[i].text);
		control_put_text(m, t[i].path);
	}
	control_put_u32(m, (uint32_t)z->n);
	for (size_t i = 0; i < z->n; i++) {
		control_put_u64(m, (uint64_t)z->step[i].from);
		control_put_u32(m, (uint32_t)z->step[i].offset);
	}
	free(z);
	return m->error == 0 ? 0 : ckpt_fail(-m->error, "control message: %s", strerror(-m->error));
}

/*
 * Until there is an answer to read.  A signal hangs up our half, which tells the owner to stop the command; an owner that
 * hangs, or was stopped, is not waited for then. -EINTR.
 */
static int wait_for_answer(struct cli *c, int sock, const char *store)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	unsigned looks = 0;

	while (poll(&p, 1, LOOK_MS) <= 0) {
		if (!cli_cancelled(c))
			continue;
		if (looks == 0)
			shutdown(sock, SHUT_WR);
		if (++looks > LAST_LOOKS)
			return ckpt_fail(EINTR, "%s: interrupted, and the process that has it mounted does not answer", store);
	}
	return 0;
}

static int read_answer(int sock, const char *store, int *status)
{
	struct control_msg m;
	enum control_kind kind;
	const char *why;
	int rc = control_receive(sock, &kind, &m, NULL, NULL);

	if (rc == -ECONNRESET)
		return ckpt_fail(ECONNRESET, "%s: the process that has the store mounted ended", store);
	if (rc != 0)
		return rc;
	if (kind == CONTROL_STATUS) {
		uint32_t v = control_get_u32(&m);

		rc = m.error == 0 && v <= CLI_STOP
				     ? 0
				     : ckpt_fail(EPROTO, "control socket: answer not understood");
		if (rc == 0)
			*status = (int)v;
	} else {
		why = kind == CONTROL_REFUSED ? control_get_text(&m) : NULL;
		rc = ckpt_fail(EPERM, "%s: refused by the process that has it mounted: %s", store,
				why != NULL ? why : "no reason given");
	}
	control_msg_release(&m);
	return rc;
}

int control_run(struct cli *c, const char *store, const struct target *targets, size_t n, unsigned need,
		int *status)
{
	struct control_msg m;
	int fds[CONTROL_FDS], cwd, sock = -1, rc;

	rc = connect_to(store, &sock);
	if (rc != 0)
		return rc;
	/* A directory that the owner holds open cannot be unmounted: pass ours only where it is needed. */
	cwd = open(need & CLI_HOST ? "." : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (cwd < 0) {
		rc = ckpt_fail(errno, "working directory: %s", strerror(errno));
		goto close_sock;
	}
	control_msg_init(&m);
	rc = put_request(&m, c, targets, n, need);
	if (rc != 0)
		goto release;
	fflush(c->out);
	fflush(c->err);
	fds[0] = c->in_fd;
	fds[1] = STDOUT_FILENO;
	fds[2] = STDERR_FILENO;
	fds[3] = cwd;
	rc = control_send(sock, CONTROL_REQUEST, &m, fds, CONTROL_FDS);
	/* It may have refused us without reading: its reason is there to be read. */
	if (rc != 0 && rc != -EPIPE && rc != -ECONNRESET)
		goto release;
	rc = wait_for_answer(c, sock, store);
	if (rc == 0)
		rc = read_answer(sock, store, status);
release:
	control_msg_release(&m);
	close(cwd);
close_sock:
	close(sock);
	return rc;
}
