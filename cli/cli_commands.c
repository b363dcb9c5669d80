/*
 * cli_commands.c: the list of subcommands.
 */
#include <string.h>

#include "cli.h"

const struct cli_command *const cli_commands[] = {
	&command_mount,
	&command_umount,
	&command_ls,
	&command_cat,
	&command_cp,
	&command_rm,
	&command_import,
	&command_export,
	&command_show,
	&command_diff,
	&command_df,
	&command_stat,
	&command_runs,
	&command_best,
	&command_verify,
	&command_gc,
	&command_recompress,
	&command_version,
};
const size_t cli_ncommands = sizeof(cli_commands) / sizeof(cli_commands[0]);

const struct cli_command *cli_find(const char *name)
{
	for (size_t i = 0; i < cli_ncommands; i++)
		if (strcmp(cli_commands[i]->name, name) == 0)
			return cli_commands[i];
	return NULL;
}
