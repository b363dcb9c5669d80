/*
 * runs_report.c: one page about one run: what is in it, what does it cost, how did it go.
 *
 * Self-contained, without a script.  Everything that a user or a file named is escaped: a key may be
 * "<script>".  A run of ten thousand checkpoints makes no page of ten thousand rows: the newest are shown,
 * and the best.
 */
#include "runs_report.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/ckpt_error.h"

enum { EXPERIENCES_MAX = 60, COMPONENTS_SHOWN = 12 };

/* What one component costs over all experiences. */
struct share {
	uint64_t bytes;
	size_t count;
};

struct sums {
	struct share component[RUNS_COMPONENTS];
	uint64_t raw, stored; /* of the files; what they share is stored once */
	uint64_t youngest;
	size_t torn;
	bool known, all_known;            /* what each experience costs, what all cost together */
	uint64_t *file_raw, *file_stored; /* of each experience */
};

static int sum(const struct bridge_runs *r, const struct runs_run *run, struct sums *s)
{
	int rc;

	s->file_raw = calloc(run->pub.experiences + 1, sizeof *s->file_raw);
	s->file_stored = calloc(run->pub.experiences + 1, sizeof *s->file_stored);
	if (s->file_raw == NULL || s->file_stored == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a report");
	s->known = r->files.cost != NULL;
	for (size_t i = 0; i < run->pub.experiences; i++) {
		const struct runs_experience *e = &run->experience[i];

		s->torn += e->pub.torn;
		if (e->pub.mtime_ns > s->youngest)
			s->youngest = e->pub.mtime_ns;
		for (size_t k = 0; k < e->pub.components; k++) {
			s->component[e->item[k].component].bytes += e->item[k].pub.size;
			s->component[e->item[k].component].count++;
		}
		for (size_t k = 0; k < e->files; k++) {
			uint64_t stored = 0;

			if (e->file[k]->link)
				continue;
			s->file_raw[i] += e->file[k]->size;
			if (s->known && r->files.cost(r->files.arg, e->file[k]->path, &stored) < 0)
				s->known = false;
			s->file_stored[i] += stored;
		}
		s->raw += s->file_raw[i];
	}
	rc = runs_stored(r, (size_t)(run - r->run), &s->stored);
	s->all_known = rc == 0;
	return rc == -ENOMEM ? rc : 0;
}

static int put_time(struct byte_buf *out, uint64_t ns, bool clock)
{
	time_t t = (time_t)(ns / 1000000000u);
	struct tm tm;
	char text[40];

	if (gmtime_r(&t, &tm) == NULL)
		return byte_buf_text(out, "?");
	strftime(text, sizeof text, clock ? "%Y-%m-%d %H:%M" : "%Y-%m-%d", &tm);
	return byte_buf_text(out, text);
}

/* The value of a metric that is newest; NaN. */
static double newest(const struct runs_run *run, const char *name)
{
	double v = (double)NAN;

	for (size_t i = 0; i < run->metrics; i++)
		if (run->metric[i].name == name && isfinite(run->metric[i].value))
			v = run->metric[i].value;
	return v;
}

static int card(struct byte_buf *out, const char *what, const struct byte_buf *value, const char *more)
{
	int rc = byte_buf_format(out, "<div><span>%s</span><b>", what);

	if (rc == 0)
		rc = byte_buf_put(out, value->p, value->len);
	if (rc == 0)
		rc = byte_buf_text(out, "</b>");
	if (rc == 0 && more != NULL && more[0] != 0) {
		rc = byte_buf_text(out, "<i>");
		if (rc == 0)
			rc = runs_escape(out, more);
		if (rc == 0)
			rc = byte_buf_text(out, "</i>");
	}
	return rc < 0 ? rc : byte_buf_text(out, "</div>\n");
}

/* The metric that tells most in one number, and forgetting. */
static int metric_cards(const struct runs_run *run, struct byte_buf *out)
{
	static const char *const wanted[] = { "val_acc", "val_accuracy", "eval_accuracy", "test_acc",
		"accuracy", "acc", "top1", "val_loss", "eval_loss", "best_val_loss", "loss", "train_loss" };
	const char *name = NULL, *fall = NULL;
	struct byte_buf v = { 0 };
	int rc = 0;

	for (size_t k = 0; k < sizeof wanted / sizeof wanted[0] && name == NULL; k++)
		for (size_t i = 0; i < run->names && name == NULL; i++)
			if (strcmp(run->name[i], wanted[k]) == 0)
				name = run->name[i];
	if (name == NULL)
		name = run->mean; /* of a matrix, by its framework's name */
	for (size_t i = 0; i < run->names && name == NULL; i++)
		if (strcasestr(run->name[i], "acc") != NULL)
			name = run->name[i];
	if (name == NULL && run->names > 0)
		name = run->name[0];
	for (size_t i = 0; i < run->names; i++)
		if (strcmp(run->name[i], "forgetting") == 0)
			fall = run->name[i];
	if (name != NULL && isfinite(newest(run, name))) {
		rc = byte_buf_format(&v, "%.4g", newest(run, name));
		if (rc == 0)
			rc = card(out, "Last recorded", &v, name);
	}
	v.len = 0;
	if (rc == 0 && fall != NULL && isfinite(newest(run, fall))) {
		rc = byte_buf_format(&v, "%.4g", newest(run, fall));
		if (rc == 0)
			rc = card(out, "Forgetting", &v, "mean fall from the peak of each earlier task");
	}
	byte_buf_release(&v);
	return rc;
}

static int cards(const struct runs_run *run, const struct sums *s, struct byte_buf *out)
{
	struct byte_buf v = { 0 }, more = { 0 };
	int rc = byte_buf_text(out, "<div class=\"cards\">\n");

	if (rc == 0)
		rc = byte_buf_format(&v, "%zu", run->pub.experiences);
	if (rc == 0 && run->pub.latest >= 0)
		rc = byte_buf_format(&more, "latest %s%s", run->experience[run->pub.latest].pub.name,
				s->torn > 0 ? ", " : "");
	if (rc == 0 && s->torn > 0)
		rc = byte_buf_format(&more, "%zu torn", s->torn);
	if (rc == 0)
		rc = byte_buf_put(&more, "", 1);
	if (rc == 0)
		rc = card(out, run->by_step ? "Checkpoints" : "Experiences", &v, (char *)more.p);
	v.len = more.len = 0;
	if (rc == 0 && run->pub.best >= 0) {
		rc = runs_escape(&v, run->experience[run->pub.best].pub.name);
		if (rc == 0)
			rc = card(out, "Best", &v, run->pub.best_by);
	}
	v.len = 0;
	if (rc == 0)
		rc = metric_cards(run, out);
	if (rc == 0)
		rc = runs_put_bytes(&v, s->raw);
	if (rc == 0)
		rc = card(out, "Size of its files", &v, "");
	v.len = 0;
	if (rc == 0 && s->all_known) {
		rc = runs_put_bytes(&v, s->stored);
		if (rc == 0 && s->raw > 0)
			rc = byte_buf_format(&more, "%.1f %% of that: what experiences share counts once",
					100.0 * (double)s->stored / (double)s->raw);
		if (rc == 0)
			rc = byte_buf_put(&more, "", 1);
		if (rc == 0)
			rc = card(out, "Stored", &v, (char *)more.p);
	}
	byte_buf_release(&v);
	byte_buf_release(&more);
	return rc < 0 ? rc : byte_buf_text(out, "</div>\n");
}

static int head(const struct runs_run *run, const struct sums *s, struct byte_buf *out)
{
	const char *slash = strrchr(run->pub.path, '/');
	struct byte_buf up = { 0 };
	int rc = byte_buf_text(out, "<header><h1>");

	if (slash != NULL) {
		rc = rc < 0 ? rc : byte_buf_put(&up, run->pub.path, (size_t)(slash - run->pub.path) + 1);
		rc = rc < 0 ? rc : byte_buf_put(&up, "", 1);
		rc = rc < 0 ? rc : byte_buf_text(out, "<span>");
		rc = rc < 0 ? rc : runs_escape(out, (char *)up.p);
		rc = rc < 0 ? rc : byte_buf_text(out, "</span>");
		byte_buf_release(&up);
	}
	if (rc == 0)
		rc = runs_escape(out, slash != NULL ? slash + 1 : run->pub.path);
	if (rc == 0)
		rc = byte_buf_format(
				out, "</h1>\n<p class=\"sub\">%s run, last written ", run->pub.framework);
	if (rc == 0)
		rc = put_time(out, s->youngest, true);
	return rc < 0 ? rc : byte_buf_text(out, " UTC</p></header>\n");
}

static int charts(const struct runs_run *run, struct byte_buf *out)
{
	size_t from = out->len;
	int rc = byte_buf_text(
			out, "<section class=\"charts\"><h2>How it went</h2>\n<div class=\"broad\">\n");
	size_t was = out->len;

	if (rc == 0)
		rc = runs_svg_charts(run, 980, out);
	if (rc == 0 && out->len == was) { /* nothing was recorded */
		out->len = from;
		return 0;
	}
	if (rc == 0)
		rc = byte_buf_text(out, "</div>\n<div class=\"narrow\">\n");
	if (rc == 0)
		rc = runs_svg_charts(run, 330, out);
	return rc < 0 ? rc
		      : byte_buf_text(out, "</div>\n<p class=\"note\">All of it, as numbers: "
					   "metrics.csv</p></section>\n");
}

static int cost(const struct runs_run *run, const struct sums *s, struct byte_buf *out)
{
	uint64_t all = 0;
	int rc;

	(void)run;
	for (int c = 0; c < RUNS_COMPONENTS; c++)
		all += s->component[c].bytes;
	if (all == 0)
		return 0;
	rc = byte_buf_text(out, "<section><h2>What it is made of</h2>\n<div class=\"bar\">");
	for (int c = 0; c < RUNS_COMPONENTS && rc == 0; c++)
		if (s->component[c].bytes > 0)
			rc = byte_buf_format(out, "<i class=\"f%d\" style=\"width:%.3f%%\"></i>", c,
					100.0 * (double)s->component[c].bytes / (double)all);
	if (rc == 0)
		rc = byte_buf_text(out, "</div>\n<table><tr><th>component</th><th class=\"r\">files</th><th "
					"class=\"r\">size</th>"
					"<th class=\"r\">share</th></tr>\n");
	for (int c = 0; c < RUNS_COMPONENTS && rc == 0; c++) {
		if (s->component[c].count == 0)
			continue;
		rc = byte_buf_format(out,
				"<tr><td><i class=\"dot f%d\"></i>%s</td><td class=\"r\">%zu</td><td "
				"class=\"r\">",
				c, runs_component_name((enum runs_component)c), s->component[c].count);
		if (rc == 0)
			rc = runs_put_bytes(out, s->component[c].bytes);
		if (rc == 0)
			rc = byte_buf_format(out, "</td><td class=\"r\">%.1f %%</td></tr>\n",
					100.0 * (double)s->component[c].bytes / (double)all);
	}
	return rc < 0 ? rc : byte_buf_text(out, "</table></section>\n");
}

static int experience(const struct runs_run *run, const struct sums *s, size_t i, struct byte_buf *out)
{
	const struct runs_experience *e = &run->experience[i];
	int rc = byte_buf_text(out, "<tr><td>");

	if (rc == 0)
		rc = runs_escape(out, e->pub.name);
	rc = rc < 0 ? rc : byte_buf_text(out, "</td><td>");
	if (rc == 0 && (int64_t)i == run->pub.best)
		rc = byte_buf_text(out, "<span class=\"tag best\">best</span>");
	if (rc == 0 && (int64_t)i == run->pub.latest)
		rc = byte_buf_text(out, "<span class=\"tag new\">latest</span>");
	if (rc == 0 && e->pub.torn) {
		rc = byte_buf_text(out, "<span class=\"tag torn\" title=\"");
		rc = rc < 0 ? rc : runs_escape(out, e->pub.why != NULL ? e->pub.why : "");
		rc = rc < 0 ? rc : byte_buf_text(out, "\">torn</span>");
	}
	rc = rc < 0 ? rc : byte_buf_text(out, "</td><td class=\"r\" data-is=\"raw\">");
	rc = rc < 0 ? rc : runs_put_bytes(out, s->file_raw[i]);
	if (rc == 0 && s->known) {
		rc = byte_buf_text(out, "</td><td class=\"r\" data-is=\"stored\">");
		rc = rc < 0 ? rc : runs_put_bytes(out, s->file_stored[i]);
	}
	rc = rc < 0 ? rc : byte_buf_text(out, "</td><td class=\"n opt\">");
	rc = rc < 0 ? rc : put_time(out, e->pub.mtime_ns, true);
	rc = rc < 0 ? rc : byte_buf_text(out, "</td><td>");
	for (size_t k = 0; k < e->pub.components && k < COMPONENTS_SHOWN && rc == 0; k++) {
		rc = byte_buf_text(out, "<span class=\"tag\">");
		rc = rc < 0 ? rc : runs_escape(out, e->item[k].pub.name);
		rc = rc < 0 ? rc : byte_buf_text(out, " <s>");
		rc = rc < 0 ? rc : runs_put_bytes(out, e->item[k].pub.size);
		rc = rc < 0 ? rc : byte_buf_text(out, "</s></span>");
	}
	if (rc == 0 && e->pub.components > COMPONENTS_SHOWN)
		rc = byte_buf_format(out, "<span class=\"tag\">and %zu more</span>",
				e->pub.components - COMPONENTS_SHOWN);
	return rc < 0 ? rc : byte_buf_text(out, "</td></tr>\n");
}

static int experiences(const struct runs_run *run, const struct sums *s, struct byte_buf *out)
{
	size_t n = run->pub.experiences, shown = 0;
	int rc = byte_buf_format(out,
			"<section><h2>%s</h2>\n<div class=\"wide\"><table "
			"class=\"exp\"><tr><th>%s</th><th></th><th "
			"class=\"r\">raw</th>%s"
			"<th class=\"opt\">written (UTC)</th><th>components</th></tr>\n",
			run->by_step ? "Checkpoints" : "Experiences", run->by_step ? "step" : "number",
			s->known ? "<th class=\"r\">stored</th>" : "");

	for (size_t i = n; i-- > 0 && rc == 0;) {
		if (n - i > EXPERIENCES_MAX && (int64_t)i != run->pub.best)
			continue;
		rc = experience(run, s, i, out);
		shown++;
	}
	rc = rc < 0 ? rc : byte_buf_text(out, "</table></div>\n");
	if (rc == 0 && shown < n)
		rc = byte_buf_format(out, "<p class=\"note\">The newest %zu of %zu.</p>", shown, n);
	return rc < 0 ? rc : byte_buf_text(out, "</section>\n");
}

static int number(struct byte_buf *out, double v)
{
	return isfinite(v) ? byte_buf_format(out, "<td class=\"r\">%.3g</td>", v)
			   : byte_buf_text(out, "<td class=\"r\"></td>");
}

static int tensor(const struct runs_row *t, struct byte_buf *out)
{
	int rc = byte_buf_text(out, "<tr><td class=\"k\">");

	rc = rc < 0 ? rc : runs_escape(out, t->name);
	rc = rc < 0 ? rc : byte_buf_text(out, "</td><td class=\"n\">");
	for (uint32_t i = 0; i < t->ndim && i < RUNS_ROW_DIMS && rc == 0; i++)
		rc = byte_buf_format(
				out, "%s%llu", i > 0 ? " \xc3\x97 " : "", (unsigned long long)t->size[i]);
	if (rc == 0)
		rc = byte_buf_format(out, "%s</td><td class=\"n\">%s</td>",
				t->ndim == 0              ? "scalar"
				: t->ndim > RUNS_ROW_DIMS ? " \xc3\x97 .."
							  : "",
				t->dtype == TORCH_UNTYPED
						? ""
						: torch_dtype_info((enum torch_dtype)t->dtype)->name);
	if (rc < 0 || !t->known)
		return rc < 0 ? rc
			      : byte_buf_text(out, "<td></td><td></td><td></td><td></td><td></td></tr>\n");
	rc = number(out, t->stats.mean);
	rc = rc < 0 ? rc : number(out, t->stats.std);
	rc = rc < 0 ? rc : number(out, t->stats.min);
	rc = rc < 0 ? rc : number(out, t->stats.max);
	rc = rc < 0 ? rc : byte_buf_text(out, "<td>");
	if (rc == 0 && t->stats.nans > 0)
		rc = byte_buf_format(out, "<span class=\"bad\">%llu nan</span> ",
				(unsigned long long)t->stats.nans);
	if (rc == 0 && t->stats.infs > 0)
		rc = byte_buf_format(out, "<span class=\"bad\">%llu inf</span>",
				(unsigned long long)t->stats.infs);
	return rc < 0 ? rc : byte_buf_text(out, "</td></tr>\n");
}

static int tensors(const struct bridge_runs *r, const struct runs_run *run, struct byte_buf *out)
{
	const struct runs_file *f =
			run->pub.latest >= 0 ? runs_model_file(&run->experience[run->pub.latest]) : NULL;
	struct runs_stats s;
	bool sampled = false;
	int rc;

	if (f == NULL)
		return 0;
	rc = runs_stats_of(r, f, &s);
	if (rc < 0)
		return rc;
	if (s.rows == 0) {
		runs_stats_release(&s);
		return 0;
	}
	rc = byte_buf_format(out,
			"<section><h2>The newest model, %s %s</h2>\n<p class=\"sub\">%llu tensors, "
			"%llu numbers, ",
			run->by_step ? "step" : "experience",
			run->experience[run->pub.latest].pub.numbered
					? run->experience[run->pub.latest].pub.name
					: "last",
			(unsigned long long)s.tensors, (unsigned long long)s.numbers);
	rc = rc < 0 ? rc : runs_put_bytes(out, s.bytes);
	rc = rc < 0 ? rc
		    : byte_buf_text(out,
				      "</p>\n<div "
				      "class=\"wide\"><table><tr><th>tensor</th><th>shape</th><th>dtype</th>"
				      "<th class=\"r\">mean</th><th class=\"r\">std</th><th "
				      "class=\"r\">min</th><th class=\"r\">max</th><th></th></tr>\n");
	for (size_t i = 0; i < s.rows && rc == 0; i++) {
		sampled |= s.row[i].known && s.row[i].read < s.row[i].bytes;
		rc = tensor(&s.row[i], out);
	}
	rc = rc < 0 ? rc : byte_buf_text(out, "</table></div>\n");
	if (rc == 0 && s.rows < s.tensors)
		rc = byte_buf_format(out, "<p class=\"note\">The first %zu of %llu tensors.</p>", s.rows,
				(unsigned long long)s.tensors);
	if (rc == 0 && sampled)
		rc = byte_buf_format(out,
				"<p class=\"note\">Of the beginning of each tensor: %d MiB were read in "
				"all.</p>",
				BRIDGE_REPORT_READ >> 20);
	runs_stats_release(&s);
	return rc < 0 ? rc : byte_buf_text(out, "</section>\n");
}

int bridge_runs_report(const struct bridge_runs *r, size_t run, struct byte_buf *out)
{
	const struct runs_run *x = &r->run[run];
	struct sums s = { .raw = 0 };
	size_t from = out->len;
	int rc = sum(r, x, &s);

	rc = rc < 0 ? rc : runs_page_begin(out, x->pub.path);
	rc = rc < 0 ? rc : head(x, &s, out);
	rc = rc < 0 ? rc : cards(x, &s, out);
	rc = rc < 0 ? rc : charts(x, out);
	rc = rc < 0 ? rc : experiences(x, &s, out);
	rc = rc < 0 ? rc : cost(x, &s, out);
	rc = rc < 0 ? rc : tensors(r, x, out);
	rc = rc < 0 ? rc : runs_page_end(out);
	free(s.file_raw);
	free(s.file_stored);
	if (rc < 0)
		out->len = from;
	return rc;
}
