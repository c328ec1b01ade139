/*
 * The page journal by itself, on trees that are plain files: what is in which file when, and what
 * comes of it when power fails, sector by sector. (With Berkeley DB and a whole state above it:
 * tests/sim/test_torn_pages.c.)
 */
#include "test_state_fixture.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/memory.h"
#include "store/page_journal.h"

enum { PAGE = PAGE_SIZE_OF_TREES, SECTOR = 512, TREE_PAGES = 8, SLOTS_AT = 57344, MARK_AT = 4096 };

/* A directory with two trees of TREE_PAGES pages, each filled with 1. */
struct fixture {
    char *directory;
    struct page_journal *journal;
    int trees[PAGE_TREE_COUNT];
};

static char *path_of(const struct fixture *fixture, const char *name) {
    return xasprintf("%s/%s", fixture->directory, name);
}

static void open_trees(struct fixture *fixture, int flags) {
    static const char *const names[] = {"keys", "meta"};

    for (size_t i = 0; i < PAGE_TREE_COUNT; i++) {
        _cleanup_free_ char *path = path_of(fixture, names[i]);

        fixture->trees[i] = open(path, O_RDWR | O_CLOEXEC | flags, 0600);
        assert_true(fixture->trees[i] >= 0);
    }
}

static void close_trees(struct fixture *fixture) {
    for (size_t i = 0; i < PAGE_TREE_COUNT; i++)
        close(fixture->trees[i]);
}

static void open_journal(struct fixture *fixture, uint32_t pages) {
    assert_int_equal(page_journal_open(&fixture->journal, fixture->directory, pages), 0);
}

static void close_journal(struct fixture *fixture) {
    fixture->journal = page_journal_close(fixture->journal);
}

static int setup(void **state) {
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    uint8_t page[PAGE];

    memset(page, 1, sizeof page);
    fixture->directory = make_directory();
    open_trees(fixture, O_CREAT);
    for (size_t i = 0; i < PAGE_TREE_COUNT; i++)
        for (off_t at = 0; at < TREE_PAGES; at++)
            assert_int_equal(pwrite(fixture->trees[i], page, PAGE, at * PAGE), PAGE);
    *state = fixture;
    return 0;
}

static int teardown(void **state) {
    struct fixture *fixture = *state;

    close_journal(fixture);
    close_trees(fixture);
    remove_directory(fixture->directory);
    free(fixture);
    return 0;
}

static void put(struct fixture *fixture, enum page_tree tree, uint32_t page, uint8_t with) {
    uint8_t data[PAGE];

    memset(data, with, sizeof data);
    assert_int_equal(page_journal_write(fixture->journal, tree, data, PAGE, (off_t)page * PAGE), 0);
}

static bool holds(const uint8_t *data, uint8_t what) {
    return data[0] == what && memcmp(data, data + 1, PAGE - 1) == 0;
}

static void assert_reads(struct fixture *fixture, enum page_tree tree, uint32_t page,
                         uint8_t what) {
    uint8_t data[PAGE];

    assert_int_equal(page_journal_read(fixture->journal, tree, fixture->trees[tree], data, PAGE,
                                       (off_t)page * PAGE),
                     PAGE);
    assert_true(holds(data, what));
}

static void assert_in_tree(struct fixture *fixture, enum page_tree tree, uint32_t page,
                           uint8_t what) {
    uint8_t data[PAGE];

    assert_int_equal(pread(fixture->trees[tree], data, PAGE, (off_t)page * PAGE), PAGE);
    assert_true(holds(data, what));
}

static off_t size_of(struct fixture *fixture, const char *name) {
    _cleanup_free_ char *path = path_of(fixture, name);
    struct stat status;

    assert_int_equal(stat(path, &status), 0);
    return status.st_size;
}

static void put_some(struct fixture *fixture, uint8_t with) {
    put(fixture, PAGE_TREE_KEYS, 2, with);
    put(fixture, PAGE_TREE_META, 0, with);
    put(fixture, PAGE_TREE_KEYS, 7, with);
    put(fixture, PAGE_TREE_KEYS, 9, with); /* behind the end */
}

