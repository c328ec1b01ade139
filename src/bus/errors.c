#include "bus/errors.h"

#include "base/memory.h"
#include "bus/text.h"

#define ERROR_PREFIX "org.raftkv1.Error."

static void reply(sd_bus_message *call, enum error_code code, const char *message,
                  bool outcome_unknown) {
    _cleanup_free_ char *name = xasprintf("%s%s", ERROR_PREFIX, error_name(code));
    _cleanup_free_ char *clean = text_clean(message);
    _cleanup_free_ char *whole = xasprintf(
        "%s%s", clean,
        outcome_unknown ? " The outcome is unknown: the write may or may not take effect." : "");

    /* It fails only when the connection is gone, which bus_process() tells. */
    (void)sd_bus_reply_method_error(call, &SD_BUS_ERROR_MAKE_CONST(name, whole));
}

void reply_failure(sd_bus_message *call, const struct failure *failure) {
    reply(call, failure->code, failure->message, failure->outcome_unknown);
}

void reply_error(sd_bus_message *call, const Raftkv__V1__Error *error) {
    reply(call, (enum error_code)error->code, error->message, error->outcome_unknown);
}
