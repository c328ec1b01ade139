#include "bench/report.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <unistd.h>

static const struct {
    const char *name;
    double part;
} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};

enum { QUANTILES = sizeof quantiles / sizeof *quantiles };

static double milliseconds(double nanoseconds) {
    return nanoseconds / 1e6;
}

static double throughput(const struct result *result) {
    return result->seconds > 0 ? (double)result->operations / result->seconds : 0;
}

static const char *error_label(const struct protocol *protocol, unsigned code) {
    switch (code) {
    case ENGINE_CODE_LOST:
        return "ConnectionLost";
    case ENGINE_CODE_UNANSWERED:
        return "Unanswered";
    default:
        return protocol->error_name(code);
    }
}

static void add_double(struct json_object *object, const char *name, double value) {
    char text[32];

    snprintf(text, sizeof text, "%.4f", value);
    json_object_object_add(object, name, json_object_new_double_s(value, text));
}

static struct json_object *json_latency(const struct histogram *latency) {
    struct json_object *object = json_object_new_object();

    add_double(object, "mean", milliseconds(histogram_mean(latency)));
    for (unsigned i = 0; i < QUANTILES; i++)
        add_double(object, quantiles[i].name,
                   milliseconds((double)histogram_quantile(latency, quantiles[i].part)));
    add_double(object, "max", milliseconds((double)latency->max));
    return object;
}

static void print_json(const struct bench_options *options, const struct protocol *protocol,
                       const struct result *result) {
    struct json_object *object = json_object_new_object();
    struct json_object *errors = json_object_new_object();

    for (unsigned code = 0; code < ENGINE_CODES; code++)
        if (result->errors[code] > 0)
            json_object_object_add(errors, error_label(protocol, code),
                                   json_object_new_uint64(result->errors[code]));
    add_double(object, "throughput", throughput(result));
    json_object_object_add(object, "operation",
                           json_object_new_string(options->get ? "get" : "put"));
    if (options->get)
        json_object_object_add(object, "consistency",
                               json_object_new_string(options->stale ? "stale" : "linearizable"));
    json_object_object_add(object, "clients", json_object_new_uint64(options->clients));
    json_object_object_add(object, "connections", json_object_new_uint64(result->connections));
    add_double(object, "seconds", result->seconds);
    json_object_object_add(object, "value_size", json_object_new_uint64(options->value_size));
    json_object_object_add(object, "keys", json_object_new_uint64(options->keys));
    json_object_object_add(object, "operations", json_object_new_uint64(result->operations));
    json_object_object_add(object, "latency_ms", json_latency(&result->latency));
    json_object_object_add(object, "errors", errors);
    json_object_object_add(object, "operations_in_all", json_object_new_uint64(result->done));
    add_double(object, "client_cpu_seconds", result->cpu_seconds);
    puts(json_object_to_json_string_ext(object,
                                        JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(object);
}

static void print_table(const struct bench_options *options, const struct protocol *protocol,
                        const struct result *result) {
    const struct histogram *latency = &result->latency;
    uint64_t errors = 0;

    printf("%s, %u client%s on %u connection%s, values of %zu bytes, %.1f s\n",
           !options->get    ? "put"
           : options->stale ? "get, stale"
                            : "get, linearizable",
           options->clients, options->clients == 1 ? "" : "s", result->connections,
           result->connections == 1 ? "" : "s", options->value_size, result->seconds);
    printf("throughput  %.1f operations/s\n", throughput(result));
    printf("latency     mean %.3f ms", milliseconds(histogram_mean(latency)));
    for (unsigned i = 0; i < QUANTILES; i++)
        printf(", %s %.3f", quantiles[i].name,
               milliseconds((double)histogram_quantile(latency, quantiles[i].part)));
    printf(", max %.3f\n", milliseconds((double)latency->max));
    for (unsigned code = 0; code < ENGINE_CODES; code++)
        errors += result->errors[code];
    printf("errors      %" PRIu64 "\n", errors);
    for (unsigned code = 0; code < ENGINE_CODES; code++)
        if (result->errors[code] > 0)
            printf("  %-20s %" PRIu64 "\n", error_label(protocol, code), result->errors[code]);
}

void report_print(const struct bench_options *options, const struct protocol *protocol,
                  const struct result *result) {
    if (options->json)
        print_json(options, protocol, result);
    else
        print_table(options, protocol, result);
}

void report_progress(void *data, const struct progress *progress) {
    (void)data;
    fprintf(stderr, "\r\033[K%s %.0f", progress->phase, progress->elapsed);
    if (progress->total > 0)
        fprintf(stderr, " of %.0f", progress->total);
    fprintf(stderr, " s, %.0f operations/s, %" PRIu64 " errors", progress->rate, progress->errors);
}

int bench_main(const struct bench_options *options, const struct protocol *protocol) {
    bool terminal = isatty(STDERR_FILENO) == 1;
    _cleanup_free_ struct result *result = xcalloc(1, sizeof *result);
    struct failure failure = {0};
    int r;

    r = engine_run(options, protocol, terminal ? report_progress : NULL, NULL, result, &failure);
    if (terminal)
        fputs("\r\033[K", stderr);
    if (r < 0) {
        fprintf(stderr, "%s: %s\n", options->program, failure.message);
        return 1;
    }
    report_print(options, protocol, result);
    if (fflush(stdout) != 0)
        return 1;
    return result->latency.count > 0 ? 0 : 1;
}
