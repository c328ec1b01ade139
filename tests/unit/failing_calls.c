#include "failing_calls.h"

#include <db.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "system_calls.h"

static struct {
    enum failing_kind kind;
    int error;
    unsigned long countdown; /* 0: it is over */
    const char **ret_failed;
    /* The file of the system call that has failed. */
    char failed_path[256];
    int failed_fd;
} failing = {.failed_fd = -1};

int failing_call(enum failing_kind kind, const char *name) {
    if (failing.countdown == 0 || kind != failing.kind || --failing.countdown > 0)
        return 0;
    *failing.ret_failed = name;
    return failing.error;
}

/* ---- system calls ---- */

static bool is_made_again(const struct system_call *call) {
    if (system_call_syncs(call))
        return false;
    if (call->path)
        return strcmp(call->path, failing.failed_path) == 0;
    return call->fd == failing.failed_fd;
}

static void note_failed(const struct system_call *call) {
    snprintf(failing.failed_path, sizeof failing.failed_path, "%s", call->path ? call->path : "");
    failing.failed_fd = call->path ? -1 : call->fd;
}

static int answer(const struct system_call *call) {
    int otherwise = system_call_syncs(call) ? SYSTEM_CALL_IS_LEFT_OUT : SYSTEM_CALL_IS_MADE;
    int error;

    if (failing.kind != FAILING_SYSTEM ||
        (failing.error == ENOSPC && !system_call_needs_space(call)))
        return otherwise;
    if (is_made_again(call))
        return failing.error;
    failing.failed_path[0] = '\0';
    failing.failed_fd = -1;
    error = failing_call(FAILING_SYSTEM, call->name);
    if (error == 0)
        return otherwise;
    note_failed(call);
    return error;
}

/* Berkeley DB waits for seconds when it finds no space for a file, and between the pages of a
 * checkpoint. */
static int no_wait(unsigned long seconds, unsigned long microseconds) {
    (void)seconds;
    (void)microseconds;
    return 0;
}

void failing_begin(enum failing_kind kind, int error, unsigned long n, const char **ret_failed) {
    failing_end();
    db_env_set_func_yield(no_wait);
    system_call_hook = answer;
    failing.kind = kind;
    failing.error = error;
    failing.ret_failed = ret_failed;
    failing.countdown = n;
}

void failing_end(void) {
    failing.countdown = 0;
    failing.failed_path[0] = '\0';
    failing.failed_fd = -1;
}

/* ---- memory ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
int __real_vasprintf(char **ret, const char *format, va_list arguments);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
int __wrap_vasprintf(char **ret, const char *format, va_list arguments);

static bool finds_no_memory(const char *name) {
    int error = failing_call(FAILING_MEMORY, name);

    if (error != 0)
        errno = error;
    return error != 0;
}

void *__wrap_malloc(size_t size) {
    return finds_no_memory("malloc") ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    return finds_no_memory("calloc") ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size) {
    return finds_no_memory("realloc") ? NULL : __real_realloc(memory, size);
}

int __wrap_vasprintf(char **ret, const char *format, va_list arguments) {
    return finds_no_memory("vasprintf") ? -1 : __real_vasprintf(ret, format, arguments);
}
