/*
 * runs_host.h: a host for bridge_runs.h over a directory of the machine: facts in a list in memory, symlinks
 * seen as such.
 */
#ifndef RUNS_HOST_H
#define RUNS_HOST_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "torchbridge/bridge_runs.h"

struct host_fact {
	char *name; /* "path\nkey\nmtime.size" */
	uint8_t *p;
	size_t len;
	size_t next; /* of the same hash: number + 1 */
};

enum { HOST_HEADS = 1 << 16 };

struct runs_host {
	const char *root;
	struct host_fact *fact;
	size_t facts, cap;
	size_t *head; /* of HOST_HEADS hashes: number + 1 */
	unsigned docs, recalls, remembers, reads; /* calls */
	uint64_t bytes;                           /* read */
};

static inline void host_path(const struct runs_host *h, const char *path, char out[4096])
{
	snprintf(out, 4096, "%s/%s", h->root, path);
}

static inline int host_list(void *arg, const char *dir,
		int (*emit)(void *e, const char *name, size_t len, const struct stat *st), void *e)
{
	char path[4096];
	struct dirent *d;
	DIR *dp;
	int rc = 0;

	host_path(arg, dir, path);
	dp = opendir(path);
	if (dp == NULL)
		return -errno;
	while (rc == 0 && (d = readdir(dp)) != NULL) {
		struct stat st;

		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 &&
				fstatat(dirfd(dp), d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			rc = emit(e, d->d_name, strlen(d->d_name), &st);
	}
	closedir(dp);
	return rc;
}

static inline int host_stat(void *arg, const char *name, struct stat *st)
{
	char path[4096];

	host_path(arg, name, path);
	return stat(path, st) == 0 ? 0 : -errno;
}

static inline int64_t host_read(void *arg, const char *name, uint64_t off, void *buf, size_t len)
{
	struct runs_host *h = arg;
	char path[4096];
	int64_t n;
	int fd;

	host_path(h, name, path);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -errno;
	n = pread(fd, buf, len, (off_t)off);
	n = n < 0 ? -errno : n;
	close(fd);
	h->reads++;
	h->bytes += n > 0 ? (uint64_t)n : 0;
	return n;
}

struct host_file {
	struct runs_host *h;
	const char *name;
};

static inline int64_t host_read_at(void *arg, uint64_t off, void *buf, size_t len)
{
	struct host_file *f = arg;

	return host_read(f->h, f->name, off, buf, len);
}

static inline int host_doc(void *arg, const char *name, const struct bridge_doc **out)
{
	struct runs_host *h = arg;
	struct host_file f = { h, name };
	struct bridge_doc *d;
	struct stat st;
	int rc = host_stat(h, name, &st);

	h->docs++;
	if (rc == 0)
		rc = bridge_doc_open(host_read_at, &f, (uint64_t)st.st_size, 0, &d);
	if (rc == 0)
		*out = d;
	return rc;
}

static inline void host_put(void *arg, const struct bridge_doc *d)
{
	(void)arg;
	bridge_doc_free((struct bridge_doc *)(uintptr_t)d);
}

static inline void host_key(struct runs_host *h, const char *path, const char *key, char out[4400])
{
	struct stat st = { 0 };

	host_stat(h, path, &st);
	snprintf(out, 4400, "%s\n%s\n%lld.%09ld.%lld", path, key, (long long)st.st_mtim.tv_sec,
			st.st_mtim.tv_nsec, (long long)st.st_size);
}

static inline size_t host_hash(const char *s)
{
	size_t x = 5381;

	while (*s != 0)
		x = x * 33 + (uint8_t)*s++;
	return x & (HOST_HEADS - 1);
}

static inline int host_recall(void *arg, const char *path, const char *key, uint8_t **out, size_t *len)
{
	struct runs_host *h = arg;
	char name[4400];

	h->recalls++;
	host_key(h, path, key, name);
	for (size_t i = h->head != NULL ? h->head[host_hash(name)] : 0; i-- > 0; i = h->fact[i].next)
		if (strcmp(h->fact[i].name, name) == 0) {
			*out = malloc(h->fact[i].len + 1);
			if (*out == NULL)
				return -ENOMEM;
			memcpy(*out, h->fact[i].p, h->fact[i].len);
			*len = h->fact[i].len;
			return 0;
		}
	return -ENOENT;
}

static inline void host_remember(void *arg, const char *path, const char *key, const void *p, size_t len)
{
	struct runs_host *h = arg;
	char name[4400];

	h->remembers++;
	if (h->facts == h->cap) {
		h->cap = h->cap > 0 ? 2 * h->cap : 64;
		h->fact = realloc(h->fact, h->cap * sizeof *h->fact);
	}
	host_key(h, path, key, name);
	h->fact[h->facts].name = strdup(name);
	h->fact[h->facts].p = malloc(len + 1);
	memcpy(h->fact[h->facts].p, p, len);
	h->fact[h->facts].len = len;
	if (h->head == NULL)
		h->head = calloc(HOST_HEADS, sizeof *h->head);
	h->fact[h->facts].next = h->head[host_hash(name)];
	h->head[host_hash(name)] = ++h->facts;
}

static inline void host_forget(struct runs_host *h)
{
	for (size_t i = 0; i < h->facts; i++) {
		free(h->fact[i].name);
		free(h->fact[i].p);
	}
	free(h->fact);
	free(h->head);
	h->fact = NULL;
	h->head = NULL;
	h->facts = h->cap = 0;
}

/* A third of each file, as if the rest was shared. */
static inline int host_cost(void *arg, const char *path, uint64_t *stored)
{
	struct stat st;
	int rc = host_stat(arg, path, &st);

	if (rc == 0)
		*stored = (uint64_t)st.st_size / 3;
	return rc;
}

/* A fifth: files share with one another. */
static inline int host_cost_together(void *arg, const char *const *path, const uint32_t *group, size_t n, uint32_t groups,
		uint64_t *stored)
{
	struct stat st;

	memset(stored, 0, groups * sizeof *stored);
	for (size_t i = 0; i < n; i++)
		if (host_stat(arg, path[i], &st) == 0)
			stored[group[i]] += (uint64_t)st.st_size / 5;
	return 0;
}

static inline struct bridge_files host_files(struct runs_host *h)
{
	return (struct bridge_files){ h, host_list, host_stat, host_doc, host_put, host_read, host_recall,
		host_remember, host_cost, host_cost_together };
}

/* The reader of a component's layout. */
struct host_component {
	const struct bridge_runs *r;
	struct runs_host *h;
	size_t run, experience, component;
};

static inline int64_t host_source(void *arg, uint32_t source, uint64_t off, void *buf, size_t len)
{
	struct host_component *c = arg;

	return host_read(c->h, bridge_runs_source(c->r, c->run, c->experience, c->component, source), off,
			buf, len);
}

/* All of a component, malloc()ed; its length, or -errno. */
static inline int64_t host_component_bytes(struct host_component *c, uint8_t **out)
{
	const struct bridge_component *x =
			bridge_runs_component_at(c->r, c->run, c->experience, c->component);
	struct bridge_sources src = { host_source, c };
	struct bridge_layout *l;
	uint8_t *p = malloc((size_t)x->size + 1);
	int64_t n, at = 0;
	int rc;

	if (x->whole) {
		n = host_read(c->h, x->source, 0, p, (size_t)x->size);
		*out = p;
		return n;
	}
	rc = bridge_runs_open(c->r, c->run, c->experience, c->component, &l);
	if (rc < 0) {
		free(p);
		return rc;
	}
	while ((n = bridge_layout_read(l, &src, (uint64_t)at, p + at, (size_t)(x->size - (uint64_t)at) + 1)) >
			0)
		at += n;
	bridge_layout_free(l);
	if (n < 0) {
		free(p);
		return n;
	}
	*out = p;
	return at;
}

#endif
