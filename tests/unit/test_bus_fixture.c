#include "test_bus_fixture.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"

struct fake fake;

/* ---- the service ---- */

static Raftkv__V1__Request *copy_request(const Raftkv__V1__Request *request) {
    size_t size = raftkv__v1__request__get_packed_size(request);
    _cleanup_free_ uint8_t *data = xmalloc(size);

    raftkv__v1__request__pack(request, data);
    return raftkv__v1__request__unpack(NULL, size, data);
}

struct call *service_handle(struct service *service, Raftkv__V1__Request *request,
                            service_reply reply, void *data) {
    struct call *held;

    (void)service;
    fake.handled++;
    if (fake.last)
        raftkv__v1__request__free_unpacked(fake.last, NULL);
    fake.last = copy_request(request);
    if (!fake.hold) {
        raftkv__v1__request__free_unpacked(request, NULL);
        reply(data, fake.response);
        return NULL;
    }
    assert_true(fake.held_count < FAKE_CALLS_MAX);
    held = xmalloc(sizeof *held);
    *held = (struct call){.request = request, .reply = reply, .data = data};
    fake.held[fake.held_count++] = held;
    return held;
}

struct call *service_handle_for(struct service *service, Raftkv__V1__Request *request,
                                const struct service_caller *caller) {
    return service_handle(service, request, caller->reply, caller->data);
}

void service_cancel(struct service *service, struct call *cancelled) {
    (void)service;
    for (size_t i = 0; i < fake.held_count; i++) {
        if (fake.held[i] != cancelled)
            continue;
        memmove(&fake.held[i], &fake.held[i + 1], (fake.held_count - i - 1) * sizeof fake.held[0]);
        fake.held_count--;
        fake.cancelled++;
        raftkv__v1__request__free_unpacked(cancelled->request, NULL);
        free(cancelled);
        return;
    }
    fail_msg("a call is cancelled that is not under way");
}

void fake_answer_held(void) {
    while (fake.held_count > 0) {
        struct call *held = fake.held[0];

        memmove(&fake.held[0], &fake.held[1], (--fake.held_count) * sizeof fake.held[0]);
        raftkv__v1__request__free_unpacked(held->request, NULL);
        held->reply(held->data, fake.response);
        free(held);
    }
}

Raftkv__V1__MemberStatus *service_local_status(struct service *service) {
    size_t size = raftkv__v1__member_status__get_packed_size(&fake.status);
    _cleanup_free_ uint8_t *data = xmalloc(size);

    (void)service;
    raftkv__v1__member_status__pack(&fake.status, data);
    return raftkv__v1__member_status__unpack(NULL, size, data);
}

size_t service_local_operations(struct service *service,
                                struct service_operation ret[static OPERATIONS_MAX]) {
    (void)service;
    memcpy(ret, fake.operations, fake.operations_count * sizeof *ret);
    return fake.operations_count;
}

size_t service_local_members(struct service *service,
                             struct service_member ret[static MEMBERS_MAX]) {
    (void)service;
    memcpy(ret, fake.members, fake.members_count * sizeof *ret);
    return fake.members_count;
}

void fake_add_member(uint64_t id, const char *name) {
    struct service_member *member = &fake.members[fake.members_count++];

    *member = (struct service_member){.id = id,
                                      .role = RAFTKV__V1__ROLE__ROLE_VOTER,
                                      .reachable = true,
                                      .contact_ms = UINT64_MAX};
    snprintf(member->name, sizeof member->name, "%s", name);
    snprintf(member->peer_address, sizeof member->peer_address, "%s.example:4712", name);
    snprintf(member->client_address, sizeof member->client_address, "%s.example:4711", name);
}

