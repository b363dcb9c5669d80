/*
 * runs_fact_io.c: facts and histories as bytes, and while they are being made.
 *
 * Little-endian, no padding; texts are a 16-bit length and that many bytes:
 *
 *   fact      "RF1" | state kind framework history | experience epoch step shape best_value (8 each) | why best best_key
 *             | parts: count, then component how refs(4) ref.. size from name | scalars: count, then name value
 *             | needs: count, then name size
 *   history   "RH1" | count | names: count, text.. | records: name(4) task back epoch step value (8 each)
 *
 * The bytes were written by this program and lie in its store; they are read as if they were not.
 */
#include "runs_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

/*
 * ---- making
 * --------------------------------------------------------------------------------------------------------
 */

void runs_making_release(struct runs_making *m)
{
	free(m->fact.part);
	free(m->fact.scalar);
	free(m->fact.need);
	free(m->history.record);
	m->fact.part = NULL;
	m->fact.scalar = NULL;
	m->fact.need = NULL;
	m->history.record = NULL;
}

int runs_add_part(struct runs_making *m, const struct runs_part *p)
{
	struct runs_part *to;
	int rc = runs_grow(&m->fact.part, m->fact.parts, &m->part_cap, sizeof *to);

	if (rc < 0)
		return rc;
	to = &m->fact.part[m->fact.parts];
	*to = *p;
	to->from = runs_text(m->arena, p->from, strlen(p->from));
	to->name = runs_text(m->arena, p->name, strlen(p->name));
	to->ref = runs_alloc(m->arena, p->refs, sizeof *to->ref);
	if (to->from == NULL || to->name == NULL || to->ref == NULL)
		return -ENOMEM;
	if (p->refs > 0)
		memcpy(to->ref, p->ref, p->refs * sizeof *to->ref);
	m->fact.parts++;
	return 0;
}

int runs_add_scalar(struct runs_making *m, const char *name, double value)
{
	struct runs_scalar *to;
	int rc;

	if (m->fact.scalars >= RUNS_SCALARS_MAX)
		return 0;
	for (size_t i = 0; i < m->fact.scalars; i++)
		if (strcmp(m->fact.scalar[i].name, name) == 0)
			return 0;
	rc = runs_grow(&m->fact.scalar, m->fact.scalars, &m->scalar_cap, sizeof *to);
	if (rc < 0)
		return rc;
	to = &m->fact.scalar[m->fact.scalars];
	to->name = runs_text(m->arena, name, strlen(name));
	to->value = value;
	if (to->name == NULL)
		return -ENOMEM;
	m->fact.scalars++;
	return 0;
}

int runs_add_need(struct runs_making *m, const char *name, size_t len, uint64_t size)
{
	struct runs_need *to;
	int rc = runs_grow(&m->fact.need, m->fact.needs, &m->need_cap, sizeof *to);

	if (rc < 0)
		return rc;
	to = &m->fact.need[m->fact.needs];
	to->name = runs_text(m->arena, name, len);
	to->size = size;
	if (to->name == NULL)
		return -ENOMEM;
	m->fact.needs++;
	return 0;
}

int runs_add_record(struct runs_making *m, const char *name, const struct runs_record *what)
{
	struct runs_record *to, *was;
	int rc;

	if (m->history.count >= RUNS_HISTORY_MAX)
		return 0;
	rc = runs_grow(&m->history.record, m->history.count, &m->record_cap, sizeof *to);
	if (rc < 0)
		return rc;
	to = &m->history.record[m->history.count];
	was = m->history.count > 0 ? to - 1 : NULL;
	*to = *what;
	/* One list gives many records of one name. */
	to->name = was != NULL && strcmp(was->name, name) == 0 ? was->name
							       : runs_text(m->arena, name, strlen(name));
	if (to->name == NULL)
		return -ENOMEM;
	m->history.count++;
	m->fact.has_history = true;
	return 0;
}

/*
 * ---- writing
 * -------------------------------------------------------------------------------------------------------
 */

static int put_text(struct byte_buf *out, const char *s)
{
	size_t len = strlen(s);
	int rc;

	if (len > UINT16_MAX)
		len = UINT16_MAX;
	rc = byte_buf_le(out, len, 2);
	return rc < 0 ? rc : byte_buf_put(out, s, len);
}

static int put_double(struct byte_buf *out, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof bits);
	return byte_buf_le(out, bits, 8);
}

