/* Answering reads from the state. */
#include "kv/kv.h"

#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"

static void item_init(struct kv_item *item, const uint8_t *key, size_t key_size,
                      const struct state_record *record) {
    uint8_t *memory = xmalloc(key_size + record->value_size);

    *item = (struct kv_item){
        .key = memory,
        .key_size = key_size,
        .value = memory + key_size,
        .value_size = record->value_size,
        .create_revision = record->create_revision,
        .modify_revision = record->modify_revision,
        .version = record->version,
    };
    if (key_size)
        memcpy(item->key, key, key_size);
    if (item->value_size)
        memcpy(item->value, record->value, item->value_size);
}

void kv_item_deinit(struct kv_item *item) {
    free(item->key);
    *item = (struct kv_item){0};
}

int kv_get(struct state *state, const uint8_t *key, size_t key_size, struct kv_item *ret,
           uint64_t *ret_revision) {
    struct state_record record;
    uint64_t revision, term;
    int r;

    r = state_get(state, key, key_size, &record);
    if (r < 0)
        return r;
    state_applied(state, &revision, &term);
    *ret_revision = revision;
    if (r == 0)
        item_init(ret, key, key_size, &record);
    return r;
}

struct page {
    const struct kv_list_options *options;
    struct kv_list list;
    size_t capacity;
    uint64_t bytes;
};

static bool has_prefix(const struct kv_list_options *options, const uint8_t *key, size_t key_size) {
    return key_size >= options->prefix_size &&
           (options->prefix_size == 0 || memcmp(key, options->prefix, options->prefix_size) == 0);
}

static bool add(void *data, const uint8_t *key, size_t key_size,
                const struct state_record *record) {
    struct page *page = data;
    struct kv_list *list = &page->list;
    uint64_t bytes = key_size + record->value_size;

    if (!has_prefix(page->options, key, key_size))
        return false;
    if (list->count == page->options->limit ||
        (list->count > 0 && bytes > page->options->max_bytes - page->bytes)) {
        list->more = true;
        list->next = xmemdup(key, key_size);
        list->next_size = key_size;
        return false;
    }
    if (list->count == page->capacity) {
        page->capacity = page->capacity ? page->capacity * 2 : 16;
        list->items = xrealloc(list->items, page->capacity * sizeof *list->items);
    }
    item_init(&list->items[list->count++], key, key_size, record);
    /* The first item may be larger than the page. */
    page->bytes += bytes < page->options->max_bytes - page->bytes
                       ? bytes
                       : page->options->max_bytes - page->bytes;
    return true;
}

/* The order of the keys: by bytes, and a key before all that it is the beginning of. */
static bool is_before(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size) {
    size_t size = a_size < b_size ? a_size : b_size;
    int order = size ? memcmp(a, b, size) : 0;

    return order < 0 || (order == 0 && a_size < b_size);
}

int kv_list(struct state *state, const struct kv_list_options *options, struct kv_list *ret) {
    const uint8_t *from = options->from;
    size_t from_size = options->from_size;
    struct page page = {.options = options};
    uint64_t term;
    int r;

    check(options->limit >= 1 && options->limit <= LIST_ITEMS_MAX);
    if (is_before(from, from_size, options->prefix, options->prefix_size)) {
        from = options->prefix;
        from_size = options->prefix_size;
    }
    r = options->keys_only ? state_walk_headers(state, from, from_size, add, &page)
                           : state_walk(state, from, from_size, add, &page);
    if (r < 0) {
        kv_list_deinit(&page.list);
        return r;
    }
    state_applied(state, &page.list.revision, &term);
    *ret = page.list;
    return 0;
}

void kv_list_deinit(struct kv_list *list) {
    for (size_t i = 0; i < list->count; i++)
        kv_item_deinit(&list->items[i]);
    free(list->items);
    free(list->next);
    *list = (struct kv_list){0};
}
