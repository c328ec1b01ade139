"""What may take long is told of while it is under way, and known by a token until after its end."""

import json
import re

import pytest
from client import Refused
from doors import DOORS, make_door
from protocol import raftkv
from terminal import Terminal
from waiting import LIMIT, wait_until

from cluster import RAFTKVCTL, run


@pytest.fixture(params=["leader", "follower"])
def asked(cluster, request):
    return cluster.leader() if request.param == "leader" else cluster.followers()[0]


@pytest.fixture
def newcomer(cluster):
    """A node that does not answer yet, so that its addition takes until it does."""
    node = cluster.make_node("newcomer")
    node.start()
    yield node
    cluster.outsiders.remove(node)
    node.resume()
    if "newcomer" in cluster.member_roles():
        cluster.change("remove_server", name="newcomer")
    node.kill()
    node.remove_data()


def begin(client, node):
    """Asks for an addition with progress; returns its first word."""
    body = raftkv.AddVoterRequest(name=node.name, peer_address=node.peer_address)
    request = raftkv.Request(id=7, timeout_ms=60000, progress=True, add_voter=body)
    client.send_frame(request.SerializeToString())
    first = client.receive()
    assert first.id == 7 and first.WhichOneof("body") == "progress"
    return first.progress


def operation(client, token, action):
    number = raftkv.OperationAction.Value(f"OPERATION_ACTION_{action}")
    return client.call("operation", token=token, action=number)


def raftkvctl(node, *words):
    return run(RAFTKVCTL, f"--endpoints={node.client_address}", "--output=json", *words)


def test_progress_comes_before_the_answer(asked, newcomer):
    with asked.client() as client:
        first = begin(client, newcomer)
        assert first.request == "add-voter" and first.subject == "newcomer"
        assert first.asked_by == "TCP" and first.token
        while (response := client.receive()).WhichOneof("body") == "progress":
            assert response.id == 7 and response.progress.token == first.token
        assert response.configuration.configuration_index


def test_the_result_is_there_for_who_asks_again_on_another_connection(cluster, asked, newcomer):
    newcomer.pause()
    with asked.client() as client:
        token = begin(client, newcomer).token
    with asked.client() as client:
        running = operation(client, token, "SHOW").operation
        assert running.state == raftkv.OPERATION_STATE_RUNNING
        listed = json.loads(raftkvctl(asked, "operations").stdout)["operations"]
        assert [o["state"] for o in listed if o["token"] == f"{token:016x}"] == ["running"]
        newcomer.resume()
        ended = operation(client, token, "AWAIT")
    assert ended.operation.state == raftkv.OPERATION_STATE_DONE
    index = ended.result.configuration.configuration_index
    assert index == cluster.members().configuration_index


def test_an_operation_is_an_object_on_the_bus(cluster, asked, newcomer):
    newcomer.pause()
    with asked.client() as client:
        token = begin(client, newcomer).token
        assert of_object(cluster, asked, token, "State") == "running"
        assert of_object(cluster, asked, token, "Kind") == "add-voter"
        assert of_object(cluster, asked, token, "Subject") == "newcomer"
        awaiting = cluster.bus.start("--timeout=60", "call", *object_of(asked, token), "Await")
        newcomer.resume()
        while client.receive().WhichOneof("body") == "progress":
            pass
    said, errors = awaiting.communicate(timeout=LIMIT)
    assert awaiting.returncode == 0, errors
    assert of_object(cluster, asked, token, "State") == "done"
    tree = cluster.bus.busctl("--list", "tree", f"org.raftkv1.{asked.name}").stdout
    assert f"/org/raftkv1/operation/{token}" in tree.split()
    assert cluster.bus.busctl("call", *object_of(asked, token), "Cancel").returncode == 0
    assert cluster.bus.busctl("call", *object_of(asked, 12345), "Cancel").returncode != 0


