/*
 * world: virtual time, chance from one seed, the queue of what is to happen, and the record of what
 * did: a hash over all of it, and the last events for whoever has to understand a failure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MS = 1000, SECOND = 1000 * 1000 }; /* virtual time counts microseconds */

void world_init(uint64_t seed, bool trace);

uint64_t world_now(void);

/* ---- chance ---- */

uint64_t chance(void);
/* From 0 to limit - 1. */
uint64_t chance_below(uint64_t limit);
/* From low to high, both included. */
uint64_t chance_between(uint64_t low, uint64_t high);
/* True once in `n` times. */
bool chance_one_in(uint64_t n);
/* Mostly near low, now and then far above: latencies. */
uint64_t chance_latency(uint64_t low, uint64_t high);

/* ---- events ---- */

/* What happens at a time. Embed it; it must stay where it is until it has happened. */
struct happening {
    uint64_t time;
    uint64_t order; /* of those at the same time */
    void (*happen)(struct happening *happening);
};

void world_at(uint64_t time, struct happening *happening,
              void (*happen)(struct happening *happening));
static inline void world_after(uint64_t delay, struct happening *happening,
                               void (*happen)(struct happening *happening)) {
    world_at(world_now() + delay, happening, happen);
}
/* Lets the next event happen; false: there is none. */
bool world_step(void);
uint64_t world_event_count(void);

/* ---- the record ---- */

/* One logical event. Everything that is said here goes into the hash. */
void record(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Only for the reader. */
void remark(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t record_hash(void);
/* Ends the process: the seed has found something. */
_Noreturn void world_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void record_print_last(void);

#define must(condition, ...)         \
    do {                             \
        if (!(condition))            \
            world_fail(__VA_ARGS__); \
    } while (0)
