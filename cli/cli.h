/*
 * cli.h: what a subcommand of `ckptfs` is and what it stands on.
 *
 * The room cli/ has one file a subcommand.  A subcommand is a function that gets a `struct cli` (its streams, its
 * directory, who asks, and the store) and its arguments, and returns an exit status.  It prints to c->out and c->err only,
 * resolves host paths against c->cwd_fd only, keeps nothing in globals, and looks at cli_cancelled() in loops; so the same
 * function runs in two places:
 *
 *   1. in the process the user started, on a store that it opened itself;
 *   2. in a thread of the process that has the store mounted (control.h), on the streams and the working
 *      directory of the user's process, which were passed as descriptors.
 *
 * cli_attach() decides which: after it either c->fs is there, or the command was carried out by the owner already.
 *
 * Threads: a struct cli belongs to the thread that runs the command; worker threads of the same command may
 * use cli_warn(), cli_error(), cli_cancelled() and c->fs.
 */
#ifndef CLI_H
#define CLI_H

#include <getopt.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "codec/ckpt_error.h"
#include "fs/fs.h"

/* Exit statuses, the same for every subcommand. When several apply: CLI_DAMAGE, then CLI_FAILED. */
enum {
	CLI_DONE = 0,
	CLI_DAMAGE = 1, /* something is wrong with the data: an unreadable file, a problem that verify found */
	CLI_USAGE = 2,  /* the command line was not understood */
	CLI_FAILED = 3, /* could not run, or not all of it: no such file, store in use, disk full, ... */
	CLI_STOP = 10,  /* of best: nothing was better for as long as was asked; the greatest there is */
};

struct progress;
struct target;
struct ticker;
struct zone;

struct cli {
	const char *name; /* of the subcommand, for messages */
	const struct cli_command *command;
	int argc; /* the subcommand's words as the user gave them, argv[0] its name */
	char **argv;

	FILE *out, *err;
	atomic_int out_error; /* errno of a write to out that failed; 0 none */
	int in_fd;            /* standard input */
	int cwd_fd;           /* what relative host paths are relative to (openat) */
	bool out_tty, err_tty;
	bool colour;       /* out may carry colours */
	unsigned width;    /* columns of the terminal; 80 when there is none */
	struct zone *zone; /* time zone of who asks, when the process has another one; NULL: the process's */

	mode_t umask; /* of who asks; never umask(2), which would change the owner's */
	uid_t uid;
	gid_t gid;

	struct fs *fs; /* the store, after cli_attach() */
	bool served;   /* we are in the owner; c->fs is borrowed from it */
	struct ticker *ticker; /* of a store that we opened to change it; else NULL */
	dev_t own_dev; /* served: st_dev of the store's own mount, which host paths must not touch; 0 unknown */
	struct target *told; /* served: what the client made of its operands */
	size_t ntold;

	struct progress *progress; /* the bar that is on screen, or NULL */
	atomic_int cancel;         /* set once: stop soon. A signal's number, or -1: the client is gone */
};

struct cli_command {
	const char *name;
	const char *synopsis; /* "ls [-1adhlR] [--json] STORE:PATH ..."; several forms on lines of their own */
	const char *summary;  /* one line, lower case */
	const char *help;     /* the options, one a line; ends with a newline */
	bool served;          /* calls cli_attach(): may be carried out by the owner of a mounted store */
	int (*run)(struct cli *c, int argc, char **argv);
};

/* Defined by the subcommands' files. */
extern const struct cli_command command_mount, command_umount, command_ls, command_cat, command_cp,
		command_rm, command_import, command_export, command_df, command_verify, command_gc, command_recompress,
		command_version, command_show, command_diff, command_stat,
		command_runs, command_best;

/* All of them, in the order in which the help shows them (cli_commands.c). */
extern const struct cli_command *const cli_commands[];
extern const size_t cli_ncommands;
/* NULL when there is none of that name. */
const struct cli_command *cli_find(const char *name);

