/*
 * file_internal.h: a file's content, for the modules file*.c.
 *
 * Where a byte of the file is, from the top:
 *
 *   late     what was written behind the tail a moment ago, still in its writer's buffer
 *   tail     the bytes since the stream's last cut, in memory (an inline file's whole content during a session)
 *   blocks   cells of FILE_CELL bytes that random writes touched, with their content
 *   extents  pieces stored or on their way, and holes, of this session
 *   base     what is published: the version's manifest and its inline content; nothing when the session replaces;
 *            the draft when there is one
 *
 * A byte that several layers have is the same in all of them where it matters: the topmost counts, and a write goes to every layer
 * above the one that will keep it.
 */
#ifndef FILE_INTERNAL_H
#define FILE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "codec/codec_cut.h"
#include "extents_internal.h"
#include "manifest_internal.h"
#include "meta_internal.h"
#include "store_file.h"
#include "store_internal.h"

enum {
	FILE_CELL = 64 << 10,       /* what a random write rewrites at most */
	FILE_INLINE_MAX = 32 << 10, /* content up to here lives in meta.db */
	FILE_TAIL_MAX = 8 << 10,    /* of a file that grows: what of its end stays in meta.db, rewritten by each append */
	FILE_STREAM_MIN = 64 << 10, /* a write this large begins a stream where it is */
	FILE_LATE_MIN = 16 << 10,   /* a write this large may be settled after its writer was answered */
	FILE_LATE_MAX = 16 << 20,   /* and so may one no larger than this */
	FILE_STAGE_MAX = 1 << 20,   /* new chunks up to here are staged in meta.db rather than wait for chunks.db */
	FILE_DURABLE_MIN = 1 << 20, /* sessions from here on are synced at publish */
	FILE_SCOPES = 3,            /* directories above a file in which its records are found again */
	RECORD_MIN = 4096,          /* records that begin with a shorter chunk are not worth a row */
};

/* A tensor that the stream passed: what it is (codec_cut.record), and its file offset. */
struct record {
	uint64_t fp, off;
};

struct block {
	uint64_t cell;          /* offset / FILE_CELL */
	uint32_t hi;            /* bytes [0, hi) of the cell are valid */
	uint32_t cap;           /* allocated; FILE_CELL at most */
	uint8_t *data;
};

/* A job whose id is not known yet, and where its bytes are in the file. */
struct pending {
	struct chunk_job *job;
	uint64_t off;
};

struct store_file {
	struct store *s;
	uint64_t ino;
	bool readonly;
	struct store_file *prev, *next; /* in files->all, under files->lock */

	/*
	 * Guards all below but the row.  Shared for reading, exclusive for everything else, through file_lock()
	 * so that nothing is late then.  Taken before the chunks and meta locks; two files' locks in the order of
	 * their addresses.
	 */
	pthread_rwlock_t lock;

	/* What is published. */
	uint64_t version;
	bool base_known;        /* size, data, tail and inline content are loaded */
	uint64_t base_size, base_data;
	uint64_t inline_off;    /* where the inline content begins */
	uint8_t *inline_data;
	uint32_t inline_len;

	/* The manifest row read last, of `row_version`; row_lock guards both. Innermost but for the meta lock. */
	pthread_mutex_t row_lock;
	struct manifest_row row;
	uint64_t row_version;

	/* The session. */
	bool session, replacing, fresh, appended;
	bool own;               /* the version was made since open: it may be changed in place */
	bool held;              /* of store_file_open_version(): the version is held (version_hold.c) */
	int error;
	uint64_t size, written;
	int64_t mtime, ctime, since;
	uint64_t draft;         /* version that already holds part of the session; 0 none */
	uint64_t draft_data;    /* bytes of its manifest that are no hole */
	uint64_t batch_lo, batch_hi; /* chunk batches that the session's pieces lie in; 0 none */
	struct extents ext;
	struct block *blocks;   /* sorted by cell */
	size_t nblocks, cap_blocks;
	struct pending *pend;   /* in the order of submission, from pend_head */
	size_t pend_head, npend, cap_pend;

	/* The stream; there is one exactly when cutter is not NULL. */
	struct codec_cutter *cutter;
	uint8_t *tail;
	uint64_t tail_off;
	uint32_t tail_len, tail_cap;

	/* The stream's next bytes, which are not in the tail yet (file_settle). late_len 0: there are none. */
	const uint8_t *late;    /* borrowed from who is in store_file_write_begin() ... store_file_write_end() */
	uint32_t late_len;
	uint64_t late_size;     /* the file's size without them */

