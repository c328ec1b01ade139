#include "client/output.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "client/text.h"

struct output output_standard(bool json) {
    const char *no_color = getenv("NO_COLOR");
    const char *terminal_name = getenv("TERM");
    struct output output = {.file = stdout, .json = json, .terminal = isatty(STDOUT_FILENO) == 1};

    output.color = output.terminal && !(no_color && *no_color) &&
                   !(terminal_name && strcmp(terminal_name, "dumb") == 0);
    return output;
}

/* ---- JSON ---- */

static void add_number(struct json_object *object, const char *name, uint64_t number) {
    json_object_object_add(object, name, json_object_new_uint64(number));
}

static void add_boolean(struct json_object *object, const char *name, bool value) {
    json_object_object_add(object, name, json_object_new_boolean(value));
}

static void add_string(struct json_object *object, const char *name, const char *text) {
    json_object_object_add(object, name, json_object_new_string(text));
}

static void add_id(struct json_object *object, const char *name, uint64_t id) {
    char text[17];

    snprintf(text, sizeof text, "%016" PRIx64, id);
    add_string(object, name, text);
}

/* The second name is for what is not text. */
static void add_bytes(struct json_object *object, const char *name, const char *base64_name,
                      const ProtobufCBinaryData *bytes) {
    _cleanup_free_ char *encoded = NULL;

    if (text_is_utf8(bytes->data, bytes->len)) {
        const char *text = bytes->len > 0 ? (const char *)bytes->data : "";

        json_object_object_add(object, name, json_object_new_string_len(text, (int)bytes->len));
        return;
    }
    encoded = text_base64(bytes->data, bytes->len);
    add_string(object, base64_name, encoded);
}

static struct json_object *json_item(const Raftkv__V1__KeyValue *item, bool with_value) {
    struct json_object *object = json_object_new_object();

    add_bytes(object, "key", "key_base64", &item->key);
    if (with_value)
        add_bytes(object, "value", "value_base64", &item->value);
    add_number(object, "create_revision", item->create_revision);
    add_number(object, "modify_revision", item->modify_revision);
    add_number(object, "version", item->version);
    return object;
}

static void print_json_part(const struct output *output, struct json_object *object) {
    fputs(json_object_to_json_string_ext(object,
                                         JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE),
          output->file);
    json_object_put(object);
}

static void print_json(const struct output *output, struct json_object *object) {
    print_json_part(output, object);
    fputc('\n', output->file);
}

/* ---- words ---- */

static const char *role_word(Raftkv__V1__Role role) {
    switch (role) {
    case RAFTKV__V1__ROLE__ROLE_VOTER:
        return "voter";
    case RAFTKV__V1__ROLE__ROLE_NONVOTER:
        return "non-voter";
    default:
        return "none";
    }
}

static const char *state_word(Raftkv__V1__State state) {
    switch (state) {
    case RAFTKV__V1__STATE__STATE_FOLLOWER:
        return "follower";
    case RAFTKV__V1__STATE__STATE_CANDIDATE:
        return "candidate";
    case RAFTKV__V1__STATE__STATE_LEADER:
        return "leader";
    default:
        return "unknown";
    }
}

static char *number_cell(bool known, uint64_t number) {
    return known ? xasprintf("%" PRIu64, number) : xstrdup("-");
}

/* Text from other nodes, which may hold anything a terminal would obey. */
static char *text_cell(const char *text) {
    return *text ? text_escape((const uint8_t *)text, strlen(text)) : xstrdup("-");
}

/* ---- answers ---- */

void output_put(const struct output *output, const Raftkv__V1__PutResponse *response) {
    if (output->json) {
        struct json_object *object = json_object_new_object();

        add_number(object, "revision", response->revision);
        add_boolean(object, "created", response->created);
        print_json(output, object);
        return;
    }
    fprintf(output->file, "revision %" PRIu64 "\n", response->revision);
}

void output_get(const struct output *output, const Raftkv__V1__GetResponse *response, bool raw) {
    const ProtobufCBinaryData *value = &response->item->value;
    _cleanup_free_ char *escaped = NULL;

    if (output->json) {
        struct json_object *object = json_item(response->item, true);

        add_number(object, "revision", response->revision);
        print_json(output, object);
        return;
    }
    if (output->terminal && !raw && !text_is_printable(value->data, value->len, true)) {
        escaped = text_escape(value->data, value->len);
        fputs(escaped, output->file);
    } else if (value->len > 0) {
        fwrite(value->data, 1, value->len, output->file);
    }
    if (!raw)
        fputc('\n', output->file);
}

