"""The log is cut, and who is behind it gets the state: streamed while writes go on."""

import json
import os
import re

import pytest
from cluster import RAFTKVCTL, Node, run
from doors import make_door
from figures import disk_use
from protocol import raftkv
from proxy import Proxy
from terminal import Terminal
from waiting import LIMIT, SANITIZED, wait_until
from writers import Writers, assert_nothing_is_lost

MIB = 1 << 20
SMALL = ("[Raft]", "SnapshotEntries=500", "TrailingEntries=100")


def raftkvctl(node, *arguments, **options):
    return run(RAFTKVCTL, f"--endpoints={node.client_address}", *arguments, **options)


def write(node, count, size=100, prefix=b"w/large/"):
    """Writes keys, many at a time. Returns them with their values."""
    values = {prefix + b"%06d" % number: os.urandom(size) for number in range(count)}
    window = max(1, min(count, 4 * MIB // size, 500))
    with node.client() as client:
        keys = list(values)
        for at in range(0, count, window):
            part = keys[at : at + window]
            for key in part:
                client.send("put", key=key, value=values[key])
            for _ in part:
                answer = client.receive()
                assert not answer.HasField("error"), answer.error
    return values


def assert_has(node, values, prefix=b"w/large/"):
    found = node.contents(prefix)
    assert {key: value for key, (value, _) in found.items()} == values


def assert_all_have(cluster, values, prefix=b"w/large/"):
    cluster.wait_until_all_are_equal()
    for node in cluster.nodes:
        assert_has(node, values, prefix)


def cut_the_logs(*nodes):
    """Compacts. Whole files of 8 MiB go, so that much has to have been written."""

    def is_cut(node):
        result = raftkvctl(node, "snapshot")  # of one that was under way, if there was one
        assert result.returncode == 0, result.stderr
        return node.status().first_index > 100

    for node in nodes:
        wait_until(f"{node.name} has all", lambda: node.status().lag == 0)
        wait_until(f"the log of {node.name} is cut", lambda: is_cut(node))


def received(node, before=0):
    """How often a state was installed on the node."""
    return len(re.findall(r"The state at index \d+ is installed", node.said()[before:]))


def replace_wiped(cluster, node, through=None):
    """A node whose disk was lost, back under its old name."""
    node.kill()
    cluster.change("remove_server", through=through, name=node.name)
    node.wipe()
    node.start()
    cluster.change("add_voter", through=through, name=node.name, peer_address=node.peer_address)


def test_a_node_compacts_its_log_when_it_is_told_to(make_cluster):
    cluster = make_cluster(1)
    (node,) = cluster.nodes
    write(node, 20)
    result = raftkvctl(node, "--output=json", "snapshot")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    status = node.status()
    assert status.snapshot_count == 1
    assert 20 < answer["index"] == status.snapshot_index <= status.applied_index
    assert answer["milliseconds"] == status.snapshot_milliseconds
    assert status.snapshot_bytes > 2000
    again = raftkvctl(node, "snapshot")
    assert again.stdout == f"index {status.snapshot_index}, {status.snapshot_milliseconds} ms\n"
    assert node.status().snapshot_count == 1, "nothing was written since"

    node.stop()
    node.start()
    assert node.status().snapshot_index == status.snapshot_index
    write(node, 1)
    index, milliseconds = cluster.bus.call(node.name, "Node.Snapshot")
    assert index > status.snapshot_index
    assert cluster.bus.property(node.name, "SnapshotIndex") == index
    assert cluster.bus.property(node.name, "SnapshotMilliseconds") == milliseconds
    assert cluster.bus.property(node.name, "SnapshotCount") == 1
    (member,) = json.loads(raftkvctl(node, "--output=json", "status").stdout)["members"]
    bytes_of_one = cluster.bus.property(node.name, "SnapshotBytes")
    assert 100 < bytes_of_one == member["snapshot_bytes"] < 2000
    bus = (f"--bus={cluster.bus.address}", f"--node={node.name}")
    over_bus = run(RAFTKVCTL, *bus, "--output=json", "snapshot")
    assert json.loads(over_bus.stdout)["index"] >= index
    (member,) = json.loads(run(RAFTKVCTL, *bus, "--output=json", "status").stdout)["members"]
    assert member["snapshot_bytes"] == bytes_of_one


def test_a_node_without_a_cluster_has_nothing_to_compact(make_cluster):
    cluster = make_cluster(0)
    node = cluster.make_node()
    node.start()
    result = raftkvctl(node, "--timeout=600", "snapshot")
    assert result.returncode == 22 and "nothing to compact" in result.stderr


def test_entries_of_earlier_runs_count_for_the_next_compaction(make_cluster):
    cluster = make_cluster(1, settings=SMALL)
    (node,) = cluster.nodes
    for number in range(4):
        write(node, 150, prefix=b"%d/" % number)
        assert number == 3 or node.status().snapshot_count == 0
        node.stop()
        node.start()
    write(node, 60)
    wait_until("the log is compacted", lambda: node.status().snapshot_index >= 500)


def test_a_follower_that_was_away_gets_the_state_while_writes_go_on(make_cluster):
    cluster = make_cluster(settings=SMALL)
    away, other = cluster.followers()
    leader = cluster.leader()
    away.kill()
    values = write(leader, 2000, size=20000)
    cut_the_logs(leader, other)
    writers = Writers([leader, other], count=4, writes=10**6).start()
    try:
        away.start()
        wait_until("the state is installed", lambda: received(away))
        before = len(writers.acknowledged)
        wait_until("it follows", lambda: away.status().lag < 500)
        wait_until("writes go on", lambda: len(writers.acknowledged) > before + 50)
    finally:
        writers.stop()
    assert received(away) <= 3, "once should do, unless leaders change"
    assert_nothing_is_lost_beside(cluster, writers, values)
    cluster.assert_serves()
    for node in cluster.nodes:
        status = node.status()
        assert not status.HasField("receiving") and not status.sending


def assert_nothing_is_lost_beside(cluster, writers, values):
    for key, value in values.items():
        writers.unknown[key] = value
    assert_nothing_is_lost(cluster, writers)
    assert_all_have(cluster, values)


def test_a_wiped_node_gets_the_state_under_its_old_name(make_cluster):
    cluster = make_cluster(settings=SMALL)
    wiped = cluster.followers()[0]
    leader = cluster.leader()
    old_id = wiped.status().id
    values = write(leader, 1800, size=20000)
    cut_the_logs(*cluster.nodes)
    replace_wiped(cluster, wiped, through=leader)
    assert wiped.status().id != old_id
    assert wiped.status().cluster_id == leader.status().cluster_id
    assert received(wiped) == 1
    assert_all_have(cluster, values)
    assert cluster.member_roles() == {node.name: "voter" for node in cluster.nodes}
    cluster.assert_serves()
    for node in cluster.nodes:
        node.stop()
    cluster.start_all()
    assert_all_have(cluster, values)


def test_a_new_node_joins_a_cluster_whose_log_is_cut(make_cluster):
    cluster = make_cluster(1, settings=SMALL)
    values = write(cluster.nodes[0], 1200, size=20000)
    cut_the_logs(cluster.nodes[0])
    for _ in range(2):
        node = cluster.make_node()
        node.start()
        cluster.add(node)
    assert_all_have(cluster, values)
    cluster.assert_serves()


def wait_until_under_way(sender, receiver):
    """Waits until a good part of the state has arrived, and more is to come. Returns how far it
    has come; the receiver is paused, so that nothing changes that. It is only launched before, as the state may have
    arrived until it answers."""

    def under_way():
        receiver.pause()
        assert not received(receiver), "it was too fast for this test"
        progress = [p for p in sender.status().sending if p.member == receiver.name]
        if progress and progress[0].bytes > MIB:
            return progress[0]
        receiver.resume()

    return wait_until("the state is on its way", under_way, interval=0.001)


SIZE = 50000
STATE = 600 if SANITIZED else 1500  # values of SIZE bytes
NO_TRAIL = ("[Raft]", "SnapshotEntries=500", "TrailingEntries=10")


@pytest.fixture
def cluster_with_one_behind(make_cluster):
    """A leader, a follower, one that lags behind the log and is not running, and the values."""
    cluster = make_cluster(settings=NO_TRAIL)
    behind, other = cluster.followers()
    leader = cluster.leader()
    behind.stop()
    values = write(leader, STATE, size=SIZE)
    cut_the_logs(leader, other)
    return cluster, leader, other, behind, values


@pytest.fixture
def addition(make_cluster):
    """A leader with a state that its log no longer holds, the other voter, and a node that is being added through that
    one, on a terminal; the values."""
    cluster = make_cluster(2, settings=NO_TRAIL)
    leader, other = cluster.leader(), cluster.followers()[0]
    values = write(leader, STATE, size=SIZE)
    cut_the_logs(leader)
    added = cluster.make_node("added")
    added.start()
    where = f"--endpoints={other.client_address}"
    command = (RAFTKVCTL, where, f"--timeout={LIMIT}", "add-voter", added.name, added.peer_address)
    with Terminal(*command) as terminal:
        yield cluster, leader, other, added, values, terminal


BAR = r"\[(#*)(\.*)\] +(\d+) %  (\d+) of (\d+) bytes  receiving the state"
WAY = r"(\d+) of about (\d+) bytes, (\d+) %, (\d+) bytes a second\."


def test_progress_is_shown_on_both_sides_and_through_each_door(addition):
    cluster, leader, other, added, values, terminal = addition
    progress = wait_until_under_way(leader, added)
    assert progress.total_bytes > MIB and progress.milliseconds > 0

    # The status of the cluster, over TCP and D-Bus
    table = raftkvctl(other, "status").stdout
    (row,) = [line.split() for line in table.splitlines() if "%" in line]
    assert row[:2] == [leader.name, added.name] and int(row[3]) == progress.total_bytes
    assert row[4] == f"{int(row[2]) * 100 // int(row[3])}%" and int(row[5]) > 0
    as_json = json.loads(raftkvctl(other, "--output=json", "status").stdout)
    told = {member["name"]: member["sending"] for member in as_json["members"]}
    assert told[other.name] == []
    (sending,) = told[leader.name]
    names = ("member", "bytes", "total_bytes", "milliseconds", "percent", "bytes_per_second")
    (over_bus,) = cluster.bus.property(leader.name, "Sending")
    total = progress.total_bytes
    for told in (sending, dict(zip(names, over_bus))):
        assert told["member"] == added.name and told["total_bytes"] == total
        assert progress.bytes <= told["bytes"] < total
        assert told["percent"] == told["bytes"] * 100 // total
        assert told["bytes_per_second"] == told["bytes"] * 1000 // told["milliseconds"] > 0

    # The operation, on the node that was asked
    operations = json.loads(raftkvctl(other, "--output=json", "operations").stdout)["operations"]
    (token,) = [int(o["token"], 16) for o in operations if o["subject"] == added.name]
    at = ("Operation", f"/org/raftkv1/operation/{token}")
    wait_until("the object tells", lambda: cluster.bus.property(other.name, "Unit", *at) == "bytes")
    done, of = cluster.bus.property(other.name, "Progress", *at)
    assert 0 < done < of == total
    assert cluster.bus.property(other.name, "Phase", *at) == "receiving the state"
    shown = wait_until("a bar is shown", lambda: re.search(BAR, terminal.read()))
    filled, empty, percent, done, of = shown.groups()
    part = int(done) / int(of)
    assert len(filled) + len(empty) == 30 and int(of) == total
    assert abs(len(filled) - 30 * part) <= 1 and abs(int(percent) - 100 * part) <= 1

    # The journal: a line each five seconds
    way = rf"Sending the state to added: {WAY}"
    said = wait_until("the leader says how far it is", lambda: re.search(way, leader.said()))
    assert int(said[1]) * 100 // int(said[2]) == int(said[3]) and int(said[2]) == total
    begun = progress.milliseconds  # on the leader; on the other side it has begun later, but before it was paused
    wait_until("it has lasted", lambda: leader.status().sending[0].milliseconds > begun + 6000)
    added.resume()
    assert "configuration index" in terminal.wait().rpartition("\033[K")[2]
    assert re.search(rf"Receiving the state from {leader.name}: {WAY}", added.said())

    cluster.outsiders.remove(added)
    cluster.nodes.append(added)
    assert_all_have(cluster, values)
    assert "States on their way" not in raftkvctl(other, "status").stdout


def test_a_receiver_that_is_killed_in_the_middle_gets_it_again(cluster_with_one_behind):
    cluster, leader, _, behind, values = cluster_with_one_behind
    for _ in range(2):
        behind.launch()
        wait_until_under_way(leader, behind)
        behind.kill()
    behind.start()
    assert_all_have(cluster, values)
    assert received(behind) == 1
    assert len(list((behind.data / "state").glob("state-*"))) == 1, "what was half sent is gone"
    cluster.assert_serves()


def test_a_leader_that_is_killed_in_the_middle_leaves_it_to_the_next(cluster_with_one_behind):
    cluster, leader, other, behind, values = cluster_with_one_behind
    behind.launch()
    wait_until_under_way(leader, behind)
    leader.kill()
    behind.resume()
    wait_until("the next leader has sent it", lambda: received(behind))
    assert "Sending the state" in other.said()
    cluster.assert_serves()
    leader.start()
    assert_all_have(cluster, values)
    assert cluster.leader().status().state == raftkv.STATE_LEADER


def test_a_paused_receiver_goes_on_where_it_was(cluster_with_one_behind):
    cluster, leader, _, behind, values = cluster_with_one_behind
    behind.launch()
    wait_until_under_way(leader, behind)
    write(leader, 50, prefix=b"meanwhile/")
    behind.resume()
    assert_all_have(cluster, values)
    assert received(behind) == 1


def test_a_stream_goes_on_after_its_link_broke(make_cluster):
    cluster = make_cluster(1, settings=NO_TRAIL)
    (leader,) = cluster.nodes
    values = write(leader, STATE, size=SIZE)
    cut_the_logs(leader)
    with Proxy() as proxy:
        node = Node(
            cluster.directory, "behind", cluster.bus,
            settings=(f"AdvertisePeers={proxy.address}", *NO_TRAIL),
        )  # fmt: skip
        cluster.outsiders.append(node)
        proxy.target = node.peer_port
        node.start()
        with leader.client() as client:
            client.send(
                "add_voter", timeout_ms=LIMIT * 1000, name=node.name, peer_address=proxy.address
            )
            for _ in range(2):
                before = wait_until_under_way(leader, node).bytes
                proxy.cut()
                node.resume()
                wait_until("more arrives", lambda: progress_of(leader, node, before))
            answer = client.receive()
        assert not answer.HasField("error"), answer.error
        assert proxy.connections >= 3
        cluster.outsiders.remove(node)
        cluster.nodes.append(node)
        assert_all_have(cluster, values)
        begun = re.findall(r"Sending the state at index \d+ to behind", leader.said())
        assert len(begun) == 1 and received(node) == 1, "it was resumed, not begun anew"
        node.stop()


def progress_of(leader, node, before):
    """Whether more than that has arrived, or all."""
    progress = [p.bytes for p in leader.status().sending if p.member == node.name]
    return received(node) or (progress and progress[0] > before)


def overwrite(cluster, writes, keys):
    """Overwrites few keys many times. Returns the largest size of any data directory on the way."""
    largest = 0
    leader = cluster.leader()
    window = 500
    with leader.client() as client:
        for at in range(0, writes, window):
            for number in range(at, at + window):
                client.send("put", key=b"key%d" % (number % keys), value=b"%0256d" % number)
            for _ in range(window):
                answer = client.receive()
                assert not answer.HasField("error"), answer.error
            if at % (20 * window) == 0:
                largest = max(largest, *[disk_use(node.data) for node in cluster.nodes])
    return max(largest, *[disk_use(node.data) for node in cluster.nodes])


OVERWRITTEN = ("[Raft]", "SnapshotEntries=2000", "TrailingEntries=1000")


def test_the_disk_holds_no_more_however_often_keys_are_overwritten(make_cluster):
    cluster = make_cluster(settings=OVERWRITTEN)
    assert overwrite(cluster, 40000, 1000) < 160 * MIB
    cluster.wait_until_all_are_equal()
    # A compaction may take long on a busy machine, and who lagged behind was sent the state.
    assert any(node.status().snapshot_count for node in cluster.nodes)


@pytest.mark.long
def test_200000_overwrites_of_1000_keys_need_less_than_160_mib(make_cluster):
    cluster = make_cluster(settings=OVERWRITTEN)
    used = overwrite(cluster, 200000, 1000)
    print(f"at most {used / MIB:.1f} MiB a node")
    assert used < 160 * MIB


@pytest.mark.parametrize("setting", ["SnapshotEntries=100", "SnapshotBytes=1M"])
def test_what_was_written_before_a_restart_counts_for_the_next_compaction(make_cluster, setting):
    cluster = make_cluster(1, ["[Raft]", setting])
    (node,) = cluster.nodes
    write(node, 60, 10000)
    assert node.status().snapshot_count == 0
    node.stop()
    node.start()
    assert node.status().snapshot_count == 0
    write(node, 60, 10000)
    wait_until("the node compacts its log by itself", lambda: node.status().snapshot_count == 1)


def test_keys_are_counted_also_across_restarts_and_streamed_states(make_cluster):
    cluster = make_cluster(1, ["[Raft]", "SnapshotEntries=20", "TrailingEntries=1"])
    first = cluster.nodes[0]
    tcp = make_door("tcp", cluster.bus)
    with first.client() as client:
        for number in range(100):
            client.put(b"key %d" % (number % 50), b"value")
        for number in range(10):
            client.delete(b"key %d" % number)
            client.delete(b"no such key %d" % number)
        client.call("snapshot")
    assert tcp.stats(first)["state.keys"] == 40
    node = cluster.make_node()
    node.start()
    cluster.add(node)
    cluster.wait_until_all_are_equal()
    assert "is installed" in node.said()
    for each in (first, node):
        assert tcp.stats(each)["state.keys"] == 40
        each.stop()
        each.start()
    cluster.wait_until_all_are_equal()
    for each in (first, node):
        assert tcp.stats(each)["state.keys"] == 40
