/*
 * Writes what the fuzz targets begin with, from real encodings: DIRECTORY/TARGET/NUMBER, and for
 * some a dictionary DIRECTORY/TARGET.dict.
 *
 *     fuzz-seeds DIRECTORY
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "daemon/options.h"
#include "fuzz.h"
#include "kv/kv.h"
#include "raft/codec.h"
#include "raft/configuration.h"
#include "rpc/frame.h"
#include "rpc/hello.h"
#include "seeds.h"
#include "store/record.h"

static const char *top;

void write_seed(const char *target, const void *data, size_t size) {
    static unsigned number;
    _cleanup_free_ char *directory = xasprintf("%s/%s", top, target);
    char name[16];

    check(mkdir(directory, 0700) == 0 || errno == EEXIST);
    snprintf(name, sizeof name, "%04u", number++);
    fuzz_write_file(directory, name, data, size);
}

void write_with(const char *target, const void *first, size_t first_size, const void *body,
                size_t body_size) {
    struct buffer buffer = BUFFER_NULL;

    buffer_append(&buffer, first, first_size);
    buffer_append(&buffer, body, body_size);
    write_seed(target, buffer.data, buffer.size);
    buffer_deinit(&buffer);
}

static void write_text(const char *target, uint8_t first, const char *text) {
    write_with(target, &first, 1, text, strlen(text));
}

static ProtobufCBinaryData bytes(const char *text) {
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)(uintptr_t)text};
}

static void add_frame(struct buffer *stream, enum frame_kind kind,
                      const ProtobufCMessage *message) {
    size_t header_size = frame_header_size(kind), size;
    uint8_t *data = pack(message, header_size, &size);

    frame_put_header(kind, data, size);
    buffer_append(stream, data, header_size + size);
    free(data);
}

/* ---- clients ---- */

static void add_put(struct buffer *stream) {
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__PutRequest put = RAFTKV__V1__PUT_REQUEST__INIT;

    put.key = bytes("key");
    put.value = bytes("value");
    request.id = 7;
    request.timeout_ms = 1000;
    request.body_case = RAFTKV__V1__REQUEST__BODY_PUT;
    request.put = &put;
    add_frame(stream, FRAME_PLAIN, &request.base);
}

static void add_list(struct buffer *stream) {
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__ListRequest list = RAFTKV__V1__LIST_REQUEST__INIT;

    list.prefix = bytes("k");
    list.from = bytes("key");
    list.continuation = bytes("key\1");
    list.limit = 10;
    list.max_bytes = 1000;
    request.body_case = RAFTKV__V1__REQUEST__BODY_LIST;
    request.list = &list;
    add_frame(stream, FRAME_PLAIN, &request.base);
}

static void add_add_voter(struct buffer *stream) {
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__AddVoterRequest add;
    char name[] = "nodeB", address[] = "[::1]:4712";

    raftkv__v1__add_voter_request__init(&add);
    add.name = name;
    add.peer_address = address;
    request.body_case = RAFTKV__V1__REQUEST__BODY_ADD_VOTER;
    request.add_voter = &add;
    add_frame(stream, FRAME_PLAIN, &request.base);
}

static void add_responses(struct buffer *stream) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__Error error;
    Raftkv__V1__ListResponse list = RAFTKV__V1__LIST_RESPONSE__INIT;
    Raftkv__V1__KeyValue item = RAFTKV__V1__KEY_VALUE__INIT, *items[] = {&item, &item};
    char message[] = "It is not there.";

    raftkv__v1__error__init(&error);
    error.code = RAFTKV__V1__ERROR_CODE__ERROR_CODE_NOT_FOUND;
    error.message = message;
    response.error = &error;
    add_frame(stream, FRAME_PLAIN, &response.base);
    response.error = NULL;
    item.key = bytes("key");
    item.value = bytes("value");
    item.version = 3;
    list.n_items = 2;
    list.items = items;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_LIST;
    response.list = &list;
    add_frame(stream, FRAME_PLAIN, &response.base);
}

