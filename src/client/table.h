/* A table of text cells, printed with aligned columns. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

struct table;

/* Columns are named by a list that ends with NULL and must outlive the table. */
struct table *table_new(const char *const *headers);
/* Adds the next cell, row by row. The string is malloc'd and taken over. */
void table_add(struct table *table, char *cell);
void table_add_format(struct table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Prints the rows, with the headers the first time, and drops the rows. Column widths only grow
 * from one printing to the next. `bold`: for a terminal. */
void table_print(struct table *table, FILE *file, bool bold);
/* Takes NULL; returns NULL. */
struct table *table_free(struct table *table);
