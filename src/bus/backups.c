#include "bus/backups.h"

#include <string.h>

#include "base/memory.h"
#include "bus/connection.h"

static int read_body(Raftkv__V1__Request *request, uint64_t token, uint64_t sequence, bool end) {
    Raftkv__V1__BackupRequest *body = xmalloc(sizeof *body);

    raftkv__v1__backup_request__init(body);
    body->token = token;
    body->sequence = sequence;
    body->end = end;
    request->body_case = RAFTKV__V1__REQUEST__BODY_BACKUP;
    request->backup = body;
    return 0;
}

static int read_read(sd_bus_message *message, Raftkv__V1__Request *request) {
    uint64_t token, sequence;
    int r = sd_bus_message_read(message, "tt", &token, &sequence);

    return r < 0 ? r : read_body(request, token, sequence, false);
}

static int write_read(sd_bus_message *reply, const Raftkv__V1__Response *response,
                      struct failure *failure) {
    const Raftkv__V1__BackupResponse *backup = response->backup;
    int r = sd_bus_message_append(reply, "t", backup->token);

    (void)failure;
    if (r >= 0)
        r = sd_bus_message_append_array(reply, 'y', backup->header.data, backup->header.len);
    if (r >= 0)
        r = sd_bus_message_append_array(reply, 'y', backup->chunk.data, backup->chunk.len);
    return r < 0 ? r : results_append(reply, "b", (int)backup->last);
}

static int read_end(sd_bus_message *message, Raftkv__V1__Request *request) {
    uint64_t token;
    int r = sd_bus_message_read(message, "t", &token);

    return r < 0 ? r : read_body(request, token, 0, true);
}

static int write_end(sd_bus_message *reply, const Raftkv__V1__Response *response,
                     struct failure *failure) {
    (void)reply;
    (void)response;
    (void)failure;
    return 0;
}

/* ---- who reads what ---- */

/* Those that the node has given up meanwhile make room for others. */
static void note(struct sender *sender, const Raftkv__V1__Response *response) {
    uint64_t token = response->backup->token;

    for (size_t i = 0; i < BACKUPS_MAX; i++)
        if (sender->backups[i] == token)
            return;
    memmove(sender->backups + 1, sender->backups, (BACKUPS_MAX - 1) * sizeof token);
    sender->backups[0] = token;
}

static void note_end(struct sender *sender, const Raftkv__V1__Response *response) {
    for (size_t i = 0; i < BACKUPS_MAX; i++)
        if (sender->backups[i] == response->backup->token)
            sender->backups[i] = 0;
}

bool backups_open(const struct sender *sender) {
    for (size_t i = 0; i < BACKUPS_MAX; i++)
        if (sender->backups[i] != 0)
            return true;
    return false;
}

static void nobody_cares(void *data, const Raftkv__V1__Response *response) {
    (void)data;
    (void)response;
}

void backups_leave(struct sender *sender) {
    for (size_t i = 0; i < BACKUPS_MAX; i++) {
        Raftkv__V1__Request *request;

        if (sender->backups[i] == 0)
            continue;
        request = xmalloc(sizeof *request);
        raftkv__v1__request__init(request);
        read_body(request, sender->backups[i], 0, true);
        (void)service_handle(sender->bus->service, request, nobody_cares, NULL);
    }
}

static const struct method methods[] = {
    {.member = "ReadBackup",
     .read = read_read,
     .body = RAFTKV__V1__RESPONSE__BODY_BACKUP,
     .write = write_read,
     .answered = note},
    {.member = "EndBackup",
     .read = read_end,
     .body = RAFTKV__V1__RESPONSE__BODY_BACKUP,
     .write = write_end,
     .answered = note_end},
    {.member = NULL},
};

int backups_handle(sd_bus_message *message, void *userdata, sd_bus_error *error) {
    (void)error;
    return method_call_arrived(userdata, message, methods);
}
