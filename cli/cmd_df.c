/*
 * cmd_df.c: ckptfs df: what takes how much.
 *
 *   raw     what users see: the files' bytes, holes not counted
 *   unique  the distinct ones among them
 *   stored  what those take, encoded
 *   alone   the part of stored that no other line has too: what would be freed if all of this line went (and its history)
 *
 * Lines share chunks, so unique and stored of the lines may add up to more than the total.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "component.h"
#include "format.h"
#include "store/store_admin.h"
#include "target.h"

enum { LINES_MAX = 1000, CODECS = 16 };

/* Lines by the first name below PATH; handed out as they are met. */
struct groups {
	const char *under; /* PATH, without slashes at its end */
	char *name[LINES_MAX]; /* a directory's ends in '/' */
	unsigned n;
	unsigned last;        /* files come directory by directory: look here first */
	unsigned table[4096]; /* open addressing: 1 + index, 0 free */
	bool failed;
};

struct usage {
	struct groups groups;
	struct store_usage run[LINES_MAX], component[COMPONENTS], all;
	struct store_usage_codec codec[CODECS];
	unsigned ncodecs;
	unsigned order[LINES_MAX]; /* of run, by name */
};

static const char others[] = "(others)";

static uint32_t hash(const char *s, size_t n)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)s[i]) * 16777619u;
	return h;
}

static bool is_name(const char *name, const char *s, size_t n)
{
	return strncmp(name, s, n) == 0 && name[n] == '\0';
}

static int by_child(void *arg, const char *path, const char *rest)
{
	struct groups *g = arg;
	const char *slash = strcmp(path, g->under) == 0 ? strrchr(path, '/') : NULL;
	size_t n;
	uint32_t i;

	/* PATH is a file: its own name is the line's. */
	if (slash != NULL)
		rest = slash + 1;
	n = strcspn(rest, "/");
	n += rest[n] == '/';
	if (g->n > 0 && is_name(g->name[g->last], rest, n))
		return (int)g->last;
	for (i = hash(rest, n) % 4096; g->table[i] != 0; i = (i + 1) % 4096) {
		if (is_name(g->name[g->table[i] - 1], rest, n)) {
			g->last = g->table[i] - 1;
			return (int)g->last;
		}
	}
	/* The last line takes what is too much. */
	if (g->n == LINES_MAX)
		return LINES_MAX - 1;
	g->name[g->n] = g->n == LINES_MAX - 1 ? strdup(others) : strndup(rest, n);
	if (g->name[g->n] == NULL) {
		g->failed = true;
		return -1;
	}
	if (g->n < LINES_MAX - 1)
		g->table[i] = g->n + 1;
	g->last = g->n++;
	return (int)g->last;
}

static int by_component(void *arg, const char *path, const char *rest)
{
	(void)arg;
	(void)rest;
	return (int)component_of(path);
}

static int compare_lines(const void *a, const void *b, void *arg)
{
	const struct groups *g = arg;
	unsigned i = *(const unsigned *)a, k = *(const unsigned *)b;

	/* Numbers in names by their value, so that 10 follows 9. */
	return strverscmp(g->name[i], g->name[k]);
}

static int compare_codecs(const void *a, const void *b)
{
	return ((const struct store_usage_codec *)a)->codec - ((const struct store_usage_codec *)b)->codec;
}

static int measure(struct cli *c, const char *under, struct usage *u)
{
	struct store_usage again;
	struct store_usage_codec codecs[CODECS];
	unsigned n;
	int rc;

	u->groups.under = under;
	rc = store_usage(fs_store(c->fs), under, by_child, &u->groups, LINES_MAX, u->run, &u->all, u->codec,
			&u->ncodecs);
	if (rc == 0 && u->groups.failed)
		rc = ckpt_fail(ENOMEM, "df: out of memory");
	if (rc == 0)
		rc = store_usage(fs_store(c->fs), under, by_component, NULL, COMPONENTS, u->component, &again,
				codecs, &n);
	if (rc != 0)
		return rc;
	qsort(u->codec, u->ncodecs, sizeof(u->codec[0]), compare_codecs);
	for (unsigned i = 0; i < u->groups.n; i++)
		u->order[i] = i;
	qsort_r(u->order, u->groups.n, sizeof(u->order[0]), compare_lines, &u->groups);
	return 0;
}

