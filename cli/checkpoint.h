/*
 * checkpoint.h: a file that a command looks into: of a store, or of this machine.
 *
 * Nothing in it is executed: bridge_doc.h reads pickles as data.  In the owner of a mounted store a document may take less
 * memory than in a process of its own.
 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "cli.h"
#include "target.h"
#include "torchbridge/bridge_doc.h"
#include "tree.h"

struct checkpoint {
	struct tree *tree; /* borrowed */
	struct tfile *file;
	struct stat st;
	struct bridge_doc *doc; /* NULL until checkpoint_understand() */
};

/*
 * The rest of a command whose n operands are files or directories, of a store or of this machine.  Those of this machine
 * need no store: the command is attached to one only where an operand is in it.
 */
int checkpoint_on(struct cli *c, char **operand, size_t n, cli_work work, const void *options);

/* The tree that a target is in. */
void checkpoint_tree(struct cli *c, const struct target *t, struct tree *out);

/* Opens a regular file. -EISDIR, -EINVAL for others. */
int checkpoint_open(struct tree *t, const struct tentry *e, struct checkpoint *out);
/* Opens what the path names, symlinks followed; for a directory -EISDIR. */
int checkpoint_open_path(struct tree *t, const char *path, struct checkpoint *out);
void checkpoint_close(struct checkpoint *k);

/* Sets k->doc. Errors of bridge_doc.h: -EINVAL is a file that is no checkpoint. */
int checkpoint_understand(struct checkpoint *k);

/* A codec_read_at, its argument a struct checkpoint. */
int64_t checkpoint_read(void *k, uint64_t off, void *buf, size_t len);

/*
 * Bytes from there that both are known to have in common without reading them: bridge_compare.h. a and b: each a
 * struct checkpoint.
 */
int64_t checkpoint_same(void *a, uint64_t aoff, void *b, uint64_t boff, uint64_t len);

#endif
