/*
 * runs_svg.c: charts of what was recorded.
 *
 * A panel a kind: accuracies, losses, forgetting, learning rates, the rest; how fast it ran is in none.  Lines
 * have at most POINTS_MAX points, evenly chosen, and a panel at most SERIES_MAX lines: what is left out is in
 * metrics.csv, and the legend says how many.  The accuracy matrix is a field: a row after each experience, a
 * column on each task.
 */
#include "runs_svg.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "codec/ckpt_error.h"

enum { SERIES_MAX = 6, POINTS_MAX = 400, MATRIX_SIDE = 40, HEIGHT = 250 };

enum panel { ACCURACY, LOSS, FORGETTING, RATE, REST, PANELS };

static const char *const panel_name[] = { "Accuracy", "Loss", "Forgetting", "Learning rate",
	"Other metrics" };

/* clang-format off: a rule a line */
static const char style[] =
		".ck{--ink:#1c2430;--dim:#68727f;--line:#dfe4ea;--paper:#fff;--c0:#2563c9;--c1:#d9622b;--c2:#"
		"14866d;--c3:#9a4bb0;\n"
		"--c4:#c2374b;--c5:#8a6d1d;--mark:#14866d;--field:37,99,201;display:block;max-width:100%;"
		"height:auto;\n"
		"font:12px system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}\n"
		"@media(prefers-color-scheme:dark){.ck{--ink:#e6eaf0;--dim:#95a0ae;--line:#2c343f;--paper:#"
		"161b22;--c0:#6ea8fe;\n"
		"--c1:#ff9a62;--c2:#4fd0ae;--c3:#d59af0;--c4:#ff8093;--c5:#e0bf5e;--mark:#4fd0ae;--field:110,"
		"168,254}}\n"
		".ck text{fill:var(--dim)}\n"
		".ck .t{fill:var(--ink);font-size:14px;font-weight:600}\n"
		".ck .k{fill:var(--ink)}\n"
		".ck .g{stroke:var(--line);stroke-width:1}\n"
		".ck .s{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}\n"
		".ck .m{stroke:var(--mark);stroke-dasharray:3 3}\n"
		".ck .mt{fill:var(--mark);font-size:11px}\n"
		".ck .n{font-size:11px;text-anchor:middle}\n"
		".ck .e{text-anchor:end}\n"
		".ck .c{text-anchor:middle}\n";
/* clang-format on */

int runs_svg_style(struct byte_buf *out)
{
	return byte_buf_text(out, style);
}

static bool has(const char *name, const char *part)
{
	return strcasestr(name, part) != NULL;
}

static bool ends(const char *name, const char *tail)
{
	size_t n = strlen(name), k = strlen(tail);

	return n >= k && strcmp(name + n - k, tail) == 0;
}

/* -1: a column of a matrix, which has a field of its own; or the machine's speed, beside which all else is flat. */
static int panel_of(const struct runs_run *run, const char *name)
{
	const char *task = strstr(name, "/task_");

	if (run->matrix && task != NULL)
		return -1;
	if (ends(name, "_per_second") || ends(name, "_runtime"))
		return -1;
	if (has(name, "forgetting"))
		return FORGETTING;
	if (has(name, "learning_rate") || strcmp(name, "lr") == 0 || strncmp(name, "lr-", 3) == 0)
		return RATE;
	if (has(name, "loss") || has(name, "perplexity") || has(name, "error"))
		return LOSS;
	if (has(name, "acc") || has(name, "top1") || has(name, "top5") || has(name, "f1") ||
			has(name, "auc") || has(name, "miou"))
		return ACCURACY;
	return REST;
}

struct frame {
	double x0, x1, y0, y1;           /* values */
	double left, right, top, bottom; /* on paper */
};

static double at_x(const struct frame *f, double x)
{
	return f->x1 > f->x0 ? f->left + (x - f->x0) / (f->x1 - f->x0) * (f->right - f->left)
			     : (f->left + f->right) / 2;
}

static double at_y(const struct frame *f, double y)
{
	return f->bottom - (y - f->y0) / (f->y1 - f->y0) * (f->bottom - f->top);
}

/* A step of 1, 2 or 5 times a power of ten, for about n of them. */
static double tick(double span, int n)
{
	double raw = span / n, base = pow(10, floor(log10(raw))), x = raw / base;

	return (x < 1.5 ? 1 : x < 3.5 ? 2 : x < 7.5 ? 5 : 10) * base;
}

static int label(struct byte_buf *out, double v)
{
	if (fabs(v) >= 1e6 || (v != 0 && fabs(v) < 1e-4))
		return byte_buf_format(out, "%.1e", v);
	return byte_buf_format(out, "%.6g", v);
}

