"""Whatever is thrown at a node's ports: a clear error, and a node that goes on serving."""

import contextlib
import os
import random
import resource
import socket
import struct

import pytest
from cluster import free_port
from client import Client, Refused
from fake_member import checked_frame, receive_checked_frame
from protocol import peer, raftkv
from waiting import SANITIZED, wait_until

MIB = 1 << 20
VALUE_MAX = 4 * MIB
FRAME_MAX = 8 * MIB + (64 << 10)


@pytest.fixture(autouse=True)
def goes_on_serving(cluster):
    yield
    cluster.assert_serves()


@pytest.fixture(params=[0, 1, 2], ids=["nodeA", "nodeB", "nodeC"])
def node(cluster, request):
    """Each node in turn: what the leader refuses, a follower has to refuse too."""
    return cluster.nodes[request.param]


def refusal(node, kind, **fields):
    with node.client() as client:
        with pytest.raises(Refused) as refused:
            client.call(kind, **fields)
        assert client.status(), "the connection is still of use"
    assert not refused.value.outcome_unknown
    return refused.value


def connection_refusal(client):
    """The last answer of a connection that the node closes because of what was sent."""
    response = client.receive()
    assert response.id == 0 and response.HasField("error")
    assert client.is_closed_by_the_node()
    return Refused(response.error)


# Requests that are wrong


@pytest.mark.parametrize("kind", ["put", "get", "delete"])
def test_an_empty_key_is_refused(node, kind):
    error = refusal(node, kind, key=b"")
    assert error.code == "INVALID_ARGUMENT"
    assert "empty" in error.message and "4096" in error.message


@pytest.mark.parametrize("kind", ["put", "get", "delete"])
def test_an_oversized_key_is_refused(node, kind):
    error = refusal(node, kind, key=b"k" * 4097)
    assert error.code == "TOO_LARGE"
    assert "4097" in error.message and "4096" in error.message


def test_an_oversized_value_is_refused(node):
    error = refusal(node, "put", key=b"k", value=b"v" * (VALUE_MAX + 1))
    assert error.code == "TOO_LARGE"
    assert str(VALUE_MAX + 1) in error.message and str(VALUE_MAX) in error.message


def test_wrong_lists_are_refused(node):
    assert refusal(node, "list", limit=10001).code == "INVALID_ARGUMENT"
    assert refusal(node, "list", max_bytes=VALUE_MAX + 1).code == "INVALID_ARGUMENT"
    assert refusal(node, "list", prefix=b"p" * 4097).code == "TOO_LARGE"
    assert refusal(node, "list", prefix=b"p", continuation=b"q").code == "INVALID_ARGUMENT"


def test_an_oversized_timeout_is_refused(node):
    error = refusal(node, "get", key=b"k", timeout_ms=3600001)
    assert error.code == "INVALID_ARGUMENT" and "3600000" in error.message


@pytest.mark.parametrize("name", ["", "9lives", "no-dash", "x" * 64, "ü", "a b"])
def test_a_name_that_is_none_is_refused(node, name):
    for kind in ("remove_server", "demote_voter"):
        error = refusal(node, kind, name=name)
        assert error.code == "INVALID_ARGUMENT" and "name" in error.message


@pytest.mark.parametrize(
    "address", ["", "host", "host:0", "host:65536", ":4712", "0.0.0.0:4712", "a b:1"]
)
def test_an_address_that_is_none_is_refused(node, address):
    error = refusal(node, "add_voter", name="nodeX", peer_address=address)
    assert error.code == "INVALID_ARGUMENT" and "address" in error.message


def test_a_request_without_a_body_is_unsupported(node):
    with node.client() as client:
        client.send_frame(raftkv.Request(id=7).SerializeToString())
        response = client.receive()
        assert response.id == 7
        assert response.error.code == raftkv.ERROR_CODE_UNSUPPORTED


