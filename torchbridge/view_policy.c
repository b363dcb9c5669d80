/*
 * view_policy.c: random-number states, steps of optimizers, replay data.
 *
 * One pass over the places (torch_object.h): parents come before what they hold, so what a place lies below
 * is known when its turn comes.
 */
#include "view_policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

/* What a place lies below, besides the bits of view_policy.h. */
enum { BELOW_STATE = 64 };

enum { PARTS_MAX = 16, STEPS_MAX = 64 }; /* of a tensor, and of parts of parts */

/*
 * Whether `word` stands in text[0, len), with no letter before and behind it if `whole`. Case of ASCII does
 * not count.
 */
static bool has_word(const char *text, size_t len, const char *word, bool whole)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= len; i++) {
		size_t k = 0;

		while (k < n && (text[i + k] | 0x20) == (word[k] | 0x20))
			k++;
		if (k < n)
			continue;
		if (!whole)
			return true;
		if ((i == 0 || (unsigned)((text[i - 1] | 0x20) - 'a') > 25) &&
				(i + n == len || (unsigned)((text[i + n] | 0x20) - 'a') > 25))
			return true;
	}
	return false;
}

static bool ends_with(const char *text, size_t len, const char *word)
{
	size_t n = strlen(word);

	return len >= n && has_word(text + (len - n), n, word, false);
}

static uint8_t bits_of_key(const struct pickle *g, const struct torch_place *at)
{
	const char *p;
	size_t len;
	uint8_t bits = 0;

	if (at->relation != TORCH_KEY && at->relation != TORCH_ATTR)
		return 0;
	p = pickle_text(g, at->key, &len);
	if (p == NULL || len > 256)
		return 0;
	if (has_word(p, len, "rng", true) || has_word(p, len, "random_state", false) ||
			has_word(p, len, "manual_seed", false))
		bits |= VIEW_RNG;
	/* The names of a model's tensors have dots; a layer of it may well be called replay. */
	if (memchr(p, '.', len) == NULL &&
			(has_word(p, len, "replay", false) || ends_with(p, len, "_buffer") ||
					(len == 6 && ends_with(p, len, "buffer"))))
		bits |= VIEW_REPLAY;
	return bits;
}

static bool truth(const struct torch_object *o, uint32_t dict, const char *key)
{
	uint32_t ref = torch_lookup(o, dict, key);
	int64_t v;

	return ref != PICKLE_NIL && pickle_int(torch_graph(o), ref, &v) && v != 0;
}

/* Whether the optimizer that has this "state" keeps its steps where its parameters are. */
static bool steps_move(const struct torch_object *o, uint32_t optimizer)
{
	uint32_t groups = torch_lookup(o, optimizer, "param_groups");
	struct torch_iter it;
	struct torch_item item;

	if (groups == PICKLE_NIL)
		return false;
	torch_iter_init(o, groups, &it);
	while (torch_iter_next(&it, &item))
		if (truth(o, item.value, "capturable") || truth(o, item.value, "fused"))
			return true;
	return false;
}

static bool is_bytes(const struct torch_tensor *t)
{
	return t->dtype == TORCH_UINT8 && t->kind == TORCH_STRIDED && t->ndim == 1;
}

static bool has_generator_length(const struct torch_tensor *t)
{
	return t->count == 5056 || t->count == 16 || t->count == 808 || t->count == 816;
}

/* Enters the bits for the storages of a tensor, and of those that it is made of. */
static void mark(const struct torch_object *o, const struct torch_tensor *t, uint8_t bits, uint8_t *marks)
{
	const struct torch_tensor *left[PARTS_MAX] = { t };
	unsigned n = 1, steps = 0;

	while (n > 0 && steps++ < STEPS_MAX) {
		t = left[--n];
		if (t->storage != PICKLE_NIL)
			marks[t->storage] |= bits;
		for (unsigned i = 0; i < 4; i++) {
			const struct torch_tensor *part =
					t->part[i] != PICKLE_NIL ? torch_tensor_of(o, t->part[i]) : NULL;

			if (part != NULL && n < PARTS_MAX)
				left[n++] = part;
		}
	}
}

