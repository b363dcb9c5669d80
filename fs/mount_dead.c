/*
 * mount_dead.c: a mount point whose daemon died.
 *
 * After a kill -9 the kernel keeps the mount and answers every access with ENOTCONN ("Transport endpoint is
 * not connected"), and nothing can be mounted there until somebody unmounts it.  Nothing is lost by taking
 * it away: what it could serve died with the daemon.  Processes that still have files open there keep
 * their dead descriptors.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "fs_mount.h"
#include "mount_table.h"

int fs_mount_clean_dead(const char *mountpoint)
{
	char *path = NULL;
	struct fs_mount_entry e = { 0 };
	if (!fs_mount_is_dead(mountpoint))
		return 0;
	int rc = fs_mount_realpath(mountpoint, &path);
	if (rc < 0)
		return rc;

	/*
	 * Several can lie on top of each other: a daemon that was killed, restarted by hand elsewhere, and
	 * so on.
	 */
	int cleaned = 0;
	while (fs_mount_is_dead(path)) {
		rc = fs_mount_find(path, &e);
		if (rc < 0)
			goto free_path;
		if (rc == 0) {
			rc = ckpt_fail(ENOTCONN, "'%s' lies in a mount whose daemon is dead", path);
			goto free_path;
		}
		if (strcmp(e.type, FS_MOUNT_TYPE) != 0) {
			rc = ckpt_fail(ENOTCONN, "'%s' is a dead mount of type %s, not one of ckptfs; unmount it first",
					path, e.type);
			goto release_entry;
		}
		rc = fs_unmount(path, true);
		if (rc < 0)
			goto release_entry;
		fs_mount_entry_release(&e);
		cleaned = 1;
	}
	rc = cleaned;
release_entry:
	fs_mount_entry_release(&e);
free_path:
	free(path);
	return rc;
}
