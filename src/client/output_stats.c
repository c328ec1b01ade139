/* How raftkvctl shows statistics. */
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#include "base/memory.h"
#include "client/output.h"
#include "client/text.h"

static struct json_object *json_histogram(const Raftkv__V1__Histogram *histogram) {
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"count", histogram->count}, {"mean", histogram->mean}, {"maximum", histogram->maximum},
        {"p50", histogram->p50},     {"p90", histogram->p90},   {"p99", histogram->p99},
        {"p999", histogram->p999},
    };
    struct json_object *object = json_object_new_object();

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        json_object_object_add(object, fields[i].name, json_object_new_uint64(fields[i].value));
    return object;
}

static void print_json(const struct output *output, const Raftkv__V1__StatsResponse *response) {
    struct json_object *object = json_object_new_object();

    for (size_t i = 0; i < response->n_statistics; i++) {
        const Raftkv__V1__Statistic *statistic = response->statistics[i];

        json_object_object_add(object, statistic->name,
                               statistic->value_case == RAFTKV__V1__STATISTIC__VALUE_HISTOGRAM
                                   ? json_histogram(statistic->histogram)
                                   : json_object_new_uint64(statistic->number));
    }
    fputs(json_object_to_json_string_ext(object,
                                         JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE),
          output->file);
    fputc('\n', output->file);
    json_object_put(object);
}

static char *escaped(const char *text) {
    return text_escape((const uint8_t *)text, strlen(text));
}

static void add_value(struct table *table, const Raftkv__V1__Statistic *statistic) {
    const Raftkv__V1__Histogram *histogram = statistic->histogram;

    if (statistic->value_case != RAFTKV__V1__STATISTIC__VALUE_HISTOGRAM)
        table_add_format(table, "%" PRIu64, statistic->number);
    else
        table_add_format(table,
                         "%" PRIu64 " times, 50 %% within %" PRIu64 ", 99 %% within %" PRIu64
                         ", at most %" PRIu64,
                         histogram->count, histogram->p50, histogram->p99, histogram->maximum);
}

void output_stats(const struct output *output, const Raftkv__V1__StatsResponse *response) {
    static const char *const headers[] = {"NAME", "VALUE", "UNIT", "MEANING", NULL};
    static const char *const over_bus[] = {"NAME", "VALUE", NULL};
    struct table *table;

    if (output->json) {
        print_json(output, response);
        return;
    }
    table = table_new(output->over_bus ? over_bus : headers);
    for (size_t i = 0; i < response->n_statistics; i++) {
        const Raftkv__V1__Statistic *statistic = response->statistics[i];

        table_add(table, escaped(statistic->name));
        add_value(table, statistic);
        if (output->over_bus)
            continue;
        table_add(table, escaped(statistic->unit));
        table_add(table, escaped(statistic->meaning));
    }
    table_print(table, output->file, output->color);
    table_free(table);
}
