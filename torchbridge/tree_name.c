/*
 * tree_name.c: what the entries of a directory are called, and finding one by its name.
 *
 * A name follows from the key, except that the second of two equal ones, and one that had to be cut, gets
 * the entry's number in the directory behind it.  That is why a directory's table is made before any of its
 * names is given out.  Twins and cut names end in "%~" and that number, so they are found by it and are in
 * no table.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "codec/ckpt_error.h"
#include "bridge_tree_internal.h"
#include "view_key.h"

enum {
	SUFFIX_MAX = 16, /* "%~4294967295" and ".npy" */
	PROBES_MAX = 4096,
};
#define NPY ".npy"

const char *const tree_words[WORDS] = {
	[WORD_TENSOR] = "tensor",
	[WORD_VALUE] = "value",
	[WORD_CLASS] = "%class",
	[WORD_STATE] = "state",
	[WORD_VALUES] = "values",
	[WORD_INDICES] = "indices",
	[WORD_CROW] = "crow_indices",
	[WORD_COL] = "col_indices",
	[WORD_CCOL] = "ccol_indices",
	[WORD_ROW] = "row_indices",
	[WORD_BUFFER] = "buffer",
	[WORD_SIZES] = "sizes",
	[WORD_STRIDES] = "strides",
	[WORD_OFFSETS] = "offsets",
	[WORD_STORAGE] = "storage",
	[WORD_QSCHEME] = "qscheme",
	[WORD_SCALE] = "scale",
	[WORD_ZERO_POINT] = "zero_point",
	[WORD_AXIS] = "axis",
	[WORD_DTYPE] = "dtype",
	[WORD_SIZE] = "size",
	[WORD_LAYOUT] = "layout",
	[WORD_DEVICE] = "device",
	[WORD_METADATA] = "__metadata__",
};

