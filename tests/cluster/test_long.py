"""What takes long to show: many crashes, large states, millions of writes. By default each test runs
in a short form; `scripts/test long` runs the long ones and records their figures (figures.py)."""

import hashlib
import os
import random
import statistics
import subprocess
import threading
import time

import pytest
from client import Client, is_retriable
from cluster import RAFTKVCTL, environment
from figures import Peak, disk_use, percentile, record
from load import SteadyLoad, fill, overwrite
from waiting import PATIENT, SANITIZED, wait_until
from writers import Writers, assert_nothing_is_lost

MIB = 1 << 20
STREAM_MEMORY_MAX = 24 * MIB  # whatever the state's size; promised are 32
VALUE_SIZE = 256
LOG_OVERHEAD = 128  # bytes an entry of the log takes at most beyond its value, with these keys
# How long the longest test may write before it says how far it has come.
OVERWRITING_MAX_S = float(os.environ.get("RAFTKV_LONG_SECONDS", 3600))
FREQUENT = (*PATIENT, "SnapshotEntries=2000", "TrailingEntries=1000")
LARGE = (*PATIENT, "SnapshotBytes=8M", "TrailingBytes=4M")
FORMS = [pytest.param(False, id="short"), pytest.param(True, id="long", marks=pytest.mark.long)]
in_both_forms = pytest.mark.parametrize("long", FORMS)


def settle(what, condition):
    return wait_until(what, condition, limit=1800, interval=0.1)


@in_both_forms
def test_nothing_acknowledged_is_lost_in_rounds_of_kills_with_frequent_snapshots(
    make_cluster, long
):
    """Who is killed may be recovering from the kill before, or be receiving the state: in the long
    form who stays away for some rounds is too far behind for the log."""
    seed = random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    cluster = make_cluster(
        settings=("[Raft]", "SnapshotEntries=500", "TrailingEntries=100", "ElectionTimeoutSec=0.3")
    )
    # Values of some 16 KiB, so that files of the log fill and go.
    writers = Writers(cluster.nodes, count=8, writes=10**9, repeat=1000).start()
    began = time.monotonic()
    rounds, kills, at_once, back_in = 100 if long else 8, 0, 0, {}
    try:
        for turn in range(rounds):
            before, more = len(writers.acknowledged), chance.randrange(100, 500)
            wait_until("writes go on", lambda: len(writers.acknowledged) >= before + more)
            back = [node for node, when in back_in.items() if when <= turn]
            for node in back:
                del back_in[node]
                node.launch()
            victims = chance.sample(cluster.nodes, chance.choice([1, 1, 1, 2, 3]))
            victims = [node for node in victims if node not in back_in]
            for node in victims:
                assert node.is_running(), f"{node.name} ended by itself: {node.said()[-2000:]}"
                node.process.kill()
            for node in victims:
                node.process.wait(60)
            kills += len(victims)
            at_once += len(victims) == 3
            if turn % 20 == 2:
                back_in[victims.pop()] = turn + 6
            for node in victims:
                node.launch()
        for node in back_in:
            node.launch()
        for node in cluster.nodes:
            node.wait_until_it_answers()
    finally:
        writers.stop()
    assert_nothing_is_lost(cluster, writers)
    for node in cluster.nodes:
        wait_until("a mark is set", lambda: node.status().snapshot_index >= 500)
    assert not long or all(node.status().first_index > 1 for node in cluster.nodes)
    cluster.assert_serves()
    record(
        "rounds of kill -9", long, seed=seed, rounds=rounds, kills=kills,
        all_at_once=at_once, acknowledged=len(writers.acknowledged), unknown=len(writers.unknown),
        streamed=sum(node.said().count(" is installed.") for node in cluster.nodes),
        seconds=round(time.monotonic() - began),
    )  # fmt: skip