static void assert_some_in_tree(struct fixture *fixture, uint8_t what) {
    assert_in_tree(fixture, PAGE_TREE_KEYS, 2, what);
    assert_in_tree(fixture, PAGE_TREE_META, 0, what);
    assert_in_tree(fixture, PAGE_TREE_KEYS, 7, what);
    assert_in_tree(fixture, PAGE_TREE_KEYS, 1, 1);
    assert_in_tree(fixture, PAGE_TREE_META, 1, 1);
}

/* ---- without failures ---- */

static void pages_are_read_back_and_go_to_the_trees_with_a_flush(void **state) {
    struct fixture *fixture = *state;

    open_journal(fixture, 0);
    put_some(fixture, 5);
    assert_reads(fixture, PAGE_TREE_KEYS, 2, 5);
    assert_reads(fixture, PAGE_TREE_KEYS, 9, 5);
    assert_reads(fixture, PAGE_TREE_KEYS, 1, 1);
    assert_int_equal(page_journal_size(fixture->journal, PAGE_TREE_KEYS, TREE_PAGES * PAGE),
                     10 * PAGE);
    assert_some_in_tree(fixture, 1);
    assert_int_equal(size_of(fixture, "keys"), TREE_PAGES * PAGE);

    assert_int_equal(page_journal_flush(fixture->journal), 0);
    assert_some_in_tree(fixture, 5);
    assert_in_tree(fixture, PAGE_TREE_KEYS, 9, 5);
    assert_int_equal(size_of(fixture, "keys"), 10 * PAGE);
    assert_reads(fixture, PAGE_TREE_KEYS, 2, 5);
    put(fixture, PAGE_TREE_KEYS, 2, 6);
    assert_reads(fixture, PAGE_TREE_KEYS, 2, 6);
    assert_in_tree(fixture, PAGE_TREE_KEYS, 2, 5);
}

/* As Berkeley DB reads the first bytes of a tree. */
static void parts_of_pages_are_read_across_their_borders(void **state) {
    struct fixture *fixture = *state;
    uint8_t data[2 * PAGE];

    open_journal(fixture, 0);
    put(fixture, PAGE_TREE_KEYS, 2, 5);
    assert_int_equal(page_journal_read(fixture->journal, PAGE_TREE_KEYS,
                                       fixture->trees[PAGE_TREE_KEYS], data, sizeof data,
                                       3 * PAGE - 100),
                     sizeof data);
    assert_int_equal(data[0], 5);
    assert_int_equal(data[99], 5);
    assert_int_equal(data[100], 1);
    assert_int_equal(page_journal_read(fixture->journal, PAGE_TREE_KEYS,
                                       fixture->trees[PAGE_TREE_KEYS], data, sizeof data,
                                       (TREE_PAGES - 1) * PAGE),
                     PAGE);
}

static void a_journal_that_is_full_is_emptied_and_used_again(void **state) {
    struct fixture *fixture = *state;

    open_journal(fixture, 4);
    for (uint32_t page = 0; page < 100; page++)
        put(fixture, PAGE_TREE_KEYS, page, (uint8_t)(page + 10));
    assert_true(size_of(fixture, "pages-1") <= SLOTS_AT + 16 * PAGE);
    assert_true(size_of(fixture, "pages-2") <= SLOTS_AT + 16 * PAGE);
    for (uint32_t page = 0; page < 100; page++)
        assert_reads(fixture, PAGE_TREE_KEYS, page, (uint8_t)(page + 10));
    assert_true(page_journal_wants_write_back(fixture->journal));
    assert_int_equal(page_journal_flush(fixture->journal), 0);
    assert_false(page_journal_wants_write_back(fixture->journal));
    for (uint32_t page = 0; page < 100; page++)
        assert_in_tree(fixture, PAGE_TREE_KEYS, page, (uint8_t)(page + 10));
}

