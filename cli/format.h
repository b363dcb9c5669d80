/*
 * format.h: numbers, names, times and tables for people; text for JSON.
 */
#ifndef FORMAT_H
#define FORMAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

enum { FORMAT_LEN = 64 };

/* "0 B", "999 B", "1.2 KiB", "34 GiB": powers of 1024, two or three digits. Returns buf. */
const char *format_bytes(uint64_t n, char buf[FORMAT_LEN]);
/* The same as ls -h writes it: "999", "1.2K", "34G". */
const char *format_short(uint64_t n, char buf[FORMAT_LEN]);
/* raw / stored as "2.35x"; "-" when either is 0. */
const char *format_ratio(uint64_t raw, uint64_t stored, char buf[FORMAT_LEN]);
/* part of whole as "35 %". */
const char *format_percent(uint64_t part, uint64_t whole, char buf[FORMAT_LEN]);
/* Seconds as "0:05", "12:34", "1:02:03". */
const char *format_seconds(uint64_t s, char buf[FORMAT_LEN]);
/* "-rw-r--r--", as ls -l. */
const char *format_mode(mode_t mode, char buf[FORMAT_LEN]);

/*
 * Time zone of somebody else: the moments at which local time's distance to UTC changes.  A process has one zone, and a
 * command that is carried out by the owner prints times in the zone of who asked.
 */
struct zone {
	size_t n;
	struct zone_step {
		int64_t from;   /* seconds since the epoch; the first one INT64_MIN */
		int32_t offset; /* seconds east of UTC from then on */
	} step[];
};
/* That of this process, 1970 to 2100. Caller frees. NULL: no memory. */
struct zone *zone_of_process(void);
/* Local time in z, or in the process's zone when z is NULL. */
void zone_localtime(const struct zone *z, time_t t, struct tm *out);

/* "Mar  4 15:02" for the last half year, "Mar  4  2024" otherwise, as ls -l. */
const char *format_time(const struct zone *z, const struct timespec *t, time_t now, char buf[FORMAT_LEN]);

/* Prints a name; on a terminal control characters become '?', so that a name cannot steer it. Returns the columns taken. */
unsigned format_name(FILE *f, const char *name, size_t len, bool tty);
unsigned format_name_width(const char *name, size_t len);

/* --- JSON ----------------------------------------------------------------------------------------- */

/*
 * Sets obj[key] to the bytes as text.  Names may be any bytes: what is not UTF-8 becomes U+FFFD, and then obj["<key>_hex"] has
 * the exact bytes in hexadecimal.  -ENOMEM.
 */
int format_json_text(json_t *obj, const char *key, const char *s, size_t len);
/* A time as nanoseconds since the epoch, in a string: more than a double holds exactly. NULL: no memory. */
json_t *format_json_time(const struct timespec *t);
/* Prints v as a line and gives it back. -ENOMEM when v is NULL. */
int format_json_print(FILE *f, json_t *v, size_t flags);

/* --- tables --------------------------------------------------------------------------------------- */

struct table;
/* align: one character a column, 'l' or 'r', at most 16. NULL: no memory. */
struct table *table_new(const char *align);
void table_free(struct table *t);
/* Adds the next cell, row by row. Text is copied. -ENOMEM. */
int table_cell(struct table *t, const char *text);
/* Prints what was added, columns two spaces apart. With `heading` the first row is one, and each with a first cell alone: bold if colour. */
void table_print(const struct table *t, FILE *f, bool heading, bool colour);

#endif