static void client_frames(void) {
    struct buffer stream = BUFFER_NULL;

    add_put(&stream);
    write_with("client_frames", "\0\2", 2, stream.data, stream.size);
    add_list(&stream);
    add_add_voter(&stream);
    write_with("client_frames", "\0\100", 2, stream.data, stream.size);
    stream.size = 0;
    add_responses(&stream);
    write_with("client_frames", "\1\100", 2, stream.data, stream.size);
    buffer_deinit(&stream);
}

/* ---- links ---- */

static void add_hello(struct buffer *stream) {
    static const struct identity identity = {
        .cluster_id = 7,
        .member_id = 2,
        .incarnation = 1,
        .name = "nodeB",
        .peer_address = "127.0.0.1:5002",
        .client_address = "127.0.0.1:4002",
    };
    Raftkv__V1__LinkFrame frame = RAFTKV__V1__LINK_FRAME__INIT;
    Raftkv__V1__Hello hello = RAFTKV__V1__HELLO__INIT;
    Raftkv__V1__Welcome welcome = RAFTKV__V1__WELCOME__INIT;
    Raftkv__V1__Identity message;

    hello_put_identity(&message, &identity);
    hello.identity = welcome.identity = &message;
    hello.purpose = RAFTKV__V1__LINK_PURPOSE__LINK_PURPOSE_MEMBER;
    frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_HELLO;
    frame.hello = &hello;
    add_frame(stream, FRAME_CHECKED, &frame.base);
    frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_WELCOME;
    frame.welcome = &welcome;
    write_with("link", "\0\20", 2, stream->data, stream->size);
}

static void add_fragment(struct buffer *stream, bool urgent, bool last, const char *data) {
    Raftkv__V1__LinkFrame frame = RAFTKV__V1__LINK_FRAME__INIT;
    Raftkv__V1__Fragment fragment = RAFTKV__V1__FRAGMENT__INIT;

    fragment.urgent = urgent;
    fragment.last = last;
    fragment.data = bytes(data);
    frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_FRAGMENT;
    frame.fragment = &fragment;
    add_frame(stream, FRAME_CHECKED, &frame.base);
}

static void add_refusal(struct buffer *stream) {
    Raftkv__V1__LinkFrame frame = RAFTKV__V1__LINK_FRAME__INIT;
    Raftkv__V1__Refusal refusal = RAFTKV__V1__REFUSAL__INIT;
    Raftkv__V1__Error error;
    char message[] = "Another cluster.\n";

    raftkv__v1__error__init(&error);
    error.code = RAFTKV__V1__ERROR_CODE__ERROR_CODE_UNSUPPORTED;
    error.message = message;
    refusal.error = &error;
    frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_REFUSAL;
    frame.refusal = &refusal;
    add_frame(stream, FRAME_CHECKED, &frame.base);
}

static void links(void) {
    /* hello of member 2, then fragments: whole, two parts, the largest, interleaved */
    static const uint8_t said[] = {1,   9, 0,  2,   1, 1,  2,   3, 'a', 2,   1, 'b', 3,  2 | 5 << 2,
                                   'c', 2, 20, 'd', 3, 21, 'e', 2, 23,  'f', 2, 22,  'g'};
    struct buffer stream = BUFFER_NULL;

    add_hello(&stream);
    add_fragment(&stream, false, false, "first part, ");
    add_fragment(&stream, true, true, "urgent");
    add_fragment(&stream, false, true, "last part");
    write_with("link", "\0\3", 2, stream.data, stream.size);
    stream.size = 0;
    add_refusal(&stream);
    write_with("link", "\0\3", 2, stream.data, stream.size);
    write_seed("link", said, sizeof said);
    buffer_deinit(&stream);
}

/* ---- raft ---- */

static struct configuration some_configuration(size_t count) {
    struct configuration configuration = {.count = 0};

