/*
 * version_hold.c: versions that somebody looks at (store_version.h).
 *
 * The counts are in memory.  What would delete a version (meta_version_delete()) asks here first; of one that is held the rows
 * stay, and a row of `draft` says that it belongs to nobody, so that a crash takes it away as it does a version under
 * way.  That row is the truth, since it comes and goes with its transaction: the flag in memory only tells that it is worth
 * looking for.
 *
 * All of it is guarded by the meta lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <syslog.h>

#include "hold_internal.h"
#include "meta_internal.h"
#include "store_internal.h"
#include "store_version.h"

struct hold {
	struct hold *next;         /* in its bucket */
	uint64_t version;
	unsigned count;
	bool doomed;               /* it may have a row in `draft` */
};

struct holds {
	struct hold *buckets[256];
};

static struct hold **place(struct holds *h, uint64_t version)
{
	struct hold **p = &h->buckets[version % (sizeof h->buckets / sizeof *h->buckets)];

	while (*p && (*p)->version != version)
		p = &(*p)->next;
	return p;
}

int holds_open(struct store *s)
{
	s->holds = calloc(1, sizeof *s->holds);
	return s->holds ? 0 : ckpt_fail(ENOMEM, "no memory to open store '%s'", s->path);
}

void holds_close(struct store *s)
{
	if (!s->holds)
		return;
	for (size_t i = 0; i < sizeof s->holds->buckets / sizeof *s->holds->buckets; i++) {
		while (s->holds->buckets[i]) {
			struct hold *h = s->holds->buckets[i];

			s->holds->buckets[i] = h->next;
			free(h);
		}
	}
	free(s->holds);
	s->holds = NULL;
}

bool meta_version_held(struct store *s, uint64_t version)
{
	return s->holds && *place(s->holds, version);
}

int meta_version_doom(struct store *s, uint64_t version)
{
	struct hold *h = *place(s->holds, version);

	h->doomed = true;
	return meta_draft(s, version, true);
}

static int exists(struct store *s, const char *sql, uint64_t version)
{
	sqlite3_stmt *st = meta_stmt(s, sql);

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)version);
	int rc = meta_step(s, st);

	sqlite3_reset(st);
	return rc;
}

static int add(struct store *s, uint64_t version)
{
	struct hold **p = place(s->holds, version), *h;
	int rc;

	if (*p) {
		(*p)->count++;
		return 0;
	}
	rc = exists(s, "SELECT 1 FROM version WHERE id = ?1", version);
	if (rc <= 0)
		return rc < 0 ? rc : ckpt_fail(ENOENT, "version %llu is not in the store", (unsigned long long)version);
	h = calloc(1, sizeof *h);
	if (!h)
		return ckpt_fail(ENOMEM, "no memory to hold version %llu", (unsigned long long)version);
	h->version = version;
	h->count = 1;
	*p = h;
	return 0;
}

int store_version_hold(struct store *s, uint64_t version)
{
	int rc;

	meta_lock(s);
	rc = add(s, version);
	meta_unlock(s);
	return rc;
}

/* Drops a hold; true: it was the last one, of a version that may have to go. */
static bool drop(struct store *s, uint64_t version)
{
	struct hold **p = place(s->holds, version), *h = *p;
	bool doomed = false;

	if (h && --h->count == 0) {
		doomed = h->doomed;
		*p = h->next;
		free(h);
	}
	return doomed;
}

/* In a transaction. Somebody may hold it again. */
static int end(struct store *s, uint64_t version)
{
	int rc;

	if (meta_version_held(s, version))
		return meta_version_doom(s, version);
	rc = exists(s, "SELECT 1 FROM draft WHERE version = ?1", version);
	if (rc <= 0)
		return rc;
	rc = meta_version_delete(s, version);
	return rc ? rc : meta_draft(s, version, false);
}

void store_version_release(struct store *s, uint64_t version)
{
	bool doomed;
	int rc;

	meta_lock(s);
	doomed = drop(s, version);
	meta_unlock(s);
	if (!doomed)
		return;
	rc = meta_begin(s);
	if (!rc)
		rc = meta_end(s, end(s, version));
	/* The next open removes it. */
	if (rc && !atomic_load(&s->failed))
		ckpt_log(LOG_WARNING, "store '%s': version %llu, which nobody has any more, stays for now: %s", s->path,
				(unsigned long long)version, ckpt_errmsg());
}
