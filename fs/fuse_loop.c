/*
 * fuse_loop.c: one leader reads, and answers what needs no waiting.
 *
 * Most requests (lookup, getattr, create, a small write) are answered from memory within microseconds, and
 * waking another thread, on another core that has gone to sleep, costs more than that.  So at any time one
 * thread, the leader, reads requests, and answers them itself, one after the other:
 *
 *      leader:    read, answer, read, answer, read ... comes to a place where it may wait --> hands over, waits, answers
 *      follower:  asleep ............................................................ becomes the leader, reads, ...
 *
 * What may wait says so first (codec/ckpt_wait.h): locks that are held over disk accesses when they are
 * taken, a full queue, a sync, a chunk that has to be read.  The handing over is in that hook.  The
 * follower woken is the one that slept last, whose cache is warm; a thread is started when there is none
 * and the limit allows.  A thread that finishes a request and finds no leader (all were busy) becomes it.
 *
 * A large write is answered before its bytes are cut (fs_fuse.c).  The leader then cuts them, while the writer
 * prepares its next one, and goes on leading, unless another request waits already: then a follower takes over.
 *
 * libfuse's own loop has all idle threads read, and the kernel wakes the one that slept longest.
 *
 * Before it sleeps the leader looks out for the next request for up to 40 us, while requests come quickly
 * (loop_pace.h has the rules).  It does not yield between two looks: beside programs that compute, whoever
 * yields comes back after their time slices, milliseconds later, and a short save would take twice as long.
 * That somebody else runs shows soon enough, when the scheduler takes the processor away.
 *
 * On two idle virtual processors (kernel 6.18), sleeping against looking out, a line appended took 19.2 and
 * 13.0 us, a rename 145 and 92, open + append + close 130 and 90, mkdir 79 and 50, with no more processor time
 * of the daemon's: a wake-up costs as much.  Beside compilers on both (load 5 to 7) some were faster, some slower.
 */
#include "fuse_loop.h"

#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/ckpt_error.h"
#include "codec/ckpt_wait.h"
#include "loop_pace.h"

struct worker {
	struct fuse_loop *loop;
	pthread_t thread;
	pthread_cond_t chosen;     /* lead was set, or the loop has ended */
	bool lead;
	struct worker *below;      /* in the stack of idle ones */
	struct worker *next;       /* of all */
	struct fuse_buf buf;       /* its own; memory from libfuse, freed with free() */
};

struct fuse_loop {
	struct fuse_session *se;
	pthread_mutex_t lock;      /* guards all below and the workers' lead; a leaf: ckpt_wait_hook takes it anywhere */
	pthread_cond_t over;
	struct worker *leader;     /* NULL: all are busy */
	struct worker *idle;       /* newest first */
	struct worker *all;
	unsigned threads, max;
	bool ended;
	int error;
	struct loop_pace pace;     /* not guarded: of the leader alone */
};

static _Thread_local struct worker *self;

static void *work(void *arg);

/* Starts a thread that leads. Lock held. */
static int start_leader(struct fuse_loop *l)
{
	struct worker *w = calloc(1, sizeof(*w));
	sigset_t all, old;
	int err;

	if (w == NULL)
		return -ENOMEM;
	w->loop = l;
	w->lead = true;
	pthread_cond_init(&w->chosen, NULL);
	/* Signals are the warden's, but for the one that interrupts reading. */
	sigfillset(&all);
	sigdelset(&all, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&w->thread, NULL, work, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err != 0) {
		pthread_cond_destroy(&w->chosen);
		free(w);
		return -err;
	}
	w->next = l->all;
	l->all = w;
	l->threads++;
	l->leader = w;
	return 0;
}

/* The calling thread leads no more: somebody else is to. */
static void hand_over(void)
{
	struct worker *w = self;
	struct fuse_loop *l;

	if (w == NULL || !w->lead)
		return;
	l = w->loop;
	pthread_mutex_lock(&l->lock);
	w->lead = false;
	l->leader = NULL;
	if (l->idle != NULL) {
		l->leader = l->idle;
		l->idle = l->leader->below;
		l->leader->lead = true;
		pthread_cond_signal(&l->leader->chosen);
	} else if (l->threads < l->max && !l->ended) {
		start_leader(l); /* without one, the first that is done leads */
	}
	pthread_mutex_unlock(&l->lock);
}

