/*
 * gc_bases.c: bases that nobody names any more.
 *
 * A chunk stays as long as another one is a difference to it.  A training that keeps its last few checkpoints would so
 * keep all those below them, each nearly as large as a live one.  So a dead base is taken out from under its dependents:
 *
 *     B (dead) <-- D1, D2, D3           one of them, the heir, takes B's place: it becomes a difference to what B leans
 *                                       on, or stands alone; the others become differences to the heir
 *     D2 <-- D1, D3
 *
 * All new forms are made before the first is put in its place, and nothing is changed unless they come to less than the
 * old ones and B together.  No chunk gets more bases below it than it had: the heir has as many as B had, the others one
 * more.  To be killed half way leaves some with their new form and B as the base of the others, which the next
 * collection looks at again.
 *
 * Nothing is pinned here: only a collection deletes, this one, and an unpin would mark.
 *
 * A dead base with a dead dependent waits for that one to go, one with many dependents is worth its keep.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chunk_parts.h"

enum {
	HEIRS = 8,                 /* a base with more dependents stays */
	GAIN = 32,                 /* what is freed has to be this part of the base's payload */
	BATCH_BYTES = 8 << 20,     /* of payloads, then a commit */
};

/* A dependent and its new form. */
struct moved {
	uint64_t id;
	struct chunk_head was;
	struct chunk_note note;
	struct chunk_buf *plain;
	struct chunk_base base;
	struct chunk_row row;      /* its payload is malloc()ed */
};

struct freeing {
	struct store *s;
	struct recoder r;
	uint64_t *dead;
	uint64_t max;
	struct moved v[HEIRS];
	size_t n;
	uint64_t bytes;            /* of payloads in the open batch */
};

static bool is_dead(const struct freeing *f, uint64_t id)
{
	return id <= f->max && (f->dead[id / 64] >> (id % 64) & 1);
}

/*
 * One more dependent. 1, 0 when it is none that can be moved, -errno. Chunks lock held.  What came in since the collection began
 * may be uncommitted, and may be staged in a moment without the chunk that it would lean on: it is no heir and has none.
 */
static int gather_one(struct freeing *f, uint64_t id)
{
	struct moved *m = &f->v[f->n];

	if (f->n == HEIRS || id > f->max || is_dead(f, id) || chunk_maybe_staged(f->s, id))
		return 0;
	*m = (struct moved){ .id = id };
	int rc = chunk_head_locked(f->s, id, &m->was);

	if (rc != 1)
		return rc;
	chunk_note_unpack(m->was.hint, &m->note);
	f->n++;
	return 1;
}

/* All dependents of `id`, and its row. 1, 0 when it is to stay, -errno. */
static int gather(struct freeing *f, uint64_t id, struct chunk_head *head)
{
	struct store *s = f->s;
	uint64_t by = 0;

	f->n = 0;
	ckpt_mutex_lock(&s->chunks->db.lock);
	int rc = chunk_unwanted(s, id) ? chunk_head_locked(s, id, head) : 0;

	while (rc == 1) {
		rc = chunk_row_leaned_on(s, id, by, &by);
		if (rc == 0) {
			rc = f->n > 0;
			break;
		}
		if (rc == 1)
			rc = gather_one(f, by);
	}
	pthread_mutex_unlock(&s->chunks->db.lock);
	return rc;
}

static void release(struct freeing *f)
{
	for (size_t i = 0; i < f->n; i++) {
		struct moved *m = &f->v[i];

		chunk_base_drop(f->s, &m->base);
		chunk_put(m->plain);
		free(m->row.payload);
	}
	f->n = 0;
}

