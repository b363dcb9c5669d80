/*
 * fact_cache.c: what was found out about contents, so that nobody opens a file twice to learn it.
 *
 * stat(2) on a view must tell the exact size, and that takes understanding the file.  So what came out,
 * for each view that was asked for, is a fact of the content; all facts of one content are one record,
 * which lives here while it is used and in the store with the version (store_derived.h), where `ls -lR
 * @cpu` finds it after a remount.
 *
 *   record   fact, fact, ..                 the newest last; of one name the last counts
 *   fact     len u8, name, verdict u8, size u64 LE, len u8, text
 *
 * In memory the records are in a table of a fixed size: one that comes to a taken place takes it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/byte_buf.h"
#include "store/store_derived.h"
#include "view_host.h"

enum {
	PLACES = 16384,
	WAYS = 4,                  /* places where a record may be */
	RECORD_MAX = 2048,         /* a record that grows beyond begins anew */
	FIXED = 1 + 1 + 8 + 1,     /* bytes of a fact but its texts */
};

struct record {
	struct fs_mark mark;
	uint32_t used;             /* when, in turns of the table */
	uint16_t len;
	uint8_t *p;                /* owned; NULL: no record here */
};

struct view_facts {
	pthread_mutex_t lock;      /* guards all; a leaf */
	uint32_t turn;
	struct record at[PLACES];
};

struct view_facts *view_facts_new(void)
{
	struct view_facts *f = calloc(1, sizeof(*f));

	if (f)
		pthread_mutex_init(&f->lock, NULL);
	return f;
}

void view_facts_free(struct view_facts *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < PLACES; i++)
		free(f->at[i].p);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* --- records ----------------------------------------------------------------------------------------- */

/* The fact of that name. Every length is checked: what comes from a disk may be anything. */
static bool record_find(const uint8_t *p, size_t len, const char *name, struct view_fact *out)
{
	size_t want = strlen(name), at = 0;
	bool found = false;

	while (len - at >= FIXED) {
		size_t nlen = p[at], tlen;
		const uint8_t *fact = p + at + 1 + nlen;

		if (nlen > len - at - FIXED)
			break;
		tlen = fact[9];
		if (tlen > len - at - FIXED - nlen || tlen >= VIEW_TEXT_MAX)
			break;
		if (nlen == want && memcmp(p + at + 1, name, nlen) == 0 && fact[0] >= VIEW_SAME &&
				fact[0] <= VIEW_BAD) {
			*out = (struct view_fact){ .verdict = fact[0], .size = byte_le64(fact + 1) };
			memcpy(out->text, fact + 10, tlen);
			found = true;
		}
		at += FIXED + nlen + tlen;
	}
	return found;
}

static int record_add(struct byte_buf *b, const char *name, const struct view_fact *f)
{
	size_t nlen = strlen(name), tlen = strlen(f->text), was = b->len;
	int rc = -EINVAL;

	if (nlen <= UINT8_MAX)
		rc = byte_buf_reserve(b, FIXED + nlen + tlen);
	if (rc < 0)
		return rc;
	byte_buf_le(b, nlen, 1);
	byte_buf_put(b, name, nlen);
	byte_buf_le(b, f->verdict, 1);
	byte_buf_le(b, f->size, 8);
	byte_buf_le(b, tlen, 1);
	byte_buf_put(b, f->text, tlen);
	if (b->len > RECORD_MAX) {
		memmove(b->p, b->p + was, b->len - was);
		b->len -= was;
	}
	return 0;
}

/* --- in memory --------------------------------------------------------------------------------------- */

/* Where the record of a mark is, or where it may be put. Lock held. */
static struct record *place_of(struct view_facts *f, const struct fs_mark *m)
{
	uint64_t x = (m->version ^ m->rule) * 0x9e3779b97f4a7c15u ^ (uint64_t)m->changed;
	size_t first = (size_t)((x ^ x >> 29) % (PLACES / WAYS)) * WAYS;
	struct record *oldest = &f->at[first];

