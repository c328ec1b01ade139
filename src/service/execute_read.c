/* get and list: reads of the state, many in one job on the state lane. */
#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "service/internal.h"
#include "service/response.h"

struct read {
    struct call *call; /* held; not for the lane */
    const Raftkv__V1__Request *request;
    bool done;  /* false: the batch was full before */
    int result; /* of kv_get() or kv_list() */
    struct kv_item item;
    struct kv_list list;
    uint64_t revision;
};

/* A job. What it reads stays in the calls, which it holds. */
struct read_batch {
    struct job job;
    struct service *service; /* NULL once it is gone */
    struct state *state;
    size_t count;
    struct read reads[];
};

static void run_get(struct state *state, struct read *read, size_t *bytes) {
    const Raftkv__V1__GetRequest *get = read->request->get;

    read->result = kv_get(state, get->key.data, get->key.len, &read->item, &read->revision);
    if (read->result == 0)
        *bytes += read->item.key_size + read->item.value_size;
}

static void run_list(struct state *state, struct read *read, size_t *bytes) {
    const Raftkv__V1__ListRequest *list = read->request->list;
    const ProtobufCBinaryData *from = list->continuation.len ? &list->continuation : &list->from;
    struct kv_list_options options = {
        .prefix = list->prefix.data,
        .prefix_size = list->prefix.len,
        .from = from->data,
        .from_size = from->len,
        .limit = list->limit ? list->limit : LIST_ITEMS_DEFAULT,
        .max_bytes = list->max_bytes ? list->max_bytes : LIST_BYTES_DEFAULT,
        .keys_only = list->keys_only,
    };

    read->result = kv_list(state, &options, &read->list);
    if (read->result != 0)
        return;
    for (size_t i = 0; i < read->list.count; i++)
        *bytes +=
            sizeof(struct kv_item) + read->list.items[i].key_size + read->list.items[i].value_size;
}

/* On the state lane. */
static void run_batch(struct job *job) {
    struct read_batch *batch = container_of(job, struct read_batch, job);
    size_t bytes = 0;

    for (size_t i = 0; i < batch->count && bytes < READ_BATCH_BYTES_MAX; i++) {
        struct read *read = &batch->reads[i];

        if (read->request->body_case == RAFTKV__V1__REQUEST__BODY_GET)
            run_get(batch->state, read, &bytes);
        else
            run_list(batch->state, read, &bytes);
        read->done = true;
    }
}

static void answer_get(struct call *call, const struct read *read) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__GetResponse get = RAFTKV__V1__GET_RESPONSE__INIT;
    Raftkv__V1__KeyValue item = response_item(&read->item);

    get.item = &item;
    get.revision = read->revision;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_GET;
    response.get = &get;
    call_answer(call, &response);
}

static void answer_list(struct call *call, const struct read *read) {
    _cleanup_free_ Raftkv__V1__KeyValue *items = NULL;
    _cleanup_free_ Raftkv__V1__KeyValue **pointers = NULL;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__ListResponse list = RAFTKV__V1__LIST_RESPONSE__INIT;
    size_t count = read->list.count;

    items = xmalloc(count * sizeof *items);
    pointers = xmalloc(count * sizeof *pointers);
    for (size_t i = 0; i < count; i++) {
        items[i] = response_item(&read->list.items[i]);
        pointers[i] = &items[i];
    }
    list.n_items = count;
    list.items = pointers;
    if (read->list.more)
        list.continuation = (ProtobufCBinaryData){read->list.next_size, read->list.next};
    list.revision = read->list.revision;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_LIST;
    response.list = &list;
    call_answer(call, &response);
}

/* Without space to make room in its cache the state can be read again later. Otherwise its disk
 * fails, or what is on it is damaged: others serve better. */
static void answer_unreadable(struct call *call, int error) {
    struct service *service = call->service;

    if (error == -ENOSPC) {
        call_fail_with(call, ERROR_NO_SPACE,
                       "The state of member %s could not be read: its disk is full.",
                       service->identity->name);
        return;
    }
    call_fail_with(call, ERROR_INTERNAL, "The state of member %s could not be read: %s.",
                   service->identity->name, strerror(-error));
    service->node->state_failed(service->node->data, error);
}

