/*
 * fuzz_zip.c: any bytes as a zip, and as a file of torch's: the directory, where each entry lies, a tail with one
 * entry exchanged (which must be a zip again), the tensors and where they lie.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -std=c11 -D_GNU_SOURCE -I. -Icodec tests/fuzz/fuzz_zip.c
 *       codec/ckpt_error.c codec/byte_buf.c codec/pickle_{build,edit,graph,op,parse,write}.c codec/torch_*.c
 *       codec/zip_*.c -lxxhash -o fuzz_zip
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/torch_file.h"
#include "codec/zip_read.h"
#include "codec/zip_write.h"

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

struct exchanged {
	const struct input *in;
	struct byte_buf out;
};

static int put_bytes(void *arg, const void *p, size_t len)
{
	return byte_buf_put(&((struct exchanged *)arg)->out, p, len);
}

static int put_range(void *arg, uint64_t off, uint64_t len)
{
	struct exchanged *x = arg;

	if (off > x->in->len || len > x->in->len - off)
		abort();
	return byte_buf_put(&x->out, x->in->p + off, (size_t)len);
}

static void exchange(const struct zip *z, struct input *in)
{
	struct exchanged x = { in, { 0 } };
	struct zip_sink sink = { put_bytes, put_range, &x };
	struct byte_buf b = { 0 };
	struct zip_change change = { zip_at(z, 0), &b };

	byte_buf_text(&b, "other bytes");
	if (zip_write_tail(z, &change, 1, &sink) == 0) {
		struct input now = { x.out.p, x.out.len };
		struct zip *again;

		if (zip_open(read_input, &now, now.len, 0, &again) != 0 || zip_count(again) != zip_count(z))
			abort();
		zip_free(again);
	}
	byte_buf_release(&b);
	byte_buf_release(&x.out);
}

static void tensors(struct torch_file *f, struct input *in)
{
	const struct torch_object *o = torch_file_object(f);

	for (uint32_t i = 0; i < torch_tensors(o); i++) {
		uint64_t off, len;

		if (torch_file_tensor(f, torch_tensor_at(o, i), read_input, in, &off, &len) == 0 &&
		    (off > in->len || len > in->len - off))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct torch_file *f;
	struct zip *z;

	if (zip_open(read_input, &in, size, 0, &z) == 0) {
		for (size_t i = 0; i < zip_count(z); i++) {
			uint64_t off;

			if (zip_data(z, zip_at(z, i), read_input, &in, &off) == 0 &&
			    (off > size || zip_at(z, i)->size > size - off))
				abort();
		}
		if (zip_count(z) > 0)
			exchange(z, &in);
		zip_free(z);
	}
	if (torch_file_open(read_input, &in, size, NULL, &f) == 0) {
		tensors(f, &in);
		torch_file_free(f);
	}
	return 0;
}
