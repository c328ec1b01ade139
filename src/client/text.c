#include "client/text.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"

/* The length of the UTF-8 sequence at the start (RFC 3629 section 4), with its code point; 0: there
 * is none. */
static size_t sequence(const uint8_t *data, size_t size, uint32_t *ret_character) {
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = data[0];
    size_t length = first < 0x80 ? 1 : (first & 0xe0) == 0xc0 ? 2 : (first & 0xf0) == 0xe0 ? 3 : 4;
    uint32_t character = first;

    if (length == 4 && (first & 0xf8) != 0xf0)
        return 0;
    if (length > size)
        return 0;
    if (length > 1)
        character = first & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((data[i] & 0xc0) != 0x80)
            return 0;
        character = character << 6 | (data[i] & 0x3f);
    }
    if (character < lowest[length] || character > 0x10ffff ||
        (character >= 0xd800 && character <= 0xdfff))
        return 0;
    *ret_character = character;
    return length;
}

/* C0, DEL and C1, and the marks that change the direction of what follows. */
static bool is_control(uint32_t character) {
    return character < 0x20 || (character >= 0x7f && character <= 0x9f) ||
           (character >= 0x202a && character <= 0x202e) ||
           (character >= 0x2066 && character <= 0x2069);
}

bool text_is_utf8(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size;) {
        uint32_t character;
        size_t length = sequence(data + i, size - i, &character);

        if (length == 0 || character == 0)
            return false;
        i += length;
    }
    return true;
}

bool text_is_printable(const uint8_t *data, size_t size, bool lines) {
    for (size_t i = 0; i < size;) {
        uint32_t character;
        size_t length = sequence(data + i, size - i, &character);
        bool allowed = lines && length == 1 && (data[i] == '\n' || data[i] == '\t');

        if (length == 0 || (is_control(character) && !allowed))
            return false;
        i += length;
    }
    return true;
}

/* The letter that stands behind a backslash for this byte; 0: none. */
static char short_escape(uint8_t byte) {
    switch (byte) {
    case '\\':
        return '\\';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

char *text_escape(const uint8_t *data, size_t size) {
    char *text = xmalloc(size * 4 + 1), *end = text;

    for (size_t i = 0; i < size;) {
        uint32_t character = 0;
        size_t length = sequence(data + i, size - i, &character);

        if (short_escape(data[i])) {
            *end++ = '\\';
            *end++ = short_escape(data[i++]);
        } else if (length > 0 && !is_control(character)) {
            end = mempcpy(end, data + i, length);
            i += length;
        } else {
            /* Every byte of a control character that takes several, or the next one would begin in
             * its middle. */
            for (size_t n = length > 0 ? length : 1; n > 0; n--)
                end += sprintf(end, "\\x%02x", data[i++]);
        }
    }
    *end = 0;
    return text;
}

char *text_base64(const uint8_t *data, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = xmalloc((size + 2) / 3 * 4 + 1), *end = text;

    for (size_t i = 0; i < size; i += 3) {
        size_t count = size - i < 3 ? size - i : 3;
        uint32_t group = (uint32_t)data[i] << 16;

        if (count > 1)
            group |= (uint32_t)data[i + 1] << 8;
        if (count > 2)
            group |= data[i + 2];
        *end++ = digits[group >> 18];
        *end++ = digits[group >> 12 & 63];
        *end++ = count > 1 ? digits[group >> 6 & 63] : '=';
        *end++ = count > 2 ? digits[group & 63] : '=';
    }
    *end = 0;
    return text;
}

size_t text_width(const char *text) {
    size_t width = 0;

    for (; *text; text++)
        width += ((uint8_t)*text & 0xc0) != 0x80;
    return width;
}
