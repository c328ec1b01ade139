"""scripts/demo where systemd runs the machine: its nodes are units, and nothing of it is left."""

import re
from pathlib import Path

import pytest

from hosts import wait_until

DEMO = Path(__file__).resolve().parents[2] / "scripts/demo"
LIMIT = 180  # seconds


@pytest.fixture
def demo(hosts):
    """Runs the demo with the programs and the unit of the packages, and returns what it printed."""
    host = hosts[0]
    host.write("/root/demo/scripts/demo", DEMO.read_text())
    host.run(
        "sh", "-ec",
        """
        mkdir -p /root/built/src/daemon /root/built/src/client /root/built/systemd
        ln -sf /usr/sbin/raftkvd /root/built/src/daemon
        ln -sf /usr/bin/raftkvctl /root/built/src/client
        ln -sf "$(systemctl show --property=FragmentPath --value raftkv@x.service)" /root/built/systemd
        """,
    )  # fmt: skip
    yield lambda *options: host.run("bash", "/root/demo/scripts/demo", "--built=/root/built", *options, limit=LIMIT)
    host.run("rm", "-r", "/root/demo", "/root/built")


def assert_nothing_is_left(host):
    listed = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "raftkv-demo@*"]
    wait_until("systemd knows no unit of it", lambda: not host.run(*listed).strip())
    assert not host.run("sh", "-c", "ls -d /run/systemd/system/raftkv-demo* /var/lib/raftkv-demo* "
                        "/var/lib/private/raftkv-demo* 2> /dev/null || true").strip()  # fmt: skip
    assert not host.run("pgrep", "-f", "raftkv-demo", ok=(0, 1)).strip()


def test_the_demo_runs_its_nodes_as_units_and_leaves_nothing(hosts, demo):
    said = demo()
    assert "systemctl start raftkv-demo@nodeA" in said
    assert "systemctl kill" in said and "systemd brings it back" in said
    assert "\nequal\n" in said
    assert_nothing_is_left(hosts[0])


def test_a_demo_that_is_kept_serves_until_it_is_ended_as_it_says(hosts, demo):
    said = demo("--keep")
    lines = said.splitlines()
    use = next(number for number, line in enumerate(lines) if line.startswith("export PATH="))
    status = hosts[0].run("bash", "-c", "\n".join(lines[use : use + 2]))
    assert re.findall(r"(?m)^(node[ABC]) .* yes$", status) == ["nodeA", "nodeB", "nodeC"]
    [end] = re.findall(r"(?m)^To end it: +(.*)$", said)
    hosts[0].run("bash", "-c", end)
    assert_nothing_is_left(hosts[0])