    for (size_t i = 1; i <= count; i++) {
        struct server server = {
            .id = i, .role = i < 4 ? MEMBER_VOTER : MEMBER_STANDBY, .promoting = i == 5};

        snprintf(server.name, sizeof server.name, "node%zu", i);
        snprintf(server.peer_address, sizeof server.peer_address, "[::1]:%zu", 5000 + i);
        snprintf(server.client_address, sizeof server.client_address, "host-%zu.example:1", i);
        configuration_add(&configuration, &server);
    }
    return configuration;
}

static void configurations(void) {
    for (size_t count = 1; count <= 5; count += 2) {
        struct configuration configuration = some_configuration(count);
        char text[SERVER_TEXT_MAX];
        uint8_t *data;
        size_t size;

        configuration_encode(&configuration, &data, &size);
        write_with("configuration", "", 1, data, size);
        raft_free(data);
        server_format(&configuration.servers[count - 1], text);
        write_text("configuration", 1, text);
    }
}

static void write_message(const struct raft_message *message) {
    size_t size;
    uint8_t *data = codec_encode(message, 100, &size);

    write_seed("peer_message", data, size);
    free(data);
}

static void write_append(unsigned short type, void *data, size_t size, unsigned count) {
    struct raft_entry entries[2] = {
        {.term = 2, .type = type, .buf = {.base = data, .len = size}},
        {.term = 3, .type = RAFT_BARRIER},
    };
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES};

    message.append_entries = (struct raft_append_entries){.term = 3,
                                                          .prev_log_index = 5,
                                                          .prev_log_term = 2,
                                                          .leader_commit = 5,
                                                          .entries = entries,
                                                          .n_entries = count};
    write_message(&message);
}

/* What raft does not get to see: the words around a state that is streamed. */
static void write_peer(Raftkv__V1__PeerMessage__BodyCase body, void *message) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    uint8_t *data;
    size_t size;

    peer.body_case = body;
    peer.append_entries = message; /* all bodies share their place */
    data = pack(&peer.base, 0, &size);
    write_seed("peer_message", data, size);
    free(data);
}

static void streams(void) {
    struct configuration configuration = some_configuration(3);
    Raftkv__V1__InstallSnapshot install = RAFTKV__V1__INSTALL_SNAPSHOT__INIT;
    Raftkv__V1__SnapshotPart part = RAFTKV__V1__SNAPSHOT_PART__INIT;
    Raftkv__V1__SnapshotAck ack = RAFTKV__V1__SNAPSHOT_ACK__INIT;

    configuration_encode(&configuration, &install.configuration.data, &install.configuration.len);
    install.term = 4;
    install.last_index = 100;
    install.last_term = 3;
    install.configuration_index = 7;
    write_peer(RAFTKV__V1__PEER_MESSAGE__BODY_INSTALL_SNAPSHOT, &install);
    part.stream = 4711;
    part.index = 100;
    part.term = 3;
    part.configuration_index = 7;
    part.configuration = install.configuration;
    part.sequence = 1;
    part.chunk = bytes("chunk");
    part.total_bytes = 1000;
    write_peer(RAFTKV__V1__PEER_MESSAGE__BODY_SNAPSHOT_PART, &part);
    part.configuration.len = 0;
    part.sequence = 2;
    part.last = true;
    write_peer(RAFTKV__V1__PEER_MESSAGE__BODY_SNAPSHOT_PART, &part);
    ack.stream = 4711;
    ack.next = 3;
    ack.complete = true;
    write_peer(RAFTKV__V1__PEER_MESSAGE__BODY_SNAPSHOT_ACK, &ack);
    ack.next = 1;
    ack.complete = false;
    ack.unknown = true;
    write_peer(RAFTKV__V1__PEER_MESSAGE__BODY_SNAPSHOT_ACK, &ack);
    raft_free(install.configuration.data);
}

