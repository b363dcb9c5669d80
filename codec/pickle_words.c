/*
 * pickle_words.c: the words of torch's that a walk knows, and what they say of a storage's elements.
 *
 * A complex number is two floats of half its width; of the untyped storage the type is its tensor's.
 */
#include "pickle_words.h"

#include <string.h>
#include <xxhash.h>

#define FLOATS(item, width, exponent) { item, { width, CODEC_FLOAT, exponent, 0, 0 } }
#define INTS(item) { item, { item, CODEC_INT, 0, 0, 0 } }
#define PIXELS { 1, { 1, CODEC_PIXELS, 0, 0, 0 } }

const struct pickle_word pickle_words[] = {
	[W_STORAGE] = { "storage", A_OTHER, { 0 } },
	[W_MODULE] = { "module", A_OTHER, { 0 } },
	[W_TORCH] = { "torch", A_OTHER, { 0 } },
	[W_TORCH_STORAGE] = { "torch.storage", A_OTHER, { 0 } },
	{ "DoubleStorage", A_CLASS, FLOATS(8, 8, 11) },
	{ "FloatStorage", A_CLASS, FLOATS(4, 4, 8) },
	{ "HalfStorage", A_CLASS, FLOATS(2, 2, 5) },
	{ "BFloat16Storage", A_CLASS, FLOATS(2, 2, 8) },
	{ "LongStorage", A_CLASS, INTS(8) },
	{ "IntStorage", A_CLASS, INTS(4) },
	{ "ShortStorage", A_CLASS, INTS(2) },
	{ "CharStorage", A_CLASS, INTS(1) },
	{ "ByteStorage", A_CLASS, PIXELS },
	{ "BoolStorage", A_CLASS, INTS(1) },
	{ "ComplexFloatStorage", A_CLASS, FLOATS(8, 4, 8) },
	{ "ComplexDoubleStorage", A_CLASS, FLOATS(16, 8, 11) },
	{ "QInt8Storage", A_CLASS, INTS(1) },
	{ "QUInt8Storage", A_CLASS, INTS(1) },
	{ "QInt32Storage", A_CLASS, INTS(4) },
	{ "UntypedStorage", A_CLASS, { 1, { 0 } } },
	{ "float64", A_TYPE, FLOATS(8, 8, 11) },
	{ "float32", A_TYPE, FLOATS(4, 4, 8) },
	{ "float16", A_TYPE, FLOATS(2, 2, 5) },
	{ "bfloat16", A_TYPE, FLOATS(2, 2, 8) },
	{ "complex32", A_TYPE, FLOATS(4, 2, 5) },
	{ "complex64", A_TYPE, FLOATS(8, 4, 8) },
	{ "complex128", A_TYPE, FLOATS(16, 8, 11) },
	{ "float8_e4m3fn", A_TYPE, FLOATS(1, 1, 4) },
	{ "float8_e4m3fnuz", A_TYPE, FLOATS(1, 1, 4) },
	{ "float8_e5m2", A_TYPE, FLOATS(1, 1, 5) },
	{ "float8_e5m2fnuz", A_TYPE, FLOATS(1, 1, 5) },
	{ "float8_e8m0fnu", A_TYPE, FLOATS(1, 1, 8) },
	{ "uint8", A_TYPE, PIXELS },
	{ "uint16", A_TYPE, INTS(2) },
	{ "uint32", A_TYPE, INTS(4) },
	{ "uint64", A_TYPE, INTS(8) },
	{ "int8", A_TYPE, INTS(1) },
	{ "int16", A_TYPE, INTS(2) },
	{ "int32", A_TYPE, INTS(4) },
	{ "int64", A_TYPE, INTS(8) },
	{ "bool", A_TYPE, INTS(1) },
};
enum { WORDS = sizeof pickle_words / sizeof pickle_words[0] };

struct pickle_atom pickle_text_atom(const uint8_t *p, size_t len)
{
	struct pickle_atom a = { A_TEXT, 0, record_name_rest(p, len), XXH3_64bits(p, len) };

	for (unsigned i = 0; i < WORDS; i++) {
		if ((uint8_t)pickle_words[i].text[0] == p[0] && len == strlen(pickle_words[i].text) &&
		    memcmp(p, pickle_words[i].text, len) == 0) {
			a.kind = A_WORD;
			a.word = (uint8_t)i;
			break;
		}
	}
	return a;
}

struct pickle_atom pickle_global_atom(struct pickle_atom module, struct pickle_atom name)
{
	struct pickle_atom a = { A_OTHER, 0, 0, 0 };

	if (module.kind == A_WORD && (module.word == W_TORCH || module.word == W_TORCH_STORAGE) &&
	    name.kind == A_WORD && name.word >= W_CLASSES) {
		a.kind = pickle_words[name.word].atom;
		a.word = name.word;
	}
	return a;
}