	/* What the stream passed, and the record of an earlier version that the present one continues (record.c). */
	struct record *records;
	size_t nrecords, cap_records;
	uint64_t scopes[FILE_SCOPES];
	unsigned nscopes;
	uint64_t old_fp, old_version, old_off;
	struct manifest_row old_row; /* of old_row_version */
	uint64_t old_row_version;

	/* Sequential readers: where the last few reads ended (racy on purpose: advice only). */
	_Atomic uint64_t read_end[4];
	_Atomic uint64_t ahead;
};

struct files {
	pthread_mutex_t lock;   /* guards the list; taken alone or before trylocks of files */
	struct store_file *all;
	_Atomic int64_t dirty;  /* bytes in tails and blocks of all files */
	pthread_mutex_t ctx_lock; /* guards ctx: inline content is encoded one at a time. Innermost. */
	struct codec_ctx *ctx;
};

/* --- file.c --- */
void file_lock(struct store_file *f);               /* exclusive, and settles what is late */
int file_load_base(struct store_file *f);           /* exclusive, or before the file is shared */
int file_begin(struct store_file *f, bool replace); /* starts a session if there is none; sets mtime and ctime. Exclusive. */
void file_drop_session(struct store_file *f);       /* forgets everything unpublished. Exclusive. */
void file_forget_row(struct store_file *f);

/* --- file_read.c --- */
struct segment {
	enum { SEG_HOLE, SEG_MEMORY, SEG_PIECE } kind;
	uint64_t len;
	const uint8_t *mem;     /* SEG_MEMORY: valid while the lock is held */
	uint64_t id;            /* SEG_PIECE */
	uint32_t at;
};
/* What is at `off` (below the size) and for how long, at most to `end`. Lock held, shared or exclusive. */
int file_segment(struct store_file *f, uint64_t off, uint64_t end, struct segment *out);
/* Reads exactly [off, off+len), all within the size. Lock held. */
int file_read_locked(struct store_file *f, uint64_t off, uint8_t *buf, size_t len);

/* --- file_write.c: exclusive lock held --- */
int file_write_locked(struct store_file *f, uint64_t off, const uint8_t *buf, size_t len);
int file_flush_blocks(struct store_file *f, uint64_t from, uint64_t end); /* blocks that reach into the range become pieces */
int file_end_stream(struct store_file *f);          /* the tail, if any, becomes a piece; the stream ends */
int file_start_stream(struct store_file *f, uint64_t off);
int file_stream(struct store_file *f, const uint8_t *buf, size_t len); /* appends to the stream */
/* buf (borrowed) goes on where the tail ends: it is late. The caller sets the size. */
void file_late(struct store_file *f, const uint8_t *buf, uint32_t len);
/*
 * Bytes whose writer was answered go into the stream.  Should that fail, f->error keeps it: they were
 * acknowledged.  That chunks which are under way can't be taken over yet is no failure: publish will tell.
 */
void file_settle(struct store_file *f);
void file_drop_memory(struct store_file *f);        /* tail and blocks */
int file_cut_off(struct store_file *f, uint64_t size); /* nothing lies behind `size` any more */
int file_punch_locked(struct store_file *f, uint64_t off, uint64_t end);

/* --- file_jobs.c: exclusive lock held --- */
/*
 * Hands bytes (taken) over to the pipeline as the file's content at off; cut: what is known of them, or NULL.
 * Should that fail, f->error keeps it.
 */
int file_submit(struct store_file *f, uint64_t off, uint8_t *raw, uint32_t len, const struct codec_cut *cut);
/* After file_submit(): takes over what is done, and keeps the extents bounded. */
int file_tidy(struct store_file *f);
int file_harvest(struct store_file *f, bool wait);  /* takes the ids of jobs that are done (wait: of all) */
int file_spill(struct store_file *f);               /* hands the extents to a draft when there are many */

/* --- record.c: exclusive lock held --- */
/* The chunk that `cut`, len bytes at file offset off, may be a difference to; 0 none. Notes the record's start. */
uint64_t record_predecessor(struct store_file *f, const struct codec_cut *cut, uint64_t off, uint32_t len);
int records_publish(struct store_file *f, uint64_t version); /* meta lock held, in a transaction */
void records_forget(struct store_file *f);

/* --- file_content.c --- */
/* Encodes inline content; *out is malloc()ed. `plain` stores it as it is: what changes with every line isn't worth more. */
int file_content_encode(struct files *files, const uint8_t *raw, uint32_t len, bool plain, uint8_t **out, size_t *out_len);
/* The way back; *out is malloc()ed. -EIO: it is damaged; the message names the version. */
int file_content_decode(struct files *files, uint64_t version, const uint8_t *p, size_t len, uint8_t **out,
		uint32_t *out_len);

/* --- file_publish.c --- */
int file_to_draft(struct store_file *f);            /* all extents into the draft. Exclusive. */

#endif
