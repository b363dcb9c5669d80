/*
 * cmd_mount.c: `ckptfs mount`: the tree of a store on a mount point.
 *
 *   check the words and both places, clean a dead mount away       (the process the user started)
 *   fork; the parent waits
 *   open the store, listen on its control socket, mount, serve     (the daemon)
 *   INIT came: the parent returns 0, systemd hears READY
 *   unmounted or told to stop: close the store
 *
 * Called as mount.ckptfs or mount.fuse.ckptfs it is a helper of mount(8): "SOURCE MOUNTPOINT [-sfnvrw] [-N ns]
 * [-t type] [-o words]", with mount(8)'s exit statuses, and as root dev and suid hold unless the words say
 * otherwise, as for any filesystem in fstab (FUSE's own default is nodev,nosuid).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "control.h"
#include "daemon.h"
#include "fs/fs_mount.h"
#include "fs/mount_table.h"
#include "mount_options.h"
#include "store/store.h"

/* Of mount(8). */
enum { HELPER_USAGE = 1, HELPER_FAILED = 32 };

/* How long a mount waits for another owner of the store to leave: a daemon drains for 30 s and then syncs. */
enum { WAIT_FOR_COMMAND_MS = 10000, WAIT_FOR_DAEMON_MS = 60000 };

struct mounting {
	struct cli *c;
	struct mount_options opt;
	bool helper, foreground, fake;
	int parse_rc;      /* of the first -o that was wrong; its message is in `wrong` */
	char wrong[256];

	char *store;       /* absolute, without links */
	char *mountpoint;
	struct daemon daemon;
	bool ready;        /* messages go to the log from here on */
};

/* --- words ----------------------------------------------------------------------------------------- */

static void parse_words(struct mounting *m, const char *words)
{
	if (m->parse_rc < 0)
		return;
	m->parse_rc = mount_options_parse(&m->opt, words);
	if (m->parse_rc < 0)
		snprintf(m->wrong, sizeof(m->wrong), "%s", ckpt_errmsg());
}

static bool got_option(void *arg, int opt, const char *value)
{
	struct mounting *m = arg;
	switch (opt) {
	case 'o':
		parse_words(m, value);
		break;
	case 'd':
		m->opt.mount.debug = true;
		m->foreground = true;
		break;
	case 'f':
		m->foreground = true;
		break;
	default:
		return false;
	}
	return true;
}

/* Here -f means fake: check everything, mount nothing. */
static bool got_helper_option(void *arg, int opt, const char *value)
{
	struct mounting *m = arg;
	switch (opt) {
	case 'o':
		parse_words(m, value);
		break;
	case 'f':
		m->fake = true;
		break;
	case 'r':
		parse_words(m, "ro");
		break;
	case 'w':
		parse_words(m, "rw");
		break;
	case 'N':
		m->parse_rc = -EINVAL;
		snprintf(m->wrong, sizeof(m->wrong), "mounting in another namespace (-N) is not supported");
		break;
	case 't':
		if (strcmp(value, "ckptfs") != 0 && strcmp(value, FS_MOUNT_TYPE) != 0)
			return false;
		break;
	default: /* -s, -n, -v: nothing to be sloppy about, no mtab, nothing more to say */
		break;
	}
	return true;
}

