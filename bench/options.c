#include "bench/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/version.h"

enum {
    OPTION_ENDPOINTS = 256,
    OPTION_CLIENTS,
    OPTION_SECONDS,
    OPTION_WARMUP,
    OPTION_VALUE_SIZE,
    OPTION_KEYS,
    OPTION_SEED,
    OPTION_CONSISTENCY,
    OPTION_OUTPUT,
    OPTION_LEADER,
    OPTION_HELP,
    OPTION_VERSION,
};

static int wrong(const struct bench_options *options, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int wrong(const struct bench_options *options, const char *format, ...) {
    va_list list;

    va_start(list, format);
    fprintf(stderr, "%s: ", options->program);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    return -EINVAL;
}

static int parse_number(const struct bench_options *options, const char *name, const char *text,
                        uint64_t min, uint64_t max, uint64_t *ret) {
    char *end;
    unsigned long long number;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || number < min || number > max)
        return wrong(options, "--%s takes a whole number from %llu to %llu, not \"%s\".", name,
                     (unsigned long long)min, (unsigned long long)max, text);
    *ret = number;
    return 0;
}

static int parse_seconds(const struct bench_options *options, const char *name, const char *text,
                         double min, double *ret) {
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end || !(seconds >= min && seconds <= 86400))
        return wrong(options, "--%s takes seconds from %g to 86400, not \"%s\".", name, min, text);
    *ret = seconds;
    return 0;
}

/* One of two words. */
static int parse_choice(const struct bench_options *options, const char *name, const char *text,
                        const char *no, const char *yes, bool *ret) {
    *ret = strcmp(text, yes) == 0;
    if (!*ret && strcmp(text, no) != 0)
        return wrong(options, "--%s takes %s or %s, not \"%s\".", name, no, yes, text);
    return 0;
}

static int parse_endpoints(struct bench_options *options, const char *text) {
    char *rest;

    free(options->endpoints_text);
    options->endpoints_text = rest = xstrdup(text);
    options->endpoints_count = 0;
    while (rest) {
        char *endpoint = strsep(&rest, ",");

        if (!address_valid(endpoint))
            return wrong(options, "\"%s\" in the endpoints is not HOST:PORT.", endpoint);
        if (options->endpoints_count == BENCH_ENDPOINTS_MAX)
            return wrong(options, "there are more than %d endpoints.", BENCH_ENDPOINTS_MAX);
        options->endpoints[options->endpoints_count++] = endpoint;
    }
    return 0;
}

static int take_option(struct bench_options *options, int option, const char *value) {
    uint64_t number = 0;
    int r;

    switch (option) {
    case OPTION_ENDPOINTS:
        return parse_endpoints(options, value);
    case OPTION_CLIENTS:
        r = parse_number(options, "clients", value, 1, BENCH_CLIENTS_MAX, &number);
        options->clients = (unsigned)number;
        return r;
    case OPTION_SECONDS:
        return parse_seconds(options, "seconds", value, 0.1, &options->seconds);
    case OPTION_WARMUP:
        return parse_seconds(options, "warmup", value, 0, &options->warmup);
    case OPTION_VALUE_SIZE:
        r = parse_number(options, "value-size", value, 0, VALUE_SIZE_MAX, &number);
        options->value_size = number;
        return r;
    case OPTION_KEYS:
        r = parse_number(options, "keys", value, 1, UINT32_MAX, &number);
        options->keys = (uint32_t)number;
        return r;
    case OPTION_SEED:
        return parse_number(options, "seed", value, 0, UINT64_MAX, &options->seed);
    case OPTION_CONSISTENCY:
        return parse_choice(options, "consistency", value, "linearizable", "stale",
                            &options->stale);
    case OPTION_OUTPUT:
        return parse_choice(options, "output", value, "table", "json", &options->json);
    case OPTION_LEADER:
        options->leader = true;
        return 0;
    default:
        return -EINVAL; /* unknown: getopt has said so */
    }
}

static void print_help(const struct bench_options *options, const char *default_endpoint,
                       bool can_find_leader) {
    printf("Usage: %s put|get [OPTION...]\n\n"
           "Measures how many writes or reads a cluster answers, and how fast. Each client has one "
           "request\nunder way; up to 100 have a connection each, more share those. Before get the "
           "keys are written.\n\n"
           "  --endpoints=HOST:PORT,...   Nodes, over which the clients are spread (%s)\n",
           options->program, default_endpoint);
    if (can_find_leader)
        puts("  --leader                    Ask them for the leader and send everything to it");
    puts("  --clients=NUMBER            Clients at the same time (1)\n"
         "  --seconds=SECONDS           How long to measure (10)\n"
         "  --warmup=SECONDS            How long to run before that (1)\n"
         "  --value-size=BYTES          Size of the values (256)\n"
         "  --keys=NUMBER               Distinct keys, chosen at random (100000)\n"
         "  --seed=NUMBER               What the choice begins with (1)\n"
         "  --consistency=WORD          Of reads: linearizable (the default) or stale\n"
         "  --output=FORMAT             table (the default) or json: one object, whose first "
         "member is\n"
         "                              throughput, operations a second\n"
         "  --help, --version\n\n"
         "Exit status: 0; 1 when not a single operation succeeded; 2 for wrong usage.");
}

static int take_operation(struct bench_options *options, int count, char **words) {
    if (count != 1)
        return wrong(options, "say put or get.");
    return parse_choice(options, "operation", words[0], "put", "get", &options->get);
}

int bench_options_parse(struct bench_options *options, const char *program,
                        const char *default_endpoint, bool can_find_leader, int argc, char **argv) {
    const struct option list[] = {
        {"endpoints", required_argument, NULL, OPTION_ENDPOINTS},
        {"clients", required_argument, NULL, OPTION_CLIENTS},
        {"seconds", required_argument, NULL, OPTION_SECONDS},
        {"warmup", required_argument, NULL, OPTION_WARMUP},
        {"value-size", required_argument, NULL, OPTION_VALUE_SIZE},
        {"keys", required_argument, NULL, OPTION_KEYS},
        {"seed", required_argument, NULL, OPTION_SEED},
        {"consistency", required_argument, NULL, OPTION_CONSISTENCY},
        {"output", required_argument, NULL, OPTION_OUTPUT},
        {"help", no_argument, NULL, OPTION_HELP},
        {"version", no_argument, NULL, OPTION_VERSION},
        {can_find_leader ? "leader" : NULL, no_argument, NULL, OPTION_LEADER},
        {0},
    };
    int c;

    *options = (struct bench_options){.program = program,
                                      .clients = 1,
                                      .seconds = 10,
                                      .warmup = 1,
                                      .value_size = 256,
                                      .keys = 100000,
                                      .seed = 1};
    while ((c = getopt_long(argc, argv, "h", list, NULL)) != -1) {
        if (c == OPTION_HELP || c == 'h') {
            print_help(options, default_endpoint, can_find_leader);
            return 1;
        }
        if (c == OPTION_VERSION) {
            printf("%s %s\n", program, raftkv_version);
            return 1;
        }
        if (take_option(options, c, optarg) < 0)
            return -EINVAL;
    }
    if (options->endpoints_count == 0 && parse_endpoints(options, default_endpoint) < 0)
        return -EINVAL;
    return take_operation(options, argc - optind, argv + optind);
}

void bench_options_deinit(struct bench_options *options) {
    free(options->endpoints_text);
    *options = (struct bench_options){0};
}