static void peer_messages(void) {
    struct configuration configuration = some_configuration(3);
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES_RESULT};
    char command[] = "command";
    uint8_t *data;
    size_t size;

    write_append(RAFT_COMMAND, command, sizeof command, 2);
    configuration_encode(&configuration, &data, &size);
    write_append(RAFT_CHANGE, data, size, 1);
    raft_free(data);
    message.append_entries_result = (struct raft_append_entries_result){
        .term = 3, .rejected = 7, .last_log_index = 5, .capacity = 100};
    write_message(&message);
    message.type = RAFT_REQUEST_VOTE;
    message.request_vote = (struct raft_request_vote){
        .term = 4, .last_log_index = 7, .last_log_term = 3, .pre_vote = true};
    write_message(&message);
    message.type = RAFT_REQUEST_VOTE_RESULT;
    message.request_vote_result =
        (struct raft_request_vote_result){.term = 4, .vote_granted = RAFT_REQUEST_VOTE_RESULT};
    write_message(&message);
    message.type = RAFT_TIMEOUT_NOW;
    message.timeout_now =
        (struct raft_timeout_now){.term = 4, .last_log_index = 7, .last_log_term = 3};
    write_message(&message);
}

/* As fuzz_member.c reads them: three voters (0x15), then what happens. */
static void member(void) {
    /* time passes, two agree to a pre-vote and to a vote, the barrier is written and confirmed, a
     * proposal, a change */
    static const uint8_t leads[] = {0x15, 0, 7,    6, 3,  0, 1, 8,  3, 0, 1, 8,  12, 0, 12, 1,
                                    8,    9, 0x88, 8, 12, 0, 8, 10, 8, 0, 8, 12, 0,  8, 7,  3};
    /* a leader appends, confirms, appends a change, and another one cuts it off */
    static const uint8_t follows[] = {0x15, 0, 0, 0, 2, 3, 0, 0, 5, 0, 0, 0, 1, 0, 8,
                                      0,    0, 0, 0, 0, 0, 8, 0, 0, 7, 0, 0, 0, 0, 0x55,
                                      0,    0, 8, 0, 1, 1, 3, 3, 0, 5, 0, 3, 8};
    /* alone, it leads at once; a proposal, an addition that is answered, a restart */
    static const uint8_t alone[] = {1,  0, 7,  6, 8, 9, 0x88, 8, 10, 8, 0, 11,
                                    11, 8, 12, 0, 8, 8, 15,   1, 7,  6, 8};
    /* not in any configuration yet */
    static const uint8_t joins[] = {0, 0, 0, 0, 7, 3, 9, 0, 5, 0x75, 0, 3, 8};

    /* what a leader wrote is cut off by the next one while it is on its way to the disk */
    static const uint8_t cut_off[] = {0x15, 0, 0, 0, 1, 3, 0, 0, 9, 0, 3, 9,  0x80, 0, 1,  1, 3, 3,
                                      0,    9, 0, 3, 0, 1, 0, 0, 0, 0, 0, 11, 0,    8, 15, 1, 8};
    /* a leader takes back in its term what it wrote */
    static const uint8_t takes_back[] = {0x15, 0, 0, 0, 2, 3, 0, 0, 9, 0, 0, 0, 0, 8, 0,    0, 1,
                                         0,    3, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 0x80, 8};

    /* a leader streams a state that is ahead, says that it be installed, and goes on; a restart */
    static const uint8_t installs[] = {0x15, 0, 0,    0,  2,    3, 0,    0, 9, 0,    3, 0,
                                       3,    8, 0xf0, 10, 0x15, 0, 0xf1, 0, 0, 0xf3, 8, 0,
                                       0,    1, 0,    0,  0,    0, 0,    0, 8, 15,   1, 8};
    /* alone, it leads, compacts, keeps some of the log, streams to a member that was added, and is
     * started again in the middle of another compaction */
    static const uint8_t compacts[] = {
        1,  0, 7,    6, 8, 9,    0x88, 9,    0x88, 8,  0xf4, 0x12, 0xf4, 0x12, 10,   8,    0, 11,
        11, 8, 0xf5, 0, 9, 0x88, 8,    0xf4, 0,    15, 1,    8,    0xf4, 0x10, 0xf4, 0x10, 8};

    write_seed("member", cut_off, sizeof cut_off);
    write_seed("member", takes_back, sizeof takes_back);
    write_seed("member", leads, sizeof leads);
    write_seed("member", follows, sizeof follows);
    write_seed("member", alone, sizeof alone);
    write_seed("member", joins, sizeof joins);
    write_seed("member", installs, sizeof installs);
    write_seed("member", compacts, sizeof compacts);
}

