/*
 * scratch_views.h: for test programs of views over a tree (scratch_fs.h): checkpoints to look at, all of a
 * view's bytes, and what the log was told.
 */
#ifndef SCRATCH_VIEWS_H
#define SCRATCH_VIEWS_H

#include "memory_file.h"
#include "scratch_fs.h"

#define P2 "\x80\2"
#define STR(n, s) "X" n "\0\0\0" s
#define OD "ccollections\nOrderedDict\n)R"
#define PID(key, count)                                                                                      \
	"(" STR("\7", "storage") "ctorch\nFloatStorage\n" STR("\1", key) STR("\6", "cuda:0") count "tQ"
#define V2(pid, offset, size, stride)                                                                        \
	"ctorch._utils\n_rebuild_tensor_v2\n(" pid offset size stride "\x89" OD "tR"

/* {"w": a tensor of 2 x 3 floats, "epoch": epoch}, as torch.save writes it on a GPU. */
static inline void make_torch(struct byte_buf *f, char epoch, uint8_t fill)
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

static inline void save_torch(const char *name, char epoch, uint8_t fill)
{
	struct byte_buf f = { 0 };

	make_torch(&f, epoch, fill);
	save(name, f.p, f.len);
	byte_buf_release(&f);
}

/* {"model": {"w": a tensor}, "epoch": 1} */
static inline void save_checkpoint(const char *name)
{
	static const char pickle[] = P2 "}(" STR("\5", "model") "}" STR("\1", "w")
			V2(PID("0", "K\6"), "K\0", "K\2K\3\x86", "K\3K\1\x86") "s" STR("\5", "epoch") "K\1u.";
	struct byte_buf f = { 0 };
	struct zip_writer w;

	zip_writer_init(&w, 0, 0);
	memory_record(&f, &w, "m/data.pkl", pickle, sizeof(pickle) - 1);
	memory_record(&f, &w, "m/byteorder", "little", 6);
	memory_record(&f, &w, "m/data/0", "0123456789abcdefghijklmn", 24);
	memory_record(&f, &w, "m/version", "3\n", 2);
	assert_int_equal(zip_write_end(&w, &f), 0);
	save(name, f.p, f.len);
	zip_writer_release(&w);
	byte_buf_release(&f);
}

/* All of a path's bytes, terminated; checked against its size. Caller frees. */
static inline char *whole(const char *p, size_t *len)
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

static inline bool holds(const char *p, const char *what)
{
	size_t len;
	char *b = whole(p, &len);
	bool found = memmem(b, len, what, strlen(what)) != NULL;

	free(b);
	return found;
}

static inline int stat_fails(const char *p)
{
	struct fs_entry e;
	int rc = fs_resolve(fs, p, false, &e);

	assert_true(rc < 0);
	return rc;
}

static inline int open_fails(const char *p)
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

/* Lines that the log gets while this is on. */
static int log_fd = -1, stderr_fd;

static inline void log_begin(void)
{
	FILE *f = tmpfile();

	assert_non_null(f);
	fflush(stderr);
	stderr_fd = dup(2);
	log_fd = dup(fileno(f));
	fclose(f);
	dup2(log_fd, 2);
}

static inline int log_end(const char *what)
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

#endif
