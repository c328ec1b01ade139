#include "faults.h"

#include <string.h>

#include "admin.h"
#include "base/memory.h"
#include "clients.h"
#include "machine.h"
#include "network.h"
#include "node/node_internal.h"
#include "oracle.h"
#include "raft/member_internal.h"
#include "strays.h"

enum fault {
    FAULT_CRASH,
    FAULT_CRASH_ALL,
    FAULT_TEAR,
    FAULT_WIPE,
    FAULT_BLOCK,
    FAULT_HEAL,
    FAULT_LAG,
    FAULT_BREAK,
    FAULT_SLOW,
    FAULT_PAUSE,
    FAULT_JUMP,
    FAULT_DRIFT,
    FAULT_DAMAGE,
    FAULT_FULL,
    FAULT_SHORT,
    FAULT_WRITE,
    FAULT_SYNC,
    FAULT_MOVE,
    FAULT_STOP,
    FAULT_READ,
    FAULT_LOSE,
    FAULT_REPEAT,
    FAULT_DELAY,
    FAULT_COUNT
};

static const char *const names[FAULT_COUNT] = {
    [FAULT_CRASH] = "crash",   [FAULT_CRASH_ALL] = "crash-all", [FAULT_TEAR] = "tear",
    [FAULT_WIPE] = "wipe",     [FAULT_BLOCK] = "block",         [FAULT_HEAL] = "heal",
    [FAULT_LAG] = "lag",       [FAULT_BREAK] = "break",         [FAULT_SLOW] = "slow",
    [FAULT_PAUSE] = "pause",   [FAULT_JUMP] = "jump",           [FAULT_DRIFT] = "drift",
    [FAULT_DAMAGE] = "damage", [FAULT_FULL] = "full",           [FAULT_SHORT] = "short",
    [FAULT_WRITE] = "write",   [FAULT_SYNC] = "sync",           [FAULT_MOVE] = "move",
    [FAULT_STOP] = "stop",     [FAULT_READ] = "read",           [FAULT_LOSE] = "lose",
    [FAULT_REPEAT] = "repeat", [FAULT_DELAY] = "delay",
};

static struct {
    bool some, chosen[FAULT_COUNT]; /* not all kinds */
    bool stopped;
    uint64_t pause;             /* microseconds between two faults, on average half of it */
    unsigned odds[FAULT_COUNT]; /* of each kind, together below 100 or so */
    struct faults_figures figures;
    struct happening happening;
    struct machine *lagging; /* cut off until it lags behind the log */
    uint64_t lagging_until;
    struct happening lag_happening;
    struct happening restarts[MACHINES_MAX + 1];
    bool restarting[MACHINES_MAX + 1];
    uint64_t wrote[MACHINES_MAX + 1]; /* the life in which each last wrote to its log */
    unsigned tears[MACHINES_MAX + 1]; /* flushes of its log that are still to be torn */
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

/* Half of the time the leader: what goes wrong there is worse. */
static struct machine *any_machine(void) {
    struct machine *leader = chance_one_in(2) ? oracle_leader() : NULL;

