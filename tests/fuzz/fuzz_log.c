/*
 * The raft log as a directory that somebody left: files of Berkeley DB's making, with records whose
 * checksums are right and whose content may be anything, then bytes that changed on the disk. What
 * a node wrote opens; what opens has to be whole, to take more, and to open again; what does not is
 * left as it is.
 *
 * Input: 1 byte (bits 0 to 2: how many bytes change on the disk; bit 3: the floor is made up; bit
 * 4: a snapshot was installed), 5 bytes for each byte that changes (offset, file, what is XORed),
 * the floor's 2 bytes, records.
 */
#include <db.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/limits.h"
#include "fuzz.h"
#include "store/log_files.h"
#include "store/log_internal.h"
#include "store/sync.h"

enum { MEMBER = 4711, FILE_SIZE = 64 * 1024, FILES_MAX = 3, OPENING_RUN = 1000, CHANGES_MAX = 7 };

/* LeakSanitizer's. Berkeley DB keeps memory when it finds its own files damaged. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libdb-5.3";
}

/* What the records say up to here. */
struct writer {
    DB_ENV *environment;
    const char *directory;
    struct position end;
    uint64_t sequence, run;
    uint64_t term, vote, last_index;
    struct log_mark mark;
};

static void open_library(struct writer *writer) {
    DB_ENV *environment;

    check(db_env_create(&environment, 0) == 0);
    check(environment->set_lg_bsize(environment, FILE_SIZE / 4) == 0);
    check(environment->set_lg_max(environment, FILE_SIZE) == 0);
    check(environment->open(environment, writer->directory,
                            DB_CREATE | DB_INIT_LOG | DB_PRIVATE | DB_THREAD, 0600) == 0);
    writer->environment = environment;
}

/* Nothing in it is other than a node writes it. */
static bool all_right;

/* Mostly the number that belongs there. */
static uint64_t near(struct input *input, uint64_t right) {
    uint8_t byte = take_byte(input);

    if (byte < 0xf0)
        return right;
    all_right = false;
    return byte == 0xff ? take_number(input, 8) : right + byte - 0xf8u;
}

static void add_restatement(struct writer *writer, struct input *input, struct buffer *buffer) {
    struct restatement restatement = {
        .file = (uint32_t)near(input, writer->end.file),
        .term = near(input, writer->term),
        .vote = near(input, writer->vote),
        .last_index = near(input, writer->last_index),
        .mark = writer->mark,
    };

    record_add_restatement(buffer, &restatement);
}

static void add_batch(struct writer *writer, struct input *input, struct buffer *buffer) {
    static const size_t sizes[] = {0, 1, 100, 5000};
    static const uint8_t data[5000];
    struct log_entry entries[4];
    uint8_t shape = take_byte(input);
    uint32_t count = 1 + shape % 4;
    uint64_t first_index = near(input, writer->last_index + 1);

    for (uint32_t i = 0; i < count; i++)
        entries[i] = (struct log_entry){
            .term = near(input, writer->term),
            .type = (uint8_t)(1 + shape / 4 % 4),
            .data = data,
            .size = sizes[shape / 16 % 4],
        };
    record_add_batch(buffer, first_index, entries, count);
    /* Behind the first index: a count that need not be true. */
    count = htole32((uint32_t)near(input, count));
    memcpy(buffer->data + sizeof first_index, &count, sizeof count);
    count = le32toh(count);
    if (first_index > 0 && first_index <= writer->last_index + 1)
        writer->last_index = first_index + count - 1;
}

static void add_vote(struct writer *writer, struct input *input, struct buffer *buffer) {
    writer->term = near(input, writer->term + 1);
    writer->vote = take_byte(input);
    record_add_vote(buffer, writer->term, writer->vote);
}

/* A mark at the log's end, or a reset behind a snapshot that is further on. */
static void add_mark(struct writer *writer, struct input *input, uint64_t index,
                     struct buffer *buffer) {
    struct input configuration = take_part(input, take_byte(input) % 16);

    writer->mark = (struct log_mark){
        .index = near(input, index),
        .term = near(input, writer->term),
        .configuration_index = near(input, 1),
        .configuration = (uint8_t *)(uintptr_t)configuration.data,
        .configuration_size = configuration.size,
    };
    record_add_mark(buffer, &writer->mark);
    if (writer->mark.index > writer->last_index)
        writer->last_index = writer->mark.index;
}

