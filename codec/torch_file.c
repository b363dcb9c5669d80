/*
 * torch_file.c: opening the containers of torch.
 *
 * Legacy layout, without padding or an end mark:
 *
 *   p0 magic number | p1 1001 | p2 sys_info | p3 the object | p4 [storage keys] | for each key: i64 elements, bytes
 *
 * Five pickles lie one after the other and none says how long it is, so the head of the file is read in
 * growing pieces until all five parse.
 */
#include "codec/torch_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/byte_buf.h"
#include "codec/ckpt_error.h"
#include "codec/codec_pages.h"

enum {
	HEAD_LEN = 512, /* of the file, to tell what it is */
	PICKLES = 5,
	OBJECT = 3,
	KEYS = 4,
};
#define FIRST_PIECE ((uint64_t)1 << 16)

struct torch_file {
	enum torch_container container;
	uint64_t size;
	struct zip *zip;
	const struct zip_entry *pickle_entry;
	size_t prefix_len;

	uint8_t *bytes; /* of the pickle, or of the head of a legacy file */
	size_t bytes_len;
	uint64_t pickle_off; /* in the file */
	uint64_t pickle_len;
	struct pickle *graph;
	struct torch_object *object;
	const struct zip_entry **entry; /* of each storage */
	uint64_t *off;                  /* LEGACY: of each storage's bytes */
};

void torch_file_free(struct torch_file *f)
{
	if (f == NULL)
		return;
	torch_object_free(f->object);
	pickle_free(f->graph);
	zip_free(f->zip);
	free(f->bytes);
	free(f->entry);
	free(f->off);
	free(f);
}

size_t torch_file_memory(const struct torch_file *f)
{
	size_t n = sizeof *f + f->bytes_len;

	if (f->graph != NULL)
		n += pickle_memory(f->graph);
	if (f->object != NULL)
		n += torch_object_memory(f->object) + torch_storages(f->object) * sizeof(uint64_t);
	return n + (f->zip != NULL ? zip_memory(f->zip) : 0);
}

/* What is left of the memory that the whole may take; at least 1, since 0 means no bound. */
static size_t memory_left(const struct torch_file *f, const struct pickle_limits *limits)
{
	size_t used = torch_file_memory(f);

	return used < limits->memory ? limits->memory - used : 1;
}

static uint64_t most_bytes(const struct torch_file *f, const struct pickle_limits *limits)
{
	size_t left = memory_left(f, limits);

	return left < limits->bytes ? left : limits->bytes;
}

static int make_object(
		struct torch_file *f, size_t at, size_t len, const struct pickle_limits *limits, size_t *used)
{
	struct pickle_limits now = *limits;
	int rc;

	now.memory = memory_left(f, limits);
	rc = pickle_parse(f->bytes + at, len, &now, &f->graph, used);
	return rc < 0 ? rc : torch_object_new(f->graph, memory_left(f, limits), &f->object);
}

/*
 * ---- zip
 * -------------------------------------------------------------------------------------------------------
 */

const struct zip_entry *torch_file_record(const struct torch_file *f, const char *name)
{
	char full[ZIP_NAME_MAX + 1];
	size_t len = strlen(name);

	if (f->zip == NULL || len > ZIP_NAME_MAX - f->prefix_len - 1)
		return NULL;
	memcpy(full, zip_at(f->zip, 0)->name, f->prefix_len);
	full[f->prefix_len] = '/';
	memcpy(full + f->prefix_len + 1, name, len);
	return zip_find(f->zip, full, f->prefix_len + 1 + len);
}

/* A record whose bytes can be used as they lie. */
static int check_stored(const struct zip_entry *e)
{
	if (e->method != ZIP_STORED)
		return ckpt_fail(ENOTSUP, "'%.200s' is compressed", e->name);
	return 0;
}

/*
 * torch takes the prefix from the first entry; all must have it, or which record is meant depends on the
 * reader.
 */
