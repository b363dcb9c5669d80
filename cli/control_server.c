/*
 * control_server.c: the owner's ear.  One thread waits for clients and watches those it has for hanging up; each client's
 * command runs in a thread of its own.
 *
 * Life of a client:
 *
 *   accept -> thread: credentials, request (10 s at most), command, answer -> finished -> joined by the waiting thread
 *                                      ^ cancelled when the client hangs up or the server stops
 *
 * All threads here block every signal: those are the daemon's, and SIGPIPE of a client's pipe must not end it.
 */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "cli.h"
#include "format.h"
#include "fs/mount_table.h"
#include "target.h"

enum { HANDSHAKE_SECONDS = 10 };

struct client {
	struct control_server *server;
	struct client *next;
	int sock;
	pthread_t thread;
	struct cli cli;
	bool gone;            /* the waiting thread's: hung up, no longer watched */
	atomic_bool finished; /* the thread has nothing more to do */
};

struct control_server {
	struct fs *fs;
	char *mountpoint;
	int dir_fd, listen_fd, wake_fd; /* wake_fd: an eventfd; a client finished, or stop */
	pthread_t thread;
	atomic_bool stop;
	struct client *clients; /* the waiting thread's alone */
	unsigned nclients;
};

/* --- one client ----------------------------------------------------------------------------------- */

static void refuse(int sock, const char *why)
{
	struct control_msg m;

	control_msg_init(&m);
	control_put_text(&m, why);
	(void)control_send(sock, CONTROL_REFUSED, &m, NULL, 0);
	control_msg_release(&m);
}

/* A request, taken apart. Texts point into the message. */
struct request {
	unsigned need, umask, flags;
	int argc;
	char **argv; /* copies: getopt permutes the array, and commands may write into words */
	struct target *told;
	size_t ntold;
	struct zone *zone;
};

static void request_release(struct request *r)
{
	for (int i = 0; r->argv != NULL && i < r->argc; i++)
		free(r->argv[i]);
	free(r->argv);
	targets_free(r->told, r->ntold);
	free(r->zone);
}

static char *copy_text(struct control_msg *m)
{
	const char *s = control_get_text(m);
	char *copy = s != NULL ? strdup(s) : NULL;

	if (copy == NULL && m->error == 0)
		m->error = s == NULL ? -EPROTO : -ENOMEM;
	return copy;
}

static int request_read(struct control_msg *m, struct request *r)
{
	uint32_t n;

	*r = (struct request){ 0 };
	r->need = control_get_u32(m);
	r->umask = control_get_u32(m) & 0777;
	r->flags = control_get_u32(m);
	n = control_get_u32(m);
	if (m->error != 0 || n == 0 || n > CONTROL_WORDS_MAX)
		goto bad;
	r->argv = calloc((size_t)n + 1, sizeof(*r->argv));
	if (r->argv == NULL)
		goto bad;
	for (r->argc = 0; m->error == 0 && (uint32_t)r->argc < n; r->argc++)
		r->argv[r->argc] = copy_text(m);
	n = control_get_u32(m);
	if (m->error != 0 || n > CONTROL_WORDS_MAX)
		goto bad;
	r->told = calloc((size_t)n + 1, sizeof(*r->told));
	if (r->told == NULL)
		goto bad;
	for (r->ntold = 0; m->error == 0 && r->ntold < n; r->ntold++) {
		struct target *t = &r->told[r->ntold];

		t->in_store = control_get_u32(m) != 0;
		t->text = copy_text(m);
		t->path = m->error == 0 ? copy_text(m) : NULL;
	}
	n = control_get_u32(m);
	if (m->error != 0 || n > CONTROL_STEPS_MAX)
		goto bad;
	r->zone = calloc(1, sizeof(*r->zone) + n * sizeof(r->zone->step[0]));
	if (r->zone == NULL)
		goto bad;
	r->zone->n = n;
	for (uint32_t i = 0; i < n; i++) {
		r->zone->step[i].from = (int64_t)control_get_u64(m);
		r->zone->step[i].offset = (int32_t)control_get_u32(m);
	}
	if (m->error == 0)
		return 0;
bad:
	request_release(r);
	*r = (struct request){ 0 };
	return m->error == -EPROTO ? -EPROTO : m->error == 0 ? -EPROTO : m->error;
}

/* Which device is our own mount?  Asked of the kernel's table: a stat would be a request to ourselves. */
static dev_t own_device(const struct control_server *s)
{
	struct fs_mount_entry e;
	dev_t dev = 0;

	if (s->mountpoint[0] != '\0' && fs_mount_find(s->mountpoint, &e) == 1) {
		dev = makedev(e.major, e.minor);
		fs_mount_entry_release(&e);
	}
	return dev;
}