static void add_content(struct writer *writer, struct input *input, struct record *record,
                        struct buffer *buffer) {
    struct input bytes;
    uint8_t kind = take_byte(input);

    switch (kind % 8) {
    case 1:
        record->kind = RECORD_VOTE;
        add_vote(writer, input, buffer);
        break;
    case 2:
        record->kind = RECORD_RESET;
        add_mark(writer, input, writer->last_index + 10, buffer);
        break;
    case 3:
        record->kind = RECORD_MARK;
        all_right = all_right && writer->last_index > writer->mark.index;
        add_mark(writer, input, writer->last_index, buffer);
        break;
    case 7:
        all_right = false;
        bytes = take_part(input, take_byte(input));
        record->kind = (enum record_kind)take_byte(input);
        buffer_append(buffer, bytes.data, bytes.size);
        break;
    default:
        record->kind = RECORD_BATCH;
        add_batch(writer, input, buffer);
    }
}

/* The library begins a new file where a record does not fit any more. */
static void next_file(struct writer *writer) {
    writer->end = (struct position){writer->end.file + 1, FIRST_OFFSET};
    check(log_file_prepare(writer->directory, writer->end.file, FILE_SIZE) == 0);
}

/* One record. The first of a file begins with a restatement, mostly. */
static void put_record(struct writer *writer, struct input *input) {
    struct buffer content = BUFFER_NULL, buffer = BUFFER_NULL;
    struct record record = {0};
    struct writer before = *writer;
    DB_LSN lsn;
    DBT data = {0};
    bool odd = take_byte(input) == 0xff;

    all_right = all_right && !odd;
    add_content(writer, input, &record, &content);
    if (writer->end.offset + LIBRARY_RECORD_HEADER_SIZE + RECORD_HEADER_SIZE + content.size >
        FILE_SIZE)
        next_file(writer);
    before.end = writer->end;
    record.first = (writer->end.offset == FIRST_OFFSET) != odd;
    record_begin(&buffer);
    if (record.first)
        add_restatement(&before, input, &buffer);
    buffer_append(&buffer, content.data, content.size);
    record.run = writer->run = near(input, writer->run);
    /* Counted up from 1, it never gets near its end. */
    record.sequence = writer->sequence = near(input, writer->sequence + 1) & INT64_MAX;
    record.durable = near(input, writer->sequence - 1);
    record.member_id = near(input, MEMBER);
    record_finish(&buffer, &record, writer->end);
    data.data = buffer.data;
    data.size = (uint32_t)buffer.size;
    check(writer->environment->log_put(writer->environment, &lsn, &data, DB_FLUSH) == 0);
    /* With a restatement where none belongs it may just not have fitted. */
    check((lsn.file == writer->end.file && lsn.offset == writer->end.offset) || odd);
    writer->end.file = lsn.file;
    writer->end.offset = lsn.offset + LIBRARY_RECORD_HEADER_SIZE + data.size;
    buffer_deinit(&content);
    buffer_deinit(&buffer);
}

static void change_byte(const char *directory, uint32_t file, uint32_t offset, uint8_t bits) {
    _cleanup_free_ char *path = log_file_path(directory, file);
    FILE *stream = fopen(path, "r+e");
    int byte;

    if (!stream)
        return;
    check(fseek(stream, offset, SEEK_SET) == 0);
    byte = getc(stream);
    if (byte != EOF) {
        check(fseek(stream, offset, SEEK_SET) == 0);
        putc(byte ^ bits, stream);
    }
    fclose(stream);
}

/* ---- what was left is opened ---- */

/* A number that says whether the files are as they were. */
static uint64_t content_hash(const char *directory) {
    uint64_t hash = 0;

    for (uint32_t file = 1; file <= FILES_MAX + 2; file++) {
        _cleanup_free_ char *path = log_file_path(directory, file);
        _cleanup_free_ uint8_t *data = NULL;
        size_t size;

        if (access(path, F_OK) < 0)
            continue;
        data = fuzz_read_file(directory, path + strlen(directory) + 1, &size);
        for (size_t i = 0; i + sizeof hash <= size; i += sizeof hash) {
            uint64_t word;

            memcpy(&word, data + i, sizeof word);
            hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        }
        hash += size;
    }
    return hash;
}

