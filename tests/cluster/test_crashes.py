"""Nodes that are killed, paused and restarted lose nothing that was acknowledged."""

import os
import time

import pytest
from client import Refused
from waiting import PATIENT, wait_until
from writers import Writers, assert_nothing_is_lost

MIB = 1 << 20


def test_nothing_acknowledged_is_lost_when_the_leader_is_killed_under_ten_writers(make_cluster):
    cluster = make_cluster()
    writers = Writers(cluster.nodes, count=10, writes=10**6).start()
    wait_until("many are written", lambda: len(writers.acknowledged) > 1600)
    killed = cluster.leader()
    term = killed.status().term
    killed.kill()
    before = len(writers.acknowledged)
    wait_until("writes go on", lambda: len(writers.acknowledged) > before + 1600)
    writers.stop()
    # What was under way; and who lost the leader may come to a follower that forwards to it.
    elections = cluster.leader().status().term - term
    assert len(writers.unknown) <= 20 * elections
    killed.start()
    assert_nothing_is_lost(cluster, writers)
    cluster.assert_serves()


def test_nothing_acknowledged_is_lost_when_all_nodes_are_killed_at_once(make_cluster):
    cluster = make_cluster()
    for round_ in range(3):
        writers = Writers(cluster.nodes, count=10, writes=10**6, prefix=b"r%d" % round_).start()
        wait_until("some hundreds are written", lambda: len(writers.acknowledged) > 400)
        cluster.kill_all_at_once()
        writers.stop()
        cluster.start_all()
        assert_nothing_is_lost(cluster, writers)
    cluster.assert_serves()


def test_large_values_survive_when_all_nodes_are_killed_at_once(make_cluster):
    cluster = make_cluster()
    values = {}
    for number, node in enumerate(cluster.nodes * 2):
        key, value = b"large%d" % number, os.urandom(MIB)
        with node.client() as client:
            client.put(key, value)
        values[key] = value
    cluster.kill_all_at_once()
    cluster.start_all()
    cluster.wait_until_all_are_equal()
    for node in cluster.nodes:
        assert {key: value for key, (value, _) in node.contents(b"large").items()} == values


def test_a_follower_that_was_stopped_for_ten_thousand_writes_catches_up(make_cluster):
    cluster = make_cluster()
    stopped, other = cluster.followers()
    stopped.stop()
    writers = Writers([cluster.leader(), other], count=20, writes=500).start().join()
    assert len(writers.acknowledged) + len(writers.unknown) == 10000
    stopped.start()
    assert_nothing_is_lost(cluster, writers)


def test_a_leader_that_was_paused_for_five_seconds_acknowledges_nothing_that_is_lost(make_cluster):
    cluster = make_cluster()
    paused = cluster.leader()
    others = cluster.followers()
    writers = Writers(cluster.nodes, count=10, writes=10**6, timeout_ms=60000).start()
    wait_until("some hundreds are written", lambda: len(writers.acknowledged) > 300)
    paused.pause()
    began = time.monotonic()

    def a_new_leader_serves():
        with others[0].client(limit=5) as client:
            return client.put(b"after", b"the pause", timeout_ms=4000).revision

    wait_until("a new leader serves", a_new_leader_serves)
    wait_until("five seconds have passed", lambda: time.monotonic() - began > 5)
    paused.resume()
    wait_until("it follows the new leader", lambda: cluster.leader() is not paused)
    before = len(writers.acknowledged)
    wait_until("writes go on", lambda: len(writers.acknowledged) > before + 300)
    writers.stop()
    assert_nothing_is_lost(cluster, writers)


def test_a_paused_leader_answers_no_linearizable_read_with_an_old_value(make_cluster):
    """The read arrives while it still believes to lead: it has to ask the others first."""
    cluster = make_cluster()
    paused = cluster.leader()
    other = cluster.followers()[0]
    with paused.client() as client:
        client.put(b"key", b"old")
        paused.pause()
        client.send("get", key=b"key")

        def overwritten():
            with other.client(limit=5) as through:
                return through.put(b"key", b"new", timeout_ms=4000).revision

        wait_until("a new leader has overwritten the key", overwritten)
        paused.resume()
        answer = client.receive()
        assert answer.HasField("error") or answer.get.item.value == b"new"


