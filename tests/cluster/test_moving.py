"""Members that come back at other addresses: the leader finds out, and everybody follows."""

import pytest
from waiting import PATIENT, wait_until
from writers import Writers, assert_nothing_is_lost

from cluster import free_port


def move(node, clients=True, peers=True):
    """Stops a node and starts it at other ports."""
    node.stop()
    if clients:
        node.client_port = free_port()
    if peers:
        node.peer_port = free_port()
    node.write_configuration()
    node.start()


def wait_until_found(cluster, *nodes):
    """Every member shows the nodes where they are, and is linked to them."""

    def found():
        for asked in cluster.running():
            with asked.client() as client:
                shown = {m.name: m for m in client.members(stale=True).members}
            for node in nodes:
                member = shown[node.name]
                if (member.peer_address, member.client_address) != (node.peer_address, node.client_address):
                    return False
        return True

    wait_until("all members know the new addresses", found)
    with cluster.leader().client() as client:
        wait_until("all of them answer", lambda: all(m.answers for m in client.status(cluster=True).members))


@pytest.fixture
def trio(make_cluster):
    return make_cluster(3, PATIENT)


@pytest.mark.parametrize("who", ["follower", "leader"])
@pytest.mark.parametrize("what", ["both", "clients", "peers"])
def test_a_member_is_found_at_its_new_addresses(trio, who, what):
    node = trio.leader() if who == "leader" else trio.followers()[0]
    before = trio.members()
    move(node, clients=what != "peers", peers=what != "clients")
    wait_until_found(trio, node)
    after = trio.members()
    assert after.configuration_index > before.configuration_index
    ids = [(m.name, m.id, m.role) for m in before.members]
    assert [(m.name, m.id, m.role) for m in after.members] == ids
    trio.wait_until_all_are_equal()
    trio.assert_serves()


def test_two_of_three_move_one_after_the_other_under_load(trio):
    stays, *movers = [trio.leader(), *trio.followers()]
    writers = Writers([stays], count=2, writes=100000).start()
    for node in movers:
        move(node)
        wait_until_found(trio, node)
    writers.stop()
    assert writers.acknowledged
    trio.assert_serves()
    trio.wait_until_all_are_equal()
    assert_nothing_is_lost(trio, writers)


def test_two_of_three_that_moved_at_once_find_each_other_through_the_third(trio):
    first, second = trio.followers()
    for node in (first, second):
        node.stop()
    for node in (first, second):
        node.client_port, node.peer_port = free_port(), free_port()
        node.write_configuration()
        node.launch()
    for node in (first, second):
        node.wait_until_it_answers()
    wait_until_found(trio, first, second)
    trio.assert_serves()


def test_the_only_member_moves_itself(make_cluster):
    cluster = make_cluster(1)
    node = cluster.nodes[0]
    move(node)
    wait_until_found(cluster, node)
    added = cluster.make_node()
    added.start()
    cluster.add(added)
    cluster.assert_serves()


def test_a_member_that_missed_the_moves_of_all_others_is_found_by_them(trio):
    """It knows nobody's address any more, but they know its."""
    leader, absent, other = [trio.leader(), *trio.followers()]
    absent.stop()
    for node in (leader, other):
        move(node)
        wait_until_found_by(trio, node)
    absent.start()
    wait_until_found(trio, leader, other)
    trio.assert_serves()


def wait_until_found_by(cluster, node):
    """As wait_until_found(), with a member that is down."""
    wait_until(
        f"{node.name} is found",
        lambda: node.peer_address in {m.peer_address for m in cluster.members().members},
    )


def test_the_leaders_new_address_for_clients_is_what_refused_ones_are_told(trio):
    leader = trio.leader()
    follower = trio.followers()[0]
    move(leader, peers=False)
    wait_until_found(trio, leader)
    with follower.client() as client:
        client.call("transfer_leadership", name=leader.name, timeout_ms=30000)
    assert trio.leader() is leader
    with follower.client() as client:
        shown = {m.name: m for m in client.members().members}
    assert shown[leader.name].leader and shown[leader.name].client_address == leader.client_address


def test_an_address_that_another_member_has_is_refused_with_its_reason(trio):
    node, other = trio.followers()
    other_address = other.client_address
    before = trio.members().configuration_index
    node.stop()
    node.settings = [f"AdvertiseClients={other_address}"]
    node.write_configuration()
    node.start()
    wait_until(
        "the node is told why",
        lambda: f"The client address {other_address} is in use by member {other.name}" in node.said(),
    )
    assert trio.members().configuration_index == before
    node.stop()
    node.settings = []
    node.write_configuration()
    node.start()
    trio.assert_serves()
