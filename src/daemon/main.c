#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/error.h"
#include "base/journal.h"
#include "base/memory.h"
#include "daemon/arguments.h"
#include "daemon/daemon.h"
#include "daemon/lanes.h"
#include "daemon/log_sink.h"
#include "daemon/options.h"
#include "daemon/tools.h"

/* The fields are those that systemd itself uses for its files. */
static void report(void *data, int priority, const char *file, unsigned line, const char *message) {
    _cleanup_free_ char *file_field = xasprintf("CONFIG_FILE=%s", file);
    _cleanup_free_ char *line_field = line ? xasprintf("CONFIG_LINE=%u", line) : NULL;
    const char *const fields[] = {file_field, line_field, NULL};

    (void)data;
    if (line)
        journal_with(priority, fields, "%s:%u: %s", file, line, message);
    else
        journal_with(priority, fields, "%s: %s", file, message);
}

int main(int argc, char **argv) {
    static struct options options;
    struct arguments arguments;
    _cleanup_free_ char *file = NULL;
    int status;

    daemon_prepare();
    status = arguments_parse(&arguments, argc, argv);
    if (status >= 0)
        return status;
    if (arguments.work == WORK_RUN)
        log_sink_install(arguments.name);
    file = arguments.config ? xstrdup(arguments.config)
                            : xasprintf("/etc/raftkv/%s.conf", arguments.name);
    if (options_load(&options, arguments.name, file, report, NULL) != 0)
        return EX_CONFIG;
    if (arguments.work == WORK_CHECK_CONFIG) {
        printf("%s: the configuration of %s is valid\n", file, options.name);
        return EXIT_SUCCESS;
    }
    if (arguments.work != WORK_RUN)
        return tools_run(&options, &arguments);
    log_sink_install(options.name);
    return daemon_run(&(struct daemon_start){
        .options = &options,
        .file = file,
        .report = report,
        .bus = arguments.bus,
        .bus_required = arguments.bus_required,
    });
}
