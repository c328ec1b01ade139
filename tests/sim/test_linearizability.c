#include "linearizability.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define WRITE(v, from, to) \
    { true, v, from, to }
#define READ(v, from, to) \
    { false, v, from, to }
#define CHECK(...)                                                 \
    ({                                                             \
        struct operation history[] = {__VA_ARGS__};                \
        linearizable(history, sizeof history / sizeof history[0]); \
    })

static void an_empty_history_is_linearizable(void **state) {
    (void)state;
    assert_true(linearizable(NULL, 0));
}

static void a_read_sees_the_last_write(void **state) {
    (void)state;
    assert_true(CHECK(WRITE(1, 1, 2), READ(1, 3, 4), WRITE(2, 5, 6), READ(2, 7, 8)));
    assert_false(CHECK(WRITE(1, 1, 2), WRITE(2, 3, 4), READ(1, 5, 6)));
    assert_false(CHECK(WRITE(1, 1, 2), READ(0, 3, 4)));
    assert_false(CHECK(READ(1, 1, 2), WRITE(1, 3, 4)));
}

static void a_read_during_a_write_may_see_it_or_not(void **state) {
    (void)state;
    assert_true(CHECK(WRITE(1, 1, 10), READ(0, 2, 3), READ(1, 4, 5)));
    assert_false(CHECK(WRITE(1, 1, 10), READ(1, 2, 3), READ(0, 4, 5)));
    assert_true(CHECK(WRITE(1, 1, 10), READ(1, 2, 5), READ(0, 4, 6)));
}

static void a_deleted_key_is_missing(void **state) {
    (void)state;
    assert_true(CHECK(WRITE(1, 1, 2), WRITE(0, 3, 4), READ(0, 5, 6)));
    assert_false(CHECK(WRITE(1, 1, 2), WRITE(0, 3, 4), READ(1, 5, 6)));
}

static void an_unknown_write_may_take_effect_at_any_time_or_never(void **state) {
    (void)state;
    assert_true(CHECK(WRITE(1, 1, 2), WRITE(2, 3, NEVER), READ(1, 5, 6)));
    assert_true(CHECK(WRITE(1, 1, 2), WRITE(2, 3, NEVER), READ(1, 5, 6), READ(2, 7, 8)));
    assert_false(
        CHECK(WRITE(1, 1, 2), WRITE(2, 3, NEVER), READ(2, 5, 6), READ(1, 7, 8), READ(2, 9, 10)));
    assert_false(CHECK(READ(2, 1, 2), WRITE(2, 3, NEVER)));
}

static void readers_agree_on_the_order_of_concurrent_writes(void **state) {
    (void)state;
    assert_true(CHECK(WRITE(1, 1, 10), WRITE(2, 1, 10), READ(1, 11, 12), READ(1, 13, 14)));
    assert_false(CHECK(WRITE(1, 1, 10), WRITE(2, 1, 10), READ(1, 11, 12), READ(2, 13, 14)));
    assert_true(CHECK(WRITE(1, 1, 10), WRITE(2, 1, 10), READ(1, 3, 4), READ(2, 5, 6)));
    assert_false(
        CHECK(WRITE(1, 1, 10), WRITE(2, 1, 10), READ(1, 2, 3), READ(2, 4, 5), READ(1, 6, 7)));
}

/* As fast as the histories of the simulator are long: many clients, and unknown outcomes. */
static void long_histories_are_judged(void **state) {
    enum { COUNT = 800, WIDTH = 8 };
    static struct operation history[COUNT];
    uint64_t value = 0;

    (void)state;
    for (int broken = 0; broken < 2; broken++) {
        value = 0;
        for (uint64_t i = 0; i < COUNT; i++) {
            bool write = i % 3 == 0;

            if (write)
                value = i + 1;
            history[i] = (struct operation){write, value, 10 * i, 10 * i + 10 * WIDTH};
            if (write && i % 30 == 0)
                history[i].ended = NEVER;
        }
        if (broken)
            history[COUNT - 100].value = 1;
        assert_int_equal(linearizable(history, COUNT), !broken);
    }
}

/* Each of them may have taken effect or not, in any order: seed 2572 had so many that the search
 * took all memory. */
static void many_unknown_deletes_are_judged(void **state) {
    enum { DELETES = 60, ROUNDS = 20, COUNT = DELETES + 3 * ROUNDS };
    struct operation many[COUNT];

    (void)state;
    for (int broken = 0; broken < 2; broken++) {
        struct operation *next = many;

        for (uint64_t i = 0; i < DELETES; i++)
            *next++ = (struct operation){true, 0, i + 1, NEVER};
        for (uint64_t i = 0; i < ROUNDS; i++) {
            uint64_t begun = 100 + 10 * i;

            *next++ = (struct operation){true, i + 1, begun, begun + 1};
            *next++ = (struct operation){false, i + 1, begun + 2, begun + 3};
            *next++ = (struct operation){false, 0, begun + 4, begun + 5};
        }
        if (broken) /* what a delete has taken is seen again */
            next[-1].value = ROUNDS - 1;
        assert_int_equal(linearizable(many, COUNT), !broken);
    }
    assert_true(CHECK(WRITE(0, 1, NEVER), WRITE(1, 2, 3), READ(1, 4, 5), READ(0, 6, 7)));
    assert_false(CHECK(WRITE(1, 2, 3), READ(0, 4, 5), WRITE(0, 6, NEVER)));
    assert_false(CHECK(WRITE(0, 1, NEVER), WRITE(1, 2, 3), READ(0, 4, 5), READ(1, 6, 7)));
    assert_false(
        CHECK(WRITE(0, 1, NEVER), WRITE(1, 2, 3), READ(0, 4, 5), WRITE(2, 6, 7), READ(0, 8, 9)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_history_is_linearizable),
        cmocka_unit_test(a_read_sees_the_last_write),
        cmocka_unit_test(a_read_during_a_write_may_see_it_or_not),
        cmocka_unit_test(a_deleted_key_is_missing),
        cmocka_unit_test(an_unknown_write_may_take_effect_at_any_time_or_never),
        cmocka_unit_test(readers_agree_on_the_order_of_concurrent_writes),
        cmocka_unit_test(long_histories_are_judged),
        cmocka_unit_test(many_unknown_deletes_are_judged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