static int put_part(struct byte_buf *out, const struct runs_part *p)
{
	uint8_t head[2] = { p->component, p->how };
	int rc = byte_buf_put(out, head, 2);

	if (rc == 0)
		rc = byte_buf_le(out, p->refs, 4);
	for (uint32_t i = 0; i < p->refs && rc == 0; i++)
		rc = byte_buf_le(out, p->ref[i], 4);
	if (rc == 0)
		rc = byte_buf_le(out, p->size, 8);
	if (rc == 0)
		rc = put_text(out, p->from);
	return rc < 0 ? rc : put_text(out, p->name);
}

int runs_fact_write(const struct runs_fact *f, struct byte_buf *out)
{
	const uint8_t head[] = { 'R', 'F', '1', f->state, f->kind, (uint8_t)f->framework, f->has_history };
	const int64_t number[] = { f->experience, f->epoch, f->step, (int64_t)f->shape };
	int rc = byte_buf_put(out, head, sizeof head);

	for (size_t i = 0; i < 4 && rc == 0; i++)
		rc = byte_buf_le(out, (uint64_t)number[i], 8);
	if (rc < 0 || (rc = put_double(out, f->best_value)) < 0 || (rc = put_text(out, f->why)) < 0 ||
			(rc = put_text(out, f->best)) < 0 || (rc = put_text(out, f->best_key)) < 0)
		return rc;
	rc = byte_buf_le(out, f->parts, 4);
	for (size_t i = 0; i < f->parts && rc == 0; i++)
		rc = put_part(out, &f->part[i]);
	if (rc == 0)
		rc = byte_buf_le(out, f->scalars, 4);
	for (size_t i = 0; i < f->scalars && rc == 0; i++) {
		rc = put_text(out, f->scalar[i].name);
		if (rc == 0)
			rc = put_double(out, f->scalar[i].value);
	}
	if (rc == 0)
		rc = byte_buf_le(out, f->needs, 4);
	for (size_t i = 0; i < f->needs && rc == 0; i++) {
		rc = put_text(out, f->need[i].name);
		if (rc == 0)
			rc = byte_buf_le(out, f->need[i].size, 8);
	}
	return rc;
}

int runs_history_write(const struct runs_history *h, struct byte_buf *out)
{
	size_t names = 0;
	int rc = byte_buf_put(out, "RH1", 3);

	/* Records of one name mostly follow one another, and share its pointer then. */
	for (size_t i = 0; i < h->count; i++)
		names += i == 0 || h->record[i].name != h->record[i - 1].name;
	if (rc == 0)
		rc = byte_buf_le(out, h->count, 4);
	if (rc == 0)
		rc = byte_buf_le(out, names, 4);
	for (size_t i = 0; i < h->count && rc == 0; i++)
		if (i == 0 || h->record[i].name != h->record[i - 1].name)
			rc = put_text(out, h->record[i].name);
	names = 0;
	for (size_t i = 0; i < h->count && rc == 0; i++) {
		const struct runs_record *r = &h->record[i];
		const int64_t number[] = { r->task, r->back, r->epoch, r->step };

		names += i > 0 && r->name != h->record[i - 1].name;
		rc = byte_buf_le(out, names, 4);
		for (size_t k = 0; k < 4 && rc == 0; k++)
			rc = byte_buf_le(out, (uint64_t)number[k], 8);
		if (rc == 0)
			rc = put_double(out, r->value);
	}
	return rc;
}

/*
 * ---- reading
 * -------------------------------------------------------------------------------------------------------
 */

struct from {
	const uint8_t *p, *end;
	struct runs_arena *arena;
	bool bad;
};

static uint64_t get(struct from *s, size_t width)
{
	uint64_t v = 0;

	if ((size_t)(s->end - s->p) < width) {
		s->bad = true;
		s->p = s->end;
		return 0;
	}
	for (size_t i = 0; i < width; i++)
		v |= (uint64_t)s->p[i] << 8 * i;
	s->p += width;
	return v;
}

static double get_double(struct from *s)
{
	uint64_t bits = get(s, 8);
	double v;

	memcpy(&v, &bits, sizeof v);
	return v;
}

static const char *get_text(struct from *s)
{
	size_t len = get(s, 2);
	const char *text;

	if ((size_t)(s->end - s->p) < len)
		s->bad = true;
	if (s->bad)
		return "";
	text = runs_text(s->arena, (const char *)s->p, len);
	s->p += len;
	if (text == NULL)
		s->bad = true;
	return text != NULL ? text : "";
}

/* An array of `count` items that take at least `least` bytes each here. */
static void *get_items(struct from *s, size_t count, size_t least, size_t size)
{
	void *p = NULL;

	if (!s->bad && count <= (size_t)(s->end - s->p) / least)
		p = runs_alloc(s->arena, count, size);
	if (p == NULL)
		s->bad = true;
	return p;
}

