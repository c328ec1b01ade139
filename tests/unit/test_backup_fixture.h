/* Backups of a state, for tests that read them. */
#pragma once

#include "base/memory.h"
#include "test_state_fixture.h"

#define BACKUP_VERSION "0.1.0-test" /* that a backup says it was made with */

/* The bytes of a backup of the state, in chunks of about this size. */
struct buffer make_backup(struct state *state, uint64_t cluster_id, size_t chunk_size);
/* A file without a name that holds these bytes, at its beginning. */
int make_file(const void *data, size_t size);
/* Such a file with a backup. */
int make_backup_file(struct state *state, uint64_t cluster_id, size_t chunk_size);
