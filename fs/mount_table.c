/*
 * mount_table.c: reading /proc/self/mountinfo (proc_pid_mountinfo(5)), and taking an entry of it away.
 *
 *   36 35 0:52 / /mnt/ckpt rw,nosuid,nodev shared:1 - fuse.ckptfs /srv/runs.ckptfs rw,user_id=0,...
 *   id parent major:minor root mountpoint options [optional...] - type source super-options
 *
 * Blanks, newlines and backslashes in names come as \ooo.  Of several mounts on one mount point the last
 * line is the one on top.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "codec/ckpt_error.h"
#include "mount_table.h"

#define MOUNTINFO "/proc/self/mountinfo"

void fs_mount_entry_release(struct fs_mount_entry *e)
{
	free(e->mountpoint);
	free(e->type);
	free(e->source);
	memset(e, 0, sizeof(*e));
}

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* \ooo back to the byte, in place. */
static void unescape(char *s)
{
	char *to = s;
	for (const char *p = s; *p != '\0'; to++) {
		if (p[0] == '\\' && is_octal(p[1]) && is_octal(p[2]) && is_octal(p[3])) {
			*to = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
			p += 4;
		} else {
			*to = *p++;
		}
	}
	*to = '\0';
}

struct line {
	unsigned major, minor;
	char *mountpoint, *type, *source; /* point into the line */
};

static bool parse_line(char *text, struct line *out)
{
	char *rest = NULL;
	char *words[5];
	for (unsigned i = 0; i < 5; i++) {
		words[i] = strtok_r(i == 0 ? text : NULL, " \n", &rest);
		if (words[i] == NULL)
			return false;
	}
	if (sscanf(words[2], "%u:%u", &out->major, &out->minor) != 2)
		return false;
	const char *word;
	do
		word = strtok_r(NULL, " \n", &rest);
	while (word != NULL && strcmp(word, "-") != 0);
	out->mountpoint = words[4];
	out->type = strtok_r(NULL, " \n", &rest);
	out->source = strtok_r(NULL, " \n", &rest);
	if (out->type == NULL || out->source == NULL)
		return false;
	unescape(out->mountpoint);
	unescape(out->type);
	unescape(out->source);
	return true;
}

static int take(const struct line *l, struct fs_mount_entry *e)
{
	fs_mount_entry_release(e);
	e->major = l->major;
	e->minor = l->minor;
	e->mountpoint = strdup(l->mountpoint);
	e->type = strdup(l->type);
	e->source = strdup(l->source);
	if (e->mountpoint != NULL && e->type != NULL && e->source != NULL)
		return 0;
	return ckpt_fail(ENOMEM, "reading the mount table: out of memory");
}

int fs_mount_find(const char *mountpoint, struct fs_mount_entry *out)
{
	FILE *f = fopen(MOUNTINFO, "re");
	if (f == NULL)
		return ckpt_fail(errno, "opening '%s': %s", MOUNTINFO, strerror(errno));
	struct fs_mount_entry found = { 0 };
	char *text = NULL;
	size_t cap = 0;
	int rc = 0;
	while (rc >= 0 && getline(&text, &cap, f) > 0) {
		struct line l;
		if (!parse_line(text, &l) || strcmp(l.mountpoint, mountpoint) != 0)
			continue;
		rc = take(&l, &found);
		if (rc == 0)
			rc = 1;
	}
	if (rc >= 0 && ferror(f))
		rc = ckpt_fail(EIO, "reading '%s' failed", MOUNTINFO);
	if (rc == 1)
		*out = found;
	else
		fs_mount_entry_release(&found);
	free(text);
	fclose(f);
	return rc;
}

int fs_mount_realpath(const char *path, char **out)
{
	char *whole = realpath(path, NULL);
	if (whole != NULL) {
		*out = whole;
		return 0;
	}
	if (errno != ENOENT && errno != ENOTCONN)
		return ckpt_fail(errno, "resolving '%s': %s", path, strerror(errno));

	/* Not there yet, or nobody answers for it: its parent's path and its own name. */
	int rc;
	char *parent = NULL;
	char *copy = strdup(path);
	if (copy == NULL)
		return ckpt_fail(ENOMEM, "resolving '%s': out of memory", path);
	size_t len = strlen(copy);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	char *slash = strrchr(copy, '/');
	const char *name = slash == NULL ? copy : slash + 1;
	if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		rc = ckpt_fail(ENOENT, "resolving '%s': %s", path, strerror(ENOENT));
		goto free_copy;
	}
	if (slash != NULL)
		*slash = '\0';
	parent = realpath(slash == NULL ? "." : slash == copy ? "/" : copy, NULL);
	if (parent == NULL) {
		rc = ckpt_fail(errno, "resolving the parent directory of '%s': %s", path, strerror(errno));
		goto free_copy;
	}
	if (asprintf(out, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name) < 0) {
		rc = ckpt_fail(ENOMEM, "resolving '%s': out of memory", path);
		goto free_parent;
	}
	rc = 0;
