/*
 * cli.c: what all subcommands share: options, messages, exit statuses.
 */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "progress.h"

/* Guards getopt_long(3)'s globals: in the owner, commands of several clients run side by side. Held alone. */
static pthread_mutex_t getopt_lock = PTHREAD_MUTEX_INITIALIZER;

int cli_worse(int a, int b)
{
	static const int gravity[] = { [CLI_DONE] = 0, [CLI_DAMAGE] = 2, [CLI_USAGE] = 3, [CLI_FAILED] = 1 };

	return gravity[a] >= gravity[b] ? a : b;
}

/*
 * The whole line in one go, so that lines of threads do not mix, and away from the bar.  On a terminal, what names of files
 * would have it do is not done.
 */
static void say(struct cli *c, const char *fmt, va_list ap, const char *end)
{
	char *text;

	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	progress_hide(c->progress);
	flockfile(c->err);
	fprintf(c->err, "ckptfs %s: ", c->name);
	if (text != NULL)
		format_name(c->err, text, strlen(text), c->err_tty);
	else
		fputs("out of memory", c->err);
	fputs(end, c->err);
	fflush(c->err);
	funlockfile(c->err);
	progress_show(c->progress);
	free(text);
}

int cli_warn(struct cli *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(c, fmt, ap, "\n");
	va_end(ap);
	return CLI_FAILED;
}

int cli_usage(struct cli *c, const char *fmt, ...)
{
	char end[80];
	va_list ap;

	snprintf(end, sizeof(end), " (see `ckptfs %s --help`)\n", c->name);
	va_start(ap, fmt);
	say(c, fmt, ap, end);
	va_end(ap);
	return CLI_USAGE;
}

/*
 * A message stays in its thread's buffer until the next failure, and what answers ENOENT a thousand times in a normal walk does
 * not write one each time.  For such plain errnos strerror says all there is to say; others have a message worth telling.
 */
const char *cli_reason(int rc)
{
	static const int plain[] = { ENOENT, ENOTDIR, EEXIST, ENOTEMPTY, ELOOP, ENAMETOOLONG };
	const char *m = ckpt_errmsg();
	size_t i;

	for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (-rc == plain[i])
			return strerror(-rc);
	return m[0] != '\0' ? m : strerror(-rc);
}

int cli_error(struct cli *c, int rc, const char *subject)
{
	const char *why = cli_reason(rc), *last;
	size_t n;

	/* The message often names its subject itself, or the last name of it. */
	last = subject != NULL ? strrchr(subject, '/') : NULL;
	last = last != NULL && last[1] != '\0' ? last + 1 : NULL;
	n = last != NULL ? strlen(last) : 0;
	if (n > 0 && strncmp(why, last, n) == 0 && strncmp(why + n, ": ", 2) == 0)
		cli_warn(c, "%s: %s", subject, why + n + 2);
	else if (subject == NULL || subject[0] == '\0' || strstr(why, subject) != NULL)
		cli_warn(c, "%s", why);
	else
		cli_warn(c, "%s: %s", subject, why);
	(void)ckpt_fail(-rc, "%s", "");
	return rc == -EIO ? CLI_DAMAGE : CLI_FAILED;
}

static char *join(const char *dir, const char *name, bool bare)
{
	char *s;

	bare = bare || dir[0] == '\0' || name[0] == '\0' || dir[strlen(dir) - 1] == '/';
	return asprintf(&s, "%s%s%s", dir, bare ? "" : "/", name) < 0 ? NULL : s;
}

char *cli_join(const char *dir, const char *name)
{
	return join(dir, name, false);
}

char *cli_join_shown(const char *dir, const char *name)
{
	size_t n = strlen(dir);

	return join(dir, name, n > 0 && dir[n - 1] == ':');
}

struct fs_caller cli_caller(const struct cli *c)
{
	return (struct fs_caller){ .uid = c->uid, .gid = c->gid };
}

static void print_help(struct cli *c)
{
	const struct cli_command *k = c->command;
	const char *line = k->synopsis, *end;
	const char *word = "usage:";

	while (line != NULL && *line != '\0') {
		end = strchrnul(line, '\n');
		fprintf(c->out, "%s ckptfs %.*s\n", word, (int)(end - line), line);
		word = "      ";
		line = *end == '\n' ? end + 1 : NULL;
	}
	fprintf(c->out, "\n%c%s.\n", toupper((unsigned char)k->summary[0]), k->summary + 1);
	if (k->help != NULL && k->help[0] != '\0')
		fprintf(c->out, "\n%s", k->help);
}

enum { MAX_OPTIONS = 24, OPT_HELP = 0x7fff };

int cli_options(struct cli *c, int argc, char **argv, const char *shorts, const struct option *longs,
		bool (*got)(void *arg, int opt, const char *value), void *arg, int *operands)
{
	struct option all[MAX_OPTIONS + 2] = { 0 };
	char letters[80];
	int n = 0, opt, status = -1;

	while (longs != NULL && longs[n].name != NULL && n < MAX_OPTIONS) {
		all[n] = longs[n];
		n++;
	}
	all[n] = (struct option){ "help", no_argument, NULL, OPT_HELP };
	/* ':' first: getopt tells a missing value from an unknown option. */
	snprintf(letters, sizeof(letters), ":%s", shorts);

	pthread_mutex_lock(&getopt_lock);
	opterr = 0;
	optind = 0;
	while (status == -1) {
		int index = -1;
		int at = optind == 0 ? 1 : optind;

		opt = getopt_long(argc, argv, letters, all, &index);
		if (opt == -1)
			break;
		if (opt == OPT_HELP) {
			print_help(c);
			status = CLI_DONE;
		} else if (opt == ':' || opt == '?') {
			/* optopt is the letter, or 0 for a long option; the word itself is at or before optind. */
			const char *word = optind > 1 && optind - 1 < argc ? argv[optind - 1] : argv[at];

			const char *what = opt == ':' ? "needs a value" : "is not known";

			if (optopt > 0 && optopt < 256 && strncmp(word, "--", 2) != 0)
				status = cli_usage(c, "option -%c %s", optopt, what);
			else
				status = cli_usage(c, "option %s %s", word, what);
		} else if (!got(arg, opt, optarg)) {
			if (index >= 0)
				status = cli_usage(c, "bad value for --%s: \"%s\"", all[index].name,
						optarg ? optarg : "");
			else
				status = cli_usage(c, "bad value for -%c: \"%s\"", opt, optarg ? optarg : "");
		}
	}
	*operands = optind;
	pthread_mutex_unlock(&getopt_lock);
	return status;
}

static bool got_json(void *arg, int opt, const char *value)
{
	(void)opt;
	(void)value;
	*(bool *)arg = true;
	return true;
}

int cli_options_json(struct cli *c, int argc, char **argv, bool *json, int *operands)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' }, { 0 } };

	*json = false;
	return cli_options(c, argc, argv, "", longs, got_json, json, operands);
}

int cli_run(struct cli *c)
{
	int status = c->command->run(c, c->argc, c->argv);
	int e;

	fflush(c->out);
	e = atomic_load(&c->out_error);
	if (e != 0 && e != EPIPE)
		status = cli_worse(status, cli_warn(c, "standard output: %s", strerror(e)));
	fflush(c->err);
	return status;
}
