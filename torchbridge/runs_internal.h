/*
 * runs_internal.h: how a scan is made (bridge_runs.h), for its own files only.
 *
 *   names   runs_layouts.c      what the name of a file or directory says: component, number, best, last, run
 *   facts   runs_facts.c ...    what a file says of itself; remembered as bytes by runs_fact_io.c
 *   places  runs_walk.c         the walk: which run and experience each file belongs to
 *   runs    runs_group.c ...    experiences made of files, latest, best, metrics
 *   files   runs_split.c ...    the bytes of components and of the generated files
 *
 * Everything found lives in one arena and is given back at once.  Nothing here recurses; every table is
 * bounded by the names and the files that it was made from.
 */
#ifndef RUNS_INTERNAL_H
#define RUNS_INTERNAL_H

#include "bridge_runs.h"
#include "codec/byte_buf.h"
#include "codec/torch_file.h"

#define RUNS_NONE INT64_MIN /* no number */

enum {
	RUNS_TEXT_MAX = 16 << 20, /* bytes of a JSON or CSV file that is read for metrics */
	RUNS_JSON_MAX = 4 << 20,    /* bytes of a JSON component; what would be longer stays in other.pt */
	RUNS_REFS_MAX = 4096,       /* values of one component */
	RUNS_SCALARS_MAX = 256,     /* metrics that one checkpoint gives for its own experience */
	RUNS_HISTORY_MAX = 1 << 18, /* metrics of earlier experiences in one file */
	RUNS_MATRIX_MAX = 1024,     /* rows and columns of an accuracy matrix */
	RUNS_DEPTH_MAX = 64,        /* of values that are written as JSON or looked through for metrics */
};

/*
 * ---- memory
 * --------------------------------------------------------------------------------------------------------
 */

struct runs_arena {
	struct runs_block *block;
	size_t taken; /* bytes of all blocks */
};
void runs_arena_release(struct runs_arena *a);
/* Zeroed, aligned for anything; NULL with a message. Of n items of `size`, overflow-checked. */
void *runs_alloc(struct runs_arena *a, size_t n, size_t size);
/* A terminated copy. */
char *runs_text(struct runs_arena *a, const char *p, size_t len);
/* "dir/name", or "name" where dir is "". */
char *runs_join(struct runs_arena *a, const char *dir, const char *name);

/* Makes room for one more item in a malloc()ed array. */
int runs_grow(void *array, size_t have, size_t *cap, size_t size);

/*
 * ---- names
 * ---------------------------------------------------------------------------------------------------------
 */

enum runs_component {
	RUNS_MODEL,
	RUNS_OPTIMIZER,
	RUNS_SCHEDULER,
	RUNS_REPLAY,
	RUNS_METRICS,
	RUNS_RNG,
	RUNS_ARGS,
	RUNS_LOGGERS,
	RUNS_OTHER,
	RUNS_COMPONENTS,
};
/* "model", ..., "other". */
const char *runs_component_name(enum runs_component c);

enum runs_framework {
	RUNS_PYTORCH,
	RUNS_AVALANCHE,
	RUNS_MAMMOTH,
	RUNS_LIGHTNING,
	RUNS_TRANSFORMERS,
	RUNS_ACCELERATE,
	RUNS_NANOGPT,
	RUNS_TIMM,
	RUNS_DCP,
	RUNS_FAIRSEQ,
	RUNS_SB3,
	RUNS_DEEPSPEED,
	RUNS_MEGATRON,
	RUNS_MMENGINE,
	RUNS_FRAMEWORKS,
};
/* "PyTorch", "Avalanche", ... */
const char *runs_framework_name(enum runs_framework f);

enum runs_role {
	RUNS_NOTHING,   /* of no interest by its name */
	RUNS_FILE,      /* may be a checkpoint by itself */
	RUNS_COMPONENT, /* a component by its name: optimizer.pt, random_states_0.pkl */
	RUNS_BESIDE,    /* of interest only beside others: config.json, a log */
};

enum runs_counter {
	RUNS_COUNT_NONE,
	RUNS_COUNT_PLAIN, /* "003", "model_3" */
	RUNS_COUNT_EPOCH,
	RUNS_COUNT_STEP,
	RUNS_COUNT_TASK, /* experience, task */
};

/* What a name says. */
struct runs_name {
	uint8_t role, component, counter; /* enums above */
	int8_t framework;                 /* -1: nothing about it */
	bool best, last;
	bool aside;     /* not one of the run's own count: recovery-3-100.pth.tar, ...-v1.ckpt */
	bool rank_only; /* one of several of its kind in an experience: shards, ranks */
	bool torch;     /* a suffix that only torch files (and safetensors) have: unreadable is torn */
	bool many;      /* its directory is shared by runs, whatever else lies there */
	int64_t number, step, rank; /* RUNS_NONE where it says none; of a shard: rank of step */
	uint32_t suffix;            /* where the suffix begins */
	double value;
	char metric[64]; /* a value in the name: "val_loss"; "" */
	uint32_t stem_len;
	/* what its run is called where a directory holds many; the last: see runs_name_keep() */
	char stem[256];
};
/* A copy in the arena, of the length that its stem needs. */
struct runs_name *runs_name_keep(struct runs_arena *a, const struct runs_name *n);

