/* Bytes as text for people (escaped) and for JSON (UTF-8 or base64). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether this is UTF-8 (RFC 3629) without NUL. */
bool text_is_utf8(const uint8_t *data, size_t size);
/* Whether it is UTF-8 without control characters; with `lines`, newlines and tabs are fine. */
bool text_is_printable(const uint8_t *data, size_t size, bool lines);
/*
 * What can be shown on a terminal and read back: printable UTF-8 as it is; \\, \n, \r, \t, and
 * \xNN for each other byte. Returns a malloc'd string.
 */
char *text_escape(const uint8_t *data, size_t size);
/* Base64 with padding (RFC 4648 section 4). Returns a malloc'd string. */
char *text_base64(const uint8_t *data, size_t size);
/* How many characters the UTF-8 text has: its width on a terminal, near enough for a table. */
size_t text_width(const char *text);
