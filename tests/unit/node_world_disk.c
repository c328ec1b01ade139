/* The room on the disks of node_world. Syncs are left out: nothing here loses power. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include "node_world.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "system_calls.h"

struct world_disk world_disks[WORLD_NODES + 1];

static bool is_on(const struct world_disk *disk, const struct system_call *call) {
    return disk->limited && system_call_is_below(call, disk->prefix) &&
           system_call_is_below(call, disk->part);
}

/* Ours only. Berkeley DB would wait for seconds when told that there is no space for a file: what
 * it then writes finds none. */
static bool makes_a_file(const struct system_call *call) {
    if (strcmp(call->name, "open64") == 0 && (call->flags & O_CREAT))
        return access(call->path, F_OK) < 0;
    return strcmp(call->name, "mkdir") == 0;
}

/* Whether a call that makes something grow there fails. */
static int grow(struct world_disk *disk) {
    disk->growths++;
    if (disk->growth_left > 0) {
        disk->growth_left--;
        return SYSTEM_CALL_IS_MADE;
    }
    disk->failures++;
    if (disk->once)
        disk->limited = false;
    return disk->error;
}

static int limit(const struct system_call *call) {
    if (system_call_syncs(call))
        return SYSTEM_CALL_IS_LEFT_OUT;
    for (unsigned i = 1; i <= WORLD_NODES; i++)
        if (is_on(&world_disks[i], call) && (system_call_grows(call) || makes_a_file(call)))
            return grow(&world_disks[i]);
    return SYSTEM_CALL_IS_MADE;
}

void world_disks_init(void) {
    system_call_hook = limit;
}

void world_fill_disk(unsigned number, const char *part, uint64_t after) {
    struct world_disk *disk = &world_disks[number];

    disk->limited = true;
    disk->part = part;
    disk->growth_left = after;
    disk->growths = 0;
    disk->failures = 0;
    disk->error = ENOSPC;
    disk->once = false;
}

void world_empty_disk(unsigned number) {
    world_disks[number].limited = false;
}

int statvfs(const char *restrict path, struct statvfs *restrict ret) {
    bool full = false;

    for (unsigned i = 1; i <= WORLD_NODES; i++)
        full = full || (world_disks[i].limited && world_disks[i].growth_left == 0 &&
                        strstr(path, world_disks[i].prefix) == path);
    *ret = (struct statvfs){.f_frsize = 4096, .f_bavail = full ? 0 : 1 << 24};
    return 0;
}

int statvfs64(const char *restrict path, struct statvfs64 *restrict ret) {
    return statvfs(path, (struct statvfs *)ret);
}
