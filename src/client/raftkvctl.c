#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "client/commands.h"
#include "client/options.h"

static int run_help(const struct arguments *arguments) {
    const char *name = arguments->positional_count > 0 ? arguments->positional[0] : NULL;
    const struct command *command = name ? command_find(commands, name) : NULL;

    if (name && !command) {
        fprintf(stderr, "raftkvctl: there is no command \"%s\"; \"raftkvctl help\" lists them.\n",
                name);
        return EXIT_STATUS_USAGE;
    }
    help_print(stdout, commands, command);
    return 0;
}

static int run(const struct arguments *arguments) {
    uint64_t deadline = transport_now() + arguments->timeout_ms;
    struct session session = {
        .arguments = arguments, .output = output_standard(arguments->json), .errors = stderr};
    int status;

    session.output.over_bus = arguments->bus != NULL;
    if (arguments->bus)
        session.transport = transport_bus_new(arguments->bus, arguments->node, deadline);
    else
        session.transport = transport_tcp_new((const char *const *)arguments->endpoints,
                                              arguments->endpoints_count, deadline);
    if (isatty(STDERR_FILENO) == 1) {
        session.progress.file = stderr;
        session.transport->progress = progress_line_show;
        session.transport->progress_data = &session.progress;
    }
    status = arguments->command->run(&session, arguments);
    transport_free(session.transport);
    return status;
}

static int dispatch(const struct arguments *arguments) {
    if (arguments->version) {
        printf("raftkvctl %s\n", raftkv_version);
        return 0;
    }
    if (arguments->help) {
        help_print(stdout, commands, arguments->command);
        return 0;
    }
    if (!arguments->command->run)
        return run_help(arguments);
    return run(arguments);
}

int main(int argc, char **argv) {
    struct arguments arguments;
    int status = EXIT_STATUS_USAGE;

    if (arguments_parse(&arguments, argc, argv, commands) == 0)
        status = dispatch(&arguments);
    arguments_deinit(&arguments);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == 0) {
        fprintf(stderr, "raftkvctl: standard output: %s\n", strerror(errno));
        return EXIT_STATUS_LOCAL;
    }
    return status;
}
