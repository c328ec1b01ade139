#include "machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "admin.h"
#include "clients.h"
#include "faults.h"
#include "network.h"
#include "node/node_internal.h"
#include "oracle.h"
#include "raft/member_internal.h"

struct machine machines[MACHINES_MAX + 1];
unsigned machine_count;

static struct machine *machine_of(struct host *host) {
    return container_of(host, struct machine, host);
}

bool machine_up(const struct machine *machine) {
    return machine->node && !machine->ghost && !machine_paused(machine);
}

struct machine *machine_of_address(const char *address) {
    for (unsigned i = 1; i <= machine_count; i++)
        if (strcmp(machines[i].address, address) == 0)
            return &machines[i];
    return NULL;
}

/* ---- time and chance ---- */

static uint64_t clock_now(const struct clock *clock) {
    return clock->then + (world_now() - clock->since) * clock->per_mille / 1000;
}

/* When the clock will say so. */
static uint64_t clock_reaches(const struct clock *clock, uint64_t time) {
    uint64_t now = clock_now(clock);

    return time <= now
               ? world_now()
               : world_now() + ((time - now) * 1000 + clock->per_mille - 1) / clock->per_mille;
}

static void clock_set(struct clock *clock, uint64_t time, unsigned per_mille) {
    *clock = (struct clock){.since = world_now(), .then = time, .per_mille = per_mille};
}

uint64_t machine_clock(const struct machine *machine) {
    return clock_now(&machine->clock) / MS + machine->ghost_time;
}

uint64_t machine_clock_reaches(const struct machine *machine, uint64_t milliseconds) {
    return clock_reaches(&machine->clock, milliseconds * MS);
}

static uint64_t host_now(struct host *host) {
    return machine_clock(machine_of(host));
}

static uint64_t host_microseconds(struct host *host) {
    return host_now(host) * 1000;
}

static uint64_t host_random(struct host *host) {
    (void)host;
    return chance();
}

struct waking {
    struct happening happening;
    struct machine *machine;
    uint64_t life;
};

static void schedule_waking(struct machine *machine, uint64_t time);

static void wake(struct happening *happening) {
    struct waking *waking = container_of(happening, struct waking, happening);
    struct machine *machine = waking->machine;
    bool current = waking->life == machine->life && happening->time == machine->wake_scheduled;

    if (current && machine_paused(machine)) {
        machine->wake_scheduled = machine->paused_until;
        world_at(machine->paused_until, happening, wake);
        return;
    }
    free(waking);
    if (!current)
        return;
    machine->wake_scheduled = UINT64_MAX;
    if (machine->wake_time > machine_clock(machine)) {
        schedule_waking(machine, machine->wake_time);
        return;
    }
    if (machine->woken_ms != world_now() / MS) {
        machine->woken_ms = world_now() / MS;
        machine->woken = 0;
    }
    must(++machine->woken < 200, "%s spins: it wants to be woken in the past", machine->name);
    machine->wake_time = UINT64_MAX;
    node_tick(machine->node);
    machine_turn(machine);
}

static void schedule_waking(struct machine *machine, uint64_t time) {
    struct waking *waking;
    uint64_t at;

    if (time == UINT64_MAX)
        return;
    at = time <= machine_clock(machine) ? world_now() + 1 : machine_clock_reaches(machine, time);
    if (at >= machine->wake_scheduled)
        return;
    waking = xcalloc(1, sizeof *waking);
    waking->machine = machine;
    waking->life = machine->life;
    machine->wake_scheduled = at;
    world_at(at, &waking->happening, wake);
}

static void host_wake_at(struct host *host, uint64_t time) {
    struct machine *machine = machine_of(host);

    machine->wake_time = time;
    if (!machine->ghost)
        schedule_waking(machine, time);
}

static void host_fatal(struct host *host, const char *reason) {
    struct machine *machine = machine_of(host);

    if (machine->ghost)
        return;
    record("%s ends", machine->name);
    remark("%s", reason); /* may name an address */
    oracle_fatal(machine, reason);
    machine->dying_of = "fatal";
}

/* ---- lanes ---- */

