/*
 * cmd_version.c: ckptfs version: what is running here.
 */
#include <errno.h>
#include <string.h>

#include "cli.h"
#include "codec/codec_version.h"
#include "format.h"
#include "fs/fs_mount.h"

#ifndef CKPTFS_VERSION
#define CKPTFS_VERSION "0.1.0"
#endif

static bool option(void *arg, int opt, const char *value)
{
	(void)opt;
	(void)value;
	*(bool *)arg = true;
	return true;
}

static void line(struct cli *c, const char *name, const char *version)
{
	fprintf(c->out, "%-13s %s\n", name, version);
}

/* The store's engine says its name too, since there may be others than SQLite: "SQLite 3.40.1". */
static void split(const char *engine, char name[FORMAT_LEN], const char **version)
{
	const char *space = strrchr(engine, ' ');

	snprintf(name, FORMAT_LEN, "%.*s", space != NULL ? (int)(space - engine) : 6,
			space != NULL ? engine : "engine");
	*version = space != NULL ? space + 1 : engine;
}

static int print_json(struct cli *c)
{
	struct codec_library l;
	char name[FORMAT_LEN];
	const char *version;
	json_t *libraries;
	int rc = 0;

	split(store_engine_version(), name, &version);
	libraries = json_pack("{s:s, s:s}", "libfuse", fs_mount_engine_version(), name, version);
	for (size_t i = 0; codec_library(i, &l); i++)
		rc |= json_object_set_new(libraries, l.name, json_string(l.version));
	if (rc != 0) {
		json_decref(libraries);
		libraries = NULL;
	}
	rc = format_json_print(c->out,
			json_pack("{s:s, s:i, s:o}", "ckptfs", CKPTFS_VERSION, "store_format", STORE_FORMAT,
					"libraries", libraries),
			JSON_INDENT(2));
	return rc == 0 ? CLI_DONE : cli_error(c, rc, NULL);
}

static int cmd_version(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	struct codec_library l;
	char name[FORMAT_LEN];
	const char *version;
	bool json = false;
	int at, status = cli_options(c, argc, argv, "", longs, option, &json, &at);

	if (status != -1)
		return status;
	if (at < argc)
		return cli_usage(c, "no operands are taken");
	if (json)
		return print_json(c);
	line(c, "ckptfs", CKPTFS_VERSION);
	line(c, "libfuse", fs_mount_engine_version());
	split(store_engine_version(), name, &version);
	line(c, name, version);
	for (size_t i = 0; codec_library(i, &l); i++)
		line(c, l.name, l.version);
	fprintf(c->out, "store format  %d\n", STORE_FORMAT);
	return CLI_DONE;
}

const struct cli_command command_version = {
	.name = "version",
	.synopsis = "version [--json]",
	.summary = "versions of ckptfs, of its libraries, and of the store format",
	.help = "      --json           an object\n"
		"      --help           this text\n",
	.run = cmd_version,
};
