/* space: how much room there is on the disk under a directory. On any lane. */
#pragma once

#include <stdint.h>

/* Bytes that the file system of `path` still has for this process. Negative errno. */
int store_free_space(const char *path, uint64_t *ret);
