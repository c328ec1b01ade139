/*
 * What the calls under way take up: of one connection, of one user and of all. Nobody on the bus
 * can take all places, however many connections he makes: a user has a share of them. Until the bus
 * has told who a connection is, all those that are not known yet have one share together.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/error.h"

struct bus;
struct method_call;
struct sender;

/* Who may call a method, and with which others its calls have their places. */
enum method_kind {
    METHOD_USUAL,     /* authorize() decides */
    METHOD_OPERATION, /* likewise; it may take long */
    METHOD_LOOK,      /* anyone may: it tells what is so, soon, and writes nothing */
    METHOD_AWAIT,     /* anyone may: it tells what will be, which may take long */
    METHOD_KIND_COUNT,
};

enum {
    TAKEN_CALLS,
    TAKEN_BYTES,   /* of arguments */
    TAKEN_SENDERS, /* connections that have calls under way */
    TAKEN_KINDS,   /* from here on calls by their kind */
    TAKEN_COUNT = TAKEN_KINDS + METHOD_KIND_COUNT,
};

struct share {
    size_t taken[TAKEN_COUNT];
    uint32_t user;
    size_t senders; /* that are this user's; the share goes with the last */
    LIST_ENTRY(share) entry;
};

/* All zero: nobody takes anything. */
struct shares {
    struct share all, unknown;
    LIST_HEAD(, share) users;
};

/* Gives a call its places, or says which there are none of (ERROR_BUSY). */
int share_enter(struct method_call *call, struct failure *ret);
/* Takes back what the call has, if anything. */
void share_leave(struct method_call *call);
/* The sender's user is known now: its calls take their places from that user's share. Those for
 * which there are none fail; none may have begun. */
void share_identify(struct sender *sender);
/* The sender is forgotten, and has no calls. */
void share_forget(struct sender *sender);
