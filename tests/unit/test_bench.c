/* What raftkv-bench measures with. */
#include <errno.h>
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/histogram.h"
#include "bench/options.h"
#include "bench/workload.h"

static void quantiles_are_off_by_less_than_one_percent(void **state) {
    (void)state;
    for (uint64_t value = 1; value < UINT64_C(1) << 62; value += 1 + value / 7) {
        struct histogram *histogram = xcalloc(1, sizeof *histogram);
        uint64_t quantile, difference;

        histogram_add(histogram, value);
        histogram_add(histogram, UINT64_MAX); /* or the greatest value itself would limit it */
        quantile = histogram_quantile(histogram, 0.5);
        difference = quantile > value ? quantile - value : value - quantile;
        assert_true(difference * 100 <= value);
        free(histogram);
    }
}

static void quantiles_count_what_is_below_them(void **state) {
    struct histogram *histogram = xcalloc(1, sizeof *histogram);

    (void)state;
    for (uint64_t value = 1; value <= 100; value++)
        histogram_add(histogram, value);
    assert_int_equal(histogram_quantile(histogram, 0), 1);
    assert_int_equal(histogram_quantile(histogram, 0.5), 50);
    assert_int_equal(histogram_quantile(histogram, 0.99), 99);
    assert_int_equal(histogram_quantile(histogram, 1), 100);
    assert_int_equal(histogram->max, 100);
    assert_true(histogram_mean(histogram) == 50.5);
    free(histogram);
}

static void an_empty_histogram_gives_zero(void **state) {
    struct histogram *histogram = xcalloc(1, sizeof *histogram);

    (void)state;
    assert_int_equal(histogram_quantile(histogram, 0.5), 0);
    assert_true(histogram_mean(histogram) == 0);
    free(histogram);
}

static void the_greatest_and_smallest_values_have_a_place(void **state) {
    struct histogram *histogram = xcalloc(1, sizeof *histogram);

    (void)state;
    histogram_add(histogram, 0);
    histogram_add(histogram, UINT64_MAX);
    assert_int_equal(histogram_quantile(histogram, 0.5), 0);
    assert_true(histogram_quantile(histogram, 1) > UINT64_MAX / 100 * 99);
    free(histogram);
}

static void the_same_seed_gives_the_same_work(void **state) {
    struct workload a, b;

    (void)state;
    workload_init(&a, 7, 1000, 64);
    workload_init(&b, 7, 1000, 64);
    for (int i = 0; i < 1000; i++) {
        uint32_t number = workload_choose(&a);
        struct operation x, y;

        assert_in_range(number, 0, 999);
        assert_int_equal(workload_choose(&b), number);
        x = workload_put(&a, number);
        y = workload_put(&b, number);
        assert_memory_equal(x.key, y.key, x.key_size);
        assert_memory_equal(x.value, y.value, x.value_size);
    }
    workload_deinit(&a);
    workload_deinit(&b);
}

static void a_key_is_its_number_with_ten_digits(void **state) {
    struct workload workload;

    (void)state;
    workload_init(&workload, 1, UINT32_MAX, 0);
    assert_memory_equal(workload_get(&workload, 42, false).key, "key-0000000042",
                        WORKLOAD_KEY_SIZE);
    assert_memory_equal(workload_put(&workload, UINT32_MAX).key, "key-4294967295",
                        WORKLOAD_KEY_SIZE);
    workload_deinit(&workload);
}

static int parse(struct bench_options *options, const char *const *words) {
    char *argv[16] = {(char *)(uintptr_t) "bench"};
    int argc = 1, r;

    for (; *words; words++)
        argv[argc++] = (char *)(uintptr_t)*words;
    optind = 0;
    r = bench_options_parse(options, "bench", "127.0.0.1:1", true, argc, argv);
    return r;
}

#define PARSE(options, ...) parse(options, (const char *const[]){__VA_ARGS__, NULL})

static void options_are_read(void **state) {
    struct bench_options options;

    (void)state;
    assert_int_equal(PARSE(&options, "get", "--clients=64", "--seconds=2.5", "--value-size=0",
                           "--consistency=stale", "--output=json", "--keys=10", "--leader",
                           "--endpoints=a:1,[::1]:2"),
                     0);
    assert_true(options.get && options.stale && options.json && options.leader);
    assert_int_equal(options.clients, 64);
    assert_true(options.seconds == 2.5);
    assert_int_equal(options.value_size, 0);
    assert_int_equal(options.keys, 10);
    assert_int_equal(options.endpoints_count, 2);
    bench_options_deinit(&options);
}

static void assert_refused(const char *word) {
    struct bench_options options;

    assert_int_equal(PARSE(&options, "put", word), -EINVAL);
    bench_options_deinit(&options);
}

static void wrong_options_are_refused(void **state) {
    (void)state;
    assert_refused("get");
    assert_refused("--clients=0");
    assert_refused("--clients=65536");
    assert_refused("--seconds=nan");
    assert_refused("--seconds=0");
    assert_refused("--value-size=4194305");
    assert_refused("--keys=4294967296");
    assert_refused("--consistency=none");
    assert_refused("--endpoints=a");
    assert_refused("--colour");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_off_by_less_than_one_percent),
        cmocka_unit_test(quantiles_count_what_is_below_them),
        cmocka_unit_test(an_empty_histogram_gives_zero),
        cmocka_unit_test(the_greatest_and_smallest_values_have_a_place),
        cmocka_unit_test(the_same_seed_gives_the_same_work),
        cmocka_unit_test(a_key_is_its_number_with_ten_digits),
        cmocka_unit_test(options_are_read),
        cmocka_unit_test(wrong_options_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
