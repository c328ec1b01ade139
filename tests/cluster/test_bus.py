"""The D-Bus door of real nodes, on a private bus, with the tools that people use."""

import contextlib
import json
import os
import re
import struct
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from dbus_wire import RawBus, method_call
from bus import OBJECT, BusError
from cluster import free_port
from waiting import LIMIT, wait_until

INTERFACES = Path(__file__).resolve().parents[2] / "dbus"


def text(data):
    """What busctl gives for "ay"."""
    return bytes(data).decode()


# Keys and values


def test_text_goes_in_through_each_node_and_comes_out_of_the_others(cluster, bus):
    for writer in cluster.nodes:
        value = f"grüße von {writer.name}"
        revision, created = bus.call(writer.name, "KV.Put", "ss", "greeting", value)
        assert revision > 0 and created == (writer is cluster.nodes[0])
        for reader in cluster.nodes:
            read, at = bus.call(reader.name, "KV.Get", "s", "greeting")
            assert read == value and at >= revision


def test_an_empty_value_and_an_empty_list_are_answers(bus):
    bus.call("nodeA", "KV.Put", "ss", "empty", "")
    assert bus.call("nodeB", "KV.Get", "s", "empty")[0] == ""
    assert bus.call("nodeC", "KV.List", "ssu", "nothing begins so", "", 0)[:2] == [[], ""]


def test_a_stale_get_says_at_which_revision(cluster, bus):
    revision, _ = bus.call("nodeA", "KV.Put", "ss", "stale", "x")
    cluster.wait_until_all_are_equal()
    for node in cluster.nodes:
        value, at = bus.call(node.name, "KV.GetStale", "s", "stale")
        assert value == "x" and at >= revision
        assert text(bus.call(node.name, "KV.GetStaleBytes", "ay", 5, *b"stale")[0]) == "x"


def test_deleting_says_whether_the_key_was_there(bus):
    bus.call("nodeA", "KV.Put", "ss", "doomed", "x")
    first, existed = bus.call("nodeB", "KV.Delete", "s", "doomed")
    assert existed is True
    second, existed = bus.call("nodeC", "KV.DeleteBytes", "ay", 6, *b"doomed")
    assert existed is False and second > first


def test_a_list_comes_in_pages(bus):
    for number in range(5):
        bus.call("nodeA", "KV.Put", "ss", f"page/{number}", str(number))
    items, continuation, _ = bus.call("nodeB", "KV.List", "ssu", "page/", "", 3)
    assert items == [[f"page/{n}", str(n)] for n in range(3)]
    items, continuation, _ = bus.call("nodeC", "KV.List", "ssu", "page/", continuation, 3)
    assert items == [[f"page/{n}", str(n)] for n in (3, 4)] and continuation == ""
    items, rest, revision = bus.call(
        "nodeA", "KV.ListBytes", "ayayutay", 5, *b"page/", 0, 2, 0, 0
    )
    assert [text(item[0]) for item in items] == ["page/0", "page/1"] and rest and revision


def test_a_value_that_is_no_text_names_the_method_for_bytes(cluster, bus):
    for value in (b"\xff\xfe", b"nul\0inside", "\ufdd0".encode()):
        with cluster.nodes[0].client() as client:
            client.put(b"binary", value)
        for method in ("KV.Get", "KV.GetStale"):
            cluster.wait_until_all_are_equal()
            error = bus.error("nodeB", method, "string:binary")
            assert error.name == "InvalidArgument" and "Bytes" in error.message
        error = bus.error("nodeC", "KV.List", "string:binary", "string:", "uint32:0")
        assert error.name == "InvalidArgument" and "ListBytes" in error.message
        assert bytes(bus.call("nodeA", "KV.GetBytes", "ay", 6, *b"binary")[0]) == value


def test_a_megabyte_goes_through_the_bus(cluster, bus):
    value = os.urandom(1 << 20)
    with cluster.nodes[0].client() as client:
        client.put(b"megabyte", value)
    assert bytes(bus.call("nodeB", "KV.GetBytes", "ay", 8, *b"megabyte")[0]) == value


