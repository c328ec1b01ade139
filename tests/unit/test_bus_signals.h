/* What the bus room announces, as a client hears it. */
#pragma once

#include "test_bus_fixture.h"

#define MANAGER "org.freedesktop.DBus.ObjectManager"
#define PROPERTIES "org.freedesktop.DBus.Properties"

enum { SIGNALS_MAX = 4096 };

struct heard {
    const char *interface; /* of the objects that are listened to */
    size_t count;
    struct {
        char member[32];
        char path[64];        /* of the object that it is about */
        char properties[128]; /* their names, with a space between two */
    } signals[SIGNALS_MAX];
};
extern struct heard heard;

/* From here on `heard` gathers what is announced of the objects with this interface. */
void listen_to_signals(struct fixture *f, const char *interface);
/* Runs until so many were heard in all. */
void wait_for_signals(struct fixture *f, size_t count);
void assert_heard(size_t number, const char *member, const char *path, const char *properties);
/*
 * flip() changes an announced property of one object each time, last() another one whose name is
 * `property`. All flips of more than a second are announced ten times a second at most, and the
 * last word is said.
 */
void assert_announced_ten_times_a_second_at_most(struct fixture *f, void (*flip)(void),
                                                 void (*last)(void), const char *property);

/* Calls a method of an object without arguments, or with these two strings. */
sd_bus_message *call_at(struct fixture *f, const char *path, const char *interface,
                        const char *member, const char *first, const char *second);
/* What a property must be. */
void assert_text_property(struct fixture *f, const char *path, const char *interface,
                          const char *property, const char *value);
void assert_number_property(struct fixture *f, const char *path, const char *interface,
                            const char *property, uint64_t value);
void assert_flag_property(struct fixture *f, const char *path, const char *interface,
                          const char *property, bool value);
void assert_pair_property(struct fixture *f, const char *path, const char *interface,
                          const char *property, uint64_t first, uint64_t second);
