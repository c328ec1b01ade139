/* What raftkvd(8) says of the messages in the journal, compared with those that are said. */
#pragma once

#include <stddef.h>

/* A message with an id has the fields that the page lists for it, and no others; one without an id
 * may have any. */
void assert_fields_are_documented(const char *message, const char *const *fields, size_t count);
