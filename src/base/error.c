#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"

static const char *const names[ERROR_CODE_COUNT] = {
    [ERROR_OK] = "Ok",
    [ERROR_INVALID_ARGUMENT] = "InvalidArgument",
    [ERROR_NOT_FOUND] = "NotFound",
    [ERROR_ALREADY_EXISTS] = "AlreadyExists",
    [ERROR_COMPARE_FAILED] = "CompareFailed",
    [ERROR_NO_LEADER] = "NoLeader",
    [ERROR_NOT_LEADER] = "NotLeader",
    [ERROR_TIMEOUT] = "Timeout",
    [ERROR_TOO_LARGE] = "TooLarge",
    [ERROR_BUSY] = "Busy",
    [ERROR_NO_SPACE] = "NoSpace",
    [ERROR_COMPACTED] = "Compacted",
    [ERROR_UNAVAILABLE] = "Unavailable",
    [ERROR_UNAUTHENTICATED] = "Unauthenticated",
    [ERROR_PERMISSION_DENIED] = "PermissionDenied",
    [ERROR_CONFIGURATION_CONFLICT] = "ConfigurationConflict",
    [ERROR_WOULD_LOSE_QUORUM] = "WouldLoseQuorum",
    [ERROR_UNSUPPORTED] = "Unsupported",
    [ERROR_INTERNAL] = "Internal",
};

const char *error_name(enum error_code code) {
    return code >= 0 && code < ERROR_CODE_COUNT ? names[code] : "Unknown";
}

int error_exit_status(enum error_code code) {
    return code == ERROR_OK ? 0 : 10 + (int)code;
}

int failure_set(struct failure *f, enum error_code code, const char *format, ...) {
    va_list arguments;

    check(code > ERROR_OK && code < ERROR_CODE_COUNT);
    if (!f)
        return code;
    f->code = code;
    f->outcome_unknown = false;
    va_start(arguments, format);
    vsnprintf(f->message, sizeof f->message, format, arguments);
    va_end(arguments);
    return code;
}
