/*
 * view_access.c: who may see what was made of several files.
 *
 * A path below @runs is not the path of the file it comes from: `@runs/exp/3/model.pt` may be taken from
 * `exp/checkpoints/epoch=3.ckpt`, and the kernel, which checks the directories on the way, never sees
 * `checkpoints`.  So what it says is put into the mode: who could not have walked to the file and read it
 * there gets no right here.
 *
 * A mode speaks of an owner, a group and all others, and two things may have different ones of each: whom
 * a class of ours falls into over there is not known then, and it must be allowed for everyone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "view_host.h"

enum { DEPTH_MAX = 64 };

void view_access_meet(struct view_access *a, uid_t uid, gid_t gid, mode_t mode, unsigned perm)
{
	bool u = (mode >> 6 & perm) == perm, g = (mode >> 3 & perm) == perm, o = (mode & perm) == perm;

	if (!a->any)
		*a = (struct view_access){ .uid = uid, .gid = gid, .mode = 0444, .any = true };
	if (!(a->uid == uid ? u : g && o))
		a->mode &= ~(mode_t)0400;
	if (!(a->gid == gid ? g : g && o))
		a->mode &= ~(mode_t)0040;
	if (!(a->gid == gid ? o : g && o))
		a->mode &= ~(mode_t)0004;
}

int view_access_path(struct fs *fs, struct view_access *a, const char *path, unsigned perm,
		struct view_source *last)
{
	struct store_attr way[DEPTH_MAX];
	unsigned n = 0;
	const char *p = path;
	int rc = view_name_root(fs, &way[0]);

	while (rc == 0 && *p) {
		size_t len = strcspn(p, "/");

		if (++n == DEPTH_MAX)
			return ckpt_fail(ENAMETOOLONG, "'%s' has more than %d directories", path, DEPTH_MAX);
		rc = view_name_lookup(fs, way[n - 1].ino, p, len, &way[n]);
		p += len + (p[len] == '/');
	}
	if (rc < 0)
		return rc;
	/* What it is about comes first: its owner is the one that is shown. */
	view_access_meet(a, way[n].uid, way[n].gid, way[n].mode, perm);
	for (unsigned i = 0; i < n; i++)
		view_access_meet(a, way[i].uid, way[i].gid, way[i].mode, 1);
	if (last)
		view_source_of(&way[n], last);
	return 0;
}
