/*
 * view_internal.h: what the makers of views share.
 */
#ifndef VIEW_INTERNAL_H
#define VIEW_INTERNAL_H

#include "bridge_doc.h"
#include "bridge_layout.h"
#include "bridge_spec.h"
#include "codec/torch_file.h"
#include "codec/zip_write.h"

/* BRIDGE_FILE of a torch file, and of a safetensors file (dtype only). */
int view_torch(const struct bridge_doc *d, const struct bridge_spec *spec, codec_read_at read, void *arg,
		struct bridge_layout *l);
int view_tensors_dtype(const struct safetensors *s, enum torch_dtype dtype, struct bridge_layout *l);

/* A new zip, as a layout under way. */
struct view_zip {
	struct bridge_layout *layout; /* borrowed */
	struct zip_writer w;
	struct byte_buf tmp;
};
/* align: of data; 0 for torch's 64. Released whatever happened. */
void view_zip_init(struct view_zip *z, struct bridge_layout *l, uint64_t align);
void view_zip_release(struct view_zip *z);

/* A record of bytes that are here. */
int view_zip_bytes(struct view_zip *z, const char *name, size_t name_len, const void *p, size_t len);
/*
 * The header of a record of `size` bytes; the caller then appends them to the layout; and what follows them.
 */
int view_zip_begin(struct view_zip *z, const char *name, size_t name_len, uint64_t size);
int view_zip_end(struct view_zip *z, uint32_t crc);
/* A record of another zip as it is, compressed or not. */
int view_zip_copy(struct view_zip *z, const struct zip *from, const struct zip_entry *e, codec_read_at read,
		void *arg);
/* The directory. */
int view_zip_finish(struct view_zip *z);

/*
 * A zip of torch's whose storages become other dtypes: to[i] for storage i (its own to stay), with n records
 * exchanged, whose bytes are taken over. Other records, their order and the zip's alignment stay.
 */
int view_zip_converted(const struct torch_file *f, const uint8_t *to, const struct zip_change *changes,
		size_t n, codec_read_at read, void *arg, struct bridge_layout *l);
/* The same for a legacy file, with another pickle. */
int view_legacy_converted(const struct torch_file *f, const uint8_t *to, const struct byte_buf *pickle,
		codec_read_at read, void *arg, struct bridge_layout *l);

/*
 * The constants of a TorchScript archive, which have a pickle of their own: *out is appended to with the
 * pickle on the device, *entry its record; *entry is NULL where there is nothing to change.
 */
int view_script_constants(const struct torch_file *f, const char *device, codec_read_at read, void *arg,
		struct byte_buf *out, const struct zip_entry **entry);

#endif