static int grid(const struct frame *f, struct byte_buf *out)
{
	double step = tick(f->y1 - f->y0, 4), y = ceil(f->y0 / step) * step;
	int rc = 0;

	for (int i = 0; i < 12 && y <= f->y1 + step * 1e-9 && rc == 0; i++) {
		double at = at_y(f, y);

		rc = byte_buf_format(out,
				"<path class=\"g\" d=\"M%.1f %.1fH%.1f\"/><text class=\"e\" x=\"%.1f\" "
				"y=\"%.1f\">",
				f->left, at, f->right, f->left - 7, at + 4);
		if (rc == 0)
			rc = label(out, fabs(y) < step * 1e-9 ? 0 : y);
		if (rc == 0)
			rc = byte_buf_text(out, "</text>");
		y += step;
	}
	step = f->x1 > f->x0 ? tick(f->x1 - f->x0, f->right - f->left > 500 ? 8 : 4) : 1;
	step = step < 1 ? 1 : step;
	y = ceil(f->x0 / step) * step;
	for (int i = 0; i < 20 && y <= f->x1 && rc == 0; i++) {
		rc = byte_buf_format(out, "<text class=\"c\" x=\"%.1f\" y=\"%.1f\">%.0f</text>", at_x(f, y),
				f->bottom + 18, y);
		y += step;
	}
	return rc;
}

/* A dashed line at an experience, with its name on top. */
static int mark(const struct frame *f, const struct runs_run *run, int64_t which, const char *what,
		struct byte_buf *out)
{
	const struct bridge_experience *e = which >= 0 ? &run->experience[which].pub : NULL;
	double x;

	if (e == NULL || !e->numbered || (double)e->number < f->x0 || (double)e->number > f->x1)
		return 0;
	x = at_x(f, (double)e->number);
	return byte_buf_format(out,
			"<path class=\"m\" d=\"M%.1f %.1fV%.1f\"/><text class=\"mt %s\" x=\"%.1f\" "
			"y=\"%.1f\">%s %lld</text>",
			x, f->top, f->bottom, x > (f->left + f->right) / 2 ? "e" : "",
			x > (f->left + f->right) / 2 ? x + 1 : x - 1, f->top - 4, what, (long long)e->number);
}

static int line(const struct frame *f, const struct runs_run *run, const char *name, int colour,
		struct byte_buf *out)
{
	size_t n = 0, skip, k = 0, drawn = 0;
	double px = 0, py = 0;
	int rc = byte_buf_format(out, "<path class=\"s\" stroke=\"var(--c%d)\" d=\"", colour);

	for (size_t i = 0; i < run->metrics; i++)
		n += run->metric[i].name == name && isfinite(run->metric[i].value);
	skip = n / POINTS_MAX + 1;
	for (size_t i = 0; i < run->metrics && rc == 0; i++) {
		const struct bridge_metric *m = &run->metric[i];

		if (m->name != name || !isfinite(m->value) || (k++ % skip != 0 && k != n))
			continue;
		px = at_x(f, (double)m->experience);
		py = at_y(f, m->value);
		rc = byte_buf_format(out, "%c%.1f %.1f", drawn++ == 0 ? 'M' : 'L', px, py);
	}
	if (rc == 0)
		rc = byte_buf_text(out, "\"/>");
	if (rc < 0 || drawn == 0 || drawn > 40)
		return rc < 0 || drawn == 0 ? rc
					    : byte_buf_format(out,
							      "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" "
							      "fill=\"var(--c%d)\"/>",
							      px, py, colour);
	/* Few points are shown as such. */
	for (size_t i = 0; i < run->metrics && rc == 0; i++) {
		const struct bridge_metric *m = &run->metric[i];

		if (m->name == name && isfinite(m->value))
			rc = byte_buf_format(out,
					"<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.8\" "
					"fill=\"var(--c%d)\"><title>%lld: %.6g</title></circle>",
					at_x(f, (double)m->experience), at_y(f, m->value), colour,
					(long long)m->experience, m->value);
	}
	return rc;
}

/* Bytes of a UTF-8 text that show as at most `most` characters; *shown: how many these are. */
static int shortened(struct byte_buf *out, const char *name, size_t most, size_t *shown)
{
	char text[160];
	size_t n = 0, chars = 0;

	while (name[n] != 0 && n < sizeof text - 8) {
		if (((uint8_t)name[n] & 0xc0) != 0x80 && chars++ == most)
			break;
		n++;
	}
	memcpy(text, name, n);
	strcpy(text + n, name[n] != 0 ? "\xe2\x80\xa6" : "");
	*shown = chars;
	return runs_escape(out, text);
}

