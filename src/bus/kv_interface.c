/* org.raftkv1.KV: dbus/org.raftkv1.KV.xml. */
#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "bus/call.h"
#include "bus/connection.h"
#include "bus/text.h"

/* Reads one argument, a string or an array of bytes, into a malloc'd copy. */
static int read_data(sd_bus_message *message, ProtobufCBinaryData *ret) {
    const void *data;
    size_t size;
    char type;
    int r = sd_bus_message_peek_type(message, &type, NULL);

    if (r < 0)
        return r;
    if (type == SD_BUS_TYPE_STRING) {
        const char *text;

        r = sd_bus_message_read_basic(message, SD_BUS_TYPE_STRING, &text);
        if (r < 0)
            return r;
        data = text;
        size = strlen(text);
    } else {
        r = sd_bus_message_read_array(message, SD_BUS_TYPE_BYTE, &data, &size);
        if (r < 0)
            return r;
    }
    ret->len = size;
    ret->data = size > 0 ? xmemdup(data, size) : NULL;
    return 0;
}

static int read_put(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__PutRequest *put = xmalloc(sizeof *put);
    int r;

    raftkv__v1__put_request__init(put);
    request->body_case = RAFTKV__V1__REQUEST__BODY_PUT;
    request->put = put;
    r = read_data(message, &put->key);
    return r < 0 ? r : read_data(message, &put->value);
}

static int write_put(sd_bus_message *reply, const Raftkv__V1__Response *response,
                     struct failure *failure) {
    (void)failure;
    return results_append(reply, "tb", response->put->revision, (int)response->put->created);
}

static int read_get(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__GetRequest *get = xmalloc(sizeof *get);

    raftkv__v1__get_request__init(get);
    request->body_case = RAFTKV__V1__REQUEST__BODY_GET;
    request->get = get;
    return read_data(message, &get->key);
}

static int read_get_stale(sd_bus_message *message, Raftkv__V1__Request *request) {
    int r = read_get(message, request);

    request->get->stale = true;
    return r;
}

static int write_text_value(sd_bus_message *reply, const Raftkv__V1__Response *response,
                            const char *instead, struct failure *failure) {
    const Raftkv__V1__KeyValue *item = response->get->item;
    int r;

    if (!item)
        return -EBADMSG;
    if (!text_valid(item->value.data, item->value.len))
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The value is not text (UTF-8 without NUL and without noncharacters): "
                           "use %s.",
                           instead);
    r = text_append(reply, &item->value);
    return r < 0 ? r : results_append(reply, "t", response->get->revision);
}

static int write_get(sd_bus_message *reply, const Raftkv__V1__Response *response,
                     struct failure *failure) {
    return write_text_value(reply, response, "GetBytes", failure);
}

static int write_get_stale(sd_bus_message *reply, const Raftkv__V1__Response *response,
                           struct failure *failure) {
    return write_text_value(reply, response, "GetStaleBytes", failure);
}

static int append_bytes(sd_bus_message *reply, const ProtobufCBinaryData *bytes) {
    return sd_bus_message_append_array(reply, SD_BUS_TYPE_BYTE, bytes->data, bytes->len);
}

static int write_get_bytes(sd_bus_message *reply, const Raftkv__V1__Response *response,
                           struct failure *failure) {
    const Raftkv__V1__KeyValue *item = response->get->item;
    int r;

    (void)failure;
    if (!item)
        return -EBADMSG;
    r = append_bytes(reply, &item->value);
    return r < 0 ? r
                 : results_append(reply, "tttt", item->create_revision, item->modify_revision,
                                  item->version, response->get->revision);
}

static int read_delete(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__DeleteRequest *delete = xmalloc(sizeof *delete);

    raftkv__v1__delete_request__init(delete);
    request->body_case = RAFTKV__V1__REQUEST__BODY_DELETE;
    request->delete_ = delete;
    return read_data(message, &delete->key);
}

static int write_delete(sd_bus_message *reply, const Raftkv__V1__Response *response,
                        struct failure *failure) {
    (void)failure;
    return results_append(reply, "tb", response->delete_->revision,
                          (int)response->delete_->existed);
}

