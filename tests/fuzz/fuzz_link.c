/*
 * What another node sends on a link that it dialled, and what it answers on one that was dialled to
 * it: frames, hello, fragments, and the messages that they make up. The connection, the loop and
 * the node above are stood in for here.
 *
 * Input: 1 byte (even: the rest is a stream of frames; odd: the rest says frames one by one, a
 * byte for its kind first), 1 byte that the sizes of the pieces follow from, the rest.
 */
#include <ctype.h>
#include <errno.h>

#include "base/address.h"
#include "fuzz.h"
#include "rpc/hello.h"
#include "rpc/links_private.h"

enum { OWN_ID = 1, REFUSED_MESSAGE = 0xee, STREAM_SIZE_MAX = 256 * 1024 };

/* ---- what stands in for others ---- */

static const struct connection_events *events;
static struct connection *current;
static struct buffer received; /* the last message that the node was handed */
static size_t messages;

void connection_init(struct connection *connection, struct network *network,
                     const struct connection_events *its_events, enum frame_kind kind,
                     size_t frame_max) {
    *connection = (struct connection){.network = network};
    connection->reader.kind = kind;
    connection->reader.frame_max = frame_max;
    events = its_events;
    current = connection;
}

int connection_start(struct connection *connection, unsigned dead_after_s) {
    (void)connection;
    (void)dead_after_s;
    return 0;
}

void connection_send(struct connection *connection, const ProtobufCMessage *message) {
    size_t size;
    uint8_t *data = pack(message, 0, &size);
    const char *reason;
    Raftkv__V1__LinkFrame *frame = hello_unpack_frame(data, size, &reason);

    /* What this side says is something that the other side understands. */
    check(frame && size <= connection->reader.frame_max);
    raftkv__v1__link_frame__free_unpacked(frame, NULL);
    free(data);
}

void connection_finish(struct connection *connection) {
    connection->finishing = true;
}

void connection_close(struct connection *connection) {
    connection->closing = true;
}

void connection_describe(const struct connection *connection, char *text, size_t size) {
    (void)connection;
    check(size > 0);
    text[0] = 0;
}

void deadline_start(struct network *network, struct deadline *deadline, uint64_t milliseconds) {
    (void)network;
    (void)milliseconds;
    deadline->active = true;
}

void deadline_stop(struct deadline *deadline) {
    deadline->active = false;
}

void complain(struct complaints *complaints, uint64_t now, const struct journal_event *event,
              const char *format, ...) {
    (void)complaints;
    (void)now;
    check(event && format);
}

void links_incoming_up(struct links *links, struct link_in *link) {
    (void)links;
    check(link->member_id != 0 && link->member_id != OWN_ID && address_valid(link->peer_address));
}

void links_incoming_gone(struct links *links, uint64_t member_id) {
    (void)links;
    check(member_id != 0);
}

int uv_accept(uv_stream_t *server, uv_stream_t *client) {
    (void)server;
    (void)client;
    return 0;
}

uint64_t uv_now(const uv_loop_t *loop) {
    (void)loop;
    return 0;
}

static const struct identity *own_identity(void *data) {
    static const struct identity identity = {
        .cluster_id = 7,
        .member_id = OWN_ID,
        .incarnation = 1,
        .name = "own",
        .peer_address = "127.0.0.1:4712",
        .client_address = "127.0.0.1:4711",
    };

    (void)data;
    return &identity;
}

static int admit(void *data, const struct identity *from, uint64_t expected,
                 struct failure *failure) {
    (void)data;
    (void)expected;
    check(member_name_valid(from->name) && address_valid(from->peer_address) &&
          address_valid(from->client_address));
    if (from->incarnation == 0)
        return failure_set(failure, ERROR_INVALID_ARGUMENT, "no");
    return 0;
}

static void announced(void *data, const struct identity *from, struct announce_reply *ret) {
    (void)data;
    check(member_name_valid(from->name) && address_valid(from->peer_address) &&
          address_valid(from->client_address));
    failure_set(&ret->said, ERROR_NOT_LEADER, "not here");
    strcpy(ret->leader_address, from->peer_address);
}

