/*
 * row_pages.c: see row_pages_internal.h.
 *
 * The layout is that of https://www.sqlite.org/fileformat2.html, sections 1.6 (B-tree pages), 2.1 (records) and 1.7
 * (overflow pages).  With U usable bytes, all but the sum:
 *
 *   interior   05 .. .. nn nn .. .. .. rr rr rr rr | nn offsets of cells: child (4), key (varint)
 *   leaf       0d .. .. nn nn .. .. ..             | nn offsets of cells: P (varint), id (varint), local bytes, overflow (4)
 *   overflow   next (4), U - 4 bytes | sum
 *
 * all numbers big-endian.  Pages of 1 KiB or more keep at least 102 bytes of a long row in the leaf, which holds all columns
 * but the payload.  What is read is never believed: offsets and lengths are compared with the page they are in, the
 * depth is bounded, and each round of a walk along overflow pages brings bytes that were still missing.
 */
#include "row_pages_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "codec/codec_chunk.h"
#include "codec/codec_hash.h"
#include "codec/codec_print.h"
#include "page_sums_internal.h"

enum {
	DEPTH_MAX = 20,
	INTERIOR = 0x05,
	INTERIOR_HEAD = 12,
	LEAF = 0x0d,
	LEAF_HEAD = 8,
	COLUMNS = 9,
	RUN_MAX = 160,  /* pages that one call reads; IOV_MAX is 1024 */
	RUN_AGAIN = 8,  /* first try after the pages did not follow one another */
	NEAR = 2 << 20, /* several threads read in one order more or less */
	AHEAD_STEP = 2 << 20,
	AHEAD_ENOUGH = 2 << 10, /* KiB */
};

static uint32_t be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
	return be16(p) << 16 | be16(p + 2);
}

/* A variable-length integer in [*p, end). */
static bool varint(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
	uint64_t v = 0;

	for (int i = 0; i < 9; i++) {
		if (*p == end)
			return false;
		uint8_t b = *(*p)++;

		if (i == 8) {
			v = v << 8 | b;
			break;
		}
		v = v << 7 | (b & 0x7f);
		if (!(b & 0x80))
			break;
	}
	*out = v;
	return true;
}

/* How far the kernel reads ahead on the disk below, in KiB; 0: it does not say. */
static unsigned kernel_ahead(int fd)
{
	char path[80], text[16] = "";
	struct stat st;

	if (fstat(fd, &st) < 0)
		return 0;
	for (int partition = 0; partition < 2; partition++) {
		/* A partition has no queue of its own. */
		snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%squeue/read_ahead_kb", major(st.st_dev),
				minor(st.st_dev), partition ? "../" : "");
		int knob = open(path, O_RDONLY | O_CLOEXEC);

		if (knob < 0)
			continue;
		ssize_t n = read(knob, text, sizeof text - 1);

		close(knob);
		return n > 0 ? (unsigned)strtoul(text, NULL, 10) : 0;
	}
	return 0;
}

void row_pages_init(struct row_pages *p, int fd, uint32_t size, uint32_t root)
{
	bool fits = fd >= 0 && size >= 512 && size <= ROW_PAGE_MAX && (size & (size - 1)) == 0 && root > 1;

	p->fd = fits ? fd : -1;
	p->size = size;
	p->root = root;
	p->ahead = fits && kernel_ahead(fd) < AHEAD_ENOUGH;
	atomic_init(&p->end, -1);
	atomic_init(&p->asked, 0);
	atomic_init(&p->found, 0);
	atomic_init(&p->left, 0);
	if (p->ahead)
		posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
}

/* --- the row --------------------------------------------------------------------------------------- */

static uint32_t usable(const struct row_pages *p)
{
	return p->size - PAGE_SUM;
}

static bool read_page(const struct row_pages *p, uint32_t number, uint8_t *page)
{
	ssize_t n;

	if (number < 2)
		return false;
	do {
		n = pread(p->fd, page, p->size, (off_t)(number - 1) * p->size);
	} while (n < 0 && errno == EINTR);
	return n == (ssize_t)p->size && page_sum_good(page, p->size, number);
}

/* Where cell i begins; NULL: not in the page. */
static const uint8_t *cell(const struct row_pages *p, const uint8_t *page, uint32_t head, uint32_t i)
{
	uint32_t at = be16(page + head + 2 * i);

	return at >= head && at < usable(p) ? page + at : NULL;
}

