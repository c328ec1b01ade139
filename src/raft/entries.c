#include "raft/entries.h"

#include <string.h>

#include "base/check.h"
#include "base/defect.h"
#include "base/memory.h"

enum { RING_CAPACITY_MIN = 1024, WEIGHT_ENTRIES = 256, WEIGHT_BYTES = 1024 * 1024 };

struct blob *blob_new(void *memory) {
    struct blob *blob = xmalloc(sizeof *blob);

    *blob = (struct blob){.references = 1, .memory = memory};
    return blob;
}

struct blob *blob_ref(struct blob *blob) {
    blob->references++;
    return blob;
}

void blob_unref(struct blob *blob) {
    check(blob->references > 0);
    if (--blob->references > 0)
        return;
    free(blob->memory);
    free(blob);
}

void entries_init(struct entries *entries, uint64_t first_index, uint64_t previous_term,
                  size_t bytes_max) {
    check(first_index > 0);
    *entries = (struct entries){
        .first_index = first_index,
        .last_index = first_index - 1,
        .previous_term = previous_term,
        .cached_first = first_index,
        .bytes_max = bytes_max,
        .capacity = RING_CAPACITY_MIN,
        .ring = xcalloc(RING_CAPACITY_MIN, sizeof(struct cached_entry)),
    };
}

static struct cached_entry *slot(const struct entries *entries, uint64_t index) {
    return &entries->ring[index & (entries->capacity - 1)];
}

static void drop_slot(struct entries *entries, uint64_t index) {
    struct cached_entry *cached = slot(entries, index);

    entries->bytes -= cached->entry.size + ENTRY_OVERHEAD;
    blob_unref(cached->blob);
    *cached = (struct cached_entry){0};
}

void entries_deinit(struct entries *entries) {
    for (uint64_t i = entries->cached_first; i <= entries->last_index; i++)
        drop_slot(entries, i);
    free(entries->ring);
    free(entries->runs);
    free(entries->weights);
    *entries = (struct entries){0};
}

static void note_term(struct entries *entries, uint64_t index, uint64_t term) {
    check(term > 0);
    if (entries->run_count > 0) {
        check(entries->runs[entries->run_count - 1].term <= term);
        if (entries->runs[entries->run_count - 1].term == term)
            return;
    }
    if (entries->run_count == entries->run_capacity) {
        entries->run_capacity = entries->run_capacity ? entries->run_capacity * 2 : 16;
        entries->runs = xrealloc(entries->runs, entries->run_capacity * sizeof *entries->runs);
    }
    entries->runs[entries->run_count++] = (struct term_run){.first_index = index, .term = term};
}

/* Counts the bytes of an entry that is about to become the last one. */
static void note_weight(struct entries *entries, size_t size) {
    struct weight *last =
        entries->weight_count > 0 ? &entries->weights[entries->weight_count - 1] : NULL;
    uint64_t index = entries->last_index + 1;

    if (!last || index - last->index >= WEIGHT_ENTRIES ||
        entries->total_bytes - last->bytes >= WEIGHT_BYTES) {
        if (entries->weight_count == entries->weight_capacity) {
            entries->weight_capacity = entries->weight_capacity ? entries->weight_capacity * 2 : 64;
            entries->weights =
                xrealloc(entries->weights, entries->weight_capacity * sizeof *entries->weights);
        }
        entries->weights[entries->weight_count++] =
            (struct weight){.index = index, .bytes = entries->total_bytes};
    }
    entries->total_bytes += size;
}

void entries_append_term(struct entries *entries, uint64_t term, size_t size) {
    check(entries->cached_first == entries->last_index + 1);
    note_weight(entries, size);
    entries->last_index++;
    entries->cached_first = entries->last_index + 1;
    note_term(entries, entries->last_index, term);
}

static void grow(struct entries *entries) {
    size_t capacity = entries->capacity * 2;
    struct cached_entry *ring = xcalloc(capacity, sizeof *ring);

    for (uint64_t i = entries->cached_first; i <= entries->last_index; i++)
        ring[i & (capacity - 1)] = *slot(entries, i);
    free(entries->ring);
    entries->ring = ring;
    entries->capacity = capacity;
}

