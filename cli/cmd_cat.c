/*
 * cmd_cat.c: ckptfs cat: files of a store on standard output.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "target.h"

enum { BUFFER = 1 << 20 };

/* -EPIPE: nobody reads any more, or the command is cancelled. */
static int print_file(struct cli *c, const char *path, void *buf)
{
	struct fs_caller caller = cli_caller(c);
	struct fs_handle *h;
	struct fs_entry e;
	uint64_t off = 0;
	ssize_t n;
	int rc = fs_resolve(c->fs, path, true, &e);

	if (rc != 0)
		return rc;
	if (S_ISDIR(e.st.st_mode))
		rc = ckpt_fail(EISDIR, "is a directory");
	else if (!S_ISREG(e.st.st_mode))
		rc = ckpt_fail(EINVAL, "not a regular file");
	if (rc == 0)
		rc = fs_open_file(c->fs, &caller, e.st.st_ino, O_RDONLY, &h);
	if (rc != 0)
		goto forget;
	while ((n = fs_read(c->fs, h, off, buf, BUFFER)) > 0) {
		if (cli_stopped(c) || fwrite(buf, 1, (size_t)n, c->out) != (size_t)n)
			break;
		off += (uint64_t)n;
	}
	rc = n < 0 ? (int)n : n > 0 ? -EPIPE : 0;
	fs_release(c->fs, h);
forget:
	fs_forget(c->fs, e.st.st_ino, 1);
	return rc;
}

static int print_files(struct cli *c, const struct target *t, size_t n)
{
	void *buf = malloc(BUFFER);
	int status = CLI_DONE;

	if (buf == NULL)
		return cli_error(c, -ENOMEM, NULL);
	for (size_t i = 0; i < n; i++) {
		int rc = print_file(c, t[i].path, buf);

		if (rc == -EPIPE)
			break;
		if (rc != 0)
			status = cli_worse(status, cli_error(c, rc, t[i].text));
	}
	free(buf);
	return status;
}

static bool option(void *arg, int opt, const char *value)
{
	(void)arg;
	(void)opt;
	(void)value;
	return true;
}

static int cmd_cat(struct cli *c, int argc, char **argv)
{
	struct target *t;
	int at, status = cli_options(c, argc, argv, "", NULL, option, NULL, &at);

	if (status != -1)
		return status;
	if (at == argc)
		return cli_usage(c, "STORE:PATH is needed");
	status = targets_parse(c, argv + at, argc - at, TARGET_STORE, &t);
	if (status != -1)
		return status;
	status = cli_attach(c, t, (size_t)(argc - at), CLI_READ);
	if (status == -1)
		status = cli_detach(c, print_files(c, t, (size_t)(argc - at)));
	targets_free(t, (size_t)(argc - at));
	return status;
}

const struct cli_command command_cat = {
	.name = "cat",
	.synopsis = "cat STORE:PATH...",
	.summary = "print files of a store",
	.help = "      --help           this text\n",
	.served = true,
	.run = cmd_cat,
};
