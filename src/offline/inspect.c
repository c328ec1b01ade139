/* Reading all of a data directory, and whether its parts agree. */
#include "offline/offline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "raft/configuration.h"

/* The directory under inspection, and who is told of it. */
struct inspection {
    struct offline *offline;
    offline_say say;
    offline_progress progress;
    void *data;
    bool wrong; /* something was */
};

__attribute__((format(printf, 3, 4))) static void say(struct inspection *inspection, bool wrong,
                                                      const char *format, ...) {
    char sentence[640];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    inspection->wrong = inspection->wrong || wrong;
    inspection->say(inspection->data, wrong, sentence);
}

/* A part that could not be read. */
static void say_failure(struct inspection *inspection, const char *path, int r,
                        const struct failure *failure) {
    if (r > 0)
        say(inspection, true, "%s", failure->message);
    else
        say(inspection, true, "%s can't be read: %s.", path, strerror(-r));
}

/* ---- identity ---- */

static void say_identity(struct inspection *inspection) {
    const struct directory *directory = &inspection->offline->directory;

    say(inspection, false,
        "Identity: node %s, member %016" PRIx64 ", cluster %016" PRIx64 "%s, start %" PRIu64 ".",
        directory->name, directory->member_id, directory->cluster_id,
        directory->cluster_id ? "" : " (none yet)", directory->incarnation);
}

/* ---- state ---- */

/* Returns whether it is known how far the state has come. */
static bool read_state(struct inspection *inspection) {
    const struct directory *directory = &inspection->offline->directory;
    struct state_summary *state = &inspection->offline->state;
    struct failure failure;
    int r = state_verify(directory->state_path, inspection->progress, inspection->data, state,
                         &failure);

    if (r == ERROR_NOT_FOUND && directory->cluster_id == 0) {
        say(inspection, false, "State: none yet.");
        return true;
    }
    if (r == ERROR_NOT_FOUND)
        say(inspection, true, "%s/current is missing: the state is lost.", directory->state_path);
    else if (r != 0)
        say_failure(inspection, directory->state_path, r, &failure);
    if (r != 0)
        return false;
    say(inspection, false,
        "State: entry %" PRIu64 " of term %" PRIu64 " is applied; %" PRIu64 " keys, %" PRIu64
        " bytes of keys and values, hash %016" PRIx64 "; every page was read.",
        state->applied_index, state->applied_term, state->records, state->bytes, state->hash);
    return true;
}

/* ---- log ---- */

static void say_log(struct inspection *inspection) {
    const struct log_verification *log = &inspection->offline->log;
    const struct log_recovery *recovery = &log->recovery;
    char entries[128] = "no entries";

    if (recovery->last_index >= recovery->first_index)
        snprintf(entries, sizeof entries,
                 "entries %" PRIu64 " to %" PRIu64 ", the last of term %" PRIu64,
                 recovery->first_index, recovery->last_index,
                 recovery->entries[recovery->last_index - recovery->first_index].term);
    say(inspection, false,
        "Log: %s, mark at entry %" PRIu64 ", term %" PRIu64 "; %" PRIu64 " records, files: %" PRIu64
        "; every record was read.",
        entries, recovery->mark.index, recovery->term, log->records, log->files);
    if (recovery->cut_message[0])
        say(inspection, false, "A start will say: %s", recovery->cut_message);
    if (log->resets)
        say(inspection, false,
            "A start will begin the log anew behind the state, which a snapshot brought.");
}

static bool read_log(struct inspection *inspection, bool state_known) {
    struct offline *offline = inspection->offline;
    const struct state_summary *state = &offline->state;
    struct log_store_options options = {
        .directory = offline->directory.log_path,
        .member_id = offline->directory.member_id,
        .incarnation = offline->directory.incarnation + 1, /* that of the next start */
        .applied_index = state->applied_index,
        .applied_term = state->applied_term,
        .installed = state->installed_index > 0 && state->installed_index == state->applied_index,
    };
    struct failure failure;
    int r;

    /* Beside a damaged state the log is judged by itself: as below one that was installed. */
    if (!state_known) {
        options.applied_index = UINT64_MAX;
        options.installed = true;
    }
    r = log_store_verify(&options, &offline->log, &failure);
    if (r != 0) {
        say_failure(inspection, offline->directory.log_path, r, &failure);
        return false;
    }
    offline->log.resets = offline->log.resets && state_known;
    say_log(inspection);
    return true;
}

