/*
 * bridge_tree_internal.h: struct bridge_tree, for those who make it (tree_build.c), name its entries
 * (tree_name.c), and read them (tree_file.c, bridge_tree.c).
 *
 * Directories are made in the order of their depth, and the entries of one lie together, so a directory is a
 * range of entries. Which directory an entry is in is found by halving, since ranges ascend.  What an entry
 * is called is not stored: it follows from its key.  The table that finds names is made when a directory is
 * first looked into.
 */
#ifndef BRIDGE_TREE_INTERNAL_H
#define BRIDGE_TREE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "bridge_tree.h"
#include "name_escape.h"

#define TREE_NONE UINT32_MAX
#define TREE_ROOT (UINT32_MAX - 1) /* in place of an entry: the root directory, which has none */

/* What is under a name. `value` of the entry: */
enum tree_what {
	TREE_DIR,     /* at: number of the directory */
	TREE_LINK,    /* at: the entry that has it, or TREE_ROOT */
	TREE_TENSOR,  /* node of a tensor: a .npy */
	TREE_STORAGE, /* node of a storage, or of a tensor whose elements no .npy has: its storage, a .npy */
	TREE_ARRAY,   /* node of a numpy array or scalar: a .npy */
	TREE_VALUE,   /* node of a scalar, a string or bytes */
	TREE_OPAQUE,  /* node of something that is not understood, or lies too deep: its class */
	TREE_WORD,    /* node; the text that `key`, a word, asks of it */
	TREE_ENTRY,   /* number of a tensor of a safetensors file: a .npy */
	TREE_PAIR,    /* number of a pair of its metadata */
	TREE_NPY,     /* the file is one, its number that of a member */
};

/* How an entry got its name: enum torch_relation, and these. `key` of the entry: */
enum {
	TREE_BY_WORD = TORCH_STATE + 1, /* enum tree_word */
	TREE_BY_MEMBER,                 /* number of a member */
	TREE_BY_ENTRY,                  /* of a safetensors tensor */
	TREE_BY_PAIR,                   /* of a pair of its metadata */
};

enum tree_word {
	WORD_TENSOR,
	WORD_VALUE,
	WORD_CLASS,
	WORD_STATE,
	WORD_VALUES,
	WORD_INDICES,
	WORD_CROW,
	WORD_COL,
	WORD_CCOL,
	WORD_ROW,
	WORD_BUFFER,
	WORD_SIZES,
	WORD_STRIDES,
	WORD_OFFSETS,
	WORD_STORAGE,
	WORD_QSCHEME,
	WORD_SCALE,
	WORD_ZERO_POINT,
	WORD_AXIS,
	WORD_DTYPE,
	WORD_SIZE,
	WORD_LAYOUT,
	WORD_DEVICE,
	WORD_METADATA,
	WORDS,
};
extern const char *const tree_words[WORDS];

enum { ENTRY_TWIN = 1 }; /* of flags: an entry before it has the same name */

struct tree_entry {
	uint32_t key, value, at;
	uint8_t relation, what, flags;
};

/* What a directory's entries are made from. */
enum tree_form {
	DIR_ITEMS,   /* items of `node` */
	DIR_TENSOR,  /* parts of the tensor `node` */
	DIR_MEMBERS, /* of the document */
	DIR_FLAT,    /* tensors of a safetensors file */
	DIR_PAIRS,   /* its metadata */
	DIR_ROOT,    /* one entry: the value, which is no container */
};

struct tree_slot {
	uint32_t hash, entry; /* entry + 1; 0: free */
};
struct tree_names {
	size_t mask;
	struct tree_slot slot[];
};

struct tree_dir {
	uint32_t first, count; /* entries */
	uint32_t entry;        /* its own; TREE_NONE of the root */
	uint32_t part, node;
	uint16_t depth;
	uint8_t form;
	_Atomic(struct tree_names *) names; /* made under the lock, then unchanging */
};

/* An object of torch's and where its file lies in the document. */
struct tree_part {
	const struct torch_file *file;
	const struct torch_object *o;
	uint64_t off;
};

struct bridge_tree {
	const struct bridge_doc *doc; /* borrowed */
	int dtype;
	uint8_t *holds; /* with a dtype, of each storage of a torch file: bits of view_policy.h; else NULL */
	struct tree_part *part;
	uint32_t parts;
	struct tree_entry *entry;
	struct tree_dir *dir;
	uint32_t entries, dirs;
	size_t entry_cap, dir_cap;
	_Atomic size_t names_memory;
	pthread_mutex_t lock; /* making of tree_dir.names, and the flags of their entries; innermost */
};

/* The directory of an entry. */
uint32_t tree_dir_of(const struct bridge_tree *t, uint32_t entry);

/* The object that an entry's value is of. */
const struct tree_part *tree_part_of(const struct bridge_tree *t, uint32_t entry);

/* ---- tree_build.c */

int tree_build(struct bridge_tree *t);

/* ---- tree_name.c */

struct tree_name {
	char p[NAME_LEN + 1]; /* terminated */
	size_t len;
};

/* Finds or makes the table of a directory; *out may be NULL for one that is empty. */
int tree_names(const struct bridge_tree *t, uint32_t dir, const struct tree_names **out);
/* The name of an entry, whose directory's table has been made. */
void tree_name(const struct bridge_tree *t, uint32_t entry, struct tree_name *out);
/* The entry of that name; -ENOENT. */
int tree_lookup(const struct bridge_tree *t, uint32_t dir, const char *name, size_t len, uint32_t *out);

/* ---- tree_file.c */

int tree_file_size(const struct bridge_tree *t, uint32_t entry, uint64_t *out);
int tree_file_open(const struct bridge_tree *t, uint32_t entry, codec_read_at read, void *arg,
		struct bridge_layout *l);

/* Whether a numpy array is one that a .npy can be made of, and its bytes. */
bool tree_array(const struct torch_object *o, uint32_t ref, struct torch_array *a, uint64_t *bytes);

/* The text of a tensor's layout ("torch.sparse_csr"), or NULL. */
const char *tree_layout(const struct torch_object *o, uint32_t node, size_t *len);

#endif
