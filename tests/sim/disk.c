#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "world.h"

enum {
    DESCRIPTOR_FIRST = 1 << 20,
    DESCRIPTORS_MAX = 4096,
    PATH_MAX_HERE = 256,
};

/*
 * A file's content as its process sees it, and of what is not durable what was there before: a sync
 * forgets that, a crash brings some of it back.
 */
struct inode {
    uint64_t number;
    bool directory;
    unsigned references; /* entries, descriptors and journal */
    uint8_t *data;
    size_t size, capacity;
    size_t durable_size;
    uint8_t **before; /* by sector: its durable content, NULL where that is what it has */
    size_t before_capacity;
    size_t dirty_first, dirty_end; /* sectors; empty: first >= end */
    size_t in_memory; /* bytes from the beginning that need no disk to be read, until a crash */
};

struct entry {
    char path[PATH_MAX_HERE];
    struct inode *inode;
};

struct names {
    struct entry *entries;
    size_t count, capacity;
};

/* A change of directories. Changes become durable in their order. */
struct change {
    enum { CHANGE_LINK, CHANGE_UNLINK, CHANGE_RENAME } kind;
    char path[PATH_MAX_HERE];
    char from[PATH_MAX_HERE]; /* RENAME */
    struct inode *inode;
};

struct disk {
    unsigned number;
    struct names names;   /* as the process sees them */
    struct names durable; /* without the changes in the journal */
    struct change *journal;
    size_t journal_count, journal_capacity;
    uint64_t next_number;
    bool crashed;
    struct names survivors; /* of a crash */
    uint64_t crash_after;
    struct disk_faults faults;
    struct disk_figures figures;
};

struct descriptor {
    struct disk *disk; /* NULL: free */
    struct inode *inode;
    off_t position;
    char path[PATH_MAX_HERE];
};

static struct disk *disks[DISKS_MAX];
static struct descriptor descriptors[DESCRIPTORS_MAX];

/* ---- inodes ---- */

static struct inode *inode_new(struct disk *disk, bool directory) {
    struct inode *inode = xcalloc(1, sizeof *inode);

    inode->number = ++disk->next_number;
    inode->directory = directory;
    inode->references = 1;
    return inode;
}

static struct inode *inode_ref(struct inode *inode) {
    inode->references++;
    return inode;
}

static void forget_before(struct inode *inode, size_t sector) {
    free(TAKE(inode->before[sector]));
}

static void clear_dirty(struct inode *inode) {
    for (size_t i = inode->dirty_first; i < inode->dirty_end; i++)
        forget_before(inode, i);
    inode->dirty_first = inode->dirty_end = 0;
}

static void inode_unref(struct inode *inode) {
    if (--inode->references > 0)
        return;
    clear_dirty(inode);
    free(inode->data);
    free(inode->before);
    free(inode);
}

/* What lies behind the size is zeros. */
static void grow(struct inode *inode, size_t wanted) {
    size_t size = inode->capacity ? inode->capacity : 4096;

    if (wanted <= inode->capacity)
        return;
    while (size < wanted)
        size *= 2;
    inode->data = xrealloc(inode->data, size);
    memset(inode->data + inode->capacity, 0, size - inode->capacity);
    inode->capacity = size;
}

static void grow_before(struct inode *inode, size_t sectors) {
    size_t capacity = inode->before_capacity ? inode->before_capacity : 8;

    if (sectors <= inode->before_capacity)
        return;
    while (capacity < sectors)
        capacity *= 2;
    inode->before = xrealloc(inode->before, capacity * sizeof *inode->before);
    memset(inode->before + inode->before_capacity, 0,
           (capacity - inode->before_capacity) * sizeof *inode->before);
    inode->before_capacity = capacity;
}

