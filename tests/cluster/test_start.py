"""How a node starts, says how it is, refuses to start, and stops."""

import os
import re
import shutil
import socket
import subprocess
import threading
from signal import SIGINT, SIGTERM

import pytest
from cluster import RAFTKVD, Node, free_port, run
from waiting import wait_until

CONFIGURATION_ERROR = 78


def check_configuration(path, name="nodeA"):
    return run(RAFTKVD, "--check-config", f"--config={path}", name)


# The configuration


def test_a_valid_configuration_is_said_to_be_valid(make_node):
    node = make_node()
    result = check_configuration(node.configuration)
    assert result.returncode == 0 and "valid" in result.stdout and not result.stderr
    assert not node.data.exists(), "a check changes nothing"


def test_a_missing_configuration_is_named(make_node, directory):
    path = directory / "missing.conf"
    result = check_configuration(path)
    assert result.returncode == CONFIGURATION_ERROR
    assert str(path) in result.stderr and "no such file" in result.stderr
    node = make_node()
    node.configuration.unlink()
    status, said = node.fails_to_start()
    assert status == CONFIGURATION_ERROR and str(node.configuration) in said


def test_a_configuration_that_is_a_directory_is_named(make_node):
    node = make_node()
    node.configuration.unlink()
    node.configuration.mkdir()
    status, said = node.fails_to_start()
    assert status == CONFIGURATION_ERROR
    assert str(node.configuration) in said and "can't be read" in said


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_an_unreadable_configuration_is_named(make_node, directory):
    node = make_node()
    node.configuration.chmod(0)
    program = shutil.copy(RAFTKVD, directory)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    result = run(*nobody, program, f"--config={node.configuration}", "nodeA")
    assert result.returncode == CONFIGURATION_ERROR
    assert str(node.configuration) in result.stderr and "Permission denied" in result.stderr


@pytest.mark.parametrize(
    "line, part",
    [
        ("nonsense", "neither KEY=VALUE"),
        ("[Node", "closing bracket"),
        ("ListenClients=nowhere", "HOST:PORT"),
        ("ListenPeers=127.0.0.1:0", "HOST:PORT"),
        ("ListenPeers=127.0.0.1:70000", "HOST:PORT"),
        ("DataDirectory=relative/path", "absolute path"),
        ("Bootstrap=perhaps", "yes or no"),
        ("Name=no-name", "a name of letters"),
        ("MaxConnections=0", "a whole number from 1 to 10000"),
        ("MaxConnections=10001", "a whole number from 1 to 10000"),
        ("StateCacheBytes=12potatoes", "a size from"),
        ("StopTimeoutSec=soon", "a time span from"),
        ("Bootstrap=\0yes", "NUL"),
        ("Name=" + "x" * 10000, "longer than"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_allowed(make_node, line, part):
    node = make_node()
    with node.configuration.open("a") as file:
        file.write(line + "\n")
    number = len(node.configuration.read_text().splitlines())
    result = check_configuration(node.configuration)
    assert result.returncode == CONFIGURATION_ERROR
    assert f"{node.configuration}:{number}: " in result.stderr and part in result.stderr
    status, said = node.fails_to_start()
    assert status == CONFIGURATION_ERROR and part in said


def test_every_wrong_line_is_named_not_only_the_first(make_node):
    settings = ["Bootstrap=x", "[Raft]", "ElectionTimeoutSec=1", "HeartbeatSec=900ms"]
    node = make_node(settings=settings)
    result = check_configuration(node.configuration)
    assert result.returncode == CONFIGURATION_ERROR
    assert "Bootstrap=x" in result.stderr and "HeartbeatSec=900ms" in result.stderr


def test_unknown_keys_are_warned_about_and_the_node_starts(make_node):
    node = make_node(bootstrap=True, settings=["FromTheFuture=1"])
    node.start()
    assert re.search(rf"warning: {node.configuration}:\d+: .*FromTheFuture=", node.said())
    node.stop()


def test_drop_ins_win_over_the_file(make_node):
    node = make_node()
    port = free_port()
    drop_ins = node.configuration.with_name(node.configuration.name + ".d")
    drop_ins.mkdir()
    (drop_ins / "10-port.conf").write_text(f"[Node]\nListenClients=127.0.0.1:{port}\n")
    node.client_port = port
    node.start()
    assert node.status().client_address == f"127.0.0.1:{port}"
    node.stop()


def test_the_name_has_to_agree_with_the_command_line(make_node):
    node = make_node(settings=["Name=nodeB"])
    result = check_configuration(node.configuration)
    assert result.returncode == CONFIGURATION_ERROR
    assert "nodeA" in result.stderr and "nodeB" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["no-name"], ["a", "b"], ["--bus=nowhere", "a"], ["--config=", "a"], ["--frob", "a"]],
    ids=" ".join,
)
def test_wrong_usage_is_said_and_exits_with_2(arguments):
    result = run(RAFTKVD, *arguments)
    assert result.returncode == 2 and result.stderr.startswith(("raftkvd: ", f"{RAFTKVD}: "))


# What keeps a node from starting


@pytest.mark.parametrize("port", ["client_port", "peer_port"])
def test_a_port_in_use_is_named(make_node, port):
    node = make_node(bootstrap=True)
    with socket.create_server(("127.0.0.1", getattr(node, port))):
        status, said = node.fails_to_start()
    assert status == 1
    assert f"Cannot listen on 127.0.0.1:{getattr(node, port)}" in said and "in use" in said
    node.start()
    node.stop()


def test_a_data_directory_in_use_is_refused_and_its_user_serves_on(make_node, directory):
    user = make_node(bootstrap=True)
    user.start()
    second = make_node(place=directory / "second", data=user.data)
    status, said = second.fails_to_start()
    assert status == 1 and f"{user.data} is in use by another process" in said
    with user.client() as client:
        assert client.put(b"still", b"here").revision
    user.stop()


def test_the_data_directory_of_another_node_is_refused(make_node):
    node = make_node(bootstrap=True)
    node.start()
    node.stop()
    other = make_node("nodeB", data=node.data)
    status, said = other.fails_to_start()
    assert status == 1 and "is the data directory of node nodeA, not of nodeB" in said


def test_a_directory_that_is_none_of_raftkv_is_refused(make_node):
    node = make_node(bootstrap=True)
    (node.data / "log").mkdir(parents=True)
    (node.data / "log" / "something").write_text("precious")
    (node.data / "letters").mkdir()
    status, said = node.fails_to_start()
    assert status == 1 and str(node.data) in said
    assert (node.data / "log" / "something").read_text() == "precious"


def can_mount():
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="no private mount namespaces here")
@pytest.mark.parametrize("used", [False, True], ids=["new", "used before"])
def test_a_read_only_data_directory_is_named(make_node, used):
    node = make_node(bootstrap=True)
    node.data.mkdir()
    if used:
        node.start()
        node.stop()
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    wrapper = ["unshare", "-m", "sh", "-c", script, node.data]
    status, said = node.fails_to_start(wrapper)
    assert status == 1 and str(node.data) in said and "Read-only file system" in said
    node.start()
    node.stop()


