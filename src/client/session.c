/* What commands have in common: asking, and saying what went wrong. */
#include <string.h>

#include "base/memory.h"
#include "client/commands.h"
#include "client/text.h"

static int report(FILE *file, enum error_code code, const char *message, bool outcome_unknown) {
    _cleanup_free_ char *escaped = NULL;
    bool sentence = message[0] && message[strlen(message) - 1] == '.';
    const char *addition = sentence ? " The outcome is unknown: it may or may not take effect."
                                    : "; the outcome is unknown: it may or may not take effect";

    /* The message is another machine's: it must not steer the terminal. */
    if (!text_is_printable((const uint8_t *)message, strlen(message), false))
        message = escaped = text_escape((const uint8_t *)message, strlen(message));
    fprintf(file, "raftkvctl: %s: %s%s\n", error_name(code), message,
            outcome_unknown ? addition : "");
    return error_exit_status(code);
}

int report_error(FILE *file, const Raftkv__V1__Error *error) {
    return report(file, (enum error_code)error->code, error->message, error->outcome_unknown);
}

int report_failure(FILE *file, const struct failure *failure) {
    return report(file, failure->code, failure->message, failure->outcome_unknown);
}

int session_call(struct session *session, Raftkv__V1__Request *request,
                 Raftkv__V1__Response **ret) {
    struct failure failure = {0};
    int r = transport_call(session->transport, request, ret, &failure);

    progress_line_clear(&session->progress);
    if (r < 0) {
        fprintf(session->errors, "raftkvctl: no node could be reached: %s\n", failure.message);
        return EXIT_STATUS_LOCAL;
    }
    if (r > 0)
        return report_failure(session->errors, &failure);
    if ((*ret)->error)
        return report_error(session->errors, (*ret)->error);
    return 0;
}

void response_free(Raftkv__V1__Response **response) {
    if (*response)
        raftkv__v1__response__free_unpacked(*response, NULL);
    *response = NULL;
}

ProtobufCBinaryData bytes_of(const char *text) {
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = strlen(text)};
}
