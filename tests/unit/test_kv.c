#include "test_state_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/memory.h"
#include "kv/kv.h"
#include "proto/unpack.h"

struct fixture {
    char *directory;
    struct state *state;
    uint64_t next; /* the index of the next entry */
};

static int setup(void **ret) {
    struct fixture *fixture = xcalloc(1, sizeof *fixture);

    fixture->directory = make_directory();
    fixture->state = open_state(fixture->directory, 0);
    fixture->next = 1;
    *ret = fixture;
    return 0;
}

static int teardown(void **data) {
    struct fixture *fixture = *data;

    state_close(fixture->state);
    remove_directory(fixture->directory);
    free(fixture);
    return 0;
}

static struct log_entry put_entry(const void *key, size_t key_size, const void *value,
                                  size_t value_size) {
    struct log_entry entry = {.term = 1, .type = ENTRY_COMMAND};
    uint8_t *data;

    kv_encode_put(key, key_size, value, value_size, &data, &entry.size);
    entry.data = data;
    return entry;
}

static struct log_entry delete_entry(const void *key, size_t key_size) {
    struct log_entry entry = {.term = 1, .type = ENTRY_COMMAND};
    uint8_t *data;

    kv_encode_delete(key, key_size, &data, &entry.size);
    entry.data = data;
    return entry;
}

static struct log_entry raw_entry(uint8_t type, const void *data, size_t size) {
    return (struct log_entry){.term = 1, .type = type, .data = xmemdup(data, size), .size = size};
}

static void free_entry(const struct log_entry *entry) {
    free((uint8_t *)(uintptr_t)entry->data);
}

/* Applies one entry and frees it. */
static struct kv_result apply(struct fixture *fixture, struct log_entry entry) {
    struct kv_result result = {.code = ERROR_BUSY};

    assert_int_equal(kv_apply(fixture->state, fixture->next, &entry, 1, &result), 0);
    assert_int_equal(result.revision, fixture->next);
    free_entry(&entry);
    fixture->next++;
    return result;
}

static void put(struct fixture *fixture, const char *key, const char *value) {
    assert_int_equal(apply(fixture, put_entry(key, strlen(key), value, strlen(value))).code, 0);
}

static void assert_item(struct fixture *fixture, const void *key, size_t key_size,
                        const void *value, size_t value_size, uint64_t create_revision,
                        uint64_t modify_revision, uint64_t version) {
    struct kv_item item = {0};
    uint64_t revision;

    assert_int_equal(kv_get(fixture->state, key, key_size, &item, &revision), 0);
    assert_int_equal(revision, fixture->next - 1);
    assert_int_equal(item.key_size, key_size);
    assert_memory_equal(item.key, key, key_size);
    assert_int_equal(item.value_size, value_size);
    if (value_size)
        assert_memory_equal(item.value, value, value_size);
    assert_int_equal(item.create_revision, create_revision);
    assert_int_equal(item.modify_revision, modify_revision);
    assert_int_equal(item.version, version);
    kv_item_deinit(&item);
    assert_null(item.key);
}

static void assert_missing(struct fixture *fixture, const void *key, size_t key_size) {
    struct kv_item item = {0};
    uint64_t revision = 0;

    assert_int_equal(kv_get(fixture->state, key, key_size, &item, &revision), ERROR_NOT_FOUND);
    assert_int_equal(revision, fixture->next - 1);
    assert_null(item.key);
}

static void writes_keep_revisions_and_versions(void **data) {
    struct fixture *fixture = *data;

    assert_missing(fixture, "a", 1);
    assert_false(apply(fixture, put_entry("a", 1, "one", 3)).existed);
    assert_item(fixture, "a", 1, "one", 3, 1, 1, 1);
    assert_false(apply(fixture, put_entry("b", 1, "", 0)).existed);
    assert_true(apply(fixture, put_entry("a", 1, "two!", 4)).existed);
    assert_item(fixture, "a", 1, "two!", 4, 1, 3, 2);
    assert_item(fixture, "b", 1, "", 0, 2, 2, 1);
    assert_true(apply(fixture, delete_entry("a", 1)).existed);
    assert_missing(fixture, "a", 1);
    assert_false(apply(fixture, delete_entry("a", 1)).existed);
    assert_false(apply(fixture, put_entry("a", 1, "again", 5)).existed);
    assert_item(fixture, "a", 1, "again", 5, 6, 6, 1);
}

