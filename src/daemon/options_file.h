/* The text of configuration files: lines, sections and keys, without knowing what they mean. */
#pragma once

#include "daemon/options.h"

struct options_file_handler {
    void *data;
    /* A section begins. */
    void (*section)(void *data, const char *file, unsigned line, const char *section);
    /* A line KEY=VALUE. section is "" before the first one. */
    void (*key)(void *data, const char *file, unsigned line, const char *section, const char *key,
                const char *value);
    option_report report;
    void *report_data;
};

/* Reads one file. Lines that are no lines of an INI file, and a file that can't be read, are
 * reported as errors. */
void options_file_read(const char *file, const struct options_file_handler *handler);
