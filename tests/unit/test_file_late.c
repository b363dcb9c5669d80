/*
 * test_file_late.c: a write whose writer was answered before its bytes were handed on.
 *
 * Between the two steps of such a write its bytes count like any others: each operation in turn comes in between, and what the
 * file reads is compared with a plain array of bytes, before and after the second step and after a crash.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "scratch_fs.h"
#include "store/store_file.h"
#include "store/store_internal.h"

enum { FIRST = 300 << 10, LATE = 128 << 10, MODEL_MAX = 2 << 20 };

static uint8_t model[MODEL_MAX];
static size_t model_size;
static uint64_t seed;

static uint8_t *noise(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		p[i] = (uint8_t)(seed >> 24);
	}
	return p;
}

static void model_put(size_t off, const uint8_t *p, size_t n)
{
	memcpy(model + off, p, n);
	if (model_size < off + n)
		model_size = off + n;
}

static void model_truncate(size_t size)
{
	if (size < model_size)
		memset(model + size, 0, model_size - size);
	model_size = size;
}

/* The file reads as the model, whole and in pieces that begin where layers meet. */
static void same(struct store_file *f, const char *when)
{
	static const size_t from[] = { 0, FIRST - 1, FIRST, FIRST + LATE - 1, FIRST + LATE };
	static uint8_t got[MODEL_MAX + 1];
	struct store_attr a = { 0 };

	store_file_stat(f, &a);
	if (a.size != model_size)
		fail_msg("%s: %llu bytes, want %zu", when, (unsigned long long)a.size, model_size);
	for (size_t i = 0; i < sizeof(from) / sizeof(*from); i++) {
		size_t want = model_size > from[i] ? model_size - from[i] : 0;
		ssize_t n = store_file_read(f, from[i], got, sizeof(got));

		if (n != (ssize_t)want)
			fail_msg("%s: read at %zu: %zd, want %zu", when, from[i], n, want);
		if (memcmp(got, model + from[i], want) != 0)
			fail_msg("%s: what is read at %zu differs", when, from[i]);
	}
}

/* --- what comes in between --------------------------------------------------------------------------- */

static uint8_t other_bytes[256 << 10];

static void overwrite(struct store_file *f, size_t off, size_t len)
{
	OK(store_file_write(f, off, noise(other_bytes, len), len));
	model_put(off, other_bytes, len);
}

static void truncate_to(struct store_file *f, size_t size)
{
	OK(store_file_truncate(f, size));
	model_truncate(size);
}

static void nothing(struct store_file *f) { (void)f; }
static void truncate_late(struct store_file *f) { truncate_to(f, FIRST + 5000); }
static void truncate_before(struct store_file *f) { truncate_to(f, FIRST - 5000); }
static void truncate_far(struct store_file *f) { truncate_to(f, 100); }
static void truncate_up(struct store_file *f) { truncate_to(f, FIRST + LATE + 70000); }
static void truncate_all(struct store_file *f) { truncate_to(f, 0); }
static void write_into(struct store_file *f) { overwrite(f, FIRST + 1000, 777); }
static void write_across(struct store_file *f) { overwrite(f, FIRST - 3000, 9000); }
static void write_over_end(struct store_file *f) { overwrite(f, FIRST + LATE - 100, 70000); }
static void write_before(struct store_file *f) { overwrite(f, 10, 4096); }
static void write_behind(struct store_file *f) { overwrite(f, FIRST + LATE + 100000, 200000); }

static void append(struct store_file *f)
{
	OK(store_file_write(f, STORE_APPEND, noise(other_bytes, 300), 300));
	model_put(model_size, other_bytes, 300);
}

static void append_late(struct store_file *f)
{
	bool late = false;

	OK(store_file_write_begin(f, STORE_APPEND, noise(other_bytes, LATE), LATE, &late));
	assert_true(late);
	model_put(model_size, other_bytes, LATE);
	same(f, "one behind the other");
	store_file_write_end(f);
	memset(other_bytes, 0, LATE); /* nobody looks there any more */
}

static void punch(struct store_file *f)
{
	OK(store_file_punch(f, FIRST - 4000, 20000));
	memset(model + FIRST - 4000, 0, 20000);
}

static void replace(struct store_file *f)
{
	OK(store_file_replace(f));
	model_truncate(0);
	overwrite(f, 0, 50000);
}

static void publish(struct store_file *f) { OK(store_file_publish(f, false)); }
static void publish_durable(struct store_file *f) { OK(store_file_publish(f, true)); }

static void seek(struct store_file *f)
{
	uint64_t at;

	OK(store_file_seek(f, FIRST + 10, SEEK_DATA, &at));
	assert_int_equal(at, FIRST + 10);
	OK(store_file_seek(f, 0, SEEK_HOLE, &at));
	assert_int_equal(at, FIRST + LATE);
}

static void clone_within(struct store_file *f)
{
	assert_int_equal(store_file_clone(f, FIRST - 1000, f, 0, 50000), 50000);
	memcpy(model, model + FIRST - 1000, 50000);
}

