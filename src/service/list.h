/* Doubly linked lists through a member of what they hold: a call leaves whatever list it is in
 * without knowing which. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *previous;
};

static inline void list_init(struct list *list) {
    list->next = list->previous = list;
}

static inline bool list_empty(const struct list *list) {
    return list->next == list;
}

/* Takes the element out of its list, if it is in one. */
static inline void list_remove(struct list *element) {
    element->next->previous = element->previous;
    element->previous->next = element->next;
    list_init(element);
}

static inline void list_append(struct list *list, struct list *element) {
    element->previous = list->previous;
    element->next = list;
    list->previous->next = element;
    list->previous = element;
}

/* The first element, taken out; NULL when there is none. */
static inline struct list *list_pop(struct list *list) {
    struct list *element = list->next;

    if (element == list)
        return NULL;
    list_remove(element);
    return element;
}

/* Moves everything in `from` to the end of `to`. */
static inline void list_move(struct list *to, struct list *from) {
    if (list_empty(from))
        return;
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    list_init(from);
}
