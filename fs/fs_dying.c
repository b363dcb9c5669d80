/*
 * fs_dying.c: who closed, and was it dying?
 *
 * The FLUSH of a descriptor carries the id of the closing thread, also when the kernel closes it for a process that ends,
 * and that process waits for the reply.  So while a FLUSH is served /proc/TID/stat still tells what is happening to the
 * closer, in the kernel's task flags (include/linux/sched.h), field 9 as proc(5) counts:
 *
 *   neither bit                  close(2), dup2(2), exec: an ordinary close
 *   PF_EXITING                   the process ends without having closed
 *   PF_EXITING and PF_SIGNALED   a signal killed it
 *   PF_KTHREAD, or thread 0      kernels from 6.2 on may send the FLUSH of an exiting process from a work queue
 *
 * But that file must not be read blindly.  exec closes the descriptors that are marked so while it holds the task's
 * exec_update_lock, waiting for our reply; newer kernels (seen on 6.18) take that lock to write /proc/TID/stat, and both would
 * wait for ever.  A task that execs has memory, and one that ends has given it up before its files: /proc/TID/statm,
 * which takes no such lock, begins with 0 for the latter and for kernel threads, and only then stat is asked.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs_internal.h"

#define TASK_EXITING 0x00000004ul
#define TASK_SIGNALED 0x00000400ul
#define TASK_KTHREAD 0x00200000ul

enum { STAT_FLAGS = 9 };  /* field of /proc/PID/stat, the first being 1 */

/* The beginning of /proc/PID/FILE as text. Returns its length or -errno. */
static ssize_t read_proc(pid_t pid, const char *file, char *buf, size_t cap)
{
	char path[64];
	ssize_t n;
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {
		n = read(fd, buf, cap - 1);
	} while (n < 0 && errno == EINTR);
	err = errno;
	close(fd);
	if (n < 0)
		return -err;
	buf[n] = '\0';
	return n;
}

/* Has this thread no memory (any more)? 1 so it is, 0, -errno. */
static int has_no_memory(pid_t pid)
{
	char text[64];
	ssize_t n = read_proc(pid, "statm", text, sizeof(text));

	if (n < 0)
		return (int)n;
	return n >= 2 && text[0] == '0' && text[1] == ' ';
}

/* The task flags in the text of a stat file; false when it is not one. */
static bool task_flags(const char *text, unsigned long *flags)
{
	/* Field 2 is the program's name in parentheses and may hold anything, spaces and parentheses too. */
	const char *p = strrchr(text, ')');
	char *end;

	if (!p)
		return false;
	p++;
	for (int field = 3; field < STAT_FLAGS; field++) {
		while (*p == ' ')
			p++;
		while (*p != '\0' && *p != ' ')
			p++;
	}
	errno = 0;
	*flags = strtoul(p, &end, 10);
	return end != p && errno == 0;
}

static enum fs_life life_of(pid_t pid)
{
	char text[1024];
	unsigned long flags;
	int rc;

	if (pid <= 0)
		return FS_UNSEEN;
	rc = has_no_memory(pid);
	if (rc == 0)
		return FS_ALIVE;
	if (rc > 0)
		rc = (int)read_proc(pid, "stat", text, sizeof(text));
	if (rc < 0) {
		/* Gone, or hidden from us (hidepid=2, no /proc): what can't be seen dying closes like everybody else. */
		return kill(pid, 0) < 0 && errno == ESRCH ? FS_EXITING : FS_ALIVE;
	}
	if (!task_flags(text, &flags))
		return FS_ALIVE;
	if (flags & TASK_KTHREAD)
		return FS_UNSEEN;
	if (!(flags & TASK_EXITING))
		return FS_ALIVE;
	return flags & TASK_SIGNALED ? FS_KILLED : FS_EXITING;
}

static pid_t group_of(pid_t pid)
{
	char text[2048];
	const char *p;

	if (pid <= 0 || read_proc(pid, "status", text, sizeof(text)) < 0)
		return 0;
	/* The first line holds the program's name, in which a newline is escaped: a line that begins so is the field. */
	p = strstr(text, "\nTgid:");
	return p ? (pid_t)strtol(p + 6, NULL, 10) : 0;
}

const struct fs_proc fs_proc_linux = { .life = life_of, .group = group_of };
