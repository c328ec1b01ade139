/* The command line of the bench programs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_ENDPOINTS_MAX = 64, BENCH_CLIENTS_MAX = 65535 };

struct bench_options {
    const char *program;
    bool get; /* else put */
    char *endpoints_text;
    const char *endpoints[BENCH_ENDPOINTS_MAX];
    size_t endpoints_count;
    unsigned clients;
    double seconds;
    double warmup; /* seconds, not counted */
    size_t value_size;
    uint32_t keys;
    uint64_t seed;
    bool stale;
    bool json;
    bool leader; /* send everything to the leader's client address */
};

/*
 * Reads argv. Returns 0; -EINVAL after saying on standard error what is wrong; or 1 when help or
 * the version was asked for and shown.
 */
int bench_options_parse(struct bench_options *options, const char *program,
                        const char *default_endpoint, bool can_find_leader, int argc, char **argv);
void bench_options_deinit(struct bench_options *options);
