#include "base/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"

bool member_name_valid(const char *name) {
    size_t length = strlen(name);

    if (length == 0 || length > MEMBER_NAME_MAX || isdigit((unsigned char)name[0]))
        return false;
    for (size_t i = 0; i < length; i++)
        if (!(isascii(name[i]) && (isalnum((unsigned char)name[i]) || name[i] == '_')))
            return false;
    return true;
}

static int parse_port(const char *text, unsigned *ret_port) {
    unsigned port = 0;

    if (!*text || strlen(text) > 5)
        return -EINVAL;
    for (; *text; text++) {
        if (!isdigit((unsigned char)*text))
            return -EINVAL;
        port = port * 10 + (unsigned)(*text - '0');
    }
    if (port > 65535)
        return -EINVAL;
    *ret_port = port;
    return 0;
}

static bool host_characters_valid(const char *host) {
    for (; *host; host++)
        if (!(isascii(*host) && (isalnum((unsigned char)*host) || strchr(".-_", *host))))
            return false;
    return true;
}

int address_split(const char *address, char *ret_host, unsigned *ret_port) {
    const char *colon = strrchr(address, ':');
    char host[ADDRESS_MAX + 1];
    size_t length;
    unsigned port;

    if (!colon || strlen(address) > ADDRESS_MAX || parse_port(colon + 1, &port) < 0)
        return -EINVAL;
    length = (size_t)(colon - address);
    if (length > 253 + 2)
        return -EINVAL;
    if (length >= 2 && address[0] == '[' && address[length - 1] == ']') {
        struct in6_addr ignored;

        memcpy(host, address + 1, length - 2);
        host[length - 2] = 0;
        if (inet_pton(AF_INET6, host, &ignored) != 1)
            return -EINVAL;
    } else {
        memcpy(host, address, length);
        host[length] = 0;
        if (!host_characters_valid(host))
            return -EINVAL;
    }
    strcpy(ret_host, host);
    *ret_port = port;
    return 0;
}

bool address_valid(const char *address) {
    char host[ADDRESS_MAX + 1];
    unsigned port;

    return address_split(address, host, &port) == 0 && host[0] && port != 0;
}

/* The IPv4 or IPv6 address that a host is, the former as an IPv4-mapped one. IPv4 as a resolver
 * reads it: 0 and 127.1 are addresses. */
static bool parse_numeric(const char *host, struct in6_addr *ret) {
    struct in_addr ipv4;

    if (inet_pton(AF_INET6, host, ret) == 1)
        return true;
    if (!host[0] || inet_aton(host, &ipv4) == 0)
        return false;
    memset(ret, 0, 10);
    memset(ret->s6_addr + 10, 0xff, 2);
    memcpy(ret->s6_addr + 12, &ipv4, 4);
    return true;
}

bool address_is_wildcard(const char *address) {
    static const uint8_t zeros[4];
    char host[ADDRESS_MAX + 1];
    struct in6_addr numeric;
    unsigned port;

    if (address_split(address, host, &port) < 0)
        return false;
    if (host[0] == 0)
        return true;
    return parse_numeric(host, &numeric) &&
           (IN6_IS_ADDR_UNSPECIFIED(&numeric) ||
            (IN6_IS_ADDR_V4MAPPED(&numeric) && memcmp(numeric.s6_addr + 12, zeros, 4) == 0));
}

bool address_is_loopback(const char *address) {
    char host[ADDRESS_MAX + 1];
    struct in6_addr numeric;
    unsigned port;

    if (address_split(address, host, &port) < 0)
        return false;
    if (strcmp(host, "localhost") == 0)
        return true;
    return parse_numeric(host, &numeric) &&
           (IN6_IS_ADDR_LOOPBACK(&numeric) ||
            (IN6_IS_ADDR_V4MAPPED(&numeric) && numeric.s6_addr[12] == 127));
}
