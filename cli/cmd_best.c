/*
 * cmd_best.c: ckptfs best: the best checkpoint of a run; and whether it is time to stop.
 *
 * By a metric the best is the first experience that has its highest (or lowest) value; one as good that comes later is no
 * improvement.  Without one it is what the run itself recorded.  Patience counts what came after the best: rows of the metric,
 * also of experiences whose checkpoints are gone; or experiences.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "runs_list.h"
#include "store/store.h"
#include "target.h"

enum { NAMES_SHOWN = 20 };

struct options {
	const char *metric, *mode;
	long patience; /* 0: not asked */
};

struct search {
	const struct options *o;
	const struct run_info *run;
	bool least;
	uint64_t rows;    /* of the metric */
	double best;      /* of all */
	uint64_t best_at; /* row */
	double kept;      /* of those whose checkpoints are there */
	const char *name; /* of that experience; NULL none yet */
	char known[512];  /* names of metrics, for a message */
	unsigned names;
};

/* Bytes of the first word of a name: val_loss, eval/loss, StreamForgetting. */
static size_t word_length(const char *p)
{
	size_t most = strcspn(p, "_/-. "), n = most > 0;

	while (n < most && !(isupper((unsigned char)p[n]) && islower((unsigned char)p[n - 1])))
		n++;
	return n;
}

/* Words of metrics that are better when they are less. */
static bool is_loss(const char *metric)
{
	static const char *const words[] = { "loss", "error", "err", "perplexity", "ppl", "mse", "mae",
		"rmse", "nll", "forgetting", "wer", "cer", "fid", "bpc", "bpb", "kl" };

	for (const char *p = metric; *p != '\0';) {
		size_t n = word_length(p);

		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (strlen(words[i]) == n && strncasecmp(p, words[i], n) == 0)
				return true;
		p += n;
		p += strspn(p, "_/-. ");
	}
	return false;
}

static const char *experience_of(const struct run_info *r, int64_t number)
{
	char name[32];

	snprintf(name, sizeof(name), "%lld", (long long)number);
	for (size_t i = 0; i < r->experiences; i++)
		if (strcmp(r->experience[i], name) == 0)
			return r->experience[i];
	return NULL;
}

static void remember_name(struct search *s, const char *name)
{
	size_t n = strlen(s->known), len = strlen(name);
	const char *at = strstr(s->known, name);

	if (s->names == NAMES_SHOWN || n + len + 3 > sizeof(s->known))
		return;
	for (; at != NULL; at = strstr(at + 1, name))
		if ((at == s->known || at[-1] == ' ') && (at[len] == ',' || at[len] == '\0'))
			return;
	snprintf(s->known + n, sizeof(s->known) - n, "%s%s", n > 0 ? ", " : "", name);
	s->names++;
}

static bool better(const struct search *s, double v, double than)
{
	return s->least ? v < than : v > than;
}

static int take_row(void *arg, int64_t experience, const char *name, double value)
{
	struct search *s = arg;
	const char *has;

	if (s->o->metric == NULL || strcmp(name, s->o->metric) != 0) {
		remember_name(s, name);
		return 0;
	}
	s->rows++;
	if (isnan(value))
		return 0;
	if (s->best_at == 0 || better(s, value, s->best)) {
		s->best = value;
		s->best_at = s->rows;
	}
	has = experience_of(s->run, experience);
	if (has != NULL && (s->name == NULL || better(s, value, s->kept))) {
		s->kept = value;
		s->name = has;
	}
	return 0;
}

/* How many experiences came after the recorded best. */
static uint64_t after_recorded(const struct run_info *r)
{
	for (size_t i = 0; i < r->experiences; i++)
		if (strcmp(r->experience[i], r->best) == 0)
			return r->experiences - i - 1;
	return 0;
}

/* The length of a text without '/' at its end; "/" alone is kept. */
static size_t without_slashes(const char *s, size_t len)
{
	while (len > 1 && s[len - 1] == '/')
		len--;
	return len;
}

/* How long the last name of a text is, behind a '/' or the colon of STORE:PATH. */
static size_t last_name(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && s[len - n - 1] != '/' && s[len - n - 1] != ':')
		n++;
	return n;
}

static bool names_store(struct cli *c, const char *text, size_t len)
{
	const char *store = store_path(fs_store(c->fs)), *name = strrchr(store, '/');
	size_t n = last_name(text, len);

	name = name != NULL ? name + 1 : store;
	return n > 0 && strlen(name) == n && memcmp(name, text + len - n, n) == 0;
}

/*
 * Where the operand's root is, as the operand would say it.  The names at its end that are those of its path
 * in the store come off; what is left is the root, or leads to a directory that lies as deep as names are
 * left of the path.
 */
