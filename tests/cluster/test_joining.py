"""Nodes that find a cluster by themselves: Join= in their configuration, AllowJoin= in the cluster's."""

import pytest
from client import Refused
from protocol import peer, raftkv
from test_bad_input import answer_to, hello
from waiting import wait_until

from cluster import free_port


def roles(cluster):
    return cluster.member_roles()


def joiner(cluster, name, through=None, also=()):
    """A node with an empty directory that asks these nodes' addresses, started."""
    addresses = [node.peer_address for node in (cluster.running() if through is None else through)]
    node = cluster.make_node(name)
    node.settings = [*node.settings, "Join=" + " ".join([*also, *addresses])]
    node.write_configuration()
    node.start()
    return node


def pending(cluster, through=None):
    with (through or cluster.running()[0]).client() as client:
        return [node.name for node in client.call("pending").nodes]


def wait_until_pending(cluster, *names):
    wait_until(f"{names} are pending", lambda: sorted(pending(cluster)) == sorted(names))


def wait_for_role(cluster, node, role):
    wait_until(f"{node.name} is a {role}", lambda: roles(cluster).get(node.name) == role)
    cluster.outsiders.remove(node)
    cluster.nodes.append(node)


def set_policy(cluster, policy):
    """Of running nodes, by a reload."""
    from signal import SIGHUP

    for node in cluster.nodes:
        node.settings = [line for line in node.settings if not line.startswith("AllowJoin=")]
        node.settings.append(f"AllowJoin={policy}")
        node.write_configuration()
        before = node.said().count("The configuration was read again")
        node.send_signal(SIGHUP)
        wait_until("it is taken over", lambda: node.said().count("The configuration was read again") > before)


@pytest.mark.parametrize("policy, role", [("voter", "voter"), ("nonvoter", "nonvoter")])
def test_a_node_is_added_at_once_where_that_is_allowed(make_cluster, policy, role):
    cluster = make_cluster(1, [f"AllowJoin={policy}"])
    node = joiner(cluster, "joiner", also=[f"127.0.0.1:{free_port()}"])
    wait_for_role(cluster, node, role)
    assert f"which asks to join, was accepted by AllowJoin={policy}." in cluster.nodes[0].said()
    cluster.wait_until_all_are_equal()
    cluster.assert_serves()
    assert pending(cluster) == []


def test_a_node_finds_the_leader_through_a_follower(make_cluster):
    cluster = make_cluster(2, ["AllowJoin=voter"])
    node = joiner(cluster, "joiner", through=cluster.followers())
    wait_for_role(cluster, node, "voter")
    cluster.assert_serves()


def test_several_nodes_join_at_the_same_time(make_cluster):
    cluster = make_cluster(1, ["AllowJoin=voter"])
    nodes = [joiner(cluster, f"joiner{number}") for number in range(4)]
    for node in nodes:
        wait_for_role(cluster, node, "voter")
    cluster.wait_until_all_are_equal()
    cluster.assert_serves()


def test_nobody_is_added_who_asks_a_cluster_that_allows_it_to_nobody(make_cluster):
    cluster = make_cluster(1, ["AllowJoin=no"])
    node = joiner(cluster, "joiner")
    wait_until("it is told so", lambda: "nodeA, the leader, takes nobody in who asks (AllowJoin=no)" in node.said())
    assert pending(cluster) == [] and list(roles(cluster)) == ["nodeA"]
    assert node.status().role == raftkv.ROLE_NONE
    cluster.add(node)  # an administrator can
    cluster.assert_serves()


def test_a_rejected_node_is_told_so_and_can_be_accepted_after_all(make_cluster):
    cluster = make_cluster(1)
    node = joiner(cluster, "joiner")
    wait_until_pending(cluster, "joiner")
    cluster.change("reject", name="joiner")
    wait_until("it is told so", lambda: "An administrator has rejected joiner" in node.said())
    assert pending(cluster) == [] and list(roles(cluster)) == ["nodeA"]
    cluster.change("accept", name="joiner", nonvoter=True)
    wait_for_role(cluster, node, "nonvoter")


def test_a_node_of_another_cluster_does_not_join(make_cluster):
    cluster = make_cluster(1, ["AllowJoin=voter"])
    frame = hello(cluster, cluster_id=0xDEAD, purpose=peer.LINK_PURPOSE_ANNOUNCE)
    error = Refused(answer_to(cluster.nodes[0], frame).welcome.announced.error)
    assert error.code == "INVALID_ARGUMENT" and "dead" in error.message
    assert list(roles(cluster)) == ["nodeA"]


