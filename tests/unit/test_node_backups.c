/* Backups that clients read: chunk by chunk, few at a time, and not for ever. Lanes and time are
 * the test's, the state is a real one. */
#include "test_state_fixture.h"

#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "format/backup.h"
#include "node/node_internal.h"

enum { KEYS = 40, VALUE = 20000 };

struct world {
    struct node node;
    struct host host;
    uint64_t now, random;
    struct job *jobs, **jobs_end;
    char *directory;
    /* What the service was told last. */
    unsigned told;
    uint64_t token;
    struct buffer header, chunk;
    bool last;
    struct failure failure; /* code 0: none */
    struct failure ended;   /* why the last one ended that did so by itself */
    bool deaf;              /* nobody waits for what the service is told */
};

static struct world world;

/* ---- what backups.c calls ---- */

bool service_backup_read(struct service *service, uint64_t token,
                         const struct service_backup *backup, const struct failure *failure) {
    (void)service;
    world.told++;
    world.token = token;
    world.failure = failure ? *failure : (struct failure){0};
    world.header.size = world.chunk.size = 0;
    if (!backup)
        return !world.deaf;
    assert_int_equal(backup->token, token);
    buffer_append(&world.header, backup->header, backup->header_size);
    buffer_append(&world.chunk, backup->chunk, backup->chunk_size);
    world.last = backup->last;
    return !world.deaf;
}

void service_backup_ended(struct service *service, uint64_t token, const struct failure *failure) {
    (void)service;
    assert_true(token != 0);
    world.ended = *failure;
}

void node_event(struct journal_event *event, const struct node *node, uint64_t index,
                const char *about) {
    (void)event;
    (void)node;
    (void)index;
    (void)about;
}

void node_flush(struct node *node) {
    (void)node;
}

void storage_state_fatal(struct node *node, const char *what, int error) {
    (void)node;
    fail_msg("%s: %s", what, strerror(-error));
}

static uint64_t host_now(struct host *host) {
    (void)host;
    return world.now;
}

static uint64_t host_random(struct host *host) {
    (void)host;
    return world.random++; /* 0 first: no token */
}

static void host_submit(struct host *host, enum lane lane, struct job *job) {
    (void)host;
    assert_int_equal(lane, LANE_STATE);
    job->next = NULL;
    *world.jobs_end = job;
    world.jobs_end = &job->next;
}

static void run_jobs(void) {
    struct job *job;

    while ((job = world.jobs)) {
        world.jobs = job->next;
        if (!world.jobs)
            world.jobs_end = &world.jobs;
        job->run(job);
        job->done(job);
    }
}

/* ---- setup ---- */

static void put(unsigned key, uint64_t index) {
    static uint8_t value[VALUE];
    struct state_record record = {index, index, 1, value, sizeof value};
    char name[16];

    memset(value, (int)index, sizeof value);
    snprintf(name, sizeof name, "key%04u", key);
    assert_int_equal(state_begin(world.node.state), 0);
    assert_int_equal(state_put(world.node.state, name, strlen(name), &record), 0);
    assert_int_equal(state_commit(world.node.state, index, 1), 0);
}