static int read_list(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__ListRequest *list = xmalloc(sizeof *list);
    int r;

    raftkv__v1__list_request__init(list);
    request->body_case = RAFTKV__V1__REQUEST__BODY_LIST;
    request->list = list;
    r = read_data(message, &list->prefix);
    if (r < 0)
        return r;
    r = read_data(message, &list->from);
    if (r < 0)
        return r;
    return sd_bus_message_read_basic(message, SD_BUS_TYPE_UINT32, &list->limit);
}

static int read_list_bytes(sd_bus_message *message, Raftkv__V1__Request *request) {
    int r = read_list(message, request);

    if (r < 0)
        return r;
    r = sd_bus_message_read_basic(message, SD_BUS_TYPE_UINT64, &request->list->max_bytes);
    return r < 0 ? r : read_data(message, &request->list->continuation);
}

static int read_list_stale(sd_bus_message *message, Raftkv__V1__Request *request) {
    int r = read_list(message, request);

    request->list->stale = true;
    return r;
}

static int read_list_stale_bytes(sd_bus_message *message, Raftkv__V1__Request *request) {
    int r = read_list_bytes(message, request);

    request->list->stale = true;
    return r;
}

static int list_is_not_text(struct failure *failure, const char *what, const char *instead) {
    return failure_set(failure, ERROR_INVALID_ARGUMENT,
                       "%s is not text (UTF-8 without NUL and without noncharacters): use %s.",
                       what, instead);
}

