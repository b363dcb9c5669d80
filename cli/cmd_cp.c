/*
 * cmd_cp.c: ckptfs cp: files between a store and this machine, or inside a store.
 */
#include <fcntl.h>
#include <string.h>

#include "cli.h"
#include "copy_command.h"
#include "target.h"

static bool option(void *arg, int opt, const char *value)
{
	struct treecopy_options *o = arg;

	(void)value;
	switch (opt) {
	case 'a':
		o->recurse = o->attrs = true;
		break;
	case 'p':
		o->attrs = true;
		break;
	default: /* r, R */
		o->recurse = true;
	}
	return true;
}

static int cmd_cp(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "archive", no_argument, NULL, 'a' },
		{ "preserve", no_argument, NULL, 'p' },
		{ "recursive", no_argument, NULL, 'r' },
		{ 0 },
	};
	struct copy_rules r = { .opt = { .threads = 2 } };
	struct target *t;
	size_t n, host = 0;
	unsigned need = 0;
	int at, status;

	status = cli_options(c, argc, argv, "aprR", longs, option, &r.opt, &at);
	if (status != -1)
		return status;
	if (argc - at < 2)
		return cli_usage(c, "a source and a target are needed");
	n = (size_t)(argc - at);
	status = targets_parse(c, argv + at, argc - at, TARGET_EITHER, &t);
	if (status != -1)
		return status;
	for (size_t i = 0; i < n; i++)
		host += !t[i].in_store;
	if (host > 0)
		need |= CLI_HOST;
	if (t[n - 1].in_store)
		need |= CLI_WRITE | (host > 0 ? CLI_MAKE : 0);
	status = host == n ? cli_usage(c, "none of these names a store: say STORE:PATH")
		 : host > 0 && !t[n - 1].in_store && host > 1
				 ? cli_usage(c, "\"%s\" is a host path, and so is the target", t[0].text)
				 : cli_attach(c, t, n, need);
	if (status == -1)
		status = cli_detach(c, copy_command(c, t, n, &r));
	targets_free(t, n);
	return status;
}

const struct cli_command command_cp = {
	.name = "cp",
	.synopsis = "cp [-apr] STORE:PATH... TARGET\ncp [-apr] SOURCE... STORE:PATH\ncp [-apr] STORE:PATH... "
		    "STORE:PATH",
	.summary = "copy files out of a store, into it, or (at once, sharing the bytes) inside it",
	.help = "  -r, -R, --recursive  directories with all that is in them\n"
		"  -p, --preserve       keep mode, times, user.* attributes; owner, trusted.* if root\n"
		"  -a, --archive        both\n"
		"      --help           this text\n",
	.served = true,
	.run = cmd_cp,
};
