/*
 * progress.h: one line that tells how far a long command is.
 *
 *   import   1.2 GiB / 3.4 GiB  35 %  [=========>            ]  412 MiB/s  0:05 left
 *
 * Drawn on c->err by a thread of its own, five times a second, and only when that is a terminal; otherwise all of
 * this costs two atomic additions.  Messages printed with cli_warn() while it stands appear above it.
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct cli;
struct progress;

/* Starts a bar for c (at most one at a time). *out is never NULL on success. -ENOMEM, -EAGAIN. `label` is borrowed. */
int progress_start(struct cli *c, const char *label, bool bytes, struct progress **out);
/* Wipes the bar and frees it. NULL is fine. */
void progress_stop(struct progress *p);

/* True when somebody sees it: then it is worth finding out the total. */
bool progress_shown(const struct progress *p);

void progress_add(struct progress *p, uint64_t done);        /* any thread */
void progress_add_total(struct progress *p, uint64_t total); /* any thread */
void progress_total_known(
		struct progress *p); /* no more to come: the share and the time left mean something */
/* A store_progress (store_admin.h); arg is the struct progress.  Tells the callee to stop when the command is cancelled. */
int progress_store(void *arg, uint64_t done, uint64_t total, bool bytes);

/* Keeps the bar away while something else is printed on c->err: hide, print, show. p may be NULL. */
void progress_hide(struct progress *p);
void progress_show(struct progress *p);

/* What the bar says at a moment, without the line's control characters (tests). Returns its length. */
struct progress_look {
	const char *label;
	uint64_t done, total;
	bool bytes, total_known;
	double seconds; /* since the start */
	double rate;    /* per second, smoothed */
	unsigned width; /* columns of the terminal */
};
int progress_render(const struct progress_look *l, char *buf, unsigned cap);

#endif
