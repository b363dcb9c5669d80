/*
 * component.h: what part of a checkpoint a file is, told by its name.
 */
#ifndef COMPONENT_H
#define COMPONENT_H

/* In the order in which df lists them. */
enum component {
	COMPONENT_MODEL,
	COMPONENT_OPTIMIZER,
	COMPONENT_SCHEDULER,
	COMPONENT_REPLAY,
	COMPONENT_METRICS,
	COMPONENT_RNG,
	COMPONENT_ARGS,
	COMPONENT_LOGGERS,
	COMPONENT_CHECKPOINT,
	COMPONENT_OTHER,
	COMPONENTS
};

/* path: a path or a name; only what follows the last '/' counts. The rules are in component.c and in ckptfs(1). */
enum component component_of(const char *path);
const char *component_name(enum component k);

#endif