static void a_batch_sees_its_own_writes(void **data) {
    struct fixture *fixture = *data;
    struct log_entry entries[] = {put_entry("a", 1, "1", 1), put_entry("a", 1, "2", 1),
                                  delete_entry("a", 1), put_entry("a", 1, "3", 1),
                                  put_entry("a", 1, "4", 1)};
    struct kv_result results[5];

    assert_int_equal(kv_apply(fixture->state, 1, entries, 5, results), 0);
    fixture->next = 6;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(results[i].code, ERROR_OK);
        assert_int_equal(results[i].revision, i + 1);
        assert_int_equal(results[i].existed, i != 0 && i != 3);
        free_entry(&entries[i]);
    }
    assert_item(fixture, "a", 1, "4", 1, 4, 5, 2);
}

static void keys_and_values_of_any_bytes_and_size_come_back(void **data) {
    struct fixture *fixture = *data;
    _cleanup_free_ uint8_t *value = xmalloc(VALUE_SIZE_MAX);
    uint8_t key[KEY_SIZE_MAX];

    for (size_t i = 0; i < VALUE_SIZE_MAX; i++)
        value[i] = (uint8_t)(i * 13 + i / 255);
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    apply(fixture, put_entry(key, sizeof key, value, VALUE_SIZE_MAX));
    apply(fixture, put_entry(key, 1, value, 1000));
    apply(fixture, put_entry("\xff\xff", 2, "\0", 1));
    apply(fixture, put_entry("\0\0", 2, "nul", 3));
    assert_item(fixture, key, sizeof key, value, VALUE_SIZE_MAX, 1, 1, 1);
    assert_item(fixture, key, 1, value, 1000, 2, 2, 1);
    assert_item(fixture, "\xff\xff", 2, "\0", 1, 3, 3, 1);
    assert_item(fixture, "\0\0", 2, "nul", 3, 4, 4, 1);
    assert_missing(fixture, "\xff", 1);
    apply(fixture, put_entry(key, sizeof key, "small", 5));
    assert_item(fixture, key, sizeof key, "small", 5, 1, 5, 2);
}

static void barriers_do_nothing_and_changes_are_the_configuration(void **data) {
    struct fixture *fixture = *data;
    const uint8_t *configuration;
    uint64_t index, term;
    size_t size;

    assert_int_equal(apply(fixture, raw_entry(ENTRY_CHANGE, "first", 5)).code, ERROR_OK);
    assert_int_equal(apply(fixture, raw_entry(ENTRY_BARRIER, "12345678", 8)).code, ERROR_OK);
    assert_int_equal(apply(fixture, raw_entry(ENTRY_BARRIER, "", 0)).code, ERROR_OK);
    for (int i = 0; i < 2; i++) {
        state_configuration(fixture->state, &index, &configuration, &size);
        assert_int_equal(index, 1);
        assert_int_equal(size, 5);
        assert_memory_equal(configuration, "first", 5);
        state_applied(fixture->state, &index, &term);
        assert_int_equal(index, 3);
        assert_int_equal(term, 1);
        state_close(fixture->state);
        fixture->state = open_state(fixture->directory, 0);
    }
    assert_int_equal(apply(fixture, raw_entry(ENTRY_CHANGE, "second one", 10)).code, ERROR_OK);
    state_configuration(fixture->state, &index, &configuration, &size);
    assert_int_equal(index, 4);
    assert_memory_equal(configuration, "second one", 10);
}

static void bytes_that_are_no_command_are_skipped(void **data) {
    static const char *const texts[] = {
        "",                  /* no body */
        "\xff\xff\xff",      /* a tag without end */
        "garbage",           /* a tag of an unknown wire type, or a length beyond the end */
        "\x0a\x05\x0a\x09x", /* a key longer than its message */
        "\x1a\x02\x0a\x01",  /* a kind of command that is not known yet */
        "\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", /* a length without end */
        "\x0b\x0c",                                         /* a group */
    };
    struct fixture *fixture = *data;
    struct log_entry entries[8];
    struct kv_result results[8];
    uint8_t byte;

    for (size_t i = 0; i < 7; i++)
        entries[i] = raw_entry(ENTRY_COMMAND, texts[i], strlen(texts[i]));
    entries[7] = put_entry("a", 1, "value", 5);
    assert_int_equal(kv_apply(fixture->state, 1, entries, 8, results), 0);
    fixture->next = 9;
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(results[i].code, i < 7 ? ERROR_INTERNAL : ERROR_OK);
        assert_int_equal(results[i].revision, i + 1);
        free_entry(&entries[i]);
    }
    assert_item(fixture, "a", 1, "value", 5, 8, 8, 1);
    assert_int_equal(apply(fixture, raw_entry(9, "x", 1)).code, ERROR_INTERNAL);

    /* Every shortening and every flipped bit of a real command: never a crash. */
    entries[0] = put_entry("key", 3, "value", 5);
    for (size_t size = 0; size < entries[0].size; size++)
        apply(fixture, raw_entry(ENTRY_COMMAND, entries[0].data, size));
    for (size_t i = 0; i < entries[0].size * 8; i++) {
        struct log_entry entry = raw_entry(ENTRY_COMMAND, entries[0].data, entries[0].size);
        uint8_t *bytes = (uint8_t *)(uintptr_t)entry.data;

        byte = (uint8_t)(1U << i % 8);
        bytes[i / 8] ^= byte;
        apply(fixture, entry);
    }
    free_entry(&entries[0]);
}