static int parse(struct mounting *m, int argc, char **argv, const char **store, const char **mountpoint)
{
	static const struct option longs[] = {
		{ "foreground", no_argument, NULL, 'f' },
		{ "debug", no_argument, NULL, 'd' },
		{ "options", required_argument, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	int at;
	int status = m->helper ? cli_options(m->c, argc, argv, "sfnvrwN:t:o:", NULL, got_helper_option, m, &at)
			: cli_options(m->c, argc, argv, "fdo:", longs, got_option, m, &at);
	if (status != -1)
		return status;
	if (m->parse_rc < 0)
		return cli_usage(m->c, "%s", m->wrong);
	if (argc - at != 2)
		return cli_usage(m->c, "want a store and a mount point");
	if (m->opt.remount)
		return cli_usage(m->c, "remounting is not supported; unmount and mount again");
	*store = strncmp(argv[at], "ckptfs#", 7) == 0 ? argv[at] + 7 : argv[at];
	*mountpoint = argv[at + 1];
	if (**store == '\0' || **mountpoint == '\0')
		return cli_usage(m->c, "want a store and a mount point");

	if (m->helper && geteuid() == 0) {
		if (!m->opt.dev)
			parse_words(m, "dev");
		if (!m->opt.suid)
			parse_words(m, "suid");
	}
	return -1;
}

/* --- places ---------------------------------------------------------------------------------------- */

static bool is_within(const char *path, const char *directory)
{
	size_t len = strlen(directory);
	if (strcmp(directory, "/") == 0)
		return true;
	return strncmp(path, directory, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static int check_mountpoint(struct mounting *m, const char *text)
{
	struct cli *c = m->c;
	struct stat st;
	int rc = fs_mount_clean_dead(text);
	if (rc < 0)
		return cli_warn(c, "%s", ckpt_errmsg());
	if (rc > 0)
		cli_warn(c, "'%s' was left behind by a daemon that died: unmounted it", text);
	if (stat(text, &st) != 0)
		return cli_warn(c, "mount point '%s': %s", text, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return cli_warn(c, "mount point '%s' is not a directory", text);
	if (fs_mount_realpath(text, &m->mountpoint) < 0)
		return cli_warn(c, "%s", ckpt_errmsg());
	/* Linux would put one on top of the other, which nobody wants who says the same line twice. */
	struct fs_mount_entry e = { 0 };
	rc = fs_mount_find(m->mountpoint, &e);
	int status = -1;
	if (rc < 0)
		status = cli_warn(c, "%s", ckpt_errmsg());
	else if (rc == 1 && strcmp(e.type, FS_MOUNT_TYPE) == 0)
		status = cli_warn(c, "'%s' is taken: it shows '%s'", m->mountpoint, e.source);
	fs_mount_entry_release(&e);
	return status;
}

static int check_store(struct mounting *m, const char *text)
{
	struct cli *c = m->c;
	if (fs_mount_realpath(text, &m->store) < 0)
		return cli_warn(c, "store: %s", ckpt_errmsg());
	/*
	 * Once mounted, such a daemon would wait for itself, and nobody could end it but an abort of the
	 * connection.
	 */
	if (is_within(m->store, m->mountpoint))
		return cli_warn(c, "the store '%s' lies inside the mount point '%s', and would be hidden by its own "
				"mount", m->store, m->mountpoint);
	if (is_within(m->mountpoint, m->store))
		return cli_warn(c, "the mount point '%s' lies inside the store '%s'", m->mountpoint, m->store);
	return -1;
}

static const char no_fuse[] = "this machine or container has no FUSE; run the container with --device /dev/fuse "
		"--cap-add SYS_ADMIN, or use 'ckptfs ls|cat|cp STORE:PATH', which need no mount";

static bool in_path(const char *program)
{
	const char *path = getenv("PATH");
	char file[PATH_MAX];
	if (path == NULL)
		path = "/usr/local/bin:/usr/bin:/bin";
	while (*path != '\0') {
		size_t len = strcspn(path, ":");
		snprintf(file, sizeof(file), "%.*s/%s", (int)len, path, program);
		if (len > 0 && access(file, X_OK) == 0)
			return true;
		path += len + (path[len] == ':');
	}
	return false;
}

/* user_allow_other on a line by itself. */
static bool users_may_allow_other(void)
{
	char line[256];
	bool found = false;
	FILE *f = fopen("/etc/fuse.conf", "re");
	if (f == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), f) != NULL) {
		char *save, *word = strtok_r(line, " \t\n", &save);
		found = word != NULL && strcmp(word, "user_allow_other") == 0;
	}
	fclose(f);
	return found;
}

static int check_fuse(struct mounting *m)
{
	struct cli *c = m->c;
	if (access("/dev/fuse", F_OK) != 0)
		return cli_warn(c, "no /dev/fuse: %s", no_fuse);
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return cli_warn(c, "/dev/fuse can not be opened (%s): %s", strerror(errno), no_fuse);
	close(fd);
	if (geteuid() == 0)
		return -1;
	if (!in_path("fusermount3"))
		return cli_warn(c, "mounting as a user needs fusermount3, which is not installed (package fuse3)");
	if (m->opt.allow && !users_may_allow_other())
		return cli_warn(c, "allow_other and allow_root are for root, unless /etc/fuse.conf has a line "
				"'user_allow_other'");
	return -1;
}

/* --- the daemon ------------------------------------------------------------------------------------ */

/* A failure before the tree is served is for the user's terminal, a later one for the log. */
static int failed(struct mounting *m, const char *what)
{
	const char *why = ckpt_errmsg();
	bool named = m->store == NULL || strstr(why, m->store) != NULL || strstr(why, m->mountpoint) != NULL;
	const char *of = named ? "" : "store '", *store = named ? "" : m->store, *end = named ? "" : "': ";
	if (m->ready)
		ckpt_log(LOG_ERR, "%s%s%s%s%s", what, of, store, end, why);
	else
		cli_warn(m->c, "%s%s%s%s%s", what, of, store, end, why);
	return CLI_FAILED;
}

static void on_ready(void *arg)
{
	struct mounting *m = arg;
	char *settings = mount_options_text(&m->opt);
	m->ready = true;
	if (daemon_ready(&m->daemon) < 0) {
		ckpt_log(LOG_WARNING, "stopping at once: %s", ckpt_errmsg());
		fs_mount_stop();
	}
	ckpt_log(LOG_INFO, "serving '%s' at '%s': %s", m->store, m->mountpoint, settings != NULL ? settings : "");
	free(settings);
}

static void on_stopping(void *arg)
{
	(void)arg;
	daemon_stopping();
}

/*
 * Who has the store open will soon be done with it: a daemon that was unmounted and still writes (umount(8)
 * does not wait for it), or a command without a mount.
 */
static bool owner_is_leaving(const struct mounting *m, int64_t waited_ms)
{
	char mountpoint[PATH_MAX] = "";
	struct fs_mount_entry e = { 0 };
	int pid;
	if (store_owner(m->store, &pid, mountpoint, sizeof(mountpoint)) != 1)
		return true; /* gone between the two looks */
	if (mountpoint[0] == '\0')
		return waited_ms < WAIT_FOR_COMMAND_MS;
	bool mounted = fs_mount_find(mountpoint, &e) == 1 && strcmp(e.type, FS_MOUNT_TYPE) == 0;
	fs_mount_entry_release(&e);
	return !mounted && waited_ms < WAIT_FOR_DAEMON_MS;
}

static int open_store(struct mounting *m, struct fs **out)
{
	enum { STEP_MS = 100, TELL_MS = 2000 };
	for (int64_t waited = 0;; waited += STEP_MS) {
		int rc = fs_open(m->store, &m->opt.fs, out);
		if (rc != -EBUSY || !owner_is_leaving(m, waited))
			return rc;
		if (waited == TELL_MS)
			cli_warn(m->c, "waiting: %s", ckpt_errmsg());
		nanosleep(&(struct timespec){ .tv_nsec = STEP_MS * 1000000L }, NULL);
	}
}

static int serve(struct mounting *m)
{
	struct fs *fs = NULL;
	struct control_server *control = NULL;
	int status = CLI_DONE, rc;
	daemon_harden();
	m->opt.fs.store.mountpoint = m->mountpoint;
	if (open_store(m, &fs) < 0)
		return failed(m, "");
	if (store_readonly(fs_store(fs)) && !m->opt.readonly)
		cli_warn(m->c, "the filesystem of '%s' is read-only, and so is the mount", m->store);
	rc = control_server_start(fs, m->mountpoint, &control);
	/* Where nobody can write, commands open the store beside us. */
	if (rc < 0 && !(store_readonly(fs_store(fs)) && (rc == -EROFS || rc == -EACCES || rc == -EPERM))) {
		status = failed(m, "");
		goto close_fs;
	}
	if (fs_mount_serve(fs, m->mountpoint, &m->opt.mount, on_ready, on_stopping, m) < 0) {
		status = failed(m, "");
		if (!m->ready && geteuid() == 0 && strstr(ckpt_errmsg(), strerror(EPERM)) != NULL)
			cli_warn(m->c, "in a container mounting needs --device /dev/fuse --cap-add SYS_ADMIN");
	}
	control_server_stop(control);
close_fs:
	if (fs_close(fs) < 0)
		status = failed(m, "closing the store: ");
	else if (m->ready)
		ckpt_log(LOG_INFO, "'%s' is closed", m->store);
	return status;
}

static int mount_it(struct mounting *m, int argc, char **argv)
{
	const char *store = "", *mountpoint = "";
	int status = parse(m, argc, argv, &store, &mountpoint);
	if (status == -1)
		status = check_mountpoint(m, mountpoint);
	if (status == -1)
		status = check_store(m, store);
	if (status == -1)
		status = check_fuse(m);
	if (status == -1 && m->fake)
		status = CLI_DONE;
	if (status != -1)
		return status;

	m->daemon.fd = -1;
	if (!m->foreground) {
		fflush(m->c->out);
		fflush(m->c->err);
		int rc = daemon_fork(&m->daemon, &status);
		if (rc != 0)
			return rc < 0 ? failed(m, "") : status;
	} else if (chdir("/") != 0) {
		return cli_warn(m->c, "chdir: %s", strerror(errno));
	}
	return serve(m);
}

static int run_mount(struct cli *c, int argc, char **argv)
{
	const char *self = strrchr(argv[0], '/');
	struct mounting m = { .c = c };
	self = self != NULL ? self + 1 : argv[0];
	m.helper = strncmp(self, "mount.", 6) == 0;
	mount_options_init(&m.opt);
	int status = mount_it(&m, argc, argv);
	mount_options_release(&m.opt);
	free(m.store);
	free(m.mountpoint);
	if (!m.helper || status == CLI_DONE)
		return status;
	return status == CLI_USAGE ? HELPER_USAGE : HELPER_FAILED;
}

const struct cli_command command_mount = {
	.name = "mount",
	.synopsis = "mount [-fd] [-o OPTION[,OPTION...]] STORE MOUNTPOINT",
	.summary = "serve a store at a mount point; makes the store when it does not exist",
	.help = "  -f, --foreground   stay in the foreground, messages on standard error\n"
		"  -d, --debug        trace every request; implies -f\n"
		"  -o, --options ...  comma separated, later ones win:\n"
		"       history=24h       keep replaced and deleted versions so long (0, 30m, 24h, 7d)\n"
		"       torn=abort|keep   what a writer that was killed in the middle leaves: nothing, or its bytes\n"
		"       compress=default|fast|max\n"
		"       cache=64M         memory for decoded chunks\n"
		"       dirty=64M         memory for what is written and not yet stored\n"
		"       workers=N         encoder threads (default: one a core, at most 8)\n"
		"       readahead=1024    KiB that the kernel reads ahead (root only)\n"
		"       max_threads=10\n"
		"       ro rw dev nodev suid nosuid exec noexec noatime sync dirsync allow_other allow_root\n"
		"       fsname=WORD max_read=BYTES: as mount(8) and mount.fuse3(8) have them\n"
		"mount.fuse.ckptfs(8) tells more, with examples for /etc/fstab and systemd.\n",
	.run = run_mount,
};
