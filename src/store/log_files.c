#include "store/log_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "store/sync.h"

/* How the library begins each file: the header of a record (offset of the previous one, length,
 * checksum), then magic, version, size of the file, and a field that is not used. */
struct file_header {
    uint32_t previous;
    uint32_t length;
    uint32_t checksum;
    uint32_t magic;
    uint32_t version;
    uint32_t file_size;
    uint32_t unused;
};

enum {
    FILE_MAGIC = 0x040988,
    NAME_SIZE = 32,
    FILE_NUMBER_MAX = 2000000000, /* the library's own limit */
    LIBRARY_HEADER_SIZE = 12,     /* before each record */
    CHUNK_SIZE = 64 * 1024,
};

static const char floor_name[] = "floor";

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

static void close_directory(DIR **directory) {
    if (*directory)
        closedir(*directory);
}

int log_damaged(struct failure *failure, const char *directory, uint32_t file, const char *format,
                ...) {
    char what[200];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (file == 0)
        return failure_set(failure, ERROR_INTERNAL, "%s: %s. " LOG_REJOIN, directory, what);
    return failure_set(failure, ERROR_INTERNAL, "%s/log.%010" PRIu32 ": %s. " LOG_REJOIN, directory,
                       file, what);
}

char *log_file_path(const char *directory, uint32_t file) {
    return xasprintf("%s/log.%010" PRIu32, directory, file);
}

/* The number of a log file's name; 0 when it is the name of something else. */
static uint32_t parse_name(const char *name) {
    char again[NAME_SIZE];
    unsigned long number;

    if (strncmp(name, "log.", 4) != 0 || strspn(name + 4, "0123456789") != strlen(name + 4))
        return 0;
    number = strtoul(name + 4, NULL, 10);
    if (number == 0 || number > FILE_NUMBER_MAX)
        return 0;
    snprintf(again, sizeof again, "log.%010lu", number);
    return strcmp(name, again) == 0 ? (uint32_t)number : 0;
}

/* Calls visit for each log file. */
static int walk(const char *path,
                int (*visit)(void *data, int directory, const char *name, uint32_t file),
                void *data) {
    _cleanup_(close_directory) DIR *directory = opendir(path);
    struct dirent *entry;

    if (!directory)
        return -errno;
    while (errno = 0, entry = readdir(directory)) {
        uint32_t file = parse_name(entry->d_name);
        int r = file ? visit(data, dirfd(directory), entry->d_name, file) : 0;

        if (r < 0)
            return r;
    }
    return -errno;
}

/* Of the files from number `from` on. */
struct count {
    uint32_t from, first, last, count;
};

static int count_file(void *data, int directory, const char *name, uint32_t file) {
    struct count *count = data;

    (void)directory;
    (void)name;
    if (file < count->from)
        return 0;
    if (count->count == 0 || file < count->first)
        count->first = file;
    if (file > count->last)
        count->last = file;
    count->count++;
    return 0;
}

