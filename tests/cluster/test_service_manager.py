"""What a node tells the service manager (sd_notify(3)), and what SIGHUP does."""

import socket
from signal import SIGHUP

import pytest

from client import Refused
from waiting import LIMIT, wait_until


class Manager:
    """The end of systemd: a socket, and the messages that came."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.bind(str(path))
        self.socket.settimeout(LIMIT)
        self.heard = []

    def next(self):
        """The fields of the next message."""
        lines = self.socket.recv(65536).decode().splitlines()
        self.heard.append(dict(line.split("=", 1) for line in lines))
        return self.heard[-1]

    def wait_for(self, field):
        """The next message with this field; those before it are passed over."""
        while True:
            message = self.next()
            if field in message:
                return message


@pytest.fixture
def manager(directory):
    manager = Manager(directory / "notify")
    yield manager
    manager.socket.close()


def test_a_start_asks_for_time_before_it_is_ready(make_node, manager):
    node = make_node(bootstrap=True)
    node.launch(NOTIFY_SOCKET=str(manager.path))
    assert int(manager.wait_for("EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"]) >= 10_000_000
    ready = manager.wait_for("READY")
    assert "term" in ready["STATUS"] or "waiting" in ready["STATUS"]
    node.stop()
    assert int(manager.wait_for("STOPPING")["EXTEND_TIMEOUT_USEC"]) > 10_000_000


def test_the_watchdog_is_fed(make_node, manager):
    node = make_node(bootstrap=True)
    node.launch(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="200000")
    manager.wait_for("READY")
    for _ in range(3):
        manager.wait_for("WATCHDOG")
    node.pause()
    node.resume()
    manager.wait_for("WATCHDOG")


def test_a_reload_takes_over_what_it_can_and_says_what_needs_a_restart(make_node, manager):
    node = make_node(bootstrap=True)
    node.launch(NOTIFY_SOCKET=str(manager.path))
    manager.wait_for("READY")
    node.settings = ["MaxConnections=1", "[Raft]", "ElectionTimeoutSec=2s"]
    node.write_configuration()
    node.send_signal(SIGHUP)
    assert int(manager.wait_for("RELOADING")["MONOTONIC_USEC"]) > 0
    manager.wait_for("READY")
    said = node.said()
    assert "notice: MaxConnections=1 is taken over." in said
    assert "warning: ElectionTimeoutSec=2s takes effect when the node is restarted." in said
    assert "1 changes are taken over, 1 need a restart" in said
    with node.client() as first:
        first.put(b"key", b"value")
        with pytest.raises(Refused, match="BUSY"), node.client() as second:
            second.get(b"key")


def test_a_reload_with_a_wrong_configuration_changes_nothing(make_node, manager):
    node = make_node(bootstrap=True)
    node.launch(NOTIFY_SOCKET=str(manager.path))
    manager.wait_for("READY")
    node.settings = ["MaxConnections=1", "MaxInFlight=none"]
    node.write_configuration()
    node.send_signal(SIGHUP)
    manager.wait_for("RELOADING")
    manager.wait_for("READY")
    assert "MaxInFlight=none is wrong" in node.said()
    assert "goes on with what it has" in node.said()
    with node.client() as first, node.client() as second:
        first.put(b"key", b"value")
        assert second.get(b"key") == b"value"


def test_a_node_that_has_no_manager_reloads_as_well(make_node):
    node = make_node(bootstrap=True)
    node.start()
    node.send_signal(SIGHUP)
    wait_until("it has read it again", lambda: "was read again" in node.said())
    node.wait_until_it_answers()
