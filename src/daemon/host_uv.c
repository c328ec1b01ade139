#include "daemon/host_uv.h"

#include <errno.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/memory.h"

static struct host_uv *self(struct host *host) {
    return container_of(host, struct host_uv, host);
}

static uint64_t host_now(struct host *host) {
    (void)host;
    return uv_hrtime() / 1000000;
}

static uint64_t host_microseconds(struct host *host) {
    (void)host;
    return uv_hrtime() / 1000;
}

static uint64_t host_random(struct host *host) {
    uint64_t bits;
    ssize_t n;

    (void)host;
    do
        n = getrandom(&bits, sizeof bits, 0);
    while (n < 0 && errno == EINTR);
    check(n == sizeof bits);
    return bits;
}

static void host_submit(struct host *host, enum lane lane, struct job *job) {
    lanes_submit(&self(host)->lanes, lane, job);
}

static void arm(struct host_uv *host);

/* The loop's clock may be ahead of or behind ours by a millisecond. */
static void wake(uv_timer_t *timer) {
    struct host_uv *host = timer->data;

    if (host_now(&host->host) < host->wake_time) {
        arm(host);
        return;
    }
    host->wake_time = UINT64_MAX;
    if (host->node)
        node_tick(host->node);
}

/* At least a millisecond ahead, so that a node that is always late does not keep the loop from its
 * sockets. */
static void arm(struct host_uv *host) {
    uint64_t now = host_now(&host->host);
    uint64_t delay = host->wake_time > now ? host->wake_time - now : 1;

    uv_update_time(host->wake.loop);
    check(uv_timer_start(&host->wake, wake, delay, 0) == 0);
}

static void host_wake_at(struct host *base, uint64_t time) {
    struct host_uv *host = self(base);

    if (time == host->wake_time)
        return;
    host->wake_time = time;
    if (time == UINT64_MAX)
        uv_timer_stop(&host->wake);
    else
        arm(host);
}

static void host_send(struct host *base, uint64_t member_id, bool urgent, uint8_t *message,
                      size_t size) {
    struct host_uv *host = self(base);

    if (host->links)
        links_send(host->links, member_id, urgent, message, size);
    else
        free(message);
}

static size_t host_backlog(struct host *base, uint64_t member_id) {
    struct host_uv *host = self(base);

    return host->links ? links_backlog(host->links, member_id) : 0;
}

static bool host_linked(struct host *base, uint64_t member_id) {
    struct host_uv *host = self(base);

    return host->links && links_linked(host->links, member_id);
}

static void host_set_peers(struct host *base, const struct peer *peers, size_t count) {
    struct host_uv *host = self(base);

    if (host->links) {
        links_set_peers(host->links, peers, count);
        return;
    }
    free(host->peers);
    host->peers = xmemdup(peers, count * sizeof *peers);
    host->peer_count = count;
}

/* Without links there is no door open through which a request that needs this could come, except
 * for those that the stop cuts short. */
static void host_identify(struct host *base, const char *address, uint64_t timeout_ms,
                          identify_cb callback, void *data) {
    struct host_uv *host = self(base);
    struct failure failure;

    if (host->links) {
        links_identify(host->links, address, timeout_ms, callback, data);
        return;
    }
    failure_set(&failure, ERROR_UNAVAILABLE, "this node has no links to others: it is stopping");
    callback(data, NULL, &failure);
}

static void host_announce(struct host *base, const char *address, uint64_t timeout_ms,
                          announce_cb callback, void *data) {
    struct host_uv *host = self(base);
    struct failure failure;

    if (host->links) {
        links_announce(host->links, address, timeout_ms, callback, data);
        return;
    }
    failure_set(&failure, ERROR_UNAVAILABLE, "this node has no links to others yet");
    callback(data, NULL, &failure);
}

static void host_fatal(struct host *base, const char *reason) {
    self(base)->fatal(reason);
}

void host_uv_init(struct host_uv *host, uv_loop_t *loop, void (*fatal)(const char *reason)) {
    *host = (struct host_uv){
        .host =
            {
                .now = host_now,
                .microseconds = host_microseconds,
                .random = host_random,
                .submit = host_submit,
                .wake_at = host_wake_at,
                .send = host_send,
                .backlog = host_backlog,
                .linked = host_linked,
                .set_peers = host_set_peers,
                .identify = host_identify,
                .announce = host_announce,
                .fatal = host_fatal,
            },
        .wake_time = UINT64_MAX,
        .fatal = fatal,
    };
    lanes_init(&host->lanes, loop);
    check(uv_timer_init(loop, &host->wake) == 0);
    host->wake.data = host;
}

void host_uv_set_node(struct host_uv *host, struct node *node) {
    host->node = node;
}

void host_uv_set_links(struct host_uv *host, struct links *links) {
    host->links = links;
    if (links && host->peers)
        links_set_peers(links, host->peers, host->peer_count);
    free(TAKE(host->peers));
    host->peer_count = 0;
}

void host_uv_close(struct host_uv *host) {
    free(TAKE(host->peers));
    uv_close((uv_handle_t *)&host->wake, NULL);
}
