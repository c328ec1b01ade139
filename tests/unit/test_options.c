/* The configuration of raftkvd: every key, every kind of wrong value, files and drop-ins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/error.h"
#include "base/join_policy.h"
#include "base/memory.h"
#include "daemon/option_values.h"
#include "daemon/options.h"

struct fixture {
    char directory[64];
    char *file;      /* directory/nodeA.conf */
    char said[8192]; /* "e FILE:LINE: MESSAGE\n" or "w ...", FILE without the directory */
};

static int setup(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);

    strcpy(f->directory, "/tmp/raftkv-test-options-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    f->file = xasprintf("%s/nodeA.conf", f->directory);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *ftw) {
    (void)status;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static int teardown(void **state) {
    struct fixture *f = *state;

    nftw(f->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f->file);
    free(f);
    return 0;
}

static void put_bytes(struct fixture *f, const char *name, const char *data, size_t size) {
    _cleanup_free_ char *path = xasprintf("%s/%s", f->directory, name);
    FILE *stream = fopen(path, "we");

    assert_non_null(stream);
    assert_int_equal(fwrite(data, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
}

static void put(struct fixture *f, const char *name, const char *text) {
    put_bytes(f, name, text, strlen(text));
}

static void make_drop_ins(struct fixture *f) {
    _cleanup_free_ char *path = xasprintf("%s.d", f->file);

    assert_int_equal(mkdir(path, 0700), 0);
}

static void remember(void *data, int priority, const char *file, unsigned line,
                     const char *message) {
    struct fixture *f = data;
    size_t used = strlen(f->said);
    size_t prefix = strlen(f->directory);

    if (strncmp(file, f->directory, prefix) == 0)
        file += prefix + 1;
    assert_true(priority == LOG_ERR || priority == LOG_WARNING);
    snprintf(f->said + used, sizeof f->said - used, "%c %s:%u: %s\n",
             priority == LOG_ERR ? 'e' : 'w', file, line, message);
}

static int load(struct fixture *f, struct options *ret) {
    f->said[0] = 0;
    return options_load(ret, "nodeA", f->file, remember, f);
}

/* The configuration is taken, and nothing is said about it. */
static struct options good(struct fixture *f, const char *text) {
    struct options options;

    put(f, "nodeA.conf", text);
    assert_int_equal(load(f, &options), 0);
    assert_string_equal(f->said, "");
    return options;
}

/* The configuration is refused with exactly this. */
static void bad(struct fixture *f, const char *text, const char *said) {
    struct options options;

    put(f, "nodeA.conf", text);
    assert_int_equal(load(f, &options), ERROR_INVALID_ARGUMENT);
    assert_string_equal(f->said, said);
}

static void an_empty_file_gives_every_default(void **state) {
    struct options o = good(*state, "");

    assert_string_equal(o.name, "nodeA");
    assert_string_equal(o.listen_clients, "127.0.0.1:4711");
    assert_string_equal(o.listen_peers, "127.0.0.1:4712");
    assert_string_equal(o.advertise_clients, "127.0.0.1:4711");
    assert_string_equal(o.advertise_peers, "127.0.0.1:4712");
    assert_string_equal(o.data_directory, "/var/lib/raftkv/nodeA");
    assert_false(o.bootstrap);
    assert_int_equal(o.max_connections, CLIENT_CONNECTIONS_MAX);
    assert_int_equal(o.max_in_flight, CLIENT_IN_FLIGHT_MAX);
    assert_int_equal(o.state_cache_size, 16 << 20);
    assert_int_equal(o.entry_cache_size, 8 << 20);
    assert_int_equal(o.stop_timeout, 10000);
    assert_int_equal(o.reserve_bytes, 64 << 20);
    assert_int_equal(o.election_timeout, 1000);
    assert_int_equal(o.heartbeat, 100);
}

static void every_key_can_be_set(void **state) {
    struct options o = good(*state, "[Node]\n"
                                    "Name=nodeA\n"
                                    "ListenClients=[::]:5001\n"
                                    "ListenPeers = 0.0.0.0:5002\n"
                                    "AdvertiseClients=db1.example.org:5001\n"
                                    "AdvertisePeers=[2001:db8::1]:5002\n"
                                    "DataDirectory=/srv/raft kv\n"
                                    "Bootstrap=yes\n"
                                    "MaxConnections=17\n"
                                    "MaxInFlight=18\n"
                                    "StateCacheBytes=2G\n"
                                    "EntryCacheBytes=1048576\n"
                                    "StopTimeoutSec=1min 30s\n"
                                    "ReserveBytes=1G\n"
                                    "[Raft]\n"
                                    "ElectionTimeoutSec=1.5s\n"
                                    "HeartbeatSec=500ms\n");

    assert_string_equal(o.name, "nodeA");
    assert_string_equal(o.listen_clients, "[::]:5001");
    assert_string_equal(o.listen_peers, "0.0.0.0:5002");
    assert_string_equal(o.advertise_clients, "db1.example.org:5001");
    assert_string_equal(o.advertise_peers, "[2001:db8::1]:5002");
    assert_string_equal(o.data_directory, "/srv/raft kv");
    assert_true(o.bootstrap);
    assert_int_equal(o.max_connections, 17);
    assert_int_equal(o.max_in_flight, 18);
    assert_int_equal(o.state_cache_size, UINT64_C(2) << 30);
    assert_int_equal(o.entry_cache_size, 1 << 20);
    assert_int_equal(o.stop_timeout, 90000);
    assert_int_equal(o.reserve_bytes, 1 << 30);
    assert_int_equal(o.election_timeout, 1500);
    assert_int_equal(o.heartbeat, 500);
}

static void a_node_joins_through_those_that_are_named(void **state) {
    struct options o =
        good(*state, "[Node]\nJoin= db1.example.org:4712\t [2001:db8::1]:4712  a:1 \n"
                     "AllowJoin=nonvoter\n");

    assert_string_equal(o.join, "db1.example.org:4712 [2001:db8::1]:4712 a:1");
    assert_int_equal(o.allow_join, JOIN_NONVOTER);
    o = good(*state, "[Node]\nJoin=a:1\nJoin=\nBootstrap=yes\n");
    assert_string_equal(o.join, "");
    assert_int_equal(o.allow_join, JOIN_ASK);
    bad(*state, "[Node]\nJoin=a:1\nBootstrap=yes\n",
        "e nodeA.conf:2: Join= and Bootstrap=yes are both set; a node begins a cluster or joins "
        "one\n");
}

static void every_key_says_what_it_takes_and_what_for(void **state) {
    char text[256];

    (void)state;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        assert_non_null(option_keys[i].name);
        assert_true(strlen(option_keys[i].sentence) > 10);
        assert_true(strlen(option_allowed(&option_keys[i], text, sizeof text)) > 5);
    }
}

static void a_wrong_value_is_an_error_with_place_value_and_what_is_allowed(void **state) {
    static const struct {
        const char *assignment, *allowed;
    } table[] = {
        {"Name=1a", "a name of letters, digits and _, not beginning with a digit, at most 63 "
                    "characters"},
        {"Name=node-A", "a name of letters, digits and _, not beginning with a digit, at most 63 "
                        "characters"},
        {"ListenClients=4711", "HOST:PORT with a port from 1 to 65535, such as 127.0.0.1:4711, "
                               "[::1]:4711 or 0.0.0.0:4711"},
        {"ListenPeers=127.0.0.1:0", "HOST:PORT with a port from 1 to 65535, such as "
                                    "127.0.0.1:4711, [::1]:4711 or 0.0.0.0:4711"},
        {"ListenPeers=::1:4712", "HOST:PORT with a port from 1 to 65535, such as "
                                 "127.0.0.1:4711, [::1]:4711 or 0.0.0.0:4711"},
        {"AdvertiseClients=0.0.0.0:1", "HOST:PORT that others can connect to, such as "
                                       "db1.example.org:4711, 192.0.2.1:4711 or "
                                       "[2001:db8::1]:4711"},
        {"AdvertisePeers=:4712", "HOST:PORT that others can connect to, such as "
                                 "db1.example.org:4711, 192.0.2.1:4711 or [2001:db8::1]:4711"},
        {"DataDirectory=data", "an absolute path of less than 4096 bytes"},
        {"Bootstrap=maybe", "yes or no"},
        {"Join=localhost",
         "1 to 16 times HOST:PORT, with blanks between, where nodes listen for peers"},
        {"Join=localhost:1 0.0.0.0:2",
         "1 to 16 times HOST:PORT, with blanks between, where nodes listen for peers"},
        {"Join=a:1 a:1 a:1 a:1 a:1 a:1 a:1 a:1 a:1 a:1 a:1 a:1 a:1 a:1 a:1 a:1 a:1",
         "1 to 16 times HOST:PORT, with blanks between, where nodes listen for peers"},
        {"AllowJoin=yes", "no, ask, nonvoter or voter"},
        {"AllowJoin=Voter", "no, ask, nonvoter or voter"},
        {"MaxConnections=0", "a whole number from 1 to 10000"},
        {"MaxConnections=10001", "a whole number from 1 to 10000"},
        {"MaxConnections=-1", "a whole number from 1 to 10000"},
        {"MaxConnections=1e3", "a whole number from 1 to 10000"},
        {"MaxConnections=18446744073709551617", "a whole number from 1 to 10000"},
        {"MaxInFlight=1025", "a whole number from 1 to 1024"},
        {"StateCacheBytes=1023K", "a size from 1M to 64G, such as 16M"},
        {"StateCacheBytes=16m", "a size from 1M to 64G, such as 16M"},
        {"StateCacheBytes=65G", "a size from 1M to 64G, such as 16M"},
        {"StateCacheBytes=99999999999T", "a size from 1M to 64G, such as 16M"},
        {"EntryCacheBytes=8 M", "a size from 1M to 64G, such as 8M"},
        {"ReserveBytes=31M", "a size from 32M to 64G, such as 64M"},
        {"StopTimeoutSec=11min", "a time span from 0s to 10min, such as 10s"},
        {"StopTimeoutSec=infinity", "a time span from 0s to 10min, such as 10s"},
        {"StopTimeoutSec=10 parsecs", "a time span from 0s to 10min, such as 10s"},
    };

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        _cleanup_free_ char *text = xasprintf("[Node]\n# a comment\n%s\n", table[i].assignment);
        _cleanup_free_ char *said = xasprintf("e nodeA.conf:3: %s is wrong; allowed is %s\n",
                                              table[i].assignment, table[i].allowed);

        bad(*state, text, said);
    }
    bad(*state, "[Raft]\nElectionTimeoutSec=10ms\n",
        "e nodeA.conf:2: ElectionTimeoutSec=10ms is wrong; allowed is a time span from 50ms to "
        "1min, such as 1s\n");
    bad(*state, "[Raft]\nHeartbeatSec=1h\n",
        "e nodeA.conf:2: HeartbeatSec=1h is wrong; allowed is a time span from 10ms to 20s, such "
        "as 100ms\n");
}

static void the_smallest_and_largest_values_are_allowed(void **state) {
    struct options o;

    o = good(*state, "[Node]\nMaxConnections=1\nMaxInFlight=1\nStateCacheBytes=1M\n"
                     "EntryCacheBytes=1M\nStopTimeoutSec=0\n"
                     "[Raft]\nElectionTimeoutSec=50ms\nHeartbeatSec=10ms\n");
    assert_int_equal(o.stop_timeout, 0);
    assert_int_equal(o.heartbeat, 10);
    o = good(*state, "[Node]\nMaxConnections=10000\nMaxInFlight=1024\nStateCacheBytes=64G\n"
                     "EntryCacheBytes=64G\nStopTimeoutSec=10min\n"
                     "[Raft]\nElectionTimeoutSec=1min\nHeartbeatSec=20s\n");
    assert_int_equal(o.state_cache_size, UINT64_C(64) << 30);
    assert_int_equal(o.election_timeout, 60000);
}

static void a_long_name_and_a_long_path_are_refused(void **state) {
    char text[5000], value[4200];
    struct options options;

    memset(value, 'a', 64);
    value[64] = 0;
    snprintf(text, sizeof text, "[Node]\nName=%s\n", value);
    put(*state, "nodeA.conf", text);
    assert_int_equal(load(*state, &options), ERROR_INVALID_ARGUMENT);

    memset(value, '/', PATH_MAX);
    value[PATH_MAX] = 0;
    snprintf(text, sizeof text, "[Node]\nDataDirectory=%s\n", value);
    put(*state, "nodeA.conf", text);
    assert_int_equal(load(*state, &options), ERROR_INVALID_ARGUMENT);
}

static void the_name_must_agree_with_the_command_line(void **state) {
    bad(*state, "[Node]\nName=nodeB\n",
        "e nodeA.conf:2: Name=nodeB is wrong; the command line calls this node nodeA, and both "
        "must agree\n");
}

static void without_a_name_on_the_command_line_the_file_must_say_it(void **state) {
    struct fixture *f = *state;
    struct options options;

    put(f, "nodeA.conf", "[Node]\nName=nodeB\n");
    assert_int_equal(options_load(&options, NULL, f->file, remember, f), 0);
    assert_string_equal(options.name, "nodeB");
    assert_string_equal(options.data_directory, "/var/lib/raftkv/nodeB");

    put(f, "nodeA.conf", "");
    assert_int_equal(options_load(&options, NULL, f->file, remember, f), ERROR_INVALID_ARGUMENT);
    assert_string_equal(f->said, "e nodeA.conf:0: [Node] Name= must say the node's name, because "
                                 "the command line does not\n");
}

static void a_wildcard_needs_an_address_to_advertise(void **state) {
    bad(*state, "[Node]\nListenClients=0.0.0.0:4711\nListenPeers=[::]:4712\n",
        "e nodeA.conf:2: ListenClients=0.0.0.0:4711 is a wildcard; then AdvertiseClients= must "
        "say at which address others reach this node\n"
        "e nodeA.conf:3: ListenPeers=[::]:4712 is a wildcard; then AdvertisePeers= must say at "
        "which address others reach this node\n");
}

static void both_listeners_must_differ(void **state) {
    bad(*state, "[Node]\nListenPeers=127.0.0.1:4711\n",
        "e nodeA.conf:2: ListenClients= and ListenPeers= are both 127.0.0.1:4711; they must "
        "differ\n");
}

static void the_heartbeat_is_at_most_a_third_of_the_election_timeout(void **state) {
    assert_int_equal(good(*state, "[Raft]\nHeartbeatSec=333ms\n").heartbeat, 333);
    bad(*state, "[Raft]\nHeartbeatSec=334ms\n",
        "e nodeA.conf:2: HeartbeatSec=334ms is wrong; allowed is at most a third of "
        "ElectionTimeoutSec=1s (the default), which is 333ms\n");
    bad(*state, "[Raft]\n\nElectionTimeoutSec=299ms\n",
        "e nodeA.conf:3: HeartbeatSec=100ms (the default) is wrong; allowed is at most a third of "
        "ElectionTimeoutSec=299ms, which is 99ms\n");
}

static void a_voter_is_not_replaced_before_four_election_timeouts(void **state) {
    assert_int_equal(good(*state, "[Raft]\nAutoPromote=3\nAutoPromoteAfterSec=4s\n").auto_promote,
                     3);
    assert_int_equal(good(*state, "[Raft]\nAutoPromoteAfterSec=3s\n").auto_promote_after, 3000);
    bad(*state, "[Raft]\nAutoPromote=3\nAutoPromoteAfterSec=3s\n",
        "e nodeA.conf:3: AutoPromoteAfterSec=3s is wrong; allowed is at least four times "
        "ElectionTimeoutSec=1s\n");
}

static void unknown_keys_and_sections_are_warnings(void **state) {
    struct fixture *f = *state;
    struct options options;

    put(f, "nodeA.conf",
        "Early=1\n"
        "[Node]\n"
        "Colour=green\n"
        "bootstrap=yes\n"
        "HeartbeatSec=200ms\n"
        "[Snapshots]\n"
        "Every=1\n"
        "[Raft]\n"
        "HeartbeatSec=50ms\n");
    assert_int_equal(load(f, &options), 0);
    assert_string_equal(f->said, "w nodeA.conf:1: Early= stands before any section, ignored\n"
                                 "w nodeA.conf:3: unknown key Colour= in [Node], ignored\n"
                                 "w nodeA.conf:4: unknown key bootstrap= in [Node], ignored\n"
                                 "w nodeA.conf:5: unknown key HeartbeatSec= in [Node], ignored\n"
                                 "w nodeA.conf:6: unknown section [Snapshots], ignored\n");
    assert_int_equal(options.heartbeat, 50);
    assert_false(options.bootstrap);
}

static void all_errors_are_reported_at_once_and_nothing_is_returned(void **state) {
    struct fixture *f = *state;
    struct options options;

    memset(&options, 0x5a, sizeof options);
    put(f, "nodeA.conf",
        "[Node]\n"
        "MaxConnections=many\n"
        "no assignment\n"
        "Colour=green\n"
        "[Raft\n"
        "[Raft] x\n"
        "Bootstrap=2\n");
    assert_int_equal(load(f, &options), ERROR_INVALID_ARGUMENT);
    assert_string_equal(
        f->said,
        "e nodeA.conf:2: MaxConnections=many is wrong; allowed is a whole number from 1 to 10000\n"
        "e nodeA.conf:3: the line is neither KEY=VALUE, nor [SECTION], nor a comment\n"
        "w nodeA.conf:4: unknown key Colour= in [Node], ignored\n"
        "e nodeA.conf:5: the section's name has no closing bracket\n"
        "e nodeA.conf:6: something follows the section's name on its line\n"
        "e nodeA.conf:7: Bootstrap=2 is wrong; allowed is yes or no\n");
    assert_int_equal(options.heartbeat, UINT64_C(0x5a5a5a5a5a5a5a5a));
}

static void a_malformed_last_line_is_reported_too(void **state) {
    bad(*state, "[Node]\nBootstrap",
        "e nodeA.conf:2: the line is neither KEY=VALUE, nor [SECTION], nor a comment\n");
}

static void drop_ins_are_read_in_order_of_their_names_and_the_last_wins(void **state) {
    struct fixture *f = *state;
    struct options options;

    make_drop_ins(f);
    put(f, "nodeA.conf", "[Node]\nMaxConnections=1\nMaxInFlight=1\nBootstrap=yes\n");
    put(f, "nodeA.conf.d/20-b.conf", "[Node]\nMaxConnections=20\n");
    put(f, "nodeA.conf.d/10-a.conf", "[Node]\nMaxConnections=10\nMaxInFlight=10\n");
    put(f, "nodeA.conf.d/90-c.conf.bak", "[Node]\nMaxConnections=90\n");
    put(f, "nodeA.conf.d/.95.conf", "[Node]\nMaxConnections=95\n");
    put(f, "nodeA.conf.d/B.conf", "[Node]\nStateCacheBytes=2M\n");
    put(f, "nodeA.conf.d/a.conf", "[Node]\nStateCacheBytes=3M\n");
    assert_int_equal(load(f, &options), 0);
    assert_string_equal(f->said, "");
    assert_int_equal(options.max_connections, 20);
    assert_int_equal(options.max_in_flight, 10);
    assert_int_equal(options.state_cache_size, 3 << 20);
    assert_true(options.bootstrap);
}

static void an_error_in_a_drop_in_names_the_drop_in(void **state) {
    struct fixture *f = *state;

    make_drop_ins(f);
    put(f, "nodeA.conf.d/10.conf", "\n[Node]\nBootstrap=2\n");
    put(f, "nodeA.conf.d/20.conf", "[Raft]\nHeartbeatSec=400ms\n");
    bad(f, "",
        "e nodeA.conf.d/10.conf:3: Bootstrap=2 is wrong; allowed is yes or no\n"
        "e nodeA.conf.d/20.conf:2: HeartbeatSec=400ms is wrong; allowed is at most a third of "
        "ElectionTimeoutSec=1s (the default), which is 333ms\n");
}

static void a_section_does_not_reach_into_the_next_file(void **state) {
    struct fixture *f = *state;
    struct options options;

    make_drop_ins(f);
    put(f, "nodeA.conf", "[Node]\n");
    put(f, "nodeA.conf.d/10.conf", "Bootstrap=yes\n");
    assert_int_equal(load(f, &options), 0);
    assert_string_equal(f->said, "w nodeA.conf.d/10.conf:1: Bootstrap= stands before any section, "
                                 "ignored\n");
    assert_false(options.bootstrap);
}

static void an_empty_value_goes_back_to_the_default(void **state) {
    struct fixture *f = *state;
    struct options options;

    make_drop_ins(f);
    put(f, "nodeA.conf", "[Node]\nMaxConnections=5\nDataDirectory=/x\nAdvertisePeers=a:1\n");
    put(f, "nodeA.conf.d/10.conf", "[Node]\nMaxConnections=\nDataDirectory=\nAdvertisePeers=\n");
    assert_int_equal(load(f, &options), 0);
    assert_string_equal(f->said, "");
    assert_int_equal(options.max_connections, CLIENT_CONNECTIONS_MAX);
    assert_string_equal(options.data_directory, "/var/lib/raftkv/nodeA");
    assert_string_equal(options.advertise_peers, "127.0.0.1:4712");
}

static void indented_lines_comments_and_windows_line_ends_are_read(void **state) {
    struct options o = good(*state, "\xEF\xBB\xBF"
                                    "; a comment\r\n"
                                    "  # another\r\n"
                                    "\t[Node]\r\n"
                                    "MaxConnections=5\r\n"
                                    "   MaxInFlight=6\r\n"
                                    "\r\n"
                                    "   \r\n"
                                    "\tBootstrap = on");

    assert_int_equal(o.max_connections, 5);
    assert_int_equal(o.max_in_flight, 6);
    assert_true(o.bootstrap);
}

static void a_long_line_is_read_and_an_overlong_one_is_an_error(void **state) {
    static char text[20000];
    struct options options;
    int n;

    /* Longer than inih's own 200 bytes. */
    n = sprintf(text, "[Node]\nDataDirectory=/");
    memset(text + n, 'x', 1000);
    text[n + 1000] = 0;
    assert_int_equal(strlen(good(*state, text).data_directory), 1001);

    memset(text + n, 'x', 9000);
    strcpy(text + n + 9000, "\nBootstrap=2\n");
    put(*state, "nodeA.conf", text);
    assert_int_equal(load(*state, &options), ERROR_INVALID_ARGUMENT);
    assert_string_equal(((struct fixture *)*state)->said,
                        "e nodeA.conf:2: the line is longer than the 8190 bytes that are allowed\n"
                        "e nodeA.conf:3: Bootstrap=2 is wrong; allowed is yes or no\n");
}

static void a_nul_byte_is_an_error(void **state) {
    static const char text[] = "[Node]\nMaxConnections=5\0 6\nBootstrap=2\n";
    struct fixture *f = *state;
    struct options options;

    put_bytes(f, "nodeA.conf", text, sizeof text - 1);
    assert_int_equal(load(f, &options), ERROR_INVALID_ARGUMENT);
    assert_string_equal(f->said, "e nodeA.conf:2: the line holds a NUL byte\n"
                                 "e nodeA.conf:3: Bootstrap=2 is wrong; allowed is yes or no\n");
}

static void control_characters_of_a_value_are_not_repeated(void **state) {
    bad(*state, "[Node]\nBootstrap=a\033[2Jb\n",
        "e nodeA.conf:2: Bootstrap=a?[2Jb is wrong; allowed is yes or no\n");
}

static void a_huge_file_is_refused(void **state) {
    struct fixture *f = *state;
    struct options options;

    put(f, "nodeA.conf", "[Node]\n");
    assert_int_equal(truncate(f->file, 1 << 30), 0);
    assert_int_equal(load(f, &options), ERROR_INVALID_ARGUMENT);
    assert_string_equal(f->said,
                        "e nodeA.conf:2: the file is larger than the 1048576 bytes that are "
                        "allowed\n");
}

static void a_missing_file_is_an_error_that_says_it_may_be_empty(void **state) {
    struct fixture *f = *state;
    struct options options;

    assert_int_equal(load(f, &options), ERROR_INVALID_ARGUMENT);
    assert_string_equal(f->said, "e nodeA.conf:0: there is no such file; create it, perhaps empty, "
                                 "for every key has a default\n");
}

static void what_can_not_be_read_is_an_error(void **state) {
    struct fixture *f = *state;
    struct options options;
    _cleanup_free_ char *drop_in = xasprintf("%s.d/10.conf", f->file);
    _cleanup_free_ char *drop_ins = xasprintf("%s.d", f->file);

    /* A directory, which root can't read either. */
    assert_int_equal(mkdir(f->file, 0700), 0);
    assert_int_equal(load(f, &options), ERROR_INVALID_ARGUMENT);
    assert_string_equal(f->said, "e nodeA.conf:0: it can't be read: Is a directory\n");
    assert_int_equal(rmdir(f->file), 0);

    make_drop_ins(f);
    put(f, "nodeA.conf", "");
    assert_int_equal(symlink("10.conf", drop_in), 0);
    assert_int_equal(load(f, &options), ERROR_INVALID_ARGUMENT);
    assert_string_equal(f->said, "e nodeA.conf.d/10.conf:0: it can't be opened: Too many levels "
                                 "of symbolic links\n");
    assert_int_equal(unlink(drop_in), 0);

    assert_int_equal(rmdir(drop_ins), 0);
    put(f, "nodeA.conf.d", "");
    assert_int_equal(load(f, &options), ERROR_INVALID_ARGUMENT);
    assert_string_equal(f->said,
                        "e nodeA.conf.d:0: the drop-ins can't be listed: Not a directory\n");
}

static void the_example_configuration_is_valid_and_names_every_key(void **state) {
    struct fixture *f = *state;
    struct options options;
    char text[8192];
    FILE *stream = fopen(EXAMPLE_CONFIGURATION, "re");
    size_t n;

    assert_non_null(stream);
    n = fread(text, 1, sizeof text - 1, stream);
    text[n] = 0;
    fclose(stream);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        _cleanup_free_ char *line =
            xasprintf("\n#%s=%s", option_keys[i].name,
                      option_keys[i].preset[0] == '<' ? "" : option_keys[i].preset);

        assert_non_null(strstr(text, line));
    }
    f->said[0] = 0;
    assert_int_equal(options_load(&options, "nodeA", EXAMPLE_CONFIGURATION, remember, f), 0);
    assert_string_equal(f->said, "");
}