def object_of(node, token):
    path = f"/org/raftkv1/operation/{token}"
    return [f"org.raftkv1.{node.name}", path, "org.raftkv1.Operation"]


def of_object(cluster, node, token, name):
    _, path, _ = object_of(node, token)
    return cluster.bus.property(node.name, name, "Operation", path)


def backups(node):
    listed = json.loads(raftkvctl(node, "operations").stdout)["operations"]
    return [operation for operation in listed if operation["request"] == "backup"]


def test_a_backup_is_an_operation_while_it_is_read_and_after(asked):
    with asked.client() as client:
        client.put(b"to-be-backed-up", b"x" * 1000)
        wait_until("it is here", lambda: client.get(b"to-be-backed-up", stale=True))
        known = len(backups(asked))
        chunk = client.call("backup")
        assert backups(asked)[known]["asked_by"] == "TCP"
        if not chunk.last:
            assert backups(asked)[known]["state"] == "running"
        sequence = 0
        while not chunk.last:
            sequence += 1
            chunk = client.call("backup", token=chunk.token, sequence=sequence)
        client.call("backup", token=chunk.token, end=True)
    operation = backups(asked)[known]
    assert operation["state"] == "done" and operation["unit"] == "bytes"
    assert operation["done"] == operation["total"] >= 1000


def test_a_backup_is_cancelled_through_any_door(cluster, asked):
    with asked.client() as client:
        for number in range(4):  # more than one chunk
            client.put(b"large %d" % number, bytes(3 << 20))
        for door in (make_door(kind, cluster.bus) for kind in DOORS):
            wait_until("all is here", lambda: len(client.list_all(b"large", stale=True)) == 4)
            chunk = client.call("backup")
            assert not chunk.last
            token = int(backups(asked)[-1]["token"], 16)
            assert of_object(cluster, asked, token, "State") == "running"
            done, total = of_object(cluster, asked, token, "Progress")
            assert 0 < done <= total
            door.ask(asked, "cancel", token=token)
            assert door.refusal(asked, "await", token=token) == "Unavailable"
            assert of_object(cluster, asked, token, "State") == "failed"
            with pytest.raises(Refused) as refused:
                client.call("backup", token=chunk.token, sequence=1)
            assert refused.value.code == "UNAVAILABLE" and "cancelled" in refused.value.message
        for number in range(4):
            client.delete(b"large %d" % number)


def on_a_terminal(node, *words):
    with Terminal(RAFTKVCTL, f"--endpoints={node.client_address}", *words) as terminal:
        return terminal.wait()


def test_a_terminal_shows_how_it_comes_on(asked, newcomer):
    shown = on_a_terminal(asked, "add-voter", "newcomer", newcomer.peer_address)
    assert "\033[Kbegun" in shown
    assert "configuration index" in shown.rsplit("\033[K", 1)[1]


def test_a_terminal_shows_how_a_backup_comes_on(asked, tmp_path):
    with asked.client() as client:
        for number in range(4):  # more than one chunk
            client.put(b"large %d" % number, bytes(3 << 20))
        wait_until("all is here", lambda: len(client.list_all(b"large", stale=True)) == 4)
        file = tmp_path / "backup"
        for words in (["backup", file], ["check", file]):
            shown = on_a_terminal(asked, *words)
            bars = re.findall(r"\033\[K\[(#*)(\.*)\] +(\d+) %  (\d+) of (\d+) bytes  being ", shown)
            assert len(bars) > 1
            assert all(len(filled) + len(empty) == 30 for filled, empty, *_ in bars)
            done = [int(bytes_) for _, _, _, bytes_, _ in bars]
            assert done == sorted(done) and 12 << 20 <= done[-1] <= file.stat().st_size
            assert int(bars[0][2]) < 100 and len(bars[-1][0]) >= 29
            assert " keys with " in shown.rpartition("\033[K")[2]
        for number in range(4):
            client.delete(b"large %d" % number)