void output_delete(const struct output *output, const Raftkv__V1__DeleteResponse *response) {
    if (output->json) {
        struct json_object *object = json_object_new_object();

        add_number(object, "revision", response->revision);
        add_boolean(object, "existed", response->existed);
        print_json(output, object);
        return;
    }
    fputs(response->existed ? "deleted\n" : "there was no such key\n", output->file);
}

static struct json_object *json_progress(const Raftkv__V1__SnapshotProgress *progress) {
    struct json_object *object = json_object_new_object();

    add_string(object, "member", progress->member);
    add_number(object, "bytes", progress->bytes);
    add_number(object, "total_bytes", progress->total_bytes);
    add_number(object, "milliseconds", progress->milliseconds);
    add_number(object, "percent", progress->percent);
    add_number(object, "bytes_per_second", progress->bytes_per_second);
    return object;
}

static void add_snapshots(struct json_object *object, const Raftkv__V1__MemberStatus *member) {
    struct json_object *sending = json_object_new_array();

    add_number(object, "snapshot_count", member->snapshot_count);
    add_number(object, "snapshot_index", member->snapshot_index);
    add_number(object, "snapshot_milliseconds", member->snapshot_milliseconds);
    add_number(object, "snapshot_bytes", member->snapshot_bytes);
    json_object_object_add(object, "receiving",
                           member->receiving ? json_progress(member->receiving) : NULL);
    for (size_t i = 0; i < member->n_sending; i++)
        json_object_array_add(sending, json_progress(member->sending[i]));
    json_object_object_add(object, "sending", sending);
}

static struct json_object *json_member_status(const Raftkv__V1__MemberStatus *member) {
    struct json_object *object = json_object_new_object();

    add_string(object, "name", member->name);
    add_id(object, "id", member->id);
    add_string(object, "role", role_word(member->role));
    add_string(object, "state", state_word(member->state));
    add_number(object, "term", member->term);
    add_string(object, "leader", member->leader);
    add_number(object, "commit_index", member->commit_index);
    add_number(object, "applied_index", member->applied_index);
    add_number(object, "first_index", member->first_index);
    add_number(object, "last_index", member->last_index);
    add_number(object, "lag", member->lag);
    add_boolean(object, "answers", member->answers);
    add_string(object, "error", member->error);
    add_string(object, "version", member->version);
    add_string(object, "peer_address", member->peer_address);
    add_string(object, "client_address", member->client_address);
    add_id(object, "cluster_id", member->cluster_id);
    add_string(object, "alarm", member->alarm);
    add_snapshots(object, member);
    return object;
}

static void add_status_row(struct table *table, const Raftkv__V1__MemberStatus *member) {
    bool answers = member->answers;

    table_add(table, text_cell(member->name));
    table_add_format(table, "%s", role_word(member->role));
    table_add_format(table, "%s", answers ? state_word(member->state) : "-");
    table_add(table, number_cell(answers, member->term));
    table_add(table, number_cell(answers, member->applied_index));
    table_add(table, number_cell(answers, member->lag));
    table_add(table, text_cell(member->client_address));
    if (answers && *member->alarm) {
        _cleanup_free_ char *alarm = text_cell(member->alarm);

        table_add_format(table, "yes: %s", alarm);
    } else if (answers || !*member->error)
        table_add_format(table, "%s", answers ? "yes" : "no");
    else
        table_add_format(table, "no: %s", member->error);
}

/* One side of a state's way. How much there is to come is an estimate. */
static void add_progress_row(struct table *table, const char *from, const char *to,
                             const Raftkv__V1__SnapshotProgress *progress) {
    table_add(table, text_cell(from));
    table_add(table, text_cell(to));
    table_add(table, number_cell(true, progress->bytes));
    table_add(table, number_cell(progress->total_bytes > 0, progress->total_bytes));
    table_add_format(table, "%u%%", progress->percent);
    table_add(table, number_cell(progress->milliseconds > 0, progress->bytes_per_second));
}

