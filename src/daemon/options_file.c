#include "daemon/options_file.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/check.h"
#include "base/memory.h"

enum {
    LINE_SIZE_MAX = 8192, /* with newline and NUL; more than a path or an address needs */
    FILE_SIZE_MAX = 1024 * 1024,
};

/*
 * Debian's inih calls its handler without a line number, goes on after a malformed line and tells
 * only the first one's number at the end. So the lines are handed to it one by one by a reader that
 * counts them, and that looks after each line whether the library made something of it.
 */
struct reader {
    FILE *stream;
    const char *file;
    const struct options_file_handler *handler;
    unsigned line;
    size_t size;      /* bytes read so far */
    bool expects_key; /* the last line must come back as a key */
    char text[LINE_SIZE_MAX];
};

static void close_stream(FILE **stream) {
    if (*stream)
        fclose(*stream);
}

static void report(struct reader *reader, unsigned line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void report(struct reader *reader, unsigned line, const char *format, ...) {
    char message[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    reader->handler->report(reader->handler->report_data, LOG_ERR, reader->file, line, message);
}

/* Reads up to the end of the line, keeping what fits into `size` bytes with the final NUL. Returns
 * the length of the whole line; -1 at the end. */
static ssize_t read_line(struct reader *reader, size_t size) {
    size_t length = 0, kept = 0;
    int c;

    while ((c = getc(reader->stream)) != EOF) {
        length++;
        if (c == '\n')
            break;
        if (kept + 1 < size)
            reader->text[kept++] = (char)c;
        if (reader->size + length > FILE_SIZE_MAX)
            break;
    }
    reader->text[kept] = 0;
    reader->size += length;
    return length ? (ssize_t)length : -1;
}

/* Looks at a line before inih does. Returns its text without leading blanks (to inih they would
 * mean that the value before goes on, to systemd they mean nothing), or NULL to skip it. */
static const char *inspect_line(struct reader *reader, size_t length, size_t room) {
    static const char byte_order_mark[] = "\xEF\xBB\xBF";
    char *text = reader->text, *end;

    if (length + 2 > room) {
        report(reader, reader->line, "the line is longer than the %zu bytes that are allowed",
               room - 2);
        return NULL;
    }
    if (strlen(text) + 1 < length) {
        report(reader, reader->line, "the line holds a NUL byte");
        return NULL;
    }
    if (reader->line == 1 && strncmp(text, byte_order_mark, 3) == 0)
        text += 3;
    while (isspace((unsigned char)*text))
        text++;
    if (!*text || *text == '#' || *text == ';')
        return NULL;
    if (*text != '[') {
        reader->expects_key = true;
        return text;
    }
    end = strchr(text, ']');
    if (!end) {
        report(reader, reader->line, "the section's name has no closing bracket");
        return NULL;
    }
    if (end[1 + strspn(end + 1, " \t\r")] && !strchr(";#", end[1 + strspn(end + 1, " \t\r")])) {
        report(reader, reader->line, "something follows the section's name on its line");
        return NULL;
    }
    *end = 0;
    reader->handler->section(reader->handler->data, reader->file, reader->line, text + 1);
    *end = ']';
    return text;
}

static char *next_line(char *buffer, int room, void *data) {
    struct reader *reader = data;
    const char *text = NULL;

    if (reader->expects_key)
        report(reader, reader->line, "the line is neither KEY=VALUE, nor [SECTION], nor a comment");
    reader->expects_key = false;
    while (!text) {
        size_t size = (size_t)room < sizeof reader->text ? (size_t)room : sizeof reader->text;
        ssize_t length = read_line(reader, size);

        if (length < 0)
            return NULL;
        reader->line++;
        if (reader->size > FILE_SIZE_MAX) {
            report(reader, reader->line, "the file is larger than the %d bytes that are allowed",
                   FILE_SIZE_MAX);
            return NULL;
        }
        text = inspect_line(reader, (size_t)length, size);
    }
    return strcpy(buffer, text);
}

static int take_key(void *data, const char *section, const char *key, const char *value) {
    struct reader *reader = data;

    reader->expects_key = false;
    reader->handler->key(reader->handler->data, reader->file, reader->line, section, key,
                         value ? value : "");
    return 1;
}

void options_file_read(const char *file, const struct options_file_handler *handler) {
    _cleanup_(close_stream) FILE *stream = fopen(file, "re");
    _cleanup_free_ struct reader *reader = xcalloc(1, sizeof *reader);

    *reader = (struct reader){.stream = stream, .file = file, .handler = handler};
    if (!stream && errno == ENOENT) {
        report(reader, 0,
               "there is no such file; create it, perhaps empty, for every key has a default");
        return;
    }
    if (!stream) {
        report(reader, 0, "it can't be opened: %s", strerror(errno));
        return;
    }
#if HAVE_INI_MAX_LINE
    /* Debian's inih has run-time settings; its default of 200 is too short for addresses and
     * paths. */
    ini_use_stack = false;
    ini_max_line = LINE_SIZE_MAX;
    ini_initial_alloc = LINE_SIZE_MAX;
#endif
    errno = 0;
    /* Its result, the first malformed line, was reported already; all else it can't tell. */
    check(ini_parse_stream(next_line, reader, take_key, reader) != -2);
    if (ferror(stream))
        report(reader, 0, "it can't be read: %s", strerror(errno ? errno : EIO));
}
