/*
 * Snapshots as another node streams them: the header, then chunks.
 *
 * Input: 1 byte (0: the bytes of a header are the rest; else a header is made, and chunks), the
 * rest.
 */
#include <errno.h>

#include "chunks.h"

enum { MEMORY_FACTOR = 128, MEMORY_AROUND = 8192 };

static void check_refusal(int r, const struct failure *failure) {
    check(r == -EBADMSG && failure->code == ERROR_INVALID_ARGUMENT && failure->message[0]);
}

/* What was decoded comes back from its own encoding. */
static void take_header(struct input input) {
    struct buffer first = BUFFER_NULL, second = BUFFER_NULL;
    struct snapshot_header header, again;
    struct failure failure;
    int r = snapshot_header_decode(&header, input.data, input.size, &failure);

    if (r < 0) {
        check_refusal(r, &failure);
        return;
    }
    check(header.index > 0 && header.term > 0 && header.configuration_index <= header.index);
    check((header.configuration_index == 0) == (header.configuration_size == 0));
    snapshot_header_encode(&header, &first);
    check(snapshot_header_decode(&again, first.data, first.size, &failure) == 0);
    snapshot_header_encode(&again, &second);
    check(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    snapshot_header_deinit(&header);
    snapshot_header_deinit(&again);
    buffer_deinit(&first);
    buffer_deinit(&second);
}

static void look_at_chunk(const struct snapshot_reader *reader,
                          const struct snapshot_chunk *chunk) {
    uint64_t bytes = reader->bytes;

    check(chunk->count > 0 || chunk->last);
    for (size_t i = 0; i < chunk->count; i++) {
        const struct snapshot_record *item = &chunk->records[i];

        check(item->key_size > 0 && item->key_size <= KEY_SIZE_MAX);
        check(item->record.create_revision <= item->record.modify_revision &&
              item->record.modify_revision <= reader->index && item->record.version > 0);
        bytes += item->key_size + item->record.value_size;
    }
    check(bytes == chunk->bytes);
}

static void take_one(struct snapshot_reader *reader, const struct buffer *encoded) {
    /* Memory of its own, so that reading behind it is seen. */
    _cleanup_free_ uint8_t *copy = xmemdup(encoded->data, encoded->size);
    size_t before = fuzz_allocated();
    struct snapshot_chunk chunk, again;
    struct failure failure;
    int r = snapshot_reader_decode(reader, copy, encoded->size, &chunk, &failure);

    if (r < 0) {
        check_refusal(r, &failure);
        check(fuzz_allocated() == before);
        return;
    }
    check(fuzz_allocated() - before <= encoded->size * MEMORY_FACTOR + MEMORY_AROUND);
    check(!reader->complete);
    look_at_chunk(reader, &chunk);
    snapshot_reader_accept(reader, &chunk);
    snapshot_chunk_deinit(&chunk);
    /* It fits in one place only. */
    check(snapshot_reader_decode(reader, copy, encoded->size, &again, &failure) == -EBADMSG);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size};
    struct snapshot_reader reader;

    if (take_byte(&input) == 0) {
        take_header(input);
        return 0;
    }
    snapshot_reader_init(&reader, take_near(&input, 100));
    while (input.size > 0) {
        struct buffer chunk = BUFFER_NULL;

        take_chunk(&input, &reader, &chunk);
        take_one(&reader, &chunk);
        buffer_deinit(&chunk);
    }
    snapshot_reader_deinit(&reader);
    return 0;
}
