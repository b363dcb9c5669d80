/*
 * torch_object.c: finding the storages and tensors of a pickle.
 *
 * Nodes come in the order in which the pickle made them, so what a call is given was seen before the call: one pass
 * does.  A Parameter, or a tensor with a state of its own, wraps a call that made a tensor; it is entered as a
 * tensor too, since it is the wrapper that a dict holds.
 */
#include "codec/torch_object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "codec/ckpt_error.h"
#include "codec/codec_pages.h"
#include "pickle_internal.h"
#include "torch_internal.h"
#include "torch_names.h"

enum { PROBES_MAX = 4096, NEAR = 16 };

int torch_room(void *p, size_t *cap, size_t need, size_t size)
{
	size_t more = *cap > 0 ? *cap + *cap / 2 : 64;
	void *now;

	if (need <= *cap)
		return 0;
	if (more < need)
		more = need;
	memcpy(&now, p, sizeof now);
	now = now != NULL ? realloc(now, more * size) : codec_pages_new(more * size);
	if (now == NULL)
		return ckpt_fail(ENOMEM, "out of memory for the tensors of a pickle");
	codec_pages(now, more * size);
	memcpy(p, &now, sizeof now);
	*cap = more;
	return 0;
}

int torch_bad(const struct torch_object *o, uint32_t node, const char *what)
{
	return ckpt_fail(EBADMSG, "tensor at byte %u of the pickle: %s", pickle_node(o->g, node)->pos, what);
}

enum torch_known torch_known_of(const struct torch_object *o, uint32_t ref)
{
	int64_t number = pickle_global_of(o->g, ref);

	return number < 0 ? KNOWN_NOT : (enum torch_known)o->known[number];
}

enum torch_known torch_call_of(
		const struct torch_object *o, uint32_t ref, const uint32_t **args, uint32_t *count)
{
	const struct pickle_call *c = pickle_call(o->g, ref);

	*args = NULL;
	*count = 0;
	if (c == NULL)
		return KNOWN_NOT;
	*args = pickle_children(o->g, c->args, count);
	return torch_known_of(o, c->callable);
}

bool torch_sequence(const struct torch_object *o, uint32_t ref, const uint32_t **child, uint32_t *count)
{
	struct pickle_fill fill;
	const uint32_t *args;
	uint32_t n;

	if (torch_call_of(o, ref, &args, &n) == KNOWN_SIZE && n == 1)
		ref = args[0];
	if (pickle_kind_of(o->g, ref) == PICKLE_LIST) {
		*child = NULL;
		*count = 0;
		if (!pickle_first_fill(o->g, ref, &fill))
			return true;
		*child = fill.child;
		*count = fill.count;
		return !pickle_next_fill(o->g, &fill);
	}
	*child = pickle_children(o->g, ref, count);
	return *child != NULL;
}

/* ---- storages -------------------------------------------------------------------------------------------------- */

/*
 * Torch numbers its storages from 0 on: such keys are their own hash, so that the places are gone through in order.
 * Others (addresses in legacy files) are hashed.
 */
static uint64_t key_hash(const struct torch_object *o, const char *key, size_t len)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < len && i < 9 && key[i] >= '0' && key[i] <= '9'; i++)
		v = 10 * v + (uint64_t)(key[i] - '0');
	return i == len && len > 0 && key[0] != '0' && v < o->places ? v << 32 | v : XXH3_64bits(key, len);
}

/* The place of a key with that hash, which is free where there is no such storage. */
static int storage_place(const struct torch_object *o, uint64_t hash, const char *key, size_t len,
		struct torch_key_place **out)
{
	size_t i = hash & (o->places - 1), probes = 0;

	for (; o->place[i].storage != 0; i = (i + 1) & (o->places - 1)) {
		const struct torch_storage *x;

		if (++probes > PROBES_MAX)
			return ckpt_fail(EBADMSG, "storage keys made to collide");
		if (o->place[i].rest != (uint32_t)(hash >> 32))
			continue;
		x = &o->storage[o->place[i].storage - 1];
		if (pickle_same(x->key, x->key_len, key, len))
			break;
	}
	*out = &o->place[i];
	return 0;
}

/* Enters the storage s, or finds it: *number. torch takes the first mention for true; others must agree on the size. */
static int enter_storage(
		struct torch_object *o, const struct torch_storage *s, uint32_t node, uint32_t *number)
{
	uint64_t hash = key_hash(o, s->key, s->key_len);
	struct torch_key_place *at;
	int rc = storage_place(o, hash, s->key, s->key_len, &at);

	if (rc < 0)
		return rc;
	if (at->storage != 0) {
		*number = at->storage - 1;
		if (o->storage[*number].bytes != s->bytes)
			return torch_bad(o, node, "its storage was of another size before");
		return 0;
	}
	*number = o->storages;
	o->storage[o->storages++] = *s;
	*at = (struct torch_key_place){ o->storages, (uint32_t)(hash >> 32) };
	return 0;
}

