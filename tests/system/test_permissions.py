"""What polkit lets users do over the bus of a host."""

import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time

import pytest

from documents import blocks, section
from hosts import LIMIT, Failed, wait_until

ACTIONS = {
    "read-keys": ("KV.Get", "s", "secret"),
    "write-keys": ("KV.Put", "ss", "secret", "other"),
    "manage-cluster": ("Cluster.AddVoter", "sst", "nodeX", "127.0.0.1:1", 0),
}
PASSWORD = "correct horse"
# The agent is registered when it closes its end of the pipe; then it serves the process that the shell becomes.
WITH_AGENT = """
pipe=$(mktemp --dry-run)
mkfifo "$pipe"
pkttyagent --process $$ --notify-fd 3 3> "$pipe" &
cat "$pipe"
rm "$pipe"
exec "$@"
"""


def refusal(node, action, user="nobody"):
    """Why a user may not do it."""
    try:
        answer = node.call(*ACTIONS[action], user=user)
    except Failed as failure:
        return failure.output
    raise AssertionError(f"{action} is permitted: {answer}")


@pytest.fixture
def make_user():
    """Makes users of hosts, in a group, who are gone afterwards."""
    made = []

    def make(host, group):
        host.run("groupadd", "--force", group)
        host.run("useradd", "--groups", group, "ada")
        made.append(host)
        host.run("chpasswd", input=f"ada:{PASSWORD}\n")
        return "ada"

    yield make
    for host in made:
        wait_until("the user is gone", lambda: has_left(host, "ada"))


def has_left(host, user):
    """Removes a user, with what still runs of it: an agent that waits for a password, say."""
    host.run("pkill", "--signal=KILL", "--uid", user, ok=(0, 1))
    host.run("userdel", user)
    return True


def at_a_terminal(host, user, password, *command):
    """Runs a command as a user at a terminal, where an agent of polkit asks for the password. Returns the exit
    status, and what the terminal shows."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        host.enter("runuser", "-u", user, "--", "sh", "-ec", WITH_AGENT, "sh", *command),
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(slave)
    shown, answered = "", False
    end = time.monotonic() + LIMIT
    while process.poll() is None:
        assert time.monotonic() < end, shown
        if select.select([master], [], [], 0.1)[0]:
            try:
                shown += os.read(master, 4096).decode()
            except OSError:
                break
        echoes = termios.tcgetattr(master)[3] & termios.ECHO
        if "Password:" in shown and not echoes and not answered:
            os.write(master, f"{password}\n".encode())
            answered = True
    process.wait(LIMIT)
    os.close(master)
    return process.returncode, shown


def test_an_unprivileged_user_sees_the_status_and_nothing_else(cluster):
    node = cluster.followers()[0]
    node.call("KV.Put", "ss", "secret", "value")
    property_of = ["get-property", f"org.raftkv1.{node.name}", "/org/raftkv1", "org.raftkv1.Node"]
    name = node.host.run("busctl", "--system", *property_of, "Name", user="nobody")
    assert name.strip() == f's "{node.name}"'
    for status in ("Node.GetStatus", "Node.Stats", "Cluster.GetConfigurationStale", "Cluster.GetPending"):
        node.call(status, user="nobody")
    for action in ACTIONS:
        assert f"org.raftkv1.{action}" in refusal(node, action)
    assert node.call("KV.Get", "s", "secret").startswith('st "value" ')


def test_without_polkit_only_root_and_the_daemons_user_may_do_what_it_would_permit(cluster):
    node = cluster.followers()[0]
    node.host.run("systemctl", "mask", "--runtime", "--now", "polkit.service")
    try:
        for action in ACTIONS:
            assert "Only root and the user that raftkvd runs as" in refusal(node, action)
        node.call("Node.GetStatus", user="nobody")
        for user in ("root", "raftkv"):
            node.call("KV.Put", "ss", "secret", user, user=user)
            assert node.call("KV.Get", "s", "secret", user=user).startswith(f'st "{user}" ')
            node.call("Cluster.AddVoter", "sst", node.name, node.peer_address, 0, user=user)  # which it is already
    finally:
        node.host.run("systemctl", "unmask", "--runtime", "polkit.service")
    assert "org.raftkv1.read-keys" in refusal(node, "read-keys")


def test_the_rule_in_the_manual_page_permits_what_it_names_to_the_group_it_names(cluster, make_user):
    [rule] = blocks(section("man/dbus_page.py", "# PERMISSIONS"))
    node = cluster.followers()[0]
    user = make_user(node.host, "operators")
    node.host.write("/etc/polkit-1/rules.d/50-raftkv-test.rules", rule)
    try:
        wait_until("writing is permitted", lambda: node.call(*ACTIONS["write-keys"], user=user).startswith("tb "))
        for action in ("read-keys", "manage-cluster"):
            assert f"org.raftkv1.{action}" in refusal(node, action, user)
        assert "org.raftkv1.write-keys" in refusal(node, "write-keys", "nobody")
    finally:
        node.host.run("rm", "/etc/polkit-1/rules.d/50-raftkv-test.rules")


def test_an_administrator_may_do_all_after_giving_the_password(cluster, make_user):
    node = cluster.followers()[0]
    user = make_user(node.host, "sudo")
    add = node.busctl("Cluster.AddVoter", "sst", node.name, node.peer_address, 0)  # which it is already
    assert "org.raftkv1.manage-cluster" in node.host.fails(*add, user=user).output
    status, shown = at_a_terminal(node.host, user, "wrong", *add)
    assert status != 0 and "org.raftkv1.manage-cluster" in shown, shown
    status, shown = at_a_terminal(node.host, user, PASSWORD, *add)
    assert status == 0 and re.search(r"t \d+\s*$", shown), shown


def test_nobody_but_a_node_takes_its_name_on_the_bus(cluster):
    host = cluster.nodes[0].host
    refused = host.fails(
        "busctl", "--system", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "RequestName", "su",
        "org.raftkv1.nodeX", "0", user="nobody",
    )  # fmt: skip
    assert "not allowed to own" in refused.output or "Access denied" in refused.output, refused.output
