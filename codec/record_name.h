/*
 * record_name.h: a tensor's name, as far as two copies of a network in one file share it.
 *
 *   state_dict: {layers.0.weight}         ema: {layers.0.weight}            the same key in another dict
 *   student.layers.0.weight               teacher.layers.0.weight           the same but for the first part
 *   layers.0.weight                       module.layers.0.weight            one has a part more in front
 *
 * So a name is told by two hashes: of the whole key, and of the key without its first part where that leaves two
 * parts or more.  A key of one part (weight, exp_avg) says too little; it counts together with the one around it.
 */
#ifndef RECORD_NAME_H
#define RECORD_NAME_H

#include <stddef.h>
#include <stdint.h>

/* Hashes that may be compared with each other; 0: none. */
struct record_name {
	uint32_t whole, rest;
};

/* What a key's dots say: 0 none, RECORD_NAME_SHORT one, else the hash of what follows the first. */
enum { RECORD_NAME_SHORT = 1 };
uint32_t record_name_rest(const void *key, size_t len);

/* The name of a key: its XXH3-64, what record_name_rest() says, and the hash of the key around it. */
struct record_name record_name_of(uint64_t key, uint32_t rest, uint64_t around);

#endif
