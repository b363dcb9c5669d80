/*
 * container_npy.c: is a .npy file as long as its shape says (npy_header.h)?
 *
 * numpy.save() may be called several times on one open file, so what follows the data may be the next
 * array.  Structured and object types are not understood: NONE.
 */
#include "container_internal.h"
#include "npy_header.h"

enum { ARRAYS_MAX = 1024 };

/* Looks at the array at `off`.  WHOLE: it ends at *next.  All else is the answer for the file. */
static int one_array(struct container_src *s, uint64_t off, uint64_t *next)
{
	char dict[NPY_DICT_MAX];
	uint8_t head[NPY_PREFIX_MAX];
	struct npy_header npy;
	size_t head_len, n = s->size - off < sizeof head ? (size_t)(s->size - off) : sizeof head;
	uint64_t len, data;
	int rc = container_read(s, off, head, n);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return CODEC_CONTAINER_TORN;
	if (n <= NPY_MAGIC_LEN)
		return CODEC_CONTAINER_TORN;
	if (head[6] < 1 || head[6] > 3)
		return CODEC_CONTAINER_NONE;
	head_len = head[6] == 1 ? 10 : 12;
	if (n < head_len)
		return CODEC_CONTAINER_TORN;
	len = head[6] == 1 ? container_le16(head + 8) : container_le32(head + 8);
	if (len > s->size - off - head_len)
		return CODEC_CONTAINER_TORN;
	if (len > sizeof dict)
		return CODEC_CONTAINER_NONE;
	rc = container_read(s, off + head_len, dict, (size_t)len);
	if (rc <= 0)
		return rc < 0 ? rc : CODEC_CONTAINER_TORN;
	if (npy_read_dict(dict, (size_t)len, &npy) < 0)
		return CODEC_CONTAINER_NONE;
	data = off + head_len + len;
	if (npy.bytes > s->size - data)
		return CODEC_CONTAINER_TORN;
	*next = data + npy.bytes;
	return CODEC_CONTAINER_WHOLE;
}

int container_npy(struct container_src *s)
{
	uint64_t off = 0;

	for (unsigned i = 0; i < ARRAYS_MAX; i++) {
		uint8_t magic[NPY_MAGIC_LEN];
		size_t n;
		int rc = one_array(s, off, &off);

		if (rc != CODEC_CONTAINER_WHOLE || off == s->size)
			return rc;
		n = s->size - off < sizeof magic ? (size_t)(s->size - off) : sizeof magic;
		rc = container_read(s, off, magic, n);
		if (rc <= 0)
			return rc < 0 ? rc : CODEC_CONTAINER_TORN;
		switch (container_match(magic, n, NPY_MAGIC, NPY_MAGIC_LEN)) {
		case CONTAINER_NO:
			return CODEC_CONTAINER_NONE;
		case CONTAINER_PREFIX:
			return CODEC_CONTAINER_TORN;
		case CONTAINER_YES:
			break;
		}
	}
	return CODEC_CONTAINER_NONE;
}
