/*
 * test_cut_formats.c: tensors are found as their file streams by, in the containers that are no zips: .npy, safetensors,
 * torch's legacy format; and are told by the same records as in a zip.
 */
#include "tests/unit/cut_torch.h"

static uint64_t records[TENSORS];

/* What the tensors are told by in a torch zip. */
static int note_zip(void **state)
{
	(void)state;
	new_file();
	add_torch_zip("epoch_7", TORCH_2, DESCRIBED, TENSORS, 0);
	cut_file(0, 0);
	note_records(records);
	return 0;
}

static void npys(void **state)
{
	char dict[200], shape[60];
	uint64_t first = 0;

	(void)state;
	/* Several in one file, row by row and column by column. */
	for (int fortran = 0; fortran < 2; fortran++) {
		new_file();
		for (size_t i = 0; i < TENSORS; i++) {
			int n = 0;

			for (unsigned d = 0; d < dims_of(i); d++) {
				unsigned at = fortran ? dims_of(i) - 1 - d : d;

				n += snprintf(shape + n, sizeof shape - (size_t)n, "%u, ", tensors[i].shape[at]);
			}
			snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }      \n",
				tensors[i].descr, fortran ? "True" : "False", shape);
			ADD("\x93NUMPY\1\0");
			add_le(strlen(dict), 2);
			add_text(dict);
			add_payload(i);
		}
		add_text("and something else");
		all_found("npy", true);
		if (fortran)
			assert_int_equal(chunk_at(file.at[1])->cut.record, first);
		first = chunk_at(file.at[1])->cut.record;
	}
}

static void safetensors(void **state)
{
	char *head = calloc(1, 8000);
	size_t n = 0, off = 0;

	(void)state;
	assert_non_null(head);
	n += (size_t)sprintf(head, "{\"__metadata__\":{\"shape\":\"[1,2]\",\"data_offsets\":\"[0,9]\"}");
	for (size_t i = 0; i < TENSORS; i++) {
		n += (size_t)sprintf(head + n, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", tensors[i].name, tensors[i].safe);
		for (unsigned d = 0; d < dims_of(i); d++)
			n += (size_t)sprintf(head + n, "%s%u", d > 0 ? "," : "", tensors[i].shape[d]);
		n += (size_t)sprintf(head + n, "],\"data_offsets\":[%zu,%zu]}", off, off + bytes_of(i));
		off += bytes_of(i);
	}
	sprintf(head + n, ",\"none\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[%zu,%zu]}}   ", off, off);
	new_file();
	add_le(strlen(head), 8);
	add_text(head);
	for (size_t i = 0; i < TENSORS; i++)
		add_payload(i);
	all_found("safetensors", true);
	same_records(records);

	/* Tensors that overlap, a gap, and an end far behind the file's. */
	new_file();
	strcpy(head, "{\"c\":{\"dtype\":\"X\",\"data_offsets\":[900000,18446744073709551609]},"
		"\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551609,18446744073709551609],\"data_offsets\":[100,200000]},"
		"\"b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[150000,700000]}}");
	add_le(strlen(head), 8);
	add_text(head);
	add_payload(1);
	cut_in_all_ways();
	assert_non_null(chunk_at(8 + strlen(head) + 100));
	assert_non_null(chunk_at(8 + strlen(head) + 200000));
	assert_non_null(chunk_at(8 + strlen(head) + 900000));

	/* What is no header after all, and one that is longer than the file. */
	new_file();
	add_le(50000, 8);
	ADD("{\"a\":{]}},");
	add_payload(1);
	file.at[1] = 0;
	cut_in_all_ways();
	for (size_t i = 0; i < said.n; i++)
		assert_int_equal(said.v[i].cut.record, 0);
	free(head);
}

static void add_legacy(size_t lie)
{
	char key[20];

	ADD("\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.");
	ADD("\x80\2M\xe9\3.");
	ADD("\x80\2}q\0(X\20\0\0\0protocol_versionq\1M\xe9\3X\15\0\0\0little_endianq\2\x88u.");
	add_state_dict(true, TENSORS, 0);
	ADD("\x80\2]q\0(");
	for (size_t i = 0; i < TENSORS; i++) {
		snprintf(key, sizeof key, "%zu", 94000000 + (i + 5) % TENSORS);
		add_string(key);
	}
	ADD("e.");
	for (size_t i = 0; i < TENSORS; i++) {
		size_t k = (i + 5) % TENSORS;

		add_le(numel(k) + (k == lie), 8);
		add_payload(k);
	}
}

static void legacy(void **state)
{
	(void)state;
	new_file();
	add_legacy(TENSORS);
	all_found("legacy", true);
	same_records(records);

	/* Saved twice into one file, and then a .npy. */
	new_file();
	add_legacy(TENSORS);
	add_legacy(TENSORS);
	all_found("two legacy files", true);
	same_records(records);

	/* One number of elements is wrong: up to there all is well. */
	new_file();
	add_legacy(11);
	cut_in_all_ways();
	for (size_t i = 5; i < 11; i++)
		assert_true(found(i, true));
}

static void changed_bytes(void **state)
{
	(void)state;
	new_file();
	add_legacy(TENSORS);
	changed_file(20260103);
	npys(NULL);
	changed_file(20260104);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(npys),
		cmocka_unit_test(safetensors),
		cmocka_unit_test(legacy),
		cmocka_unit_test(changed_bytes),
	};

	return cmocka_run_group_tests(tests, note_zip, NULL);
}