class Replacement:
    """Replaces a follower's data: removes it, wipes it, adds it anew, and notes how long that took
    and how much memory it cost whoever sent the state and whoever received it."""

    def __init__(self, cluster, long):
        self.leader = cluster.leader()
        self.wiped = cluster.followers()[0]
        with self.leader.client(limit=300) as client:
            client.call("snapshot")
        self.wiped.stop()  # which it would do by itself when it learns that it was removed
        cluster.change("remove_server", name=self.wiped.name)
        self.wiped.wipe()
        before = len(self.wiped.said())
        self.wiped.start()
        sender, receiver = Peak(self.leader), Peak(self.wiped)
        began = time.monotonic()
        with self.leader.client(limit=1800) as client:
            wait_until("it is added", lambda: self._added(client), limit=1800, interval=0.1)
        self.seconds = round(time.monotonic() - began, 1)
        self.sender_growth, self.receiver_growth = sender.growth(), receiver.growth()
        self.sender_peak, self.receiver_peak = sender.peak(), receiver.peak()
        said = self.wiped.said()[before:]
        assert " is installed." in said, "the log was sent, not the state"
        self.streams = said.count("The leader sends the state")

    def _added(self, client):
        try:
            client.call(
                "add_voter", timeout_ms=1800000, name=self.wiped.name,
                peer_address=self.wiped.peer_address,
            )  # fmt: skip
        except Exception as error:
            if is_retriable(error):
                return False
            raise AssertionError("it can't be added") from error
        return True

    def assert_little_memory(self):
        if SANITIZED:  # which keeps what was freed
            return
        assert self.sender_growth < STREAM_MEMORY_MAX, f"the sender took {self.sender_growth}"
        assert self.receiver_growth < STREAM_MEMORY_MAX, f"the receiver took {self.receiver_growth}"

    def figures(self):
        return {
            "seconds": self.seconds,
            "streams": self.streams,
            "sender_grew_mib": round(self.sender_growth / MIB, 1),
            "receiver_grew_mib": round(self.receiver_growth / MIB, 1),
            "sender_peak_mib": round(self.sender_peak / MIB, 1),
            "receiver_peak_mib": round(self.receiver_peak / MIB, 1),
        }


def digest(node):
    """Of all items that a node holds, without keeping them."""
    result, count, continuation = hashlib.sha256(), 0, b""
    with node.client(limit=300) as client:
        while True:
            page = client.list(stale=True, continuation=continuation, limit=10000)
            for item in page.items:
                words = (item.key, item.create_revision, item.modify_revision, item.version)
                result.update(repr((*words, hashlib.sha256(item.value).digest())).encode())
            count += len(page.items)
            continuation = page.continuation
            if not continuation:
                return count, result.hexdigest()


def assert_all_hold_the_same(cluster, count):
    cluster.wait_until_all_are_equal()
    digests = [digest(node) for node in cluster.nodes]
    assert digests[0] == digests[1] == digests[2]
    assert digests[0][0] == count


@in_both_forms
def test_a_wiped_follower_catches_up_while_a_thousand_writes_a_second_go_on(make_cluster, long):
    keys, rate = (1000000, 1000) if long else (20000, 200 if SANITIZED else 1000)
    value_size = VALUE_SIZE if long else 1024  # so that the first file of the log goes
    cluster = make_cluster(settings=PATIENT if long else FREQUENT)
    fill(cluster, keys, value_size)
    with SteadyLoad(cluster.leader(), rate, keys, value_size) as load:
        settle("the load is steady", lambda: len(load.samples) > 2 * rate or load.failure)
        began = time.monotonic()
        replacement = Replacement(cluster, long)
        ended = time.monotonic()
    assert not load.failure and not load.errors, (load.failure, load.errors[:5])
    assert_all_hold_the_same(cluster, keys)
    meanwhile = [took for due, took in load.samples if began <= due <= ended]
    record(
        "a wiped follower", long, keys=keys, value_size=value_size, rate=rate,
        achieved_rate=round(load.achieved()), **replacement.figures(),
        put_p99_ms=round(percentile(meanwhile, 0.99) * 1000, 1),
        put_max_ms=round(max(meanwhile) * 1000, 1),
    )  # fmt: skip
    replacement.assert_little_memory()