/* A number that is none, or from 0 to max. */
static int64_t get_number(struct from *s, int64_t max)
{
	int64_t v = (int64_t)get(s, 8);

	if (v != RUNS_NONE && (v < 0 || v > max))
		s->bad = true;
	return v;
}

static int damaged(const struct from *s)
{
	return s->bad || s->p != s->end ? ckpt_fail(EBADMSG, "remembered facts are damaged") : 0;
}

int runs_fact_read(struct runs_arena *a, const uint8_t *p, size_t len, struct runs_fact *out)
{
	struct from s = { p, p + len, a, false };
	struct runs_fact f;

	if (len < 7 || memcmp(p, "RF1", 3) != 0)
		return ckpt_fail(EBADMSG, "remembered facts are damaged");
	memset(&f, 0, sizeof f);
	f.state = p[3];
	f.kind = p[4];
	f.framework = (int8_t)p[5];
	f.has_history = p[6] != 0;
	s.p += 7;
	f.experience = get_number(&s, INT64_MAX);
	f.epoch = get_number(&s, INT64_MAX);
	f.step = get_number(&s, INT64_MAX);
	f.shape = get(&s, 8);
	f.best_value = get_double(&s);
	f.why = get_text(&s);
	f.best = get_text(&s);
	f.best_key = get_text(&s);
	f.parts = get(&s, 4);
	f.part = get_items(&s, f.parts, 18, sizeof *f.part);
	for (size_t i = 0; i < f.parts && !s.bad; i++) {
		struct runs_part *q = &f.part[i];

		q->component = (uint8_t)get(&s, 1);
		q->how = (uint8_t)get(&s, 1);
		q->refs = (uint32_t)get(&s, 4);
		q->ref = get_items(&s, q->refs, 4, sizeof *q->ref);
		for (uint32_t k = 0; k < q->refs && !s.bad; k++)
			q->ref[k] = (uint32_t)get(&s, 4);
		q->size = get(&s, 8);
		q->from = get_text(&s);
		q->name = get_text(&s);
		if (q->component >= RUNS_COMPONENTS || q->how > RUNS_SHARDS)
			s.bad = true;
	}
	f.scalars = get(&s, 4);
	f.scalar = get_items(&s, f.scalars, 10, sizeof *f.scalar);
	for (size_t i = 0; i < f.scalars && !s.bad; i++) {
		f.scalar[i].name = get_text(&s);
		f.scalar[i].value = get_double(&s);
	}
	f.needs = get(&s, 4);
	f.need = get_items(&s, f.needs, 10, sizeof *f.need);
	for (size_t i = 0; i < f.needs && !s.bad; i++) {
		f.need[i].name = get_text(&s);
		f.need[i].size = get(&s, 8);
	}
	if (f.state > RUNS_UNKNOWN || f.kind > RUNS_IS_SHARDS || f.framework < -1 ||
			f.framework >= RUNS_FRAMEWORKS)
		s.bad = true;
	if (damaged(&s) < 0)
		return -EBADMSG;
	*out = f;
	return 0;
}

int runs_history_read(struct runs_arena *a, const uint8_t *p, size_t len, struct runs_history *out)
{
	struct from s = { p + 3, p + len, a, false };
	struct runs_history h = { 0 };
	const char **name;
	size_t names;

	if (len < 3 || memcmp(p, "RH1", 3) != 0)
		return ckpt_fail(EBADMSG, "remembered facts are damaged");
	h.count = get(&s, 4);
	s.bad |= h.count > RUNS_HISTORY_MAX;
	names = get(&s, 4);
	name = get_items(&s, names, 2, sizeof *name);
	for (size_t i = 0; i < names && !s.bad; i++)
		name[i] = get_text(&s);
	h.record = get_items(&s, h.count, 44, sizeof *h.record);
	for (size_t i = 0; i < h.count && !s.bad; i++) {
		struct runs_record *r = &h.record[i];
		size_t n = get(&s, 4);

		if (n >= names) {
			s.bad = true;
			break;
		}
		r->name = name[n];
		r->task = get_number(&s, RUNS_MATRIX_MAX - 1);
		r->back = get_number(&s, r->task != RUNS_NONE ? RUNS_MATRIX_MAX - 1 : INT32_MAX);
		r->epoch = get_number(&s, INT64_MAX);
		r->step = get_number(&s, INT64_MAX);
		r->value = get_double(&s);
		/* A matrix is one of places, its columns named "accuracy/task_0", .. */
		if (r->task != RUNS_NONE && (r->back == RUNS_NONE || strchr(r->name, '/') == NULL))
			s.bad = true;
	}
	if (damaged(&s) < 0)
		return -EBADMSG;
	*out = h;
	return 0;
}
