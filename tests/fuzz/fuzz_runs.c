/*
 * fuzz_runs.c: any bytes as a checkpoint in a tree of runs, and as what is remembered of one.
 *
 * The first byte says what the rest is:
 *
 *   FACT, HISTORY   remembered bytes: what is read from them and written is read again the same
 *   TREE            two bytes that pick two paths, then a file, which lies at both: scanned, its components opened, the
 *                   texts of its run made; scanned again, from what was remembered, and nothing may have changed
 *   LIE             the same, but what is remembered comes with the input, behind its length (u16)
 *
 * What must hold besides: a component is as long as the scan said.  With FUZZ_MADE=DIR in the environment what is
 * remembered of a TREE is written there as inputs of the other kinds.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "torchbridge/runs_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FACT, HISTORY, TREE, LIE };
enum { MEMORY = 64 << 20, READ_MAX = 1 << 20, REMEMBERED = 8 };

static const char *const paths[] = {
	"a/epoch-3.pth",
	"a/best_model.pth",
	"a/7/model.pt",
	"a/7/checkpoint.pth",
	"a/checkpoint-5/trainer_state.json",
	"a/checkpoint-5/optimizer.pt",
	"a/8/.metadata",
	"a/8/__0_0.distcp",
	"a/metrics.csv",
	"a/last.ckpt",
	"a/args.pt",
	"a/version_0/checkpoints/epoch=1-step=20.ckpt",
	"a/sb3_500_steps.zip",
	"a/7/metrics.json",
	"a/model.safetensors",
	"checkpoints/er_cifar_3.pt",
	"a/step_40/random_states_0.pkl",
	"a/global_step9/mp_rank_00_model_states.pt",
};
enum { PATHS = sizeof paths / sizeof paths[0] };

struct remembered {
	char name[128]; /* path and key */
	uint8_t *p;
	size_t len;
};

struct host {
	const uint8_t *file, *lie;
	size_t size, lie_len;
	uint8_t which[2];
	const char *path[2];
	struct remembered said[REMEMBERED];
	size_t n;
	bool lies;
};

/*
 * ---- a tree of two files
 */

static bool is_file(const struct host *h, const char *path)
{
	return strcmp(path, h->path[0]) == 0 || strcmp(path, h->path[1]) == 0;
}

static void describe(const struct host *h, bool file, struct stat *st)
{
	*st = (struct stat){ .st_mode = file ? S_IFREG | 0644 : S_IFDIR | 0755, .st_ino = 2, .st_nlink = 1 };
	st->st_size = file ? (off_t)h->size : 0;
	st->st_mtim.tv_sec = 1700000000;
}

/* What follows a directory in a path: a name and its length; NULL: it does not lie there. */
static const char *below(const char *dir, const char *path, size_t *len)
{
	size_t n = strlen(dir);

	if (strncmp(path, dir, n) != 0 || (n > 0 && path[n] != '/'))
		return NULL;
	path += n + (n > 0);
	*len = strcspn(path, "/");
	return path;
}

static int list(void *arg, const char *dir,
		int (*emit)(void *e, const char *name, size_t len, const struct stat *st), void *e)
{
	struct host *h = arg;
	size_t len[2] = { 0 };
	const char *first = below(dir, h->path[0], &len[0]), *second = below(dir, h->path[1], &len[1]);
	struct stat st;
	int rc = 0;

	if (is_file(h, dir))
		return -ENOTDIR;
	if (first == NULL && second == NULL)
		return -ENOENT;
	if (first != NULL) {
		describe(h, first[len[0]] == '\0', &st);
		rc = emit(e, first, len[0], &st);
	}
	if (rc != 0 || second == NULL ||
			(first != NULL && len[0] == len[1] && memcmp(first, second, len[0]) == 0))
		return rc;
	describe(h, second[len[1]] == '\0', &st);
	return emit(e, second, len[1], &st);
}

static int look(void *arg, const char *path, struct stat *st)
{
	struct host *h = arg;
	size_t len;

	if (!is_file(h, path) && below(path, h->path[0], &len) == NULL &&
			below(path, h->path[1], &len) == NULL)
		return -ENOENT;
	describe(h, is_file(h, path), st);
	return 0;
}

static int64_t read_file(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct host *h = arg;

	if (off >= h->size)
		return 0;
	if (len > h->size - off)
		len = (size_t)(h->size - off);
	memcpy(buf, h->file + off, len);
	return (int64_t)len;
}

static int64_t read_path(void *arg, const char *path, uint64_t off, void *buf, size_t len)
{
	return is_file(arg, path) ? read_file(arg, off, buf, len) : -ENOENT;
}

