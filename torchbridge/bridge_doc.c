/*
 * bridge_doc.c: finding out what a file is.
 *
 * The first bytes say which format may be meant.  Zips are tried as torch's first, since those are most: "a
 * zip, but none of torch's" may be an .npz, "several zips end to end" is a .distcp.
 */
#include "bridge_doc.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

enum {
	MEMBER_NAME = 24, /* of a .distcp: a number */
	ITEMS_MAX = 1 << 16,
	SNIFF = 16,
};
#define MEMORY_DEFAULT ((size_t)1 << 30)

struct bridge_doc {
	enum bridge_kind kind;
	uint64_t size;
	size_t memory; /* of all but the places */
	struct torch_file *torch;
	struct safetensors *safetensors;
	struct npy_header npy;
	struct zip *zip; /* NPZ: names are in it */
	struct bridge_member *member;
	char *names;
	size_t members;

	pthread_mutex_t lock; /* guards `places`, which is set once; a leaf */
	struct torch_places *places;
};

void bridge_doc_free(struct bridge_doc *d)
{
	if (d == NULL)
		return;
	torch_places_free(d->places);
	for (size_t i = 0; i < d->members; i++)
		torch_file_free(d->member[i].torch);
	free(d->member);
	free(d->names);
	zip_free(d->zip);
	safetensors_free(d->safetensors);
	torch_file_free(d->torch);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

/* Bytes [base, base + size) of a file as a file. */
struct part {
	codec_read_at read;
	void *arg;
	uint64_t base, size;
};

static int64_t read_part(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct part *p = arg;

	if (off >= p->size)
		return 0;
	if (len > p->size - off)
		len = (size_t)(p->size - off);
	return p->read(p->arg, p->base + off, buf, len);
}

static struct pickle_limits limits_of(size_t memory)
{
	struct pickle_limits limits = pickle_limits_default;

	limits.memory = memory;
	return limits;
}

/*
 * ---- .distcp
 * ---------------------------------------------------------------------------------------------------
 */

/* How many zips lie end to end, and where each begins, from the last one on. */
static int find_items(uint64_t size, codec_read_at read, void *arg, size_t most, struct byte_buf *starts)
{
	while (size > 0) {
		struct zip *z;
		int rc = zip_open(read, arg, size, most, &z);

		if (rc < 0)
			return rc;
		rc = zip_end(z) == size ? byte_buf_le(starts, zip_base(z), 8)
					: ckpt_fail(EBADMSG, "something lies between its zips");
		size = zip_base(z);
		zip_free(z);
		if (rc < 0)
			return rc;
		if (starts->len > ITEMS_MAX * 8)
			return ckpt_fail(EFBIG, "more than %d zips end to end", ITEMS_MAX);
	}
	return 0;
}

static int open_item(struct bridge_doc *d, size_t i, uint64_t off, uint64_t len, codec_read_at read,
		void *arg, size_t most)
{
	struct bridge_member *m = &d->member[i];
	struct part part = { read, arg, off, len };
	struct pickle_limits limits = limits_of(most);
	char *name = d->names + i * MEMBER_NAME;

	snprintf(name, MEMBER_NAME, "%zu", i);
	m->name = name;
	m->off = off;
	m->len = len;
	return torch_file_open(read_part, &part, len, &limits, &m->torch);
}

static int open_distcp(struct bridge_doc *d, codec_read_at read, void *arg, size_t most)
{
	struct byte_buf starts = { 0 };
	size_t n = 0;
	int rc = find_items(d->size, read, arg, most, &starts);

	if (rc < 0)
		goto out;
	n = starts.len / 8;
	d->member = calloc(n, sizeof *d->member);
	d->names = calloc(n, MEMBER_NAME);
	if (d->member == NULL || d->names == NULL) {
		rc = ckpt_fail(ENOMEM, "out of memory for %zu items", n);
		goto out;
	}
	d->memory += n * (sizeof *d->member + MEMBER_NAME);
	for (size_t i = 0; i < n; i++) {
		uint64_t off = byte_le64(starts.p + 8 * (n - 1 - i));
		uint64_t end = i + 1 < n ? byte_le64(starts.p + 8 * (n - 2 - i)) : d->size;

		rc = d->memory < most
				     ? open_item(d, i, off, end - off, read, arg, most - d->memory)
				     : ckpt_fail(EFBIG, "its items take more than %zu bytes of memory", most);
		if (rc == -EINVAL)
			rc = ckpt_fail(ENOTSUP, "several zips end to end, and not all of torch's");
		if (rc < 0)
			goto out;
		d->members = i + 1;
		d->memory += torch_file_memory(d->member[i].torch);
	}
	d->kind = BRIDGE_DISTCP;
out:
	byte_buf_release(&starts);
	return rc;
}

/*
 * ---- numpy
 * -----------------------------------------------------------------------------------------------------
 */

/* Reads the head of a .npy of `len` bytes at off. */
static int read_npy(codec_read_at read, void *arg, uint64_t off, uint64_t len, struct npy_header *out)
{
	size_t n = 256;
	uint8_t *p = NULL;
	int rc;

	for (;;) {
		uint8_t *now;

		n = n < len ? n : (size_t)len;
		now = realloc(p, n + 1);
		if (now == NULL) {
			rc = ckpt_fail(ENOMEM, "out of memory for a .npy");
			break;
		}
		p = now;
		rc = zip_read_full(read, arg, off, p, n);
		if (rc == 0)
			rc = npy_read_header(p, n, out);
		if (rc != -ENODATA || n == len || n >= NPY_HEAD_MAX)
			break;
		n *= 16;
	}
	free(p);
	if (rc == -ENODATA)
		rc = ckpt_fail(EBADMSG, "a .npy ends inside its head");
	if (rc == 0 && (len < out->length || len - out->length < out->bytes))
		rc = ckpt_fail(EBADMSG, "a .npy is shorter than its head says");
	return rc;
}

static int open_member(struct bridge_doc *d, const struct zip_entry *e, codec_read_at read, void *arg)
{
	struct bridge_member *m = &d->member[d->members];
	char *name = d->names + (e->name - zip_at(d->zip, 0)->name);
	int rc;

	if (e->method != ZIP_STORED)
		return ckpt_fail(ENOTSUP, "'%.200s' is compressed", e->name);
	memcpy(name, e->name, e->name_len - 4);
	m->name = name;
	m->len = e->size;
	rc = zip_data(d->zip, e, read, arg, &m->off);
	if (rc == 0)
		rc = read_npy(read, arg, m->off, m->len, &m->npy);
	if (rc == -EINVAL)
		rc = ckpt_fail(EBADMSG, "'%.200s' is no .npy", e->name);
	d->members += rc == 0;
	return rc;
}

/*
 * Sound files of numpy's that are not gone into (records, objects, compressed ones) are as good as files of no
 * kind that is known.
 */
static int unknown_if_sound(int rc)
{
	return rc == -ENOTSUP ? -EINVAL : rc;
}

/* A zip whose entries are all called .npy. */
static int open_npz(struct bridge_doc *d, codec_read_at read, void *arg, size_t most)
{
	size_t n, names = 1;
	int rc = zip_open(read, arg, d->size, most, &d->zip);

	if (rc < 0)
		return rc;
	n = zip_count(d->zip);
	for (size_t i = 0; i < n; i++) {
		const struct zip_entry *e = zip_at(d->zip, i);

		if (e->name_len <= 4 || memcmp(e->name + e->name_len - 4, ".npy", 4) != 0)
			return ckpt_fail(EINVAL, "a zip of something else");
		names += e->name_len + 1;
	}
	d->memory += zip_memory(d->zip) + n * sizeof *d->member + names;
	if (n == 0 || d->memory > most)
		return n == 0 ? ckpt_fail(EINVAL, "a zip without entries")
			      : ckpt_fail(EFBIG, "its members take more than %zu bytes of memory", most);
	d->member = calloc(n, sizeof *d->member);
	d->names = calloc(names, 1);
	if (d->member == NULL || d->names == NULL)
		return ckpt_fail(ENOMEM, "out of memory for %zu members", n);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = open_member(d, zip_at(d->zip, i), read, arg);
	d->kind = BRIDGE_NPZ;
	return unknown_if_sound(rc);
}

/*
 * ---- all
 * -------------------------------------------------------------------------------------------------------
 */

static int open_torch(struct bridge_doc *d, codec_read_at read, void *arg, size_t most)
{
	struct pickle_limits limits = limits_of(most);
	int rc = torch_file_open(read, arg, d->size, &limits, &d->torch);

	if (rc == 0) {
		d->kind = BRIDGE_TORCH;
		d->memory += torch_file_memory(d->torch);
	}
	return rc;
}

static int open_zip(struct bridge_doc *d, codec_read_at read, void *arg, size_t most)
{
	struct zip *z;
	int rc = open_torch(d, read, arg, most);

	if (rc == -EINVAL)
		return open_npz(d, read, arg, most);
	if (rc == -ENOTSUP && zip_open(read, arg, d->size, most, &z) == 0) {
		if (zip_base(z) != 0)
			rc = open_distcp(d, read, arg, most);
		zip_free(z);
	}
	return rc;
}

static int open_kind(struct bridge_doc *d, codec_read_at read, void *arg, size_t most)
{
	uint8_t head[SNIFF];
	int rc = bridge_doc_sniff(read, arg, d->size);

	if (rc == 0)
		rc = zip_read_full(read, arg, 0, head, sizeof head < d->size ? sizeof head : (size_t)d->size);
	if (rc < 0)
		return rc;
	if (memcmp(head, "PK\3\4", 4) == 0)
		return open_zip(d, read, arg, most);
	if (memcmp(head, "\x93NUMPY", 6) == 0) {
		d->kind = BRIDGE_NPY;
		return unknown_if_sound(read_npy(read, arg, 0, d->size, &d->npy));
	}
	if (head[0] == 0x80)
		rc = open_torch(d, read, arg, most);
	if (d->torch != NULL || (rc < 0 && rc != -EINVAL))
		return rc;
	if (byte_le64(head) > most / 4)
		return ckpt_fail(EFBIG, "a safetensors header of %llu bytes",
				(unsigned long long)byte_le64(head));
	d->kind = BRIDGE_SAFETENSOR;
	rc = safetensors_open(read, arg, d->size, &d->safetensors);
	if (rc == 0)
		d->memory += safetensors_memory(d->safetensors);
	return rc;
}

int bridge_doc_open(codec_read_at read, void *arg, uint64_t size, size_t memory, struct bridge_doc **out)
{
	struct bridge_doc *d = calloc(1, sizeof *d);
	int rc;

	if (d == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a document");
	pthread_mutex_init(&d->lock, NULL);
	d->size = size;
	d->memory = sizeof *d;
	rc = open_kind(d, read, arg, memory > 0 ? memory : MEMORY_DEFAULT);
	if (rc < 0) {
		bridge_doc_free(d);
		return rc;
	}
	*out = d;
	return 0;
}

int bridge_doc_sniff(codec_read_at read, void *arg, uint64_t size)
{
	uint8_t head[SNIFF] = { 0 };
	uint64_t n;
	int rc;

	if (size < 4)
		return ckpt_fail(EINVAL, "a file of %llu bytes", (unsigned long long)size);
	rc = zip_read_full(read, arg, 0, head, size < sizeof head ? (size_t)size : sizeof head);
	if (rc < 0)
		return rc;
	n = byte_le64(head);
	if (memcmp(head, "PK\3\4", 4) == 0 || memcmp(head, "\x93NUMPY", 6) == 0 ||
			(head[0] == 0x80 && head[1] >= 1 && head[1] <= 5) ||
			(size >= 10 && n >= 2 && n <= SAFETENSORS_READ_MAX && n <= size - 8 &&
					(head[8] == '{' || head[8] == ' ')))
		return 0;
	return ckpt_fail(EINVAL, "no file that has views");
}

enum bridge_kind bridge_doc_kind(const struct bridge_doc *d)
{
	return d->kind;
}

uint64_t bridge_doc_size(const struct bridge_doc *d)
{
	return d->size;
}

size_t bridge_doc_memory(const struct bridge_doc *d)
{
	struct bridge_doc *own = (struct bridge_doc *)d;
	size_t n;

	pthread_mutex_lock(&own->lock);
	n = d->memory + (d->places != NULL ? torch_places_memory(d->places) : 0);
	pthread_mutex_unlock(&own->lock);
	return n;
}

const struct torch_file *bridge_doc_torch(const struct bridge_doc *d)
{
	return d->torch;
}

/* What a document is does not change by this, so it may be asked of a const one. */
int bridge_doc_places(const struct bridge_doc *d, const struct torch_places **out)
{
	struct bridge_doc *own = (struct bridge_doc *)d;
	int rc = 0;

	if (d->torch == NULL)
		return ckpt_fail(EINVAL, "no torch file");
	pthread_mutex_lock(&own->lock);
	if (own->places == NULL)
		rc = torch_places_new(torch_file_object(d->torch), &own->places);
	if (rc == 0)
		*out = own->places;
	pthread_mutex_unlock(&own->lock);
	return rc;
}

const struct safetensors *bridge_doc_safetensors(const struct bridge_doc *d)
{
	return d->safetensors;
}

const struct npy_header *bridge_doc_npy(const struct bridge_doc *d)
{
	return d->kind == BRIDGE_NPY ? &d->npy : NULL;
}

size_t bridge_doc_members(const struct bridge_doc *d)
{
	return d->members;
}

const struct bridge_member *bridge_doc_member(const struct bridge_doc *d, size_t i)
{
	return &d->member[i];
}
