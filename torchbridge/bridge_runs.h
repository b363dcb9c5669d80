/*
 * bridge_runs.h: a tree of files as runs, experiences and components (@runs), whatever framework wrote it.
 *
 *   <run>/<experience>/<component>   <run>/latest  <run>/best (symlinks)
 *   <run>/metrics.csv  <run>/metrics.svg  <run>/report.html
 *
 * The rules of names are in the design and in ckptfs-views(7); the layouts that are known, in
 * runs_layouts.c.  Scanning one directory looks at names first and at the heads of files second; what a file
 * says about itself (which framework, experience, components, metrics, best) is small, is a "fact", and is
 * remembered by the host under the file's version, so that a second scan opens no file.
 */
#ifndef BRIDGE_RUNS_H
#define BRIDGE_RUNS_H

#include <stdbool.h>
#include <sys/stat.h>

#include "bridge_doc.h"
#include "bridge_layout.h"

enum {
	BRIDGE_FACTS = 3,
	BRIDGE_REPORT_READ = 16 << 20
}; /* raised when what facts hold, or how they are written, changes */

/*
 * The tree that is looked at, as its host gives it. Paths are relative to the root, "" being it. All may
 * block, and are called from the thread that called the scan.
 */
struct bridge_files {
	void *arg;
	/* Entries of a directory, in any order. -ENOENT, -ENOTDIR. */
	int (*list)(void *arg, const char *dir,
			int (*emit)(void *e, const char *name, size_t len, const struct stat *st), void *e);
	int (*stat)(void *arg, const char *path, struct stat *st);
	/* A file's document, shared: given back with put(). Errors of bridge_doc.h. */
	int (*doc)(void *arg, const char *path, const struct bridge_doc **out);
	void (*put)(void *arg, const struct bridge_doc *d);
	int64_t (*read)(void *arg, const char *path, uint64_t off, void *buf, size_t len);
	/*
	 * Remembered bytes of a file's present content: -ENOENT when there are none. *out is malloc()ed. No bytes
	 * are remembered in place of what was wrong.
	 */
	int (*recall)(void *arg, const char *path, const char *key, uint8_t **out, size_t *len);
	void (*remember)(void *arg, const char *path, const char *key, const void *p, size_t len);
	/* Stored bytes of a file beside its size, for the report; may be NULL. */
	int (*cost)(void *arg, const char *path, uint64_t *stored);
	/*
	 * The same of each of `groups` groups of files, path[i] being in group[i]: what files of a group share
	 * counts once. Files that are gone count nothing. May be NULL.
	 */
	int (*cost_together)(void *arg, const char *const *path, const uint32_t *group, size_t n, uint32_t groups,
			uint64_t *stored);
};

struct bridge_runs; /* a scan of one tree, or of a part of it */

/*
 * Looks at the tree from `root` down ("" for all). Cost: names and facts; what is new is opened once. The
 * result does not change and borrows nothing but `files`, whose functions must stay callable while
 * components are read.
 */
int bridge_runs_scan(const struct bridge_files *files, const char *root, struct bridge_runs **out);
void bridge_runs_free(struct bridge_runs *r);

/* What a component's bytes are: whole files of the tree, or a layout over one. */
struct bridge_component {
	const char *name; /* "model.pt", "args.json" */
	/* path of the file it comes from; of several (shards) the first: bridge_runs_source() */
	const char *source;
	uint32_t sources; /* how many: 1, but for the parts of a distributed checkpoint */
	bool whole;       /* it is that file as it is; else bridge_runs_open() makes it */
	const char *from; /* where in the file: "state_dict"; "" for all; for people */
	uint64_t size;    /* exact, of the source as it was when it was scanned */
	uint64_t mtime_ns;     /* of `source` */
};

struct bridge_experience {
	const char *name; /* "3", "last" */
	bool numbered;
	int64_t number;
	bool torn;         /* a file of it can't be read, or is missing: never latest */
	const char *why;   /* of a torn one, for people; else NULL */
	uint64_t mtime_ns; /* of its youngest file */
	size_t components;
};

struct bridge_run {
	const char *path;      /* below @runs: "proj/exp1/version_0" */
	const char *framework; /* "PyTorch", "Lightning", ... */
	size_t experiences;
	int64_t latest, best; /* index of an experience; -1 none */
	const char *best_by;  /* the rule that says best, for people; NULL none */
};

/*
 * Runs are sorted by path, '/' before all other bytes: a run and those below it follow one another.
 * Experiences are sorted: numbers first, ascending, then names; components in the order model, optimizer,
 * scheduler, replay, metrics, rng, args, loggers, other. No run lies inside an experience, and no two names
 * of one directory are alike.
 *
 * All that follow may be called by any number of threads at once, as may the functions of `files` then.
 */
size_t bridge_runs_count(const struct bridge_runs *r);
const struct bridge_run *bridge_runs_at(const struct bridge_runs *r, size_t run);
const struct bridge_experience *bridge_runs_experience(
		const struct bridge_runs *r, size_t run, size_t experience);
const struct bridge_component *bridge_runs_component_at(
		const struct bridge_runs *r, size_t run, size_t experience, size_t component);

/* The source number `i` of a component, as its layout counts them: 0 is component->source. */
const char *bridge_runs_source(
		const struct bridge_runs *r, size_t run, size_t experience, size_t component, uint32_t i);

/* By name, O(log n) but for components: -1 when there is none. */
int64_t bridge_runs_find(const struct bridge_runs *r, const char *path);
int64_t bridge_runs_find_experience(const struct bridge_runs *r, size_t run, const char *name);
int64_t bridge_runs_find_component(
		const struct bridge_runs *r, size_t run, size_t experience, const char *name);
/*
 * How many runs lie at or below a directory of @runs ("" for all), and the first of them: from its path, and
 * those that follow, the directory's entries can be told. 0: there is no such directory.
 */
size_t bridge_runs_below(const struct bridge_runs *r, const char *dir, size_t *first);

/* Bytes of memory the scan takes, about. */
size_t bridge_runs_memory(const struct bridge_runs *r);

/* Recorded metrics, long form: one row for (experience, name). NaN where it says so. */
struct bridge_metric {
	int64_t experience; /* number */
	const char *name;   /* "loss", "val_acc", "accuracy/task_2" */
	double value;
};
size_t bridge_runs_metrics(const struct bridge_runs *r, size_t run);
const struct bridge_metric *bridge_runs_metric(const struct bridge_runs *r, size_t run, size_t i);

/*
 * The content of a component that is not whole, in its sources' numbers. -EINVAL: it is whole; -ESTALE: its
 * file is another one by now, or what was remembered of it was wrong, and is forgotten (scan again).
 */
int bridge_runs_open(const struct bridge_runs *r, size_t run, size_t experience, size_t component,
		struct bridge_layout **out);
/*
 * The generated files of a run, appended: the same bytes each time while its files stay as they are (what
 * the store says of their cost may change in the report). The table of metrics is wide, a row an experience
 * (or step) that something was recorded for, the first column its number: see runs_metrics.c. The report is
 * self-contained HTML, no network, light and dark; for the newest model's statistics it reads at most
 * BRIDGE_REPORT_READ bytes, once: they are remembered as a fact.
 */
int bridge_runs_csv(const struct bridge_runs *r, size_t run, struct byte_buf *out);
int bridge_runs_svg(const struct bridge_runs *r, size_t run, struct byte_buf *out);
int bridge_runs_report(const struct bridge_runs *r, size_t run, struct byte_buf *out);

#endif
