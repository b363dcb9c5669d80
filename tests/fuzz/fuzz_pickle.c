/*
 * fuzz_pickle.c: any bytes as a pickle: parsed, read as an object of torch's, gone through, edited, written out and
 * parsed again.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -std=c11 -D_GNU_SOURCE -I. -Icodec tests/fuzz/fuzz_pickle.c
 *       codec/ckpt_error.c codec/byte_buf.c codec/pickle_{build,edit,graph,op,parse,write}.c codec/torch_*.c
 *       codec/zip_*.c -lxxhash -o fuzz_pickle
 */
#include <stdint.h>
#include <stdlib.h>

#include "codec/pickle_write.h"
#include "codec/torch_edit.h"
#include "codec/torch_object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *to_cuda(void *arg, uint32_t storage)
{
	(void)arg;
	return storage % 2 == 0 ? "cuda:1" : NULL;
}

static const char *device_to_cuda(void *arg, const char *device)
{
	(void)arg;
	(void)device;
	return "cuda:1";
}

static int to_half(void *arg, uint32_t storage)
{
	(void)arg;
	return storage % 2 == 0 ? TORCH_FLOAT16 : -1;
}

/* What a writer gives must be a pickle. */
static void must_parse(const struct byte_buf *b)
{
	struct pickle *g;
	size_t used;

	if (pickle_parse(b->p, b->len, NULL, &g, &used) != 0 || used != b->len)
		abort();
	pickle_free(g);
}

static void go_through(const struct torch_object *o)
{
	struct torch_places *p;
	struct byte_buf b = { 0 };

	if (torch_places_new(o, &p) == 0) {
		for (uint32_t i = 0; i < torch_place_count(p) && i < 1000; i++) {
			struct torch_array a;
			char text[64];
			uint32_t node = torch_place_at(p, i)->node;

			b.len = 0;
			torch_place_path(p, i, &b);
			torch_array(o, node, &a);
			torch_device_text(o, node, text, sizeof text);
			torch_bytes(o, node, &b);
		}
		torch_places_free(p);
	}
	byte_buf_release(&b);
}

static void edit(const struct pickle *g, const struct torch_object *o)
{
	struct torch_edit_rule rule = { to_cuda, device_to_cuda, NULL };
	struct pickle_edits *e;
	struct byte_buf b = { 0 };

	if (pickle_edits_new(g, &e) != 0)
		return;
	if (torch_edit_devices(o, &rule, e) == 0 && torch_edit_dtypes(o, to_half, NULL, e) == 0 &&
	    pickle_edits_apply(e, &b) == 0)
		must_parse(&b);
	b.len = 0;
	if (torch_edit_ids(o, e) == 0 && pickle_write(g, pickle_root(g), e, &b) == 0)
		must_parse(&b);
	pickle_edits_free(e);
	byte_buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pickle *g;
	struct torch_object *o;

	if (pickle_parse(data, size, NULL, &g, NULL) != 0)
		return 0;
	if (torch_object_new(g, 0, &o) == 0) {
		go_through(o);
		edit(g, o);
		torch_object_free(o);
	}
	pickle_free(g);
	return 0;
}
