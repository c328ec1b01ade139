#include "store/log_index.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"

void log_index_reset(struct log_index *index, uint64_t first_index) {
    check(first_index > 0);
    index->count = 0;
    index->first_index = first_index;
    index->last_index = first_index - 1;
    for (size_t i = 0; i < index->file_count; i++)
        if (index->files[i].last_index > index->last_index)
            index->files[i].last_index = index->last_index;
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

void log_index_begin_file(struct log_index *index, uint32_t file) {
    check(index->file_count == 0 || file > index->files[index->file_count - 1].file);
    if (index->file_count == index->file_capacity) {
        index->file_capacity = index->file_capacity ? index->file_capacity * 2 : 16;
        index->files = xrealloc(index->files, index->file_capacity * sizeof *index->files);
    }
    index->files[index->file_count++] = (struct log_index_file){file, index->last_index};
}

uint32_t log_index_first_file_for(const struct log_index *index, uint64_t keep_from,
                                  uint32_t max_file) {
    for (size_t i = index->file_count; i > 0; i--) {
        const struct log_index_file *file = &index->files[i - 1];

        if (file->file <= max_file && file->last_index < keep_from)
            return file->file;
    }
    return 0;
}

void log_index_cut(struct log_index *index, uint32_t first_file) {
    size_t slots = 0, files = 0;

    while (slots < index->count && index->slots[slots].position.file < first_file)
        slots++;
    while (files < index->file_count && index->files[files].file < first_file)
        files++;
    index->count -= slots;
    index->file_count -= files;
    if (slots > 0) {
        memmove(index->slots, index->slots + slots, index->count * sizeof *index->slots);
        index->first_index = index->count > 0 ? index->slots[0].first_index : index->last_index + 1;
    }
    if (files > 0)
        memmove(index->files, index->files + files, index->file_count * sizeof *index->files);
}

const struct log_index_slot *log_index_find(const struct log_index *index, uint64_t entry_index) {
    if (entry_index < index->first_index || entry_index > index->last_index)
        return NULL;
    return &index->slots[count_below(index, entry_index + 1) - 1];
}

void log_index_deinit(struct log_index *index) {
    free(index->slots);
    free(index->files);
    *index = (struct log_index){0};
}
