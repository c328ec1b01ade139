#include "node/node.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/defect.h"
#include "node/node_internal.h"

enum { ENTRY_CACHE_DEFAULT = 8 * 1024 * 1024 };

static uint64_t random_id(struct host *host) {
    uint64_t id;

    if (DEFECT(WIPED_UNDER_OLD_ID))
        return 1 + (uint64_t)((uintptr_t)host % 1000003);
    do
        id = host->random(host);
    while (id == 0);
    return id;
}

static void take_identity(struct node *node, const struct node_options *options) {
    struct identity *identity = &node->identity;

    identity->cluster_id = node->directory.cluster_id;
    identity->member_id = node->directory.member_id;
    identity->incarnation = node->directory.incarnation;
    snprintf(identity->name, sizeof identity->name, "%s", options->name);
    snprintf(identity->peer_address, sizeof identity->peer_address, "%s", options->peer_address);
    snprintf(identity->client_address, sizeof identity->client_address, "%s",
             options->client_address);
}

/* ---- bootstrap ---- */

/* Entry 1 of a new cluster: a configuration of this node alone, of term 1; goes to the log and into
 * what the log was found to hold. */
static int write_first_entry(struct node *node, struct log_recovery *recovery) {
    struct configuration configuration = {.count = 0};
    struct server self = {.id = node->identity.member_id, .role = MEMBER_VOTER};
    struct log_entry *entry = xcalloc(1, sizeof *entry);
    uint8_t *data;
    int result;

    strcpy(self.name, node->identity.name);
    strcpy(self.peer_address, node->identity.peer_address);
    strcpy(self.client_address, node->identity.client_address);
    configuration_add(&configuration, &self);
    *entry = (struct log_entry){.term = 1, .type = ENTRY_CHANGE};
    configuration_encode(&configuration, &data, &entry->size);
    entry->data = data;
    result = log_store_set_vote(node->log, 1, 0);
    if (result == 0)
        result = log_store_append(node->log, 1, entry, 1);
    if (result == 0)
        result = log_store_flush(node->log);
    free(recovery->entries);
    recovery->entries = entry;
    recovery->term = 1;
    recovery->last_index = 1;
    return result;
}

/*
 * The cluster's id is made and written, marked as bootstrapping, before the first entry, and the
 * mark taken off after it: a crash between the two is finished at the next start, whatever
 * Bootstrap= says then.
 */
static int bootstrap(struct node *node, struct log_recovery *recovery, struct failure *failure) {
    uint64_t cluster_id = node->identity.cluster_id;
    int result = 0;

    if (recovery->last_index == 0) {
        if (cluster_id == 0)
            cluster_id = random_id(node->host);
        result = directory_set_cluster(&node->directory, cluster_id, true);
        if (result == 0)
            result = write_first_entry(node, recovery);
        if (result == 0) {
            struct journal_event event = JOURNAL_EVENT(MESSAGE_CLUSTER_BEGUN);

            node->identity.cluster_id = cluster_id;
            node_event(&event, node, 0, NULL);
            journal_with(LOG_NOTICE, event.fields, "A new cluster, %016llx, begins with this node.",
                         (unsigned long long)cluster_id);
        }
    }
    if (result == 0)
        result = directory_set_cluster(&node->directory, cluster_id, false);
    if (result < 0)
        return failure_set(failure, ERROR_INTERNAL, "The new cluster can't be written to %s: %s.",
                           node->directory.path, strerror(-result));
    return 0;
}

/* ---- opening ---- */

static int open_log(struct node *node, const struct node_options *node_options,
                    struct log_recovery *recovery, struct failure *failure) {
    struct log_store_options options = {
        .directory = node->directory.log_path,
        .member_id = node->identity.member_id,
        .incarnation = node->identity.incarnation,
        .file_size = node_options->log_file_size,
        .batch_size = node_options->log_batch_bytes,
    };
    int result;

    state_applied(node->state, &options.applied_index, &options.applied_term);
    state_configuration(node->state, &options.configuration_index, &options.configuration,
                        &options.configuration_size);
    options.installed = state_installed_index(node->state) > 0 &&
                        state_installed_index(node->state) == options.applied_index;
    result = log_store_open(&node->log, &options, recovery, failure);
    if (result == 0 && recovery->cut_message[0])
        journal_with(LOG_WARNING, (const char *const[]){MESSAGE_LOG_CUT_AT_START, NULL}, "%s",
                     recovery->cut_message);
    return result;
}

