"""Writes and reads while nothing goes wrong: every node and every door shows the same."""

import os
import random

import pytest
from client import Refused

MIB = 1 << 20


def read_everywhere(cluster, key):
    """What a linearizable get through each node answers, right now."""
    values = []
    for node in cluster.nodes:
        with node.client() as client:
            values.append(client.get(key))
    return values


def test_a_write_through_each_node_is_read_through_the_others(cluster):
    for writer in cluster.nodes:
        for number in range(20):
            key, value = f"{writer.name}/{number}".encode(), os.urandom(20)
            with writer.client() as client:
                client.put(key, value)
            assert read_everywhere(cluster, key) == [value] * 3


def test_a_write_over_one_door_is_read_over_the_other(cluster, bus):
    for number, node in enumerate(cluster.nodes):
        other = cluster.nodes[(number + 1) % 3]
        bus.call(node.name, "KV.Put", "ss", f"bus{number}", "by bus")
        with other.client() as client:
            assert client.get(f"bus{number}".encode()) == b"by bus"
            client.put(f"tcp{number}".encode(), b"by tcp")
        assert bus.call(node.name, "KV.Get", "s", f"tcp{number}")[0] == "by tcp"


@pytest.mark.parametrize("size", [MIB, 4 * MIB], ids=["1MiB", "4MiB"])
def test_a_large_value_arrives_whole_on_every_node(cluster, size):
    for writer in cluster.nodes:
        value = os.urandom(size)
        with writer.client() as client:
            client.put(b"large", value)
        assert read_everywhere(cluster, b"large") == [value] * 3
    with cluster.nodes[0].client() as client:
        client.delete(b"large")


def test_large_values_written_at_the_same_time_keep_apart(cluster):
    clients = [node.client() for node in cluster.nodes]
    values = {}
    for index, client in enumerate(clients):
        for number in range(4):
            key = f"at-once/{index}/{number}".encode()
            values[key] = os.urandom(MIB)
            client.send("put", key=key, value=values[key])
    for client in clients:
        for _ in range(4):
            assert not client.receive().HasField("error")
        client.close()
    for node in cluster.nodes:
        with node.client() as client:
            for key, value in values.items():
                assert client.get(key) == value
    with cluster.nodes[0].client() as client:
        for key in values:
            client.delete(key)


def test_an_empty_value_is_a_value(cluster):
    with cluster.nodes[1].client() as client:
        client.put(b"empty", b"")
    assert read_everywhere(cluster, b"empty") == [b""] * 3


def test_a_missing_key_is_an_error_and_no_empty_value(cluster):
    for node in cluster.nodes:
        with node.client() as client, pytest.raises(Refused) as refused:
            client.get(b"nobody wrote this")
        assert refused.value.code == "NOT_FOUND"


def test_keys_may_hold_any_byte_and_are_listed_in_byte_order(cluster):
    prefix = b"any\0"
    keys = [prefix + bytes([byte]) for byte in range(256)]
    keys += [prefix + bytes(range(256)), prefix + b"\xff" * 1000, prefix + b"\n\0\xff"]
    shuffled = random.Random(1).sample(keys, len(keys))
    with cluster.nodes[0].client() as client:
        for key in shuffled:
            client.send("put", key=key, value=key[::-1])
        for _ in shuffled:
            assert not client.receive().HasField("error")
    for node in cluster.nodes:
        with node.client() as client:
            assert [item.key for item in client.list_all(prefix)] == sorted(keys)
            for key in keys[::17] + keys[-3:]:
                assert client.get(key) == key[::-1]


def test_the_largest_key_is_taken(cluster):
    key = os.urandom(4096)
    with cluster.nodes[2].client() as client:
        client.put(key, b"x")
    assert read_everywhere(cluster, key) == [b"x"] * 3


def test_every_byte_of_keys_and_values_goes_over_the_bus(cluster, bus):
    key = list(range(256))
    value = list(range(255, -1, -1))
    words = [len(key), *key, len(value), *value]
    bus.call("nodeA", "KV.PutBytes", "ayay", *words)
    assert bus.call("nodeB", "KV.GetBytes", "ay", len(key), *key)[0] == value
    with cluster.nodes[2].client() as client:
        assert client.get(bytes(key)) == bytes(value)


def test_revisions_and_versions_tell_the_history_of_a_key(cluster):
    with cluster.nodes[0].client() as client:
        first = client.put(b"history", b"1")
        second = client.put(b"history", b"2")
        assert first.created and not second.created
        assert second.revision > first.revision
        answer = client.call("get", key=b"history")
        assert answer.item.create_revision == first.revision
        assert answer.item.modify_revision == second.revision
        assert answer.item.version == 2
        assert answer.revision >= second.revision


def test_deleting_says_whether_the_key_was_there(cluster):
    with cluster.nodes[1].client() as client:
        client.put(b"doomed", b"x")
        assert client.delete(b"doomed").existed
        assert not client.delete(b"doomed").existed
    for node in cluster.nodes:
        with node.client() as client, pytest.raises(Refused) as refused:
            client.get(b"doomed")
        assert refused.value.code == "NOT_FOUND"


def test_pages_of_a_list_go_on_where_the_last_one_ended(cluster):
    keys = [f"page/{number:04}".encode() for number in range(250)]
    with cluster.nodes[0].client() as client:
        for key in keys:
            client.send("put", key=key, value=b"v" * 100)
        for _ in keys:
            client.receive()
        listed, continuation, pages = [], b"", 0
        while pages == 0 or continuation:
            page = client.list(b"page/", limit=60, continuation=continuation)
            assert 0 < len(page.items) <= 60
            listed += [item.key for item in page.items]
            continuation, pages = page.continuation, pages + 1
        assert listed == keys and pages == 5
        assert len(client.list(b"page/", max_bytes=1).items) == 1
        tail = client.call("list", prefix=b"page/", **{"from": b"page/0240"}, keys_only=True)
        assert [item.key for item in tail.items] == keys[240:]
        assert all(item.value == b"" for item in tail.items)


def test_a_thousand_requests_may_be_in_flight_on_one_connection(cluster):
    for node in cluster.nodes:
        with node.client() as client:
            sent = {client.send("put", key=b"k%d" % i, value=b"v%d" % i) for i in range(1000)}
            assert {client.receive().id for _ in range(1000)} == sent
            sent = {client.send("get", key=b"k%d" % i): b"v%d" % i for i in range(1000)}
            for _ in range(1000):
                answer = client.receive()
                assert answer.get.item.value == sent.pop(answer.id)


def test_all_nodes_end_up_with_the_same_keys_values_and_revisions(cluster):
    cluster.wait_until_all_are_equal()
    contents = [node.contents() for node in cluster.nodes]
    assert contents[0] and contents[0] == contents[1] == contents[2]