static void print_root(struct cli *c, const struct target *t)
{
	const char *text = t->text, *path = t->path;
	size_t len = without_slashes(text, strlen(text)), left = without_slashes(path, strlen(path));
	bool whole = left == 0;

	while (left > 0 && len > 0) {
		size_t n = last_name(path, left);

		if (n == 0 || last_name(text, len) != n || memcmp(text + len - n, path + left - n, n) != 0)
			break;
		len = without_slashes(text, len - n);
		left = without_slashes(path, left - n);
		left -= left == 1 && path[0] == '/';
	}
	if (left > 0 && len > 0 && text[len - 1] == ':')
		len--; /* MOUNTPOINT/DIR:PATH */
	fprintf(c->out, "%.*s", (int)len, text);
	if (whole && len > 0 && names_store(c, text, len))
		fputc(':', c->out);
	else if (len > 0 && text[len - 1] != ':' && text[len - 1] != '/')
		fputc('/', c->out);
	while (left > 0) {
		fputs("../", c->out);
		left -= last_name(path, left);
		left -= left > 0;
	}
}

static void print_path(struct cli *c, const struct target *t, const char *run, const char *experience)
{
	print_root(c, t);
	fprintf(c->out, "@runs/%s%s%s\n", run, run[0] != '\0' ? "/" : "", experience);
}

static int choose(struct cli *c, const struct options *o, const char *run, const struct run_info *r,
		struct search *s, uint64_t *since)
{
	int rc = run_list_metrics(c, run, take_row, s);

	if (rc != 0)
		return rc;
	if (o->metric == NULL) {
		if (r->best == NULL)
			return ckpt_fail(ENODATA, "the run recorded no best; say --metric%s%s",
					s->names > 0 ? ", one of: " : "", s->known);
		s->name = r->best;
		*since = after_recorded(r);
		return 0;
	}
	if (s->rows == 0)
		return ckpt_fail(ENODATA, "no metric '%s'%s%s", o->metric,
				s->names > 0 ? "; there are: " : "", s->known);
	if (s->name == NULL)
		return ckpt_fail(ENODATA, "no checkpoint is there of any experience with '%s'", o->metric);
	*since = s->rows - s->best_at;
	return 0;
}

static int best(struct cli *c, const struct target *t, const struct options *o)
{
	char *run = run_list_path(t->path);
	struct run_info r = { 0 };
	struct search s = { .o = o, .run = &r };
	uint64_t since = 0;
	int status, rc = run == NULL ? ckpt_fail(ENOMEM, "best: out of memory") : run_list_find(c, run, &r);

	s.least = o->mode != NULL ? strcmp(o->mode, "min") == 0 : o->metric != NULL && is_loss(o->metric);
	rc = rc ? rc : choose(c, o, run, &r, &s, &since);
	if (rc == 0) {
		print_path(c, t, run, s.name);
		status = o->patience > 0 && since >= (uint64_t)o->patience ? CLI_STOP : CLI_DONE;
	} else {
		status = cli_error(c, rc, t->text);
	}
	run_list_release(&r);
	free(run);
	return status;
}

static bool option(void *arg, int opt, const char *value)
{
	struct options *o = arg;
	char *end;

	switch (opt) {
	case 'm':
		o->metric = value;
		return value[0] != '\0';
	case 'o':
		o->mode = value;
		return strcmp(value, "max") == 0 || strcmp(value, "min") == 0;
	default:
		errno = 0;
		o->patience = strtol(value, &end, 10);
		return errno == 0 && *end == '\0' && end != value && o->patience > 0;
	}
}

static int cmd_best(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = { { "metric", required_argument, NULL, 'm' },
		{ "mode", required_argument, NULL, 'o' }, { "patience", required_argument, NULL, 'p' },
		{ 0 } };
	struct options o = { 0 };
	struct target *t;
	int at, status = cli_options(c, argc, argv, "", longs, option, &o, &at);

	if (status != -1)
		return status;
	if (argc - at != 1)
		return cli_usage(c, "one run is needed: STORE:RUN or MOUNTPOINT/RUN");
	status = targets_parse(c, argv + at, 1, TARGET_STORE, &t);
	if (status != -1)
		return status;
	status = cli_attach(c, t, 1, CLI_READ);
	if (status == -1)
		status = cli_detach(c, best(c, t, &o));
	targets_free(t, 1);
	return status;
}

const struct cli_command command_best = {
	.name = "best",
	.synopsis = "best [--metric M] [--mode max|min] [--patience K] STORE:RUN|MOUNTPOINT/RUN",
	.summary = "the best checkpoint of a run, for scripts; status 10 when it is time to stop",
	.help = "Prints where the best experience is. Without a metric: the one that the run recorded as "
		"best.\n\n"
		"      --metric=M       by this one of the run's metrics.csv\n"
		"      --mode=max|min   which is better; if not said, min for losses and errors, else max\n"
		"      --patience=K     exit status 10 when K experiences came since and none was better\n"
		"      --help           this text\n",
	.served = true,
	.run = cmd_best,
};