/* ('storage', class, key, location, elements[, view metadata of legacy files]); other ids are not ours. */
static int take_mention(struct torch_object *o, uint32_t node)
{
	const struct pickle *g = o->g;
	struct torch_storage s = { .first = o->mentions };
	uint32_t n, number;
	const uint32_t *c = pickle_children(g, pickle_persid(g, node), &n);
	size_t key_len, location_len;
	int64_t count;
	int rc;

	if (c == NULL || n < 1 || !pickle_is_text(g, c[0], "storage"))
		return 0;
	if (n < 5 || n > 6 || torch_known_of(o, c[1]) != KNOWN_STORAGE || !pickle_int(g, c[4], &count) ||
			count < 0)
		return torch_bad(o, node, "its storage is not described as torch does");
	if (n == 6 && pickle_kind_of(g, c[5]) != PICKLE_NONE)
		return ckpt_fail(ENOTSUP,
				"storage at byte %u of the pickle is a view of another, as before torch 0.4",
				pickle_node(g, node)->pos);
	s.key = pickle_text(g, c[2], &key_len);
	s.location = pickle_text(g, c[3], &location_len);
	if (s.key == NULL || pickle_kind_of(g, c[2]) > PICKLE_STR8 || s.location == NULL ||
			pickle_kind_of(g, c[3]) > PICKLE_STR8 || pickle_kind_of(g, c[2]) < PICKLE_STR ||
			pickle_kind_of(g, c[3]) < PICKLE_STR)
		return torch_bad(o, node, "its storage has no key or no location");
	s.key_len = (uint32_t)key_len;
	s.location_len = (uint32_t)location_len;
	s.dtype = (enum torch_dtype)o->dtype[pickle_global_of(g, c[1])];
	s.count = (uint64_t)count;
	if (__builtin_mul_overflow(s.count, torch_dtype_info(s.dtype)->width, &s.bytes) ||
			s.bytes > INT64_MAX)
		return torch_bad(o, node, "its storage is larger than can be");
	rc = enter_storage(o, &s, node, &number);
	if (rc < 0)
		return rc;
	o->mention[o->mentions++] = (struct torch_mention){ node, number, c[1], c[2], c[3] };
	return 0;
}

void torch_object_free(struct torch_object *o)
{
	if (o == NULL)
		return;
	free(o->known);
	free(o->dtype);
	free(o->storage);
	free(o->mention);
	free(o->tensor);
	free(o->dims);
	free(o->place);
	free(o);
}

/* Gives back what growing left over. */
static void settle(void *p, size_t *cap, size_t len, size_t size)
{
	void *now;

	memcpy(&now, p, sizeof now);
	now = now != NULL && len > 0 ? realloc(now, len * size) : NULL;
	if (now == NULL)
		return;
	memcpy(p, &now, sizeof now);
	*cap = len;
}

size_t torch_object_memory(const struct torch_object *o)
{
	return sizeof *o + 2 * ((size_t)pickle_globals(o->g) + 1) + o->storages * sizeof *o->storage +
	       o->mentions * sizeof *o->mention + o->tensors * sizeof *o->tensor +
	       o->dims_len * sizeof *o->dims + o->places * sizeof *o->place;
}

static int too_large(size_t most)
{
	return ckpt_fail(EFBIG, "its tensors take more than %zu bytes of memory", most);
}

/*
 * Arrays as long as they can become, but for the dimensions, which are not known: memory that is not touched costs
 * nothing, and growing step by step leaves holes.
 */
static int expect(struct torch_object *o, size_t most)
{
	size_t ids = 0, calls = 0;
	int rc = 0;

	for (uint32_t i = 0; i < o->g->nodes; i++) {
		ids += o->g->node[i].kind == PICKLE_PERSID;
		calls += o->g->node[i].kind == PICKLE_REDUCE;
	}
	o->places = 64;
	while (o->places < 2 * ids)
		o->places *= 2;
	if (most > 0 && o->places * sizeof *o->place > most)
		return too_large(most);
	o->place = codec_pages_zeros(o->places, sizeof *o->place);
	if (o->place == NULL)
		rc = ckpt_fail(ENOMEM, "out of memory for the storages of a pickle");
	if (rc == 0)
		rc = torch_room(&o->storage, &o->storage_cap, ids + 1, sizeof *o->storage);
	if (rc == 0)
		rc = torch_room(&o->mention, &o->mention_cap, ids + 1, sizeof *o->mention);
	if (rc == 0)
		rc = torch_room(&o->tensor, &o->tensor_cap, calls + 1, sizeof *o->tensor);
	return rc < 0 ? rc : torch_room(&o->dims, &o->dims_cap, 2 * ids + 1, sizeof *o->dims);
}

