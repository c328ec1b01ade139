/*
 * page_journal: lets a power failure tear no page of the state's trees. A disk writes a page of 8
 * KiB in sectors, and Berkeley DB does not recover a page of which only some came to the disk. So
 * what it writes to `keys` and `meta` goes to a journal beside them, and is read from there; only
 * when a tree is synced, or much has gathered, its pages are made durable in the journal first and
 * then written in their places and synced there. A start writes them there once more when that
 * may have been cut short (ARCHITECTURE.md, "Why a crash is safe").
 *
 * The journal has two halves, each a file: while the pages of one are on their way to the trees,
 * the other one takes what is written. All functions are called by Berkeley DB's hooks
 * (page_hooks.c) on any lane, but for opening and closing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "store/page_half.h"

struct page_journal;

/*
 * Opens the journal in the environment's directory, before Berkeley DB does, and puts the hooks in
 * place: brings pages to the trees that were on their way there. `pages` (0: the default) is how
 * many a half holds. -EPROTONOSUPPORT: it was written by a newer version. Other negative errno.
 */
int page_journal_open(struct page_journal **ret, const char *directory, uint32_t pages);
/* After Berkeley DB has closed its files. What was not synced is dropped, as by a crash. Takes
 * NULL; returns NULL. */
struct page_journal *page_journal_close(struct page_journal *journal);

const char *page_journal_directory(const struct page_journal *journal);

/* The descriptor is that of the tree's file. Negative errno: that one can't be read. A page that
 * the journal has and can't read reads as a damaged one, with a wrong checksum. */
ssize_t page_journal_read(struct page_journal *journal, enum page_tree tree, int descriptor,
                          void *data, size_t size, off_t offset);
/* Writes whole pages only. */
int page_journal_write(struct page_journal *journal, enum page_tree tree, const void *data,
                       size_t size, off_t offset);
int page_journal_truncate(struct page_journal *journal, enum page_tree tree, int descriptor,
                          off_t size);
/* The size of a tree with the pages that are not in its file yet, which has file_size bytes. */
off_t page_journal_size(struct page_journal *journal, enum page_tree tree, off_t file_size);
/* Whether so much has gathered that it should go to the trees, before whoever writes the next pages
 * has to wait for that; brings it there, if so. Negative errno as below. */
bool page_journal_wants_write_back(const struct page_journal *journal);
int page_journal_write_back(struct page_journal *journal);
/* How many pages wait in the half that takes what is written; and how many the disk has taken since
 * it was opened: each counts in the journal, and again in its tree. */
uint32_t page_journal_gathered(const struct page_journal *journal);
uint64_t page_journal_written(const struct page_journal *journal);
/* Makes all that was written durable in the trees. Negative errno: it is not; it is tried again
 * with the next call, and is read from the journal until then. */
int page_journal_flush(struct page_journal *journal);

/* page_hooks.c */

/* From here on Berkeley DB's calls for the trees in the journal's directory go to it. */
void page_hooks_add(struct page_journal *journal);
void page_hooks_remove(struct page_journal *journal);
