/*
 * fs_view_internal.h: what a view is made of.
 *
 * A view is a set of functions over paths.  It keeps no nodes: fs_view.c gives each (view, path) that somebody has
 * looked up a number, and asks the view again whenever it needs to know something.  Paths are relative to the view, without leading or
 * trailing '/', "" being the view itself.  `name` is the word in the root by which it was reached ("@history"), so that one view may
 * answer to many names ("@cpu", "@cuda:1", "@cpu+bf16").  Everything is read-only.
 */
#ifndef FS_VIEW_INTERNAL_H
#define FS_VIEW_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct fs;
struct fs_dir;
struct fs_entry;
struct fs_handle;
struct store_file;

/*
 * Which bytes a path shows: equal marks, equal bytes.  An inode number of a view stands for one mark, so that its size and the
 * pages that the kernel keeps never change: a path that shows other bytes gets another number, and who has the old one open
 * goes on reading what he opened.  All zero: nothing is known, and the number stands for the path.
 */
struct fs_mark {
	uint64_t version;           /* of the store's content that the bytes are made of; 0: of several, or of none */
	int64_t changed;            /* ctime of its file, ns: a version's bytes may change under its id (store_version.h) */
	uint64_t rule;              /* what was made of it, a hash; 0: it is the content itself */
};

static inline bool fs_mark_same(const struct fs_mark *a, const struct fs_mark *b)
{
	return a->version == b->version && a->changed == b->changed && a->rule == b->rule;
}

static inline bool fs_mark_known(const struct fs_mark *m)
{
	return m->version != 0 || m->rule != 0;
}

/* What a view says of a path. */
struct fs_view_look {
	bool quick;                 /* asked: -EAGAIN rather than opening a file to find it out */
	struct stat st;             /* st_ino is filled in by the caller, and what most have in common is there already */
	struct fs_mark mark;        /* of a regular file */
};

/* An open file of a view. */
struct fs_view_file {
	ssize_t (*read)(struct fs_view_file *f, uint64_t off, void *buf, size_t len);
	void (*close)(struct fs_view_file *f);
	void *state;
	struct store_file *content; /* when it is one: copy_file_range may share it; else NULL */
	uint64_t size;
	bool unsized;               /* made now; stat could not have known the size */
	struct fs_mark mark;        /* of what was opened */
};

/* type: S_IFDIR, S_IFREG, S_IFLNK ...; 0: only stat knows. Non-zero stops and is returned. */
typedef int (*fs_view_emit)(void *arg, const char *name, size_t len, mode_t type);

struct fs_view {
	const char *name;           /* what it answers to; NULL: as `answers` says */
	bool (*answers)(const char *name);
	/* -ENOENT, -ENOTDIR, -ESTALE (it was replaced just now: ask again), -EIO. */
	int (*stat)(struct fs *fs, const char *name, const char *path, struct fs_view_look *look);
	/* NULL where there are no directories, links or files. */
	int (*list)(struct fs *fs, const char *name, const char *path, fs_view_emit emit, void *arg);
	ssize_t (*readlink)(struct fs *fs, const char *name, const char *path, char *buf, size_t cap);
	int (*open)(struct fs *fs, const char *name, const char *path, struct fs_view_file *out);
};

extern const struct fs_view fs_view_history;
extern const struct fs_view fs_view_stats;
extern const struct fs_view fs_view_forms;  /* a device, a dtype, @summary, @json, @safetensors */
extern const struct fs_view fs_view_tree;
extern const struct fs_view fs_view_runs;

/* The view that answers to a name with its '@'; NULL none. */
const struct fs_view *fs_view_of(const char *name);
/* What a view says of a path, after what all have in common was filled in; asks again when it is -ESTALE. */
int fs_view_look(struct fs *fs, const struct fs_view *v, const char *name, const char *path, struct fs_view_look *look);

/* The table of numbers (view_nodes.h). */
struct fs_views;
struct fs_views *fs_views_new(void);
void fs_views_free(struct fs_views *v);

/* True when `name` in the root is not an ordinary name. */
bool fs_view_name(const char *name);
int fs_view_lookup(struct fs *fs, uint64_t parent, const char *name, struct fs_entry *out);
/* The same for a listing, which a file that can't be understood does not end.  quick: -EAGAIN for that, and
 * rather than opening a file. */
int fs_view_lookup_listed(struct fs *fs, uint64_t parent, const char *name, bool quick, struct fs_entry *out);
void fs_view_forget(struct fs *fs, uint64_t ino, uint64_t n);
int fs_view_getattr(struct fs *fs, uint64_t ino, struct fs_entry *out);
ssize_t fs_view_readlink(struct fs *fs, uint64_t ino, char *buf, size_t cap);
/* out: of a handle.  exact: what the number stands for, -ESTALE when the path shows something else by now; the kernel then looks again. */
int fs_view_open(struct fs *fs, uint64_t ino, bool exact, struct fs_view_file *out);
/* Calls emit for each entry, without "." and "..". */
int fs_view_list(struct fs *fs, uint64_t ino, fs_view_emit emit, void *arg);
/* The number of the directory that ino is in. */
uint64_t fs_view_parent(struct fs *fs, uint64_t ino);

/* --- view_history.c ---------------------------------------------------------------------------------- */

struct store_past;
enum { FS_HISTORY_NAME_MAX = 64 };
/* How a version is called: when it ended (UTC), what happened, and the extension of the file's own name. Terminated. */
void fs_history_name(const struct store_past *p, const char *path, size_t len, char out[FS_HISTORY_NAME_MAX]);

#endif
