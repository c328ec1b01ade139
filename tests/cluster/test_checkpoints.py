"""The state's own write-ahead log stays short, also between compactions of the raft log."""

from waiting import wait_until

MIB = 1 << 20


def state_log_size(node):
    return sum(path.stat().st_size for path in node.data.glob("state/state-*/log.*"))


def test_the_log_of_the_state_is_short_before_the_first_compaction(make_cluster):
    (node,) = make_cluster(1).nodes
    with node.client() as client:
        for number in range(240):  # 60 MiB, which make 120 MiB of old and new values
            client.put(b"large-%d" % (number % 4), b"%0262144d" % number)

        def is_short():
            client.put(b"small", b"value")
            return state_log_size(node) < 64 * MIB

        wait_until("the state's log is short", is_short)
    assert node.status().snapshot_count == 0