static int receive(void *data, uint64_t from, const uint8_t *message, size_t size,
                   const char **ret_reason) {
    (void)data;
    check(from != 0 && from != OWN_ID && size <= PEER_MESSAGE_SIZE_MAX);
    buffer_deinit(&received);
    buffer_append(&received, message, size);
    messages++;
    if (size == 0 || message[0] != REFUSED_MESSAGE)
        return 0;
    *ret_reason = "refused";
    return -1;
}

/* ---- frames ---- */

/* The streams of fragments, put together by other means. */
static struct buffer expected[2];

static void look_at_answer(const Raftkv__V1__LinkFrame *frame) {
    struct identity identity;
    struct failure failure;
    uint32_t protocol;

    if (frame->body_case == RAFTKV__V1__LINK_FRAME__BODY_WELCOME &&
        hello_get_identity(frame->welcome->identity, &identity, &protocol, &failure) == 0)
        check(identity.member_id != 0 && protocol >= PROTOCOL_MIN && protocol <= PROTOCOL_MAX);
    if (frame->body_case != RAFTKV__V1__LINK_FRAME__BODY_REFUSAL)
        return;
    hello_get_refusal(frame->refusal, &failure);
    check(failure.code > 0 && failure.code < ERROR_CODE_COUNT && failure.message[0]);
    for (const char *c = failure.message; *c; c++)
        check(!iscntrl((unsigned char)*c));
}

/* Hands one frame to the link, and sees to it that a message comes out where one ends, and the
 * right one. */
static void take_frame(struct link_in *link, const uint8_t *data, size_t size) {
    const char *reason = NULL;
    Raftkv__V1__LinkFrame *frame = hello_unpack_frame(data, size, &reason);
    const Raftkv__V1__Fragment *fragment = NULL;
    struct buffer *assembly = NULL;
    size_t before = messages;

    check(frame || reason);
    if (frame && frame->body_case == RAFTKV__V1__LINK_FRAME__BODY_FRAGMENT &&
        link->state == LINK_IN_UP)
        fragment = frame->fragment;
    if (frame)
        look_at_answer(frame);
    if (fragment) {
        assembly = &expected[fragment->urgent ? 1 : 0];
        buffer_append(assembly, fragment->data.data, fragment->data.len);
    }
    events->frame(&link->connection, data, size);
    check(messages <= before + 1);
    check((messages > before) == (fragment && fragment->last && link->state == LINK_IN_UP) ||
          link->state == LINK_IN_CLOSED);
    if (messages > before) {
        check(fragment && fragment->last && received.size == assembly->size);
        check(received.size == 0 || memcmp(received.data, assembly->data, received.size) == 0);
        assembly->size = 0;
    }
    if (frame)
        raftkv__v1__link_frame__free_unpacked(frame, NULL);
}

static void check_memory(const struct links *links, const struct link_in *link) {
    check(links->assembling == link->assembly[0].capacity + link->assembly[1].capacity);
    check(links->assembling <= 4 * (expected[0].size + expected[1].size) + 1024);
}

/* ---- the stream ---- */

static void add_frame(struct buffer *stream, const Raftkv__V1__LinkFrame *frame) {
    size_t size;
    uint8_t *data = pack(&frame->base, FRAME_CHECKED_HEADER_SIZE, &size);

    frame_put_header(FRAME_CHECKED, data, size);
    buffer_append(stream, data, FRAME_CHECKED_HEADER_SIZE + size);
    free(data);
}

static void add_hello(struct buffer *stream, struct input *input) {
    Raftkv__V1__LinkFrame frame = RAFTKV__V1__LINK_FRAME__INIT;
    Raftkv__V1__Hello hello = RAFTKV__V1__HELLO__INIT;
    Raftkv__V1__Identity identity;

    hello_put_identity(&identity, own_identity(NULL));
    identity.member_id = take_byte(input);
    identity.incarnation = take_byte(input);
    hello.purpose = (Raftkv__V1__LinkPurpose)take_byte(input);
    hello.identity = &identity;
    frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_HELLO;
    frame.hello = &hello;
    add_frame(stream, &frame);
}

