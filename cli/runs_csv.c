/*
 * runs_csv.c: the metrics.csv of a run, read back (runs_list.h).
 *
 * RFC 4180: a line a row, fields parted by ',', those with odd characters in '"', doubled inside.  The first line has the names
 * of the columns: `experience` or, of a run that counts steps, `step`; and metrics.  A field that is empty, or no number, is no
 * value of its metric.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "cli.h"
#include "runs_list.h"

enum { CSV_MAX = 64 << 20 };

/* The fields of a line, and those of the first. */
struct columns {
	char **f;
	size_t n, cap;
};

/* The next field of a line, terminated in place; *at is set behind it, NULL after the last of the line. */
static char *field(char **at)
{
	char *p = *at, *start = p, *to;

	if (*p != '"') {
		p += strcspn(p, ",\n");
		*at = *p == ',' ? p + 1 : NULL;
		*p = '\0';
		return start;
	}
	start = to = ++p;
	for (; *p != '\0' && (*p != '"' || p[1] == '"'); *to++ = *p++)
		p += *p == '"';
	p += *p == '"';
	*at = *p == ',' ? p + 1 : NULL;
	*to = '\0';
	return start;
}

static int fields(char *line, struct columns *out)
{
	out->n = 0;
	for (char *at = line; at != NULL;) {
		if (out->n == out->cap) {
			size_t cap = out->cap > 0 ? out->cap * 2 : 16;
			char **grown = reallocarray(out->f, cap, sizeof(*grown));

			if (grown == NULL)
				return ckpt_fail(ENOMEM, "metrics: out of memory");
			out->f = grown;
			out->cap = cap;
		}
		out->f[out->n++] = field(&at);
	}
	return 0;
}

/* Where a line ends: a newline that is not in quotes. */
static char *end_of_line(char *p)
{
	bool quoted = false;

	for (; *p != '\0' && (quoted || *p != '\n'); p++)
		quoted ^= *p == '"';
	return p;
}

/* True for a whole field that is a number: "nan" and "inf" too. */
static bool number(const char *s, double *out)
{
	char *end;

	*out = strtod(s, &end);
	return end != s && *end == '\0';
}

/* The first field is the row's number. */
static int take_line(const struct columns *names, const struct columns *line,
		int (*row)(void *arg, int64_t experience, const char *name, double value), void *arg)
{
	double e, v;
	int rc = 0;

	if (!number(line->f[0], &e) || !(fabs(e) < 0x1p53))
		return 0;
	for (size_t i = 1; i < line->n && i < names->n && rc == 0; i++)
		if (number(line->f[i], &v))
			rc = row(arg, (int64_t)e, names->f[i], v);
	return rc;
}

static int parse(char *text, int (*row)(void *arg, int64_t experience, const char *name, double value),
		void *arg)
{
	struct columns names = { 0 }, here = { 0 };
	char *line = text;
	bool first = true;
	int rc = 0;

	while (*line != '\0' && rc == 0) {
		char *end = end_of_line(line), *next = *end != '\0' ? end + 1 : end;

		*end = '\0';
		rc = fields(line, first ? &names : &here);
		if (rc == 0 && !first)
			rc = take_line(&names, &here, row, arg);
		first = false;
		line = next;
	}
	free(names.f);
	free(here.f);
	return rc;
}

int run_list_metrics(struct cli *c, const char *path,
		int (*row)(void *arg, int64_t experience, const char *name, double value), void *arg)
{
	char *dir = cli_join("@runs", path), *full = dir != NULL ? cli_join(dir, "metrics.csv") : NULL,
	     *text = NULL;
	struct checkpoint k;
	struct tree t;
	size_t len = 0;
	int64_t n = 1;
	int rc;

	tree_store_init(&t, c);
	rc = full == NULL ? ckpt_fail(ENOMEM, "metrics: out of memory") : checkpoint_open_path(&t, full, &k);
	free(dir);
	free(full);
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	if (k.st.st_size > CSV_MAX)
		rc = ckpt_fail(EFBIG, "metrics.csv: more than %d MiB", CSV_MAX >> 20);
	text = rc == 0 ? malloc((size_t)k.st.st_size + 1) : NULL;
	if (rc == 0 && text == NULL)
		rc = ckpt_fail(ENOMEM, "metrics: out of memory");
	while (rc == 0 && n > 0 && len < (size_t)k.st.st_size) {
		n = checkpoint_read(&k, len, text + len, (size_t)k.st.st_size - len);
		len += n > 0 ? (size_t)n : 0;
		rc = n < 0 ? (int)n : 0;
	}
	if (rc == 0) {
		text[len] = '\0';
		rc = parse(text, row, arg);
	}
	free(text);
	checkpoint_close(&k);
	return rc;
}
