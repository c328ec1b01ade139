#include "linearizability.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* The beginning or the end of an operation, in a list in the order of time. */
struct moment {
    uint64_t time;
    size_t operation;
    bool end;
    struct moment *next, *previous;
    struct moment *partner; /* of a beginning: the end */
};

/* A point of the search: which operations have taken effect, and what the register holds. */
struct seen {
    uint64_t value;
    uint64_t *done; /* NULL: free */
};

struct search {
    const struct operation *operations;
    size_t count, words;
    uint64_t *done;
    uint64_t value;
    struct moment head;
    struct seen *table;
    size_t table_count, table_capacity; /* a power of two */
};

/* What nobody read of the unknown writes need not have happened. */
static size_t drop_unread(struct operation *operations, size_t count) {
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        bool needed = operations[i].ended != NEVER;

        for (size_t j = 0; j < count && !needed; j++)
            needed = !operations[j].write && operations[j].value == operations[i].value;
        if (needed) {
            struct operation operation = operations[i];

            operations[i] = operations[kept];
            operations[kept++] = operation;
        }
    }
    return kept;
}

/* At one time beginnings come first: such operations are concurrent. */
static int compare(const void *a, const void *b) {
    const struct moment *one = *(const struct moment *const *)a;
    const struct moment *other = *(const struct moment *const *)b;

    if (one->time != other->time)
        return one->time < other->time ? -1 : 1;
    if (one->end != other->end)
        return one->end ? 1 : -1;
    return one->operation < other->operation ? -1 : one->operation > other->operation;
}

static void link_moments(struct search *search, struct moment *moments) {
    struct moment **order = xcalloc(2 * search->count + 1, sizeof(struct moment *));
    struct moment *last = &search->head;

    for (size_t i = 0; i < search->count; i++) {
        const struct operation *operation = &search->operations[i];

        moments[2 * i] = (struct moment){.time = operation->begun, .operation = i};
        moments[2 * i + 1] = (struct moment){.time = operation->ended, .operation = i, .end = true};
        moments[2 * i].partner = &moments[2 * i + 1];
        order[2 * i] = &moments[2 * i];
        order[2 * i + 1] = &moments[2 * i + 1];
    }
    qsort(order, 2 * search->count, sizeof(struct moment *), compare);
    for (size_t i = 0; i < 2 * search->count; i++) {
        last->next = order[i];
        order[i]->previous = last;
        last = order[i];
    }
    free(order);
}

static void take_out(struct moment *moment) {
    moment->previous->next = moment->next;
    if (moment->next)
        moment->next->previous = moment->previous;
}

static void put_back(struct moment *moment) {
    moment->previous->next = moment;
    if (moment->next)
        moment->next->previous = moment;
}

static size_t slot_of(const struct search *search, const struct seen *table, size_t capacity,
                      uint64_t value, const uint64_t *done) {
    uint64_t hash = value * 0x9e3779b97f4a7c15u;

    for (size_t i = 0; i < search->words; i++)
        hash = (hash ^ done[i]) * 0xff51afd7ed558ccdu, hash ^= hash >> 32;
    for (size_t i = hash & (capacity - 1);; i = (i + 1) & (capacity - 1))
        if (!table[i].done || (table[i].value == value &&
                               memcmp(table[i].done, done, search->words * sizeof *done) == 0))
            return i;
}

static void grow(struct search *search) {
    size_t capacity = search->table_capacity ? search->table_capacity * 2 : 1024;
    struct seen *table = xcalloc(capacity, sizeof *table);

    for (size_t i = 0; i < search->table_capacity; i++)
        if (search->table[i].done)
            table[slot_of(search, table, capacity, search->table[i].value, search->table[i].done)] =
                search->table[i];
    free(search->table);
    search->table = table;
    search->table_capacity = capacity;
}

/* False: the search has been here before. */
static bool remember(struct search *search) {
    size_t slot;

    if (search->table_count * 2 >= search->table_capacity)
        grow(search);
    slot = slot_of(search, search->table, search->table_capacity, search->value, search->done);
    if (search->table[slot].done)
        return false;
    search->table[slot] = (struct seen){
        .value = search->value,
        .done = xmemdup(search->done, search->words * sizeof *search->done),
    };
    search->table_count++;
    return true;
}

static void mark(struct search *search, size_t operation, bool done) {
    uint64_t bit = (uint64_t)1 << operation % 64;

    if (done)
        search->done[operation / 64] |= bit;
    else
        search->done[operation / 64] &= ~bit;
}

struct step {
    struct moment *moment;
    uint64_t value; /* before it */
};

static bool is_unknown_delete(const struct search *search, const struct moment *moment) {
    const struct operation *operation = &search->operations[moment->operation];

    return operation->write && operation->value == 0 && operation->ended == NEVER;
}

/*
 * Deletes whose outcome is unknown can't be told apart, and any number of them may never have taken
 * effect. So one that would change nothing need not be tried now, nor one before those that began
 * earlier, which could stand in its place. Without this a history with thirty of them takes for
 * ever.
 */
static bool may_stand_back(const struct search *search, const struct moment *moment) {
    if (!is_unknown_delete(search, moment))
        return false;
    if (search->value == 0)
        return true;
    for (const struct moment *m = moment->previous; m != &search->head; m = m->previous)
        if (!m->end && is_unknown_delete(search, m))
            return true;
    return false;
}

/* Lets an operation take effect now, if it may, and the search was not there before. */
static bool try(struct search *search, struct moment *moment) {
    const struct operation *operation = &search->operations[moment->operation];
    uint64_t before = search->value;

    if (!operation->write && operation->value != search->value)
        return false;
    if (may_stand_back(search, moment))
        return false;
    if (operation->write)
        search->value = operation->value;
    mark(search, moment->operation, true);
    if (remember(search))
        return true;
    mark(search, moment->operation, false);
    search->value = before;
    return false;
}

static bool run(struct search *search, struct step *steps) {
    struct moment *moment = search->head.next;
    size_t depth = 0;

    while (search->head.next) {
        uint64_t before = search->value;

        if (!moment->end) {
            if (!try(search, moment)) {
                moment = moment->next;
                continue;
            }
            steps[depth++] = (struct step){moment, before};
            take_out(moment);
            take_out(moment->partner);
            moment = search->head.next;
            continue;
        }
        /* What is left are writes whose outcome is unknown: they need not take effect at all. */
        if (search->operations[moment->operation].ended == NEVER)
            return true;
        /* This one has to have taken effect by now: something before was wrong. */
        if (depth == 0)
            return false;
        depth--;
        moment = steps[depth].moment;
        search->value = steps[depth].value;
        mark(search, moment->operation, false);
        put_back(moment->partner);
        put_back(moment);
        moment = moment->next;
    }
    return true;
}

bool linearizable(struct operation *operations, size_t count) {
    struct search search = {.operations = operations};
    struct moment *moments;
    struct step *steps;
    bool result;

    search.count = drop_unread(operations, count);
    search.words = search.count / 64 + 1;
    search.done = xcalloc(search.words, sizeof *search.done);
    moments = xcalloc(2 * search.count + 1, sizeof *moments);
    steps = xcalloc(search.count + 1, sizeof *steps);
    link_moments(&search, moments);
    result = run(&search, steps);
    for (size_t i = 0; i < search.table_capacity; i++)
        free(search.table[i].done);
    free(search.table);
    free(search.done);
    free(moments);
    free(steps);
    return result;
}
