/* vfs_gather.c: see gather_internal.h. */
#include "gather_internal.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

bool gather_init(struct gather *g, int cap, bool forget)
{
	*g = (struct gather){ .bytes = malloc((size_t)cap), .cap = cap, .forget = forget };
	return g->bytes != NULL;
}

void gather_free(struct gather *g)
{
	free(g->bytes);
	*g = (struct gather){ 0 };
}

bool gather_touches(const struct gather *g, int n, int64_t off)
{
	return g->n > 0 && off < g->at + g->n && g->at < off + n;
}

int gather_flush(struct gather *g, gather_write_fn write, void *arg)
{
	if (g->n == 0)
		return SQLITE_OK;
	int rc = write(arg, g->bytes, g->n, g->at);

	if (rc == SQLITE_OK)
		g->n = 0;
	return rc;
}

int gather_end(struct gather *g, gather_write_fn write, void *arg)
{
	int rc = gather_flush(g, write, arg);

	if (g->forget)
		g->n = 0;
	return rc;
}

int gather_write(struct gather *g, const void *buf, int n, int64_t off, gather_write_fn write, void *arg)
{
	if (!g->bytes)
		return write(arg, buf, n, off);
	if (g->n > 0 && (off != g->at + g->n || n > g->cap - g->n)) {
		int rc = gather_end(g, write, arg);

		if (rc != SQLITE_OK)
			return rc;
	}
	if (n > g->cap)
		return write(arg, buf, n, off);
	if (g->n == 0)
		g->at = off;
	memcpy(g->bytes + g->n, buf, (size_t)n);
	g->n += n;
	return SQLITE_OK;
}
