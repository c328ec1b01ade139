#include "world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { KEPT = 400, TEXT_SIZE = 240, LINE_SIZE = TEXT_SIZE + 32 };

static struct {
    uint64_t seed;
    bool trace;
    uint64_t now;
    uint64_t random[4];
    uint64_t order, events;
    struct happening **heap; /* from 1 */
    size_t count, capacity;
    uint64_t hash;
    char (*lines)[LINE_SIZE];
    uint64_t line_count;
} world;

/* ---- chance: xoshiro256**, seeded by splitmix64 ---- */

static uint64_t splitmix(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotate(uint64_t x, unsigned bits) {
    return x << bits | x >> (64 - bits);
}

uint64_t chance(void) {
    uint64_t *s = world.random, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t chance_below(uint64_t limit) {
    return chance() % limit;
}

uint64_t chance_between(uint64_t low, uint64_t high) {
    return low + chance_below(high - low + 1);
}

bool chance_one_in(uint64_t n) {
    return chance_below(n) == 0;
}

uint64_t chance_latency(uint64_t low, uint64_t high) {
    uint64_t span = high - low;

    for (unsigned i = 0; i < 5 && !chance_one_in(4); i++)
        span /= 3;
    return low + chance_below(span + 1);
}

void world_init(uint64_t seed, bool trace) {
    uint64_t state = seed;

    world.seed = seed;
    world.trace = trace;
    world.now = 1000 * (uint64_t)SECOND;
    for (int i = 0; i < 4; i++)
        world.random[i] = splitmix(&state);
    world.hash = 0xcbf29ce484222325u;
    free(world.lines);
    world.lines = xcalloc(KEPT, LINE_SIZE);
}

uint64_t world_now(void) {
    return world.now;
}

/* ---- events: a binary heap ---- */

static bool before(const struct happening *a, const struct happening *b) {
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

void world_at(uint64_t time, struct happening *happening,
              void (*happen)(struct happening *happening)) {
    size_t i;

    *happening = (struct happening){
        .time = time < world.now ? world.now : time,
        .order = ++world.order,
        .happen = happen,
    };
    if (world.count + 2 > world.capacity) {
        world.capacity = world.capacity ? world.capacity * 2 : 1024;
        world.heap = xrealloc(world.heap, world.capacity * sizeof(struct happening *));
    }
    for (i = ++world.count; i > 1 && before(happening, world.heap[i / 2]); i /= 2)
        world.heap[i] = world.heap[i / 2];
    world.heap[i] = happening;
}

static struct happening *take_first(void) {
    struct happening *first = world.heap[1], *last = world.heap[world.count--];
    size_t i = 1;

    for (;;) {
        size_t child = 2 * i;

        if (child > world.count)
            break;
        if (child < world.count && before(world.heap[child + 1], world.heap[child]))
            child++;
        if (!before(world.heap[child], last))
            break;
        world.heap[i] = world.heap[child];
        i = child;
    }
    world.heap[i] = last;
    return first;
}

bool world_step(void) {
    struct happening *happening;

    if (world.count == 0)
        return false;
    happening = take_first();
    world.now = happening->time;
    world.events++;
    happening->happen(happening);
    return true;
}

uint64_t world_event_count(void) {
    return world.events;
}

/* ---- the record ---- */

static void keep(const char *text) {
    char *line = world.lines[world.line_count++ % KEPT];

    snprintf(line, LINE_SIZE, "%11.6f %s", (double)(world.now - 1000 * (uint64_t)SECOND) / SECOND,
             text);
    if (world.trace)
        puts(line);
}

void record(const char *format, ...) {
    char text[TEXT_SIZE];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (const char *p = text; *p; p++)
        world.hash = (world.hash ^ (uint8_t)*p) * 0x100000001b3u;
    world.hash = (world.hash ^ world.now) * 0x100000001b3u;
    keep(text);
}

void remark(const char *format, ...) {
    char text[TEXT_SIZE];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    keep(text);
}

uint64_t record_hash(void) {
    return world.hash;
}

void record_print_last(void) {
    uint64_t first = world.line_count > KEPT ? world.line_count - KEPT : 0;

    if (world.trace || !world.lines)
        return;
    for (uint64_t i = first; i < world.line_count; i++)
        puts(world.lines[i % KEPT]);
}

void world_fail(const char *format, ...) {
    va_list arguments;

    record_print_last();
    printf("seed %" PRIu64 " at %.6f s: ", world.seed,
           (double)(world.now - 1000 * (uint64_t)SECOND) / SECOND);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
    _Exit(EXIT_FAILURE);
}