free_parent:
	free(parent);
free_copy:
	free(copy);
	return rc;
}

int fs_mount_store(const struct fs_mount_entry *e, char **out)
{
	char path[PATH_MAX];
	const char *source = e->source;
	ssize_t n = getxattr(e->mountpoint, FS_MOUNT_STORE_XATTR, path, sizeof(path) - 1);
	if (strncmp(source, "ckptfs#", 7) == 0)
		source += 7;
	/* -o fsname= may be a path too; its word counts where the daemon is dead, or does not talk to us. */
	if (n > 0) {
		path[n] = '\0';
		source = path;
	} else if (source[0] != '/') {
		return ckpt_fail(ENODATA, "asking '%s' for its store: %s", e->mountpoint,
				n < 0 ? strerror(errno) : "no answer");
	}
	*out = strdup(source);
	return *out != NULL ? 0 : ckpt_fail(ENOMEM, "asking '%s' for its store: out of memory", e->mountpoint);
}

bool fs_mount_is_dead(const char *mountpoint)
{
	/* Not stat(): the kernel may know the attributes of the root without asking anybody. */
	struct statfs st;
	return statfs(mountpoint, &st) != 0 && errno == ENOTCONN;
}

/* What a child wrote, its first line at most. */
static void read_line(int fd, char *buf, size_t cap)
{
	size_t len = 0;
	while (len < cap - 1) {
		ssize_t n = read(fd, buf + len, cap - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	buf[len] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
}

/* fusermount3 is set-uid root and lets the owner of a mount take it away. */
static int run_fusermount(const char *mountpoint, bool lazy)
{
	int out[2];
	if (pipe2(out, O_CLOEXEC) != 0)
		return ckpt_fail(errno, "unmounting '%s': pipe: %s", mountpoint, strerror(errno));

	char name[] = "fusermount3", undo[] = "-u", detach[] = "-z", end[] = "--", locale[] = "LC_ALL=C";
	char path[PATH_MAX + 8];
	const char *search = getenv("PATH");
	snprintf(path, sizeof(path), "PATH=%s", search != NULL ? search : "/usr/local/bin:/usr/bin:/bin");
	char *where = strdup(mountpoint);
	char *argv[] = { name, undo, lazy ? detach : end, lazy ? end : where, lazy ? where : NULL, NULL };
	char *env[] = { path, locale, NULL };
	char said[512] = "";
	int rc;
	if (where == NULL) {
		rc = ckpt_fail(ENOMEM, "unmounting '%s': out of memory", mountpoint);
		close(out[0]);
		close(out[1]);
		return rc;
	}

	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out[1], STDERR_FILENO);
	pid_t pid;
	int err = posix_spawnp(&pid, name, &actions, NULL, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	close(out[1]);
	if (err != 0) {
		rc = ckpt_fail(err, "unmounting '%s': running fusermount3: %s", mountpoint,
				err == ENOENT ? "not installed (package fuse3)" : strerror(err));
		goto free_where;
	}
	read_line(out[0], said, sizeof(said));
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		rc = 0;
	else if (strstr(said, "busy") != NULL)
		rc = ckpt_fail(EBUSY, "unmounting '%s': %s", mountpoint, strerror(EBUSY));
	else
		rc = ckpt_fail(EPERM, "unmounting '%s': %s", mountpoint, said[0] != '\0' ? said : "fusermount3 failed");
free_where:
	close(out[0]);
	free(where);
	return rc;
}

int fs_unmount(const char *mountpoint, bool lazy)
{
	if (umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	if (errno == EPERM && geteuid() != 0)
		return run_fusermount(mountpoint, lazy);
	return ckpt_fail(errno, "unmounting '%s': %s", mountpoint, strerror(errno));
}
