"""A newcomer's walk through README's first five minutes: every command is run on a fresh host, and
prints what README shows, but for numbers, ids and times."""

import pytest
from documents import blocks, commands, form, section

from cluster import Node
from hosts import Host, wait_until

FIRST, *REST = [commands(block) for block in blocks(section("README.md", "## The first five minutes"), "console")]


def install(host, packages):
    """By README's commands. The first two are not run on the host, which has no way to the network: the packages come
    from scripts/package, run where the tests are (packages.py), and that says what is missing of what scripts/deps
    package installs."""
    assert [command for _, command, _ in FIRST[:-1]] == ["scripts/deps package", "scripts/package /tmp/raftkv-packages"]
    host.run("mkdir", "/tmp/raftkv-packages")
    for file in packages.files:
        host.copy_in(file, f"/tmp/raftkv-packages/{file.name}")
    _, command, _ = FIRST[-1]
    if "trixie" in host.run("cat", "/etc/os-release"):
        command = command.replace("-t bookworm-backports ", "")
    # There is neither sudo nor the network, so only what the packages depend on is there.
    command = command.replace("sudo apt-get", "apt-get -y --no-install-recommends")
    host.run("bash", "-c", command)


def as_shown(said, shown):
    return [form(line) for line in said] == [form(line) for line in shown]


@pytest.fixture
def host(work, root, bare_hosts, packages):
    host = Host(work, root, 8)
    host.boot()
    install(host, packages)
    yield host
    host.scrap()


def test_the_first_five_minutes_go_as_shown(host):
    for prompt, command, shown in [command for block in REST for command in block]:
        assert prompt == "#", command
        if command.startswith("apt-get"):
            command = command.replace("apt-get", "apt-get -y")
            host.run("bash", "-c", command)
            continue
        if command.startswith("journalctl"):  # which gets what is said a moment later
            wait_until(f"{command} shows {shown}", lambda: as_shown(host.run("bash", "-c", command).splitlines(), shown))
            continue
        said = host.run("bash", "-c", command).splitlines()
        assert as_shown(said, shown), f"{command}: {said}"
        if "systemctl kill" in command:
            node = Node("nodeC", host)
            wait_until("systemd has started it again", lambda: node.restarts() == 1 and node.is_active())
    assert not host.run("sh", "-c", "ls /var/lib/raftkv /etc/raftkv 2> /dev/null || true")