struct lane_turn {
    struct happening happening;
    struct machine *machine;
    uint64_t life;
    enum lane lane;
};

static void schedule_lane(struct machine *machine, enum lane lane, uint64_t delay,
                          void (*happen)(struct happening *happening)) {
    struct lane_turn *turn = xcalloc(1, sizeof *turn);

    turn->machine = machine;
    turn->life = machine->life;
    turn->lane = lane;
    world_after(delay, &turn->happening, happen);
}

static struct job *take_job(struct lane_queue *lane) {
    struct job *job = lane->first;

    if (!job)
        return NULL;
    lane->first = job->next;
    if (!lane->first)
        lane->last = &lane->first;
    job->next = NULL;
    return job;
}

static void note_disk_trouble(struct machine *machine) {
    const struct disk_faults *faults = disk_faults(machine->disk);

    machine->disk_trouble |=
        faults->log_full || faults->state_full || faults->write_failed || faults->read_failed;
}

static void lane_done(struct happening *happening);

static void lane_run(struct happening *happening) {
    struct lane_turn *turn = container_of(happening, struct lane_turn, happening);
    struct machine *machine = turn->machine;
    struct lane_queue *lane = &machine->lanes[turn->lane];
    enum lane number = turn->lane;
    bool current = turn->life == machine->life;

    if (current && machine_paused(machine)) {
        world_at(machine->paused_until, happening, lane_run);
        return;
    }
    free(turn);
    if (!current)
        return;
    lane->running = take_job(lane);
    faults_before(machine, lane->running);
    lane->running->run(lane->running);
    note_disk_trouble(machine);
    if (disk_crashed(machine->disk)) {
        machine_crash(machine,
                      disk_faults(machine->disk)->sync_failed ? "a failed sync" : "a write");
        return;
    }
    oracle_ran(machine, lane->running);
    schedule_lane(machine, number, chance_latency(lane->latency_low, lane->latency_high),
                  lane_done);
}

static void lane_next(struct machine *machine, enum lane number) {
    struct lane_queue *lane = &machine->lanes[number];

    if (lane->busy || !lane->first || machine->ghost)
        return;
    lane->busy = true;
    schedule_lane(machine, number, chance_between(1, 60), lane_run);
}

static void lane_done(struct happening *happening) {
    struct lane_turn *turn = container_of(happening, struct lane_turn, happening);
    struct machine *machine = turn->machine;
    struct lane_queue *lane = &machine->lanes[turn->lane];
    enum lane number = turn->lane;
    bool current = turn->life == machine->life;
    struct job *job;

    if (current && machine_paused(machine)) {
        world_at(machine->paused_until, happening, lane_done);
        return;
    }
    free(turn);
    if (!current)
        return;
    lane->busy = false;
    job = TAKE(lane->running);
    job->done(job);
    lane_next(machine, number);
    machine_turn(machine);
}

static void host_submit(struct host *host, enum lane number, struct job *job) {
    struct machine *machine = machine_of(host);
    struct lane_queue *lane = &machine->lanes[number];

    job->next = NULL;
    *lane->last = job;
    lane->last = &job->next;
    lane_next(machine, number);
}

static void reset_lanes(struct machine *machine) {
    for (int i = 0; i < LANE_COUNT; i++) {
        struct lane_queue *lane = &machine->lanes[i];

        check(!lane->first && !lane->running);
        lane->last = &lane->first;
        lane->busy = false;
    }
}

/* ---- life ---- */

static void set_addresses(struct machine *machine) {
    unsigned host = machine->number, port = 4711 + 2 * (unsigned)machine->moves;

    snprintf(machine->client_address, sizeof machine->client_address, "10.0.0.%u:%u", host, port);
    snprintf(machine->address, sizeof machine->address, "10.0.0.%u:%u", host, port + 1);
}

