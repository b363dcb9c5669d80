/*
 * test_view_host.c: what views of a tree share: what is remembered, and what becomes of it when it is wrong;
 * objects kept; who may see; files that are open at the end.
 */
#include "scratch_views.h"

#include "codec/byte_buf.h"
#include "fs/view_host.h"
#include "store/store_derived.h"
#include "torchbridge/runs_internal.h"

/* --- what is remembered ------------------------------------------------------------------------------ */

static void test_facts(void **state)
{
	struct view_fact made, fact;
	struct view_source src;
	char name[16];
	struct stat st;

	(void)state;
	save_torch("a.pt", 1, 1);
	save("m.json", "{}", 2);
	st = stat_of("@cpu/a.pt");
	stat_of("@cpu/m.json");
	close_and_reopen();
	OK(view_source_find(fs, "a.pt", true, NULL, &src));
	OK(view_fact_get(fs, &src.mark, "doc", &fact));
	assert_int_equal(fact.verdict, VIEW_MADE);
	assert_string_equal(fact.text, "cuda:0");
	OK(view_fact_get(fs, &src.mark, "cpu", &fact));
	assert_int_equal(fact.verdict, VIEW_MADE);
	assert_int_equal(fact.size, st.st_size);
	assert_int_equal(view_fact_get(fs, &src.mark, "cuda:7", &fact), -ENOENT);
	/* nothing is forgotten as more is learnt, up to a limit */
	made = (struct view_fact){ .verdict = VIEW_MADE };
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "x%u", i);
		made.size = i;
		view_fact_put(fs, &src.mark, name, &made);
	}
	OK(view_fact_get(fs, &src.mark, "cpu", &fact));
	assert_int_equal(fact.size, st.st_size);
	OK(view_fact_get(fs, &src.mark, "x7", &fact));
	assert_int_equal(fact.size, 7);
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "y%u", i);
		made.size = i;
		view_fact_put(fs, &src.mark, name, &made);
	}
	OK(view_fact_get(fs, &src.mark, "y1999", &fact));
	OK(view_source_find(fs, "m.json", true, NULL, &src));
	OK(view_fact_get(fs, &src.mark, "doc", &fact));
	assert_int_equal(fact.verdict, VIEW_SAME);
	/* another content, other facts */
	save_torch("a.pt", 1, 1);
	OK(view_source_find(fs, "a.pt", true, NULL, &src));
	assert_int_equal(view_fact_get(fs, &src.mark, "doc", &fact), -ENOENT);
}

struct making {
	atomic_int made, dropped;
};
static struct making counted;

static int make_counted(void *arg, void **object, size_t *memory)
{
	atomic_fetch_add(&counted.made, 1);
	*memory = *(size_t *)arg;
	*object = &counted;
	return *memory == 0 ? ckpt_fail(EBADMSG, "not this one") : 0;
}

static void drop_counted(void *object)
{
	assert_ptr_equal(object, &counted);
	atomic_fetch_add(&counted.dropped, 1);
}

static struct view_cache *shared;

static void *get_many(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < 400; i++) {
		struct view_key k = { .mark = { .version = i % 10 + 1 }, .what = VIEW_DOC };
		size_t memory = 1000;
		struct view_item *item;

		assert_int_equal(view_cache_get(shared, &k, make_counted, &memory, drop_counted, &item), 0);
		view_item_put(shared, item);
	}
	return NULL;
}

static void test_cache(void **state)
{
	struct view_key k = { .mark = { .version = 1 }, .what = VIEW_DOC };
	size_t memory = 64 << 20;
	struct view_item *a, *b;
	pthread_t threads[4];

	(void)state;
	counted = (struct making){ 0 };
	shared = view_cache_new();
	assert_non_null(shared);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, get_many, NULL), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(counted.made, 10); /* each once, whoever asked */
	assert_int_equal(counted.dropped, 0);
	/* two large ones do not fit; what is in use stays */
	k.mark.version = 100;
	assert_int_equal(view_cache_get(shared, &k, make_counted, &memory, drop_counted, &a), 0);
	k.mark.version = 101;
	assert_int_equal(view_cache_get(shared, &k, make_counted, &memory, drop_counted, &b), 0);
	assert_int_equal(counted.dropped, 0);
	view_item_put(shared, a);
	assert_int_equal(counted.dropped, 1);
	view_item_put(shared, b);
	assert_int_equal(counted.dropped, 1);
	/* a failure is told and not kept */
	memory = 0;
	k.mark.version = 102;
	assert_int_equal(view_cache_get(shared, &k, make_counted, &memory, drop_counted, &a), -EBADMSG);
	assert_string_equal(ckpt_errmsg(), "not this one");
	assert_int_equal(view_cache_get(shared, &k, NULL, NULL, drop_counted, &a), -EAGAIN);
	view_cache_free(shared);
	assert_int_equal(counted.made, 13);
	assert_int_equal(counted.dropped, 12);
}

/* --- permissions ------------------------------------------------------------------------------------- */

