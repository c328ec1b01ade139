#include "rpc/listen.h"

#include <errno.h>
#include <linux/filter.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/address.h"
#include "base/check.h"
#include "base/journal.h"
#include "base/limits.h"
#include "base/memory.h"

enum { LISTEN_BACKLOG = 511 };

static void free_addresses(struct addrinfo **addresses) {
    if (*addresses)
        freeaddrinfo(*addresses);
}

static void on_closed(uv_handle_t *handle) {
    struct listener *listener = handle->data;

    network_release(listener->network);
}

/* See socket(7), SO_ATTACH_FILTER; what it is given of a segment begins with TCP's header. */
void listener_shut(struct listener *listener) {
    enum { FLAGS_AT = 13, SYN = 0x02 };
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    uv_os_fd_t fd;

    if (!listener->open || uv_fileno((uv_handle_t *)&listener->tcp, &fd) < 0)
        return;
    /* Without it, who connects in the last moment is reset. */
    (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

void listener_close(struct listener *listener) {
    if (!listener->open)
        return;
    listener->open = false;
    uv_close((uv_handle_t *)&listener->tcp, on_closed);
}

static void say_not_accepted(const struct listener *listener, const char *reason) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_CONNECTION_NOT_ACCEPTED);

    journal_field(&event, "RAFTKV_PORT=%u", listener->port);
    journal_with(LOG_WARNING, event.fields, "Cannot accept a connection on port %u: %s.",
                 listener->port, reason);
}

static void on_connection(uv_stream_t *stream, int status) {
    struct listener *listener = stream->data;

    if (!listener->open)
        return;
    if (status < 0)
        say_not_accepted(listener, uv_strerror(status));
    else
        listener->incoming(listener);
}

static void read_port(struct listener *listener) {
    struct sockaddr_storage name;
    int size = sizeof name;

    check(uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&name, &size) == 0);
    listener->port = ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                                      : ((struct sockaddr_in *)&name)->sin_port);
}

static int bind_one(const struct addrinfo *address, int *ret_fd) {
    int on = 1, off = 0;
    int fd, r;

    fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* The IPv6 wildcard takes IPv4 too. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (address->ai_family != AF_INET6 ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0) {
        *ret_fd = fd;
        return 0;
    }
    r = -errno;
    close(fd);
    return r;
}

/* The first address that this machine has, of this family or of any. */
static int bind_first(const struct addrinfo *addresses, int family, int *ret_fd) {
    int r = -EADDRNOTAVAIL;

    for (const struct addrinfo *a = addresses; a; a = a->ai_next) {
        if (family != AF_UNSPEC && a->ai_family != family)
            continue;
        r = bind_one(a, ret_fd);
        /* In use or not allowed: listening elsewhere instead would only hide it. */
        if (r != -EADDRNOTAVAIL && r != -EAFNOSUPPORT)
            return r;
    }
    return r;
}

/* The empty host is every address of the machine, which one IPv6 socket can be. */
static int bind_wildcard(const struct addrinfo *addresses, int *ret_fd) {
    int r = bind_first(addresses, AF_INET6, ret_fd);

    return r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT ? bind_first(addresses, AF_INET, ret_fd) : r;
}

int listen_bind(const char *address, int *ret_fd, struct failure *failure) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    _cleanup_(free_addresses) struct addrinfo *addresses = NULL;
    char host[ADDRESS_MAX + 1], service[8];
    unsigned port;
    int r;

    if (address_split(address, host, &port) < 0)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "'%.300s' is not an address to listen on; write HOST:PORT.", address);
    snprintf(service, sizeof service, "%u", port);
    r = getaddrinfo(host[0] ? host : NULL, service, &hints, &addresses);
    if (r != 0)
        return failure_set(failure, ERROR_UNAVAILABLE, "Cannot listen on %s: %s.", address,
                           gai_strerror(r));
    r = host[0] ? bind_first(addresses, AF_UNSPEC, ret_fd) : bind_wildcard(addresses, ret_fd);
    if (r < 0)
        return failure_set(failure, ERROR_UNAVAILABLE, "Cannot listen on %s: %s.", address,
                           strerror(-r));
    return 0;
}

void listener_open(struct listener *listener, struct network *network, int fd,
                   void (*incoming)(struct listener *listener)) {
    *listener = (struct listener){.network = network, .incoming = incoming, .open = true};
    check(uv_tcp_init(network->loop, &listener->tcp) == 0);
    listener->tcp.data = listener;
    network_hold(network);
    check(uv_tcp_open(&listener->tcp, fd) == 0);
    check(uv_listen((uv_stream_t *)&listener->tcp, LISTEN_BACKLOG, on_connection) == 0);
    read_port(listener);
}
