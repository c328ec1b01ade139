#include "test_offline_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "kv/kv.h"
#include "raft/configuration.h"
#include "test_backup_fixture.h"

int world_setup(void **state) {
    struct world *world = xcalloc(1, sizeof *world);

    /* In memory where that can be had: thousands of syncs would only wait for the disk. */
    world->parent = xasprintf("%s/raftkv-test-offline-XXXXXX",
                              access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(world->parent));
    world->path = xasprintf("%s/data", world->parent);
    *state = world;
    return 0;
}

int world_teardown(void **state) {
    struct world *world = *state;

    remove_directory(world->parent);
    free(world->path);
    free(world);
    return 0;
}

static struct log_entry make_configuration(void) {
    struct configuration configuration = {.count = 0};
    struct log_entry entry = {.term = 1, .type = ENTRY_CHANGE};
    uint8_t *data;

    for (unsigned i = 0; i < 3; i++) {
        struct server server = {.id = WORLD_MEMBER + i, .role = MEMBER_VOTER};

        snprintf(server.name, sizeof server.name, "node%c", 'A' + (int)i);
        snprintf(server.peer_address, sizeof server.peer_address, "127.0.0.1:%u", 7000 + i);
        snprintf(server.client_address, sizeof server.client_address, "127.0.0.1:%u", 8000 + i);
        configuration_add(&configuration, &server);
    }
    configuration_encode(&configuration, &data, &entry.size);
    entry.data = xmemdup(data, entry.size);
    raft_free(data);
    return entry;
}

static struct log_entry make_put(uint64_t index) {
    struct log_entry entry = {.term = index < 50 ? 1 : WORLD_TERM, .type = ENTRY_COMMAND};
    uint8_t value[200], *data;
    char key[16];

    snprintf(key, sizeof key, "key-%02u", (unsigned)(index % WORLD_KEYS));
    memset(value, (int)index, sizeof value);
    kv_encode_put((const uint8_t *)key, strlen(key), value, sizeof value, &data, &entry.size);
    entry.data = data;
    return entry;
}

static void write_log(const struct directory *directory, const struct log_entry *entries,
                      uint64_t count) {
    struct log_store_options options = {
        .directory = directory->log_path,
        .member_id = directory->member_id,
        .incarnation = directory->incarnation,
        .file_size = 64 * 1024,
    };
    struct log_recovery recovery;
    struct failure failure = {0};
    struct log_store *log;

    if (log_store_open(&log, &options, &recovery, &failure) != 0)
        fail_msg("%s", failure.message);
    log_recovery_deinit(&recovery);
    assert_int_equal(log_store_set_vote(log, WORLD_TERM, WORLD_MEMBER), 0);
    for (uint64_t i = 0; i < count; i += 10) {
        assert_int_equal(log_store_append(log, i + 1, entries + i, count - i < 10 ? count - i : 10),
                         0);
        assert_int_equal(log_store_flush(log), 0);
    }
    log_store_close(log);
}

void world_make_node(struct world *world, uint64_t count, uint64_t applied) {
    struct log_entry *entries = xcalloc(count, sizeof *entries);
    struct kv_result *results = xcalloc(count, sizeof *results);
    struct directory directory;
    struct failure failure = {0};
    struct state *state;

    for (uint64_t i = 0; i < count; i++)
        entries[i] = i == 0 ? make_configuration() : make_put(i + 1);
    if (directory_open(&directory, world->path, "nodeA", WORLD_MEMBER, &failure) != 0)
        fail_msg("%s", failure.message);
    assert_int_equal(directory_set_cluster(&directory, WORLD_CLUSTER, false), 0);
    state = open_state(directory.state_path, 0);
    if (applied > 0)
        assert_int_equal(kv_apply(state, 1, entries, applied, results), 0);
    write_log(&directory, entries, count);
    state_close(state);
    directory_deinit(&directory);
    for (uint64_t i = 0; i < count; i++)
        free((void *)(uintptr_t)entries[i].data);
    free(entries);
    free(results);
}

void world_check_keys(const char *state_path, uint64_t entries) {
    struct state *state = open_state(state_path, 0);

    for (uint64_t index = entries - WORLD_KEYS + 1; index <= entries; index++) {
        struct state_record record;
        char key[16];

        snprintf(key, sizeof key, "key-%02u", (unsigned)(index % WORLD_KEYS));
        assert_int_equal(state_get(state, key, strlen(key), &record), 0);
        assert_int_equal(record.modify_revision, index);
        assert_int_equal(record.value_size, 200);
        assert_int_equal(record.value[0], (uint8_t)index);
    }
    state_close(state);
}

int world_make_backup(struct world *world) {
    _cleanup_free_ char *path = xasprintf("%s/state", world->path);
    struct state *state = open_state(path, 0);
    int fd = make_backup_file(state, WORLD_CLUSTER, 3000);

    state_close(state);
    return fd;
}

static void note(void *data, bool wrong, const char *sentence) {
    struct world *world = data;
    char *notes = wrong ? world->wrong : world->said;
    size_t length = strlen(notes);

    snprintf(notes + length, sizeof world->said - length, "%s\n", sentence);
}

int world_verify(struct world *world) {
    world->said[0] = world->wrong[0] = '\0';
    return offline_verify(world->path, "nodeA", note, NULL, world);
}

struct identity world_identity(uint64_t member_id, uint64_t cluster_id) {
    return (struct identity){
        .member_id = member_id,
        .cluster_id = cluster_id,
        .name = "nodeA",
        .peer_address = "127.0.0.1:7100",
        .client_address = "127.0.0.1:8100",
    };
}

void world_check_sole_voter(struct world *world, uint64_t entries, uint64_t member_id,
                            uint64_t cluster_id) {
    struct offline offline;
    const struct server *self;

    if (offline_open(&offline, world->path, "nodeA", note, NULL, world) != 0)
        fail_msg("%s", world->wrong);
    assert_int_equal(offline.directory.unfinished, DIRECTORY_FINISHED);
    assert_true(offline.directory.member_id == member_id);
    assert_true(offline.directory.cluster_id == cluster_id);
    assert_int_equal(offline.configuration.count, 1);
    self = &offline.configuration.servers[0];
    assert_true(self->id == member_id);
    assert_int_equal(self->role, MEMBER_VOTER);
    assert_string_equal(self->name, "nodeA");
    assert_string_equal(self->peer_address, "127.0.0.1:7100");
    assert_string_equal(self->client_address, "127.0.0.1:8100");
    assert_true(offline.state.applied_index > entries);
    assert_true(offline.state.installed_index == offline.state.applied_index);
    assert_true(offline.log.recovery.mark.index == offline.state.applied_index);
    assert_true(offline.log.recovery.first_index == offline.state.applied_index + 1);
    assert_true(offline.log.recovery.last_index == offline.state.applied_index);
    assert_true(offline.log.recovery.term == offline.state.applied_term);
    assert_true(offline.state.applied_term > WORLD_TERM);
    assert_false(offline.log.resets);
    world_check_keys(offline.directory.state_path, entries);
    offline_close(&offline);
}

int world_recover(struct world *world, uint64_t cluster_id, struct failure *failure) {
    struct identity identity = world_identity(1, cluster_id);
    struct offline offline;
    int r = offline_open(&offline, world->path, "nodeA", note, NULL, world);

    if (r != 0)
        return r;
    r = offline_recover(&offline, &identity, failure);
    offline_close(&offline);
    return r;
}
