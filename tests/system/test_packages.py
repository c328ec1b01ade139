"""What the packages do to hosts on which nodes run."""

import json
import shutil
import subprocess

import pytest

from cluster import Cluster, Load, Node
from hosts import Host, wait_until
from packages import NEWER


@pytest.fixture
def host(work, root, bare_hosts, packages):
    """A host of the test's own, with raftkv."""
    host = Host(work, root, 9)
    host.boot()
    packages.install(host)
    yield host
    host.scrap()


@pytest.mark.skipif(not shutil.which("lintian"), reason="lintian is missing; scripts/deps system installs it")
def test_lintian_finds_no_error_in_the_packages(packages):
    result = subprocess.run(
        ["lintian", "--fail-on=error", "--allow-root", *packages.files],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout


def installed_version(node):
    return node.host.run("raftkvd", "--version").split()[1]


def versions(asked):
    """What a node's status says that each member runs."""
    members = json.loads(asked.ctl("--output=json", "status"))["members"]
    return {member["name"]: member["version"] for member in members}


def wait_for_versions(cluster):
    """Every node's status shows that each node runs what is installed on its host."""
    installed = {node.name: installed_version(node) for node in cluster.nodes}
    wait_until(f"the nodes show {installed}", lambda: all(versions(node) == installed for node in cluster.nodes))
    return installed


def assert_has_all(node, load):
    assert node.ctl("--output=json", "list", "--limit=100000", "load-").count('"key"') == load.written


def test_an_upgrade_node_by_node_loses_no_request(cluster, packages):
    seen = []
    with Load(cluster, cluster.nodes[0].host) as load:
        for node in [*cluster.followers(), cluster.leader()]:
            process = node.show("MainPID")
            load.wait_for(10)
            packages.newer.install(node.host)
            wait_until("it runs as another process", lambda: node.answers() and node.show("MainPID") != process)
            cluster.leader()
            cluster.wait_until_equal()
            seen.append(len(set(wait_for_versions(cluster).values())))
            load.wait_for(10)
    load.assert_whole()
    assert seen == [2, 2, 1], "versions that ran together"
    for node in cluster.nodes:
        assert installed_version(node).endswith(NEWER)
        assert_has_all(node, load)


def test_an_installation_starts_and_enables_nothing(host):
    assert host.run("systemctl", "list-units", "--all", "--no-legend", "raftkv@*").strip() == ""
    assert host.run("systemctl", "list-unit-files", "--state=enabled", "--no-legend", "raftkv*", ok=(0, 1)).strip() == ""
    assert host.run("getent", "passwd", "raftkv").split(":")[6].strip() == "/usr/sbin/nologin"


def test_an_upgrade_restarts_the_running_nodes_of_a_host_one_after_the_other(host, packages):
    stopped = Node("stopped", host, settings=["Bootstrap=yes"], clients=5711, peers=5712)
    stopped.configure()
    stopped.systemctl("start")
    stopped.systemctl("stop")
    cluster = Cluster([host] * 3)
    cluster.begin()
    processes = [node.show("MainPID") for node in cluster.nodes]

    host.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")
    host.run("chmod", "+x", "/usr/sbin/policy-rc.d")
    host.run("dpkg-reconfigure", "raftkv")
    assert [node.show("MainPID") for node in cluster.nodes] == processes
    host.run("rm", "/usr/sbin/policy-rc.d")

    with Load(cluster, host) as load:
        load.wait_for(10)
        packages.newer.install(host)
        load.wait_for(10)
    load.assert_whole()
    wait_for_versions(cluster)
    cluster.wait_until_equal()
    for node in cluster.nodes:
        assert_has_all(node, load)
    stamps = ("ActiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    pauses = sorted([int(node.show(stamp)) for stamp in stamps] for node in cluster.nodes)
    for (_, up), (down, _) in zip(pauses, pauses[1:]):
        assert up < down, "two nodes were down at the same time"

    assert not stopped.is_active()
    stopped.systemctl("start")
    wait_until("it leads", stopped.leads)


def test_removing_stops_the_nodes_and_keeps_their_data_and_purging_does_not(host):
    node = Node("alone", host, settings=["Bootstrap=yes"])
    node.configure()
    node.systemctl("enable", "--now")
    node.ctl("put", "key", "value")
    host.run("apt-get", "-y", "remove", "raftkv", limit=120)
    assert host.show(node.unit, "ActiveState") == "inactive"
    assert not host.run("sh", "-c", "pgrep raftkvd || true").strip()
    host.run("test", "-e", "/var/lib/raftkv/alone/identity")
    host.run("test", "-e", "/etc/raftkv/alone.conf")
    host.run("apt-get", "-y", "purge", "raftkv", limit=120)
    left = host.run("sh", "-c", "ls -d /var/lib/raftkv /etc/raftkv /etc/systemd/system/*/raftkv* 2> /dev/null || true")
    assert left == ""


def test_what_was_removed_can_be_installed_again_with_its_data(host, packages):
    node = Node("alone", host, settings=["Bootstrap=yes"])
    node.configure()
    node.systemctl("start")
    node.ctl("put", "key", "value")
    host.run("apt-get", "-y", "remove", "raftkv", limit=120)
    packages.install(host)
    node.systemctl("start")
    wait_until("it leads", node.leads)
    assert node.ctl("get", "key").strip() == "value"
