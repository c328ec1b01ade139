/*
 * Backup files: one that a node wrote and that changed afterwards is refused wherever it changed;
 * one that is whole is read, and restored.
 *
 * Input: 1 byte: 0: the file is the rest; else bits 0 and 1 say how many bytes change, bit 2 that
 * the file is cut, bit 3 that it goes on, bit 4 that it is restored; 3 bytes for each byte that
 * changes (offset, what is XORed), 2 bytes for the cut, then header and chunks.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chunks.h"
#include "store/backup.h"
#include "store/state.h"

static int file_of(const uint8_t *data, size_t size) {
    int fd = memfd_create("backup", MFD_CLOEXEC);

    check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    check(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static int check_file(int fd, struct backup_summary *ret) {
    struct failure failure;
    int r = backup_check(fd, NULL, NULL, ret, &failure);

    check(r == 0 || (r == ERROR_INVALID_ARGUMENT && r == (int)failure.code && failure.message[0]));
    return r;
}

static bool count_key(void *data, const uint8_t *key, size_t key_size,
                      const struct state_record *record) {
    check(key && key_size > 0 && record->version > 0);
    ++*(uint64_t *)data;
    return true;
}

/* The state has what the backup's summary says. */
static void check_state(const char *directory, const struct backup_summary *summary) {
    const struct state_options options = {.directory = directory};
    struct failure failure;
    struct state *state;
    uint64_t index, term, records = 0;

    check(state_open(&state, &options, &failure) == 0);
    state_applied(state, &index, &term);
    check(index == summary->header.snapshot.index && term == summary->header.snapshot.term);
    check(state_installed_index(state) == index);
    check(state_walk(state, "", 0, count_key, &records) == 0 && records == summary->records);
    state_close(state);
}

static void restore(int fd, const struct backup_summary *summary) {
    const char *directory = fuzz_directory();
    struct backup_summary restored;
    struct failure failure;
    int r;

    check(lseek(fd, 0, SEEK_SET) == 0);
    r = backup_restore(fd, directory, NULL, NULL, &restored, &failure);
    if (r != 0) {
        fprintf(stderr, "Not restored: %s\n", failure.message);
        check(!"what was checked can be restored");
    }
    check(restored.records == summary->records && restored.bytes == summary->bytes);
    check_state(directory, &restored);
    backup_summary_deinit(&restored);
}

/* What the writer makes of it. False: it is not whole. */
static bool make_file(struct input *input, struct buffer *file) {
    struct backup_header header = {.cluster_id = 7, .version = "0.1"};
    struct backup_writer writer;
    struct failure failure;
    bool whole;

    header.snapshot = take_snapshot_header(input);
    header.snapshot.index += header.snapshot.index == 0;
    backup_writer_begin(&writer, &header, file);
    while (input->size > 0 && !writer.reader.complete) {
        struct buffer chunk = BUFFER_NULL;
        int r;

        take_chunk(input, &writer.reader, &chunk);
        r = backup_writer_chunk(&writer, chunk.data, chunk.size, file, &failure);
        check(r == 0 || r == -EBADMSG);
        buffer_deinit(&chunk);
    }
    whole = backup_writer_end(&writer, file, &failure) == 0;
    check(whole == writer.reader.complete);
    backup_writer_deinit(&writer);
    /* The writer leaves it to the reader whether a header makes sense. */
    return whole && header.snapshot.term > 0 &&
           header.snapshot.configuration_index <= header.snapshot.index &&
           (header.snapshot.configuration_index == 0) == (header.snapshot.configuration_size == 0);
}

static void take_raw(struct input input) {
    struct backup_summary summary;
    int fd = file_of(input.data, input.size);

    if (check_file(fd, &summary) == 0) {
        check(summary.size == input.size);
        backup_summary_deinit(&summary);
    }
    close(fd);
}

static void change(uint8_t flags, struct input changes, uint64_t cut, struct buffer *file) {
    while (changes.size > 0) {
        size_t offset = take_number(&changes, 2);

        file->data[offset % file->size] ^= take_byte(&changes);
    }
    if (flags & 4)
        file->size -= cut % file->size;
    if (flags & 8)
        buffer_append(file, "", 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size}, changes;
    struct buffer file = BUFFER_NULL, original = BUFFER_NULL;
    struct backup_summary summary;
    uint8_t flags = take_byte(&input);
    uint64_t cut;
    bool whole, changed;
    int fd, r;

    if (flags == 0) {
        take_raw(input);
        return 0;
    }
    changes = take_part(&input, (size_t)(flags & 3) * 3);
    cut = take_number(&input, 2);
    whole = make_file(&input, &file);
    buffer_append(&original, file.data, file.size);
    change(flags, changes, cut, &file);
    changed = original.size != file.size || memcmp(original.data, file.data, file.size) != 0;
    fd = file_of(file.data, file.size);
    r = check_file(fd, &summary);
    check((r == 0) == (whole && !changed));
    if (r == 0) {
        check(summary.size == file.size);
        if (flags & 16)
            restore(fd, &summary);
        backup_summary_deinit(&summary);
    }
    close(fd);
    buffer_deinit(&file);
    buffer_deinit(&original);
    return 0;
}
