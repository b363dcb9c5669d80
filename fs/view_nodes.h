/*
 * view_nodes.h: the numbers of paths in views that somebody has looked up, for fs_view.c.
 *
 * A node is a path, what it showed when it was looked up (struct fs_mark), and a number of its own, which it
 * keeps until it is forgotten; the same path that shows the same is the same node.  Numbers have FS_VIRTUAL set
 * and are never used twice.  There may be a million nodes (`ls -l` in a large file's @tree), so one takes some 80
 * bytes and its name: the directories that names lie in are kept once, and of a mark its hash.
 *
 * Keys are "@view" or "@view/path".  Any thread; none of these waits for anything but the table's lock.
 */
#ifndef VIEW_NODES_H
#define VIEW_NODES_H

#include "fs_internal.h"

/* One more reference to the node of this key and mark, made if need be. *ino gets its number. -ENOMEM. */
int view_node_ref(struct fs_views *v, const char *key, const struct fs_view_look *look, uint64_t *ino);
/* Gives references back; how many there were. */
uint64_t view_node_forget(struct fs_views *v, uint64_t ino, uint64_t count);

/* What a node remembers. */
struct view_node_was {
	char *key;         /* caller frees */
	uint64_t mark;     /* view_mark_hash() */
	struct stat st;    /* as it was last seen; of a mark that is known */
};
/* -ENOENT, -ENOMEM. */
int view_node_get(struct fs_views *v, uint64_t ino, struct view_node_was *out);
/* The number of the directory it is in: FS_ROOT for a view itself, FS_VIRTUAL where nobody looked that up. */
uint64_t view_node_parent(struct fs_views *v, uint64_t ino);

/* 0: nothing is known. */
uint64_t view_mark_hash(const struct fs_mark *m);

#endif
