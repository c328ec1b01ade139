/* Reading entries back, by the position of their record. */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "store/log_internal.h"

/* The bytes of a record; valid until the next call. */
static int fetch(struct log_store *log, struct position position, const uint8_t **ret_data,
                 size_t *ret_size) {
    DB_LSN lsn = {position.file, position.offset};
    DBT data = {0};
    int error;

    for (const struct log_pending *pending = log->pending; pending; pending = pending->next) {
        if (pending->position.file != position.file || pending->position.offset != position.offset)
            continue;
        *ret_data = pending->data;
        *ret_size = pending->size;
        return 0;
    }
    log->message[0] = '\0';
    error = log->cursor ? 0 : log->environment->log_cursor(log->environment, &log->cursor, 0);
    if (error == 0)
        error = log->cursor->get(log->cursor, &lsn, &data, DB_SET);
    if (error != 0)
        return log_library_error(error);
    *ret_data = data.data;
    *ret_size = data.size;
    return 0;
}

/* A reader that stands before the entry with that index, of which the record holds *ret_count. */
static int fetch_entries(struct log_store *log, uint64_t index, struct reader *ret,
                         uint64_t *ret_count) {
    const struct log_index_slot *slot = log_index_find(&log->content.index, index);
    const uint8_t *data = NULL;
    struct record record;
    struct reader reader;
    struct restatement restatement;
    struct log_entry entry;
    uint64_t first_index;
    uint32_t count;
    size_t size = 0;
    int r = fetch(log, slot->position, &data, &size);

    if (r != 0)
        return r;
    if (record_parse(data, size, slot->position, &record) < 0 || record.kind != RECORD_BATCH)
        return -EIO;
    reader = (struct reader){record.content, record.content_size};
    if (record.first && record_read_restatement(&reader, &restatement) < 0)
        return -EIO;
    if (record_read_batch(&reader, &first_index, &count) < 0 || first_index != slot->first_index)
        return -EIO;
    for (uint64_t i = first_index; i < index; i++)
        if (record_read_entry(&reader, &entry) < 0)
            return -EIO;
    *ret = reader;
    *ret_count = first_index + count - index;
    return 0;
}

/* What log_store_read() collects: the entries, their data as offsets so far, and the data. */
struct collection {
    struct buffer entries; /* of struct log_entry */
    struct buffer data;
    size_t count;
};

static void collect(struct collection *collection, struct log_entry entry) {
    buffer_append(&collection->data, entry.data, entry.size);
    entry.data = NULL;
    buffer_append(&collection->entries, &entry, sizeof entry);
    collection->count++;
}

static void collection_deinit(struct collection *collection) {
    buffer_deinit(&collection->entries);
    buffer_deinit(&collection->data);
}

/* Array and data as one allocation. */
static struct log_entry *assemble(const struct collection *collection) {
    struct log_entry *entries = xmalloc(collection->entries.size + collection->data.size);
    uint8_t *data = (uint8_t *)entries + collection->entries.size;

    memcpy(entries, collection->entries.data, collection->entries.size);
    if (collection->data.size)
        memcpy(data, collection->data.data, collection->data.size);
    for (size_t i = 0; i < collection->count; i++) {
        entries[i].data = data;
        data += entries[i].size;
    }
    return entries;
}

int log_store_read(struct log_store *log, uint64_t first_index, size_t count, size_t max_bytes,
                   struct log_entry **ret_entries, size_t *ret_count) {
    const struct log_index *index = &log->content.index;
    _cleanup_(collection_deinit) struct collection collection = {0};
    bool full = false;

    check(count > 0);
    if (first_index < index->first_index || first_index > index->last_index)
        return -ENOENT;
    if (count > index->last_index - first_index + 1)
        count = index->last_index - first_index + 1;
    while (!full && collection.count < count) {
        uint64_t at = first_index + collection.count, available;
        const struct log_index_slot *slot = log_index_find(index, at);
        struct reader reader;
        int r = fetch_entries(log, at, &reader, &available);

        if (r != 0)
            return r;
        /* A later record may have taken the place of the last entries of this one. */
        for (; available > 0 && collection.count < count && !full; available--, at++) {
            struct log_entry entry;

            if (log_index_find(index, at) != slot)
                break;
            if (record_read_entry(&reader, &entry) < 0)
                return -EIO;
            full = collection.count > 0 && collection.data.size + entry.size > max_bytes;
            if (!full)
                collect(&collection, entry);
        }
    }
    if (log->cursor && collection.data.size > LOG_MEMORY_KEPT_MAX) {
        log->cursor->close(log->cursor, 0);
        log->cursor = NULL;
    }
    *ret_entries = assemble(&collection);
    *ret_count = collection.count;
    return 0;
}
