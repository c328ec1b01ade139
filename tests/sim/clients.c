#include "clients.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "admin.h"
#include "base/check.h"
#include "base/memory.h"
#include "linearizability.h"
#include "model.h"
#include "node/node.h"
#include "oracle.h"
#include "service/service.h"

enum { CLIENTS_MAX = 32, ANSWER_GRACE = 1500 * MS };

enum kind { KIND_PUT, KIND_DELETE, KIND_GET, KIND_STALE_GET, KIND_LIST };
enum outcome { OUTCOME_PENDING, OUTCOME_ACKNOWLEDGED, OUTCOME_REFUSED, OUTCOME_UNKNOWN };

/* What became of a put; for the end. */
struct put {
    enum outcome outcome;
    uint64_t revision;
};

struct client {
    unsigned number;
    struct happening happening;
    struct request *request; /* under way */
};

/* Stays in memory until it was answered, also when nobody waits for it any more. */
struct request {
    struct request *next; /* of all that wait */
    struct client *client;
    struct machine *machine;
    uint64_t life;
    enum kind kind;
    uint64_t number;
    unsigned key;   /* LIST: the limit */
    uint64_t floor; /* an answer shows at least this revision */
    uint64_t shown; /* a stale answer this one */
    uint64_t begun; /* number of the event */
    uint64_t deadline;
    uint64_t clock_deadline; /* by the machine's clock, milliseconds */
    uint64_t value_hash;
    bool lost; /* the machine died */
    bool *done;
    struct happening happening; /* when it is late */
    bool watched, answered;
};

static struct {
    struct clients_options options;
    struct client clients[CLIENTS_MAX];
    bool stopping;
    struct request *requests;
    uint64_t operations;
    uint64_t floor;   /* highest revision that anyone was shown by a write or a linearizable read */
    struct put *puts; /* by number */
    size_t put_capacity;
    struct {
        struct operation *operations;
        size_t count, capacity;
    } histories[MODEL_KEYS_MAX];
    struct clients_figures figures;
} world_clients;

#define all world_clients

/* ---- judging answers ---- */

static void shown(uint64_t revision) {
    if (revision > all.floor)
        all.floor = revision;
}

static struct put *put_of(uint64_t number) {
    if (number >= all.put_capacity) {
        size_t capacity = (size_t)(number + 1) * 2;

        all.puts = xrealloc(all.puts, capacity * sizeof *all.puts);
        memset(all.puts + all.put_capacity, 0, (capacity - all.put_capacity) * sizeof *all.puts);
        all.put_capacity = capacity;
    }
    return &all.puts[number];
}

/* Writes and linearizable reads of one key, for the search at the end. */
static void remember(const struct request *request, bool write, uint64_t value, uint64_t ended) {
    struct operation **operations = &all.histories[request->key].operations;
    size_t *count = &all.histories[request->key].count;
    size_t *capacity = &all.histories[request->key].capacity;

    if (*count == *capacity) {
        *capacity = *capacity ? *capacity * 2 : 64;
        *operations = xrealloc(*operations, *capacity * sizeof **operations);
    }
    (*operations)[(*count)++] = (struct operation){write, value, request->begun, ended};
}

/* It may take effect later, or never. */
static void remember_unknown(const struct request *request) {
    if (request->kind == KIND_PUT || request->kind == KIND_DELETE)
        remember(request, true, request->kind == KIND_PUT ? request->number : 0, NEVER);
}

static void judge_write(const struct request *request, uint64_t revision, bool existed) {
    unsigned key = 0;
    const struct version *version = model_write(revision, &key);

    must(version && key == request->key,
         "%s acknowledged a write of k%02u with revision %" PRIu64 ", which is another entry",
         request->machine->name, request->key, revision);
    if (request->kind == KIND_PUT)
        must(version->exists && version->operation == request->number &&
                 version->value_hash == request->value_hash,
             "revision %" PRIu64 " is not the write that got it as its answer", revision);
    else
        must(!version->exists, "revision %" PRIu64 " is not the delete that got it", revision);
    must(version->existed == existed, "the answer to revision %" PRIu64 " says that the key %s",
         revision, existed ? "existed" : "did not exist");
    remember(request, true, request->kind == KIND_PUT ? request->number : 0, world_event_count());
    must(revision > request->floor,
         "a write got revision %" PRIu64 ", but %" PRIu64 " had been answered before it began",
         revision, request->floor);
    shown(revision);
}

