/*
 * cmd_gc.c: ckptfs gc: frees what nobody names.
 */
#include <errno.h>

#include "cli.h"
#include "format.h"
#include "progress.h"
#include "store/store_admin.h"
#include "target.h"

static int print_json(struct cli *c, const struct store_gc_result *r)
{
	json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "chunks_deleted", (json_int_t)r->chunks,
			"bytes_deleted", (json_int_t)r->bytes, "versions_ended", (json_int_t)r->versions,
			"chunks_live", (json_int_t)r->live_chunks, "bytes_live", (json_int_t)r->live_bytes,
			"bytes_given_back", (json_int_t)r->given_back);
	int rc = format_json_print(c->out, o, JSON_INDENT(2));

	return rc == 0 ? CLI_DONE : cli_error(c, rc, NULL);
}

static int collect(struct cli *c, const struct target *t, const void *arg)
{
	bool json = *(const bool *)arg;
	struct store_gc_result r = { 0 };
	struct progress *p;
	char a[FORMAT_LEN], b[FORMAT_LEN], d[FORMAT_LEN];
	int rc = progress_start(c, c->name, false, &p);

	(void)t;
	if (rc != 0)
		return cli_error(c, rc, NULL);
	rc = store_gc(fs_store(c->fs), progress_store, p, &r);
	progress_stop(p);
	if (rc == -ECANCELED)
		return CLI_FAILED;
	if (rc != 0)
		return cli_error(c, rc, NULL);
	if (json)
		return print_json(c, &r);
	fprintf(c->out, "freed %llu chunks, %s; %llu old versions ended; %s given back to the disk\n",
			(unsigned long long)r.chunks, format_bytes(r.bytes, a),
			(unsigned long long)r.versions, format_bytes(r.given_back, b));
	fprintf(c->out, "%llu chunks, %s, are in use\n", (unsigned long long)r.live_chunks,
			format_bytes(r.live_bytes, d));
	return CLI_DONE;
}

static int cmd_gc(struct cli *c, int argc, char **argv)
{
	bool json = false;
	int at, status = cli_options_json(c, argc, argv, &json, &at);

	return status != -1 ? status
			    : cli_on_one(c, argc - at, argv + at, CLI_WRITE | CLI_WHOLE, "one STORE or MOUNTPOINT is needed", collect, &json);
}

const struct cli_command command_gc = {
	.name = "gc",
	.synopsis = "gc [--json] STORE|MOUNTPOINT",
	.summary = "free what nobody names",
	.help = "      --json           an object\n"
		"      --help           this text\n",
	.served = true,
	.run = cmd_gc,
};
