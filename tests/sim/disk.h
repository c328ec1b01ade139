/*
 * disk: the disks of the simulated nodes, in memory. The simulator's executable defines libc's file
 * functions itself (calls.c); what lies below /raftkv-sim/N/ goes here, for raftkv's own code and
 * for Berkeley DB alike, so the store runs unchanged. A disk knows what of each file is synced, and
 * what of the directories; a crash leaves that, and of the rest what chance decides, sector by
 * sector.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define DISK_PREFIX "/raftkv-sim/"
enum { DISKS_MAX = 10, SECTOR_SIZE = 512 };

struct disk;

/* Empty, mounted at DISK_PREFIX number "/". `number` is below DISKS_MAX. */
struct disk *disk_new(unsigned number);
struct disk *disk_free(struct disk *disk);

/* How a crash treats what was not synced. HOLE: the first sector of each file is lost, which is
 * where a flush begins. */
enum survival { SURVIVAL_NOTHING, SURVIVAL_ALL, SURVIVAL_TORN, SURVIVAL_HOLE, SURVIVAL_COUNT };

/*
 * The machine of this disk crashes now: decides what survives. What still runs of the process goes
 * on with the content as it was, until disk_restart() puts the surviving one in its place.
 */
void disk_crash(struct disk *disk);
bool disk_crashed(const struct disk *disk);
/* Crashes at the n-th change or sync from now on (1: the next); 0: not. */
void disk_crash_after(struct disk *disk, uint64_t operations);
/* No process uses it any more. Without a crash before, everything survives. */
void disk_restart(struct disk *disk);
/* Everything is gone, synced or not. */
void disk_wipe(struct disk *disk);

/* Faults. */
struct disk_faults {
    bool log_full;         /* what grows or makes a file below log/ fails with ENOSPC */
    bool state_full;       /* ... below state/ */
    uint64_t short_one_in; /* writes that write only a part and say so; 0: none */
    uint64_t write_fails;  /* the n-th write from now on writes a part and fails with EIO */
    bool write_failed;     /* that has happened, since whoever looks at it has cleared it */
    uint64_t read_fails;   /* the n-th read from now on fails with EIO */
    bool read_failed;      /* the same */
    bool tears;            /* the next crash leaves neither all nor nothing */
    uint64_t sync_fails;   /* the n-th sync from now on fails: the process has to end */
    bool sync_failed;      /* that has happened */
};
struct disk_faults *disk_faults(struct disk *disk);

struct disk_figures {
    uint64_t writes, syncs, bytes, short_writes, failures;
};
const struct disk_figures *disk_figures(const struct disk *disk);

/* Says what is there, for the reader of a failure. */
void disk_describe(struct disk *disk);

/* For calls.c: as the calls of the same names; negative errno instead of errno. */
bool disk_path(const char *path, struct disk **ret_disk);
bool disk_descriptor(int descriptor);
int disk_open(struct disk *disk, const char *path, int flags);
int disk_close(int descriptor);
ssize_t disk_read(int descriptor, void *data, size_t size);
ssize_t disk_write(int descriptor, const void *data, size_t size);
ssize_t disk_pread(int descriptor, void *data, size_t size, off_t offset);
ssize_t disk_pwrite(int descriptor, const void *data, size_t size, off_t offset);
off_t disk_seek(int descriptor, off_t offset, int whence);
int disk_sync(int descriptor);
int disk_truncate(int descriptor, off_t size);
int disk_rename(struct disk *disk, const char *from, const char *to);
int disk_unlink(struct disk *disk, const char *path);
int disk_mkdir(struct disk *disk, const char *path);
int disk_stat(struct disk *disk, const char *path, struct stat *ret);
int disk_fstat(int descriptor, struct stat *ret);
const char *disk_path_of(int descriptor);
int disk_rmdir(struct disk *disk, const char *path);
/* The names in a directory, one after the other, from *position = 0; NULL at the end. Names must
 * not change meanwhile. */
const char *disk_next_name(struct disk *disk, const char *directory, size_t *position);