static void judge_get(const struct request *request, const Raftkv__V1__GetResponse *get,
                      uint64_t revision) {
    const struct version *version = model_at(request->key, revision);
    bool stale = request->kind == KIND_STALE_GET;

    must(revision <= model_last(), "%s answered from revision %" PRIu64 ", which nobody applied",
         request->machine->name, revision);
    must(stale || revision >= request->floor,
         "stale read: %s answered from revision %" PRIu64 ", but %" PRIu64
         " had been answered before the read began",
         request->machine->name, revision, request->floor);
    must(!stale || revision >= request->shown,
         "%s answered from revision %" PRIu64 ", but had shown %" PRIu64 " before",
         request->machine->name, revision, request->shown);
    must(version->exists == (get != NULL), "k%02u at revision %" PRIu64 " is %s on %s",
         request->key, revision, get ? "there" : "missing", request->machine->name);
    if (get)
        must(version->revision == get->item->modify_revision &&
                 version->create_revision == get->item->create_revision &&
                 version->version == get->item->version &&
                 version->value_hash == model_hash(get->item->value.data, get->item->value.len),
             "k%02u at revision %" PRIu64 " is another one on %s", request->key, revision,
             request->machine->name);
    if (stale && request->machine->shown < revision)
        request->machine->shown = revision;
    if (stale)
        return;
    remember(request, false, version->exists ? version->operation : 0, world_event_count());
    shown(revision);
}

static void judge_list(const struct request *request, const Raftkv__V1__ListResponse *list) {
    size_t found = 0;

    must(list->revision >= request->floor, "stale list: revision %" PRIu64 ", not %" PRIu64,
         list->revision, request->floor);
    must(list->revision <= model_last(), "a list at revision %" PRIu64, list->revision);
    for (unsigned key = 0; key < all.options.keys; key++) {
        const struct version *version = model_at(key, list->revision);

        if (!version->exists)
            continue;
        if (request->key > 0 && found == request->key)
            break;
        must(found < list->n_items, "k%02u is missing in a list at revision %" PRIu64, key,
             list->revision);
        must(list->items[found]->modify_revision == version->revision,
             "k%02u in a list at revision %" PRIu64 " has revision %" PRIu64 ", not %" PRIu64, key,
             list->revision, list->items[found]->modify_revision, version->revision);
        found++;
    }
    must(found == list->n_items, "a list at revision %" PRIu64 " has keys that are not there",
         list->revision);
    shown(list->revision);
}

/* The service says at which revision a key is missing in its sentence only. */
static uint64_t revision_in(const char *message) {
    uint64_t revision = 0;
    const char *number = strstr(message, "at revision ");

    must(number && sscanf(number, "at revision %" SCNu64, &revision) == 1,
         "NotFound without a revision: %s", message);
    return revision;
}

static void judge_error(struct request *request, const Raftkv__V1__Error *error) {
    bool write = request->kind == KIND_PUT || request->kind == KIND_DELETE;

    if (error->code == RAFTKV__V1__ERROR_CODE__ERROR_CODE_NOT_FOUND &&
        (request->kind == KIND_GET || request->kind == KIND_STALE_GET)) {
        judge_get(request, NULL, revision_in(error->message));
        all.figures.reads++;
        return;
    }
    /* Berkeley DB has given up on a full disk, and the node is about to. */
    must((error->code != RAFTKV__V1__ERROR_CODE__ERROR_CODE_INTERNAL ||
          request->machine->disk_trouble) &&
             error->code != RAFTKV__V1__ERROR_CODE__ERROR_CODE_INVALID_ARGUMENT,
         "%s answers: %s", request->machine->name, error->message);
    if (!write)
        return;
    if (error->outcome_unknown) {
        remember_unknown(request);
        all.figures.unknown++;
    } else {
        all.figures.refused++;
    }
    if (request->kind == KIND_PUT)
        put_of(request->number)->outcome =
            error->outcome_unknown ? OUTCOME_UNKNOWN : OUTCOME_REFUSED;
}

