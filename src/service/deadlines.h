/* The deadlines of the calls under way: a binary heap in which each call knows its place. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct deadline {
    uint64_t time; /* of the host */
    size_t place;  /* in the heap, from 1; 0: not in it */
};

struct deadlines {
    struct deadline **heap; /* heap[1] is the earliest; heap[0] is not used */
    size_t count;
    size_t capacity;
};

/* Zero-initialised is empty. The memory of a deadline stays the caller's. */
void deadlines_add(struct deadlines *deadlines, struct deadline *deadline);
/* Does nothing for one that is not there. */
void deadlines_remove(struct deadlines *deadlines, struct deadline *deadline);
/* NULL when there is none. */
struct deadline *deadlines_first(const struct deadlines *deadlines);
void deadlines_deinit(struct deadlines *deadlines);
