/*
 * cmd_recompress.c: ckptfs recompress: the same bytes in less space.
 */
#include <errno.h>

#include "cli.h"
#include "format.h"
#include "progress.h"
#include "store/store_admin.h"
#include "target.h"

static int print_json(struct cli *c, const struct store_recompress_result *r)
{
	json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "chunks_seen", (json_int_t)r->chunks,
			"chunks_better", (json_int_t)r->better, "bytes_saved", (json_int_t)r->saved,
			"chunks_unreadable", (json_int_t)r->unreadable, "chunks_live", (json_int_t)r->live_chunks,
			"bytes_raw", (json_int_t)r->live_raw, "bytes_live", (json_int_t)r->live_bytes,
			"bytes_given_back", (json_int_t)r->given_back);
	int rc = format_json_print(c->out, o, JSON_INDENT(2));

	return rc == 0 ? CLI_DONE : cli_error(c, rc, NULL);
}

static void print_text(struct cli *c, const struct store_recompress_result *r)
{
	char a[FORMAT_LEN], b[FORMAT_LEN], d[FORMAT_LEN], e[FORMAT_LEN];

	fprintf(c->out, "looked at %llu chunks; %llu got shorter, by %s; %s given back to the disk\n",
			(unsigned long long)r->chunks, (unsigned long long)r->better, format_bytes(r->saved, a),
			format_bytes(r->given_back, b));
	fprintf(c->out, "%llu chunks hold %s in %s\n", (unsigned long long)r->live_chunks, format_bytes(r->live_raw, d),
			format_bytes(r->live_bytes, e));
}

static int recompress(struct cli *c, const struct target *t, const void *arg)
{
	bool json = *(const bool *)arg;
	struct store_recompress_result r = { 0 };
	struct progress *p;
	int rc = progress_start(c, c->name, true, &p);

	(void)t;
	if (rc != 0)
		return cli_error(c, rc, NULL);
	rc = store_recompress(fs_store(c->fs), progress_store, p, &r);
	progress_stop(p);
	if (rc == -ECANCELED)
		return CLI_FAILED;
	if (rc != 0)
		return cli_error(c, rc, NULL);
	if (json)
		rc = print_json(c, &r);
	else
		print_text(c, &r);
	if (rc == CLI_DONE && r.unreadable) {
		cli_warn(c, "%llu chunks can't be read; 'ckptfs verify' tells which", (unsigned long long)r.unreadable);
		return CLI_DAMAGE;
	}
	return rc;
}

static int cmd_recompress(struct cli *c, int argc, char **argv)
{
	bool json = false;
	int at, status = cli_options_json(c, argc, argv, &json, &at);

	return status != -1 ? status
			    : cli_on_one(c, argc - at, argv + at, CLI_WRITE | CLI_WHOLE, "one STORE or MOUNTPOINT is needed", recompress, &json);
}

const struct cli_command command_recompress = {
	.name = "recompress",
	.synopsis = "recompress [--json] STORE|MOUNTPOINT",
	.summary = "keep the same in less space",
	.help = "      --json           an object\n"
		"      --help           this text\n",
	.served = true,
	.run = cmd_recompress,
};
