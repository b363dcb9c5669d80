/*
 * safetensors_scan.h: the JSON header of a safetensors file, as its bytes come by.
 *
 *   u64 n | n bytes of JSON: {"name":{"dtype":"F32","shape":[2,3],"data_offsets":[a,b]}, ...} | data
 *
 * The format has no magic number: 2 <= n <= 100,000,000 (its own limit) and a '{' at byte 8, before which a
 * space may stand.  Nothing of the header is kept but the tensor that is being read.
 */
#ifndef SAFETENSORS_SCAN_H
#define SAFETENSORS_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SAFETENSORS_TEXT_MAX = 256, SAFETENSORS_HEADER_MAX = 100000000 };

struct safetensors_tensor {
	uint64_t name;           /* XXH3-64 of its text, up to SAFETENSORS_TEXT_MAX bytes of it */
	uint32_t rest;           /* record_name_rest() of that */
	char dtype[16];          /* "" where it is none that fits */
	uint64_t begin, end;     /* data_offsets */
	unsigned dims;
	uint64_t last, before;   /* the last two dimensions, 1 where there are none */
};

struct safetensors_scan {
	/* Told each tensor that has data_offsets, when it is complete. May be NULL. */
	void (*tensor)(void *arg, const struct safetensors_tensor *t);
	void *arg;

	bool done;    /* the object is closed; only spaces may follow */
	uint64_t end; /* the largest end so far */

	unsigned depth;
	bool in_string, escaped;
	bool odd;     /* the string holds an escape: no word of ours */
	size_t len;   /* of the string; SAFETENSORS_TEXT_MAX of it are in `text` */
	char text[SAFETENSORS_TEXT_MAX];
	uint8_t field;   /* whose value comes next, at depth 2 */
	uint8_t numbers; /* of which array the numbers come now */
	bool digits;     /* at least one, of the number being read */
	uint64_t number;
	bool have_end;
	struct safetensors_tensor t;
};

/* Whether a header of n bytes that begins with `first` may be one. */
bool safetensors_may_be(uint64_t n, uint8_t first);

void safetensors_scan_init(struct safetensors_scan *j);

/* Takes the next byte of the header; false when it can't be one. */
bool safetensors_scan_byte(struct safetensors_scan *j, uint8_t c);

#endif