static void test_access(void **state)
{
	static const struct {
		mode_t file, dir;
		uid_t dir_uid;
		gid_t dir_gid;
		mode_t want;
	} cases[] = {
		{ 0644, 0755, 0, 0, 0444 },
		{ 0644, 0700, 0, 0, 0 },        /* the owner of the file is a stranger there */
		{ 0644, 0700, 1, 0, 0400 },
		{ 0640, 0750, 1, 2, 0440 },
		{ 0644, 0750, 1, 2, 0440 },
		{ 0644, 0750, 0, 2, 0040 },
		{ 0644, 0705, 1, 3, 0400 },     /* the others here may be the group there */
		{ 0644, 0705, 1, 2, 0404 },
		{ 0600, 0777, 0, 0, 0400 },
		{ 0000, 0777, 1, 2, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct view_access a = { .any = false };

		view_access_meet(&a, 1, 2, cases[i].file, 4);
		view_access_meet(&a, cases[i].dir_uid, cases[i].dir_gid, cases[i].dir, 1);
		assert_int_equal(a.uid, 1);
		assert_int_equal(a.gid, 2);
		if (a.mode != cases[i].want)
			fail_msg("case %zu: %#o", i, (unsigned)a.mode);
	}
}

/* --- what is remembered is wrong --------------------------------------------------------------------- */

static void test_wrong_fact(void **state)
{
	struct view_fact wrong = { .verdict = VIEW_MADE };
	struct view_source src;
	struct fs_handle *h;
	struct fs_entry e;
	char *right, *again;
	size_t len, n;

	(void)state;
	save_torch("a.pt", 1, 1);
	right = whole("@cpu/a.pt", &len);
	OK(view_source_find(fs, "a.pt", true, NULL, &src));
	wrong.size = len + 8;
	view_fact_put(fs, &src.mark, "cpu", &wrong);
	close_and_reopen();
	assert_int_equal(stat_of("@cpu/a.pt").st_size, len + 8);
	/* whoever opens it has what it is, and who looks from then on sees that */
	log_begin();
	OK(fs_resolve(fs, "@cpu/a.pt", true, &e));
	OK(fs_open_file(fs, &other, e.st.st_ino, O_RDONLY, &h));
	fs_release(fs, h);
	fs_forget(fs, e.st.st_ino, 1);
	again = whole("@cpu/a.pt", &n);
	assert_int_equal(n, len);
	assert_memory_equal(again, right, len);
	assert_int_equal(log_end("does not fit"), 1);
	free(again);
	free(right);
}

/* Has the scan remember of a file that its parts are eight bytes longer, or of values that it does not have. */
static void spoil(const char *name, bool refs)
{
	struct byte_buf bytes = { 0 };
	struct runs_arena a = { 0 };
	struct view_source src;
	struct runs_fact fact;
	char key[64];
	uint8_t *p;
	size_t len;

	snprintf(key, sizeof(key), "runs:runs.%d.fact.file", BRIDGE_FACTS);
	OK(view_source_find(fs, name, true, NULL, &src));
	OK(store_derived_get(fs->store, src.mark.version, key, &p, &len));
	OK(runs_fact_read(&a, p, len, &fact));
	assert_true(fact.parts > 0);
	for (size_t i = 0; i < fact.parts; i++) {
		fact.part[i].size += refs ? 0 : 8;
		for (uint32_t k = 0; k < fact.part[i].refs && refs; k++)
			fact.part[i].ref[k] = 1u << 30;
	}
	OK(runs_fact_write(&fact, &bytes));
	OK(store_derived_put(fs->store, src.mark.version, key, bytes.p, bytes.len));
	byte_buf_release(&bytes);
	runs_arena_release(&a);
	free(p);
}

static void open_readonly(void)
{
	struct fs_options o = { .store = { .readonly = true, .workers = 1 } };

	OK(fs_close(fs));
	OK(fs_open(path, &o, &fs));
}

static void test_wrong_runs(void **state)
{
	static const char model[] = "@runs/root/1/model.pt";

	(void)state;
	for (int i = 0; i < 4; i++) {
		char *right, *again;
		struct fs_handle *h;
		struct fs_entry e;
		size_t len, n;

		save_checkpoint("epoch-1.pth"); /* a new version, of which nothing is known */
		right = whole(model, &len);
		spoil("epoch-1.pth", i % 2 == 1);
		if (i < 2)
			close_and_reopen();
		else
			open_readonly();
		log_begin();
		OK(fs_resolve(fs, model, true, &e));
		assert_int_equal(e.st.st_size, len + (i % 2 == 0 ? 8 : 0));
		/* What the number stands for is no more; the kernel looks again, and finds what is. */
		if (i % 2 == 0)
			assert_int_equal(fs_open_file(fs, &other, e.st.st_ino, O_RDONLY, &h), -ESTALE);
		again = whole(model, &n);
		fs_forget(fs, e.st.st_ino, 1);
		assert_int_equal(n, len);
		assert_memory_equal(again, right, len);
		free(again);
		again = whole(model, &n);
		free(again);
		free(right);
		n = (size_t)log_end("does not fit");
		if (n != 1)
			fail_msg("turn %d: %zu lines", i, n);
		if (i >= 2)
			close_and_reopen();
	}
}

/* --- open files -------------------------------------------------------------------------------------- */

static void test_open_at_the_end(void **state)
{
	static const char *const views[] = { "@cpu/a.pt", "@json/a.pt", "@tree/a.pt/w.npy", "@bf16/a.pt",
		"@stats", "@cpu/m.json" };
	struct fs_handle *h;
	struct fs_entry e;

	(void)state;
	save_torch("a.pt", 1, 1);
	save("m.json", "{}", 2);
	for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++) {
		OK(fs_resolve(fs, views[i], true, &e));
		OK(fs_open_file(fs, &other, e.st.st_ino, O_RDONLY, &h));
		if (i % 2 == 0) { /* one in the middle of others that is closed */
			OK(fs_open_file(fs, &other, e.st.st_ino, O_RDONLY, &h));
			fs_release(fs, h);
		}
	}
	close_and_reopen();
	expect("@cpu/m.json", "{}", 2);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_facts),
		T(test_wrong_fact),
		T(test_wrong_runs),
		T(test_cache),
		T(test_access),
		T(test_open_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
