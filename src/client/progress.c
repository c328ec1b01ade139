#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "client/progress.h"
#include "client/text.h"

enum { BAR_WIDTH = 30 };

/* "[#####.....]  50 %  5 of 10 entries". */
static void print_bar(FILE *file, const Raftkv__V1__Operation *operation) {
    uint64_t done = operation->done < operation->total ? operation->done : operation->total;
    unsigned filled = (unsigned)((double)done / (double)operation->total * BAR_WIDTH);
    char bar[BAR_WIDTH + 1] = {0};
    _cleanup_free_ char *unit =
        text_escape((const uint8_t *)operation->unit, strlen(operation->unit));

    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', filled);
    fprintf(file, "[%s] %3.0f %%  %" PRIu64 " of %" PRIu64 " %s  ", bar,
            (double)done / (double)operation->total * 100, operation->done, operation->total, unit);
}

void progress_line_show(void *data, const Raftkv__V1__Operation *operation) {
    struct progress_line *line = data;
    _cleanup_free_ char *phase =
        text_escape((const uint8_t *)operation->phase, strlen(operation->phase));

    if (!line->file)
        return;
    fputs("\r\033[K", line->file);
    if (operation->total > 0)
        print_bar(line->file, operation);
    fprintf(line->file, "%s", *phase ? phase : "begun");
    fflush(line->file);
    line->shown = true;
}

void progress_line_show_bytes(struct progress_line *line, const char *phase, uint64_t done,
                              uint64_t total) {
    Raftkv__V1__Operation operation;
    char unit[] = "bytes";

    raftkv__v1__operation__init(&operation);
    operation.phase = (char *)(uintptr_t)phase;
    operation.unit = unit;
    operation.done = done;
    operation.total = total > done ? total : done;
    progress_line_show(line, &operation);
}

void progress_line_clear(struct progress_line *line) {
    if (!line->shown)
        return;
    fputs("\r\033[K", line->file);
    fflush(line->file);
    line->shown = false;
}
