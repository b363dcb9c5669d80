/*
 * cut_npy.c: numpy.save(), once or several times into one file; and the same as a zip's member.
 */
#include "cut_internal.h"

#include <stdlib.h>
#include <string.h>

/* Numbers as codecs see them. Those of the other byte order are bytes to them. */
static struct codec_hint npy_hint(const struct npy_header *npy)
{
	char order = npy->descr[0], kind = npy->descr[1];
	struct codec_hint h = { 0 };
	uint64_t item = npy->width;

	if (kind == 'c' && item % 2 == 0)
		item /= 2;
	if (item != 1 && item != 2 && item != 4 && item != 8)
		return h;
	if (strchr("SaU", kind) != NULL)
		return h;
	h.width = (uint8_t)item;
	if (order == '>')
		return h;
	switch (kind) {
	case 'c':
	case 'f':
		h.kind = item > 1 ? CODEC_FLOAT : CODEC_BYTES;
		h.exponent_bits = item == 8 ? 11 : item == 4 ? 8 : item == 2 ? 5 : 0;
		break;
	case 'V': /* bfloat16 has no name of its own: ml_dtypes writes this */
		h.kind = item == 2 ? CODEC_FLOAT : CODEC_BYTES;
		h.exponent_bits = item == 2 ? 8 : 0;
		break;
	case 'u':
		h.kind = item == 1 ? CODEC_PIXELS : CODEC_INT;
		break;
	default:
		h.kind = CODEC_INT;
	}
	return h;
}

/* The k-th dimension from the end, as the memory has them; 1 where there is none. */
static uint64_t from_end(const struct npy_header *npy, uint32_t k)
{
	if (k > npy->ndim)
		return 1;
	return npy->size[npy->fortran ? k - 1 : npy->ndim - k];
}

void cut_npy_start(struct cut_npy_head *h, const uint8_t *p, size_t n)
{
	if (n > 0)
		memcpy(h->b, p, n);
	h->have = n;
	h->want = 10 - n;
}

int cut_npy_take(struct cut_npy_head *h, const uint8_t *p, size_t n, uint64_t path, struct cut_record *r)
{
	struct npy_header npy;
	size_t head, len;
	uint32_t item;

	memcpy(h->b + h->have, p, n);
	h->have += n;
	h->want -= n;
	if (h->want > 0)
		return 0;
	if (memcmp(h->b, NPY_MAGIC, NPY_MAGIC_LEN) != 0 || h->b[6] < 1 || h->b[6] > 3)
		return -1;
	head = h->b[6] == 1 ? 10 : 12;
	if (h->have < head) {
		h->want = head - h->have;
		return 0;
	}
	len = h->b[6] == 1 ? container_le16(h->b + 8) : container_le32(h->b + 8);
	if (len == 0 || len > NPY_DICT_MAX)
		return -1;
	if (h->have < head + len) {
		h->want = head + len - h->have;
		return 0;
	}
	if (npy_read_dict((const char *)h->b + head, len, &npy) < 0)
		return -1;
	item = npy.width <= UINT32_MAX ? (uint32_t)npy.width : 0;
	memset(r, 0, sizeof *r);
	r->len = npy.bytes;
	r->piece = cut_piece(item);
	r->hint = npy_hint(&npy);
	cut_shape(&r->hint, item, npy.ndim, from_end(&npy, 1), from_end(&npy, 2));
	r->print = cut_print(path, 0, &r->hint, npy.bytes);
	return 1;
}

static void take_head(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct cut_npy_head *h = c->format;
	struct cut_record r;

	switch (cut_npy_take(h, p, n, 0, &r)) {
	case 0:
		cut_expect(c, h->want, take_head);
		return;
	case 1:
		r.after = cut_sniff;
		if (r.len > 0)
			cut_begin(c, &r);
		else
			cut_sniff(c);
		return;
	}
	cut_plain(c);
}

void cut_npy(struct codec_cutter *c)
{
	struct cut_npy_head *h = cut_format(c, sizeof *h, free);

	if (h == NULL) {
		cut_plain(c);
		return;
	}
	cut_npy_start(h, c->sniff, c->sniff_len);
	cut_expect(c, h->want, take_head);
}
