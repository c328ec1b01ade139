#include "service/deadlines.h"

#include "base/check.h"
#include "base/memory.h"

static void put_at(struct deadlines *deadlines, size_t place, struct deadline *deadline) {
    deadlines->heap[place] = deadline;
    deadline->place = place;
}

static void move_up(struct deadlines *deadlines, struct deadline *deadline) {
    size_t place = deadline->place;

    while (place > 1 && deadlines->heap[place / 2]->time > deadline->time) {
        put_at(deadlines, place, deadlines->heap[place / 2]);
        place /= 2;
    }
    put_at(deadlines, place, deadline);
}

static void move_down(struct deadlines *deadlines, struct deadline *deadline) {
    size_t place = deadline->place;

    for (;;) {
        size_t child = place * 2;

        if (child > deadlines->count)
            break;
        if (child < deadlines->count &&
            deadlines->heap[child + 1]->time < deadlines->heap[child]->time)
            child++;
        if (deadlines->heap[child]->time >= deadline->time)
            break;
        put_at(deadlines, place, deadlines->heap[child]);
        place = child;
    }
    put_at(deadlines, place, deadline);
}

void deadlines_add(struct deadlines *deadlines, struct deadline *deadline) {
    check(deadline->place == 0);
    if (deadlines->count + 1 >= deadlines->capacity) {
        deadlines->capacity = deadlines->capacity ? deadlines->capacity * 2 : 64;
        deadlines->heap = xrealloc(deadlines->heap, deadlines->capacity * sizeof *deadlines->heap);
    }
    deadlines->count++;
    put_at(deadlines, deadlines->count, deadline);
    move_up(deadlines, deadline);
}

void deadlines_remove(struct deadlines *deadlines, struct deadline *deadline) {
    size_t place = deadline->place;
    struct deadline *last;

    if (place == 0)
        return;
    check(deadlines->heap[place] == deadline);
    last = deadlines->heap[deadlines->count--];
    deadline->place = 0;
    if (last == deadline)
        return;
    put_at(deadlines, place, last);
    move_up(deadlines, last);
    move_down(deadlines, last);
}

struct deadline *deadlines_first(const struct deadlines *deadlines) {
    return deadlines->count ? deadlines->heap[1] : NULL;
}

void deadlines_deinit(struct deadlines *deadlines) {
    free(deadlines->heap);
    *deadlines = (struct deadlines){0};
}
