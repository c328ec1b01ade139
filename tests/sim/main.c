/*
 * raftkv-sim: whole nodes in virtual time, from a seed that replays. Each seed runs in a process of
 * its own, so that none leaves traces in the next, and a broken invariant ends one seed only.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <db.h>

#include "base/defect.h"
#include "base/journal.h"
#include "admin.h"
#include "clients.h"
#include "faults.h"
#include "machine.h"
#include "network.h"
#include "oracle.h"
#include "store/log.h"
#include "store/sync.h"

enum { SETTLE_S = 60 };

static struct {
    uint64_t first, last;
    unsigned minutes; /* of real time; 0: all seeds */
    unsigned jobs;
    unsigned seconds; /* of virtual time with faults */
    bool trace, quiet;
    const char *faults;
    bool first_failure; /* ends there, and that is the success */

} options = {.first = 1, .last = 1, .jobs = 1, .seconds = 60};

/* ---- one seed ---- */

static void journal_line(void *data, int priority, const char *message, const char *const *fields,
                         size_t count) {
    (void)data;
    (void)fields;
    (void)count;
    remark("journal <%d> %s", priority, message);
}

static int no_pause(u_long seconds, u_long microseconds) {
    (void)seconds;
    (void)microseconds;
    return 0;
}

static void on_signal(int number) {
    record_print_last();
    printf("the simulated code ended the process: %s\n", strsignal(number));
    fflush(stdout);
    signal(number, SIG_DFL);
    raise(number);
}

static void run_until(uint64_t time) {
    while (world_now() < time)
        must(world_step(), "nothing is left to happen");
}

static bool run_while(bool (*condition)(void), uint64_t time) {
    uint64_t end = world_now() + time;

    while (condition()) {
        if (world_now() > end)
            return false;
        must(world_step(), "nothing is left to happen");
    }
    return true;
}

static bool not_formed(void) {
    return !admin_formed();
}

static bool not_settled(void) {
    return !admin_settled();
}

static bool clients_busy(void) {
    return !clients_idle();
}

static bool last_write_done;

static bool not_written(void) {
    struct machine *leader = oracle_leader();
    static bool under_way;

    if (last_write_done)
        return false;
    if (leader && !under_way) {
        under_way = true;
        clients_write(leader, &last_write_done);
    }
    if (under_way && clients_idle() && !last_write_done)
        under_way = false;
    return !last_write_done;
}

static bool disagree(void) {
    return !oracle_agree();
}

static void begin(void) {
    bool large = chance_one_in(4); /* values; then the files of the log have to be too */
    struct clients_options clients = {
        .count = (unsigned)chance_between(1, 12),
        .keys = (unsigned)chance_between(1, 12),
        .pause = chance_latency(1 * MS, 2 * SECOND),
        .value_max = large ? 200 * 1024 : 8 * 1024,
    };

    bool compacts = !chance_one_in(3); /* and so followers are behind the log */

    oracle_init();
    if (compacts && chance_one_in(2))
        clients.keys = (unsigned)chance_between(1, MODEL_KEYS_MAX);
    machine_count = (unsigned)chance_between(3, MACHINES_MAX - 2);
    for (unsigned i = 1; i <= machine_count; i++) {
        machine_init(&machines[i], i);
        machines[i].bootstrap = i == 1;
        if (large)
            machines[i].log_file_size *= 8;
        if (compacts) {
            machines[i].snapshot_entries = chance_latency(5, 500);
            machines[i].trailing_entries = chance_latency(1, 300);
            machines[i].snapshot_chunk_bytes = chance_latency(50, 16 * 1024);
        }
        machine_start(&machines[i]);
    }
    admin_start(chance_one_in(10) ? 1 : 3, !chance_one_in(4));
    if (chance_one_in(2))
        must(run_while(not_formed, 60 * (uint64_t)SECOND), "the members can't be added");
    clients_start(&clients);
    faults_start();
}

