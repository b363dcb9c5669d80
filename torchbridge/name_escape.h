/*
 * name_escape.h: keys of an object as names of files, and texts of a file that may go to a terminal.
 *
 * A name is valid UTF-8 of at most 255 bytes that says which key it is: '/', '%', control characters (C0,
 * DEL, C1), bytes that are no UTF-8 and the first '.' of "." and ".." stand as %XX; the empty key is "%".
 * Since a '%' of a key is always %25, what begins with "%" and is no %XX is free for other uses
 * (bridge_tree.h).
 */
#ifndef NAME_ESCAPE_H
#define NAME_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/byte_buf.h"

enum { NAME_LEN = 255 };

/*
 * Writes the name of the key p[0, len) into out, not terminated, and returns its length, at most `room`.
 * *cut tells whether the key was longer than fits; it then ends before a whole character.
 */
size_t name_escape(const void *p, size_t len, char *out, size_t room, bool *cut);

/* Length of the UTF-8 sequence at p of `left` bytes (RFC 3629), or 0. */
size_t name_sequence(const uint8_t *p, size_t left);

/*
 * Whether a sequence is a character that changes what a terminal does: C0, DEL, C1, bidirectional overrides,
 * line breaks.
 */
bool name_control(const uint8_t *p, size_t n);

/*
 * Appends a text so that a terminal shows it and nothing else happens: controls and bytes that are no UTF-8
 * stand as \n, \t, \xXX, a backslash as itself.
 */
int name_visible(const void *p, size_t len, struct byte_buf *out);

/* Columns that valid, visible UTF-8 takes: East Asian wide characters two, combining marks none. */
size_t name_columns(const void *p, size_t len);

#endif
