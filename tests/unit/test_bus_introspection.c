/*
 * Prints the introspection of a served object, for test_bus_introspection.py; with --wait it serves
 * until its standard input ends, after the address of its bus, to be looked at with busctl.
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

int main(int argc, char **argv) {
    _cleanup_message_ sd_bus_message *reply = NULL;
    void *state = NULL;
    const char *xml;

    fixture_setup(&state);
    if (argc > 1 && strcmp(argv[1], "--wait") == 0) {
        printf("%s\n", ((struct fixture *)state)->address);
        fflush(stdout);
        run_until(state, NULL, input_ended, NULL);
        return fixture_teardown(&state);
    }
    reply = call(state, "org.freedesktop.DBus.Introspectable", "Introspect", "");
    assert_success(reply);
    if (sd_bus_message_read(reply, "s", &xml) <= 0)
        return 1;
    puts(xml);
    return fixture_teardown(&state);
}