	f->turn++;
	for (size_t i = first; i < first + WAYS; i++) {
		struct record *r = &f->at[i];

		if (r->p && fs_mark_same(&r->mark, m)) {
			r->used = f->turn;
			return r;
		}
		if (oldest->p && (!r->p || f->turn - r->used > f->turn - oldest->used))
			oldest = r;
	}
	return oldest;
}

/* Puts a record in its place. Lock held. Takes p. */
static void place_put(struct view_facts *f, const struct fs_mark *m, uint8_t *p, size_t len)
{
	struct record *r = place_of(f, m);

	free(r->p);
	*r = (struct record){ .mark = *m, .used = f->turn, .len = (uint16_t)len, .p = p };
}

/* --- with the version -------------------------------------------------------------------------------- */

static void key_of(const struct fs_mark *m, char out[STORE_DERIVED_KEY_MAX])
{
	if (m->rule == 0)
		snprintf(out, STORE_DERIVED_KEY_MAX, "views:%d", VIEW_RULES);
	else
		snprintf(out, STORE_DERIVED_KEY_MAX, "views:%d:%016llx", VIEW_RULES,
				(unsigned long long)m->rule);
}

/* The record that the store has; empty when there is none. Caller frees. */
static uint8_t *recall(struct fs *fs, const struct fs_mark *m, size_t *len)
{
	char key[STORE_DERIVED_KEY_MAX];
	uint8_t *p = NULL;

	*len = 0;
	if (m->version == 0)
		return NULL;
	key_of(m, key);
	if (store_derived_get(fs->store, m->version, key, &p, len) < 0)
		return NULL;
	if (*len > RECORD_MAX) {
		free(p);
		*len = 0;
		return NULL;
	}
	return p;
}

int view_fact_get(struct fs *fs, const struct fs_mark *m, const char *name, struct view_fact *out)
{
	struct view_facts *f = fs->host->facts;
	bool known, found = false;
	struct record *r;
	uint8_t *p;
	size_t len;

	pthread_mutex_lock(&f->lock);
	r = place_of(f, m);
	known = r->p && fs_mark_same(&r->mark, m);
	if (known)
		found = record_find(r->p, r->len, name, out);
	pthread_mutex_unlock(&f->lock);
	if (known)
		return found ? 0 : -ENOENT;

	p = recall(fs, m, &len);
	if (!p)
		return -ENOENT;
	found = record_find(p, len, name, out);
	pthread_mutex_lock(&f->lock);
	r = place_of(f, m);
	if (!r->p || !fs_mark_same(&r->mark, m)) {
		place_put(f, m, p, len);
		p = NULL;
	}
	pthread_mutex_unlock(&f->lock);
	free(p);
	return found ? 0 : -ENOENT;
}

void view_fact_put(struct fs *fs, const struct fs_mark *m, const char *name, const struct view_fact *fact)
{
	struct view_facts *f = fs->host->facts;
	char key[STORE_DERIVED_KEY_MAX];
	struct byte_buf b = { 0 };
	struct view_fact was;
	struct record *r;
	uint8_t *copy;

	view_fact_get(fs, m, name, &was); /* what the store has of it is here then */
	pthread_mutex_lock(&f->lock);
	r = place_of(f, m);
	if (r->p && fs_mark_same(&r->mark, m) && byte_buf_put(&b, r->p, r->len) < 0)
		b.len = 0;
	copy = record_add(&b, name, fact) == 0 ? malloc(b.len) : NULL;
	if (copy) {
		memcpy(copy, b.p, b.len);
		place_put(f, m, copy, b.len);
	}
	pthread_mutex_unlock(&f->lock);
	/* A cache: where it can't be kept (read-only, no room) it is found out again. */
	if (copy && m->version != 0 && !fs->readonly) {
		key_of(m, key);
		store_derived_put(fs->store, m->version, key, b.p, b.len);
	}
	byte_buf_release(&b);
}