static void fake_reset(void) {
    static char name[] = "nodeA", leader[] = "nodeB", version[] = "1.2.3";
    static char peer_address[] = "10.0.0.1:4712", client_address[] = "10.0.0.1:4711";
    static const Raftkv__V1__Response empty = RAFTKV__V1__RESPONSE__INIT;

    fake = (struct fake){.response = &empty};
    raftkv__v1__member_status__init(&fake.status);
    fake.status.name = name;
    fake.status.id = 0xfedcba9876543210;
    fake.status.cluster_id = 77;
    fake.status.role = RAFTKV__V1__ROLE__ROLE_VOTER;
    fake.status.state = RAFTKV__V1__STATE__STATE_FOLLOWER;
    fake.status.term = 5;
    fake.status.leader = leader;
    fake.status.commit_index = 102;
    fake.status.applied_index = 101;
    fake.status.last_index = 103;
    fake.status.first_index = 1;
    fake.status.answers = true;
    fake.status.version = version;
    fake.status.peer_address = peer_address;
    fake.status.client_address = client_address;
    fake_add_member(1, "nodeA");
    fake_add_member(2, "nodeB");
    fake.operations_count = 1;
    fake.operations[0] = (struct service_operation){
        .token = 7,
        .request = "add-voter",
        .subject = "nodeD",
        .asked_by = "TCP",
        .state = "running",
        .phase = "catching up",
        .unit = "entries",
        .done = 5,
        .total = 20,
        .milliseconds = 1500,
    };
}

/* ---- the bus ---- */

static void write_configuration(const char *path, const char *directory, const char *policy) {
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    fprintf(file,
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN\" "
            "\"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"
            "<busconfig><type>session</type><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth>"
            "<policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>"
            "<allow send_destination=\"*\"/><allow receive_sender=\"*\"/>%s</policy>"
            "<limit name=\"max_replies_per_connection\">10000</limit>"
            "<limit name=\"max_incoming_bytes\">1000000000</limit>"
            "<limit name=\"max_outgoing_bytes\">1000000000</limit>"
            "<limit name=\"max_message_size\">100000000</limit></busconfig>\n",
            directory, policy);
    assert_int_equal(fclose(file), 0);
}

struct fixture *fixture_start_daemon(const char *policy) {
    struct fixture *f = xcalloc(1, sizeof *f);
    char path[128], option[160];
    struct pollfd pollfd;
    int pipes[2];
    ssize_t n;

