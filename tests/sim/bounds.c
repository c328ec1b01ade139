#include "bounds.h"

#include "base/limits.h"
#include "node/node_internal.h"
#include "raft/member_internal.h"
#include "service/internal.h"
#include "store/page_journal.h"
#include "store/snapshot_internal.h"

static void within(const struct machine *machine, const char *what, uint64_t value,
                   uint64_t limit) {
    must(value <= limit, "%s keeps %llu %s, and %llu is the limit", machine->name,
         (unsigned long long)value, what, (unsigned long long)limit);
}

/* What entries up to an index take in memory. */
static size_t cached_up_to(const struct entries *entries, uint64_t index) {
    size_t bytes = 0;

    for (uint64_t i = entries->cached_first; i <= index && i <= entries->last_index; i++)
        bytes += entries_find(entries, i)->entry.size + ENTRY_OVERHEAD;
    return bytes;
}

/* What is not applied or not on the disk may be more than the limit. */
static void look_at_entries(const struct machine *machine, const struct member *member) {
    const struct entries *entries = &member->entries;
    uint64_t durable = member->durable_index;
    uint64_t settled = member->applied_index < durable ? member->applied_index : durable;

    if (entries->bytes <= entries->bytes_max)
        return;
    within(machine, "bytes of entries that are applied", cached_up_to(entries, settled),
           entries->bytes_max);
    if (entries->bytes > UNAPPLIED_FACTOR * entries->bytes_max)
        within(machine, "bytes of entries that are durable", cached_up_to(entries, durable),
               UNAPPLIED_FACTOR * entries->bytes_max);
}

static void look_at_member(const struct machine *machine, const struct member *member) {
    look_at_entries(machine, member);
    within(machine, "messages that wait for a vote to be durable", member->held_count,
           HELD_MESSAGES_MAX);
    within(machine, "entries to be applied at once", member->apply_batch.count, APPLY_ENTRIES_MAX);
    within(machine, "proposals",
           member->gathered.count + member->in_log.count + member->orphan_count,
           PROPOSALS_IN_FLIGHT_MAX);
}

/* Chunks of a state, of which one may come on top of the limit in bytes; they are at most as large
 * as one key with its value more than what was asked for. */
static void look_at_chunks(const struct machine *machine, const char *what, const char *bytes,
                           const struct part *parts, uint64_t count, size_t limit) {
    size_t sum = 0, largest = 0;

    within(machine, what, count, STREAM_WINDOW);
    for (size_t i = 0; i < STREAM_WINDOW; i++) {
        sum += parts[i].chunk.size;
        if (parts[i].chunk.size > largest)
            largest = parts[i].chunk.size;
    }
    within(machine, bytes, sum, limit + largest);
}

static void look_at_states(const struct machine *machine, const struct node *node) {
    const struct staging *staging = &node->staging;
    uint64_t snapshots = 0;

    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (node->streams[i].phase == STREAM_SENDING)
            look_at_chunks(machine, "chunks of a state that have not arrived",
                           "bytes of a state that have not arrived", node->streams[i].window,
                           node->streams[i].made - node->streams[i].arrived, STREAM_BYTES_MAX);
    if (staging->number != 0)
        look_at_chunks(machine, "chunks of a state that are not staged",
                       "bytes of a state that are not staged", staging->queue,
                       staging->received - staging->staged, STAGING_BYTES_MAX);
    for (const struct snapshot *s = node->state->snapshots; s; s = s->next)
        snapshots++;
    within(machine, "snapshots", snapshots, STREAMS_MAX + BACKUPS_MAX);
    if (state_is_open(node->state))
        within(machine, "pages in a half of the page journal",
               page_journal_gathered(node->state->pages), node->state->journal_pages);
}

static void look_at_service(const struct machine *machine, const struct service *service) {
    within(machine, "requests", service->count, REQUESTS_WAITING_MAX);
    within(machine, "bytes of requests", service->bytes, REQUESTS_WAITING_BYTES_MAX);
    within(machine, "deadlines", service->deadlines.count, service->count);
    within(machine, "questions about the status of all", service->collections, CLUSTER_STATUS_MAX);
}

void bounds_look(const struct machine *machine) {
    const struct node *node = machine->node;

    look_at_member(machine, node->member);
    look_at_states(machine, node);
    look_at_service(machine, node->service);
}
