/* What D-Bus strings can hold. A bus closes the connection of whoever sends it another string. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

/*
 * Whether the bytes can be a D-Bus string: UTF-8 (RFC 3629) without NUL. Unicode's noncharacters
 * are refused too: the D-Bus specification allows them, but sd-bus, and so busctl, does not read
 * them.
 */
bool text_valid(const void *data, size_t size);
/* A malloc'd copy in which each byte that keeps the text from being valid is a question mark. */
char *text_clean(const char *text);

/* Appends valid text as a D-Bus string. 0 or negative errno. */
int text_append(sd_bus_message *message, const ProtobufCBinaryData *text);
/* Appends a C string, cleaned. 0 or negative errno. */
int text_append_clean(sd_bus_message *message, const char *text);
