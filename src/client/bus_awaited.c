/* What awaiting an operation over D-Bus gives: the results of the method that began it, by name. */
#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "client/bus_messages.h"

/* The results of all kinds of operations; what was read says which kind it was. */
struct results {
    Raftkv__V1__Response__BodyCase body; /* NOT_SET: nothing was read */
    uint64_t configuration_index;
    const char *leader;
    uint64_t index, milliseconds;
    int last;
};

static int read_result(sd_bus_message *m, const char *name, struct results *results) {
    if (strcmp(name, "configuration_index") == 0) {
        results->body = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION;
        return sd_bus_message_read(m, "v", "t", &results->configuration_index);
    }
    if (strcmp(name, "leader") == 0) {
        results->body = RAFTKV__V1__RESPONSE__BODY_TRANSFER_LEADERSHIP;
        return sd_bus_message_read(m, "v", "s", &results->leader);
    }
    if (strcmp(name, "index") == 0) {
        results->body = RAFTKV__V1__RESPONSE__BODY_SNAPSHOT;
        return sd_bus_message_read(m, "v", "t", &results->index);
    }
    if (strcmp(name, "milliseconds") == 0)
        return sd_bus_message_read(m, "v", "t", &results->milliseconds);
    if (strcmp(name, "last") == 0) {
        results->body = RAFTKV__V1__RESPONSE__BODY_BACKUP;
        return sd_bus_message_read(m, "v", "b", &results->last);
    }
    return sd_bus_message_skip(m, "v");
}

static int read_results(sd_bus_message *m, struct results *results) {
    int r = sd_bus_message_enter_container(m, 'a', "{sv}");

    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
        const char *name;

        r = sd_bus_message_read(m, "s", &name);
        if (r >= 0)
            r = read_result(m, name, results);
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* Gives the response the body that the results are. */
static int set_body(Raftkv__V1__Response *response, const struct results *results) {
    switch (results->body) {
    case RAFTKV__V1__RESPONSE__BODY_CONFIGURATION:
        response->configuration = xmalloc(sizeof *response->configuration);
        raftkv__v1__configuration_response__init(response->configuration);
        response->configuration->configuration_index = results->configuration_index;
        break;
    case RAFTKV__V1__RESPONSE__BODY_TRANSFER_LEADERSHIP:
        response->transfer_leadership = xmalloc(sizeof *response->transfer_leadership);
        raftkv__v1__transfer_leadership_response__init(response->transfer_leadership);
        response->transfer_leadership->leader = xstrdup(results->leader);
        break;
    case RAFTKV__V1__RESPONSE__BODY_SNAPSHOT:
        response->snapshot = xmalloc(sizeof *response->snapshot);
        raftkv__v1__snapshot_response__init(response->snapshot);
        response->snapshot->index = results->index;
        response->snapshot->milliseconds = results->milliseconds;
        break;
    case RAFTKV__V1__RESPONSE__BODY_BACKUP:
        response->backup = xmalloc(sizeof *response->backup);
        raftkv__v1__backup_response__init(response->backup);
        response->backup->last = results->last;
        break;
    default:
        return -EBADMSG;
    }
    response->body_case = results->body;
    return 0;
}

int bus_read_awaited(sd_bus_message *m, Raftkv__V1__Response *result) {
    struct results results = {.body = RAFTKV__V1__RESPONSE__BODY__NOT_SET};
    int r = read_results(m, &results);

    return r < 0 ? r : set_body(result, &results);
}
