"""The cluster tests once more, on a booted host, with each node run as the unit that ships: whatever the
unit takes away from the daemon, it has to do without it."""

import re
import subprocess
from pathlib import Path

import pytest

from hosts import Host
from packages import REPOSITORY

PLACE = Path("/srv/raftkv")
LIMIT = 1800  # seconds
PASSED_AT_LEAST = 500  # tests; fewer were not all that there are
# These stand in for systemd, for the disk or for the clock themselves, and need nodes of their own for it.
APART = ["test_service_manager.py", "test_space.py"]


@pytest.fixture
def host(work, root, bare_hosts, packages):
    host = Host(work, root, 7)
    host.boot()
    packages.install(host)
    tracked = subprocess.run(["git", "-C", REPOSITORY, "ls-files", "-z"], capture_output=True, check=True).stdout
    with subprocess.Popen(
        ["tar", "-C", REPOSITORY, "--null", "--files-from=-", "-cf", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as tar:
        tar.stdin.write(tracked)
        tar.stdin.close()
        host.run("mkdir", "-p", PLACE)
        subprocess.run(host.enter("tar", "-C", PLACE, "-xf", "-"), stdin=tar.stdout, check=True)
    host.run(
        "sh", "-ec",
        f"""
        mkdir -p {PLACE}/built/src/daemon {PLACE}/built/src/client {PLACE}/built/bench {PLACE}/tmp
        ln -s /usr/sbin/raftkvd {PLACE}/built/src/daemon
        ln -s /usr/bin/raftkvctl {PLACE}/built/src/client
        ln -s /usr/bin/raftkv-bench {PLACE}/built/bench
        """,
    )  # fmt: skip
    yield host
    host.scrap()


def test_the_cluster_tests_pass_with_nodes_that_are_units(host):
    said = host.run(
        "env", "--chdir", PLACE, f"TMPDIR={PLACE}/tmp", f"RAFTKV_BUILD={PLACE}/built", "RAFTKV_AS_UNITS=yes",
        "/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "3", "--dist", "loadfile",
        "tests/cluster", *(f"--ignore=tests/cluster/{name}" for name in APART), limit=LIMIT,
    )  # fmt: skip
    summary = said.splitlines()[-1]
    print(summary)
    passed = re.search(r"\b(\d+) passed\b", summary)
    assert passed and int(passed[1]) >= PASSED_AT_LEAST, summary
