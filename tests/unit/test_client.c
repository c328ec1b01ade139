/* raftkvctl: its command line, what it prints, and its exit status. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/commands.h"
#include "client/options.h"
#include "client/output.h"
#include "client/text.h"

enum { ARGUMENTS_MAX = 16 };

/* Parses words, of which the last is NULL; argv and what it points to outlive the call. */
static int parse(struct arguments *arguments, char **argv, const char *const *words) {
    int argc = 0;

    argv[argc++] = (char *)(uintptr_t) "raftkvctl";
    for (; *words; words++)
        argv[argc++] = (char *)(uintptr_t)*words;
    argv[argc] = NULL;
    return arguments_parse(arguments, argc, argv, commands);
}

#define PARSE(arguments, ...)  \
    char *argv[ARGUMENTS_MAX]; \
    int result = parse(arguments, argv, (const char *const[]){__VA_ARGS__, NULL})

static void assert_refused(const char *const *words) {
    struct arguments arguments;
    char *argv[ARGUMENTS_MAX];

    assert_int_equal(parse(&arguments, argv, words), -EINVAL);
    arguments_deinit(&arguments);
}

#define REFUSED(...) assert_refused((const char *const[]){__VA_ARGS__, NULL})

static void the_default_is_the_local_node(void **state) {
    struct arguments arguments;

    (void)state;
    unsetenv("RAFTKV_ENDPOINTS");
    PARSE(&arguments, "status");
    assert_int_equal(result, 0);
    assert_int_equal(arguments.endpoints_count, 1);
    assert_string_equal(arguments.endpoints[0], "127.0.0.1:4711");
    assert_int_equal(arguments.timeout_ms, 20000);
    arguments_deinit(&arguments);
}

static void endpoints_come_from_the_environment_unless_given(void **state) {
    struct arguments arguments;

    (void)state;
    setenv("RAFTKV_ENDPOINTS", "a:1,[::1]:2", 1);
    {
        PARSE(&arguments, "status");
        assert_int_equal(result, 0);
        assert_int_equal(arguments.endpoints_count, 2);
        assert_string_equal(arguments.endpoints[1], "[::1]:2");
        arguments_deinit(&arguments);
    }
    {
        PARSE(&arguments, "--endpoints=b:3", "status");
        assert_int_equal(result, 0);
        assert_int_equal(arguments.endpoints_count, 1);
        assert_string_equal(arguments.endpoints[0], "b:3");
        arguments_deinit(&arguments);
    }
    unsetenv("RAFTKV_ENDPOINTS");
}

static void options_may_stand_on_both_sides_of_the_command(void **state) {
    struct arguments arguments;

    (void)state;
    PARSE(&arguments, "--output=json", "list", "prefix", "--limit", "7", "--timeout=1.5",
          "--keys-only", "--from=k");
    assert_int_equal(result, 0);
    assert_string_equal(arguments.command->name, "list");
    assert_true(arguments.json);
    assert_true(arguments.keys_only);
    assert_int_equal(arguments.limit, 7);
    assert_int_equal(arguments.timeout_ms, 1500);
    assert_string_equal(arguments.from, "k");
    assert_int_equal(arguments.positional_count, 1);
    assert_string_equal(arguments.positional[0], "prefix");
    arguments_deinit(&arguments);
}

static void arguments_behind_two_dashes_are_no_options(void **state) {
    struct arguments arguments;

    (void)state;
    PARSE(&arguments, "put", "--", "--raw", "-x");
    assert_int_equal(result, 0);
    assert_int_equal(arguments.positional_count, 2);
    assert_string_equal(arguments.positional[0], "--raw");
    assert_string_equal(arguments.positional[1], "-x");
    arguments_deinit(&arguments);
}

static void help_is_shown_for_a_command_without_its_arguments(void **state) {
    struct arguments arguments;

    (void)state;
    PARSE(&arguments, "add-voter", "--help");
    assert_int_equal(result, 0);
    assert_true(arguments.help);
    assert_string_equal(arguments.command->name, "add-voter");
    arguments_deinit(&arguments);
}

