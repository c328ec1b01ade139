#include "bus/text.h"

#include <string.h>

#include "base/memory.h"

static bool is_noncharacter(uint32_t character) {
    return (character >= 0xfdd0 && character <= 0xfdef) || (character & 0xfffe) == 0xfffe;
}

/* Bytes of the valid character at the begin of the text; 0: there is none. */
static size_t character_size(const uint8_t *text, size_t size) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t character;
    size_t length;

    if (text[0] < 0x80)
        return text[0] != 0;
    length = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    if (text[0] < 0xc2 || text[0] > 0xf4 || length > size)
        return 0;
    character = text[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        character = character << 6 | (text[i] & 0x3f);
    }
    if (character < smallest[length] || character > 0x10ffff ||
        (character >= 0xd800 && character <= 0xdfff) || is_noncharacter(character))
        return 0;
    return length;
}

bool text_valid(const void *data, size_t size) {
    const uint8_t *text = data;

    while (size > 0) {
        size_t length = character_size(text, size);

        if (length == 0)
            return false;
        text += length;
        size -= length;
    }
    return true;
}

char *text_clean(const char *text) {
    size_t size = strlen(text);
    char *copy = xstrdup(text);

    for (size_t i = 0; i < size;) {
        size_t length = character_size((const uint8_t *)text + i, size - i);

        if (length == 0)
            copy[i] = '?';
        i += length ? length : 1;
    }
    return copy;
}

int text_append(sd_bus_message *message, const ProtobufCBinaryData *text) {
    char *space;
    int r = sd_bus_message_append_string_space(message, text->len, &space);

    if (r < 0)
        return r;
    if (text->len > 0)
        memcpy(space, text->data, text->len);
    space[text->len] = 0;
    return 0;
}

int text_append_clean(sd_bus_message *message, const char *text) {
    _cleanup_free_ char *clean = text_clean(text);
    int r = sd_bus_message_append_basic(message, SD_BUS_TYPE_STRING, clean);

    return r < 0 ? r : 0;
}