/* Makes m's form as a difference to `base` (0: alone), and sees that it decodes. */
static int form(struct freeing *f, struct moved *m, uint64_t base)
{
	struct chunk_row row = { .id = m->id };
	int rc = chunk_get_aside(f->s, m->id, &m->plain);

	if (rc == 0)
		rc = chunk_name_check(f->s, &m->was.name, m->id, m->plain->data, m->plain->len);
	if (rc)
		return rc;
	if (base && chunk_get(f->s, base, &m->base.buf) == 0)
		m->base.id = base;
	rc = chunk_encode_to(f->r.ctx, f->s, m->plain->data, m->plain->len, f->r.out, f->r.cap, &row, &m->note, &m->base);
	if (rc == 0)
		rc = codec_decode(f->r.ctx, row.codec, row.payload, row.payload_len, m->base.buf ? m->base.buf->data : NULL,
				m->base.buf ? m->base.buf->len : 0, f->r.raw, m->plain->len);
	if (rc == 0 && memcmp(f->r.raw, m->plain->data, m->plain->len) != 0)
		rc = ckpt_fail(EIO, "chunk %llu: its new form does not give its bytes back", (unsigned long long)m->id);
	if (rc)
		return rc;
	row.payload = malloc(row.payload_len);
	if (!row.payload)
		return ckpt_fail(ENOMEM, "no memory to collect garbage");
	memcpy(row.payload, f->r.out, row.payload_len);
	m->note.done = false;
	m->row = row;
	return 0;
}

static int put(struct freeing *f, struct moved *m)
{
	m->row.hint = chunk_note_pack(&m->note);
	m->row.pred = m->was.pred;
	int rc = chunk_room_for(f->s, m->row.payload_len + CHUNK_ROW_OVERHEAD);

	if (rc == 0)
		rc = chunk_row_replace(f->s, &m->row, &m->was, CHUNK_DEPTH_FAR);
	if (rc == 0)
		f->bytes += m->row.payload_len;
	return rc;
}

/* Takes one dead base out. 1: nobody leans on it any more; 0: it stays; -errno. */
static int free_one(struct freeing *f, uint64_t id)
{
	struct chunk_head head;
	struct chunk_note note;
	uint64_t old, new;
	int rc = gather(f, id, &head);

	if (rc != 1)
		goto out;
	/* Dependents are in the order of time, more or less: the middle one is near to most. */
	struct moved *heir = &f->v[f->n / 2];

	chunk_note_unpack(head.hint, &note);
	heir->note.turn = note.turn;
	rc = form(f, heir, head.base);
	old = head.payload_len + heir->was.payload_len;
	new = heir->row.payload_len;
	for (size_t i = 0; rc == 0 && i < f->n; i++) {
		if (&f->v[i] == heir)
			continue;
		rc = form(f, &f->v[i], heir->id);
		old += f->v[i].was.payload_len;
		new += f->v[i].row.payload_len;
	}
	if (rc == 0 && new + head.payload_len / GAIN < old) {
		rc = put(f, heir);
		for (size_t i = 0; rc == 0 && i < f->n; i++)
			if (&f->v[i] != heir)
				rc = put(f, &f->v[i]);
		if (rc == 0)
			rc = 1;
	} else if (rc == 0) {
		f->dead[id / 64] &= ~(UINT64_C(1) << (id % 64)); /* no second look in this collection */
	}
out:
	release(f);
	/* One that can't be read, or that somebody else changed meanwhile, must not keep the others. */
	if (rc == -ESTALE || rc == -ELOOP || (rc == -EIO && !atomic_load(&f->s->failed)))
		rc = 0;
	return rc;
}

int gc_free_bases(struct store *s, uint64_t *dead, uint64_t max, int (*tell)(void *arg, uint64_t freed), void *arg,
		uint64_t *freed)
{
	struct freeing f = { .s = s, .dead = dead, .max = max };
	int rc = recoder_init(&f.r, s, s->opt.effort == CODEC_MAX ? CODEC_MAX : CODEC_DEFAULT, NULL);

	*freed = 0;
	/* From the highest down, as a rule from what leans to what is leaned on. */
	for (uint64_t i = max / 64 + 1; rc == 0 && i-- > 0;) {
		for (uint64_t word = dead[i]; rc == 0 && word;) {
			uint64_t bit = 63 - (uint64_t)__builtin_clzll(word);

			word &= ~(UINT64_C(1) << bit);
			rc = free_one(&f, i * 64 + bit);
			if (rc == 1) {
				++*freed;
				rc = 0;
			}
			if (rc == 0 && f.bytes >= BATCH_BYTES) {
				f.bytes = 0;
				rc = chunks_commit(s);
			}
			if (rc == 0)
				rc = tell(arg, *freed);
		}
	}
	if (rc == 0 && *freed)
		rc = chunks_commit(s);
	recoder_release(&f.r);
	return rc;
}
