/*
 * runs_report.h: between the files of the report (runs_report.c, runs_page.c, runs_stats.c).
 */
#ifndef RUNS_REPORT_H
#define RUNS_REPORT_H

#include "bridge_math.h"
#include "runs_svg.h"

enum {
	RUNS_ROWS_MAX = 300, /* tensors with statistics */
	RUNS_ROW_DIMS = 8,   /* dimensions that are shown */
};

struct runs_row {
	const char *name;
	uint8_t dtype, ndim;
	bool known;                   /* statistics are */
	uint64_t size[RUNS_ROW_DIMS]; /* the first of ndim */
	uint64_t bytes, read;
	struct bridge_stats stats;
};

struct runs_stats {
	struct runs_arena arena;
	struct runs_row *row; /* the first RUNS_ROWS_MAX */
	size_t rows;
	uint64_t tensors, numbers, bytes; /* of the whole model */
};

/*
 * Statistics of the model in a file: remembered, or from at most BRIDGE_REPORT_READ bytes of it, each
 * tensor's share by its size. Released with runs_stats_release(). A file that has none gives no rows.
 */
int runs_stats_of(const struct bridge_runs *r, const struct runs_file *f, struct runs_stats *out);
void runs_stats_release(struct runs_stats *s);

/* The page's head up to <body>, and its end. */
int runs_page_begin(struct byte_buf *out, const char *title);
int runs_page_end(struct byte_buf *out);

/* "1.4 MiB". */
int runs_put_bytes(struct byte_buf *out, uint64_t n);

#endif
