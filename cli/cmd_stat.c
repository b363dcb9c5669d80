/*
 * cmd_stat.c: ckptfs stat: what a file costs, what it shares with which files, and how long its chains of bases are.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "format.h"
#include "store/store_admin.h"
#include "store/store_cost.h"
#include "target.h"

enum { SHARED_MOST = 20, SHARED_MOST_JSON = 1000 };

struct shared {
	struct cli *c;
	struct table *table; /* for people */
	json_t *list;        /* for programs */
	size_t n;
	int rc;
};

static int take_shared(void *arg, const char *path, size_t len, uint64_t bytes, int past)
{
	struct shared *s = arg;
	char size[FORMAT_LEN], *name;

	if (cli_stopped(s->c))
		return 1;
	s->n++;
	if (s->list != NULL) {
		json_t *o = json_pack("{s:I, s:b}", "bytes", (json_int_t)bytes, "past", past);

		if (format_json_text(o, "path", path, len) != 0 || json_array_append(s->list, o) != 0)
			s->rc = ckpt_fail(ENOMEM, "json: out of memory");
		json_decref(o);
		return s->rc;
	}
	s->rc = table_cell(s->table, format_bytes(bytes, size));
	name = strndup(path, len);
	if (name == NULL)
		s->rc = ckpt_fail(ENOMEM, "stat: out of memory");
	s->rc = s->rc ? s->rc : table_cell(s->table, name);
	s->rc = s->rc ? s->rc : table_cell(s->table, past ? "(history)" : "");
	free(name);
	return s->rc;
}

static int shared_with(struct cli *c, uint64_t ino, struct shared *s)
{
	int rc = store_cost_shared(fs_store(c->fs), ino, s->list != NULL ? SHARED_MOST_JSON : SHARED_MOST,
			take_shared, s);

	return rc < 0 ? rc : s->rc;
}

/* --- for people ----------------------------------------------------------------------------------- */

static void line(struct cli *c, const char *name, uint64_t bytes, const char *rest)
{
	char b[FORMAT_LEN];

	fprintf(c->out, "%-8s %10s%s%s\n", name, format_bytes(bytes, b), rest[0] != '\0' ? "  " : "", rest);
}

static int print_codecs(struct cli *c, const struct store_cost *k)
{
	static const char *const words[] = { "by codec", "chunks", "raw", "stored", "ratio" };
	struct table *t = table_new("lrrrr");
	char b[FORMAT_LEN];
	int rc = t == NULL ? ckpt_fail(ENOMEM, "stat: out of memory") : 0;

	for (int i = 0; i < 5 && rc == 0; i++)
		rc = table_cell(t, words[i]);
	for (unsigned i = 0; i < k->ncodecs && rc == 0; i++) {
		const struct store_cost_codec *x = &k->codecs[i];

		rc = table_cell(t, codec_name(x->codec));
		snprintf(b, sizeof(b), "%llu", (unsigned long long)x->chunks);
		rc = rc ? rc : table_cell(t, b);
		rc = rc ? rc : table_cell(t, format_bytes(x->raw, b));
		rc = rc ? rc : table_cell(t, format_bytes(x->stored, b));
		rc = rc ? rc : table_cell(t, format_ratio(x->raw, x->stored, b));
	}
	if (rc == 0 && k->ncodecs > 0) {
		fputc('\n', c->out);
		table_print(t, c->out, true, c->colour);
	}
	table_free(t);
	return rc;
}

static int print_shared(struct cli *c, uint64_t ino)
{
	struct shared s = { .c = c, .table = table_new("rll") };
	int rc = s.table == NULL ? ckpt_fail(ENOMEM, "stat: out of memory") : 0;

	rc = rc ? rc : table_cell(s.table, "shared");
	rc = rc ? rc : table_cell(s.table, "with");
	rc = rc ? rc : table_cell(s.table, "");
	rc = rc ? rc : shared_with(c, ino, &s);
	if (rc == 0 && s.n == 0) {
		fputs("\nshared with no other file\n", c->out);
	} else if (rc == 0) {
		fputc('\n', c->out);
		table_print(s.table, c->out, true, c->colour);
	}
	table_free(s.table);
	return rc;
}