static int check_prefix(struct torch_file *f)
{
	const struct zip_entry *first;
	const char *slash;

	if (zip_count(f->zip) == 0)
		return ckpt_fail(EINVAL, "a zip without entries");
	first = zip_at(f->zip, 0);
	slash = strchr(first->name, '/');
	if (slash == NULL || slash == first->name)
		return ckpt_fail(EINVAL, "a zip, but none of torch's");
	f->prefix_len = (size_t)(slash - first->name);
	f->pickle_entry = torch_file_record(f, "data.pkl");
	if (f->pickle_entry == NULL) {
		if (torch_file_record(f, "archive_format") != NULL)
			return ckpt_fail(EINVAL, "an archive of torch.export, which torch.load does not take");
		return ckpt_fail(EINVAL, "a zip, but none of torch's");
	}
	if (zip_ambiguous(f->zip))
		return ckpt_fail(EBADMSG, "names in the zip differ by case only");
	for (size_t i = 1; i < zip_count(f->zip); i++) {
		const struct zip_entry *e = zip_at(f->zip, i);

		if (e->name_len <= f->prefix_len || memcmp(e->name, first->name, f->prefix_len + 1) != 0)
			return ckpt_fail(EBADMSG, "'%.200s' is of another archive", e->name);
	}
	return 0;
}

static int check_byteorder(const struct torch_file *f, codec_read_at read, void *arg)
{
	const struct zip_entry *e = torch_file_record(f, "byteorder");
	char text[8] = "";
	uint64_t off;
	int rc;

	if (e == NULL)
		return 0;
	rc = check_stored(e);
	if (rc == 0 && e->size >= sizeof text)
		rc = ckpt_fail(EBADMSG, "a byte order that is none");
	if (rc == 0)
		rc = zip_data(f->zip, e, read, arg, &off);
	if (rc == 0)
		rc = zip_read_full(read, arg, off, text, (size_t)e->size);
	if (rc < 0)
		return rc;
	if (strcmp(text, "big") == 0)
		return ckpt_fail(ENOTSUP, "its tensors are big-endian");
	return strcmp(text, "little") == 0 ? 0 : ckpt_fail(EBADMSG, "a byte order that is none");
}

/* Whether an entry is the record of a storage with that key. */
static bool is_record(const struct torch_file *f, const struct zip_entry *e, const struct torch_storage *s)
{
	size_t dir = f->prefix_len + 6; /* "/data/" */

	return e->name_len == dir + s->key_len && memcmp(e->name + f->prefix_len, "/data/", 6) == 0 &&
	       memcmp(e->name + dir, s->key, s->key_len) == 0;
}

/*
 * Every storage has a record of its size. torch writes them in the order in which the pickle mentions them:
 * the entry after the last one found is looked at before the table of names.
 */
static int find_records(struct torch_file *f)
{
	char name[ZIP_NAME_MAX + 1] = "data/";
	uint32_t n = torch_storages(f->object);
	size_t next = 0, entries = zip_count(f->zip);

	f->entry = calloc((size_t)n + 1, sizeof *f->entry);
	if (f->entry == NULL)
		return ckpt_fail(ENOMEM, "out of memory for %u storages", n);
	for (uint32_t i = 0; i < n; i++) {
		const struct torch_storage *s = torch_storage_at(f->object, i);
		const struct zip_entry *e = NULL;
		int rc;

		if (next < entries && is_record(f, zip_at(f->zip, next), s)) {
			e = zip_at(f->zip, next);
		} else if (s->key_len < sizeof name - 6 && memchr(s->key, '\0', s->key_len) == NULL) {
			memcpy(name + 5, s->key, s->key_len);
			name[5 + s->key_len] = '\0';
			e = torch_file_record(f, name);
		}
		if (e == NULL)
			return ckpt_fail(EBADMSG, "storage '%.*s' has no record", (int)(s->key_len & 0xff),
					s->key);
		rc = check_stored(e);
		if (rc < 0)
			return rc;
		if (e->size != s->bytes)
			return ckpt_fail(EBADMSG, "'%.200s' is %llu bytes long, and its storage %llu",
					e->name, (unsigned long long)e->size, (unsigned long long)s->bytes);
		f->entry[i] = e;
		next = (size_t)(e - zip_at(f->zip, 0)) + 1;
	}
	return 0;
}

