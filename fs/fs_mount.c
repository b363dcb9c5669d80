/*
 * fs_mount.c: the life of a session with the kernel, from mount to unmount.
 *
 * Threads, beside the workers that serve requests (fuse_loop.c) and the notifier (fuse_notify.c):
 *
 *   the caller     waits until the loop has ended
 *   the warden     takes what happens, one byte an event, from a pipe: INIT came, a signal came, the loop ended.
 *                  Signals are written into the pipe by their handler, which may run in any thread
 *   the keeper     calls fs_tick() once a second
 *
 *      mount ---INIT---> SERVING ---signal---> DRAINING ---signal or 30 s---> LEAVING ---> end
 *                           |                      |                                        ^
 *                           |                      +--- the last user left -----------------+
 *                           +--- unmounted ---> GONE ---------------------------------------+
 *
 * DRAINING: what is acknowledged is made durable, and the name is taken out of the tree (lazy unmount); files
 * that are open go on being served.  When the last of them is closed the kernel ends the connection, and every
 * worker with it.
 *
 * GONE: the device says that the connection has ended, and so the loop ends by itself, as soon as the requests
 * under way have.  Nobody waits for those any more, and one that hangs is given up after 30 s.
 *
 * LEAVING: fuse_session_exit() alone wakes nobody.  The worker that reads from the kernel is interrupted by a signal without
 * SA_RESTART; those in a request end it first.  A signal that comes just before the reading would be lost, so it is
 * sent again until the loop has ended.
 *
 * At the end the connection is cut before fuse_session_unmount() sees it, because that unmounts *by path*, and
 * after a lazy unmount somebody else's mount may be there.  Cutting means closing the device: a pipe without
 * readers is put on its descriptor, which polls POLLERR, which is how libfuse recognises a connection that is
 * gone.
 */
#include "fuse_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "codec/ckpt_error.h"
#include "fs_mount.h"
#include "fuse_loop.h"
#include "mount_table.h"
#include "store/store.h"

enum { LEAVE_SECONDS = 10, LOOK_MS = 1000 };

/* What the warden is told. */
enum { EVENT_INIT = 'I', EVENT_STOP = 'S', EVENT_END = 'E' };

enum phase { SERVING, DRAINING, GONE, LEAVING };

struct server {
	struct fs *fs;
	const char *mountpoint;
	const struct fs_mount_options *opt;
	struct fuse_adapter adapter;
	struct fuse_session *se;
	struct fuse_notifier *notifier;
	void (*ready)(void *);
	void (*stopping)(void *);
	void *arg;

	struct fuse_loop *loop;
	unsigned major, minor;   /* of our mount; 0:0 not found */

	/* Of the warden alone while it runs. */
	enum phase phase;
	int64_t deadline;        /* of the phase, monotonic ms */
	bool told_stopping;

	pthread_mutex_t lock;    /* guards ended; a leaf */
	pthread_cond_t wake;
	bool ended;              /* the keeper is to go home */
};

/* The write end of the warden's pipe while a session is served, for handlers; -1 none. */
static atomic_int event_fd = -1;
/* Signals that asked us to stop. */
static atomic_int stops;

/* While the session is being made, libfuse's last word is the reason to give to the caller. */
static atomic_bool keep_words;
static char words[256];

