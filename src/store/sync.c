#include "store/sync.h"

#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/memory.h"
#include "store/log.h"

static void print_and_exit(const char *reason) {
    fprintf(stderr, "%s\n", reason);
    _exit(EXIT_FAILURE);
}

static void (*sync_failed)(const char *reason) = print_and_exit;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void end_by_failed_sync(void) {
    char reason[160];

    snprintf(reason, sizeof reason,
             "A sync of the disk failed (%s): what was written may be lost, so the node stops.",
             strerror(errno));
    sync_failed(reason);
    _exit(EXIT_FAILURE);
}

static void sync_or_die(int (*sync_function)(int fd), int fd) {
    while (sync_function(fd) < 0)
        if (errno != EINTR)
            end_by_failed_sync();
}

static int library_sync(int fd) {
    store_sync_data(fd);
    return 0;
}

static _Thread_local struct {
    void (*work)(void *data);
    void *data;
} in_pause;

void store_set_pause(void (*work)(void *data), void *data) {
    in_pause.work = work;
    in_pause.data = data;
}

int store_work_in_pause(unsigned long seconds, unsigned long microseconds) {
    if (seconds == 0 && microseconds > 0 && in_pause.work)
        in_pause.work(in_pause.data);
    return 0;
}

/* A checkpoint that meets a page which is being changed comes back to it a second later, and
 * everybody waits for it so long: a few milliseconds are enough. */
static int yield_briefly(u_long seconds, u_long microseconds) {
    enum { MAX_US = 5000 };
    struct timespec time = {
        .tv_nsec = 1000 * (seconds > 0 || microseconds > MAX_US ? MAX_US : (long)microseconds)};

    store_work_in_pause(seconds, microseconds);
    if (time.tv_nsec == 0)
        sched_yield();
    else
        nanosleep(&time, NULL);
    return 0;
}

/* Where the library finds no memory it may crash, or take a log that it can't read for one that
 * ends there. */
static void set_hooks(void) {
    db_env_set_func_fsync(library_sync);
    db_env_set_func_yield(yield_briefly);
    db_env_set_func_malloc(xmalloc);
    db_env_set_func_realloc(xrealloc);
}

void store_sync_init(void) {
    pthread_once(&once, set_hooks);
}

void store_set_sync_failed(void (*callback)(const char *reason)) {
    sync_failed = callback;
    store_sync_init();
}

void store_sync(int fd) {
    sync_or_die(fsync, fd);
}

/* fdatasync: it writes the size and the blocks of a file too. */
void store_sync_data(int fd) {
    sync_or_die(fdatasync, fd);
}

/* The error of a page that could not be written is told once: the sync that follows would succeed.
 */
static bool write_out_failed(int fd, off_t offset, off_t size) {
    int flags = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;

    return sync_file_range(fd, offset, size, (unsigned)flags) < 0 &&
           (errno == EIO || errno == ENOSPC || errno == EDQUOT);
}

void store_write_out(int fd, off_t offset, off_t size) {
    enum { PORTION = 128 * 1024 };
    off_t end = offset + size;

    if (size == 0) {
        if (write_out_failed(fd, offset, 0))
            end_by_failed_sync();
        return;
    }
    for (; offset < end; offset += PORTION)
        if (write_out_failed(fd, offset, end - offset < PORTION ? end - offset : PORTION))
            end_by_failed_sync();
}