static void booleans_are_those_of_systemd(void **state) {
    static const char *const yes[] = {"1", "yes", "Y", "true", "T", "on", "ON"};
    static const char *const no[] = {"0", "no", "N", "false", "F", "off", "Off"};
    bool value;

    (void)state;
    for (size_t i = 0; i < 7; i++) {
        value = false;
        assert_int_equal(boolean_parse(yes[i], &value), 0);
        assert_true(value);
        assert_int_equal(boolean_parse(no[i], &value), 0);
        assert_false(value);
    }
    assert_int_equal(boolean_parse("", &value), -EINVAL);
    assert_int_equal(boolean_parse("yes ", &value), -EINVAL);
}

static void sizes_take_suffixes(void **state) {
    uint64_t value;

    (void)state;
    assert_int_equal(size_parse("0", &value), 0);
    assert_int_equal(value, 0);
    assert_int_equal(size_parse("7B", &value), 0);
    assert_int_equal(value, 7);
    assert_int_equal(size_parse("3K", &value), 0);
    assert_int_equal(value, 3072);
    assert_int_equal(size_parse("2T", &value), 0);
    assert_int_equal(value, UINT64_C(2) << 40);
    assert_int_equal(size_parse("16777215T", &value), 0);
    assert_int_equal(size_parse("16777216T", &value), -ERANGE);
    assert_int_equal(size_parse("18446744073709551616", &value), -ERANGE);
    assert_int_equal(size_parse("K", &value), -EINVAL);
    assert_int_equal(size_parse("1KB", &value), -EINVAL);
    assert_int_equal(size_parse(" 1", &value), -EINVAL);
}

