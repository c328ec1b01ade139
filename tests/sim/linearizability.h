/*
 * linearizability: whether the history of one key could have come from a single register: the
 * search of Wing and Gong (Testing and verifying concurrent objects, 1993) with the memory that
 * Lowe added (Testing for linearizability, 2016). It knows nothing of revisions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEVER UINT64_MAX

struct operation {
    bool write;     /* or a read */
    uint64_t value; /* written or read; 0: the key is missing; else written at most once */
    uint64_t begun; /* at any scale; what ends before another begins comes before it */
    uint64_t ended; /* NEVER: a write whose outcome is unknown */
};

/* The register begins empty. Reorders the operations. */
bool linearizable(struct operation *operations, size_t count);
