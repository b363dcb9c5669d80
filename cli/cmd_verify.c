/*
 * cmd_verify.c: ckptfs verify: is everything as it was written?
 *
 * Problems are printed as they are found, each a line (with --json an object of an array that is written piece by piece), so
 * that a store with millions of them costs no memory here.
 */
#include <errno.h>
#include <string.h>

#include "cli.h"
#include "format.h"
#include "progress.h"
#include "store/store_admin.h"
#include "target.h"

struct options {
	bool data, json;
};

struct report {
	struct cli *c;
	const struct options *o;
	struct progress *progress;
	uint64_t n;
};

static int progress(void *arg, uint64_t done, uint64_t total, bool bytes)
{
	return progress_store(((struct report *)arg)->progress, done, total, bytes);
}

static void problem(void *arg, const char *line)
{
	struct report *r = arg;
	FILE *f = r->c->out;

	progress_hide(r->c->progress);
	if (r->o->json) {
		json_t *o = json_object();

		fputs(r->n > 0 ? ",\n    " : "\n    ", f);
		/* Out of memory the line is lost, its count is not. */
		if (o == NULL || format_json_text(o, "text", line, strlen(line)) != 0 ||
				json_dumpf(o, f, JSON_COMPACT) != 0)
			fputs("{}", f);
		json_decref(o);
	} else {
		fputs(r->c->colour ? "\033[31m" : "", f);
		format_name(f, line, strlen(line), r->c->out_tty);
		fputs(r->c->colour ? "\033[0m\n" : "\n", f);
	}
	if (r->c->out_tty)
		fflush(f);
	r->n++;
	progress_show(r->c->progress);
}

static void summary(
		struct cli *c, const struct options *o, const struct store_verify_result *r, bool complete)
{
	char bytes[FORMAT_LEN];

	if (o->json) {
		fprintf(c->out,
				"],\n  \"problem_count\": %llu,\n  \"complete\": %s,\n  \"inodes\": %llu,\n  "
				"\"versions\": %llu,\n"
				"  \"chunks\": %llu,\n  \"bytes\": %llu\n}\n",
				(unsigned long long)r->problems, complete ? "true" : "false",
				(unsigned long long)r->inodes, (unsigned long long)r->versions,
				(unsigned long long)r->chunks, (unsigned long long)r->bytes);
		return;
	}
	if (!complete)
		return;
	fprintf(c->out, "%llu inodes, %llu versions, %llu chunks", (unsigned long long)r->inodes,
			(unsigned long long)r->versions, (unsigned long long)r->chunks);
	if (o->data)
		fprintf(c->out, ", %s compared with SHA-256", format_bytes(r->bytes, bytes));
	if (r->problems == 0)
		fputs(": no problems\n", c->out);
	else
		fprintf(c->out, ": %llu problem%s\n", (unsigned long long)r->problems,
				r->problems == 1 ? "" : "s");
	if (r->problems > 0)
		fputs("What is named above can't be read as it was written. Bring the store back from a copy; or export what can "
		      "be read,\nand remove the files that are hurt.\n", c->out);
}

static int verify(struct cli *c, const struct target *t, const void *arg)
{
	const struct options *o = arg;
	struct store_verify_result r = { 0 };
	struct report report = { .c = c, .o = o };
	int rc = progress_start(c, c->name, o->data, &report.progress), status;

	(void)t;
	if (rc != 0)
		return cli_error(c, rc, NULL);
	if (o->json)
		fputs("{\n  \"problems\": [", c->out);
	rc = store_verify(fs_store(c->fs), o->data, problem, progress, &report, &r);
	progress_stop(report.progress);
	if (o->json && report.n > 0)
		fputs("\n  ", c->out);
	summary(c, o, &r, rc == 0);
	status = r.problems > 0 || report.n > 0 ? CLI_DAMAGE : CLI_DONE;
	if (rc == -ECANCELED)
		return cli_worse(status, CLI_FAILED);
	return rc == 0 ? status : cli_worse(status, cli_error(c, rc, NULL));
}

static bool option(void *arg, int opt, const char *value)
{
	struct options *o = arg;

	(void)value;
	if (opt == 'd')
		o->data = true;
	else
		o->json = true;
	return true;
}

static int cmd_verify(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = { { "data", no_argument, NULL, 'd' },
		{ "json", no_argument, NULL, 'j' }, { 0 } };
	struct options o = { 0 };
	int at, status = cli_options(c, argc, argv, "", longs, option, &o, &at);

	return status != -1 ? status
			    : cli_on_one(c, argc - at, argv + at, CLI_READ | CLI_WHOLE, "one STORE or MOUNTPOINT is needed", verify, &o);
}

const struct cli_command command_verify = {
	.name = "verify",
	.synopsis = "verify [--data] [--json] STORE|MOUNTPOINT",
	.summary = "check a store",
	.help = "Without --data: the structure, and that every file's chunks are there.\n\n"
		"      --data           read everything and compare it with its SHA-256\n"
		"      --json           an object\n"
		"      --help           this text\n",
	.served = true,
	.run = cmd_verify,
};
