/*
 * gc_mark.c: what is live: every piece of each manifest row, read a few rows at a time in the order of their keys.
 */
#include <errno.h>
#include <stdlib.h>

#include "chunk_parts.h"
#include "manifest_internal.h"

enum { MARK_ROWS = 256 };

struct walk {
	struct store *s;
	chunk_sink sink;
	void *arg;
	int64_t version, off;      /* the row read last */
	uint64_t *ids;
	size_t cap;
};

static int see_row(struct walk *w, const uint8_t *p, size_t len)
{
	struct manifest_row row = { 0 };
	size_t n = 0;
	int rc = manifest_decode(p, len, (uint64_t)w->off, &row);

	if (rc == 0 && row.n > w->cap) {
		uint64_t *more = realloc(w->ids, row.n * sizeof *more);

		if (!more) {
			rc = ckpt_fail(ENOMEM, "no memory to look through the manifests");
		} else {
			w->ids = more;
			w->cap = row.n;
		}
	}
	if (rc == 0) {
		for (size_t i = 0; i < row.n; i++)
			if (row.pieces[i].id)
				w->ids[n++] = row.pieces[i].id;
		w->sink(w->arg, w->ids, n);
	}
	manifest_row_release(&row);
	return rc;
}

/* The next rows, MARK_ROWS at most. Returns how many. */
static int see_some(struct walk *w)
{
	struct store *s = w->s;
	int n = 0, rc = 0;

	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT version, off, pieces FROM manifest WHERE (version, off) > (?1, ?2)"
			" ORDER BY version, off LIMIT 256");

	if (!st) {
		rc = meta_fail(s);
		goto out;
	}
	sqlite3_bind_int64(st, 1, w->version);
	sqlite3_bind_int64(st, 2, w->off);
	while (n < MARK_ROWS && (rc = meta_step(s, st)) == 1) {
		w->version = sqlite3_column_int64(st, 0);
		w->off = sqlite3_column_int64(st, 1);
		const void *p = sqlite3_column_blob(st, 2);

		rc = see_row(w, p, (size_t)sqlite3_column_bytes(st, 2));
		if (rc) {
			rc = ckpt_context(rc, "manifest of version %lld", (long long)w->version);
			break;
		}
		n++;
	}
	sqlite3_reset(st);
out:
	meta_unlock(s);
	return rc < 0 ? rc : n;
}

int chunks_named(struct store *s, chunk_sink sink, int (*tell)(void *arg, uint64_t done, uint64_t total), void *arg)
{
	struct walk w = { .s = s, .sink = sink, .arg = arg, .off = -1 };
	int64_t last = 0;
	int rc;

	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT coalesce(max(version), 0) FROM manifest");

	rc = st ? meta_step(s, st) : meta_fail(s);
	if (rc == 1) {
		last = sqlite3_column_int64(st, 0);
		rc = 0;
	}
	if (st)
		sqlite3_reset(st);
	meta_unlock(s);
	while (rc == 0) {
		rc = see_some(&w);
		if (rc <= 0)
			break;
		if (last < w.version)
			last = w.version;
		rc = tell(arg, (uint64_t)w.version, (uint64_t)last);
	}
	free(w.ids);
	return rc;
}

/* --- a bitmap ------------------------------------------------------------------------------------- */

struct finding {
	struct live *live;
	const atomic_bool *stop;
};

static void set_bits(void *arg, const uint64_t *ids, size_t n)
{
	struct live *l = ((struct finding *)arg)->live;

	for (size_t i = 0; i < n; i++)
		if (ids[i] <= l->max)
			l->bits[ids[i] / 64] |= UINT64_C(1) << (ids[i] % 64);
}

static int go_on(void *arg, uint64_t done, uint64_t total)
{
	const atomic_bool *stop = ((struct finding *)arg)->stop;

	(void)done;
	(void)total;
	return stop && atomic_load(stop) ? ckpt_fail(ECANCELED, "stopped") : 0;
}

int live_find(struct store *s, const atomic_bool *stop, struct live *out)
{
	struct live l = { .max = chunk_next_id(s) - 1 };
	struct finding f = { .live = &l, .stop = stop };

	l.bits = calloc((size_t)(l.max / 64 + 1), sizeof *l.bits);
	if (!l.bits)
		return ckpt_fail(ENOMEM, "no memory to mark what is live");
	int rc = chunks_named(s, set_bits, go_on, &f);

	if (rc)
		live_release(&l);
	else
		*out = l;
	return rc;
}

bool live_has(const struct live *l, uint64_t id)
{
	return id > l->max || (l->bits[id / 64] >> (id % 64) & 1);
}

void live_release(struct live *l)
{
	free(l->bits);
	*l = (struct live){ 0 };
}