/* The log has all entries from behind the mark on. */
static void count_since_mark(struct node *node, const struct log_recovery *recovery,
                             uint64_t applied_index) {
    uint64_t bytes = 0;

    for (uint64_t i = recovery->mark.index + 1; i <= applied_index; i++)
        if (i >= recovery->first_index && i <= recovery->last_index)
            bytes += recovery->entries[i - recovery->first_index].size;
    compaction_begin(node, recovery->mark.index, applied_index - recovery->mark.index, bytes);
}

static int open_member(struct node *node, const struct node_options *options,
                       const struct log_recovery *recovery, struct failure *failure) {
    struct member_options member = {
        .host = node->host,
        .effects = &node->effects,
        .identity = &node->identity,
        .election_timeout = options->election_timeout,
        .heartbeat = options->heartbeat,
        .cache_size = options->entry_cache_size ? options->entry_cache_size : ENTRY_CACHE_DEFAULT,
        .term = recovery->term,
        .vote = recovery->vote,
        .mark_index = recovery->mark.index,
        .mark_term = recovery->mark.term,
        .mark_configuration_index = recovery->mark.configuration_index,
        .mark_configuration = recovery->mark.configuration,
        .mark_configuration_size = recovery->mark.configuration_size,
        .removed_index = node->directory.removed_index,
        .first_index = recovery->first_index,
        .entries = recovery->entries,
        .entry_count = recovery->last_index + 1 - recovery->first_index,
    };
    uint64_t term, vote, applied_term;
    int result;

    state_applied(node->state, &member.applied_index, &applied_term);
    state_configuration(node->state, &member.configuration_index, &member.configuration,
                        &member.configuration_size);
    count_since_mark(node, recovery, member.applied_index);
    result = member_new(&node->member, &member, &term, &vote);
    if (result < 0)
        return failure_set(failure, ERROR_INTERNAL,
                           "The log in %s holds a configuration that does not decode.",
                           node->directory.log_path);
    if (term == recovery->term && vote == recovery->vote)
        return 0;
    result = log_store_set_vote(node->log, term, vote);
    if (result == 0)
        result = log_store_flush(node->log);
    if (result < 0)
        return failure_set(failure, ERROR_INTERNAL, "The log in %s can't be written: %s.",
                           node->directory.log_path, strerror(-result));
    return 0;
}

static int open_stores(struct node *node, const struct node_options *options,
                       struct log_recovery *recovery, struct failure *failure) {
    struct state_options state = {
        .directory = node->directory.state_path,
        .cache_size = options->state_cache_size,
        .log_file_size = options->state_log_size,
        .journal_pages = options->state_journal_pages,
    };
    int result = state_open(&node->state, &state, failure);

    if (result == 0)
        result = open_log(node, options, recovery, failure);
    if (result == 0 &&
        (node->directory.bootstrapping ||
         (options->bootstrap && node->identity.cluster_id == 0 && recovery->last_index == 0)))
        result = bootstrap(node, recovery, failure);
    return result;
}

/* Whatever went wrong without a sentence of its own gets one. */
static int name_failure(int result, const struct node *node, struct failure *failure) {
    if (result < 0)
        return failure_set(failure, ERROR_INTERNAL, "%s can't be opened: %s.",
                           node->directory.path ? node->directory.path : "The data directory",
                           strerror(-result));
    return result;
}

static int open_all(struct node *node, const struct node_options *options,
                    struct failure *failure) {
    struct log_recovery recovery = {0};
    int result = directory_open(&node->directory, options->data_directory, options->name,
                                random_id(node->host), failure);

    if (result != 0)
        return name_failure(result, node, failure);
    take_identity(node, options);
    result = open_stores(node, options, &recovery, failure);
    if (result == 0)
        result = open_member(node, options, &recovery, failure);
    log_recovery_deinit(&recovery);
    return name_failure(result, node, failure);
}

/* There must be room to begin a file of the log beside one that goes. */
static uint64_t reserve_of(const struct node_options *options) {
    uint64_t files = 2 * (uint64_t)options->log_file_size;
    uint64_t reserve = options->reserve_bytes ? options->reserve_bytes : RESERVE_BYTES_DEFAULT;

    return reserve > files ? reserve : files;
}

