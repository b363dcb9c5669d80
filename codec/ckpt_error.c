/*
 * ckpt_error.c: the message of a failure, one a thread, and the log.
 */
#include "codec/ckpt_error.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

enum { MESSAGE_MAX = 512, LINE_MAX_LEN = 1024 };

static _Thread_local char message[MESSAGE_MAX];
static atomic_bool log_is_syslog;

/* Every message is built aside first, since the arguments may well be the message that stands. */
int ckpt_fail(int err, const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof text, fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	memcpy(message, text, sizeof message);
	return -err;
}

int ckpt_context(int rc, const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	va_list ap;
	size_t len, room;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof text - 3, fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	strcat(text, ": ");
	len = strlen(text);
	room = sizeof text - 1 - len;
	memcpy(text + len, message, room);
	text[len + room] = '\0';
	memcpy(message, text, sizeof message);
	return rc;
}

const char *ckpt_errmsg(void)
{
	return message;
}

/* One call of the system a line, so that lines of several threads do not mix. */
void ckpt_log(int level, const char *fmt, ...)
{
	char line[LINE_MAX_LEN];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(line, sizeof line, fmt, ap) < 0)
		line[0] = '\0';
	va_end(ap);
	if (atomic_load(&log_is_syslog))
		syslog(level, "%s", line);
	else
		fprintf(stderr, "ckptfs: %s\n", line);
}

void ckpt_log_to_syslog(void)
{
	openlog("ckptfs", LOG_PID, LOG_DAEMON);
	atomic_store(&log_is_syslog, true);
}
