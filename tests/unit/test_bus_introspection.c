/*
 * Prints the introspection of the served objects, each in a line that a NUL ends, for
 * test_bus_introspection.py; with --wait it serves until its standard input ends, after the address
 * of its bus, to be looked at with busctl.
 */
#include "test_bus_fixture.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool input_ended(void *data) {
    struct pollfd pollfd = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;

    (void)data;
    return poll(&pollfd, 1, 0) == 1 && read(STDIN_FILENO, &byte, 1) <= 0;
}

static void print_introspection(struct fixture *f, const char *path) {
    _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
    const char *xml;

    assert_true(sd_bus_message_new_method_call(f->client, &message, DESTINATION, path,
                                               "org.freedesktop.DBus.Introspectable",
                                               "Introspect") >= 0);
    reply = call_message(f, f->client, message);
    assert_success(reply);
    assert_true(sd_bus_message_read(reply, "s", &xml) > 0);
    fputs(xml, stdout);
    putchar(0);
}

int main(int argc, char **argv) {
    void *state = NULL;

    fixture_setup(&state);
    if (argc > 1 && strcmp(argv[1], "--wait") == 0) {
        printf("%s\n", ((struct fixture *)state)->address);
        fflush(stdout);
        run_until(state, NULL, input_ended, NULL);
        return fixture_teardown(&state);
    }
    print_introspection(state, OBJECT);
    print_introspection(state, OBJECT "/member/nodeB");
    print_introspection(state, OBJECT "/operation/7");
    return fixture_teardown(&state);
}
