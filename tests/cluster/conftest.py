"""What the cluster tests share: clusters of real nodes, and what the nodes said when a test fails.

RAFTKV_BUILD names the build directory whose programs are tested; scripts/test sets it."""

import sys

sys.dont_write_bytecode = True

import pytest  # noqa: E402

from bus import Bus  # noqa: E402
from cluster import RAFTKV_BENCH, RAFTKVCTL, RAFTKVD, Cluster  # noqa: E402

_open_clusters = []
JOURNAL_LINES = 40


def pytest_sessionstart(session):
    for program in (RAFTKVD, RAFTKVCTL, RAFTKV_BENCH):
        if not program.exists():
            pytest.exit(f"{program} is missing: build it, or set RAFTKV_BUILD", returncode=2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if not report.failed:
        return
    for cluster in _open_clusters:
        for node in cluster.nodes + cluster.outsiders:
            if node.journal.exists():
                lines = node.said().splitlines()[-JOURNAL_LINES:]
                report.sections.append((f"what {node.name} said", "\n".join(lines)))


@pytest.fixture(scope="session")
def bus():
    bus = Bus()
    yield bus
    bus.close()


@pytest.fixture(scope="session")
def _cluster_factory(bus):
    def make(size=3, settings=()):
        cluster = Cluster(bus, settings)
        _open_clusters.append(cluster)
        if size:
            cluster.start(size)
        return cluster

    return make


def _close(cluster):
    try:
        cluster.close()
    finally:
        _open_clusters.remove(cluster)


@pytest.fixture
def make_cluster(_cluster_factory):
    """Makes clusters that are the test's own, for tests that hurt them."""
    clusters = []

    def make(size=3, settings=()):
        clusters.append(_cluster_factory(0, settings))
        return clusters[-1].start(size) if size else clusters[-1]

    yield make
    for cluster in clusters:
        _close(cluster)


@pytest.fixture(scope="module")
def _shared_cluster(_cluster_factory):
    cluster = _cluster_factory(3)
    yield cluster
    _close(cluster)


@pytest.fixture
def cluster(_shared_cluster):
    """Three nodes, shared by the tests of a file. A test has to leave them as they were."""
    pids = [node.process.pid for node in _shared_cluster.nodes]
    yield _shared_cluster
    for node, pid in zip(_shared_cluster.nodes, pids):
        assert node.is_running() and node.process.pid == pid, f"{node.name} has ended"
