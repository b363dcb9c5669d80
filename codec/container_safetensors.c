/*
 * container_safetensors.c: is a safetensors file as long as its header says (safetensors_scan.h)?
 *
 * The header is run through in pieces; all that is kept is the largest end of a tensor, b.  The file is whole
 * when it is exactly 8 + n + b long.  A longer one is refused by every reader and nobody's torn save; a
 * header that is no such JSON makes the file none of ours.
 */
#include "container_internal.h"
#include "safetensors_scan.h"

int container_safetensors(struct container_src *s)
{
	struct safetensors_scan j;
	uint8_t head[9];
	uint64_t n, off = 8, stop, total;
	int rc = container_read(s, 0, head, sizeof head);

	if (rc <= 0)
		return rc; /* 0: too short to tell, CODEC_CONTAINER_NONE */
	n = container_le64(head);
	if (!safetensors_may_be(n, head[8]))
		return CODEC_CONTAINER_NONE;
	safetensors_scan_init(&j);
	stop = 8 + n < s->size ? 8 + n : s->size;
	while (off < stop) {
		const uint8_t *p;
		size_t k;

		rc = container_window(s, off, &p, &k);
		if (rc <= 0)
			return rc < 0 ? rc : CODEC_CONTAINER_TORN;
		if (k > stop - off)
			k = (size_t)(stop - off);
		for (size_t i = 0; i < k; i++)
			if (!safetensors_scan_byte(&j, p[i]))
				return CODEC_CONTAINER_NONE;
		off += k;
	}
	if (s->size < 8 + n)
		return CODEC_CONTAINER_TORN;
	if (!j.done || j.end > UINT64_MAX - 8 - n)
		return CODEC_CONTAINER_NONE;
	total = 8 + n + j.end;
	if (s->size < total)
		return CODEC_CONTAINER_TORN;
	return s->size == total ? CODEC_CONTAINER_WHOLE : CODEC_CONTAINER_NONE;
}
