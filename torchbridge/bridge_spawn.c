/*
 * bridge_spawn.c: see bridge_spawn.h.
 */
#include "bridge_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bridge_wire.h"
#include "codec/ckpt_error.h"

enum { KILL_MS = 5000, ENV_MAX = 32, FD_FROM = 16 };

extern char **environ;

static const char how_to_get_it[] = "install ckptfs-bridge beside ckptfs (`make bridge`, which needs "
				    "libtorch), or set CKPTFS_BRIDGE to its path";

void bridge_helper_init(struct bridge_helper *h)
{
	*h = (struct bridge_helper){ .socket = -1 };
}

/* ---- which program ---- */

static bool is_program(const char *path)
{
	return access(path, X_OK) == 0;
}

/* Beside this program; false when it is not there. */
static bool find_beside(char *out, size_t room)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n <= 0)
		return false;
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (slash == NULL)
		return false;
	*slash = '\0';
	return snprintf(out, room, "%s/ckptfs-bridge", self) < (int)room && is_program(out);
}

static bool find_in_path(char *out, size_t room)
{
	const char *at = getenv("PATH");

	while (at != NULL && *at != '\0') {
		size_t n = strcspn(at, ":");

		/* Absolute ones only: what stands in the working directory is a user's. */
		if (*at == '/' && snprintf(out, room, "%.*s/ckptfs-bridge", (int)n, at) < (int)room &&
				is_program(out))
			return true;
		at += n + (at[n] == ':');
	}
	return false;
}

static int find_program(const char *given, char *out, size_t room)
{
	if (given == NULL)
		given = getenv("CKPTFS_BRIDGE");
	if (given != NULL && *given != '\0') {
		if (snprintf(out, room, "%s", given) < (int)room && is_program(out))
			return 0;
		return ckpt_fail(ENOSYS, "no program '%s': %s", given, how_to_get_it);
	}
	if (find_beside(out, room) || find_in_path(out, room))
		return 0;
	return ckpt_fail(ENOSYS, "this needs libtorch: %s", how_to_get_it);
}

/* ---- start ---- */

/* What of the environment it gets: env has room for ENV_MAX. Borrows environ's strings. */
static void pick_environment(char **env)
{
	static const char *const kept[] = { "PATH=", "LD_LIBRARY_PATH=", "CUDA_", "NVIDIA_", "LANG=", "TZ=" };
	static char threads[] = "OMP_NUM_THREADS=1";
	size_t n = 0;

	env[n++] = threads;
	for (char **e = environ; *e != NULL && n < ENV_MAX - 1; e++)
		for (size_t k = 0; k < sizeof(kept) / sizeof(kept[0]); k++)
			if (strncmp(*e, kept[k], strlen(kept[k])) == 0) {
				env[n++] = *e;
				break;
			}
	env[n] = NULL;
}

/* The memory that is shared; sealed, so that neither side can make the other's accesses fail. */
static int make_memory(uint8_t **memory)
{
	int low = memfd_create("ckptfs-bridge", MFD_CLOEXEC | MFD_ALLOW_SEALING), fd;
	void *p;

	if (low < 0)
		return ckpt_fail(errno, "bridge: memfd: %s", strerror(errno));
	fd = fcntl(low, F_DUPFD_CLOEXEC, FD_FROM);
	close(low);
	if (fd < 0)
		return ckpt_fail(errno, "bridge: memfd: %s", strerror(errno));
	if (ftruncate(fd, BRIDGE_WIRE_MEMORY) != 0 ||
			fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
		int err = errno;

		close(fd);
		return ckpt_fail(err, "bridge: memfd: %s", strerror(err));
	}
	p = mmap(NULL, BRIDGE_WIRE_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		close(fd);
		return ckpt_fail(ENOMEM, "bridge: out of memory");
	}
	*memory = p;
	return fd;
}

/* Both ends lie above the numbers that the helper gets them under. */
static int make_sockets(int out[2])
{
	int low[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, low) != 0)
		return ckpt_fail(errno, "bridge: socketpair: %s", strerror(errno));
	out[0] = fcntl(low[0], F_DUPFD_CLOEXEC, FD_FROM);
	out[1] = fcntl(low[1], F_DUPFD_CLOEXEC, FD_FROM);
	close(low[0]);
	close(low[1]);
	if (out[0] >= 0 && out[1] >= 0)
		return 0;
	if (out[0] >= 0)
		close(out[0]);
	if (out[1] >= 0)
		close(out[1]);
	return ckpt_fail(EMFILE, "bridge: out of descriptors");
}

