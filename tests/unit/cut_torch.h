/*
 * cut_torch.h: for the cutter's tests, pickles and zips as torch writes them, into the file of cut_file.h.
 */
#ifndef CUT_TORCH_H
#define CUT_TORCH_H

#include "tests/unit/cut_file.h"

/* --- pickles ------------------------------------------------------------------------------------- */

static inline void add_int(unsigned v)
{
	if (v < 256) {
		ADD("K");
		add_le(v, 1);
	} else if (v < 65536) {
		ADD("M");
		add_le(v, 2);
	} else {
		ADD("J");
		add_le(v, 4);
	}
}

static inline void add_string(const char *s)
{
	ADD("X");
	add_le(strlen(s), 4);
	add_text(s);
}

static inline void add_ints(const unsigned *v, unsigned n)
{
	if (n > 3)
		ADD("(");
	for (unsigned i = 0; i < n; i++)
		add_int(v[i]);
	if (n > 3)
		ADD("t");
	else
		add((const char *[]){ ")", "\x85", "\x86", "\x87" }[n], 1);
}

/* What says what storage `key` is; `claim` elements of it. */
static inline void add_tensor(size_t i, const char *key, size_t claim, bool legacy, bool first)
{
	unsigned stride[3] = { 0 }, n = dims_of(i), step = 1;
	char class[40];

	for (unsigned d = n; d-- > 0; step *= tensors[i].shape[d])
		stride[d] = step;
	ADD("ctorch._utils\n_rebuild_tensor_v2\n((");
	if (first) {
		add_string("storage");
		ADD("r\0\0\1\0");
	} else {
		ADD("j\0\0\1\0");
	}
	snprintf(class, sizeof class, "ctorch\n%sStorage\n", tensors[i].storage);
	add_text(class);
	add_string(key);
	add_string("cpu");
	add_int((unsigned)claim);
	if (legacy)
		ADD("N");
	ADD("tQK\0");
	add_ints(tensors[i].shape, n);
	add_ints(stride, n);
	ADD("\x89""ccollections\nOrderedDict\n)RtR");
}

/* The state dict as torch pickles it; `lie` is a tensor that is said to have `by` elements more. */
static inline void add_state_dict(bool legacy, size_t lie, long by)
{
	char key[20];

	ADD("\x80\2ccollections\nOrderedDict\nq\0)Rq\1(");
	for (size_t i = 0; i < TENSORS; i++) {
		add_string(tensors[i].name);
		snprintf(key, sizeof key, "%zu", i + (legacy ? 94000000 : 0));
		add_tensor(i, key, (size_t)((long)numel(i) + (i == lie ? by : 0)), legacy, i == 0);
	}
	ADD("u}");
	add_string("_metadata");
	ADD("K\1sb.");
}

/* --- zips ---------------------------------------------------------------------------------------- */

enum sizes { DESCRIBED, DESCRIBED64, IN_HEADER, NOWHERE };

static size_t payload_start, zip_start;

static inline void begin_member(const char *prefix, const char *name, enum sizes sizes, unsigned method, size_t size)
{
	size_t pad, len = strlen(prefix) + strlen(name);

	ADD("PK\3\4\0\0");
	add_le(sizes == DESCRIBED || sizes == DESCRIBED64 ? 0x808 : 0, 2);
	add_le(method, 2);
	add_le(0, 8);
	add_le(sizes == IN_HEADER ? size : 0, 4);
	add_le(sizes == IN_HEADER ? size : 0, 4);
	add_le(len, 2);
	pad = 64 - (file.len - zip_start + 2 + len + 4) % 64;
	add_le(4 + pad, 2);
	add_text(prefix);
	add_text(name);
	ADD("FB");
	add_le(pad, 2);
	while (pad-- > 0)
		ADD("Z");
	payload_start = file.len;
}

static inline void end_member(enum sizes sizes)
{
	size_t size = file.len - payload_start;

	if (sizes == DESCRIBED || sizes == DESCRIBED64) {
		ADD("PK\7\10PK\7\10");
		add_le(size, sizes == DESCRIBED64 ? 8 : 4);
		add_le(size, sizes == DESCRIBED64 ? 8 : 4);
	}
}

static inline void add_member(const char *prefix, const char *name, enum sizes sizes, const char *text)
{
	begin_member(prefix, name, sizes, 0, strlen(text));
	add_text(text);
	end_member(sizes);
}

static inline void add_directory(const char *comment)
{
	for (int i = 0; i < 3; i++) {
		ADD("PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\4\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0nameEX");
	}
	ADD("PK\6\6\54\0\0\0\0\0\0\0");
	add("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 44);
	ADD("PK\6\7\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0PK\5\6\0\0\0\0\3\0\3\0\0\0\0\0\0\0\0\0");
	add_le(strlen(comment), 2);
	add_text(comment);
}

enum age { TORCH_1, TORCH_2, SCRIPT };

static inline void add_torch_zip(const char *prefix, enum age age, enum sizes sizes, size_t lie, long by)
{
	char name[40];
	size_t start = file.len;

	zip_start = file.len;
	if (age != SCRIPT) {
		size_t len;

		/* Once for its length. */
		add_state_dict(false, lie, by);
		len = file.len - start;
		file.len = start;
		begin_member(prefix, "/data.pkl", sizes, 0, len);
		add_state_dict(false, lie, by);
		end_member(sizes);
	}
	if (age == TORCH_2) {
		add_member(prefix, "/.format_version", sizes, "1");
		add_member(prefix, "/.storage_alignment", sizes, "64");
		add_member(prefix, "/byteorder", sizes, "little");
	}
	/* 1.x writes them in the order of their names as strings: 0 1 10 11 12 2 ... */
	for (size_t k = 0; k < TENSORS; k++) {
		size_t i = age != TORCH_1 || k < 2 ? k : k < 5 ? k + 8 : k - 3;

		snprintf(name, sizeof name, "/data/%zu", i);
		begin_member(prefix, name, sizes, 0, bytes_of(i));
		add_payload(i);
		end_member(sizes);
	}
	/* A storage without elements has neither descriptor nor flag. */
	begin_member(prefix, "/data/99", NOWHERE, 0, 0);
	if (age == SCRIPT) {
		begin_member(prefix, "/data.pkl", sizes, 0, 0);
		add_state_dict(false, TENSORS, 0);
		end_member(sizes);
		begin_member(prefix, "/code/__torch__.py", sizes, 8, 0);
		add_payload(9);
		file.at[9] = 0;
		end_member(sizes);
		add_member(prefix, "/constants.pkl", sizes, "\x80\2).");
	}
	add_member(prefix, "/version", sizes, "3\n");
	add_directory("");
}

#endif
