#include "store/page_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"
#include "store/state_internal.h"
#include "store/sync.h"

_Static_assert((int)PAGE_SIZE_OF_TREES == (int)STATE_PAGE_SIZE, "one size of pages");

enum {
    /* A half with more of them takes longer to empty, and whoever needs it waits so long. */
    PAGES_DEFAULT = 1024,
    /* A tree is synced after so many, so that neither what is counted as written nor a sync of
     * others, which the disk puts behind it, waits for all. */
    PLACED_AT_ONCE = 256,
    WRITTEN_OUT_AT_ONCE = 16, /* for the same reason */
};

static const char *const half_names[] = {"pages-1", "pages-2"};
static const char *const tree_names[] = {
    [PAGE_TREE_KEYS] = STATE_KEYS,
    [PAGE_TREE_META] = STATE_META,
};

struct page_journal {
    char *directory;
    pthread_mutex_t flush_lock; /* held by who brings pages to the trees; taken before the other */
    pthread_mutex_t lock;       /* of what follows */
    struct page_half halves[2];
    unsigned filling;          /* the half that takes what is written */
    uint64_t epoch;            /* of the last seal */
    atomic_bool draining;      /* the other one holds pages that may not be in the trees */
    _Atomic uint32_t gathered; /* pages in the half that takes what is written */
    _Atomic uint64_t written;  /* pages, each in the journal and in its tree */
};

const char *page_journal_directory(const struct page_journal *journal) {
    return journal->directory;
}

/* ---- from the journal to the trees ---- */

static void close_trees(int *descriptors) {
    for (size_t i = 0; i < PAGE_TREE_COUNT; i++)
        if (descriptors[i] >= 0)
            close(descriptors[i]);
}

static int open_tree(const struct page_journal *journal, uint32_t tree, int *descriptor) {
    _cleanup_free_ char *path = xasprintf("%s/%s", journal->directory, tree_names[tree]);

    if (*descriptor < 0)
        *descriptor = open(path, O_RDWR | O_CLOEXEC);
    return *descriptor < 0 ? -errno : 0;
}

static int place(const struct page_journal *journal, const struct page_half *half, uint32_t number,
                 int *descriptors) {
    const struct page_slot *slot = &half->slots[number];
    uint8_t page[PAGE_SIZE_OF_TREES];
    int r;

    if (slot->tree == PAGE_TREE_NONE)
        return 0;
    r = open_tree(journal, slot->tree, &descriptors[slot->tree]);
    /* Recovery removes a tree whose making was cut short, after it has written to it. */
    if (r == -ENOENT)
        return 0;
    if (r == 0)
        r = page_half_read_page(half, number, page);
    if (r == 0)
        r = store_write_at(descriptors[slot->tree], page, sizeof page,
                           (off_t)slot->page * PAGE_SIZE_OF_TREES);
    return r;
}

static void write_out_trees(const int *descriptors) {
    for (size_t i = 0; i < PAGE_TREE_COUNT; i++)
        if (descriptors[i] >= 0)
            store_write_out(descriptors[i], 0, 0);
}

static void sync_trees(const int *descriptors) {
    for (size_t i = 0; i < PAGE_TREE_COUNT; i++)
        if (descriptors[i] >= 0)
            store_sync_data(descriptors[i]);
}

/* Also after an error what was written is synced, so that it goes on with the page that failed. */
static int place_all(struct page_journal *journal, struct page_half *half) {
    int descriptors[PAGE_TREE_COUNT] = {-1, -1}, r = 0;

    while (r == 0 && half->placed < half->count) {
        uint32_t end = half->placed + PLACED_AT_ONCE, before = half->placed;

        for (; r == 0 && half->placed < half->count && half->placed < end; half->placed += r == 0) {
            r = place(journal, half, half->placed, descriptors);
            if ((half->placed + 1) % WRITTEN_OUT_AT_ONCE == 0)
                write_out_trees(descriptors);
        }
        sync_trees(descriptors);
        atomic_fetch_add(&journal->written, half->placed - before);
    }
    close_trees(descriptors);
    return r;
}

/*
 * Empties the half that is not written to. Each step is durable before the next one. The mark need
 * not be: without it a start puts the same pages in their places again, and no half of a later
 * epoch is in the trees before its seal is durable, which tells that this one is done.
 */
static int drain(struct page_journal *journal) {
    struct page_half *half = &journal->halves[!journal->filling];
    int r = 0;

    if (!half->sealed) {
        r = page_half_seal(half, journal->epoch + 1);
        if (r == 0)
            journal->epoch = half->epoch;
    }
    if (r == 0)
        r = place_all(journal, half);
    if (r == 0)
        r = page_half_mark(half);
    if (r < 0)
        return r;
    pthread_mutex_lock(&journal->lock);
    page_half_clear(half);
    journal->draining = false;
    pthread_mutex_unlock(&journal->lock);
    return 0;
}

