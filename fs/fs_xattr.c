/*
 * fs_xattr.c: extended attributes.
 *
 * user.*, trusted.* and security.* are kept.  The kernel asks for security.capability at every write(2), so the answer must cost
 * nothing: as long as no security.* attribute was ever set in this store there is none to look for.  POSIX ACLs (system.*) are
 * not supported and said to be so.
 */
#include <errno.h>
#include <string.h>

#include "fs_internal.h"
#include "store/store_stats.h"

enum space { SPACE_NONE, SPACE_BARE, SPACE_KEPT, SPACE_SECURITY };

/* Which kind of name it is. A prefix alone (SPACE_BARE) is no name. */
static enum space space_of(const char *name)
{
	static const struct { const char *prefix; enum space space; } known[] = {
		{ "user.", SPACE_KEPT },
		{ "trusted.", SPACE_KEPT },
		{ FS_SECURITY_PREFIX, SPACE_SECURITY },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		size_t len = strlen(known[i].prefix);

		if (strncmp(name, known[i].prefix, len) == 0)
			return name[len] != '\0' ? known[i].space : SPACE_BARE;
	}
	return SPACE_NONE;
}

ssize_t fs_getxattr(struct fs *fs, uint64_t ino, const char *name, void *buf, size_t cap)
{
	/* Not -ENODATA: `ls -l` asks for each file of a filesystem until it hears that there is nothing to ask for. */
	if (ino & FS_VIRTUAL)
		return ckpt_fail(EOPNOTSUPP, "views have no attributes");
	switch (space_of(name)) {
	case SPACE_NONE:
		return ckpt_fail(EOPNOTSUPP, "attributes called '%s' are not kept", name);
	case SPACE_BARE:
		return ckpt_fail(EINVAL, "'%s' is no attribute's name", name);
	case SPACE_SECURITY:
		if (!atomic_load(&fs->security))
			return ckpt_fail(ENODATA, "no attribute '%s'", name);
		break;
	case SPACE_KEPT:
		break;
	}
	return store_getxattr(fs->store, ino, name, buf, cap);
}

ssize_t fs_listxattr(struct fs *fs, uint64_t ino, char *buf, size_t cap)
{
	return ino & FS_VIRTUAL ? 0 : store_listxattr(fs->store, ino, buf, cap);
}

static int check_change(struct fs *fs, uint64_t ino, const char *name)
{
	if ((ino & FS_VIRTUAL) || fs->readonly)
		return ckpt_fail(EROFS, ino & FS_VIRTUAL ? "views are read-only" : "the store is read-only");
	switch (space_of(name)) {
	case SPACE_NONE:
		return ckpt_fail(EOPNOTSUPP, "attributes called '%s' are not kept", name);
	case SPACE_BARE:
		return ckpt_fail(EINVAL, "'%s' is no attribute's name", name);
	case SPACE_KEPT:
	case SPACE_SECURITY:
		break;
	}
	return 0;
}

void fs_ctime_moved(struct fs *fs, uint64_t ino)
{
	struct fs_body *b = fs_body_hold(fs, ino);
	struct store_attr a;

	if (!b)
		return;
	if (store_getattr(fs->store, ino, &a) == 0)
		store_file_set_times(b->file, &a, STORE_SET_CTIME);
	fs_body_put(fs, b);
}

int fs_setxattr(struct fs *fs, const struct fs_caller *c, uint64_t ino, const char *name, const void *value, size_t len, int flags)
{
	int rc = check_change(fs, ino, name);

	if (rc < 0)
		return rc;
	if (space_of(name) == SPACE_SECURITY)
		atomic_store(&fs->security, true);
	rc = store_setxattr(fs->store, ino, name, value, len, flags);
	if (rc < 0)
		return rc;
	fs_ctime_moved(fs, ino);
	fs_notify_outside(fs, c, ino, NULL);
	return 0;
}

int fs_removexattr(struct fs *fs, const struct fs_caller *c, uint64_t ino, const char *name)
{
	int rc = check_change(fs, ino, name);

	if (rc == 0)
		rc = store_removexattr(fs->store, ino, name);
	if (rc < 0)
		return rc;
	fs_ctime_moved(fs, ino);
	fs_notify_outside(fs, c, ino, NULL);
	return 0;
}
