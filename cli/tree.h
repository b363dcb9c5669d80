/*
 * tree.h: a tree of files, on this machine or in a store, behind one set of functions.
 *
 * cp, import and export are one thing: a walk over one tree that makes another (treecopy.c).  Each side is a `struct tree`
 * whose functions are those of tree_host.c (openat(2) and friends, against the caller's directory) or tree_store.c (fs.h).
 *
 *   tree     a side
 *   tdir     a directory of it, opened: can be listed, and things can be made in it
 *   tentry   a name in a directory with its attributes, as a listing or a lookup found it
 *   tfile    a regular file, opened to read, or being made
 *
 * A file that is made is not visible under its name, or not in place of what was there, before file_finish(): on
 * a host it is written under a temporary name and renamed; in a store a new name is provisional until its first publish, and an existing
 * one is replaced by a rename too.
 *
 * Functions return 0 or -errno.  Different objects of one tree may be used by different threads at once; one tdir is
 * listed by one thread, and any number may make things in it meanwhile.
 */
#ifndef TREE_H
#define TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct cli;
struct tree;
struct tdir;
struct tfile;

struct tentry {
	struct tdir *dir; /* where it is; borrowed */
	char *name;       /* owned; "." for the directory itself */
	struct stat st;   /* of itself, or of what it leads to when `follow` */
	uint64_t ino;     /* store: holds a lookup */
	bool follow;      /* a symlink as an operand that is to be followed */
};

/* Which attributes to set, and to what. */
struct tattr {
	bool mode, owner, times; /* st_mode's permission bits; st_uid, st_gid; st_atim, st_mtim */
	struct stat st;
};

/* Where a file was made, for further names of it. */
struct tlink {
	uint64_t ino;      /* store: holds a lookup */
	char *path;        /* host: relative to `base`, owned */
	struct tdir *base; /* host: borrowed */
};

struct tree_ops {
	/* Opens the directory that an operand's path leads to, symlinks followed. "" is the root, or the working directory. */
	int (*dir_at)(struct tree *t, const char *path, struct tdir **out);
	int (*dir_open)(struct tree *t, const struct tentry *e, struct tdir **out);
	void (*dir_close)(struct tree *t, struct tdir *d);
	/* The next entry but "." and "..": 1 with *out (to be released), 0 at the end. */
	int (*dir_next)(struct tree *t, struct tdir *d, struct tentry *out);
	/* A name in d. -ENOENT. */
	int (*lookup)(struct tree *t, struct tdir *d, const char *name, bool follow, struct tentry *out);
	void (*entry_release)(struct tree *t, struct tentry *e);
	ssize_t (*readlink)(struct tree *t, const struct tentry *e, char *buf, size_t cap);

	int (*file_open)(struct tree *t, const struct tentry *e, struct tfile **out, struct stat *st);
	ssize_t (*read)(struct tree *t, struct tfile *f, uint64_t off, void *buf, size_t len);
	/* The next data at or after off: [*data, *hole); -ENXIO when there is none up to the end. */
	int (*seek)(struct tree *t, struct tfile *f, uint64_t off, uint64_t *data, uint64_t *hole);
	void (*file_close)(struct tree *t, struct tfile *f); /* of one that was opened */

	/* Makes a directory, or opens the one that is there. *made tells which. */
	int (*mkdir)(struct tree *t, struct tdir *d, const char *name, mode_t mode, struct tdir **out,
			bool *made);
	/* `mode`: what the file gets unless file_finish() says otherwise; one that is replaced hands on its own. */
	int (*file_make)(struct tree *t, struct tdir *d, const char *name, mode_t mode, struct tfile **out);
	int (*write)(struct tree *t, struct tfile *f, uint64_t off, const void *buf, size_t len);
	int (*set_size)(struct tree *t, struct tfile *f, uint64_t size);
	int (*file_finish)(
			struct tree *t, struct tfile *f, const struct tattr *a); /* closes it in any case */
	void (*file_abort)(struct tree *t, struct tfile *f);
	/* A symlink (target), fifo, socket or device, replacing what is there unless that is a directory. */
	int (*make_other)(struct tree *t, struct tdir *d, const char *name, const struct stat *st,
			const char *target, const struct tattr *a);
	int (*dir_attr)(struct tree *t, struct tdir *d, const struct tattr *a);

	/* After file_finish() of d/name: remembers it. path: d/name relative to base. */
	int (*remember)(struct tree *t, struct tdir *d, const char *name, struct tdir *base, const char *path,
			struct tlink *out);
	int (*link)(struct tree *t, const struct tlink *to, struct tdir *d, const char *name);
	void (*forget)(struct tree *t, struct tlink *l);

	/* Extended attributes of a directory or file (the other one NULL). As the system calls. */
	ssize_t (*listxattr)(struct tree *t, struct tdir *d, struct tfile *f, char *buf, size_t cap);
	ssize_t (*getxattr)(struct tree *t, struct tdir *d, struct tfile *f, const char *name, void *buf,
			size_t cap);
	int (*setxattr)(struct tree *t, struct tdir *d, struct tfile *f, const char *name, const void *value,
			size_t len);

	/* Everything made below d survives a power cut. */
	int (*sync)(struct tree *t, struct tdir *d);
};

struct tree {
	const struct tree_ops *ops;
	struct cli *c;
	bool in_store;
	/* host: what must not be walked into */
	dev_t own_dev;   /* the store's own mount; 0 none */
	dev_t store_dev; /* the store's directory */
	ino_t store_ino;
};

/* After cli_attach(), or, on the host and where no store takes part, without it. Nothing to release. */
void tree_host_init(struct tree *t, struct cli *c);
void tree_store_init(struct tree *t, struct cli *c);

/* Both files in stores: shares all of src's content with dst. *size: how long it is. */
int tree_store_clone(struct tree *t, struct tfile *src, struct tfile *dst, uint64_t *size);
/* The same of two files in stores as fs_same_range(): how many bytes are known to be the same; -errno. */
int64_t tree_store_same(struct tfile *a, uint64_t aoff, struct tfile *b, uint64_t boff, uint64_t len);
/* Is the directory d the one with number ino, or below it? 1 yes, 0 no. */
int tree_store_below(struct tree *t, struct tdir *d, uint64_t ino);

/* Where an operand leads: the directory that holds it, and its name there ("." for roots, "." and ".."). */
struct tplace {
	struct tdir *dir;
	char *name;
};
/* The directory must exist (-ENOENT), the name need not. */
int tree_place(struct tree *t, const char *path, struct tplace *out);
void tree_place_release(struct tree *t, struct tplace *p);
/* A name for a file until it has its own: ".NAME.ckptfs-XXXXXXXX", at most 255 bytes. buf has 256. */
void tree_temporary_name(const char *name, char *buf);

#endif
