/*
 * clients: what users do, and what they were told. Each client has one request under way at a time,
 * at a node by chance. Every answer is held against the model: by its revision, and by what had
 * been answered before the request began.
 */
#pragma once

#include "machine.h"

struct clients_options {
    unsigned count, keys;
    uint64_t pause; /* microseconds between two requests of a client, at most */
    size_t value_max;
};
void clients_start(const struct clients_options *options);
void clients_stop(void);
/* The machine has died, and with it the answers to what it was asked. */
void clients_lose(struct machine *machine);
/* The machine is paused: some requests wait for it, and are what it sees first when it goes on. */
void clients_wait_for(struct machine *machine);
/* No request is under way. */
bool clients_idle(void);
/* One write; true in *ret_done when it has been acknowledged. */
void clients_write(struct machine *machine, bool *ret_done);
/* At the end: what was refused never happened, and what was acknowledged did. */
void clients_check(void);

struct clients_figures {
    uint64_t acknowledged, refused, unknown, reads;
};
const struct clients_figures *clients_figures(void);