/* ---- the disk ---- */

static void write_record(enum record_kind kind, bool first) {
    static const struct log_entry entries[] = {
        {.term = 1, .type = ENTRY_COMMAND, .data = (const uint8_t *)"one", .size = 3},
        {.term = 2, .type = ENTRY_BARRIER, .data = (const uint8_t *)"", .size = 0},
    };
    uint8_t configuration[] = {1, 2, 3};
    const struct log_mark mark = {5, 1, 3, configuration, sizeof configuration};
    const struct restatement restatement = {
        .file = 1, .term = 2, .vote = 3, .last_index = 8, .mark = mark};
    const struct record record = {
        .kind = kind, .first = first, .member_id = 4711, .run = 2, .sequence = 3, .durable = 2};
    struct buffer buffer = BUFFER_NULL;

    record_begin(&buffer);
    if (first)
        record_add_restatement(&buffer, &restatement);
    if (kind == RECORD_BATCH)
        record_add_batch(&buffer, 9, entries, 2);
    else if (kind == RECORD_VOTE)
        record_add_vote(&buffer, 3, 2);
    else
        record_add_mark(&buffer, &mark);
    record_finish(&buffer, &record, (struct position){1, 28});
    write_with("record", "\0\1\0\0\0\34\0\0\0", 9, buffer.data, buffer.size);
    write_with("record", "\1\1\0\0\0\34\0\0\0", 9, buffer.data, buffer.size);
    buffer_deinit(&buffer);
}

/* As fuzz_log.c reads them. */
static void logs(void) {
    enum { RECORDS = 12 };
    struct buffer seed = BUFFER_NULL;

    for (unsigned changes = 0; changes < 3; changes++) {
        seed.size = 0;
        buffer_append(&seed, &(uint8_t){(uint8_t)changes}, 1);
        for (unsigned i = 0; i < changes; i++)
            buffer_append(&seed, (const uint8_t[]){(uint8_t)(200 * (i + 1)), 0, 0, 0, 1}, 5);
        buffer_append(&seed, "\0\0", 2);
        for (unsigned i = 0; i < RECORDS; i++)
            buffer_append(&seed,
                          (const uint8_t[]){0, (uint8_t)(i * 3), (uint8_t)(i * 37), 0, 0, 0, 0, 0,
                                            0, 0, 0, 0, 0, 0, 0},
                          15);
        write_seed("log", seed.data, seed.size);
    }
    buffer_deinit(&seed);
}

static void small_files(void) {
    write_text("small_files", 0x80,
               "format=1\nname=node\nmember=4711\ncluster=7\nincarnation=3\nbootstrapping=0\n");
    write_text("small_files", 0x80,
               "format=1\nname=node\nmember=1\ncluster=0\nincarnation=18446744073709551614\n"
               "bootstrapping=1\n");
    write_text("small_files", 0x81, "format=1\ndirectory=state-1\n");
    write_text("small_files", 0x82, "member=4711\nfirst=2\nfile=3\nsequence=99\n");
    write_text("small_files", 0x02,
               "member=4711\nfirst=2\nfile=3\nsequence=99\nchecksum=00000000\n");
}

