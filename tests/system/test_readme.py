"""A newcomer's walk through README's first five minutes: every command is run on a fresh host, and
prints what README shows, but for numbers, ids and times."""

import re
from pathlib import Path

import pytest

from cluster import Node
from hosts import Host, wait_until

README = Path(__file__).resolve().parents[2] / "README.md"


def section(heading):
    _, _, rest = README.read_text().partition(f"\n## {heading}\n")
    return rest.partition("\n## ")[0]


def commands():
    """Each command that root gives, with the lines that README shows as its output."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", section("The first five minutes"), re.DOTALL):
        for line in block.splitlines():
            if line.startswith(("# ", "$ ")):
                found.append((line[0], line[2:], []))
            else:
                found[-1][2].append(line)
    return [(command, shown) for prompt, command, shown in found if prompt == "#"]


def form(line):
    return " ".join(re.sub(r"[0-9a-f]{16}|\d+", "N", line).split())


@pytest.fixture
def host(work, root, bare_hosts, packages):
    host = Host(work, root, 8)
    host.boot()
    packages.install(host)
    yield host
    host.scrap()


def test_the_first_five_minutes_go_as_shown(host):
    for command, shown in commands():
        if command.startswith("apt-get"):
            command = command.replace("apt-get", "apt-get -y")
            host.run("bash", "-c", command)
            continue
        said = host.run("bash", "-c", command).splitlines()
        assert [form(line) for line in said] == [form(line) for line in shown], command
        if "systemctl kill" in command:
            node = Node("nodeC", host)
            wait_until("systemd has started it again", lambda: node.restarts() == 1 and node.is_active())
    assert not host.run("sh", "-c", "ls /var/lib/raftkv /etc/raftkv 2> /dev/null || true")
