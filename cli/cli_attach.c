/*
 * cli_attach.c: how a command gets hold of its store.
 *
 *   nobody has it open          open it here
 *   a mount has it              that process carries out the command (control_client.c)
 *   another command has it      wait for it, 10 s at most
 *
 * Which of these holds can change at any moment (a mount that is just starting has the lock and no ear yet), so they are
 * tried in turn until one succeeds.
 */
#include "cli.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "control.h"
#include "progress.h"
#include "target.h"
#include "ticker.h"

enum { WAIT_MS = 10000, STEP_MS = 50 };

/* Are these two names of one directory? */
static bool same_store(const char *a, const char *b)
{
	struct stat x, y;

	if (strcmp(a, b) == 0)
		return true;
	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int the_store(struct cli *c, const struct target *t, size_t n, const char **out)
{
	const char *store = NULL;

	for (size_t i = 0; i < n; i++) {
		if (!t[i].in_store)
			continue;
		if (store == NULL)
			store = t[i].store;
		else if (!same_store(store, t[i].store))
			return cli_usage(c, "%s and %s are two stores; a command works on one", store,
					t[i].store);
	}
	if (store == NULL)
		return cli_usage(c, "none of these names a store: say STORE:PATH");
	*out = store;
	return -1;
}

static int open_here(struct cli *c, const char *store, unsigned need)
{
	struct fs_options o = {
		.store = { .create = (need & CLI_MAKE) != 0, .effort = CODEC_DEFAULT, .history_seconds = -1 },
	};
	int rc = fs_open(store, &o, &c->fs);

	/* On a medium, or with rights, that allow no writing a store can be read as long as it needs no recovery. */
	if ((rc == -EROFS || rc == -EACCES) && !(need & (CLI_WRITE | CLI_MAKE))) {
		o.store.readonly = true;
		rc = fs_open(store, &o, &c->fs);
	}
	if (rc == 0 && (need & CLI_WRITE)) {
		rc = ticker_start(fs_store(c->fs), &c->ticker);
		if (rc != 0) {
			fs_close(c->fs);
			c->fs = NULL;
		}
	}
	return rc;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void wait_a_step(void)
{
	struct timespec t = { .tv_nsec = STEP_MS * 1000000L };

	nanosleep(&t, NULL);
}

/* Somebody has it and nobody answers: says so once, on a terminal, and forgets the line again. */
static void say_waiting(struct cli *c, const char *store, bool *said)
{
	char mountpoint[4096];
	int pid;

	if (*said || !c->err_tty || store_owner(store, &pid, mountpoint, sizeof(mountpoint)) != 1)
		return;
	*said = true;
	fprintf(c->err, "ckptfs %s: waiting for process %d, which has %s open", c->name, pid, store);
	fflush(c->err);
}

static void unsay(struct cli *c, bool said)
{
	if (said) {
		fputs("\r\033[K", c->err);
		fflush(c->err);
	}
}

int cli_attach(struct cli *c, const struct target *targets, size_t n, unsigned need)
{
	const char *store = NULL, *why;
	int64_t begin = now_ms();
	bool said = false;
	int rc, status;

	if (c->served)
		return -1;
	status = the_store(c, targets, n, &store);
	if (status != -1)
		return status;
	for (;;) {
		rc = open_here(c, store, need);
		if (rc == 0) {
			unsay(c, said);
			return -1;
		}
		if (rc != -EBUSY)
			break;
		rc = control_run(c, store, targets, n, need, &status);
		if (rc == 0) {
			unsay(c, said);
			return status;
		}
		if (rc != -ENOENT && rc != -ECONNREFUSED)
			break;
		if (cli_cancelled(c) || now_ms() - begin >= WAIT_MS) {
			/* Once more for its message: it names who has the store. */
			rc = open_here(c, store, need);
			if (rc == 0)
				return -1;
			break;
		}
		say_waiting(c, store, &said);
		wait_a_step();
	}
	unsay(c, said);
	/* The message of the store says more than the errno here, even for a plain ENOENT. */
	why = ckpt_errmsg()[0] != '\0' ? ckpt_errmsg() : strerror(-rc);
	if (strstr(why, store) != NULL)
		status = cli_warn(c, "%s", why);
	else
		status = cli_warn(c, "store '%s': %s", store, why);
	return rc == -EIO ? CLI_DAMAGE : status;
}

int cli_detach(struct cli *c, int status)
{
	int rc;

	if (c->served || c->fs == NULL)
		return status;
	ticker_stop(c->ticker);
	c->ticker = NULL;
	rc = fs_close(c->fs);
	c->fs = NULL;
	return rc == 0 ? status : cli_worse(status, cli_error(c, rc, NULL));
}

int cli_on_one(struct cli *c, int n, char **operand, unsigned need, const char *else_say, cli_work work,
		const void *options)
{
	struct target *t;
	int status;

	if (n != 1)
		return cli_usage(c, "%s", else_say);
	status = targets_parse(c, operand, 1, TARGET_STORE, &t);
	if (status != -1)
		return status;
	/* Whoever names a part would take the answer for one about that part. */
	if ((need & CLI_WHOLE) && t->path[strspn(t->path, "/")] != '\0')
		status = cli_usage(c, "%s; \"%s\" is a place in one", else_say, t->text);
	if (status == -1)
		status = cli_attach(c, t, 1, need & ~(unsigned)CLI_WHOLE);
	if (status == -1)
		status = cli_detach(c, work(c, t, options));
	targets_free(t, 1);
	return status;
}
