/*
 * fs_path.c: a path becomes an inode, for those who come without a kernel that does it.
 *
 * The path is taken apart from the front; a symlink on the way is replaced by its target before what is left.  Absolute targets begin at
 * the tree's root: to the command line there is nothing outside of it.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "fs_internal.h"

enum { LINKS_MAX = 40, REST_MAX = 16 * PATH_MAX };

/*
 * "target/rest", malloc()ed.  For the last name of a path there is no rest, and no slash, which would ask for a directory.
 */
static int prepend_target(struct fs *fs, uint64_t ino, const char *rest, bool last, char **out)
{
	char target[PATH_MAX];
	size_t len = strlen(rest);
	ssize_t n = fs_readlink(fs, ino, target, sizeof(target));
	char *p;

	if (n < 0)
		return (int)n;
	if (n == 0)
		return ckpt_fail(ENOENT, "an empty symbolic link");
	if (len + (size_t)n + 2 > REST_MAX)
		return ckpt_fail(ENAMETOOLONG, "symbolic links make a path of more than %d bytes", REST_MAX);
	p = malloc((size_t)n + len + 2);
	if (!p)
		return ckpt_fail(ENOMEM, "no memory for a path");
	memcpy(p, target, (size_t)n);
	p[n] = '/';
	memcpy(p + n + !last, rest, len + 1);
	*out = p;
	return 0;
}

int fs_resolve(struct fs *fs, const char *path, bool follow, struct fs_entry *out)
{
	struct fs_entry at;
	char *whole = NULL, *rest;
	unsigned links = 0;
	int rc;

	if (strlen(path) > REST_MAX)
		return ckpt_fail(ENAMETOOLONG, "a path of more than %d bytes", REST_MAX);
	whole = strdup(path);
	if (!whole)
		return ckpt_fail(ENOMEM, "no memory for a path");
	rc = fs_lookup(fs, FS_ROOT, ".", &at);
	if (rc < 0)
		goto free_path;
	rest = whole;
	for (;;) {
		struct fs_entry next;
		char *name;
		bool last;

		rest += strspn(rest, "/");
		if (*rest == '\0')
			break;
		name = rest;
		rest += strcspn(rest, "/");
		last = *rest == '\0';
		if (!last)
			*rest++ = '\0';
		if (!S_ISDIR(at.st.st_mode)) {
			rc = ckpt_fail(ENOTDIR, "'%s': something before '%s' is no directory", path, name);
			goto forget_at;
		}
		rc = fs_lookup(fs, at.st.st_ino, name, &next);
		if (rc < 0)
			goto forget_at;

		if (S_ISLNK(next.st.st_mode) && (!last || follow)) {
			char *longer;

			if (++links > LINKS_MAX)
				rc = ckpt_fail(ELOOP, "'%s': more than %d symbolic links", path, LINKS_MAX);
			else
				rc = prepend_target(fs, next.st.st_ino, rest, last, &longer);
			fs_forget(fs, next.st.st_ino, 1);
			if (rc < 0)
				goto forget_at;
			free(whole);
			whole = rest = longer;
			if (*rest != '/')
				continue;
			rc = fs_lookup(fs, FS_ROOT, ".", &next);
			if (rc < 0)
				goto forget_at;
			fs_forget(fs, at.st.st_ino, 1);
			at = next;
			continue;
		}
		fs_forget(fs, at.st.st_ino, 1);
		at = next;
		/* What follows is the next name, or only slashes, which ask for a directory. */
		if (!last && rest[strspn(rest, "/")] == '\0' && !S_ISDIR(at.st.st_mode)) {
			rc = ckpt_fail(ENOTDIR, "'%s' is no directory", path);
			goto forget_at;
		}
	}
	free(whole);
	*out = at;
	return 0;

forget_at:
	fs_forget(fs, at.st.st_ino, 1);
free_path:
	free(whole);
	return rc;
}