static int open_zip(struct torch_file *f, codec_read_at read, void *arg, const struct pickle_limits *limits)
{
	const struct zip_entry *e;
	size_t used;
	int rc = zip_open(read, arg, f->size, limits->memory, &f->zip);

	if (rc < 0)
		return rc;
	if (zip_base(f->zip) != 0)
		return ckpt_fail(ENOTSUP, "several zips end to end");
	rc = check_prefix(f);
	if (rc < 0)
		return rc;
	e = f->pickle_entry;
	rc = check_stored(e);
	if (rc == 0 && e->size > most_bytes(f, limits))
		rc = ckpt_fail(EFBIG, "a pickle of %llu bytes", (unsigned long long)e->size);
	if (rc == 0)
		rc = check_byteorder(f, read, arg);
	if (rc == 0)
		rc = zip_data(f->zip, e, read, arg, &f->pickle_off);
	if (rc < 0)
		return rc;
	f->container = torch_file_record(f, "constants.pkl") != NULL ? TORCH_SCRIPT : TORCH_ZIP;
	f->pickle_len = e->size;
	f->bytes = codec_pages_new((size_t)e->size + 1);
	f->bytes_len = (size_t)e->size;
	if (f->bytes == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a pickle of %llu bytes",
				(unsigned long long)e->size);
	rc = zip_read_full(read, arg, f->pickle_off, f->bytes, (size_t)e->size);
	if (rc == 0)
		rc = make_object(f, 0, (size_t)e->size, limits, &used);
	return rc < 0 ? rc : find_records(f);
}

/*
 * ---- legacy
 * ----------------------------------------------------------------------------------------------------
 */

/* Whether the value is torch's magic number 0x1950a86a20f9469cfc6c. */
static bool is_magic(const struct pickle *g)
{
	static const char magic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
	size_t len;
	const char *p = pickle_text(g, pickle_root(g), &len);

	return p != NULL && pickle_kind_of(g, pickle_root(g)) == PICKLE_LONG && len == sizeof magic - 1 &&
	       memcmp(p, magic, len) == 0;
}

/* The storages follow `at` in the order of the list of keys. */
static int place_storages(
		struct torch_file *f, const struct pickle *keys, uint64_t at, codec_read_at read, void *arg)
{
	uint32_t n = torch_storages(f->object), done = 0;
	struct pickle_fill fill = { 0 };
	bool on;

	f->off = calloc((size_t)n + 1, sizeof *f->off);
	if (f->off == NULL)
		return ckpt_fail(ENOMEM, "out of memory for %u storages", n);
	if (pickle_kind_of(keys, pickle_root(keys)) != PICKLE_LIST)
		return ckpt_fail(EBADMSG, "legacy torch file: its storage keys are no list");
	for (on = pickle_first_fill(keys, pickle_root(keys), &fill); on; on = pickle_next_fill(keys, &fill))
		for (uint32_t i = 0; i < fill.count; i++) {
			const struct torch_storage *s;
			uint8_t count[8];
			size_t len;
			const char *key = pickle_text(keys, fill.child[i], &len);
			uint32_t number =
					key == NULL ? PICKLE_NIL : torch_storage_of_key(f->object, key, len);
			int rc;

			if (number == PICKLE_NIL || f->off[number] != 0)
				return ckpt_fail(EBADMSG,
						"legacy torch file: a key that no tensor uses, or twice");
			s = torch_storage_at(f->object, number);
			if (f->size - at < sizeof count || s->bytes > f->size - at - sizeof count)
				return ckpt_fail(EBADMSG, "legacy torch file: it ends inside a storage");
			rc = zip_read_full(read, arg, at, count, sizeof count);
			if (rc < 0)
				return rc;
			if (byte_le64(count) != s->count)
				return ckpt_fail(EBADMSG,
						"legacy torch file: a storage of another size than stated");
			f->off[number] = at + sizeof count;
			at += sizeof count + s->bytes;
			done++;
		}
	return done == n ? 0 : ckpt_fail(EBADMSG, "legacy torch file: a storage without a key");
}