/* Opens c->out and c->err on these descriptors and finds out about the terminal (cli_stream.c). -ENOMEM. */
int cli_streams_open(struct cli *c, int out_fd, int err_fd);
void cli_streams_close(struct cli *c); /* flushes; leaves the descriptors open */

/* Runs c->command on c->argc, c->argv and flushes c->out. Returns the exit status. */
int cli_run(struct cli *c);

/*
 * Parses options with getopt_long (operands and options may be mixed; a lock makes it usable in the owner's threads) and calls
 * got() for each; got() returns false to refuse a value.  --help is answered here.  Returns -1 to go on, with *operands
 * the index of the first operand in argv (which was permuted), or the exit status to return at once.
 */
int cli_options(struct cli *c, int argc, char **argv, const char *shorts, const struct option *longs,
		bool (*got)(void *arg, int opt, const char *value), void *arg, int *operands);

/* The same for a command that has no option but --json. */
int cli_options_json(struct cli *c, int argc, char **argv, bool *json, int *operands);

/* One line on c->err with the command's name and a pointer to its help; returns CLI_USAGE. */
int cli_usage(struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "ckptfs NAME: ..." and a newline on c->err, around a progress bar. Returns CLI_FAILED. Any thread of the command. */
int cli_warn(struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * The same for a failure rc (-errno) about `subject` (may be NULL): the message that the house left for it, or the
 * errno's.  Returns CLI_DAMAGE for -EIO, else CLI_FAILED.
 */
int cli_error(struct cli *c, int rc, const char *subject);

/* The graver of two exit statuses. */
int cli_worse(int a, int b);

/* Text of a failure for people: ckpt_errmsg() where it says more than the errno does. Valid until the next failure. */
const char *cli_reason(int rc);

static inline bool cli_cancelled(struct cli *c)
{
	return atomic_load_explicit(&c->cancel, memory_order_relaxed) != 0;
}

enum cli_need {
	CLI_READ = 0,
	CLI_WRITE = 1, /* the command changes the store */
	CLI_MAKE = 2,  /* and makes the store when it is not there (import, cp) */
	CLI_HOST = 4,  /* the command reads or writes files of the host */
	CLI_WHOLE = 8, /* the command is about a whole store, and takes no path in it (cli_on_one) */
};

/*
 * Gets hold of the store that the targets name (all of one store; host paths among them are allowed): opens it, or, when
 * another process has it mounted, lets that one carry out the whole command.  Waits up to 10 s for a process that has it open without a mount.
 * Returns -1 to go on with c->fs; else the exit status of the command, to return at once.
 */
int cli_attach(struct cli *c, const struct target *targets, size_t n, unsigned need);

/*
 * What a command does with what its operands name, and with its options: returns the exit status.
 */
typedef int (*cli_work)(struct cli *c, const struct target *t, const void *options);

/*
 * The whole of a command whose n operands are to be one target in a store; `else_say` is the usage error otherwise, and of
 * CLI_WHOLE when it is not the root.
 */
int cli_on_one(struct cli *c, int n, char **operand, unsigned need, const char *else_say, cli_work work,
		const void *options);

/* Ends what cli_attach() began: closes the store unless it is the owner's.  Returns the status, worse if that failed. */
int cli_detach(struct cli *c, int status);

/*
 * True when c->out takes no more: whoever reads it has gone (EPIPE, no error: the command ends quietly), or a write failed
 * (told by cli_run).  Loops that print look at it as they look at cli_cancelled(), which it includes.
 */
bool cli_stopped(struct cli *c);

/* dir/name, without doubling a '/'; one of them when the other is empty. Caller frees. NULL: no memory. */
char *cli_join(const char *dir, const char *name);
/* The same for what people read: "STORE:" and "run" are "STORE:run". */
char *cli_join_shown(const char *dir, const char *name);

/* Who asks, for fs_* calls. */
struct fs_caller cli_caller(const struct cli *c);

#endif