static int legend(const char *const *series, size_t n, size_t more, double left, double right, double *y,
		struct byte_buf *out)
{
	double x = left;
	int rc = 0;

	*y += 34;
	for (size_t i = 0; i < n && rc == 0; i++) {
		struct byte_buf text = { 0 };
		size_t chars;
		double wide;

		rc = shortened(&text, series[i], 38, &chars);
		wide = 28 + 6.8 * (double)chars;
		if (x + wide > right && x > left) {
			x = left;
			*y += 18;
		}
		if (rc == 0)
			rc = byte_buf_format(out,
					"<rect x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"3\" rx=\"1.5\" "
					"fill=\"var(--c%zu)\"/>"
					"<text class=\"k\" x=\"%.1f\" y=\"%.1f\">",
					x, *y - 6, i, x + 17, *y - 1);
		if (rc == 0)
			rc = byte_buf_put(out, text.p, text.len);
		if (rc == 0)
			rc = byte_buf_text(out, "</text>");
		byte_buf_release(&text);
		x += wide;
	}
	if (rc == 0 && more > 0)
		rc = byte_buf_format(out, "<text x=\"%.1f\" y=\"%.1f\">and %zu more</text>", x, *y - 1, more);
	return rc;
}

static int panel(const struct runs_run *run, int which, unsigned width, struct byte_buf *out)
{
	const char *series[SERIES_MAX];
	struct frame f = { .x0 = HUGE_VAL, .x1 = -HUGE_VAL, .y0 = HUGE_VAL, .y1 = -HUGE_VAL };
	struct byte_buf b = { 0 };
	size_t n = 0, more = 0;
	double y = 18;
	int rc;

	for (size_t i = 0; i < run->names; i++) {
		if (panel_of(run, run->name[i]) != which)
			continue;
		if (n < SERIES_MAX)
			series[n++] = run->name[i];
		else
			more++;
	}
	for (size_t i = 0; i < run->metrics; i++)
		for (size_t k = 0; k < n && isfinite(run->metric[i].value); k++)
			if (series[k] == run->metric[i].name) {
				f.x0 = fmin(f.x0, (double)run->metric[i].experience);
				f.x1 = fmax(f.x1, (double)run->metric[i].experience);
				f.y0 = fmin(f.y0, run->metric[i].value);
				f.y1 = fmax(f.y1, run->metric[i].value);
			}
	if (n == 0 || !(f.x1 >= f.x0))
		return 0;
	rc = legend(series, n, more, 0, width, &y, &b);
	/* Some air above and below, none beyond what shares and losses can be. */
	if (f.y1 - f.y0 < 1e-12 * fmax(1, fabs(f.y1))) {
		f.y0 -= fabs(f.y0) > 0 ? fabs(f.y0) * 0.1 : 0.5;
		f.y1 += fabs(f.y1) > 0 ? fabs(f.y1) * 0.1 : 0.5;
	} else {
		double air = (f.y1 - f.y0) * 0.06, low = f.y0 - air;

		f.y0 = f.y0 >= 0 && low < 0 ? 0 : low;
		f.y1 += air;
	}
	f.left = 52;
	f.right = width - 14;
	f.top = y + 20;
	f.bottom = f.top + HEIGHT - 78;
	if (rc == 0)
		rc = byte_buf_format(out,
				"<svg class=\"ck\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u "
				"%.0f\" width=\"%u\" "
				"height=\"%.0f\" role=\"img\"><title>%s</title><text class=\"t\" x=\"0\" "
				"y=\"18\">%s</text>",
				width, f.bottom + 28, width, f.bottom + 28, panel_name[which],
				panel_name[which]);
	if (rc == 0)
		rc = byte_buf_put(out, b.p, b.len);
	byte_buf_release(&b);
	if (rc == 0)
		rc = grid(&f, out);
	if (rc == 0 && run->pub.best >= 0)
		rc = mark(&f, run, run->pub.best, "best", out);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = line(&f, run, series[i], (int)i, out);
	return rc < 0 ? rc
		      : byte_buf_format(out, "<text class=\"e\" x=\"%.1f\" y=\"18\">%s</text></svg>\n",
					f.right, run->by_step ? "by step" : "by experience");
}

/*
 * ---- the matrix
 * ------------------------------------------------------------------------------------------------------
 */

struct field {
	const char *prefix; /* up to and with "/task_" */
	size_t len;
	int64_t first, last; /* experiences */
	long tasks;
};

