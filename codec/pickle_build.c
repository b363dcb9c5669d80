/*
 * pickle_build.c: what the opcodes do to the graph: nodes, children, fills, calls, globals.
 */
#include "pickle_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "codec/ckpt_error.h"
#include "codec/codec_pages.h"

enum { PROBES_MAX = 4096 }; /* in the table of globals; by chance it is some dozens */

int build_bad(const struct pickle_parser *s, const char *what)
{
	return ckpt_fail(EBADMSG, "pickle: %s at byte %u (opcode 0x%02x)", what, s->op.pos, s->op.op);
}

int build_grow(struct pickle_parser *s, void *p, size_t *cap, size_t need, size_t size)
{
	size_t more = *cap > 0 ? *cap + *cap / 2 : 64;
	void *now;

	if (more < need)
		more = need;
	if ((more - *cap) > (s->limits->memory - s->g->memory) / size)
		return ckpt_fail(EFBIG, "pickle: its graph takes more than %zu bytes", s->limits->memory);
	memcpy(&now, p, sizeof now);
	now = now != NULL ? realloc(now, more * size) : codec_pages_new(more * size);
	if (now == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a pickle of %zu bytes", s->g->len);
	codec_pages(now, more * size);
	memcpy(p, &now, sizeof now);
	s->g->memory += (more - *cap) * size;
	*cap = more;
	return 0;
}

/* Takes the last mark off: *n values lie above where it was, and stay. */
int build_unmark(struct pickle_parser *s, size_t *n)
{
	*n = 0;
	if (s->marks == 0)
		return build_bad(s, "no mark");
	*n = build_above(s);
	s->marks--;
	return 0;
}

int build_words(struct pickle_parser *s, size_t n, uint32_t **out)
{
	struct pickle *g = s->g;
	int rc = build_room(s, &g->child, &g->child_cap, (size_t)g->children + n, sizeof *g->child);

	if (rc < 0)
		return rc;
	if (n > PICKLE_INDEX_MAX - g->children)
		return ckpt_fail(EFBIG, "pickle: more values in its containers than can be counted");
	*out = g->child + g->children;
	g->children += (uint32_t)n;
	return 0;
}

/* Moves the top n values of the stack to `to`. */
static void take(struct pickle_parser *s, size_t n, uint32_t *to)
{
	s->height -= n;
	if (n > 0)
		memcpy(to, s->stack + s->height, n * sizeof *to);
}

/* LONG1, LONG4. */
int build_long(struct pickle_parser *s)
{
	return build_node(s, s->op.len > 8 ? PICKLE_LONG : PICKLE_INT, 0);
}

/* INT: a decimal line; 00 and 01 are False and True. */
int build_decimal(struct pickle_parser *s)
{
	const char *p = (const char *)s->g->p + s->op.text;
	int64_t v;

	if (s->op.len == 2 && p[0] == '0' && (p[1] == '0' || p[1] == '1'))
		return build_node(s, PICKLE_BOOL, 0);
	if (!pickle_decimal(p, s->op.len, &v))
		return build_bad(s, "not a number");
	return build_node(s, PICKLE_INT, 0);
}

int build_tuple(struct pickle_parser *s, enum pickle_kind kind, size_t n)
{
	uint32_t *words, a = s->g->children;
	int rc;

	if (n == 0)
		return build_node(s, kind, 0);
	rc = build_words(s, n + 1, &words);
	if (rc < 0)
		return rc;
	words[0] = (uint32_t)n;
	take(s, n, words + 1);
	return build_node(s, kind, a);
}

/* Whether fills of this kind can be put into a value. */
static bool takes(const struct pickle_node *n, enum pickle_fill_kind kind)
{
	switch (n->kind) {
	case PICKLE_LIST:
		return kind == PICKLE_FILL_APPEND;
	case PICKLE_DICT:
		return kind == PICKLE_FILL_ITEMS;
	case PICKLE_SET:
		return kind == PICKLE_FILL_ADD;
	case PICKLE_REDUCE:
	case PICKLE_NEWOBJ:
	case PICKLE_NEWOBJ_EX:
	case PICKLE_PERSID:
		return true;
	default:
		return false;
	}
}

/* The ends of the fills of a value that takes some. There is room for one more. */
static struct pickle_ends *open_ends(struct pickle *g, struct pickle_node *n)
{
	bool container = n->kind == PICKLE_LIST || n->kind == PICKLE_DICT || n->kind == PICKLE_SET;
	uint32_t number = container ? n->a : g->call[n->a].ends;

	if (number == 0) {
		g->ends[g->ends_len++] = (struct pickle_ends){ PICKLE_NIL, PICKLE_NIL };
		number = g->ends_len;
		if (container)
			n->a = number & (PICKLE_INDEX_MAX - 1);
		else
			g->call[n->a].ends = number;
	}
	return &g->ends[number - 1];
}

/* Moves the top n values of the stack, one at least, to the end of the fills of a node. */
static int append(struct pickle_parser *s, uint32_t node, enum pickle_fill_kind kind, size_t n)
{
	struct pickle *g = s->g;
	uint32_t *words, first = g->children;
	struct pickle_ends *ends;
	int rc = build_words(s, n, &words);

	if (rc == 0)
		rc = build_room(s, &g->run, &g->run_cap, (size_t)g->runs + 1, sizeof *g->run);
	if (rc == 0)
		rc = build_room(s, &g->ends, &g->ends_cap, (size_t)g->ends_len + 1, sizeof *g->ends);
	if (rc < 0)
		return rc;
	take(s, n, words);
	ends = open_ends(g, &g->node[node]);
	/* One item at a time comes out as one run, as long as nothing else came between. */
	if (ends->tail != PICKLE_NIL && g->run[ends->tail].kind == kind && kind != PICKLE_FILL_STATE &&
			g->run[ends->tail].first + g->run[ends->tail].count == first) {
		g->run[ends->tail].count += (uint32_t)n & 0x1fffffff;
		return 0;
	}
	g->run[g->runs] = (struct pickle_run){ first, PICKLE_NIL, (uint32_t)n & 0x1fffffff,
		(unsigned)kind & 7 };
	if (ends->tail != PICKLE_NIL)
		g->run[ends->tail].next = g->runs;
	else
		ends->head = g->runs;
	ends->tail = g->runs++;
	return 0;
}

/* Adds the top n values to the one below them. */
int build_fill(struct pickle_parser *s, enum pickle_fill_kind kind, size_t n)
{
	uint32_t node;
	int rc = build_need(s, n + 1);

	if (rc < 0)
		return rc;
	if (kind == PICKLE_FILL_ITEMS && n % 2 != 0)
		return build_bad(s, "a key without a value");
	node = pickle_target(s->g, s->stack[s->height - n - 1]);
	if (!takes(&s->g->node[node], kind))
		return build_bad(s, "items for a value that takes none of them");
	return n > 0 ? append(s, node, kind, n) : 0;
}

int build_fill_to_mark(struct pickle_parser *s, enum pickle_fill_kind kind)
{
	size_t n;
	int rc = build_unmark(s, &n);

	return rc < 0 ? rc : build_fill(s, kind, n);
}

/* LIST and DICT: the container comes after its items. */
int build_container_of(struct pickle_parser *s, enum pickle_kind kind, enum pickle_fill_kind how)
{
	size_t n;
	int rc = build_unmark(s, &n);

	if (rc == 0 && how == PICKLE_FILL_ITEMS && n % 2 != 0)
		rc = build_bad(s, "a key without a value");
	if (rc == 0)
		rc = build_node(s, kind, 0);
	if (rc < 0 || n == 0)
		return rc;
	s->height--;
	rc = append(s, s->g->nodes - 1, how, n);
	s->stack[s->height++] = s->g->nodes - 1;
	return rc;
}

/* The top `n` values, 1 to 3 of them, become a call. */
int build_call(struct pickle_parser *s, enum pickle_kind kind, size_t n)
{
	struct pickle *g = s->g;
	struct pickle_call *c;
	const uint32_t *top;
	uint32_t a = g->calls;
	int rc = build_need(s, n);

	if (rc == 0)
		rc = build_room(s, &g->call, &g->call_cap, (size_t)g->calls + 2, sizeof *g->call);
	if (rc < 0)
		return rc;
	s->height -= n;
	top = s->stack + s->height;
	c = &g->call[g->calls++];
	*c = n == 1 ? (struct pickle_call){ PICKLE_NIL, top[0], 0 }
		    : (struct pickle_call){ top[0], top[1], 0 };
	if (n == 3)
		g->call[g->calls++] = (struct pickle_call){ PICKLE_NIL, top[2], 0 };
	return build_node(s, kind, a);
}

static size_t global_hash(const struct pickle_global *what)
{
	return XXH3_64bits(what->name, what->name_len) ^ 3 * XXH3_64bits(what->module, what->module_len);
}

/* Where a global is in the table, or the free place for it. */
static int global_place(const struct pickle_parser *s, const struct pickle_global *what, size_t *place)
{
	size_t i = global_hash(what) & (s->seen_cap - 1), probes = 0;

	for (; s->seen[i] != 0; i = (i + 1) & (s->seen_cap - 1)) {
		const struct pickle_global *x = &s->g->global[s->seen[i] - 1];

		if (++probes > PROBES_MAX)
			return build_bad(s, "globals made to collide");
		if (pickle_same(x->module, x->module_len, what->module, what->module_len) &&
				pickle_same(x->name, x->name_len, what->name, what->name_len))
			break;
	}
	*place = i;
	return 0;
}

static int grow_seen(struct pickle_parser *s)
{
	size_t cap = s->seen_cap > 0 ? 2 * s->seen_cap : 128;
	uint32_t *now = calloc(cap, sizeof *now);

	if (now == NULL)
		return ckpt_fail(ENOMEM, "out of memory for the globals of a pickle");
	free(s->seen);
	s->seen = now;
	s->seen_cap = cap;
	for (uint32_t i = 0; i < s->g->globals; i++) {
		size_t place;
		int rc = global_place(s, &s->g->global[i], &place);

		if (rc < 0)
			return rc;
		s->seen[place] = i + 1;
	}
	return 0;
}

int build_global(struct pickle_parser *s, uint32_t module, uint32_t module_len, uint32_t name,
		uint32_t name_len)
{
	struct pickle *g = s->g;
	struct pickle_global what = { (const char *)g->p + module, (const char *)g->p + name, module_len,
		name_len, g->nodes };
	size_t place;
	int rc = build_room(s, &g->global, &g->global_cap, (size_t)g->globals + 1, sizeof *g->global);

	if (rc == 0 && 2 * ((size_t)g->globals + 1) > s->seen_cap)
		rc = grow_seen(s);
	if (rc == 0)
		rc = global_place(s, &what, &place);
	if (rc < 0)
		return rc;
	if (s->seen[place] == 0) {
		g->global[g->globals++] = what;
		s->seen[place] = g->globals;
	}
	return build_node(s, PICKLE_GLOBAL, s->seen[place] - 1);
}

int build_stack_global(struct pickle_parser *s)
{
	const struct pickle *g = s->g;
	uint32_t module, name;
	size_t module_len, name_len;
	const char *p, *q;
	int rc = build_need(s, 2);

	if (rc < 0)
		return rc;
	module = s->stack[s->height - 2];
	name = s->stack[s->height - 1];
	if (pickle_kind_of(g, module) != PICKLE_STR || pickle_kind_of(g, name) != PICKLE_STR)
		return build_bad(s, "a global that is not named by strings");
	s->height -= 2;
	p = pickle_text(g, module, &module_len);
	q = pickle_text(g, name, &name_len);
	return build_global(s, (uint32_t)(p - (const char *)g->p), (uint32_t)module_len,
			(uint32_t)(q - (const char *)g->p), (uint32_t)name_len);
}