/* To be called before these bytes change. */
static void mark_dirty(struct inode *inode, size_t from, size_t to) {
    size_t first = from / SECTOR_SIZE, end = (to + SECTOR_SIZE - 1) / SECTOR_SIZE;

    if (first >= end)
        return;
    grow(inode, end * SECTOR_SIZE);
    grow_before(inode, end);
    for (size_t i = first; i < end; i++)
        if (!inode->before[i])
            inode->before[i] = xmemdup(inode->data + i * SECTOR_SIZE, SECTOR_SIZE);
    if (inode->dirty_first >= inode->dirty_end) {
        inode->dirty_first = first;
        inode->dirty_end = end;
        return;
    }
    if (first < inode->dirty_first)
        inode->dirty_first = first;
    if (end > inode->dirty_end)
        inode->dirty_end = end;
}

/* The same for what is going to be written; what stays as it is can't get lost. */
static void mark_changes(struct inode *inode, size_t from, const uint8_t *data, size_t size) {
    size_t end = from + size;

    grow(inode, end);
    for (size_t next; from < end; data += next - from, from = next) {
        next = (from / SECTOR_SIZE + 1) * SECTOR_SIZE;
        if (next > end)
            next = end;
        if (memcmp(inode->data + from, data, next - from) != 0)
            mark_dirty(inode, from, next);
    }
}

static void set_size(struct inode *inode, size_t size) {
    grow(inode, size);
    if (size < inode->size) {
        mark_dirty(inode, size, inode->size);
        memset(inode->data + size, 0, inode->size - size);
    }
    inode->size = size;
}

static void inode_sync(struct inode *inode) {
    inode->durable_size = inode->size;
    clear_dirty(inode);
}

static bool is_dirty(const struct inode *inode) {
    return inode->size != inode->durable_size || inode->dirty_first < inode->dirty_end;
}

static size_t surviving_size(const struct inode *inode, enum survival survival) {
    if (survival == SURVIVAL_NOTHING)
        return inode->durable_size;
    if (survival != SURVIVAL_TORN || inode->size == inode->durable_size)
        return inode->size;
    if (inode->size < inode->durable_size || chance_one_in(2))
        return chance_one_in(2) ? inode->size : inode->durable_size;
    return chance_between(inode->durable_size / SECTOR_SIZE, inode->size / SECTOR_SIZE) *
           SECTOR_SIZE;
}

static bool sector_survives(size_t number, enum survival survival, uint64_t odds) {
    if (survival == SURVIVAL_TORN)
        return chance_below(100) < odds;
    return survival == SURVIVAL_ALL || (survival == SURVIVAL_HOLE && number > 1);
}

/* Decides what a crash leaves of a file, sector by sector. What its process still does to it is
 * undone together with what is lost. */
static void inode_crash(struct inode *inode, enum survival survival, uint64_t odds) {
    size_t end = (inode->size + SECTOR_SIZE - 1) / SECTOR_SIZE, sectors = 0;

    if (inode->directory)
        return;
    if (is_dirty(inode))
        inode->durable_size = surviving_size(inode, survival);
    for (size_t i = inode->dirty_first; i < inode->dirty_end; i++) {
        if (!inode->before[i])
            continue;
        /* What was cut off is all there when the cut is lost. */
        if (sector_survives(++sectors, survival, odds) && i < end)
            forget_before(inode, i);
    }
}

/* Nobody uses it any more: brings back what was durable. */
static void inode_restart(struct inode *inode) {
    inode->in_memory = 0;
    for (size_t i = inode->dirty_first; i < inode->dirty_end; i++)
        if (inode->before[i])
            memcpy(inode->data + i * SECTOR_SIZE, inode->before[i], SECTOR_SIZE);
    clear_dirty(inode);
    if (inode->durable_size > inode->size)
        grow(inode, inode->durable_size);
    else if (inode->durable_size < inode->size)
        memset(inode->data + inode->durable_size, 0, inode->size - inode->durable_size);
    inode->size = inode->durable_size;
}

/* ---- names ---- */

static struct entry *find(const struct names *names, const char *path) {
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->entries[i].path, path) == 0)
            return &names->entries[i];
    return NULL;
}

/* Takes a reference over. */
static void link_name(struct names *names, const char *path, struct inode *inode) {
    struct entry *entry = find(names, path);

    if (entry) {
        inode_unref(entry->inode);
        entry->inode = inode;
        return;
    }
    if (names->count == names->capacity) {
        names->capacity = names->capacity ? names->capacity * 2 : 16;
        names->entries = xrealloc(names->entries, names->capacity * sizeof *names->entries);
    }
    entry = &names->entries[names->count++];
    strcpy(entry->path, path);
    entry->inode = inode;
}