    return leader ? leader : &machines[chance_between(1, machine_count)];
}

static void crash(void) {
    struct machine *machine = &machines[chance_between(1, machine_count)];

    if (!machine_up(machine))
        return;
    if (chance_one_in(3))
        machine_crash(machine, "power");
    else
        machine_crash_at_write(machine, chance_between(1, 20));
}

static void crash_all(void) {
    for (unsigned i = 1; i <= machine_count; i++)
        if (machine_up(&machines[i])) {
            machine_crash(&machines[i], "power of all");
        }
}

static void block(void) {
    unsigned one = any_machine()->number;

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

static void cut_off(unsigned one, bool off) {
    for (unsigned i = 1; i <= machine_count; i++)
        if (i != one) {
            network_block(one, i, off);
            network_block(i, one, off);
        }
}

static bool lags(const struct machine *machine) {
    const struct machine *leader = oracle_leader();

    return leader && leader != machine && machine->node &&
           node_member(leader->node)->entries.first_index >
               node_member(machine->node)->entries.last_index + 1;
}

static void watch_lag(struct happening *happening) {
    if (!faults.stopped && world_now() < faults.lagging_until && !lags(faults.lagging)) {
        world_after(200 * MS, happening, watch_lag);
        return;
    }
    record("%s is back", faults.lagging->name);
    cut_off(TAKE(faults.lagging)->number, false);
}

/* It will need the state. If it led, it has entries that nobody else has. */
static void let_lag(struct machine *machine) {
    if (faults.lagging)
        return;
    record("%s is cut off", machine->name);
    faults.figures.partitions++;
    faults.lagging = machine;
    faults.lagging_until = world_now() + 20 * (uint64_t)SECOND;
    cut_off(machine->number, true);
    world_after(200 * MS, &faults.lag_happening, watch_lag);
}

static void slow_lane(void) {
    struct machine *machine = &machines[chance_between(1, machine_count)];
    struct lane_queue *lane = &machine->lanes[chance_below(LANE_COUNT)];

    lane->latency_high = chance_latency(1 * MS, 3 * SECOND);
    record("a lane of %s takes up to %llu us", machine->name,
           (unsigned long long)lane->latency_high);
}

/* Whether the configuration says of each member where it is. */
static bool all_are_found(void) {
    const struct machine *leader = oracle_leader();
    const struct configuration *configuration;

    if (!leader)
        return false;
    configuration = member_configuration(node_member(leader->node));
    for (size_t i = 0; i < configuration->count; i++)
        if (!machine_of_address(configuration->servers[i].peer_address))
            return false;
    return true;
}

/* Two at a time at most, and never all voters: who has moved is found by telling one who has not,
 * and who elects. */
static void move(struct machine *machine) {
    struct machine *other = &machines[chance_between(1, machine_count)];
    size_t voters;

    /* A newcomer that knows nobody yet can't tell anybody, and is taken out after a minute. */
    if (!admin_settled() || !oracle_agree() || !all_are_found() ||
        promotion_under_way(node_member(oracle_leader()->node)))
        return;
    voters = configuration_voters(member_configuration(node_member(oracle_leader()->node)));
    faults.figures.moves++;
    machine_move(machine);
    if (voters >= 3 && chance_one_in(3) && other != machine)
        machine_move(other);
}

static void stop(struct machine *machine) {
    if (!machine_up(machine) || machine->node->stopping)
        return;
    faults.figures.stops++;
    machine_stop(machine);
}

static void wipe(struct machine *machine) {
    if (!all_are_found() || !admin_may_wipe(machine))
        return;
    admin_wiped(machine);
    machine_wipe(machine);
}

struct filling {
    struct happening happening;
    struct machine *machine;
};

static void free_space(struct happening *happening) {
    struct filling *filling = container_of(happening, struct filling, happening);
    struct disk_faults *disk = disk_faults(filling->machine->disk);

    record("%s's disk has space again", filling->machine->name);
    disk->log_full = disk->state_full = false;
    free(filling);
}

static void fill(struct machine *machine) {
    struct filling *filling = xcalloc(1, sizeof *filling);
    struct disk_faults *disk = disk_faults(machine->disk);

    faults.figures.full++;
    disk->log_full = !chance_one_in(4);
    disk->state_full = !disk->log_full;
    /* It is waited for; but Berkeley DB may give up when it can't make a file of the state. */
    machine->disk_trouble = true;
    record("%s's disk is full%s", machine->name, disk->state_full ? " for the state" : "");
    filling->machine = machine;
    world_after(chance_latency(100 * MS, 20 * SECOND), &filling->happening, free_space);
}

/* Until the next time. */
static void drift(struct machine *machine) {
    faults.figures.drifts++;
    machine_drift(machine, chance_one_in(3) ? 1000 : (unsigned)chance_between(500, 2000));
}

static void shorten_writes(struct machine *machine) {
    struct disk_faults *disk = disk_faults(machine->disk);

    disk->short_one_in = disk->short_one_in ? 0 : chance_between(2, 20);
    record("one in %llu writes of %s is short", (unsigned long long)disk->short_one_in,
           machine->name);
}

static void fail_write(struct machine *machine) {
    disk_faults(machine->disk)->write_fails = chance_between(1, 30);
}

/* Most reads are those of a start. */
static void fail_read(struct machine *machine) {
    disk_faults(machine->disk)->read_fails = chance_latency(1, 1000);
}

static void fail_sync(struct machine *machine) {
    disk_faults(machine->disk)->sync_fails = chance_between(1, 20);
}

static void go_astray(enum stray kind) {
    strays_begin(any_machine(), kind, (unsigned)chance_latency(1, 100));
}

static void carry_out(enum fault fault) {
    struct machine *machine = &machines[chance_between(1, machine_count)];

    switch (fault) {
    case FAULT_CRASH:
        crash();
        break;
    case FAULT_CRASH_ALL:
        crash_all();
        break;
    case FAULT_TEAR:
        faults.tears[machine->number] = 2;
        break;
    case FAULT_WIPE:
        wipe(machine);
        break;
    case FAULT_BLOCK:
        block();
        break;
    case FAULT_HEAL:
        network_heal();
        break;
    case FAULT_LAG:
        let_lag(any_machine());
        break;
    case FAULT_BREAK:
        network_break(machine->number, (unsigned)chance_between(1, machine_count));
        break;
    case FAULT_SLOW:
        slow_lane();
        break;
    case FAULT_PAUSE:
        machine = any_machine();
        if (!machine_up(machine))
            break;
        faults.figures.pauses++;
        machine_pause(machine, chance_latency(10 * MS, 15 * SECOND));
        clients_wait_for(machine);
        break;
    case FAULT_JUMP:
        faults.figures.jumps++;
        machine_jump(machine, chance_latency(10, 60 * 1000));
        break;
    case FAULT_DRIFT:
        drift(machine);
        break;
    case FAULT_DAMAGE:
        machine->messages_to_damage = (unsigned)chance_between(1, 3);
        break;
    case FAULT_SHORT:
        shorten_writes(machine);
        break;
    case FAULT_WRITE:
        fail_write(machine);
        break;
    case FAULT_READ:
        fail_read(machine);
        break;
    case FAULT_FULL:
        fill(machine);
        break;
    case FAULT_SYNC:
        fail_sync(machine);
        break;
    case FAULT_MOVE:
        move(machine);
        break;
    case FAULT_STOP:
        stop(any_machine());
        break;
    case FAULT_LOSE:
        go_astray(STRAY_LOST);
        break;
    case FAULT_REPEAT:
        go_astray(STRAY_REPEATED);
        break;
    case FAULT_DELAY:
        go_astray(STRAY_LATE);
        break;
    case FAULT_COUNT:
        break;
    }
}

static void next(struct happening *happening) {
    uint64_t die = chance_below(100);

    plan_restarts();
    if (faults.stopped) {
        world_after(100 * MS, happening, next);
        return;
    }
    for (int fault = 0; fault < FAULT_COUNT; fault++) {
        if (die < faults.odds[fault]) {
            carry_out((enum fault)fault);
            break;
        }
        die -= faults.odds[fault];
    }
    world_after(chance_between(1, faults.pause), happening, next);
}

static bool choose(const char *name) {
    for (int i = 0; i < FAULT_COUNT; i++)
        if (strcmp(name, names[i]) == 0)
            return faults.some = faults.chosen[i] = true;
    return false;
}

bool faults_choose(const char *list) {
    _cleanup_free_ char *copy = xstrdup(list);
    bool known = true;

    for (char *name = strtok(copy, ","); name; name = strtok(NULL, ","))
        known = choose(name) && known;
    return known;
}

void faults_print_kinds(FILE *file) {
    for (int i = 0; i < FAULT_COUNT; i++)
        fprintf(file, "%s%s", i > 0 ? ", " : "", names[i]);
}

bool faults_want_cuts(void) {
    return faults.chosen[FAULT_LAG];
}

/* Those that were named come all the time. */
static void choose_odds(void) {
    unsigned count = 0;

    for (int i = 0; i < FAULT_COUNT; i++)
        count += faults.chosen[i];
    for (int i = 0; i < FAULT_COUNT; i++)
        faults.odds[i] = faults.chosen[i] ? 100 / count : 0;
    if (faults.pause > 4 * SECOND)
        faults.pause = 4 * SECOND;
}

void faults_start(void) {
    static const unsigned most[FAULT_COUNT] = {
        [FAULT_CRASH] = 25,  [FAULT_CRASH_ALL] = 3, [FAULT_TEAR] = 8,  [FAULT_WIPE] = 10,
        [FAULT_BLOCK] = 20,  [FAULT_HEAL] = 15,     [FAULT_LAG] = 10,  [FAULT_BREAK] = 10,
        [FAULT_SLOW] = 5,    [FAULT_PAUSE] = 10,    [FAULT_JUMP] = 5,  [FAULT_DRIFT] = 5,
        [FAULT_DAMAGE] = 10, [FAULT_FULL] = 5,      [FAULT_SHORT] = 3, [FAULT_WRITE] = 3,
        [FAULT_SYNC] = 5,    [FAULT_MOVE] = 5,      [FAULT_STOP] = 10, [FAULT_LOSE] = 10,
        [FAULT_REPEAT] = 10, [FAULT_DELAY] = 10,    [FAULT_READ] = 5,
    };

    faults.pause = chance_latency(200 * MS, 10 * SECOND);
    /* Not every kind in every seed, so that each also gets to meet calm ones. */
    for (int i = 0; i < FAULT_COUNT; i++)
        faults.odds[i] = chance_one_in(3) ? 0 : (unsigned)chance_below(most[i] + 1);
    if (faults.some)
        choose_odds();
    network_options.break_one_in = chance_one_in(3) ? chance_between(50, 5000) : 0;
    world_after(chance_between(1, faults.pause), &faults.happening, next);
}

/* How often to crash at a job that chance alone seldom crashes at, and at which change or sync. */
static unsigned bad_moment(const struct node *node, const struct job *job, uint64_t *ret_at) {
    *ret_at = chance_latency(1, 60);
    if (job == &node->install.job && node->install.switched)
        *ret_at = chance_between(1, 3); /* the log still is what it was before */
    if (job == &node->install.job)
        return node->install.switched ? 3 : node->install.identified ? 2 : 4;
    if (job == &node->checkpoint.job)
        return 50;
    return job == &node->staging.job || job == &node->compaction.job ? 200 : 0;
}

/*
 * A torn end of the log, and another one where the first had been: the next flush of several
 * records is torn, and then the first flush after the restart is. What the first one has left
 * behind its hole must not come back behind what the second one has written.
 */
static void tear(struct machine *machine) {
    const struct member_write *write = &machine->node->write;
    unsigned *left = &faults.tears[machine->number];
    bool first = faults.wrote[machine->number] != machine->life;

    faults.wrote[machine->number] = machine->life;
    if (*left == 0 || (*left == 2 ? write->set_vote + write->count < 2 : !first))
        return;
    (*left)--;
    disk_faults(machine->disk)->tears = true;
    machine_crash_at_write(machine, 2 + (*left == 0 && chance_one_in(2)));
}

void faults_before(struct machine *machine, const struct job *job) {
    uint64_t at;
    unsigned odds;

    if (faults.stopped)
        return;
    if (job == &machine->node->persist_job)
        tear(machine);
    odds = faults.odds[FAULT_CRASH] > 0 ? bad_moment(machine->node, job, &at) : 0;
    if (odds > 0 && chance_one_in(odds))
        machine_crash_at_write(machine, at);
}

void faults_stop(void) {
    faults.stopped = true;
    record("faults stop");
    network_heal();
    network_options.break_one_in = 0;
    strays_stop();
    for (unsigned i = 1; i <= machine_count; i++) {
        machine_crash_at_write(&machines[i], 0);
        machines[i].paused_until = 0;
        machines[i].messages_to_damage = 0;
        machine_drift(&machines[i], 1000);
        *disk_faults(machines[i].disk) = (struct disk_faults){0};
        for (int lane = 0; lane < LANE_COUNT; lane++)
            machines[i].lanes[lane].latency_high = 20 * MS;
    }
}

const struct faults_figures *faults_figures(void) {
    return &faults.figures;
}
