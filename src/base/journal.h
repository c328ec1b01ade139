/*
 * What a node tells its administrator. Rooms say what happened with a priority, a sentence and
 * fields; where it goes (the journal with fields, standard error as lines, nowhere in tests) is the
 * sink's business.
 */
#pragma once

#include <stddef.h>
#include <syslog.h>

#include "base/message_ids.h"

/* Fields are "NAME=value" strings as sd_journal_send() takes them; names are upper case, RAFTKV_...
 * for our own. */
typedef void (*journal_sink)(void *data, int priority, const char *message,
                             const char *const *fields, size_t count);

/* Sets the sink for the whole process. Until then: lines on standard error. `target` says where it
 * writes, as org.freedesktop.LogControl1(5) calls it, and is kept. */
void journal_set_sink(journal_sink sink, void *data, const char *target);
const char *journal_target(void);
/* Messages less important than this (LOG_INFO by default) are dropped. */
void journal_set_level(int priority);
int journal_level(void);

/* Says one sentence. */
void journal(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with fields: an array of "NAME=value" strings that ends with NULL. */
void journal_with(int priority, const char *const *fields, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

enum { EVENT_FIELDS_MAX = 10, EVENT_FIELD_SIZE = 192 };

/* The fields of one message, made one by one: JOURNAL_EVENT(MESSAGE_...), see message_ids.h. */
struct journal_event {
    const char *fields[EVENT_FIELDS_MAX + 1]; /* for journal_with() */
    size_t count;
    char texts[EVENT_FIELDS_MAX][EVENT_FIELD_SIZE];
};

#define JOURNAL_EVENT(message_id) \
    { .fields = {message_id}, .count = 1 }
/* Adds a field, such as "RAFTKV_TERM=%llu". What is too long is cut off. */
void journal_field(struct journal_event *event, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The default sink: one line on standard error, with the priority as systemd reads it when that is
 * a pipe ("<6>..."). */
void journal_sink_stderr(void *data, int priority, const char *message, const char *const *fields,
                         size_t count);
