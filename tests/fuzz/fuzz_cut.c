/*
 * fuzz_cut.c: any bytes through the cutter (libFuzzer: clang -fsanitize=fuzzer,address,undefined).
 *
 * The first two bytes choose the pieces in which the rest is fed; it is cut twice, and once in one piece.
 * What must hold: the header's promises, and that the pieces change nothing.  With -DFUZZ_MAIN it is a
 * program that takes files instead.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/codec_cut.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(what) ((what) ? (void)0 : abort())

/* Cuts p[0, n) in pieces from `seed` (0: in one); returns a hash of all that was said. */
static uint64_t cut_all(const uint8_t *p, size_t n, uint32_t seed)
{
	struct codec_cutter *c;
	struct codec_cut cut;
	uint64_t said = 14695981039346656037u;
	size_t off = 0, start = 0;

	if (codec_cutter_new(0, &c) != 0)
		return 0;
	while (off < n) {
		size_t k = n - off, used;

		if (seed != 0) {
			seed = seed * 1664525 + 1013904223;
			k = (seed >> 8) % (seed & 64 ? 70000 : 40) + 1;
			k = k < n - off ? k : n - off;
		}
		used = codec_cut_feed(c, p + off, k, &cut);
		MUST(used >= 1 && used <= k && (cut.end || used == k));
		off += used;
		MUST(off - start <= CODEC_CHUNK_MAX);
		if (!cut.end)
			continue;
		MUST(cut.behind < off - start && cut.behind < 2 * CODEC_CUT_OWN);
		start = off - cut.behind;
		said = (said ^ start) * 1099511628211u;
		said = (said ^ cut.record ^ cut.record_off) * 1099511628211u;
		said = (said ^ cut.hint.width ^ (uint64_t)cut.hint.row << 8 ^ (uint64_t)cut.hint.kind << 40) * 1099511628211u;
	}
	codec_cut_end(c, &cut);
	codec_cutter_free(c);
	return (said ^ cut.record ^ cut.record_off) * 1099511628211u;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t seed;
	uint64_t said;

	if (size < 3)
		return 0;
	seed = (uint32_t)data[0] << 8 | data[1] | 0x10000;
	said = cut_all(data + 2, size - 2, 0);
	MUST(cut_all(data + 2, size - 2, seed) == said);
	MUST(cut_all(data + 2, size - 2, seed * 7 + 1) == said);
	return 0;
}

#ifdef FUZZ_MAIN
int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		uint8_t *p = malloc(64 << 20);
		size_t n;

		if (f == NULL || p == NULL) {
			perror(argv[i]);
			return 1;
		}
		n = fread(p, 1, 64 << 20, f);
		fclose(f);
		LLVMFuzzerTestOneInput(p, n);
		free(p);
	}
	return 0;
}
#endif