    fake_reset();
    strcpy(f->directory, "/tmp/raftkv-bus-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    /* A client of another user connects here, too. */
    assert_int_equal(chmod(f->directory, 0755), 0);
    snprintf(path, sizeof path, "%s/bus.conf", f->directory);
    snprintf(option, sizeof option, "--config-file=%s", path);
    write_configuration(path, f->directory, policy);
    assert_int_equal(pipe(pipes), 0);
    f->daemon = fork();
    assert_true(f->daemon >= 0);
    if (f->daemon == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(pipes[1], STDOUT_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        execlp("dbus-daemon", "dbus-daemon", option, "--print-address", "--nofork", "--nosyslog",
               "--nopidfile", (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    pollfd = (struct pollfd){.fd = pipes[0], .events = POLLIN};
    assert_int_equal(poll(&pollfd, 1, 120 * 1000), 1);
    n = read(pipes[0], f->address, sizeof f->address - 1);
    assert_true(n > 0);
    f->address[strcspn(f->address, "\n")] = 0;
    close(pipes[0]);
    return f;
}

void kill_daemon(struct fixture *f) {
    assert_int_equal(kill(f->daemon, SIGKILL), 0);
    assert_int_equal(waitpid(f->daemon, NULL, 0), f->daemon);
    f->daemon = 0;
}

sd_bus *connect_client(struct fixture *f) {
    sd_bus *client = NULL;

    assert_true(sd_bus_new(&client) >= 0);
    assert_true(sd_bus_set_address(client, f->address) >= 0);
    assert_true(sd_bus_set_bus_client(client, true) >= 0);
    assert_true(sd_bus_start(client) >= 0);
    return client;
}

void fixture_open(struct fixture *f) {
    fixture_open_on(f, f->address);
}

void fixture_open_on(struct fixture *f, const char *bus) {
    const struct bus_options options = {.address = bus, .name = "nodeA"};
    struct failure failure;
    int r = bus_open(&f->bus, &options, &failure);

    if (r != 0)
        fail_msg("%s", failure.message);
    f->client = connect_client(f);
}

int fixture_setup(void **state) {
    struct fixture *f = fixture_start_daemon("");

    fixture_open(f);
    *state = f;
    return 0;
}

int fixture_teardown(void **state) {
    struct fixture *f = *state;
    char path[128];

    sd_bus_close(f->client);
    sd_bus_unref(f->client);
    bus_close(f->bus);
    if (f->daemon > 0)
        kill_daemon(f);
    if (fake.last)
        raftkv__v1__request__free_unpacked(fake.last, NULL);
    assert_int_equal(fake.held_count, 0);
    snprintf(path, sizeof path, "%s/bus.conf", f->directory);
    unlink(path);
    snprintf(path, sizeof path, "%s/bus", f->directory);
    unlink(path);
    assert_int_equal(rmdir(f->directory), 0);
    free(f);
    return 0;
}

/* ---- running ---- */

static uint64_t now_us(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Processes all there is of a client; returns when it wants to go on. */
static uint64_t process_client(sd_bus *client) {
    uint64_t deadline = UINT64_MAX;
    int r;

    do
        r = sd_bus_process(client, NULL);
    while (r > 0);
    assert_true(r == 0);
    assert_true(sd_bus_get_timeout(client, &deadline) >= 0);
    return deadline;
}

static struct pollfd pollfd_of(sd_bus *client) {
    return (struct pollfd){.fd = sd_bus_get_fd(client), .events = (short)sd_bus_get_events(client)};
}

void run_until(struct fixture *f, sd_bus *other, bool (*done)(void *data), void *data) {
    uint64_t end = now_us() + 90 * 1000000;

    for (;;) {
        uint64_t deadline = process_client(f->client);
        uint64_t other_deadline = other ? process_client(other) : UINT64_MAX;
        uint64_t now = now_us();
        struct pollfd pollfds[3];
        struct failure failure;

        if (bus_process(f->bus, &failure) != 0)
            fail_msg("%s", failure.message);
        if (done(data))
            return;
        if (now > end)
            fail_msg("it did not happen within 90 s");
        if (other_deadline < deadline)
            deadline = other_deadline;
        if (bus_deadline(f->bus) < deadline)
            deadline = bus_deadline(f->bus);
        pollfds[0] = (struct pollfd){.fd = bus_fd(f->bus), .events = (short)bus_events(f->bus)};
        pollfds[1] = pollfd_of(f->client);
        if (other)
            pollfds[2] = pollfd_of(other);
        /* A condition may also come from a process that ends, so don't wait long. */
        poll(pollfds, other ? 3 : 2,
             deadline <= now               ? 0
             : deadline - now > 20 * 1000u ? 20
                                           : (int)((deadline - now) / 1000) + 1);
    }
}

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
    sd_bus_message **ret = userdata;

    (void)error;
    *ret = sd_bus_message_ref(reply);
    return 0;
}

static bool have_reply(void *data) {
    return *(sd_bus_message **)data != NULL;
}

sd_bus_message *new_call(sd_bus *client, const char *interface, const char *member) {
    sd_bus_message *message = NULL;

    assert_true(sd_bus_message_new_method_call(client, &message, DESTINATION, OBJECT, interface,
                                               member) >= 0);
    return message;
}

sd_bus_message *call_message(struct fixture *f, sd_bus *client, sd_bus_message *message) {
    sd_bus_message *reply = NULL;

    assert_true(sd_bus_call_async(client, NULL, message, on_reply, &reply, 0) >= 0);
    run_until(f, client == f->client ? NULL : client, have_reply, &reply);
    return reply;
}

sd_bus_message *call_from(struct fixture *f, sd_bus *client, const char *interface,
                          const char *member, const char *types, ...) {
    sd_bus *from = client ? client : f->client;
    _cleanup_message_ sd_bus_message *message = new_call(from, interface, member);
    va_list arguments;

    va_start(arguments, types);
    assert_true(sd_bus_message_appendv(message, types, arguments) >= 0);
    va_end(arguments);
    return call_message(f, from, message);
}

void assert_error(sd_bus_message *reply, const char *name, const char *text) {
    const sd_bus_error *error = sd_bus_message_get_error(reply);

    assert_non_null(error);
    assert_string_equal(error->name, name);
    if (!strstr(error->message, text))
        fail_msg("'%s' does not say '%s'", error->message, text);
}

void assert_success(sd_bus_message *reply) {
    const sd_bus_error *error = sd_bus_message_get_error(reply);

    if (error)
        fail_msg("%s: %s", error->name, error->message);
}
