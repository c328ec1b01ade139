/* link_queue: what waits to be sent on one link: two streams of messages, cut into fragments. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct link_message;

struct link_stream {
    STAILQ_HEAD(, link_message) messages;
    size_t count;
    size_t size;   /* bytes that are not sent yet */
    size_t offset; /* what is sent of the first message */
};

struct link_queue {
    struct link_stream urgent;
    struct link_stream bulk;
};

struct link_fragment {
    bool urgent;
    bool last;
    const uint8_t *data;
    size_t size;
};

void link_queue_init(struct link_queue *queue);
/*
 * Takes over a malloc'd message. A full bulk stream drops the new message; a full urgent stream
 * drops its oldest ones, of which nothing was sent yet: what they say is out of date. Returns false
 * when the new message was dropped.
 */
bool link_queue_push(struct link_queue *queue, bool urgent, uint8_t *message, size_t size);
/* The fragment to send next, urgent ones first; false: nothing waits. Valid until
 * link_queue_advance(), which takes it off. */
bool link_queue_peek(const struct link_queue *queue, struct link_fragment *ret);
void link_queue_advance(struct link_queue *queue, const struct link_fragment *fragment);
void link_queue_clear(struct link_queue *queue);
