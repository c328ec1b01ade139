/*
 * Memory. raftkv limits every queue and buffer, so running out of memory means that the machine is
 * out of it; where nothing sensible is left to do the process ends (`xmalloc` and friends) and
 * recovers at its next start. Sizes that come from outside are checked against a limit before
 * anything is allocated.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *memory, size_t size);
char *xstrdup(const char *text);
void *xmemdup(const void *data, size_t size);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline void free_pointer(void *pointer) {
    free(*(void **)pointer);
}

/* Frees the variable when it goes out of scope. */
#define _cleanup_free_ __attribute__((cleanup(free_pointer)))
#define _cleanup_(function) __attribute__((cleanup(function)))

/* Takes the value of a pointer variable and leaves NULL. */
#define TAKE(pointer)                         \
    ({                                        \
        __typeof__(pointer) *_p = &(pointer); \
        __typeof__(pointer) _v = *_p;         \
        *_p = NULL;                           \
        _v;                                   \
    })

/* The structure that holds a member, from a pointer to the member. */
#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* A growing byte buffer. Zero-initialised is empty. */
struct buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

#define BUFFER_NULL ((struct buffer){0})

/* Makes room for `size` more bytes and returns where they go; add them to buffer->size yourself. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t size);
void buffer_append(struct buffer *buffer, const void *data, size_t size);
/* Drops the first `size` bytes. */
void buffer_consume(struct buffer *buffer, size_t size);
void buffer_deinit(struct buffer *buffer);