# Errors


@pytest.mark.parametrize("node", ["nodeA", "nodeB", "nodeC"])
def test_errors_have_the_names_of_the_protocol(bus, node):
    assert bus.error(node, "KV.Get", "string:missing").name == "NotFound"
    assert bus.error(node, "KV.Put", "string:", "string:x").name == "InvalidArgument"
    assert bus.error(node, "KV.Put", "string:" + "k" * 4097, "string:x").name == "TooLarge"
    assert bus.error(node, "Cluster.RemoveServer", "string:nobody", "uint64:0").name == "NotFound"
    error = bus.error(node, "Cluster.RemoveServer", "string:nodeA", "uint64:1")
    assert error.name == "ConfigurationConflict"
    address = f"127.0.0.1:{free_port()}"
    error = bus.error(node, "Cluster.AddVoter", "string:x", f"string:{address}", "uint64:0")
    assert error.name == "Unavailable" and address in error.message


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["string:key"],
        ["string:key", "int32:1"],
        ["string:key", "string:value", "string:more"],
        ["array:byte:1,2", "array:byte:3"],
        ["variant:string:key", "string:value"],
    ],
    ids=len,
)
def test_a_wrong_signature_is_refused_and_the_node_serves_on(cluster, bus, arguments):
    for node in cluster.nodes:
        error = bus.error(node.name, "KV.Put", *arguments)
        assert error.name == "org.freedesktop.DBus.Error.InvalidArgs", error
        assert bus.call(node.name, "KV.Put", "ss", "still", "here")


def test_unknown_methods_interfaces_objects_and_properties_are_refused(bus):
    assert "UnknownMethod" in bus.error("nodeA", "KV.Frobnicate", "string:x").name
    assert "Unknown" in bus.error("nodeA", "Nothing.Get", "string:x").name
    result = bus.busctl("call", "org.raftkv1.nodeA", "/nowhere", "org.raftkv1.KV", "Get", "s", "x")
    assert result.returncode != 0 and "Unknown object" in result.stderr
    result = bus.busctl(
        "set-property", "org.raftkv1.nodeA", OBJECT, "org.raftkv1.Node", "Leader", "s", "me"
    )
    assert result.returncode != 0
    assert bus.property("nodeA", "Leader") != "me"


@pytest.mark.parametrize(
    "key", [b"\xff\xfe", b"half \xc3", b"\xed\xa0\x80"], ids=["noise", "cut", "surrogate"]
)
def test_invalid_utf8_ends_the_sender_and_nobody_else(cluster, bus, key):
    def marshalled(data):
        return struct.pack("<I", len(data)) + data + b"\0"

    body = marshalled(key)
    body += b"\0" * (-len(body) % 4) + marshalled(b"value")
    with RawBus(bus, LIMIT) as raw:
        raw.send(
            method_call(
                2, b"org.raftkv1.nodeB", OBJECT.encode(), b"org.raftkv1.KV", b"Put", b"ss", body
            )
        )
        answer = raw.receive_until_the_end()
        assert b"org.raftkv1" not in answer
    assert bus.call("nodeB", "KV.Put", "ss", "after", "it")
    cluster.assert_serves()


# Status and signals


def test_the_properties_tell_how_things_are(cluster, bus):
    leader = cluster.leader()
    for node in cluster.nodes:
        status = node.status()
        expected = {
            "Name": node.name,
            "MemberID": status.id,
            "ClusterID": status.cluster_id,
            "Role": "voter",
            "State": "leader" if node is leader else "follower",
            "Term": status.term,
            "Leader": leader.name,
            "PeerAddress": node.peer_address,
            "ClientAddress": node.client_address,
            "Version": status.version,
        }
        assert {name: bus.property(node.name, name) for name in expected} == expected
        assert bus.property(node.name, "AppliedIndex") >= status.applied_index
        assert bus.property(node.name, "CommitIndex") >= status.commit_index
        assert bus.property(node.name, "LastIndex") >= status.last_index