void entries_append(struct entries *entries, const struct log_entry *entry, struct blob *blob) {
    uint64_t index = entries->last_index + 1;

    if (index - entries->cached_first == entries->capacity)
        grow(entries);
    note_weight(entries, entry->size);
    note_term(entries, index, entry->term);
    *slot(entries, index) = (struct cached_entry){.entry = *entry, .blob = blob};
    entries->last_index = index;
    entries->bytes += entry->size + ENTRY_OVERHEAD;
}

void entries_truncate(struct entries *entries, uint64_t index) {
    check(index >= entries->first_index);
    while (entries->last_index >= index) {
        if (entries->last_index >= entries->cached_first)
            drop_slot(entries, entries->last_index);
        entries->last_index--;
    }
    if (entries->cached_first > entries->last_index + 1)
        entries->cached_first = entries->last_index + 1;
    while (entries->run_count > 0 && entries->runs[entries->run_count - 1].first_index >= index)
        entries->run_count--;
    while (entries->weight_count > 0 && entries->weights[entries->weight_count - 1].index >= index)
        entries->weight_count--;
}

void entries_cut(struct entries *entries, uint64_t first_index) {
    size_t runs = 0, weights = 0;

    check(first_index <= entries->last_index + 1);
    if (first_index <= entries->first_index)
        return;
    entries->previous_term = entries_term(entries, first_index - 1);
    while (entries->cached_first < first_index && entries->cached_first <= entries->last_index) {
        drop_slot(entries, entries->cached_first);
        entries->cached_first++;
    }
    if (entries->cached_first < first_index)
        entries->cached_first = first_index;
    entries->first_index = first_index;

    while (runs + 1 < entries->run_count && entries->runs[runs + 1].first_index <= first_index)
        runs++;
    if (first_index > entries->last_index)
        runs = entries->run_count;
    entries->run_count -= runs;
    memmove(entries->runs, entries->runs + runs, entries->run_count * sizeof *entries->runs);
    while (weights + 1 < entries->weight_count &&
           entries->weights[weights + 1].index <= first_index)
        weights++;
    entries->weight_count -= weights;
    memmove(entries->weights, entries->weights + weights,
            entries->weight_count * sizeof *entries->weights);
}

void entries_reset(struct entries *entries, uint64_t index, uint64_t term) {
    size_t bytes_max = entries->bytes_max;

    entries_deinit(entries);
    entries_init(entries, index + 1, term, bytes_max);
}

uint64_t entries_within(const struct entries *entries, uint64_t last, uint64_t bytes) {
    uint64_t end = entries->total_bytes;
    size_t i = entries->weight_count;

    while (i > 0 && entries->weights[i - 1].index > last)
        end = entries->weights[--i].bytes;
    while (i > 0 && end - entries->weights[i - 1].bytes <= bytes)
        i--;
    return i < entries->weight_count ? entries->weights[i].index : entries->last_index + 1;
}

uint64_t entries_term(const struct entries *entries, uint64_t index) {
    size_t low = 0, high = entries->run_count;

    if (index + 1 == entries->first_index)
        return entries->previous_term;
    if (index < entries->first_index || index > entries->last_index)
        return 0;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (entries->runs[middle].first_index <= index)
            low = middle;
        else
            high = middle;
    }
    check(entries->run_count > 0 && entries->runs[low].first_index <= index);
    return entries->runs[low].term;
}

const struct cached_entry *entries_find(const struct entries *entries, uint64_t index) {
    if (index < entries->cached_first || index > entries->last_index)
        return NULL;
    return slot(entries, index);
}

static void evict(struct entries *entries, uint64_t index, size_t bytes_max) {
    while (entries->bytes > bytes_max && entries->cached_first <= index &&
           entries->cached_first <= entries->last_index) {
        drop_slot(entries, entries->cached_first);
        entries->cached_first++;
    }
}

void entries_evict(struct entries *entries, uint64_t applied, uint64_t durable) {
    if (DEFECT(CACHE_WITHOUT_LIMIT))
        return;
    evict(entries, applied < durable ? applied : durable, entries->bytes_max);
    evict(entries, durable, UNAPPLIED_FACTOR * entries->bytes_max);
}
