/* The command line of raftkvctl: options, then a command with its own options and arguments. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_id {
    OPTION_ENDPOINTS,
    OPTION_BUS,
    OPTION_NODE,
    OPTION_OUTPUT,
    OPTION_TIMEOUT,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_FILE,
    OPTION_RAW,
    OPTION_STALE,
    OPTION_FROM,
    OPTION_LIMIT,
    OPTION_KEYS_ONLY,
    OPTION_EXPECTED_INDEX,
    OPTION_FORCE,
    OPTION_PENDING,
    OPTION_NONVOTER,
    OPTION_COUNT
};

/* In a set of options, each is the bit of its number. These can stand before and after a command.
 */
#define OPTION_BIT(id) (1u << (id))
#define OPTIONS_GLOBAL (OPTION_BIT(OPTION_FILE) - 1)

struct session;
struct arguments;

/* One command; the table of all drives parsing and help. */
struct command {
    const char *name;
    const char *arguments; /* as help shows them */
    const char *summary;   /* for the list of commands */
    const char *details;   /* sentences for its own help */
    unsigned options;      /* its own, as a set */
    int arguments_min, arguments_max;
    /* Returns the exit status. NULL: help, which needs no node. */
    int (*run)(struct session *session, const struct arguments *arguments);
};

struct arguments {
    const struct command *command; /* NULL with help or version of the whole */
    bool help, version;
    char **endpoints; /* at least one; what to free is in endpoints_text */
    size_t endpoints_count;
    char *endpoints_text;
    const char *bus, *node;
    bool json;
    uint32_t timeout_ms;
    const char *file;
    bool raw, stale, keys_only, force, pending, nonvoter;
    const char *from;
    uint64_t limit;          /* of a list; 0: none */
    uint64_t expected_index; /* 0: any */
    char **positional;       /* of the command, in argv */
    int positional_count;
};

/*
 * Reads argv, whose elements may be reordered, and the variable RAFTKV_ENDPOINTS. Returns 0, or
 * -EINVAL for wrong usage, after saying on standard error what is wrong.
 */
int arguments_parse(struct arguments *arguments, int argc, char **argv,
                    const struct command *commands);
void arguments_deinit(struct arguments *arguments);

/* The help of one command, or with NULL that of raftkvctl. */
void help_print(FILE *file, const struct command *commands, const struct command *command);
/* NULL: there is none of this name. The table ends with a NULL name. */
const struct command *command_find(const struct command *commands, const char *name);
