/*
 * test_fs_views.c: views of checkpoints over a tree: what is shown, and what happens while files change.
 */
#include "scratch_views.h"

#include "fs/view_runs.h"

/* --- what is shown ----------------------------------------------------------------------------------- */

static void test_forms(void **state)
{
	static const char *const forms[] = { "@cpu/a.pt", "@cuda:1/a.pt", "@fp16/a.pt", "@cpu+bf16/a.pt",
		"@summary/a.pt", "@json/a.pt", "@safetensors/a.pt.safetensors", "@tree/a.pt/epoch",
		"@tree/a.pt/w.npy", "@json/@cpu/a.pt" };
	struct stat view, file;

	(void)state;
	save_torch("a.pt", 3, 7);
	file = stat_of("a.pt");
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		size_t len;
		char *all = whole(forms[i], &len), part[100];
		struct fs_handle *h;
		struct fs_entry e;

		assert_true(len > 0);
		view = stat_of(forms[i]);
		assert_int_equal(view.st_mode, S_IFREG | 0444);
		assert_int_equal(view.st_mtim.tv_sec, file.st_mtim.tv_sec);
		assert_int_equal(view.st_mtim.tv_nsec, file.st_mtim.tv_nsec);
		assert_int_equal(view.st_nlink, 1);
		/* any range, in any order */
		OK(fs_resolve(fs, forms[i], true, &e));
		OK(fs_open_file(fs, &other, e.st.st_ino, O_RDONLY, &h));
		assert_true(fs_handle_keep_cache(h));
		assert_false(fs_handle_unsized(h));
		for (size_t k = 0; k < 200; k++) {
			size_t off = k * 7919 % (len + 10), want = k * 31 % sizeof(part);
			size_t there = off >= len ? 0 : len - off < want ? len - off : want;

			assert_int_equal(fs_read(fs, h, off, part, want), there);
			assert_memory_equal(part, all + (off < len ? off : 0), there);
		}
		fs_release(fs, h);
		fs_forget(fs, e.st.st_ino, 1);
		free(all);
	}
	/* The pickle is written anew at the end, the old one stays where it was: what holds is what a reader finds. */
	assert_true(holds("@json/a.pt", "\"w\""));
	assert_true(holds("@json/a.pt", "\"cuda:0\""));
	assert_true(holds("@json/@cpu/a.pt", "\"cpu\""));
	assert_false(holds("@json/@cpu/a.pt", "\"cuda:0\""));
	assert_true(holds("@json/@cuda:1/a.pt", "\"cuda:1\""));
	assert_true(holds("@json/@cuda/a.pt", "\"cuda:0\""));
	assert_true(holds("@json/@cpu+bf16/a.pt", "\"bfloat16\""));
	assert_true(holds("@summary/a.pt", "epoch"));
	expect("@tree/a.pt/epoch", "3\n", 2);
	assert_false(exists("@nothing/a.pt"));
	assert_false(exists("@cpu/b.pt"));
	assert_int_equal(stat_fails("@cpu/a.pt/x"), -ENOTDIR);
	assert_int_equal(stat_fails("@tree/a.pt/epoch/x"), -ENOTDIR);
	assert_int_equal(stat_fails("@cpu/@cpu/@cpu/@cpu/@cpu/@cpu/a.pt"), -ENOENT);
}

