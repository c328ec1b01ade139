#include "base/journal.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"

enum { MESSAGE_MAX = 2048, FIELDS_MAX = 32 };

static journal_sink current_sink = journal_sink_stderr;
static void *current_data;
static const char *current_target = "console";
static int current_level = LOG_INFO;

void journal_set_sink(journal_sink sink, void *data, const char *target) {
    current_sink = sink;
    current_data = data;
    current_target = target;
}

const char *journal_target(void) {
    return current_target;
}

void journal_set_level(int priority) {
    current_level = priority;
}

int journal_level(void) {
    return current_level;
}

__attribute__((format(printf, 3, 0))) static void
write_message(int priority, const char *const *fields, const char *format, va_list arguments) {
    char message[MESSAGE_MAX];
    size_t count = 0;

    if (priority > current_level)
        return;
    vsnprintf(message, sizeof message, format, arguments);
    while (fields && count < FIELDS_MAX && fields[count])
        count++;
    current_sink(current_data, priority, message, fields, count);
}

void journal(int priority, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    write_message(priority, NULL, format, arguments);
    va_end(arguments);
}

void journal_with(int priority, const char *const *fields, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    write_message(priority, fields, format, arguments);
    va_end(arguments);
}

void journal_field(struct journal_event *event, const char *format, ...) {
    char *text;
    va_list arguments;

    check(event->count < EVENT_FIELDS_MAX);
    text = event->texts[event->count];
    va_start(arguments, format);
    vsnprintf(text, EVENT_FIELD_SIZE, format, arguments);
    va_end(arguments);
    event->fields[event->count++] = text;
}

void journal_sink_stderr(void *data, int priority, const char *message, const char *const *fields,
                         size_t count) {
    static const char *const words[] = {
        "emergency: ", "alert: ", "critical: ", "error: ", "warning: ", "", "", ""};

    (void)data;
    (void)fields;
    (void)count;
    fprintf(stderr, "%s%s\n", words[priority & 7], message);
}
