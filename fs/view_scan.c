/*
 * view_scan.c: the scan of the tree that @runs shows.
 *
 * A scan looks at every name of the tree, and opens only what it has not met before, since what it finds
 * out is kept with the versions.  It is made when somebody asks and something has changed since the one
 * before (fs.published, fs.gone, fs.changes).
 *
 * While a run is being trained something changes all the time, and a listing of @runs is thousands of
 * questions.  Where a scan is short each change is seen at once; where the tree is large, scans may take a
 * part of the time and no more: until then the answers come from the one before.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "torchbridge/bridge_runs.h"
#include "view_host.h"

#define SHORT_NS ((int64_t)250 * 1000000)   /* a scan that is short enough to be made for each change */
#define IDLE_NS ((int64_t)60 * 1000000000)  /* one that nobody asks for goes */
enum { REST = 3 };                          /* times as long as it took until the next one */

struct view_scans {
	pthread_mutex_t lock;       /* guards all; not held while scanning */
	pthread_cond_t done;
	struct runs_scan *newest;   /* holds a reference */
	bool scanning;
	uint64_t made;              /* how many scans */
	uint64_t wrong;             /* number of a scan that was seen to be wrong: a newer one is due */
	int64_t asked;              /* CLOCK_MONOTONIC ns */
};

struct view_scans *view_scans_new(void)
{
	struct view_scans *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->done, NULL);
	return s;
}

static void scan_free(struct runs_scan *s)
{
	if (!s)
		return;
	bridge_runs_free(s->runs);
	runs_files_free(s->files);
	free(s);
}

/* Gives a reference back. Lock held; *gone is to be freed without it. */
static void unref(struct runs_scan *s, struct runs_scan **gone)
{
	*gone = s && --s->refs == 0 ? s : NULL;
}

void view_scans_free(struct view_scans *s)
{
	if (!s)
		return;
	scan_free(s->newest);
	pthread_cond_destroy(&s->done);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void view_scan_put(struct fs *fs, struct runs_scan *scan)
{
	struct view_scans *s = fs->host->scans;
	struct runs_scan *gone;

	pthread_mutex_lock(&s->lock);
	unref(scan, &gone);
	pthread_mutex_unlock(&s->lock);
	scan_free(gone);
}

void view_scans_tick(struct view_scans *s)
{
	struct runs_scan *gone = NULL;

	pthread_mutex_lock(&s->lock);
	if (s->newest && fs_monotonic() - s->asked > IDLE_NS) {
		unref(s->newest, &gone);
		s->newest = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	scan_free(gone);
}

static int scan_new(struct fs *fs, struct runs_scan **out)
{
	struct runs_scan *s = calloc(1, sizeof(*s));
	int64_t began = fs_monotonic();
	struct bridge_files files;
	int rc;

	if (!s)
		return ckpt_fail(ENOMEM, "no memory to scan the tree");
	s->refs = 1;
	s->seen = view_changes(fs);
	rc = runs_files_new(fs, &s->files, &files);
	if (rc == 0)
		rc = bridge_runs_scan(&files, "", &s->runs);
	if (rc < 0) {
		scan_free(s);
		return rc;
	}
	s->done = fs_monotonic();
	s->took = s->done - began;
	*out = s;
	return 0;
}

/* Whether the newest scan will do. Lock held. */
static bool fit(const struct view_scans *s, unsigned long long seen)
{
	const struct runs_scan *n = s->newest;

	if (!n || n->number == s->wrong)
		return false;
	if (n->seen == seen)
		return true;
	return n->took > SHORT_NS && (s->scanning || fs_monotonic() - n->done < REST * n->took);
}

int view_scan_get(struct fs *fs, struct runs_scan **out)
{
	struct view_scans *s = fs->host->scans;
	unsigned long long seen = view_changes(fs);
	struct runs_scan *made = NULL, *gone = NULL;
	int rc = 0;

	ckpt_mutex_lock(&s->lock);
	s->asked = fs_monotonic();
	while (!fit(s, seen)) {
		if (s->scanning) {
			ckpt_cond_wait(&s->done, &s->lock);
			continue;
		}
		s->scanning = true;
		pthread_mutex_unlock(&s->lock);
		ckpt_will_wait();
		rc = scan_new(fs, &made);
		pthread_mutex_lock(&s->lock);
		s->scanning = false;
		pthread_cond_broadcast(&s->done);
		if (rc == 0) {
			made->number = ++s->made;
			unref(s->newest, &gone);
			s->newest = made;
		}
		break; /* what is as new as this question */
	}
	if (rc == 0) {
		*out = s->newest;
		s->newest->refs++;
	}
	pthread_mutex_unlock(&s->lock);
	scan_free(gone);
	return rc;
}

void view_scan_wrong(struct fs *fs, const struct runs_scan *scan)
{
	struct view_scans *s = fs->host->scans;

	pthread_mutex_lock(&s->lock);
	if (s->newest == scan)
		s->wrong = scan->number;
	pthread_mutex_unlock(&s->lock);
}