static void a_command_that_repeats_its_fields_is_bounded(void **data) {
    enum { REPEATS = 20000 };
    struct fixture *fixture = *data;
    _cleanup_free_ uint8_t *bytes = xmalloc(REPEATS * 5);

    /* put { key: "k" } again and again: protobuf merges them. */
    for (size_t i = 0; i < REPEATS; i++)
        memcpy(bytes + i * 5, "\x0a\x03\x0a\x01k", 5);
    assert_int_equal(apply(fixture, raw_entry(ENTRY_COMMAND, bytes, REPEATS * 5)).code, ERROR_OK);
    assert_item(fixture, "k", 1, "", 0, 1, 1, 1);
}

/* A history of 200 entries, applied in batches of this size. */
static uint64_t hash_in_batches_of(size_t batch_size, const struct log_entry *entries, size_t count,
                                   struct kv_result *ret_results) {
    char *directory = make_directory();
    struct state *state = open_state(directory, 0);
    uint64_t hash;

    for (size_t done = 0; done < count;) {
        size_t size = count - done < batch_size ? count - done : batch_size;

        assert_int_equal(kv_apply(state, done + 1, entries + done, size, ret_results + done), 0);
        done += size;
        if (done % 60 == 0) {
            state_close(state);
            state = open_state(directory, 0);
        }
    }
    assert_int_equal(state_hash(state, &hash), 0);
    state_close(state);
    remove_directory(directory);
    return hash;
}

static void how_entries_are_batched_does_not_matter(void **data) {
    enum { COUNT = 200 };
    static const size_t sizes[] = {1, 2, 7, 60, 64, 199, 200};
    struct log_entry entries[COUNT];
    struct kv_result first[COUNT], other[COUNT];
    uint64_t hash = 0;
    char key[16], value[16];

    (void)data;
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "%u", i * 17 % 23);
        snprintf(value, sizeof value, "%u", i);
        entries[i] = i % 11 == 5   ? raw_entry(ENTRY_COMMAND, "garbage", 7)
                     : i % 13 == 4 ? raw_entry(ENTRY_CHANGE, value, strlen(value))
                     : i % 4 == 3  ? delete_entry(key, strlen(key))
                                   : put_entry(key, strlen(key), value, strlen(value));
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t now = hash_in_batches_of(sizes[i], entries, COUNT, i ? other : first);

        if (i == 0)
            hash = now;
        assert_true(now == hash);
        for (size_t k = 0; i > 0 && k < COUNT; k++) {
            assert_int_equal(other[k].code, first[k].code);
            assert_int_equal(other[k].revision, first[k].revision);
            assert_int_equal(other[k].existed, first[k].existed);
        }
    }
    for (size_t i = 0; i < COUNT; i++)
        free_entry(&entries[i]);
}

static void an_index_that_does_not_follow_is_our_own_defect(void **data) {
    struct fixture *fixture = *data;
    int status;

    put(fixture, "a", "1");
    for (uint64_t index = 1; index <= 3; index += 2) {
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
            struct log_entry entry = put_entry("a", 1, "2", 1);
            struct kv_result result;

            /* What check() has to say is expected. */
            if (!freopen("/dev/null", "w", stderr))
                _exit(1);
            signal(SIGABRT, SIG_DFL);
            kv_apply(fixture->state, index, &entry, 1, &result);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
    }
}

static struct kv_list list(struct fixture *fixture, struct kv_list_options options) {
    struct kv_list result = {0};

    options.limit = options.limit ? options.limit : LIST_ITEMS_MAX;
    options.max_bytes = options.max_bytes ? options.max_bytes : LIST_BYTES_MAX;
    assert_int_equal(kv_list(fixture->state, &options, &result), 0);
    assert_int_equal(result.revision, fixture->next - 1);
    assert_int_equal(result.more, result.next != NULL);
    return result;
}

