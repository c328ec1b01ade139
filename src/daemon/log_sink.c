#include "daemon/log_sink.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

/* The place of the call would always be the sink itself. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "base/journal.h"

enum { FIELDS_MAX = 32, OWN_FIELDS = 4 };

/* See systemd.exec(5), $JOURNAL_STREAM. */
static bool stderr_is_journal(void) {
    const char *stream = getenv("JOURNAL_STREAM");
    uintmax_t device, inode;
    struct stat status;

    return stream && sscanf(stream, "%ju:%ju", &device, &inode) == 2 && fstat(2, &status) == 0 &&
           status.st_dev == device && status.st_ino == inode;
}

static struct iovec field(const char *text) {
    return (struct iovec){.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
}

static void sink_journal(void *data, int priority, const char *message, const char *const *fields,
                         size_t count) {
    struct iovec vector[OWN_FIELDS + FIELDS_MAX];
    char text[2304], level[16], node[128];
    size_t n = 0;

    snprintf(text, sizeof text, "MESSAGE=%s", message);
    snprintf(level, sizeof level, "PRIORITY=%d", priority);
    vector[n++] = field(text);
    vector[n++] = field(level);
    vector[n++] = field("SYSLOG_IDENTIFIER=raftkvd");
    if (data) {
        snprintf(node, sizeof node, "RAFTKV_NODE=%s", (const char *)data);
        vector[n++] = field(node);
    }
    for (size_t i = 0; i < count && i < FIELDS_MAX; i++)
        vector[n++] = field(fields[i]);
    sd_journal_sendv(vector, (int)n);
}

/* One line, written at once: the lanes' threads may speak too. */
static void sink_lines(void *data, int priority, const char *message, const char *const *fields,
                       size_t count) {
    static const char *const words[] = {"emergency", "alert",  "critical", "error",
                                        "warning",   "notice", "info",     "debug"};
    struct timespec now;
    struct tm local;
    char date[32];

    (void)data;
    (void)fields;
    (void)count;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &local);
    fprintf(stderr, "%s.%03ld %s: %s\n", date, now.tv_nsec / 1000000, words[priority & 7], message);
}

void log_sink_install(const char *node) {
    bool journal = stderr_is_journal();

    journal_set_sink(journal ? sink_journal : sink_lines, (void *)(uintptr_t)node,
                     journal ? "journal" : "console");
}
