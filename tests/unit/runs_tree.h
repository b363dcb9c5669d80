/*
 * runs_tree.h: a tree of files of its own for each test, and a scan of it.
 */
#ifndef RUNS_TREE_H
#define RUNS_TREE_H

#include "bridge_data.h"

#include "runs_host.h"

static const char *root;
static struct runs_host host;

static inline void full(const char *path, char out[4096])
{
	snprintf(out, 4096, "%s/%s", root, path);
}

/* Writes a file below the root, making its directories. */
static inline void put(const char *path, const void *p, size_t len)
{
	char name[4096];
	FILE *f;

	full(path, name);
	for (char *s = name + strlen(root) + 1; (s = strchr(s, '/')) != NULL; s++) {
		*s = 0;
		mkdir(name, 0777);
		*s = '/';
	}
	f = fopen(name, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* A torch zip with the pickle; `shift` changes the bytes of its one storage. */
static inline void put_torch(const char *path, const uint8_t *p, size_t p_len, uint8_t shift)
{
	struct byte_buf f = { 0 };
	struct zip_writer w;
	uint8_t data[16];

	for (size_t i = 0; i < sizeof data; i++)
		data[i] = i % 4 == 3 ? 0x3f : (uint8_t)(i + shift);
	zip_writer_init(&w, 0, 0);
	memory_record(&f, &w, "m/data.pkl", p, p_len);
	memory_record(&f, &w, "m/byteorder", "little", 6);
	memory_record(&f, &w, "m/data/0", data, sizeof data);
	memory_record(&f, &w, "m/version", "3\n", 2);
	assert_int_equal(zip_write_end(&w, &f), 0);
	put(path, f.p, f.len);
	zip_writer_release(&w);
	byte_buf_release(&f);
}

static inline struct bridge_runs *scan(void)
{
	struct bridge_files files = host_files(&host);
	struct bridge_runs *r;

	if (bridge_runs_scan(&files, "", &r) != 0)
		fail_msg("%s", ckpt_errmsg());
	return r;
}

static inline size_t run_of(const struct bridge_runs *r, const char *path)
{
	int64_t i = bridge_runs_find(r, path);

	if (i < 0)
		fail_msg("no run \"%s\"", path);
	return (size_t)i;
}

static inline int setup(void **state)
{
	static char path[4000];
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(path, sizeof path, "%s/ckptfs-runs-XXXXXX", tmp != NULL ? tmp : "/tmp");
	root = mkdtemp(path);
	host = (struct runs_host){ .root = root };
	return root == NULL;
}

static inline int teardown(void **state)
{
	char command[4096];

	(void)state;
	host_forget(&host);
	snprintf(command, sizeof command, "rm -rf '%s'", root);
	return system(command);
}

#endif