/* The states on their way, as their senders see them, or else as their receivers do. */
static void output_progress(const struct output *output, Raftkv__V1__MemberStatus **members,
                            size_t count) {
    static const char *const headers[] = {"FROM",    "TO",      "BYTES", "TOTAL",
                                          "PERCENT", "BYTES/S", NULL};
    struct table *table = table_new(headers);
    bool any_sent = false, any = false;

    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < members[i]->n_sending; j++) {
            add_progress_row(table, members[i]->name, members[i]->sending[j]->member,
                             members[i]->sending[j]);
            any_sent = any = true;
        }
    for (size_t i = 0; i < count && !any_sent; i++)
        if (members[i]->receiving) {
            add_progress_row(table, members[i]->receiving->member, members[i]->name,
                             members[i]->receiving);
            any = true;
        }
    if (any) {
        fputs("\nStates on their way:\n", output->file);
        table_print(table, output->file, output->color);
    }
    table_free(table);
}

void output_status(const struct output *output, const Raftkv__V1__StatusResponse *response) {
    static const char *const headers[] = {"NAME", "ROLE",    "STATE",   "TERM", "REVISION",
                                          "LAG",  "ADDRESS", "ANSWERS", NULL};
    struct table *table;

    /* A node that is in no cluster yet knows no members, but itself. */
    Raftkv__V1__MemberStatus **members =
        response->n_members ? response->members
                            : (Raftkv__V1__MemberStatus **)(uintptr_t)&response->self;
    size_t count = response->n_members ? response->n_members : 1;

    if (output->json) {
        struct json_object *object = json_object_new_object();
        struct json_object *array = json_object_new_array();

        add_string(object, "node", response->self->name);
        for (size_t i = 0; i < count; i++)
            json_object_array_add(array, json_member_status(members[i]));
        json_object_object_add(object, "members", array);
        print_json(output, object);
        return;
    }
    table = table_new(headers);
    for (size_t i = 0; i < count; i++)
        add_status_row(table, members[i]);
    table_print(table, output->file, output->color);
    table_free(table);
    output_progress(output, members, count);
}

static struct json_object *json_member(const Raftkv__V1__Member *member) {
    struct json_object *object = json_object_new_object();

    add_string(object, "name", member->name);
    add_id(object, "id", member->id);
    add_string(object, "role", role_word(member->role));
    add_string(object, "peer_address", member->peer_address);
    add_string(object, "client_address", member->client_address);
    add_boolean(object, "leader", member->leader);
    add_boolean(object, "promoting", member->promoting);
    return object;
}

static const char *member_role(const Raftkv__V1__Member *member) {
    if (member->promoting)
        return "non-voter (becomes voter)";
    return role_word(member->role);
}

void output_members(const struct output *output, const Raftkv__V1__MembersResponse *response) {
    static const char *const headers[] = {"NAME", "ID", "ROLE", "LEADER", "PEERS", "CLIENTS", NULL};
    struct table *table;

    if (output->json) {
        struct json_object *object = json_object_new_object();
        struct json_object *array = json_object_new_array();

        add_id(object, "cluster_id", response->cluster_id);
        add_number(object, "configuration_index", response->configuration_index);
        for (size_t i = 0; i < response->n_members; i++)
            json_object_array_add(array, json_member(response->members[i]));
        json_object_object_add(object, "members", array);
        print_json(output, object);
        return;
    }
    table = table_new(headers);
    for (size_t i = 0; i < response->n_members; i++) {
        const Raftkv__V1__Member *member = response->members[i];

        table_add(table, text_cell(member->name));
        table_add_format(table, "%016" PRIx64, member->id);
        table_add_format(table, "%s", member_role(member));
        table_add_format(table, "%s", member->leader ? "yes" : "no");
        table_add(table, text_cell(member->peer_address));
        table_add(table, text_cell(member->client_address));
    }
    table_print(table, output->file, output->color);
    table_free(table);
    fprintf(output->file, "Cluster %016" PRIx64 ", configuration index %" PRIu64 "\n",
            response->cluster_id, response->configuration_index);
}

void output_configuration(const struct output *output,
                          const Raftkv__V1__ConfigurationResponse *response) {
    if (output->json) {
        struct json_object *object = json_object_new_object();

        add_number(object, "configuration_index", response->configuration_index);
        print_json(output, object);
        return;
    }
    fprintf(output->file, "configuration index %" PRIu64 "\n", response->configuration_index);
}