void runs_name_file(const char *name, size_t len, struct runs_name *out);
/* A directory that may be an experience: number, or best, or last. False: it is none by its name. */
bool runs_name_directory(const char *name, size_t len, struct runs_name *out);
/* A directory whose files belong to the experience that it lies in: mp_rank_00, pytorch_model_fsdp_0. */
bool runs_name_inner(const char *name, size_t len);
/* How a file of an experience's directory is called as a component: into out, terminated. */
void runs_name_component(const struct runs_name *n, const char *name, size_t len, char out[256]);
/* Component that a key of a checkpoint names, whatever its value; -1: none. */
int runs_key_component(const char *key, size_t len);

/*
 * ---- facts
 * ---------------------------------------------------------------------------------------------------------
 */

enum runs_state {
	RUNS_READABLE,
	RUNS_TORN,    /* it breaks its format's rules, or ends too soon */
	RUNS_OPAQUE,  /* sound perhaps, and not understood: shown as it is */
	RUNS_UNKNOWN, /* no file of torch's */
};

enum runs_kind {
	RUNS_IS_DATA,       /* readable, and no checkpoint: tensors, a pickle */
	RUNS_IS_CHECKPOINT, /* has components in it */
	RUNS_IS_MODEL,      /* a bare state dict, a module, a safetensors file, a script */
	RUNS_IS_TEXT,       /* JSON, CSV: metrics perhaps */
	RUNS_IS_SHARDS,     /* .metadata of a distributed checkpoint */
};

enum runs_how {
	RUNS_WHOLE,  /* the file */
	RUNS_PART,   /* the value ref[0] */
	RUNS_PAIRS,  /* a dict of the pairs in ref */
	RUNS_TEXT,   /* JSON: of the value ref[0], or with an even number of refs of a dict of the pairs */
	RUNS_MODULE, /* the state dict of the module ref[0] */
	RUNS_RANGE,  /* ref[0..3]: offset and length in halves, low first */
	RUNS_SHARDS, /* tensors of a distributed checkpoint whose keys begin with `from` */
};

struct runs_part {
	uint8_t component, how;
	const char *from;
	const char *name; /* "model.pt" */
	uint32_t refs;
	uint32_t *ref;
	uint64_t size;
};

struct runs_scalar {
	const char *name;
	double value;
};

/* A value recorded for an earlier experience. */
struct runs_record {
	const char *name;
	double value;
	int64_t back; /* so many experiences before the file's own; RUNS_NONE: by epoch and step */
	int64_t epoch, step;
	int64_t task; /* of an accuracy matrix: the column; RUNS_NONE for others */
};

/* A file that a checkpoint can't do without. */
struct runs_need {
	const char *name;
	uint64_t size; /* at least */
};

struct runs_fact {
	uint8_t state, kind;
	int8_t framework;                /* -1: nothing about it */
	bool has_history;                /* runs_history() has something */
	bool recalled;                   /* it was remembered, and not found out now; not written */
	int64_t experience, epoch, step; /* RUNS_NONE */
	uint64_t shape;       /* of the model's tensors: names, dtypes, sizes; 0: there is no model */
	const char *why;      /* of a torn one; else "" */
	const char *best;     /* path or name of the best, as recorded; else "" */
	const char *best_key; /* "best_model_path"; or of a best value "best_acc" */
	double best_value;    /* NaN */
	size_t parts, scalars, needs;
	struct runs_part *part;
	struct runs_scalar *scalar;
	struct runs_need *need;
};

struct runs_history {
	size_t count;
	struct runs_record *record;
};

/* A fact being made, and the history with it. What it points to lives in the arena. */
struct runs_making {
	struct runs_arena *arena;
	struct runs_fact fact;
	struct runs_history history;
	size_t part_cap, scalar_cap, need_cap, record_cap;
};
/* Each adds one; -ENOMEM. Past the limits above nothing is added. Names are copied. */
int runs_add_part(struct runs_making *m, const struct runs_part *p);
int runs_add_scalar(struct runs_making *m, const char *name, double value);
int runs_add_need(struct runs_making *m, const char *name, size_t len, uint64_t size);
int runs_add_record(struct runs_making *m, const char *name, const struct runs_record *what);
void runs_making_release(struct runs_making *m);