static void read_all(struct log_store *log, const struct log_recovery *recovery) {
    for (uint64_t i = recovery->first_index; i <= recovery->last_index; i++) {
        const struct log_entry *known = &recovery->entries[i - recovery->first_index];
        struct log_entry *entries;
        size_t count;

        check(log_store_read(log, i, 1, 1, &entries, &count) == 0 && count == 1);
        check(entries[0].term == known->term && entries[0].type == known->type);
        free(entries);
    }
}

static void use_log(struct log_store *log, struct log_recovery *recovery,
                    struct log_store_options *options) {
    struct log_entry entry = {
        .term = 5, .type = ENTRY_COMMAND, .data = (const uint8_t *)"x", .size = 1};
    struct log_recovery again = {0};
    struct failure failure;
    uint64_t next = recovery->last_index + 1;

    check(recovery->last_index == log_store_last_index(log) &&
          recovery->first_index == log_store_first_index(log));
    read_all(log, recovery);
    check(log_store_append(log, next, &entry, 1) == 0);
    check(log_store_set_vote(log, recovery->term + 1, 9) == 0);
    check(log_store_flush(log) == 0);
    log_store_close(log);
    options->incarnation++;
    if (log_store_open(&log, options, &again, &failure) != 0) {
        fuzz_trace("Opened, but not again: %s", failure.message);
        check(!"a log that opened opens again");
    }
    check(again.first_index == recovery->first_index && again.last_index == next);
    check(again.term == recovery->term + 1 && again.vote == 9 && !again.cut_message[0]);
    read_all(log, &again);
    log_store_close(log);
    log_recovery_deinit(&again);
}

static void open_log(const char *directory, uint64_t applied_index, bool installed) {
    struct log_store_options options = {
        .directory = directory,
        .member_id = MEMBER,
        .incarnation = OPENING_RUN,
        .applied_index = applied_index,
        .applied_term = 1,
        .installed = installed,
        .file_size = FILE_SIZE,
    };
    struct log_recovery recovery = {0};
    struct failure failure;
    struct log_store *log;
    uint64_t before = content_hash(directory);
    int r = log_store_open(&log, &options, &recovery, &failure);

    fuzz_trace("%s", r                         ? failure.message
                     : recovery.cut_message[0] ? recovery.cut_message
                                               : "opened");
    if (r != 0) {
        check(!all_right);
        check(r > 0 && r == (int)failure.code && failure.message[0]);
        check(content_hash(directory) == before);
        return;
    }
    use_log(log, &recovery, &options);
    log_recovery_deinit(&recovery);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size}, changes;
    struct writer writer = {
        .directory = fuzz_directory(), .end = {1, FIRST_OFFSET}, .run = 1, .term = 1};
    struct log_floor floor = {.member_id = MEMBER};
    uint8_t flags = take_byte(&input);
    uint16_t made_up;

    all_right = (flags & 0x1f) == 0;
    store_sync_init();
    changes = take_part(&input, (size_t)(flags % 8) * 5);
    made_up = (uint16_t)take_number(&input, 2);
    check(log_file_prepare(writer.directory, 1, FILE_SIZE) == 0);
    open_library(&writer);
    while (input.size > 0 && writer.end.file <= FILES_MAX)
        put_record(&writer, &input);
    check(writer.environment->close(writer.environment, 0) == 0);
    while (changes.size > 0) {
        uint32_t offset = (uint32_t)take_number(&changes, 3);

        change_byte(writer.directory, 1 + take_byte(&changes) % FILES_MAX, offset % FILE_SIZE,
                    take_byte(&changes));
    }
    floor.first = flags & 8 ? made_up % 4 : 1;
    floor.file = flags & 8 ? made_up / 4 % 64 : writer.end.file;
    floor.sequence = flags & 8 ? made_up / 256 : 0;
    check(log_floor_write(writer.directory, &floor) == 0);
    /* The state is where the mark says. */
    open_log(writer.directory, flags & 16 ? 3 : all_right ? writer.mark.index : 0, flags & 16);
    return 0;
}