/*
 * Parses the pickles at the head, of which `have` bytes are here.  -ENODATA: they go on beyond these.  The
 * object's graph and the keys' (which the caller frees) borrow f->bytes.
 */
static int parse_legacy(struct torch_file *f, size_t have, const struct pickle_limits *limits,
		struct pickle **keys, size_t *end)
{
	struct pickle_limits now = *limits;
	size_t pos = 0;

	for (unsigned i = 0; i < PICKLES; i++) {
		struct pickle *g = NULL;
		size_t used;
		int rc;

		now.memory = memory_left(f, limits);
		rc = pickle_parse(f->bytes + pos, have - pos, &now, &g, &used);

		if (rc == -EBADMSG && have < f->size)
			return -ENODATA;
		if (rc < 0)
			return rc;
		if (i == 0 && !is_magic(g)) {
			pickle_free(g);
			return -EINVAL;
		}
		if (i == OBJECT) {
			f->graph = g;
			f->pickle_off = pos;
			f->pickle_len = used;
		} else if (i == KEYS) {
			*keys = g;
		} else {
			pickle_free(g);
		}
		pos += used;
	}
	*end = pos;
	return 0;
}

/* Reads the first `want` bytes of the file, of which *have are in f->bytes. */
static int read_head(struct torch_file *f, codec_read_at read, void *arg, size_t want, size_t *have)
{
	uint8_t *p = realloc(f->bytes, want + 1);
	int rc;

	if (p == NULL)
		return ckpt_fail(ENOMEM, "out of memory for the first %zu bytes of a file", want);
	f->bytes = p;
	f->bytes_len = want;
	rc = zip_read_full(read, arg, *have, f->bytes + *have, want - *have);
	if (rc == 0)
		*have = want;
	return rc;
}

static int open_legacy(
		struct torch_file *f, codec_read_at read, void *arg, const struct pickle_limits *limits)
{
	uint64_t bound = most_bytes(f, limits), most = bound < f->size ? bound : f->size, piece = FIRST_PIECE;
	struct pickle *keys = NULL;
	size_t have = 0, end = 0;
	int rc;

	do {
		rc = read_head(f, read, arg, (size_t)(piece < most ? piece : most), &have);
		if (rc < 0)
			return rc;
		rc = parse_legacy(f, have, limits, &keys, &end);
		if (rc == -ENODATA) {
			pickle_free(f->graph);
			f->graph = NULL;
			if (have == most)
				rc = ckpt_fail(EFBIG, "its pickles take more than %llu bytes",
						(unsigned long long)most);
		}
		piece *= 4; /* five parses of a pickle at most cost a third more than the last */
	} while (rc == -ENODATA);
	if (rc == 0)
		rc = torch_object_new(f->graph, memory_left(f, limits), &f->object);
	if (rc == 0)
		rc = place_storages(f, keys, end, read, arg);
	pickle_free(keys);
	if (rc == 0)
		f->container = TORCH_LEGACY;
	return rc;
}

/* One pickle, and nothing behind it. */
static int open_pickle(
		struct torch_file *f, codec_read_at read, void *arg, const struct pickle_limits *limits)
{
	size_t have = 0, used = 0;
	int rc;

	if (f->size > most_bytes(f, limits))
		return ckpt_fail(EFBIG, "a pickle of %llu bytes", (unsigned long long)f->size);
	rc = read_head(f, read, arg, (size_t)f->size, &have);
	if (rc == 0)
		rc = make_object(f, 0, have, limits, &used);
	if (rc < 0)
		return rc;
	if (used != have)
		return ckpt_fail(ENOTSUP, "a pickle with something behind it");
	if (torch_storages(f->object) > 0)
		return ckpt_fail(EBADMSG, "a pickle whose tensors are nowhere");
	f->container = TORCH_PICKLE;
	f->pickle_len = used;
	return 0;
}

/*
 * ---- all
 * -------------------------------------------------------------------------------------------------------
 */

/*
 * A pickle of protocol 2 and above tells itself by its first opcode; p0 of a legacy file is its magic number.
 * What older protocols write begins like text and is taken for none.
 */
