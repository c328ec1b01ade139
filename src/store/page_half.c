#include "store/page_half.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/defect.h"
#include "base/memory.h"
#include "store/sync.h"

enum {
    SEAL_AT = 0,
    MARK_AT = 4096,
    LIST_AT = 8192,
    LIST_ITEM_SIZE = 12,
    LIST_SIZE_MAX = STATE_JOURNAL_PAGES_MAX * LIST_ITEM_SIZE,
    SLOTS_AT = LIST_AT + LIST_SIZE_MAX,
    FORMAT = 1,
    /* The file has its space for so many slots from the beginning: with them a full disk can be
     * written to, a few pages at a time. */
    SLOTS_MIN = 16,
};
_Static_assert(SLOTS_AT % PAGE_SIZE_OF_TREES == 0, "slots are aligned");

#define SEAL_MAGIC UINT32_C(0x53504b52) /* RKPS */
#define MARK_MAGIC UINT32_C(0x4d504b52) /* RKPM */

struct seal {
    uint32_t magic, format;
    uint64_t epoch;
    uint32_t slots, list_checksum, checksum;
} __attribute__((packed));

struct mark {
    uint32_t magic, format;
    uint64_t epoch;
    uint32_t checksum;
} __attribute__((packed));

static off_t offset_of(uint32_t slot) {
    return SLOTS_AT + (off_t)slot * PAGE_SIZE_OF_TREES;
}

/* ---- which slot holds a page ---- */

static uint32_t *find_entry(const struct page_half *half, uint32_t tree, uint32_t page) {
    uint32_t i = (page * UINT32_C(2654435761) ^ tree * UINT32_C(0x9e3779b9)) % half->table_size;

    while (half->table[i] != 0) {
        const struct page_slot *slot = &half->slots[half->table[i] - 1];

        if (slot->tree == tree && slot->page == page)
            break;
        i = (i + 1) % half->table_size;
    }
    return &half->table[i];
}

/* There is always room: no more entries are made between two clears than there are slots. */
static void use_slot(struct page_half *half, uint32_t number, const struct page_slot *slot) {
    half->slots[number] = *slot;
    *find_entry(half, slot->tree, slot->page) = number + 1;
    if (slot->page >= half->ends[slot->tree])
        half->ends[slot->tree] = slot->page + 1;
}

bool page_half_find(const struct page_half *half, enum page_tree tree, uint32_t page,
                    uint32_t *ret_slot) {
    uint32_t entry = *find_entry(half, tree, page);

    *ret_slot = entry - 1;
    return entry != 0;
}

void page_half_forget(struct page_half *half, enum page_tree tree, uint32_t page) {
    if (half->ends[tree] <= page)
        return;
    for (uint32_t i = 0; i < half->count; i++)
        if (half->slots[i].tree == tree && half->slots[i].page >= page)
            half->slots[i].tree = PAGE_TREE_NONE;
    half->ends[tree] = page;
}

void page_half_clear(struct page_half *half) {
    memset(half->table, 0, half->table_size * sizeof *half->table);
    memset(half->ends, 0, sizeof half->ends);
    half->count = 0;
    half->placed = 0;
    half->sealed = false;
}

/* ---- the file ---- */

static int reserve(int descriptor) {
    _cleanup_free_ uint8_t *zeros = xcalloc(1, PAGE_SIZE_OF_TREES);
    int r = 0;

    for (off_t at = 0; r == 0 && at < offset_of(SLOTS_MIN); at += PAGE_SIZE_OF_TREES)
        r = store_write_at(descriptor, zeros, PAGE_SIZE_OF_TREES, at);
    return r;
}

/* What is read from there has to be durable: epochs go on from it. */
static int open_file(const char *path, bool *ret_made) {
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), r = 0;
    struct stat status;

    if (descriptor < 0)
        return -errno;
    if (fstat(descriptor, &status) < 0)
        r = -errno;
    *ret_made = r == 0 && status.st_size < offset_of(SLOTS_MIN);
    if (*ret_made)
        r = reserve(descriptor);
    if (r < 0) {
        close(descriptor);
        return r;
    }
    store_sync_data(descriptor);
    return descriptor;
}