static void test_the_rest_as_it_is(void **state)
{
	struct fs_entry d, e;
	struct stat st;
	struct names l;
	char buf[16];
	uint64_t ino;

	(void)state;
	OK(fs_make(fs, &trainer, FS_ROOT, "dir", S_IFDIR | 0750, 0, NULL, &d));
	OK(fs_make(fs, &trainer, d.st.st_ino, "inner", S_IFDIR | 0755, 0, NULL, &e));
	fs_forget(fs, e.st.st_ino, 1);
	fs_forget(fs, d.st.st_ino, 1);
	OK(fs_make(fs, &trainer, FS_ROOT, "link", S_IFLNK | 0777, 0, "dir/x", &e));
	fs_forget(fs, e.st.st_ino, 1);
	save("m.json", "{\"acc\": 1}", 10);
	save("empty.pt", "", 0);
	save_torch("a.pt", 1, 1);
	l = list("@cpu", false);
	assert_string_equal(l.text, ". .. dir link m.json empty.pt a.pt ");
	l = list("@cpu", true);
	assert_string_equal(l.text, ". .. dir link m.json empty.pt a.pt ");
	l = list("@tree", true);
	assert_string_equal(l.text, ". .. dir link m.json empty.pt a.pt ");
	l = list("@safetensors", true);
	assert_string_equal(l.text, ". .. dir link m.json empty.pt a.pt.safetensors ");
	expect("@cpu/m.json", "{\"acc\": 1}", 10);
	expect("@json/m.json", "{\"acc\": 1}", 10);
	expect("@tree/m.json", "{\"acc\": 1}", 10);
	expect("@safetensors/m.json", "{\"acc\": 1}", 10);
	expect("@cpu/empty.pt", "", 0);
	st = stat_of("@cpu/dir");
	assert_int_equal(st.st_mode, S_IFDIR | 0550);
	assert_true(S_ISDIR(stat_of("@tree/a.pt").st_mode));
	assert_int_equal(stat_of("@tree/a.pt").st_mode & 0777, 0555);
	l = list("@tree/a.pt", true);
	assert_string_equal(l.text, ". .. w.npy epoch ");
	ino = look("@bf16/link");
	assert_int_equal(fs_readlink(fs, ino, buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "dir/x", 5);
	fs_forget(fs, ino, 1);
	assert_true(exists("@safetensors/a.pt")); /* not listed: for links that lead there */
	assert_false(exists("@safetensors/m.json.safetensors"));
	/* a file of that name in the tree is the one that is shown */
	save("a.pt.safetensors", "mine", 4);
	expect("@safetensors/a.pt.safetensors", "mine", 4);
	l = list("@safetensors", true);
	assert_string_equal(l.text, ". .. dir link m.json empty.pt a.pt.safetensors ");
}

static void test_modes(void **state)
{
	struct stat st = { .st_mode = 0640, .st_uid = 12, .st_gid = 34 };
	struct fs_entry e;
	uint64_t ino;

	(void)state;
	save_torch("a.pt", 1, 1);
	ino = look("a.pt");
	OK(fs_setattr(fs, &trainer, ino, &st, FS_SET_MODE | FS_SET_UID | FS_SET_GID, NULL, &e));
	fs_forget(fs, ino, 1);
	st = stat_of("@cpu/a.pt");
	assert_int_equal(st.st_mode, S_IFREG | 0440);
	assert_int_equal(st.st_uid, 12);
	assert_int_equal(st.st_gid, 34);
	assert_int_equal(stat_of("@tree/a.pt").st_mode, S_IFDIR | 0550);
	assert_int_equal(stat_of("@tree/a.pt/epoch").st_mode, S_IFREG | 0440);
}

/* --- files that can't be understood ------------------------------------------------------------------ */

static void test_damaged(void **state)
{
	static const char *const views[] = { "@cpu/t.pt", "@json/t.pt", "@summary/t.pt", "@bf16/t.pt",
		"@tree/t.pt", "@cpu/t.pt" };
	struct byte_buf f = { 0 };
	struct names l;

	(void)state;
	make_torch(&f, 1, 1);
	save("t.pt", f.p, f.len - 40);
	save("m.json", "{}", 2);
	log_begin();
	for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++) {
		assert_int_equal(stat_fails(views[i]), -EIO);
		assert_non_null(strstr(ckpt_errmsg(), "t.pt"));
		assert_int_equal(open_fails(views[i]), -EIO);
	}
	assert_int_equal(stat_fails("@safetensors/t.pt.safetensors"), -EIO);
	l = list("@cpu", false);
	assert_string_equal(l.text, ". .. t.pt m.json ");
	l = list("@cpu", true);
	assert_string_equal(l.text, ". .. t.pt m.json ");
	expect("t.pt", f.p, f.len - 40);
	close_and_reopen();
	assert_int_equal(stat_fails("@cpu/t.pt"), -EIO);
	assert_int_equal(log_end("t.pt"), 1);
	/* saved again, it is another version */
	save("t.pt", f.p, f.len);
	assert_false(holds("@json/@cpu/t.pt", "cuda:0"));
	byte_buf_release(&f);
}

/* What can't be made of a run: -EIO, and one line in the log. */
static void test_refused(void **state)
{
	struct runs_place p = { .fs = fs };
	struct fs_mark m = { .rule = 77 };

	(void)state;
	save_checkpoint("epoch-1.pth");
	OK(view_scan_get(fs, &p.scan));
	log_begin();
	for (int i = 0; i < 3; i++) {
		ckpt_fail(EFBIG, "too many for a table");
		assert_int_equal(runs_refuse(&p, &m, "metrics.csv"), -EIO);
		assert_non_null(strstr(ckpt_errmsg(), "too many for a table"));
	}
	assert_int_equal(log_end("metrics.csv"), 1);
	view_scan_put(fs, p.scan);
}

/* --- files that change ------------------------------------------------------------------------------- */

