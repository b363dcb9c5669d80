/*
 * test_cut_zip.c: tensors are found in zips of every kind as they stream by: torch's of all ages, TorchScript archives,
 * several end to end, npz.  Then zips that lie, and bytes changed at random.
 */
#include "tests/unit/cut_torch.h"

static uint64_t records[TENSORS];

static void torch_zips(void **state)
{
	static const enum sizes sizes[] = { DESCRIBED, DESCRIBED64, IN_HEADER };

	(void)state;
	for (size_t k = 0; k < 3; k++) {
		for (int age = TORCH_1; age <= TORCH_2; age++) {
			new_file();
			add_torch_zip("epoch_7", age, sizes[k], TENSORS, 0);
			all_found("torch zip", true);
			if (k == 0 && age == TORCH_1)
				note_records(records);
			else
				same_records(records);
		}
	}
}

static void torch_script(void **state)
{
	(void)state;
	new_file();
	add_torch_zip("model", SCRIPT, DESCRIBED, TENSORS, 0);
	all_found("TorchScript", false);
	new_file();
	add_torch_zip("model", SCRIPT, DESCRIBED64, TENSORS, 0);
	all_found("TorchScript, zip64", false);
}

/* Zips end to end, as in a .distcp; the second one's tensors are looked for. */
static void zips_in_a_row(void **state)
{
	(void)state;
	new_file();
	add_torch_zip("archive", TORCH_2, DESCRIBED, TENSORS, 0);
	ADD("");
	add_torch_zip("archive", TORCH_1, DESCRIBED, TENSORS, 0);
	all_found("two zips", true);
	same_records(records);
}

/* A caller that puts all that was consumed into the chunk: what `behind` says is lost, and nothing else. */
static void behind_ignored(void **state)
{
	struct codec_cutter *c;
	struct codec_cut cut;
	size_t off = 0, start = 0, late = 0;

	(void)state;
	new_file();
	add_torch_zip("model", SCRIPT, DESCRIBED, TENSORS, 0);
	assert_int_equal(codec_cutter_new(0, &c), 0);
	while (off < file.len) {
		off += codec_cut_feed(c, file.b + off, file.len - off < 5000 ? file.len - off : 5000, &cut);
		assert_in_range(off - start, 1, CODEC_CHUNK_MAX);
		if (cut.end) {
			start = off;
			late += cut.behind > 0;
		}
	}
	assert_true(late > 5);
	codec_cutter_free(c);
}

static void npzs(void **state)
{
	char dict[200], shape[60];

	(void)state;
	/* The same as a zip's members: as written to a pipe, to a file, and as it then is. */
	for (int sizes = DESCRIBED; sizes <= NOWHERE; sizes++) {
		new_file();
		zip_start = 0;
		for (size_t i = 0; i < TENSORS; i++) {
			unsigned rows = (unsigned)numel(i);

			snprintf(shape, sizeof shape, "%s.npy", tensors[i].name);
			snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': (%u,)}\n", tensors[i].descr, rows);
			begin_member("", shape, sizes, 0, 10 + strlen(dict) + bytes_of(i));
			ADD("\x93NUMPY\1\0");
			add_le(strlen(dict), 2);
			add_text(dict);
			add_payload(i);
			end_member(sizes);
		}
		add_directory("a comment");
		all_found("npz", false);
		for (size_t i = 0; i < 10; i++) /* with a shape of one dimension, images are none */
			if (records[i] != 0)
				assert_int_equal(chunk_at(file.at[i])->cut.record, records[i]);
	}
	/* Members that are no arrays. */
	new_file();
	zip_start = 0;
	begin_member("", "odd.npy", IN_HEADER, 0, bytes_of(1));
	add_payload(1);
	begin_member("", "empty.npy", IN_HEADER, 0, 0);
	begin_member("", "short.npy", IN_HEADER, 0, 5);
	ADD("12345");
	begin_member("", "odd.npy", NOWHERE, 0, 0);
	ADD("\x93NUMPY\1\0\xff\xff and no dict");
	begin_member("", "longer.npy", IN_HEADER, 0, 200);
	ADD("\x93NUMPY\1\0\x80\0{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}                            "
	    "                                             \n");
	while (file.len < payload_start + 200)
		ADD("x");
	begin_member("/", "data/7", IN_HEADER, 0, bytes_of(7));
	add_payload(7);
	add_directory("");
	cut_in_all_ways();
	assert_non_null(chunk_at(file.at[1] + 10)); /* behind what might have been its magic */
	assert_non_null(chunk_at(file.at[1] + bytes_of(1)));
	assert_true(found(7, false));
}

/* --- lies and damage ----------------------------------------------------------------------------- */

/* The pickle says that a tensor is shorter than it is: the next ones are found all the same. */
static void lies(void **state)
{
	(void)state;
	new_file();
	add_torch_zip("m", TORCH_2, DESCRIBED, 1, -1000);
	cut_in_all_ways();
	for (size_t i = 2; i < TENSORS; i++)
		assert_true(found(i, true));
	/* Or longer: then those inside are not, and it is no harm. */
	new_file();
	add_torch_zip("m", TORCH_2, DESCRIBED, 3, 50000000);
	cut_in_all_ways();
	assert_true(found(1, true));
	/* No storage of that name. */
	new_file();
	add_torch_zip("m", TORCH_2, DESCRIBED, TENSORS, 0);
	for (size_t i = 0; i + 12 < file.len && i < 4000; i++)
		if (memcmp(file.b + i, "FloatStorage", 12) == 0)
			file.b[i] = 'f';
	all_found("no types", false);
}

/* A stream that does not begin where the file does. */
static void from_the_middle(void **state)
{
	struct codec_cutter *c;
	struct codec_cut cut;
	size_t off = 0;

	(void)state;
	new_file();
	add_torch_zip("m", TORCH_2, DESCRIBED, TENSORS, 0);
	assert_int_equal(codec_cutter_new(4096, &c), 0);
	while (off < file.len) {
		off += codec_cut_feed(c, file.b + off, file.len - off, &cut);
		assert_int_equal(cut.record, 0);
		assert_int_equal(cut.hint.width, 0);
		assert_int_equal(cut.behind, 0);
	}
	codec_cutter_free(c);
}

static void changed_bytes(void **state)
{
	(void)state;
	for (int age = TORCH_1; age <= SCRIPT; age++) {
		new_file();
		add_torch_zip("archive", (enum age)age, DESCRIBED, TENSORS, 0);
		changed_file(20260101 + (uint64_t)age);
	}
	npzs(NULL);
	changed_file(20260105);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torch_zips),
		cmocka_unit_test(torch_script),
		cmocka_unit_test(zips_in_a_row),
		cmocka_unit_test(behind_ignored),
		cmocka_unit_test(npzs),
		cmocka_unit_test(lies),
		cmocka_unit_test(from_the_middle),
		cmocka_unit_test(changed_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
