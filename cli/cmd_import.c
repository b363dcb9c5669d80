/*
 * cmd_import.c: ckptfs import: trees of this machine into a store.
 */
#include "cli.h"
#include "copy_command.h"
#include "target.h"

static int cmd_import(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = { { "jobs", required_argument, NULL, 'j' }, { 0 } };
	struct copy_rules r = { .opt = { .recurse = true, .attrs = true, .threads = 4 }, .as_rsync = true };
	struct target *t;
	size_t n;
	int at, status;

	status = cli_options(c, argc, argv, "j:", longs, copy_option, &r.opt, &at);
	if (status != -1)
		return status;
	if (argc - at < 2)
		return cli_usage(c, "a source and STORE:PATH are needed");
	n = (size_t)(argc - at);
	status = targets_parse(c, argv + at, argc - at, TARGET_EITHER, &t);
	if (status != -1)
		return status;
	for (size_t i = 0; i + 1 < n && status == -1; i++)
		if (t[i].in_store)
			status = cli_usage(c, "\"%s\" is in a store; cp copies from one", t[i].text);
	if (status == -1 && !t[n - 1].in_store)
		status = cli_usage(c, "the target \"%s\" names no store: say STORE:PATH", t[n - 1].text);
	if (status == -1)
		status = cli_attach(c, t, n, CLI_WRITE | CLI_MAKE | CLI_HOST);
	if (status == -1)
		status = cli_detach(c, copy_command(c, t, n, &r));
	targets_free(t, n);
	return status;
}

const struct cli_command command_import = {
	.name = "import",
	.synopsis = "import [-j N] SOURCE... STORE:PATH",
	.summary = "bring trees into a store, attributes kept",
	.help = "A directory SOURCE goes into the directory PATH, which is made when missing; of\n"
		"SOURCE/ only what is in it. A single file becomes PATH unless that is a directory.\n"
		"The store is made when it does not exist.\n\n"
		"  -j, --jobs=N         files copied at once (4)\n"
		"      --help           this text\n",
	.served = true,
	.run = cmd_import,
};
