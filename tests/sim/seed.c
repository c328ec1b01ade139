#include "seed.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <db.h>

#include "admin.h"
#include "base/journal.h"
#include "clients.h"
#include "faults.h"
#include "machine.h"
#include "network.h"
#include "oracle.h"
#include "store/log.h"
#include "store/sync.h"
#include "strays.h"

enum { SETTLE_S = 60 };

static void journal_line(void *data, int priority, const char *message, const char *const *fields,
                         size_t count) {
    (void)data;
    (void)fields;
    (void)count;
    remark("journal <%d> %s", priority, message);
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

/* One by one the others come later, if at all. */
static unsigned first_voters(void) {
    if (chance_one_in(10))
        return 1;
    return 3 + 2 * (unsigned)chance_below((machine_count - 3) / 2 + 1);
}

static void begin(void) {
    /* Values; then the files of the log have to be too. */
    bool large = chance_one_in(4) && !faults_want_cuts();
    struct clients_options clients = {
        .count = (unsigned)chance_between(1, 12),
        .keys = (unsigned)chance_between(1, 12),
        .pause = chance_latency(1 * MS, 2 * SECOND),
        .value_max = large ? 200 * 1024 : 8 * 1024,
    };

    /* Silent voters lose their places to non-voters. */
    unsigned voters = chance_one_in(2) ? (unsigned)chance_between(1, 4) : 0;
    uint64_t silence = chance_latency(300, 5000);            /* ms */
    bool compacts = !chance_one_in(3) || faults_want_cuts(); /* followers are behind the log */
    bool joins = chance_one_in(3);
    enum join_policy allow_join = joins ? (enum join_policy)chance_below(JOIN_VOTER + 1) : JOIN_ASK;

    oracle_init();
    if (compacts && chance_one_in(2))
        clients.keys = (unsigned)chance_between(1, MODEL_KEYS_MAX);
    machine_count = (unsigned)(chance_one_in(2) ? 3 : chance_between(3, MACHINES_MAX));
    for (unsigned i = 1; i <= machine_count; i++) {
        machine_init(&machines[i], i);
        machines[i].bootstrap = i == 1;
        if (large)
            machines[i].log_file_size *= 32;
        if (compacts) {
            machines[i].snapshot_entries = chance_latency(5, 500);
            machines[i].trailing_entries = chance_latency(1, 300);
            machines[i].snapshot_chunk_bytes = chance_latency(50, 16 * 1024);
        }
        if (chance_one_in(2))
            machines[i].checkpoint_bytes = chance_latency(16 * 1024, 1024 * 1024);
        machines[i].auto_promote_voters = voters;
        machines[i].auto_promote_after = silence;
        machines[i].joins = joins;
        machines[i].allow_join = allow_join;
    }
    for (unsigned i = 1; i <= machine_count; i++)
        machine_start(&machines[i]);
    admin_start(first_voters(), !chance_one_in(4));
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

static void gather(struct figures *ret) {
    const struct clients_figures *clients = clients_figures();
    const struct network_figures *network = network_figures();
    const struct faults_figures *faults = faults_figures();
    const struct oracle_figures *oracle = oracle_figures();

    *ret = (struct figures){
        .count =
            {
                [FIGURE_EVENTS] = world_event_count(),
                [FIGURE_MESSAGES] = network->messages,
                [FIGURE_ENTRIES] = oracle_committed(),
                [FIGURE_ACKNOWLEDGED] = clients->acknowledged,
                [FIGURE_REFUSED] = clients->refused,
                [FIGURE_UNKNOWN] = clients->unknown,
                [FIGURE_READS] = clients->reads,
                [FIGURE_PARTITIONS] = faults->partitions,
                [FIGURE_PAUSES] = faults->pauses,
                [FIGURE_CLOCKS] = faults->jumps + faults->drifts,
                [FIGURE_DAMAGED] = network->damaged,
                [FIGURE_STRAYS] = strays_count(),
                [FIGURE_FULL] = faults->full,
                [FIGURE_CHANGES] = admin_figures()->done,
                [FIGURE_ANNOUNCEMENTS] = network->announcements,
                [FIGURE_ACCEPTED] = admin_figures()->accepted,
                [FIGURE_WIPES] = admin_figures()->wiped,
                [FIGURE_MOVES] = faults->moves,
                [FIGURE_STOPS] = faults->stops,
                [FIGURE_CUTS] = oracle->cuts,
                [FIGURE_INSTALLS] = oracle->installs,
                [FIGURE_CHECKPOINTS] = oracle->checkpoints,
            },
    };
    for (unsigned i = 1; i <= machine_count; i++) {
        const struct disk_figures *disk = disk_figures(machines[i].disk);

        ret->count[FIGURE_CRASHES] += machines[i].crashes;
        ret->count[FIGURE_SHORT_WRITES] += disk->short_writes;
        ret->count[FIGURE_FAILED] += disk->failures;
    }
}

void seed_run(uint64_t seed, unsigned seconds, bool trace, struct figures *ret) {
    uint64_t begun;

    world_init(seed, trace);
    begun = world_now();
    journal_set_sink(journal_line, NULL, "console");
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    store_sync_init();
    db_env_set_func_yield(store_work_in_pause);
    begin();
    run_until(world_now() + seconds * (uint64_t)SECOND);
    converge();
    gather(ret);
    ret->count[FIGURE_SECONDS] = (world_now() - begun) / SECOND;
}
