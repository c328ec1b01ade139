/* backup: a state from a backup file, whose form format/backup.h describes. */
#pragma once

#include "format/backup.h"

/*
 * Makes the state in `directory` (exists, and holds nothing; else ERROR_ALREADY_EXISTS) from a
 * backup, durably: applied index and term, configuration and keys are those of the backup, and the
 * installed index is the applied one. The configuration names the members of the old cluster: the
 * caller replaces it (state_set_configuration) before a node starts on it. Errors as backup_check()
 * and those of stage_put_chunk() and stage_finish(); the directory is left empty then. After a
 * crash the directory holds something, without `current`, and state_open() refuses it.
 */
int backup_restore(int fd, const char *directory, backup_progress progress, void *data,
                   struct backup_summary *ret, struct failure *failure);
