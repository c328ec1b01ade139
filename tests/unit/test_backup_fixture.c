#include "test_backup_fixture.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/backup.h"
#include "store/snapshot.h"

/* A writer takes each chunk once, and no end before the last one. */
static void write_chunk(struct backup_writer *writer, const struct buffer *chunk,
                        struct buffer *file) {
    struct failure failure = {0};

    assert_int_equal(backup_writer_end(writer, file, &failure), -EBADMSG);
    assert_int_equal(backup_writer_chunk(writer, chunk->data, chunk->size, file, &failure), 0);
    assert_int_equal(backup_writer_chunk(writer, chunk->data, chunk->size, file, &failure),
                     -EBADMSG);
}

struct buffer make_backup(struct state *state, uint64_t cluster_id, size_t chunk_size) {
    struct backup_header header = {.cluster_id = cluster_id, .version = BACKUP_VERSION};
    struct buffer file = BUFFER_NULL;
    struct failure failure = {0};
    struct backup_writer writer;
    struct snapshot *snapshot;

    assert_int_equal(snapshot_open(&snapshot, state), 0);
    header.snapshot = *snapshot_header(snapshot);
    backup_writer_begin(&writer, &header, &file);
    for (bool last = false; !last;) {
        struct buffer chunk = BUFFER_NULL;

        assert_int_equal(snapshot_next(snapshot, chunk_size, &chunk, &last), 0);
        write_chunk(&writer, &chunk, &file);
        buffer_deinit(&chunk);
    }
    assert_int_equal(backup_writer_end(&writer, &file, &failure), 0);
    backup_writer_deinit(&writer);
    snapshot_close(snapshot);
    return file;
}

int make_file(const void *data, size_t size) {
    int fd = memfd_create("backup", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

int make_backup_file(struct state *state, uint64_t cluster_id, size_t chunk_size) {
    struct buffer file = make_backup(state, cluster_id, chunk_size);
    int fd = make_file(file.data, file.size);

    buffer_deinit(&file);
    return fd;
}
