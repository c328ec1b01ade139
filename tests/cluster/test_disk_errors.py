"""Disks that fail. What was written when a sync fails may be lost, so the node ends at once."""

import errno
import os

import pytest
from processes import AS_UNITS
from waiting import BUILD, PATIENT, SANITIZED, wait_until
from writers import Writers, assert_nothing_is_lost

FAILING_DISK = BUILD / "tests/cluster/failing-disk.so"
EXIT_FAILURE = 1

pytestmark = [
    pytest.mark.skipif(AS_UNITS, reason="the unit decides what is loaded into its process"),
    pytest.mark.skipif(SANITIZED, reason="the runtime of the sanitizer has to be loaded first"),
]


@pytest.fixture
def failing_disks(make_cluster):
    """Three nodes, and the files that let their disks fail while they exist, by name."""
    cluster = make_cluster(0, PATIENT)
    make_node = cluster.make_node
    switches = {}

    def make_node_on_its_disk(*args, **options):
        node = make_node(*args, **options)
        switches[node.name] = cluster.directory / f"{node.name}.disk-fails"
        variables = {"LD_PRELOAD": FAILING_DISK, "FAILING_DISK": switches[node.name]}
        launch = node.launch
        node.launch = lambda wrapper=(), **v: launch(wrapper, **variables, **v)
        return node

    cluster.make_node = make_node_on_its_disk
    cluster.start(3)
    return cluster, switches


def test_a_leader_whose_disk_fails_ends_and_nothing_acknowledged_is_lost(failing_disks):
    cluster, switches = failing_disks
    writers = Writers(cluster.nodes, count=4, writes=10**6).start()
    try:
        wait_until("some hundreds are written", lambda: len(writers.acknowledged) > 400)
        failed = cluster.leader()
        switches[failed.name].touch()
        assert failed.wait_for_exit() == EXIT_FAILURE
        assert f"A sync of the disk failed ({os.strerror(errno.EIO)})" in failed.said()
        assert cluster.leader() is not failed
        before = len(writers.acknowledged)
        wait_until("writes go on", lambda: len(writers.acknowledged) > before + 400)
    finally:
        writers.stop()
    switches[failed.name].unlink()
    failed.start()
    assert_nothing_is_lost(cluster, writers)
    cluster.assert_serves()
