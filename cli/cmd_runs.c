/*
 * cmd_runs.c: ckptfs runs: which runs a store has, whatever framework wrote them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "format.h"
#include "runs_list.h"
#include "target.h"
#include "torchbridge/name_escape.h"

struct command {
	struct cli *c;
	struct table *table; /* for people */
	json_t *list;        /* for programs */
	uint64_t runs;
};

static int name_cell(struct table *t, const char *name)
{
	struct byte_buf b = { 0 };
	int rc = name_visible(name, strlen(name), &b);

	rc = rc ? rc : byte_buf_put(&b, "", 1);
	rc = rc ? rc : table_cell(t, (const char *)b.p);
	byte_buf_release(&b);
	return rc;
}

static int run_json(struct command *k, const struct run_info *r)
{
	json_t *o = json_pack("{s:I, s:o, s:o}", "size", (json_int_t)r->size, "latest",
			r->latest != NULL ? json_string(r->latest) : json_null(), "best",
			r->best != NULL ? json_string(r->best) : json_null());
	json_t *names = json_array();
	int bad = format_json_text(o, "run", r->path, strlen(r->path));

	for (size_t i = 0; i < r->experiences; i++)
		bad |= json_array_append_new(names, json_string(r->experience[i]));
	bad |= json_object_set_new(o, "experiences", names);
	bad |= json_array_append(k->list, o);
	json_decref(o);
	return bad ? ckpt_fail(ENOMEM, "json: out of memory") : 0;
}

static int take_run(void *arg, const struct run_info *r)
{
	struct command *k = arg;
	char b[FORMAT_LEN];
	int rc;

	k->runs++;
	if (k->list != NULL)
		return run_json(k, r);
	snprintf(b, sizeof(b), "%zu", r->experiences);
	rc = table_cell(k->table, b);
	rc = rc ? rc : name_cell(k->table, r->latest != NULL ? r->latest : "-");
	rc = rc ? rc : name_cell(k->table, r->best != NULL ? r->best : "-");
	rc = rc ? rc : table_cell(k->table, format_bytes(r->size, b));
	return rc ? rc : name_cell(k->table, r->path[0] != '\0' ? r->path : ".");
}

static int list_runs(struct cli *c, const struct target *t, const void *arg)
{
	bool json = *(const bool *)arg;
	static const char *const words[] = { "experiences", "latest", "best", "size", "run" };
	struct command k = { .c = c, .table = table_new("rrrrl"), .list = json ? json_array() : NULL };
	char *under = run_list_path(t->path);
	int rc = k.table == NULL || under == NULL || (json && k.list == NULL)
				 ? ckpt_fail(ENOMEM, "runs: out of memory")
				 : 0;

	for (int i = 0; i < 5 && rc == 0; i++)
		rc = table_cell(k.table, words[i]);
	rc = rc ? rc : run_list_each(c, under, take_run, &k);
	if (rc == 0 && json)
		rc = format_json_print(c->out, json_incref(k.list), JSON_INDENT(2));
	else if (rc == 0 && k.runs > 0)
		table_print(k.table, c->out, true, c->colour);
	else if (rc == 0)
		fputs("no runs\n", c->out);
	table_free(k.table);
	json_decref(k.list);
	free(under);
	return rc == 0 ? CLI_DONE : cli_error(c, rc, t->text);
}

static int cmd_runs(struct cli *c, int argc, char **argv)
{
	bool json = false;
	int at, status = cli_options_json(c, argc, argv, &json, &at);

	return status != -1 ? status
			    : cli_on_one(c, argc - at, argv + at, CLI_READ, "one STORE[:PATH] or MOUNTPOINT[/PATH] is needed", list_runs, &json);
}

const struct cli_command command_runs = {
	.name = "runs",
	.synopsis = "runs [--json] STORE[:PATH]|MOUNTPOINT[/PATH]",
	.summary = "the runs of a store: experiences, the latest, the best, sizes",
	.help = "Runs of every framework that is known, as the view @runs has them.\n\n"
		"      --json           an array of objects\n"
		"      --help           this text\n",
	.served = true,
	.run = cmd_runs,
};