/* --- for people ----------------------------------------------------------------------------------- */

static int add_line(struct table *t, const char *name, const struct store_usage *l)
{
	char b[FORMAT_LEN];
	int rc = table_cell(t, name);

	snprintf(b, sizeof(b), "%llu", (unsigned long long)l->files);
	rc = rc ? rc : table_cell(t, b);
	rc = rc ? rc : table_cell(t, format_bytes(l->raw, b));
	rc = rc ? rc : table_cell(t, format_bytes(l->unique, b));
	rc = rc ? rc : table_cell(t, format_bytes(l->stored, b));
	rc = rc ? rc : table_cell(t, format_bytes(l->own, b));
	return rc ? rc : table_cell(t, format_ratio(l->raw, l->stored, b));
}

static int head(struct table *t, const char *const *words, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = table_cell(t, words[i]);
	return rc;
}

/* One table for total, runs and components, so that columns stand under one another. */
static int print_lines(struct cli *c, const struct usage *u)
{
	static const char *const words[] = { "by run", "files", "raw", "unique", "stored", "alone", "ratio" };
	static const char *const part[] = { "by component", "", "", "", "", "", "" };
	static const char *const blank[] = { "", "", "", "", "", "", "" };
	struct table *t = table_new("lrrrrrr");
	int rc = t == NULL ? ckpt_fail(ENOMEM, "df: out of memory") : head(t, words, 7);

	for (unsigned i = 0; i < u->groups.n && rc == 0; i++)
		rc = add_line(t, u->groups.name[u->order[i]], &u->run[u->order[i]]);
	rc = rc ? rc : add_line(t, "total", &u->all);
	rc = rc ? rc : head(t, blank, 7);
	rc = rc ? rc : head(t, part, 7);
	for (unsigned i = 0; i < COMPONENTS && rc == 0; i++)
		if (u->component[i].files > 0)
			rc = add_line(t, component_name((enum component)i), &u->component[i]);
	if (rc == 0)
		table_print(t, c->out, true, c->colour);
	table_free(t);
	return rc;
}

static int print_codecs(struct cli *c, const struct usage *u)
{
	static const char *const words[] = { "by codec", "chunks", "raw", "stored", "ratio" };
	struct table *t = table_new("lrrrr");
	char b[FORMAT_LEN];
	int rc = t == NULL ? ckpt_fail(ENOMEM, "df: out of memory") : head(t, words, 5);

	for (unsigned i = 0; i < u->ncodecs && rc == 0; i++) {
		const struct store_usage_codec *k = &u->codec[i];

		rc = table_cell(t, codec_name(k->codec));
		snprintf(b, sizeof(b), "%llu", (unsigned long long)k->chunks);
		rc = rc ? rc : table_cell(t, b);
		rc = rc ? rc : table_cell(t, format_bytes(k->raw, b));
		rc = rc ? rc : table_cell(t, format_bytes(k->stored, b));
		rc = rc ? rc : table_cell(t, format_ratio(k->raw, k->stored, b));
	}
	if (rc == 0 && u->ncodecs > 0) {
		fputc('\n', c->out);
		table_print(t, c->out, true, c->colour);
	}
	table_free(t);
	return rc;
}

/* --- for programs --------------------------------------------------------------------------------- */

