/*
 * runs_chart.c: metrics.svg: the charts of a run below one another, as one picture.
 */
#include <stdlib.h>
#include <string.h>

#include "runs_svg.h"

enum { WIDTH = 720, EDGE = 24, GAP = 20, HEAD = 58 };

/* The height that a chart says of itself. */
static unsigned height_of(const char *svg)
{
	const char *p = strstr(svg, "height=\"");

	return p != NULL ? (unsigned)strtoul(p + 8, NULL, 10) : 0;
}

int bridge_runs_svg(const struct bridge_runs *r, size_t run, struct byte_buf *out)
{
	const struct runs_run *x = &r->run[run];
	struct byte_buf charts = { 0 }, body = { 0 };
	unsigned y = HEAD;
	char *p;
	int rc = runs_svg_charts(x, WIDTH, &charts);

	if (rc == 0)
		rc = byte_buf_put(&charts, "", 1);
	p = (char *)charts.p;
	while (rc == 0 && p != NULL && (p = strstr(p, "<svg ")) != NULL) {
		char *end = strstr(p, "</svg>");

		rc = byte_buf_format(&body, "<svg y=\"%u\" x=\"%d\"", y, EDGE);
		if (rc == 0)
			rc = byte_buf_put(&body, p + 4, (size_t)(end + 6 - p - 4));
		if (rc == 0)
			rc = byte_buf_text(&body, "\n");
		y += height_of(p) + GAP;
		p = end;
	}
	if (rc == 0 && y == HEAD) {
		rc = byte_buf_format(&body, "<text x=\"%d\" y=\"%d\">no metrics were recorded</text>\n", EDGE,
				HEAD + 10);
		y += 36;
	}
	if (rc == 0)
		rc = byte_buf_format(out,
				"<svg class=\"ck\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d "
				"%u\" width=\"%d\" height=\"%u\">\n"
				"<style>",
				WIDTH + 2 * EDGE, y, WIDTH + 2 * EDGE, y);
	if (rc == 0)
		rc = runs_svg_style(out);
	if (rc == 0)
		rc = byte_buf_format(out,
				"</style>\n<rect width=\"100%%\" height=\"100%%\" "
				"style=\"fill:var(--paper)\"/>\n"
				"<text x=\"%d\" y=\"34\" "
				"style=\"font-size:17px;font-weight:600;fill:var(--ink)\">",
				EDGE);
	if (rc == 0)
		rc = runs_escape(out, x->pub.path);
	if (rc == 0)
		rc = byte_buf_text(out, "</text>\n");
	if (rc == 0)
		rc = byte_buf_put(out, body.p, body.len);
	if (rc == 0)
		rc = byte_buf_text(out, "</svg>\n");
	byte_buf_release(&charts);
	byte_buf_release(&body);
	return rc;
}