static void judge(struct request *request, const Raftkv__V1__Response *response) {
    if (response->error) {
        record("#%" PRIu64 " = %d%s", request->number, (int)response->error->code,
               response->error->outcome_unknown ? "?" : "");
        remark("%s", response->error->message);
        judge_error(request, response->error);
        return;
    }
    record("#%" PRIu64 " = ok", request->number);
    switch (request->kind) {
    case KIND_PUT:
        must(response->body_case == RAFTKV__V1__RESPONSE__BODY_PUT, "wrong answer");
        judge_write(request, response->put->revision, !response->put->created);
        *put_of(request->number) = (struct put){OUTCOME_ACKNOWLEDGED, response->put->revision};
        all.figures.acknowledged++;
        break;
    case KIND_DELETE:
        must(response->body_case == RAFTKV__V1__RESPONSE__BODY_DELETE, "wrong answer");
        judge_write(request, response->delete_->revision, response->delete_->existed);
        all.figures.acknowledged++;
        break;
    case KIND_GET:
    case KIND_STALE_GET:
        must(response->body_case == RAFTKV__V1__RESPONSE__BODY_GET, "wrong answer");
        judge_get(request, response->get, response->get->revision);
        all.figures.reads++;
        break;
    case KIND_LIST:
        must(response->body_case == RAFTKV__V1__RESPONSE__BODY_LIST, "wrong answer");
        judge_list(request, response->list);
        all.figures.reads++;
        break;
    }
}

/* ---- requests ---- */

static void next_request(struct happening *happening);

static void pause_client(struct client *client) {
    client->request = NULL;
    if (!all.stopping)
        world_after(chance_between(1, all.options.pause), &client->happening, next_request);
}

static void finish(struct request *request) {
    struct client *client = request->client;

    for (struct request **p = &all.requests; *p; p = &(*p)->next)
        if (*p == request) {
            *p = request->next;
            break;
        }
    if (client)
        pause_client(client);
    if (!request->watched)
        free(request);
}

/* When it must have been answered, by the world's clock and by the machine's. */
static uint64_t latest(const struct request *request) {
    uint64_t time = machine_excuse(request->machine, request->deadline) + ANSWER_GRACE;
    uint64_t by_clock =
        machine_clock_reaches(request->machine, request->clock_deadline + ANSWER_GRACE / MS);

    return by_clock > time ? by_clock : time;
}

static bool overdue(const struct request *request) {
    return world_now() > machine_excuse(request->machine, request->deadline) + ANSWER_GRACE &&
           machine_clock(request->machine) > request->clock_deadline + ANSWER_GRACE / MS;
}

static void answered(void *data, const Raftkv__V1__Response *response) {
    struct request *request = data;

    must(!request->answered, "a request was answered twice");
    request->answered = true;
    if (request->lost) {
        if (!request->watched)
            free(request);
        return;
    }
    must(!overdue(request), "%s answers #%" PRIu64 " too late", request->machine->name,
         request->number);
    judge(request, response);
    if (request->done && !response->error)
        *request->done = true;
    finish(request);
}

/* Every request is answered by its deadline, as long as the node lives. */
static void late(struct happening *happening) {
    struct request *request = container_of(happening, struct request, happening);

    request->watched = false;
    if (request->answered) {
        free(request);
        return;
    }
    if (!request->lost && !overdue(request)) {
        request->watched = true;
        world_at(latest(request) + 1, happening, late);
        return;
    }
    must(request->lost, "%s never answers #%" PRIu64, request->machine->name, request->number);
}

static void hand_in(struct request *request, Raftkv__V1__Request *message) {
    struct service *service = node_service(request->machine->node);
    ProtobufCMessage *unpacked = NULL;
    const char *reason = "";
    uint8_t *data;
    size_t size;
    int r;

    message->id = request->number;
    message->timeout_ms = (uint32_t)((request->deadline - world_now()) / MS);
    data = pack(&message->base, 0, &size);
    r = unpack(&raftkv__v1__request__descriptor, data, size, &unpack_client_limits, &unpacked,
               &reason);
    must(r == 0, "a request does not unpack: %s", reason);
    free(data);
    request->next = all.requests;
    all.requests = request;
    request->watched = true;
    world_at(latest(request) + 1, &request->happening, late);
    service_handle(service, (Raftkv__V1__Request *)unpacked, answered, request);
}

