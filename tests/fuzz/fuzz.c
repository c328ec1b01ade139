#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <sanitizer/allocator_interface.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

uint8_t take_byte(struct input *input) {
    return (uint8_t)take_number(input, 1);
}

uint64_t take_number(struct input *input, size_t bytes) {
    struct input part = take_part(input, bytes);
    uint64_t number = 0;

    for (size_t i = 0; i < part.size; i++)
        number |= (uint64_t)part.data[i] << (8 * i);
    return number;
}

struct input take_part(struct input *input, size_t size) {
    struct input part = {input->data, size < input->size ? size : input->size};

    input->data += part.size;
    input->size -= part.size;
    return part;
}

char *take_text(struct input *input, size_t size) {
    struct input part = take_part(input, size);
    char *text = xmalloc(part.size + 1);

    memcpy(text, part.data, part.size);
    text[part.size] = 0;
    return text;
}

void fuzz_trace(const char *format, ...) {
    static int wanted = -1;
    va_list arguments;

    if (wanted < 0)
        wanted = getenv("RAFTKV_FUZZ_TRACE") != NULL;
    if (!wanted)
        return;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

size_t fuzz_allocated(void) {
    return __sanitizer_get_current_allocated_bytes();
}

/* ---- files ---- */

static char directory[64];

static void empty(int parent, const char *path, unsigned depth) {
    int fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent *entry;
    DIR *stream;

    check(fd >= 0);
    stream = fdopendir(fd);
    check(stream);
    while ((entry = readdir(stream))) {
        bool is_directory = entry->d_type == DT_DIR;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        check(!is_directory || depth < 3);
        if (is_directory)
            empty(dirfd(stream), entry->d_name, depth + 1);
        check(unlinkat(dirfd(stream), entry->d_name, is_directory ? AT_REMOVEDIR : 0) == 0);
    }
    closedir(stream);
}

static void remove_directory(void) {
    empty(AT_FDCWD, directory, 0);
    rmdir(directory);
}

const char *fuzz_directory(void) {
    if (!directory[0]) {
        snprintf(directory, sizeof directory, "%s/raftkv-fuzz-XXXXXX",
                 access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp");
        check(mkdtemp(directory));
        atexit(remove_directory);
    }
    empty(AT_FDCWD, directory, 0);
    return directory;
}

void fuzz_write_file(const char *where, const char *name, const void *data, size_t size) {
    _cleanup_free_ char *path = xasprintf("%s/%s", where, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    check(fd >= 0);
    check(write(fd, data, size) == (ssize_t)size);
    close(fd);
}

uint8_t *fuzz_read_file(const char *where, const char *name, size_t *ret_size) {
    _cleanup_free_ char *path = xasprintf("%s/%s", where, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    uint8_t *data;

    check(fd >= 0 && fstat(fd, &st) == 0);
    data = xmalloc((size_t)st.st_size + 1);
    check(read(fd, data, (size_t)st.st_size) == st.st_size);
    close(fd);
    *ret_size = (size_t)st.st_size;
    return data;
}