static long task_of(const struct field *f, const char *name)
{
	return strncmp(name, f->prefix, f->len) == 0 ? strtol(name + f->len, NULL, 10) : -1;
}

static int cells(const struct runs_run *run, const struct field *f, double left, double top, double side,
		double high, bool text, struct byte_buf *out)
{
	int rc = 0;

	for (size_t i = 0; i < run->metrics && rc == 0; i++) {
		const struct bridge_metric *m = &run->metric[i];
		long task = task_of(f, m->name);
		double x, y, share;

		if (task < 0 || task >= f->tasks || !isfinite(m->value) || m->experience > f->last)
			continue;
		x = left + (double)task * side;
		y = top + (double)(m->experience - f->first) * high;
		/* Percent, or parts of one. */
		share = m->value > 1.0001 ? m->value / 100 : m->value;
		share = share < 0 ? 0 : share > 1 ? 1 : share;
		rc = byte_buf_format(out,
				"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\" "
				"fill=\"rgba(var(--field),%.2f)\">"
				"<title>after %lld, task %ld: %.4g</title></rect>",
				x + 1, y + 1, side - 2, high - 2, 0.06 + 0.84 * share,
				(long long)m->experience, task, m->value);
		if (rc == 0 && text)
			rc = byte_buf_format(out,
					"<text class=\"n\" style=\"fill:var(%s)\" x=\"%.1f\" "
					"y=\"%.1f\">%.*f</text>",
					share > 0.6 ? "--paper" : "--ink", x + side / 2, y + high / 2 + 4,
					m->value > 1.0001 ? 0 : 2, m->value);
	}
	return rc;
}

static int matrix(const struct runs_run *run, unsigned width, struct byte_buf *out)
{
	struct field f = { .first = INT64_MAX, .last = INT64_MIN };
	double left = 76, top = 62, side, high;
	int rc;

	for (size_t i = 0; i < run->names && f.prefix == NULL; i++) {
		const char *task = strstr(run->name[i], "/task_");

		if (task != NULL) {
			f.prefix = run->name[i];
			f.len = (size_t)(task - f.prefix) + 6;
		}
	}
	for (size_t i = 0; i < run->metrics && f.prefix != NULL; i++) {
		long task = task_of(&f, run->metric[i].name);

		if (task < 0)
			continue;
		f.tasks = task + 1 > f.tasks ? task + 1 : f.tasks;
		f.first = run->metric[i].experience < f.first ? run->metric[i].experience : f.first;
		f.last = run->metric[i].experience > f.last ? run->metric[i].experience : f.last;
	}
	if (f.tasks == 0)
		return 0;
	f.tasks = f.tasks > MATRIX_SIDE ? MATRIX_SIDE : f.tasks;
	if (f.last - f.first >= MATRIX_SIDE)
		f.last = f.first + MATRIX_SIDE - 1;
	side = (width - left - 4) / (double)f.tasks;
	side = side > 56 ? 56 : side;
	high = side > 30 ? 30 : side;
	rc = byte_buf_format(out,
			"<svg class=\"ck\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %.0f\" "
			"width=\"%u\" height=\"%.0f\" "
			"role=\"img\"><title>Accuracy by task</title><text class=\"t\" x=\"0\" "
			"y=\"18\">Accuracy by task</text>"
			"<text x=\"0\" y=\"38\">a row after each experience, a column on each task</text>",
			width, top + (double)(f.last - f.first + 1) * high + 10, width,
			top + (double)(f.last - f.first + 1) * high + 10);
	for (long k = 0; k < f.tasks && rc == 0; k += side < 22 ? 5 : 1)
		rc = byte_buf_format(out, "<text class=\"c\" x=\"%.1f\" y=\"%.1f\">%ld</text>",
				left + ((double)k + 0.5) * side, top - 6, k);
	for (int64_t e = f.first; e <= f.last && rc == 0; e += high < 14 ? 5 : 1)
		rc = byte_buf_format(out, "<text class=\"e\" x=\"%.1f\" y=\"%.1f\">after %lld</text>",
				left - 8, top + ((double)(e - f.first) + 0.5) * high + 4, (long long)e);
	if (rc == 0)
		rc = cells(run, &f, left, top, side, high, side >= 30, out);
	return rc < 0 ? rc : byte_buf_text(out, "</svg>\n");
}

int runs_svg_charts(const struct runs_run *run, unsigned width, struct byte_buf *out)
{
	int rc = 0;

	for (int i = 0; i < PANELS && rc == 0; i++) {
		rc = panel(run, i, width, out);
		if (rc == 0 && i == FORGETTING && run->matrix)
			rc = matrix(run, width, out);
	}
	return rc;
}
