/*
 * page_half: one of the two files of a page journal (page_journal.h): pages of the state's trees,
 * each in a slot, and what says which page each slot holds once the file is sealed. Which half is
 * written to, and when pages go to their trees, page_journal.c decides; so do locks.
 *
 * The file, in little-endian numbers:
 *
 *     0       seal: magic (4), format (4), epoch (8), slots (4), CRC-32C of the list (4), and of
 *             these bytes (4)
 *     4096    mark: magic (4), format (4), epoch (8), CRC-32C of these bytes (4)
 *     8192    list: for each slot the tree (4), the page's number (4), CRC-32C of the page (4)
 *     57344   slots of 8 KiB
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/limits.h"

enum { PAGE_SIZE_OF_TREES = 8192 };

/* The files whose pages are kept, by the numbers that stand in the list. */
enum page_tree {
    PAGE_TREE_KEYS,
    PAGE_TREE_META,
    PAGE_TREE_COUNT,
    PAGE_TREE_NONE = PAGE_TREE_COUNT
};

/* What a slot holds; PAGE_TREE_NONE: nothing any more. */
struct page_slot {
    uint32_t tree;
    uint32_t page;
    uint32_t checksum;
};

struct page_half {
    int descriptor;
    uint32_t capacity; /* slots that may be used */
    uint32_t count;    /* that are */
    struct page_slot *slots;
    uint32_t *table; /* finds them by tree and page: numbers of slots + 1, 0: none */
    uint32_t table_size;
    uint32_t ends[PAGE_TREE_COUNT]; /* the highest page of each tree + 1 */
    bool sealed;                    /* durably */
    uint64_t epoch;                 /* of that */
    uint32_t placed;                /* slots whose pages are in place */
};

/*
 * Opens directory/name, or makes it with a few slots that have their space on the disk, durably but
 * for its name: *ret_made. capacity is at most STATE_JOURNAL_PAGES_MAX. Negative errno.
 */
int page_half_open(struct page_half *half, const char *directory, const char *name,
                   uint32_t capacity, bool *ret_made);
void page_half_deinit(struct page_half *half);

/* What the file says: the epoch of its seal, and up to which epoch all pages are in their trees; 0
 * when it does not. -EPROTONOSUPPORT: written by a newer version. Other negative errno. */
int page_half_look(const struct page_half *half, uint64_t *ret_sealed, uint64_t *ret_marked);
/* Takes up what the file holds, as sealed. -EBADMSG: it is not whole; the half is empty then. Other
 * negative errno. */
int page_half_load(struct page_half *half);

/* Keeps a page, in the place of what was kept of it. -ENOBUFS when no slot is left; other negative
 * errno: nothing is kept of that page. */
int page_half_put(struct page_half *half, enum page_tree tree, uint32_t page, const void *data);
bool page_half_find(const struct page_half *half, enum page_tree tree, uint32_t page,
                    uint32_t *ret_slot);
/* Reads bytes from within a page. Negative errno. */
int page_half_read(const struct page_half *half, uint32_t slot, size_t from, void *data,
                   size_t size);
/* The same for all of it, and checks it: -EBADMSG. */
int page_half_read_page(const struct page_half *half, uint32_t slot, void *data);
/* Forgets the pages from this one on. */
void page_half_forget(struct page_half *half, enum page_tree tree, uint32_t page);
void page_half_clear(struct page_half *half);

/* Makes what is kept durable, as the one of this epoch. Negative errno: it is not. */
int page_half_seal(struct page_half *half, uint64_t epoch);
/* Says that all pages up to the sealed epoch are in their trees. Not synced: whoever does not know
 * it puts them there again. Negative errno. */
int page_half_mark(const struct page_half *half);