static void time_spans_are_those_of_systemd(void **state) {
    static const struct {
        const char *text;
        uint64_t ms;
    } table[] = {
        {"5", 5000},      {"500ms", 500},          {"1min 30s", 90000},   {"1min30s", 90000},
        {"0", 0},         {"0.25s", 250},          {"1.5", 1500},         {"2 h", 7200000},
        {"1d", 86400000}, {" 3 sec ", 3000},       {"1.0009s", 1000},     {"2 minutes", 120000},
        {"0.001min", 60}, {"1 hour 1ms", 3600001}, {"0.123456789s", 123},
    };
    static const char *const wrong[] = {"",   " ",    "s",   "-1s", "1.s", ".5s",
                                        "1y", "5 5x", "1s,", "0x1", "1us"};
    uint64_t value;

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_int_equal(span_parse(table[i].text, &value), 0);
        assert_int_equal(value, table[i].ms);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(span_parse(wrong[i], &value), -EINVAL);
    assert_int_equal(span_parse("99999999999999999d", &value), -ERANGE);
    assert_int_equal(span_parse("213503982334d 213503982334d", &value), -ERANGE);
}

static void values_are_written_as_a_person_would(void **state) {
    char text[VALUE_TEXT_MAX];

    (void)state;
    assert_string_equal(span_format(0, text), "0s");
    assert_string_equal(span_format(90000, text), "1min 30s");
    assert_string_equal(span_format(86400000 + 3600000 + 1, text), "1d 1h 1ms");
    assert_true(strlen(span_format(UINT64_MAX, text)) < VALUE_TEXT_MAX - 1);
    assert_string_equal(size_format(0, text), "0");
    assert_string_equal(size_format(1025, text), "1025");
    assert_string_equal(size_format(16 << 20, text), "16M");
    assert_string_equal(size_format(UINT64_C(2048) << 40, text), "2048T");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- options of a running node ---- */

static void note_change(void *data, const struct option_key *key, const struct options *newer) {
    char *said = data, value[OPTION_VALUE_MAX];

    sprintf(said + strlen(said), "%s%s=%s\n", key->reloads ? "" : "restart: ", key->name,
            option_value(newer, key, value));
}

static void a_running_node_takes_over_what_it_can_and_names_all_that_differs(void **state) {
    struct options running = good(*state, "");
    struct options newer = good(*state, "[Node]\n"
                                        "ListenClients=127.0.0.1:5001\n"
                                        "Bootstrap=yes\n"
                                        "MaxConnections=17\n"
                                        "StopTimeoutSec=90s\n"
                                        "ReserveBytes=1G\n"
                                        "[Raft]\n"
                                        "HeartbeatSec=50ms\n");
    char said[1024] = "";

    options_take_over(&running, &newer, note_change, said);
    assert_string_equal(said, "restart: ListenClients=127.0.0.1:5001\n"
                              "restart: AdvertiseClients=127.0.0.1:5001\n"
                              "restart: Bootstrap=yes\n"
                              "MaxConnections=17\n"
                              "StopTimeoutSec=1min 30s\n"
                              "ReserveBytes=1G\n"
                              "restart: HeartbeatSec=50ms\n");
    assert_int_equal(running.max_connections, 17);
    assert_int_equal(running.stop_timeout, 90000);
    assert_int_equal(running.reserve_bytes, 1 << 30);
    assert_string_equal(running.listen_clients, "127.0.0.1:4711");
    assert_int_equal(running.heartbeat, 100);
    assert_false(running.bootstrap);
}

static void what_did_not_change_is_not_mentioned(void **state) {
    struct options running = good(*state, "[Node]\nMaxConnections=17\n");
    struct options newer = running;
    char said[1024] = "";

    options_take_over(&running, &newer, note_change, said);
    assert_string_equal(said, "");
}

/* options_take_over() counts on it. */
static void what_a_reload_takes_over_are_numbers(void **state) {
    (void)state;
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (option_keys[i].reloads)
            assert_true(option_keys[i].type == OPTION_COUNT || option_keys[i].type == OPTION_SIZE ||
                        option_keys[i].type == OPTION_SPAN || option_keys[i].type == OPTION_POLICY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(an_empty_file_gives_every_default),
        TEST(every_key_can_be_set),
        TEST(a_node_joins_through_those_that_are_named),
        TEST(every_key_says_what_it_takes_and_what_for),
        TEST(a_wrong_value_is_an_error_with_place_value_and_what_is_allowed),
        TEST(the_smallest_and_largest_values_are_allowed),
        TEST(a_long_name_and_a_long_path_are_refused),
        TEST(the_name_must_agree_with_the_command_line),
        TEST(without_a_name_on_the_command_line_the_file_must_say_it),
        TEST(a_wildcard_needs_an_address_to_advertise),
        TEST(both_listeners_must_differ),
        TEST(the_heartbeat_is_at_most_a_third_of_the_election_timeout),
        TEST(a_voter_is_not_replaced_before_four_election_timeouts),
        TEST(unknown_keys_and_sections_are_warnings),
        TEST(all_errors_are_reported_at_once_and_nothing_is_returned),
        TEST(a_malformed_last_line_is_reported_too),
        TEST(drop_ins_are_read_in_order_of_their_names_and_the_last_wins),
        TEST(an_error_in_a_drop_in_names_the_drop_in),
        TEST(a_section_does_not_reach_into_the_next_file),
        TEST(an_empty_value_goes_back_to_the_default),
        TEST(indented_lines_comments_and_windows_line_ends_are_read),
        TEST(a_long_line_is_read_and_an_overlong_one_is_an_error),
        TEST(a_nul_byte_is_an_error),
        TEST(control_characters_of_a_value_are_not_repeated),
        TEST(a_huge_file_is_refused),
        TEST(a_missing_file_is_an_error_that_says_it_may_be_empty),
        TEST(what_can_not_be_read_is_an_error),
        TEST(the_example_configuration_is_valid_and_names_every_key),
        TEST(a_running_node_takes_over_what_it_can_and_names_all_that_differs),
        TEST(what_did_not_change_is_not_mentioned),
        cmocka_unit_test(what_a_reload_takes_over_are_numbers),
        cmocka_unit_test(booleans_are_those_of_systemd),
        cmocka_unit_test(sizes_take_suffixes),
        cmocka_unit_test(time_spans_are_those_of_systemd),
        cmocka_unit_test(values_are_written_as_a_person_would),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