/* ---- agreement ---- */

static bool decodes(struct inspection *inspection, const char *path, uint64_t index,
                    const uint8_t *data, size_t size) {
    struct configuration *newest = &inspection->offline->configuration;
    struct configuration configuration;
    const char *reason = NULL;

    if (configuration_decode(data, size, &configuration, &reason) < 0) {
        say(inspection, true, "%s: the configuration of entry %" PRIu64 " is damaged: %s.", path,
            index, reason);
        return false;
    }
    if (index >= newest->index) {
        *newest = configuration;
        newest->index = index;
    }
    return true;
}

static const struct log_entry *entry_at(const struct log_recovery *log, uint64_t index) {
    bool there = index >= log->first_index && index <= log->last_index;

    return there ? &log->entries[index - log->first_index] : NULL;
}

/* Of the entries by themselves. */
static void check_entries(struct inspection *inspection) {
    const char *path = inspection->offline->directory.log_path;
    const struct log_recovery *log = &inspection->offline->log.recovery;
    uint64_t term = log->first_index == log->mark.index + 1 ? log->mark.term : 0;

    if (log->mark.index > 0)
        (void)decodes(inspection, path, log->mark.configuration_index, log->mark.configuration,
                      log->mark.configuration_size);
    for (uint64_t index = log->first_index; index <= log->last_index; index++) {
        const struct log_entry *entry = entry_at(log, index);

        if (entry->term < term || entry->term > log->term) {
            say(inspection, true,
                "%s: entry %" PRIu64 " is of term %" PRIu64 ", behind one of term %" PRIu64
                ", in a log of term %" PRIu64 ".",
                path, index, entry->term, term, log->term);
            return;
        }
        term = entry->term;
        if (entry->type == ENTRY_CHANGE &&
            !decodes(inspection, path, index, entry->data, entry->size))
            return;
    }
}

/* The term that the log knows of the entry that the state applied last; 0: it does not know it. */
static uint64_t term_of_applied(const struct offline *offline) {
    const struct log_recovery *log = &offline->log.recovery;
    const struct log_entry *entry = entry_at(log, offline->state.applied_index);

    if (entry)
        return entry->term;
    return offline->state.applied_index == log->mark.index ? log->mark.term : 0;
}

/* The configuration of the state against what the log has at its index, and up to what is applied.
 */
static void compare_configurations(struct inspection *inspection) {
    const struct state_summary *state = &inspection->offline->state;
    const struct directory *directory = &inspection->offline->directory;
    const struct log_recovery *log = &inspection->offline->log.recovery;
    const struct log_entry *entry = entry_at(log, state->configuration_index);
    uint64_t last = state->applied_index < log->last_index ? state->applied_index : log->last_index;
    uint64_t newer = 0;

    if (entry && (entry->type != ENTRY_CHANGE || entry->size != state->configuration_size ||
                  memcmp(entry->data, state->configuration, entry->size) != 0))
        say(inspection, true,
            "%s and %s disagree: the state has another configuration of entry %" PRIu64
            " than the log.",
            directory->state_path, directory->log_path, state->configuration_index);
    for (uint64_t index = log->first_index; index <= last; index++)
        if (index > state->configuration_index && entry_at(log, index)->type == ENTRY_CHANGE)
            newer = index;
    if (newer > 0)
        say(inspection, true,
            "%s and %s disagree: the state has the configuration of entry %" PRIu64
            ", but has applied entry %" PRIu64 ", which changed it.",
            directory->state_path, directory->log_path, state->configuration_index, newer);
}