def test_a_file_in_place_of_the_data_directory_is_named(make_node):
    node = make_node(bootstrap=True)
    node.data.write_text("not a directory")
    status, said = node.fails_to_start()
    assert status == 1 and str(node.data) in said and "Not a directory" in said


def test_a_bus_that_is_not_there_keeps_a_node_that_was_told_to_use_it_from_starting(make_node):
    class NoBus:
        address = "unix:path=/nowhere/bus"

    status, said = make_node(bus=NoBus, bootstrap=True).fails_to_start()
    assert status == 1 and NoBus.address in said


# Bootstrap


def test_bootstrap_makes_a_cluster_once_and_is_safe_to_leave(make_node):
    node = make_node(bootstrap=True)
    node.start()
    wait_until("it leads", lambda: node.status().leader == "nodeA")
    with node.client() as client:
        client.put(b"k", b"v")
    cluster_id = node.status().cluster_id
    node.stop()
    node.start()
    assert node.status().cluster_id == cluster_id != 0
    with node.client() as client:
        assert client.get(b"k") == b"v"
    node.stop()


def test_without_bootstrap_an_empty_node_waits_to_be_added(make_node):
    node = make_node()
    node.start()
    status = node.status()
    assert status.cluster_id == 0 and status.leader == ""
    node.stop()


# Readiness, and the end


class Supervisor:
    """What a service manager hears of a node."""

    def __init__(self, directory):
        self.path = directory / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.messages = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            self.messages.append(self.socket.recv(4096).decode())

    def position(self, line):
        """The number of the first message with this line, or None."""
        for number, message in enumerate(self.messages):
            if line in message.splitlines():
                return number
        return None

    def last_status(self):
        lines = [line for message in self.messages for line in message.splitlines()]
        return [line for line in ["", *lines] if not line or line.startswith("STATUS=")][-1]


@pytest.mark.parametrize("number", [SIGTERM, SIGINT], ids=["SIGTERM", "SIGINT"])
def test_the_service_manager_is_told_and_a_signal_stops_with_status_0(make_node, directory, number):
    supervisor = Supervisor(directory)
    node = make_node(bootstrap=True)
    node.start(NOTIFY_SOCKET=str(supervisor.path))
    wait_until("READY=1 is said", lambda: supervisor.position("READY=1") is not None)
    wait_until(
        "the status tells role, term and revision",
        lambda: re.fullmatch(r"STATUS=leader, term \d+, revision \d+", supervisor.last_status()),
    )
    assert supervisor.position("STOPPING=1") is None
    node.stop(number)
    wait_until("STOPPING=1 is said", lambda: supervisor.position("STOPPING=1") is not None)
    assert "nodeA has stopped" in node.said()


def test_a_node_that_waits_to_be_added_is_ready_and_says_what_it_waits_for(make_node, directory):
    supervisor = Supervisor(directory)
    node = make_node()
    node.start(NOTIFY_SOCKET=str(supervisor.path))
    wait_until("READY=1 is said", lambda: supervisor.position("READY=1") is not None)
    wait_until(
        "the status says so", lambda: supervisor.last_status() == "STATUS=waiting to be added to a cluster"
    )
    node.stop()


def test_the_watchdog_is_fed(make_node, directory):
    supervisor = Supervisor(directory)
    node = make_node(bootstrap=True)
    node.start(NOTIFY_SOCKET=str(supervisor.path), WATCHDOG_USEC="200000")
    wait_until("the watchdog is fed again", lambda: supervisor.messages.count("WATCHDOG=1") > 3)
    node.stop()


def test_a_node_that_does_not_start_tells_the_service_manager_why(make_node, directory):
    supervisor = Supervisor(directory)
    node = make_node(bootstrap=True)
    with socket.create_server(("127.0.0.1", node.client_port)):
        node.launch(NOTIFY_SOCKET=str(supervisor.path))
        assert node.wait_for_exit() == 1
    wait_until("the reason is told", lambda: "in use" in supervisor.last_status())
    assert supervisor.position("READY=1") is None
