/* What the data directory's start (directory.c) and its tools (directory_tools.c) share. */
#pragma once

#include "store/directory.h"

#define DIRECTORY_IDENTITY "identity"

/* With the paths set and nothing else; directory_deinit() frees it. */
struct directory directory_at(const char *path);

/* Fills the failure with what the file system refused. Returns ERROR_INTERNAL. */
int directory_refused(struct failure *failure, const char *path, const char *what, int error);

/* Reads the identity, or finds that there is nothing yet (directory->fresh). Refuses as
 * directory_open() says; name NULL: any. */
int directory_read_identity(struct directory *directory, const char *name, struct failure *failure);
/* Negative errno. */
int directory_write_identity(const struct directory *directory);
/* Writes the changed identity, and takes it over when it is durable. Negative errno. */
int directory_replace_identity(struct directory *directory, const struct directory *changed);

int directory_take_lock(struct directory *directory, struct failure *failure);
/* Makes a directory, or finds that there is one. Negative errno. */
int directory_make(const char *path);
/* The directories of log and state: makes them, durably; or sees that they are there. */
int directory_make_parts(struct directory *directory, struct failure *failure);
int directory_check_parts(const struct directory *directory, struct failure *failure);