void output_transfer(const struct output *output,
                     const Raftkv__V1__TransferLeadershipResponse *response) {
    _cleanup_free_ char *leader = NULL;

    if (output->json) {
        struct json_object *object = json_object_new_object();

        add_string(object, "leader", response->leader);
        print_json(output, object);
        return;
    }
    leader = text_cell(response->leader);
    fprintf(output->file, "leader %s\n", leader);
}

void output_barrier(const struct output *output, const Raftkv__V1__BarrierResponse *response) {
    if (output->json) {
        struct json_object *object = json_object_new_object();

        add_number(object, "index", response->index);
        print_json(output, object);
        return;
    }
    fprintf(output->file, "index %" PRIu64 "\n", response->index);
}

void output_verify_leader(const struct output *output,
                          const Raftkv__V1__VerifyLeaderResponse *response) {
    _cleanup_free_ char *leader = NULL;

    if (output->json) {
        struct json_object *object = json_object_new_object();

        add_string(object, "leader", response->leader);
        add_number(object, "term", response->term);
        print_json(output, object);
        return;
    }
    leader = text_cell(response->leader);
    fprintf(output->file, "leader %s, term %" PRIu64 "\n", leader, response->term);
}

void output_snapshot(const struct output *output, const Raftkv__V1__SnapshotResponse *response) {
    if (output->json) {
        struct json_object *object = json_object_new_object();

        add_number(object, "index", response->index);
        add_number(object, "milliseconds", response->milliseconds);
        print_json(output, object);
        return;
    }
    fprintf(output->file, "index %" PRIu64 ", %" PRIu64 " ms\n", response->index,
            response->milliseconds);
}

void output_backup(const struct output *output, const struct backup_summary *summary) {
    const struct backup_header *header = &summary->header;
    _cleanup_free_ char *version =
        text_escape((const uint8_t *)header->version, strlen(header->version));

    if (output->json) {
        struct json_object *object = json_object_new_object();

        add_number(object, "index", header->snapshot.index);
        add_number(object, "term", header->snapshot.term);
        add_number(object, "records", summary->records);
        add_number(object, "bytes", summary->bytes);
        add_number(object, "size", summary->size);
        add_id(object, "cluster_id", header->cluster_id);
        add_string(object, "version", header->version);
        print_json(output, object);
        return;
    }
    fprintf(output->file,
            "index %" PRIu64 ", %" PRIu64 " keys with %" PRIu64 " bytes, of cluster %016" PRIx64
            ", written by raftkv %s\n",
            header->snapshot.index, summary->records, summary->bytes, header->cluster_id, version);
}

/* ---- lists ---- */

void output_list_begin(struct output_list *list, const struct output *output, bool keys_only) {
    static const char *const with_values[] = {"KEY", "REVISION", "VERSION", "VALUE", NULL};
    static const char *const without_values[] = {"KEY", "REVISION", "VERSION", NULL};

    *list = (struct output_list){.output = output, .keys_only = keys_only};
    if (output->json)
        fputs("{ \"items\": [", output->file);
    else
        list->table = table_new(keys_only ? without_values : with_values);
}

void output_list_page(struct output_list *list, const Raftkv__V1__ListResponse *page) {
    for (size_t i = 0; i < page->n_items; i++) {
        const Raftkv__V1__KeyValue *item = page->items[i];

        if (list->output->json) {
            fputs(list->started ? ", " : " ", list->output->file);
            list->started = true;
            print_json_part(list->output, json_item(item, !list->keys_only));
            continue;
        }
        table_add(list->table, text_escape(item->key.data, item->key.len));
        table_add_format(list->table, "%" PRIu64, item->modify_revision);
        table_add_format(list->table, "%" PRIu64, item->version);
        if (!list->keys_only)
            table_add(list->table, text_escape(item->value.data, item->value.len));
    }
    if (list->table)
        table_print(list->table, list->output->file, list->output->color);
}

void output_list_end(struct output_list *list, uint64_t revision, bool more) {
    if (list->output->json)
        fprintf(list->output->file, " ], \"revision\": %" PRIu64 ", \"more\": %s }\n", revision,
                more ? "true" : "false");
    list->table = table_free(list->table);
}