def write_mebibytes(cluster, values):
    """So many values of 1 MiB, under keys that come before those of the other loads."""
    with cluster.leader().client() as client:
        for number in range(0, values, 4):
            for further in range(4):
                client.send("put", key=b"a-large-%06d" % (number + further), value=os.urandom(MIB))
            for _ in range(4):
                answer = client.receive()
                assert not answer.HasField("error"), answer.error


@in_both_forms
def test_a_large_state_is_streamed_in_little_memory(make_cluster, long):
    values = 2048 if long else 64
    cluster = make_cluster(settings=LARGE)
    write_mebibytes(cluster, values)
    replacement = Replacement(cluster, long)
    assert_all_hold_the_same(cluster, values)
    record("a large state", long, mib=values, **replacement.figures())
    replacement.assert_little_memory()


@in_both_forms
@pytest.mark.parametrize("door", ["tcp", "bus"])
def test_a_backup_of_a_large_state_takes_little_memory(make_cluster, long, door):
    """While keys behind the large values are overwritten, which are kept aside for it."""
    values, keys = 1024 if long else 64, 10000 if long else 1000
    cluster = make_cluster(1, settings=LARGE)
    (node,) = cluster.nodes
    fill(cluster, keys, VALUE_SIZE)
    write_mebibytes(cluster, values)
    node.stop()
    node.start()  # with nothing in its caches, so that all that it takes counts
    ways = {
        "tcp": [f"--endpoints={node.client_address}"],
        "bus": [f"--bus={cluster.bus.address}", f"--node={node.name}"],
    }
    with SteadyLoad(node, 200, keys, VALUE_SIZE) as load:
        settle("the load is steady", lambda: len(load.samples) > 200 or load.failure)
        memory, began = Peak(node), time.monotonic()
        command = [RAFTKVCTL, *ways[door], "backup", "-"]
        backup = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment()
        )
        said = backup.communicate(timeout=600)[1]
        seconds = time.monotonic() - began
    assert backup.returncode == 0, said
    assert f"{values + keys} keys" in said.decode()
    assert not load.failure and not load.errors, (load.failure, load.errors[:5])
    record(
        f"a backup of a large state, {door}", long, mib=values, seconds=round(seconds, 1),
        grew_mib=round(memory.growth() / MIB, 1), peak_mib=round(memory.peak() / MIB, 1),
    )  # fmt: skip
    # That of the state's cache, which was empty, is in it.
    assert SANITIZED or memory.growth() < 32 * MIB