/*
 * What the file at `path` says: recalled, or found out and remembered. *out lives in the arena. Fails only
 * for what is no fault of the file: -ENOMEM. A file that can't be read now (EIO) is torn, and nothing is
 * remembered.
 */
int runs_fact_of(const struct bridge_files *files, struct runs_arena *a, const char *path,
		const struct runs_name *name, uint64_t size, const struct runs_fact **out);
int runs_history_of(const struct bridge_files *files, struct runs_arena *a, const char *path,
		const struct runs_name *name, uint64_t size, struct runs_history *out);
/* What is remembered of a file was seen to be wrong: it is found out again when it is asked for. */
void runs_fact_forget(const struct bridge_files *files, const char *path, const struct runs_name *name);

/* Facts as bytes. Reading: -EBADMSG for bytes that are none. */
int runs_fact_write(const struct runs_fact *f, struct byte_buf *out);
int runs_fact_read(struct runs_arena *a, const uint8_t *p, size_t len, struct runs_fact *out);
int runs_history_write(const struct runs_history *h, struct byte_buf *out);
int runs_history_read(struct runs_arena *a, const uint8_t *p, size_t len, struct runs_history *out);

/* A file of the host as a codec_read_at. */
struct runs_reader {
	const struct bridge_files *files;
	const char *path;
};
int64_t runs_read(void *arg, uint64_t off, void *buf, size_t len);
/* All of it, terminated, malloc()ed; -EFBIG above RUNS_TEXT_MAX. */
int runs_read_all(const struct bridge_files *files, const char *path, uint64_t size, char **out, size_t *len);

/* What a torch file, a JSON file, a CSV file, an SB3 zip, a .metadata say. */
int runs_facts_torch(struct runs_making *m, const struct torch_file *f, struct runs_reader *r,
		const struct runs_name *n);
int runs_facts_json(struct runs_making *m, const char *name, const char *text, size_t len);
int runs_facts_csv(struct runs_making *m, const char *text, size_t len);
int runs_facts_zip(struct runs_making *m, struct runs_reader *r, uint64_t size);
int runs_facts_shards(struct runs_making *m, const struct torch_file *f, struct runs_reader *r);

/* Metrics in the value under a key: scalars, lists, matrices; `name` is what they are called by. */
int runs_collect(struct runs_making *m, const struct torch_file *f, struct runs_reader *r, uint32_t ref,
		const char *name);
/* A number: INT, FLOAT, BOOL, numpy scalar, tensor of one element. False: it is none. */
bool runs_number(const struct torch_file *f, struct runs_reader *r, uint32_t ref, double *out);
/*
 * All items of a list or tuple as numbers: *out is malloc()ed. False when one is none, or there are none or too many.
 */
bool runs_numbers(
		const struct torch_file *f, struct runs_reader *r, uint32_t ref, double **out, size_t *count);
/* An accuracy matrix, row i being recorded `rows - 1 - i` experiences before the file's own. */
int runs_add_matrix(struct runs_making *m, const char *name, const double *v, size_t rows,
		const size_t *width, size_t stride);

/* Appends a value as JSON. -EFBIG past RUNS_JSON_MAX; -ENOTSUP: deeper than RUNS_DEPTH_MAX. */
int runs_value_json(const struct torch_file *f, struct runs_reader *r, const uint32_t *ref, size_t refs,
		struct byte_buf *out);
/* Appends p[0, len) as a JSON string, quotes and all; what is no UTF-8 as U+FFFD. */
int runs_json_string(struct byte_buf *out, const char *p, size_t len);
/* Appends the shortest text that reads back as v; null where it is not finite. */
int runs_json_number(struct byte_buf *out, double v);

/*
 * ---- state dicts made here
 * -----------------------------------------------------------------------------------------
 */

/* One tensor of a dict that is written out. */
struct runs_piece {
	uint32_t source;
	uint64_t off, len;
};
struct runs_tensor {
	const char *key;
	size_t key_len;
	uint8_t dtype, ndim;
	const uint64_t *size, *stride; /* ndim each, in elements */
	uint64_t offset;               /* into the storage, in elements */
	uint32_t storage;              /* number in runs_dict.storage */
};
struct runs_storage {
	const char *location;
	size_t location_len;
	uint8_t dtype;
	uint64_t count, bytes;
	const struct runs_piece *piece; /* their lengths sum up to bytes */
	size_t pieces;
};
/* A torch zip of an OrderedDict of those tensors. */
int runs_dict_layout(const struct runs_tensor *t, size_t tensors, const struct runs_storage *s,
		size_t storages, struct bridge_layout **out);

/* The state dict of a module (an object with _parameters, _buffers, _modules) in a torch file. */
bool runs_is_module(const struct torch_object *o, uint32_t ref);
int runs_module_layout(
		const struct torch_file *f, uint32_t ref, struct runs_reader *r, struct bridge_layout **out);