int torch_object_new(const struct pickle *g, size_t most, struct torch_object **out)
{
	struct torch_object *o = calloc(1, sizeof *o);
	size_t globals = (size_t)pickle_globals(g) + 1;
	int rc = 0;

	if (o == NULL)
		return ckpt_fail(ENOMEM, "out of memory for an object");
	o->g = g;
	o->known = malloc(globals);
	o->dtype = malloc(globals);
	if (o->known == NULL || o->dtype == NULL)
		rc = ckpt_fail(ENOMEM, "out of memory for an object");
	for (uint32_t i = 0; rc == 0 && i + 1 < globals; i++)
		o->known[i] = (uint8_t)torch_known_name(pickle_global_at(g, i), &o->dtype[i]);
	if (rc == 0)
		rc = expect(o, most);
	for (uint32_t i = 0; rc == 0 && i < g->nodes; i++) {
		if (g->node[i].kind == PICKLE_PERSID)
			rc = take_mention(o, i);
		else if (g->node[i].kind == PICKLE_REDUCE)
			rc = torch_take_tensor(o, i);
		else
			continue;
		if (rc == 0 && most > 0 && torch_object_memory(o) > most)
			rc = too_large(most);
	}
	if (rc < 0) {
		torch_object_free(o);
		return rc;
	}
	settle(&o->storage, &o->storage_cap, o->storages, sizeof *o->storage);
	settle(&o->mention, &o->mention_cap, o->mentions, sizeof *o->mention);
	settle(&o->tensor, &o->tensor_cap, o->tensors, sizeof *o->tensor);
	settle(&o->dims, &o->dims_cap, o->dims_len, sizeof *o->dims);
	*out = o;
	return 0;
}

/* ---- looking --------------------------------------------------------------------------------------------------- */

const struct pickle *torch_graph(const struct torch_object *o)
{
	return o->g;
}

uint32_t torch_storages(const struct torch_object *o)
{
	return o->storages;
}

const struct torch_storage *torch_storage_at(const struct torch_object *o, uint32_t number)
{
	return &o->storage[number];
}

uint32_t torch_storage_of_key(const struct torch_object *o, const char *key, size_t len)
{
	struct torch_key_place *at;

	if (storage_place(o, key_hash(o, key, len), key, len, &at) < 0 || at->storage == 0)
		return PICKLE_NIL;
	return at->storage - 1;
}

uint32_t torch_mentions(const struct torch_object *o)
{
	return o->mentions;
}

const struct torch_mention *torch_mention_at(const struct torch_object *o, uint32_t number)
{
	return &o->mention[number];
}

bool torch_inside(const struct torch_object *o)
{
	for (uint32_t i = 0; i < pickle_globals(o->g); i++)
		if (o->known[i] == KNOWN_LOAD_BYTES)
			return true;
	return false;
}

uint32_t torch_tensors(const struct torch_object *o)
{
	return o->tensors;
}

const struct torch_tensor *torch_tensor_at(const struct torch_object *o, uint32_t number)
{
	return &o->tensor[number];
}

struct by_node {
	const uint8_t *table; /* whose items begin with the node and are in its order */
	size_t n, size;
};

static uint32_t node_at(const struct by_node *t, size_t i)
{
	uint32_t node;

	memcpy(&node, t->table + i * t->size, sizeof node);
	return node;
}

/* Most files are alike from end to end: the first steps go to where the item would be, of nodes in all. */
static const void *by_node(const struct by_node *t, uint32_t nodes, uint32_t node)
{
	size_t lo = 0, hi = t->n, guess = (size_t)((uint64_t)node * t->n / nodes);

	if (guess >= NEAR && node_at(t, guess - NEAR) <= node)
		lo = guess - NEAR;
	if (t->n - guess > NEAR && node_at(t, guess + NEAR) > node)
		hi = guess + NEAR;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		uint32_t there = node_at(t, mid);

		if (there == node)
			return t->table + mid * t->size;
		if (there < node)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

const struct torch_mention *torch_mention_of(const struct torch_object *o, uint32_t ref)
{
	uint32_t node = pickle_target(o->g, ref);

	if (o->g->node[node].kind != PICKLE_PERSID)
		return NULL;
	if (o->mentions > 0 &&
			o->mention[o->mentions - 1].node == node) /* as it is while tensors are found */
		return &o->mention[o->mentions - 1];
	return by_node(&(struct by_node){ (const uint8_t *)o->mention, o->mentions, sizeof *o->mention },
			o->g->nodes, node);
}

const struct torch_tensor *torch_tensor_of(const struct torch_object *o, uint32_t ref)
{
	uint32_t node = pickle_target(o->g, ref);

	if (o->g->node[node].kind != PICKLE_REDUCE)
		return NULL;
	return by_node(&(struct by_node){ (const uint8_t *)o->tensor, o->tensors, sizeof *o->tensor },
			o->g->nodes, node);
}

const uint64_t *torch_size(const struct torch_object *o, const struct torch_tensor *t)
{
	return o->dims + t->dims;
}

const uint64_t *torch_stride(const struct torch_object *o, const struct torch_tensor *t)
{
	return o->dims + t->dims + t->ndim;
}

bool torch_contiguous(const struct torch_object *o, const struct torch_tensor *t)
{
	const uint64_t *size = torch_size(o, t), *stride = torch_stride(o, t);
	uint64_t want = 1;

	if (t->count == 0)
		return true;
	for (uint32_t i = t->ndim; i-- > 0;) {
		if (size[i] == 1)
			continue;
		if (stride[i] != want)
			return false;
		want *= size[i];
	}
	return true;
}
