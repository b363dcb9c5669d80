/*
 * ckpt_wait.c: the hook of ckpt_wait.h.
 */
#include "ckpt_wait.h"

_Thread_local void (*ckpt_wait_hook)(void);
