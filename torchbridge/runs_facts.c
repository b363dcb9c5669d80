/*
 * runs_facts.c: what a file says of itself: recalled, or found out and remembered.
 *
 * Facts hold for a file's content and the way its name is taken ("args" is written as JSON where a bare
 * pickle is not), so the key that they are remembered under names that.  The history in a file (metrics of
 * earlier experiences) may be as long as the training was, and only the newest one counts: it is remembered
 * apart.
 */
#include "runs_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "codec/ckpt_error.h"
#include "codec/codec_hash.h"

int64_t runs_read(void *arg, uint64_t off, void *buf, size_t len)
{
	struct runs_reader *r = arg;

	return r->files->read(r->files->arg, r->path, off, buf, len);
}

int runs_read_all(const struct bridge_files *files, const char *path, uint64_t size, char **out, size_t *len)
{
	char *p;
	size_t at = 0;

	if (size > RUNS_TEXT_MAX)
		return ckpt_fail(EFBIG, "\"%s\" is larger than a file of metrics should be", path);
	p = malloc((size_t)size + 1);
	if (p == NULL)
		return ckpt_fail(ENOMEM, "out of memory for \"%s\"", path);
	while (at < size) {
		int64_t n = files->read(files->arg, path, at, p + at, (size_t)size - at);

		if (n < 0) {
			free(p);
			return (int)n;
		}
		if (n == 0)
			break;
		at += (size_t)n;
	}
	p[at] = 0;
	*out = p;
	*len = at;
	return 0;
}

static void key_of(const struct runs_name *n, const char *what, char out[48])
{
	const char *role = n->role == RUNS_FILE     ? "file"
			   : n->role == RUNS_BESIDE ? "beside"
						    : runs_component_name(n->component);

	snprintf(out, 48, "runs.%d.%s.%s", BRIDGE_FACTS, what, role);
}

/*
 * Whether a file that nobody knows was cut off: empty, or zeros (made at its length and never written), or
 * so it looks.
 */
static bool cut_off(struct runs_reader *r, uint64_t size)
{
	uint8_t head[64];
	int64_t n;

	if (size == 0)
		return true;
	if (codec_container_state(runs_read, r, size) == CODEC_CONTAINER_TORN)
		return true;
	n = runs_read(r, 0, head, sizeof head);
	for (int64_t i = 0; i < n; i++)
		if (head[i] != 0)
			return false;
	return n > 0;
}

static int torn(struct runs_making *m)
{
	const char *why = ckpt_errmsg();

	m->fact.state = RUNS_TORN;
	m->fact.why = runs_text(m->arena, why, strnlen(why, 1000));
	return m->fact.why == NULL ? -ENOMEM : 0;
}

static int from_document(struct runs_making *m, struct runs_reader *r, const struct runs_name *n,
		const struct bridge_doc *d, const char *base)
{
	const struct torch_file *f = bridge_doc_torch(d);
	const struct safetensors *s = bridge_doc_safetensors(d);
	uint64_t hash = 1;

	m->fact.state = RUNS_READABLE;
	if (strcmp(base, ".metadata") == 0)
		return f != NULL ? runs_facts_shards(m, f, r)
				 : ckpt_fail(EBADMSG, "\".metadata\" is no pickle");
	if (f != NULL && torch_file_container(f) == TORCH_SCRIPT) {
		m->fact.kind = RUNS_IS_MODEL;
		return 0;
	}
	if (f != NULL)
		return runs_facts_torch(m, f, r, n);
	if (s == NULL)
		return 0;
	m->fact.kind = RUNS_IS_MODEL;
	for (size_t i = 0; i < safetensors_count(s); i++) {
		const struct safetensors_entry *x = safetensors_at(s, i);

		hash = hash * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)codec_check(x->name, x->name_len) +
		       x->len;
	}
	m->fact.shape = hash | 1;
	return 0;
}

static int from_text(struct runs_making *m, struct runs_reader *r, const char *base, uint64_t size)
{
	bool csv = strcasecmp(base + strlen(base) - 4, ".csv") == 0;
	char *text;
	size_t len;
	int rc = runs_read_all(r->files, r->path, size, &text, &len);

	m->fact.state = RUNS_READABLE;
	m->fact.kind = RUNS_IS_TEXT;
	if (rc < 0)
		return rc == -EFBIG ? 0 : rc;
	rc = csv ? runs_facts_csv(m, text, len) : runs_facts_json(m, base, text, len);
	free(text);
	return rc;
}