static int doc(void *arg, const char *path, const struct bridge_doc **out)
{
	struct host *h = arg;
	struct bridge_doc *d;
	int rc = is_file(h, path) ? bridge_doc_open(read_file, h, h->size, MEMORY, &d) : -ENOENT;

	if (rc == 0)
		*out = d;
	return rc;
}

static void put(void *arg, const struct bridge_doc *d)
{
	(void)arg;
	bridge_doc_free((struct bridge_doc *)(uintptr_t)d);
}

static uint8_t *copy(const uint8_t *p, size_t len)
{
	uint8_t *q = malloc(len > 0 ? len : 1);

	if (q == NULL)
		abort();
	if (len > 0)
		memcpy(q, p, len);
	return q;
}

static int recall(void *arg, const char *path, const char *key, uint8_t **out, size_t *len)
{
	struct host *h = arg;
	char name[128];

	if (h->lies) {
		*out = copy(h->lie, h->lie_len);
		*len = h->lie_len;
		return 0;
	}
	snprintf(name, sizeof name, "%s %s", path, key);
	for (size_t i = 0; i < h->n; i++)
		if (strcmp(h->said[i].name, name) == 0) {
			*out = copy(h->said[i].p, h->said[i].len);
			*len = h->said[i].len;
			return 0;
		}
	return -ENOENT;
}

/* As a FACT or a HISTORY, and as what is remembered of the file it is of. */
static void make_inputs(const struct host *h, const char *dir, const char *path, const uint8_t *p, size_t len)
{
	const uint8_t head[] = { LIE, (uint8_t)(strcmp(path, h->path[0]) == 0 ? h->which[0] : h->which[1]),
		h->which[1], (uint8_t)len, (uint8_t)(len >> 8) };
	const uint8_t kind = len > 1 && p[1] == 'H' ? HISTORY : FACT;
	uint64_t sum = len;

	if (len > UINT16_MAX)
		return;
	for (size_t i = 0; i < len; i++)
		sum = (sum ^ p[i]) * UINT64_C(1099511628211);
	for (int i = 0; i < 2; i++) {
		char name[4096];
		FILE *f;

		snprintf(name, sizeof name, "%s/made-%016llx-%d", dir, (unsigned long long)sum, i);
		f = fopen(name, "wb");
		if (f == NULL || fwrite(i == 0 ? &kind : head, i == 0 ? 1 : sizeof head, 1, f) != 1 ||
				fwrite(p, len, 1, f) != 1 ||
				(i == 1 && fwrite(h->file, h->size, 1, f) != 1) || fclose(f) != 0)
			abort();
	}
}

static void keep(void *arg, const char *path, const char *key, const void *p, size_t len)
{
	struct host *h = arg;
	const char *dir = getenv("FUZZ_MADE");

	if (dir != NULL)
		make_inputs(h, dir, path, p, len);
	if (h->n == REMEMBERED)
		return;
	snprintf(h->said[h->n].name, sizeof h->said[h->n].name, "%s %s", path, key);
	h->said[h->n].p = copy(p, len);
	h->said[h->n++].len = len;
}

static void host_release(struct host *h)
{
	for (size_t i = 0; i < h->n; i++)
		free(h->said[i].p);
}

/*
 * ---- what is done with it
 */

static int64_t read_source(void *arg, uint32_t source, uint64_t off, void *buf, size_t len)
{
	(void)source;
	return read_file(arg, off, buf, len);
}

/* Everything of a component that is not the file itself. */
static void open_component(struct host *h, const struct bridge_runs *r, size_t run, size_t exp, size_t c)
{
	const struct bridge_component *x = bridge_runs_component_at(r, run, exp, c);
	struct bridge_sources src = { read_source, h };
	struct bridge_layout *l;
	uint64_t size;

	for (uint32_t i = 0; i < x->sources; i++)
		if (!is_file(h, bridge_runs_source(r, run, exp, c, i)) && !h->lies)
			abort();
	if (x->whole || bridge_runs_open(r, run, exp, c, &l) != 0)
		return;
	size = bridge_layout_size(l);
	if (size != x->size && !h->lies)
		abort();
	if (size <= READ_MAX) {
		uint8_t *p = malloc((size_t)size + 1);
		ssize_t n;

		if (p == NULL)
			abort();
		n = bridge_layout_read(l, &src, 0, p, (size_t)size + 1);
		if (n >= 0 && (uint64_t)n != size)
			abort();
		free(p);
	}
	bridge_layout_free(l);
}

