#include "bench/engine.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/stream.h"
#include "client/transport.h"

#define SECOND UINT64_C(1000000000)
#define MILLISECOND UINT64_C(1000000)

enum {
    LOADERS = 512, /* operations under way while keys are loaded */
    LOADING_STALL_MAX_S = 30,
    DRAINING_MAX_S = 30,
    READ_SIZE = 256 * 1024,
    REACH_TIME_MS = 3000,
    BACKOFF_MIN_MS = 50,
    BACKOFF_MAX_MS = 2000,
};

/* While it drains, what is under way is awaited: what took long to answer must not be left out. */
enum phase { PHASE_LOADING, PHASE_WARMING, PHASE_MEASURING, PHASE_DRAINING, PHASE_DONE };

static const char *const phase_names[] = {"loading", "warming up", "measuring", "awaiting the last",
                                          "done"};

struct target {
    struct sockaddr_storage address;
    socklen_t size;
};

struct client {
    uint64_t started; /* 0: it waits, for its connection or for the next phase */
    uint32_t key;
    bool again; /* loading: the key was not written yet */
};

struct connection {
    struct engine *engine;
    unsigned number;
    unsigned target;
    int fd; /* -1: not connected */
    bool up;
    bool wants_write;
    void *session;
    struct buffer output;
    size_t written; /* of output */
    uint64_t retry_at;
    uint64_t backoff; /* milliseconds */
};

struct engine {
    const struct bench_options *options;
    const struct protocol *protocol;
    struct workload workload;
    struct target targets[BENCH_ENDPOINTS_MAX];
    unsigned targets_count;
    int epoll;
    struct connection connections[ENGINE_CONNECTIONS_MAX];
    unsigned connections_count;
    struct client *clients;
    unsigned clients_count;
    enum phase phase;
    uint64_t phase_start, phase_end;
    uint32_t load_next, loaded;
    uint64_t load_progress_at;
    struct result *result;
    progress_cb progress;
    void *progress_data;
    uint64_t progress_at, progress_done, done, errors;
    uint8_t *input;
};

static uint64_t now(void) {
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

struct buffer *connection_output(struct connection *connection) {
    return &connection->output;
}

/* ---- operations ---- */

/* Whether there is something to do for this client, and what. */
static bool next_operation(struct engine *e, unsigned number, struct operation *ret) {
    struct client *client = &e->clients[number];

    switch (e->phase) {
    case PHASE_LOADING:
        if (!client->again) {
            if (e->load_next == e->options->keys)
                return false;
            client->key = e->load_next++;
            client->again = true;
        }
        *ret = workload_put(&e->workload, client->key);
        return true;
    case PHASE_WARMING:
    case PHASE_MEASURING:
        if (number >= e->options->clients)
            return false;
        client->key = workload_choose(&e->workload);
        *ret = e->options->get ? workload_get(&e->workload, client->key, e->options->stale)
                               : workload_put(&e->workload, client->key);
        return true;
    default:
        return false;
    }
}

static int begin(struct connection *c, unsigned number) {
    struct engine *e = c->engine;
    struct operation operation;

    if (!next_operation(e, number, &operation))
        return 0;
    e->clients[number].started = now();
    return c->engine->protocol->submit(c->session, number, &operation);
}

static bool is_measured(const struct engine *e) {
    return e->phase == PHASE_MEASURING || e->phase == PHASE_DRAINING;
}

static void count(struct engine *e, struct client *client, unsigned code, uint64_t time) {
    if (code == 0)
        e->done++;
    else
        e->errors++;
    if (e->phase == PHASE_MEASURING && code == 0)
        e->result->operations++;
    if (is_measured(e) && code == 0)
        histogram_add(&e->result->latency, time - client->started);
    else if (is_measured(e))
        e->result->errors[code]++;
    if (e->phase == PHASE_LOADING && code == 0 && client->again) {
        client->again = false;
        e->loaded++;
        e->load_progress_at = time;
    }
}

void connection_complete(struct connection *c, unsigned number, unsigned code) {
    struct engine *e = c->engine;
    struct client *client;

    if (number >= e->clients_count)
        return;
    client = &e->clients[number];
    if (client->started == 0 || number % e->connections_count != c->number)
        return;
    count(e, client, code < ENGINE_CODES ? code : ENGINE_CODES - 1, now());
    client->started = 0;
    /* What fails while loading has its next try with the next tick, not in a tight loop. */
    if (e->phase == PHASE_LOADING && code != 0)
        return;
    /* A connection that can't take it breaks when its output is flushed, right after this. */
    (void)begin(c, number);
}

/* ---- connections ---- */

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};

    epoll_ctl(c->engine->epoll, operation, c->fd, &event);
}