int page_half_open(struct page_half *half, const char *directory, const char *name,
                   uint32_t capacity, bool *ret_made) {
    _cleanup_free_ char *path = xasprintf("%s/%s", directory, name);
    int descriptor = open_file(path, ret_made);

    check(capacity > 0 && capacity <= STATE_JOURNAL_PAGES_MAX);
    if (descriptor < 0)
        return descriptor;
    *half = (struct page_half){
        .descriptor = descriptor,
        .capacity = capacity,
        .slots = xcalloc(STATE_JOURNAL_PAGES_MAX, sizeof *half->slots),
        .table_size = 2 * STATE_JOURNAL_PAGES_MAX,
    };
    half->table = xcalloc(half->table_size, sizeof *half->table);
    return 0;
}

void page_half_deinit(struct page_half *half) {
    if (half->slots)
        close(half->descriptor);
    free(TAKE(half->slots));
    free(TAKE(half->table));
}

static int read_exactly(const struct page_half *half, void *data, size_t size, off_t offset) {
    ssize_t n = store_read_at(half->descriptor, data, size, offset);

    if (n < 0)
        return (int)n;
    return (size_t)n == size ? 0 : -EBADMSG;
}

int page_half_read(const struct page_half *half, uint32_t slot, size_t from, void *data,
                   size_t size) {
    return read_exactly(half, data, size, offset_of(slot) + (off_t)from);
}

int page_half_read_page(const struct page_half *half, uint32_t slot, void *data) {
    int r = page_half_read(half, slot, 0, data, PAGE_SIZE_OF_TREES);

    if (r < 0)
        return r;
    return crc32c(0, data, PAGE_SIZE_OF_TREES) == half->slots[slot].checksum ? 0 : -EBADMSG;
}

int page_half_put(struct page_half *half, enum page_tree tree, uint32_t page, const void *data) {
    struct page_slot slot = {tree, page, crc32c(0, data, PAGE_SIZE_OF_TREES)};
    uint32_t number;
    bool found = page_half_find(half, tree, page, &number);
    int r;

    if (!found && half->count == half->capacity)
        return -ENOBUFS;
    if (!found)
        number = half->count;
    r = store_write_at(half->descriptor, data, PAGE_SIZE_OF_TREES, offset_of(number));
    if (r < 0) {
        /* What the slot had may be gone. */
        if (found)
            half->slots[number].tree = PAGE_TREE_NONE;
        return r;
    }
    if (!found)
        half->count++;
    use_slot(half, number, &slot);
    return 0;
}

/* ---- seals and marks ---- */

static uint32_t encode_list(const struct page_half *half, uint8_t *list) {
    for (uint32_t i = 0; i < half->count; i++) {
        const struct page_slot *slot = &half->slots[i];
        uint32_t item[] = {htole32(slot->tree), htole32(slot->page), htole32(slot->checksum)};

        memcpy(list + (size_t)i * LIST_ITEM_SIZE, item, LIST_ITEM_SIZE);
    }
    return crc32c(0, list, (size_t)half->count * LIST_ITEM_SIZE);
}

/* One sync for pages, list and seal: their checksums tell whether all of them came to the disk. */
int page_half_seal(struct page_half *half, uint64_t epoch) {
    size_t size = (size_t)half->count * LIST_ITEM_SIZE;
    _cleanup_free_ uint8_t *list = xmalloc(size);
    struct seal seal = {
        .magic = htole32(SEAL_MAGIC),
        .format = htole32(FORMAT),
        .epoch = htole64(epoch),
        .slots = htole32(half->count),
        .list_checksum = htole32(encode_list(half, list)),
    };
    int r;

    seal.checksum = htole32(crc32c(0, &seal, offsetof(struct seal, checksum)));
    store_write_out(half->descriptor, SLOTS_AT, offset_of(half->count) - SLOTS_AT);
    r = store_write_at(half->descriptor, list, size, LIST_AT);
    if (r == 0)
        r = store_write_at(half->descriptor, &seal, sizeof seal, SEAL_AT);
    if (r < 0)
        return r;
    if (!DEFECT(PAGES_BEFORE_JOURNAL))
        store_sync_data(half->descriptor);
    half->sealed = true;
    half->epoch = epoch;
    return 0;
}