/* Whoever writes does not wait for what a full half takes to be emptied. */
static void a_full_half_is_left_to_the_next_that_writes_back(void **state) {
    struct fixture *fixture = *state;

    open_journal(fixture, 4);
    for (uint32_t page = 0; page < 3; page++)
        put(fixture, PAGE_TREE_KEYS, page, 5);
    assert_false(page_journal_wants_write_back(fixture->journal));
    put(fixture, PAGE_TREE_KEYS, 3, 5);
    assert_true(page_journal_wants_write_back(fixture->journal));
    put(fixture, PAGE_TREE_KEYS, 4, 5);
    assert_true(page_journal_wants_write_back(fixture->journal));
    assert_int_equal(page_journal_written(fixture->journal), 5);
    for (uint32_t page = 0; page < 5; page++) {
        assert_reads(fixture, PAGE_TREE_KEYS, page, 5);
        assert_in_tree(fixture, PAGE_TREE_KEYS, page, 1);
    }

    assert_int_equal(page_journal_write_back(fixture->journal), 0);
    assert_false(page_journal_wants_write_back(fixture->journal));
    assert_int_equal(page_journal_gathered(fixture->journal), 1);
    assert_int_equal(page_journal_written(fixture->journal), 9);
    for (uint32_t page = 0; page < 4; page++)
        assert_in_tree(fixture, PAGE_TREE_KEYS, page, 5);
    assert_in_tree(fixture, PAGE_TREE_KEYS, 4, 1);
    assert_int_equal(page_journal_flush(fixture->journal), 0);
    assert_in_tree(fixture, PAGE_TREE_KEYS, 4, 5);
}

static void a_page_that_is_written_often_takes_one_slot(void **state) {
    struct fixture *fixture = *state;

    open_journal(fixture, 0);
    for (int i = 0; i < 1000; i++)
        put(fixture, PAGE_TREE_META, 3, (uint8_t)i);
    assert_true(size_of(fixture, "pages-1") <= SLOTS_AT + 16 * PAGE);
    assert_in_tree(fixture, PAGE_TREE_META, 3, 1);
    assert_reads(fixture, PAGE_TREE_META, 3, (uint8_t)999);
}

static void pages_that_are_cut_off_are_forgotten(void **state) {
    struct fixture *fixture = *state;
    uint8_t data[PAGE];
    int keys = fixture->trees[PAGE_TREE_KEYS];

    open_journal(fixture, 0);
    put_some(fixture, 5);
    assert_int_equal(page_journal_truncate(fixture->journal, PAGE_TREE_KEYS, keys, 7 * PAGE), 0);
    assert_int_equal(
        page_journal_read(fixture->journal, PAGE_TREE_KEYS, keys, data, PAGE, 7 * PAGE), 0);
    assert_reads(fixture, PAGE_TREE_KEYS, 2, 5);
    put(fixture, PAGE_TREE_KEYS, 8, 9);
    assert_int_equal(page_journal_flush(fixture->journal), 0);
    assert_int_equal(size_of(fixture, "keys"), 9 * PAGE);
    assert_in_tree(fixture, PAGE_TREE_KEYS, 7, 0);
    assert_in_tree(fixture, PAGE_TREE_KEYS, 8, 9);
    assert_in_tree(fixture, PAGE_TREE_META, 0, 5);
}

static void only_whole_pages_are_written(void **state) {
    struct fixture *fixture = *state;
    uint8_t data[PAGE] = {0};

    open_journal(fixture, 0);
    assert_int_equal(page_journal_write(fixture->journal, PAGE_TREE_KEYS, data, 100, 0), -EINVAL);
    assert_int_equal(page_journal_write(fixture->journal, PAGE_TREE_KEYS, data, PAGE, 100),
                     -EINVAL);
}

/* Berkeley DB would look for it in the tree's file, where an older one is. */
static void a_page_that_the_journal_can_not_read_is_not_taken_from_the_tree(void **state) {
    struct fixture *fixture = *state;
    _cleanup_free_ char *half = path_of(fixture, "pages-1");

    open_journal(fixture, 0);
    put_some(fixture, 5);
    assert_int_equal(truncate(half, SLOTS_AT), 0);
    assert_reads(fixture, PAGE_TREE_KEYS, 2, 0xff);
    assert_int_equal(page_journal_flush(fixture->journal), -EBADMSG);
    assert_some_in_tree(fixture, 1);
}

/* ---- after a power failure ---- */