static int open_kind(struct torch_file *f, codec_read_at read, void *arg, const struct pickle_limits *limits)
{
	static const char magic[] = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
	uint8_t head[HEAD_LEN] = { 0 };
	size_t n = f->size < sizeof head ? (size_t)f->size : sizeof head;
	int rc = zip_read_full(read, arg, 0, head, n);

	if (rc < 0)
		return rc;
	if (n >= 4 && memcmp(head, "PK\3\4", 4) == 0)
		return open_zip(f, read, arg, limits);
	if (n >= 262 && memcmp(head, "sys_info", 8) == 0 && memcmp(head + 257, "ustar", 5) == 0)
		return ckpt_fail(ENOTSUP, "a tar of torch before 0.1.12");
	if (n < 4 || head[0] != 0x80 || head[1] < 1 || head[1] > 5)
		return ckpt_fail(EINVAL, "no file of torch's");
	if (memcmp(head + 2, magic, sizeof magic - 1) == 0 ||
			(head[1] >= 4 && head[2] == 0x95 && memcmp(head + 11, magic, sizeof magic - 1) == 0))
		return open_legacy(f, read, arg, limits);
	return open_pickle(f, read, arg, limits);
}

int torch_file_open(codec_read_at read, void *arg, uint64_t size, const struct pickle_limits *limits,
		struct torch_file **out)
{
	struct torch_file *f = calloc(1, sizeof *f);
	int rc;

	if (f == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a torch file");
	f->size = size;
	rc = open_kind(f, read, arg, limits != NULL ? limits : &pickle_limits_default);
	if (rc < 0) {
		torch_file_free(f);
		return rc;
	}
	*out = f;
	return 0;
}

enum torch_container torch_file_container(const struct torch_file *f)
{
	return f->container;
}

const struct pickle *torch_file_graph(const struct torch_file *f)
{
	return f->graph;
}

const struct torch_object *torch_file_object(const struct torch_file *f)
{
	return f->object;
}

uint64_t torch_file_size(const struct torch_file *f)
{
	return f->size;
}

uint64_t torch_file_pickle(const struct torch_file *f, uint64_t *len)
{
	*len = f->pickle_len;
	return f->pickle_off;
}

const struct zip *torch_file_zip(const struct torch_file *f)
{
	return f->zip;
}

const struct zip_entry *torch_file_pickle_entry(const struct torch_file *f)
{
	return f->pickle_entry;
}

const char *torch_file_prefix(const struct torch_file *f, size_t *len)
{
	*len = f->prefix_len;
	return f->zip != NULL ? zip_at(f->zip, 0)->name : "";
}

const struct zip_entry *torch_file_storage_entry(const struct torch_file *f, uint32_t storage)
{
	return f->entry != NULL ? f->entry[storage] : NULL;
}

int torch_file_storage(
		const struct torch_file *f, uint32_t storage, codec_read_at read, void *arg, uint64_t *off)
{
	if (f->entry != NULL)
		return zip_data(f->zip, f->entry[storage], read, arg, off);
	*off = f->off[storage];
	return 0;
}

int torch_file_tensor(const struct torch_file *f, const struct torch_tensor *t, codec_read_at read, void *arg,
		uint64_t *off, uint64_t *len)
{
	const struct torch_dtype_info *info = torch_dtype_info((enum torch_dtype)t->dtype);
	const uint64_t *size = torch_size(f->object, t), *stride = torch_stride(f->object, t);
	uint64_t at, last = 0;
	int rc;

	if (t->storage == PICKLE_NIL || info->packed)
		return ckpt_fail(EINVAL, "a tensor whose elements lie nowhere by themselves");
	rc = torch_file_storage(f, t->storage, read, arg, &at);
	if (rc < 0)
		return rc;
	/* The bounds were checked when the tensor was found: nothing here overflows, unless it is empty. */
	for (uint32_t i = 0; t->count > 0 && i < t->ndim; i++)
		last += (size[i] - 1) * stride[i];
	*off = t->count > 0 ? at + t->offset * info->width : at;
	*len = t->count > 0 ? (last + 1) * info->width : 0;
	return 0;
}
