/*
 * pickle_build.c: what the opcodes do to the graph: nodes, children, fills, calls, globals.
 */
#include "pickle_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "codec/ckpt_error.h"

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
	now = realloc(now, more * size);
	if (now == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a pickle of %zu bytes", s->g->len);
	memcpy(p, &now, sizeof now);
	s->g->memory += (more - *cap) * size;
	*cap = more;
	return 0;
}

static int push(struct pickle_parser *s, uint32_t ref)
{
	int rc = build_room(s, &s->stack, &s->stack_cap, s->height + 1, sizeof *s->stack);

	if (rc == 0)
		s->stack[s->height++] = ref;
	return rc;
}

/* Makes a node and pushes it. The caller fills in its value through the pointer, at once. */
int build_node(struct pickle_parser *s, enum pickle_kind kind, struct pickle_node **out)
{
	struct pickle *g = s->g;
	int rc = build_room(s, &g->node, &g->node_cap, (size_t)g->nodes + 1, sizeof *g->node);

	if (rc == 0)
		rc = push(s, g->nodes);
	if (rc < 0)
		return rc;
	*out = &g->node[g->nodes++];
	**out = (struct pickle_node){ .kind = (uint8_t)kind, .op = s->op.op, .pos = s->op.pos };
	return 0;
}

/* How many values lie above the last mark. */
size_t build_above(const struct pickle_parser *s)
{
	return s->height - (s->marks > 0 ? s->mark[s->marks - 1] : 0);
}

