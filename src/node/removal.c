/*
 * removal: how a member learns that it was removed while it was away. The leader says goodbye to a
 * member that it removes (raft/promotion.c), but not for long. Who is not there then asks, when it
 * is back and hears of no leader (announce.c), and stops at the answer. A former leader does not
 * know who was added since. So who is asked lets a majority confirm first that it leads, and
 * answers when it is asked again: then who asks was no member at some time of its present run.
 *
 * It remembers durably that it was told. Started again it waits to be added, and is not told once
 * more.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "node/node_internal.h"

enum { CONFIRMED_MS = 5000 };

/* ---- as leader ---- */

static void confirmed(struct proposal *barrier, const struct failure *failure, const void *result) {
    struct node *node = container_of(barrier, struct node, removal.barrier);
    struct removal *removal = &node->removal;
    struct member_view view;

    (void)result;
    removal->confirming = false;
    member_get_view(node->member, &view);
    /* The next leader can have committed it. */
    if (!failure && view.serving && view.term == removal->term)
        removal->confirmed_until = node->host->now(node->host) + CONFIRMED_MS;
}

static void confirm(struct node *node, const struct identity *from, uint64_t term) {
    struct removal *removal = &node->removal;

    removal->member_id = from->member_id;
    removal->incarnation = from->incarnation;
    removal->term = term;
    removal->confirmed_until = 0;
    removal->confirming = true;
    removal->barrier = proposal_of_barrier(confirmed);
    member_propose(node->member, &removal->barrier);
}

void removal_answer(struct node *node, const struct identity *from, struct announce_reply *ret) {
    struct removal *removal = &node->removal;
    struct member_view view;
    bool is_confirmed;

    *ret = (struct announce_reply){.said.code = ERROR_OK};
    snprintf(ret->said.message, sizeof ret->said.message,
             "Whether %s is a member is about to be known.", from->name);
    if (doors_is_peer(node, from->member_id) || member_is_adding(node->member, from->name))
        return;
    member_get_view(node->member, &view);
    is_confirmed =
        node->host->now(node->host) < removal->confirmed_until && removal->term == view.term;
    if (is_confirmed && removal->member_id == from->member_id &&
        removal->incarnation == from->incarnation) {
        failure_set(&ret->said, ERROR_NOT_FOUND, "%s is not a member of the cluster.", from->name);
        ret->configuration_index = member_configuration(node->member)->index;
    } else if (!is_confirmed && !removal->confirming) {
        confirm(node, from, view.term);
    }
}

/* ---- as the one that was removed ---- */

void removal_begin(const struct node *node) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_ADDING_AWAITED);
    struct member_view view;

    member_get_view(node->member, &view);
    if (!view.awaits_adding)
        return;
    node_event(&event, node, 0, NULL);
    journal_with(LOG_NOTICE, event.fields,
                 "The cluster has removed this node, which waits to be added again.");
}

/* Beside the cluster's id, which is in the same file. */
static void run_note(struct job *job) {
    struct node *node = container_of(job, struct node, removal.job);

    node->removal.result = directory_set_removed(&node->directory, node->removal.index);
}

static void note_done(struct job *job) {
    struct node *node = container_of(job, struct node, removal.job);

    node->removal.writing = false;
    /* Without space it is not remembered: who is started again is told once more. */
    if (node->removal.result < 0 && node->removal.result != -ENOSPC &&
        node->removal.result != -EDQUOT)
        storage_fatal(node, "That the cluster has removed this node can't be written",
                      node->removal.result);
    node_flush(node);
}

void removal_note(struct node *node) {
    struct removal *removal = &node->removal;
    struct member_view view;

    member_get_view(node->member, &view);
    if (!view.removed || removal->writing || removal->index == view.removed_index)
        return;
    removal->index = view.removed_index;
    removal->writing = true;
    removal->job = (struct job){.run = run_note, .done = note_done};
    node->host->submit(node->host, LANE_LOG, &removal->job);
}
