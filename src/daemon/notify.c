#include "daemon/notify.h"

#include <inttypes.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "base/check.h"
#include "base/journal.h"

enum {
    STATUS_INTERVAL_MS = 1000,
    STATUS_SIZE = 512,
    CLOSING_MS = 60 * 1000, /* for what comes after the timeout of a stop: the last checkpoint */
};

/* The loop moves, for it has called this. */
static void feed_watchdog(uv_timer_t *timer) {
    struct notify *notify = timer->data;
    uint64_t longest = lanes_longest(notify->lanes);

    if (longest <= notify->watchdog / 2) {
        notify->hung_said = false;
        sd_notify(0, "WATCHDOG=1");
        return;
    }
    if (!notify->hung_said)
        journal_with(LOG_WARNING, (const char *const[]){MESSAGE_DISK_HANGS, NULL},
                     "A disk operation has been running for %" PRIu64
                     " ms; the watchdog is not fed until it ends",
                     longest / 1000000);
    notify->hung_said = true;
}

void notify_init(struct notify *notify, uv_loop_t *loop, struct lanes *lanes,
                 void (*describe)(void *data, char *text, size_t size), void *data) {
    *notify = (struct notify){.lanes = lanes, .describe = describe, .data = data};
    check(uv_timer_init(loop, &notify->status_timer) == 0);
    check(uv_timer_init(loop, &notify->watchdog_timer) == 0);
    notify->status_timer.data = notify;
    notify->watchdog_timer.data = notify;
}

static void status_due(uv_timer_t *timer);

static void tell(struct notify *notify, const char *prefix) {
    char status[STATUS_SIZE];

    notify->describe(notify->data, status, sizeof status);
    sd_notifyf(0, "%sSTATUS=%s", prefix, status);
    notify->changed = false;
    check(uv_timer_start(&notify->status_timer, status_due, STATUS_INTERVAL_MS, 0) == 0);
}

static void status_due(uv_timer_t *timer) {
    struct notify *notify = timer->data;

    if (notify->changed)
        tell(notify, "");
}

void notify_status_changed(struct notify *notify) {
    notify->changed = true;
    if (!uv_is_active((uv_handle_t *)&notify->status_timer))
        tell(notify, "");
}

void notify_starting(const char *status) {
    sd_notifyf(0, "STATUS=%s", status);
}

void notify_reloading(void) {
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, uv_hrtime() / 1000);
}

void notify_reloaded(struct notify *notify) {
    tell(notify, "READY=1\n");
}

void notify_ready(struct notify *notify) {
    uint64_t us;

    tell(notify, "READY=1\n");
    if (sd_watchdog_enabled(0, &us) <= 0)
        return;
    notify->watchdog = us * 1000;
    check(uv_timer_start(&notify->watchdog_timer, feed_watchdog, 0, us / 4000 + 1) == 0);
}

void notify_stopping(struct notify *notify, uint64_t timeout) {
    uv_timer_stop(&notify->status_timer);
    sd_notifyf(0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64, (timeout + CLOSING_MS) * 1000);
}

void notify_failed(const char *reason, int error) {
    if (error)
        sd_notifyf(0, "STATUS=%s\nERRNO=%d", reason, error);
    else
        sd_notifyf(0, "STATUS=%s", reason);
}

void notify_close(struct notify *notify) {
    uv_close((uv_handle_t *)&notify->status_timer, NULL);
    uv_close((uv_handle_t *)&notify->watchdog_timer, NULL);
}
