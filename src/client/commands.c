#include "client/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/memory.h"
#include "client/text.h"

typedef Raftkv__V1__Request Request;
typedef Raftkv__V1__Response Response;

static void free_response(Response **response) {
    if (*response)
        raftkv__v1__response__free_unpacked(*response, NULL);
}

static ProtobufCBinaryData bytes_of(const char *text) {
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = strlen(text)};
}

static char *name_field(const char *text) {
    return (char *)(uintptr_t)text; /* protobuf-c only reads it */
}

static int report(FILE *file, enum error_code code, const char *message, bool outcome_unknown) {
    _cleanup_free_ char *escaped = NULL;
    bool sentence = message[0] && message[strlen(message) - 1] == '.';
    const char *addition = sentence ? " The outcome is unknown: it may or may not take effect."
                                    : "; the outcome is unknown: it may or may not take effect";

    /* The message is another machine's: it must not steer the terminal. */
    if (!text_is_printable((const uint8_t *)message, strlen(message), false))
        message = escaped = text_escape((const uint8_t *)message, strlen(message));
    fprintf(file, "raftkvctl: %s: %s%s\n", error_name(code), message,
            outcome_unknown ? addition : "");
    return error_exit_status(code);
}

int report_error(FILE *file, const Raftkv__V1__Error *error) {
    return report(file, (enum error_code)error->code, error->message, error->outcome_unknown);
}

int report_failure(FILE *file, const struct failure *failure) {
    return report(file, failure->code, failure->message, failure->outcome_unknown);
}

int session_call(struct session *session, Request *request, Response **ret) {
    struct failure failure = {0};
    int r = transport_call(session->transport, request, ret, &failure);

    progress_line_clear(&session->progress);
    if (r < 0) {
        fprintf(session->errors, "raftkvctl: no node could be reached: %s\n", failure.message);
        return EXIT_STATUS_LOCAL;
    }
    if (r > 0)
        return report_failure(session->errors, &failure);
    if ((*ret)->error)
        return report_error(session->errors, (*ret)->error);
    return 0;
}

/* ---- keys ---- */

