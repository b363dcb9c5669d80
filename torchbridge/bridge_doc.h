/*
 * bridge_doc.h: a checkpoint file, understood once, for all views.
 *
 * A document is what codec/ found in a file: the object of a torch file, the header of a safetensors or .npy
 * file, the members of an .npz, the torch files inside a .distcp.  Opening reads heads, directories and
 * pickles, no tensor data. A document does not change; any number of threads may use it at once.  It keeps no
 * callback.
 *
 * Errors: -EINVAL: a file that no view knows (views show it as it is); -EBADMSG: one that breaks its format's
 * rules; -ENOTSUP: sound, and not understood; -EFBIG: past a limit; -ENOMEM; and what reading failed with.
 * The message (ckpt_error.h) says what, for the one line in the log.
 */
#ifndef BRIDGE_DOC_H
#define BRIDGE_DOC_H

#include <stddef.h>
#include <stdint.h>

#include "codec/npy_header.h"
#include "codec/safetensors_read.h"
#include "codec/torch_file.h"
#include "codec/torch_object.h"

enum bridge_kind {
	BRIDGE_TORCH,      /* torch_file.h, any of its containers */
	BRIDGE_SAFETENSOR, /* a .safetensors file */
	BRIDGE_NPY,
	BRIDGE_NPZ,
	BRIDGE_DISTCP, /* several torch zips end to end (torch.distributed.checkpoint) */
};

/* A part that has data of its own: a member of an .npz, an item of a .distcp. */
struct bridge_member {
	const char *name; /* of the member, without ".npy"; of a .distcp its number as text. Terminated, of the document */
	uint64_t off, len;        /* in the file; of a member that is stored uncompressed */
	struct npy_header npy;    /* NPZ */
	struct torch_file *torch; /* DISTCP: offsets inside count from `off` */
};

struct bridge_doc;

/* What memory a document may take: no more than this for its pickle's graph and directories; 0: 1 GiB. */
int bridge_doc_open(codec_read_at read, void *arg, uint64_t size, size_t memory, struct bridge_doc **out);
void bridge_doc_free(struct bridge_doc *d);

enum bridge_kind bridge_doc_kind(const struct bridge_doc *d);
uint64_t bridge_doc_size(const struct bridge_doc *d);
size_t bridge_doc_memory(const struct bridge_doc *d);

/* TORCH; else NULL. */
const struct torch_file *bridge_doc_torch(const struct bridge_doc *d);
/* TORCH: the places of tensors and containers (torch_object.h); made at the first call, then kept. */
int bridge_doc_places(const struct bridge_doc *d, const struct torch_places **out);
/* SAFETENSOR; else NULL. */
const struct safetensors *bridge_doc_safetensors(const struct bridge_doc *d);
/* NPY; else NULL. */
const struct npy_header *bridge_doc_npy(const struct bridge_doc *d);
/* NPZ, DISTCP. */
size_t bridge_doc_members(const struct bridge_doc *d);
const struct bridge_member *bridge_doc_member(const struct bridge_doc *d, size_t i);

/* Whether a name is worth opening at all: by size and first bytes, bounded reading (a few KiB). */
int bridge_doc_sniff(codec_read_at read, void *arg, uint64_t size);

#endif
