/*
 * base: what every room shares and no room owns: errors, checks, addresses, checksums, the host. It
 * knows nothing of raft or keys and calls only libc.
 *
 * Errors. A function that can fail returns 0, a negative errno (unexpected; forwarded unchanged;
 * what it returns in ret_ arguments is untouched), or, where its comment says so, a positive enum
 * error_code: an outcome that the caller must handle and that a user may get to see.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The numbers are those of raftkv.v1.ErrorCode (proto/raftkv.proto); the service asserts that they
 * agree. */
enum error_code {
    ERROR_OK = 0,
    ERROR_INVALID_ARGUMENT = 1,
    ERROR_NOT_FOUND = 2,
    ERROR_ALREADY_EXISTS = 3,
    ERROR_COMPARE_FAILED = 4,
    ERROR_NO_LEADER = 5,
    ERROR_NOT_LEADER = 6,
    ERROR_TIMEOUT = 7,
    ERROR_TOO_LARGE = 8,
    ERROR_BUSY = 9,
    ERROR_NO_SPACE = 10,
    ERROR_COMPACTED = 11,
    ERROR_UNAVAILABLE = 12,
    ERROR_UNAUTHENTICATED = 13,
    ERROR_PERMISSION_DENIED = 14,
    ERROR_CONFIGURATION_CONFLICT = 15,
    ERROR_WOULD_LOSE_QUORUM = 16,
    ERROR_UNSUPPORTED = 17,
    ERROR_INTERNAL = 18,
    ERROR_CODE_COUNT
};

/* The CamelCase name ("NotFound"): the last part of the D-Bus error name, and what raftkvctl
 * prints. */
const char *error_name(enum error_code code);

/* The exit status of raftkvctl for an error from a node: 10 + code. (1: other failures, 2: wrong
 * usage.) */
int error_exit_status(enum error_code code);

/* A failure with its explanation, for a person. */
struct failure {
    enum error_code code;
    bool outcome_unknown; /* the write may or may not take effect */
    char message[512];    /* one sentence: what was wrong, where, and what is allowed */
};

/* Fills *f (which may be NULL) and returns code. Text that does not fit is cut off. */
int failure_set(struct failure *f, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