static void unlink_name(struct names *names, const char *path) {
    struct entry *entry = find(names, path);

    if (!entry)
        return;
    inode_unref(entry->inode);
    *entry = names->entries[--names->count];
}

static void clear_names(struct names *names) {
    while (names->count > 0)
        inode_unref(names->entries[--names->count].inode);
}

static void apply(struct names *names, const struct change *change) {
    if (change->kind == CHANGE_UNLINK || change->kind == CHANGE_RENAME)
        unlink_name(names, change->kind == CHANGE_RENAME ? change->from : change->path);
    if (change->kind != CHANGE_UNLINK)
        link_name(names, change->path, inode_ref(change->inode));
}

static void note(struct disk *disk, int kind, const char *path, const char *from,
                 struct inode *inode) {
    struct change *change;

    if (disk->journal_count == disk->journal_capacity) {
        disk->journal_capacity = disk->journal_capacity ? disk->journal_capacity * 2 : 16;
        disk->journal = xrealloc(disk->journal, disk->journal_capacity * sizeof *disk->journal);
    }
    change = &disk->journal[disk->journal_count++];
    *change = (struct change){.inode = inode_ref(inode)};
    change->kind = kind;
    strcpy(change->path, path);
    strcpy(change->from, from ? from : "");
    apply(&disk->names, change);
}

static void settle_journal(struct disk *disk, size_t count) {
    for (size_t i = 0; i < count; i++) {
        apply(&disk->durable, &disk->journal[i]);
        inode_unref(disk->journal[i].inode);
    }
    disk->journal_count -= count;
    if (disk->journal_count > 0)
        memmove(disk->journal, disk->journal + count, disk->journal_count * sizeof *disk->journal);
}

static bool in_directory(const char *path, const char *directory) {
    size_t size = strlen(directory);

    while (size > 0 && directory[size - 1] == '/')
        size--;
    return strncmp(path, directory, size) == 0 && path[size] == '/' &&
           !strchr(path + size + 1, '/');
}

/* A sync of a file makes its own name durable, one of a directory the names in it, and either what
 * was changed before. */
static void sync_names(struct disk *disk, const char *path, const struct inode *inode) {
    size_t count = 0;

    for (size_t i = 0; i < disk->journal_count; i++)
        if (disk->journal[i].inode == inode ||
            (inode->directory && (in_directory(disk->journal[i].path, path) ||
                                  in_directory(disk->journal[i].from, path))))
            count = i + 1;
    settle_journal(disk, count);
}

/* ---- disks and crashes ---- */

static void mount_root(struct disk *disk) {
    char path[PATH_MAX_HERE];

    snprintf(path, sizeof path, DISK_PREFIX "%u", disk->number);
    link_name(&disk->names, path, inode_new(disk, true));
    link_name(&disk->durable, path, inode_ref(disk->names.entries[0].inode));
}

struct disk *disk_new(unsigned number) {
    struct disk *disk = xcalloc(1, sizeof *disk);

    check(number < DISKS_MAX && !disks[number]);
    disk->number = number;
    disks[number] = disk;
    mount_root(disk);
    return disk;
}

struct disk *disk_free(struct disk *disk) {
    if (!disk)
        return NULL;
    settle_journal(disk, disk->journal_count);
    clear_names(&disk->names);
    clear_names(&disk->durable);
    clear_names(&disk->survivors);
    free(disk->names.entries);
    free(disk->durable.entries);
    free(disk->survivors.entries);
    free(disk->journal);
    disks[disk->number] = NULL;
    free(disk);
    return NULL;
}

