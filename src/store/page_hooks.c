/*
 * Berkeley DB's system calls, for the trees of the states that have a page journal. All others go
 * to libc as without hooks.
 *
 * A hook for read() would make the library take a short read at the end of a file for an error. It
 * reads with it only the first bytes of a tree when it opens one, which never change, and what lies
 * behind the end; pages it reads with pread().
 */
#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"
#include "store/page_journal.h"
#include "store/state_internal.h"
#include "store/sync.h"

/* A file of a tree that Berkeley DB has open. */
struct open_tree {
    int descriptor;
    enum page_tree tree;
    struct page_journal *journal;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct page_journal **journals;
static struct open_tree *trees;
static size_t journal_count, tree_count;

/* ---- which journal ---- */

static enum page_tree tree_of(const struct page_journal *journal, const char *path) {
    const char *directory = page_journal_directory(journal);
    size_t size = strlen(directory);

    if (strncmp(path, directory, size) != 0 || path[size] != '/')
        return PAGE_TREE_NONE;
    if (strcmp(path + size + 1, STATE_KEYS) == 0)
        return PAGE_TREE_KEYS;
    return strcmp(path + size + 1, STATE_META) == 0 ? PAGE_TREE_META : PAGE_TREE_NONE;
}

static bool find_tree(int descriptor, struct open_tree *ret) {
    bool found = false;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; !found && i < tree_count; i++) {
        found = trees[i].descriptor == descriptor;
        if (found)
            *ret = trees[i];
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void note_opened(const char *path, int descriptor) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < journal_count; i++) {
        enum page_tree tree = tree_of(journals[i], path);

        if (tree == PAGE_TREE_NONE)
            continue;
        trees = xrealloc(trees, (tree_count + 1) * sizeof *trees);
        trees[tree_count++] = (struct open_tree){descriptor, tree, journals[i]};
        break;
    }
    pthread_mutex_unlock(&lock);
}

static void note_closed(int descriptor) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < tree_count; i++)
        if (trees[i].descriptor == descriptor)
            trees[i] = trees[--tree_count];
    pthread_mutex_unlock(&lock);
}

/* ---- the calls ---- */

static ssize_t answer(ssize_t result) {
    if (result >= 0)
        return result;
    errno = (int)-result;
    return -1;
}

static int hook_open(const char *path, int flags, ...) {
    va_list arguments;
    int descriptor;
    mode_t mode;

    va_start(arguments, flags);
    mode = flags & O_CREAT ? (mode_t)va_arg(arguments, int) : 0;
    va_end(arguments);
    do
        descriptor = open(path, flags | O_CLOEXEC, mode);
    while (descriptor < 0 && errno == EINTR);
    if (descriptor >= 0)
        note_opened(path, descriptor);
    return descriptor;
}

static int hook_close(int descriptor) {
    note_closed(descriptor);
    return close(descriptor) < 0 ? errno : 0;
}

static ssize_t hook_pread(int descriptor, void *data, size_t size, off_t offset) {
    struct open_tree open;

    if (!find_tree(descriptor, &open))
        return pread(descriptor, data, size, offset);
    return answer(page_journal_read(open.journal, open.tree, descriptor, data, size, offset));
}

/* As the library does without a hook, which also tries so often. */
static int write_all(int descriptor, const uint8_t *data, size_t size) {
    int tries = 100;

    while (size > 0) {
        ssize_t n = write(descriptor, data, size);

        if (n >= 0) {
            data += n;
            size -= (size_t)n;
        } else if ((errno != EINTR && errno != EAGAIN && errno != EBUSY && errno != EIO) ||
                   --tries == 0) {
            return -errno;
        }
    }
    return 0;
}

/* The library writes pages with it too, behind an lseek(): with pwrite() it would write a page that
 * a hook refuses around that hook. */
static ssize_t hook_write(int descriptor, const void *data, size_t size) {
    struct open_tree open;
    off_t offset;
    int r;

    if (!find_tree(descriptor, &open)) {
        r = write_all(descriptor, data, size);
        return r < 0 ? answer(r) : (ssize_t)size;
    }
    offset = lseek(descriptor, 0, SEEK_CUR);
    if (offset < 0)
        return -1;
    r = page_journal_write(open.journal, open.tree, data, size, offset);
    if (r == 0 && lseek(descriptor, (off_t)size, SEEK_CUR) < 0)
        r = -errno;
    return r < 0 ? answer(r) : (ssize_t)size;
}

static int hook_sync(int descriptor) {
    struct open_tree open;

    if (find_tree(descriptor, &open))
        return -page_journal_flush(open.journal);
    store_sync_data(descriptor);
    return 0;
}

static int hook_truncate(int descriptor, off_t size) {
    struct open_tree open;

    if (find_tree(descriptor, &open))
        return -page_journal_truncate(open.journal, open.tree, descriptor, size);
    return ftruncate(descriptor, size) < 0 ? errno : 0;
}

static int hook_ioinfo(const char *path, int descriptor, u_int32_t *ret_megabytes,
                       u_int32_t *ret_bytes, u_int32_t *ret_io_size) {
    enum { MEGABYTE = 1024 * 1024 };
    struct open_tree open;
    struct stat status;

    (void)path;
    if (fstat(descriptor, &status) < 0)
        return errno;
    if (find_tree(descriptor, &open))
        status.st_size = page_journal_size(open.journal, open.tree, status.st_size);
    if (ret_megabytes)
        *ret_megabytes = (u_int32_t)(status.st_size / MEGABYTE);
    if (ret_bytes)
        *ret_bytes = (u_int32_t)(status.st_size % MEGABYTE);
    if (ret_io_size)
        *ret_io_size = (u_int32_t)status.st_blksize;
    return 0;
}

static void set_hooks(void) {
    db_env_set_func_open(hook_open);
    db_env_set_func_close(hook_close);
    db_env_set_func_pread(hook_pread);
    db_env_set_func_write(hook_write);
    db_env_set_func_fsync(hook_sync);
    db_env_set_func_ftruncate(hook_truncate);
    db_env_set_func_ioinfo(hook_ioinfo);
}

void page_hooks_add(struct page_journal *journal) {
    store_sync_init();
    pthread_once(&once, set_hooks);
    pthread_mutex_lock(&lock);
    journals = xrealloc(journals, (journal_count + 1) * sizeof *journals);
    journals[journal_count++] = journal;
    pthread_mutex_unlock(&lock);
}

void page_hooks_remove(struct page_journal *journal) {
    pthread_mutex_lock(&lock);
    for (size_t i = tree_count; i-- > 0;)
        if (trees[i].journal == journal)
            trees[i] = trees[--tree_count];
    for (size_t i = journal_count; i-- > 0;)
        if (journals[i] == journal)
            journals[i] = journals[--journal_count];
    pthread_mutex_unlock(&lock);
}
