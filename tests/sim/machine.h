/*
 * machine: a simulated computer that runs one node: its host (base/host.h) in virtual time, its
 * lanes, its disk, its life and death.
 */
#pragma once

#include "base/host.h"
#include "disk.h"
#include "node/node.h"
#include "world.h"

enum { MACHINES_MAX = 7 };

struct machine;

/* A lane: its jobs run one after the other. */
struct lane_queue {
    struct job *first, **last;
    struct job *running; /* has run, and is not done yet */
    bool busy;
    uint64_t latency_low, latency_high; /* microseconds, of one job */
};

/* A machine's monotonic clock: what it said at a time of the world, and how fast it runs since. */
struct clock {
    uint64_t since, then; /* microseconds */
    unsigned per_mille;
};

struct machine {
    unsigned number; /* from 1 */
    struct host host;
    struct node *node; /* NULL: off */
    struct disk *disk;
    bool ghost;    /* died; what it still does has no effect */
    uint64_t life; /* raised at each start and each death */
    uint64_t ghost_time;
    struct lane_queue lanes[LANE_COUNT];
    uint64_t wake_time; /* host time */
    uint64_t wake_scheduled;
    uint64_t woken_ms, woken; /* how often within one millisecond */
    uint64_t paused_until;    /* nothing of its process runs before */
    uint64_t excused_until;   /* from the last pause or jump of its clock */
    struct clock clock;
    bool wiping;          /* comes back with an empty disk */
    bool disk_trouble;    /* may say that it can't go on */
    const char *dying_of; /* set while the node runs; it dies at the end of the turn */
    char name[16], address[32], client_address[32], directory[32];
    bool bootstrap;
    bool joins; /* with an empty disk it asks the others to be taken in (Join=) */
    enum join_policy allow_join;
    uint32_t log_file_size, state_log_size;
    size_t log_batch_bytes; /* 0: the default, about as much as is written at a time */
    uint64_t snapshot_entries, trailing_entries; /* 0: the defaults, which no seed comes to */
    size_t snapshot_chunk_bytes;
    uint64_t checkpoint_bytes;    /* 0: the default, which no seed comes to */
    unsigned auto_promote_voters; /* 0: silent voters are not replaced */
    uint64_t auto_promote_after;  /* ms */
    uint64_t shown; /* highest revision that a stale read of its own state has shown */
    uint64_t crashes, starts, moves;

    /* network.c */
    struct link *links;
    struct incoming *incoming;
    struct asking *askings;
    uint64_t heard_until;        /* a leader knows that it asks to join */
    unsigned messages_to_damage; /* of the next ones that come from here */
};

extern struct machine machines[MACHINES_MAX + 1]; /* by number */
extern unsigned machine_count;

void machine_init(struct machine *machine, unsigned number);
/* Up, not dying and not paused. */
bool machine_up(const struct machine *machine);
/* Opens the node; it may die of it. */
void machine_start(struct machine *machine);
/* Switches the machine off: what is not synced is up to chance. */
void machine_crash(struct machine *machine, const char *reason);
/* The same at the n-th change or sync of its disk from now on. */
void machine_crash_at_write(struct machine *machine, uint64_t operations);
/* Stops the node as systemctl stop does; at its end the machine loses its power. */
void machine_stop(struct machine *machine);
/* Stops the process for a while, as SIGSTOP does. */
void machine_pause(struct machine *machine, uint64_t microseconds);
static inline bool machine_paused(const struct machine *machine) {
    return machine->paused_until > world_now();
}
/* When a deadline counts for a machine that is or was paused, or whose clock jumped. */
uint64_t machine_excuse(const struct machine *machine, uint64_t deadline);
/* Its monotonic clock jumps forward. */
void machine_jump(struct machine *machine, uint64_t milliseconds);
/* Its monotonic clock runs at another rate from now on; 1000 is as fast as the world's. */
void machine_drift(struct machine *machine, unsigned per_mille);
/* Crashes, and comes back with an empty disk. */
void machine_wipe(struct machine *machine);
/* Crashes, and comes back at other addresses. */
void machine_move(struct machine *machine);
/* Runs at the end of each event that touched the machine. */
void machine_turn(struct machine *machine);
/* NULL: nobody is there (any more). */
struct machine *machine_of_address(const char *address);
/* Milliseconds. */
uint64_t machine_clock(const struct machine *machine);
/* When its clock will say so, at the rate that it has now; not in the past. */
uint64_t machine_clock_reaches(const struct machine *machine, uint64_t milliseconds);