static void mark_scales(const struct torch_object *o, uint8_t *marks)
{
	for (uint32_t i = 0; i < torch_tensors(o); i++) {
		const struct torch_tensor *t = torch_tensor_at(o, i);

		for (unsigned k = 0; t->kind == TORCH_QUANTIZED && k < 4; k++) {
			const struct torch_tensor *part =
					t->part[k] != PICKLE_NIL ? torch_tensor_of(o, t->part[k]) : NULL;

			if (part != NULL)
				mark(o, part, VIEW_SCALE, marks);
		}
	}
}

/* What holds the "state" that a dict of a dict under it belongs to: three places up; PICKLE_NIL: nothing. */
static uint32_t holder(const struct torch_places *p, const struct torch_place *at)
{
	uint32_t up = at->parent;

	for (int i = 0; i < 2 && up != PICKLE_NIL; i++)
		up = torch_place_at(p, up)->parent;
	return up;
}

/* momentum_buffer and its kind: a buffer of an optimizer, which goes where its parameter goes. */
static bool of_optimizer(
		const struct torch_object *o, const struct torch_places *p, const struct torch_place *at)
{
	uint32_t up = holder(p, at);

	return up != PICKLE_NIL && torch_lookup(o, torch_place_at(p, up)->node, "param_groups") != PICKLE_NIL;
}

/* "step" of a dict of a dict under "state". */
static uint8_t step_bits(const struct torch_object *o, const struct torch_places *p,
		const struct torch_place *at, const struct torch_tensor *t, uint32_t *last, bool *last_moves)
{
	uint32_t up = holder(p, at);

	if (t->count != 1 || at->relation != TORCH_KEY || !pickle_is_text(torch_graph(o), at->key, "step"))
		return 0;
	if (up == PICKLE_NIL)
		return VIEW_STEP;
	if (*last != up) {
		*last = up;
		*last_moves = steps_move(o, torch_place_at(p, up)->node);
	}
	return *last_moves ? VIEW_MOVING_STEP : VIEW_STEP;
}

static void mark_places(
		const struct torch_object *o, const struct torch_places *p, uint8_t *below, uint8_t *marks)
{
	const struct pickle *g = torch_graph(o);
	uint32_t last = PICKLE_NIL;
	bool last_moves = false;

	for (uint32_t i = 0; i < torch_place_count(p); i++) {
		const struct torch_place *at = torch_place_at(p, i);
		const struct torch_tensor *t;
		uint8_t own, bits = at->parent != PICKLE_NIL ? below[at->parent] : 0;

		if ((at->relation == TORCH_KEY || at->relation == TORCH_ATTR) &&
				pickle_is_text(g, at->key, "state"))
			bits |= BELOW_STATE;
		own = bits_of_key(g, at);
		if ((own & VIEW_REPLAY) != 0 && (bits & BELOW_STATE) != 0 && of_optimizer(o, p, at))
			own &= (uint8_t)~VIEW_REPLAY;
		bits |= own;
		below[i] = bits;
		if (at->kind == TORCH_IS_STORAGE) {
			const struct torch_mention *m = torch_mention_of(o, at->node);

			if (m != NULL)
				marks[m->storage] |= bits & VIEW_REPLAY;
			continue;
		}
		t = at->kind == TORCH_IS_TENSOR ? torch_tensor_of(o, at->node) : NULL;
		if (t == NULL)
			continue;
		if (!is_bytes(t))
			bits &= (uint8_t)~VIEW_RNG;
		else if (has_generator_length(t))
			bits |= VIEW_RNG;
		if ((bits & BELOW_STATE) != 0)
			bits |= step_bits(o, p, at, t, &last, &last_moves);
		bits &= (uint8_t)~BELOW_STATE;
		if (bits != 0)
			mark(o, t, bits, marks);
	}
}

int view_policy(const struct bridge_doc *d, uint8_t **out)
{
	const struct torch_object *o = torch_file_object(bridge_doc_torch(d));
	const struct torch_places *p;
	uint8_t *marks, *below;
	int rc = bridge_doc_places(d, &p);

	if (rc < 0)
		return rc;
	marks = calloc((size_t)torch_storages(o) + 1, 1);
	below = calloc((size_t)torch_place_count(p) + 1, 1);
	if (marks == NULL || below == NULL) {
		free(marks);
		free(below);
		return ckpt_fail(ENOMEM, "out of memory for %u storages", torch_storages(o));
	}
	mark_places(o, p, below, marks);
	mark_scales(o, marks);
	free(below);
	*out = marks;
	return 0;
}
