/*
 * What a bench program prints.
 *
 * JSON, one object: {"throughput": operations a second, "operation", "consistency" (of get),
 * "clients", "connections", "seconds", "value_size", "keys", "operations",
 * "latency_ms": {"mean", "p50", "p90", "p99", "p99.9", "max"}, "errors": {NAME: count, ...},
 * "operations_in_all", "client_cpu_seconds"}. Latencies and errors are also of what was under way at
 * the end. The last two include warm-up and loading.
 */
#pragma once

#include "bench/engine.h"

void report_print(const struct bench_options *options, const struct protocol *protocol,
                  const struct result *result);
/* A progress_cb: one line on standard error that is written over. */
void report_progress(void *data, const struct progress *progress);
/* Runs the bench and prints its report; progress only when standard error is a terminal. Returns
 * the exit status. */
int bench_main(const struct bench_options *options, const struct protocol *protocol);
