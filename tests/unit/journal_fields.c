#include "journal_fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Made of the page: MESSAGE_ID=..., and the names of the fields. */
static const char *const documented[][2] = {
#include "documented_fields.inc"
};

static const char *find(const char *id) {
    for (size_t i = 0; i < sizeof documented / sizeof documented[0]; i++)
        if (strcmp(documented[i][0], id) == 0)
            return documented[i][1];
    return NULL;
}

void assert_fields_are_documented(const char *message, const char *const *fields, size_t count) {
    char said[1024] = "";
    const char *listed;

    if (count == 0)
        return;
    if (strncmp(fields[0], "MESSAGE_ID=", 11) != 0)
        fail_msg("'%s' has fields, but no MESSAGE_ID", message);
    listed = find(fields[0]);
    if (!listed)
        fail_msg("raftkvd(8) does not list %s of '%s'", fields[0], message);
    for (size_t i = 1; i < count; i++)
        snprintf(said + strlen(said), sizeof said - strlen(said), "%s%.*s", i > 1 ? " " : "",
                 (int)strcspn(fields[i], "="), fields[i]);
    if (strcmp(said, listed) != 0)
        fail_msg("'%s' has the fields '%s'; raftkvd(8) says '%s'", message, said, listed);
}