static json_t *json_line(const char *name, const struct store_usage *l)
{
	json_t *o = json_object();
	json_t *numbers = json_pack("{s:I, s:I, s:I, s:I, s:I}", "files", (json_int_t)l->files, "raw",
			(json_int_t)l->raw, "unique", (json_int_t)l->unique, "stored", (json_int_t)l->stored,
			"alone", (json_int_t)l->own);

	if (name != NULL && format_json_text(o, "name", name, strlen(name)) != 0) {
		json_decref(numbers);
		numbers = NULL;
	}
	if (json_object_update_new(o, numbers) != 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static json_t *json_codec(const struct store_usage_codec *k)
{
	return json_pack("{s:s, s:I, s:I, s:I}", "name", codec_name(k->codec), "chunks",
			(json_int_t)k->chunks, "raw", (json_int_t)k->raw, "stored", (json_int_t)k->stored);
}

/* jansson's functions take NULL for what could not be made, and fail: one look at the end is enough. */
static int print_json(struct cli *c, const char *under, const struct usage *u)
{
	json_t *o = json_object(), *runs = json_array(), *components = json_array(), *codecs = json_array();
	int bad = format_json_text(o, "path", under, strlen(under));

	for (unsigned i = 0; i < u->groups.n; i++) {
		unsigned k = u->order[i];

		bad |= json_array_append_new(runs, json_line(u->groups.name[k], &u->run[k]));
	}
	for (unsigned i = 0; i < COMPONENTS; i++)
		if (u->component[i].files > 0)
			bad |= json_array_append_new(components,
					json_line(component_name((enum component)i), &u->component[i]));
	for (unsigned i = 0; i < u->ncodecs; i++)
		bad |= json_array_append_new(codecs, json_codec(&u->codec[i]));
	bad |= json_object_set_new(o, "total", json_line(NULL, &u->all));
	bad |= json_object_set_new(o, "runs", runs);
	bad |= json_object_set_new(o, "components", components);
	bad |= json_object_set_new(o, "codecs", codecs);
	if (bad) {
		json_decref(o);
		return ckpt_fail(ENOMEM, "json: out of memory");
	}
	return format_json_print(c->out, o, JSON_INDENT(2));
}

static int df(struct cli *c, const struct target *t, const void *arg)
{
	bool json = *(const bool *)arg;
	struct usage *u = calloc(1, sizeof(*u));
	char *under = strdup(t->path);
	size_t n;
	int rc = u == NULL || under == NULL ? ckpt_fail(ENOMEM, "df: out of memory") : 0;

	if (rc == 0) {
		for (n = strlen(under); n > 0 && under[n - 1] == '/'; n--)
			under[n - 1] = '\0';
		rc = measure(c, under, u);
	}
	if (rc == 0 && json) {
		rc = print_json(c, under, u);
	} else if (rc == 0) {
		rc = print_lines(c, u);
		rc = rc ? rc : print_codecs(c, u);
	}
	for (unsigned i = 0; u != NULL && i < u->groups.n; i++)
		free(u->groups.name[i]);
	free(u);
	free(under);
	return rc == 0 ? CLI_DONE : cli_error(c, rc, t->text);
}

static int cmd_df(struct cli *c, int argc, char **argv)
{
	bool json = false;
	int at, status = cli_options_json(c, argc, argv, &json, &at);

	return status != -1 ? status
			    : cli_on_one(c, argc - at, argv + at, CLI_READ, "one STORE[:PATH] or MOUNTPOINT[/PATH] is needed", df, &json);
}

const struct cli_command command_df = {
	.name = "df",
	.synopsis = "df [--json] STORE[:PATH]|MOUNTPOINT[/PATH]",
	.summary = "raw, unique and stored bytes, by run, by component, by codec",
	.help = "raw: the files' bytes. unique: the distinct ones. stored: what those take. alone: the\n"
		"part of stored that no other line has. ratio: raw to stored.\n\n"
		"      --json           an object\n"
		"      --help           this text\n",
	.served = true,
	.run = cmd_df,
};