static void wrong_usage_is_refused(void **state) {
    (void)state;
    REFUSED(NULL);
    REFUSED("fetch", "x");
    REFUSED("get");
    REFUSED("get", "a", "b");
    REFUSED("status", "a");
    REFUSED("get", "a", "--limit=1");
    REFUSED("--limit=1", "list");
    REFUSED("--endpoints=localhost", "status");
    REFUSED("--endpoints=a:1,", "status");
    REFUSED("--endpoints=a:0", "status");
    REFUSED("--endpoints=::1:4711", "status");
    REFUSED("--output=xml", "status");
    REFUSED("--timeout=0", "status");
    REFUSED("--timeout=nan", "status");
    REFUSED("--timeout=1h", "status");
    REFUSED("--timeout=3601", "status");
    REFUSED("list", "--limit=0");
    REFUSED("list", "--limit=-1");
    REFUSED("list", "--limit=99999999999999999999");
    REFUSED("--bus=system", "status");
    REFUSED("--node=a", "status");
    REFUSED("--bus=system", "--node=1a", "status");
    REFUSED("--bus=system", "--node=a", "--endpoints=a:1", "status");
}

static void every_command_has_help(void **state) {
    (void)state;
    for (const struct command *c = commands; c->name; c++) {
        char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);

        help_print(file, commands, c);
        fclose(file);
        assert_non_null(strstr(text, c->name));
        assert_non_null(strstr(text, c->details));
        free(text);
    }
}

static bool utf8(const char *text, size_t size) {
    return text_is_utf8((const uint8_t *)text, size);
}

static void only_valid_utf8_without_nul_is_text(void **state) {
    (void)state;
    assert_true(utf8("", 0));
    assert_true(utf8("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n", 11));
    assert_false(utf8("a\0b", 3));
    assert_false(utf8("\xff", 1));
    assert_false(utf8("\xc3", 1));     /* cut off */
    assert_false(utf8("\xc0\x80", 2)); /* longer than needed */
    assert_false(utf8("\xe0\x80\xaf", 3));
    assert_false(utf8("\xed\xa0\x80", 3));     /* a surrogate */
    assert_false(utf8("\xf4\x90\x80\x80", 4)); /* above U+10FFFF */
    assert_false(utf8("\xf8\x88\x80\x80\x80", 5));
    assert_false(utf8("\x80", 1));
}

static void assert_escaped(const char *bytes, size_t size, const char *expected) {
    char *text = text_escape((const uint8_t *)bytes, size);

    assert_string_equal(text, expected);
    free(text);
}

static void what_could_steer_a_terminal_is_escaped(void **state) {
    (void)state;
    assert_escaped("plain \xc3\xa4", 8, "plain \xc3\xa4");
    assert_escaped("a\\b\n\r\t", 6, "a\\\\b\\n\\r\\t");
    assert_escaped("\x1b[31m", 5, "\\x1b[31m");
    assert_escaped("\0\x7f\xff", 3, "\\x00\\x7f\\xff");
    assert_escaped("\xc2\x9b", 2, "\\xc2\\x9b");          /* C1 */
    assert_escaped("\xe2\x80\xae", 3, "\\xe2\\x80\\xae"); /* right-to-left override */
    assert_escaped("\xc3", 1, "\\xc3");
}

static void base64_is_padded(void **state) {
    static const char *const expected[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="};

    (void)state;
    for (size_t i = 0; i < 5; i++) { /* RFC 4648, section 10 */
        char *text = text_base64((const uint8_t *)"foobar", i);

        assert_string_equal(text, expected[i]);
        free(text);
    }
}

static char *printed;
static size_t printed_size;

static struct output output_to_memory(bool json) {
    printed = NULL;
    return (struct output){.file = open_memstream(&printed, &printed_size), .json = json};
}

static void assert_printed(struct output *output, const char *expected) {
    fclose(output->file);
    assert_string_equal(printed, expected);
    free(printed);
}

static ProtobufCBinaryData bytes(const char *text, size_t size) {
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = size};
}

static void print_value(const struct output *output, const char *value, size_t size, bool raw) {
    Raftkv__V1__KeyValue item = RAFTKV__V1__KEY_VALUE__INIT;
    Raftkv__V1__GetResponse response = RAFTKV__V1__GET_RESPONSE__INIT;

    item.key = bytes("k", 1);
    item.value = bytes(value, size);
    item.create_revision = 1;
    item.modify_revision = 2;
    item.version = 3;
    response.item = &item;
    response.revision = UINT64_MAX;
    output_get(output, &response, raw);
}

static void get_prints_the_value_alone(void **state) {
    struct output output = output_to_memory(false);

    (void)state;
    print_value(&output, "a\x1b", 2, false);
    print_value(&output, "b", 1, true);
    print_value(&output, "", 0, false);
    assert_printed(&output, "a\x1b\nb\n");
}