static void what_was_not_flushed_is_dropped(void **state) {
    struct fixture *fixture = *state;

    open_journal(fixture, 0);
    put_some(fixture, 5);
    close_journal(fixture);
    open_journal(fixture, 0);
    assert_some_in_tree(fixture, 1);
    assert_reads(fixture, PAGE_TREE_KEYS, 2, 1);
}

/* The mark is not synced: a power failure may lose it. */
static void lose_mark(struct fixture *fixture, const char *name) {
    _cleanup_free_ char *path = path_of(fixture, name);
    uint8_t nothing[SECTOR] = {0};

    overwrite(path, MARK_AT, nothing, sizeof nothing);
}

static void a_page_that_is_torn_in_a_tree_is_mended_wherever_it_is_torn(void **state) {
    static const uint32_t pages[] = {2, 7, 9};
    struct fixture *fixture = *state;
    _cleanup_free_ char *keys = path_of(fixture, "keys");
    uint8_t old[SECTOR];

    memset(old, 1, sizeof old);
    open_journal(fixture, 0);
    put_some(fixture, 5);
    assert_int_equal(page_journal_flush(fixture->journal), 0);
    close_journal(fixture);
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
        for (long sector = 0; sector < PAGE / SECTOR; sector++) {
            lose_mark(fixture, "pages-1");
            overwrite(keys, (long)pages[i] * PAGE + sector * SECTOR, old, sizeof old);
            open_journal(fixture, 0);
            assert_some_in_tree(fixture, 5);
            assert_in_tree(fixture, PAGE_TREE_KEYS, 9, 5);
            close_journal(fixture);
        }
    /* Not even the size of the file came to the disk. */
    lose_mark(fixture, "pages-1");
    assert_int_equal(truncate(keys, TREE_PAGES * PAGE), 0);
    open_journal(fixture, 0);
    assert_some_in_tree(fixture, 5);
    assert_in_tree(fixture, PAGE_TREE_KEYS, 9, 5);
}

static void what_is_marked_is_not_written_again(void **state) {
    struct fixture *fixture = *state;
    _cleanup_free_ char *keys = path_of(fixture, "keys");
    uint8_t newer[PAGE];

    memset(newer, 9, sizeof newer);
    open_journal(fixture, 0);
    put_some(fixture, 5);
    assert_int_equal(page_journal_flush(fixture->journal), 0);
    close_journal(fixture);
    overwrite(keys, 2 * PAGE, newer, sizeof newer);
    open_journal(fixture, 0);
    assert_in_tree(fixture, PAGE_TREE_KEYS, 2, 9);
}

/* While a seal is not durable nothing of it is in the trees; whatever it lacks, it does not count.
 */
static void a_seal_that_lacks_any_sector_does_not_count(void **state) {
    struct fixture *fixture = *state;
    _cleanup_free_ char *half = path_of(fixture, "pages-1");
    _cleanup_free_ char *meta = path_of(fixture, "meta"), *keys = path_of(fixture, "keys");
    uint8_t before[SECTOR], nothing[SECTOR] = {0}, old[PAGE];
    int descriptor;

    memset(old, 1, sizeof old);
    open_journal(fixture, 0);
    put_some(fixture, 5);
    assert_int_equal(page_journal_flush(fixture->journal), 0);
    close_journal(fixture);
    lose_mark(fixture, "pages-1");
    overwrite(keys, 2 * PAGE, old, PAGE);
    overwrite(keys, 7 * PAGE, old, PAGE);
    overwrite(meta, 0, old, PAGE);
    descriptor = open(half, O_RDONLY | O_CLOEXEC);
    for (long at = 0; at < SLOTS_AT + 4 * PAGE; at += SECTOR) {
        assert_int_equal(pread(descriptor, before, SECTOR, at), SECTOR);
        if (memcmp(before, nothing, SECTOR) == 0)
            continue;
        overwrite(half, at, nothing, SECTOR);
        open_journal(fixture, 0);
        assert_some_in_tree(fixture, 1);
        close_journal(fixture);
        overwrite(half, at, before, SECTOR);
    }
    close(descriptor);
    open_journal(fixture, 0);
    assert_some_in_tree(fixture, 5);
}