/* Reads at most one byte more than a value may have: the node says what is too large. */
static int read_value(int fd, struct buffer *value) {
    while (value->size <= VALUE_SIZE_MAX) {
        size_t size = VALUE_SIZE_MAX + 1 - value->size;
        ssize_t n;

        if (size > 65536)
            size = 65536;
        n = read(fd, buffer_reserve(value, size), size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        value->size += (size_t)n;
    }
    return 0;
}

static int read_value_from(const char *path, struct buffer *value) {
    int fd = open(path, O_RDONLY | O_CLOEXEC), r;

    if (fd < 0)
        return -errno;
    r = read_value(fd, value);
    close(fd);
    return r;
}

static int send_put(struct session *session, const char *key, ProtobufCBinaryData value) {
    Raftkv__V1__PutRequest body = RAFTKV__V1__PUT_REQUEST__INIT;
    Request request = RAFTKV__V1__REQUEST__INIT;
    _cleanup_(free_response) Response *response = NULL;
    int r;

    body.key = bytes_of(key);
    body.value = value;
    request.body_case = RAFTKV__V1__REQUEST__BODY_PUT;
    request.put = &body;
    r = session_call(session, &request, &response);
    if (r == 0)
        output_put(&session->output, response->put);
    return r;
}

static int run_put(struct session *session, const struct arguments *arguments) {
    _cleanup_(buffer_deinit) struct buffer read = BUFFER_NULL;
    const char *value = arguments->positional_count > 1 ? arguments->positional[1] : NULL;
    const char *source = arguments->file ? arguments->file : "standard input";
    int r;

    if (!value == !arguments->file) {
        fputs("raftkvctl: put takes either VALUE or --file=PATH.\n", session->errors);
        return EXIT_STATUS_USAGE;
    }
    if (value && strcmp(value, "-") != 0)
        return send_put(session, arguments->positional[0], bytes_of(value));

    r = arguments->file ? read_value_from(arguments->file, &read) : read_value(STDIN_FILENO, &read);
    if (r < 0) {
        fprintf(session->errors, "raftkvctl: %s: %s\n", source, strerror(-r));
        return EXIT_STATUS_LOCAL;
    }
    return send_put(session, arguments->positional[0],
                    (ProtobufCBinaryData){.data = read.data, .len = read.size});
}

static int run_get(struct session *session, const struct arguments *arguments) {
    Raftkv__V1__GetRequest body = RAFTKV__V1__GET_REQUEST__INIT;
    Request request = RAFTKV__V1__REQUEST__INIT;
    _cleanup_(free_response) Response *response = NULL;
    int r;

    body.key = bytes_of(arguments->positional[0]);
    body.stale = arguments->stale;
    request.body_case = RAFTKV__V1__REQUEST__BODY_GET;
    request.get = &body;
    r = session_call(session, &request, &response);
    if (r == 0)
        output_get(&session->output, response->get, arguments->raw);
    return r;
}

static int run_delete(struct session *session, const struct arguments *arguments) {
    Raftkv__V1__DeleteRequest body = RAFTKV__V1__DELETE_REQUEST__INIT;
    Request request = RAFTKV__V1__REQUEST__INIT;
    _cleanup_(free_response) Response *response = NULL;
    int r;

    body.key = bytes_of(arguments->positional[0]);
    request.body_case = RAFTKV__V1__REQUEST__BODY_DELETE;
    request.delete_ = &body;
    r = session_call(session, &request, &response);
    if (r == 0)
        output_delete(&session->output, response->delete_);
    return r;
}

/* Asks for pages until the list or the limit ends. */
static int run_list(struct session *session, const struct arguments *arguments) {
    _cleanup_(free_response) Response *page = NULL;
    struct output_list list;
    uint64_t left = arguments->limit;
    bool more;

    for (bool first = true;; first = false) {
        Raftkv__V1__ListRequest body = RAFTKV__V1__LIST_REQUEST__INIT;
        Request request = RAFTKV__V1__REQUEST__INIT;
        Response *previous = TAKE(page);
        int r;

        if (arguments->positional_count > 0)
            body.prefix = bytes_of(arguments->positional[0]);
        if (previous)
            body.continuation = previous->list->continuation;
        else if (arguments->from)
            body.from = bytes_of(arguments->from);
        body.limit = left && left < LIST_ITEMS_DEFAULT ? (uint32_t)left : LIST_ITEMS_DEFAULT;
        body.stale = arguments->stale;
        body.keys_only = arguments->keys_only;
        request.body_case = RAFTKV__V1__REQUEST__BODY_LIST;
        request.list = &body;
        r = session_call(session, &request, &page);
        free_response(&previous);
        if (r != 0) {
            if (!first)
                list.table = table_free(list.table);
            return r;
        }
        if (first)
            output_list_begin(&list, &session->output, arguments->keys_only);
        output_list_page(&list, page->list);
        more = page->list->continuation.len > 0;
        if (!more || (left && page->list->n_items >= left))
            break;
        left -= left ? page->list->n_items : 0;
    }
    output_list_end(&list, page->list->revision, more);
    return 0;
}

/* ---- the cluster ---- */

static int run_status(struct session *session, const struct arguments *arguments) {
    Raftkv__V1__StatusRequest body = RAFTKV__V1__STATUS_REQUEST__INIT;
    Request request = RAFTKV__V1__REQUEST__INIT;
    _cleanup_(free_response) Response *response = NULL;
    int r;

    (void)arguments;
    body.cluster = true;
    request.body_case = RAFTKV__V1__REQUEST__BODY_STATUS;
    request.status = &body;
    r = session_call(session, &request, &response);
    if (r == 0)
        output_status(&session->output, response->status);
    return r;
}

static int run_members(struct session *session, const struct arguments *arguments) {
    Raftkv__V1__MembersRequest body = RAFTKV__V1__MEMBERS_REQUEST__INIT;
    Request request = RAFTKV__V1__REQUEST__INIT;
    _cleanup_(free_response) Response *response = NULL;
    int r;

    body.stale = arguments->stale;
    request.body_case = RAFTKV__V1__REQUEST__BODY_MEMBERS;
    request.members = &body;
    r = session_call(session, &request, &response);
    if (r == 0)
        output_members(&session->output, response->members);
    return r;
}

static int change_configuration(struct session *session, Request *request) {
    _cleanup_(free_response) Response *response = NULL;
    int r = session_call(session, request, &response);

    if (r == 0)
        output_configuration(&session->output, response->configuration);
    return r;
}

static int run_add_voter(struct session *session, const struct arguments *arguments) {
    Raftkv__V1__AddVoterRequest body;
    Request request = RAFTKV__V1__REQUEST__INIT;

    raftkv__v1__add_voter_request__init(&body);
    body.name = name_field(arguments->positional[0]);
    body.peer_address = name_field(arguments->positional[1]);
    body.expected_configuration_index = arguments->expected_index;
    request.body_case = RAFTKV__V1__REQUEST__BODY_ADD_VOTER;
    request.add_voter = &body;
    return change_configuration(session, &request);
}

static int run_add_nonvoter(struct session *session, const struct arguments *arguments) {
    Raftkv__V1__AddNonvoterRequest body;
    Request request = RAFTKV__V1__REQUEST__INIT;

    raftkv__v1__add_nonvoter_request__init(&body);
    body.name = name_field(arguments->positional[0]);
    body.peer_address = name_field(arguments->positional[1]);
    body.expected_configuration_index = arguments->expected_index;
    request.body_case = RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER;
    request.add_nonvoter = &body;
    return change_configuration(session, &request);
}

static int run_remove_server(struct session *session, const struct arguments *arguments) {
    Raftkv__V1__RemoveServerRequest body;
    Request request = RAFTKV__V1__REQUEST__INIT;

    raftkv__v1__remove_server_request__init(&body);
    body.name = name_field(arguments->positional[0]);
    body.expected_configuration_index = arguments->expected_index;
    body.force = arguments->force;
    request.body_case = RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER;
    request.remove_server = &body;
    return change_configuration(session, &request);
}

static int run_demote_voter(struct session *session, const struct arguments *arguments) {
    Raftkv__V1__DemoteVoterRequest body;
    Request request = RAFTKV__V1__REQUEST__INIT;

    raftkv__v1__demote_voter_request__init(&body);
    body.name = name_field(arguments->positional[0]);
    body.expected_configuration_index = arguments->expected_index;
    body.force = arguments->force;
    request.body_case = RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER;
    request.demote_voter = &body;
    return change_configuration(session, &request);
}

static int run_transfer(struct session *session, const struct arguments *arguments) {
    Raftkv__V1__TransferLeadershipRequest body;
    Request request = RAFTKV__V1__REQUEST__INIT;
    _cleanup_(free_response) Response *response = NULL;
    int r;

    raftkv__v1__transfer_leadership_request__init(&body);
    if (arguments->positional_count > 0)
        body.name = name_field(arguments->positional[0]);
    request.body_case = RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP;
    request.transfer_leadership = &body;
    r = session_call(session, &request, &response);
    if (r == 0)
        output_transfer(&session->output, response->transfer_leadership);
    return r;
}

static int run_stats(struct session *session, const struct arguments *arguments) {
    Raftkv__V1__StatsRequest body = RAFTKV__V1__STATS_REQUEST__INIT;
    Request request = RAFTKV__V1__REQUEST__INIT;
    _cleanup_(free_response) Response *response = NULL;
    int r;

    (void)arguments;
    request.body_case = RAFTKV__V1__REQUEST__BODY_STATS;
    request.stats = &body;
    r = session_call(session, &request, &response);
    if (r == 0)
        output_stats(&session->output, response->stats);
    return r;
}

static int run_barrier(struct session *session, const struct arguments *arguments) {
    Raftkv__V1__BarrierRequest body = RAFTKV__V1__BARRIER_REQUEST__INIT;
    Request request = RAFTKV__V1__REQUEST__INIT;
    _cleanup_(free_response) Response *response = NULL;
    int r;

    (void)arguments;
    request.body_case = RAFTKV__V1__REQUEST__BODY_BARRIER;
    request.barrier = &body;
    r = session_call(session, &request, &response);
    if (r == 0)
        output_barrier(&session->output, response->barrier);
    return r;
}

static int run_verify_leader(struct session *session, const struct arguments *arguments) {
    Raftkv__V1__VerifyLeaderRequest body = RAFTKV__V1__VERIFY_LEADER_REQUEST__INIT;
    Request request = RAFTKV__V1__REQUEST__INIT;
    _cleanup_(free_response) Response *response = NULL;
    int r;

    (void)arguments;
    request.body_case = RAFTKV__V1__REQUEST__BODY_VERIFY_LEADER;
    request.verify_leader = &body;
    r = session_call(session, &request, &response);
    if (r == 0)
        output_verify_leader(&session->output, response->verify_leader);
    return r;
}

static int run_snapshot(struct session *session, const struct arguments *arguments) {
    Raftkv__V1__SnapshotRequest body = RAFTKV__V1__SNAPSHOT_REQUEST__INIT;
    Request request = RAFTKV__V1__REQUEST__INIT;
    _cleanup_(free_response) Response *response = NULL;
    int r;

    (void)arguments;
    request.body_case = RAFTKV__V1__REQUEST__BODY_SNAPSHOT;
    request.snapshot = &body;
    r = session_call(session, &request, &response);
    if (r == 0)
        output_snapshot(&session->output, response->snapshot);
    return r;
}

const struct command commands[] = {
    {"put", "KEY VALUE", "Set a key",
     "Sets the key. Answered once a majority of the voters has it on disk. With VALUE \"-\" the "
     "value is read from standard input. An argument that begins with \"-\" goes behind \"--\".",
     OPTION_BIT(OPTION_FILE), 1, 2, run_put},
    {"get", "KEY", "Print the value of a key",
     "Prints the value alone and a newline. On a terminal a value that is not text is shown with "
     "escapes.",
     OPTION_BIT(OPTION_RAW) | OPTION_BIT(OPTION_STALE), 1, 1, run_get},
    {"delete", "KEY", "Delete a key", "Deletes the key. It is no error when there is none.", 0, 1,
     1, run_delete},
    {"list", "[PREFIX]", "List keys with their values",
     "Lists the keys that begin with PREFIX, or all, in byte order. Later pages of a long list may "
     "show later writes than earlier ones.",
     OPTION_BIT(OPTION_FROM) | OPTION_BIT(OPTION_LIMIT) | OPTION_BIT(OPTION_KEYS_ONLY) |
         OPTION_BIT(OPTION_STALE),
     0, 1, run_list},
    {"status", "", "Show the state of every member",
     "Shows every member: role, state, term, revision, how far it lags behind the highest commit "
     "index, and whether it answers. While states are sent from one member to another, a second "
     "table shows how far each has come.",
     0, 0, 0, run_status},
    {"members", "", "Show the membership",
     "Shows the committed membership with the configuration index, which --expected-index= of the "
     "commands that change it takes.",
     OPTION_BIT(OPTION_STALE), 0, 0, run_members},
    {"add-voter", "NAME PEER-ADDRESS", "Add a node to the cluster as a voter",
     "Contacts the node that listens for peers at PEER-ADDRESS (HOST:PORT), checks that it is "
     "NAME, "
     "adds it as a non-voter, lets it catch up and promotes it. Answered when it is promoted.",
     OPTION_BIT(OPTION_EXPECTED_INDEX), 2, 2, run_add_voter},
    {"add-nonvoter", "NAME PEER-ADDRESS", "Add a node to the cluster as a non-voter",
     "Contacts the node that listens for peers at PEER-ADDRESS (HOST:PORT), checks that it is "
     "NAME, "
     "and adds it as a non-voter: it replicates, and does not count in majorities. Answered when "
     "it "
     "is a member; it catches up after that. add-voter makes it a voter.",
     OPTION_BIT(OPTION_EXPECTED_INDEX), 2, 2, run_add_nonvoter},
    {"remove-server", "NAME", "Remove a member",
     "Removes the member from the cluster. Refused as WouldLoseQuorum when fewer than a majority "
     "of "
     "the voters that would remain answer. With --force it is begun even so: it is done, and "
     "writes "
     "go on, only when enough of them answer again; if they never do, the cluster is lost.",
     OPTION_BIT(OPTION_EXPECTED_INDEX) | OPTION_BIT(OPTION_FORCE), 1, 1, run_remove_server},
    {"demote-voter", "NAME", "Make a voter a non-voter",
     "Makes the voter a non-voter: it goes on replicating, and does not count in majorities. "
     "WouldLoseQuorum and --force are as for remove-server.",
     OPTION_BIT(OPTION_EXPECTED_INDEX) | OPTION_BIT(OPTION_FORCE), 1, 1, run_demote_voter},
    {"transfer-leadership", "[NAME]", "Hand leadership to another voter",
     "Hands leadership to the named voter, or to the most up-to-date one. Answered when the new "
     "leader is known; Timeout when the voter does not catch up in time: then the old leader "
     "serves "
     "on.",
     0, 0, 1, run_transfer},
    {"stats", "", "Show what a node has counted and measured",
     "Shows the statistics of the asked node since it started: raft, log, state, snapshots, "
     "requests and connections. Over D-Bus their units and meanings are left out; org.raftkv1(5) "
     "lists them.",
     0, 0, 0, run_stats},
    {"operations", "", "List what takes long on a node",
     "Lists the operations of the asked node: changes of the membership, transfers of leadership, "
     "snapshots and backups that are under way, or ended in the last 5 minutes. Each has a token, "
     "which await and cancel take.",
     0, 0, 0, run_operations},
    {"await", "TOKEN", "Wait for the end of an operation",
     "Waits until the operation of this token, on the asked node, has ended, and says how: its "
     "error, if it failed, is that of this command.",
     0, 1, 1, run_await},
    {"cancel", "TOKEN", "Wait for an operation no longer",
     "Whoever waits for the operation is told that it was cancelled. What waited for a leader does "
     "not happen; what was begun goes on: remove-server takes back an addition that is under way. "
     "A backup ends.",
     0, 1, 1, run_cancel},
    {"barrier", "", "Wait until everything proposed before is applied",
     "Writes an entry that does nothing, and waits until the leader has applied it. Prints its "
     "index.",
     0, 0, 0, run_barrier},
    {"verify-leader", "", "Confirm who leads",
     "Has the leader confirm with a majority of the voters that it leads, and prints its name and "
     "the term.",
     0, 0, 0, run_verify_leader},
    {"snapshot", "", "Compact the log of a node",
     "Flushes the state of the asked node, and drops what of its log the state holds, but for the "
     "trailing entries. A node does so by itself when enough has gathered. Prints the index up to "
     "which the state holds the log, and how long it took.",
     0, 0, 0, run_snapshot},
    {"backup", "FILE", "Save the state of a node in a file",
     "Reads the whole state of the asked node at one index, while writes go on, into FILE, or for "
     "\"-\" to standard output. The state of a follower may lag behind: the index is shown, and "
     "everything up to it is in the backup. FILE is replaced when the backup is complete and on "
     "the "
     "disk; only its owner may read it. --timeout= holds for each answer of the node. \"raftkvd "
     "--restore\" makes a new cluster of a backup.",
     0, 1, 1, run_backup},
    {"check", "FILE", "Check a backup",
     "Reads the backup in FILE, or for \"-\" from standard input, to its end, checks every byte of "
     "it, and shows what it holds. Asks no node. A damaged one is InvalidArgument.",
     0, 1, 1, run_check},
    {"help", "[COMMAND]", "Show help", "Shows the help of raftkvctl, or that of one command.", 0, 0,
     1, NULL},
    {0},
};