/* The first cell whose key is not below `id` into *at, n: none. */
static bool search(const struct row_pages *p, const uint8_t *page, uint64_t id, bool leaf, uint32_t *at,
		uint32_t *n)
{
	const uint8_t *end = page + usable(p);
	uint32_t head = leaf ? LEAF_HEAD : INTERIOR_HEAD;

	*n = be16(page + 3);
	if (*n > (usable(p) - head) / 2)
		return false;
	uint32_t lo = 0, hi = *n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const uint8_t *c = cell(p, page, head, mid);
		uint64_t key, skipped;

		if (!c || (!leaf && end - c < 4))
			return false;
		if (!leaf)
			c += 4;
		else if (!varint(&c, end, &skipped))
			return false;
		if (!varint(&c, end, &key))
			return false;
		if (key < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	*at = lo;
	return true;
}

/* The value of an integer column at *p, which moves behind it. */
static bool integer(uint64_t type, const uint8_t **p, const uint8_t *end, int64_t *out)
{
	static const uint8_t width[10] = { 0, 1, 2, 3, 4, 6, 8, 0, 0, 0 };

	if (type == 8 || type == 9) {
		*out = (int64_t)type - 8;
		return true;
	}
	if (type < 1 || type > 6 || end - *p < width[type])
		return false;
	uint64_t v = (**p & 0x80) ? UINT64_MAX : 0;

	for (int i = 0; i < width[type]; i++)
		v = v << 8 | *(*p)++;
	*out = (int64_t)v;
	return true;
}

/* The record of `len` bytes, of which those in [at, end) are in the page, as a row of `chunk` (chunk_open.c). */
static bool parse(uint64_t id, uint64_t len, const uint8_t *at, const uint8_t *end, struct row_place *out)
{
	const uint8_t *p = at;
	uint64_t head, type[COLUMNS];
	int64_t v[COLUMNS] = { 0 };

	if (!varint(&p, end, &head) || head > (uint64_t)(end - at))
		return false;
	for (int i = 0; i < COLUMNS; i++)
		if (!varint(&p, at + head, &type[i]))
			return false;
	/* The id is the key; a name is a blob; so is the payload, which is the rest. */
	if (p != at + head || type[0] != 0 || type[1] < 12 || type[1] % 2 || type[8] < 12 || type[8] % 2)
		return false;
	uint64_t name = (type[1] - 12) / 2;

	if ((name != CODEC_PRINT_LEN && name != CODEC_HASH_LEN && name != CODEC_PRINT_LEN + CODEC_HASH_LEN) ||
			name > (uint64_t)(end - p))
		return false;
	p += name;
	for (int i = 2; i < COLUMNS - 1; i++)
		if (!integer(type[i], &p, end, &v[i]))
			return false;
	uint64_t payload = (type[8] - 12) / 2;

	if (payload > UINT32_MAX || payload != len - (uint64_t)(p - at))
		return false;
	/* raw_len, codec, base, check */
	if (v[2] < 1 || v[2] > CODEC_CHUNK_MAX || v[3] < INT32_MIN || v[3] > INT32_MAX || v[4] < 0 ||
			(uint64_t)v[4] == id || payload > codec_bound((size_t)v[2]))
		return false;
	out->raw_len = (uint32_t)v[2];
	out->codec = (int)v[3];
	out->base = (uint64_t)v[4];
	out->check = v[5];
	out->payload_len = (uint32_t)payload;
	out->at = (uint32_t)(p - out->page);
	out->local = (uint32_t)(end - p);
	return true;
}

/* The row in the leaf that out->page holds. */
static bool in_leaf(const struct row_pages *p, uint64_t id, struct row_place *out)
{
	uint32_t u = usable(p), at, n;
	uint64_t len, key;

	if (!search(p, out->page, id, true, &at, &n) || at == n)
		return false;
	const uint8_t *end = out->page + u, *c = cell(p, out->page, LEAF_HEAD, at);

	if (!c || !varint(&c, end, &len) || !varint(&c, end, &key) || key != id || len > INT32_MAX)
		return false;
	/* How much of it is in the leaf. */
	uint64_t most = u - 35, least = (uint64_t)(u - 12) * 32 / 255 - 23, local = len;

	if (len > most) {
		local = least + (len - least) % (u - 4);
		if (local > most)
			local = least;
	}
	if (local + (local < len ? 4 : 0) > (uint64_t)(end - c))
		return false;
	out->next = local < len ? be32(c + local) : 0;
	return parse(id, len, c, c + local, out);
}

bool row_pages_find(struct row_pages *p, uint64_t id, struct row_place *out)
{
	uint32_t number = p->root, at, n;

	if (p->fd < 0 || id == 0 || id > INT64_MAX)
		return false;
	for (int depth = 0; depth < DEPTH_MAX && read_page(p, number, out->page); depth++) {
		if (out->page[0] == LEAF) {
			if (in_leaf(p, id, out))
				return true;
			break;
		}
		if (out->page[0] != INTERIOR || !search(p, out->page, id, false, &at, &n))
			break;
		const uint8_t *c = at < n ? cell(p, out->page, INTERIOR_HEAD, at) : out->page + 8;

		if (!c || out->page + usable(p) - c < 4)
			break;
		number = be32(c);
	}
	atomic_fetch_add_explicit(&p->left, 1, memory_order_relaxed);
	return false;
}

/* --- the payload ------------------------------------------------------------------------------------- */

/* Whether SQLite never puts data there: a page of the pointer map, which auto_vacuum keeps, or the one that locks are on. */
static bool special(const struct row_pages *p, uint32_t number)
{
	return (number - 2) % (usable(p) / 5 + 1) == 0 || number == 0x40000000 / p->size + 1;
}

/* Who reads in the order of the file has more of it asked for: [from, to) is what is read now. */
static void read_ahead(struct row_pages *p, int64_t from, int64_t to)
{
	int64_t end = atomic_exchange_explicit(&p->end, to, memory_order_relaxed);
	int64_t asked = atomic_load_explicit(&p->asked, memory_order_relaxed);

	if (!p->ahead || end < 0 || from < end - NEAR || from > end + NEAR)
		return;
	if (asked < to || asked > to + ROW_AHEAD + NEAR)
		asked = to;
	if (asked > to + ROW_AHEAD - AHEAD_STEP)
		return;
	atomic_store_explicit(&p->asked, to + ROW_AHEAD, memory_order_relaxed);
	posix_fadvise(p->fd, asked, to + ROW_AHEAD - asked, POSIX_FADV_WILLNEED);
}

/* What lies between the bytes of one overflow page and those of the next. */
struct gap {
	uint8_t sum[PAGE_SUM], next[4];
};

/*
 * Reads n overflow pages from *number on, as if each followed the one before, their content to out[0, len).  Returns how
 * many did, and in *number the page that comes behind those; 0: they can't be read.
 */
static unsigned read_run(const struct row_pages *p, uint32_t *number, unsigned n, uint8_t *out, size_t len)
{
	struct gap gaps[RUN_MAX];
	struct iovec iov[2 * RUN_MAX];
	size_t each = usable(p) - 4, have = 0;
	uint32_t at = *number;
	unsigned i;
	ssize_t got;

	for (i = 0; i < n; i++) {
		size_t some = len < each ? len : each;

		iov[2 * i] = i == 0 ? (struct iovec){ gaps[i].next, sizeof gaps[i].next }
				    : (struct iovec){ gaps[i].sum, sizeof gaps[i] };
		iov[2 * i + 1] = (struct iovec){ out, some };
		out += some;
		len -= some;
	}
	do {
		got = preadv(p->fd, iov, (int)(2 * n), (off_t)(at - 1) * p->size);
	} while (got < 0 && errno == EINTR);
	/* The file may end before pages that only might have been the next ones. */
	for (i = 0; i < n && got > 0; i++) {
		have += iov[2 * i].iov_len + iov[2 * i + 1].iov_len;
		if ((size_t)got < have)
			break;
		*number = be32(gaps[i].next);
		if (*number != at + i + 1)
			return i + 1;
	}
	return i;
}

/* How many of n pages from `number` on may be neighbours. */
static unsigned run_from(const struct row_pages *p, uint32_t number, size_t n)
{
	unsigned run = 1;

	while (run < n && !special(p, number + run))
		run++;
	return run;
}

static bool read_overflow(const struct row_pages *p, uint32_t number, uint8_t *out, size_t len)
{
	size_t each = usable(p) - 4;

	for (unsigned most = RUN_MAX; len > 0;) {
		size_t left = (len + each - 1) / each;

		if (number < 2 || special(p, number))
			return false;
		unsigned n = run_from(p, number, left < most ? left : most),
			 got = read_run(p, &number, n, out, len);

		if (got == 0)
			return false;
		most = got < n ? RUN_AGAIN : most < RUN_MAX / 2 ? 2 * most : RUN_MAX;
		size_t done = got * each < len ? got * each : len;

		out += done;
		len -= done;
	}
	return true;
}

bool row_pages_read(struct row_pages *p, const struct row_place *place, uint8_t *out)
{
	size_t rest = place->payload_len - place->local;
	bool good = true;

	if (rest > 0) {
		int64_t from = ((int64_t)place->next - 1) * p->size;

		good = read_overflow(p, place->next, out + place->local, rest);
		read_ahead(p, from, from + (int64_t)(rest / (usable(p) - 4) + 1) * p->size);
	}
	memcpy(out, place->page + place->at, place->local);
	good = good && codec_check(out, place->payload_len) == place->check;
	atomic_fetch_add_explicit(good ? &p->found : &p->left, 1, memory_order_relaxed);
	return good;
}
