/*
 * fuse_notify.c: telling the kernel what changed behind its back.
 *
 * The kernel caches names, attributes and data for as long as it likes (fs_fuse.c gives it a year), since
 * nearly every change goes through it.  The others (a command on the mounted store, a session that was
 * thrown away) arrive here through fs_set_notify().
 *
 * A notification can block: dropping pages waits for the reads under way on them, and those reads are requests
 * for our worker threads.  Were it sent from a worker, or from a caller that holds a lock that a worker needs,
 * the mount would hang.  So there is a queue without a limit, which nobody has to wait for, and one thread that
 * does nothing else and holds no lock while it sends.
 *
 * One kind may not come late: a save that was given up takes the name of a new file away, and whoever waited
 * for the writer to die must not find it.  So the answer to the close waits for what it had to post (settle), a
 * second at the most, since the kernel may hold the directory for somebody whose request waits for a thread of
 * ours.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "codec/ckpt_error.h"
#include "codec/ckpt_wait.h"
#include "fuse_internal.h"

struct note {
	struct note *next;
	uint64_t ino;
	size_t len;     /* 0: the inode itself */
	char name[];    /* of an entry of directory ino */
};

enum { SETTLE_SECONDS = 1 };

/* The number of the note that this thread posted last; 0 none since it settled. */
static _Thread_local uint64_t last_posted;

struct fuse_notifier {
	struct fuse_session *se;
	pthread_t thread;
	bool running;            /* the thread is to be joined; only start and stop touch it */
	pthread_mutex_t lock;    /* guards what follows; a leaf, nothing is called with it held */
	pthread_cond_t wake;
	pthread_cond_t gone;     /* sent moved, for those who settle */
	struct note *first, *last;
	uint64_t posted, sent;   /* how many */
	bool stopping;
};

static void free_notes(struct note *n)
{
	while (n != NULL) {
		struct note *next = n->next;
		free(n);
		n = next;
	}
}

static void send_note(struct fuse_session *se, const struct note *n)
{
	int rc;
	if (n->len > 0)
		rc = fuse_lowlevel_notify_inval_entry(se, n->ino, n->name, n->len);
	else
		rc = fuse_lowlevel_notify_inval_inode(se, n->ino, 0, 0); /* attributes, and data to the end */

	/* ENOENT: the kernel does not know the inode or name, so there was nothing to forget. */
	if (rc < 0 && rc != -ENOENT && rc != -ENOTCONN && rc != -ENODEV && rc != -EBADF)
		ckpt_log(LOG_WARNING, "telling the kernel of a change to inode %llu: %s", (unsigned long long)n->ino,
				strerror(-rc));
}

static void *notify_loop(void *arg)
{
	struct fuse_notifier *n = arg;
	pthread_mutex_lock(&n->lock);
	for (;;) {
		while (n->first == NULL && !n->stopping)
			pthread_cond_wait(&n->wake, &n->lock);
		if (n->stopping)
			break;
		struct note *note = n->first;
		n->first = note->next;
		if (n->first == NULL)
			n->last = NULL;
		pthread_mutex_unlock(&n->lock);
		send_note(n->se, note);
		free(note);
		pthread_mutex_lock(&n->lock);
		n->sent++;
		pthread_cond_broadcast(&n->gone);
	}
	pthread_cond_broadcast(&n->gone);
	pthread_mutex_unlock(&n->lock);
	return NULL;
}

int fuse_notifier_start(struct fuse_session *se, struct fuse_notifier **out)
{
	struct fuse_notifier *n = calloc(1, sizeof(*n));
	pthread_condattr_t monotonic;
	if (n == NULL)
		return ckpt_fail(ENOMEM, "starting the notifier: out of memory");
	n->se = se;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&n->gone, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->wake, NULL);
	int err = pthread_create(&n->thread, NULL, notify_loop, n);
	if (err != 0) {
		fuse_notifier_free(n);
		return ckpt_fail(err, "starting the notifier's thread: %s", strerror(err));
	}
	n->running = true;
	*out = n;
	return 0;
}

static bool same_note(const struct note *a, const struct note *b)
{
	return a->ino == b->ino && a->len == b->len && memcmp(a->name, b->name, a->len) == 0;
}

void fuse_notifier_post(void *notifier, uint64_t ino, const char *name, size_t len)
{
	struct fuse_notifier *n = notifier;
	if (name == NULL)
		len = 0;
	struct note *note = len < SIZE_MAX - sizeof(*note) ? malloc(sizeof(*note) + len + 1) : NULL;
	if (note == NULL) {
		ckpt_log(LOG_WARNING, "out of memory: the kernel may go on showing the old state of inode %llu",
				(unsigned long long)ino);
		return;
	}
	note->next = NULL;
	note->ino = ino;
	note->len = len;
	if (len > 0)
		memcpy(note->name, name, len);
	note->name[len] = '\0';

	pthread_mutex_lock(&n->lock);
	if (n->stopping || (n->last != NULL && same_note(n->last, note))) {
		last_posted = n->posted;
		pthread_mutex_unlock(&n->lock);
		free(note);
		return;
	}
	if (n->last != NULL)
		n->last->next = note;
	else
		n->first = note;
	n->last = note;
	last_posted = ++n->posted;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
}

void fuse_notifier_settle(struct fuse_notifier *n)
{
	uint64_t mine = last_posted;
	struct timespec until;

	if (mine == 0)
		return;
	last_posted = 0;
	ckpt_will_wait(); /* what we wait for may need somebody to serve requests */
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += SETTLE_SECONDS;
	pthread_mutex_lock(&n->lock);
	while (n->sent < mine && !n->stopping)
		if (pthread_cond_timedwait(&n->gone, &n->lock, &until) == ETIMEDOUT)
			break;
	pthread_mutex_unlock(&n->lock);
}

void fuse_notifier_stop(struct fuse_notifier *n)
{
	pthread_mutex_lock(&n->lock);
	n->stopping = true;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
	if (n->running)
		pthread_join(n->thread, NULL);
	n->running = false;
}

void fuse_notifier_free(struct fuse_notifier *n)
{
	if (n == NULL)
		return;
	free_notes(n->first);
	pthread_cond_destroy(&n->gone);
	pthread_cond_destroy(&n->wake);
	pthread_mutex_destroy(&n->lock);
	free(n);
}
