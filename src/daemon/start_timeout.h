/*
 * start_timeout: a node that recovers much data takes longer to start than systemd waits
 * (TimeoutStartSec=). Recovery occupies the loop's thread, so another thread watches it, and asks
 * for more time (EXTEND_TIMEOUT_USEC= of sd_notify(3)) as long as that one gets on: while it uses
 * the processor. A start that hangs is ended at the timeout.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

enum { START_LOOK_MS = 10 * 1000 };

struct start_timeout {
    uv_thread_t thread;
    pthread_t watched;
    uv_mutex_t lock;
    uv_cond_t changed;
    unsigned interval; /* ms */
    bool ended;        /* under the lock */
};

/* Watches the calling thread, looking every `interval` ms and beginning with one request for more
 * time. */
void start_timeout_begin(struct start_timeout *timeout, unsigned interval);
/* The start is over. */
void start_timeout_end(struct start_timeout *timeout);
