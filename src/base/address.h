/* Names of members and network addresses, as text. */
#pragma once

#include <stdbool.h>

/* Whether this can be a member's name: [A-Za-z_][A-Za-z0-9_]*, at most MEMBER_NAME_MAX characters
 * (D-Bus, too, takes it). */
bool member_name_valid(const char *name);

/*
 * Splits HOST:PORT, where HOST is a DNS name, an IPv4 address, or an IPv6 address in brackets, and
 * PORT 0 to 65535. ret_host has room for ADDRESS_MAX + 1 characters and gets the host without
 * brackets. Returns 0 or -EINVAL. Names are checked for their characters only and not looked up.
 */
int address_split(const char *address, char *ret_host, unsigned *ret_port);
/* Whether address_split() takes it and the port is not 0: something one can dial. */
bool address_valid(const char *address);
/* Whether the host is a wildcard: 0.0.0.0 or [::] in any spelling, or empty. */
bool address_is_wildcard(const char *address);
/* Whether the host is localhost, or in 127.0.0.0/8 or ::1 in any spelling. */
bool address_is_loopback(const char *address);
