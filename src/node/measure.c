/*
 * measure: what the node knows of its log and state in numbers. What only a lane may read is read
 * there when somebody asks, the log first; what is counted all the time is counted on the loop.
 */
#include "node/node_internal.h"

static void run_measure_state(struct job *job) {
    struct node *node = container_of(job, struct node, measure.job);

    /* Of a state that can't be read the next read says so. */
    (void)state_get_stats(node->state, &node->measure.state);
}

static void state_measured(struct job *job) {
    struct node *node = container_of(job, struct node, measure.job);

    node->measure.under_way = false;
    service_measured(node->service);
    node_flush(node);
}

static void run_measure_log(struct job *job) {
    struct node *node = container_of(job, struct node, measure.job);

    log_store_get_stats(node->log, &node->measure.log);
}

static void log_measured(struct job *job) {
    struct node *node = container_of(job, struct node, measure.job);

    node->measure.job = (struct job){.run = run_measure_state, .done = state_measured};
    node->host->submit(node->host, LANE_STATE, &node->measure.job);
}

void measure_start(void *data) {
    struct node *node = data;

    if (node->measure.under_way)
        return;
    node->measure.under_way = true;
    node->measure.job = (struct job){.run = run_measure_log, .done = log_measured};
    node->host->submit(node->host, LANE_LOG, &node->measure.job);
}

void measure_add(void *data, struct statistics *statistics) {
    const struct node *node = data;
    const struct log_store_stats *log = &node->measure.log;
    const struct state_stats *state = &node->measure.state;

    statistics_add(statistics, STATISTIC_LOG_ENTRIES, NULL, log->entries);
    statistics_add(statistics, STATISTIC_LOG_BYTES, NULL, log->bytes);
    statistics_add(statistics, STATISTIC_LOG_FILES, NULL, log->files);
    statistics_add(statistics, STATISTIC_LOG_FLUSHES, NULL, log->flushes);
    statistics_add_histogram(statistics, STATISTIC_LOG_FLUSH_LATENCY, NULL,
                             &node->measure.write_latency);
    statistics_add(statistics, STATISTIC_STATE_KEYS, NULL, state->keys);
    statistics_add(statistics, STATISTIC_STATE_BYTES, NULL, state->bytes);
    statistics_add(statistics, STATISTIC_STATE_CACHE_HITS, NULL, state->cache_hits);
    statistics_add(statistics, STATISTIC_STATE_CACHE_MISSES, NULL, state->cache_misses);
    statistics_add(statistics, STATISTIC_SNAPSHOTS_COUNT, NULL, node->compaction.stats.count);
    statistics_add(statistics, STATISTIC_SNAPSHOTS_INDEX, NULL, node->compaction.stats.index);
    statistics_add(statistics, STATISTIC_SNAPSHOTS_BYTES, NULL, node->compaction.stats.bytes);
    statistics_add(statistics, STATISTIC_SNAPSHOTS_DURATION, NULL,
                   node->compaction.stats.duration_ms);
}
