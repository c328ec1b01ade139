/* What a start asks of systemd while it takes long, heard at the other end of its socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/start_timeout.h"

enum { INTERVAL_MS = 20, PATIENCE_MS = 30 * 1000 };

struct manager {
    char directory[64], path[96];
    int socket;
};

static int setup(void **state) {
    static struct manager manager;
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    strcpy(manager.directory, "/tmp/raftkv-test-start-XXXXXX");
    assert_non_null(mkdtemp(manager.directory));
    snprintf(manager.path, sizeof manager.path, "%s/notify", manager.directory);
    strcpy(address.sun_path, manager.path);
    manager.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(manager.socket >= 0);
    assert_int_equal(bind(manager.socket, (struct sockaddr *)&address, sizeof address), 0);
    setenv("NOTIFY_SOCKET", manager.path, 1);
    *state = &manager;
    return 0;
}

static int teardown(void **state) {
    struct manager *manager = *state;

    unsetenv("NOTIFY_SOCKET");
    close(manager->socket);
    unlink(manager->path);
    rmdir(manager->directory);
    return 0;
}

/* Whether a message comes within the time; it can only be a request for more time. */
static bool hears(const struct manager *manager, int milliseconds) {
    struct pollfd waiting = {.fd = manager->socket, .events = POLLIN};
    char text[256] = "";

    if (poll(&waiting, 1, milliseconds) == 0)
        return false;
    assert_true(recv(manager->socket, text, sizeof text - 1, 0) > 0);
    assert_memory_equal(text, "EXTEND_TIMEOUT_USEC=", strlen("EXTEND_TIMEOUT_USEC="));
    return true;
}

static void a_start_that_gets_on_asks_again_and_again(void **state) {
    const struct manager *manager = *state;
    uint64_t end = uv_hrtime() + PATIENCE_MS * UINT64_C(1000000);
    struct start_timeout timeout;
    int heard = 0;

    start_timeout_begin(&timeout, INTERVAL_MS);
    while (heard < 4 && uv_hrtime() < end) /* without waiting: this uses the processor */
        heard += hears(manager, 0);
    start_timeout_end(&timeout);
    assert_int_equal(heard, 4);
}

static void a_start_that_hangs_asks_no_more(void **state) {
    const struct manager *manager = *state;
    struct start_timeout timeout;
    int heard = 0;

    start_timeout_begin(&timeout, INTERVAL_MS);
    poll(NULL, 0, 20 * INTERVAL_MS); /* as a disk that does not answer */
    while (hears(manager, 0))
        heard++;
    start_timeout_end(&timeout);
    /* In the beginning, and for what was used until the hang; else it would be asked 20 times. */
    assert_in_range(heard, 1, 10);
}

static void nothing_is_asked_for_when_the_start_is_over(void **state) {
    const struct manager *manager = *state;
    struct start_timeout timeout;

    start_timeout_begin(&timeout, 60 * 1000);
    start_timeout_end(&timeout);
    assert_true(hears(manager, PATIENCE_MS));
    assert_false(hears(manager, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_start_that_gets_on_asks_again_and_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_start_that_hangs_asks_no_more, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_asked_for_when_the_start_is_over, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
