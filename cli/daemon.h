/*
 * daemon.h: becoming a daemon, and telling those who wait.
 *
 * The parent forks before anything is opened (threads and SQLite handles do not survive a fork) and waits
 * until the child says that it is ready, or ends.  Until then the child writes its complaints to the same
 * stderr.
 */
#ifndef DAEMON_H
#define DAEMON_H

struct daemon {
	int fd; /* the child's end of the pipe to the waiting parent; -1: nobody waits (foreground) */
};

/*
 * Forks.  In the child: 0; it has a session of its own and "/" as directory.  In the parent, when the child is
 * ready or has ended: 1 and *status, the exit status for it to return. -errno: no child.  The caller flushes
 * its streams before.
 */
int daemon_fork(struct daemon *d, int *status);

/*
 * Tells the parent, and systemd.  When daemonised (d->fd >= 0) standard streams go to /dev/null and the log to
 * syslog first. -EPIPE: the parent is gone, interrupted perhaps: nobody wants this daemon.
 */
int daemon_ready(struct daemon *d);

/* Tells systemd that the end has begun. */
void daemon_stopping(void);

/*
 * Best effort, for a process that other processes' I/O depends on: the OOM killer should look elsewhere first,
 * and memory that we ask for while writing must not wait for writes to ourselves; freed memory is kept for the
 * next chunk.  Before threads are started.
 */
void daemon_harden(void);

#endif
