/*
 * Messages between members, as libraft gets to see them: PeerMessage bytes through unpack() and
 * codec_decode().
 *
 * Input: the bytes of one PeerMessage.
 */
#include <errno.h>

#include "base/limits.h"
#include "fuzz.h"
#include "raft/codec.h"

enum { SENDER = 2, MEMORY_FACTOR = 64, MEMORY_AROUND = 4096 };

static Raftkv__V1__PeerMessage *decode(const uint8_t *data, size_t size) {
    size_t before = fuzz_allocated();
    ProtobufCMessage *message;
    const char *reason = NULL;
    int r = unpack(&raftkv__v1__peer_message__descriptor, data, size, &unpack_peer_limits, &message,
                   &reason);

    if (r < 0) {
        check((r == -EBADMSG || r == -EMSGSIZE) && reason);
        return NULL;
    }
    check(fuzz_allocated() - before <= size * MEMORY_FACTOR + MEMORY_AROUND);
    return (Raftkv__V1__PeerMessage *)message;
}

/* What libraft asserts, and hazards L1 and L10. */
static void look_at_append(const struct raft_append_entries *append) {
    raft_term term = append->prev_log_term;

    check((append->prev_log_index == 0) == (append->prev_log_term == 0));
    check(append->n_entries <= APPEND_ENTRIES_MAX && (append->n_entries == 0 || append->entries));
    for (unsigned i = 0; i < append->n_entries; i++) {
        const struct raft_entry *entry = &append->entries[i];

        check(entry->term >= term && entry->term > 0 && entry->term <= append->term);
        term = entry->term;
        check(entry->batch && entry->batch == append->entries[0].batch);
        check(entry->buf.len <= ENTRY_SIZE_MAX);
        check(entry->type != RAFT_CHANGE || append->n_entries == 1);
        if (entry->type == RAFT_CHANGE) {
            struct raft_configuration configuration;

            /* libraft's own decoder, which reads out of bounds (hazard L9), is safe behind ours. */
            raft_configuration_init(&configuration);
            check(raft_configuration_decode(&entry->buf, &configuration) == 0);
            raft_configuration_close(&configuration);
        }
    }
}

static uint8_t *encode(const struct raft_message *message, size_t *ret_size) {
    if (message->type == RAFT_INSTALL_SNAPSHOT)
        return NULL;
    return codec_encode(message, UINT64_MAX, ret_size);
}

/* What was decoded comes back from its own encoding. */
static void look_at_message(const struct raft_message *message) {
    size_t first_size, second_size;
    uint8_t *first = encode(message, &first_size), *second;
    Raftkv__V1__PeerMessage *peer;
    struct raft_message again;
    const char *reason = NULL;

    check(message->server_id == SENDER);
    if (message->type == RAFT_APPEND_ENTRIES)
        look_at_append(&message->append_entries);
    if (!first)
        return;
    peer = decode(first, first_size);
    check(peer && codec_decode(peer, SENDER, "sender", &again, &reason) == 0);
    check(again.type == message->type);
    second = encode(&again, &second_size);
    check(first_size == second_size && memcmp(first, second, first_size) == 0);
    codec_free(&again);
    raftkv__v1__peer_message__free_unpacked(peer, NULL);
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Raftkv__V1__PeerMessage *peer = decode(data, size);
    struct raft_message message;
    const char *reason = NULL;
    int r;

    if (!peer)
        return 0;
    r = codec_decode(peer, SENDER, "sender", &message, &reason);
    if (r == 0) {
        look_at_message(&message);
        codec_free(&message);
    } else {
        check(r == -EBADMSG && reason);
    }
    raftkv__v1__peer_message__free_unpacked(peer, NULL);
    return 0;
}
