/* status: what the service asks of the node around it: compactions, how far snapshots have come,
 * and to end when the state can't be read. */
#include <string.h>

#include "node/node_internal.h"

void status_compact(void *data) {
    compaction_start(data);
}

bool status_compacting(void *data, uint64_t *ret_done, uint64_t *ret_total) {
    return checkpoint_progress(data, ret_done, ret_total);
}

void status_state_failed(void *data, int error) {
    storage_state_fatal(data, "The state can't be read", error);
}

static const char *name_of(const struct node *node, uint64_t id) {
    const struct server *server = configuration_find(member_configuration(node->member), id);

    return server ? server->name : "";
}

void status_fill(void *data, Raftkv__V1__MemberStatus *status) {
    struct node *node = data;
    const struct staging *staging = &node->staging;

    if (node->space.alarm)
        status->alarm = xstrdup("no-space");
    status->free_bytes = node->space.found;
    status->snapshot_count = node->compaction.stats.count;
    status->snapshot_index = node->compaction.stats.index;
    status->snapshot_milliseconds = node->compaction.stats.duration_ms;
    status->snapshot_bytes = node->compaction.stats.bytes;
    if (staging->number != 0)
        status->receiving = progress_describe(node, &staging->progress, staging->from_name);
    status->sending = xcalloc(STREAMS_MAX, sizeof *status->sending);
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        const struct stream *stream = &node->streams[i];

        if (stream->phase == STREAM_SENDING || stream->phase == STREAM_STAGED)
            status->sending[status->n_sending++] =
                progress_describe(node, &stream->progress, name_of(node, stream->to));
    }
}
