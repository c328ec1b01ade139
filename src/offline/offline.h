/*
 * offline: what an administrator does with the data directory of a node that is stopped: restores
 * it from a backup, has all of it read, makes it the sole voter of a new cluster when the others
 * are gone for good. It never touches a directory in use, asks nobody, and never prints. May use
 * base, proto, store, kv and the configurations of raft.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/host.h"
#include "raft/member.h"
#include "store/backup.h"
#include "store/directory.h"
#include "store/log.h"
#include "store/state.h"

/* Told what was read, in one sentence, or what is wrong. */
typedef void (*offline_say)(void *data, bool wrong, const char *sentence);

/* Told now and then how far the work has come, in bytes; total 0: it is not known how many there
 * are; total 100: in percent. Whoever has something to say (offline_say) is told in between. */
typedef void (*offline_progress)(void *data, uint64_t done, uint64_t total);

/* A data directory that was read and found sound. The lock is held. */
struct offline {
    struct directory directory;
    struct state_summary state; /* zero when there is no state yet */
    struct log_verification log;
    struct configuration configuration; /* the newest one in log or state; count 0: none */
};

/*
 * Reads all of the data directory of the node `name`, as a start would judge it: identity, state
 * (every page and record), log (every record), and whether they agree. Says all of it, and each
 * thing that is wrong. 0: sound, and *ret to be closed by offline_close(). ERROR_INTERNAL: damaged.
 * Other codes: it could not be looked at (ERROR_BUSY: in use; ERROR_NOT_FOUND: there is none ...).
 * A recovery that was interrupted is not wrong here. Recovers the state as a start does; changes
 * nothing else. progress may be NULL.
 */
int offline_open(struct offline *ret, const char *path, const char *name, offline_say say,
                 offline_progress progress, void *data);
void offline_close(struct offline *offline);

/* The same, closed again; an interrupted recovery is wrong here. */
int offline_verify(const char *path, const char *name, offline_say say, offline_progress progress,
                   void *data);

/*
 * Makes the node the sole voter of the cluster identity->cluster_id, which is a new one, reachable
 * at identity's addresses, with all that its state and its log hold; its name and member id stay.
 * When it is interrupted, a start refuses the directory until it was done again.
 * ERROR_INVALID_ARGUMENT: the directory holds nothing of a cluster. ERROR_NO_SPACE; ERROR_INTERNAL.
 */
int offline_recover(struct offline *offline, const struct identity *identity,
                    struct failure *failure);

/*
 * Makes a data directory at the path, where nothing or an empty directory is, from a backup: that
 * of the node `identity`, whose member id and cluster id are new, as sole voter. The whole backup
 * is checked before anything is written; a failure leaves nothing behind. When the process ends in
 * the middle, a start refuses the directory, and the next restore takes its place. Errors as
 * backup_check() and directory_begin_restore(); *ret as from backup_check(). progress may be NULL;
 * its total is twice the size of the backup, which is read twice.
 */
int offline_restore(int backup, const char *path, const struct identity *identity,
                    offline_progress progress, void *data, struct backup_summary *ret,
                    struct failure *failure);
