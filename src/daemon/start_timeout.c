#include "daemon/start_timeout.h"

#include <pthread.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "base/check.h"

enum { EXTENSION_SECONDS = 60 };

static void extend(void) {
    sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%d000000", EXTENSION_SECONDS);
}

/* Processor time that the watched thread has used. */
static uint64_t used(const struct start_timeout *timeout) {
    struct timespec time;
    clockid_t clock;

    check(pthread_getcpuclockid(timeout->watched, &clock) == 0);
    check(clock_gettime(clock, &time) == 0);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void watch(void *data) {
    struct start_timeout *timeout = data;
    uint64_t before = used(timeout);

    uv_mutex_lock(&timeout->lock);
    while (!timeout->ended) {
        uint64_t now;

        if (uv_cond_timedwait(&timeout->changed, &timeout->lock,
                              timeout->interval * UINT64_C(1000000)) != UV_ETIMEDOUT)
            continue;
        now = used(timeout);
        if (now > before)
            extend();
        before = now;
    }
    uv_mutex_unlock(&timeout->lock);
}

void start_timeout_begin(struct start_timeout *timeout, unsigned interval) {
    timeout->interval = interval;
    timeout->watched = pthread_self();
    timeout->ended = false;
    check(uv_mutex_init(&timeout->lock) == 0);
    check(uv_cond_init(&timeout->changed) == 0);
    extend();
    check(uv_thread_create(&timeout->thread, watch, timeout) == 0);
}

void start_timeout_end(struct start_timeout *timeout) {
    uv_mutex_lock(&timeout->lock);
    timeout->ended = true;
    uv_cond_signal(&timeout->changed);
    uv_mutex_unlock(&timeout->lock);
    check(uv_thread_join(&timeout->thread) == 0);
    uv_cond_destroy(&timeout->changed);
    uv_mutex_destroy(&timeout->lock);
}