/* Its operations under way are lost; it comes back, to the next endpoint if this one is gone. */
static void break_connection(struct connection *c) {
    struct engine *e = c->engine;
    uint64_t time = now();

    if (c->session)
        e->protocol->session_free(TAKE(c->session));
    close(c->fd);
    if (!c->up)
        c->target = (c->target + 1) % e->targets_count;
    c->fd = -1;
    c->up = false;
    c->wants_write = false;
    c->output.size = c->written = 0;
    for (unsigned i = c->number; i < e->clients_count; i += e->connections_count) {
        if (e->clients[i].started != 0)
            count(e, &e->clients[i], ENGINE_CODE_LOST, time);
        e->clients[i].started = 0;
    }
    c->retry_at = time + c->backoff * MILLISECOND / 2 +
                  workload_random(&e->workload) % (c->backoff * MILLISECOND / 2); /* with jitter */
    c->backoff = c->backoff * 2 < BACKOFF_MAX_MS ? c->backoff * 2 : BACKOFF_MAX_MS;
}

static void start_connecting(struct connection *c) {
    const struct target *target = &c->engine->targets[c->target];
    int on = 1;

    c->fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        c->retry_at = now() + SECOND;
        return;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(c, EPOLL_CTL_ADD, EPOLLOUT);
    if (connect(c->fd, (const struct sockaddr *)&target->address, target->size) < 0 &&
        errno != EINPROGRESS)
        break_connection(c);
}

static int write_output(struct connection *c) {
    bool wants_write;

    while (c->written < c->output.size) {
        ssize_t n =
            send(c->fd, c->output.data + c->written, c->output.size - c->written, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0 && errno != EINTR)
            return -errno;
        c->written += n > 0 ? (size_t)n : 0;
    }
    wants_write = c->written < c->output.size;
    if (!wants_write)
        c->output.size = c->written = 0;
    if (wants_write != c->wants_write)
        watch(c, EPOLL_CTL_MOD, EPOLLIN | (wants_write ? EPOLLOUT : 0));
    c->wants_write = wants_write;
    return 0;
}

static int flush(struct connection *c) {
    const struct protocol *protocol = c->engine->protocol;
    int r = protocol->flush ? protocol->flush(c->session) : 0;

    return r < 0 ? r : write_output(c);
}

/* Gives work to those clients of a connection that have none. */
static void feed(struct connection *c) {
    struct engine *e = c->engine;
    int r = 0;

    for (unsigned i = c->number; i < e->clients_count && r >= 0; i += e->connections_count)
        if (e->clients[i].started == 0)
            r = begin(c, i);
    if (r >= 0)
        r = flush(c);
    if (r < 0)
        break_connection(c);
}

static void finish_connecting(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error) {
        break_connection(c);
        return;
    }
    c->up = true;
    c->backoff = BACKOFF_MIN_MS;
    c->session = c->engine->protocol->session_new(c);
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    feed(c);
}

static int receive(struct connection *c) {
    struct engine *e = c->engine;
    ssize_t n = recv(c->fd, e->input, READ_SIZE, 0);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -ECONNRESET;
    return e->protocol->receive(c->session, e->input, (size_t)n);
}

static void handle_event(struct connection *c, uint32_t events) {
    int r = 0;

    if (!c->up) {
        finish_connecting(c);
        return;
    }
    if (events & ~(uint32_t)EPOLLOUT)
        r = receive(c);
    if (r >= 0)
        r = flush(c);
    if (r < 0)
        break_connection(c);
}

/* ---- phases ---- */

static void enter(struct engine *e, enum phase phase, uint64_t time) {
    const double seconds[] = {0, e->options->warmup, e->options->seconds, DRAINING_MAX_S, 0};

    e->phase = phase;
    e->phase_start = time;
    e->phase_end =
        phase == PHASE_LOADING ? UINT64_MAX : time + (uint64_t)(seconds[phase] * (double)SECOND);
    e->load_progress_at = time;
    /* What measuring begins with is under way already. */
    for (unsigned i = 0; i < e->connections_count && phase == PHASE_WARMING; i++)
        if (e->connections[i].up)
            feed(&e->connections[i]);
}

static unsigned under_way(const struct engine *e) {
    unsigned count = 0;

    for (unsigned i = 0; i < e->clients_count; i++)
        count += e->clients[i].started != 0;
    return count;
}

static void advance_phase(struct engine *e, uint64_t time) {
    if (e->phase == PHASE_LOADING && e->loaded == e->options->keys)
        enter(e, PHASE_WARMING, time);
    if (e->phase == PHASE_WARMING && time >= e->phase_end)
        enter(e, PHASE_MEASURING, time);
    if (e->phase == PHASE_MEASURING && time >= e->phase_end) {
        e->result->seconds = (double)(time - e->phase_start) / (double)SECOND;
        enter(e, PHASE_DRAINING, time);
    }
    if (e->phase == PHASE_DRAINING && (under_way(e) == 0 || time >= e->phase_end)) {
        e->result->errors[ENGINE_CODE_UNANSWERED] += under_way(e);
        enter(e, PHASE_DONE, time);
    }
}

