/*
 * store_lock.c: one process owns an open store.
 *
 * The owner holds flock(2) on STORE/lock for as long as it has the store open; the kernel drops it with the
 * process, however that ends.  The file's one line says who it is, for the next comer to read: "pid
 * mountpoint\n", with '\n' and '\\' of the mount point written \012 and \134 as in /proc/mounts; no mount
 * point: "pid\n".  The line proves nothing, only the lock does.
 *
 * flock and SQLite's sync are worth what the filesystem below makes of them.  Network filesystems let two
 * machines into a store or lose a sync's order, so they are refused by their magic number; so is FUSE, behind
 * which anything can be.
 */
#include "lock_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "codec/ckpt_error.h"
#include "store.h"

enum {
	LINE_MAX_LEN = 32 + 4 * 4096,
	/* Whoever asks store_owner() holds the lock shared for a moment: a refusal counts when it lasts. */
	TRIES = 5,
	TRY_MS = 20,
};

int store_lock_medium(const char *path)
{
	static const struct {
		uint32_t magic;
		const char *name;
	} refused[] = {
		{ 0x00006969, "NFS" },      { 0x0000517b, "SMB" },   { 0xfe534d42, "SMB" },     { 0xff534d42, "CIFS" },
		{ 0x5346414f, "AFS" },      { 0x6b414653, "AFS" },   { 0x00c36400, "CephFS" },  { 0x01021997, "9p" },
		{ 0x65735546, "FUSE" },     { 0x73757245, "Coda" },  { 0x0bd00bd0, "Lustre" },  { 0x19830326, "BeeGFS" },
		{ 0x47504653, "GPFS" },     { 0x786f4256, "vboxsf" },
	};
	struct statfs st;

	if (statfs(path, &st) < 0)
		return ckpt_fail(errno, "can't look at the filesystem of '%s': %s", path, strerror(errno));
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		if ((uint32_t)st.f_type == refused[i].magic)
			return ckpt_fail(EOPNOTSUPP, "'%s' is on %s, where the lock and the syncs that keep a store whole "
					"can't be relied on; put the store on a local disk of the machine that mounts it", path,
					refused[i].name);
	return 0;
}

/* Reads the line of the lock file. An unreadable one gives pid 0 and no mount point. */
static void read_line(int fd, int *pid, char *mountpoint, size_t len)
{
	char *line = malloc(LINE_MAX_LEN + 1), *p, *end;
	size_t n = 0;

	*pid = 0;
	if (len)
		*mountpoint = '\0';
	if (!line)
		return;
	ssize_t got = pread(fd, line, LINE_MAX_LEN, 0);
	line[got > 0 ? got : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	long number = strtol(line, &end, 10);
	if (end == line || number <= 0 || number > INT32_MAX)
		goto done;
	*pid = (int)number;
	if (*end != ' ')
		goto done;
	for (p = end + 1; *p && n + 1 < len; p++) {
		if (strncmp(p, "\\012", 4) == 0 || strncmp(p, "\\134", 4) == 0) {
			mountpoint[n++] = p[1] == '0' ? '\n' : '\\';
			p += 3;
		} else {
			mountpoint[n++] = *p;
		}
	}
	if (len)
		mountpoint[n] = '\0';
done:
	free(line);
}

static int write_line(int fd, const char *path, const char *mountpoint)
{
	char *line = malloc(LINE_MAX_LEN);

	if (!line)
		return ckpt_fail(ENOMEM, "no memory to lock store '%s'", path);
	size_t n = (size_t)snprintf(line, LINE_MAX_LEN, "%ld%s", (long)getpid(), mountpoint && *mountpoint ? " " : "");
	for (const char *p = mountpoint ? mountpoint : ""; *p && n + 5 < LINE_MAX_LEN; p++) {
		if (*p == '\n' || *p == '\\') {
			memcpy(line + n, *p == '\n' ? "\\012" : "\\134", 4);
			n += 4;
		} else {
			line[n++] = *p;
		}
	}
	line[n++] = '\n';
	ssize_t put = pwrite(fd, line, n, 0);
	int err = errno;
	free(line);
	/* What was there before is cut off after, so that a reader finds a first line at any moment. */
	if (put == (ssize_t)n && ftruncate(fd, (off_t)n) == 0)
		return 0;
	if (put >= 0)
		err = put == (ssize_t)n ? errno : ENOSPC;
	/* On a full disk the store still opens, so that something can be deleted; the next comer then learns less. */
	return err == ENOSPC || err == EDQUOT ? 0 : ckpt_fail(err, "can't write '%s/lock': %s", path, strerror(err));
}

static int busy(const char *path, int fd)
{
	char mountpoint[4097];
	int pid;

	read_line(fd, &pid, mountpoint, sizeof mountpoint);
	if (!pid)
		return ckpt_fail(EBUSY, "store '%s' is in use by another process", path);
	if (!*mountpoint)
		return ckpt_fail(EBUSY, "store '%s' is in use by process %d", path, pid);
	return ckpt_fail(EBUSY, "store '%s' is in use by process %d, mounted at '%s'", path, pid, mountpoint);
}

static int open_lock(const char *path, int flags)
{
	char *name;

	if (asprintf(&name, "%s/lock", path) < 0) {
		errno = ENOMEM;
		return -1;
	}
	int fd = open(name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	int err = errno;
	free(name);
	errno = err;
	return fd;
}

int store_lock_take(const char *path, bool writable, const char *mountpoint, int *out)
{
	int fd = open_lock(path, writable ? O_RDWR | O_CREAT : O_RDONLY), rc;

	if (fd < 0) {
		/* Nobody can change the store on a medium that has not even this file. */
		if (!writable && errno == ENOENT) {
			*out = -1;
			return 0;
		}
		return ckpt_fail(errno, "can't open '%s/lock': %s", path, strerror(errno));
	}
	for (int i = 0; flock(fd, (writable ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0; i++) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK) {
			rc = ckpt_fail(errno, "can't lock '%s/lock': %s", path, strerror(errno));
			goto close;
		}
		if (i >= TRIES) {
			rc = busy(path, fd);
			goto close;
		}
		nanosleep(&(struct timespec){ .tv_nsec = TRY_MS * 1000000 }, NULL);
	}
	if (writable) {
		rc = write_line(fd, path, mountpoint);
		if (rc < 0)
			goto close;
	}
	*out = fd;
	return 0;
close:
	close(fd);
	return rc;
}

void store_lock_drop(int fd)
{
	if (fd >= 0)
		close(fd);
}

int store_owner(const char *path, int *pid, char *mountpoint, size_t len)
{
	struct stat st;
	int rc = 0;

	*pid = 0;
	if (len)
		*mountpoint = '\0';
	int fd = open_lock(path, O_RDONLY);
	if (fd < 0) {
		int err = errno;

		if (err == ENOENT && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
			return 0;
		return ckpt_fail(err, "can't open '%s/lock': %s", path, strerror(err));
	}
	if (flock(fd, LOCK_SH | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK) {
			read_line(fd, pid, mountpoint, len);
			rc = 1;
		} else {
			rc = ckpt_fail(errno, "can't ask who holds '%s/lock': %s", path, strerror(errno));
		}
	}
	close(fd);
	return rc;
}