def test_a_valid_frame_with_an_unknown_request_is_unsupported(node):
    with node.client() as client:
        # Field 99 with an empty message in it: what a later version might have.
        client.send_frame(raftkv.Request(id=8).SerializeToString() + b"\x9a\x06\x00")
        response = client.receive()
        assert response.id == 8
        assert response.error.code == raftkv.ERROR_CODE_UNSUPPORTED
        assert "body" in response.error.message
        assert client.put(b"after", b"it").revision


def test_a_request_may_have_unknown_fields_beside_its_body(node):
    with node.client() as client:
        request = raftkv.Request(id=9, put=raftkv.PutRequest(key=b"k", value=b"v"))
        client.send_frame(request.SerializeToString() + b"\x9a\x3f\x03new")
        response = client.receive()
        assert response.id == 9 and response.put.revision


# Frames that are wrong


@pytest.mark.parametrize("length", [FRAME_MAX + 1, 0x7FFFFFFF, 0xFFFFFFFF], ids=str)
def test_an_oversized_frame_is_refused_by_its_length_alone(node, length):
    with node.client() as client:
        client.send_bytes(struct.pack(">I", length))
        error = connection_refusal(client)
    assert error.code == "TOO_LARGE"
    assert str(length) in error.message and str(FRAME_MAX) in error.message


def test_an_empty_frame_is_refused(node):
    with node.client() as client:
        client.send_frame(b"")
        assert connection_refusal(client).code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff" * 20,
        b"\x08",  # a field without its number
        b"\x52\x7f\x00",  # a put that is longer than the frame
        b"\x0b\x0c",  # a group
        b"\x52\x02\x08\x01",  # a put whose key is a number
    ],
    ids=["noise", "cut", "too short", "group", "wrong type"],
)
def test_a_frame_that_does_not_decode_is_refused(node, frame):
    with node.client() as client:
        client.send_frame(frame)
        assert connection_refusal(client).code in ("INVALID_ARGUMENT", "TOO_LARGE")


def test_invalid_utf8_in_a_text_is_refused(node):
    with node.client() as client:
        body = b"\x0a\x04n\xff\xfeX"  # the name of a remove_server
        client.send_frame(b"\x08\x01" + b"\xfa\x01" + bytes([len(body)]) + body)
        error = connection_refusal(client)
    assert error.code == "INVALID_ARGUMENT" and "UTF-8" in error.message


def test_what_was_asked_before_a_bad_frame_does_no_harm(node):
    with node.client() as client:
        for number in range(50):
            client.send("put", key=b"before%d" % number, value=b"v")
        client.send_bytes(b"\xff\xff\xff\xff")
        assert client.is_closed_by_the_node()


def test_a_frame_that_never_ends_keeps_nobody_else_waiting(node):
    with node.client() as slow:
        slow.send_bytes(struct.pack(">I", FRAME_MAX) + b"x" * 1000)
        with node.client() as other:
            assert other.put(b"k", b"v").revision


# Noise


def noise(seed, first=b""):
    chance = random.Random(seed)
    return first + chance.randbytes(chance.choice([1, 3, 4, 5, 64, 1000, 50000]))


@pytest.mark.parametrize("port", ["client_port", "peer_port"])
def test_random_bytes_are_survived(cluster, port):
    for seed in range(150):
        node = cluster.nodes[seed % 3]
        # Every other time a small length first, so that the decoder gets to see the noise.
        first = struct.pack(">I", 1 + seed) if seed % 2 else b""
        with Client(getattr(node, port)) as client:
            # The node may close it before it has everything; then there is nothing left to shut down.
            with contextlib.suppress(OSError):
                client.send_bytes(noise(seed, first))
                client.socket.shutdown(socket.SHUT_WR)
            assert client.is_closed_by_the_node()


