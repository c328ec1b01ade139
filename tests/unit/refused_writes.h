/*
 * Writes to files that are refused, raftkv's and Berkeley DB's: an executable that links this has
 * definitions of write() and pwrite() of its own, which come before those of the libraries.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* The errno that a write to the descriptor fails with, which ends at that offset; 0: it is made.
 * NULL: all are. Called on any thread. */
extern int (*refused_writes)(int descriptor, off_t end);

/* Whether this part is in the path of the descriptor's file. */
bool descriptor_is_below(int descriptor, const char *part);
