/* What the tests of the room offline share: data directories as a node leaves them, and backups. */
#pragma once

#include "test_state_fixture.h"

#include "offline/offline.h"

enum {
    WORLD_ENTRIES = 300, /* the first is the configuration: three voters, the node among them */
    WORLD_APPLIED = 200,
    WORLD_KEYS = 40,
    WORLD_TERM = 7,
    WORLD_MEMBER = 4711,
    WORLD_CLUSTER = 1234,
};

struct world {
    char *parent;
    char *path; /* of the data directory, in there */
    char said[4096];
    char wrong[4096]; /* what was said to be wrong */
};

int world_setup(void **state);
int world_teardown(void **state);

/* A node that was stopped when its log had `entries` entries, and its state had `applied` of them.
 */
void world_make_node(struct world *world, uint64_t entries, uint64_t applied);
/* Checks that a state holds what the first so many entries have written. */
void world_check_keys(const char *state_path, uint64_t entries);
/* A file without a name, with a backup of the node's state. */
int world_make_backup(struct world *world);

/* Verifies, and notes what is said. */
int world_verify(struct world *world);
/* The node as a member of another cluster, at new addresses. */
struct identity world_identity(uint64_t member_id, uint64_t cluster_id);

/* Verifies that the node is the only member, with all that the entries have written. */
void world_check_sole_voter(struct world *world, uint64_t entries, uint64_t member_id,
                            uint64_t cluster_id);

int world_recover(struct world *world, uint64_t cluster_id, struct failure *failure);
