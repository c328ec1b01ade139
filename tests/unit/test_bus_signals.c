#include "test_bus_signals.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct heard heard;

static uint64_t now_us(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- signals ---- */

static void read_names(sd_bus_message *message, char *names, size_t size) {
    const char *name;

    names[0] = 0;
    assert_true(sd_bus_message_enter_container(message, 'a', "{sv}") > 0);
    while (sd_bus_message_enter_container(message, 'e', "sv") > 0) {
        size_t used = strlen(names);

        assert_true(sd_bus_message_read(message, "s", &name) > 0);
        snprintf(names + used, size - used, "%s%s", used > 0 ? " " : "", name);
        assert_true(sd_bus_message_skip(message, "v") > 0);
        assert_true(sd_bus_message_exit_container(message) > 0);
    }
}

/* The interface that an InterfacesAdded (a{sa{sv}}) or InterfacesRemoved (as) begins with. */
static const char *read_first_interface(sd_bus_message *message, bool added) {
    const char *interface;

    if (added) {
        assert_true(sd_bus_message_enter_container(message, 'a', "{sa{sv}}") > 0);
        assert_true(sd_bus_message_enter_container(message, 'e', "sa{sv}") > 0);
    } else {
        assert_true(sd_bus_message_enter_container(message, 'a', "s") > 0);
    }
    assert_true(sd_bus_message_read(message, "s", &interface) > 0);
    return interface;
}

static int on_signal(sd_bus_message *message, void *userdata, sd_bus_error *error) {
    const char *path = sd_bus_message_get_path(message), *interface;
    char names[sizeof heard.signals[0].properties] = "";

    (void)userdata;
    (void)error;
    if (sd_bus_message_is_signal(message, MANAGER, NULL) > 0) {
        assert_true(sd_bus_message_read(message, "o", &path) > 0);
        interface = read_first_interface(
            message, sd_bus_message_is_signal(message, NULL, "InterfacesAdded") > 0);
    } else if (sd_bus_message_is_signal(message, PROPERTIES, "PropertiesChanged") > 0) {
        assert_true(sd_bus_message_read(message, "s", &interface) > 0);
        read_names(message, names, sizeof names);
    } else {
        return 0;
    }
    if (strcmp(interface, heard.interface) != 0)
        return 0;
    assert_true(heard.count < SIGNALS_MAX);
    snprintf(heard.signals[heard.count].member, sizeof heard.signals[0].member, "%s",
             sd_bus_message_get_member(message));
    snprintf(heard.signals[heard.count].path, sizeof heard.signals[0].path, "%s", path);
    snprintf(heard.signals[heard.count].properties, sizeof heard.signals[0].properties, "%s",
             names);
    heard.count++;
    return 0;
}

void listen_to_signals(struct fixture *f, const char *interface) {
    memset(&heard, 0, sizeof heard);
    heard.interface = interface;
    assert_true(sd_bus_add_match(f->client, NULL, "type='signal',path_namespace='/org/raftkv1'",
                                 on_signal, NULL) >= 0);
}

static bool heard_as_many(void *data) {
    return heard.count >= *(size_t *)data;
}

void wait_for_signals(struct fixture *f, size_t count) {
    run_until(f, NULL, heard_as_many, &count);
}

void assert_heard(size_t number, const char *member, const char *path, const char *properties) {
    assert_string_equal(heard.signals[number].member, member);
    assert_string_equal(heard.signals[number].path, path);
    assert_string_equal(heard.signals[number].properties, properties);
}

static bool last_was_heard(void *data) {
    return heard.count > 0 && strstr(heard.signals[heard.count - 1].properties, data);
}

void assert_announced_ten_times_a_second_at_most(struct fixture *f, void (*flip)(void),
                                                 void (*last)(void), const char *property) {
    uint64_t begin = now_us();

    for (size_t flips = 0; flips < 200 || now_us() < begin + 1000000; flips++) {
        flip();
        bus_status_changed(f->bus);
        wait_for_signals(f, 0);
    }
    last();
    bus_status_changed(f->bus);
    run_until(f, NULL, last_was_heard, (char *)(uintptr_t)property);
    assert_true(heard.count >= 3);
    assert_true(heard.count <= (now_us() - begin) / 100000 + 2);
}

/* ---- reading ---- */

sd_bus_message *call_at(struct fixture *f, const char *path, const char *interface,
                        const char *member, const char *first, const char *second) {
    _cleanup_message_ sd_bus_message *message = NULL;

    assert_true(sd_bus_message_new_method_call(f->client, &message, DESTINATION, path, interface,
                                               member) >= 0);
    if (first)
        assert_true(sd_bus_message_append(message, "ss", first, second) >= 0);
    return call_message(f, f->client, message);
}

/* The variant is entered. */
static sd_bus_message *get(struct fixture *f, const char *path, const char *interface,
                           const char *property, const char *type) {
    sd_bus_message *reply = call_at(f, path, PROPERTIES, "Get", interface, property);

    assert_success(reply);
    assert_true(sd_bus_message_enter_container(reply, 'v', type) > 0);
    return reply;
}

void assert_text_property(struct fixture *f, const char *path, const char *interface,
                          const char *property, const char *value) {
    _cleanup_message_ sd_bus_message *reply = get(f, path, interface, property, "s");
    const char *text;

    assert_true(sd_bus_message_read(reply, "s", &text) > 0);
    assert_string_equal(text, value);
}

void assert_number_property(struct fixture *f, const char *path, const char *interface,
                            const char *property, uint64_t value) {
    _cleanup_message_ sd_bus_message *reply = get(f, path, interface, property, "t");
    uint64_t number;

    assert_true(sd_bus_message_read(reply, "t", &number) > 0);
    assert_int_equal(number, value);
}

void assert_flag_property(struct fixture *f, const char *path, const char *interface,
                          const char *property, bool value) {
    _cleanup_message_ sd_bus_message *reply = get(f, path, interface, property, "b");
    int flag;

    assert_true(sd_bus_message_read(reply, "b", &flag) > 0);
    assert_int_equal(flag, value);
}

void assert_pair_property(struct fixture *f, const char *path, const char *interface,
                          const char *property, uint64_t first, uint64_t second) {
    _cleanup_message_ sd_bus_message *reply = get(f, path, interface, property, "(tt)");
    uint64_t numbers[2];

    assert_true(sd_bus_message_read(reply, "(tt)", &numbers[0], &numbers[1]) > 0);
    assert_int_equal(numbers[0], first);
    assert_int_equal(numbers[1], second);
}
