/*
 * Calls that fail: the n-th one of a kind from now on. An executable that links this has its own
 * malloc(), calloc(), realloc() and vasprintf() for raftkv's code, its own db_env_create() and
 * db_create(), whose handles have methods of its own (the linker's --wrap), and its own system
 * calls (system_calls.h). Berkeley DB's caches and log files are small there.
 */
#pragma once

enum failing_kind {
    FAILING_MEMORY,  /* allocations, those of Berkeley DB among them */
    FAILING_LIBRARY, /* raftkv's calls of Berkeley DB */
    FAILING_SYSTEM,  /* system calls on files, raftkv's and those of Berkeley DB */
};

/*
 * The n-th call of that kind from now on fails with that errno, and its name is put into
 * *ret_failed. A system call that is made again on the same file fails again: Berkeley DB tries up
 * to a hundred times. With ENOSPC only those count that need space. What closes or ends something
 * has done so when it fails.
 *
 * Syncs are left out meanwhile, unless it is their turn to fail: nothing here loses power.
 */
void failing_begin(enum failing_kind kind, int error, unsigned long n, const char **ret_failed);
/* From now on none fails: the disk has space again. */
void failing_end(void);

/* What a call is to fail with; 0: it is made. For the wrappers. */
int failing_call(enum failing_kind kind, const char *name);
