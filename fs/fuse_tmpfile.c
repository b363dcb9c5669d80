/*
 * fuse_tmpfile.c: O_TMPFILE, which libfuse 3.14 knows nothing of.
 *
 * The kernel asks with a request of its own, TMPFILE, of the same shape as CREATE and with the same answer.  The name
 * in it is "/", which no file can have.  So the request becomes a CREATE before libfuse sees it, and who answers that
 * tells the two apart by the name.
 */
#include <stddef.h>
#include <string.h>

#include <linux/fuse.h>

#include "fuse_internal.h"
#include "fuse_loop.h"

void fuse_tmpfile_to_create(struct fuse_buf *request)
{
	const uint32_t create = FUSE_CREATE;
	char *at = (char *)request->mem + offsetof(struct fuse_in_header, opcode);
	uint32_t opcode;

	if ((request->flags & FUSE_BUF_IS_FD) || request->size < sizeof(struct fuse_in_header))
		return;
	memcpy(&opcode, at, sizeof(opcode));
	if (opcode == FUSE_TMPFILE)
		memcpy(at, &create, sizeof(create));
}
