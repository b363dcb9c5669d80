/*
 * daemon.c: fork, wait until ready, sd_notify(3), and a daemon's manners.
 *
 * The pipe carries one byte, written when the tree is served.  Its end without a byte means that the child is
 * gone, and its exit status says why; so a child that is killed is noticed too.
 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "cli.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57 /* Linux 5.6 */
#endif

static int wait_for_child(int fd, pid_t pid)
{
	char byte;
	ssize_t n;
	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return CLI_DONE;

	int status = 0;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return CLI_FAILED;
	}
	if (WIFEXITED(status))
		return WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : CLI_FAILED;
	fprintf(stderr, "ckptfs mount: the daemon ended by signal %d (%s) before it was ready\n", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	return CLI_FAILED;
}

/*
 * What a shell script has open (the lock of `flock 9`, a log on another mount) must not stay so for as long as a
 * mount lives.  Nothing of ours is open yet but the pipe.
 */
static void drop_inherited(int keep)
{
	if (keep > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, (unsigned)keep - 1, 0);
	close_range((unsigned)keep + 1, ~0U, 0);
}

int daemon_fork(struct daemon *d, int *status)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		return ckpt_fail(errno, "starting the daemon: pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid < 0) {
		int err = errno;
		close(ends[0]);
		close(ends[1]);
		return ckpt_fail(err, "starting the daemon: fork: %s", strerror(err));
	}
	if (pid > 0) {
		close(ends[1]);
		*status = wait_for_child(ends[0], pid);
		close(ends[0]);
		return 1;
	}
	close(ends[0]);
	d->fd = ends[1];
	drop_inherited(d->fd);
	setsid();
	if (chdir("/") != 0)
		return ckpt_fail(errno, "starting the daemon: chdir: %s", strerror(errno));
	return 0;
}

/* The protocol of sd_notify(3): one datagram to the socket in $NOTIFY_SOCKET; '@' begins an abstract name. */
static void notify_systemd(const char *state)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	if (name == NULL || (name[0] != '/' && name[0] != '@'))
		return;
	size_t len = strlen(name);
	if (len >= sizeof(to.sun_path)) {
		ckpt_log(LOG_WARNING, "$NOTIFY_SOCKET is too long: '%s'", name);
		return;
	}
	memcpy(to.sun_path, name, len);
	if (name[0] == '@')
		to.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		ckpt_log(LOG_WARNING, "telling systemd: '%s': %s", name, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static int drop_standard_streams(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return ckpt_fail(errno, "opening '/dev/null': %s", strerror(errno));
	int rc = 0;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (dup2(null, fd) < 0)
			rc = ckpt_fail(errno, "closing the standard streams: %s", strerror(errno));
	close(null);
	return rc;
}

int daemon_ready(struct daemon *d)
{
	char text[64];
	int rc = 0;
	if (d->fd >= 0) {
		ckpt_log_to_syslog();
		rc = drop_standard_streams();
		if (rc == 0 && write(d->fd, "R", 1) != 1)
			rc = ckpt_fail(errno, "telling the parent that the daemon is ready: %s", strerror(errno));
		close(d->fd);
		d->fd = -1;
	}
	if (rc < 0)
		return rc;
	snprintf(text, sizeof(text), "READY=1\nMAINPID=%ld", (long)getpid());
	notify_systemd(text);
	return 0;
}

void daemon_stopping(void)
{
	notify_systemd("STOPPING=1");
}

void daemon_harden(void)
{
	/*
	 * Both need CAP_SYS_RESOURCE, which root of a container often lacks, and both are inherited by
	 * threads.
	 */
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = write(fd, "-500", 4);
		(void)n;
		close(fd);
	}
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	/*
	 * Chunks come and go by the hundred a second.  By default each goes back to the kernel when it is freed
	 * and is faulted in again for the next: a tenth of the processor time of saving and reading.  Fewer
	 * arenas hold less meanwhile.
	 */
	mallopt(M_MMAP_THRESHOLD, 8 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	mallopt(M_ARENA_MAX, 2);
	umask(0); /* modes are what the caller and the kernel made of them */
}