void disk_crash(struct disk *disk) {
    static const uint64_t all_odds[] = {10, 50, 90};
    enum survival survival = disk->faults.tears ? chance_between(SURVIVAL_TORN, SURVIVAL_HOLE)
                                                : chance_below(SURVIVAL_COUNT);
    uint64_t odds = all_odds[chance_below(3)];
    size_t changes = disk->journal_count;

    if (disk->crashed)
        return;
    if (survival == SURVIVAL_NOTHING)
        changes = 0;
    else if (survival == SURVIVAL_TORN)
        changes = chance_between(0, disk->journal_count);
    settle_journal(disk, changes);
    for (size_t i = 0; i < disk->durable.count; i++) {
        const struct entry *entry = &disk->durable.entries[i];

        inode_crash(entry->inode, survival, odds);
        link_name(&disk->survivors, entry->path, inode_ref(entry->inode));
    }
    disk->crashed = true;
}

bool disk_crashed(const struct disk *disk) {
    return disk->crashed;
}

void disk_crash_after(struct disk *disk, uint64_t operations) {
    disk->crash_after = operations;
}

static void adopt(struct disk *disk, struct names *names) {
    settle_journal(disk, disk->journal_count);
    clear_names(&disk->names);
    clear_names(&disk->durable);
    for (size_t i = 0; i < names->count; i++) {
        link_name(&disk->names, names->entries[i].path, inode_ref(names->entries[i].inode));
        link_name(&disk->durable, names->entries[i].path, inode_ref(names->entries[i].inode));
    }
}

static void check_unused(const struct disk *disk) {
    for (size_t i = 0; i < DESCRIPTORS_MAX; i++)
        must(descriptors[i].disk != disk, "the closed node has %s open", descriptors[i].path);
}

void disk_restart(struct disk *disk) {
    check_unused(disk);
    if (disk->crashed) {
        adopt(disk, &disk->survivors);
        for (size_t i = 0; i < disk->names.count; i++)
            inode_restart(disk->names.entries[i].inode);
    }
    clear_names(&disk->survivors);
    disk->crashed = false;
    disk->crash_after = 0;
    disk->faults.write_fails = disk->faults.sync_fails = 0;
    disk->faults.sync_failed = disk->faults.tears = false;
}

void disk_wipe(struct disk *disk) {
    struct names nothing = {0};

    check_unused(disk);
    adopt(disk, &nothing);
    mount_root(disk);
}

struct disk_faults *disk_faults(struct disk *disk) {
    return &disk->faults;
}

const struct disk_figures *disk_figures(const struct disk *disk) {
    return &disk->figures;
}

void disk_describe(struct disk *disk) {
    for (size_t i = 0; i < disk->names.count; i++)
        remark("%s: %zu bytes", disk->names.entries[i].path, disk->names.entries[i].inode->size);
}

/* Each change and each sync is a place to crash at. */
static void count_operation(struct disk *disk) {
    if (disk->crash_after > 0 && --disk->crash_after == 0)
        disk_crash(disk);
}

static bool is_full(const struct disk *disk, const char *path) {
    return (disk->faults.log_full && strstr(path, "/log/")) ||
           (disk->faults.state_full && strstr(path, "/state/"));
}

/* ---- calls ---- */

bool disk_path(const char *path, struct disk **ret_disk) {
    unsigned number;

    if (strncmp(path, DISK_PREFIX, sizeof DISK_PREFIX - 1) != 0)
        return false;
    number = (unsigned)(path[sizeof DISK_PREFIX - 1] - '0');
    check(number < DISKS_MAX && disks[number] && strlen(path) < PATH_MAX_HERE);
    *ret_disk = disks[number];
    return true;
}

bool disk_descriptor(int descriptor) {
    return descriptor >= DESCRIPTOR_FIRST;
}

static struct descriptor *get(int descriptor) {
    size_t i = (size_t)(descriptor - DESCRIPTOR_FIRST);

    check(i < DESCRIPTORS_MAX && descriptors[i].disk);
    return &descriptors[i];
}

static int make_descriptor(struct disk *disk, const char *path, struct inode *inode) {
    for (size_t i = 0; i < DESCRIPTORS_MAX; i++) {
        if (descriptors[i].disk)
            continue;
        descriptors[i] = (struct descriptor){.disk = disk, .inode = inode_ref(inode)};
        strcpy(descriptors[i].path, path);
        return DESCRIPTOR_FIRST + (int)i;
    }
    return -EMFILE;
}