void machine_init(struct machine *machine, unsigned number) {
    *machine = (struct machine){
        .number = number,
        .wake_scheduled = UINT64_MAX,
        .host = {.data = machine,
                 .now = host_now,
                 .microseconds = host_microseconds,
                 .random = host_random,
                 .submit = host_submit,
                 .wake_at = host_wake_at,
                 .fatal = host_fatal},
        .disk = disk_new(number),
        .clock = {.since = world_now(), .then = world_now(), .per_mille = 1000},
        .log_file_size = 16384u << chance_below(6),
        .log_batch_bytes = chance_one_in(2) ? chance_latency(50, 4096) : 0,
        .state_log_size = 65536u << chance_below(4),
    };
    snprintf(machine->name, sizeof machine->name, "n%u", number);
    set_addresses(machine);
    snprintf(machine->directory, sizeof machine->directory, DISK_PREFIX "%u/data", number);
    network_attach(&machine->host);
    reset_lanes(machine);
    machine->lanes[LANE_LOG].latency_low = 100;
    machine->lanes[LANE_LOG].latency_high = 20 * MS;
    machine->lanes[LANE_STATE].latency_low = 20;
    machine->lanes[LANE_STATE].latency_high = 5 * MS;
    machine->lanes[LANE_BACKGROUND].latency_low = 1 * MS;
    machine->lanes[LANE_BACKGROUND].latency_high = 500 * MS;
}

/* Brings everything that is under way to its end, without effect. */
static void drain(struct machine *machine) {
    for (bool busy = true; busy;) {
        busy = false;
        for (int i = 0; i < LANE_COUNT; i++) {
            struct lane_queue *lane = &machine->lanes[i];
            struct job *job = TAKE(lane->running);

            if (!job && (job = take_job(lane)))
                job->run(job);
            if (!job)
                continue;
            busy = true;
            job->done(job);
        }
    }
}

/* What has failed for good is never reported as done: a real process ends without closing. */
static void forget_work(struct node *node) {
    struct member *member = node->member;

    member->write_under_way = member->applying = member->loading_for_apply = false;
    member->installing = false;
    for (size_t i = 0; i < member->sender_count; i++)
        member->senders[i].loading = false;
    node->compaction.under_way = node->checkpoint.under_way = false;
    node->install.under_way = node->space.under_way = false;
}

static void bury(struct machine *machine) {
    struct disk_faults *faults = disk_faults(machine->disk);
    bool log_full = faults->log_full, state_full = faults->state_full;

    network_drop(machine);
    clients_lose(machine);
    admin_lose(machine);
    faults->log_full = faults->state_full = false;
    network_fail_askings(machine);
    drain(machine);
    /* A write that waits for space comes when it is asked again. */
    for (int i = 0; i < 10 && storage_busy(machine->node); i++) {
        machine->ghost_time += 4000 * 1000;
        node_tick(machine->node);
        drain(machine);
    }
    forget_work(machine->node);
    machine->node = node_close(machine->node);
    network_fail_askings(machine);
    machine->ghost_time = machine->paused_until = 0;
    reset_lanes(machine);
    disk_restart(machine->disk);
    faults->log_full = log_full;
    faults->state_full = state_full;
}

void machine_crash(struct machine *machine, const char *reason) {
    record("%s crashes (%s)", machine->name, reason);
    machine->dying_of = NULL;
    machine->crashes++;
    disk_crash(machine->disk);
    machine->ghost = true;
    machine->life++;
    bury(machine);
    machine->ghost = false;
    oracle_died(machine);
}

static void node_stopped(void *data) {
    struct machine *machine = data;

    if (!machine->ghost)
        machine->dying_of = "it has stopped";
}

void machine_stop(struct machine *machine) {
    record("%s is to stop", machine->name);
    node_stop(machine->node, chance_latency(100, 10 * 1000), node_stopped, machine);
    machine_turn(machine);
}

void machine_wipe(struct machine *machine) {
    if (machine->node)
        machine_crash(machine, "its disk is wiped");
    disk_wipe(machine->disk);
    machine->shown = 0;
    machine->bootstrap = false;
}

void machine_move(struct machine *machine) {
    if (machine->node)
        machine_crash(machine, "it moves");
    machine->moves++;
    set_addresses(machine);
}

void machine_pause(struct machine *machine, uint64_t microseconds) {
    record("%s is paused for %llu us", machine->name, (unsigned long long)microseconds);
    machine->paused_until = machine->excused_until = world_now() + microseconds;
}

