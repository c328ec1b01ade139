/* How raftkvctl shows operations. */
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#include "base/memory.h"
#include "client/output.h"
#include "client/text.h"

static const char *state_word(Raftkv__V1__OperationState state) {
    switch (state) {
    case RAFTKV__V1__OPERATION_STATE__OPERATION_STATE_DONE:
        return "done";
    case RAFTKV__V1__OPERATION_STATE__OPERATION_STATE_FAILED:
        return "failed";
    default:
        return "running";
    }
}

static struct json_object *json_operation(const Raftkv__V1__Operation *operation) {
    const struct {
        const char *name, *text;
    } texts[] = {
        {"request", operation->request},   {"subject", operation->subject},
        {"asked_by", operation->asked_by}, {"state", state_word(operation->state)},
        {"phase", operation->phase},       {"unit", operation->unit},
    };
    const struct {
        const char *name;
        uint64_t number;
    } numbers[] = {
        {"done", operation->done},
        {"total", operation->total},
        {"milliseconds", operation->milliseconds},
    };
    struct json_object *object = json_object_new_object();
    char token[17];

    snprintf(token, sizeof token, "%016" PRIx64, operation->token);
    json_object_object_add(object, "token", json_object_new_string(token));
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        json_object_object_add(object, texts[i].name, json_object_new_string(texts[i].text));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        json_object_object_add(object, numbers[i].name, json_object_new_uint64(numbers[i].number));
    return object;
}

static void print_json(const struct output *output, Raftkv__V1__Operation *const *operations,
                       size_t count) {
    struct json_object *object = json_object_new_object();
    struct json_object *array = json_object_new_array();

    for (size_t i = 0; i < count; i++)
        json_object_array_add(array, json_operation(operations[i]));
    json_object_object_add(object, "operations", array);
    fputs(json_object_to_json_string_ext(object,
                                         JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE),
          output->file);
    fputc('\n', output->file);
    json_object_put(object);
}

void output_backup_read(const struct output *output) {
    fputs(output->json ? "{ \"last\": true }\n" : "read to its end\n", output->file);
}

static char *cell(const char *text) {
    return *text ? text_escape((const uint8_t *)text, strlen(text)) : xstrdup("-");
}

void output_operations(const struct output *output, Raftkv__V1__Operation *const *operations,
                       size_t count) {
    static const char *const headers[] = {"TOKEN",    "REQUEST", "MEMBER", "ASKED-BY", "STATE",
                                          "PROGRESS", "SECONDS", "PHASE",  NULL};
    struct table *table;

    if (output->json) {
        print_json(output, operations, count);
        return;
    }
    table = table_new(headers);
    for (size_t i = 0; i < count; i++) {
        const Raftkv__V1__Operation *operation = operations[i];

        table_add_format(table, "%016" PRIx64, operation->token);
        table_add(table, cell(operation->request));
        table_add(table, cell(operation->subject));
        table_add(table, cell(operation->asked_by));
        table_add_format(table, "%s", state_word(operation->state));
        if (operation->total > 0)
            table_add_format(table, "%.0f%%",
                             (double)operation->done / (double)operation->total * 100);
        else
            table_add_format(table, "-");
        table_add_format(table, "%.1f", (double)operation->milliseconds / 1000);
        table_add(table, cell(operation->phase));
    }
    table_print(table, output->file, output->color);
    table_free(table);
}
