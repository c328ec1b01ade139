"""What the system tests share: packages that were just built, three hosts that have them
installed, and a cluster of one node on each. scripts/test system runs them (isolation.py)."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.append(str(Path(__file__).resolve().parents[1]))  # documents.py

import pytest  # noqa: E402

import isolation  # noqa: E402
from cluster import Cluster, Node  # noqa: E402
from hosts import Host, make_network  # noqa: E402
from packages import build, in_directory  # noqa: E402
from roots import pristine_root  # noqa: E402

HOSTS = 3
JOURNAL_LINES = 60
# So that a test of the watchdog waits for seconds; more than a machine under load stands still.
WATCHDOG = "[Service]\nWatchdogSec=10s\n"
_hosts = []


def pytest_collection_modifyitems(config, items):
    if isolation.WORK not in os.environ:
        reason = isolation.why_not() or "run them with scripts/test system"
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if not report.failed:
        return
    for host in _hosts:
        if host.is_on():
            said = host.journal(f"--lines={JOURNAL_LINES}", "--unit=raftkv@*", "--output=short-precise")
            report.sections.append((f"what the nodes on {host.name} said", said))
        else:
            report.sections.append((f"the console of {host.name}", host.console()[-4000:]))


@pytest.fixture(scope="session")
def work():
    return isolation.enter()


@pytest.fixture(scope="session")
def packages(work):
    """The packages as they are built now, or those in $RAFTKV_PACKAGES."""
    if "RAFTKV_PACKAGES" in os.environ:
        return in_directory(Path(os.environ["RAFTKV_PACKAGES"]))
    return build(work / "packages")


@pytest.fixture(scope="session")
def root():
    return pristine_root()


@pytest.fixture(scope="session")
def bare_hosts(work, root):
    """Hosts without raftkv, booted."""
    make_network()
    for number in range(1, HOSTS + 1):
        _hosts.append(Host(work, root, number))
        _hosts[-1].boot()
    yield _hosts
    for host in _hosts:
        if host.is_on():
            host.power_off()


@pytest.fixture(scope="session")
def hosts(bare_hosts, packages):
    """Hosts with raftkv, installed with apt."""

    def install(host):
        packages.install(host)
        host.write("/etc/systemd/system/raftkv@.service.d/watchdog.conf", WATCHDOG)
        host.run("systemctl", "daemon-reload")

    with ThreadPoolExecutor() as pool:
        list(pool.map(install, bare_hosts))
    return bare_hosts


@pytest.fixture(scope="session")
def _begun(hosts):
    cluster = Cluster(hosts)
    cluster.begin()
    return cluster


@pytest.fixture
def cluster(_begun):
    """The cluster of three nodes, whole, whatever the test before did to it."""
    _begun.heal()
    return _begun


@pytest.fixture
def make_node(hosts):
    """Makes nodes of the test's own, which are gone afterwards."""
    made = []

    def make(name, host, **options):
        made.append(Node(name, host, **options))
        return made[-1]

    yield make
    for node in made:
        node.systemctl("stop", ok=(0, 5))
        node.systemctl("reset-failed", ok=(0, 1))
        node.host.run("rm", "-rf", f"/var/lib/raftkv/{node.name}", f"/etc/raftkv/{node.name}.conf")
