/*
 * space: watches the room on the node's disk. While there is less than the reserve, or something
 * could not be written for want of space, the member is told that there is none, and the alarm says
 * so; both end by themselves. What could not be written is tried again where it failed.
 */
#include "store/space.h"

#include <stdio.h>
#include <string.h>

#include "node/node_internal.h"

enum { LOOK_MS = 1000, MEBIBYTE = 1024 * 1024 };

static bool is_waiting(const struct node *node) {
    return node->write_retry_at != 0 || node->apply_retry_at != 0 || node->install.retry_at != 0 ||
           node->compaction.retry_at != 0 || node->host->now(node->host) < node->staging_not_before;
}

/* So much that the alarm does not come and go with each file of the log. */
static uint64_t enough(const struct space *space) {
    return space->alarm ? space->reserve + space->reserve / 8 : space->reserve;
}

static void say(const struct node *node, bool waiting) {
    const struct space *space = &node->space;
    const char *const fields[] = {
        space->alarm ? MESSAGE_DISK_ALARM : MESSAGE_DISK_ALARM_ENDED,
        space->alarm ? "RAFTKV_ALARM=no-space" : "RAFTKV_ALARM=",
        NULL,
    };
    unsigned long long free = space->free / MEBIBYTE, reserve = space->reserve / MEBIBYTE;

    if (!space->alarm)
        journal_with(LOG_NOTICE, fields, "The disk under %s has room again: %llu MiB are free.",
                     node->directory.path, free);
    else if (waiting)
        journal_with(LOG_ERR, fields, "The disk under %s is full; what is to be written waits.",
                     node->directory.path);
    else
        journal_with(LOG_ERR, fields,
                     "The disk under %s has no room: %llu MiB are free, and %llu MiB are kept in "
                     "reserve (ReserveBytes=).",
                     node->directory.path, free, reserve);
}

void space_update(struct node *node) {
    struct space *space = &node->space;
    bool waiting = is_waiting(node), alarm = waiting || space->free < enough(space);
    uint64_t room = 0;

    if (alarm != space->alarm) {
        space->alarm = alarm;
        node->changed = true;
        say(node, waiting);
        if (alarm && !waiting)
            compaction_start(node); /* that is what can be given back */
    }
    if (!alarm)
        room = (space->free - space->reserve) / MEBIBYTE;
    if (!alarm && room == 0)
        room = 1;
    member_set_capacity(node->member, room < UINT16_MAX ? (uint16_t)room : UINT16_MAX);
}

/* ---- looking ---- */

static int look(struct node *node, uint64_t *ret) {
    uint64_t log, state;
    int result = store_free_space(node->directory.log_path, &log);

    if (result == 0)
        result = store_free_space(node->directory.state_path, &state);
    if (result == 0)
        *ret = log < state ? log : state;
    return result;
}

static void run_look(struct job *job) {
    struct node *node = container_of(job, struct node, space.job);

    node->space.result = look(node, &node->space.found);
}

static void look_done(struct job *job) {
    struct node *node = container_of(job, struct node, space.job);
    struct space *space = &node->space;

    space->under_way = false;
    space->look_at = node->host->now(node->host) + LOOK_MS;
    if (space->result == 0)
        space->free = space->found;
    else if (!space->failed)
        journal(LOG_WARNING, "The free space under %s can't be told: %s.", node->directory.path,
                strerror(-space->result));
    space->failed = space->result != 0;
    space_update(node);
    node_flush(node);
}

void space_init(struct node *node) {
    node->space = (struct space){
        .free = UINT64_MAX, /* until it has been looked at */
        .job = {.run = run_look, .done = look_done},
    };
}

void space_tick(struct node *node) {
    struct space *space = &node->space;

    if (space->under_way || node->stopping || node->host->now(node->host) < space->look_at)
        return;
    space->under_way = true;
    node->host->submit(node->host, LANE_BACKGROUND, &space->job);
}

uint64_t space_deadline(const struct node *node) {
    return node->space.under_way || node->stopping ? UINT64_MAX : node->space.look_at;
}

bool space_busy(const struct node *node) {
    return node->space.under_way;
}
