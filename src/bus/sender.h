/* The D-Bus connections that call us, with their calls under way and the user behind them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-bus.h>

#include "base/limits.h"

struct bus;
struct method_call;
struct sender;
struct share;

enum polkit_answer {
    POLKIT_YES,
    POLKIT_NO,
    POLKIT_CHALLENGE, /* only after an authentication, which the caller did not allow to ask for */
    POLKIT_ABSENT,    /* there is no polkit, or it failed */
};
typedef void (*polkit_answered)(struct sender *sender, enum polkit_answer answer);

TAILQ_HEAD(method_calls, method_call);
TAILQ_HEAD(sender_list, sender);

/* The recently active ones first. */
struct senders {
    struct sender_list list;
    size_t count;
};

struct sender {
    struct bus *bus;
    char *name; /* unique name, ":1.7" */
    struct method_calls calls;
    size_t calls_count;            /* of those that have their places */
    size_t bytes;                  /* of their arguments */
    struct share *share;           /* of its user */
    uint64_t backups[BACKUPS_MAX]; /* tokens of those that it reads; 0: none */
    bool user_known;               /* whether `user` is valid */
    uint32_t user;                 /* user id, as the bus saw it when the connection was made */
    sd_bus_slot *query;            /* about its user or permission; under way when not NULL */
    polkit_answered answered;      /* what a query about its permission ends in */
    TAILQ_ENTRY(sender) entry;
};

void senders_init(struct senders *senders);
/*
 * The sender of that name, made where it was not known yet. When BUS_SENDERS_MAX are known the one
 * without calls and backups that was idle for longest is forgotten; NULL when all have some.
 */
struct sender *sender_get(struct bus *bus, const char *name);
/* Forgets a sender that left the bus, and cancels its calls and backups. Does nothing for one that
 * is not known. */
void sender_gone(struct bus *bus, const char *name);
/* Forgets all and cancels their calls. */
void senders_deinit(struct senders *senders);
