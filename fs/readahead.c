/*
 * readahead.c: how far ahead the kernel reads in this mount.
 *
 * A mount starts at 128 KiB, and whatever the daemon says at INIT can only lower it; so a sequential read
 * comes as requests of 128 KiB.  At 1 MiB there are eight times fewer of them, each as large as the largest
 * chunk.  The knob is in sysfs, per mount, for root.  It must not be turned inside the INIT callback (sysfs may
 * wait for the mount, which waits for INIT): fs_mount.c calls this from a thread of its own, afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "codec/ckpt_error.h"
#include "fuse_internal.h"

int fuse_readahead_set(unsigned major, unsigned minor, unsigned kib)
{
	char path[64], text[16];
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major, minor);
	int len = snprintf(text, sizeof(text), "%u", kib);

	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return ckpt_fail(errno, "opening '%s': %s", path, strerror(errno));
	int rc = 0;
	if (write(fd, text, (size_t)len) != len)
		rc = ckpt_fail(errno, "writing '%s': %s", path, strerror(errno));
	close(fd);
	return rc;
}
