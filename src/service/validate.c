#include "service/validate.h"

#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/limits.h"
#include "base/version.h"

/* kv_list() may continue behind the last key of a page: that key and one more byte. */
enum { CONTINUATION_SIZE_MAX = KEY_SIZE_MAX + 1, EXCERPT_MAX = 64 };

/* The start of a text from outside, fit to be shown in a message. */
struct excerpt {
    char text[EXCERPT_MAX + 4];
};

static struct excerpt excerpt_of(const char *text) {
    struct excerpt excerpt;
    size_t n = 0;

    for (; n < EXCERPT_MAX && text[n]; n++)
        excerpt.text[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
    strcpy(excerpt.text + n, text[n] ? "..." : "");
    return excerpt;
}

static int validate_key(const ProtobufCBinaryData *key, struct failure *failure) {
    if (key->len == 0)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The key is empty; a key has 1 to %d bytes.", KEY_SIZE_MAX);
    if (key->len > KEY_SIZE_MAX)
        return failure_set(failure, ERROR_TOO_LARGE,
                           "The key has %zu bytes; a key has 1 to %d bytes.", key->len,
                           KEY_SIZE_MAX);
    return 0;
}

static int validate_put(const Raftkv__V1__PutRequest *put, struct failure *failure) {
    int r = validate_key(&put->key, failure);

    if (r != 0)
        return r;
    if (put->value.len > VALUE_SIZE_MAX)
        return failure_set(failure, ERROR_TOO_LARGE,
                           "The value has %zu bytes; a value has at most %d bytes.", put->value.len,
                           VALUE_SIZE_MAX);
    return 0;
}

static int validate_list(const Raftkv__V1__ListRequest *list, struct failure *failure) {
    if (list->prefix.len > KEY_SIZE_MAX)
        return failure_set(failure, ERROR_TOO_LARGE,
                           "The prefix has %zu bytes; a prefix has at most %d bytes.",
                           list->prefix.len, KEY_SIZE_MAX);
    if (list->from.len > KEY_SIZE_MAX)
        return failure_set(failure, ERROR_TOO_LARGE,
                           "The key to list from has %zu bytes; it has at most %d bytes.",
                           list->from.len, KEY_SIZE_MAX);
    if (list->limit > LIST_ITEMS_MAX)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "A page of %u items was asked for; a page has at most %d (0: %d).",
                           list->limit, LIST_ITEMS_MAX, LIST_ITEMS_DEFAULT);
    if (list->max_bytes > LIST_BYTES_MAX)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "A page of %llu bytes was asked for; a page has at most %d (0: %d).",
                           (unsigned long long)list->max_bytes, LIST_BYTES_MAX, LIST_BYTES_DEFAULT);
    if (list->continuation.len == 0)
        return 0;
    if (list->continuation.len > CONTINUATION_SIZE_MAX ||
        list->continuation.len < list->prefix.len ||
        (list->prefix.len > 0 &&
         memcmp(list->continuation.data, list->prefix.data, list->prefix.len) != 0))
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The continuation is not one of a list with this prefix; pass on what "
                           "the previous page's answer held.");
    return 0;
}

static int validate_name(const char *name, struct failure *failure) {
    if (!member_name_valid(name))
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "'%s' is not a member's name; a name has 1 to %d letters, digits and "
                           "underscores, and does not begin with a digit.",
                           excerpt_of(name).text, MEMBER_NAME_MAX);
    return 0;
}

static int validate_newcomer(const char *name, const char *peer_address, struct failure *failure) {
    int r = validate_name(name, failure);

    if (r != 0)
        return r;
    if (!address_valid(peer_address))
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "'%s' is not a peer address; an address is HOST:PORT, where HOST is a "
                           "name, an IPv4 address or an IPv6 address in brackets, and PORT 1 to "
                           "65535.",
                           excerpt_of(peer_address).text);
    if (address_is_wildcard(peer_address))
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The peer address '%s' is a wildcard; give an address at which the "
                           "other members reach the node.",
                           excerpt_of(peer_address).text);
    return 0;
}

static int validate_backup(const Raftkv__V1__BackupRequest *backup, struct failure *failure) {
    if (backup->token == 0 && (backup->sequence != 0 || backup->end))
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "A backup is begun with its first chunk, number 0; later ones go with "
                           "the token that came with it.");
    return 0;
}

static int validate_body(const Raftkv__V1__Request *request, struct failure *failure) {
    switch (request->body_case) {
    case RAFTKV__V1__REQUEST__BODY_PUT:
        return validate_put(request->put, failure);
    case RAFTKV__V1__REQUEST__BODY_GET:
        return validate_key(&request->get->key, failure);
    case RAFTKV__V1__REQUEST__BODY_DELETE:
        return validate_key(&request->delete_->key, failure);
    case RAFTKV__V1__REQUEST__BODY_LIST:
        return validate_list(request->list, failure);
    case RAFTKV__V1__REQUEST__BODY_STATUS:
    case RAFTKV__V1__REQUEST__BODY_SNAPSHOT:
    case RAFTKV__V1__REQUEST__BODY_MEMBERS:
    case RAFTKV__V1__REQUEST__BODY_STATS:
    case RAFTKV__V1__REQUEST__BODY_OPERATION:
    case RAFTKV__V1__REQUEST__BODY_OPERATIONS:
    case RAFTKV__V1__REQUEST__BODY_BARRIER:
    case RAFTKV__V1__REQUEST__BODY_VERIFY_LEADER:
    case RAFTKV__V1__REQUEST__BODY_PENDING:
        return 0;
    case RAFTKV__V1__REQUEST__BODY_ACCEPT:
        return validate_name(request->accept->name, failure);
    case RAFTKV__V1__REQUEST__BODY_REJECT:
        return validate_name(request->reject->name, failure);
    case RAFTKV__V1__REQUEST__BODY_BACKUP:
        return validate_backup(request->backup, failure);
    case RAFTKV__V1__REQUEST__BODY_ADD_VOTER:
        return validate_newcomer(request->add_voter->name, request->add_voter->peer_address,
                                 failure);
    case RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER:
        return validate_newcomer(request->add_nonvoter->name, request->add_nonvoter->peer_address,
                                 failure);
    case RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER:
        return validate_name(request->remove_server->name, failure);
    case RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER:
        return validate_name(request->demote_voter->name, failure);
    case RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP:
        if (request->transfer_leadership->name[0] == 0)
            return 0;
        return validate_name(request->transfer_leadership->name, failure);
    default:
        return failure_set(failure, ERROR_UNSUPPORTED,
                           "The request has no body that raftkv %s knows; exactly one must be set.",
                           raftkv_version);
    }
}

int validate_request(const Raftkv__V1__Request *request, struct failure *failure) {
    /* All bodies are messages, in one union. */
    if (request->body_case == RAFTKV__V1__REQUEST__BODY__NOT_SET || !request->put)
        return failure_set(failure, ERROR_UNSUPPORTED,
                           "The request has no body that raftkv %s knows; exactly one must be set.",
                           raftkv_version);
    if (request->timeout_ms > REQUEST_TIMEOUT_MAX_MS)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The timeout is %u ms; it is at most %d ms (0: %d ms).",
                           request->timeout_ms, REQUEST_TIMEOUT_MAX_MS, REQUEST_TIMEOUT_DEFAULT_MS);
    return validate_body(request, failure);
}