static bool all_zero(const uint8_t *data, size_t size) {
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

static int open_file(const char *directory, uint32_t file, int flags) {
    _cleanup_free_ char *path = log_file_path(directory, file);
    int fd = open(path, flags | O_CLOEXEC, 0600);

    return fd < 0 ? -errno : fd;
}

/* Whether the library has written to the file, and its size as the header says; then it must have
 * that size. */
static int look_at(const char *directory, uint32_t file, bool *ret_begun, uint32_t *ret_size,
                   struct failure *failure) {
    _cleanup_(close_fd) int fd = open_file(directory, file, O_RDONLY);
    struct file_header header = {0};
    struct stat st;
    ssize_t n;

    if (fd < 0)
        return failure_set(failure, ERROR_INTERNAL, "%s/log.%010" PRIu32 ": can't be opened (%s).",
                           directory, file, strerror(-fd));
    n = store_read_at(fd, &header, sizeof header, 0);
    if (n < 0 || fstat(fd, &st) < 0)
        return failure_set(failure, ERROR_INTERNAL, "%s/log.%010" PRIu32 ": can't be read (%s).",
                           directory, file, strerror(n < 0 ? (int)-n : errno));
    *ret_begun = !all_zero((const uint8_t *)&header, sizeof header);
    if (!*ret_begun)
        return 0;
    if (header.magic != FILE_MAGIC || header.length != sizeof header)
        return log_damaged(failure, directory, file, "does not begin as a log file does");
    /* The library itself makes its files one byte shorter than it says. */
    if (st.st_size + 1 < (off_t)header.file_size)
        return log_damaged(failure, directory, file, "is too short: %jd of %" PRIu32 " bytes",
                           (intmax_t)st.st_size, header.file_size);
    *ret_size = header.file_size;
    return 0;
}

int log_files_list(const char *directory, uint32_t first, struct log_files *ret,
                   struct failure *failure) {
    struct count count = {.from = first};
    struct log_files files = {0};
    int r = walk(directory, count_file, &count);

    if (r < 0)
        return failure_set(failure, ERROR_INTERNAL, "%s: can't be read (%s).", directory,
                           strerror(-r));
    files.first = count.first;
    files.last = count.last;
    for (uint32_t file = count.first; count.count && file <= count.last; file++) {
        _cleanup_free_ char *path = log_file_path(directory, file);
        bool begun = false;

        if (access(path, F_OK) < 0 && errno == ENOENT)
            return log_damaged(failure, directory, file, "is missing");
        r = look_at(directory, file, &begun, &files.file_size, failure);
        if (r != 0)
            return r;
        if (begun && files.begun + 1 < file && file > files.first)
            return log_damaged(failure, directory, files.begun ? files.begun + 1 : files.first,
                               "reads as zeros");
        if (begun)
            files.begun = file;
    }
    *ret = files;
    return 0;
}

int log_file_prepare(const char *directory, uint32_t file, uint32_t size) {
    _cleanup_(close_fd) int fd = open_file(directory, file, O_RDWR | O_CREAT | O_TRUNC);

    if (fd < 0)
        return fd;
    if (ftruncate(fd, size) < 0)
        return -errno;
    store_sync(fd);
    return store_sync_directory(directory);
}

int log_files_remove(const char *directory, uint32_t first) {
    struct count count = {0};
    int r = walk(directory, count_file, &count);

    for (uint32_t file = count.first; r == 0 && count.count > 0 && file < first; file++) {
        _cleanup_free_ char *path = log_file_path(directory, file);

        if (unlink(path) < 0 && errno != ENOENT)
            r = -errno;
    }
    return r;
}

/* Reads a file from an offset to its end. */
static int read_rest(int fd, uint32_t from, uint8_t **ret, size_t *ret_size) {
    _cleanup_free_ uint8_t *data = NULL;
    struct stat st;
    ssize_t n;

    *ret = NULL;
    *ret_size = 0;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size <= (off_t)from || st.st_size > UINT32_MAX)
        return st.st_size > UINT32_MAX ? -EFBIG : 0;
    data = xmalloc((size_t)st.st_size - from);
    n = store_read_at(fd, data, (size_t)st.st_size - from, from);
    if (n < 0)
        return (int)n;
    *ret = TAKE(data);
    *ret_size = (size_t)n;
    return 0;
}

/* Looks for whole records at any offset: what is broken says nothing about where the next begins.
 * From `nonzero` on there are only zeros, with which a record may end. */
static void search_records(const uint8_t *data, size_t nonzero, size_t size, struct position from,
                           struct log_rest *rest) {
    size_t offset = 0;

    while (offset < nonzero) {
        const uint8_t *hit =
            memmem(data + offset, nonzero - offset, record_magic, sizeof record_magic);
        struct position position = {.file = from.file};
        struct record record;

        if (!hit)
            return;
        offset = (size_t)(hit - data);
        /* The position of a record is that of the library's header before it. */
        position.offset = from.offset + (uint32_t)offset - LIBRARY_HEADER_SIZE;
        if (record_parse(hit, size - offset, position, &record) == 0 &&
            (!rest->found || record.durable > rest->record.durable)) {
            rest->found = true;
            rest->record = record;
            rest->record.content = NULL;
            rest->position = position;
        }
        offset++;
    }
}

