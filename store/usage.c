/*
 * usage.c: what df counts.
 *
 * The tree is walked once and every regular file assigned to a line by the caller; then the files are visited line by
 * line, so that one number a chunk suffices to tell what was seen: the line that counted it last, and whether more than one did.
 *
 *   first line to meet a chunk     counts it as unique, stored, and its own
 *   the same line again            nothing
 *   another line                   counts it as unique and stored; the first one's own loses it
 *
 * Of a pool (pool_internal.h), which many files share without having a byte in common, each file counts its own part; there the
 * same is asked of the place in the pool.
 *
 * The numbers stand in pages of a sparse array, since ids are dense where chunks are and absent where gc was.  Files that
 * change meanwhile are counted as they are met.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "chunk_parts.h"
#include "manifest_internal.h"
#include "meta_internal.h"
#include "store_admin.h"
#include "store_internal.h"

enum { PAGE_IDS = 1 << 14, CODECS_MAX = 16, CONTENT_HEAD = 13 };
#define SHARED ((uint32_t)1 << 31)

struct usage_file {
	uint64_t ino, version, data;
	unsigned line;
};

struct usage_dir {
	uint64_t ino;
	char *path;              /* from the root, without leading '/' */
};

struct usage {
	struct store *s;
	int (*group)(void *arg, const char *path, const char *rest);
	void *arg;
	unsigned max_groups;
	size_t under;            /* bytes of a path that lead to `rest` */
	struct usage_file *files;
	size_t nfiles, cap_files;
	struct usage_dir *dirs;  /* still to be walked */
	size_t ndirs, cap_dirs;
	const char *dir;         /* path of the one being walked */
	uint32_t **pages;
	size_t npages;
	struct idmap pools;      /* chunks that are pools */
	struct idmap parts;      /* place in a pool -> as in pages */
	struct store_usage *lines, *all;
	struct store_usage_codec *codecs;
	unsigned ncodecs, line;
	int rc;
};

/* --- the walk ------------------------------------------------------------------------------------ */

static int grow(void **v, size_t *cap, size_t size)
{
	size_t n = *cap ? *cap * 2 : 64;
	void *p = realloc(*v, n * size);

	if (!p)
		return ckpt_fail(ENOMEM, "no memory to count what the store holds");
	*v = p;
	*cap = n;
	return 0;
}

static int add_file(struct usage *u, const struct store_attr *a, const char *path)
{
	const char *rest = strlen(path) > u->under ? path + u->under : path;
	int line = u->group(u->arg, path, rest), rc;

	if (line < 0 || (unsigned)line >= u->max_groups)
		return 0;
	if (u->nfiles == u->cap_files) {
		rc = grow((void **)&u->files, &u->cap_files, sizeof(*u->files));
		if (rc)
			return rc;
	}
	u->files[u->nfiles++] = (struct usage_file){
		.ino = a->ino, .version = a->version, .data = a->data, .line = (unsigned)line,
	};
	return 0;
}

static int add_dir(struct usage *u, uint64_t ino, char *path)
{
	int rc;

	if (u->ndirs == u->cap_dirs) {
		rc = grow((void **)&u->dirs, &u->cap_dirs, sizeof(*u->dirs));
		if (rc)
			return rc;
	}
	u->dirs[u->ndirs++] = (struct usage_dir){ .ino = ino, .path = path };
	return 0;
}

static int visit(void *arg, const struct store_dirent *d, const struct store_attr *a)
{
	struct usage *u = arg;
	size_t n = strlen(u->dir);
	char *path;

	if (!S_ISDIR(a->mode) && !S_ISREG(a->mode))
		return 0;
	path = malloc(n + d->len + 2);
	if (!path) {
		u->rc = ckpt_fail(ENOMEM, "no memory to walk the tree");
		return 1;
	}
	memcpy(path, u->dir, n);
	if (n)
		path[n++] = '/';
	memcpy(path + n, d->name, d->len);
	path[n + d->len] = 0;
	if (S_ISDIR(a->mode)) {
		u->rc = add_dir(u, d->ino, path);
		if (!u->rc)
			return 0;
	} else {
		u->rc = add_file(u, a, path);
	}
	free(path);
	return u->rc != 0;
}

static int walk(struct usage *u)
{
	int rc = 0;

	while (!rc && u->ndirs) {
		struct usage_dir d = u->dirs[--u->ndirs];

		u->dir = d.path;
		rc = store_readdir(u->s, d.ino, 0, true, visit, u);
		if (rc == -ENOENT)
			rc = 0; /* removed meanwhile */
		if (rc >= 0)
			rc = u->rc;
		free(d.path);
	}
	return rc;
}

