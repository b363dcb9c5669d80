/*
 * progress.c: the bar.  Whoever does the work only adds to counters; a thread of the bar's own draws.
 */
#include "progress.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "format.h"

enum { DRAW_MS = 200, LINE_MAX_COLUMNS = 160 };

struct progress {
	struct cli *c;
	const char *label;
	atomic_bool bytes;
	bool shown; /* a terminal: there is a thread */
	_Atomic uint64_t done, total;
	atomic_bool total_known;
	struct timespec begin;
	pthread_t thread;
	pthread_mutex_t lock; /* guards the terminal's line, hidden, stop, and c->err while the bar is drawn */
	pthread_cond_t wake;
	unsigned hidden; /* how many want it away */
	bool on_screen, stop;
};

static double since(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - t->tv_sec) + (double)(now.tv_nsec - t->tv_nsec) / 1e9;
}

int progress_render(const struct progress_look *l, char *buf, unsigned cap)
{
	char a[FORMAT_LEN], b[FORMAT_LEN], r[FORMAT_LEN], t[FORMAT_LEN];
	char head[3 * FORMAT_LEN], tail[3 * FORMAT_LEN];
	uint64_t done = l->total_known && l->done > l->total ? l->total : l->done;
	unsigned room, taken, bar, i;
	int n;

	if (l->bytes)
		snprintf(head, sizeof(head), "%s  %s", l->label, format_bytes(done, a));
	else
		snprintf(head, sizeof(head), "%s  %llu", l->label, (unsigned long long)done);
	if (l->bytes)
		snprintf(tail, sizeof(tail), "  %s/s", format_bytes(l->rate > 0 ? (uint64_t)l->rate : 0, r));
	else
		snprintf(tail, sizeof(tail), "  %.0f/s", l->rate);
	n = (int)strlen(head);
	if (l->total_known && l->total > 0) {
		double left = l->rate > 0 ? (double)(l->total - done) / l->rate : -1;

		if (l->bytes)
			n += snprintf(head + n, sizeof(head) - (size_t)n, " / %s  %3s",
					format_bytes(l->total, b), format_percent(done, l->total, a));
		else
			n += snprintf(head + n, sizeof(head) - (size_t)n, " / %llu  %3s",
					(unsigned long long)l->total, format_percent(done, l->total, a));
		if (left >= 0 && left < 360000)
			snprintf(tail + strlen(tail), sizeof(tail) - strlen(tail), "  %s left",
					format_seconds((uint64_t)(left + 0.5), t));
	}
	/* One column stays free: writing in the last one makes some terminals wrap. */
	room = l->width < cap ? l->width : cap;
	room = room > 0 ? room - 1 : 0;
	taken = (unsigned)n + (unsigned)strlen(tail) + 4; /* two blanks and the brackets */
	bar = l->total_known && l->total > 0 && room > taken + 10 ? room - taken : 0;
	if (bar > 40)
		bar = 40;
	n = snprintf(buf, cap, "%s", head);
	if (bar > 0) {
		unsigned full = (unsigned)((double)done / (double)l->total * bar);

		n += snprintf(buf + n, cap - (unsigned)n, "  [");
		for (i = 0; i < bar; i++)
			buf[n++] = i < full ? '=' : i == full ? '>' : ' ';
		buf[n++] = ']';
		buf[n] = '\0';
	}
	n += snprintf(buf + n, cap - (unsigned)n, "%s", tail);
	if ((unsigned)n > room) {
		n = (int)room;
		buf[n] = '\0';
	}
	return n;
}

static void wipe(struct progress *p)
{
	if (p->on_screen) {
		fputs("\r\033[K", p->c->err);
		fflush(p->c->err);
		p->on_screen = false;
	}
}

static void *draw(void *arg)
{
	struct progress *p = arg;
	struct progress_look l = { .label = p->label, .width = p->c->width };
	char line[LINE_MAX_COLUMNS + 1];
	double before = 0;
	uint64_t done_before = 0;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		struct timespec until;
		double passed;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += DRAW_MS * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_nsec -= 1000000000L;
			until.tv_sec++;
		}
		while (!p->stop && pthread_cond_timedwait(&p->wake, &p->lock, &until) == 0)
			;
		if (p->stop)
			break;
		l.bytes = atomic_load(&p->bytes);
		l.done = atomic_load(&p->done);
		l.total = atomic_load(&p->total);
		l.total_known = atomic_load(&p->total_known);
		l.seconds = since(&p->begin);
		passed = l.seconds - before;
		if (passed > 0) {
			double now = l.done >= done_before ? (double)(l.done - done_before) / passed : 0;

			/* Smoothed over some three seconds; the first look takes what there is. */
			l.rate = before == 0 ? now : l.rate + (now - l.rate) * (passed / (passed + 3.0));
			before = l.seconds;
			done_before = l.done;
		}
		if (p->hidden > 0)
			continue;
		progress_render(&l, line, sizeof(line));
		fprintf(p->c->err, "\r%s\033[K", line);
		fflush(p->c->err);
		p->on_screen = true;
	}
	wipe(p);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int progress_start(struct cli *c, const char *label, bool bytes, struct progress **out)
{
	struct progress *p = calloc(1, sizeof(*p));
	pthread_condattr_t attr;
	int e;

	if (p == NULL)
		return ckpt_fail(ENOMEM, "progress bar: out of memory");
	p->c = c;
	p->label = label;
	p->shown = c->err_tty;
	atomic_init(&p->bytes, bytes);
	clock_gettime(CLOCK_MONOTONIC, &p->begin);
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &attr);
	pthread_condattr_destroy(&attr);
	e = p->shown ? pthread_create(&p->thread, NULL, draw, p) : 0;
	if (e != 0) {
		pthread_cond_destroy(&p->wake);
		pthread_mutex_destroy(&p->lock);
		free(p);
		return ckpt_fail(e, "progress bar: no thread: %s", strerror(e));
	}
	c->progress = p;
	*out = p;
	return 0;
}

void progress_stop(struct progress *p)
{
	if (p == NULL)
		return;
	if (p->shown) {
		pthread_mutex_lock(&p->lock);
		p->stop = true;
		pthread_cond_signal(&p->wake);
		pthread_mutex_unlock(&p->lock);
		pthread_join(p->thread, NULL);
	}
	p->c->progress = NULL;
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

bool progress_shown(const struct progress *p)
{
	return p->shown;
}

void progress_add(struct progress *p, uint64_t done)
{
	atomic_fetch_add_explicit(&p->done, done, memory_order_relaxed);
}

void progress_add_total(struct progress *p, uint64_t total)
{
	atomic_fetch_add_explicit(&p->total, total, memory_order_relaxed);
}

void progress_total_known(struct progress *p)
{
	atomic_store(&p->total_known, true);
}

int progress_store(void *arg, uint64_t done, uint64_t total, bool bytes)
{
	struct progress *p = arg;

	atomic_store(&p->bytes, bytes);
	atomic_store(&p->done, done);
	atomic_store(&p->total, total);
	atomic_store(&p->total_known, total > 0);
	return cli_cancelled(p->c) ? 1 : 0;
}

void progress_hide(struct progress *p)
{
	if (p == NULL || !p->shown)
		return;
	pthread_mutex_lock(&p->lock);
	p->hidden++;
	wipe(p);
	pthread_mutex_unlock(&p->lock);
}

void progress_show(struct progress *p)
{
	if (p == NULL || !p->shown)
		return;
	pthread_mutex_lock(&p->lock);
	p->hidden--;
	pthread_mutex_unlock(&p->lock);
}