def test_mutilated_requests_are_survived(cluster):
    chance = random.Random(4711)
    requests = [
        raftkv.Request(id=1, put=raftkv.PutRequest(key=b"noise/k", value=b"v" * 50)),
        raftkv.Request(id=2, list=raftkv.ListRequest(prefix=b"noise/", limit=3)),
        raftkv.Request(id=3, status=raftkv.StatusRequest(cluster=True)),
        raftkv.Request(id=4, members=raftkv.MembersRequest()),
    ]
    for number in range(300):
        data = bytearray(chance.choice(requests).SerializeToString())
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with cluster.nodes[number % 3].client() as client:
            client.send_frame(bytes(data[: chance.randrange(1, len(data) + 1)]))
            # Whatever it became: an answer, or an error that ends the connection.
            assert raftkv.Response.FromString(client.receive_frame()) is not None


# Clients that misbehave in time


def test_a_client_that_never_reads_costs_bounded_memory_and_nobody_else(cluster):
    node = cluster.followers()[0]
    with node.client() as client:
        client.put(b"big", os.urandom(MIB))
    before = node.memory()
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            deaf = stack.enter_context(node.client())
            with contextlib.suppress(ConnectionError):
                for _ in range(1000):
                    deaf.send("get", key=b"big", stale=True)
        with node.client() as client:
            for number in range(20):
                assert client.put(b"small", b"%d" % number).revision
                assert client.get(b"small") == b"%d" % number
        # A sanitizer keeps what was freed for a while.
        assert node.memory() - before < (600 if SANITIZED else 200) * MIB
        for _ in range(20):
            cluster.assert_serves()
    with node.client() as client:
        client.delete(b"big")


def test_two_thousand_idle_connections_are_served_with_everyone_else(cluster):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    node = cluster.nodes[1]
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(node.client()) for _ in range(2000)]
        cluster.assert_serves()
        for client in idle[::100] + idle[-1:]:
            assert client.status()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# The peer port


def hello(cluster, **changes):
    leader = cluster.leader()
    identity = peer.Identity(
        cluster_id=leader.status().cluster_id,
        member_id=0x1234,
        incarnation=1,
        name="stranger",
        peer_address="127.0.0.1:1",
        client_address="127.0.0.1:2",
        protocol_min=1,
        protocol_max=1,
    )
    message = peer.Hello(identity=identity, purpose=peer.LINK_PURPOSE_MEMBER)
    for name, value in changes.items():
        target = message.identity if hasattr(message.identity, name) else message
        setattr(target, name, value)
    return peer.LinkFrame(hello=message)


def answer_to(node, frame):
    with Client(node.peer_port) as client:
        client.send_bytes(checked_frame(frame.SerializeToString()))
        return peer.LinkFrame.FromString(receive_checked_frame(client))


def hello_refusal(node, frame):
    answer = answer_to(node, frame)
    assert answer.WhichOneof("body") == "refusal", answer
    return Refused(answer.refusal.error)


def test_a_peer_with_the_wrong_cluster_id_is_refused(cluster, node):
    error = hello_refusal(node, hello(cluster, cluster_id=0xDEAD))
    assert error.code == "INVALID_ARGUMENT"
    assert "cluster" in error.message and "dead" in error.message


def test_a_peer_that_is_no_member_is_refused_by_the_leader(cluster):
    error = hello_refusal(cluster.leader(), hello(cluster))
    assert error.code == "NOT_FOUND" and "not a member" in error.message


def test_a_peer_without_a_common_protocol_version_is_refused(cluster, node):
    error = hello_refusal(node, hello(cluster, protocol_min=7, protocol_max=9))
    assert error.code == "UNSUPPORTED" and "7 to 9" in error.message


def test_a_peer_with_a_name_that_is_taken_is_refused_by_the_leader(cluster):
    """The others may not have heard yet that the name has a new bearer."""
    error = hello_refusal(cluster.leader(), hello(cluster, name="nodeA"))
    assert error.code == "INVALID_ARGUMENT" and "nodeA" in error.message