def test_the_status_of_all_members_is_told_by_each(cluster, bus):
    leader = cluster.leader()
    for node in cluster.nodes:

        def told():
            """Each member is given two seconds for its part."""
            (members,) = bus.call(node.name, "Node.GetStatus")
            return members if all(member[10] for member in members) else None

        members = wait_until("all answer in time", told)
        assert [member[0] for member in members] == ["nodeA", "nodeB", "nodeC"]
        for member in members:
            assert member[2] == "voter"
            assert member[3] == ("leader" if member[0] == leader.name else "follower")


def test_the_configuration_is_told_by_each(cluster, bus):
    expected = cluster.members()
    for node in cluster.nodes:
        members, index, cluster_id = bus.call(node.name, "Cluster.GetConfiguration")
        assert index == expected.configuration_index and cluster_id == expected.cluster_id
        assert [m[:2] + m[3:6] for m in members] == [
            [m.name, m.id, m.peer_address, m.client_address, m.leader] for m in expected.members
        ]


def test_what_is_served_for_introspection_is_what_the_files_say(cluster, bus):
    def interfaces_of(xml):
        root = ElementTree.fromstring(re.sub(r"<!--.*?-->", "", xml, flags=re.DOTALL))
        return {i.get("name"): meaning(i) for i in root.iter("interface")}

    def meaning(element):
        """Name, attributes and children, in an order that does not matter except for arguments."""
        children = [meaning(child) for child in element]
        if element.tag == "interface":
            children.sort()
        return (element.tag, tuple(sorted(element.attrib.items())), tuple(children))

    for node in cluster.nodes:
        result = bus.busctl(
            "introspect", "--xml-interface", f"org.raftkv1.{node.name}", OBJECT
        )
        assert result.returncode == 0, result.stderr
        served = interfaces_of(result.stdout)
        for name in ("KV", "Cluster", "Node"):
            written = interfaces_of((INTERFACES / f"org.raftkv1.{name}.xml").read_text())
            assert served[f"org.raftkv1.{name}"] == written[f"org.raftkv1.{name}"]


class Watcher:
    """Collects the PropertiesChanged signals of one node."""

    def __init__(self, bus, node, log):
        match = (
            f"type='signal',sender='org.raftkv1.{node}',"
            "interface='org.freedesktop.DBus.Properties',member='PropertiesChanged'"
        )
        probe = "type='signal',interface='org.raftkv1.Test'"
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                ["busctl", f"--address={bus.address}", "--json=short", "monitor",
                 f"--match={match}", f"--match={probe}"],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

        def watches():
            bus.busctl("emit", "/test", "org.raftkv1.Test", "Watched")
            return b"Watched" in log.read_bytes()

        wait_until("busctl watches", watches)

    def changes(self):
        """The last announced value of each property."""
        values = {}
        for line in self.log.read_text().splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n"):
                message = json.loads(line)
                if message["member"] != "PropertiesChanged":
                    continue
                interface, changed, _ = message["payload"]["data"]
                if interface != "org.raftkv1.Node":
                    continue
                values |= {name: variant["data"] for name, variant in changed.items()}
        return values

    def close(self):
        self.process.terminate()
        self.process.wait(LIMIT)


def test_a_change_of_leader_is_announced_by_every_node(cluster, bus, tmp_path):
    old = cluster.leader()
    watchers = {
        node.name: Watcher(bus, node.name, tmp_path / node.name) for node in cluster.nodes
    }
    try:
        (new,) = bus.call(old.name, "Cluster.TransferLeadership", "s", "")
        assert new != old.name
        for name, watcher in watchers.items():
            expected = (new, bus.property(name, "Term"))
            wait_until(
                f"{name} announces {expected}",
                lambda: (watcher.changes().get("Leader"), watcher.changes().get("Term")) == expected,
            )
            assert "CommitIndex" not in watcher.changes()
        for name, state in ((new, "leader"), (old.name, "follower")):
            changes = watchers[name].changes
            wait_until(f"{name} says {state}", lambda: changes().get("State") == state)
    finally:
        for watcher in watchers.values():
            watcher.close()