int build_need(const struct pickle_parser *s, size_t n)
{
	return build_above(s) >= n ? 0 : build_bad(s, "nothing on the stack");
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

/* Moves the top n values of the stack to the children; *first is the first of them. */
static int take_children(struct pickle_parser *s, size_t n, uint32_t *first)
{
	struct pickle *g = s->g;
	int rc = build_room(s, &g->child, &g->child_cap, (size_t)g->children + n, sizeof *g->child);

	if (rc < 0)
		return rc;
	*first = g->children;
	s->height -= n;
	if (n > 0)
		memcpy(g->child + g->children, s->stack + s->height, n * sizeof *g->child);
	g->children += (uint32_t)n;
	return 0;
}

int build_int(struct pickle_parser *s, enum pickle_kind kind, int64_t v)
{
	struct pickle_node *n;
	int rc = build_node(s, kind, &n);

	if (rc == 0)
		n->i = v;
	return rc;
}

int build_text(struct pickle_parser *s, enum pickle_kind kind)
{
	struct pickle_node *n;
	int rc = build_node(s, kind, &n);

	if (rc == 0) {
		n->a = s->op.text;
		n->b = s->op.len;
	}
	return rc;
}

int build_float(struct pickle_parser *s)
{
	struct pickle_node *n;
	uint64_t bits = __builtin_bswap64(s->op.n);
	int rc = build_node(s, PICKLE_FLOAT, &n);

	if (rc == 0)
		memcpy(&n->f, &bits, sizeof bits);
	return rc;
}

/* LONG1, LONG4: two's complement, little-endian. */
int build_long(struct pickle_parser *s)
{
	const uint8_t *p = s->g->p + s->op.text;
	uint64_t v = 0;

	if (s->op.len > 8)
		return build_text(s, PICKLE_LONG);
	for (uint32_t i = 0; i < s->op.len; i++)
		v |= (uint64_t)p[i] << 8 * i;
	if (s->op.len > 0 && s->op.len < 8 && (p[s->op.len - 1] & 0x80) != 0)
		v |= UINT64_MAX << 8 * s->op.len;
	return build_int(s, PICKLE_INT, (int64_t)v);
}

/* INT: a decimal line; 00 and 01 are False and True. */
int build_decimal(struct pickle_parser *s)
{
	const char *p = (const char *)s->g->p + s->op.text;
	uint32_t len = s->op.len, i = 0;
	bool minus = len > 0 && p[0] == '-';
	int64_t v = 0;

	if (len == 2 && p[0] == '0' && (p[1] == '0' || p[1] == '1'))
		return build_int(s, PICKLE_BOOL, p[1] == '1');
	for (i = minus; i < len; i++) {
		int digit = p[i] - '0';

		if (digit < 0 || digit > 9 || __builtin_mul_overflow(v, 10, &v) ||
				__builtin_sub_overflow(v, digit, &v))
			return build_bad(s, "not a number");
	}
	if (len == (uint32_t)minus || (!minus && v == INT64_MIN))
		return build_bad(s, "not a number");
	return build_int(s, PICKLE_INT, minus ? v : -v);
}

/* A tuple or frozenset of the top n values. */
int build_tuple(struct pickle_parser *s, enum pickle_kind kind, size_t n)
{
	struct pickle_node *node;
	uint32_t first;
	int rc = take_children(s, n, &first);

	if (rc == 0)
		rc = build_node(s, kind, &node);
	if (rc == 0) {
		node->a = first;
		node->b = (uint32_t)n;
	}
	return rc;
}

int build_container(struct pickle_parser *s, enum pickle_kind kind)
{
	struct pickle_node *n;
	int rc = build_node(s, kind, &n);

	if (rc == 0)
		n->a = n->b = PICKLE_NIL;
	return rc;
}

/* Where the fills of a node begin and end; NULL for a value that takes none of this kind. */
static bool fill_ends(
		struct pickle *g, uint32_t ref, enum pickle_fill_kind kind, uint32_t **head, uint32_t **tail)
{
	struct pickle_node *n = &g->node[pickle_target(g, ref)];

	switch (n->kind) {
	case PICKLE_LIST:
	case PICKLE_DICT:
	case PICKLE_SET:
		*head = &n->a;
		*tail = &n->b;
		return kind == (n->kind == PICKLE_LIST                  ? PICKLE_FILL_APPEND
					       : n->kind == PICKLE_DICT ? PICKLE_FILL_ITEMS
									: PICKLE_FILL_ADD);
	case PICKLE_REDUCE:
	case PICKLE_NEWOBJ:
	case PICKLE_NEWOBJ_EX:
	case PICKLE_PERSID:
		*head = &g->call[n->a].fill_head;
		*tail = &g->call[n->a].fill_tail;
		return true;
	default:
		return false;
	}
}

/* Adds the top n values to the one below them. */
int build_fill(struct pickle_parser *s, enum pickle_fill_kind kind, size_t n)
{
	struct pickle *g = s->g;
	uint32_t *head, *tail, first;
	int rc = build_need(s, n + 1);

	if (rc < 0)
		return rc;
	if (kind == PICKLE_FILL_ITEMS && n % 2 != 0)
		return build_bad(s, "a key without a value");
	if (!fill_ends(g, s->stack[s->height - n - 1], kind, &head, &tail))
		return build_bad(s, "items for a value that takes none of them");
	if (n == 0)
		return 0;
	rc = take_children(s, n, &first);
	if (rc < 0)
		return rc;
	rc = build_room(s, &g->run, &g->run_cap, (size_t)g->runs + 1, sizeof *g->run);
	if (rc < 0)
		return rc;
	/* One item at a time comes out as one run, as long as nothing else came between. */
	if (*tail != PICKLE_NIL && g->run[*tail].kind == kind && kind != PICKLE_FILL_STATE &&
			g->run[*tail].first + g->run[*tail].count == first) {
		g->run[*tail].count += (uint32_t)n & 0x1fffffff;
		return 0;
	}
	g->run[g->runs] = (struct pickle_run){ first, PICKLE_NIL, (uint32_t)n & 0x1fffffff,
		(unsigned)kind & 7 };
	if (*tail != PICKLE_NIL)
		g->run[*tail].next = g->runs;
	else
		*head = g->runs;
	*tail = g->runs++;
	return 0;
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
	struct pickle *g = s->g;
	uint32_t first;
	size_t n;
	int rc = build_unmark(s, &n);

	if (rc == 0 && how == PICKLE_FILL_ITEMS && n % 2 != 0)
		rc = build_bad(s, "a key without a value");
	if (rc == 0)
		rc = take_children(s, n, &first);
	if (rc == 0)
		rc = build_room(s, &g->run, &g->run_cap, (size_t)g->runs + 1, sizeof *g->run);
	if (rc == 0)
		rc = build_container(s, kind);
	if (rc < 0 || n == 0)
		return rc;
	g->run[g->runs] =
			(struct pickle_run){ first, PICKLE_NIL, (uint32_t)n & 0x1fffffff, (unsigned)how & 7 };
	g->node[g->nodes - 1].a = g->node[g->nodes - 1].b = g->runs++;
	return 0;
}

/* The top `n` values, 1 to 3 of them, become a call. */
int build_call(struct pickle_parser *s, enum pickle_kind kind, size_t n)
{
	struct pickle *g = s->g;
	struct pickle_call c = { PICKLE_NIL, PICKLE_NIL, PICKLE_NIL, PICKLE_NIL, PICKLE_NIL };
	struct pickle_node *node;
	const uint32_t *top;
	int rc = build_need(s, n);

	if (rc == 0)
		rc = build_room(s, &g->call, &g->call_cap, (size_t)g->calls + 1, sizeof *g->call);
	if (rc < 0)
		return rc;
	s->height -= n;
	top = s->stack + s->height;
	if (n == 1) {
		c.args = top[0];
	} else {
		c.callable = top[0];
		c.args = top[1];
		c.kwargs = n == 3 ? top[2] : PICKLE_NIL;
	}
	rc = build_node(s, kind, &node);
	if (rc < 0)
		return rc;
	g->call[g->calls] = c;
	node->a = g->calls++;
	return 0;
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
	struct pickle_node *n;
	size_t place;
	int rc = build_room(s, &g->global, &g->global_cap, (size_t)g->globals + 1, sizeof *g->global);

	if (rc == 0 && 2 * ((size_t)g->globals + 1) > s->seen_cap)
		rc = grow_seen(s);
	if (rc == 0)
		rc = global_place(s, &what, &place);
	if (rc == 0)
		rc = build_node(s, PICKLE_GLOBAL, &n);
	if (rc < 0)
		return rc;
	if (s->seen[place] == 0) {
		g->global[g->globals++] = what;
		s->seen[place] = g->globals;
	}
	n->a = s->seen[place] - 1;
	return 0;
}

int build_stack_global(struct pickle_parser *s)
{
	const struct pickle_node *module, *name;
	int rc = build_need(s, 2);

	if (rc < 0)
		return rc;
	module = &s->g->node[pickle_target(s->g, s->stack[s->height - 2])];
	name = &s->g->node[pickle_target(s->g, s->stack[s->height - 1])];
	if (module->kind != PICKLE_STR || name->kind != PICKLE_STR)
		return build_bad(s, "a global that is not named by strings");
	s->height -= 2;
	return build_global(s, module->a, module->b, name->a, name->b);
}