int page_half_mark(const struct page_half *half) {
    struct mark mark = {
        .magic = htole32(MARK_MAGIC),
        .format = htole32(FORMAT),
        .epoch = htole64(half->epoch),
    };

    mark.checksum = htole32(crc32c(0, &mark, offsetof(struct mark, checksum)));
    return store_write_at(half->descriptor, &mark, sizeof mark, MARK_AT);
}

/* 1: there is one; 0: there is none, or it is torn. */
static int read_seal(const struct page_half *half, struct seal *ret) {
    int r = read_exactly(half, ret, sizeof *ret, SEAL_AT);

    if (r < 0)
        return r == -EBADMSG ? 0 : r;
    if (le32toh(ret->magic) != SEAL_MAGIC ||
        le32toh(ret->checksum) != crc32c(0, ret, offsetof(struct seal, checksum)))
        return 0;
    return le32toh(ret->format) == FORMAT ? 1 : -EPROTONOSUPPORT;
}

static int read_mark(const struct page_half *half, struct mark *ret) {
    int r = read_exactly(half, ret, sizeof *ret, MARK_AT);

    if (r < 0)
        return r == -EBADMSG ? 0 : r;
    return le32toh(ret->magic) == MARK_MAGIC && le32toh(ret->format) == FORMAT &&
           le32toh(ret->checksum) == crc32c(0, ret, offsetof(struct mark, checksum));
}

int page_half_look(const struct page_half *half, uint64_t *ret_sealed, uint64_t *ret_marked) {
    struct seal seal;
    struct mark mark;
    int r;

    r = read_seal(half, &seal);
    if (r < 0)
        return r;
    *ret_sealed = r ? le64toh(seal.epoch) : 0;
    r = read_mark(half, &mark);
    if (r < 0)
        return r;
    *ret_marked = r ? le64toh(mark.epoch) : 0;
    return 0;
}

static int load_list(struct page_half *half, const struct seal *seal) {
    uint32_t count = le32toh(seal->slots);
    size_t size = (size_t)count * LIST_ITEM_SIZE;
    _cleanup_free_ uint8_t *list = NULL;
    int r;

    if (count > STATE_JOURNAL_PAGES_MAX)
        return -EBADMSG;
    list = xmalloc(size);
    r = read_exactly(half, list, size, LIST_AT);
    if (r < 0)
        return r;
    if (crc32c(0, list, size) != le32toh(seal->list_checksum))
        return -EBADMSG;
    for (uint32_t i = 0; i < count; i++) {
        struct page_slot slot;
        uint32_t item[3];

        memcpy(item, list + (size_t)i * LIST_ITEM_SIZE, LIST_ITEM_SIZE);
        slot = (struct page_slot){le32toh(item[0]), le32toh(item[1]), le32toh(item[2])};
        if (slot.tree > PAGE_TREE_NONE)
            return -EBADMSG;
        if (slot.tree == PAGE_TREE_NONE)
            half->slots[i] = slot;
        else
            use_slot(half, i, &slot);
    }
    half->count = count;
    return 0;
}

static int load(struct page_half *half) {
    uint8_t page[PAGE_SIZE_OF_TREES];
    struct seal seal;
    int r = read_seal(half, &seal);

    if (r <= 0)
        return r < 0 ? r : -EBADMSG;
    r = load_list(half, &seal);
    for (uint32_t i = 0; r == 0 && i < half->count; i++)
        if (half->slots[i].tree != PAGE_TREE_NONE)
            r = page_half_read_page(half, i, page);
    half->sealed = r == 0;
    half->epoch = le64toh(seal.epoch);
    return r;
}

int page_half_load(struct page_half *half) {
    int r = load(half);

    if (r < 0)
        page_half_clear(half);
    return r;
}
