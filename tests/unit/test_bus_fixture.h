/* A private dbus-daemon, a client on it, and a service that answers what the test says. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <sys/types.h>
#include <cmocka.h>
#include <systemd/sd-bus.h>

#include "bus/bus.h"
#include "proto/unpack.h"

/* The generated initialisers take const away. */
#pragma GCC diagnostic ignored "-Wcast-qual"

#define DESTINATION "org.raftkv1.nodeA"
#define OBJECT "/org/raftkv1"
#define KV "org.raftkv1.KV"
#define CLUSTER "org.raftkv1.Cluster"
#define NODE "org.raftkv1.Node"

struct fixture {
    char directory[64];
    char address[128];
    pid_t daemon;
    struct bus *bus;
    sd_bus *client;
};

/* For cmocka: *state becomes a struct fixture with everything open. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
/* The two halves of it. With a policy: lines for the default policy of the bus. */
struct fixture *fixture_start_daemon(const char *policy);
void fixture_open(struct fixture *f);
/* The same, with another way to name the bus. */
void fixture_open_on(struct fixture *f, const char *bus);

void kill_daemon(struct fixture *f);
/* A further connection to the private bus. */
sd_bus *connect_client(struct fixture *f);

/* Runs the bus room and the client (and another, if not NULL) until done() or for at most 90 s,
 * which fails the test. */
void run_until(struct fixture *f, sd_bus *other, bool (*done)(void *data), void *data);

/* Calls a method and runs until its reply, which is the test's to unref. Without a client: f's. */
sd_bus_message *call_from(struct fixture *f, sd_bus *client, const char *interface,
                          const char *member, const char *types, ...);
#define call(f, ...) call_from(f, NULL, __VA_ARGS__)
sd_bus_message *call_message(struct fixture *f, sd_bus *client, sd_bus_message *message);
sd_bus_message *new_call(sd_bus *client, const char *interface, const char *member);

/* The reply must be that error, and its message must hold this text. */
void assert_error(sd_bus_message *reply, const char *name, const char *text);
void assert_success(sd_bus_message *reply);
#define _cleanup_message_ __attribute__((cleanup(sd_bus_message_unrefp)))

/* ---- the service ---- */

enum { FAKE_CALLS_MAX = 8192 };

struct call {
    Raftkv__V1__Request *request;
    service_reply reply;
    void *data;
};

struct fake {
    /* What every request is answered with, at once unless `hold`. */
    const Raftkv__V1__Response *response;
    bool hold;
    Raftkv__V1__Request *last; /* the newest request */
    size_t handled;
    size_t cancelled;
    struct call *held[FAKE_CALLS_MAX]; /* those under way, in order */
    size_t held_count;
    Raftkv__V1__MemberStatus status; /* of the node */
    struct service_member members[MEMBERS_MAX];
    size_t members_count;
    struct service_operation operations[OPERATIONS_MAX]; /* at first one, with the token 7 */
    size_t operations_count;
};
extern struct fake fake;

/* Adds a member to what the service knows; nodeA and nodeB are there. */
void fake_add_member(uint64_t id, const char *name);
/* Answers the calls under way. */
void fake_answer_held(void);