/* Whether there is anything. Halves take turns, so that a seal never takes the place of the last
 * one. */
static bool change_halves(struct page_journal *journal) {
    bool any;

    pthread_mutex_lock(&journal->lock);
    any = journal->halves[journal->filling].count > 0;
    if (any) {
        journal->filling = !journal->filling;
        journal->draining = true;
        journal->gathered = 0;
    }
    pthread_mutex_unlock(&journal->lock);
    return any;
}

static bool nearly_full(const struct page_journal *journal) {
    uint32_t capacity = journal->halves[0].capacity;

    return journal->gathered >= capacity - capacity / 8;
}

bool page_journal_wants_write_back(const struct page_journal *journal) {
    return journal->draining || nearly_full(journal);
}

int page_journal_write_back(struct page_journal *journal) {
    int r = 0;

    pthread_mutex_lock(&journal->flush_lock);
    if (journal->draining)
        r = drain(journal);
    if (r == 0 && nearly_full(journal) && change_halves(journal))
        r = drain(journal);
    pthread_mutex_unlock(&journal->flush_lock);
    return r;
}

uint32_t page_journal_gathered(const struct page_journal *journal) {
    return journal->gathered;
}

uint64_t page_journal_written(const struct page_journal *journal) {
    return journal->written;
}

/* Whoever writes goes on with the other half, and leaves this one to the next that flushes. */
static int make_room(struct page_journal *journal) {
    int r = 0;

    pthread_mutex_lock(&journal->flush_lock);
    if (journal->draining)
        r = drain(journal);
    if (r == 0)
        change_halves(journal);
    pthread_mutex_unlock(&journal->flush_lock);
    return r;
}

int page_journal_flush(struct page_journal *journal) {
    int r = 0;

    pthread_mutex_lock(&journal->flush_lock);
    if (journal->draining)
        r = drain(journal);
    if (r == 0 && change_halves(journal))
        r = drain(journal);
    pthread_mutex_unlock(&journal->flush_lock);
    return r;
}

/* ---- reading and writing ---- */

/*
 * False: it is what the tree's file holds. What can't be read here must not be looked for there,
 * where an older page is, and that is what Berkeley DB does when a hook fails to read.
 */
static bool read_kept(struct page_journal *journal, enum page_tree tree, uint32_t page, size_t from,
                      void *data, size_t size) {
    const struct page_half *filling, *other;
    bool found = true;
    uint32_t slot;
    int r = 0;

    pthread_mutex_lock(&journal->lock);
    filling = &journal->halves[journal->filling];
    other = &journal->halves[!journal->filling];
    if (page_half_find(filling, tree, page, &slot))
        r = page_half_read(filling, slot, from, data, size);
    else if (journal->draining && page_half_find(other, tree, page, &slot))
        r = page_half_read(other, slot, from, data, size);
    else
        found = false;
    pthread_mutex_unlock(&journal->lock);
    if (r < 0)
        memset(data, 0xff, size);
    return found;
}

ssize_t page_journal_read(struct page_journal *journal, enum page_tree tree, int descriptor,
                          void *data, size_t size, off_t offset) {
    size_t done = 0;

    while (done < size) {
        off_t at = offset + (off_t)done;
        size_t from = (size_t)(at % PAGE_SIZE_OF_TREES), part = PAGE_SIZE_OF_TREES - from;
        ssize_t n;

        if (part > size - done)
            part = size - done;
        n = (ssize_t)part;
        if (!read_kept(journal, tree, (uint32_t)(at / PAGE_SIZE_OF_TREES), from,
                       (uint8_t *)data + done, part))
            n = store_read_at(descriptor, (uint8_t *)data + done, part, at);
        if (n < 0)
            return n;
        done += (size_t)n;
        if ((size_t)n < part)
            break;
    }
    return (ssize_t)done;
}

/* *ret_more: make_room() does so. */
static int keep(struct page_journal *journal, enum page_tree tree, uint32_t page, const void *data,
                bool *ret_more) {
    struct page_half *half;
    int r;

    pthread_mutex_lock(&journal->lock);
    half = &journal->halves[journal->filling];
    r = page_half_put(half, tree, page, data);
    *ret_more = (r == -ENOBUFS || r == -ENOSPC) && half->count > 0;
    journal->gathered = half->count;
    pthread_mutex_unlock(&journal->lock);
    if (r == 0)
        atomic_fetch_add(&journal->written, 1);
    return r;
}

