/* put, whose value may come from a file, and list, which asks for page after page. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/memory.h"
#include "client/commands.h"

typedef Raftkv__V1__Request Request;
typedef Raftkv__V1__Response Response;

/* Reads at most one byte more than a value may have: the node says what is too large. */
static int read_value(int fd, struct buffer *value) {
    while (value->size <= VALUE_SIZE_MAX) {
        size_t size = VALUE_SIZE_MAX + 1 - value->size;
        ssize_t n;

        if (size > 65536)
            size = 65536;
        n = read(fd, buffer_reserve(value, size), size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        value->size += (size_t)n;
    }
    return 0;
}

static int read_value_from(const char *path, struct buffer *value) {
    int fd = open(path, O_RDONLY | O_CLOEXEC), r;

    if (fd < 0)
        return -errno;
    r = read_value(fd, value);
    close(fd);
    return r;
}

static int send_put(struct session *session, const char *key, ProtobufCBinaryData value) {
    Raftkv__V1__PutRequest body = RAFTKV__V1__PUT_REQUEST__INIT;
    Request request = RAFTKV__V1__REQUEST__INIT;
    _cleanup_(response_free) Response *response = NULL;
    int r;

    body.key = bytes_of(key);
    body.value = value;
    request.body_case = RAFTKV__V1__REQUEST__BODY_PUT;
    request.put = &body;
    r = session_call(session, &request, &response);
    if (r == 0)
        output_put(&session->output, response->put);
    return r;
}

int run_put(struct session *session, const struct arguments *arguments) {
    _cleanup_(buffer_deinit) struct buffer read = BUFFER_NULL;
    const char *value = arguments->positional_count > 1 ? arguments->positional[1] : NULL;
    const char *source = arguments->file ? arguments->file : "standard input";
    int r;

    if (!value == !arguments->file) {
        fputs("raftkvctl: put takes either VALUE or --file=PATH.\n", session->errors);
        return EXIT_STATUS_USAGE;
    }
    if (value && strcmp(value, "-") != 0)
        return send_put(session, arguments->positional[0], bytes_of(value));

    r = arguments->file ? read_value_from(arguments->file, &read) : read_value(STDIN_FILENO, &read);
    if (r < 0) {
        fprintf(session->errors, "raftkvctl: %s: %s\n", source, strerror(-r));
        return EXIT_STATUS_LOCAL;
    }
    return send_put(session, arguments->positional[0],
                    (ProtobufCBinaryData){.data = read.data, .len = read.size});
}

/* Asks for pages until the list or the limit ends. */
int run_list(struct session *session, const struct arguments *arguments) {
    _cleanup_(response_free) Response *page = NULL;
    struct output_list list;
    uint64_t left = arguments->limit;
    bool more;

    for (bool first = true;; first = false) {
        Raftkv__V1__ListRequest body = RAFTKV__V1__LIST_REQUEST__INIT;
        Request request = RAFTKV__V1__REQUEST__INIT;
        _cleanup_(response_free) Response *previous = TAKE(page);
        int r;

        if (arguments->positional_count > 0)
            body.prefix = bytes_of(arguments->positional[0]);
        if (previous)
            body.continuation = previous->list->continuation;
        else if (arguments->from)
            body.from = bytes_of(arguments->from);
        body.limit = left && left < LIST_ITEMS_DEFAULT ? (uint32_t)left : LIST_ITEMS_DEFAULT;
        body.stale = arguments->stale;
        body.keys_only = arguments->keys_only;
        request.body_case = RAFTKV__V1__REQUEST__BODY_LIST;
        request.list = &body;
        r = session_call(session, &request, &page);
        if (r != 0) {
            if (!first)
                list.table = table_free(list.table);
            return r;
        }
        if (first)
            output_list_begin(&list, &session->output, arguments->keys_only);
        output_list_page(&list, page->list);
        more = page->list->continuation.len > 0;
        if (!more || (left && page->list->n_items >= left))
            break;
        left -= left ? page->list->n_items : 0;
    }
    output_list_end(&list, page->list->revision, more);
    return 0;
}
