/*
 * cut_safetensors.c: the header names every tensor and its place; they are taken in the order in which they
 * lie.
 *
 * A tensor that begins inside another one is left out, as are those behind the first 2^18.
 */
#include "cut_internal.h"

#include <stdlib.h>
#include <string.h>

#include "safetensors_scan.h"

enum { TENSORS_MAX = 1 << 18 };

struct place {
	uint64_t begin, end, name;
	uint32_t rest; /* of the name: record_name.h */
	struct codec_hint hint;
	uint32_t item;
};

struct safetensors {
	struct safetensors_scan scan;
	struct place *v; /* owned */
	size_t n, room, next;
	bool out_of_memory;
	uint64_t at;     /* offset in the data */
};

#define FLOATS(name, item, width, exponent) { name, item, { width, CODEC_FLOAT, exponent, 0, 0 } }
#define INTS(name, item) { name, item, { item, CODEC_INT, 0, 0, 0 } }

static const struct {
	const char *name;
	uint32_t item;
	struct codec_hint hint;
} types[] = {
	FLOATS("F64", 8, 8, 11), FLOATS("F32", 4, 4, 8), FLOATS("F16", 2, 2, 5), FLOATS("BF16", 2, 2, 8),
	FLOATS("C64", 8, 4, 8), FLOATS("F8_E4M3", 1, 1, 4), FLOATS("F8_E5M2", 1, 1, 5),
	FLOATS("F8_E8M0", 1, 1, 8), FLOATS("F8_E4M3FNUZ", 1, 1, 4), FLOATS("F8_E5M2FNUZ", 1, 1, 5),
	INTS("I64", 8), INTS("U64", 8), INTS("I32", 4), INTS("U32", 4), INTS("I16", 2), INTS("U16", 2),
	INTS("I8", 1), INTS("BOOL", 1), { "U8", 1, { 1, CODEC_PIXELS, 0, 0, 0 } },
};

static void add_tensor(void *arg, const struct safetensors_tensor *t)
{
	struct safetensors *s = arg;
	struct place *p;

	if (t->begin == t->end || s->n == TENSORS_MAX || s->out_of_memory)
		return;
	if (s->n == s->room) {
		size_t room = s->room > 0 ? s->room * 2 : 64;

		p = realloc(s->v, room * sizeof *p);
		if (p == NULL) {
			s->out_of_memory = true;
			return;
		}
		s->v = p;
		s->room = room;
	}
	p = &s->v[s->n++];
	*p = (struct place){ .begin = t->begin, .end = t->end, .name = t->name, .rest = t->rest,
		.item = 1 };
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		if (strcmp(t->dtype, types[i].name) == 0) {
			p->item = types[i].item;
			p->hint = types[i].hint;
		}
	}
	cut_shape(&p->hint, p->item, t->dims, t->last, t->before);
}

static int by_begin(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return x->end < y->end ? -1 : x->end > y->end;
}

static void release(void *format)
{
	struct safetensors *s = format;

	free(s->v);
	free(s);
}

static void next_tensor(struct codec_cutter *c);

static void take_gap(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct safetensors *s = c->format;

	(void)p;
	s->at += n;
	if (c->want == 0)
		next_tensor(c);
}

static void after_tensor(struct codec_cutter *c)
{
	struct safetensors *s = c->format;

	s->at += c->rec.len;
	next_tensor(c);
}

/* The next tensor from this place on, or what lies before it. */
static void next_tensor(struct codec_cutter *c)
{
	struct safetensors *s = c->format;
	struct cut_record r = { .after = after_tensor };
	struct record_name name;
	const struct place *p;

	while (s->next < s->n && s->v[s->next].begin < s->at)
		s->next++;
	if (s->next == s->n) {
		cut_plain(c);
		return;
	}
	p = &s->v[s->next];
	if (p->begin > s->at) {
		cut_expect(c, p->begin - s->at, take_gap);
		return;
	}
	s->next++;
	r.len = p->end - p->begin;
	r.piece = cut_piece(p->item);
	r.hint = p->hint;
	r.print = cut_print(pickle_path(0, p->name), 0, &r.hint, r.len);
	name = record_name_of(p->name, p->rest, 0);
	r.kind[0] = cut_kind(name.whole, 0, &r.hint, r.len);
	r.kind[1] = cut_kind(name.rest, 0, &r.hint, r.len);
	cut_begin(c, &r);
}

static void take_header(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct safetensors *s = c->format;

	for (size_t i = 0; i < n; i++) {
		if (!safetensors_scan_byte(&s->scan, p[i])) {
			cut_plain(c);
			return;
		}
	}
	if (c->want > 0)
		return;
	if (s->n > 0)
		qsort(s->v, s->n, sizeof s->v[0], by_begin);
	next_tensor(c);
}

void cut_safetensors(struct codec_cutter *c, uint64_t header, uint8_t first)
{
	struct safetensors *s = cut_format(c, sizeof *s, release);

	if (s == NULL) {
		cut_plain(c);
		return;
	}
	safetensors_scan_init(&s->scan);
	s->scan.tensor = add_tensor;
	s->scan.arg = s;
	safetensors_scan_byte(&s->scan, first); /* '{' or a space: never refused */
	cut_expect(c, header - 1, take_header);
}
