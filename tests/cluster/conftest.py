"""What the cluster tests share: clusters of real nodes, and what the nodes said when a test fails.

RAFTKV_BUILD names the build directory whose programs are tested; scripts/test sets it."""

import shutil
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.append(str(Path(__file__).resolve().parents[1]))  # documents.py

import figures  # noqa: E402
import pytest  # noqa: E402

from bus import Bus  # noqa: E402
from cluster import RAFTKV_BENCH, RAFTKVCTL, RAFTKVD, Cluster, Node, make_directory  # noqa: E402
from waiting import PATIENT  # noqa: E402

_open_clusters = []
JOURNAL_LINES = 40


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes minutes; only with -m long (scripts/test long)")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("-m"):
        items[:] = [item for item in items if not item.get_closest_marker("long")]


def _end(number, frame):
    raise KeyboardInterrupt


def pytest_terminal_summary(terminalreporter):
    for line in figures.lines():
        terminalreporter.write_line(line)


def pytest_sessionstart(session):
    # So that a time limit around the tests ends their nodes and removes their files.
    signal.signal(signal.SIGTERM, _end)
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


def _make(size, settings=()):
    cluster = Cluster(Bus(), settings)
    _open_clusters.append(cluster)
    return cluster.start(size) if size else cluster


def _close(cluster):
    try:
        cluster.close()
    finally:
        cluster.bus.close()
        _open_clusters.remove(cluster)


def _close_from(before):
    """Closes the clusters made since then, all of them also when one does not end well."""
    with ExitStack() as stack:
        for cluster in _open_clusters[before:]:
            stack.callback(_close, cluster)


@pytest.fixture
def make_cluster():
    """Makes clusters that are the test's own, for tests that hurt them."""
    before = len(_open_clusters)
    yield lambda size=3, settings=(): _make(size, settings)
    _close_from(before)


@pytest.fixture(scope="module")
def _shared_cluster():
    before = len(_open_clusters)
    try:
        yield _make(3, PATIENT)
    finally:
        _close_from(before)


@pytest.fixture
def bus(cluster):
    """The private bus of the shared nodes."""
    return cluster.bus


@pytest.fixture
def cluster(_shared_cluster):
    """Three nodes, shared by the tests of a file. A test has to leave them as they were, and leadership moves only as
    it says."""
    pids = [node.process.pid for node in _shared_cluster.nodes]
    yield _shared_cluster
    for node, pid in zip(_shared_cluster.nodes, pids):
        assert node.is_running() and node.process.pid == pid, f"{node.name} has ended"


@pytest.fixture
def directory():
    path = make_directory()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def make_node(directory):
    """Makes nodes without a bus, which are stopped in the end."""
    nodes = []

    def make(name="nodeA", place=directory, **options):
        place.mkdir(exist_ok=True)
        nodes.append(Node(place, name, **options))
        return nodes[-1]

    yield make
    for node in nodes:
        if node.is_running():
            node.stop()
