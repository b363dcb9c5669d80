/*
 * fault_disk.h: the disk in memory, for fault_vfs.c, which fills it, and power_cut.c, which takes it apart.
 *
 * A file's content and its name are things apart, as on a real disk: a node holds bytes, an entry gives it a name.
 * The log holds every event in order, with the bytes that were written.
 */
#ifndef FAULT_DISK_H
#define FAULT_DISK_H

#include <pthread.h>

#include "fault_vfs.h"

enum { NODES_MAX = 256, ENTRIES_MAX = 16 };

struct bytes {
	uint8_t *p;
	size_t size, cap;
};

struct node {
	struct bytes b;
	bool sync_name;              /* its first sync syncs the directory too */
};

struct entry {
	char *path;
	int node;
};

enum event_kind { EV_WRITE, EV_TRUNCATE, EV_SYNC, EV_SYNC_FAILED, EV_CREATE, EV_DELETE, EV_SYNC_DIR };

struct event {
	enum event_kind kind;
	int node;
	size_t off, len;             /* len of a truncation: the new size */
	uint8_t *data;               /* of a write */
	char *path;                  /* of EV_CREATE and EV_DELETE */
};

struct disk {
	pthread_mutex_t lock;        /* guards all below */
	struct node nodes[NODES_MAX];
	int nnodes;
	struct entry entries[ENTRIES_MAX];
	int nentries;
	struct event *log;
	size_t nlog, cap_log;
	uint64_t limit;              /* 0: none */
	uint64_t (*beside)(void);
};

/* Memory that meets no faults; a test that has none is over. */
void *disk_alloc(size_t n);              /* zeros */
void *disk_realloc(void *p, size_t n);
void *disk_dup(const void *p, size_t n);

void bytes_resize(struct bytes *b, size_t size); /* new bytes are zero */
void bytes_put(struct bytes *b, size_t off, const void *p, size_t n);

/* Lock held, or the disk is the caller's alone. */
int disk_add_node(struct disk *d);
void disk_add_entry(struct disk *d, const char *path, int node);
int disk_find(const struct disk *d, const char *path); /* an entry; -1: none */
void disk_drop_entry(struct disk *d, int entry);

#endif
