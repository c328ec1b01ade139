#include "faults.h"

#include "base/memory.h"
#include "machine.h"
#include "network.h"

static struct {
    bool stopped;
    uint64_t pause; /* microseconds between two faults, on average half of it */
    unsigned crash, block, breaking, slow; /* odds */
    struct faults_figures figures;
    struct happening happening;
    struct happening restarts[MACHINES_MAX + 1];
    bool restarting[MACHINES_MAX + 1];
} faults;

static void restart(struct happening *happening) {
    struct machine *machine = &machines[happening - faults.restarts];

    faults.restarting[machine->number] = false;
    if (machine->node)
        return;
    /* Crashes while it recovers. */
    if (!faults.stopped && chance_one_in(8))
        machine_crash_at_write(machine, chance_between(1, 60));
    machine_start(machine);
}

/* Everything that is down comes back some time. */
static void plan_restarts(void) {
    for (unsigned i = 1; i <= machine_count; i++) {
        if (machines[i].node || faults.restarting[i])
            continue;
        faults.restarting[i] = true;
        world_after(faults.stopped ? chance_between(1, SECOND)
                                   : chance_latency(10 * MS, 20 * SECOND),
                    &faults.restarts[i], restart);
    }
}

static void crash(void) {
    struct machine *machine = &machines[chance_between(1, machine_count)];

    if (!machine_up(machine))
        return;
    faults.figures.crashes++;
    if (chance_one_in(3))
        machine_crash(machine, "power");
    else
        machine_crash_at_write(machine, chance_between(1, 20));
}

static void crash_all(void) {
    for (unsigned i = 1; i <= machine_count; i++)
        if (machine_up(&machines[i])) {
            faults.figures.crashes++;
            machine_crash(&machines[i], "power of all");
        }
}

static void block(void) {
    unsigned one = (unsigned)chance_between(1, machine_count);

    faults.figures.partitions++;
    network_heal();
    for (unsigned i = 1; i <= machine_count; i++) {
        if (i == one)
            continue;
        /* One machine alone, in both directions or in one, or only a part of its links. */
        switch (chance_below(4)) {
        case 0:
            network_block(one, i, true);
            break;
        case 1:
            network_block(i, one, true);
            break;
        case 2:
            network_block(one, i, true);
            network_block(i, one, true);
            break;
        default:
            break;
        }
    }
    record("blocked around n%u", one);
}

static void slow_lane(void) {
    struct machine *machine = &machines[chance_between(1, machine_count)];
    struct lane_queue *lane = &machine->lanes[chance_below(LANE_COUNT)];

    faults.figures.slow++;
    lane->latency_high = chance_latency(1 * MS, 3 * SECOND);
    record("a lane of %s takes up to %llu us", machine->name,
           (unsigned long long)lane->latency_high);
}

static void next(struct happening *happening) {
    unsigned die;

    plan_restarts();
    if (faults.stopped) {
        world_after(100 * MS, happening, next);
        return;
    }
    die = (unsigned)chance_below(100);
    if (die < faults.crash)
        crash();
    else if ((die -= faults.crash) < faults.block)
        block();
    else if ((die -= faults.block) < faults.breaking)
        network_break((unsigned)chance_between(1, machine_count),
                      (unsigned)chance_between(1, machine_count));
    else if ((die -= faults.breaking) < faults.slow)
        slow_lane();
    else if (chance_one_in(3))
        network_heal();
    else if (chance_one_in(20))
        crash_all();
    world_after(chance_between(1, faults.pause), happening, next);
}

void faults_start(void) {
    faults.pause = chance_latency(200 * MS, 10 * SECOND);
    faults.crash = (unsigned)chance_below(40);
    faults.block = (unsigned)chance_below(25);
    faults.breaking = (unsigned)chance_below(15);
    faults.slow = (unsigned)chance_below(10);
    network_options.break_one_in = chance_one_in(3) ? chance_between(50, 5000) : 0;
    world_after(chance_between(1, faults.pause), &faults.happening, next);
}

void faults_stop(void) {
    faults.stopped = true;
    record("faults stop");
    network_heal();
    network_options.break_one_in = 0;
    for (unsigned i = 1; i <= machine_count; i++) {
        machine_crash_at_write(&machines[i], 0);
        for (int lane = 0; lane < LANE_COUNT; lane++)
            machines[i].lanes[lane].latency_high = 20 * MS;
    }
}

const struct faults_figures *faults_figures(void) {
    return &faults.figures;
}