/*
 * A component's layout, made from its file's document. RUNS_WHOLE and RUNS_SHARDS are others' affair.
 * -ESTALE: there is no such part in the file.
 */
int runs_part_layout(const struct torch_file *f, const struct runs_part *p, struct runs_reader *r,
		struct bridge_layout **out);

/*
 * ---- the scan
 * ------------------------------------------------------------------------------------------------------
 */

/* A file that has a place. */
struct runs_file {
	const char *path, *name, *run;
	const char *dir; /* of its experience, where that is a directory; else NULL: pointers compare */
	const struct runs_name *dir_name; /* NULL: the directory of the run itself */
	const struct runs_name *said;
	const struct runs_fact *fact; /* NULL: nothing was asked (config.json) */
	uint64_t size, mtime_ns, ino;
	int64_t number; /* of its experience, as far as it is known */
	bool link;      /* a symlink to a checkpoint: its target counts, and that somebody calls it best */
	bool log;       /* metrics of the whole run: metrics.csv */
};

struct runs_item {
	struct bridge_component pub;
	const struct runs_part *part; /* NULL: whole */
	const struct runs_file *file; /* that it is of */
	uint8_t component;
	const char *const *source; /* of several */
};

struct runs_experience {
	struct bridge_experience pub;
	struct runs_item *item;
	struct runs_file **file;
	size_t files;
	bool best, last, aside;
	const char *best_name; /* of the file that said so */
	int64_t epoch, step;
	const char *tag; /* its name where it has no number */
};

struct runs_run {
	struct bridge_run pub;
	struct runs_experience *experience;
	struct bridge_metric *metric;
	size_t metrics;
	/* of metrics, as they are first met; bridge_metric.name is one of these pointers */
	const char **name;
	size_t names;
	bool by_step;     /* it counts in steps, not in epochs or experiences */
	bool matrix;      /* "accuracy/task_N" are there: an accuracy matrix */
	const char *mean; /* the name of its mean over tasks; else NULL */
};

struct bridge_runs {
	struct bridge_files files;
	struct runs_arena arena;
	struct runs_run *run;
	size_t runs;
	struct runs_costs *costs; /* made at the first question */
};

/*
 * Stored bytes of a run's files, what they share counted once. Asked of the host for all runs at once, when the
 * first report is made. -ENOTSUP: the host does not say; else its errors.
 */
int runs_costs_new(struct runs_costs **out);
void runs_costs_free(struct runs_costs *c);
int runs_stored(const struct bridge_runs *r, size_t run, uint64_t *out);

/* Walks the tree: *out is malloc()ed, an array of pointers into the arena. */
int runs_walk(const struct bridge_files *files, struct runs_arena *a, const char *root,
		struct runs_file ***out, size_t *count);
/* Makes runs of files. */
int runs_group(struct bridge_runs *r, struct runs_file **file, size_t count);
/* Makes an experience's components; then its name and state are final. */
int runs_components(struct bridge_runs *r, struct runs_experience *e);
/* Its metrics, with those of the logs; and which one is best. */
int runs_metrics(struct bridge_runs *r, struct runs_run *run, struct runs_file *const *log, size_t logs);
int runs_best(struct bridge_runs *r, struct runs_run *run);
/* Whether it counts among the run's own: not torn, not aside, and numbered unless it is the only one. */
bool runs_is_whole(const struct runs_run *run, const struct runs_experience *e);

/* A list that each experience's file has a row of: a value a task. */
struct runs_rows {
	const char *name;  /* "accuracy" */
	bool is;           /* false: a list that is none, to be passed over */
	bool even;         /* each row is a task longer than the one before it, as a matrix is */
	bool grows;        /* rows are not all of one length */
	int64_t longest;   /* tasks of the newest */
	const char **task; /* "accuracy/task_0", ..; NULL where no value is */
	/* row by row, the newest first; `back` is what its number is below the newest's */
	struct runs_record *record;
	size_t count, cap;
};
/*
 * Those of the newest whole experience's history `h`, which they are taken out of, with the rows of the older
 * experiences. Rows live in the arena, their records until runs_rows_release(), which is due on errors too.
 */
int runs_tasks(struct bridge_runs *r, const struct runs_run *run, size_t newest, struct runs_history *h,
		struct runs_rows **out, size_t *count);
void runs_rows_release(struct runs_rows *rows, size_t count);
/* The file of an experience that its model is in; NULL: none. */
struct runs_file *runs_model_file(const struct runs_experience *e);
/* Whether two files' models have equal tensors: 1, 0, or -errno. */
int runs_same_model(struct bridge_runs *r, const struct runs_file *a, const struct runs_file *b);

/* Paths with '/' before all other bytes. */
int runs_compare_path(const char *a, const char *b);

#endif
