/*
 * notify: what the daemon tells systemd (sd_notify(3)): that it is ready, how it is, that it stops,
 * and that it is alive. Without systemd all of it does nothing.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "daemon/lanes.h"

struct notify {
    struct lanes *lanes;
    uv_timer_t status_timer; /* runs for a second after each status */
    uv_timer_t watchdog_timer;
    uint64_t watchdog; /* ns; 0: none */
    bool hung_said;    /* that a lane hangs */
    bool changed;      /* since the last status */
    /* Writes the present status, a line of text. */
    void (*describe)(void *data, char *text, size_t size);
    void *data;
};

/* `notify` must stay where it is. */
void notify_init(struct notify *notify, uv_loop_t *loop, struct lanes *lanes,
                 void (*describe)(void *data, char *text, size_t size), void *data);
/* The node is being recovered. */
void notify_starting(const char *status);
/* READY=1 with the status; starts to feed the watchdog, if systemd wants that. */
void notify_ready(struct notify *notify);
/* The status may have changed: tells it now, or within a second of what was told last. */
void notify_status_changed(struct notify *notify);
/* RELOADING=1: the configuration is read again ... */
void notify_reloading(void);
/* ... and that is over: READY=1. */
void notify_reloaded(struct notify *notify);
/* STOPPING=1; it takes at least `timeout` ms. The status stays as it was told last. */
void notify_stopping(struct notify *notify, uint64_t timeout);
/* The process ends: why, and the errno for it, or 0. From any thread. */
void notify_failed(const char *reason, int error);
/* Closes the timers; what is left belongs to the loop until its next turn. */
void notify_close(struct notify *notify);
