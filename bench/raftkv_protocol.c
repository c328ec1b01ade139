#include "bench/raftkv_protocol.h"

#include <errno.h>
#include <string.h>

#include "base/limits.h"
#include "proto/unpack.h"

enum { ARENA_SIZE = 2 * CLIENT_FRAME_SIZE_MAX };

/*
 * Memory for one decoded response, given back as a whole: an allocation for each message and field
 * would be much of the client's work. It is one for all sessions, as they take turns.
 */
static struct {
    uint8_t *data;
    size_t used;
    unsigned sessions;
} arena;

static void *arena_alloc(void *data, size_t size) {
    void *memory;

    (void)data;
    size = (size + 15) & ~(size_t)15;
    if (size > ARENA_SIZE - arena.used)
        return NULL;
    memory = arena.data + arena.used;
    arena.used += size;
    return memory;
}

static void arena_free(void *data, void *memory) {
    (void)data;
    (void)memory;
}

static ProtobufCAllocator arena_allocator = {.alloc = arena_alloc, .free = arena_free};

struct session {
    struct connection *connection;
    struct buffer partial; /* the beginning of a frame */
};

static void *session_new(struct connection *connection) {
    struct session *session = xcalloc(1, sizeof *session);

    session->connection = connection;
    if (arena.sessions++ == 0)
        arena.data = xmalloc(ARENA_SIZE);
    return session;
}

static void session_free(void *data) {
    struct session *session = data;

    buffer_deinit(&session->partial);
    free(session);
    if (--arena.sessions == 0)
        free(TAKE(arena.data));
}

static ProtobufCBinaryData bytes(const uint8_t *data, size_t size) {
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)data, .len = size};
}

static int submit(void *data, unsigned client, const struct operation *operation) {
    struct session *session = data;
    struct buffer *output = connection_output(session->connection);
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__PutRequest put = RAFTKV__V1__PUT_REQUEST__INIT;
    Raftkv__V1__GetRequest get = RAFTKV__V1__GET_REQUEST__INIT;
    uint8_t *frame;
    size_t size;

    request.id = (uint64_t)client + 1; /* 0 is none; each has one request under way */
    if (operation->get) {
        get.key = bytes(operation->key, operation->key_size);
        get.stale = operation->stale;
        request.body_case = RAFTKV__V1__REQUEST__BODY_GET;
        request.get = &get;
    } else {
        put.key = bytes(operation->key, operation->key_size);
        put.value = bytes(operation->value, operation->value_size);
        request.body_case = RAFTKV__V1__REQUEST__BODY_PUT;
        request.put = &put;
    }
    size = raftkv__v1__request__get_packed_size(&request);
    frame = buffer_reserve(output, 4 + size);
    frame[0] = (uint8_t)(size >> 24);
    frame[1] = (uint8_t)(size >> 16);
    frame[2] = (uint8_t)(size >> 8);
    frame[3] = (uint8_t)size;
    raftkv__v1__request__pack(&request, frame + 4);
    output->size += 4 + size;
    return 0;
}

static int take_response(struct session *session, const uint8_t *data, size_t size) {
    Raftkv__V1__Response *response;
    uint64_t id;
    unsigned code = ERROR_OK;

    arena.used = 0;
    response = raftkv__v1__response__unpack(&arena_allocator, size, data);
    if (!response)
        return -EBADMSG;
    id = response->id;
    if (response->error)
        code = (unsigned)response->error->code;
    if (id == 0)
        return -ECONNREFUSED; /* the node speaks of the connection, and closes it */
    if (id <= BENCH_CLIENTS_MAX)
        connection_complete(session->connection, (unsigned)id - 1, code);
    return 0;
}

/* Takes the whole frames at the start and returns how many bytes they have, or a negative errno. */
static ssize_t take_frames(struct session *session, const uint8_t *data, size_t size) {
    size_t taken = 0;

    while (size - taken >= 4) {
        const uint8_t *head = data + taken;
        size_t length =
            (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
        int r;

        if (length > CLIENT_FRAME_SIZE_MAX)
            return -EBADMSG;
        if (size - taken - 4 < length)
            break;
        r = take_response(session, head + 4, length);
        if (r < 0)
            return r;
        taken += 4 + length;
    }
    return (ssize_t)taken;
}

static int receive(void *data, const uint8_t *input, size_t size) {
    struct session *session = data;
    ssize_t taken;

    if (session->partial.size == 0) {
        taken = take_frames(session, input, size);
        if (taken >= 0)
            buffer_append(&session->partial, input + taken, size - (size_t)taken);
        return taken < 0 ? (int)taken : 0;
    }
    buffer_append(&session->partial, input, size);
    taken = take_frames(session, session->partial.data, session->partial.size);
    if (taken > 0)
        buffer_consume(&session->partial, (size_t)taken);
    return taken < 0 ? (int)taken : 0;
}

static const char *name_of(unsigned code) {
    return error_name((enum error_code)code);
}

const struct protocol raftkv_protocol = {
    .error_name = name_of,
    .session_new = session_new,
    .session_free = session_free,
    .submit = submit,
    .receive = receive,
};
