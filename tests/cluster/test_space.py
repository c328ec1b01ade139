"""Disks that fill up and have space again, while the nodes run on. Each node's data directory is a
file system of its own, in memory, which needs root and mount namespaces."""

import os
import subprocess
from pathlib import Path

import pytest
from client import Refused
from cluster import RAFTKVCTL, run
from waiting import wait_until
from writers import Writers, assert_nothing_is_lost

MIB = 1 << 20
DISK = 320 * MIB
RESERVE = 32 * MIB
MOUNT = f'mount -t tmpfs -o size={DISK},mode=0700 tmpfs "$0" && exec "$@"'


def own_mounts(directory):
    """Runs a command with a file system of its own on the directory."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNT, directory]


def why_not():
    try:
        tried = subprocess.run([*own_mounts("/mnt"), "true"], capture_output=True, text=True)
    except FileNotFoundError as error:
        return str(error)
    return tried.stderr.strip() if tried.returncode else ""


pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"no file system can be mounted: {why_not()}")


class Disk:
    """The disk of a running node, seen through its process."""

    def __init__(self, node):
        self.filler = Path(f"/proc/{node.process.pid}/root{node.data}") / "filler"

    def fill(self, leave):
        """Leaves so many bytes free."""
        self.empty()
        with self.filler.open("wb", buffering=0) as file:
            while (free := self.free()) > leave:
                try:
                    file.write(bytes(min(MIB, free - leave)))
                except OSError:
                    break

    def free(self):
        status = os.statvfs(self.filler.parent)
        return status.f_bavail * status.f_frsize

    def empty(self):
        self.filler.unlink(missing_ok=True)


@pytest.fixture
def small_disks(make_cluster):
    """Three nodes, and their disks by name."""
    cluster = make_cluster(0, ["ReserveBytes=32M"])
    make_node = cluster.make_node

    def make_node_on_its_disk(*args, **options):
        node = make_node(*args, **options)
        node.data.mkdir(mode=0o700)
        launch = node.launch
        node.launch = lambda wrapper=(), **v: launch([*own_mounts(node.data), *wrapper], **v)
        return node

    cluster.make_node = make_node_on_its_disk
    cluster.start(3)
    pids = [node.process.pid for node in cluster.nodes]
    yield cluster, {node.name: Disk(node) for node in cluster.nodes}
    assert [node.process.pid for node in cluster.nodes] == pids
    assert all(node.process.poll() in (None, 0) for node in cluster.nodes)


def put(node, key, value=b"value"):
    with node.client() as client:
        return client.put(key, value)


def is_refused(node):
    try:
        put(node, b"refused?")
    except Refused as error:
        assert not error.outcome_unknown or error.code != "NO_SPACE"
        return error.code == "NO_SPACE"
    return False


def fill_leader(cluster, disks):
    """Returns it, and the leader that came after it."""
    full = cluster.leader()
    disks[full.name].fill(leave=0)
    wait_until("leadership moves", lambda: cluster.leader() is not full)
    return full, cluster.leader()


def test_a_leader_with_a_full_disk_hands_over_and_writes_go_on(small_disks):
    cluster, disks = small_disks
    writers = Writers(cluster.nodes, 4, 10**6).start()
    try:
        full, leader = fill_leader(cluster, disks)
        wait_until("it says so", lambda: full.status().alarm == "no-space")
        assert f"The disk under {full.data} " in full.said()
        alarm = cluster.bus.property(full.name, "Alarm")
        assert alarm == "no-space"


        def status():
            return run(RAFTKVCTL, f"--endpoints={leader.client_address}", "status").stdout.splitlines()

        wait_until("the others show it", lambda: [line for line in status() if full.name in line and "no-space" in line])
        # More than its log has room for: the others go on, and it waits.
        for number in range(40):
            put(leader, b"large/%d" % number, bytes(MIB))
        wait_until("its log is full", lambda: "disk of the log is full" in full.said())
        with full.client() as client:
            assert client.get(b"large/39") == bytes(MIB)  # through the leader
            client.list(b"", limit=1, stale=True)  # its own
        disks[full.name].empty()
        wait_until("the alarm ends", lambda: full.status().alarm == "")
    finally:
        writers.stop()
    assert writers.acknowledged
    assert_nothing_is_lost(cluster, writers)
    assert full.contents(b"large/") == leader.contents(b"large/")
    assert len(full.contents(b"large/")) == 40


def test_writes_that_grow_are_refused_while_a_majority_is_full(small_disks):
    cluster, disks = small_disks
    writers = Writers(cluster.nodes, 4, 10**6).start()
    try:
        put(cluster.leader(), b"kept")
        full, leader = fill_leader(cluster, disks)
        disks[full.name].fill(leave=RESERVE // 2)
        (other,) = [node for node in cluster.nodes if node not in (full, leader)]
        disks[other.name].fill(leave=RESERVE // 2)
        for node in cluster.nodes:
            wait_until("puts are refused", lambda: is_refused(node))
    finally:
        writers.stop()
    assert writers.acknowledged
    for number, node in enumerate(cluster.nodes):
        with node.client() as client:
            assert client.get(b"kept") == b"value"
            assert client.list(b"kept", limit=1).items
            client.delete(b"no such key %d" % number)
    assert cluster.change("demote_voter", name=other.name).configuration_index
    wait_until("of two voters one is full", lambda: is_refused(leader))
    cluster.change("add_voter", name=other.name, peer_address=other.peer_address)
    for disk in disks.values():
        disk.empty()
    for node in cluster.nodes:
        wait_until("puts pass again", lambda: not is_refused(node))
        wait_until("the alarm ends", lambda: node.status().alarm == "")
    cluster.assert_serves()
    assert_nothing_is_lost(cluster, writers)


def test_nodes_with_full_disks_come_back_by_themselves(small_disks):
    cluster, disks = small_disks
    for disk in disks.values():
        disk.fill(leave=0)
    # No more can be said of puts: who leads refuses them, but without room for a term nobody may be able to lead.
    for node in cluster.nodes:
        wait_until("it says so", lambda: node.status().alarm == "no-space")
    for disk in disks.values():
        disk.empty()
    wait_until("puts pass again", lambda: not is_refused(cluster.leader()))
    for node in cluster.nodes:
        wait_until("the alarm ends", lambda: node.status().alarm == "")
    cluster.wait_until_all_are_equal()
    cluster.assert_serves()


def test_a_node_that_waits_for_space_can_be_stopped(small_disks):
    cluster, disks = small_disks
    full, leader = fill_leader(cluster, disks)
    for number in range(40):
        put(leader, b"large/%d" % number, bytes(MIB))
    wait_until("its log is full", lambda: "disk of the log is full" in full.said())
    full.stop()
    put(leader, b"after")
