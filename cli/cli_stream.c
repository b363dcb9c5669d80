/*
 * cli_stream.c: the streams that a command prints to.
 *
 * In the process the user started they are its standard output and standard error.  In the owner of a mounted store they are
 * descriptors that a client passed, and whatever is at their other end may stop reading for good while the owner has
 * to go on and, one day, to unmount.  So a served command never blocks in write(2): it polls, in slices in
 * which it looks at the cancel flag, and writes to a pipe only as much as poll(2) promises to fit (one page; pipe(7)).  O_NONBLOCK
 * is no way: it belongs to the open file description, which the client and its shell share.
 */
#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLICE_MS = 200, PIPE_ROOM = 4096, BUFFER = 1 << 16 };

struct stream {
	struct cli *c;
	int fd;
	bool careful; /* may block for ever: poll first */
	bool socket;
	bool is_out;
};

/* How many bytes went out, or -1 with errno. */
static ssize_t write_some(struct stream *s, const char *p, size_t n)
{
	if (!s->careful)
		return write(s->fd, p, n);
	for (;;) {
		struct pollfd pf = { .fd = s->fd, .events = POLLOUT };
		int k = poll(&pf, 1, SLICE_MS);

		if (k > 0)
			break;
		if (k < 0 && errno != EINTR)
			return -1;
		if (cli_cancelled(s->c)) {
			errno = EPIPE;
			return -1;
		}
	}
	if (s->socket)
		return send(s->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	return write(s->fd, p, n > PIPE_ROOM ? PIPE_ROOM : n);
}

static ssize_t stream_write(void *cookie, const char *p, size_t n)
{
	struct stream *s = cookie;
	size_t done = 0;

	while (done < n) {
		ssize_t k = write_some(s, p + done, n - done);

		if (k < 0 && (errno == EINTR || errno == EAGAIN)) {
			if (!cli_cancelled(s->c))
				continue;
			errno = EPIPE;
		}
		if (k < 0) {
			if (s->is_out)
				atomic_store(&s->c->out_error, errno);
			/* fopencookie(3): an error is told as 0, not -1. */
			return 0;
		}
		done += (size_t)k;
	}
	return (ssize_t)n;
}

static int stream_close(void *cookie)
{
	free(cookie);
	return 0;
}

static FILE *stream_open(struct cli *c, int fd, bool is_out)
{
	struct stream *s = calloc(1, sizeof(*s));
	struct stat st;
	FILE *f;

	if (s == NULL)
		return NULL;
	s->c = c;
	s->fd = fd;
	s->is_out = is_out;
	if (c->served && fstat(fd, &st) == 0) {
		s->socket = S_ISSOCK(st.st_mode);
		s->careful = s->socket || S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode);
	}
	f = fopencookie(s, "w", (cookie_io_functions_t){ .write = stream_write, .close = stream_close });
	if (f == NULL) {
		free(s);
		return NULL;
	}
	setvbuf(f, NULL, _IOFBF, BUFFER);
	return f;
}

int cli_streams_open(struct cli *c, int out_fd, int err_fd)
{
	struct winsize w;

	c->out_tty = isatty(out_fd) == 1;
	c->err_tty = isatty(err_fd) == 1;
	c->width = 80;
	if (ioctl(c->out_tty ? out_fd : err_fd, TIOCGWINSZ, &w) == 0 && w.ws_col >= 20)
		c->width = w.ws_col;
	c->out = stream_open(c, out_fd, true);
	if (c->out == NULL)
		return ckpt_fail(ENOMEM, "streams: out of memory");
	c->err = stream_open(c, err_fd, false);
	if (c->err == NULL) {
		fclose(c->out);
		c->out = NULL;
		return ckpt_fail(ENOMEM, "streams: out of memory");
	}
	return 0;
}

void cli_streams_close(struct cli *c)
{
	if (c->out != NULL)
		fclose(c->out);
	if (c->err != NULL)
		fclose(c->err);
	c->out = c->err = NULL;
}

bool cli_stopped(struct cli *c)
{
	return cli_cancelled(c) || atomic_load_explicit(&c->out_error, memory_order_relaxed) != 0;
}
