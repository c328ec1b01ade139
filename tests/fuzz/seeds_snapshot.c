/* Seeds of snapshots and backup files. */
#include <endian.h>
#include <stdio.h>

#include "base/crc32c.h"
#include "fuzz.h"
#include "proto/unpack.h"
#include "seeds.h"
#include "store/backup.h"

enum { INDEX = 9, CHUNKS = 3, RECORDS = 4 };

/* The records of one chunk: keys in order, values of some sizes. */
static size_t fill_records(unsigned chunk, Raftkv__V1__SnapshotRecord *records, char (*keys)[16]) {
    static uint8_t value[40];
    size_t bytes = 0;

    for (unsigned i = 0; i < RECORDS; i++) {
        Raftkv__V1__SnapshotRecord *record = &records[i];

        raftkv__v1__snapshot_record__init(record);
        snprintf(keys[i], sizeof keys[i], "key-%u-%u", chunk, i);
        record->key.data = (uint8_t *)keys[i];
        record->key.len = strlen(keys[i]);
        record->value.data = value;
        record->value.len = i * 13;
        record->create_revision = 1 + i;
        record->modify_revision = INDEX - i;
        record->version = 1 + chunk;
        bytes += record->key.len + record->value.len;
    }
    return bytes;
}

struct totals {
    uint64_t records, bytes;
    uint32_t checksum;
};

/* The chunk of this number, as the store encodes it. */
static void make_chunk(unsigned number, struct totals *totals, struct buffer *ret) {
    Raftkv__V1__SnapshotChunk message = RAFTKV__V1__SNAPSHOT_CHUNK__INIT;
    Raftkv__V1__SnapshotRecord records[RECORDS], *pointers[RECORDS];
    char keys[RECORDS][16];
    uint32_t checksum;
    uint8_t *data;
    size_t size;

    totals->bytes += fill_records(number, records, keys);
    totals->records += RECORDS;
    for (unsigned i = 0; i < RECORDS; i++)
        pointers[i] = &records[i];
    message.index = INDEX;
    message.sequence = number;
    message.last = number == CHUNKS - 1;
    message.total_records = totals->records;
    message.total_bytes = totals->bytes;
    message.n_records = RECORDS;
    message.records = pointers;
    data = pack(&message.base, 0, &size);
    totals->checksum = crc32c(totals->checksum, data, size);
    checksum = htole32(totals->checksum);
    ret->size = 0;
    buffer_append(ret, data, size);
    buffer_append(ret, &checksum, sizeof checksum);
    free(data);
}

/* A whole file, as a node writes it, and one that ends before its trailer. */
static void write_files(const struct backup_header *header) {
    struct buffer file = BUFFER_NULL, chunk = BUFFER_NULL;
    struct backup_writer writer;
    struct totals totals = {0};
    struct failure failure;

    backup_writer_begin(&writer, header, &file);
    write_with("backup", "", 1, file.data, file.size);
    for (unsigned i = 0; i < CHUNKS; i++) {
        make_chunk(i, &totals, &chunk);
        check(backup_writer_chunk(&writer, chunk.data, chunk.size, &file, &failure) == 0);
    }
    write_with("backup", "", 1, file.data, file.size);
    check(backup_writer_end(&writer, &file, &failure) == 0);
    write_with("backup", "", 1, file.data, file.size);
    backup_writer_deinit(&writer);
    buffer_deinit(&file);
    buffer_deinit(&chunk);
}

/* The same chunks as fuzz_snapshot.c reads them when they are given as bytes: kind 3, the size, the
 * bytes without the checksum, and that the checksum is right. */
static void write_chunks(void) {
    struct buffer seed = BUFFER_NULL, chunk = BUFFER_NULL;
    struct totals totals = {0};

    buffer_append(&seed, (const uint8_t[]){1, 0xff, INDEX, 0, 0, 0, 0, 0, 0, 0}, 10);
    for (unsigned i = 0; i < CHUNKS; i++) {
        size_t size;

        make_chunk(i, &totals, &chunk);
        size = chunk.size - sizeof totals.checksum;
        buffer_append(&seed, (const uint8_t[]){3, (uint8_t)size, (uint8_t)(size >> 8)}, 3);
        buffer_append(&seed, chunk.data, size);
        buffer_append(&seed, "", 1);
    }
    write_seed("snapshot", seed.data, seed.size);
    buffer_deinit(&seed);
    buffer_deinit(&chunk);
}

/* As chunks.c reads them: two records, then a last one. */
static const uint8_t built[] = {0, 2, 1, 'a', 2,    'x', 'y', 0, 0,   0, 2, 'a', 'b', 0, 0, 0, 0, 0,
                                0, 0, 0, 0,   0x81, 1,   'c', 1, 'z', 0, 0, 0,   0,   0, 0, 0, 0};

void seeds_of_snapshots(void) {
    static const uint8_t header[] = {0, 0, 0, 0, 0, 0};
    uint8_t configuration[] = {1, 2, 3, 4};
    struct snapshot_header some = {.index = INDEX, .term = 2, .records_estimate = 3};
    struct backup_header of_file = {.cluster_id = 7, .version = "0.1", .snapshot = some};
    struct buffer seed = BUFFER_NULL;

    snapshot_header_encode(&some, &seed);
    write_with("snapshot", "", 1, seed.data, seed.size);
    some.configuration_index = 5;
    some.configuration = configuration;
    some.configuration_size = sizeof configuration;
    seed.size = 0;
    snapshot_header_encode(&some, &seed);
    write_with("snapshot", "", 1, seed.data, seed.size);
    write_with("snapshot", "\1\0", 2, built, sizeof built);
    write_chunks();
    write_files(&of_file);
    of_file.snapshot = some;
    write_files(&of_file);
    for (uint8_t flags = 16; flags <= 16 + 8; flags += 4) {
        seed.size = 0;
        buffer_append(&seed, (const uint8_t[]){flags, 5, 0}, 3);
        buffer_append(&seed, header, sizeof header);
        write_with("backup", seed.data, seed.size, built, sizeof built);
    }
    buffer_deinit(&seed);
}
