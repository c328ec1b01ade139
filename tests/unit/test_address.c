/* Network addresses as text: which of them mean every address, or this machine only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/address.h"

static void a_wildcard_is_known_in_every_spelling(void **state) {
    static const char *const wildcards[] = {
        "0.0.0.0:1",
        "[::]:1",
        ":1",
        "0:1",
        "0.0:1",
        "0x0:1",
        "[::0]:1",
        "[0:0::]:1",
        "[0:0:0:0:0:0:0:0]:1",
        "[::ffff:0.0.0.0]:1",
    };
    static const char *const others[] = {
        "127.0.0.1:1", "[::1]:1", "0.example.org:1", "10.0.0.0:1", "localhost:1", "0", "[::",
    };

    (void)state;
    for (size_t i = 0; i < sizeof wildcards / sizeof wildcards[0]; i++)
        assert_true(address_is_wildcard(wildcards[i]));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(address_is_wildcard(others[i]));
}

static void loopback_is_known_in_every_spelling_and_not_by_its_beginning(void **state) {
    static const char *const loopbacks[] = {
        "127.0.0.1:1",          "127.1:1",     "127.255.3.4:1", "[::1]:1", "[0::1]:1",
        "[::ffff:127.0.0.1]:1", "localhost:1",
    };
    static const char *const others[] = {
        "127.example.org:1", "0.0.0.0:1", "[::]:1", ":1", "128.0.0.1:1", "[fe80::1]:1", "host:1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof loopbacks / sizeof loopbacks[0]; i++)
        assert_true(address_is_loopback(loopbacks[i]));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(address_is_loopback(others[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wildcard_is_known_in_every_spelling),
        cmocka_unit_test(loopback_is_known_in_every_spelling_and_not_by_its_beginning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
