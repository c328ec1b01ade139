/* Reading a backup from its beginning to its end: what checking and restoring share. */
#pragma once

#include "format/backup.h"

/* Told what the file holds, in its order, after it was checked. 0, or what ends the reading. */
struct backup_visitor {
    int (*header)(void *data, const struct backup_header *header, struct failure *failure);
    int (*chunk)(void *data, const uint8_t *chunk, size_t size, struct failure *failure);
    void *data;
};

/* As backup_check(); visitor may be NULL. */
int backup_read(int fd, const struct backup_visitor *visitor, backup_progress progress, void *data,
                struct backup_summary *ret, struct failure *failure);

/* Of the file: see backup.h. */
#define BACKUP_MAGIC "RAFTKVBK"
enum {
    BACKUP_MAGIC_SIZE = 8,
    BACKUP_START_SIZE = BACKUP_MAGIC_SIZE + 4 + 4, /* before the header */
    BACKUP_TRAILER_SIZE = 8 + 8 + 8,               /* without the checksum */
    BACKUP_HEADER_SIZE_MAX = SNAPSHOT_HEADER_SIZE_MAX + 1024,
};
