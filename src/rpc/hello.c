#include "rpc/hello.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/address.h"

/* protobuf-c's strings are not const; nothing writes to them while a message is packed. */
static char *text(const char *string) {
    union {
        const char *constant;
        char *pointer;
    } u = {.constant = string};

    return u.pointer;
}

void hello_put_identity(Raftkv__V1__Identity *message, const struct identity *identity) {
    raftkv__v1__identity__init(message);
    message->cluster_id = identity->cluster_id;
    message->member_id = identity->member_id;
    message->incarnation = identity->incarnation;
    message->name = text(identity->name);
    message->peer_address = text(identity->peer_address);
    message->client_address = text(identity->client_address);
    message->protocol_min = PROTOCOL_MIN;
    message->protocol_max = PROTOCOL_MAX;
}

static int agree_on_protocol(const Raftkv__V1__Identity *message, uint32_t *ret_protocol,
                             struct failure *failure) {
    const uint32_t own_min = PROTOCOL_MIN, own_max = PROTOCOL_MAX;

    if (message->protocol_min > message->protocol_max)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The hello says protocol versions %u to %u, which is no range.",
                           message->protocol_min, message->protocol_max);
    if (message->protocol_max < own_min || message->protocol_min > own_max)
        return failure_set(failure, ERROR_UNSUPPORTED,
                           "No common version of the peer protocol: one side speaks %u to %u, the "
                           "other %u to %u.",
                           message->protocol_min, message->protocol_max, own_min, own_max);
    *ret_protocol = message->protocol_max < own_max ? message->protocol_max : own_max;
    return 0;
}

int hello_get_identity(const Raftkv__V1__Identity *message, struct identity *ret,
                       uint32_t *ret_protocol, struct failure *failure) {
    int r;

    if (!message)
        return failure_set(failure, ERROR_INVALID_ARGUMENT, "The hello says no identity.");
    r = agree_on_protocol(message, ret_protocol, failure);
    if (r != 0)
        return r;
    if (message->member_id == 0)
        return failure_set(failure, ERROR_INVALID_ARGUMENT, "The hello says member id 0.");
    if (!member_name_valid(message->name))
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The hello says a name that is not allowed.");
    if (!address_valid(message->peer_address) || !address_valid(message->client_address))
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The hello of '%s' says an address that is not HOST:PORT.",
                           message->name);
    *ret = (struct identity){.cluster_id = message->cluster_id,
                             .member_id = message->member_id,
                             .incarnation = message->incarnation};
    strcpy(ret->name, message->name);
    strcpy(ret->peer_address, message->peer_address);
    strcpy(ret->client_address, message->client_address);
    return 0;
}

Raftkv__V1__LinkFrame *hello_unpack_frame(const uint8_t *data, size_t size,
                                          const char **ret_reason) {
    ProtobufCMessage *message;

    if (unpack(&raftkv__v1__link_frame__descriptor, data, size, &unpack_peer_limits, &message,
               ret_reason) < 0)
        return NULL;
    return (Raftkv__V1__LinkFrame *)message;
}

static void get_error(const Raftkv__V1__Error *error, struct failure *ret) {
    bool known = error && error->code >= 0 && error->code < (int)ERROR_CODE_COUNT;

    *ret = (struct failure){.code = known ? (enum error_code)error->code : ERROR_INTERNAL};
    snprintf(ret->message, sizeof ret->message, "%s",
             error && error->message[0] ? error->message : "It gives no reason.");
    for (char *c = ret->message; *c; c++)
        if (iscntrl((unsigned char)*c))
            *c = '?';
}

void hello_get_refusal(const Raftkv__V1__Refusal *refusal, struct failure *ret) {
    get_error(refusal->error, ret);
    if (ret->code == ERROR_OK)
        ret->code = ERROR_INTERNAL;
}

void hello_put_announced(Raftkv__V1__Announced *message, Raftkv__V1__Error *error,
                         const struct announce_reply *announced) {
    raftkv__v1__announced__init(message);
    raftkv__v1__error__init(error);
    error->code = (Raftkv__V1__ErrorCode)announced->said.code;
    error->message = text(announced->said.message);
    message->error = error;
    message->leader_peer_address = text(announced->leader_address);
    message->configuration_index = announced->configuration_index;
}

void hello_get_announced(const Raftkv__V1__Announced *message, struct announce_reply *ret) {
    get_error(message->error, &ret->said);
    ret->configuration_index = message->configuration_index;
    ret->leader_address[0] = 0;
    if (address_valid(message->leader_peer_address))
        strcpy(ret->leader_address, message->leader_peer_address);
}