/* A journal that can't grow, because the disk is full, goes on with the slots that it has. */
int page_journal_write(struct page_journal *journal, enum page_tree tree, const void *data,
                       size_t size, off_t offset) {
    const uint8_t *pages = data;
    bool more;
    int r = 0;

    if (size % PAGE_SIZE_OF_TREES != 0 || offset % PAGE_SIZE_OF_TREES != 0)
        return -EINVAL;
    for (size_t done = 0; r == 0 && done < size; done += PAGE_SIZE_OF_TREES) {
        uint32_t page = (uint32_t)((offset + (off_t)done) / PAGE_SIZE_OF_TREES);

        for (;;) {
            r = keep(journal, tree, page, pages + done, &more);
            if (r == 0 || !more)
                break;
            r = make_room(journal);
            if (r < 0)
                break;
        }
    }
    return r;
}

/* Durably, so that no page of before comes back between new ones. */
static int cut_file(int descriptor, off_t size) {
    if (ftruncate(descriptor, size) < 0)
        return -errno;
    store_sync_data(descriptor);
    return 0;
}

int page_journal_truncate(struct page_journal *journal, enum page_tree tree, int descriptor,
                          off_t size) {
    uint32_t page = (uint32_t)(size / PAGE_SIZE_OF_TREES);
    struct stat status;
    int r = 0;

    if (size % PAGE_SIZE_OF_TREES != 0)
        return -EINVAL;
    /* Pages that are on their way would make the file longer again. */
    pthread_mutex_lock(&journal->flush_lock);
    pthread_mutex_lock(&journal->lock);
    page_half_forget(&journal->halves[0], tree, page);
    page_half_forget(&journal->halves[1], tree, page);
    pthread_mutex_unlock(&journal->lock);
    if (fstat(descriptor, &status) < 0)
        r = -errno;
    else if (status.st_size > size)
        r = cut_file(descriptor, size);
    pthread_mutex_unlock(&journal->flush_lock);
    return r;
}

off_t page_journal_size(struct page_journal *journal, enum page_tree tree, off_t file_size) {
    pthread_mutex_lock(&journal->lock);
    for (size_t i = 0; i < 2; i++) {
        off_t end = (off_t)journal->halves[i].ends[tree] * PAGE_SIZE_OF_TREES;

        if (end > file_size)
            file_size = end;
    }
    pthread_mutex_unlock(&journal->lock);
    return file_size;
}

/* ---- opening and closing ---- */

static int open_halves(struct page_journal *journal, uint32_t pages) {
    bool made = false, any_made = false;
    int r = 0;

    for (size_t i = 0; r == 0 && i < 2; i++) {
        r = page_half_open(&journal->halves[i], journal->directory, half_names[i], pages, &made);
        any_made |= made;
    }
    return r == 0 && any_made ? store_sync_directory(journal->directory) : r;
}

/*
 * The half with the last seal may have been on its way to the trees; the other one never is: a half
 * is sealed only when the one before it is in place. A seal without all that it seals was not
 * durable, so nothing of it is in place; or the half was written to since, which it is only when
 * all of it was in place.
 */
static int recover(struct page_journal *journal) {
    uint64_t sealed[2] = {0}, marked[2] = {0}, last_marked;
    unsigned last;
    int r = 0;

    for (size_t i = 0; r == 0 && i < 2; i++)
        r = page_half_look(&journal->halves[i], &sealed[i], &marked[i]);
    if (r < 0)
        return r;
    last = sealed[1] >= sealed[0];
    last_marked = marked[0] > marked[1] ? marked[0] : marked[1];
    journal->epoch = sealed[last] > last_marked ? sealed[last] : last_marked;
    journal->filling = !last;
    if (sealed[last] <= last_marked)
        return 0;
    r = page_half_load(&journal->halves[last]);
    if (r < 0)
        return r == -EBADMSG ? 0 : r;
    journal->draining = true;
    return drain(journal);
}

int page_journal_open(struct page_journal **ret, const char *directory, uint32_t pages) {
    struct page_journal *journal = xcalloc(1, sizeof *journal);
    int r;

    journal->directory = xstrdup(directory);
    pthread_mutex_init(&journal->flush_lock, NULL);
    pthread_mutex_init(&journal->lock, NULL);
    r = open_halves(journal, pages ? pages : PAGES_DEFAULT);
    if (r == 0)
        r = recover(journal);
    page_hooks_add(journal);
    if (r < 0) {
        page_journal_close(journal);
        return r;
    }
    *ret = journal;
    return 0;
}

struct page_journal *page_journal_close(struct page_journal *journal) {
    if (!journal)
        return NULL;
    page_hooks_remove(journal);
    page_half_deinit(&journal->halves[0]);
    page_half_deinit(&journal->halves[1]);
    pthread_mutex_destroy(&journal->flush_lock);
    pthread_mutex_destroy(&journal->lock);
    free(journal->directory);
    free(journal);
    return NULL;
}