static const struct {
	const char *name;
	void (*op)(struct store_file *f);
} between[] = {
	{ "nothing", nothing }, { "truncate into it", truncate_late }, { "truncate before it", truncate_before },
	{ "truncate far before it", truncate_far }, { "truncate behind it", truncate_up }, { "truncate to nothing", truncate_all },
	{ "write into it", write_into }, { "write across its start", write_across }, { "write over its end", write_over_end },
	{ "write before it", write_before }, { "write behind it", write_behind }, { "append", append },
	{ "append, late too", append_late }, { "punch", punch }, { "replace", replace }, { "publish", publish },
	{ "fsync", publish_durable }, { "seek", seek }, { "clone", clone_within },
};

static void test_between(void **state)
{
	static uint8_t first[FIRST], buf[LATE];

	(void)state;
	for (size_t i = 0; i < sizeof(between) / sizeof(*between); i++) {
		struct fs_handle *h;
		struct store_file *f;
		bool late = false;
		char name[32];

		seed = 88172645463325252u + i;
		memset(model, 0, sizeof(model));
		model_size = 0;
		snprintf(name, sizeof(name), "f%zu", i);
		h = open_as(&trainer, name, O_RDWR | O_CREAT);
		f = h->body->file;
		write_as(&trainer, h, 0, noise(first, FIRST), FIRST);
		model_put(0, first, FIRST);
		OK(store_file_write_begin(f, FIRST, noise(buf, LATE), LATE, &late));
		assert_true(late);
		model_put(FIRST, buf, LATE);
		same(f, between[i].name);
		between[i].op(f);
		same(f, between[i].name);
		store_file_write_end(f);
		memset(buf, 0xa5, sizeof(buf));
		same(f, between[i].name);
		overwrite(f, model_size, 200 << 10);
		same(f, between[i].name);
		close_as(&trainer, h);
		crash_and_reopen();
		expect(name, model, model_size);
	}
}

/* A clone from a file that has late bytes shows them. */
static void test_clone_from(void **state)
{
	static uint8_t first[FIRST], buf[LATE], got[LATE];
	struct fs_handle *from = open_as(&trainer, "from", O_RDWR | O_CREAT), *to = open_as(&trainer, "to", O_RDWR | O_CREAT);
	bool late = false;

	(void)state;
	seed = 7;
	write_as(&trainer, from, 0, noise(first, FIRST), FIRST);
	OK(store_file_write_begin(from->body->file, FIRST, noise(buf, LATE), LATE, &late));
	assert_true(late);
	assert_int_equal(store_file_clone(from->body->file, FIRST, to->body->file, 0, LATE), LATE);
	assert_int_equal(store_file_read(to->body->file, 0, got, LATE), LATE);
	assert_memory_equal(got, buf, LATE);
	store_file_write_end(from->body->file);
	close_as(&trainer, from);
	close_as(&trainer, to);
}

/* Not each write may be late: the caller is told, and then nothing is borrowed. */
static void test_not_late(void **state)
{
	static const struct {
		uint64_t off;
		size_t len;
	} writes[] = { { 0, LATE }, { LATE, 100 }, { 40000, LATE / 2 }, { 3 * LATE, 100 } };
	static uint8_t buf[LATE];
	struct fs_handle *h = open_as(&trainer, "n", O_RDWR | O_CREAT);

	(void)state;
	for (size_t i = 0; i < sizeof(writes) / sizeof(*writes); i++) {
		bool late = false;
		uint8_t got;

		OK(store_file_write_begin(h->body->file, writes[i].off, memset(buf, 'a' + (int)i, LATE), writes[i].len, &late));
		if (i > 0)
			assert_false(late);
		else if (late)
			store_file_write_end(h->body->file);
		memset(buf, 0, LATE);
		assert_int_equal(store_file_read(h->body->file, writes[i].off + writes[i].len - 1, &got, 1), 1);
		assert_int_equal(got, 'a' + i);
	}
	close_as(&trainer, h);
}

/* --- errors ------------------------------------------------------------------------------------------ */

/* The store breaks after the writer was answered: whoever writes, syncs or closes next hears of it, and nothing is published. */
static void test_error_is_told(void **state)
{
	static uint8_t buf[1 << 20];
	struct store_file_state st;
	struct fs_body *rest = NULL;
	struct fs_handle *h;

	(void)state;
	seed = 11;
	save("e", "the version before", 18);
	h = open_as(&trainer, "e", O_WRONLY | O_TRUNC);
	write_as(&trainer, h, 0, noise(buf, 64 << 10), 64 << 10);
	assert_int_equal(fs_write_begin(fs, &trainer, h, 64 << 10, noise(buf, sizeof(buf)), sizeof(buf), &rest), sizeof(buf));
	assert_non_null(rest);
	atomic_store(&fs_store(fs)->failed, EIO);
	fs_write_end(fs, rest); /* 1 MiB of noise has cuts, whose chunks nobody takes */
	store_file_state(h->body->file, &st);
	assert_int_equal(st.error, EIO);
	assert_int_equal(fs_write(fs, &trainer, h, (64 << 10) + sizeof(buf), buf, 4096), -EIO);
	assert_int_equal(fs_fsync(fs, h, false), -EIO);
	assert_int_equal(fs_flush(fs, &trainer, h), -EIO);
	fs_release(fs, h);
	crash_and_reopen();
	expect("e", "the version before", 18);
}