def test_a_node_that_is_a_member_asks_nobody_any_more(make_cluster):
    cluster = make_cluster(1, ["AllowJoin=voter"])
    node = joiner(cluster, "joiner")
    wait_for_role(cluster, node, "voter")
    cluster.change("remove_server", name="joiner")
    node.wait_until_it_has_left()
    node.start()
    revision = cluster.nodes[0].status().commit_index
    with cluster.nodes[0].client() as client:
        client.put(b"later", b"x")
    assert list(roles(cluster)) == ["nodeA"] and pending(cluster) == []
    assert cluster.nodes[0].status().commit_index > revision
    cluster.nodes.remove(node)
    cluster.outsiders.append(node)
    cluster.add(node)
    cluster.assert_serves()


def test_what_is_taken_is_said(make_cluster):
    cluster = make_cluster(1)
    first = cluster.nodes[0]
    named = joiner(cluster, "nodeA2")
    wait_until_pending(cluster, "nodeA2")
    # the name of a member, an address of a member, the name of another one that asks
    answers = {}
    for what, changes in {
        "The name nodeA belongs to": {"name": "nodeA", "member_id": 1},
        f"The address {first.client_address} is in use by member nodeA": {
            "name": "other",
            "member_id": 2,
            "client_address": first.client_address,
        },
        f"Another node asks to join under the name nodeA2, from {named.peer_address}": {
            "name": "nodeA2",
            "member_id": 3,
        },
    }.items():
        frame = hello(cluster, cluster_id=0, purpose=peer.LINK_PURPOSE_ANNOUNCE, **changes)
        answers[what] = answer_to(first, frame).welcome.announced.error
        assert what in answers[what].message
        assert Refused(answers[what]).code in ("ALREADY_EXISTS", "INVALID_ARGUMENT")
    assert pending(cluster) == ["nodeA2"]


def test_so_many_may_ask_and_no_more_and_who_stops_asking_is_forgotten(make_cluster):
    cluster = make_cluster(1)

    def ask(number):
        fields = {"name": f"asker{number}", "member_id": 1000 + number, "peer_address": f"127.0.0.1:{number + 1}"}
        frame = hello(cluster, cluster_id=0, purpose=peer.LINK_PURPOSE_ANNOUNCE, **fields)
        return answer_to(cluster.nodes[0], frame).welcome.announced.error

    def as_many_as_may():
        for number in range(32):
            assert ask(number).code == raftkv.ERROR_CODE_OK
        return len(pending(cluster)) == 32

    wait_until("32 ask", as_many_as_may)
    wait_until("one more is refused", lambda: Refused(ask(99)).code == "BUSY")
    wait_until_pending(cluster)
    assert ask(99).code == raftkv.ERROR_CODE_OK


def test_a_new_leader_hears_of_those_that_ask(make_cluster):
    cluster = make_cluster(3)
    node = joiner(cluster, "joiner")
    wait_until_pending(cluster, "joiner")
    old = cluster.leader()
    old.kill()
    assert cluster.leader() is not old
    wait_until_pending(cluster, "joiner")
    cluster.change("accept", name="joiner")
    assert roles(cluster)["joiner"] == "voter"
    old.start()
    cluster.outsiders.remove(node)
    cluster.nodes.append(node)
    cluster.wait_until_all_are_equal()
    cluster.assert_serves()


def test_a_reload_changes_what_becomes_of_those_that_ask(make_cluster):
    cluster = make_cluster(1)
    node = joiner(cluster, "joiner")
    wait_until_pending(cluster, "joiner")
    set_policy(cluster, "nonvoter")
    wait_for_role(cluster, node, "nonvoter")


def test_a_node_says_when_nobody_of_those_to_ask_answers(make_cluster):
    cluster = make_cluster(1)
    address = f"127.0.0.1:{free_port()}"
    node = joiner(cluster, "joiner", through=(), also=[address])
    wait_until("it says so", lambda: f"Cannot reach {address}" in node.said())


def test_join_and_bootstrap_together_are_refused(make_cluster):
    cluster = make_cluster(1)
    node = cluster.make_node("both", bootstrap=True)
    node.settings = [f"Join={cluster.nodes[0].peer_address}"]
    node.write_configuration()
    status, said = node.fails_to_start()
    assert status == 78 and "a node begins a cluster or joins one" in said
