/*
 * Texts of all kinds: addresses and names, the values of the configuration, bytes that go to D-Bus,
 * to a terminal and into JSON.
 *
 * Input: the text.
 */
#include <ctype.h>
#include <errno.h>

#include "base/address.h"
#include "base/limits.h"
#include "bus/text.h"
#include "client/text.h"
#include "daemon/option_values.h"
#include "fuzz.h"

static void take_address(const char *text) {
    char host[ADDRESS_MAX + 1];
    unsigned port;

    if (address_split(text, host, &port) < 0) {
        check(!address_valid(text) && !address_is_wildcard(text) && !address_is_loopback(text));
        return;
    }
    check(port <= 65535 && strlen(host) <= 255);
    check(address_valid(text) == (host[0] && port != 0));
    check(!address_is_wildcard(text) || !address_is_loopback(text));
    {
        /* What was split goes together again. */
        bool brackets = text[0] == '[';
        _cleanup_free_ char *joined =
            xasprintf("%s%s%s:%u", brackets ? "[" : "", host, brackets ? "]" : "", port);
        char again[ADDRESS_MAX + 1];
        unsigned again_port;

        check(address_split(joined, again, &again_port) == 0);
        check(strcmp(host, again) == 0 && port == again_port);
    }
}

static void take_values(const char *text) {
    char formatted[VALUE_TEXT_MAX];
    uint64_t number, again;
    bool boolean;

    if (count_parse(text, &number) == 0) {
        check(size_parse(text, &again) == 0 && again == number);
        check(boolean_parse(text, &boolean) < 0 || number <= 1);
    }
    if (size_parse(text, &number) == 0)
        check(size_parse(size_format(number, formatted), &again) == 0 && again == number);
    if (span_parse(text, &number) == 0)
        check(span_parse(span_format(number, formatted), &again) == 0 && again == number);
}

static void take_bus_text(const char *text, const uint8_t *data, size_t size) {
    _cleanup_free_ char *clean = text_clean(text);

    check(text_valid(clean, strlen(clean)) && strlen(clean) == strlen(text));
    check(!text_valid(text, strlen(text)) || strcmp(text, clean) == 0);
    /* The bus takes a little less than UTF-8. */
    check(!text_valid(data, size) || text_is_utf8(data, size));
}

static unsigned hexadecimal(char digit) {
    check(isxdigit((unsigned char)digit));
    return digit <= '9' ? (unsigned)(digit - '0') : (unsigned)(digit - 'a' + 10);
}

/* What an escaped text says. */
static size_t unescape(const char *text, uint8_t *ret) {
    static const char letters[] = "\\nrt", meanings[] = "\\\n\r\t";
    size_t size = 0;

    for (; *text; text++) {
        const char *letter;

        if (*text != '\\') {
            ret[size++] = (uint8_t)*text;
            continue;
        }
        text++;
        check(*text);
        if (*text == 'x') {
            ret[size++] = (uint8_t)(hexadecimal(text[1]) << 4 | hexadecimal(text[2]));
            text += 2;
            continue;
        }
        letter = strchr(letters, *text);
        check(letter);
        ret[size++] = (uint8_t)meanings[letter - letters];
    }
    return size;
}

static void take_escaped(const uint8_t *data, size_t size) {
    _cleanup_free_ char *escaped = text_escape(data, size);
    _cleanup_free_ uint8_t *back = xmalloc(strlen(escaped) + 1);

    check(text_is_printable((const uint8_t *)escaped, strlen(escaped), false));
    check(strlen(escaped) <= 4 * size && text_width(escaped) <= strlen(escaped));
    check(unescape(escaped, back) == size && (size == 0 || memcmp(back, data, size) == 0));
    check(!text_is_printable(data, size, false) || text_is_printable(data, size, true));
}

static size_t decode_base64(const char *text, uint8_t *ret) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    size_t size = 0, count = 0;

    for (; *text && *text != '='; text++) {
        const char *digit = strchr(digits, *text);

        check(digit);
        bits = bits << 6 | (uint32_t)(digit - digits);
        if (++count % 4 != 1)
            ret[size++] = (uint8_t)(bits >> (6 - 2 * ((count - 1) % 4)));
    }
    return size;
}

static void take_base64(const uint8_t *data, size_t size) {
    _cleanup_free_ char *text = text_base64(data, size);
    _cleanup_free_ uint8_t *back = xmalloc(strlen(text) + 1);

    check(strlen(text) == (size + 2) / 3 * 4);
    check(decode_base64(text, back) == size && (size == 0 || memcmp(back, data, size) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size};
    _cleanup_free_ char *text = take_text(&input, size);

    take_address(text);
    take_values(text);
    check(!member_name_valid(text) ||
          (strlen(text) <= MEMBER_NAME_MAX && !isdigit((unsigned char)*text)));
    take_bus_text(text, data, size);
    take_escaped(data, size);
    take_base64(data, size);
    return 0;
}
