/*
 * power_cut.c: what a power cut leaves of a disk.
 *
 * A replay keeps for each node the image that syncs have made safe and the list of events that none has covered yet,
 * and for names the same; a cut takes the images and does to them what the mode says of the lists.
 */
#include "fault_disk.h"

#include <stdlib.h>
#include <string.h>

const char *const cut_name[CUT_MODES] = {
	[CUT_ALL] = "all", [CUT_NONE] = "none", [CUT_PREFIX] = "prefix", [CUT_FILES] = "files", [CUT_SECTORS] = "sectors",
	[CUT_TORN] = "torn", [CUT_GARBAGE] = "garbage",
};

struct list {
	size_t *v, n, cap;           /* places in the log */
};

struct replay {
	const struct disk *disk;
	size_t at;
	struct bytes image[NODES_MAX];
	struct list loose[NODES_MAX];
	size_t lost[NODES_MAX];      /* of `loose`, the first so many were given to a sync that failed */
	struct disk *names;          /* entries that are safe; its nodes are not used */
	struct list loose_names;
};

static void push(struct list *l, size_t v)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->v = disk_realloc(l->v, l->cap * sizeof *l->v);
	}
	l->v[l->n++] = v;
}

struct replay *replay_new(const struct disk *d)
{
	struct replay *r = disk_alloc(sizeof *r);

	r->disk = d;
	r->names = disk_new();
	return r;
}

struct replay *replay_on(const struct disk *first, const struct disk *d)
{
	struct replay *r = replay_new(d);

	/* As disk_copy() gives out its nodes. */
	for (int i = 0; i < first->nentries; i++) {
		const struct bytes *b = &first->nodes[first->entries[i].node].b;

		bytes_put(&r->image[i], 0, b->p ? (const void *)b->p : "", b->size);
		disk_add_entry(r->names, first->entries[i].path, i);
	}
	return r;
}

void replay_free(struct replay *r)
{
	for (int i = 0; i < NODES_MAX; i++) {
		free(r->image[i].p);
		free(r->loose[i].v);
	}
	free(r->loose_names.v);
	disk_free(r->names);
	free(r);
}

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static void do_event(struct bytes *b, const struct event *e)
{
	if (e->kind == EV_WRITE)
		bytes_put(b, e->off, e->data, e->len);
	else
		bytes_resize(b, e->len);
}

static void do_name(struct disk *names, const struct event *e)
{
	int i = disk_find(names, e->path);

	if (i >= 0)
		disk_drop_entry(names, i);
	if (e->kind == EV_CREATE)
		disk_add_entry(names, e->path, e->node);
}

/* How many of n events of a thing (a sector, a size, a name) count: all, none and anything between, equally often. */
static size_t some(uint64_t seed, uint64_t thing, size_t n)
{
	uint64_t x = mix(seed ^ mix(thing));

	switch (x % 3) {
	case 0:
		return 0;
	case 1:
		return n;
	default:
		return (size_t)((x >> 8) % (n + 1));
	}
}

/* Does to *b what of the n events in l gets there, each sector on its own. */
static void do_sectors(struct bytes *b, const struct disk *d, const struct list *l, size_t n, size_t sector, bool noise,
		uint64_t seed)
{
	size_t size = b->size, max = size, old = size, sized = some(seed, 1, n), sectors;
	size_t *count;

	for (size_t i = 0; i < n; i++) {
		const struct event *e = &d->log[l->v[i]];
		size_t end = e->kind == EV_WRITE ? e->off + e->len : e->len;

		if (i < sized)
			size = e->kind == EV_TRUNCATE || end > size ? end : size;
		if (end > max)
			max = end;
	}
	bytes_resize(b, max);
	if (noise)
		for (size_t i = old; i < max; i++)
			b->p[i] = (uint8_t)mix(seed + i);
	sectors = max / sector + 1;
	count = disk_alloc(sectors * sizeof *count);
	for (size_t i = 0; i < sectors; i++)
		count[i] = some(seed, 2 + i, n);
	for (size_t i = 0; i < n; i++) {
		const struct event *e = &d->log[l->v[i]];
		size_t from = e->kind == EV_WRITE ? e->off : e->len, end = e->kind == EV_WRITE ? e->off + e->len : max, to;

		for (size_t at = from; at < end; at = to) {
			to = (at / sector + 1) * sector;
			if (to > end)
				to = end;
			if (i >= count[at / sector])
				continue;
			if (e->kind == EV_WRITE)
				memcpy(b->p + at, e->data + (at - e->off), to - at);
			else
				memset(b->p + at, 0, to - at);
		}
	}
	free(count);
	bytes_resize(b, size);
}

