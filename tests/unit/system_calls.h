/*
 * What lies between raftkv's store, Berkeley DB and the disk: an executable that links this has
 * definitions of libc's file functions of its own, and they come before those of the libraries,
 * for the libraries too. A hook is asked before each call. (The simulator's disk is in tests/sim.)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct system_call {
    const char *name; /* of the function; raftkv calls open64(), Berkeley DB open() */
    const char *path; /* NULL: of a descriptor */
    int fd;           /* 0 with a path */
    int flags;        /* of open() */
    const void *data; /* of a write */
    size_t size;
    off_t offset; /* of pread() and pwrite(), which have it; the new size of ftruncate() */
};

/* What a hook answers, beside the errno that the call fails with. */
enum { SYSTEM_CALL_IS_MADE = 0, SYSTEM_CALL_IS_LEFT_OUT = -1 /* and succeeds */ };

/* NULL: all calls are made. */
extern int (*system_call_hook)(const struct system_call *call);

/* fsync() or fdatasync(). */
bool system_call_syncs(const struct system_call *call);
/* write() or pwrite(). */
bool system_call_writes(const struct system_call *call);
/* A write behind what its file has on the disk. */
bool system_call_grows(const struct system_call *call);
/* Whether this part is in the path of its file. */
bool system_call_is_below(const struct system_call *call, const char *part);
/* Whether it is one that may find that there is no space. */
bool system_call_needs_space(const struct system_call *call);