def test_two_nodes_serve_without_the_third_and_one_serves_nothing(make_cluster):
    cluster = make_cluster()
    cluster.followers()[0].kill()
    cluster.assert_serves()
    leader = cluster.leader()
    [last] = [node for node in cluster.running() if node is not leader]
    leader.kill()
    with last.client() as client:
        for kind, fields in (("put", {"value": b"v"}), ("get", {})):
            with pytest.raises(Refused) as refused:
                client.call(kind, key=b"k", timeout_ms=1500, **fields)
            # The last is what a follower says that has not noticed yet who is gone.
            assert refused.value.code in ("NO_LEADER", "TIMEOUT", "UNAVAILABLE"), refused.value
    for node in cluster.nodes:
        if not node.is_running():
            node.start()
    cluster.assert_serves()


def test_a_restarted_node_shows_nothing_older_than_before(make_cluster):
    """Alone it does not know what is committed: it answers no stale read, or none that is older.
    With the others it comes to the latest value, and never shows one that is older."""
    cluster = make_cluster()
    follower = cluster.followers()[0]
    with cluster.leader().client() as client:
        for number in range(300):
            last = client.put(b"counter", b"%d" % number).revision

    def stale_read(node):
        """The revision that the node shows, or None where it says that it can't answer yet."""
        try:
            with node.client() as client:
                return client.call("get", key=b"counter", stale=True).item.modify_revision
        except Refused as error:
            assert error.code == "UNAVAILABLE", error
            return None

    wait_until("the follower shows the last write", lambda: stale_read(follower) == last)
    cluster.kill_all_at_once()

    follower.launch()
    follower.wait_until_it_answers()
    for _ in range(50):
        assert stale_read(follower) in (None, last)
    for node in cluster.nodes:
        if node is not follower:
            node.launch()

    def latest():
        shown = [stale_read(node) for node in cluster.nodes]
        assert set(shown) <= {None, last}, "an older value was shown"
        return set(shown) == {last}

    wait_until("all nodes show the last write", latest)


def test_a_node_that_restarts_while_others_write_never_goes_back(make_cluster):
    cluster = make_cluster()
    follower = cluster.followers()[0]
    others = [node for node in cluster.nodes if node is not follower]
    writers = Writers(others, count=4, writes=10**6).start()
    seen = 0

    def shown():
        try:
            with follower.client() as client:
                return client.list(b"w/", limit=1, stale=True).revision
        except Refused as error:
            assert error.code == "UNAVAILABLE", error
            return 0

    for _ in range(4):
        for _ in range(30):
            revision = shown()
            assert revision == 0 or revision >= seen, "the node shows an older state than before"
            seen = max(seen, revision)
        follower.kill()
        follower.start()
    wait_until("it catches up", lambda: shown() > seen)
    writers.stop()
    assert_nothing_is_lost(cluster, writers)


def test_a_stopped_cluster_comes_back_with_everything(make_cluster):
    cluster = make_cluster()
    writers = Writers(cluster.nodes, count=5, writes=100).start().join()
    for node in cluster.nodes:
        node.stop()
    cluster.start_all()
    assert len(writers.acknowledged) + len(writers.unknown) == 500
    assert_nothing_is_lost(cluster, writers)


def test_the_leaders_stop_under_load_hands_over_and_loses_no_request(make_cluster):
    """Whoever is answered with an error may ask again: nothing happened."""
    cluster = make_cluster(settings=PATIENT)
    writers = Writers(cluster.nodes, count=10, writes=10**6).start()
    for _ in range(3):
        before = len(writers.acknowledged)
        wait_until("some hundreds are written", lambda: len(writers.acknowledged) > before + 300)
        leader = cluster.leader()
        leader.stop()
        assert "Leadership was handed over" in leader.said()
        leader.start()
    writers.stop()
    not_retriable = [e for e in writers.answered_with if e.outcome_unknown or e.code == "TIMEOUT"]
    assert not not_retriable, not_retriable
    assert {error.code for error in writers.answered_with} <= {
        "UNAVAILABLE", "NO_LEADER", "NOT_LEADER", "BUSY",
    }  # fmt: skip
    assert_nothing_is_lost(cluster, writers)
    assert writers.unanswered == 0