static void synced(struct replay *r, int node)
{
	struct list *l = &r->loose[node];

	/* What a failed sync has let go of reaches the disk by chance only. */
	if (r->lost[node])
		do_sectors(&r->image[node], r->disk, l, r->lost[node], 4096, false, r->at);
	for (size_t i = r->lost[node]; i < l->n; i++)
		do_event(&r->image[node], &r->disk->log[l->v[i]]);
	l->n = r->lost[node] = 0;
}

static void advance(struct replay *r, size_t events)
{
	for (; r->at < events; r->at++) {
		const struct event *e = &r->disk->log[r->at];

		switch (e->kind) {
		case EV_WRITE:
		case EV_TRUNCATE:
			push(&r->loose[e->node], r->at);
			break;
		case EV_SYNC:
			synced(r, e->node);
			break;
		case EV_SYNC_FAILED:
			r->lost[e->node] = r->loose[e->node].n;
			break;
		case EV_CREATE:
		case EV_DELETE:
			push(&r->loose_names, r->at);
			break;
		case EV_SYNC_DIR:
			for (size_t i = 0; i < r->loose_names.n; i++)
				do_name(r->names, &r->disk->log[r->loose_names.v[i]]);
			r->loose_names.n = 0;
			break;
		}
	}
}

/* The content of a node after the cut, into *b. */
static void cut_node(const struct replay *r, int node, enum cut_mode mode, size_t until, uint64_t seed, struct bytes *b)
{
	const struct list *l = &r->loose[node];
	size_t n = l->n;

	bytes_put(b, 0, r->image[node].p ? (const void *)r->image[node].p : "", r->image[node].size);
	seed = mix(seed ^ (uint64_t)node);
	if (mode == CUT_NONE || (mode == CUT_FILES && (seed & 1)))
		n = 0;
	if (mode >= CUT_SECTORS) {
		/* Files as a whole differ too, or all of a long log would never be there together. */
		if (seed % 5 == 0)
			n = 0;
		else if (seed % 5 > 1) {
			do_sectors(b, r->disk, l, n, mode == CUT_SECTORS ? 4096 : 512, mode == CUT_GARBAGE, mix(seed));
			return;
		}
	}
	for (size_t i = 0; i < n; i++) {
		const struct event *e = &r->disk->log[l->v[i]];

		if (mode == CUT_PREFIX && l->v[i] > until)
			break;
		if (mode == CUT_PREFIX && l->v[i] == until && e->kind == EV_WRITE) {
			size_t part = (size_t)(mix(seed) % (e->len + 1));

			bytes_put(b, e->off, e->data, part);
			break;
		}
		do_event(b, e);
	}
}

struct disk *replay_cut(struct replay *r, size_t events, enum cut_mode mode, uint64_t seed)
{
	struct disk *d = disk_new();
	size_t oldest = events, until;
	int nodes[NODES_MAX];

	advance(r, events);
	for (int i = 0; i < NODES_MAX; i++)
		if (r->loose[i].n && r->loose[i].v[0] < oldest)
			oldest = r->loose[i].v[0];
	until = oldest + (size_t)(mix(seed) % (events - oldest + 1));

	/* Names first: what has none is not there. */
	for (int i = 0; i < r->names->nentries; i++)
		disk_add_entry(d, r->names->entries[i].path, r->names->entries[i].node);
	for (size_t i = 0; i < r->loose_names.n; i++) {
		const struct event *e = &r->disk->log[r->loose_names.v[i]];
		uint64_t name = 0;
		bool done = mode == CUT_ALL || (mode == CUT_PREFIX && r->loose_names.v[i] <= until);

		for (const char *c = e->path; *c; c++)
			name = mix(name ^ (uint8_t)*c);
		if (mode == CUT_FILES)
			done = mix(seed ^ name) & 1;
		else if (mode >= CUT_SECTORS)
			done = i < some(seed, name, r->loose_names.n);
		if (done)
			do_name(d, e);
	}
	for (int i = 0; i < NODES_MAX; i++)
		nodes[i] = -1;
	for (int i = 0; i < d->nentries; i++) {
		int node = d->entries[i].node;

		if (nodes[node] < 0) {
			nodes[node] = disk_add_node(d);
			cut_node(r, node, mode, until, seed, &d->nodes[nodes[node]].b);
		}
		d->entries[i].node = nodes[node];
	}
	return d;
}
