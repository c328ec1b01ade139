#include "daemon/bus_loop.h"

#include <poll.h>
#include <string.h>

#include "base/check.h"
#include "base/journal.h"

static void process(struct bus_loop *bus) {
    int r = bus->bus ? bus_process(bus->bus) : 0;

    if (r >= 0)
        return;
    journal(LOG_WARNING,
            "The connection to the bus is gone (%s); this node answers over TCP only until it is "
            "restarted",
            strerror(-r));
    bus_loop_close(bus);
}

static void readable_or_writable(uv_poll_t *poll, int status, int events) {
    struct bus_loop *bus = poll->data;

    (void)events;
    if (status < 0)
        bus->events = -1; /* libuv polls no longer; bus_process() finds out why */
    process(bus);
}

static void timed(uv_timer_t *timer) {
    struct bus_loop *bus = timer->data;

    bus->deadline = UINT64_MAX;
    process(bus);
}

int bus_loop_open(struct bus_loop *bus, uv_loop_t *loop, const struct bus_options *options,
                  struct failure *failure) {
    int r;

    *bus = (struct bus_loop){.deadline = UINT64_MAX};
    r = bus_open(&bus->bus, options, failure);
    if (r != 0)
        return r;
    check(uv_poll_init(loop, &bus->poll, bus_fd(bus->bus)) == 0);
    check(uv_timer_init(loop, &bus->timer) == 0);
    bus->poll.data = bus;
    bus->timer.data = bus;
    return 0;
}

static void poll_for(struct bus_loop *bus, int events) {
    int wanted = (events & POLLIN ? UV_READABLE : 0) | (events & POLLOUT ? UV_WRITABLE : 0);

    if (events == bus->events)
        return;
    bus->events = events;
    check(uv_poll_start(&bus->poll, wanted, readable_or_writable) == 0);
}

static void wait_until(struct bus_loop *bus, uint64_t deadline) {
    uint64_t now = uv_hrtime() / 1000; /* CLOCK_MONOTONIC, as the deadline */

    if (deadline == bus->deadline)
        return;
    bus->deadline = deadline;
    if (deadline == UINT64_MAX) {
        uv_timer_stop(&bus->timer);
        return;
    }
    uv_update_time(bus->timer.loop);
    check(uv_timer_start(&bus->timer, timed, deadline > now ? (deadline - now + 999) / 1000 : 0,
                         0) == 0);
}

void bus_loop_prepare(struct bus_loop *bus) {
    int events;

    if (!bus->bus)
        return;
    events = bus_events(bus->bus);
    if (events < 0) {
        process(bus);
        return;
    }
    poll_for(bus, events);
    wait_until(bus, bus_deadline(bus->bus));
}

void bus_loop_status_changed(struct bus_loop *bus) {
    if (bus->bus)
        bus_status_changed(bus->bus);
}

/* The handles go first, while the descriptor is still the bus's. */
void bus_loop_close(struct bus_loop *bus) {
    if (!bus->bus)
        return;
    uv_close((uv_handle_t *)&bus->poll, NULL);
    uv_close((uv_handle_t *)&bus->timer, NULL);
    bus->bus = bus_close(bus->bus);
}