/* --- closing ----------------------------------------------------------------------------------------- */

/* FLUSH and RELEASE, even UNLINK, overtake the second step. */
static void test_close_in_between(void **state)
{
	static uint8_t want[FIRST + LATE], buf[LATE];

	(void)state;
	for (int gone = 0; gone < 2; gone++) {
		struct fs_handle *h = open_as(&trainer, "c", O_WRONLY | O_CREAT | O_TRUNC);
		struct fs_body *rest = NULL;

		seed = 17 + (uint64_t)gone;
		write_as(&trainer, h, 0, noise(want, FIRST), FIRST);
		memcpy(want + FIRST, noise(buf, LATE), LATE);
		assert_int_equal(fs_write_begin(fs, &trainer, h, FIRST, buf, LATE, &rest), LATE);
		assert_non_null(rest);
		close_as(&trainer, h);
		expect("c", want, sizeof(want));
		if (gone)
			OK(fs_unlink(fs, &trainer, FS_ROOT, "c"));
		memset(buf, 0, sizeof(buf));
		fs_write_end(fs, rest);
		if (!gone) {
			crash_and_reopen();
			expect("c", want, sizeof(want));
		} else {
			close_and_reopen();
			assert_false(exists("c"));
		}
	}
}

/* A synced write is on the disk before its writer is answered, late or not. */
static void test_synced(void **state)
{
	static uint8_t want[2 * LATE];
	struct fs_handle *h = open_as(&trainer, "s", O_WRONLY | O_CREAT | O_SYNC);
	struct fs_body *rest = NULL;

	(void)state;
	seed = 23;
	noise(want, sizeof(want));
	write_as(&trainer, h, 0, want, LATE);
	assert_int_equal(fs_write_begin(fs, &trainer, h, LATE, want + LATE, LATE, &rest), LATE);
	if (rest)
		fs_write_end(fs, rest);
	crash_and_reopen();
	expect("s", want, sizeof(want));
}

/* --- threads ----------------------------------------------------------------------------------------- */

enum { ROUNDS = 96, PIECE = 64 << 10 };

struct crowd {
	struct fs_handle *h;
	atomic_size_t acknowledged;
	atomic_bool over;
};

/* Byte i of the crowd's file. */
static uint8_t nth(size_t i)
{
	return (uint8_t)((i * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

/* Whatever was acknowledged reads right, at once. */
static void *reader(void *arg)
{
	static uint8_t got[2 * PIECE];
	struct crowd *c = arg;

	while (!atomic_load(&c->over)) {
		size_t size = atomic_load(&c->acknowledged), from = size > sizeof(got) ? size - sizeof(got) : 0;
		ssize_t n = fs_read(fs, c->h, from, got, size - from);

		if (n != (ssize_t)(size - from))
			return "a read is short";
		for (size_t i = 0; i < (size_t)n; i++)
			if (got[i] != nth(from + i))
				return "a read is wrong";
	}
	return NULL;
}

static void *publisher(void *arg)
{
	struct crowd *c = arg;

	while (!atomic_load(&c->over))
		if (store_file_publish(c->h->body->file, false))
			return "publish failed";
	return NULL;
}

static void test_threads(void **state)
{
	static uint8_t buf[PIECE];
	struct crowd c = { .h = open_as(&trainer, "t", O_RDWR | O_CREAT) };
	pthread_t r, p;
	void *told[2];

	(void)state;
	assert_int_equal(pthread_create(&r, NULL, reader, &c), 0);
	assert_int_equal(pthread_create(&p, NULL, publisher, &c), 0);
	for (size_t i = 0; i < ROUNDS; i++) {
		struct fs_body *rest = NULL;

		for (size_t k = 0; k < PIECE; k++)
			buf[k] = nth(i * PIECE + k);
		assert_int_equal(fs_write_begin(fs, &trainer, c.h, i * PIECE, buf, PIECE, &rest), PIECE);
		atomic_store(&c.acknowledged, (i + 1) * PIECE);
		if (rest)
			fs_write_end(fs, rest);
		memset(buf, 0xee, sizeof(buf));
	}
	atomic_store(&c.over, true);
	pthread_join(r, &told[0]);
	pthread_join(p, &told[1]);
	for (int i = 0; i < 2; i++)
		if (told[i])
			fail_msg("%s", (const char *)told[i]);
	close_as(&trainer, c.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_between, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_clone_from, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_late, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_error_is_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_close_in_between, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_synced, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
