/* What the tests of the state share: files, and a state whose content follows from its index. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "store/state.h"
#include "test_directories.h"

/* The one file that matches a pattern of glob(7) below the directory; the last in order when there
 * are several. */
char *find_file(const char *directory, const char *pattern);
void overwrite(const char *path, long offset, const void *data, size_t size);
void write_text(const char *path, const char *text);

/* Opens, and fails the test when that fails. */
struct state *open_state(const char *directory, size_t cache_size);

enum { MODEL_KEYS = 50, MODEL_BATCH = 10 };

/* Applies `count` batches of MODEL_BATCH indices; each index puts or deletes one key, and which,
 * follows from the index. 0 or what failed. */
int model_apply(struct state *state, size_t count, size_t value_size);
/* Checks that the state holds exactly what its applied index says, at the end of a batch. Returns
 * the index. */
uint64_t model_verify(struct state *state, size_t value_size);