/* The size without the zeros at the end: most of a file that was made ready. */
static size_t without_zeros(const uint8_t *data, size_t size) {
    while (size >= CHUNK_SIZE && all_zero(data + size - CHUNK_SIZE, CHUNK_SIZE))
        size -= CHUNK_SIZE;
    while (size > 0 && data[size - 1] == 0)
        size--;
    return size;
}

int log_file_search(const char *directory, struct position from, struct log_rest *ret) {
    _cleanup_(close_fd) int fd = open_file(directory, from.file, O_RDONLY);
    _cleanup_free_ uint8_t *data = NULL;
    struct log_rest rest = {0};
    size_t size, nonzero;
    int r;

    if (fd < 0)
        return fd;
    r = read_rest(fd, from.offset, &data, &size);
    if (r < 0)
        return r;
    nonzero = without_zeros(data, size);
    search_records(data, nonzero, size, from, &rest);
    rest.nonzero = nonzero > 0;
    rest.nonzero_end = from.offset + (uint32_t)nonzero;
    *ret = rest;
    return 0;
}

int log_file_clean(const char *directory, uint32_t file, uint32_t rewrite_from,
                   uint32_t zero_from) {
    _cleanup_(close_fd) int fd = open_file(directory, file, O_RDWR);
    _cleanup_free_ uint8_t *data = NULL;
    size_t size, kept = zero_from - rewrite_from;
    int r;

    check(rewrite_from <= zero_from);
    if (fd < 0)
        return fd;
    r = read_rest(fd, rewrite_from, &data, &size);
    if (r < 0)
        return r;
    check(size >= kept);
    r = store_write_at(fd, data, kept, rewrite_from);
    for (size_t at = kept; r == 0 && at < size; at += CHUNK_SIZE) {
        size_t n = size - at < CHUNK_SIZE ? size - at : CHUNK_SIZE;

        if (all_zero(data + at, n))
            continue;
        memset(data + at, 0, n);
        r = store_write_at(fd, data + at, n, (off_t)rewrite_from + (off_t)at);
    }
    if (r < 0)
        return r;
    store_sync(fd);
    return 0;
}

int log_floor_read(const char *directory, struct log_floor *ret) {
    _cleanup_free_ char *text = NULL;
    struct log_floor floor;
    uint64_t first, file;
    int r = store_read_file(directory, floor_name, &text);

    if (r < 0)
        return r;
    if (store_text_get_number(text, "member", &floor.member_id) < 0 ||
        store_text_get_number(text, "first", &first) < 0 ||
        store_text_get_number(text, "file", &file) < 0 ||
        store_text_get_number(text, "sequence", &floor.sequence) < 0)
        return -EBADMSG;
    if (file > FILE_NUMBER_MAX || first == 0 || first > (file ? file : 1))
        return -EBADMSG;
    floor.first = (uint32_t)first;
    floor.file = (uint32_t)file;
    *ret = floor;
    return 0;
}

int log_floor_write(const char *directory, const struct log_floor *floor) {
    _cleanup_free_ char *text =
        xasprintf("member=%" PRIu64 "\nfirst=%" PRIu32 "\nfile=%" PRIu32 "\nsequence=%" PRIu64 "\n",
                  floor->member_id, floor->first, floor->file, floor->sequence);

    return store_replace_file(directory, floor_name, text);
}

struct measure {
    uint64_t bytes, files;
};

static int measure_file(void *data, int directory, const char *name, uint32_t file) {
    struct measure *measure = data;
    struct stat st;

    (void)file;
    if (fstatat(directory, name, &st, 0) < 0)
        return errno == ENOENT ? 0 : -errno;
    measure->bytes += (uint64_t)st.st_blocks * 512;
    measure->files++;
    return 0;
}

int log_files_measure(const char *directory, uint64_t *ret_bytes, uint64_t *ret_files) {
    struct measure measure = {0};
    int r = walk(directory, measure_file, &measure);

    if (r < 0)
        return r;
    *ret_bytes = measure.bytes;
    *ret_files = measure.files;
    return 0;
}
