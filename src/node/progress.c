/* progress: how far a state has come on its way, for whoever looks and for the journal. */
#include "node/node_internal.h"

enum { SAY_MS = 5 * 1000 }; /* between two lines in the journal */

struct progress progress_begin(const struct node *node, uint64_t total) {
    uint64_t now = node->host->now(node->host);

    return (struct progress){.total = total, .begun = now, .said = now};
}

static uint64_t milliseconds(const struct node *node, const struct progress *progress) {
    return node->host->now(node->host) - progress->begun;
}

/* The whole is an estimate: more than that may come. */
static unsigned percent(const struct progress *progress) {
    if (progress->bytes >= progress->total)
        return 100;
    return (unsigned)(progress->bytes * 100 / progress->total);
}

static uint64_t bytes_per_second(const struct node *node, const struct progress *progress) {
    uint64_t time = milliseconds(node, progress);

    return time > 0 ? progress->bytes * 1000 / time : 0;
}

Raftkv__V1__SnapshotProgress *
progress_describe(const struct node *node, const struct progress *progress, const char *other) {
    Raftkv__V1__SnapshotProgress *message = xmalloc(sizeof *message);

    raftkv__v1__snapshot_progress__init(message);
    message->member = xstrdup(other);
    message->bytes = progress->bytes;
    message->total_bytes = progress->total;
    message->milliseconds = milliseconds(node, progress);
    message->percent = percent(progress);
    message->bytes_per_second = bytes_per_second(node, progress);
    return message;
}

void progress_say(const struct node *node, struct progress *progress, const char *what,
                  uint64_t index, const char *other) {
    uint64_t now = node->host->now(node->host), rate = bytes_per_second(node, progress);
    struct journal_event event = JOURNAL_EVENT(MESSAGE_STATE_PROGRESS);

    if (now - progress->said < SAY_MS)
        return;
    progress->said = now;
    node_event(&event, node, index, other);
    journal_field(&event, "RAFTKV_BYTES=%llu", (unsigned long long)progress->bytes);
    journal_field(&event, "RAFTKV_TOTAL_BYTES=%llu", (unsigned long long)progress->total);
    journal_field(&event, "RAFTKV_PERCENT=%u", percent(progress));
    journal_field(&event, "RAFTKV_BYTES_PER_SECOND=%llu", (unsigned long long)rate);
    journal_with(LOG_INFO, event.fields,
                 "%s %s: %llu of about %llu bytes, %u %%, %llu bytes a second.", what, other,
                 (unsigned long long)progress->bytes, (unsigned long long)progress->total,
                 percent(progress), (unsigned long long)rate);
}
