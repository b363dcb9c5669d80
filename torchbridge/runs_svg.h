/*
 * runs_svg.h: charts of a run's metrics, for a file of their own and inside the report.
 */
#ifndef RUNS_SVG_H
#define RUNS_SVG_H

#include "runs_internal.h"

/*
 * Appends <svg> elements, `width` units wide, one unit a pixel: accuracies, losses, what else was recorded,
 * and the accuracy matrix as a field of colours. Nothing where nothing was recorded. Colours are the CSS
 * variables of runs_svg_style().
 */
int runs_svg_charts(const struct runs_run *run, unsigned width, struct byte_buf *out);
/* Rules for what runs_svg_charts() draws; light and dark. */
int runs_svg_style(struct byte_buf *out);

/* Appends text as XML or HTML text: & < > " ' escaped, control characters and what is no UTF-8 as U+FFFD. */
int runs_escape(struct byte_buf *out, const char *text);

#endif
