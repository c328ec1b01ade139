/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), as used on disk. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Continues a checksum over more bytes; start with crc = 0. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);