/* Of two seals the older one never counts: it was in place before the younger one was made. */
static void an_older_seal_never_comes_back(void **state) {
    static const char *const halves[] = {"pages-1", "pages-2"};
    struct fixture *fixture = *state;

    open_journal(fixture, 0);
    for (uint8_t i = 0; i < 6; i++) {
        const char *last = halves[i % 2];
        _cleanup_free_ char *path = path_of(fixture, last);
        uint8_t seal[SECTOR], torn[SECTOR] = {0};
        int descriptor = open(path, O_RDONLY | O_CLOEXEC);

        put_some(fixture, (uint8_t)(10 + i));
        assert_int_equal(page_journal_flush(fixture->journal), 0);
        close_journal(fixture);
        assert_int_equal(pread(descriptor, seal, SECTOR, 0), SECTOR);
        close(descriptor);
        /* A start mends with the last one, without its mark, ... */
        lose_mark(fixture, halves[0]);
        lose_mark(fixture, halves[1]);
        open_journal(fixture, 0);
        assert_some_in_tree(fixture, (uint8_t)(10 + i));
        close_journal(fixture);
        /* ... and not with the one before, when a page of the last one is overwritten. */
        lose_mark(fixture, halves[0]);
        lose_mark(fixture, halves[1]);
        overwrite(path, SLOTS_AT, torn, sizeof torn);
        open_journal(fixture, 0);
        assert_some_in_tree(fixture, (uint8_t)(10 + i));
    }
}

/* A process that ends in the middle of everything, again and again; the next one is never confused
 * by what it finds. */
static void epochs_go_on_from_one_start_to_the_next(void **state) {
    struct fixture *fixture = *state;

    for (uint8_t i = 0; i < 20; i++) {
        open_journal(fixture, 3);
        put_some(fixture, (uint8_t)(100 + i));
        assert_int_equal(page_journal_flush(fixture->journal), 0);
        put_some(fixture, 66); /* one is brought to the trees, because the journal is full */
        put_some(fixture, (uint8_t)(100 + i));
        assert_int_equal(page_journal_flush(fixture->journal), 0);
        close_journal(fixture);
        if (i % 3 != 0)
            lose_mark(fixture, i % 3 == 1 ? "pages-1" : "pages-2");
        open_journal(fixture, 3);
        assert_some_in_tree(fixture, (uint8_t)(100 + i));
        close_journal(fixture);
    }
}

static void a_journal_of_a_newer_version_is_refused(void **state) {
    /* Magic, format 2, epoch 1, no slots. */
    uint8_t seal[28] = {'R', 'K', 'P', 'S', 2, 0, 0, 0, 1};
    uint32_t checksum = htole32(crc32c(0, seal, 24));
    struct fixture *fixture = *state;
    _cleanup_free_ char *half = path_of(fixture, "pages-1");

    open_journal(fixture, 0);
    close_journal(fixture);
    memcpy(seal + 24, &checksum, sizeof checksum);
    overwrite(half, 0, seal, sizeof seal);
    assert_int_equal(page_journal_open(&fixture->journal, fixture->directory, 0), -EPROTONOSUPPORT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(pages_are_read_back_and_go_to_the_trees_with_a_flush),
        TEST(parts_of_pages_are_read_across_their_borders),
        TEST(a_journal_that_is_full_is_emptied_and_used_again),
        TEST(a_full_half_is_left_to_the_next_that_writes_back),
        TEST(a_page_that_is_written_often_takes_one_slot),
        TEST(pages_that_are_cut_off_are_forgotten),
        TEST(only_whole_pages_are_written),
        TEST(a_page_that_the_journal_can_not_read_is_not_taken_from_the_tree),
        TEST(what_was_not_flushed_is_dropped),
        TEST(a_page_that_is_torn_in_a_tree_is_mended_wherever_it_is_torn),
        TEST(what_is_marked_is_not_written_again),
        TEST(a_seal_that_lacks_any_sector_does_not_count),
        TEST(an_older_seal_never_comes_back),
        TEST(epochs_go_on_from_one_start_to_the_next),
        TEST(a_journal_of_a_newer_version_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
