/*
 * copy_file.c: copying one thing, between trees of any kind.
 */
#include <errno.h>
#include <limits.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "copy_internal.h"
#include "progress.h"

void copy_attributes(const struct copy_env *env, const struct stat *st, bool attrs, struct tattr *out)
{
	*out = (struct tattr){ .mode = attrs, .times = attrs, .owner = attrs && env->c->uid == 0, .st = *st };
	if (!attrs)
		out->st.st_mode = (st->st_mode & (S_IFMT | 0777)) & ~env->c->umask;
}

int copy_xattrs(const struct copy_env *env, struct tdir *sd, struct tfile *sf, struct tdir *dd,
		struct tfile *df)
{
	struct tree *src = env->src, *dst = env->dst;
	char *names = NULL, *value = NULL;
	ssize_t len = src->ops->listxattr(src, sd, sf, NULL, 0), n;
	int rc = 0;

	if (len <= 0)
		return len == 0 || len == -EOPNOTSUPP || len == -ENODATA ? 0 : (int)len;
	/* Some room to spare: one may be added meanwhile. */
	names = malloc((size_t)len + 1024);
	value = malloc(XATTR_SIZE_MAX);
	if (names == NULL || value == NULL) {
		rc = ckpt_fail(ENOMEM, "extended attributes: out of memory");
		goto out;
	}
	len = src->ops->listxattr(src, sd, sf, names, (size_t)len + 1024);
	if (len < 0) {
		rc = (int)len;
		goto out;
	}
	for (char *name = names; name < names + len && rc == 0; name += strlen(name) + 1) {
		if (strncmp(name, "user.", 5) != 0 && (env->c->uid != 0 || strncmp(name, "trusted.", 8) != 0))
			continue;
		n = src->ops->getxattr(src, sd, sf, name, value, XATTR_SIZE_MAX);
		if (n == -ENODATA)
			continue;
		rc = n < 0 ? (int)n : dst->ops->setxattr(dst, dd, df, name, value, (size_t)n);
		if (rc == -EOPNOTSUPP) {
			rc = 0;
			break;
		}
	}
out:
	free(value);
	free(names);
	return rc;
}

/* Copies [*at, end), or, with end UINT64_MAX, up to the end of the source; *at follows. */
static int copy_range(const struct copy_env *env, struct tfile *in, struct tfile *out, uint64_t *at,
		uint64_t end, void *buf)
{
	while (*at < end) {
		size_t want = end - *at < COPY_BUFFER ? (size_t)(end - *at) : COPY_BUFFER;
		ssize_t n;
		int rc;

		if (cli_cancelled(env->c))
			return -ECANCELED;
		n = env->src->ops->read(env->src, in, *at, buf, want);
		if (n <= 0)
			return (int)n;
		rc = env->dst->ops->write(env->dst, out, *at, buf, (size_t)n);
		if (rc != 0)
			return rc;
		*at += (uint64_t)n;
		if (env->progress != NULL)
			progress_add(env->progress, (uint64_t)n);
	}
	return 0;
}

static int copy_content(const struct copy_env *env, struct tfile *in, struct tfile *out,
		const struct stat *st, void *buf)
{
	struct tree *src = env->src, *dst = env->dst;
	uint64_t size = (uint64_t)st->st_size, at = 0, written = 0;
	bool sparse = (uint64_t)st->st_blocks < size / 512;
	int rc;

	if (src->in_store && dst->in_store) {
		rc = tree_store_clone(src, in, out, &size);
		if (rc == 0 && env->progress != NULL)
			progress_add(env->progress, size);
		/* A view's content is made when it is read: nothing to share. */
		if (rc != -EXDEV && rc != -EOPNOTSUPP && rc != -EINVAL)
			return rc;
	}
	while (at < size) {
		uint64_t data = at, hole = size;

		rc = sparse ? src->ops->seek(src, in, at, &data, &hole) : 0;
		if (rc == -ENXIO) {
			data = hole = size;
		} else if (rc != 0) { /* a filesystem that can't tell */
			data = at;
			hole = size;
			sparse = false;
		}
		hole = hole < size ? hole : size;
		data = data < size ? data : size;
		if (env->progress != NULL)
			progress_add(env->progress, data - at);
		at = data;
		rc = copy_range(env, in, out, &at, hole, buf);
		if (rc != 0)
			return rc;
		if (at > data)
			written = at;
		if (at < hole) { /* it was truncated meanwhile */
			size = at;
			break;
		}
	}
	/* What was appended since, or all of a file whose size is not told before it is read. */
	if (at == size) {
		rc = copy_range(env, in, out, &at, UINT64_MAX, buf);
		if (rc != 0)
			return rc;
		if (at > size)
			size = written = at;
	}
	return written < size ? dst->ops->set_size(dst, out, size) : 0;
}

int copy_file(const struct copy_env *env, const struct tentry *e, struct tdir *into, const char *name,
		bool attrs, void *buf)
{
	struct tree *src = env->src, *dst = env->dst;
	struct tfile *in, *out;
	struct tattr a;
	struct stat st;
	int rc;

	rc = src->ops->file_open(src, e, &in, &st);
	if (rc != 0)
		return rc;
	copy_attributes(env, &st, attrs, &a);
	rc = dst->ops->file_make(dst, into, name, a.st.st_mode & 0777, &out);
	if (rc != 0)
		goto close_in;
	rc = copy_content(env, in, out, &st, buf);
	if (rc == 0 && attrs)
		rc = copy_xattrs(env, NULL, in, NULL, out);
	if (rc == 0)
		rc = dst->ops->file_finish(dst, out, &a);
	else
		dst->ops->file_abort(dst, out);
close_in:
	src->ops->file_close(src, in);
	return rc;
}

int copy_other(const struct copy_env *env, const struct tentry *e, struct tdir *into, const char *name,
		bool attrs)
{
	char target[PATH_MAX];
	struct tattr a;
	ssize_t n;

	copy_attributes(env, &e->st, attrs, &a);
	if (!S_ISLNK(e->st.st_mode))
		return env->dst->ops->make_other(env->dst, into, name, &a.st, NULL, &a);
	n = env->src->ops->readlink(env->src, e, target, sizeof(target) - 1);
	if (n < 0)
		return (int)n;
	target[n] = '\0';
	return env->dst->ops->make_other(env->dst, into, name, &a.st, target, &a);
}
