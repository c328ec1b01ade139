/* Who asks to join. */
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#include "base/memory.h"
#include "client/output.h"
#include "client/text.h"

static char *cell(const char *text) {
    return text_escape((const uint8_t *)text, strlen(text));
}

static struct json_object *json_node(const Raftkv__V1__PendingNode *node) {
    struct json_object *object = json_object_new_object();
    char id[17];

    snprintf(id, sizeof id, "%016" PRIx64, node->id);
    json_object_object_add(object, "name", json_object_new_string(node->name));
    json_object_object_add(object, "id", json_object_new_string(id));
    json_object_object_add(object, "peer_address", json_object_new_string(node->peer_address));
    json_object_object_add(object, "client_address", json_object_new_string(node->client_address));
    json_object_object_add(object, "milliseconds", json_object_new_uint64(node->milliseconds));
    return object;
}

static void print_json(const struct output *output, struct json_object *object) {
    fprintf(output->file, "%s\n",
            json_object_to_json_string_ext(object, JSON_C_TO_STRING_SPACED |
                                                       JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(object);
}

void output_pending(const struct output *output, const Raftkv__V1__PendingResponse *response) {
    static const char *const headers[] = {"NAME", "ID", "PEERS", "CLIENTS", "SECONDS", NULL};
    struct table *table;

    if (output->json) {
        struct json_object *object = json_object_new_object();
        struct json_object *array = json_object_new_array();

        for (size_t i = 0; i < response->n_nodes; i++)
            json_object_array_add(array, json_node(response->nodes[i]));
        json_object_object_add(object, "nodes", array);
        print_json(output, object);
        return;
    }
    table = table_new(headers);
    for (size_t i = 0; i < response->n_nodes; i++) {
        const Raftkv__V1__PendingNode *node = response->nodes[i];

        table_add(table, cell(node->name));
        table_add_format(table, "%016" PRIx64, node->id);
        table_add(table, cell(node->peer_address));
        table_add(table, cell(node->client_address));
        table_add_format(table, "%" PRIu64, node->milliseconds / 1000);
    }
    table_print(table, output->file, output->color);
    table_free(table);
}

void output_rejected(const struct output *output, const char *name) {
    struct json_object *object;

    if (!output->json) {
        fprintf(output->file, "%s is not added\n", name);
        return;
    }
    object = json_object_new_object();
    json_object_object_add(object, "rejected", json_object_new_string(name));
    print_json(output, object);
}
