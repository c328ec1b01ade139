/* Which places the calls of a connection, of a user and of all have. */
#include "test_bus_fixture.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/memory.h"
#include "bus/call.h"
#include "bus/connection.h"

/* Connections of this many users, each with many calls. */
enum { USERS = 6, CALLS_MAX = BUS_CALLS_MAX + USERS };

static struct bus bus;
static struct method_call *calls[CALLS_MAX];
static size_t calls_count;

static const struct method usual = {.member = "Put"};
static const struct method operation = {.member = "AddVoter", .kind = METHOD_OPERATION};
static const struct method awaiting = {.member = "Await", .kind = METHOD_AWAIT};

static int setup(void **state) {
    (void)state;
    bus = (struct bus){0};
    senders_init(&bus.senders);
    return 0;
}

static void drop(struct method_call *call) {
    share_leave(call);
    TAILQ_REMOVE(&call->sender->calls, call, entry);
    free(call);
}

static int teardown(void **state) {
    (void)state;
    while (calls_count > 0)
        drop(calls[--calls_count]);
    senders_deinit(&bus.senders);
    assert_true(LIST_EMPTY(&bus.shares.users));
    for (size_t i = 0; i < TAKEN_COUNT; i++) {
        assert_int_equal(bus.shares.all.taken[i], 0);
        assert_int_equal(bus.shares.unknown.taken[i], 0);
    }
    return 0;
}

static struct sender *unknown_sender(unsigned number) {
    char name[16];

    snprintf(name, sizeof name, ":1.%u", number);
    return sender_get(&bus, name);
}

static struct sender *sender_of(uint32_t user, unsigned number) {
    struct sender *sender = unknown_sender(number);

    if (!sender->user_known) {
        sender->user = user;
        sender->user_known = true;
        share_identify(sender);
    }
    return sender;
}

/* NULL: it found no place. */
static struct method_call *enter(struct sender *sender, const struct method *method, size_t bytes,
                                 struct failure *failure) {
    struct method_call *call = xcalloc(1, sizeof *call);

    *call = (struct method_call){.bus = &bus, .sender = sender, .method = method, .bytes = bytes};
    TAILQ_INSERT_TAIL(&sender->calls, call, entry);
    if (share_enter(call, failure) == 0) {
        assert_true(calls_count < CALLS_MAX);
        return calls[calls_count++] = call;
    }
    assert_int_equal(failure->code, ERROR_BUSY);
    drop(call);
    return NULL;
}

/* As many calls as there are places for, each from the next of so many connections. */
static size_t fill(uint32_t user, unsigned senders, const struct method *method, size_t bytes,
                   struct failure *failure) {
    size_t count = 0;

    while (enter(sender_of(user, user * 1000 + (unsigned)count % senders), method, bytes, failure))
        count++;
    return count;
}

static void assert_says(const struct failure *failure, const char *text) {
    if (!strstr(failure->message, text))
        fail_msg("'%s' does not say '%s'", failure->message, text);
}

static void a_user_has_a_share_of_the_calls_however_many_connections_he_makes(void **state) {
    struct failure failure;

    (void)state;
    assert_int_equal(fill(1, 8, &usual, 1, &failure), BUS_USER_CALLS_MAX);
    assert_says(&failure, "Too many calls of one user");
    assert_int_equal(fill(2, 8, &usual, 1, &failure), BUS_USER_CALLS_MAX);
}

static void all_users_together_have_a_limited_number_of_calls(void **state) {
    struct failure failure;

    (void)state;
    for (uint32_t user = 1; user <= BUS_CALLS_MAX / BUS_USER_CALLS_MAX; user++)
        assert_int_equal(fill(user, 8, &usual, 1, &failure), BUS_USER_CALLS_MAX);
    assert_null(enter(sender_of(9, 9000), &usual, 1, &failure));
    assert_says(&failure, "of all users");
}

static void a_user_has_a_share_of_each_kind_of_places(void **state) {
    struct failure failure;

    (void)state;
    assert_int_equal(fill(1, 1, &awaiting, 1, &failure), BUS_USER_OPEN_CALLS_MAX);
    assert_says(&failure, "Too many calls of Await of one user");
    assert_int_equal(fill(1, 1, &operation, 1, &failure), BUS_USER_OPERATIONS_MAX);
    assert_says(&failure, "Too many operations of one user");
    assert_non_null(enter(sender_of(1, 1000), &usual, 1, &failure));
    for (uint32_t user = 2; user <= BUS_OPEN_CALLS_MAX / BUS_USER_OPEN_CALLS_MAX; user++)
        assert_int_equal(fill(user, 1, &awaiting, 1, &failure), BUS_USER_OPEN_CALLS_MAX);
    assert_null(enter(sender_of(9, 9000), &awaiting, 1, &failure));
    assert_says(&failure, "of all users");
}

static void a_user_has_a_share_of_the_bytes(void **state) {
    const size_t size = BUS_USER_BYTES_MAX / 8;
    struct failure failure;

    (void)state;
    assert_int_equal(fill(1, 4, &usual, size, &failure), 8);
    assert_says(&failure, "Too many bytes of arguments of one user");
    assert_non_null(enter(sender_of(2, 2000), &usual, size, &failure));
    /* The service refuses what is too large alone. */
    assert_non_null(enter(sender_of(3, 3000), &usual, 2 * BUS_USER_BYTES_MAX, &failure));
}

static void a_user_has_a_share_of_the_connections_with_calls(void **state) {
    struct failure failure;

    (void)state;
    assert_int_equal(fill(1, BUS_USER_SENDERS_MAX + 1, &usual, 1, &failure), BUS_USER_SENDERS_MAX);
    assert_says(&failure, "Too many connections with calls of one user");
    assert_non_null(enter(sender_of(1, 1000), &usual, 1, &failure));
    assert_non_null(enter(sender_of(2, 2000), &usual, 1, &failure));
}

static void calls_of_who_is_not_known_yet_have_one_share_and_then_the_users(void **state) {
    struct failure failure;
    struct sender *first = unknown_sender(1), *second = unknown_sender(2);

    (void)state;
    for (int i = 0; i < BUS_USER_OPEN_CALLS_MAX; i++)
        assert_non_null(enter(i % 2 ? first : second, &awaiting, 1, &failure));
    assert_null(enter(first, &awaiting, 1, &failure));
    first->user = second->user = 7;
    share_identify(first);
    assert_ptr_not_equal(first->share, second->share);
    assert_non_null(enter(unknown_sender(3), &awaiting, 1, &failure));
    share_identify(second);
    assert_ptr_equal(first->share, second->share);
    assert_null(enter(first, &awaiting, 1, &failure));
    assert_int_equal(bus.shares.unknown.taken[TAKEN_CALLS], 1);
    assert_int_equal(first->share->taken[TAKEN_CALLS], BUS_USER_OPEN_CALLS_MAX);
    assert_int_equal(first->share->taken[TAKEN_SENDERS], 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_user_has_a_share_of_the_calls_however_many_connections_he_makes),
        TEST(all_users_together_have_a_limited_number_of_calls),
        TEST(a_user_has_a_share_of_each_kind_of_places),
        TEST(a_user_has_a_share_of_the_bytes),
        TEST(a_user_has_a_share_of_the_connections_with_calls),
        TEST(calls_of_who_is_not_known_yet_have_one_share_and_then_the_users),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
