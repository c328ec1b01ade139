/* What the parts of make_seeds.c share. */
#pragma once

#include <stddef.h>

/* Writes the next seed of a target. */
void write_seed(const char *target, const void *data, size_t size);
/* The same, of some first bytes and a body. */
void write_with(const char *target, const void *first, size_t first_size, const void *body,
                size_t body_size);

/* seeds_snapshot.c: of the targets snapshot and backup */
void seeds_of_snapshots(void);
