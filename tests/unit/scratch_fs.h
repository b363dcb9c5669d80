/*
 * scratch_fs.h: for test programs of fs/: a tree over a store in a directory of its own.  Each program includes it once.
 *
 * Processes are made up: a table says of each pid to which process it belongs and what is becoming of it, so that a writer
 * can die at any moment of a test.  A crash is fs_crash(): nothing more is committed, and the store is opened again.
 */
#ifndef SCRATCH_FS_H
#define SCRATCH_FS_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/fs_internal.h"

static char base[256], path[300];
static struct fs *fs;

/* --- processes --------------------------------------------------------------------------------------- */

enum { TRAINER = 100, TRAINER_THREAD = 101, CHILD = 200, OTHER = 300, WORKER = 400, PIDS = 512 };

static struct { atomic_int life; pid_t group; } people[PIDS];

static inline enum fs_life fake_life(pid_t pid)
{
	return pid > 0 && pid < PIDS ? (enum fs_life)atomic_load(&people[pid].life) : FS_UNSEEN;
}

static inline pid_t fake_group(pid_t pid)
{
	return pid > 0 && pid < PIDS ? people[pid].group : 0;
}

static inline void everybody_lives(void)
{
	for (pid_t p = 0; p < PIDS; p++) {
		atomic_store(&people[p].life, FS_ALIVE);
		people[p].group = p;
	}
	people[TRAINER_THREAD].group = TRAINER;
	atomic_store(&people[WORKER].life, FS_UNSEEN);
}

static const struct fs_caller trainer = { .pid = TRAINER, .kernel = true };
static const struct fs_caller thread = { .pid = TRAINER_THREAD, .kernel = true };
static const struct fs_caller child = { .pid = CHILD, .kernel = true };
static const struct fs_caller other = { .pid = OTHER, .kernel = true };
static const struct fs_caller worker = { .pid = WORKER, .kernel = true };
static const struct fs_caller command = { .pid = 0, .kernel = false };

static inline void dies(enum fs_life how)
{
	atomic_store(&people[TRAINER].life, how);
	atomic_store(&people[TRAINER_THREAD].life, how);
}

/* --- helpers ----------------------------------------------------------------------------------------- */

static inline void open_tree_with(bool torn_keep)
{
	struct fs_options o = { .store = { .create = true, .workers = 1, .history_seconds = -1 }, .torn_keep = torn_keep };
	int rc = fs_open(path, &o, &fs);

	if (rc < 0)
		fail_msg("fs_open: %s", ckpt_errmsg());
	fs->proc = (struct fs_proc){ .life = fake_life, .group = fake_group };
	everybody_lives();
}

static inline void crash_and_reopen(void)
{
	fs_crash(fs);
	open_tree_with(false);
}

static inline void close_and_reopen(void)
{
	assert_int_equal(fs_close(fs), 0);
	open_tree_with(false);
}

