/*
 * test_fs_views.c: views of checkpoints over a tree: what is shown, what is remembered, what happens while files change.
 */
#include "memory_file.h"
#include "scratch_fs.h"

#include "fs/view_host.h"

#define P2 "\x80\2"
#define STR(n, s) "X" n "\0\0\0" s
#define OD "ccollections\nOrderedDict\n)R"
#define PID(key, count)                                                                                      \
	"(" STR("\7", "storage") "ctorch\nFloatStorage\n" STR("\1", key) STR("\6", "cuda:0") count "tQ"
#define V2(pid, offset, size, stride)                                                                        \
	"ctorch._utils\n_rebuild_tensor_v2\n(" pid offset size stride "\x89" OD "tR"

/* {"w": a tensor of 2 x 3 floats, "epoch": epoch}, as torch.save writes it on a GPU. */
static void make_torch(struct byte_buf *f, char epoch, uint8_t fill)
{
	static const char head[] = P2 "}(" STR("\1", "w")
			V2(PID("0", "K\6"), "K\0", "K\2K\3\x86", "K\3K\1\x86") STR("\5", "epoch") "K";
	uint8_t p[sizeof(head) + 2], data[24];
	struct zip_writer w;

	memcpy(p, head, sizeof(head) - 1);
	p[sizeof(head) - 1] = (uint8_t)epoch;
	memcpy(p + sizeof(head), "u.", 2);
	memset(data, fill, sizeof(data));
	f->len = 0;
	zip_writer_init(&w, 0, 0);
	memory_record(f, &w, "m/data.pkl", p, sizeof(p));
	memory_record(f, &w, "m/byteorder", "little", 6);
	memory_record(f, &w, "m/data/0", data, sizeof(data));
	memory_record(f, &w, "m/version", "3\n", 2);
	assert_int_equal(zip_write_end(&w, f), 0);
	zip_writer_release(&w);
}

static void save_torch(const char *name, char epoch, uint8_t fill)
{
	struct byte_buf f = { 0 };

	make_torch(&f, epoch, fill);
	save(name, f.p, f.len);
	byte_buf_release(&f);
}

/* All of a path's bytes, terminated; checked against its size. Caller frees. */
static char *whole(const char *p, size_t *len)
{
	struct fs_entry e;
	struct fs_handle *h;
	ssize_t n;
	char *b;

	OK(fs_resolve(fs, p, true, &e));
	OK(fs_open_file(fs, &other, e.st.st_ino, O_RDONLY, &h));
	b = calloc(1, (size_t)e.st.st_size + 2);
	assert_non_null(b);
	*len = 0;
	while ((n = fs_read(fs, h, *len, b + *len, (size_t)e.st.st_size + 1 - *len)) > 0)
		*len += (size_t)n;
	OK(n);
	assert_int_equal(*len, e.st.st_size);
	fs_release(fs, h);
	fs_forget(fs, e.st.st_ino, 1);
	return b;
}

static bool holds(const char *p, const char *what)
{
	size_t len;
	char *b = whole(p, &len);
	bool found = memmem(b, len, what, strlen(what)) != NULL;

	free(b);
	return found;
}

static int stat_fails(const char *p)
{
	struct fs_entry e;
	int rc = fs_resolve(fs, p, false, &e);

	assert_true(rc < 0);
	return rc;
}

static int open_fails(const char *p)
{
	char dir[256];
	const char *slash = strrchr(p, '/');
	struct fs_handle *h;
	struct fs_entry d, e;
	int rc;

	/* As a listing that shows it, the open follows. */
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - p), p);
	OK(fs_resolve(fs, dir, true, &d));
	OK(fs_view_lookup_listed(fs, d.st.st_ino, slash + 1, false, &e));
	rc = fs_open_file(fs, &command, e.st.st_ino, O_RDONLY, &h);
	assert_true(rc < 0);
	fs_forget(fs, e.st.st_ino, 1);
	fs_forget(fs, d.st.st_ino, 1);
	return rc;
}

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

/* Lines that the log gets while this is on. */
static int log_fd = -1, stderr_fd;

static void log_begin(void)
{
	FILE *f = tmpfile();

	assert_non_null(f);
	fflush(stderr);
	stderr_fd = dup(2);
	log_fd = dup(fileno(f));
	fclose(f);
	dup2(log_fd, 2);
}

static int log_end(const char *what)
{
	char text[8192];
	ssize_t n;
	int lines = 0;

	fflush(stderr);
	dup2(stderr_fd, 2);
	close(stderr_fd);
	n = pread(log_fd, text, sizeof(text) - 1, 0);
	close(log_fd);
	assert_true(n >= 0);
	text[n] = '\0';
	for (const char *p = text; (p = strstr(p, what)); p++)
		lines++;
	return lines;
}

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
		T(test_replaced),
		T(test_being_written),
		T(test_history),
		T(test_facts),
		T(test_cache),
		T(test_access),
		T(test_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
