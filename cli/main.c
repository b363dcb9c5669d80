/*
 * main.c: the command `ckptfs`: finds the subcommand and runs it in this process.
 *
 * Called as mount.ckptfs or mount.fuse.ckptfs (mount(8), /etc/fstab) it is `ckptfs mount`, with mount(8)'s order of words;
 * cmd_mount sees that by its argv[0].
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

static struct cli the_cli; /* static: the signal handler needs it */

/* The first signal asks the command to stop and clean up; a second one ends the process at once. */
static void on_signal(int sig)
{
	atomic_store(&the_cli.cancel, sig);
	signal(sig, SIG_DFL);
}

static void watch_signals(void)
{
	static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = on_signal }, old;

	for (size_t i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		if (sigaction(sigs[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(sigs[i], &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* A database opened on descriptor 1 would be printed into.  What is printed to a closed one is an error, not thrown away. */
static int fill_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", fcntl(STDIN_FILENO, F_GETFD) < 0 ? O_WRONLY : O_RDONLY);
		if (fd < 0)
			return -errno;
	} while (fd <= STDERR_FILENO);
	close(fd);
	return 0;
}

/* Trees keep a directory open a level, and a store some files; the soft limit of 1024 is for select(2) users. */
static void raise_fd_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max < 65536 ? r.rlim_max : 65536;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

/* Levenshtein distance of two short words, at most 32 letters of each. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[33];
	size_t n = strnlen(a, 32), m = strnlen(b, 32), i, j;

	for (j = 0; j <= m; j++)
		row[j] = (unsigned)j;
	for (i = 1; i <= n; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (j = 1; j <= m; j++) {
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < change)
				change = row[j] + 1;
			if (row[j - 1] + 1 < change)
				change = row[j - 1] + 1;
			row[j] = change;
		}
	}
	return row[m];
}

static int unknown_command(const char *word)
{
	const char *nearest = NULL;
	unsigned best = 3; /* further away is no likely slip */

	for (size_t i = 0; i < cli_ncommands; i++) {
		unsigned d = distance(word, cli_commands[i]->name);

		if (d < best && d < strlen(cli_commands[i]->name)) {
			best = d;
			nearest = cli_commands[i]->name;
		}
	}
	fprintf(stderr, "ckptfs: unknown command \"%s\"", word);
	if (nearest != NULL)
		fprintf(stderr, "; did you mean \"%s\"?", nearest);
	fputs(" (see `ckptfs --help`)\n", stderr);
	return CLI_USAGE;
}

static void global_help(FILE *f)
{
	fputs("usage: ckptfs COMMAND [OPTION...] ...\n\nA filesystem for neural-network checkpoints.\n\n", f);
	for (size_t i = 0; i < cli_ncommands; i++)
		fprintf(f, "  %-10s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
	fputs("\nSTORE is a directory NAME.ckptfs; STORE:PATH a path in it, with or without a mount.\n"
	      "`ckptfs COMMAND --help` tells a command's options, ckptfs(1) everything.\n"
	      "Exit status: 0 done, 1 something is wrong with the data, 2 usage, 3 could not run.\n",
			f);
}

static int run(const struct cli_command *k, int argc, char **argv)
{
	struct cli *c = &the_cli;
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
	int status, sig;

	c->command = k;
	c->name = k->name;
	c->argc = argc;
	c->argv = argv;
	c->in_fd = STDIN_FILENO;
	c->cwd_fd = AT_FDCWD;
	c->uid = geteuid();
	c->gid = getegid();
	c->umask = umask(0);
	umask(c->umask);
	if (cli_streams_open(c, STDOUT_FILENO, STDERR_FILENO) != 0) {
		fprintf(stderr, "ckptfs: %s\n", ckpt_errmsg());
		return CLI_FAILED;
	}
	c->colour = c->out_tty && (no_color == NULL || no_color[0] == '\0') &&
		    (term == NULL || strcmp(term, "dumb") != 0);
	if (k != &command_mount)
		watch_signals();

	status = cli_run(c);
	cli_streams_close(c);
	/* Ended by a signal, after cleaning up: say so to the shell in its own words. */
	sig = atomic_load(&c->cancel);
	if (sig > 0) {
		signal(sig, SIG_DFL);
		raise(sig);
	}
	return status;
}

int main(int argc, char **argv)
{
	const char *self = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const struct cli_command *k;

	if (fill_standard_fds() != 0)
		return CLI_FAILED;
	raise_fd_limit();
	self = self != NULL ? self + 1 : argc > 0 ? argv[0] : "ckptfs";
	if (strncmp(self, "mount.", 6) == 0)
		return run(&command_mount, argc, argv);

	if (argc < 2) {
		global_help(stderr);
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "help") == 0 && argc > 2) {
		char *words[] = { argv[2], "--help", NULL };

		k = cli_find(argv[2]);
		return k != NULL ? run(k, 2, words) : unknown_command(argv[2]);
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		global_help(stdout);
		if (fflush(stdout) == 0)
			return CLI_DONE;
		fprintf(stderr, "ckptfs: standard output: %s\n", strerror(errno));
		return CLI_FAILED;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		char *words[] = { "version", NULL };

		return run(&command_version, 1, words);
	}
	if (argv[1][0] == '-') {
		fprintf(stderr, "ckptfs: unknown option %s (see `ckptfs --help`)\n", argv[1]);
		return CLI_USAGE;
	}
	k = cli_find(argv[1]);
	if (k == NULL && argc > 2 && strchr(argv[1], '/') != NULL) {
		static char helper[] = "mount.fuse.ckptfs";

		/* mount.fuse3(8), which mount(8) runs where our own helper is not installed, calls "ckptfs STORE MOUNTPOINT -o ...". */
		argv[0] = helper;
		return run(&command_mount, argc, argv);
	}
	return k != NULL ? run(k, argc - 1, argv + 1) : unknown_command(argv[1]);
}