static int carry_out(struct client *k, struct request *r, const struct cli_command *command, const int *fds,
		const struct ucred *peer)
{
	struct cli *c = &k->cli;
	int status;

	c->name = command->name;
	c->command = command;
	c->argc = r->argc;
	c->argv = r->argv;
	c->in_fd = fds[0];
	c->cwd_fd = fds[3];
	c->colour = (r->flags & CONTROL_COLOUR) != 0;
	c->zone = r->zone;
	c->umask = (mode_t)r->umask;
	c->uid = peer->uid;
	c->gid = peer->gid;
	c->fs = k->server->fs;
	c->served = true;
	c->own_dev = own_device(k->server);
	c->told = r->told;
	c->ntold = r->ntold;
	if (cli_streams_open(c, fds[1], fds[2]) != 0)
		return CLI_FAILED;
	status = cli_run(c);
	if (cli_cancelled(c) && atomic_load(&k->server->stop))
		status = cli_worse(status, cli_warn(c, "stopped: the store is being unmounted"));
	cli_streams_close(c);
	return status;
}

/* Reads the request and says why it is not carried out, or NULL with everything set. */
static const char *receive(struct client *k, struct request *r, const struct cli_command **command, int *fds,
		size_t *nfds, struct ucred *peer)
{
	struct timeval limit = { .tv_sec = HANDSHAKE_SECONDS };
	socklen_t len = sizeof(*peer);
	enum control_kind kind;
	struct control_msg m;
	int rc;

	if (getsockopt(k->sock, SOL_SOCKET, SO_PEERCRED, peer, &len) != 0)
		return "who asks is not known";
	if (peer->uid != geteuid() && peer->uid != 0)
		return "only the user who mounted it, and root, may";
	setsockopt(k->sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(k->sock, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	rc = control_receive(k->sock, &kind, &m, fds, nfds);
	if (rc != 0) {
		*nfds = 0;
		return rc == -EPROTONOSUPPORT ? "client and owner are of different versions; use the ckptfs "
						"that made the mount, or mount anew"
					      : "request not understood";
	}
	rc = kind == CONTROL_REQUEST ? request_read(&m, r) : -EPROTO;
	control_msg_release(&m);
	if (rc != 0)
		return rc == -ENOMEM ? "out of memory" : "request not understood";
	if (*nfds != CONTROL_FDS)
		return "request without its descriptors";
	*command = cli_find(r->argv[0]);
	if (*command == NULL || !(*command)->served)
		return "no such command here";
	if ((r->need & CLI_HOST) && peer->uid != geteuid())
		return "it would read and write files of this machine with the rights of the user who "
		       "mounted it; run the command as that user";
	return NULL;
}

static void *client_main(void *arg)
{
	struct client *k = arg;
	struct request r = { 0 };
	struct control_msg m;
	struct ucred peer;
	const struct cli_command *command = NULL;
	int fds[CONTROL_FDS];
	size_t nfds = CONTROL_FDS;
	const char *why = receive(k, &r, &command, fds, &nfds, &peer);

	if (why == NULL) {
		int status = carry_out(k, &r, command, fds, &peer);

		control_msg_init(&m);
		control_put_u32(&m, (uint32_t)status);
		(void)control_send(k->sock, CONTROL_STATUS, &m, NULL, 0);
		control_msg_release(&m);
	} else {
		refuse(k->sock, why);
	}
	request_release(&r);
	while (nfds > 0)
		close(fds[--nfds]);
	atomic_store(&k->finished, true);
	eventfd_write(k->server->wake_fd, 1);
	return NULL;
}

/* --- the waiting thread --------------------------------------------------------------------------- */

static int thread_without_signals(pthread_t *t, void *(*fn)(void *), void *arg)
{
	sigset_t all, before;
	int e;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	e = pthread_create(t, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -e;
}

static void take_client(struct control_server *s)
{
	int sock = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct client *k;

	if (sock < 0)
		return;
	k = s->nclients < CONTROL_CLIENTS ? calloc(1, sizeof(*k)) : NULL;
	if (k == NULL) {
		refuse(sock, "too many commands at once");
		close(sock);
		return;
	}
	k->server = s;
	k->sock = sock;
	if (thread_without_signals(&k->thread, client_main, k) != 0) {
		refuse(sock, "no thread for it");
		close(sock);
		free(k);
		return;
	}
	k->next = s->clients;
	s->clients = k;
	s->nclients++;
}

static void join_finished(struct control_server *s, bool all)
{
	struct client **at = &s->clients, *k;

	while ((k = *at) != NULL) {
		if (!all && !atomic_load(&k->finished)) {
			at = &k->next;
			continue;
		}
		pthread_join(k->thread, NULL);
		close(k->sock);
		*at = k->next;
		s->nclients--;
		free(k);
	}
}

static void *server_main(void *arg)
{
	struct control_server *s = arg;
	struct pollfd p[2 + CONTROL_CLIENTS];
	struct client *of[2 + CONTROL_CLIENTS];

	while (!atomic_load(&s->stop)) {
		nfds_t n = 2;

		p[0] = (struct pollfd){ .fd = s->listen_fd, .events = POLLIN };
		p[1] = (struct pollfd){ .fd = s->wake_fd, .events = POLLIN };
		for (struct client *k = s->clients; k != NULL; k = k->next) {
			if (k->gone)
				continue;
			of[n] = k;
			p[n++] = (struct pollfd){ .fd = k->sock, .events = POLLRDHUP };
		}
		if (poll(p, n, -1) < 0 && errno != EINTR) {
			ckpt_log(LOG_ERR, "control socket: %s", strerror(errno));
			break;
		}
		for (nfds_t i = 2; i < n; i++) {
			if (p[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) {
				of[i]->gone = true;
				atomic_store(&of[i]->cli.cancel, -1);
			}
		}
		if (p[1].revents & POLLIN) {
			eventfd_t v;

			(void)eventfd_read(s->wake_fd, &v);
		}
		join_finished(s, false);
		if (p[0].revents & POLLIN)
			take_client(s);
	}
	for (struct client *k = s->clients; k != NULL; k = k->next) {
		atomic_store(&k->cli.cancel, -1);
		shutdown(k->sock, SHUT_RD);
	}
	join_finished(s, true);
	return NULL;
}

/* --- start and stop ------------------------------------------------------------------------------- */

static int listen_in(int dir_fd, const char *store, int *out)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	/* Not blocking: a client may be gone between poll and accept. */
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc;

	if (sock < 0)
		return ckpt_fail(errno, "control socket: %s", strerror(errno));
	if (unlinkat(dir_fd, "control", 0) != 0 && errno != ENOENT) {
		rc = ckpt_fail(errno, "%s/control: %s", store, strerror(errno));
		goto fail;
	}
	/* Through the directory's descriptor: an address has room for 107 bytes only. */
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/control", dir_fd);
	if (bind(sock, (const struct sockaddr *)&a, sizeof(a)) != 0 ||
			fchmodat(dir_fd, "control", 0600, 0) != 0 || listen(sock, CONTROL_CLIENTS) != 0) {
		rc = ckpt_fail(errno, "%s/control: %s", store, strerror(errno));
		goto fail;
	}
	*out = sock;
	return 0;
fail:
	close(sock);
	return rc;
}

int control_server_start(struct fs *fs, const char *mountpoint, struct control_server **out)
{
	const char *store = store_path(fs_store(fs));
	struct control_server *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return ckpt_fail(ENOMEM, "control socket: out of memory");
	s->fs = fs;
	s->mountpoint = strdup(mountpoint != NULL ? mountpoint : "");
	if (s->mountpoint == NULL) {
		rc = ckpt_fail(ENOMEM, "control socket: out of memory");
		goto free_server;
	}
	s->dir_fd = open(store, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0) {
		rc = ckpt_fail(errno, "%s: %s", store, strerror(errno));
		goto free_mountpoint;
	}
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0) {
		rc = ckpt_fail(errno, "control socket: eventfd: %s", strerror(errno));
		goto close_dir;
	}
	rc = listen_in(s->dir_fd, store, &s->listen_fd);
	if (rc != 0)
		goto close_wake;
	rc = thread_without_signals(&s->thread, server_main, s);
	if (rc != 0) {
		rc = ckpt_fail(-rc, "control socket: no thread: %s", strerror(-rc));
		goto close_listen;
	}
	*out = s;
	return 0;

close_listen:
	close(s->listen_fd);
	unlinkat(s->dir_fd, "control", 0);
close_wake:
	close(s->wake_fd);
close_dir:
	close(s->dir_fd);
free_mountpoint:
	free(s->mountpoint);
free_server:
	free(s);
	return rc;
}

void control_server_stop(struct control_server *s)
{
	if (s == NULL)
		return;
	/* The name goes first: who comes now waits for the lock instead of being cut off. */
	unlinkat(s->dir_fd, "control", 0);
	atomic_store(&s->stop, true);
	eventfd_write(s->wake_fd, 1);
	pthread_join(s->thread, NULL);
	close(s->listen_fd);
	close(s->wake_fd);
	close(s->dir_fd);
	free(s->mountpoint);
	free(s);
}
