#include "bus/call.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/check.h"
#include "base/journal.h"
#include "base/memory.h"
#include "bus/authorize.h"
#include "bus/errors.h"
#include "bus/text.h"

static void request_free(Raftkv__V1__Request *request) {
    if (request)
        protobuf_c_message_free_unpacked(&request->base, NULL);
}

static void request_free_pointer(Raftkv__V1__Request **request) {
    request_free(*request);
}

static void call_free(struct method_call *call) {
    struct sender *sender = call->sender;

    share_leave(call);
    TAILQ_REMOVE(&sender->calls, call, entry);
    sd_bus_message_unref(call->message);
    request_free(call->request);
    free(call);
}

int results_append(sd_bus_message *reply, const char *types, ...) {
    va_list arguments;
    int r;

    va_start(arguments, types);
    r = sd_bus_message_appendv(reply, types, arguments);
    va_end(arguments);
    return r < 0 ? r : 0;
}

/* Sends the results of the method. Negative errno, or a positive code with a failure. */
static int reply_results(struct method_call *call, const Raftkv__V1__Response *response,
                         struct failure *failure) {
    __attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
    int r;

    if (response->body_case != call->method->body)
        return -EBADMSG;
    r = sd_bus_message_new_method_return(call->message, &reply);
    if (r < 0)
        return r;
    r = call->method->write(reply, response, failure);
    if (r != 0)
        return r;
    r = sd_bus_message_send(reply);
    return r < 0 ? r : 0;
}

static void on_response(void *data, const Raftkv__V1__Response *response) {
    struct method_call *call = data;
    struct failure failure;
    int r;

    call->handle = NULL;
    if (call->method->answered && response->body_case == call->method->body)
        call->method->answered(call->sender, response);
    if (sd_bus_message_get_expect_reply(call->message) <= 0) {
        call_free(call);
        return;
    }
    if (response->error) {
        reply_error(call->message, response->error);
        call_free(call);
        return;
    }
    r = reply_results(call, response, &failure);
    if (r == 0)
        call->bus->sent += raftkv__v1__response__get_packed_size(response);
    if (r > 0)
        reply_failure(call->message, &failure);
    else if (r < 0 && r != -ENOTCONN && r != -ECONNRESET) {
        journal(LOG_ERR, "Can't answer the D-Bus call %s: %s.", call->method->member, strerror(-r));
        failure_set(&failure, ERROR_INTERNAL,
                    "The call succeeded, but its reply can't be made: %s.", strerror(-r));
        reply_failure(call->message, &failure);
    }
    call_free(call);
}

void method_call_begin(struct method_call *call) {
    struct call *handle;

    if (call->method->act) {
        call->method->act(call->message);
        call_free(call);
        return;
    }
    handle = service_handle_for(
        call->bus->service, TAKE(call->request),
        &(struct service_caller){.door = "D-Bus", .reply = on_response, .data = call});

    /* Without a handle it was answered, and is gone. */
    if (handle)
        call->handle = handle;
}

void method_call_fail(struct method_call *call, const struct failure *failure) {
    check(!call->handle);
    reply_failure(call->message, failure);
    call_free(call);
}

void method_call_cancel(struct method_call *call) {
    if (call->handle)
        service_cancel(call->bus->service, call->handle);
    call_free(call);
}

static const struct method *method_find(const struct method *methods, const char *member) {
    while (methods->member && strcmp(methods->member, member) != 0)
        methods++;
    check(methods->member);
    return methods;
}

int method_call_arrived(struct bus *bus, sd_bus_message *message, const struct method *methods) {
    const struct method *method = method_find(methods, sd_bus_message_get_member(message));
    struct sender *sender = sender_get(bus, sd_bus_message_get_sender(message));
    _cleanup_(request_free_pointer) Raftkv__V1__Request *request = xmalloc(sizeof *request);
    struct method_call *call;
    struct failure failure;

    raftkv__v1__request__init(request);
    request->timeout_ms = method->timeout_ms;
    if (method->read(message, request) < 0) {
        failure_set(&failure, ERROR_INVALID_ARGUMENT,
                    "The arguments of %s can't be read: strings must be UTF-8 without NUL and "
                    "without noncharacters; the methods whose names end in Bytes take any bytes.",
                    method->member);
        reply_failure(message, &failure);
        return 1;
    }
    if (!sender) {
        failure_set(&failure, ERROR_BUSY,
                    "Too many connections have calls under way: at most %d may have.",
                    BUS_SENDERS_MAX);
        reply_failure(message, &failure);
        return 1;
    }

    call = xcalloc(1, sizeof *call);
    *call = (struct method_call){.bus = bus,
                                 .sender = sender,
                                 .message = sd_bus_message_ref(message),
                                 .method = method,
                                 .bytes = protobuf_c_message_get_packed_size(&request->base)};
    call->request = TAKE(request);
    TAILQ_INSERT_TAIL(&sender->calls, call, entry);
    if (share_enter(call, &failure) != 0) {
        method_call_fail(call, &failure);
        return 1;
    }
    bus->calls_ever++;
    bus->received += call->bytes;
    authorize(call);
    return 1;
}