/* Once faults have stopped, the cluster comes together within a bounded time. */
static void converge(void) {
    const uint64_t limit = SETTLE_S * (uint64_t)SECOND;

    faults_stop();
    admin_stop();
    must(run_while(not_settled, limit), "members can't be changed after all faults have stopped");
    clients_stop();
    must(run_while(clients_busy, limit), "requests stay without an answer");
    must(run_while(not_written, limit), "no write succeeds after all faults have stopped");
    must(run_while(disagree, limit), "the nodes do not come to the same state");
    clients_check();
}

static void run_seed(uint64_t seed) {
    const struct clients_figures *clients = clients_figures();
    const struct faults_figures *faults = faults_figures();
    uint64_t crashes = 0;

    world_init(seed, options.trace);
    journal_set_sink(journal_line, NULL);
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    store_sync_init();
    db_env_set_func_yield(no_pause);
    begin();
    run_until(world_now() + options.seconds * (uint64_t)SECOND);
    converge();
    for (unsigned i = 1; i <= machine_count; i++)
        crashes += machines[i].crashes;
    if (!options.quiet)
        printf("seed %" PRIu64 ": %" PRIu64 " events, %" PRIu64 " messages, %" PRIu64
               " entries, %" PRIu64 " acknowledged, %" PRIu64 " refused, %" PRIu64
               " unknown, %" PRIu64 " reads, %" PRIu64
               " crashes, %lu partitions, %lu changes, %lu wiped disks, %lu cuts of logs, %lu "
               "installs\n",
               seed, world_event_count(), network_messages(), oracle_committed(),
               clients->acknowledged, clients->refused, clients->unknown, clients->reads, crashes,
               faults->partitions, admin_figures()->done, admin_figures()->wiped,
               oracle_figures()->cuts, oracle_figures()->installs);
    printf("hash: %016" PRIx64 "\n", record_hash());
    fflush(stdout);
    _Exit(EXIT_SUCCESS);
}

/* ---- deliberate defects (base/defect.h) ---- */

#ifdef RAFTKV_DEFECTS
enum defect defect_chosen;

static const char *const defect_names[DEFECT_COUNT] = {
    [DEFECT_ACKNOWLEDGE_BEFORE_FLUSH] = "acknowledge-before-flush",
    [DEFECT_VOTE_NOT_SYNCED] = "vote-not-synced",
    [DEFECT_STALE_READ] = "stale-read",
    [DEFECT_APPLY_ABOVE_DURABLE] = "apply-above-durable",
    [DEFECT_SKIP_BARRIER] = "skip-barrier",
    [DEFECT_CHANGE_IN_THE_MIDDLE] = "change-in-the-middle",
    [DEFECT_WIPED_UNDER_OLD_ID] = "wiped-under-old-id",
    [DEFECT_LOST_TRUNCATE] = "lost-truncate",
    [DEFECT_TORN_TAIL_ACCEPTED] = "torn-tail-accepted",
    [DEFECT_REMOVED_COUNTS] = "removed-counts",
    [DEFECT_WRITE_SENT_TWICE] = "write-sent-twice",
    [DEFECT_LOST_SECOND_CHANGE] = "lost-second-change",
    [DEFECT_REPLACED_MEMBER_LOCKED_OUT] = "replaced-member-locked-out",
    [DEFECT_SWITCH_NOT_ATOMIC] = "switch-not-atomic",
    [DEFECT_NOTHING_KEPT_ASIDE] = "nothing-kept-aside",
    [DEFECT_CUT_BEFORE_FLUSH] = "cut-before-flush",
    [DEFECT_LOG_NOT_RESET] = "log-not-reset",
    [DEFECT_CUT_UNDER_STREAM] = "cut-under-stream",
};

