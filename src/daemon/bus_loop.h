/* bus_loop: the D-Bus door (bus/bus.h) on the libuv loop. A bus that is lost, or was not there, is
 * tried again until it is there: after a second, and then ever more seldom, up to every 30 s. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "bus/bus.h"

struct attachment;

struct bus_loop {
    uv_loop_t *loop; /* NULL: no bus is wanted */
    struct bus_options options;
    struct attachment *attachment; /* to the bus; NULL: without one */
    uv_timer_t retry;
    uint64_t retry_after_ms; /* the next one */
};

/* bus_open(), and then polls it. When that fails it is tried again; who can't do without a bus
 * calls bus_loop_close(). `bus` must stay where it is while the loop runs, and what `options` point
 * to, too.
 */
int bus_loop_open(struct bus_loop *bus, uv_loop_t *loop, const struct bus_options *options,
                  struct failure *failure);
/* To be called before the loop blocks: what the bus waits for changes with every message. */
void bus_loop_prepare(struct bus_loop *bus);
/* As bus_status_changed(); nothing without a bus. */
void bus_loop_status_changed(struct bus_loop *bus);
/* As bus_add_statistics(); nothing without a bus. */
void bus_loop_add_statistics(const struct bus_loop *bus, struct statistics *statistics);
/* Not to be called by what bus_process() calls. Nothing when no bus is wanted. */
void bus_loop_close(struct bus_loop *bus);
