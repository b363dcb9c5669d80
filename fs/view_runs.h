/*
 * view_runs.h: @runs, for its own files: view_runs.c (paths, attributes, listings), view_runs_file.c
 * (components), view_runs_text.c (what is generated for a run).
 */
#ifndef VIEW_RUNS_H
#define VIEW_RUNS_H

#include "torchbridge/bridge_runs.h"
#include "view_host.h"

/* What a path of the view is. */
enum runs_kind { RUNS_DIRECTORY, RUNS_EXPERIENCE, RUNS_COMPONENT, RUNS_LINK, RUNS_TEXT };

/* "metrics.csv", ... */
enum runs_text { RUNS_CSV, RUNS_SVG, RUNS_REPORT, RUNS_TEXTS };
extern const char *const runs_texts[RUNS_TEXTS];

struct runs_place {
	struct fs *fs;
	struct runs_scan *scan;     /* with a reference */
	enum runs_kind kind;
	size_t run, experience, component;
	size_t first, below;        /* RUNS_DIRECTORY: the runs at or below it */
	const char *target;         /* RUNS_LINK: of the scan */
	enum runs_text text;
};

/* Attributes and mark, as struct fs_view asks for them. -ESTALE: the scan is older than a file. */
int runs_component_look(struct runs_place *p, struct fs_view_look *look);
int runs_component_open(struct runs_place *p, struct fs_view_file *out);
int runs_text_look(struct runs_place *p, struct fs_view_look *look);
int runs_text_open(struct runs_place *p, struct fs_view_file *out);
/* What can't be made of the scan's files: -EIO with this thread's message, which the log gets once for a mark. */
int runs_refuse(struct runs_place *p, const struct fs_mark *m, const char *what);
/* A file of the scan is not there any more: -ESTALE, and who asks again gets another scan. Else rc as it is. */
int runs_moved(struct runs_place *p, int rc, const char *what);

#endif