static inline int set_up(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(base, sizeof(base), "%s/ckptfs-fs-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(base))
		return -1;
	snprintf(path, sizeof(path), "%s/s.ckptfs", base);
	open_tree_with(false);
	return 0;
}

static inline int tear_down(void **state)
{
	char cmd[400];

	(void)state;
	fs_close(fs);
	fs = NULL;
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", base);
	return system(cmd);
}

static inline void ok_at(long rc, int line)
{
	if (rc < 0)
		fail_msg("line %d: %s: %s", line, strerror((int)-rc), ckpt_errmsg());
}
#define OK(call) ok_at((long)(call), __LINE__)

/* The number of a path, which the caller forgets; 0 when it is not there. */
static inline uint64_t look(const char *p)
{
	struct fs_entry e;
	int rc = fs_resolve(fs, p, false, &e);

	if (rc == -ENOENT)
		return 0;
	OK(rc);
	return e.st.st_ino;
}

static inline bool exists(const char *p)
{
	uint64_t ino = look(p);

	if (ino)
		fs_forget(fs, ino, 1);
	return ino != 0;
}

static inline struct stat stat_of(const char *p)
{
	struct fs_entry e;

	OK(fs_resolve(fs, p, false, &e));
	fs_forget(fs, e.st.st_ino, 1);
	return e.st;
}

/* Opens a path of the root; creates it if asked. */
static inline struct fs_handle *open_as(const struct fs_caller *c, const char *name, int flags)
{
	struct fs_handle *h = NULL;
	struct fs_entry e;

	if ((flags & O_CREAT) && !exists(name)) {
		OK(fs_create(fs, c, FS_ROOT, name, 0644, flags, &h, &e));
		assert_false(e.settled);
	} else {
		OK(fs_resolve(fs, name, true, &e));
		OK(fs_open_file(fs, c, e.st.st_ino, flags, &h));
	}
	fs_forget(fs, e.st.st_ino, 1);
	return h;
}

static inline void write_as(const struct fs_caller *c, struct fs_handle *h, uint64_t off, const void *p, size_t len)
{
	ssize_t n = fs_write(fs, c, h, off, p, len);

	OK(n);
	assert_int_equal(n, len);
}

static inline void close_as(const struct fs_caller *c, struct fs_handle *h)
{
	OK(fs_flush(fs, c, h));
	fs_release(fs, h);
}

static inline void save(const char *name, const void *p, size_t len)
{
	struct fs_handle *h = open_as(&trainer, name, O_WRONLY | O_CREAT | O_TRUNC);

	if (len > 0)
		write_as(&trainer, h, 0, p, len);
	close_as(&trainer, h);
}

static inline void expect(const char *p, const void *want, size_t len)
{
	struct fs_entry e;
	struct fs_handle *h;
	uint8_t *got = malloc(len + 1);
	size_t have = 0;
	ssize_t n;

	assert_non_null(got);
	OK(fs_resolve(fs, p, true, &e));
	OK(fs_open_file(fs, &other, e.st.st_ino, O_RDONLY, &h));
	while (have < len + 1 && (n = fs_read(fs, h, have, got + have, len + 1 - have)) != 0) {
		OK(n);
		have += (size_t)n;
	}
	assert_int_equal(have, len);
	assert_memory_equal(got, want, len);
	fs_release(fs, h);
	fs_forget(fs, e.st.st_ino, 1);
	free(got);
}

struct names {
	char text[4096];
	size_t n;
};

static inline int add_name(void *arg, const char *name, size_t len, uint64_t ino, mode_t type, uint64_t cookie,
		const struct fs_entry *e)
{
	struct names *l = arg;

	(void)type;
	(void)cookie;
	assert_true(ino != 0);
	if (e)
		fs_forget(fs, e->st.st_ino, 1);
	assert_true(strlen(l->text) + len + 2 < sizeof(l->text));
	strncat(l->text, name, len);
	strcat(l->text, " ");
	l->n++;
	return 0;
}

static inline struct names list(const char *p, bool attrs)
{
	struct names l = { .n = 0 };
	uint64_t ino = look(p);
	struct fs_dir *d;

	assert_true(ino != 0);
	OK(fs_opendir(fs, ino, &d));
	OK(fs_readdir(fs, d, 0, attrs, add_name, &l));
	fs_closedir(fs, d);
	fs_forget(fs, ino, 1);
	return l;
}

/* The name of the only version of a path in the history, "" when there is none. */
static inline void version_of(const char *p, char out[300])
{
	char dir[256];
	struct names l;

	snprintf(dir, sizeof(dir), "@history/%s", p);
	out[0] = '\0';
	if (!exists(dir))
		return;
	l = list(dir, true);
	assert_int_equal(l.n, 3);
	assert_memory_equal(l.text, ". .. ", 5);
	l.text[strlen(l.text) - 1] = '\0';
	snprintf(out, 300, "%.200s/%.90s", dir, l.text + 5);
}

/* A zip with one stored entry of `len` bytes; without its end when torn. Returns its length. */
static inline size_t make_zip(uint8_t *out, size_t len, uint8_t fill, bool torn)
{
	static const uint8_t local[30] = { 'P', 'K', 3, 4, 20 }, entry[46] = { 'P', 'K', 1, 2, 20, 0, 20 },
			end[22] = { 'P', 'K', 5, 6, 0, 0, 0, 0, 1, 0, 1, 0, 47 };
	uint32_t n = (uint32_t)len, at;
	uint8_t *p = out;

	memcpy(p, local, sizeof(local));
	memcpy(p + 18, &n, 4);
	memcpy(p + 22, &n, 4);
	p[26] = 1;
	p[30] = 'a';
	memset(p + 31, fill, len);
	p += 31 + len;
	if (torn)
		return (size_t)(p - out);
	at = (uint32_t)(p - out);
	memcpy(p, entry, sizeof(entry));
	memcpy(p + 20, &n, 4);
	memcpy(p + 24, &n, 4);
	p[28] = 1;
	p[46] = 'a';
	memcpy(p + 47, end, sizeof(end));
	memcpy(p + 47 + 16, &at, 4);
	return (size_t)(p - out) + 47 + sizeof(end);
}

enum { ZIP = 100000 };
static uint8_t old_zip[ZIP + 200], new_zip[ZIP + 200];
static size_t old_len, new_len;

static inline void make_zips(void)
{
	old_len = make_zip(old_zip, ZIP, 1, false);
	new_len = make_zip(new_zip, ZIP, 2, false);
}

#endif