static void test_replaced(void **state)
{
	uint64_t old_ino, new_ino;
	struct fs_handle *h, *again;
	char *before, part[64];
	struct fs_entry e;
	size_t len;

	(void)state;
	save_torch("a.pt", 1, 1);
	before = whole("@cpu/a.pt", &len);
	old_ino = look("@cpu/a.pt");
	assert_int_equal(look("@cpu/a.pt"), old_ino);
	fs_forget(fs, old_ino, 1);
	OK(fs_open_file(fs, &other, old_ino, O_RDONLY, &h));
	save("a.pt", "now something else", 18);
	/* who has it open goes on with what he opened */
	for (size_t off = 0; off < len; off += sizeof(part)) {
		size_t want = len - off < sizeof(part) ? len - off : sizeof(part);

		assert_int_equal(fs_read(fs, h, off, part, sizeof(part)), want);
		assert_memory_equal(part, before + off, want);
	}
	OK(fs_getattr(fs, old_ino, &e));
	assert_int_equal(e.st.st_size, len);
	assert_int_equal(e.st.st_ino, old_ino);
	/* who comes now sees another file, and the kernel is told to look again */
	new_ino = look("@cpu/a.pt");
	assert_true(new_ino != old_ino);
	assert_int_equal(fs_open_file(fs, &other, old_ino, O_RDONLY, &again), -ESTALE);
	expect("@cpu/a.pt", "now something else", 18);
	OK(fs_unlink(fs, &trainer, FS_ROOT, "a.pt"));
	assert_false(exists("@cpu/a.pt"));
	OK(fs_getattr(fs, old_ino, &e));
	assert_int_equal(fs_read(fs, h, 0, part, 4), 4);
	assert_memory_equal(part, "PK\3\4", 4);
	fs_release(fs, h);
	fs_forget(fs, old_ino, 1);
	fs_forget(fs, new_ino, 1);
	free(before);
}

static void test_being_written(void **state)
{
	struct byte_buf one = { 0 }, two = { 0 };
	struct fs_handle *h;

	(void)state;
	make_torch(&one, 1, 1);
	make_torch(&two, 2, 2);
	save("a.pt", one.p, one.len);
	expect("@tree/a.pt/epoch", "1\n", 2);
	h = open_as(&trainer, "a.pt", O_WRONLY | O_TRUNC);
	write_as(&trainer, h, 0, two.p, 100);
	expect("@tree/a.pt/epoch", "1\n", 2);
	write_as(&trainer, h, 100, two.p + 100, two.len - 100);
	expect("@tree/a.pt/epoch", "1\n", 2);
	close_as(&trainer, h);
	expect("@tree/a.pt/epoch", "2\n", 2);
	/* in place, under one version's number: the bytes are other ones each time it is published */
	h = open_as(&trainer, "a.pt", O_RDWR);
	for (int i = 0; i < 3; i++) {
		struct byte_buf *now = i % 2 ? &two : &one;

		write_as(&trainer, h, 0, now->p, now->len);
		OK(fs_fsync(fs, h, true));
		expect("@tree/a.pt/epoch", i % 2 ? "2\n" : "1\n", 2);
	}
	close_as(&trainer, h);
	byte_buf_release(&one);
	byte_buf_release(&two);
}

static void test_history(void **state)
{
	char version[300], p[340];

	(void)state;
	save_torch("a.pt", 1, 1);
	save_torch("a.pt", 2, 2);
	version_of("a.pt", version);
	assert_string_not_equal(version, "");
	snprintf(p, sizeof(p), "@tree/%s/epoch", version);
	expect(p, "1\n", 2);
	snprintf(p, sizeof(p), "@json/@cpu/%s", version);
	assert_false(holds(p, "cuda:0"));
	snprintf(p, sizeof(p), "@json/%s", version);
	assert_true(holds(p, "cuda:0"));
}

/* --- many at once ------------------------------------------------------------------------------------ */

static atomic_bool stop;

static void *look_at_views(void *arg)
{
	static const char *const views[] = { "@cpu/a.pt", "@json/a.pt", "@tree/a.pt/epoch", "@bf16/a.pt",
		"@summary/a.pt" };
	char buf[64];

	(void)arg;
	for (unsigned i = 0; !atomic_load(&stop); i++) {
		struct fs_handle *h;
		struct fs_entry e;

		if (fs_resolve(fs, views[i % 5], true, &e) < 0)
			continue;
		if (fs_open_file(fs, &other, e.st.st_ino, O_RDONLY, &h) == 0) {
			assert_true(fs_read(fs, h, 0, buf, sizeof(buf)) > 0);
			fs_release(fs, h);
		}
		fs_forget(fs, e.st.st_ino, 1);
	}
	return NULL;
}

static void test_crowd(void **state)
{
	struct byte_buf f = { 0 };
	pthread_t threads[4];

	(void)state;
	atomic_store(&stop, false);
	save_torch("a.pt", 0, 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look_at_views, NULL), 0);
	for (char i = 1; i < 30; i++)
		save_torch("a.pt", i, (uint8_t)i);
	atomic_store(&stop, true);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	expect("@tree/a.pt/epoch", "29\n", 3);
	byte_buf_release(&f);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_forms),
		T(test_the_rest_as_it_is),
		T(test_modes),
		T(test_damaged),
		T(test_refused),
		T(test_replaced),
		T(test_being_written),
		T(test_history),
		T(test_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
