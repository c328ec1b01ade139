/*
 * propose: from proposals to log entries and back to their answers. All proposals that arrived
 * while the last write was under way are one submission; each is one entry, so that its index is
 * the revision of what it writes.
 */
#include "raft/member_internal.h"

static void queue_push(struct proposal_queue *queue, struct proposal *proposal) {
    if (!queue->first)
        queue->last = &queue->first;
    proposal->next = NULL;
    *queue->last = proposal;
    queue->last = &proposal->next;
    queue->count++;
}

static struct proposal *queue_pop(struct proposal_queue *queue) {
    struct proposal *proposal = queue->first;

    if (!proposal)
        return NULL;
    queue->first = proposal->next;
    queue->count--;
    proposal->next = NULL;
    return proposal;
}

static void refuse(struct proposal *proposal, enum error_code code, const char *message) {
    struct failure failure;

    free(TAKE(proposal->data));
    failure_set(&failure, code, "%s", message);
    proposal->done(proposal, &failure, NULL);
}

void member_propose(struct member *member, struct proposal *proposal) {
    check(proposal->type == ENTRY_COMMAND || proposal->type == ENTRY_BARRIER);
    check(proposal->data && proposal->size > 0 && proposal->size <= ENTRY_SIZE_MAX);
    if (member->door_closed || member->failed)
        refuse(proposal, ERROR_UNAVAILABLE, "The node is stopping.");
    else if (!member_is_leader(member))
        refuse(proposal, ERROR_NOT_LEADER, "This node is not the leader.");
    else if (member->gathered.count + member->in_log.count + member->orphan_count >=
             PROPOSALS_IN_FLIGHT_MAX)
        refuse(proposal, ERROR_BUSY, "Too many writes are under way.");
    else if (proposal->grows && member->growth_refused)
        refuse(proposal, ERROR_NO_SPACE,
               "Fewer than a majority of the voters have room on their disks; nothing happened. "
               "Keys can be deleted.");
    else
        queue_push(&member->gathered, proposal);
}

/* What is neither committed nor applied is bounded; more waits in `gathered`, which
 * member_propose() bounds. */
static size_t submission_size(const struct member *member) {
    size_t count = 0, bytes = 0;

    for (struct proposal *p = member->gathered.first; p; p = p->next) {
        bytes += p->size;
        if (count == APPEND_ENTRIES_MAX || (count > 0 && bytes > LOG_RECORD_SIZE_MAX / 2))
            break;
        count++;
    }
    return count;
}

static void submit_gathered(struct member *member) {
    size_t count = submission_size(member);
    _cleanup_free_ struct raft_entry *entries = xcalloc(count, sizeof *entries);
    struct raft_event event = {
        .time = member_now(member),
        .type = RAFT_SUBMIT,
    };

    for (size_t i = 0; i < count; i++) {
        struct proposal *proposal = queue_pop(&member->gathered);
        uint8_t *data = TAKE(proposal->data);

        entries[i] = (struct raft_entry){
            .term = member->raft.current_term,
            .type = (enum raft_entry_type)proposal->type,
            .buf = {.base = data, .len = proposal->size},
            .batch = data,
        };
        proposal->term = member->raft.current_term;
        proposal->index = member->entries.last_index + 1 + i;
        queue_push(&member->in_log, proposal);
    }
    event.submit.entries = entries;
    event.submit.n = (unsigned)count;
    member_step(member, &event);
}

/* Hazard L3: an entry of the own term must be applied before changes and linearizable reads;
 * libraft appends one only sometimes. */
static void submit_own_barrier(struct member *member) {
    void *zeros = xcalloc(1, BARRIER_SIZE);
    struct raft_entry entry = {
        .term = member->raft.current_term,
        .type = RAFT_BARRIER,
        .buf = {.base = zeros, .len = BARRIER_SIZE},
        .batch = zeros,
    };
    struct raft_event event = {
        .time = member_now(member),
        .type = RAFT_SUBMIT,
        .submit = {.entries = &entry, .n = 1},
    };

    member->own_barrier_wanted = false;
    if (entries_term(&member->entries, member->entries.last_index) == member->raft.current_term) {
        free(zeros);
        return;
    }
    member_step(member, &event);
}