static void commands(void) {
    uint8_t *put, *delete;
    size_t put_size, delete_size;
    uint8_t first[2] = {0};

    kv_encode_put((const uint8_t *)"key", 3, (const uint8_t *)"value", 5, &put, &put_size);
    kv_encode_delete((const uint8_t *)"key", 3, &delete, &delete_size);
    write_with("command", first, 2, put, put_size);
    first[0] = (uint8_t)delete_size;
    {
        struct buffer both = BUFFER_NULL;

        buffer_append(&both, delete, delete_size);
        buffer_append(&both, put, put_size);
        write_with("command", first, 2, both.data, both.size);
        buffer_deinit(&both);
    }
    free(put);
    free(delete);
}

/* As fuzz_apply.c reads them: puts, a delete, a barrier, a change, another command. */
static void applies(void) {
    static const uint8_t entries[] = {0,   1, 'a', 'b', 1,   9, 0, 'c', 3, 25,  0,
                                      'c', 5, 3,   0,   'c', 5, 0, 0,   6, 3,   1,
                                      2,   3, 4,   15,  2,   8, 1, 16,  0, 'a', 2};

    write_seed("apply", entries, sizeof entries);
}

/* ---- texts ---- */

static void texts(void) {
    static const char *const some[] = {
        "127.0.0.1:4711",
        "[::1]:4712",
        "0.0.0.0:1",
        "localhost:65535",
        ":80",
        "node_A1",
        "16M",
        "1min 30s",
        "2.5h",
        "yes",
        "off",
        "18446744073709551615",
        "100000000000T",
        "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80",
        "\xef\xbf\xbe \xed\xa0\x80 \xc0\x80",
        "a\tb\nc\\\x7f",
    };

    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        write_seed("text", some[i], strlen(some[i]));
}

static void write_dictionary(const char *target, const char *text) {
    _cleanup_free_ char *name = xasprintf("%s.dict", target);

    fuzz_write_file(top, name, text, strlen(text));
}

static void options(void) {
    struct buffer file = BUFFER_NULL, dictionary = BUFFER_NULL;
    uint8_t first[3] = {1};

    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct option_key *key = &option_keys[i];
        const char *value = key->preset[0] == '<' ? "" : key->preset;
        _cleanup_free_ char *line = xasprintf("[%s]\n%s=%s\n", key->section, key->name, value);
        _cleanup_free_ char *words = xasprintf("\"%s=\"\n\"[%s]\\x0a\"\n", key->name, key->section);

        buffer_append(&file, line, strlen(line));
        buffer_append(&dictionary, words, strlen(words));
    }
    first[1] = (uint8_t)file.size;
    first[2] = (uint8_t)(file.size >> 8);
    buffer_append(&file, "[Node]\n; again\nName=node\nListenPeers=[::]:7\n", 44);
    write_with("options", first, 3, file.data, file.size);
    buffer_append(&dictionary, "", 1);
    write_dictionary("options", (const char *)dictionary.data);
    buffer_deinit(&file);
    buffer_deinit(&dictionary);
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: fuzz-seeds DIRECTORY\n");
        return 2;
    }
    top = arguments[1];
    client_frames();
    links();
    configurations();
    peer_messages();
    streams();
    member();
    for (int kind = RECORD_BATCH; kind <= RECORD_RESET; kind++) {
        write_record((enum record_kind)kind, false);
        write_record((enum record_kind)kind, true);
    }
    logs();
    seeds_of_snapshots();
    small_files();
    write_dictionary(
        "small_files",
        "\"format=1\\x0a\"\n\"name=\"\n\"member=\"\n\"cluster=\"\n\"incarnation=\"\n"
        "\"bootstrapping=\"\n\"directory=state-\"\n\"first=\"\n\"file=\"\n\"sequence=\"\n"
        "\"checksum=\"\n\"18446744073709551615\"\n");
    commands();
    applies();
    texts();
    options();
    return 0;
}