static void log_fuse(enum fuse_log_level level, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void log_fuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[256];
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	const char *text = strncmp(line, "fuse: ", 6) == 0 ? line + 6 : line;
	if (*text == '\0')
		return;
	if (atomic_load(&keep_words))
		snprintf(words, sizeof(words), "%s", text);
	else
		ckpt_log((int)level, "fuse: %s", text); /* FUSE_LOG_* are syslog's levels */
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- events ---------------------------------------------------------------------------------------- */

/* Async-signal-safe. The pipe does not block: when it is full the warden has enough to do anyway. */
static void post_event(char event)
{
	int saved = errno;
	int fd = atomic_load(&event_fd);
	if (fd >= 0) {
		ssize_t n = write(fd, &event, 1);
		(void)n;
	}
	errno = saved;
}

static void on_stop_signal(int sig)
{
	(void)sig;
	if (atomic_fetch_add(&stops, 1) >= 2)
		_exit(1); /* the third: whoever sends it does not want to wait for a disk that hangs */
	post_event(EVENT_STOP);
}

static void on_wake_signal(int sig)
{
	(void)sig; /* that sem_wait() returns is all that is wanted */
}

static void on_init(void *arg)
{
	(void)arg;
	post_event(EVENT_INIT);
}

void fs_mount_stop(void)
{
	post_event(EVENT_STOP);
}

static const int stop_signals[] = { SIGINT, SIGTERM, SIGHUP };
enum { STOP_SIGNALS = sizeof(stop_signals) / sizeof(stop_signals[0]) };

struct old_signals {
	struct sigaction stop[STOP_SIGNALS], wake, pipe;
};

/* A daemon started with nohup keeps ignoring SIGHUP. */
static void take_signals(struct old_signals *old)
{
	struct sigaction sa = { .sa_handler = on_stop_signal, .sa_flags = SA_RESTART };
	for (unsigned i = 0; i < STOP_SIGNALS; i++) {
		sigaction(stop_signals[i], NULL, &old->stop[i]);
		if (old->stop[i].sa_handler != SIG_IGN)
			sigaction(stop_signals[i], &sa, NULL);
	}
	struct sigaction wake = { .sa_handler = on_wake_signal };
	sigaction(SIGUSR1, &wake, &old->wake);
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigaction(SIGPIPE, &ignore, &old->pipe);
}

static void give_signals_back(const struct old_signals *old)
{
	for (unsigned i = 0; i < STOP_SIGNALS; i++)
		sigaction(stop_signals[i], &old->stop[i], NULL);
	sigaction(SIGUSR1, &old->wake, NULL);
	sigaction(SIGPIPE, &old->pipe, NULL);
}

/* --- the keeper ------------------------------------------------------------------------------------ */

static void *keep(void *arg)
{
	struct server *s = arg;
	pthread_mutex_lock(&s->lock);
	while (!s->ended) {
		struct timespec t;
		clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_sec++;
		while (!s->ended && pthread_cond_timedwait(&s->wake, &s->lock, &t) != ETIMEDOUT)
			;
		if (s->ended)
			break;
		pthread_mutex_unlock(&s->lock);
		fs_tick(s->fs);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void end_keeper(struct server *s, pthread_t keeper)
{
	pthread_mutex_lock(&s->lock);
	s->ended = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(keeper, NULL);
}

/* --- the warden ------------------------------------------------------------------------------------ */

/* Our mount is the one on top at its mount point. */
static bool still_mounted(const struct server *s)
{
	struct fs_mount_entry e = { 0 };
	if (fs_mount_find(s->mountpoint, &e) != 1)
		return false;
	bool ours = e.major == s->major && e.minor == s->minor && strcmp(e.type, FS_MOUNT_TYPE) == 0;
	fs_mount_entry_release(&e);
	return ours;
}

static void take_mount_away(const struct server *s)
{
	if (still_mounted(s) && fs_unmount(s->mountpoint, true) < 0)
		ckpt_log(LOG_WARNING, "%s", ckpt_errmsg());
}

static void tell_stopping(struct server *s)
{
	if (!s->told_stopping && s->stopping != NULL)
		s->stopping(s->arg);
	s->told_stopping = true;
}

/*
 * INIT came.  libfuse may still refuse what the kernel offers and end the session, so one request more must be
 * answered before anybody is told that the tree is served.
 */
static void start(struct server *s)
{
	struct statfs st;
	if (statfs(s->mountpoint, &st) != 0) {
		if (errno == ENOTCONN || errno == ECONNABORTED)
			return; /* the loop ends by itself, with the reason */
		ckpt_log(LOG_WARNING, "asking the new mount '%s' for its space: %s", s->mountpoint, strerror(errno));
	}
	int rc = 0;
	if (s->opt->readahead_kib > 0 && s->major + s->minor > 0)
		rc = fuse_readahead_set(s->major, s->minor, s->opt->readahead_kib);
	if (s->ready != NULL)
		s->ready(s->arg);
	/* In the log, not on the user's terminal: only root may, and a container's sysfs is often read-only. */
	if (rc < 0)
		ckpt_log(LOG_INFO, "readahead stays at the kernel's default: %s", ckpt_errmsg());
}

static void drain(struct server *s)
{
	s->phase = DRAINING;
	ckpt_log(LOG_INFO, "stopping: '%s' is unmounted, files still open are served for %d s", s->mountpoint,
			FS_MOUNT_DRAIN_SECONDS);
	tell_stopping(s);
	if (store_commit(fs_store(s->fs), true) < 0)
		ckpt_log(LOG_ERR, "committing before the end: %s", ckpt_errmsg());
	take_mount_away(s);
	s->deadline = now_ms() + FS_MOUNT_DRAIN_SECONDS * 1000;
}

static void leave(struct server *s)
{
	s->phase = LEAVING;
	s->deadline = now_ms() + LEAVE_SECONDS * 1000;
	fuse_notifier_stop(s->notifier); /* now, while somebody serves what a notification may wait for */
	fuse_session_exit(s->se);
}

/* Whoever unmounted may have seen it succeed, and what was acknowledged to last till the next commit is to last. */
static void give_up(struct server *s)
{
	ckpt_log(LOG_ERR, "stopping: a request does not end, leaving without it");
	if (s->phase == GONE) {
		alarm(LEAVE_SECONDS); /* the store may be what it hangs in */
		if (store_commit(fs_store(s->fs), true) < 0)
			ckpt_log(LOG_ERR, "committing before the end: %s", ckpt_errmsg());
	}
	_exit(1);
}

/* Milliseconds until the warden has something to do by itself. */
static int patience(const struct server *s)
{
	if (s->phase == SERVING)
		return LOOK_MS;
	int64_t left = s->deadline - now_ms();
	if (s->phase == LEAVING && left > 20)
		return 20;
	return left > 0 ? (int)left : 0;
}

static void on_time(struct server *s)
{
	if (s->phase == DRAINING && now_ms() >= s->deadline) {
		ckpt_log(LOG_WARNING, "stopping: '%s' is still in use after %d s", s->mountpoint,
				FS_MOUNT_DRAIN_SECONDS);
		leave(s);
	}
	if ((s->phase == GONE || s->phase == LEAVING) && now_ms() >= s->deadline)
		give_up(s);
	if (s->phase == LEAVING)
		fuse_loop_interrupt(s->loop);
}

struct warden {
	struct server *s;
	int fd; /* read end of the pipe */
	pthread_t thread;
};

/*
 * A connection that has ended is an error on its device.  It is looked at now and then and not waited for: every
 * request wakes whoever waits there, whatever for (a tenth of the time of small requests).
 */
static bool connection_ended(const struct server *s)
{
	struct pollfd p = { .fd = fuse_session_fd(s->se) };
	return poll(&p, 1, 0) > 0 && (p.revents & POLLERR) != 0;
}

static void *watch(void *arg)
{
	struct warden *w = arg;
	struct server *s = w->s;
	for (;;) {
		struct pollfd p = { .fd = w->fd, .events = POLLIN };
		int n = poll(&p, 1, patience(s));
		char event = 0;
		if (n > 0 && read(w->fd, &event, 1) != 1)
			event = 0;
		if (s->phase == SERVING && connection_ended(s)) {
			s->phase = GONE;
			s->deadline = now_ms() + FS_MOUNT_DRAIN_SECONDS * 1000;
		}
		if (event == EVENT_END)
			return NULL;
		if (event == EVENT_INIT && s->phase == SERVING)
			start(s);
		else if (event == EVENT_STOP && s->phase == SERVING)
			drain(s);
		else if (event == EVENT_STOP && s->phase == DRAINING)
			leave(s);
		on_time(s);
	}
}

/* --- the session ----------------------------------------------------------------------------------- */

/* For -o: libfuse cuts options at commas, unless they are escaped. */
static void put_escaped(FILE *f, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == ',' || *text == '\\')
			fputc('\\', f);
		fputc(*text, f);
	}
}

static char *session_options(const struct server *s)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	if (f == NULL)
		return NULL;
	fprintf(f, "-odefault_permissions,subtype=ckptfs,fsname=");
	put_escaped(f, s->opt->fsname != NULL ? s->opt->fsname : store_path(fs_store(s->fs)));
	if (store_readonly(fs_store(s->fs)))
		fputs(",ro", f);
	if (s->opt->mount_opts != NULL && s->opt->mount_opts[0] != '\0')
		fprintf(f, ",%s", s->opt->mount_opts);
	if (s->opt->max_read > 0)
		fprintf(f, ",max_read=%u", s->opt->max_read);
	if (s->opt->debug)
		fprintf(f, ",debug");
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static int session_new(struct server *s)
{
	char name[] = "ckptfs";
	char *options = session_options(s);
	if (options == NULL)
		return ckpt_fail(ENOMEM, "mounting at '%s': out of memory", s->mountpoint);
	char *argv[] = { name, options, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	s->se = fuse_session_new(&args, &fuse_adapter_ops, sizeof(fuse_adapter_ops), &s->adapter);
	fuse_opt_free_args(&args);
	free(options);
	if (s->se == NULL)
		return ckpt_fail(EINVAL, "mounting at '%s': %s", s->mountpoint,
				words[0] != '\0' ? words : "libfuse refused");
	return 0;
}

static int session_mount(struct server *s)
{
	if (fuse_session_mount(s->se, s->mountpoint) != 0)
		return ckpt_fail(EIO, "mounting at '%s': %s", s->mountpoint,
				words[0] != '\0' ? words : "fusermount3 refused");

	/* Nobody can have mounted on top of it yet: it is not served. */
	struct fs_mount_entry e = { 0 };
	if (fs_mount_find(s->mountpoint, &e) == 1 && strcmp(e.type, FS_MOUNT_TYPE) == 0) {
		s->major = e.major;
		s->minor = e.minor;
	}
	fs_mount_entry_release(&e);
	return 0;
}

/* Ends the connection: see the head of the file. */
static void session_cut(struct server *s)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		return; /* fuse_session_unmount() closes the device then */
	close(ends[0]);
	dup3(ends[1], fuse_session_fd(s->se), O_CLOEXEC);
	close(ends[1]);
}

static int serve_mounted(struct server *s, struct warden *w)
{
	pthread_t keeper;
	int rc = fuse_loop_new(s->se, s->opt->max_threads > 0 ? s->opt->max_threads : FS_MOUNT_THREADS, &s->loop);
	if (rc < 0)
		return rc;
	rc = fuse_notifier_start(s->se, &s->notifier);
	if (rc < 0)
		goto free_loop;
	s->adapter.notifier = s->notifier;
	fs_set_notify(s->fs, fuse_notifier_post, s->notifier);
	int err = pthread_create(&w->thread, NULL, watch, w);
	if (err != 0) {
		rc = ckpt_fail(err, "starting a thread: %s", strerror(err));
		goto stop_notifier;
	}
	err = pthread_create(&keeper, NULL, keep, s);
	if (err != 0) {
		rc = ckpt_fail(err, "starting a thread: %s", strerror(err));
		goto end_warden;
	}

	rc = fuse_loop_run(s->loop);
	if (rc < 0)
		ckpt_context(rc, "serving '%s'", s->mountpoint);

	end_keeper(s, keeper);
end_warden:
	post_event(EVENT_END);
	pthread_join(w->thread, NULL);
	tell_stopping(s);
stop_notifier:
	fs_set_notify(s->fs, NULL, NULL);
	take_mount_away(s);
	session_cut(s);
	fuse_notifier_stop(s->notifier);
free_loop:
	fuse_loop_free(s->loop);
	return rc;
}

int fs_mount_serve(struct fs *fs, const char *mountpoint, const struct fs_mount_options *o, void (*ready)(void *),
		void (*stopping)(void *), void *arg)
{
	struct server s = { .fs = fs, .mountpoint = mountpoint, .opt = o, .ready = ready, .stopping = stopping, .arg = arg,
		.adapter = { .fs = fs, .sync = o->sync, .dirsync = o->sync || o->dirsync,
			.max_read = o->max_read, .on_init = on_init } };
	struct old_signals old;
	int ends[2];
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return ckpt_fail(errno, "mounting at '%s': pipe: %s", mountpoint, strerror(errno));
	struct warden w = { .s = &s, .fd = ends[0] };
	pthread_mutex_init(&s.lock, NULL);
	pthread_mutex_init(&s.adapter.dirs_lock, NULL);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&s.wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	atomic_store(&stops, 0);
	atomic_store(&event_fd, ends[1]);
	take_signals(&old);

	words[0] = '\0';
	atomic_store(&keep_words, true);
	fuse_set_log_func(log_fuse);
	int rc = session_new(&s);
	if (rc < 0)
		goto give_back;
	rc = session_mount(&s);
	atomic_store(&keep_words, false);
	if (rc < 0)
		goto destroy;
	rc = serve_mounted(&s, &w);
	fuse_session_unmount(s.se);
destroy:
	fuse_session_destroy(s.se);
	fuse_dirs_close_all(&s.adapter);
	fuse_notifier_free(s.notifier);
give_back:
	atomic_store(&keep_words, false);
	give_signals_back(&old);
	atomic_store(&event_fd, -1);
	pthread_cond_destroy(&s.wake);
	pthread_mutex_destroy(&s.adapter.dirs_lock);
	pthread_mutex_destroy(&s.lock);
	close(ends[0]);
	close(ends[1]);
	return rc;
}

const char *fs_mount_engine_version(void)
{
	return fuse_pkgversion();
}
