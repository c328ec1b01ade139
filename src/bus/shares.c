#include "bus/shares.h"

#include <stdbool.h>

#include "base/limits.h"
#include "base/memory.h"
#include "bus/call.h"
#include "bus/connection.h"

/* 0: there is no limit here. */
static const struct limit {
    const char *what;
    size_t of_user, of_all;
} limits[TAKEN_COUNT] = {
    [TAKEN_CALLS] = {"calls", BUS_USER_CALLS_MAX, BUS_CALLS_MAX},
    [TAKEN_BYTES] = {"bytes of arguments", BUS_USER_BYTES_MAX, BUS_BYTES_MAX},
    [TAKEN_SENDERS] = {"connections with calls", BUS_USER_SENDERS_MAX, 0}, /* sender_get() */
    [TAKEN_KINDS + METHOD_OPERATION] = {"operations", BUS_USER_OPERATIONS_MAX, 0}, /* the service */
    [TAKEN_KINDS +
        METHOD_LOOK] = {"calls that only look", BUS_USER_OPEN_CALLS_MAX, BUS_OPEN_CALLS_MAX},
    [TAKEN_KINDS + METHOD_AWAIT] = {"calls of Await", BUS_USER_OPEN_CALLS_MAX, BUS_OPEN_CALLS_MAX},
};

/* How much of this the call takes. */
static size_t wanted(const struct method_call *call, size_t what) {
    switch (what) {
    case TAKEN_CALLS:
        return 1;
    case TAKEN_BYTES:
        return call->bytes;
    case TAKEN_SENDERS:
        return call->sender->calls_count == 0;
    default:
        return what == TAKEN_KINDS + (size_t)call->method->kind;
    }
}

/* A single large call has room for its bytes: the service refuses it with limits of its own. */
static bool has_room(const struct share *share, size_t what, size_t amount, size_t limit) {
    return limit == 0 || amount == 0 || share->taken[what] + amount <= limit ||
           (what == TAKEN_BYTES && share->taken[TAKEN_CALLS] == 0);
}

static int check_sender(const struct method_call *call, struct failure *ret) {
    const struct sender *sender = call->sender;

    if (sender->calls_count >= BUS_SENDER_CALLS_MAX)
        return failure_set(ret, ERROR_BUSY,
                           "Too many calls are under way: at most %d of one connection may be.",
                           BUS_SENDER_CALLS_MAX);
    if (sender->calls_count > 0 && sender->bytes + call->bytes > BUS_SENDER_BYTES_MAX)
        return failure_set(ret, ERROR_BUSY,
                           "Too much is under way: the calls of one connection may have %d bytes "
                           "of arguments.",
                           BUS_SENDER_BYTES_MAX);
    return 0;
}

static int check_shares(const struct method_call *call, struct failure *ret) {
    for (size_t i = 0; i < TAKEN_COUNT; i++) {
        const struct limit *limit = &limits[i];
        size_t amount = wanted(call, i);

        if (!has_room(call->sender->share, i, amount, limit->of_user))
            return failure_set(ret, ERROR_BUSY,
                               "Too many %s of one user are under way: at most %zu may be.",
                               limit->what, limit->of_user);
        if (!has_room(&call->bus->shares.all, i, amount, limit->of_all))
            return failure_set(ret, ERROR_BUSY,
                               "Too many %s are under way: at most %zu of all users may be.",
                               limit->what, limit->of_all);
    }
    return 0;
}

int share_enter(struct method_call *call, struct failure *ret) {
    struct sender *sender = call->sender;

    if (check_sender(call, ret) != 0 || check_shares(call, ret) != 0)
        return ret->code;
    call->share = sender->share;
    for (size_t i = 0; i < TAKEN_COUNT; i++) {
        call->share->taken[i] += wanted(call, i);
        call->bus->shares.all.taken[i] += wanted(call, i);
    }
    sender->calls_count++;
    sender->bytes += call->bytes;
    return 0;
}

void share_leave(struct method_call *call) {
    struct share *share = TAKE(call->share);

    if (!share)
        return;
    call->sender->calls_count--;
    call->sender->bytes -= call->bytes;
    for (size_t i = 0; i < TAKEN_COUNT; i++) {
        share->taken[i] -= wanted(call, i);
        call->bus->shares.all.taken[i] -= wanted(call, i);
    }
}

static struct share *share_of(struct shares *shares, uint32_t user) {
    struct share *share;

    LIST_FOREACH(share, &shares->users, entry)
    if (share->user == user)
        return share;
    share = xcalloc(1, sizeof *share);
    share->user = user;
    LIST_INSERT_HEAD(&shares->users, share, entry);
    return share;
}

void share_identify(struct sender *sender) {
    struct method_call *call, *next;
    struct failure failure;

    TAILQ_FOREACH(call, &sender->calls, entry)
    share_leave(call);
    sender->share = share_of(&sender->bus->shares, sender->user);
    sender->share->senders++;
    for (call = TAILQ_FIRST(&sender->calls); call; call = next) {
        next = TAILQ_NEXT(call, entry);
        if (share_enter(call, &failure) != 0)
            method_call_fail(call, &failure);
    }
}

void share_forget(struct sender *sender) {
    struct share *share = TAKE(sender->share);

    if (share == &sender->bus->shares.unknown || --share->senders > 0)
        return;
    LIST_REMOVE(share, entry);
    free(share);
}
