#include "daemon/bus_loop.h"

#include <poll.h>

#include "base/check.h"
#include "base/journal.h"
#include "base/memory.h"

enum { RETRY_FIRST_MS = 1000, RETRY_MAX_MS = 30000 };

/* One connection and what polls it. */
struct attachment {
    struct bus_loop *owner;
    struct bus *bus;
    bool was_ready;
    uv_poll_t poll;
    uv_timer_t timer;
    unsigned handles;  /* that are open */
    uint64_t deadline; /* that the timer is set to */
    int events;        /* that are polled for, as poll(2) has them */
};

static void handle_closed(uv_handle_t *handle) {
    struct attachment *attachment = handle->data;

    if (--attachment->handles == 0)
        free(attachment);
}

/* The handles go first, while the descriptor is still the bus's. */
static void detach(struct bus_loop *bus) {
    struct attachment *attachment = bus->attachment;

    if (!attachment)
        return;
    bus->attachment = NULL;
    uv_close((uv_handle_t *)&attachment->poll, handle_closed);
    uv_close((uv_handle_t *)&attachment->timer, handle_closed);
    attachment->bus = bus_close(attachment->bus);
}

static void attach(struct bus_loop *bus, struct bus *to) {
    struct attachment *attachment = xcalloc(1, sizeof *attachment);

    *attachment =
        (struct attachment){.owner = bus, .bus = to, .handles = 2, .deadline = UINT64_MAX};
    check(uv_poll_init(bus->loop, &attachment->poll, bus_fd(to)) == 0);
    check(uv_timer_init(bus->loop, &attachment->timer) == 0);
    attachment->poll.data = attachment->timer.data = attachment;
    bus->attachment = attachment;
}

/* ---- trying again ---- */

static void retry_due(uv_timer_t *timer);

static void retry_later(struct bus_loop *bus) {
    check(uv_timer_start(&bus->retry, retry_due, bus->retry_after_ms, 0) == 0);
    bus->retry_after_ms *= 2;
    if (bus->retry_after_ms > RETRY_MAX_MS)
        bus->retry_after_ms = RETRY_MAX_MS;
}

static void retry_due(uv_timer_t *timer) {
    struct bus_loop *bus = timer->data;
    struct failure failure;
    struct bus *again;

    if (bus_begin(&again, &bus->options, &failure) == 0)
        attach(bus, again);
    else
        retry_later(bus);
}

/* The first attempts that fail are silent: the loss was said. */
static void lose(struct bus_loop *bus, const struct failure *failure) {
    if (bus->attachment->was_ready)
        journal(LOG_WARNING, "%s This node answers over TCP only until the bus is back.",
                failure->message);
    detach(bus);
    retry_later(bus);
}

/* ---- processing ---- */

static void process(struct bus_loop *bus) {
    struct attachment *attachment = bus->attachment;
    struct failure failure;

    if (!attachment)
        return;
    if (bus_process(attachment->bus, &failure) != 0) {
        lose(bus, &failure);
        return;
    }
    if (attachment->was_ready || !bus_ready(attachment->bus))
        return;
    attachment->was_ready = true;
    bus->retry_after_ms = RETRY_FIRST_MS;
    journal(LOG_NOTICE, "This node is on the bus '%s' again.", bus->options.address);
}

static void readable_or_writable(uv_poll_t *poll, int status, int events) {
    struct attachment *attachment = poll->data;

    (void)events;
    if (status < 0)
        attachment->events = -1; /* libuv polls no longer; bus_process() finds out why */
    process(attachment->owner);
}

static void timed(uv_timer_t *timer) {
    struct attachment *attachment = timer->data;

    attachment->deadline = UINT64_MAX;
    process(attachment->owner);
}

static void poll_for(struct attachment *attachment, int events) {
    int wanted = (events & POLLIN ? UV_READABLE : 0) | (events & POLLOUT ? UV_WRITABLE : 0);

    if (events == attachment->events)
        return;
    attachment->events = events;
    check(uv_poll_start(&attachment->poll, wanted, readable_or_writable) == 0);
}

static void wait_until(struct attachment *attachment, uint64_t deadline) {
    uint64_t now = uv_hrtime() / 1000; /* CLOCK_MONOTONIC, as the deadline */

    if (deadline == attachment->deadline)
        return;
    attachment->deadline = deadline;
    if (deadline == UINT64_MAX) {
        uv_timer_stop(&attachment->timer);
        return;
    }
    uv_update_time(attachment->timer.loop);
    check(uv_timer_start(&attachment->timer, timed,
                         deadline > now ? (deadline - now + 999) / 1000 : 0, 0) == 0);
}

void bus_loop_prepare(struct bus_loop *bus) {
    if (!bus->attachment)
        return;
    poll_for(bus->attachment, bus_events(bus->attachment->bus));
    wait_until(bus->attachment, bus_deadline(bus->attachment->bus));
}

void bus_loop_status_changed(struct bus_loop *bus) {
    if (bus->attachment)
        bus_status_changed(bus->attachment->bus);
}

void bus_loop_add_statistics(const struct bus_loop *bus, struct statistics *statistics) {
    if (bus->attachment)
        bus_add_statistics(bus->attachment->bus, statistics);
}

/* ---- beginning and end ---- */

int bus_loop_open(struct bus_loop *bus, uv_loop_t *loop, const struct bus_options *options,
                  struct failure *failure) {
    struct bus *first;
    int r;

    *bus = (struct bus_loop){.loop = loop, .options = *options, .retry_after_ms = RETRY_FIRST_MS};
    check(uv_timer_init(loop, &bus->retry) == 0);
    bus->retry.data = bus;
    r = bus_open(&first, options, failure);
    if (r != 0) {
        retry_later(bus);
        return r;
    }
    attach(bus, first);
    bus->attachment->was_ready = true;
    return 0;
}

void bus_loop_close(struct bus_loop *bus) {
    if (!bus->loop)
        return;
    detach(bus);
    uv_close((uv_handle_t *)&bus->retry, NULL);
    bus->loop = NULL;
}
