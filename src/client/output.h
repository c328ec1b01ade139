/*
 * What raftkvctl prints: tables for people, or JSON for programs, one object a command.
 *
 * JSON. Revisions, terms and counts are numbers; ids are strings of 16 hexadecimal digits, because
 * JSON's numbers hold only 53 bits everywhere. Bytes of the user are a string where they are UTF-8
 * without NUL ("key", "value"), and otherwise base64 under the other name ("key_base64",
 * "value_base64"). Members are only ever added.
 *
 *   put      {"revision", "created"}
 *   get      {"key", "value", "create_revision", "modify_revision", "version", "revision"}
 *   delete   {"revision", "existed"}
 *   list     {"items": [as get, without "revision"; no value with --keys-only], "revision", "more"}
 *   status   {"node", "members": [{"name", "id", "role", "state", "term", "leader",
 *             "commit_index", "applied_index", "first_index", "last_index", "lag", "answers",
 *             "error", "version", "peer_address", "client_address", "cluster_id", "alarm",
 *             "snapshot_count", "snapshot_index", "snapshot_milliseconds", "snapshot_bytes",
 *             "receiving": null or progress, "sending": [progress]}]}, where progress, of a state
 *             on its way from one member to another, is {"member", "bytes", "total_bytes",
 *             "milliseconds", "percent", "bytes_per_second"}: the other side, what has arrived,
 *             about how much there is, the time since it began, and what follows from these
 *   members  {"cluster_id", "configuration_index", "members": [{"name", "id", "role",
 *             "peer_address", "client_address", "leader", "promoting"}]}
 *   members --pending                        {"nodes": [{"name", "id", "peer_address",
 *             "client_address", "milliseconds"}]}
 *   reject                                   {"rejected"}
 *   add-voter, add-nonvoter, accept, remove-server, demote-voter   {"configuration_index"}
 *   transfer-leadership                      {"leader"}
 *   barrier                                  {"index"}
 *   verify-leader                            {"leader", "term"}
 *   stats    {NAME: number, or {"count", "mean", "maximum", "p50", "p90", "p99", "p999"}}
 *   snapshot                                 {"index", "milliseconds"}
 *   await                                    as the command that began it; of a backup {"last"}
 *   operations, cancel                       {"operations": [{"token", "request", "subject",
 *             "asked_by", "state" ("running", "done" or "failed"), "phase", "done", "total",
 *             "unit", "milliseconds"}]}
 *   backup, check                            {"index", "term", "records", "bytes" (of keys and
 *             values), "size" (of the file), "cluster_id", "version"}; of a backup to standard
 *             output this goes to standard error
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "client/table.h"
#include "format/backup.h"
#include "proto/unpack.h"

struct output {
    FILE *file;
    bool json;
    bool terminal; /* the file is one: escape what could steer it */
    bool color;
    bool over_bus; /* which does not say what statistics mean */
};

/* For standard output: looks at what it is, and at NO_COLOR (https://no-color.org). */
struct output output_standard(bool json);

void output_put(const struct output *output, const Raftkv__V1__PutResponse *response);
/* `raw`: the value without the newline, and never escaped. */
void output_get(const struct output *output, const Raftkv__V1__GetResponse *response, bool raw);
void output_delete(const struct output *output, const Raftkv__V1__DeleteResponse *response);
void output_status(const struct output *output, const Raftkv__V1__StatusResponse *response);
void output_members(const struct output *output, const Raftkv__V1__MembersResponse *response);
void output_pending(const struct output *output, const Raftkv__V1__PendingResponse *response);
void output_rejected(const struct output *output, const char *name);
void output_configuration(const struct output *output,
                          const Raftkv__V1__ConfigurationResponse *response);
void output_transfer(const struct output *output,
                     const Raftkv__V1__TransferLeadershipResponse *response);

void output_barrier(const struct output *output, const Raftkv__V1__BarrierResponse *response);
void output_verify_leader(const struct output *output,
                          const Raftkv__V1__VerifyLeaderResponse *response);
void output_operations(const struct output *output, Raftkv__V1__Operation *const *operations,
                       size_t count);
void output_stats(const struct output *output, const Raftkv__V1__StatsResponse *response);
void output_snapshot(const struct output *output, const Raftkv__V1__SnapshotResponse *response);
void output_backup(const struct output *output, const struct backup_summary *summary);
/* Of a backup that another caller has read to its end. */
void output_backup_read(const struct output *output);

/* A list is printed page by page, so that memory does not grow with it. */
struct output_list {
    const struct output *output;
    bool keys_only;
    bool started;
    struct table *table;
};
void output_list_begin(struct output_list *list, const struct output *output, bool keys_only);
void output_list_page(struct output_list *list, const Raftkv__V1__ListResponse *page);
/* `more`: the list was cut at a limit, and there are further items. */
void output_list_end(struct output_list *list, uint64_t revision, bool more);