class DiskWatch:
    """Looks again and again how much disk the nodes of a cluster take."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.peak = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def now(self):
        return max(disk_use(node.data) for node in self.cluster.nodes)

    def _run(self):
        while not self.stopping.wait(0.2):
            self.peak = max(self.peak, self.now())


def overwrite_and_record(name, cluster, long, writes, keys, value_size=VALUE_SIZE):
    """Returns how many bytes the node that takes most of them takes, at the end and at most."""
    began = time.monotonic()
    with DiskWatch(cluster) as disk:
        fill(cluster, keys, value_size)
        done = overwrite(cluster, writes, keys, value_size, OVERWRITING_MAX_S)
    cluster.wait_until_all_are_equal()
    seconds = time.monotonic() - began
    record(
        name, long, keys=keys, value_size=value_size, asked=writes, done=done, seconds=round(seconds),
        rate=round(done / seconds), peak_mib=round(disk.peak / MIB, 1),
        end_mib=round(disk.now() / MIB, 1),
    )  # fmt: skip
    return disk.now(), disk.peak


def disk_use_max(keys, value_size, trailing_entries):
    """Three times the data, the trailing log, and 128 MiB."""
    live = keys * (value_size + 14)
    trailing = min(trailing_entries * (value_size + LOG_OVERHEAD), 64 * MIB)
    return 3 * live + trailing + 128 * MIB


@in_both_forms
def test_overwrites_with_frequent_compactions_leave_little_on_the_disk(make_cluster, long):
    cluster = make_cluster(settings=FREQUENT)
    end, peak = overwrite_and_record(
        "frequent compactions", cluster, long, 200000 if long else 20000, keys=1000
    )
    assert max(end, peak) < 160 * MIB


@in_both_forms
def test_millions_of_overwrites_leave_no_more_than_the_data_and_the_trailing_log(
    make_cluster, long
):
    writes, keys = (10000000, 10000) if long else (20000, 1000)
    trailing_entries = 10240 if long else 1000
    cluster = make_cluster(settings=PATIENT if long else FREQUENT)
    end, _ = overwrite_and_record("many overwrites", cluster, long, writes, keys)
    assert end < disk_use_max(keys, VALUE_SIZE, trailing_entries)


@in_both_forms
def test_overwrites_of_large_values_never_take_more_either(make_cluster, long):
    """As fast as a single node takes them: what is written while its checkpoints and compactions
    are under way counts too. In pages of 8 KiB a value of 4 KiB takes the most beside its size."""
    writes, keys = (300000, 10000) if long else (20000, 5000)
    cluster = make_cluster(1)
    end, peak = overwrite_and_record("large values", cluster, long, writes, keys, 4096)
    assert max(end, peak) < disk_use_max(keys, 4096, 10240)


def compact_everywhere(cluster):
    """As it happens by itself: all nodes reach the same index at about the same time. Returns from
    when to when."""
    clients = [Client(node.client_port, limit=600) for node in cluster.nodes]
    began = time.monotonic()
    for client in clients:
        client.send("snapshot", timeout_ms=600000)
    for client in clients:
        assert not client.receive().HasField("error")
        client.close()
    return began, time.monotonic()


def latencies(load, first, windows):
    """Of the writes from number `first` on: of those that were under way in one of the windows, and
    of the others."""
    inside, outside = [], []
    for due, took in load.samples[first:]:
        is_inside = any(due <= end and due + took >= start for start, end in windows)
        (inside if is_inside else outside).append(took)
    assert inside and outside, "no write was under way during a compaction"
    return inside, outside


@in_both_forms
def test_writes_go_on_during_compactions(make_cluster, long):
    """Their latency is recorded beside that outside of compactions, as medians of rounds. The
    machine's noise is larger than a limit that would be worth testing."""
    keys, rounds, compactions, between = (100000, 7, 4, 2000) if long else (5000, 3, 1, 300)
    cluster = make_cluster(settings=PATIENT)
    fill(cluster, keys, VALUE_SIZE)
    figures = {"p50_inside": [], "p50_outside": [], "p99_inside": [], "p99_outside": []}
    took = []
    with SteadyLoad(cluster.leader(), 200 if SANITIZED else 1000, keys, VALUE_SIZE) as load:
        for _ in range(rounds):
            first, windows = len(load.samples), []
            for _ in range(compactions):
                wanted = len(load.samples) + between
                settle("writes go on", lambda: len(load.samples) > wanted or load.failure)
                windows.append(compact_everywhere(cluster))
            settle("they end", lambda: len(load.samples) > wanted + between // 2 or load.failure)
            took += [end - start for start, end in windows]
            inside, outside = latencies(load, first, windows)
            for part in (50, 99):
                figures[f"p{part}_inside"].append(percentile(inside, part / 100))
                figures[f"p{part}_outside"].append(percentile(outside, part / 100))
    assert not load.failure and not load.errors, (load.failure, load.errors[:5])
    medians = {name: statistics.median(values) for name, values in figures.items()}
    record(
        "put latency and compactions", long, rounds=rounds, compactions=len(took),
        compaction_s=round(statistics.median(took), 2),
        **{f"{name}_ms": round(value * 1000, 2) for name, value in medians.items()},
        p99_ratio=round(medians["p99_inside"] / medians["p99_outside"], 2),
    )  # fmt: skip
