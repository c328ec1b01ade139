/* The values of configuration keys as text: reading them, and writing them as a person would. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As systemd's: 1, yes, y, true, t, on, and 0, no, n, false, f, off, in any case. -EINVAL. */
int boolean_parse(const char *text, bool *ret);
/* An enum join_policy: no, ask, nonvoter or voter. -EINVAL. */
int policy_parse(const char *text, uint64_t *ret);
const char *policy_format(uint64_t policy);
/* A whole number in decimal digits. -EINVAL; -ERANGE when it does not fit. */
int count_parse(const char *text, uint64_t *ret);
/* A count of bytes, or of K, M, G or T (1024 times the one before), as "16M". -EINVAL, -ERANGE. */
int size_parse(const char *text, uint64_t *ret);
/*
 * A time span as in systemd.time(7), in milliseconds: numbers (perhaps with a decimal fraction),
 * each with a unit ms, s, min, h or d or one of their longer names, that are added up; a number
 * without a unit is seconds. What is less than a millisecond is cut off. -EINVAL, -ERANGE.
 */
int span_parse(const char *text, uint64_t *ret_ms);

enum { VALUE_TEXT_MAX = 64 }; /* bytes, for the functions below */

/* As short as it is exact: "16M", "1500". Both return the buffer. */
const char *size_format(uint64_t size, char buffer[static VALUE_TEXT_MAX]);
/* "1min 30s", "500ms", "0s". */
const char *span_format(uint64_t ms, char buffer[static VALUE_TEXT_MAX]);
