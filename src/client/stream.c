#include "client/stream.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/limits.h"
#include "client/transport.h"

enum { CONNECT_TIME_MIN_MS = 1000 };

static void addrinfo_free(struct addrinfo **list) {
    if (*list)
        freeaddrinfo(*list);
}

/* Returns 0 or -ETIMEDOUT. */
static int wait_for(int fd, short events, uint64_t deadline) {
    for (;;) {
        struct pollfd entry = {.fd = fd, .events = events};
        uint64_t left = transport_left(deadline);
        int n;

        if (left == 0)
            return -ETIMEDOUT;
        n = poll(&entry, 1, left > 1000000 ? 1000000 : (int)left);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

/* Looks a name up in another thread, because a resolver keeps no deadline of ours. */
static int look_up_name(const char *host, const char *port, const struct addrinfo *hints,
                        uint64_t deadline, struct addrinfo **ret) {
    struct gaicb *lookup = xcalloc(1, sizeof *lookup);
    const struct gaicb *list[] = {lookup};
    struct gaicb *start[] = {lookup};
    int r;

    lookup->ar_name = xstrdup(host);
    lookup->ar_service = xstrdup(port);
    lookup->ar_request = xmemdup(hints, sizeof *hints);
    r = getaddrinfo_a(GAI_NOWAIT, start, 1, NULL);
    while (r == 0 && (r = gai_error(lookup)) == EAI_INPROGRESS) {
        uint64_t left = transport_left(deadline);
        struct timespec wait = {.tv_sec = (time_t)(left / 1000),
                                .tv_nsec = (long)(left % 1000) * 1000000};

        if (left == 0 && gai_cancel(lookup) != EAI_CANCELED)
            return EAI_AGAIN; /* the resolver's thread still uses the lookup: it must not be freed
                               */
        r = 0;
        if (left > 0)
            gai_suspend(list, 1, &wait);
    }
    *ret = r == 0 ? lookup->ar_result : NULL;
    free((char *)(uintptr_t)lookup->ar_name);
    free((char *)(uintptr_t)lookup->ar_service);
    free((struct addrinfo *)(uintptr_t)lookup->ar_request);
    free(lookup);
    return r;
}

static int look_up(const char *endpoint, uint64_t deadline, struct addrinfo **ret,
                   struct failure *failure) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    char host[ADDRESS_MAX + 1], port_text[8];
    unsigned port;
    int r;

    if (!address_valid(endpoint) || address_split(endpoint, host, &port) < 0) {
        failure_set(failure, ERROR_UNAVAILABLE, "\"%s\" is not HOST:PORT.", endpoint);
        return -EINVAL;
    }
    snprintf(port_text, sizeof port_text, "%u", port);
    r = getaddrinfo(host, port_text, &hints, ret);
    if (r == EAI_NONAME) {
        hints.ai_flags = AI_ADDRCONFIG;
        r = look_up_name(host, port_text, &hints, deadline, ret);
    }
    if (r != 0) {
        failure_set(failure, ERROR_UNAVAILABLE, "%s: %s.", endpoint, gai_strerror(r));
        return -EHOSTUNREACH;
    }
    return 0;
}

static int connect_to(const struct addrinfo *address, uint64_t deadline, int *ret_fd) {
    socklen_t size = sizeof(int);
    int fd, error = 0, on = 1;

    fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, address->ai_addr, address->ai_addrlen) < 0) {
        if (errno != EINPROGRESS)
            error = errno;
        else
            error = -wait_for(fd, POLLOUT, deadline);
        if (!error && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
            error = errno;
    }
    if (error) {
        close(fd);
        return -error;
    }
    *ret_fd = fd;
    return 0;
}

int stream_connect(const char *endpoint, uint64_t deadline, int *ret_fd, struct failure *failure) {
    _cleanup_(addrinfo_free) struct addrinfo *list = NULL;
    unsigned remaining = 0;
    int r;

    r = look_up(endpoint, deadline, &list, failure);
    if (r < 0)
        return r;
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        remaining++;
    r = -EHOSTUNREACH;
    /* An address that drops packets must not use up the time of those after it. */
    for (const struct addrinfo *a = list; a; a = a->ai_next, remaining--) {
        uint64_t share = transport_left(deadline) / remaining;
        uint64_t until =
            transport_now() + (share > CONNECT_TIME_MIN_MS ? share : CONNECT_TIME_MIN_MS);

        r = connect_to(a, until < deadline ? until : deadline, ret_fd);
        if (r == 0)
            return 0;
    }
    failure_set(failure, ERROR_UNAVAILABLE, "%s: %s.", endpoint, strerror(-r));
    return r;
}

int stream_send(int fd, const uint8_t *data, size_t size, uint64_t deadline) {
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

        if (n >= 0) {
            data += n;
            size -= (size_t)n;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return -errno;

        int r = wait_for(fd, POLLOUT, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

static int receive_exactly(int fd, uint8_t *data, size_t size, uint64_t deadline) {
    while (size > 0) {
        ssize_t n = recv(fd, data, size, 0);

        if (n > 0) {
            data += n;
            size -= (size_t)n;
            continue;
        }
        if (n == 0)
            return -ECONNRESET;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return -errno;

        int r = wait_for(fd, POLLIN, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

int stream_receive_frame(int fd, size_t size_max, uint64_t deadline, struct buffer *frame) {
    uint8_t head[4];
    size_t size;
    int r;

    r = receive_exactly(fd, head, sizeof head, deadline);
    if (r < 0)
        return r;
    size = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    if (size > size_max)
        return -EMSGSIZE;
    frame->size = 0;
    r = receive_exactly(fd, buffer_reserve(frame, size), size, deadline);
    if (r < 0)
        return r;
    frame->size = size;
    return 0;
}