void node_set_limits(struct node *node, const struct node_options *options) {
    node->limits.snapshot_entries =
        options->snapshot_entries ? options->snapshot_entries : SNAPSHOT_ENTRIES_DEFAULT;
    node->limits.snapshot_bytes =
        options->snapshot_bytes ? options->snapshot_bytes : SNAPSHOT_BYTES_DEFAULT;
    node->limits.trailing_entries =
        options->trailing_entries ? options->trailing_entries : TRAILING_ENTRIES_DEFAULT;
    node->limits.trailing_bytes =
        options->trailing_bytes ? options->trailing_bytes : TRAILING_BYTES_DEFAULT;
    node->space.reserve = reserve_of(options);
    member_set_replacement(node->member, options->auto_promote_voters, options->auto_promote_after);
    node->allow_join = options->allow_join;
}

int node_open(struct node **ret, struct host *host, const struct node_options *options,
              struct failure *failure) {
    struct node *node = xcalloc(1, sizeof *node);
    int result;

    node->host = host;
    node->directory = DIRECTORY_NULL;
    storage_init(node);
    space_init(node);
    announce_init(node, options->join, options->election_timeout);
    node->limits.checkpoint_bytes =
        options->checkpoint_bytes ? options->checkpoint_bytes : CHECKPOINT_BYTES;
    node->limits.chunk_bytes =
        options->snapshot_chunk_bytes ? options->snapshot_chunk_bytes : SNAPSHOT_CHUNK_BYTES;
    result = open_all(node, options, failure);
    if (result != 0) {
        node_close(node);
        return result;
    }
    node_set_limits(node, options);
    node->service_node = (struct service_node){
        .data = node,
        .compact = status_compact,
        .compacting = status_compacting,
        .backup_read = backups_read,
        .backup_end = backups_end,
        .state_failed = status_state_failed,
        .fill_status = status_fill,
        .measure = measure_start,
        .add_statistics = measure_add,
    };
    node->service = service_new(&(struct service_options){
        .node = &node->service_node,
        .host = host,
        .member = node->member,
        .state = node->state,
        .identity = &node->identity,
    });
    if (member_start(node->member) < 0) {
        node_close(node);
        return failure_set(failure, ERROR_INTERNAL, "raft could not be started.");
    }
    removal_begin(node);
    node_flush(node);
    *ret = node;
    return 0;
}

/* ---- running ---- */

const struct identity *node_identity(const struct node *node) {
    return &node->identity;
}

struct service *node_service(struct node *node) {
    return node->service;
}

struct member *node_member(struct node *node) {
    return node->member;
}

bool node_is_removed(const struct node *node) {
    struct member_view view;

    member_get_view(node->member, &view);
    return view.removed;
}

static void ask_to_wake(struct node *node) {
    uint64_t deadline = member_deadline(node->member);
    uint64_t others[] = {
        service_next_deadline(node->service),
        storage_deadline(node),
        streams_deadline(node),
        backups_deadline(node),
        staging_deadline(node),
        install_deadline(node),
        compaction_deadline(node),
        space_deadline(node),
        announce_deadline(node),
        stop_deadline(node),
    };

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (others[i] < deadline)
            deadline = others[i];
    node->host->wake_at(node->host, deadline);
}

void node_flush(struct node *node) {
    member_flush(node->member);
    /* Telling the service may propose anew, which changes the member again: that is told the next
     * time. */
    if (node->changed) {
        node->changed = false;
        service_member_changed(node->service);
        member_flush(node->member);
    }
    doors_update_peers(node);
    removal_note(node);
    if (node->stopping)
        stop_advance(node);
    ask_to_wake(node);
}

void node_tick(struct node *node) {
    member_tick(node->member);
    service_tick(node->service);
    storage_tick(node);
    streams_advance(node);
    backups_tick(node);
    staging_advance(node);
    install_advance(node);
    compaction_tick(node);
    space_tick(node);
    announce_tick(node);
    node_flush(node);
}

struct node *node_close(struct node *node) {
    if (!node)
        return NULL;
    if (node->member)
        check(!storage_busy(node) || storage_waits(node));
    /* The service answers what it can; what the member still holds ends after it, unheard. */
    node->service = service_free(node->service);
    node->member = member_free(node->member);
    streams_deinit(node);
    backups_deinit(node);
    staging_deinit(node);
    node->install.stage = stage_discard(node->install.stage);
    member_mark_deinit(&node->compaction.mark);
    storage_deinit(node);
    node->state = state_close(node->state);
    node->log = log_store_close(node->log);
    directory_deinit(&node->directory);
    free(node);
    return NULL;
}