static void end(struct fuse_loop *l, int error)
{
	pthread_mutex_lock(&l->lock);
	if (error != 0 && l->error == 0)
		l->error = error;
	l->ended = true;
	for (struct worker *w = l->idle; w != NULL; w = w->below)
		pthread_cond_signal(&w->chosen);
	pthread_cond_signal(&l->over);
	pthread_mutex_unlock(&l->lock);
}

/* Waits to lead; false when the loop has ended. */
static bool lead(struct worker *w)
{
	struct fuse_loop *l = w->loop;
	bool go;

	pthread_mutex_lock(&l->lock);
	if (!w->lead && l->leader == NULL && !l->ended) {
		w->lead = true;
		l->leader = w;
	}
	if (!w->lead && !l->ended) {
		w->below = l->idle;
		l->idle = w;
		while (!w->lead && !l->ended)
			pthread_cond_wait(&w->chosen, &l->lock);
	}
	go = !l->ended;
	pthread_mutex_unlock(&l->lock);
	return go;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Returns when a request is there, or it is time to sleep. */
static void look_out(struct fuse_loop *l)
{
	struct pollfd p = { .fd = fuse_session_fd(l->se), .events = POLLIN };
	int64_t now = now_ns(), until = loop_pace_watch_until(&l->pace, now);

	if (now >= until)
		return;
	while (now < until) {
		int64_t before = now;

		if (poll(&p, 1, 0) != 0)
			return;
		now = now_ns();
		if (loop_pace_crowded(&l->pace, before, now))
			return;
	}
	loop_pace_in_vain(&l->pace);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct fuse_loop *l = w->loop;
	int n;

	self = w;
	ckpt_wait_hook = hand_over;
	while (w->lead || lead(w)) {
		if (fuse_session_exited(l->se)) {
			end(l, 0);
			break;
		}
		look_out(l);
		n = fuse_session_receive_buf(l->se, &w->buf);
		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n <= 0) {
			end(l, -n);
			break;
		}
		loop_pace_arrived(&l->pace, now_ns());
		fuse_tmpfile_to_create(&w->buf);
		fuse_session_process_buf(l->se, &w->buf);
		if (w->lead)
			loop_pace_answered(&l->pace, now_ns());
	}
	ckpt_wait_hook = NULL;
	return NULL;
}

void fuse_loop_beside(void)
{
	struct worker *w = self;

	if (w != NULL && w->lead) {
		struct pollfd p = { .fd = fuse_session_fd(w->loop->se), .events = POLLIN };

		if (poll(&p, 1, 0) > 0)
			hand_over();
	}
}

int fuse_loop_new(struct fuse_session *se, unsigned max_threads, struct fuse_loop **out)
{
	struct fuse_loop *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return ckpt_fail(ENOMEM, "no memory to serve requests");
	l->se = se;
	l->max = max_threads > 0 ? max_threads : 1;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->over, NULL);
	*out = l;
	return 0;
}

int fuse_loop_run(struct fuse_loop *l)
{
	struct worker *w;
	int rc;

	pthread_mutex_lock(&l->lock);
	rc = start_leader(l);
	while (rc == 0 && !l->ended)
		pthread_cond_wait(&l->over, &l->lock);
	pthread_mutex_unlock(&l->lock);
	if (rc < 0)
		return ckpt_fail(-rc, "starting a thread: %s", strerror(-rc));
	/* No thread is started once it has ended. */
	while ((w = l->all) != NULL) {
		l->all = w->next;
		pthread_join(w->thread, NULL);
		pthread_cond_destroy(&w->chosen);
		free(w->buf.mem);
		free(w);
	}
	if (l->error != 0)
		return ckpt_fail(l->error, "the connection to the kernel broke: %s", strerror(l->error));
	return 0;
}

void fuse_loop_interrupt(struct fuse_loop *l)
{
	pthread_mutex_lock(&l->lock);
	/* Once it has ended nobody reads, and who led may be joined already. */
	if (l->leader != NULL && !l->ended)
		pthread_kill(l->leader->thread, SIGUSR1);
	pthread_mutex_unlock(&l->lock);
}

void fuse_loop_free(struct fuse_loop *l)
{
	if (l == NULL)
		return;
	pthread_cond_destroy(&l->over);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
