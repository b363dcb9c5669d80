/*
 * fuzz_view.c: any bytes as a checkpoint, through every view: opened, shown on another device, in another dtype, as
 * safetensors, as text, as JSON, as a tree; each layout is read whole, at its ends and at odd offsets.
 *
 * What must hold: a layout is as long as it says, and reading it in pieces gives what reading it at once gives.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "torchbridge/bridge_tree.h"
#include "torchbridge/bridge_view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY = 64 << 20, READ_MAX = 1 << 20, ENTRIES_MAX = 200 };

struct input {
	const uint8_t *p;
	size_t len;
};

static int64_t read_input(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct input *in = arg;

	if (off >= in->len)
		return 0;
	if (len > in->len - off)
		len = (size_t)(in->len - off);
	memcpy(buf, in->p + off, len);
	return (int64_t)len;
}

static int64_t read_source(void *arg, uint32_t source, uint64_t off, void *buf, size_t len)
{
	return source == 0 ? read_input(arg, off, buf, len) : -EINVAL;
}

/* Frees the layout. */
static void read_layout(struct bridge_layout *l, struct input *in)
{
	struct bridge_sources src = { read_source, in };
	uint64_t size = bridge_layout_size(l);
	size_t n = size < READ_MAX ? (size_t)size : READ_MAX;
	uint8_t *whole = malloc(n + 1), *piece = malloc(n + 1);
	ssize_t got;

	if (!whole || !piece)
		abort();
	got = bridge_layout_read(l, &src, 0, whole, n);
	if (got >= 0 && (size_t)got != n)
		abort();
	for (size_t off = 0; got >= 0 && off < n;) {
		size_t want = 1 + off * 7 % 4099, left = n - off;
		ssize_t part = bridge_layout_read(l, &src, off, piece, want < left ? want : left);

		if (part <= 0 || memcmp(piece, whole + off, (size_t)part) != 0)
			abort();
		off += (size_t)part;
	}
	if (bridge_layout_read(l, &src, size, piece, 1) > 0)
		abort();
	free(whole);
	free(piece);
	bridge_layout_free(l);
}

struct walk {
	const struct bridge_tree *tree;
	struct input *in;
	char *names[ENTRIES_MAX];
	size_t n;
	const char *at;
};

static int take(void *arg, const char *name, size_t len, mode_t type)
{
	struct walk *w = arg;
	size_t up = strlen(w->at);

	(void)type;
	if (w->n == ENTRIES_MAX)
		return 1;
	char *path = malloc(up + len + 2);
	if (!path)
		abort();
	memcpy(path, w->at, up);
	memcpy(path + up, "/", (size_t)(up > 0));
	memcpy(path + up + (up > 0), name, len);
	path[up + (up > 0) + len] = '\0';
	w->names[w->n++] = path;
	return 0;
}

/* The first entries, in breadth. */
static void walk_tree(const struct bridge_doc *d, struct input *in)
{
	struct bridge_tree *t;
	struct walk w = { .in = in, .at = "" };

	if (bridge_tree_new(d, -1, &t) != 0)
		return;
	w.tree = t;
	bridge_tree_list(t, "", take, &w);
	for (size_t i = 0; i < w.n; i++) {
		struct bridge_node node;
		struct bridge_layout *l;
		struct byte_buf link = { 0 };

		w.at = w.names[i];
		if (bridge_tree_find(t, w.at, read_input, in, &node) != 0)
			continue;
		if (S_ISDIR(node.type)) {
			bridge_tree_list(t, w.at, take, &w);
		} else if (S_ISLNK(node.type)) {
			if (bridge_tree_link(t, w.at, &link) == 0 && link.len != node.size)
				abort();
			byte_buf_release(&link);
		} else {
			int rc = bridge_tree_open(t, w.at, read_input, in, &l);

			if (rc == -EINVAL || rc == -ENOENT || (rc == 0 && bridge_layout_size(l) != node.size))
				abort();
			if (rc == 0)
				read_layout(l, in);
		}
	}
	for (size_t i = 0; i < w.n; i++)
		free(w.names[i]);
	bridge_tree_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "@cpu", "@cuda:1", "@bf16", "@fp32", "@cpu+fp16" };
	static const struct bridge_text how = { "fuzz.pt", 0 };
	struct input in = { data, size };
	struct bridge_doc *d;
	struct bridge_spec spec;
	struct bridge_layout *l;
	struct byte_buf text = { 0 };

	if (bridge_doc_open(read_input, &in, size, MEMORY, &d) != 0)
		return 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (bridge_spec_parse(names[i], &spec) && bridge_view_file(d, &spec, read_input, &in, &l) == 0)
			read_layout(l, &in);
	if (bridge_spec_parse("@safetensors", &spec) && bridge_view_safetensors(d, &spec, read_input, &in, &l) == 0)
		read_layout(l, &in);
	bridge_view_summary(d, &how, read_input, &in, &text);
	bridge_view_json(d, &how, read_input, &in, &text);
	byte_buf_release(&text);
	walk_tree(d, &in);
	bridge_doc_free(d);
	return 0;
}