static void show_progress(struct engine *e, uint64_t time) {
    const double totals[] = {0, e->options->warmup, e->options->seconds, DRAINING_MAX_S, 0};
    double since = (double)(time - e->progress_at) / (double)SECOND;

    if (since < 1 || e->phase == PHASE_DONE)
        return;
    if (e->progress)
        e->progress(e->progress_data,
                    &(struct progress){
                        .phase = phase_names[e->phase],
                        .elapsed = (double)(time - e->phase_start) / (double)SECOND,
                        .total = totals[e->phase],
                        .rate = (double)(e->done - e->progress_done) / since,
                        .errors = e->errors,
                    });
    e->progress_at = time;
    e->progress_done = e->done;
}

/* Reconnects, and gives those another try that failed while loading. */
static void tick(struct engine *e, uint64_t time) {
    for (unsigned i = 0; i < e->connections_count; i++) {
        struct connection *c = &e->connections[i];

        if (c->fd < 0 && time >= c->retry_at)
            start_connecting(c);
        else if (c->up && e->phase == PHASE_LOADING)
            feed(c);
    }
}

static int loop(struct engine *e, struct failure *failure) {
    struct epoll_event events[ENGINE_CONNECTIONS_MAX];
    uint64_t tick_at = 0;

    enter(e, e->options->get ? PHASE_LOADING : PHASE_WARMING, now());
    e->progress_at = now();
    while (e->phase != PHASE_DONE) {
        int n = epoll_wait(e->epoll, events, ENGINE_CONNECTIONS_MAX, 10);
        uint64_t time;

        for (int i = 0; i < n; i++)
            handle_event(events[i].data.ptr, events[i].events);
        time = now();
        if (time >= tick_at) {
            tick(e, time);
            tick_at = time + 10 * MILLISECOND;
        }
        advance_phase(e, time);
        show_progress(e, time);
        if (e->phase == PHASE_LOADING &&
            time - e->load_progress_at > LOADING_STALL_MAX_S * SECOND) {
            failure_set(failure, ERROR_UNAVAILABLE,
                        "no key could be loaded for %d s (%u of %u are there)", LOADING_STALL_MAX_S,
                        e->loaded, e->options->keys);
            return -EIO;
        }
    }
    return 0;
}

/* ---- start and end ---- */

/* Finds those endpoints that can be reached, and with which of their addresses. */
static int find_targets(struct engine *e, struct failure *failure) {
    for (size_t i = 0; i < e->options->endpoints_count; i++) {
        struct target *target = &e->targets[e->targets_count];
        struct failure reason;
        int fd;

        if (stream_connect(e->options->endpoints[i], transport_now() + REACH_TIME_MS, &fd,
                           &reason) < 0) {
            fprintf(stderr, "%s: left out: %s\n", e->options->program, reason.message);
            continue;
        }
        target->size = sizeof target->address;
        if (getpeername(fd, (struct sockaddr *)&target->address, &target->size) == 0)
            e->targets_count++;
        close(fd);
    }
    if (e->targets_count > 0)
        return 0;
    failure_set(failure, ERROR_UNAVAILABLE, "no endpoint can be reached");
    return -EHOSTUNREACH;
}

static void start(struct engine *e) {
    const struct bench_options *options = e->options;
    unsigned loaders = options->get ? LOADERS : 0;

    e->connections_count =
        options->clients < ENGINE_CONNECTIONS_MAX ? options->clients : ENGINE_CONNECTIONS_MAX;
    e->clients_count = options->clients > loaders ? options->clients : loaders;
    e->clients = xcalloc(e->clients_count, sizeof *e->clients);
    e->input = xmalloc(READ_SIZE);
    workload_init(&e->workload, options->seed, options->keys, options->value_size);
    for (unsigned i = 0; i < e->connections_count; i++)
        e->connections[i] = (struct connection){
            .engine = e,
            .number = i,
            .target = i % e->targets_count,
            .fd = -1,
            .backoff = BACKOFF_MIN_MS,
        };
}

static void stop(struct engine *e) {
    for (unsigned i = 0; i < e->connections_count; i++) {
        struct connection *c = &e->connections[i];

        if (c->session)
            e->protocol->session_free(c->session);
        if (c->fd >= 0)
            close(c->fd);
        buffer_deinit(&c->output);
    }
    workload_deinit(&e->workload);
    free(e->clients);
    free(e->input);
    if (e->epoll >= 0)
        close(e->epoll);
}

int engine_run(const struct bench_options *options, const struct protocol *protocol,
               progress_cb progress, void *data, struct result *result, struct failure *failure) {
    _cleanup_free_ struct engine *e = xcalloc(1, sizeof *e);
    struct rusage usage;
    int r;

    *result = (struct result){0};
    e->options = options;
    e->protocol = protocol;
    e->result = result;
    e->progress = progress;
    e->progress_data = data;
    e->epoll = epoll_create1(EPOLL_CLOEXEC);
    r = e->epoll < 0 ? -errno : find_targets(e, failure);
    if (r == 0) {
        start(e);
        r = loop(e, failure);
    }
    result->connections = e->connections_count;
    result->done = e->done;
    stop(e);
    getrusage(RUSAGE_SELF, &usage);
    result->cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                          (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    return r;
}
