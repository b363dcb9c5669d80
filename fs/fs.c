/*
 * fs.c: the tree opened, ticked and closed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <syslog.h>
#include <time.h>

#include "fs_internal.h"
#include "view_host.h"
#include "store/store_stats.h"

enum {
	BLOCK = 4096,
	INODE_COST = 512, /* about what an inode and its name take in the store: their number is a question of space */
};

int fs_open(const char *store_path, const struct fs_options *o, struct fs **out)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	int rc;

	if (!fs)
		return ckpt_fail(ENOMEM, "no memory for a filesystem");
	fs->torn_keep = o->torn_keep;
	fs->noatime = o->noatime;
	fs->proc = fs_proc_linux;
	clock_gettime(CLOCK_REALTIME, &fs->born);
	rc = fs_table_init(fs);
	if (rc < 0)
		goto free_fs;
	fs->views = fs_views_new();
	if (!fs->views) {
		rc = ckpt_fail(ENOMEM, "no memory for views");
		goto release_table;
	}
	rc = -pthread_rwlock_init(&fs->names, NULL);
	if (rc < 0)
		goto free_views;
	rc = -pthread_rwlock_init(&fs->notify_lock, NULL);
	if (rc < 0)
		goto destroy_names;
	rc = store_open(store_path, &o->store, &fs->store);
	if (rc < 0)
		goto destroy_notify;
	fs->readonly = store_readonly(fs->store);
	rc = store_xattr_any(fs->store, FS_SECURITY_PREFIX);
	if (rc < 0)
		goto close_store;
	atomic_store(&fs->security, rc > 0);
	rc = view_host_new(&fs->host);
	if (rc < 0)
		goto close_store;
	*out = fs;
	return 0;

close_store:
	store_close(fs->store);
destroy_notify:
	pthread_rwlock_destroy(&fs->notify_lock);
destroy_names:
	pthread_rwlock_destroy(&fs->names);
free_views:
	fs_views_free(fs->views);
release_table:
	fs_table_release(fs);
free_fs:
	free(fs);
	return rc;
}

/* Everything but the store. */
static void release(struct fs *fs)
{
	fs_views_free(fs->views);
	pthread_rwlock_destroy(&fs->notify_lock);
	pthread_rwlock_destroy(&fs->names);
	free(fs);
}

int fs_close(struct fs *fs)
{
	int rc;

	if (!fs)
		return 0;
	fs_session_finish(fs);
	fs_table_release(fs);
	view_host_free(fs->host);
	rc = store_close(fs->store);
	release(fs);
	return rc;
}

void fs_crash(struct fs *fs)
{
	fs_table_release(fs);
	view_host_free(fs->host);
	store_crash(fs->store);
	release(fs);
}

struct store *fs_store(struct fs *fs)
{
	return fs->store;
}

void fs_tick(struct fs *fs)
{
	if (!fs->readonly)
		fs_session_tick(fs);
	view_host_tick(fs->host);
	store_tick(fs->store);
}

int fs_statfs(struct fs *fs, struct statvfs *out)
{
	struct store_space space;
	int rc = store_space(fs->store, &space);

	if (rc < 0)
		return rc;
	if (space.inodes == 0) {
		space.inodes = space.total / INODE_COST;
		space.inodes_free = space.avail / INODE_COST;
	}
	*out = (struct statvfs){
		.f_bsize = BLOCK,
		.f_frsize = BLOCK,
		.f_blocks = space.total / BLOCK,
		.f_bfree = space.free / BLOCK,
		.f_bavail = space.avail / BLOCK,
		.f_files = space.inodes,
		.f_ffree = space.inodes_free,
		.f_favail = space.inodes_free,
		.f_namemax = STORE_NAME_MAX,
	};
	return 0;
}