static int create(struct disk *disk, const char *path, bool directory) {
    struct inode *inode;

    if (is_full(disk, path))
        return -ENOSPC;
    count_operation(disk);
    inode = inode_new(disk, directory);
    note(disk, CHANGE_LINK, path, NULL, inode);
    inode_unref(inode);
    return 0;
}

/* "a/b/.." is "a". */
static void normalise(const char *path, char *ret) {
    size_t size;

    strcpy(ret, path);
    size = strlen(ret);
    if (size < 3 || strcmp(ret + size - 3, "/..") != 0)
        return;
    ret[size - 3] = '\0';
    *strrchr(ret, '/') = '\0';
}

int disk_open(struct disk *disk, const char *any_path, int flags) {
    char path[PATH_MAX_HERE];
    struct entry *entry;
    int r;

    normalise(any_path, path);
    entry = find(&disk->names, path);

    if (!entry && !(flags & O_CREAT))
        return -ENOENT;
    if (entry && (flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (entry && (flags & O_DIRECTORY) && !entry->inode->directory)
        return -ENOTDIR;
    if (!entry) {
        r = create(disk, path, false);
        if (r < 0)
            return r;
        entry = find(&disk->names, path);
    } else if (flags & O_TRUNC) {
        count_operation(disk);
        set_size(entry->inode, 0);
    }
    return make_descriptor(disk, path, entry->inode);
}

int disk_close(int descriptor) {
    struct descriptor *d = get(descriptor);

    inode_unref(d->inode);
    *d = (struct descriptor){0};
    return 0;
}

static bool read_fails(struct disk *disk) {
    struct disk_faults *faults = &disk->faults;

    if (disk->crashed || faults->read_fails == 0 || --faults->read_fails > 0)
        return false;
    disk->figures.failures++;
    return faults->read_failed = true;
}

ssize_t disk_pread(int descriptor, void *data, size_t size, off_t offset) {
    struct inode *inode = get(descriptor)->inode;
    size_t from = (size_t)offset;

    if (offset < 0 || from >= inode->size)
        return 0;
    if (size > inode->size - from)
        size = inode->size - from;
    if (from + size > inode->in_memory && read_fails(get(descriptor)->disk))
        return -EIO;
    if (from <= inode->in_memory && from + size > inode->in_memory)
        inode->in_memory = from + size;
    memcpy(data, inode->data + offset, size);
    return (ssize_t)size;
}

/* How much of a write is done: all of it, or a part. Its error is that of the whole. */
static size_t part_of_write(const struct descriptor *d, size_t size, bool full, int *ret_error) {
    struct disk_faults *faults = &d->disk->faults;
    size_t part;

    if (d->disk->crashed || size == 0)
        return size;
    if (faults->write_fails > 0 && --faults->write_fails == 0) {
        faults->write_failed = true;
        d->disk->figures.failures++;
        *ret_error = -EIO;
        return chance_below(size);
    }
    if (full ? chance_one_in(2) : faults->short_one_in == 0 || !chance_one_in(faults->short_one_in))
        return full ? 0 : size;
    part = chance_below(size);
    if (part == 0 && !full)
        return size;
    d->disk->figures.short_writes++;
    return part;
}

ssize_t disk_pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    struct descriptor *d = get(descriptor);
    struct inode *inode = d->inode;
    size_t from = (size_t)offset;
    bool full = from + size > inode->size && is_full(d->disk, d->path);
    int error = 0;

    size = part_of_write(d, size, full, &error);
    if (full && size == 0 && !error)
        return -ENOSPC;
    count_operation(d->disk);
    d->disk->figures.writes++;
    d->disk->figures.bytes += size;
    mark_changes(inode, from, data, size);
    if (from + size > inode->size)
        set_size(inode, from + size);
    memcpy(inode->data + from, data, size);
    if (from <= inode->in_memory && from + size > inode->in_memory)
        inode->in_memory = from + size;
    return error ? error : (ssize_t)size;
}

ssize_t disk_read(int descriptor, void *data, size_t size) {
    struct descriptor *d = get(descriptor);
    ssize_t n = disk_pread(descriptor, data, size, d->position);

    if (n > 0)
        d->position += n;
    return n;
}

ssize_t disk_write(int descriptor, const void *data, size_t size) {
    struct descriptor *d = get(descriptor);
    ssize_t n = disk_pwrite(descriptor, data, size, d->position);

    if (n > 0)
        d->position += n;
    return n;
}

off_t disk_seek(int descriptor, off_t offset, int whence) {
    struct descriptor *d = get(descriptor);

    if (whence == SEEK_CUR)
        offset += d->position;
    else if (whence == SEEK_END)
        offset += (off_t)d->inode->size;
    if (offset < 0)
        return -EINVAL;
    return d->position = offset;
}

/* A failed sync ends the real process; here the disk only says so, and nothing was synced. */
int disk_sync(int descriptor) {
    struct descriptor *d = get(descriptor);

    if (d->disk->faults.sync_fails > 0 && --d->disk->faults.sync_fails == 0) {
        d->disk->faults.sync_failed = true;
        d->disk->figures.failures++;
        disk_crash(d->disk);
        return 0;
    }
    count_operation(d->disk);
    d->disk->figures.syncs++;
    if (!d->disk->crashed)
        inode_sync(d->inode);
    sync_names(d->disk, d->path, d->inode);
    return 0;
}

int disk_truncate(int descriptor, off_t size) {
    struct descriptor *d = get(descriptor);

    if ((size_t)size > d->inode->size && is_full(d->disk, d->path))
        return -ENOSPC;
    count_operation(d->disk);
    set_size(d->inode, (size_t)size);
    return 0;
}

int disk_rename(struct disk *disk, const char *from, const char *to) {
    struct entry *entry = find(&disk->names, from);

    if (!entry)
        return -ENOENT;
    count_operation(disk);
    entry = find(&disk->names, from);
    note(disk, CHANGE_RENAME, to, from, entry->inode);
    return 0;
}

int disk_unlink(struct disk *disk, const char *path) {
    struct entry *entry = find(&disk->names, path);

    if (!entry)
        return -ENOENT;
    count_operation(disk);
    note(disk, CHANGE_UNLINK, path, NULL, entry->inode);
    return 0;
}

int disk_mkdir(struct disk *disk, const char *path) {
    return find(&disk->names, path) ? -EEXIST : create(disk, path, true);
}

int disk_rmdir(struct disk *disk, const char *path) {
    struct entry *entry = find(&disk->names, path);
    size_t position = 0;

    if (!entry)
        return -ENOENT;
    if (!entry->inode->directory)
        return -ENOTDIR;
    if (disk_next_name(disk, path, &position))
        return -ENOTEMPTY;
    count_operation(disk);
    note(disk, CHANGE_UNLINK, path, NULL, entry->inode);
    return 0;
}

static void fill(const struct inode *inode, struct stat *ret) {
    *ret = (struct stat){
        .st_ino = inode->number,
        .st_dev = 1,
        .st_mode = inode->directory ? S_IFDIR | 0700 : S_IFREG | 0600,
        .st_nlink = 1,
        .st_size = (off_t)inode->size,
        .st_blksize = 4096,
        .st_blocks = (blkcnt_t)((inode->size + SECTOR_SIZE - 1) / SECTOR_SIZE),
    };
}

int disk_stat(struct disk *disk, const char *path, struct stat *ret) {
    struct entry *entry = find(&disk->names, path);

    if (!entry)
        return -ENOENT;
    fill(entry->inode, ret);
    return 0;
}

int disk_fstat(int descriptor, struct stat *ret) {
    fill(get(descriptor)->inode, ret);
    return 0;
}

const char *disk_path_of(int descriptor) {
    return get(descriptor)->path;
}

const char *disk_next_name(struct disk *disk, const char *directory, size_t *position) {
    while (*position < disk->names.count) {
        const char *path = disk->names.entries[(*position)++].path;

        if (in_directory(path, directory))
            return strrchr(path, '/') + 1;
    }
    return NULL;
}
