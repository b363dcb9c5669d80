/*
 * cmd_show.c: ckptfs show: what is in a checkpoint, without running it.
 */
#include <errno.h>
#include <string.h>

#include "checkpoint.h"
#include "cli.h"
#include "torchbridge/bridge_view.h"

static int show(struct cli *c, const struct target *t, const void *arg)
{
	bool json = *(const bool *)arg;
	struct byte_buf text = { 0 };
	struct checkpoint k;
	struct tree tree;
	const char *slash = strrchr(t->path, '/');
	const struct bridge_text how = { .name = slash != NULL ? slash + 1 : t->path, .color = c->colour };
	int rc;

	checkpoint_tree(c, t, &tree);
	rc = checkpoint_open_path(&tree, t->path, &k);
	rc = rc ? rc : checkpoint_understand(&k);
	if (rc == 0)
		rc = json ? bridge_view_json(k.doc, &how, checkpoint_read, &k, &text)
			  : bridge_view_summary(k.doc, &how, checkpoint_read, &k, &text);
	if (rc == 0 && text.len > 0) {
		fwrite(text.p, 1, text.len, c->out);
		if (text.p[text.len - 1] != '\n')
			fputc('\n', c->out);
	}
	checkpoint_close(&k);
	byte_buf_release(&text);
	if (rc == 0)
		return CLI_DONE;
	/* The file is what is wrong: it breaks the rules of its format. */
	return rc == -EBADMSG ? cli_worse(cli_error(c, rc, t->text), CLI_DAMAGE) : cli_error(c, rc, t->text);
}

static int cmd_show(struct cli *c, int argc, char **argv)
{
	bool json = false;
	int at, status = cli_options_json(c, argc, argv, &json, &at);

	if (status != -1)
		return status;
	if (argc - at != 1)
		return cli_usage(c, "one FILE or STORE:PATH is needed");
	return checkpoint_on(c, argv + at, 1, show, &json);
}

const struct cli_command command_show = {
	.name = "show",
	.synopsis = "show [--json] FILE|STORE:PATH",
	.summary = "what is in a checkpoint: tensors, values, globals; nothing is executed",
	.help = "Torch files of all ages, TorchScript, safetensors, npy, npz and distcp; in a store, on a "
		"mount,\n"
		"or anywhere else.\n\n"
		"      --json           an object\n"
		"      --help           this text\n",
	.served = true,
	.run = cmd_show,
};
