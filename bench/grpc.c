#include "bench/grpc.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <string.h>

#include "base/check.h"

enum {
    PREFIX_SIZE = 5, /* of a message: not compressed, and its length in four bytes */
    STREAM_WINDOW = 8 * 1024 * 1024,
    CONNECTION_WINDOW = 64 * 1024 * 1024,
};

/* A call. Kept for the next one when it has ended, with its buffers. */
struct call {
    struct call *next_free, *next;
    const char *path;
    unsigned client;
    unsigned code;
    struct buffer request, response;
    size_t sent;
};

struct grpc_session {
    nghttp2_session *http;
    char *authority;
    grpc_complete complete;
    void *data;
    struct call *calls; /* all */
    struct call *free;
    struct call *prepared;
};

static ssize_t read_request(nghttp2_session *http, int32_t stream, uint8_t *target, size_t room,
                            uint32_t *flags, nghttp2_data_source *source, void *data) {
    struct call *call = source->ptr;
    size_t size = call->request.size - call->sent;

    (void)http, (void)stream, (void)data;
    if (size > room)
        size = room;
    memcpy(target, call->request.data + call->sent, size);
    call->sent += size;
    if (call->sent == call->request.size)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

static int on_header(nghttp2_session *http, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *data) {
    struct call *call = nghttp2_session_get_stream_user_data(http, frame->hd.stream_id);
    unsigned code = 0;

    (void)flags, (void)data;
    if (!call || name_size != strlen("grpc-status") || memcmp(name, "grpc-status", name_size) != 0)
        return 0;
    for (size_t i = 0; i < value_size && i < 3; i++)
        code = code * 10 + (unsigned)(value[i] - '0');
    call->code = code < GRPC_CODES ? code : GRPC_NO_STATUS;
    return 0;
}

static int on_data(nghttp2_session *http, uint8_t flags, int32_t stream, const uint8_t *bytes,
                   size_t size, void *data) {
    struct call *call = nghttp2_session_get_stream_user_data(http, stream);

    (void)flags, (void)data;
    if (call)
        buffer_append(&call->response, bytes, size);
    return 0;
}

static int on_stream_close(nghttp2_session *http, int32_t stream, uint32_t error, void *data) {
    struct grpc_session *session = data;
    struct call *call = nghttp2_session_get_stream_user_data(http, stream);
    const uint8_t *message = NULL;
    size_t size = 0;

    if (!call)
        return 0;
    if (call->code == GRPC_NO_STATUS && error == NGHTTP2_REFUSED_STREAM)
        call->code = GRPC_UNAVAILABLE;
    if (call->response.size >= PREFIX_SIZE) {
        message = call->response.data + PREFIX_SIZE;
        size = call->response.size - PREFIX_SIZE;
    }
    /* It is free only afterwards: the next call may begin meanwhile, and the message is in it. */
    session->complete(session->data, call->path, call->client, call->code, message, size);
    call->next_free = session->free;
    session->free = call;
    return 0;
}

struct grpc_session *grpc_session_new(const char *authority, grpc_complete complete, void *data) {
    struct grpc_session *session = xcalloc(1, sizeof *session);
    nghttp2_session_callbacks *callbacks;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
    };

    session->authority = xstrdup(authority);
    session->complete = complete;
    session->data = data;
    check(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    check(nghttp2_session_client_new(&session->http, callbacks, session) == 0);
    nghttp2_session_callbacks_del(callbacks);
    check(nghttp2_submit_settings(session->http, NGHTTP2_FLAG_NONE, settings, 2) == 0);
    check(nghttp2_session_set_local_window_size(session->http, NGHTTP2_FLAG_NONE, 0,
                                                CONNECTION_WINDOW) == 0);
    return session;
}

struct grpc_session *grpc_session_free(struct grpc_session *session) {
    if (!session)
        return NULL;
    nghttp2_session_del(session->http);
    while (session->calls) {
        struct call *call = session->calls;

        session->calls = call->next;
        buffer_deinit(&call->request);
        buffer_deinit(&call->response);
        free(call);
    }
    free(session->authority);
    free(session);
    return NULL;
}

uint8_t *grpc_begin(struct grpc_session *session, const char *path, unsigned client, size_t size) {
    struct call *call = session->free;
    uint8_t *frame;

    if (call) {
        session->free = call->next_free;
    } else {
        call = xcalloc(1, sizeof *call);
        call->next = session->calls;
        session->calls = call;
    }
    call->path = path;
    call->client = client;
    call->code = GRPC_NO_STATUS;
    call->sent = 0;
    call->response.size = 0;
    call->request.size = 0;
    frame = buffer_reserve(&call->request, PREFIX_SIZE + size);
    frame[0] = 0;
    frame[1] = (uint8_t)(size >> 24);
    frame[2] = (uint8_t)(size >> 16);
    frame[3] = (uint8_t)(size >> 8);
    frame[4] = (uint8_t)size;
    call->request.size = PREFIX_SIZE + size;
    session->prepared = call;
    return frame + PREFIX_SIZE;
}

static nghttp2_nv header(const char *name, const char *value) {
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE,
    };
}

int grpc_submit(struct grpc_session *session) {
    struct call *call = TAKE(session->prepared);
    const nghttp2_nv headers[] = {
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", call->path),
        header(":authority", session->authority),
        header("content-type", "application/grpc"),
        header("te", "trailers"),
    };
    const nghttp2_data_provider provider = {.source.ptr = call, .read_callback = read_request};
    int32_t stream;

    stream = nghttp2_submit_request(session->http, NULL, headers, sizeof headers / sizeof *headers,
                                    &provider, call);
    return stream < 0 ? -EPROTO : 0;
}

int grpc_receive(struct grpc_session *session, const uint8_t *data, size_t size) {
    return nghttp2_session_mem_recv(session->http, data, size) < 0 ? -EPROTO : 0;
}

int grpc_flush(struct grpc_session *session, struct buffer *output) {
    for (;;) {
        const uint8_t *data;
        ssize_t size = nghttp2_session_mem_send(session->http, &data);

        if (size < 0)
            return -EPROTO;
        if (size == 0)
            break;
        buffer_append(output, data, (size_t)size);
    }
    /* After a GOAWAY there is nothing left to do on this connection. */
    if (!nghttp2_session_want_read(session->http) && !nghttp2_session_want_write(session->http))
        return -ECONNRESET;
    return 0;
}

const char *grpc_code_name(unsigned code) {
    static const char *const names[GRPC_CODES] = {
        "Ok",
        "Cancelled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    };

    return code < GRPC_CODES ? names[code] : "NoStatus";
}