/* What a scan says, as a text that two scans can be compared by. */
static void go_through(struct host *h, const struct bridge_runs *r, struct byte_buf *said)
{
	for (size_t i = 0; i < bridge_runs_count(r); i++) {
		const struct bridge_run *run = bridge_runs_at(r, i);
		struct byte_buf text = { 0 };

		byte_buf_format(said, "%s %s %lld %lld\n", run->path, run->framework, (long long)run->latest,
				(long long)run->best);
		if (bridge_runs_find(r, run->path) != (int64_t)i)
			abort();
		for (size_t k = 0; k < run->experiences; k++) {
			const struct bridge_experience *e = bridge_runs_experience(r, i, k);

			byte_buf_format(said, " %s %d\n", e->name, e->torn);
			if (bridge_runs_find_experience(r, i, e->name) != (int64_t)k)
				abort();
			for (size_t c = 0; c < e->components; c++) {
				const struct bridge_component *x = bridge_runs_component_at(r, i, k, c);

				byte_buf_format(said, "  %s %s %llu\n", x->name, x->from,
						(unsigned long long)x->size);
				open_component(h, r, i, k, c);
			}
		}
		for (size_t k = 0; k < bridge_runs_metrics(r, i); k++) {
			const struct bridge_metric *m = bridge_runs_metric(r, i, k);

			byte_buf_format(said, " %s %lld %a\n", m->name, (long long)m->experience, m->value);
		}
		bridge_runs_csv(r, i, &text);
		bridge_runs_svg(r, i, &text);
		bridge_runs_report(r, i, &text);
		byte_buf_release(&text);
	}
}

static void tree(struct host *h)
{
	const struct bridge_files files = { h, list, look, doc, put, read_path, recall, keep, NULL };
	struct byte_buf first = { 0 }, second = { 0 };
	struct bridge_runs *r;

	if (bridge_runs_scan(&files, "", &r) == 0) {
		go_through(h, r, &first);
		bridge_runs_free(r);
	}
	if (!h->lies && bridge_runs_scan(&files, "", &r) == 0) {
		go_through(h, r, &second);
		bridge_runs_free(r);
		if (h->n < REMEMBERED &&
				(first.len != second.len ||
						(first.len > 0 && memcmp(first.p, second.p, first.len) != 0)))
			abort();
	}
	byte_buf_release(&first);
	byte_buf_release(&second);
	host_release(h);
}

static void fact(const uint8_t *p, size_t len)
{
	struct runs_arena a = { 0 };
	struct byte_buf once = { 0 }, twice = { 0 };
	struct runs_fact f;

	if (runs_fact_read(&a, p, len, &f) == 0 && runs_fact_write(&f, &once) == 0 &&
			(runs_fact_read(&a, once.p, once.len, &f) != 0 || runs_fact_write(&f, &twice) != 0 ||
					once.len != twice.len || memcmp(once.p, twice.p, once.len) != 0))
		abort();
	byte_buf_release(&once);
	byte_buf_release(&twice);
	runs_arena_release(&a);
}

static void history(const uint8_t *p, size_t len)
{
	struct runs_arena a = { 0 };
	struct byte_buf once = { 0 }, twice = { 0 };
	struct runs_history h;

	if (runs_history_read(&a, p, len, &h) == 0 && runs_history_write(&h, &once) == 0 &&
			(runs_history_read(&a, once.p, once.len, &h) != 0 ||
					runs_history_write(&h, &twice) != 0 || once.len != twice.len ||
					memcmp(once.p, twice.p, once.len) != 0))
		abort();
	byte_buf_release(&once);
	byte_buf_release(&twice);
	runs_arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct host h = { 0 };
	uint8_t mode;

	if (size < 5)
		return 0;
	mode = data[0] & 3;
	if (mode == FACT)
		fact(data + 1, size - 1);
	else if (mode == HISTORY)
		history(data + 1, size - 1);
	if (mode == FACT || mode == HISTORY)
		return 0;
	for (int i = 0; i < 2; i++) {
		h.which[i] = data[1 + i] % PATHS;
		h.path[i] = paths[h.which[i]];
	}
	h.lies = mode == LIE;
	data += 3;
	size -= 3;
	if (h.lies) {
		h.lie_len = data[0] | (size_t)data[1] << 8;
		data += 2;
		size -= 2;
		h.lie_len = h.lie_len < size ? h.lie_len : size;
		h.lie = data;
	}
	h.file = data + h.lie_len;
	h.size = size - h.lie_len;
	tree(&h);
	return 0;
}
