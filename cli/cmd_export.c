/*
 * cmd_export.c: ckptfs export: trees of a store onto this machine.
 */
#include "cli.h"
#include "copy_command.h"
#include "target.h"

static int cmd_export(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = { { "jobs", required_argument, NULL, 'j' }, { 0 } };
	struct copy_rules r = {
		.opt = { .recurse = true, .attrs = true, .threads = 4 }, .as_rsync = true, .sync = true
	};
	struct target *t;
	size_t n;
	int at, status;

	status = cli_options(c, argc, argv, "j:", longs, copy_option, &r.opt, &at);
	if (status != -1)
		return status;
	if (argc - at < 2)
		return cli_usage(c, "STORE:PATH and a target are needed");
	n = (size_t)(argc - at);
	status = targets_parse(c, argv + at, argc - at, TARGET_EITHER, &t);
	if (status != -1)
		return status;
	for (size_t i = 0; i + 1 < n && status == -1; i++)
		if (!t[i].in_store)
			status = cli_usage(c, "\"%s\" names no store: say STORE:PATH", t[i].text);
	if (status == -1 && t[n - 1].in_store)
		status = cli_usage(c, "the target \"%s\" is in a store; cp copies into one", t[n - 1].text);
	if (status == -1)
		status = cli_attach(c, t, n, CLI_HOST);
	if (status == -1)
		status = cli_detach(c, copy_command(c, t, n, &r));
	targets_free(t, n);
	return status;
}

const struct cli_command command_export = {
	.name = "export",
	.synopsis = "export [-j N] STORE:PATH... TARGET",
	.summary = "bring trees out of a store, attributes kept",
	.help = "A directory goes into the directory TARGET, which is made when missing; of\n"
		"STORE:PATH/ only what is in it. A single file becomes TARGET unless that is a\n"
		"directory. Each file appears whole or not at all.\n\n"
		"  -j, --jobs=N         files copied at once (4)\n"
		"      --help           this text\n",
	.served = true,
	.run = cmd_export,
};