static int setup(void **state) {
    (void)state;
    memset(&world, 0, sizeof world);
    world.now = 1000;
    world.jobs_end = &world.jobs;
    world.host = (struct host){
        .now = host_now, .microseconds = host_now, .random = host_random, .submit = host_submit};
    world.node.host = &world.host;
    world.node.identity.cluster_id = 77;
    world.directory = make_directory();
    world.node.state = open_state(world.directory, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    run_jobs();
    backups_deinit(&world.node);
    state_close(world.node.state);
    remove_directory(world.directory);
    buffer_deinit(&world.header);
    buffer_deinit(&world.chunk);
    return 0;
}

static void fill_with(unsigned keys) {
    for (unsigned key = 0; key < keys; key++)
        put(key, key + 1);
}

static void fill(void) {
    fill_with(KEYS);
}

static int ask(uint64_t *token, uint64_t sequence) {
    struct failure failure;
    int r = backups_read(&world.node, token, sequence, &failure);

    run_jobs();
    return r;
}

static uint64_t begin(void) {
    uint64_t token = 0;

    assert_int_equal(ask(&token, 0), 0);
    assert_int_equal(world.failure.code, 0);
    assert_true(token != 0);
    assert_int_equal(token, world.token);
    return token;
}

/* Which bytes the test's values consist of tells the index that they were written at. */
static void assert_chunk_of(struct snapshot_reader *reader, unsigned *key) {
    struct snapshot_chunk chunk;
    struct failure failure;

    assert_int_equal(
        snapshot_reader_decode(reader, world.chunk.data, world.chunk.size, &chunk, &failure), 0);
    for (size_t i = 0; i < chunk.count; i++, ++*key) {
        assert_int_equal(chunk.records[i].record.modify_revision, *key + 1);
        assert_int_equal(chunk.records[i].record.value[VALUE - 1], *key + 1);
    }
    snapshot_reader_accept(reader, &chunk);
    snapshot_chunk_deinit(&chunk);
}

/* ---- tests ---- */

static void a_backup_is_of_one_index_whatever_is_written_meanwhile(void **state) {
    struct snapshot_reader reader;
    struct backup_header header;
    struct failure failure;
    unsigned key = 0;
    uint64_t token;

    (void)state;
    fill();
    token = begin();
    assert_int_equal(backup_header_decode(&header, world.header.data, world.header.size, &failure),
                     0);
    assert_int_equal(header.cluster_id, 77);
    assert_int_equal(header.snapshot.index, KEYS);
    assert_string_equal(header.version, raftkv_version);
    backup_header_deinit(&header);
    snapshot_reader_init(&reader, KEYS);
    for (uint64_t sequence = 1;; sequence++) {
        assert_chunk_of(&reader, &key);
        if (world.last)
            break;
        put(KEYS - (unsigned)sequence, 100 + sequence);
        put(KEYS + (unsigned)sequence, 150 + sequence);
        assert_int_equal(ask(&token, sequence), 0);
        assert_int_equal(world.header.size, 0);
        assert_true(sequence < KEYS);
    }
    assert_int_equal(key, KEYS);
    assert_true(reader.complete && reader.chunks > 2);
    snapshot_reader_deinit(&reader);
}

static void the_chunk_given_last_is_given_again_and_no_other(void **state) {
    uint64_t token, unknown;
    struct buffer first = BUFFER_NULL;

    (void)state;
    fill();
    token = begin();
    buffer_append(&first, world.chunk.data, world.chunk.size);
    assert_int_equal(ask(&token, 0), 0);
    assert_true(world.chunk.size == first.size && world.header.size > 0);
    assert_memory_equal(world.chunk.data, first.data, first.size);
    assert_int_equal(ask(&token, 2), ERROR_INVALID_ARGUMENT);
    assert_int_equal(ask(&token, 1), 0);
    assert_int_equal(ask(&token, 0), ERROR_INVALID_ARGUMENT);
    assert_int_equal(ask(&token, UINT64_MAX), ERROR_INVALID_ARGUMENT);
    unknown = token + 1;
    assert_int_equal(ask(&unknown, 2), ERROR_NOT_FOUND);
    buffer_deinit(&first);
}

static void nothing_comes_behind_the_last_chunk(void **state) {
    uint64_t token;

    (void)state;
    put(0, 1);
    token = begin();
    assert_true(world.last);
    assert_int_equal(ask(&token, 1), ERROR_INVALID_ARGUMENT);
    assert_int_equal(ask(&token, 0), 0);
    assert_true(world.last);
}

static void an_empty_state_can_not_be_backed_up_and_leaves_nothing_open(void **state) {
    (void)state;
    for (unsigned i = 0; i < BACKUPS_MAX + 1; i++) {
        uint64_t token = 0;

        assert_int_equal(ask(&token, 0), 0);
        assert_int_equal(world.failure.code, ERROR_UNAVAILABLE);
        assert_int_equal(ask(&token, 1), ERROR_NOT_FOUND);
    }
}

static void begin_all(uint64_t tokens[BACKUPS_MAX]) {
    for (unsigned i = 0; i < BACKUPS_MAX; i++)
        tokens[i] = begin();
}

static void there_are_few_at_a_time_until_one_ends(void **state) {
    uint64_t tokens[BACKUPS_MAX], one_more = 0;
    struct failure failure;

    (void)state;
    fill();
    begin_all(tokens);
    assert_int_equal(ask(&one_more, 0), ERROR_BUSY);
    assert_int_equal(backups_end(&world.node, tokens[0], &failure), 0);
    assert_int_equal(backups_end(&world.node, tokens[0], &failure), ERROR_NOT_FOUND);
    assert_int_equal(ask(&tokens[0], 1), ERROR_NOT_FOUND);
    begin();
    assert_int_equal(ask(&tokens[1], 1), 0);
}

static void the_place_of_one_that_ends_is_free_at_once(void **state) {
    uint64_t tokens[BACKUPS_MAX], one_more = 0;
    struct failure failure;

    (void)state;
    fill();
    begin_all(tokens);
    for (unsigned i = 0; i < BACKUPS_MAX; i++)
        assert_int_equal(backups_end(&world.node, tokens[i], &failure), 0);
    for (unsigned i = 0; i < BACKUPS_MAX; i++) {
        tokens[i] = 0;
        assert_int_equal(backups_read(&world.node, &tokens[i], 0, &failure), 0);
    }
    assert_int_equal(backups_read(&world.node, &one_more, 0, &failure), ERROR_BUSY);
    run_jobs();
    for (unsigned i = 0; i < BACKUPS_MAX; i++)
        assert_int_equal(ask(&tokens[i], 1), 0);
}

static void one_chunk_is_read_at_a_time(void **state) {
    struct failure failure;
    uint64_t token;

    (void)state;
    fill();
    token = begin();
    assert_int_equal(backups_read(&world.node, &token, 1, &failure), 0);
    assert_int_equal(backups_read(&world.node, &token, 1, &failure), ERROR_BUSY);
    assert_true(backups_busy(&world.node));
    run_jobs();
    assert_false(backups_busy(&world.node));
}

static void an_end_during_a_read_answers_it(void **state) {
    struct failure failure;
    uint64_t token;

    (void)state;
    fill();
    token = begin();
    assert_int_equal(backups_read(&world.node, &token, 1, &failure), 0);
    assert_int_equal(backups_end(&world.node, token, &failure), 0);
    world.told = 0;
    run_jobs();
    assert_int_equal(world.told, 1);
    assert_int_equal(world.failure.code, ERROR_NOT_FOUND);
    for (unsigned i = 0; i < BACKUPS_MAX; i++)
        begin();
}

static void who_asks_no_more_is_given_up(void **state) {
    uint64_t silent, other;

    (void)state;
    fill();
    assert_int_equal(backups_deadline(&world.node), UINT64_MAX);
    silent = begin();
    assert_int_equal(backups_deadline(&world.node), world.now + BACKUP_IDLE_MS);
    other = begin();
    world.now += BACKUP_IDLE_MS - 1;
    backups_tick(&world.node);
    assert_int_equal(ask(&other, 1), 0);
    world.now += 1;
    backups_tick(&world.node);
    run_jobs();
    assert_int_equal(world.ended.code, ERROR_TIMEOUT);
    assert_int_equal(ask(&silent, 1), ERROR_NOT_FOUND);
    assert_int_equal(ask(&other, 2), 0);
    begin();
}

static void to_ask_for_the_same_chunk_again_is_no_progress(void **state) {
    uint64_t token;

    (void)state;
    fill();
    token = begin();
    for (unsigned second = 0; second < BACKUP_IDLE_MS / 1000; second++) {
        assert_int_equal(ask(&token, 0), 0);
        world.now += 1000;
        backups_tick(&world.node);
    }
    run_jobs();
    assert_int_equal(world.ended.code, ERROR_TIMEOUT);
    assert_int_equal(ask(&token, 0), ERROR_NOT_FOUND);
}

/* It takes a chunk now and then, so it is never silent. */
static void who_takes_too_little_is_given_up(void **state) {
    uint64_t token, begun, taken = 0;

    (void)state;
    fill_with(2 * KEYS);
    begun = world.now;
    token = begin();
    for (uint64_t sequence = 1; sequence < 3; sequence++) {
        taken += world.chunk.size;
        world.now += BACKUP_IDLE_MS - 1;
        backups_tick(&world.node);
        assert_int_equal(ask(&token, sequence), 0);
    }
    taken += world.chunk.size;
    assert_false(world.last);
    world.now = begun + BACKUP_GRACE_MS + taken * 1000 / BACKUP_PACE;
    assert_int_equal(backups_deadline(&world.node), world.now);
    world.now -= 1;
    backups_tick(&world.node);
    assert_int_equal(ask(&token, 2), 0);
    world.now += 1;
    backups_tick(&world.node);
    run_jobs();
    assert_int_equal(world.ended.code, ERROR_TIMEOUT);
    assert_int_equal(ask(&token, 3), ERROR_NOT_FOUND);
}

static void what_nobody_was_told_of_ends_at_once(void **state) {
    uint64_t token = 0;

    (void)state;
    fill();
    world.deaf = true;
    for (unsigned i = 0; i < BACKUPS_MAX + 1; i++) {
        token = 0;
        assert_int_equal(ask(&token, 0), 0);
        assert_int_equal(world.ended.code, ERROR_UNAVAILABLE);
    }
    world.deaf = false;
    token = begin();
    world.deaf = true; /* its connection broke, and it asks again on another one */
    assert_int_equal(ask(&token, 1), 0);
    world.deaf = false;
    assert_int_equal(ask(&token, 1), 0);
}

static void a_state_that_is_replaced_ends_it(void **state) {
    uint64_t token;

    (void)state;
    fill();
    token = begin();
    world.node.state = state_close(world.node.state);
    assert_int_equal(ask(&token, 1), 0);
    assert_int_equal(world.failure.code, ERROR_UNAVAILABLE);
    assert_int_equal(ask(&token, 1), ERROR_NOT_FOUND);
}

#define BACKUP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        BACKUP_TEST(a_backup_is_of_one_index_whatever_is_written_meanwhile),
        BACKUP_TEST(the_chunk_given_last_is_given_again_and_no_other),
        BACKUP_TEST(nothing_comes_behind_the_last_chunk),
        BACKUP_TEST(an_empty_state_can_not_be_backed_up_and_leaves_nothing_open),
        BACKUP_TEST(there_are_few_at_a_time_until_one_ends),
        BACKUP_TEST(the_place_of_one_that_ends_is_free_at_once),
        BACKUP_TEST(one_chunk_is_read_at_a_time),
        BACKUP_TEST(an_end_during_a_read_answers_it),
        BACKUP_TEST(who_asks_no_more_is_given_up),
        BACKUP_TEST(to_ask_for_the_same_chunk_again_is_no_progress),
        BACKUP_TEST(who_takes_too_little_is_given_up),
        BACKUP_TEST(what_nobody_was_told_of_ends_at_once),
        BACKUP_TEST(a_state_that_is_replaced_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