ssize_t store_read_at(int fd, void *data, size_t size, off_t offset) {
    size_t done = 0;

    while (done < size) {
        ssize_t n = pread(fd, (char *)data + done, size - done, offset + (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int store_write_at(int fd, const void *data, size_t size, off_t offset) {
    while (size > 0) {
        ssize_t n = pwrite(fd, data, size, offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EDQUOT ? -ENOSPC : -errno;
        data = (const char *)data + n;
        size -= (size_t)n;
        offset += n;
    }
    return 0;
}

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

static int sync_path(const char *path, int flags) {
    _cleanup_(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | flags);

    if (fd < 0)
        return -errno;
    store_sync(fd);
    return 0;
}

int store_sync_file(const char *path) {
    return sync_path(path, 0);
}

int store_sync_directory(const char *path) {
    return sync_path(path, O_DIRECTORY);
}

static int write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = write(fd, data, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static int write_and_sync(const char *path, const char *text) {
    _cleanup_(close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int r;

    if (fd < 0)
        return -errno;
    r = write_all(fd, text, strlen(text));
    if (r < 0)
        return r;
    store_sync(fd);
    return 0;
}

int store_replace_file(const char *directory, const char *name, const char *text) {
    _cleanup_free_ char *path = xasprintf("%s/%s", directory, name);
    _cleanup_free_ char *new_path = xasprintf("%s/%s.new", directory, name);
    _cleanup_free_ char *whole =
        xasprintf("%schecksum=%08" PRIx32 "\n", text, crc32c(0, text, strlen(text)));
    int r = write_and_sync(new_path, whole);

    if (r < 0) {
        unlink(new_path);
        return r;
    }
    if (rename(new_path, path) < 0)
        return -errno;
    return store_sync_directory(directory);
}

int store_read_through(const char *path) {
    enum { PART_SIZE = 256 * 1024 };
    _cleanup_(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    _cleanup_free_ uint8_t *part = xmalloc(PART_SIZE);
    off_t offset = 0;
    ssize_t n;

    if (fd < 0)
        return -errno;
    while ((n = store_read_at(fd, part, PART_SIZE, offset)) > 0)
        offset += n;
    return (int)n;
}

/* Reads at most SMALL_FILE_MAX bytes and ends them with NUL. */
static int read_text(const char *path, char **ret) {
    _cleanup_(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    _cleanup_free_ char *text = xmalloc(SMALL_FILE_MAX + 1);
    size_t size = 0;

    if (fd < 0)
        return -errno;
    for (;;) {
        ssize_t n = read(fd, text + size, SMALL_FILE_MAX + 1 - size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        size += (size_t)n;
        if (size > SMALL_FILE_MAX)
            return -EBADMSG;
    }
    text[size] = '\0';
    if (strlen(text) != size)
        return -EBADMSG;
    *ret = TAKE(text);
    return 0;
}

int store_read_file(const char *directory, const char *name, char **ret_text) {
    static const char key[] = "checksum=";
    enum { LINE_SIZE = sizeof key - 1 + 8 + 1 };
    _cleanup_free_ char *path = xasprintf("%s/%s", directory, name);
    _cleanup_free_ char *text = NULL;
    char expected[LINE_SIZE + 1];
    size_t size;
    int r = read_text(path, &text);

    if (r < 0)
        return r;
    size = strlen(text);
    if (size < LINE_SIZE)
        return -EBADMSG;
    size -= LINE_SIZE;
    snprintf(expected, sizeof expected, "%s%08" PRIx32 "\n", key, crc32c(0, text, size));
    if (strcmp(text + size, expected) != 0)
        return -EBADMSG;
    text[size] = '\0';
    *ret_text = TAKE(text);
    return 0;
}

int store_text_get(const char *text, const char *key, char *ret, size_t size) {
    size_t key_size = strlen(key);

    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n");

        if (length > key_size && strncmp(line, key, key_size) == 0 && line[key_size] == '=') {
            length -= key_size + 1;
            if (length >= size)
                return -EBADMSG;
            memcpy(ret, line + key_size + 1, length);
            ret[length] = '\0';
            return 0;
        }
        line += length;
        if (*line)
            line++;
    }
    return -EBADMSG;
}

int store_text_get_number(const char *text, const char *key, uint64_t *ret) {
    char value[24];
    char *end;
    uint64_t number;
    int r = store_text_get(text, key, value, sizeof value);

    if (r < 0)
        return r;
    if (value[0] < '0' || value[0] > '9')
        return -EBADMSG;
    errno = 0;
    number = strtoull(value, &end, 10);
    if (errno != 0 || *end)
        return -EBADMSG;
    *ret = number;
    return 0;
}
