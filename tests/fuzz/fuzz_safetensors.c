/*
 * fuzz_safetensors.c: any bytes as a safetensors file.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -std=c11 -D_GNU_SOURCE -I. -Icodec
 *       tests/fuzz/fuzz_safetensors.c codec/ckpt_error.c codec/byte_buf.c codec/json_text.c
 *       codec/safetensors_read.c codec/zip_read.c -lxxhash -o fuzz_safetensors
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/safetensors_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p;
	size_t len;
};

static int64_t read_input(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct input *in = arg;

	if (off >= in->len)
		return 0;
	if (len > in->len - off)
		len = (size_t)(in->len - off);
	memcpy(buf, in->p + off, len);
	return (int64_t)len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct safetensors *s;
	uint64_t at;

	if (safetensors_open(read_input, &in, size, &s) != 0)
		return 0;
	at = safetensors_data(s);
	for (size_t i = 0; i < safetensors_count(s); i++) {
		const struct safetensors_entry *x = safetensors_at(s, i);

		if (x->off != at || x->len > size - at || strlen(x->dtype) == 0 || x->name[x->name_len] != '\0')
			abort();
		at += x->len;
	}
	if (at != size)
		abort();
	for (size_t i = 0; i < safetensors_pairs(s); i++)
		if (safetensors_pair_at(s, i)->value[safetensors_pair_at(s, i)->value_len] != '\0')
			abort();
	safetensors_free(s);
	return 0;
}