static void add_fragment(struct buffer *stream, struct input *input) {
    static const size_t sizes[] = {
        0, 1, 3, 1000, FRAGMENT_SIZE_MAX - 1, FRAGMENT_SIZE_MAX, FRAGMENT_SIZE_MAX + 1};
    Raftkv__V1__LinkFrame frame = RAFTKV__V1__LINK_FRAME__INIT;
    Raftkv__V1__Fragment fragment = RAFTKV__V1__FRAGMENT__INIT;
    uint8_t flags = take_byte(input);
    size_t size = sizes[(flags >> 2) % (sizeof sizes / sizeof *sizes)];
    uint8_t *data = xmalloc(size + 1);

    memset(data, take_byte(input), size + 1);
    fragment.urgent = flags & 1;
    fragment.last = flags & 2;
    fragment.data = (ProtobufCBinaryData){.len = size, .data = data};
    frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_FRAGMENT;
    frame.fragment = &fragment;
    add_frame(stream, &frame);
    free(data);
}

static void add_bytes(struct buffer *stream, struct input *input) {
    struct input part = take_part(input, take_byte(input));
    uint8_t *frame = buffer_reserve(stream, FRAME_CHECKED_HEADER_SIZE + part.size);

    if (part.size > 0)
        memcpy(frame + FRAME_CHECKED_HEADER_SIZE, part.data, part.size);
    frame_put_header(FRAME_CHECKED, frame, part.size);
    stream->size += FRAME_CHECKED_HEADER_SIZE + part.size;
}

static void make_stream(struct buffer *stream, struct input *input) {
    while (input->size > 0 && stream->size < STREAM_SIZE_MAX) {
        switch (take_byte(input) % 4) {
        case 0:
            add_hello(stream, input);
            break;
        case 1:
            add_bytes(stream, input);
            break;
        default:
            add_fragment(stream, input);
        }
    }
}

/* As connection.c does it. */
static void feed(struct links *links, struct link_in *link, struct input stream, size_t step) {
    struct connection *connection = current;
    size_t piece_size = 1 + step * step * 4 + stream.size / 128;

    while (stream.size > 0 && !connection->closing && !connection->finishing) {
        struct input piece = take_part(&stream, piece_size);
        uint8_t *copy = xmemdup(piece.data, piece.size);
        const uint8_t *frame;
        size_t size;
        int r = 0;

        frame_reader_feed(&connection->reader, copy, piece.size);
        while (!connection->closing && !connection->finishing &&
               (r = frame_reader_next(&connection->reader, &frame, &size)) == 1) {
            take_frame(link, frame, size);
            check_memory(links, link);
        }
        if (r == -EBADMSG)
            events->damaged(connection);
        else if (r < 0)
            events->too_large(connection, size);
        else
            frame_reader_keep(&connection->reader);
        free(copy);
    }
}

static void describe(void *data, uint64_t member_id, struct journal_event *event) {
    (void)data;
    journal_field(event, "RAFTKV_MEMBER_ID=%016llx", (unsigned long long)member_id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct links links;
    struct input input = {data, size};
    bool raw = take_byte(&input) % 2 == 0;
    size_t step = take_byte(&input);
    struct buffer stream = BUFFER_NULL;
    struct link_in *link;

    memset(&links, 0, sizeof links);
    LIST_INIT(&links.incoming);
    links.handler = (struct links_handler){
        .identity = own_identity,
        .admit = admit,
        .announced = announced,
        .receive = receive,
        .describe = describe,
    };
    if (raw)
        buffer_append(&stream, input.data, input.size);
    else
        make_stream(&stream, &input);
    messages = 0;

    link_in_accept(&links);
    link = LIST_FIRST(&links.incoming);
    check(link);
    feed(&links, link, (struct input){stream.data, stream.size}, step);
    if (link->state != LINK_IN_CLOSED)
        link_in_close(link);
    check(links.assembling == 0 && LIST_EMPTY(&links.incoming) && !link->deadline.active);

    frame_reader_deinit(&current->reader);
    events->closed(current);
    check(links.incoming_count == 0);
    buffer_deinit(&stream);
    buffer_deinit(&received);
    buffer_deinit(&expected[0]);
    buffer_deinit(&expected[1]);
    return 0;
}