static struct machine *any_machine(void) {
    struct machine *machine = &machines[chance_between(1, machine_count)];

    for (unsigned i = 0; i < machine_count && !machine_up(machine); i++)
        machine = &machines[machine->number % machine_count + 1];
    return machine_up(machine) ? machine : NULL;
}

static struct request *new_request(struct machine *machine, struct client *client, enum kind kind,
                                   uint64_t timeout) {
    struct request *request = xcalloc(1, sizeof *request);

    *request = (struct request){
        .client = client,
        .machine = machine,
        .life = machine->life,
        .kind = kind,
        .number = ++all.operations,
        .floor = all.floor,
        .shown = machine->shown,
        .begun = world_event_count(),
        .deadline = world_now() + timeout,
        .clock_deadline = machine_clock(machine) + timeout / MS,
    };
    return request;
}

static void send_put(struct request *request, unsigned key, size_t size) {
    Raftkv__V1__Request message;
    Raftkv__V1__PutRequest put;
    _cleanup_free_ uint8_t *value = model_value(request->number, size);
    char name[8];

    raftkv__v1__request__init(&message);
    raftkv__v1__put_request__init(&put);
    request->key = key;
    request->value_hash = model_hash(value, size);
    put_of(request->number)->outcome = OUTCOME_PENDING;
    put.key = (ProtobufCBinaryData){model_key(key, name, sizeof name), (uint8_t *)name};
    put.value = (ProtobufCBinaryData){size, value};
    message.body_case = RAFTKV__V1__REQUEST__BODY_PUT;
    message.put = &put;
    record("#%" PRIu64 " %s: put k%02u, %zu bytes", request->number, request->machine->name, key,
           size);
    hand_in(request, &message);
}

static void send_delete(struct request *request, unsigned key) {
    Raftkv__V1__Request message;
    Raftkv__V1__DeleteRequest delete;
    char name[8];

    raftkv__v1__request__init(&message);
    raftkv__v1__delete_request__init(&delete);
    request->key = key;
    delete.key = (ProtobufCBinaryData){model_key(key, name, sizeof name), (uint8_t *)name};
    message.body_case = RAFTKV__V1__REQUEST__BODY_DELETE;
    message.delete_ = &delete;
    record("#%" PRIu64 " %s: delete k%02u", request->number, request->machine->name, key);
    hand_in(request, &message);
}

static void send_get(struct request *request, unsigned key) {
    Raftkv__V1__Request message;
    Raftkv__V1__GetRequest get;
    char name[8];

    raftkv__v1__request__init(&message);
    raftkv__v1__get_request__init(&get);
    request->key = key;
    get.key = (ProtobufCBinaryData){model_key(key, name, sizeof name), (uint8_t *)name};
    get.stale = request->kind == KIND_STALE_GET;
    message.body_case = RAFTKV__V1__REQUEST__BODY_GET;
    message.get = &get;
    record("#%" PRIu64 " %s: get k%02u%s", request->number, request->machine->name, key,
           get.stale ? " stale" : "");
    hand_in(request, &message);
}

static void send_list(struct request *request, unsigned limit) {
    Raftkv__V1__Request message;
    Raftkv__V1__ListRequest list;

    raftkv__v1__request__init(&message);
    raftkv__v1__list_request__init(&list);
    request->key = limit;
    list.limit = limit;
    list.keys_only = chance_one_in(2);
    message.body_case = RAFTKV__V1__REQUEST__BODY_LIST;
    message.list = &list;
    record("#%" PRIu64 " %s: list", request->number, request->machine->name);
    hand_in(request, &message);
}

static size_t value_size(void) {
    if (chance_one_in(50))
        return chance_between(8, all.options.value_max);
    return chance_between(8, 300);
}

