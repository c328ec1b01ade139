#include "client/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/limits.h"
#include "base/memory.h"

#define ENDPOINT_DEFAULT "127.0.0.1:4711"

static const struct {
    const char *name;
    const char *argument; /* NULL: it has none */
    const char *help;
} descriptions[OPTION_COUNT] = {
    [OPTION_ENDPOINTS] = {"endpoints", "HOST:PORT,...",
                          "Nodes to ask, in this order ($RAFTKV_ENDPOINTS, or " ENDPOINT_DEFAULT
                          ")"},
    [OPTION_BUS] = {"bus", "BUS", "Ask a local node over D-Bus: system, session or an address"},
    [OPTION_NODE] = {"node", "NAME", "The node to ask over D-Bus"},
    [OPTION_OUTPUT] = {"output", "FORMAT", "table (the default) or json"},
    [OPTION_TIMEOUT] = {"timeout", "SECONDS", "Give up after this time (20)"},
    [OPTION_HELP] = {"help", NULL, "Show this help"},
    [OPTION_VERSION] = {"version", NULL, "Show the version"},
    [OPTION_FILE] = {"file", "PATH", "Read the value from this file"},
    [OPTION_RAW] = {"raw", NULL, "Print the value without a newline, and never escaped"},
    [OPTION_STALE] = {"stale", NULL, "Let the asked node answer from its own, perhaps old, state"},
    [OPTION_FROM] = {"from", "KEY", "Start at this key, or the first one after it"},
    [OPTION_LIMIT] = {"limit", "NUMBER", "Show at most this many"},
    [OPTION_KEYS_ONLY] = {"keys-only", NULL, "Leave the values out"},
    [OPTION_EXPECTED_INDEX] = {"expected-index", "INDEX",
                               "Refuse unless the configuration index (see members) is this one"},
    [OPTION_FORCE] = {"force", NULL, "Do it even if too few of the remaining voters answer now"},
    [OPTION_PENDING] = {"pending", NULL, "Show the nodes that ask to join instead"},
    [OPTION_NONVOTER] = {"nonvoter", NULL, "Add it as a non-voter"},
};

static int wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int wrong(const char *format, ...) {
    va_list list;

    va_start(list, format);
    fputs("raftkvctl: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    return -EINVAL;
}

const struct command *command_find(const struct command *commands, const char *name) {
    for (; commands->name; commands++)
        if (strcmp(commands->name, name) == 0)
            return commands;
    return NULL;
}

static int parse_number(const char *option, const char *text, uint64_t *ret) {
    char *end;
    unsigned long long number;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || number == 0)
        return wrong("--%s takes a whole number from 1, not \"%s\".", option, text);
    *ret = number;
    return 0;
}

static int parse_timeout(const char *text, uint32_t *ret) {
    char *end;
    double seconds = strtod(text, &end);

    /* Written so that NaN, too, is refused. */
    if (end == text || *end || !(seconds >= 0.001 && seconds <= REQUEST_TIMEOUT_MAX_MS / 1000.0))
        return wrong("--timeout takes seconds from 0.001 to %d, not \"%s\".",
                     REQUEST_TIMEOUT_MAX_MS / 1000, text);
    *ret = (uint32_t)(seconds * 1000 + 0.5);
    return 0;
}

static int parse_output(const char *text, bool *ret_json) {
    *ret_json = strcmp(text, "json") == 0;
    if (!*ret_json && strcmp(text, "table") != 0)
        return wrong("--output takes table or json, not \"%s\".", text);
    return 0;
}

static int parse_endpoints(struct arguments *arguments, const char *text) {
    char *rest;

    free(arguments->endpoints);
    free(arguments->endpoints_text);
    arguments->endpoints_text = rest = xstrdup(text);
    arguments->endpoints = xcalloc(strlen(text) + 1, sizeof *arguments->endpoints);
    arguments->endpoints_count = 0;
    while (rest) {
        char *endpoint = strsep(&rest, ",");

        if (!address_valid(endpoint))
            return wrong("\"%s\" in the endpoints is not HOST:PORT.", endpoint);
        arguments->endpoints[arguments->endpoints_count++] = endpoint;
    }
    return 0;
}

static int take_option(struct arguments *arguments, enum option_id id, const char *value) {
    switch (id) {
    case OPTION_ENDPOINTS:
        return parse_endpoints(arguments, value);
    case OPTION_BUS:
        arguments->bus = value;
        return 0;
    case OPTION_NODE:
        arguments->node = value;
        return 0;
    case OPTION_OUTPUT:
        return parse_output(value, &arguments->json);
    case OPTION_TIMEOUT:
        return parse_timeout(value, &arguments->timeout_ms);
    case OPTION_HELP:
        arguments->help = true;
        return 0;
    case OPTION_VERSION:
        arguments->version = true;
        return 0;
    case OPTION_FILE:
        arguments->file = value;
        return 0;
    case OPTION_RAW:
        arguments->raw = true;
        return 0;
    case OPTION_STALE:
        arguments->stale = true;
        return 0;
    case OPTION_FROM:
        arguments->from = value;
        return 0;
    case OPTION_LIMIT:
        return parse_number("limit", value, &arguments->limit);
    case OPTION_KEYS_ONLY:
        arguments->keys_only = true;
        return 0;
    case OPTION_EXPECTED_INDEX:
        return parse_number("expected-index", value, &arguments->expected_index);
    case OPTION_FORCE:
        arguments->force = true;
        return 0;
    case OPTION_PENDING:
        arguments->pending = true;
        return 0;
    case OPTION_NONVOTER:
        arguments->nonvoter = true;
        return 0;
    default:
        return -EINVAL; /* unknown: getopt has said so */
    }
}

