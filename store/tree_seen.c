/*
 * tree_seen.c: names looked up lately.
 *
 * The kernel asks for a name before it asks for something to be done with it, and what is done looks it up once
 * more: a rename its two names twice.  So the answers are remembered for as long as no name of the tree changes,
 * those that say "not there" too.  Attributes are not among them, they are tree_late.c's.
 */
#include <errno.h>
#include <string.h>

#include "tree_internal.h"

static struct seen *slot_of(struct tree *t, uint64_t parent, const char *name, size_t len)
{
	uint64_t h = parent * 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)name[i]) * 0x100000001b3u;
	return &t->seen[(h ^ h >> 32) % TREE_SEEN_SLOTS];
}

int tree_seen_get(struct store *s, uint64_t parent, const char *name, size_t len, struct tree_entry *out)
{
	const struct seen *e;

	if (s->tree == NULL || len > TREE_SEEN_NAME)
		return -ENOENT;
	e = slot_of(s->tree, parent, name, len);
	if (e->stamp != s->tree->names_stamp || e->parent != parent || e->len != len || memcmp(e->name, name, len) != 0)
		return -ENOENT;
	if (e->ino == 0)
		return 0;
	if (!tree_known_get(s, e->ino, &out->attr))
		return -ENOENT;
	out->cookie = e->cookie;
	out->placed = e->placed;
	return 1;
}

void tree_seen_put(struct store *s, uint64_t parent, const char *name, size_t len, const struct tree_entry *found)
{
	struct seen *e;

	if (s->tree == NULL || len > TREE_SEEN_NAME)
		return;
	e = slot_of(s->tree, parent, name, len);
	*e = (struct seen){ .stamp = s->tree->names_stamp, .parent = parent, .len = (uint8_t)len };
	memcpy(e->name, name, len);
	if (found == NULL)
		return;
	e->ino = found->attr.ino;
	e->cookie = found->cookie;
	e->placed = found->placed;
	tree_known_put(s, &found->attr);
}

void tree_seen_forget(struct store *s)
{
	if (s->tree != NULL)
		s->tree->names_stamp++;
}
