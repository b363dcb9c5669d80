/*
 * torch_file.h: a file of torch's, opened and checked: its object, and where its storages' bytes lie.
 *
 *   ZIP       torch.save since 1.6: NAME/data.pkl, NAME/data/<key>, NAME/version, ...
 *   SCRIPT    torch.jit.save: the same with constants.pkl and code; the object is the module
 *   LEGACY    torch.save before, and with _use_new_zipfile_serialization=False: five pickles, then the storages
 *   PICKLE    one pickle and no storages: .metadata of a distributed checkpoint, pickled arguments
 *
 * Sources: torch/serialization.py, caffe2/serialize/inline_container.cc (1.13, 2.13).
 *
 * Opening reads the directory and the object's pickle, nothing of the tensors.  Checked then, once for all:
 * the pickle (pickle_graph.h), the tensors in it (torch_object.h), the directory (zip_read.h), and that every
 * storage the pickle names has a stored record of exactly its size.  What breaks a rule is -EBADMSG; what is
 * sound and not understood (compressed records, big-endian storages, a .pt2, a tar of before 0.1.12) is
 * -ENOTSUP; what is no file of torch's at all is -EINVAL, so that a caller may show such a file as it is.
 *
 * A struct torch_file holds the pickle, its graph and a directory: for 100,000 tensors about 90 MB.  It keeps
 * no callback: functions that read are given one.
 */
#ifndef TORCH_FILE_H
#define TORCH_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/codec_container.h"
#include "codec/torch_object.h"
#include "codec/zip_read.h"

enum torch_container {
	TORCH_ZIP,
	TORCH_SCRIPT,
	TORCH_LEGACY,
	TORCH_PICKLE,
};

struct torch_file;

/*
 * Opens the first `size` bytes of what the callback reads.  limits: of the pickle, and their `memory` of all
 * that the struct takes; NULL for the default. Besides the errors above -EFBIG, -ENOMEM, and what the
 * callback failed with.
 */
int torch_file_open(codec_read_at read, void *arg, uint64_t size, const struct pickle_limits *limits,
		struct torch_file **out);
void torch_file_free(struct torch_file *f);

/* Bytes of memory it takes. */
size_t torch_file_memory(const struct torch_file *f);

enum torch_container torch_file_container(const struct torch_file *f);
const struct pickle *torch_file_graph(const struct torch_file *f);
const struct torch_object *torch_file_object(const struct torch_file *f);
uint64_t torch_file_size(const struct torch_file *f);

/* Where the object's pickle lies in the file. */
uint64_t torch_file_pickle(const struct torch_file *f, uint64_t *len);

/* The directory of a ZIP or SCRIPT, and the entry of its data.pkl; NULL for the others. */
const struct zip *torch_file_zip(const struct torch_file *f);
const struct zip_entry *torch_file_pickle_entry(const struct torch_file *f);

/* NAME of a ZIP or SCRIPT, without the slash; "" for the others. */
const char *torch_file_prefix(const struct torch_file *f, size_t *len);

/* The record of that name below NAME/; NULL when there is none. */
const struct zip_entry *torch_file_record(const struct torch_file *f, const char *name);

/* The zip entry of a storage; NULL for a LEGACY file. */
const struct zip_entry *torch_file_storage_entry(const struct torch_file *f, uint32_t storage);

/*
 * Where the bytes of a storage lie: torch_storage_at()->bytes of them from *off on, all inside the file.  In
 * a ZIP this reads the local header of its record.
 */
int torch_file_storage(
		const struct torch_file *f, uint32_t storage, codec_read_at read, void *arg, uint64_t *off);

/*
 * Where the elements of a strided or quantized tensor lie: [*off, *off + *len) spans from its first element
 * to its last; its strides count from *off.  -EINVAL for tensors without a storage and those of packed types.
 */
int torch_file_tensor(const struct torch_file *f, const struct torch_tensor *t, codec_read_at read, void *arg,
		uint64_t *off, uint64_t *len);

#endif
