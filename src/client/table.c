#include "client/table.h"

#include <stdarg.h>

#include "base/check.h"
#include "base/memory.h"
#include "client/text.h"

struct table {
    const char *const *headers;
    size_t columns;
    size_t *widths;
    char **cells;
    size_t count;
    size_t capacity;
    bool headers_printed;
};

struct table *table_new(const char *const *headers) {
    struct table *table = xcalloc(1, sizeof *table);

    table->headers = headers;
    while (headers[table->columns])
        table->columns++;
    table->widths = xcalloc(table->columns, sizeof *table->widths);
    for (size_t i = 0; i < table->columns; i++)
        table->widths[i] = text_width(headers[i]);
    return table;
}

void table_add(struct table *table, char *cell) {
    size_t column = table->count % table->columns;
    size_t width = text_width(cell);

    if (table->count == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : 64;
        table->cells = xrealloc(table->cells, table->capacity * sizeof *table->cells);
    }
    table->cells[table->count++] = cell;
    if (table->widths[column] < width)
        table->widths[column] = width;
}

void table_add_format(struct table *table, const char *format, ...) {
    va_list arguments;
    char *cell = NULL;
    int n;

    va_start(arguments, format);
    n = vasprintf(&cell, format, arguments);
    va_end(arguments);
    check(n >= 0);
    table_add(table, cell);
}

/* Nothing is padded behind the last column, so that lines don't end with spaces. */
static void print_cell(const struct table *table, FILE *file, size_t column, const char *text) {
    bool last = column + 1 == table->columns;

    fputs(text, file);
    if (!last)
        fprintf(file, "%*s", (int)(table->widths[column] - text_width(text) + 2), "");
}

void table_print(struct table *table, FILE *file, bool bold) {
    check(table->count % table->columns == 0);
    if (!table->headers_printed) {
        fputs(bold ? "\033[1m" : "", file);
        for (size_t i = 0; i < table->columns; i++)
            print_cell(table, file, i, table->headers[i]);
        fputs(bold ? "\033[0m\n" : "\n", file);
        table->headers_printed = true;
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->columns;

        print_cell(table, file, column, table->cells[i]);
        if (column + 1 == table->columns)
            fputc('\n', file);
        free(table->cells[i]);
    }
    table->count = 0;
}

struct table *table_free(struct table *table) {
    if (!table)
        return NULL;
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table->widths);
    free(table);
    return NULL;
}