uint64_t machine_excuse(const struct machine *machine, uint64_t deadline) {
    return machine->excused_until > deadline ? machine->excused_until : deadline;
}

void machine_jump(struct machine *machine, uint64_t milliseconds) {
    /* What is due now, was not a moment before. */
    if (machine->excused_until < world_now())
        machine->excused_until = world_now();
    record("%s's clock jumps by %llu ms", machine->name, (unsigned long long)milliseconds);
    clock_set(&machine->clock, clock_now(&machine->clock) + milliseconds * MS,
              machine->clock.per_mille);
    if (machine->node)
        schedule_waking(machine, machine->wake_time);
}

void machine_drift(struct machine *machine, unsigned per_mille) {
    record("%s's clock runs at %u/1000", machine->name, per_mille);
    clock_set(&machine->clock, clock_now(&machine->clock), per_mille);
    if (machine->node)
        schedule_waking(machine, machine->wake_time);
}

void machine_crash_at_write(struct machine *machine, uint64_t operations) {
    disk_crash_after(machine->disk, operations);
}

/* What its configuration names in Join=: where the others are now. */
static void list_others(const struct machine *machine, char *ret, size_t size) {
    size_t length = 0;

    ret[0] = '\0';
    for (unsigned i = 1; i <= machine_count && machine->joins && !machine->bootstrap; i++)
        if (i != machine->number)
            length += (size_t)snprintf(ret + length, size - length, "%s ", machines[i].address);
}

void machine_start(struct machine *machine) {
    char join[MACHINES_MAX * (sizeof machine->address + 1)];
    struct node_options options = {
        .name = machine->name,
        .data_directory = machine->directory,
        .peer_address = machine->address,
        .client_address = machine->client_address,
        .bootstrap = machine->bootstrap,
        .join = join,
        .allow_join = machine->allow_join,
        .election_timeout = 1000,
        .heartbeat = 100,
        .state_cache_size = 160 * 1024,
        .entry_cache_size = 8192u << machine->number % 4,
        .state_journal_pages = 4u << machine->number % 4,
        .log_file_size = machine->log_file_size,
        .log_batch_bytes = machine->log_batch_bytes,
        .state_log_size = machine->state_log_size,
        .snapshot_entries = machine->snapshot_entries,
        .trailing_entries = machine->trailing_entries,
        .snapshot_chunk_bytes = machine->snapshot_chunk_bytes,
        .checkpoint_bytes = machine->checkpoint_bytes,
        .auto_promote_voters = machine->auto_promote_voters,
        .auto_promote_after = machine->auto_promote_after,
    };
    struct disk_faults *faults = disk_faults(machine->disk);
    struct failure failure = {0};
    int result;

    check(!machine->node);
    faults->write_failed = faults->read_failed = false;
    list_others(machine, join, sizeof join);
    machine->life++;
    machine->starts++;
    machine->wake_scheduled = machine->wake_time = UINT64_MAX;
    result = node_open(&machine->node, &machine->host, &options, &failure);
    note_disk_trouble(machine);
    if (disk_crashed(machine->disk)) {
        if (result == 0) {
            machine_crash(machine, "a write at its start");
            return;
        }
        record("%s crashes (a write at its start)", machine->name);
        machine->life++;
        disk_restart(machine->disk);
        return;
    }
    if (result != 0 && machine->disk_trouble) {
        record("%s does not start", machine->name);
        remark("%s", failure.message); /* may name an address */
        machine->life++;
        return;
    }
    if (result != 0)
        disk_describe(machine->disk);
    must(result == 0, "%s does not start: %s", machine->name, failure.message);
    machine->disk_trouble = false;
    note_disk_trouble(machine);
    record("%s starts: member %016" PRIx64 ", run %" PRIu64, machine->name,
           node_identity(machine->node)->member_id, node_identity(machine->node)->incarnation);
    oracle_started(machine);
    machine_turn(machine);
}

void machine_turn(struct machine *machine) {
    if (!machine_up(machine))
        return;
    if (!machine->dying_of)
        node_flush(machine->node);
    if (machine->dying_of) {
        machine_crash(machine, machine->dying_of);
        return;
    }
    oracle_look(machine);
}