static void get_escapes_on_a_terminal_what_is_not_text(void **state) {
    struct output output = output_to_memory(false);

    (void)state;
    output.terminal = true;
    print_value(&output, "a\x1b", 2, false);
    print_value(&output, "two\nlines", 9, false);
    print_value(&output, "\x1b", 1, true);
    assert_printed(&output, "a\\x1b\ntwo\nlines\n\x1b");
}

static void json_gives_text_as_strings_and_other_bytes_as_base64(void **state) {
    struct output output = output_to_memory(true);

    (void)state;
    print_value(&output, "\"x\"", 3, false);
    print_value(&output, "\xff", 1, true);
    assert_printed(&output, "{ \"key\": \"k\", \"value\": \"\\\"x\\\"\", \"create_revision\": 1, "
                            "\"modify_revision\": 2, \"version\": 3, \"revision\": "
                            "18446744073709551615 }\n"
                            "{ \"key\": \"k\", \"value_base64\": \"/w==\", \"create_revision\": 1, "
                            "\"modify_revision\": 2, \"version\": 3, \"revision\": "
                            "18446744073709551615 }\n");
}

static void print_list(const struct output *output) {
    Raftkv__V1__KeyValue first = RAFTKV__V1__KEY_VALUE__INIT, second = first;
    Raftkv__V1__KeyValue *one[] = {&first}, *two[] = {&second};
    Raftkv__V1__ListResponse page = RAFTKV__V1__LIST_RESPONSE__INIT;
    struct output_list list;

    first.key = bytes("a", 1);
    first.value = bytes("\n", 1);
    second.key = bytes("longer", 6);
    second.value = bytes("v", 1);
    output_list_begin(&list, output, false);
    page.items = one;
    page.n_items = 1;
    output_list_page(&list, &page);
    page.items = two;
    output_list_page(&list, &page);
    output_list_end(&list, 9, true);
}

static void a_list_of_several_pages_is_one_output(void **state) {
    struct output output = output_to_memory(true);

    (void)state;
    print_list(&output);
    assert_printed(&output,
                   "{ \"items\": [ { \"key\": \"a\", \"value\": \"\\n\", \"create_revision\": 0, "
                   "\"modify_revision\": 0, \"version\": 0 }, { \"key\": \"longer\", \"value\": "
                   "\"v\", \"create_revision\": 0, \"modify_revision\": 0, \"version\": 0 } ], "
                   "\"revision\": 9, \"more\": true }\n");
    output = output_to_memory(false);
    print_list(&output);
    assert_printed(&output, "KEY  REVISION  VERSION  VALUE\n"
                            "a    0         0        \\n\n"
                            "longer  0         0        v\n");
}

static void an_error_of_a_node_has_its_own_exit_status(void **state) {
    Raftkv__V1__Error error;
    struct output output = output_to_memory(false);

    (void)state;
    raftkv__v1__error__init(&error);
    error.code = RAFTKV__V1__ERROR_CODE__ERROR_CODE_NOT_FOUND;
    error.message = (char *)(uintptr_t) "There is no key \"x\".";
    assert_int_equal(report_error(output.file, &error), 12);
    error.code = RAFTKV__V1__ERROR_CODE__ERROR_CODE_TIMEOUT;
    error.message = (char *)(uintptr_t) "It took\x1b too long.";
    error.outcome_unknown = true;
    assert_int_equal(report_error(output.file, &error), 17);
    assert_printed(&output, "raftkvctl: NotFound: There is no key \"x\".\n"
                            "raftkvctl: Timeout: It took\\x1b too long. The outcome is unknown: it "
                            "may or may not take effect.\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_is_the_local_node),
        cmocka_unit_test(endpoints_come_from_the_environment_unless_given),
        cmocka_unit_test(options_may_stand_on_both_sides_of_the_command),
        cmocka_unit_test(arguments_behind_two_dashes_are_no_options),
        cmocka_unit_test(help_is_shown_for_a_command_without_its_arguments),
        cmocka_unit_test(wrong_usage_is_refused),
        cmocka_unit_test(every_command_has_help),
        cmocka_unit_test(only_valid_utf8_without_nul_is_text),
        cmocka_unit_test(what_could_steer_a_terminal_is_escaped),
        cmocka_unit_test(base64_is_padded),
        cmocka_unit_test(get_prints_the_value_alone),
        cmocka_unit_test(get_escapes_on_a_terminal_what_is_not_text),
        cmocka_unit_test(json_gives_text_as_strings_and_other_bytes_as_base64),
        cmocka_unit_test(a_list_of_several_pages_is_one_output),
        cmocka_unit_test(an_error_of_a_node_has_its_own_exit_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