void propose_flush(struct member *member) {
    if (!member_is_leader(member) || member->write_under_way || member->failed)
        return;
    if (raft_transferee(&member->raft) != 0 || membership_holds_submissions(member))
        return;
    if (member->own_barrier_wanted)
        submit_own_barrier(member);
    if (member_is_leader(member) && !member->failed && member->gathered.count > 0)
        submit_gathered(member);
}

bool propose_configuration(struct member *member, const struct configuration *configuration) {
    uint8_t *data;
    size_t size;

    if (!member_is_leader(member) || !member->serving || member->failed ||
        raft_transferee(&member->raft) != 0 || member->raft.configuration_uncommitted_index != 0)
        return false;
    configuration_encode(configuration, &data, &size);
    struct raft_entry entry = {
        .term = member->raft.current_term,
        .type = RAFT_CHANGE,
        .buf = {.base = data, .len = size},
        .batch = data,
    };
    struct raft_event event = {
        .time = member_now(member),
        .type = RAFT_SUBMIT,
        .submit = {.entries = &entry, .n = 1},
    };
    return member_step(member, &event);
}

static void complete(struct proposal *proposal, const struct log_entry *entry, const void *result) {
    struct failure failure;

    if (proposal->term == entry->term) {
        proposal->done(proposal, NULL, entry->type == ENTRY_COMMAND ? result : NULL);
        return;
    }
    failure_set(&failure, ERROR_NOT_LEADER, "Another leader's entry took this one's place.");
    proposal->done(proposal, &failure, NULL);
}

static void complete_orphans(struct member *member, uint64_t first_index,
                             const struct log_entry *entries, size_t count, const char *results,
                             size_t result_size) {
    struct proposal **link = &member->orphans;

    while (*link) {
        struct proposal *proposal = *link;
        size_t i = proposal->index - first_index;

        if (proposal->index < first_index || i >= count) {
            link = &proposal->next;
            continue;
        }
        *link = proposal->next;
        member->orphan_count--;
        complete(proposal, &entries[i], results + i * result_size);
    }
}

void propose_applied(struct member *member, uint64_t first_index, const struct log_entry *entries,
                     size_t count, const void *results, size_t result_size) {
    uint64_t last_index = first_index + count - 1;

    if (member->orphans)
        complete_orphans(member, first_index, entries, count, results, result_size);
    while (member->in_log.first && member->in_log.first->index <= last_index) {
        struct proposal *proposal = queue_pop(&member->in_log);
        size_t i = proposal->index - first_index;

        check(proposal->index >= first_index);
        complete(proposal, &entries[i], (const char *)results + i * result_size);
    }
}

static void end_unknown(struct proposal *proposal, const char *message) {
    struct failure failure;

    failure_set(&failure, ERROR_UNAVAILABLE, "%s", message);
    failure.outcome_unknown = true;
    proposal->done(proposal, &failure, NULL);
}

void propose_installed(struct member *member, uint64_t index) {
    struct proposal **link = &member->orphans;

    while (*link) {
        struct proposal *proposal = *link;

        if (proposal->index > index) {
            link = &proposal->next;
            continue;
        }
        *link = proposal->next;
        member->orphan_count--;
        end_unknown(proposal, "The state was replaced by a newer one of another member.");
    }
}

void propose_lost_office(struct member *member) {
    struct proposal_queue gathered = member->gathered;
    struct proposal *proposal;

    member->own_barrier_wanted = false;
    while ((proposal = queue_pop(&member->in_log))) {
        proposal->next = member->orphans;
        member->orphans = proposal;
        member->orphan_count++;
    }
    member->gathered = (struct proposal_queue){0};
    while ((proposal = queue_pop(&gathered)))
        refuse(proposal, ERROR_NOT_LEADER, "This node is no longer the leader.");
}

void propose_end_all(struct member *member) {
    struct proposal *proposal;

    while ((proposal = queue_pop(&member->gathered)))
        refuse(proposal, ERROR_UNAVAILABLE, "The node is stopping.");
    while ((proposal = queue_pop(&member->in_log)))
        end_unknown(proposal, "The node is stopping.");
    while ((proposal = member->orphans)) {
        member->orphans = proposal->next;
        member->orphan_count--;
        end_unknown(proposal, "The node is stopping.");
    }
}
