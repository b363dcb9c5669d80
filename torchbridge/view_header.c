/*
 * view_header.c: the header of a safetensors file.
 */
#include "view_header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "codec/ckpt_error.h"
#include "codec/safetensors_read.h"
#include "json_put.h"

enum { WIDEST = 16, NAME_MAX_BYTES = 1 << 20, ITEMS_MAX = 1 << 20 };

struct item {
	size_t name, name_len;   /* in `text` */
	size_t value, value_len; /* of metadata */
	bool meta;
	struct view_header_tensor t;
};

struct view_header {
	struct byte_buf text;
	struct item *item;
	size_t items, item_cap;
	uint32_t *place; /* hash table of names: item + 1; a power of 2 places */
	size_t places;
	uint64_t seed; /* of the table: names can't be made to collide */
};

int view_header_new(struct view_header **out)
{
	struct view_header *h = calloc(1, sizeof *h);
	struct timespec now;

	if (h == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a header");
	clock_gettime(CLOCK_MONOTONIC, &now);
	h->seed = (uint64_t)now.tv_nsec ^ (uint64_t)(uintptr_t)h << 20;
	*out = h;
	return 0;
}

void view_header_free(struct view_header *h)
{
	if (h == NULL)
		return;
	byte_buf_release(&h->text);
	free(h->item);
	free(h->place);
	free(h);
}

/*
 * ---- names
 * -----------------------------------------------------------------------------------------------------
 */

/* Bytes of the UTF-8 sequence at p, or 0 where there is none (RFC 3629). */
static size_t sequence(const uint8_t *p, size_t len)
{
	uint32_t c;
	size_t n = p[0] < 0x80   ? 1
		   : p[0] < 0xc2 ? 0
		   : p[0] < 0xe0 ? 2
		   : p[0] < 0xf0 ? 3
		   : p[0] < 0xf5 ? 4
				 : 0;

	if (n == 0 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if (n == 3) {
		c = (uint32_t)(p[0] & 15) << 12 | (uint32_t)(p[1] & 63) << 6;
		return c < 0x800 || (c >= 0xd800 && c < 0xe000) ? 0 : 3;
	}
	if (n == 4)
		return (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f) ? 0 : 4;
	return n;
}

/* Appends a text as valid UTF-8. */
static int put_text(struct view_header *h, const char *text, size_t len, size_t *off, size_t *out_len)
{
	const uint8_t *p = (const uint8_t *)text;
	int rc = 0;

	*off = h->text.len;
	if (len > NAME_MAX_BYTES)
		return ckpt_fail(EFBIG, "a name of %zu bytes", len);
	while (rc == 0 && len > 0) {
		size_t n = sequence(p, len);

		rc = n > 0 ? byte_buf_put(&h->text, p, n) : byte_buf_put(&h->text, "\xef\xbf\xbd", 3);
		p += n > 0 ? n : 1;
		len -= n > 0 ? n : 1;
	}
	*out_len = h->text.len - *off;
	if (rc == 0 && h->text.len > SAFETENSORS_READ_MAX)
		rc = ckpt_fail(EFBIG, "its names are longer than a safetensors header may be");
	return rc;
}

/* The place in the table where the name is, or would be. */
static size_t place_of(const struct view_header *h, const uint8_t *name, size_t len)
{
	size_t i = XXH3_64bits_withSeed(name, len, h->seed) & (h->places - 1);

	for (; h->place[i] != 0; i = (i + 1) & (h->places - 1)) {
		const struct item *x = &h->item[h->place[i] - 1];

		if (x->name_len == len && memcmp(h->text.p + x->name, name, len) == 0)
			break;
	}
	return i;
}

static bool taken(const struct view_header *h, const uint8_t *name, size_t len)
{
	if (len == 12 && memcmp(name, "__metadata__", 12) == 0)
		return true;
	return h->places > 0 && h->place[place_of(h, name, len)] != 0;
}

bool view_header_has(const struct view_header *h, const char *name, size_t len)
{
	return taken(h, (const uint8_t *)name, len);
}

static int grow(struct view_header *h)
{
	size_t cap = h->item_cap > 0 ? h->item_cap * 2 : 64;
	struct item *item;
	uint32_t *place;

	if (h->items < h->item_cap)
		return 0;
	if (cap > ITEMS_MAX)
		return ckpt_fail(EFBIG, "more tensors than a view shows as safetensors");
	item = realloc(h->item, cap * sizeof *item);
	place = calloc(2 * cap, sizeof *place);
	if (item != NULL)
		h->item = item;
	if (item == NULL || place == NULL) {
		free(place);
		return ckpt_fail(ENOMEM, "out of memory for a header of %zu tensors", cap);
	}
	free(h->place);
	h->place = place;
	h->places = 2 * cap;
	h->item_cap = cap;
	for (size_t i = 0; i < h->items; i++)
		place[place_of(h, h->text.p + h->item[i].name, h->item[i].name_len)] = (uint32_t)i + 1;
	return 0;
}

/*
 * Enters a name that nobody has. From "~16" on numbers grow faster, so that n equal names take some n * log n
 * steps and not n * n.
 */
static int enter(struct view_header *h, const char *name, size_t len, struct item *x)
{
	size_t base;
	uint64_t step = 1, n = 1;
	int rc = grow(h);

	if (rc == 0)
		rc = put_text(h, name, len, &x->name, &x->name_len);
	base = x->name_len;
	while (rc == 0 && taken(h, h->text.p + x->name, x->name_len)) {
		h->text.len = x->name + base;
		n += step;
		step = n < 16 ? 1 : n / 8;
		rc = byte_buf_format(&h->text, "~%llu", (unsigned long long)n);
		x->name_len = h->text.len - x->name;
	}
	if (rc < 0)
		return rc;
	h->place[place_of(h, h->text.p + x->name, x->name_len)] = (uint32_t)h->items + 1;
	h->item[h->items++] = *x;
	return 0;
}

int view_header_add(struct view_header *h, const char *name, size_t len, const struct view_header_tensor *t)
{
	struct item x = { .t = *t };

	return enter(h, name, len, &x);
}

int view_header_pair(
		struct view_header *h, const char *key, size_t key_len, const char *value, size_t value_len)
{
	struct item x = { .meta = true };
	int rc = put_text(h, value, value_len, &x.value, &x.value_len);

	return rc < 0 ? rc : enter(h, key, key_len, &x);
}

/*
 * ---- writing
 * ---------------------------------------------------------------------------------------------------
 */

static int put_pairs(const struct view_header *h, struct byte_buf *out)
{
	bool first = true;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < h->items; i++) {
		const struct item *x = &h->item[i];

		if (!x->meta)
			continue;
		rc = byte_buf_text(out, first ? "\"__metadata__\":{" : ",");
		first = false;
		if (rc == 0)
			rc = json_put_string(h->text.p + x->name, x->name_len, out);
		if (rc == 0)
			rc = byte_buf_put(out, ":", 1);
		if (rc == 0)
			rc = json_put_string(h->text.p + x->value, x->value_len, out);
	}
	return rc < 0 || first ? rc : byte_buf_put(out, "}", 1);
}

static int put_tensor(const struct view_header *h, const struct item *x, uint64_t at, struct byte_buf *out)
{
	const struct view_header_tensor *t = &x->t;
	int rc = out->len > 1 ? byte_buf_put(out, ",", 1) : 0;

	if (rc == 0)
		rc = json_put_string(h->text.p + x->name, x->name_len, out);
	if (rc == 0)
		rc = byte_buf_format(out, ":{\"dtype\":\"%s\",\"shape\":[", t->dtype);
	for (uint32_t i = 0; rc == 0 && i < t->ndim; i++)
		rc = byte_buf_format(out, "%s%llu", i > 0 ? "," : "",
				(unsigned long long)t->size[i] << (t->packed && i + 1 == t->ndim));
	if (rc == 0 && t->twin)
		rc = byte_buf_text(out, t->ndim > 0 ? ",2" : "2");
	if (rc == 0)
		rc = byte_buf_format(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
				(unsigned long long)at + t->bytes);
	return rc;
}

/* Widths of elements, widest first. */
static unsigned width_of(const struct item *x)
{
	unsigned bits = safetensors_bits(x->t.dtype);

	return bits < 8 ? 1 : bits / 8;
}

static int put_header(const struct view_header *h, struct byte_buf *out)
{
	uint64_t at = 0;
	int rc = byte_buf_put(out, "{", 1);

	if (rc == 0)
		rc = put_pairs(h, out);
	for (unsigned width = WIDEST; rc == 0 && width > 0; width /= 2)
		for (size_t i = 0; rc == 0 && i < h->items; i++) {
			const struct item *x = &h->item[i];

			if (x->meta || width_of(x) != width)
				continue;
			rc = put_tensor(h, x, at, out);
			if (rc == 0 && __builtin_add_overflow(at, x->t.bytes, &at))
				rc = ckpt_fail(EFBIG, "a view larger than a file can be");
		}
	if (rc == 0)
		rc = byte_buf_put(out, "}", 1);
	if (rc == 0)
		rc = byte_buf_fill(out, ' ', (8 - out->len % 8) % 8);
	if (rc == 0 && out->len > SAFETENSORS_READ_MAX)
		rc = ckpt_fail(EFBIG, "a safetensors header of %zu bytes", out->len);
	return rc;
}

static int put_data(const struct view_header_tensor *t, struct bridge_layout *l)
{
	struct bridge_strided s = { .from = t->from,
		.to = t->to,
		.conj = t->conj,
		.neg = t->neg,
		.ndim = t->ndim,
		.size = t->size,
		.stride = t->stride };

	if (t->stride != NULL)
		return bridge_layout_tensor(l, 0, t->off, &s);
	if (t->from == t->to)
		return bridge_layout_range(l, 0, t->off, t->bytes);
	return bridge_layout_convert(l, 0, t->off, t->bytes / torch_dtype_info(t->to)->width, t->from, t->to);
}

int view_header_finish(struct view_header *h, struct bridge_layout *l)
{
	struct byte_buf out = { 0 }, head = { 0 };
	int rc = put_header(h, &out);

	if (rc == 0)
		rc = byte_buf_le(&head, out.len, 8);
	if (rc == 0)
		rc = bridge_layout_bytes(l, head.p, head.len);
	if (rc == 0)
		rc = bridge_layout_take(l, &out);
	if (rc == 0)
		rc = bridge_layout_reserve(l, h->items);
	byte_buf_release(&head);
	byte_buf_release(&out);
	for (unsigned width = WIDEST; rc == 0 && width > 0; width /= 2)
		for (size_t i = 0; rc == 0 && i < h->items; i++)
			if (!h->item[i].meta && width_of(&h->item[i]) == width)
				rc = put_data(&h->item[i].t, l);
	return rc;
}
