/*
 * cmd_umount.c: `ckptfs umount`: takes a mount away and waits until its store is closed.
 *
 * umount(8) returns when the name is gone; the daemon then still publishes, commits and syncs what it holds.
 * The store's lock is given back after that, so whoever waits for the lock knows that everything is on the
 * disk and that the store may be copied, moved or mounted again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "fs/fs_mount.h"
#include "fs/mount_table.h"
#include "store/store.h"

enum { SHOW_USERS = 8, PATIENCE_MS = 2000, LOOK_MS = 20 };

/* --- who holds it ----------------------------------------------------------------------------------- */

static bool is_within(const char *path, const char *mountpoint)
{
	size_t len = strlen(mountpoint);
	return strncmp(path, mountpoint, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/*
 * Where the link `name` in a directory of /proc points, if that is inside the mount. Reading it touches no
 * mount.
 */
static bool link_within(int dir, const char *name, const char *mountpoint, char *path, size_t cap)
{
	ssize_t n = readlinkat(dir, name, path, cap - 1);
	if (n < 0)
		return false;
	path[n] = '\0';
	return is_within(path, mountpoint);
}

static bool any_link_within(int process, const char *list, const char *mountpoint, char *path, size_t cap)
{
	bool found = false;
	int fd = openat(process, list, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	const struct dirent *e;
	while (!found && (e = readdir(d)) != NULL)
		found = link_within(dirfd(d), e->d_name, mountpoint, path, cap);
	closedir(d);
	return found;
}

static void process_name(int process, char *buf, size_t cap)
{
	int fd = openat(process, "comm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, buf, cap - 1) : 0;
	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
}

/* Tells who uses the mount, as far as we may look into other processes. */
static void look_for_users(struct cli *c, const char *mountpoint)
{
	DIR *proc = opendir("/proc");
	const struct dirent *e;
	unsigned shown = 0;
	while (proc != NULL && shown < SHOW_USERS && (e = readdir(proc)) != NULL) {
		char path[PATH_MAX], name[32];
		int pid = atoi(e->d_name);
		if (pid <= 0 || pid == getpid() || pid == getppid()) /* not a process, or this command */
			continue;
		int process = openat(dirfd(proc), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (process < 0)
			continue;
		if (link_within(process, "cwd", mountpoint, path, sizeof(path)) ||
				link_within(process, "root", mountpoint, path, sizeof(path)) ||
				link_within(process, "exe", mountpoint, path, sizeof(path)) ||
				any_link_within(process, "fd", mountpoint, path, sizeof(path)) ||
				any_link_within(process, "map_files", mountpoint, path, sizeof(path))) {
			process_name(process, name, sizeof(name));
			cli_warn(c, "  process %s (%s) uses '%s'", e->d_name, name, path);
			shown++;
		}
		close(process);
	}
	if (proc != NULL)
		closedir(proc);
}

/*
 * Looking at a process that is itself stuck in the mount (in exec, for one) can wait for as long as that
 * process does, so a child looks, and is given up after a while.
 */
static void show_users(struct cli *c, const char *mountpoint)
{
	fflush(c->err);
	pid_t pid = fork();
	if (pid == 0) {
		look_for_users(c, mountpoint);
		fflush(c->err);
		_exit(0);
	}
	for (int waited = 0; pid > 0 && waitpid(pid, NULL, WNOHANG) == 0; waited += LOOK_MS) {
		if (waited > PATIENCE_MS) {
			kill(pid, SIGKILL);
			cli_warn(c, "  (a process that hangs keeps the rest from being found)");
			return;
		}
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000000L }, NULL);
	}
}

/* What is mounted inside keeps it as well. Reading the table touches no mount. */
static void show_mounts(struct cli *c, const char *mountpoint)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	const struct mntent *e;
	while (f != NULL && (e = getmntent(f)) != NULL)
		if (is_within(e->mnt_dir, mountpoint) && strcmp(e->mnt_dir, mountpoint) != 0)
			cli_warn(c, "  '%s' is mounted in it", e->mnt_dir);
	if (f != NULL)
		endmntent(f);
}

/* --- which mount ------------------------------------------------------------------------------------ */

struct unmounting {
	struct cli *c;
	bool lazy;
	char *mountpoint;
	char *store;       /* NULL: not known */
	int pid;           /* of who has it open; 0 nobody */
};

/* The operand may be the mount point, or a store that is mounted somewhere. */
static int find_mount(struct unmounting *u, const char *text, struct fs_mount_entry *e)
{
	struct cli *c = u->c;
	char elsewhere[PATH_MAX] = "";
	int pid;
	if (strncmp(text, "ckptfs#", 7) == 0)
		text += 7;
	if (fs_mount_realpath(text, &u->mountpoint) < 0)
		return cli_warn(c, "%s", ckpt_errmsg());
	int rc = fs_mount_find(u->mountpoint, e);
	if (rc == 0 && !fs_mount_is_dead(u->mountpoint) &&
			store_owner(u->mountpoint, &pid, elsewhere, sizeof(elsewhere)) == 1 && elsewhere[0] == '/') {
		free(u->mountpoint);
		u->mountpoint = strdup(elsewhere);
		if (u->mountpoint == NULL)
			return cli_warn(c, "out of memory");
		rc = fs_mount_find(u->mountpoint, e);
	}
	if (rc < 0)
		return cli_warn(c, "%s", ckpt_errmsg());
	if (rc == 0)
		return cli_warn(c, "'%s' is not a mount point, nor a store that is mounted", text);
	if (strcmp(e->type, FS_MOUNT_TYPE) != 0)
		return cli_warn(c, "'%s' is a mount of type %s, not of ckptfs", u->mountpoint, e->type);
	return -1;
}

static void find_owner(struct unmounting *u, const struct fs_mount_entry *e)
{
	char mountpoint[PATH_MAX] = "";
	u->pid = 0;
	if (fs_mount_store(e, &u->store) < 0) {
		cli_warn(u->c, "%s", ckpt_errmsg());
		return;
	}
	int rc = store_owner(u->store, &u->pid, mountpoint, sizeof(mountpoint));
	if (rc < 0)
		cli_warn(u->c, "%s", ckpt_errmsg());
	if (rc != 1)
		u->pid = 0;
}

/* --- unmounting ------------------------------------------------------------------------------------- */

/* Dirty pages of mappings reach the daemon before the connection ends. */
static int push_pages(struct unmounting *u)
{
	int fd = open(u->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == EACCES ? -1 : cli_warn(u->c, "opening '%s': %s", u->mountpoint, strerror(errno));
	int rc = syncfs(fd);
	int err = errno;
	close(fd);
	return rc == 0 ? -1 : cli_warn(u->c, "syncing '%s': %s", u->mountpoint, strerror(err));
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int wait_for_daemon(struct unmounting *u)
{
	struct cli *c = u->c;
	char mountpoint[PATH_MAX];
	int64_t began = now_ms();
	bool told = false;
	for (;;) {
		int pid = 0;
		int rc = store_owner(u->store, &pid, mountpoint, sizeof(mountpoint));
		if (rc < 0)
			return cli_warn(c, "%s", ckpt_errmsg());
		if (rc == 0 || pid != u->pid)
			return CLI_DONE;
		if (cli_cancelled(c))
			return cli_warn(c, "interrupted: '%s' is unmounted, but process %d is still writing",
					u->mountpoint, u->pid);
		if (!told && now_ms() - began > PATIENCE_MS) {
			cli_warn(c, "waiting for process %d to write everything to '%s'", u->pid, u->store);
			told = true;
		}
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000000L }, NULL);
	}
}

static int unmount(struct unmounting *u, const char *text)
{
	struct cli *c = u->c;
	struct fs_mount_entry e = { 0 };
	int status = find_mount(u, text, &e);
	if (status != -1)
		goto release;
	if (fs_mount_is_dead(u->mountpoint)) {
		status = CLI_DONE;
		if (fs_mount_clean_dead(u->mountpoint) < 0)
			status = cli_warn(c, "%s", ckpt_errmsg());
		else
			cli_warn(c, "the daemon of '%s' was dead: unmounted it", u->mountpoint);
		goto release;
	}
	find_owner(u, &e);
	status = push_pages(u);
	if (status != -1)
		goto release;
	int rc = fs_unmount(u->mountpoint, u->lazy);
	if (rc < 0) {
		status = cli_warn(c, "%s", ckpt_errmsg());
		if (rc == -EBUSY) {
			show_mounts(c, u->mountpoint);
			show_users(c, u->mountpoint);
		}
		goto release;
	}
	status = CLI_DONE;
	if (!u->lazy && u->pid != 0)
		status = wait_for_daemon(u);
release:
	fs_mount_entry_release(&e);
	return status;
}

static bool got_option(void *arg, int opt, const char *value)
{
	struct unmounting *u = arg;
	(void)opt;
	(void)value;
	u->lazy = true;
	return true;
}

static int run_umount(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = { { "lazy", no_argument, NULL, 'l' }, { NULL, 0, NULL, 0 } };
	struct unmounting u = { .c = c };
	int at;
	int status = cli_options(c, argc, argv, "l", longs, got_option, &u, &at);
	if (status != -1)
		return status;
	if (argc - at != 1)
		return cli_usage(c, "want a mount point");
	status = unmount(&u, argv[at]);
	free(u.mountpoint);
	free(u.store);
	return status;
}

const struct cli_command command_umount = {
	.name = "umount",
	.synopsis = "umount [-l] MOUNTPOINT",
	.summary = "unmount, and wait until everything is durable",
	.help = "  -l, --lazy   take the name away now, though it is in use, and do not wait\n"
		"MOUNTPOINT may also be the store that is mounted.\n",
	.run = run_umount,
};
