#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

/* Not a broken invariant, but as little can be done about it. */
static _Noreturn void out_of_memory(void) {
    fprintf(stderr, "Out of memory: the process ends, and recovers at its next start.\n");
    abort();
}

void *xmalloc(size_t size) {
    void *memory = malloc(size ? size : 1);

    if (!memory)
        out_of_memory();
    return memory;
}

void *xcalloc(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size ? size : 1);

    if (!memory)
        out_of_memory();
    return memory;
}

void *xrealloc(void *memory, size_t size) {
    memory = realloc(memory, size ? size : 1);
    if (!memory)
        out_of_memory();
    return memory;
}

char *xstrdup(const char *text) {
    return xmemdup(text, strlen(text) + 1);
}

void *xmemdup(const void *data, size_t size) {
    void *copy = xmalloc(size);

    if (size)
        memcpy(copy, data, size);
    return copy;
}

char *xasprintf(const char *format, ...) {
    va_list arguments;
    char *text = NULL;
    int n;

    va_start(arguments, format);
    n = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (n < 0)
        out_of_memory();
    return text;
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t size) {
    size_t capacity = buffer->capacity ? buffer->capacity : 256;

    check(size <= SIZE_MAX / 4 && buffer->size <= SIZE_MAX / 4);
    while (capacity - buffer->size < size)
        capacity *= 2;
    if (capacity != buffer->capacity) {
        buffer->data = xrealloc(buffer->data, capacity);
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->size;
}

void buffer_append(struct buffer *buffer, const void *data, size_t size) {
    if (size == 0)
        return;
    memcpy(buffer_reserve(buffer, size), data, size);
    buffer->size += size;
}

void buffer_consume(struct buffer *buffer, size_t size) {
    check(size <= buffer->size);
    if (size == 0)
        return;
    memmove(buffer->data, buffer->data + size, buffer->size - size);
    buffer->size -= size;
}

void buffer_deinit(struct buffer *buffer) {
    free(buffer->data);
    *buffer = BUFFER_NULL;
}