static bool choose_defect(const char *name) {
    for (int i = NO_DEFECT + 1; i < DEFECT_COUNT; i++)
        if (strcmp(defect_names[i], name) == 0) {
            defect_chosen = (enum defect)i;
            return true;
        }
    for (int i = NO_DEFECT + 1; i < DEFECT_COUNT; i++)
        fprintf(stderr, "%s\n", defect_names[i]);
    return false;
}
#else
static bool choose_defect(const char *name) {
    fprintf(stderr, "The defect %s is not built in; raftkv-sim-defects has it.\n", name);
    return false;
}
#endif

/* ---- many ---- */

/* In bytes that lie in the same place in every run. */
static uint64_t real_seconds(void) {
    struct timespec now;

    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

static int wait_for_one(pid_t *running, uint64_t *seeds, unsigned *count) {
    int status, failed;
    pid_t pid = wait(&status);

    for (unsigned i = 0; i < *count; i++) {
        if (running[i] != pid)
            continue;
        failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        if (failed) {
            printf("FAILED: seed %" PRIu64 "; replay: raftkv-sim --seed=%" PRIu64
                   " --seconds=%u%s%s\n",
                   seeds[i], seeds[i], options.seconds, options.faults ? " --faults=" : "",
                   options.faults ? options.faults : "");
            fflush(stdout);
        }
        running[i] = running[--*count];
        seeds[i] = seeds[*count];
        return failed;
    }
    return 0;
}

static int run_all(void) {
    uint64_t begun = real_seconds(), done = 0, failures = 0, seed;
    pid_t running[64];
    uint64_t seeds[64];
    unsigned count = 0;

    for (seed = options.first; seed <= options.last; seed++) {
        if (options.first_failure && failures > 0)
            break;
        if (options.minutes && real_seconds() - begun >= options.minutes * 60u)
            break;
        fflush(stdout);
        seeds[count] = seed;
        running[count] = fork();
        if (running[count] == 0)
            run_seed(seed);
        if (running[count] < 0) {
            perror("fork");
            return EXIT_FAILURE;
        }
        done++;
        if (++count == options.jobs)
            failures += (uint64_t)wait_for_one(running, seeds, &count);
    }
    while (count > 0)
        failures += (uint64_t)wait_for_one(running, seeds, &count);
    if (options.last > options.first)
        printf("%" PRIu64 " seeds from %" PRIu64 " on, %" PRIu64 " failed, %" PRIu64 " s\n", done,
               options.first, failures, real_seconds() - begun);
    return (failures > 0) == options.first_failure ? EXIT_SUCCESS : EXIT_FAILURE;
}

static _Noreturn void usage(void) {
    fputs("raftkv-sim [--seed=N | --seeds=A..B] [--minutes=M] [--seconds=S] [--jobs=J] [--trace] "
          "[--quiet] [--faults=KIND,...] [--defect=NAME --until-found]\n",
          stderr);
    exit(2);
}

static void take_option(int option) {
    switch (option) {
    case 's':
        options.first = options.last = strtoull(optarg, NULL, 10);
        break;
    case 'r':
        if (sscanf(optarg, "%" SCNu64 "..%" SCNu64, &options.first, &options.last) != 2)
            usage();
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
            usage();
        break;
    case 't':
        options.trace = true;
        break;
    case 'q':
        options.quiet = true;
        break;
    case 'x':
        if (!choose_defect(optarg))
            exit(2);
        break;
    case 'k':
        if (!faults_choose(optarg))
            usage();
        options.faults = optarg;
        break;
    case 'f':
        options.first_failure = true;
        break;
    default:
        usage();
    }
}

int main(int argc, char **argv) {
    static const struct option longs[] = {
        {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 'r'},
        {"minutes", required_argument, NULL, 'm'},
        {"seconds", required_argument, NULL, 'd'},
        {"jobs", required_argument, NULL, 'j'},
        {"trace", no_argument, NULL, 't'},
        {"quiet", no_argument, NULL, 'q'},
        {"defect", required_argument, NULL, 'x'},
        {"faults", required_argument, NULL, 'k'},
        {"until-found", no_argument, NULL, 'f'},
        {0},
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
