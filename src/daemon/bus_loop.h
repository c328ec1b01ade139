/* bus_loop: the D-Bus door (bus/bus.h) on the libuv loop. */
#pragma once

#include <uv.h>

#include "bus/bus.h"

struct bus_loop {
    struct bus *bus; /* NULL: without a bus */
    uv_poll_t poll;
    uv_timer_t timer;
    uint64_t deadline; /* that the timer is set to */
    int events;        /* that are polled for, as poll(2) has them */
};

/* bus_open(), and then polls it. `bus` must stay where it is, and is without a bus on failure. */
int bus_loop_open(struct bus_loop *bus, uv_loop_t *loop, const struct bus_options *options,
                  struct failure *failure);
/* To be called before the loop blocks: what the bus waits for changes with every message. */
void bus_loop_prepare(struct bus_loop *bus);
/* As bus_status_changed(); nothing without a bus. */
void bus_loop_status_changed(struct bus_loop *bus);
/* Not to be called by what bus_process() calls. Nothing without a bus. */
void bus_loop_close(struct bus_loop *bus);