def test_a_peer_with_the_nodes_own_id_is_refused(cluster, node):
    error = hello_refusal(node, hello(cluster, member_id=node.status().id))
    assert error.code == "INVALID_ARGUMENT" and "copy" in error.message


def test_a_peer_that_expects_another_member_is_refused(cluster, node):
    error = hello_refusal(node, hello(cluster, to_member_id=99))
    assert error.code == "NOT_FOUND"


def test_an_identity_without_an_id_is_refused(cluster, node):
    assert hello_refusal(node, hello(cluster, member_id=0)).code == "INVALID_ARGUMENT"


def test_anyone_may_ask_who_is_there(cluster, node):
    answer = answer_to(node, hello(cluster, cluster_id=0, purpose=peer.LINK_PURPOSE_IDENTIFY))
    assert answer.welcome.identity.name == node.name
    assert answer.welcome.identity.client_address == node.client_address
    assert answer.welcome.identity.member_id == node.status().id


def test_a_stranger_moves_no_member(cluster):
    """Whoever says that a member is elsewhere is not believed while it answers where it was."""
    victim, other = cluster.followers()
    before = cluster.members()
    claim = {"purpose": peer.LINK_PURPOSE_ANNOUNCE, "name": victim.name, "member_id": victim.status().id}
    for number, address in enumerate([f"127.0.0.1:{free_port()}", other.peer_address]):

        def announced():
            frame = hello(cluster, peer_address=address, incarnation=100 + number, **claim)
            return answer_to(cluster.leader(), frame).welcome.announced.error

        wait_until("it is said why not", lambda: f"still answers at {victim.peer_address}" in announced().message)
    assert cluster.members() == before
    cluster.assert_serves()


def test_a_stranger_that_announces_itself_is_refused(cluster, node):
    for changes in ({"cluster_id": 0xDEAD}, {"name": "nodeA", "cluster_id": 0}, {"member_id": node.status().id}):
        answer = answer_to(node, hello(cluster, purpose=peer.LINK_PURPOSE_ANNOUNCE, **changes))
        assert Refused(answer.welcome.announced.error).code == "INVALID_ARGUMENT"


def test_a_half_open_hello_is_closed_after_its_time(cluster):
    frame = checked_frame(hello(cluster).SerializeToString())
    node = cluster.nodes[0]
    with Client(node.peer_port) as silent, Client(node.peer_port) as half:
        half.send_bytes(frame[: len(frame) // 2])
        cluster.assert_serves()
        assert silent.is_closed_by_the_node() and half.is_closed_by_the_node()
    wait_until("the node says why", lambda: "no hello came in time" in node.said())


def test_oversized_frames_on_the_peer_port_are_not_taken(node):
    for length in (128 * 1024 + 1, 0xFFFFFFFF):
        with Client(node.peer_port) as client:
            client.send_bytes(struct.pack(">I", length))
            assert client.is_closed_by_the_node()


def test_a_peer_that_begins_with_something_else_than_a_hello_is_closed(node):
    frame = peer.LinkFrame(fragment=peer.Fragment(last=True, data=b"x"))
    with Client(node.peer_port) as client:
        client.send_bytes(checked_frame(frame.SerializeToString()))
        assert client.is_closed_by_the_node()


def test_a_damaged_frame_on_the_peer_port_is_not_taken(cluster, node):
    whole = checked_frame(hello(cluster, cluster_id=0).SerializeToString())
    for position in range(3, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        with Client(node.peer_port) as client:
            client.send_bytes(bytes(damaged))
            assert client.is_closed_by_the_node()
    wait_until("the node says why", lambda: "its first frame is damaged" in node.said())
    cluster.assert_serves()


def test_many_connections_to_the_peer_port_are_limited(cluster):
    node = cluster.nodes[2]
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            with contextlib.suppress(ConnectionError):
                stack.enter_context(Client(node.peer_port))
        cluster.assert_serves()