static void next_request(struct happening *happening) {
    struct client *client = container_of(happening, struct client, happening);
    struct machine *machine = chance_one_in(10) ? any_machine() : admin_any_member();
    unsigned key = (unsigned)chance_below(all.options.keys);
    uint64_t timeout = chance_latency(50 * MS, 10 * SECOND), die = chance_below(100);

    if (!machine || all.stopping) {
        pause_client(client);
        return;
    }
    if (die < 45)
        send_put(client->request = new_request(machine, client, KIND_PUT, timeout), key,
                 value_size());
    else if (die < 55)
        send_delete(client->request = new_request(machine, client, KIND_DELETE, timeout), key);
    else if (die < 85)
        send_get(client->request = new_request(machine, client, KIND_GET, timeout), key);
    else if (die < 93)
        send_get(client->request = new_request(machine, client, KIND_STALE_GET, timeout), key);
    else
        send_list(client->request = new_request(machine, client, KIND_LIST, timeout),
                  (unsigned)chance_below(4));
    machine_turn(machine);
}

struct waiting {
    struct happening happening;
    struct machine *machine;
    uint64_t life;
};

static void reach(struct happening *happening) {
    struct waiting *waiting = container_of(happening, struct waiting, happening);
    struct machine *machine = waiting->machine;

    if (machine->life == waiting->life && machine_up(machine) && !all.stopping) {
        send_get(new_request(machine, NULL, KIND_GET, SECOND),
                 (unsigned)chance_below(all.options.keys));
        machine_turn(machine);
    }
    free(waiting);
}

void clients_wait_for(struct machine *machine) {
    for (uint64_t i = chance_below(4); i > 0; i--) {
        struct waiting *waiting = xcalloc(1, sizeof *waiting);

        waiting->machine = machine;
        waiting->life = machine->life;
        world_at(machine->paused_until, &waiting->happening, reach);
    }
}

/* ---- beginning and end ---- */

void clients_start(const struct clients_options *options) {
    check(options->count <= CLIENTS_MAX && options->keys <= MODEL_KEYS_MAX);
    all.options = *options;
    for (unsigned i = 0; i < options->count; i++) {
        all.clients[i].number = i + 1;
        pause_client(&all.clients[i]);
    }
}

void clients_stop(void) {
    all.stopping = true;
}

bool clients_idle(void) {
    return !all.requests;
}

void clients_lose(struct machine *machine) {
    struct request *next;

    for (struct request *request = all.requests; request; request = next) {
        next = request->next;
        if (request->machine != machine)
            continue;
        record("#%" PRIu64 " is lost", request->number);
        remember_unknown(request);
        if (request->kind == KIND_PUT || request->kind == KIND_DELETE)
            all.figures.unknown++;
        if (request->kind == KIND_PUT)
            put_of(request->number)->outcome = OUTCOME_UNKNOWN;
        request->lost = true;
        for (struct request **p = &all.requests; *p; p = &(*p)->next)
            if (*p == request) {
                *p = request->next;
                break;
            }
        if (request->client)
            pause_client(request->client);
    }
}

void clients_write(struct machine *machine, bool *ret_done) {
    struct request *request = new_request(machine, NULL, KIND_PUT, 10 * SECOND);

    request->done = ret_done;
    send_put(request, 0, 16);
    machine_turn(machine);
}

static void check_histories(void) {
    for (unsigned key = 0; key < all.options.keys; key++) {
        size_t count = all.histories[key].count;

        must(linearizable(all.histories[key].operations, count),
             "the history of k%02u (%zu operations) is not linearizable", key, count);
    }
}

void clients_check(void) {
    check_histories();
    for (uint64_t i = 1; i < all.put_capacity; i++) {
        uint64_t revision = model_operation(i);

        if (all.puts[i].outcome == OUTCOME_ACKNOWLEDGED)
            must(revision == all.puts[i].revision, "the acknowledged put #%" PRIu64 " is gone", i);
        if (all.puts[i].outcome == OUTCOME_REFUSED)
            must(revision == 0,
                 "put #%" PRIu64 " was refused without a doubt, but took effect at %" PRIu64, i,
                 revision);
    }
}

const struct clients_figures *clients_figures(void) {
    return &all.figures;
}
