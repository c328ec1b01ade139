#include "store/log_index.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/memory.h"

void log_index_reset(struct log_index *index, uint64_t first_index) {
    check(first_index > 0);
    index->count = 0;
    index->first_index = first_index;
    index->last_index = first_index - 1;
}

/* The number of slots that begin below an entry index. */
static size_t count_below(const struct log_index *index, uint64_t entry_index) {
    size_t low = 0, high = index->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (index->slots[middle].first_index < entry_index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void log_index_add(struct log_index *index, uint64_t first_index, uint32_t count,
                   struct position position) {
    check(first_index > 0 && count > 0 && first_index <= index->last_index + 1);
    if (first_index < index->first_index)
        log_index_reset(index, first_index);
    /* A record that is cut in its middle ends where the next slot begins. */
    index->count = count_below(index, first_index);
    if (index->count == index->capacity) {
        index->capacity = index->capacity ? index->capacity * 2 : 64;
        index->slots = xrealloc(index->slots, index->capacity * sizeof *index->slots);
    }
    index->slots[index->count++] = (struct log_index_slot){first_index, position};
    index->last_index = first_index + count - 1;
}

const struct log_index_slot *log_index_find(const struct log_index *index, uint64_t entry_index) {
    if (entry_index < index->first_index || entry_index > index->last_index)
        return NULL;
    return &index->slots[count_below(index, entry_index + 1) - 1];
}

void log_index_deinit(struct log_index *index) {
    free(index->slots);
    *index = (struct log_index){0};
}