static int print_text(struct cli *c, uint64_t ino, const struct store_cost *k)
{
	char b[FORMAT_LEN], text[2 * FORMAT_LEN];
	int rc;

	line(c, "size", k->raw, k->data < k->raw ? "with holes" : "");
	snprintf(text, sizeof(text), "in %llu chunks, ratio %s", (unsigned long long)k->chunks,
			format_ratio(k->raw, k->stored, b));
	line(c, "stored", k->stored, text);
	line(c, "alone", k->own, "goes when the file is deleted; no other file needs it");
	if (k->inlined > 0)
		line(c, "inline", k->inlined_stored, "beside the file's name, in no chunk");
	if (k->pooled > 0)
		line(c, "pooled", k->pooled_stored, "its part of a chunk of several small files");
	if (k->deepest > 0)
		fprintf(c->out, "%-8s %10u  bases below one another, at most\n", "chain", k->deepest);
	rc = print_codecs(c, k);
	return rc ? rc : print_shared(c, ino);
}

/* --- for programs --------------------------------------------------------------------------------- */

static int print_json(struct cli *c, const char *path, uint64_t ino, const struct store_cost *k)
{
	struct shared s = { .c = c, .list = json_array() };
	json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "size", (json_int_t)k->raw, "data",
			(json_int_t)k->data, "stored", (json_int_t)k->stored, "alone", (json_int_t)k->own,
			"inline", (json_int_t)k->inlined_stored, "pooled", (json_int_t)k->pooled_stored,
			"chunks", (json_int_t)k->chunks, "chain", (json_int_t)k->deepest);
	json_t *codecs = json_array();
	int rc, bad = format_json_text(o, "path", path, strlen(path));

	for (unsigned i = 0; i < k->ncodecs; i++)
		bad |= json_array_append_new(codecs,
				json_pack("{s:s, s:I, s:I, s:I}", "name", codec_name(k->codecs[i].codec),
						"chunks", (json_int_t)k->codecs[i].chunks, "raw",
						(json_int_t)k->codecs[i].raw, "stored",
						(json_int_t)k->codecs[i].stored));
	rc = s.list == NULL ? ckpt_fail(ENOMEM, "json: out of memory") : shared_with(c, ino, &s);
	bad |= json_object_set_new(o, "codecs", codecs);
	bad |= json_object_set_new(o, "shared", s.list);
	if (rc == 0 && bad)
		rc = ckpt_fail(ENOMEM, "json: out of memory");
	if (rc != 0) {
		json_decref(o);
		return rc;
	}
	return format_json_print(c->out, o, JSON_INDENT(2));
}

static int stat_file(struct cli *c, const struct target *t, const void *arg)
{
	bool json = *(const bool *)arg;
	struct store_cost *k = calloc(1, sizeof(*k));
	struct fs_entry e;
	int rc = k == NULL ? ckpt_fail(ENOMEM, "stat: out of memory") : fs_resolve(c->fs, t->path, true, &e);

	if (rc == 0) {
		if (S_ISDIR(e.st.st_mode))
			rc = ckpt_fail(EISDIR, "a directory: 'ckptfs df' tells what it costs");
		else if ((e.st.st_ino & FS_VIRTUAL) != 0)
			rc = ckpt_fail(EINVAL, "a view, which is not stored");
		else
			rc = store_cost(fs_store(c->fs), e.st.st_ino, k);
		if (rc == 0)
			rc = json ? print_json(c, t->path, e.st.st_ino, k) : print_text(c, e.st.st_ino, k);
		fs_forget(c->fs, e.st.st_ino, 1);
	}
	free(k);
	return rc == 0 ? CLI_DONE : cli_error(c, rc, t->text);
}

static int cmd_stat(struct cli *c, int argc, char **argv)
{
	bool json = false;
	int at, status = cli_options_json(c, argc, argv, &json, &at);

	return status != -1 ? status
			    : cli_on_one(c, argc - at, argv + at, CLI_READ, "one STORE:PATH or file on a mount is needed", stat_file, &json);
}

const struct cli_command command_stat = {
	.name = "stat",
	.synopsis = "stat [--json] STORE:PATH|MOUNTPOINT/PATH",
	.summary = "what a file costs, and what it shares with which files",
	.help = "stored: its chunks in full, also those that others have too. alone: the part that nobody\n"
		"else names. chain: how many differences lie on one another, at most.\n\n"
		"      --json           an object\n"
		"      --help           this text\n",
	.served = true,
	.run = cmd_stat,
};
