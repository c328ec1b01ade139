/*
 * raftkv-sim: whole nodes in virtual time, from a seed that replays. Each seed runs in a process of
 * its own, so that none leaves traces in the next, and a broken invariant ends one seed only.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "defects.h"
#include "faults.h"
#include "figures.h"
#include "seed.h"
#include "world.h"

static struct {
    uint64_t first, last;
    unsigned minutes; /* of real time; 0: all seeds */
    unsigned jobs;
    unsigned seconds; /* of virtual time with faults */
    bool trace, quiet;
    const char *faults;
    const char *defect;
    bool first_failure; /* ends there, and that is the success */
} options = {.first = 1, .last = 1, .jobs = 1, .seconds = 60};

static struct figures *sum; /* of the seeds that found nothing */
static uint64_t *failed;    /* seeds */
static size_t failed_count;

/* In bytes that lie in the same place in every run. */
static uint64_t real_seconds(void) {
    struct timespec now;

    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

static _Noreturn void run(uint64_t seed) {
    struct figures figures;

    /* A seed is short: giving memory back and getting it anew costs more than it does. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    seed_run(seed, options.seconds, options.trace, &figures);
    figures_add(sum, &figures);
    if (!options.quiet) {
        printf("seed %" PRIu64 ": ", seed);
        figures_print(&figures);
        printf("\nhash: %016" PRIx64 "\n", record_hash());
    } else if (options.first == options.last) {
        printf("hash: %016" PRIx64 "\n", record_hash());
    }
    fflush(stdout);
    _Exit(EXIT_SUCCESS);
}

static void print_failed(uint64_t seed) {
    printf("FAILED: seed %" PRIu64 "; replay: raftkv-sim%s --seed=%" PRIu64 " --seconds=%u", seed,
           options.defect ? "-defects" : "", seed, options.seconds);
    if (options.faults)
        printf(" --faults=%s", options.faults);
    if (options.defect)
        printf(" --defect=%s", options.defect);
    printf("\n");
    fflush(stdout);
}

static void wait_for_one(pid_t *running, uint64_t *seeds, unsigned *count) {
    int status;
    pid_t pid = wait(&status);

    for (unsigned i = 0; i < *count; i++) {
        if (running[i] != pid)
            continue;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            print_failed(seeds[i]);
            failed = xrealloc(failed, (failed_count + 1) * sizeof *failed);
            failed[failed_count++] = seeds[i];
        }
        running[i] = running[--*count];
        seeds[i] = seeds[*count];
        return;
    }
}

/* What a run is remembered by. */
static void summarise(uint64_t seeds, uint64_t seconds) {
    printf("%" PRIu64 " seeds from %" PRIu64 " on, %zu failed, %" PRIu64 " s; the others: ", seeds,
           options.first, failed_count, seconds);
    figures_print(sum);
    printf("\n");
    for (size_t i = 0; i < failed_count; i++)
        print_failed(failed[i]);
}

static int run_all(void) {
    uint64_t begun = real_seconds(), done = 0, seed;
    pid_t running[64];
    uint64_t seeds[64];
    unsigned count = 0;

    sum = figures_share();
    for (seed = options.first; seed <= options.last; seed++) {
        if (options.first_failure && failed_count > 0)
            break;
        if (options.minutes && real_seconds() - begun >= options.minutes * 60u)
            break;
        fflush(stdout);
        seeds[count] = seed;
        running[count] = fork();
        if (running[count] == 0)
            run(seed);
        if (running[count] < 0) {
            perror("fork");
            return EXIT_FAILURE;
        }
        done++;
        if (++count == options.jobs)
            wait_for_one(running, seeds, &count);
    }
    while (count > 0)
        wait_for_one(running, seeds, &count);
    if (options.last > options.first)
        summarise(done, real_seconds() - begun);
    return (failed_count > 0) == options.first_failure ? EXIT_SUCCESS : EXIT_FAILURE;
}

static _Noreturn void usage(FILE *file, int status) {
    fputs("raftkv-sim [--seed=N | --seeds=A..B] [--minutes=M] [--seconds=S] [--jobs=J] [--trace] "
          "[--quiet] [--faults=KIND,...] [--defect=NAME] [--until-found]\n"
          "Kinds of faults: ",
          file);
    faults_print_kinds(file);
    fputs("\n", file);
    exit(status);
}

static void take_option(int option) {
    switch (option) {
    case 's':
        options.first = options.last = strtoull(optarg, NULL, 10);
        break;
    case 'r':
        if (sscanf(optarg, "%" SCNu64 "..%" SCNu64, &options.first, &options.last) != 2)
            usage(stderr, 2);
        break;
    case 'm':
        options.minutes = (unsigned)strtoul(optarg, NULL, 10);
        break;
    case 'd':
        options.seconds = (unsigned)strtoul(optarg, NULL, 10);
        break;
    case 'j':
        options.jobs = (unsigned)strtoul(optarg, NULL, 10);
        if (options.jobs < 1 || options.jobs > 64)
            usage(stderr, 2);
        break;
    case 't':
        options.trace = true;
        break;
    case 'q':
        options.quiet = true;
        break;
    case 'x':
        if (!defects_choose(optarg))
            exit(2);
        options.defect = optarg;
        break;
    case 'k':
        if (!faults_choose(optarg))
            usage(stderr, 2);
        options.faults = optarg;
        break;
    case 'f':
        options.first_failure = true;
        break;
    case 'h':
        usage(stdout, EXIT_SUCCESS);
    default:
        usage(stderr, 2);
    }
}

int main(int argc, char **argv) {
    static const struct option longs[] = {
        {"seed", required_argument, NULL, 's'},    {"seeds", required_argument, NULL, 'r'},
        {"minutes", required_argument, NULL, 'm'}, {"seconds", required_argument, NULL, 'd'},
        {"jobs", required_argument, NULL, 'j'},    {"trace", no_argument, NULL, 't'},
        {"quiet", no_argument, NULL, 'q'},         {"defect", required_argument, NULL, 'x'},
        {"faults", required_argument, NULL, 'k'},  {"until-found", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},          {0},
    };
    int current = personality(0xffffffff), option;

    /* Berkeley DB orders some of its work by address. */
    if (current >= 0 && !(current & ADDR_NO_RANDOMIZE) &&
        personality((unsigned long)current | ADDR_NO_RANDOMIZE) >= 0)
        execv("/proc/self/exe", argv);
    while ((option = getopt_long(argc, argv, "", longs, NULL)) >= 0)
        take_option(option);
    return run_all();
}
