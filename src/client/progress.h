/* A line on a terminal that shows how a request comes on. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "client/transport.h"

struct progress_line {
    FILE *file; /* NULL: nobody watches */
    bool shown; /* it stands there, and has to go before anything else is said */
};

/* For transport->progress; the data is the line. */
void progress_line_show(void *data, const Raftkv__V1__Operation *operation);
/* The same for what this program does itself with so many bytes. */
void progress_line_show_bytes(struct progress_line *line, const char *phase, uint64_t done,
                              uint64_t total);
/* Wipes it away. */
void progress_line_clear(struct progress_line *line);