/*
 * Reads the options of this set from argv[1] on; getopt names argv[0] in what it complains about.
 * Returns the index of the first argument behind them, or -EINVAL.
 */
static int parse_options(struct arguments *arguments, int argc, char **argv, unsigned set,
                         bool stop_at_argument) {
    struct option options[OPTION_COUNT + 1] = {0};
    size_t count = 0;
    int c;

    for (int id = 0; id < OPTION_COUNT; id++)
        if (set & OPTION_BIT(id))
            options[count++] = (struct option){
                .name = descriptions[id].name,
                .has_arg = descriptions[id].argument ? required_argument : no_argument,
                .val = 256 + id,
            };
    optind = 0; /* glibc: start afresh */
    while ((c = getopt_long(argc, argv, stop_at_argument ? "+h" : "h", options, NULL)) != -1) {
        enum option_id id = c == 'h'   ? OPTION_HELP
                            : c >= 256 ? (enum option_id)(c - 256)
                                       : OPTION_COUNT;

        if (take_option(arguments, id, optarg) < 0)
            return -EINVAL;
    }
    return optind;
}

static int check_positional(const struct arguments *arguments) {
    const struct command *command = arguments->command;

    if (arguments->positional_count >= command->arguments_min &&
        arguments->positional_count <= command->arguments_max)
        return 0;
    return wrong("Usage: raftkvctl %s%s%s", command->name, *command->arguments ? " " : "",
                 command->arguments);
}

static int check_transport(struct arguments *arguments) {
    const char *variable = getenv("RAFTKV_ENDPOINTS");

    if (arguments->bus && !arguments->node)
        return wrong("--bus needs --node=NAME.");
    if (arguments->node && !arguments->bus)
        return wrong("--node goes with --bus.");
    if (arguments->node && !member_name_valid(arguments->node))
        return wrong("\"%s\" is no name of a node: letters, digits and _, at most %d, the first "
                     "one not a digit.",
                     arguments->node, MEMBER_NAME_MAX);
    if (arguments->bus && arguments->endpoints)
        return wrong("--bus and --endpoints exclude each other.");
    if (arguments->bus || arguments->endpoints)
        return 0;
    return parse_endpoints(arguments, variable && *variable ? variable : ENDPOINT_DEFAULT);
}

int arguments_parse(struct arguments *arguments, int argc, char **argv,
                    const struct command *commands) {
    int at;

    *arguments = (struct arguments){.timeout_ms = REQUEST_TIMEOUT_DEFAULT_MS};
    argv[0] = program_invocation_short_name; /* as getopt says it */
    at = parse_options(arguments, argc, argv, OPTIONS_GLOBAL, true);
    if (at < 0)
        return at;
    if (arguments->help || arguments->version)
        return 0;
    if (at == argc)
        return wrong("a command is missing; \"raftkvctl help\" lists them.");
    arguments->command = command_find(commands, argv[at]);
    if (!arguments->command)
        return wrong("there is no command \"%s\"; \"raftkvctl help\" lists them.", argv[at]);

    argc -= at;
    argv += at;
    argv[0] = program_invocation_short_name;
    at = parse_options(arguments, argc, argv, OPTIONS_GLOBAL | arguments->command->options, false);
    if (at < 0)
        return at;
    if (arguments->help || arguments->version)
        return 0;
    arguments->positional = argv + at;
    arguments->positional_count = argc - at;
    if (check_positional(arguments) < 0)
        return -EINVAL;
    return check_transport(arguments);
}

void arguments_deinit(struct arguments *arguments) {
    free(arguments->endpoints);
    free(arguments->endpoints_text);
    *arguments = (struct arguments){0};
}

static void print_options(FILE *file, unsigned set) {
    for (int id = 0; id < OPTION_COUNT; id++) {
        char left[64];

        if (!(set & OPTION_BIT(id)))
            continue;
        snprintf(left, sizeof left, "--%s%s%s", descriptions[id].name,
                 descriptions[id].argument ? "=" : "",
                 descriptions[id].argument ? descriptions[id].argument : "");
        fprintf(file, "  %-26s%s\n", left, descriptions[id].help);
    }
}

static void print_commands(FILE *file, const struct command *commands) {
    for (; commands->name; commands++) {
        _cleanup_free_ char *left = xasprintf("%s%s%s", commands->name,
                                              *commands->arguments ? " " : "", commands->arguments);

        fprintf(file, "  %-34s%s\n", left, commands->summary);
    }
}

void help_print(FILE *file, const struct command *commands, const struct command *command) {
    if (command) {
        fprintf(file, "Usage: raftkvctl [OPTION...] %s%s%s\n\n%s\n", command->name,
                *command->arguments ? " " : "", command->arguments, command->details);
        if (command->options) {
            fputs("\nOptions:\n", file);
            print_options(file, command->options);
        }
        if (command->run)
            fputs("\n\"raftkvctl --help\" shows the options of all commands.\n", file);
        return;
    }
    fputs("Usage: raftkvctl [OPTION...] COMMAND [ARGUMENT...]\n\n"
          "Reads, writes and administers a raftkv cluster.\n\nCommands:\n",
          file);
    print_commands(file, commands);
    fputs("\nOptions:\n", file);
    print_options(file, OPTIONS_GLOBAL);
    fputs("\nExit status: 0 done; 1 no node could be reached, or another local failure; 2 wrong "
          "usage;\n10 and the number of the error that the node gave (12: NotFound, 15: NoLeader, "
          "17: Timeout ...).\n\"raftkvctl COMMAND --help\" says more of a command.\n",
          file);
}