uint32_t tree_dir_of(const struct bridge_tree *t, uint32_t entry)
{
	uint32_t lo = 0, hi = t->dirs;

	/* The last directory that begins at it or before: those before with the same beginning are empty. */
	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (t->dir[mid].first <= entry)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

const struct tree_part *tree_part_of(const struct bridge_tree *t, uint32_t entry)
{
	const struct tree_entry *e = &t->entry[entry];

	if (e->relation == TREE_BY_MEMBER)
		return &t->part[e->key];
	return &t->part[t->dir[tree_dir_of(t, entry)].part];
}

/*
 * ---- keys
 * ------------------------------------------------------------------------------------------------------
 */

static void set(struct tree_name *out, const void *p, size_t len, bool *cut)
{
	out->len = name_escape(p, len, out->p, NAME_LEN - SUFFIX_MAX, cut);
}

static void key_name(const struct torch_object *o, uint32_t key, struct tree_name *out, bool *cut)
{
	struct byte_buf text = { 0 };
	const char *p;
	size_t len;

	if (torch_kind_of(o, key) == TORCH_IS_STR) {
		p = pickle_text(torch_graph(o), key, &len);
		set(out, p, len, cut);
		return;
	}
	if (view_key(o, key, &text) < 0)
		text.len = 0; /* no memory for it: the empty key */
	set(out, text.p, text.len, cut);
	byte_buf_release(&text);
}

/* A link is called as what it leads to, so that a program which opens it by its name knows what it gets. */
static bool is_npy(const struct bridge_tree *t, const struct tree_entry *e)
{
	if (e->what == TREE_LINK && e->at != TREE_ROOT)
		e = &t->entry[e->at]; /* that is no link */
	switch (e->what) {
	case TREE_TENSOR:
	case TREE_STORAGE:
	case TREE_ARRAY:
	case TREE_ENTRY:
	case TREE_NPY:
		return true;
	default:
		return false;
	}
}

/* The name without what twins get, nor ".npy"; *cut. */
static void base_name(const struct bridge_tree *t, uint32_t entry, struct tree_name *out, bool *cut)
{
	const struct tree_entry *e = &t->entry[entry];
	const struct safetensors_entry *x;
	const struct safetensors_pair *pair;
	const char *member;

	*cut = false;
	switch (e->relation) {
	case TORCH_KEY:
	case TORCH_ATTR:
		key_name(tree_part_of(t, entry)->o, e->key, out, cut);
		break;
	case TORCH_INDEX:
		out->len = (size_t)snprintf(out->p, sizeof out->p, "%u", e->key);
		break;
	case TORCH_ARG:
		out->len = (size_t)snprintf(out->p, sizeof out->p, "args.%u", e->key);
		break;
	case TORCH_STATE:
		out->len = (size_t)snprintf(out->p, sizeof out->p, "state");
		break;
	case TREE_BY_MEMBER:
		member = bridge_doc_member(t->doc, e->key)->name;
		set(out, member, strlen(member), cut);
		break;
	case TREE_BY_ENTRY:
		x = safetensors_at(bridge_doc_safetensors(t->doc), e->key);
		set(out, x->name, x->name_len, cut);
		break;
	case TREE_BY_PAIR:
		pair = safetensors_pair_at(bridge_doc_safetensors(t->doc), e->key);
		set(out, pair->key, pair->key_len, cut);
		break;
	default:
		out->len = (size_t)snprintf(out->p, sizeof out->p, "%s", tree_words[e->key]);
	}
}

static void append(struct tree_name *name, const char *text)
{
	size_t n = strlen(text);

	memcpy(name->p + name->len, text, n);
	name->len += n;
}

/* SUFFIX_MAX bytes of room are left behind every base name. */
static bool whole_name(
		const struct bridge_tree *t, uint32_t dir, uint32_t entry, bool twin, struct tree_name *out)
{
	char number[SUFFIX_MAX];
	bool cut;

	base_name(t, entry, out, &cut);
	if (cut || twin) {
		snprintf(number, sizeof number, "%%~%u", entry - t->dir[dir].first);
		append(out, number);
	}
	if (is_npy(t, &t->entry[entry]))
		append(out, NPY);
	out->p[out->len] = '\0';
	return cut;
}

void tree_name(const struct bridge_tree *t, uint32_t entry, struct tree_name *out)
{
	whole_name(t, tree_dir_of(t, entry), entry, (t->entry[entry].flags & ENTRY_TWIN) != 0, out);
}

/*
 * ---- finding
 * ---------------------------------------------------------------------------------------------------
 */

static uint32_t hash_of(const struct tree_name *name)
{
	return (uint32_t)XXH3_64bits(name->p, name->len);
}

/* Enters an entry in the table of its directory; a twin is marked instead. */
static int enter(struct bridge_tree *t, uint32_t dir, uint32_t entry, struct tree_names *names)
{
	struct tree_name name, other;
	uint32_t hash;
	size_t at, probes = 0;

	if (whole_name(t, dir, entry, false, &name))
		return 0;
	hash = hash_of(&name);
	for (at = hash & names->mask; names->slot[at].entry != 0; at = (at + 1) & names->mask) {
		if (++probes > PROBES_MAX)
			return ckpt_fail(EBADMSG, "keys made to collide");
		if (names->slot[at].hash != hash)
			continue;
		whole_name(t, dir, names->slot[at].entry - 1, false, &other);
		if (other.len == name.len && memcmp(other.p, name.p, name.len) == 0) {
			t->entry[entry].flags |= ENTRY_TWIN;
			return 0;
		}
	}
	names->slot[at] = (struct tree_slot){ hash, entry + 1 };
	return 0;
}

static int make_names(struct bridge_tree *t, uint32_t dir, struct tree_names **out)
{
	const struct tree_dir *d = &t->dir[dir];
	size_t slots = 4, size;
	struct tree_names *names;
	int rc = 0;

	while (slots < 2 * (size_t)d->count)
		slots *= 2;
	size = sizeof *names + slots * sizeof names->slot[0];
	names = calloc(1, size);
	if (names == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a directory of %u names", d->count);
	names->mask = slots - 1;
	for (uint32_t i = 0; rc == 0 && i < d->count; i++)
		rc = enter(t, dir, d->first + i, names);
	if (rc < 0) {
		free(names);
		return rc;
	}
	atomic_fetch_add(&t->names_memory, size);
	*out = names;
	return 0;
}

int tree_names(const struct bridge_tree *const_tree, uint32_t dir, const struct tree_names **out)
{
	struct bridge_tree *t = (struct bridge_tree *)(uintptr_t)
			const_tree; /* what is made late is no part of its value */
	struct tree_names *names = atomic_load_explicit(&t->dir[dir].names, memory_order_acquire);
	int rc = 0;

	if (names == NULL) {
		pthread_mutex_lock(&t->lock);
		names = atomic_load_explicit(&t->dir[dir].names, memory_order_relaxed);
		if (names == NULL)
			rc = make_names(t, dir, &names);
		if (rc == 0)
			atomic_store_explicit(&t->dir[dir].names, names, memory_order_release);
		pthread_mutex_unlock(&t->lock);
	}
	*out = names;
	return rc;
}

/* The number behind the last "%~" of a name; false where there is none. */
static bool twin_number(const char *name, size_t len, uint32_t *out)
{
	uint64_t n = 0;
	size_t at = len;

	if (at > strlen(NPY) && memcmp(name + at - strlen(NPY), NPY, strlen(NPY)) == 0)
		at -= strlen(NPY);
	len = at;
	while (at > 0 && name[at - 1] >= '0' && name[at - 1] <= '9' && len - at < 10)
		at--;
	if (at < 2 || at == len || name[at - 1] != '~' || name[at - 2] != '%')
		return false;
	for (; at < len; at++)
		n = 10 * n + (uint64_t)(name[at] - '0');
	*out = (uint32_t)n;
	return n < UINT32_MAX;
}

int tree_lookup(const struct bridge_tree *t, uint32_t dir, const char *name, size_t len, uint32_t *out)
{
	const struct tree_dir *d = &t->dir[dir];
	const struct tree_names *names;
	struct tree_name other;
	uint32_t hash = (uint32_t)XXH3_64bits(name, len), number;
	int rc = tree_names(t, dir, &names);

	if (rc < 0)
		return rc;
	for (size_t at = hash & names->mask; names->slot[at].entry != 0; at = (at + 1) & names->mask) {
		if (names->slot[at].hash != hash)
			continue;
		whole_name(t, dir, names->slot[at].entry - 1, false, &other);
		if (other.len == len && memcmp(other.p, name, len) == 0) {
			*out = names->slot[at].entry - 1;
			return 0;
		}
	}
	if (twin_number(name, len, &number) && number < d->count) {
		tree_name(t, d->first + number, &other);
		if (other.len == len && memcmp(other.p, name, len) == 0) {
			*out = d->first + number;
			return 0;
		}
	}
	return -ENOENT;
}
