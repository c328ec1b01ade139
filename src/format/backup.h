/*
 * format: what raftkv's files and streams of a whole state look like, for those who write them and
 * those who read them. It knows no database and no network, and reads nothing but the descriptor
 * that backup_check() is given. May use base and proto; store, node and client use it.
 *
 * backup: one file that holds a snapshot of the state. All numbers are little-endian.
 *
 *   8 bytes   "RAFTKVBK"
 *   4         format, 1
 *   4         size of the header
 *   ...       the header: an encoded BackupHeader (proto/snapshot.proto)
 *   4         CRC-32C of all bytes before
 *   each chunk:
 *     4       its size, not 0
 *     ...     the chunk, with its own checksum at the end (format/snapshot.h)
 *   trailer:
 *     4       0
 *     8       number of chunks
 *     8       number of records
 *     8       bytes of keys and values
 *     4       CRC-32C of all bytes of the file before
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "format/snapshot.h"

enum {
    BACKUP_FORMAT = 1,
    BACKUP_VERSION_MAX = 63, /* characters of the software's version */
};

struct backup_header {
    uint64_t cluster_id;
    char version[BACKUP_VERSION_MAX + 1]; /* of the raftkv that wrote it */
    struct snapshot_header snapshot;
};

void backup_header_encode(const struct backup_header *header, struct buffer *buffer);
/* Decodes what a node sent: -EBADMSG with the reason when it is not a valid BackupHeader.
 * backup_header_deinit() frees *ret. */
int backup_header_decode(struct backup_header *ret, const void *data, size_t size,
                         struct failure *failure);
void backup_header_deinit(struct backup_header *header);

/* Encodes a backup piece by piece; each call appends to *buffer what comes next in the file. */
struct backup_writer {
    uint32_t checksum;
    struct snapshot_reader reader; /* checks what it is given */
};

/* Begins with the header. */
void backup_writer_begin(struct backup_writer *writer, const struct backup_header *header,
                         struct buffer *buffer);
/* Adds the next chunk of that snapshot. -EBADMSG with the reason when it isn't that; nothing is
 * appended then. */
int backup_writer_chunk(struct backup_writer *writer, const void *data, size_t size,
                        struct buffer *buffer, struct failure *failure);
/* Ends the file, after the last chunk. -EBADMSG when the last chunk was not given yet. */
int backup_writer_end(struct backup_writer *writer, struct buffer *buffer, struct failure *failure);
void backup_writer_deinit(struct backup_writer *writer);

/* What backup_check() found. backup_summary_deinit() frees it. */
struct backup_summary {
    struct backup_header header;
    uint64_t chunks;
    uint64_t records;
    uint64_t bytes; /* of keys and values */
    uint64_t size;  /* of the file */
};
void backup_summary_deinit(struct backup_summary *summary);

/* Told now and then how many bytes of the file were read. */
typedef void (*backup_progress)(void *data, uint64_t bytes);

/*
 * Reads a whole backup from the descriptor's position on, which is left at its end, and checks
 * every byte of it, with bounded memory (about three chunks). ERROR_INVALID_ARGUMENT with a failure
 * that says what is wrong at which offset; negative errno: reading failed. progress may be NULL.
 */
int backup_check(int fd, backup_progress progress, void *data, struct backup_summary *ret,
                 struct failure *failure);