static void assert_keys(const struct kv_list *result, const char *expected) {
    char keys[256] = "";

    for (size_t i = 0; i < result->count; i++)
        snprintf(keys + strlen(keys), sizeof keys - strlen(keys), "%s%.*s", i ? " " : "",
                 (int)result->items[i].key_size, (char *)result->items[i].key);
    assert_string_equal(keys, expected);
}

static const uint8_t *bytes(const char *text) {
    return (const uint8_t *)text;
}

static void a_list_keeps_to_prefix_and_from(void **data) {
    static const struct {
        const char *prefix, *from, *expected;
    } cases[] = {
        {"", "", "a a/1 a/2 a/3 a0 b"},
        {"a", "", "a a/1 a/2 a/3 a0"},
        {"a/", "", "a/1 a/2 a/3"},
        {"a/", "a/2", "a/2 a/3"},
        {"a/", "a/15", "a/2 a/3"},
        {"a/", "Z", "a/1 a/2 a/3"},
        {"a/", "a", "a/1 a/2 a/3"},
        {"a/", "b", ""},
        {"a/", "a/4", ""},
        {"", "a0", "a0 b"},
        {"c", "", ""},
        {"a/1", "", "a/1"},
        {"a/1x", "", ""},
    };
    struct fixture *fixture = *data;
    struct kv_list result = list(fixture, (struct kv_list_options){0});

    assert_int_equal(result.count, 0);
    assert_false(result.more);
    kv_list_deinit(&result);
    put(fixture, "b", "6");
    put(fixture, "a/3", "4");
    put(fixture, "a", "1");
    put(fixture, "a0", "5");
    put(fixture, "a/1", "2");
    put(fixture, "a/2", "3");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        result = list(fixture, (struct kv_list_options){.prefix = bytes(cases[i].prefix),
                                                        .prefix_size = strlen(cases[i].prefix),
                                                        .from = bytes(cases[i].from),
                                                        .from_size = strlen(cases[i].from)});
        assert_keys(&result, cases[i].expected);
        assert_false(result.more);
        kv_list_deinit(&result);
    }
    result = list(fixture, (struct kv_list_options){.prefix = bytes("a/"), .prefix_size = 2});
    assert_memory_equal(result.items[2].value, "4", 1);
    assert_int_equal(result.items[2].modify_revision, 2);
    assert_int_equal(result.items[2].version, 1);
    kv_list_deinit(&result);
    assert_null(result.items);
}

static void prefixes_of_any_byte_select_theirs(void **data) {
    static const char keys[][3] = {"\xff", "\xff\xff", "\xff\xfe", "\xfe", "\xff\1"};
    struct fixture *fixture = *data;
    struct kv_list result;

    for (size_t i = 0; i < 5; i++)
        put(fixture, keys[i], "x");
    apply(fixture, put_entry("\0", 1, "", 0));
    apply(fixture, put_entry("\0\0", 2, "", 0));
    apply(fixture, put_entry("\0\1", 2, "", 0));
    result = list(fixture, (struct kv_list_options){.prefix = bytes("\xff"), .prefix_size = 1});
    assert_keys(&result, "\xff \xff\1 \xff\xfe \xff\xff");
    kv_list_deinit(&result);
    result = list(fixture, (struct kv_list_options){.prefix = bytes("\xff\xff"), .prefix_size = 2});
    assert_keys(&result, "\xff\xff");
    assert_false(result.more);
    kv_list_deinit(&result);
    result = list(fixture, (struct kv_list_options){.prefix = bytes("\0"), .prefix_size = 1});
    assert_int_equal(result.count, 3);
    kv_list_deinit(&result);
    result = list(fixture, (struct kv_list_options){.prefix = bytes("\0\0"), .prefix_size = 2});
    assert_int_equal(result.count, 1);
    kv_list_deinit(&result);
}

/* Reads all pages; the keys must come in order, each once. */
static size_t read_pages(struct fixture *fixture, struct kv_list_options options,
                         size_t *ret_pages) {
    size_t seen = 0, pages = 0;
    struct kv_list page = {0}, next;

    do {
        next = list(fixture, options);
        pages++;
        assert_true(next.count <= (options.limit ? options.limit : LIST_ITEMS_MAX));
        assert_true(next.count > 0);
        for (size_t i = 0; i < next.count; i++) {
            char key[16];

            snprintf(key, sizeof key, "p/%03zu", seen++);
            assert_int_equal(next.items[i].key_size, 5);
            assert_memory_equal(next.items[i].key, key, 5);
        }
        kv_list_deinit(&page);
        page = next;
        options.from = page.next;
        options.from_size = page.next_size;
    } while (page.more);
    kv_list_deinit(&page);
    *ret_pages = pages;
    return seen;
}

