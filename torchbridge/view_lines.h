/*
 * view_lines.h: lines of text for people: columns, colours, numbers.
 */
#ifndef VIEW_LINES_H
#define VIEW_LINES_H

#include <stdbool.h>

#include "codec/byte_buf.h"

enum view_color { VIEW_PLAIN, VIEW_BOLD, VIEW_DIM, VIEW_YELLOW, VIEW_RED };

/* Appends a text in a colour, or plainly where color is 0. */
int view_colored(int color, enum view_color which, const char *text, struct byte_buf *out);

/*
 * Appends p[0, len) in exactly `width` columns, what a terminal must not get escaped: padded with spaces, on
 * the left if `right`; one that is longer loses its middle ("encoder.lay...n.weight"), or its end.
 */
enum view_cut { VIEW_CUT_MIDDLE, VIEW_CUT_END };
int view_cell(const void *p, size_t len, size_t width, bool right, enum view_cut cut, struct byte_buf *out);

/* The same without padding behind it. */
int view_fitted(const void *p, size_t len, size_t width, enum view_cut cut, struct byte_buf *out);

/* "1.2 KiB", "34 MiB", as the command prints them; 1,234,567. */
enum { VIEW_NUMBER_MAX = 32 };
const char *view_size_text(uint64_t n, char buf[VIEW_NUMBER_MAX]);
const char *view_count_text(uint64_t n, char buf[VIEW_NUMBER_MAX]);

#endif
