/*
 * node_world: whole nodes of src/node in one process and in virtual time, each with a directory of
 * its own in the file system. Lanes, links and the room on the disks are the test's. For the unit
 * tests of what a node does with lanes and other nodes, where tests/sim only has chance.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/node_internal.h"
#include "proto/unpack.h"
#include "service/service.h"

enum {
    WORLD_NODES = 4,
    WORLD_ELECTION_MS = 1000,
    WORLD_HEARTBEAT_MS = 100,
    WORLD_CHUNK_BYTES = 8 * 1024
};

struct world_lane {
    struct job *first, **last;
    struct job *running; /* has run, and is not done yet */
    bool held;           /* nothing is begun */
};

struct world_node {
    struct host host;
    struct node *node; /* NULL: down */
    unsigned number;
    char name[16], address[32], client_address[32], directory[96];
    bool bootstrap;
    struct world_lane lanes[LANE_COUNT];
    uint64_t wake, time_ahead;
    struct peer peers[MEMBERS_MAX];
    size_t peer_count;
    bool ghost; /* what it does has no effect any more */
    bool fatal;
    char fatal_reason[512];
};

struct world {
    uint64_t now;
    uint64_t random;
    bool jitter;                              /* what may happen happens or not, by chance */
    struct world_node nodes[WORLD_NODES + 1]; /* by number, from 1 */
    /* Called for each message before it is delivered; false: it is lost. */
    bool (*filter)(unsigned from, unsigned to, Raftkv__V1__PeerMessage *message);
    bool breach_expected;
    unsigned breaches;
};

extern struct world world;

/* Node 1 makes a cluster and leads; the others up to `nodes` are added to it. */
void world_start(unsigned nodes);
void world_stop(void);
struct node *world_node(unsigned number);
void world_boot(unsigned number);
/* What was written survives, synced or not, as with a process that is killed. */
void world_kill(unsigned number);
/* Stops it in order; false when it did not come to its end. */
bool world_shut_down(unsigned number);
/* Killed, and back with an empty directory. Does not boot. */
void world_wipe(unsigned number);

/* No messages between this one and the others, until told otherwise. */
void world_isolate(unsigned number, bool isolated);
/* Breaks the links between two nodes; they dial anew. */
void world_break_link(unsigned a, unsigned b);

/* Lets time pass, and everything happen that may, until the condition holds (true) or ms are over.
 */
bool world_run(bool (*condition)(void), uint64_t ms);
void world_pass(uint64_t ms);
/* Everything that may happen without time. */
void world_settle(void);
/* Runs one job of a lane, held or not, to its end. False: there is none. */
bool world_run_job(unsigned number, enum lane lane);

/* The number of the one serving leader; 0: none. */
unsigned world_leader(void);
uint64_t world_applied(unsigned number);
/* All that are up have applied what the leader has, and hold the same. */
bool world_agrees(void);

/* Asks a node and waits for the answer; the code of its error. */
enum error_code world_put(unsigned number, const char *key, size_t value_size);
/* The same without waiting for the answer; and what it is: -1: not there yet. */
void world_begin_put(unsigned number, const char *key, size_t value_size);
int world_answer(void);
enum error_code world_delete(unsigned number, const char *key);
/* Marks and cuts its log. */
enum error_code world_compact(unsigned number);
enum error_code world_add_voter(unsigned number, unsigned added);
enum error_code world_remove(unsigned number, unsigned removed);
/* `count` keys from key-FIRST on with values of that size, through the leader. */
void world_fill(unsigned first, unsigned count, size_t value_size);

/* Fills in keys while a follower is away, and cuts the log behind them: it needs the state when it
 * is back, which is now. */
void world_leave_behind(unsigned number, unsigned first, unsigned count);

/* ---- disks (node_world_disk.c) ---- */

struct world_disk {
    char prefix[96];
    const char *part; /* "/log/", "/state/", or "/" for all */
    bool limited;
    uint64_t growth_left; /* calls that make something grow, until there is no space; 0: full */
    uint64_t growths;     /* such calls so far */
    int error;            /* of those that fail */
    bool once;            /* only the next one fails */
    unsigned failures;
};
extern struct world_disk world_disks[WORLD_NODES + 1];
void world_disks_init(void);
/* The part of the disk is full after so many calls that need space. */
void world_fill_disk(unsigned number, const char *part, uint64_t after);
void world_empty_disk(unsigned number);