static void pages_of_every_limit_give_every_key_once(void **data) {
    enum { COUNT = 60 };
    struct fixture *fixture = *data;
    struct kv_list_options options = {.prefix = bytes("p/"), .prefix_size = 2};
    size_t pages;
    char key[16];

    put(fixture, "o", "before");
    put(fixture, "q", "behind");
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "p/%03u", i * 7 % COUNT);
        put(fixture, key, "12345");
    }
    for (uint32_t limit = 1; limit <= COUNT + 2; limit++) {
        options.limit = limit;
        assert_int_equal(read_pages(fixture, options, &pages), COUNT);
        assert_int_equal(pages, (COUNT + limit - 1) / limit);
    }
    options.limit = 0;
    for (uint64_t max_bytes = 1; max_bytes < COUNT * 10 + 20; max_bytes += 3) {
        size_t items = max_bytes < 20 ? 1 : max_bytes / 10;

        options.max_bytes = max_bytes;
        assert_int_equal(read_pages(fixture, options, &pages), COUNT);
        assert_int_equal(pages, (COUNT + items - 1) / items);
    }
    /* Without their values twice as many fit. */
    options.keys_only = true;
    options.max_bytes = 100;
    assert_int_equal(read_pages(fixture, options, &pages), COUNT);
    assert_int_equal(pages, COUNT / 20);
}

static void the_first_item_is_given_however_large(void **data) {
    struct fixture *fixture = *data;
    _cleanup_free_ uint8_t *value = xcalloc(1, VALUE_SIZE_MAX);
    struct kv_list result;

    apply(fixture, put_entry("a", 1, value, VALUE_SIZE_MAX));
    apply(fixture, put_entry("b", 1, "", 0));
    result = list(fixture, (struct kv_list_options){.max_bytes = 1000});
    assert_keys(&result, "a");
    assert_int_equal(result.items[0].value_size, VALUE_SIZE_MAX);
    assert_true(result.more);
    assert_int_equal(result.next_size, 1);
    assert_memory_equal(result.next, "b", 1);
    kv_list_deinit(&result);
    result = list(fixture, (struct kv_list_options){.max_bytes = 1000, .keys_only = true});
    assert_keys(&result, "a b");
    assert_int_equal(result.items[0].value_size, 0);
    assert_int_equal(result.items[0].version, 1);
    kv_list_deinit(&result);
}

static void commands_are_what_the_schema_says(void **data) {
    Raftkv__V1__Command *command;
    uint8_t *encoded;
    size_t size;

    (void)data;
    kv_encode_put(bytes("key"), 3, bytes("value"), 5, &encoded, &size);
    command = raftkv__v1__command__unpack(NULL, size, encoded);
    assert_non_null(command);
    assert_int_equal(command->body_case, RAFTKV__V1__COMMAND__BODY_PUT);
    assert_int_equal(command->put->key.len, 3);
    assert_memory_equal(command->put->value.data, "value", 5);
    raftkv__v1__command__free_unpacked(command, NULL);
    free(encoded);
    kv_encode_delete(bytes("key"), 3, &encoded, &size);
    command = raftkv__v1__command__unpack(NULL, size, encoded);
    assert_non_null(command);
    assert_int_equal(command->body_case, RAFTKV__V1__COMMAND__BODY_DELETE);
    assert_memory_equal(command->delete_->key.data, "key", 3);
    raftkv__v1__command__free_unpacked(command, NULL);
    free(encoded);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(writes_keep_revisions_and_versions),
        TEST(a_batch_sees_its_own_writes),
        TEST(keys_and_values_of_any_bytes_and_size_come_back),
        TEST(barriers_do_nothing_and_changes_are_the_configuration),
        TEST(bytes_that_are_no_command_are_skipped),
        TEST(a_command_that_repeats_its_fields_is_bounded),
        TEST(how_entries_are_batched_does_not_matter),
        TEST(an_index_that_does_not_follow_is_our_own_defect),
        TEST(a_list_keeps_to_prefix_and_from),
        TEST(prefixes_of_any_byte_select_theirs),
        TEST(pages_of_every_limit_give_every_key_once),
        TEST(the_first_item_is_given_however_large),
        TEST(commands_are_what_the_schema_says),
    };

    return cmocka_run_group_tests_name("kv", tests, NULL, NULL);
}
