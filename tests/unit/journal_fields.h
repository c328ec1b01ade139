/* What raftkvd(8) says of the messages in the journal, compared with those that are said. */
#pragma once

#include <stddef.h>

/* A message with fields has an id, and those fields that the page lists for it, and no others. */
void assert_fields_are_documented(const char *message, const char *const *fields, size_t count);
