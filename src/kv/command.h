/* Decoding commands: of the kv room only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/unpack.h"

struct decoder;

/* Decodes commands one after the other; holds the memory of one. */
struct decoder *decoder_new(void);
struct decoder *decoder_free(struct decoder *decoder);

/*
 * Decodes one command; valid until the next call. NULL for bytes that are not a command of this
 * version: every member sees that alike.
 */
const Raftkv__V1__Command *decoder_decode(struct decoder *decoder, const uint8_t *data,
                                          size_t size);
