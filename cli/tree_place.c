/*
 * tree_place.c: from an operand to a directory and a name in it, for trees of both kinds.
 */
#include "tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

void tree_temporary_name(const char *name, char *buf)
{
	uint32_t salt = 0;

	if (getrandom(&salt, sizeof(salt), GRND_NONBLOCK) != sizeof(salt)) {
		struct timespec t;

		clock_gettime(CLOCK_MONOTONIC, &t);
		salt = (uint32_t)t.tv_nsec ^ (uint32_t)getpid() << 12;
	}
	snprintf(buf, 256, ".%.200s.ckptfs-%08x", name, salt);
}

int tree_place(struct tree *t, const char *path, struct tplace *out)
{
	char *copy = strdup(path), *slash, *name;
	size_t n = copy != NULL ? strlen(copy) : 0;
	const char *dir;
	int rc;

	if (copy == NULL)
		return ckpt_fail(ENOMEM, "%s: out of memory", path);
	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = '\0';
	slash = strrchr(copy, '/');
	name = slash != NULL ? slash + 1 : copy;
	if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		dir = copy;
		out->name = strdup(".");
	} else {
		out->name = strdup(name);
		if (slash == copy)
			dir = "/";
		else if (slash != NULL)
			dir = (*slash = '\0', copy);
		else
			dir = "";
	}
	rc = out->name == NULL ? ckpt_fail(ENOMEM, "%s: out of memory", path)
			       : t->ops->dir_at(t, dir, &out->dir);
	if (rc != 0) {
		free(out->name);
		*out = (struct tplace){ 0 };
	}
	free(copy);
	return rc;
}

void tree_place_release(struct tree *t, struct tplace *p)
{
	if (p->dir != NULL)
		t->ops->dir_close(t, p->dir);
	free(p->name);
	*p = (struct tplace){ 0 };
}