static void compare_state_and_log(struct inspection *inspection) {
    const struct offline *offline = inspection->offline;
    const struct directory *directory = &offline->directory;
    uint64_t term = term_of_applied(offline);

    if (term != 0 && term != offline->state.applied_term)
        say(inspection, true,
            "%s and %s disagree: entry %" PRIu64 " was applied with term %" PRIu64
            ", but the log has it with term %" PRIu64 ".",
            directory->state_path, directory->log_path, offline->state.applied_index,
            offline->state.applied_term, term);
    compare_configurations(inspection);
}

static void check_membership(struct inspection *inspection) {
    const struct offline *offline = inspection->offline;
    const struct directory *directory = &offline->directory;
    const struct configuration *newest = &offline->configuration;
    const struct server *self = configuration_find(newest, directory->member_id);

    if (newest->count > 0 && directory->cluster_id == 0)
        say(inspection, true,
            "%s/identity says that the node is in no cluster, but it has the configuration of one.",
            directory->path);
    if (self && strcmp(self->name, directory->name) != 0)
        say(inspection, true,
            "%s/identity says that the node is %s, but the configuration calls it %s.",
            directory->path, directory->name, self->name);
    if (newest->count > 0 && !inspection->wrong)
        say(inspection, false,
            "Members: %zu by the configuration of entry %" PRIu64 "; this node is %s.",
            newest->count, newest->index,
            !self                        ? "not one of them"
            : self->role == MEMBER_VOTER ? "a voter"
                                         : "a non-voter");
}

static void check_agreement(struct inspection *inspection) {
    const struct offline *offline = inspection->offline;
    const struct state_summary *state = &offline->state;

    /* A log that will be reset has nothing to do with the state. */
    if (!offline->log.resets)
        check_entries(inspection);
    if (state->configuration_index > 0)
        (void)decodes(inspection, offline->directory.state_path, state->configuration_index,
                      state->configuration, state->configuration_size);
    if (!offline->log.resets)
        compare_state_and_log(inspection);
    check_membership(inspection);
}

/* ---- all of it ---- */

static void inspect(struct inspection *inspection) {
    bool state_known, log_known;

    say_identity(inspection);
    state_known = read_state(inspection);
    log_known = read_log(inspection, state_known);
    if (state_known && log_known)
        check_agreement(inspection);
}

int offline_open(struct offline *ret, const char *path, const char *name, offline_say callback,
                 offline_progress progress, void *data) {
    struct offline offline = {.directory = DIRECTORY_NULL};
    struct inspection inspection = {
        .offline = &offline, .say = callback, .progress = progress, .data = data};
    struct failure failure;
    int r = directory_open_stopped(&offline.directory, path, name, &failure);

    if (r != 0) {
        say_failure(&inspection, path, r, &failure);
        return r;
    }
    if (offline.directory.unfinished == DIRECTORY_RESTORING)
        say(&inspection, true,
            "%s: `raftkvd --restore` was interrupted here. Run it again: it begins anew.", path);
    else
        inspect(&inspection);
    if (inspection.wrong) {
        offline_close(&offline);
        return ERROR_INTERNAL;
    }
    *ret = offline;
    return 0;
}

void offline_close(struct offline *offline) {
    state_summary_deinit(&offline->state);
    log_recovery_deinit(&offline->log.recovery);
    directory_deinit(&offline->directory);
}

int offline_verify(const char *path, const char *name, offline_say callback,
                   offline_progress progress, void *data) {
    struct offline offline;
    int r = offline_open(&offline, path, name, callback, progress, data);

    if (r != 0)
        return r;
    if (offline.directory.unfinished == DIRECTORY_RECOVERING) {
        struct inspection inspection = {.offline = &offline, .say = callback, .data = data};

        say(&inspection, true,
            "%s: `raftkvd --recover` was interrupted here. Run it again: it goes on.", path);
        r = ERROR_INTERNAL;
    }
    offline_close(&offline);
    return r;
}