/* A positive errno, as posix_spawn gives it. */
static int spawn(const char *path, const char *device, int socket, int memory, pid_t *pid)
{
	char name[] = "ckptfs-bridge", of[BRIDGE_WIRE_DEVICE], *argv[] = { name, NULL, NULL }, *env[ENV_MAX];
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none, all;
	int err;

	if (device[0] != '\0') {
		snprintf(of, sizeof(of), "%s", device);
		argv[1] = of;
	}
	pick_environment(env);
	sigemptyset(&none);
	sigfillset(&all);
	err = posix_spawn_file_actions_init(&fa);
	if (err != 0)
		return err;
	err = posix_spawnattr_init(&at);
	if (err != 0)
		goto destroy_actions;
	for (int fd = 0; fd < 3 && err == 0; fd++)
		err = posix_spawn_file_actions_addopen(
				&fa, fd, "/dev/null", fd == 0 ? O_RDONLY : O_WRONLY, 0);
	err = err ? err : posix_spawn_file_actions_adddup2(&fa, socket, BRIDGE_WIRE_SOCKET);
	err = err ? err : posix_spawn_file_actions_adddup2(&fa, memory, BRIDGE_WIRE_MEMFD);
	err = err ? err : posix_spawn_file_actions_addclosefrom_np(&fa, BRIDGE_WIRE_MEMFD + 1);
	err = err ? err : posix_spawnattr_setsigmask(&at, &none);
	err = err ? err : posix_spawnattr_setsigdefault(&at, &all);
	err = err ? err : posix_spawnattr_setpgroup(&at, 0);
	err = err ? err
		  : posix_spawnattr_setflags(&at,
				    POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	err = err ? err : posix_spawn(pid, path, &fa, &at, argv, env);
	posix_spawnattr_destroy(&at);
destroy_actions:
	posix_spawn_file_actions_destroy(&fa);
	return err;
}

/* Waits for those that would not go; how many are left. */
static unsigned bury(struct bridge_helper *h)
{
	unsigned left = 0;

	for (unsigned i = 0; i < BRIDGE_DYING_MAX; i++) {
		if (h->dying[i] > 0 && waitpid(h->dying[i], NULL, WNOHANG) != 0)
			h->dying[i] = 0;
		left += h->dying[i] > 0;
	}
	return left;
}

int bridge_helper_spawn(struct bridge_helper *h, const char *program, const char *device)
{
	char path[PATH_MAX];
	uint8_t *memory = NULL;
	int ends[2] = { -1, -1 }, fd, err, rc;

	if (bury(h) == BRIDGE_DYING_MAX)
		return ckpt_fail(EIO, "bridge: %d helpers hang and can't be ended", (int)BRIDGE_DYING_MAX);
	rc = find_program(program, path, sizeof(path));
	if (rc != 0)
		return rc;
	rc = make_sockets(ends);
	if (rc != 0)
		return rc;
	fd = make_memory(&memory);
	if (fd < 0) {
		close(ends[0]);
		close(ends[1]);
		return fd;
	}
	err = spawn(path, device, ends[1], fd, &h->pid);
	close(ends[1]);
	close(fd);
	if (err != 0) {
		h->pid = 0;
		close(ends[0]);
		munmap(memory, BRIDGE_WIRE_MEMORY);
		if (err == ENOMEM || err == EAGAIN)
			return ckpt_fail(ENOMEM, "bridge: '%s' can't be started: %s", path, strerror(err));
		return ckpt_fail(ENOSYS, "bridge: '%s' can't be started: %s", path, strerror(err));
	}
	h->socket = ends[0];
	h->memory = memory;
	return 0;
}

/* ---- end ---- */

static void forget(struct bridge_helper *h)
{
	h->pid = 0;
	close(h->socket);
	h->socket = -1;
	munmap(h->memory, BRIDGE_WIRE_MEMORY);
	h->memory = NULL;
}

bool bridge_helper_gone(struct bridge_helper *h)
{
	int status = 0;

	if (h->pid <= 0)
		return true;
	if (waitpid(h->pid, &status, WNOHANG) == 0)
		return false;
	h->status = status;
	forget(h);
	return true;
}

/* True when it has ended by itself or ends within KILL_MS. */
static bool end(pid_t pid, int *status)
{
	struct pollfd pf = { .fd = pidfd_open(pid, 0), .events = POLLIN };
	bool gone = waitpid(pid, status, WNOHANG) != 0;

	if (!gone) {
		kill(pid, SIGKILL);
		if (pf.fd >= 0)
			while (poll(&pf, 1, KILL_MS) < 0 && errno == EINTR)
				;
		gone = waitpid(pid, status, WNOHANG) != 0;
	}
	if (pf.fd >= 0)
		close(pf.fd);
	return gone;
}

void bridge_helper_kill(struct bridge_helper *h)
{
	int status = 0;

	if (h->pid > 0) {
		if (end(h->pid, &status)) {
			h->status = status;
		} else {
			unsigned i = 0;

			/* Since bridge_helper_spawn() there is a place. */
			while (i < BRIDGE_DYING_MAX - 1 && h->dying[i] > 0)
				i++;
			h->dying[i] = h->pid;
			h->status = 0;
		}
		forget(h);
	}
	bury(h);
}

const char *bridge_helper_how(const struct bridge_helper *h)
{
	static _Thread_local char text[40];

	text[0] = '\0';
	if (WIFSIGNALED(h->status))
		snprintf(text, sizeof(text), " by signal %d", WTERMSIG(h->status));
	else if (WIFEXITED(h->status) && WEXITSTATUS(h->status) != 0)
		snprintf(text, sizeof(text), " with status %d", WEXITSTATUS(h->status));
	return text;
}