def member_property(bus, node, member, name):
    result = bus.busctl(
        "--json=short", "get-property", f"org.raftkv1.{node}", f"{OBJECT}/member/{member}", "org.raftkv1.Member", name
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["data"]


def test_each_member_is_an_object_on_each_node(cluster, bus):
    leader = cluster.leader()
    names = sorted(node.name for node in cluster.nodes)
    for node in cluster.nodes:
        tree = bus.busctl("tree", "--list", f"org.raftkv1.{node.name}").stdout.split()
        prefix = f"{OBJECT}/member/"
        assert sorted(p.removeprefix(prefix) for p in tree if p.startswith(prefix)) == names
        for member in cluster.nodes:
            assert member_property(bus, node.name, member.name, "PeerAddress") == member.peer_address
            assert member_property(bus, node.name, member.name, "ID") == member.status().id
            assert member_property(bus, node.name, member.name, "Role") == "voter"
            wait_until(
                f"{node.name} reaches {member.name}",
                lambda node=node, member=member: member_property(bus, node.name, member.name, "Reachable"),
            )
            expected = member is leader
            assert member_property(bus, node.name, member.name, "Leader") == expected
    revision = bus.call(leader.name, "KV.Put", "ss", "matched", "by all")[0]
    for member in cluster.nodes:
        wait_until(
            f"{member.name} has it",
            lambda member=member: member_property(bus, leader.name, member.name, "MatchIndex") >= revision,
        )
        assert member_property(bus, leader.name, member.name, "LastContactMilliseconds") < LIMIT * 1000


def test_a_member_that_is_gone_is_not_reachable(make_cluster):
    cluster = make_cluster()
    leader, other = cluster.leader(), cluster.followers()[0]
    reachable = lambda: member_property(cluster.bus, leader.name, other.name, "Reachable")  # noqa: E731
    wait_until("it is reachable", reachable)
    other.kill()
    wait_until("it is not reachable any more", lambda: not reachable())
    other.start()
    wait_until("it is reachable again", reachable)


# Changes of the membership


def test_the_cluster_is_changed_over_the_bus(make_cluster):
    cluster = make_cluster(1)
    bus = cluster.bus
    for name in ("nodeB", "nodeC"):
        node = cluster.make_node(name)
        node.start()
        (index,) = bus.call("nodeA", "Cluster.AddVoter", "sst", name, node.peer_address, 0)
        assert index == cluster.members().configuration_index
        cluster.outsiders.remove(node)
        cluster.nodes.append(node)
    cluster.wait_until_all_are_equal()
    assert bus.call("nodeC", "Cluster.TransferLeadership", "s", "nodeB") == ["nodeB"]
    (index,) = bus.call("nodeA", "Cluster.DemoteVoter", "st", "nodeC", index)
    assert cluster.member_roles()["nodeC"] == "nonvoter"
    (index,) = bus.call("nodeB", "Cluster.RemoveServer", "st", "nodeC", index)
    assert cluster.member_roles() == {"nodeA": "voter", "nodeB": "voter"}
    assert cluster.members().configuration_index == index


def is_settled(cluster):
    """Whether no change is under way: one that can't succeed is not refused as Busy."""
    error = cluster.bus.error("nodeA", "Cluster.RemoveServer", "string:nobody", "uint64:0")
    assert error.name in ("Busy", "NotFound"), error
    return error.name == "NotFound"


@pytest.mark.parametrize("through", ["nodeA", "nodeB"])
def test_an_addition_that_lost_its_caller_ends_added_or_not(make_cluster, through):
    cluster = make_cluster(2)
    outcomes = set()
    for number in range(4):
        node = cluster.make_node(f"new{number}")
        node.start()
        arguments = ["sst", node.name, node.peer_address, "0"]
        if number % 2:  # the caller times out and leaves, unless the addition is faster
            with contextlib.suppress(BusError):
                cluster.bus.call(through, "Cluster.AddVoter", *arguments, timeout=0.005)
        else:  # the caller is killed
            caller = cluster.bus.start(
                "call", f"org.raftkv1.{through}", OBJECT, "org.raftkv1.Cluster", "AddVoter",
                *arguments,
            )  # fmt: skip
            wait_until("it is being added", lambda: f"Adding member {node.name}" in said(cluster))
            caller.kill()
            caller.communicate()
        wait_until("no change is under way", lambda: is_settled(cluster))
        role = cluster.member_roles().get(node.name)
        assert role in (None, "voter")
        outcomes.add(role)
        # Either way asking again leads to the same end.
        cluster.add(node)
        assert cluster.member_roles()[node.name] == "voter"
        cluster.change("remove_server", name=node.name)
        cluster.nodes.remove(node)
        cluster.outsiders.append(node)
    assert "voter" in outcomes, "an addition that has begun is finished without its caller"


def said(cluster):
    return "".join(node.said() for node in cluster.nodes)


def test_an_addition_of_a_silent_node_ends_without_its_caller(make_cluster):
    cluster = make_cluster(1)
    silent = cluster.make_node("silent")
    silent.start()
    silent.pause()
    with pytest.raises(BusError):
        cluster.bus.call(
            "nodeA", "Cluster.AddVoter", "sst", "silent", silent.peer_address, 0, timeout=0.5
        )
    wait_until("no change is under way", lambda: is_settled(cluster))
    assert cluster.member_roles() == {"nodeA": "voter"}
    silent.resume()


def test_a_second_node_of_the_same_name_does_not_start_on_the_bus(cluster):
    twin = cluster.make_node("twin")
    twin.name = "nodeA"
    status, said_of_it = twin.fails_to_start()
    assert status == 1
    assert "org.raftkv1.nodeA" in said_of_it and "taken" in said_of_it
    cluster.outsiders.remove(twin)


def test_nodes_serve_on_over_tcp_without_their_bus_and_are_on_it_again_when_it_is_back(make_cluster):
    cluster = make_cluster()
    bus = cluster.bus
    bus.kill()
    cluster.assert_serves()
    bus.launch()
    for node in cluster.nodes:
        name = f"org.raftkv1.{node.name}"
        wait_until(f"{name} is back", lambda name=name: name in bus.busctl("list").stdout)
        bus.call(node.name, "KV.Put", "ss", "back", node.name)
        assert bus.call(node.name, "KV.Get", "s", "back")[0] == node.name
        assert "answers over TCP only until the bus is back" in node.said()
        assert "on the bus" in node.said()


def log_control(bus, *arguments):
    where = ["org.raftkv1.nodeA", "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1"]
    return bus.busctl(arguments[0], *where, *arguments[1:])


def test_the_level_of_the_log_is_shown_and_set_as_systemctl_does(cluster, bus):
    shown = [log_control(bus, "get-property", name).stdout for name in ("LogLevel", "LogTarget", "SyslogIdentifier")]
    assert shown == ['s "info"\n', 's "console"\n', 's "raftkvd"\n']
    assert log_control(bus, "set-property", "LogLevel", "s", "debug").returncode == 0
    assert log_control(bus, "get-property", "LogLevel").stdout == 's "debug"\n'
    assert "emerg, alert" in log_control(bus, "set-property", "LogLevel", "s", "loud").stderr
    assert log_control(bus, "set-property", "LogLevel", "s", "info").returncode == 0


def test_a_node_that_starts_before_its_bus_joins_it_later(make_cluster):
    cluster = make_cluster(size=1)
    bus, node = cluster.bus, cluster.nodes[0]
    node.stop()
    bus.kill()
    # A bus that was asked for has to be there; without the option the system bus may be.
    command = [word for word in node.command() if not str(word).startswith("--bus=")]
    node.command = lambda: command
    node.start(DBUS_SYSTEM_BUS_ADDRESS=bus.address)
    wait_until("it says so", lambda: "answers over TCP only until the bus is there" in node.said())
    bus.launch()
    wait_until("the node is on the bus", lambda: "org.raftkv1.nodeA" in bus.busctl("list").stdout)
    assert bus.call("nodeA", "KV.Put", "ss", "late", "but here")
