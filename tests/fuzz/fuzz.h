/*
 * fuzz: what the fuzz targets share. A target is one program, fuzz_NAME.c, with libFuzzer's one
 * function. It reads bytes as somebody else wrote them, and besides not crashing it has to keep
 * what it says with check(): a failed check is a finding. May use every room; nothing uses it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"

/* libFuzzer's entry: runs one input. 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of an input. Reading behind its end gives zeros, so that every input means
 * something. */
struct input {
    const uint8_t *data;
    size_t size;
};

uint8_t take_byte(struct input *input);
/* Little-endian, of 1 to 8 bytes. */
uint64_t take_number(struct input *input, size_t bytes);
/* The next `size` bytes, or as many as there are. */
struct input take_part(struct input *input, size_t size);
/* The same as a malloc'd string; it ends at a NUL within. */
char *take_text(struct input *input, size_t size);

/* Prints to standard error, when $RAFTKV_FUZZ_TRACE is set: to see how an input went wrong. */
void fuzz_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Bytes that are allocated at present. */
size_t fuzz_allocated(void);

/*
 * An empty directory in memory, the same for all runs of this process, removed when it ends in
 * peace. What an earlier run left there is removed, one level of directories deep.
 */
const char *fuzz_directory(void);
void fuzz_write_file(const char *directory, const char *name, const void *data, size_t size);
/* The malloc'd content of a file. */
uint8_t *fuzz_read_file(const char *directory, const char *name, size_t *ret_size);