/* Finds out. Fails for what is no fault of the file, and with what reading failed with. */
static int make(struct runs_making *m, struct runs_reader *r, const struct runs_name *n, uint64_t size)
{
	const char *base = strrchr(r->path, '/');
	const struct bridge_doc *d;
	int rc;

	base = base != NULL ? base + 1 : r->path;
	if (n->role == RUNS_BESIDE)
		return from_text(m, r, base, size);
	rc = r->files->doc(r->files->arg, r->path, &d);
	if (rc == 0) {
		rc = from_document(m, r, n, d, base);
		r->files->put(r->files->arg, d);
		return rc == -EBADMSG ? torn(m) : rc;
	}
	if (rc == -EBADMSG)
		return torn(m);
	if (rc == -ENOTSUP || rc == -EFBIG) {
		m->fact.state = RUNS_OPAQUE;
		return n->suffix > 0 && strcasecmp(base + n->suffix, ".zip") == 0 ? runs_facts_zip(m, r, size)
										  : 0;
	}
	if (rc != -EINVAL)
		return rc;
	m->fact.state = RUNS_UNKNOWN;
	if (strcasecmp(base + n->suffix, ".zip") == 0) {
		rc = runs_facts_zip(m, r, size);
		return rc == -EBADMSG ? torn(m) : rc;
	}
	if ((n->torch || n->role == RUNS_COMPONENT) && cut_off(r, size)) {
		ckpt_fail(EBADMSG, size == 0 ? "it is empty" : "its end is missing");
		return torn(m);
	}
	return 0;
}

static const struct runs_fact blank = { .framework = -1,
	.experience = RUNS_NONE,
	.epoch = RUNS_NONE,
	.step = RUNS_NONE,
	.why = "",
	.best = "",
	.best_key = "",
	.best_value = (double)NAN };

static void remember(const struct bridge_files *files, const char *path, const struct runs_name *n,
		struct runs_making *m)
{
	struct byte_buf bytes = { 0 };
	char key[48];

	if (m->history.count > 0) {
		key_of(n, "history", key);
		if (runs_history_write(&m->history, &bytes) == 0)
			files->remember(files->arg, path, key, bytes.p, bytes.len);
		bytes.len = 0;
	}
	key_of(n, "fact", key);
	if (runs_fact_write(&m->fact, &bytes) == 0)
		files->remember(files->arg, path, key, bytes.p, bytes.len);
	byte_buf_release(&bytes);
}

void runs_fact_forget(const struct bridge_files *files, const char *path, const struct runs_name *name)
{
	static const char *const what[] = { "fact", "history" };
	char key[48];

	/* No bytes are no fact. */
	for (size_t i = 0; i < sizeof what / sizeof what[0]; i++) {
		key_of(name, what[i], key);
		files->remember(files->arg, path, key, "", 0);
	}
}

int runs_fact_of(const struct bridge_files *files, struct runs_arena *a, const char *path,
		const struct runs_name *name, uint64_t size, const struct runs_fact **out)
{
	struct runs_reader reader = { files, path };
	struct runs_making m = { .arena = a };
	struct runs_fact *f = runs_alloc(a, 1, sizeof *f);
	uint8_t *p = NULL;
	char key[48];
	size_t len;
	int rc;

	if (f == NULL)
		return -ENOMEM;
	key_of(name, "fact", key);
	rc = files->recall(files->arg, path, key, &p, &len);
	if (rc == 0) {
		rc = runs_fact_read(a, p, len, f);
		free(p);
		if (rc == 0) {
			f->recalled = true;
			*out = f;
			return 0;
		}
	}
	m.fact = blank;
	rc = make(&m, &reader, name, size);
	if (rc == 0)
		remember(files, path, name, &m);
	else if (rc != -ENOMEM)
		rc = torn(&m); /* it could not be read now */
	if (rc == 0) {
		*f = m.fact;
		/* The arrays move from the heap to the arena. */
		f->part = runs_alloc(a, f->parts, sizeof *f->part);
		f->scalar = runs_alloc(a, f->scalars, sizeof *f->scalar);
		f->need = runs_alloc(a, f->needs, sizeof *f->need);
		if (f->part == NULL || f->scalar == NULL || f->need == NULL) {
			rc = -ENOMEM;
		} else {
			memcpy(f->part, m.fact.parts > 0 ? (void *)m.fact.part : "",
					f->parts * sizeof *f->part);
			memcpy(f->scalar, m.fact.scalars > 0 ? (void *)m.fact.scalar : "",
					f->scalars * sizeof *f->scalar);
			memcpy(f->need, m.fact.needs > 0 ? (void *)m.fact.need : "",
					f->needs * sizeof *f->need);
			*out = f;
		}
	}
	runs_making_release(&m);
	return rc;
}

int runs_history_of(const struct bridge_files *files, struct runs_arena *a, const char *path,
		const struct runs_name *name, uint64_t size, struct runs_history *out)
{
	struct runs_reader reader = { files, path };
	struct runs_making m = { .arena = a };
	uint8_t *p = NULL;
	char key[48];
	size_t len;
	int rc;

	key_of(name, "history", key);
	rc = files->recall(files->arg, path, key, &p, &len);
	if (rc == 0) {
		rc = runs_history_read(a, p, len, out);
		free(p);
		if (rc == 0)
			return 0;
	}
	m.fact = blank;
	rc = make(&m, &reader, name, size);
	if (rc == 0)
		remember(files, path, name, &m);
	*out = (struct runs_history){ 0 };
	if (rc == 0 && m.history.count > 0) {
		out->record = runs_alloc(a, m.history.count, sizeof *out->record);
		if (out->record == NULL)
			rc = -ENOMEM;
		else
			memcpy(out->record, m.history.record, m.history.count * sizeof *out->record),
					out->count = m.history.count;
	}
	runs_making_release(&m);
	return rc == -ENOMEM ? rc : 0;
}