static int append_text_item(sd_bus_message *reply, const Raftkv__V1__KeyValue *item,
                            const char *instead, struct failure *failure) {
    int r;

    if (!text_valid(item->key.data, item->key.len))
        return list_is_not_text(failure, "A key", instead);
    if (!text_valid(item->value.data, item->value.len))
        return list_is_not_text(failure, "A value", instead);
    r = sd_bus_message_open_container(reply, SD_BUS_TYPE_STRUCT, "ss");
    if (r < 0)
        return r;
    r = text_append(reply, &item->key);
    if (r < 0)
        return r;
    r = text_append(reply, &item->value);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* The service's continuation is the first key of the next page, so it serves as `from`. */
static int write_text_list(sd_bus_message *reply, const Raftkv__V1__Response *response,
                           const char *instead, struct failure *failure) {
    const Raftkv__V1__ListResponse *list = response->list;
    int r = sd_bus_message_open_container(reply, SD_BUS_TYPE_ARRAY, "(ss)");

    if (r < 0)
        return r;
    for (size_t i = 0; i < list->n_items; i++) {
        r = append_text_item(reply, list->items[i], instead, failure);
        if (r != 0)
            return r;
    }
    r = sd_bus_message_close_container(reply);
    if (r < 0)
        return r;
    if (!text_valid(list->continuation.data, list->continuation.len))
        return list_is_not_text(failure, "The key to continue from", instead);
    r = text_append(reply, &list->continuation);
    return r < 0 ? r : results_append(reply, "t", list->revision);
}

static int write_list(sd_bus_message *reply, const Raftkv__V1__Response *response,
                      struct failure *failure) {
    return write_text_list(reply, response, "ListBytes", failure);
}

static int write_list_stale(sd_bus_message *reply, const Raftkv__V1__Response *response,
                            struct failure *failure) {
    return write_text_list(reply, response, "ListStaleBytes", failure);
}

static int append_item(sd_bus_message *reply, const Raftkv__V1__KeyValue *item) {
    int r = sd_bus_message_open_container(reply, SD_BUS_TYPE_STRUCT, "ayayttt");

    if (r < 0)
        return r;
    r = append_bytes(reply, &item->key);
    if (r < 0)
        return r;
    r = append_bytes(reply, &item->value);
    if (r < 0)
        return r;
    r = results_append(reply, "ttt", item->create_revision, item->modify_revision, item->version);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int write_list_bytes(sd_bus_message *reply, const Raftkv__V1__Response *response,
                            struct failure *failure) {
    const Raftkv__V1__ListResponse *list = response->list;
    int r = sd_bus_message_open_container(reply, SD_BUS_TYPE_ARRAY, "(ayayttt)");

    (void)failure;
    if (r < 0)
        return r;
    for (size_t i = 0; i < list->n_items; i++) {
        r = append_item(reply, list->items[i]);
        if (r < 0)
            return r;
    }
    r = sd_bus_message_close_container(reply);
    if (r < 0)
        return r;
    r = append_bytes(reply, &list->continuation);
    return r < 0 ? r : results_append(reply, "t", list->revision);
}

static const struct method methods[] = {
    {.member = "Put", .read = read_put, .body = RAFTKV__V1__RESPONSE__BODY_PUT, .write = write_put},
    {.member = "PutBytes",
     .read = read_put,
     .body = RAFTKV__V1__RESPONSE__BODY_PUT,
     .write = write_put},
    {.member = "Get", .read = read_get, .body = RAFTKV__V1__RESPONSE__BODY_GET, .write = write_get},
    {.member = "GetBytes",
     .read = read_get,
     .body = RAFTKV__V1__RESPONSE__BODY_GET,
     .write = write_get_bytes},
    {.member = "GetStale",
     .read = read_get_stale,
     .body = RAFTKV__V1__RESPONSE__BODY_GET,
     .write = write_get_stale},
    {.member = "GetStaleBytes",
     .read = read_get_stale,
     .body = RAFTKV__V1__RESPONSE__BODY_GET,
     .write = write_get_bytes},
    {.member = "Delete",
     .read = read_delete,
     .body = RAFTKV__V1__RESPONSE__BODY_DELETE,
     .write = write_delete},
    {.member = "DeleteBytes",
     .read = read_delete,
     .body = RAFTKV__V1__RESPONSE__BODY_DELETE,
     .write = write_delete},
    {.member = "List",
     .read = read_list,
     .body = RAFTKV__V1__RESPONSE__BODY_LIST,
     .write = write_list},
    {.member = "ListBytes",
     .read = read_list_bytes,
     .body = RAFTKV__V1__RESPONSE__BODY_LIST,
     .write = write_list_bytes},
    {.member = "ListStale",
     .read = read_list_stale,
     .body = RAFTKV__V1__RESPONSE__BODY_LIST,
     .write = write_list_stale},
    {.member = "ListStaleBytes",
     .read = read_list_stale_bytes,
     .body = RAFTKV__V1__RESPONSE__BODY_LIST,
     .write = write_list_bytes},
    {.member = NULL},
};

static int handle(sd_bus_message *message, void *userdata, sd_bus_error *error) {
    (void)error;
    return method_call_arrived(userdata, message, methods);
}

/* clang-format off */
const sd_bus_vtable kv_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_ARGS("Put",
                            SD_BUS_ARGS("s", key, "s", value),
                            SD_BUS_RESULT("t", revision, "b", created),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("PutBytes",
                            SD_BUS_ARGS("ay", key, "ay", value),
                            SD_BUS_RESULT("t", revision, "b", created),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Get",
                            SD_BUS_ARGS("s", key),
                            SD_BUS_RESULT("s", value, "t", revision),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("GetBytes",
                            SD_BUS_ARGS("ay", key),
                            SD_BUS_RESULT("ay", value, "t", create_revision, "t", modify_revision,
                                          "t", version, "t", revision),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("GetStale",
                            SD_BUS_ARGS("s", key),
                            SD_BUS_RESULT("s", value, "t", revision),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("GetStaleBytes",
                            SD_BUS_ARGS("ay", key),
                            SD_BUS_RESULT("ay", value, "t", create_revision, "t", modify_revision,
                                          "t", version, "t", revision),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Delete",
                            SD_BUS_ARGS("s", key),
                            SD_BUS_RESULT("t", revision, "b", existed),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("DeleteBytes",
                            SD_BUS_ARGS("ay", key),
                            SD_BUS_RESULT("t", revision, "b", existed),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("List",
                            SD_BUS_ARGS("s", prefix, "s", from, "u", limit),
                            SD_BUS_RESULT("a(ss)", items, "s", continuation, "t", revision),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListBytes",
                            SD_BUS_ARGS("ay", prefix, "ay", from, "u", limit, "t", max_bytes,
                                        "ay", continuation),
                            SD_BUS_RESULT("a(ayayttt)", items, "ay", next_continuation,
                                          "t", revision),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListStale",
                            SD_BUS_ARGS("s", prefix, "s", from, "u", limit),
                            SD_BUS_RESULT("a(ss)", items, "s", continuation, "t", revision),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListStaleBytes",
                            SD_BUS_ARGS("ay", prefix, "ay", from, "u", limit, "t", max_bytes,
                                        "ay", continuation),
                            SD_BUS_RESULT("a(ayayttt)", items, "ay", next_continuation,
                                          "t", revision),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};
/* clang-format on */