/* The directory or file that the count begins at. */
static int start(struct usage *u, const char *under)
{
	struct store_attr a;
	const char *p = under;
	char *path;
	int rc = store_getattr(u->s, STORE_ROOT, &a);

	while (!rc && *p) {
		size_t n = strcspn(p, "/");

		if (n)
			rc = store_lookup(u->s, a.ino, p, n, &a);
		p += n + (p[n] == '/');
	}
	if (rc)
		return ckpt_context(rc, "'%s'", under);
	path = strdup(under);
	if (!path)
		return ckpt_fail(ENOMEM, "no memory to walk the tree");
	u->under = strlen(under) + (*under != 0);
	if (S_ISDIR(a.mode)) {
		rc = add_dir(u, a.ino, path);
		if (rc)
			free(path);
		return rc;
	}
	rc = S_ISREG(a.mode) ? add_file(u, &a, path) : 0;
	free(path);
	return rc;
}

static int by_line(const void *a, const void *b)
{
	const struct usage_file *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* --- counting ------------------------------------------------------------------------------------ */

static uint32_t *seen(struct usage *u, uint64_t id)
{
	size_t page = (size_t)(id / PAGE_IDS);

	if (page >= u->npages) {
		size_t n = page + 1 > u->npages * 2 ? page + 1 : u->npages * 2;
		uint32_t **p = realloc(u->pages, n * sizeof(*p));

		if (!p)
			return NULL;
		memset(p + u->npages, 0, (n - u->npages) * sizeof(*p));
		u->pages = p;
		u->npages = n;
	}
	if (!u->pages[page])
		u->pages[page] = calloc(PAGE_IDS, sizeof(uint32_t));
	return u->pages[page] ? &u->pages[page][id % PAGE_IDS] : NULL;
}

static void count_codec(struct usage *u, int codec, unsigned chunks, uint64_t raw, uint64_t stored)
{
	unsigned i;

	for (i = 0; i < u->ncodecs && u->codecs[i].codec != codec; i++)
		;
	if (i == CODECS_MAX)
		i--; /* more kinds than a program can know: the last line takes them */
	if (i == u->ncodecs)
		u->codecs[u->ncodecs++] = (struct store_usage_codec){ .codec = codec };
	u->codecs[i].chunks += chunks;
	u->codecs[i].raw += raw;
	u->codecs[i].stored += stored;
}

/* The place of a piece in its pool, as a key. */
static uint64_t part_key(const struct piece *p)
{
	return p->id << 20 | (p->off & (CODEC_CHUNK_MAX - 1));
}

/* Counts what a line has of a chunk: `raw` plain bytes that take `stored`. *mark as in pages. */
static void count_once(struct usage *u, uint64_t *mark, int codec, unsigned chunks, uint64_t raw, uint64_t stored)
{
	uint64_t line = u->line + 1;

	if ((*mark & ~(uint64_t)SHARED) == line)
		return;
	u->lines[u->line].unique += raw;
	u->lines[u->line].stored += stored;
	if (!*mark) {
		u->lines[u->line].own += stored;
		u->all->unique += raw;
		u->all->stored += stored;
		count_codec(u, codec, chunks, raw, stored);
		*mark = line;
	} else {
		if (!(*mark & SHARED))
			u->lines[*mark - 1].own -= stored;
		*mark = line | SHARED;
	}
}

static int count_chunk(void *arg, uint64_t off, const struct piece *p)
{
	struct usage *u = arg;
	struct chunk_head h;
	uint32_t *mark;
	uint64_t known, *part;
	int rc;

	(void)off;
	if (!p->id)
		return 0;
	mark = seen(u, p->id);
	part = mark && idmap_find(&u->pools, p->id) ? idmap_get(&u->parts, part_key(p)) : NULL;
	if (!mark || (!part && idmap_find(&u->pools, p->id)))
		return ckpt_fail(ENOMEM, "no memory to count chunks");
	if (!part && (*mark & ~SHARED) == u->line + 1)
		return 0;
	rc = chunk_head_read(u->s, p->id, &h);
	if (rc <= 0)
		return rc; /* missing: verify tells about it */
	if (part) {
		count_once(u, part, h.codec, *mark == 0, p->len, (uint64_t)h.payload_len * p->len / h.raw_len);
		*mark = u->line + 1;
		return 0;
	}
	known = *mark;
	count_once(u, &known, h.codec, 1, h.raw_len, h.payload_len);
	*mark = (uint32_t)known;
	return 0;
}

static int load_pools(struct usage *u)
{
	sqlite3_stmt *st;
	int rc;

	if (meta_format(u->s) < 2)
		return 0;
	meta_lock(u->s);
	st = meta_stmt(u->s, "SELECT chunk FROM pool");
	rc = st ? meta_step(u->s, st) : meta_fail(u->s);
	while (rc == 1) {
		if (!idmap_get(&u->pools, (uint64_t)sqlite3_column_int64(st, 0)))
			rc = ckpt_fail(ENOMEM, "no memory to count chunks");
		else
			rc = meta_step(u->s, st);
	}
	meta_unlock(u->s);
	return rc;
}

static int count_inline(struct usage *u, uint64_t version)
{
	struct store_usage *l = &u->lines[u->line];
	uint64_t raw, stored;
	const uint8_t *head;
	sqlite3_stmt *st;
	int rc;

	meta_lock(u->s);
	st = meta_stmt(u->s, "SELECT length(content), substr(content, 1, 5) FROM version WHERE id = ?1 AND content IS NOT NULL");
	if (!st) {
		rc = meta_fail(u->s);
		goto out;
	}
	sqlite3_bind_int64(st, 1, (int64_t)version);
	rc = meta_step(u->s, st);
	if (rc != 1)
		goto out;
	rc = 0;
	stored = (uint64_t)sqlite3_column_int64(st, 0);
	head = sqlite3_column_blob(st, 1);
	if (stored > CONTENT_HEAD && sqlite3_column_bytes(st, 1) == 5) {
		raw = (uint64_t)head[1] | (uint64_t)head[2] << 8 | (uint64_t)head[3] << 16 | (uint64_t)head[4] << 24;
		stored -= CONTENT_HEAD;
		l->unique += raw;
		l->stored += stored;
		l->own += stored;
		u->all->unique += raw;
		u->all->stored += stored;
		count_codec(u, head[0], 0, raw, stored);
	}
	sqlite3_reset(st);
out:
	meta_unlock(u->s);
	return rc;
}

static int by_ino(const void *a, const void *b)
{
	const struct usage_file *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

int store_usage(struct store *s, const char *under, int (*group)(void *arg, const char *path, const char *rest),
		void *arg, unsigned max_groups, struct store_usage *out, struct store_usage *all,
		struct store_usage_codec *codecs, unsigned *ncodecs)
{
	struct usage u = {
		.s = s, .group = group, .arg = arg, .max_groups = max_groups, .lines = out, .all = all, .codecs = codecs,
	};
	size_t i;
	int rc;

	memset(all, 0, sizeof(*all));
	rc = start(&u, under ? under : "");
	if (!rc)
		rc = walk(&u);
	if (!rc)
		rc = load_pools(&u);
	if (rc)
		goto done;
	/* The caller may hand out lines as it goes; nothing is written to them before all are known. */
	memset(out, 0, max_groups * sizeof(*out));
	if (u.nfiles)
		qsort(u.files, u.nfiles, sizeof(*u.files), by_line);
	for (i = 0; !rc && i < u.nfiles; i++) {
		struct usage_file *f = &u.files[i];

		if (i && f->line == f[-1].line && f->ino == f[-1].ino)
			continue; /* another name of the same file */
		u.line = f->line;
		out[u.line].files++;
		out[u.line].raw += f->data;
		if (!f->version)
			continue;
		rc = count_inline(&u, f->version);
		if (!rc)
			rc = manifest_walk(s, f->version, count_chunk, &u);
	}
	if (u.nfiles)
		qsort(u.files, u.nfiles, sizeof(*u.files), by_ino);
	for (i = 0; i < u.nfiles; i++) {
		if (i && u.files[i].ino == u.files[i - 1].ino)
			continue;
		all->files++;
		all->raw += u.files[i].data;
	}
	all->own = all->stored;
	if (!rc)
		*ncodecs = u.ncodecs;
done:
	for (i = 0; i < u.npages; i++)
		free(u.pages[i]);
	free(u.pages);
	idmap_release(&u.pools);
	idmap_release(&u.parts);
	while (u.ndirs)
		free(u.dirs[--u.ndirs].path);
	free(u.dirs);
	free(u.files);
	return rc;
}
