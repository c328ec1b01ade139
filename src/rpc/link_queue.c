#include "rpc/link_queue.h"

#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"

struct link_message {
    STAILQ_ENTRY(link_message) entry;
    uint8_t *data;
    size_t size;
};

static void stream_init(struct link_stream *stream) {
    *stream = (struct link_stream){0};
    STAILQ_INIT(&stream->messages);
}

void link_queue_init(struct link_queue *queue) {
    stream_init(&queue->urgent);
    stream_init(&queue->bulk);
}

static void free_message(struct link_message *message) {
    free(message->data);
    free(message);
}

static void drop_first(struct link_stream *stream) {
    struct link_message *message = STAILQ_FIRST(&stream->messages);

    STAILQ_REMOVE_HEAD(&stream->messages, entry);
    stream->size -= message->size - stream->offset;
    stream->offset = 0;
    stream->count--;
    free_message(message);
}

/* Drops the oldest message of which nothing was sent; false: there is none. */
static bool drop_oldest(struct link_stream *stream) {
    struct link_message *first = STAILQ_FIRST(&stream->messages);
    struct link_message *second;

    if (!first)
        return false;
    if (stream->offset == 0) {
        drop_first(stream);
        return true;
    }
    second = STAILQ_NEXT(first, entry);
    if (!second)
        return false;
    STAILQ_REMOVE(&stream->messages, second, link_message, entry);
    stream->size -= second->size;
    stream->count--;
    free_message(second);
    return true;
}

static bool make_room(struct link_queue *queue, bool urgent, size_t size) {
    struct link_stream *stream = &queue->urgent;

    if (size > PEER_MESSAGE_SIZE_MAX)
        return false;
    if (!urgent)
        return queue->bulk.size + size <= LINK_QUEUE_SIZE_MAX;
    while (stream->count >= LINK_URGENT_MAX || stream->size + size > LINK_URGENT_SIZE_MAX)
        if (!drop_oldest(stream))
            return false;
    return true;
}

bool link_queue_push(struct link_queue *queue, bool urgent, uint8_t *data, size_t size) {
    struct link_stream *stream = urgent ? &queue->urgent : &queue->bulk;
    struct link_message *message;

    if (!make_room(queue, urgent, size)) {
        free(data);
        return false;
    }
    message = xmalloc(sizeof *message);
    *message = (struct link_message){.data = data, .size = size};
    STAILQ_INSERT_TAIL(&stream->messages, message, entry);
    stream->count++;
    stream->size += size;
    return true;
}

bool link_queue_peek(const struct link_queue *queue, struct link_fragment *ret) {
    bool urgent = !STAILQ_EMPTY(&queue->urgent.messages);
    const struct link_stream *stream = urgent ? &queue->urgent : &queue->bulk;
    const struct link_message *message = STAILQ_FIRST(&stream->messages);
    size_t rest;

    if (!message)
        return false;
    rest = message->size - stream->offset;
    ret->urgent = urgent;
    ret->last = rest <= FRAGMENT_SIZE_MAX;
    ret->data = message->data + stream->offset;
    ret->size = ret->last ? rest : FRAGMENT_SIZE_MAX;
    return true;
}

void link_queue_advance(struct link_queue *queue, const struct link_fragment *fragment) {
    struct link_stream *stream = fragment->urgent ? &queue->urgent : &queue->bulk;

    check(fragment->size <= stream->size);
    stream->offset += fragment->size;
    stream->size -= fragment->size;
    if (fragment->last)
        drop_first(stream);
}

static void stream_clear(struct link_stream *stream) {
    while (!STAILQ_EMPTY(&stream->messages))
        drop_first(stream);
}

void link_queue_clear(struct link_queue *queue) {
    stream_clear(&queue->urgent);
    stream_clear(&queue->bulk);
}