static void answer_read(struct call *call, const struct read *read) {
    call->stage = CALL_ROUTING;
    if (read->result < 0)
        answer_unreadable(call, read->result);
    else if (read->result == ERROR_NOT_FOUND)
        call_fail_with(call, ERROR_NOT_FOUND, "There is no such key at revision %llu.",
                       (unsigned long long)read->revision);
    else if (read->result > 0)
        call_fail_with(call, read->result, "The %s failed: %s.", call->kind->name,
                       error_name(read->result));
    else if (call->request->body_case == RAFTKV__V1__REQUEST__BODY_GET)
        answer_get(call, read);
    else
        answer_list(call, read);
}

/* What did not fit into the batch goes before everything that came later. */
static void requeue_rest(struct read_batch *batch) {
    struct list rest;

    list_init(&rest);
    for (size_t i = 0; i < batch->count; i++) {
        struct call *call = batch->reads[i].call;

        if (batch->reads[i].done || call->ended)
            continue;
        call->stage = CALL_READ_READY;
        list_append(&rest, &call->link);
    }
    list_move(&rest, &batch->service->reads_ready);
    list_move(&batch->service->reads_ready, &rest);
}

static void batch_done(struct job *job) {
    struct read_batch *batch = container_of(job, struct read_batch, job);
    struct service *service = batch->service;

    if (service) {
        service->read_batch = NULL;
        requeue_rest(batch);
        read_submit(service); /* the lane goes on while this thread answers */
    }
    for (size_t i = 0; i < batch->count; i++) {
        struct read *read = &batch->reads[i];

        if (read->done && !read->call->ended)
            answer_read(read->call, read);
        kv_item_deinit(&read->item);
        kv_list_deinit(&read->list);
        call_release(read->call);
    }
    free(batch);
}

void read_submit(struct service *service) {
    struct read_batch *batch;
    struct list *element;
    size_t count = 0;

    if (service->read_batch || list_empty(&service->reads_ready))
        return;
    for (element = service->reads_ready.next;
         element != &service->reads_ready && count < READ_BATCH_MAX; element = element->next)
        count++;
    batch = xcalloc(1, sizeof *batch + count * sizeof *batch->reads);
    batch->job = (struct job){.run = run_batch, .done = batch_done};
    batch->service = service;
    batch->state = service->state;
    batch->count = count;
    for (size_t i = 0; i < count; i++) {
        struct call *call = container_of(list_pop(&service->reads_ready), struct call, link);

        call->stage = CALL_READING;
        call_hold(call);
        batch->reads[i].call = call;
        batch->reads[i].request = call->request;
    }
    service->read_batch = batch;
    service->host->submit(service->host, LANE_STATE, &batch->job);
}

void read_deinit(struct service *service) {
    if (service->read_batch)
        service->read_batch->service = NULL;
    service->read_batch = NULL;
}

void read_enqueue(struct call *call) {
    call->stage = CALL_READ_READY;
    list_append(&call->service->reads_ready, &call->link);
}

void call_read(struct call *call) {
    switch (call->request->body_case) {
    case RAFTKV__V1__REQUEST__BODY_MEMBERS:
        answer_members(call);
        break;
    case RAFTKV__V1__REQUEST__BODY_VERIFY_LEADER:
        answer_verified(call);
        break;
    default:
        read_enqueue(call);
        break;
    }
}

static void execute_read(struct call *call, bool stale) {
    struct service *service = call->service;
    struct member_view view;

    if (!stale) {
        read_index_wait(call);
        return;
    }
    member_get_view(service->member, &view);
    if (!view.readable) {
        call_fail_with(call, ERROR_UNAVAILABLE,
                       "Member %s has not caught up yet with what it knew before its restart; "
                       "read without stale, or ask another member.",
                       service->identity->name);
        return;
    }
    read_enqueue(call);
    read_submit(service);
}

void execute_get(struct call *call) {
    execute_read(call, call->request->get->stale);
}

void execute_list(struct call *call) {
    execute_read(call, call->request->list->stale);
}
