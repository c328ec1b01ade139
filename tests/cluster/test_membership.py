"""Who is a member, and who leads: changes that succeed, and those that are refused."""

import threading
import time

import pytest
from client import Refused
from protocol import raftkv
from waiting import LIMIT, PATIENT, wait_until
from cluster import free_port
from writers import Writers, assert_nothing_is_lost

GOODBYE = 4  # seconds, longer than a leader says it to whom it removes


def refusal(node, kind, **fields):
    with node.client() as client:
        with pytest.raises(Refused) as refused:
            client.call(kind, **fields)
    return refused.value


@pytest.fixture
def refused_without_a_trace(cluster):
    """Asks for a change, through each node, that has to be refused and to change nothing."""

    def ask(kind, **fields):
        before = cluster.members()
        errors = [refusal(node, kind, **fields) for node in cluster.nodes]
        assert cluster.members() == before
        assert len({(error.code, error.message) for error in errors}) == 1
        assert not errors[0].outcome_unknown
        return errors[0]

    return ask


# AddVoter: the five that are refused


def test_a_wrong_address_is_refused(refused_without_a_trace):
    address = f"127.0.0.1:{free_port()}"
    error = refused_without_a_trace("add_voter", name="nodeX", peer_address=address)
    assert error.code == "UNAVAILABLE"
    assert address in error.message and "refused" in error.message


def test_the_address_of_something_else_is_refused(cluster, refused_without_a_trace):
    address = cluster.nodes[0].client_address
    error = refused_without_a_trace("add_voter", name="nodeX", peer_address=address)
    assert error.code == "UNAVAILABLE" and address in error.message


def test_an_address_that_does_not_resolve_is_refused(refused_without_a_trace):
    address = "no-such-host.invalid:4712"
    error = refused_without_a_trace("add_voter", name="nodeX", peer_address=address)
    assert error.code == "UNAVAILABLE" and address in error.message


@pytest.fixture(scope="module")
def lone_node(_shared_cluster):
    """A node that waits to be added."""
    node = _shared_cluster.make_node("lone")
    node.start()
    return node


@pytest.fixture(scope="module")
def foreign_node(_shared_cluster):
    """The only member of another cluster."""
    node = _shared_cluster.make_node("foreign", bootstrap=True)
    node.start()
    return node


def test_a_wrong_name_is_refused(refused_without_a_trace, lone_node):
    error = refused_without_a_trace(
        "add_voter", name="nodeX", peer_address=lone_node.peer_address
    )
    assert error.code == "INVALID_ARGUMENT"
    assert error.message == f"The node at {lone_node.peer_address} is lone, not nodeX."
    assert lone_node.status().role == raftkv.ROLE_NONE


def test_a_node_of_another_cluster_is_refused(refused_without_a_trace, foreign_node):
    error = refused_without_a_trace(
        "add_voter", name="foreign", peer_address=foreign_node.peer_address
    )
    assert error.code == "INVALID_ARGUMENT"
    assert "belongs to another cluster" in error.message
    assert f"{foreign_node.status().cluster_id:016x}" in error.message
    with foreign_node.client() as client:
        assert client.put(b"still", b"serving").revision


def test_a_name_in_use_is_refused(cluster, refused_without_a_trace, lone_node):
    error = refused_without_a_trace(
        "add_voter", name="nodeB", peer_address=lone_node.peer_address
    )
    assert error.code == "ALREADY_EXISTS"
    assert "The name nodeB is in use" in error.message
    assert cluster.node("nodeB").peer_address in error.message


def test_an_address_in_use_is_refused(cluster, refused_without_a_trace):
    address = cluster.node("nodeC").peer_address
    error = refused_without_a_trace("add_voter", name="nodeX", peer_address=address)
    assert error.code == "ALREADY_EXISTS"
    assert f"The address {address} is in use by member nodeC" in error.message


def test_adding_an_existing_voter_succeeds_and_changes_nothing(cluster):
    before = cluster.members()
    for through in cluster.nodes:
        for node in cluster.nodes:
            with through.client() as client:
                answer = client.call("add_voter", name=node.name, peer_address=node.peer_address)
            assert answer.configuration_index == before.configuration_index
    assert cluster.members() == before


def test_a_silent_node_is_not_added(make_cluster):
    cluster = make_cluster(1)
    silent = cluster.make_node("silent")
    silent.start()
    silent.pause()
    before = cluster.members()
    error = refusal(
        cluster.nodes[0], "add_voter", name="silent", peer_address=silent.peer_address
    )
    assert error.code in ("UNAVAILABLE", "TIMEOUT")
    assert cluster.members() == before
    silent.resume()
    cluster.add(silent)
    assert cluster.member_roles() == {"nodeA": "voter", "silent": "voter"}


# The other changes, where they are refused


@pytest.mark.parametrize("kind", ["remove_server", "demote_voter", "transfer_leadership"])
def test_an_unknown_member_is_not_found(refused_without_a_trace, kind):
    error = refused_without_a_trace(kind, name="nobody")
    assert error.code == "NOT_FOUND" and "nobody" in error.message


def test_an_expected_configuration_index_that_is_not_the_current_one_conflicts(
    cluster, refused_without_a_trace, lone_node
):
    index = cluster.members().configuration_index
    changes = [
        ("remove_server", {"name": "nodeC"}),
        ("demote_voter", {"name": "nodeC"}),
        ("add_voter", {"name": "lone", "peer_address": lone_node.peer_address}),
    ]
    for kind, fields in changes:
        for wrong in (index - 1, index + 1):
            error = refused_without_a_trace(kind, expected_configuration_index=wrong, **fields)
            assert error.code == "CONFIGURATION_CONFLICT"
            assert str(index) in error.message and str(wrong) in error.message


def test_what_would_lose_the_quorum_is_refused(make_cluster):
    cluster = make_cluster()
    leader = cluster.leader()
    dead, alive = cluster.followers()
    dead.kill()
    before = cluster.members(leader).configuration_index
    wait_until(
        "the leader has noticed, and refuses",
        lambda: refusal(leader, "remove_server", name=alive.name).code == "WOULD_LOSE_QUORUM"
        if silent_for_long(cluster, leader, dead)
        else False,
    )
    error = refusal(leader, "demote_voter", name=alive.name)
    assert error.code == "WOULD_LOSE_QUORUM" and "majority" in error.message
    assert cluster.members(leader).configuration_index == before
    dead.start()
    cluster.assert_serves()


def silent_for_long(cluster, leader, dead):
    """A change that would be carried out too early is not asked for: only once the leader says that
    the member does not answer, and a transfer to it is refused, is it known to be dead."""
    with leader.client() as client:
        status = client.status(cluster=True)
    if any(member.name == dead.name and member.answers for member in status.members):
        return False
    error = refusal(leader, "transfer_leadership", name=dead.name)
    return error.code in ("TIMEOUT", "WOULD_LOSE_QUORUM")


def test_the_last_voter_can_be_neither_removed_nor_demoted(make_cluster):
    cluster = make_cluster(1)
    for kind in ("remove_server", "demote_voter"):
        error = refusal(cluster.nodes[0], kind, name="nodeA")
        assert error.code == "WOULD_LOSE_QUORUM" and "last voter" in error.message
    assert refusal(cluster.nodes[0], "transfer_leadership").code == "WOULD_LOSE_QUORUM"
    cluster.assert_serves()


# And where they succeed


def test_leadership_goes_to_the_named_voter(cluster):
    for node in cluster.nodes * 2:
        through = next(n for n in cluster.nodes if n is not node)
        answer = cluster.change("transfer_leadership", through, name=node.name)
        assert answer.leader == node.name
        assert cluster.leader() is node


def test_leadership_goes_to_some_other_voter_when_none_is_named(cluster):
    for through in cluster.nodes:
        old = cluster.leader()
        answer = cluster.change("transfer_leadership", through)
        assert answer.leader != old.name
        assert cluster.leader().name == answer.leader


def test_leadership_does_not_go_to_a_non_voter(make_cluster):
    cluster = make_cluster()
    follower = cluster.followers()[0]
    cluster.change("demote_voter", name=follower.name)
    error = refusal(cluster.leader(), "transfer_leadership", name=follower.name)
    assert error.code == "INVALID_ARGUMENT" and "non-voter" in error.message


def test_a_demoted_voter_replicates_on_and_becomes_a_voter_again(make_cluster):
    cluster = make_cluster()
    demoted = cluster.followers()[0]
    before = cluster.members().configuration_index
    answer = cluster.change("demote_voter", name=demoted.name)
    assert answer.configuration_index > before
    assert cluster.member_roles()[demoted.name] == "nonvoter"
    with cluster.leader().client() as client:
        client.put(b"while", b"it does not vote")
    cluster.wait_until_all_are_equal()
    assert demoted.contents(b"while") and demoted.status().role == raftkv.ROLE_NONVOTER
    cluster.assert_serves()
    cluster.add(demoted)
    assert set(cluster.member_roles().values()) == {"voter"}


def test_a_removed_node_stops_and_the_others_go_on(make_cluster):
    cluster = make_cluster(settings=PATIENT)
    removed = cluster.followers()[0]
    cluster.change("remove_server", through=removed, name=removed.name)
    removed.wait_until_it_has_left()
    assert "The cluster has removed this node." in removed.said()
    assert f"{removed.name} is no member of the cluster any more and stops" in removed.said()
    cluster.nodes.remove(removed)
    cluster.outsiders.append(removed)
    assert removed.name not in cluster.member_roles()
    term = cluster.leader().status().term
    cluster.assert_serves()
    assert cluster.leader().status().term == term


def test_a_removed_node_comes_back_with_its_data_when_it_is_added_again(make_cluster):
    cluster = make_cluster()
    removed = cluster.followers()[0]
    cluster.change("remove_server", name=removed.name)
    removed.wait_until_it_has_left()
    cluster.nodes.remove(removed)
    cluster.outsiders.append(removed)
    cluster.assert_serves()
    removed.start()
    cluster.add(removed)
    cluster.wait_until_all_are_equal()
    assert cluster.member_roles()[removed.name] == "voter"
    cluster.assert_serves()


def test_a_node_that_was_removed_while_it_was_down_ends_when_it_is_back(make_cluster):
    cluster = make_cluster()
    removed = cluster.followers()[0]
    cluster.nodes.remove(removed)
    cluster.outsiders.append(removed)
    removed.kill()
    cluster.change("remove_server", name=removed.name)
    time.sleep(GOODBYE)  # nobody tells it any more: it has to ask
    removed.start()
    removed.wait_until_it_has_left()
    assert "The cluster has removed this node." in removed.said()
    assert f"{removed.name} is no member of the cluster any more and stops" in removed.said()
    cluster.assert_serves()
    removed.start()
    assert "The cluster has removed this node, which waits to be added again." in removed.said()
    cluster.add(removed)
    cluster.wait_until_all_are_equal()
    assert cluster.member_roles()[removed.name] == "voter"
    cluster.assert_serves()


def test_a_wiped_node_is_refused_until_it_is_removed_and_added_again(make_cluster):
    cluster = make_cluster()
    wiped = cluster.followers()[0]
    others = [node for node in cluster.nodes if node is not wiped]
    with cluster.leader().client() as client:
        for number in range(100):
            client.put(b"kept/%d" % number, b"v")
    old_id = wiped.status().id
    wiped.kill()
    wiped.wipe()
    wiped.start()
    assert wiped.status().id != old_id
    assert wiped.status().role == raftkv.ROLE_NONE

    # As it is, nobody takes it for the member that it was.
    wait_until(
        "the leader says what to do",
        lambda: any("data directory is another one" in node.said() for node in others),
    )
    error = refusal(others[0], "add_voter", name=wiped.name, peer_address=wiped.peer_address)
    assert error.code == "ALREADY_EXISTS", error
    with wiped.client() as client, pytest.raises(Refused) as refused:
        client.get(b"kept/1", stale=True)
    assert refused.value.code == "UNAVAILABLE"

    cluster.change("remove_server", through=others[0], name=wiped.name)
    cluster.change(
        "add_voter", through=others[0], name=wiped.name, peer_address=wiped.peer_address
    )
    cluster.wait_until_all_are_equal()
    assert len(wiped.contents(b"kept/")) == 100
    assert wiped.status().id != old_id and wiped.status().role == raftkv.ROLE_VOTER
    cluster.assert_serves()


def test_a_cluster_grows_and_shrinks_under_load(make_cluster):
    cluster = make_cluster(settings=PATIENT)
    writers = Writers(cluster.nodes, count=4, writes=10**6).start()
    newcomers = [cluster.make_node() for _ in range(2)]
    for node in newcomers:
        node.start()
        cluster.add(node)
    assert len(cluster.member_roles()) == 5
    for node in newcomers:
        cluster.change("remove_server", name=node.name)
        node.wait_until_it_has_left()
        cluster.nodes.remove(node)
        cluster.outsiders.append(node)
    writers.stop()
    assert not [e for e in writers.answered_with if e.outcome_unknown]
    assert_nothing_is_lost(cluster, writers)


def test_only_one_change_is_made_at_a_time(make_cluster):
    """Two at once: both end, each done or refused as Busy."""
    cluster = make_cluster()
    newcomers = [cluster.make_node(name) for name in ("nodeX", "nodeY")]
    results = {}
    for node in newcomers:
        node.start()

    def add(node):
        try:
            with cluster.nodes[0].client() as client:
                client.call("add_voter", name=node.name, peer_address=node.peer_address)
            results[node.name] = "done"
        except Refused as error:
            results[node.name] = error.code

    threads = [threading.Thread(target=add, args=[node]) for node in newcomers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert set(results.values()) <= {"done", "BUSY"} and "done" in results.values()
    done = {name for name, result in results.items() if result == "done"}
    assert cluster.member_roles().keys() == {"nodeA", "nodeB", "nodeC"} | done


def test_the_membership_tells_addresses_and_the_leader(cluster):
    for member in cluster.members().members:
        node = cluster.node(member.name)
        assert member.peer_address == node.peer_address
        assert member.client_address == node.client_address
        assert member.leader == (node is cluster.leader())
        assert not member.promoting


def test_a_node_joins_a_cluster_whose_log_was_cut(make_cluster):
    cluster = make_cluster(1, ["[Raft]", "SnapshotEntries=10", "TrailingEntries=1"])
    first = cluster.nodes[0]
    with first.client() as client:
        for number in range(100):
            client.put(b"key %d" % number, b"value")
        client.call("snapshot")
    node = cluster.make_node()
    node.start()
    cluster.add(node)
    cluster.wait_until_all_are_equal()
    assert node.contents() == first.contents()
    cluster.assert_serves()
    assert "is installed" in node.said()
    node.stop()
    node.start()
    cluster.assert_serves()


# AutoPromote=


def test_a_voter_that_is_gone_for_long_gives_its_place_to_a_non_voter(make_cluster):
    cluster = make_cluster(4, ["[Raft]", "AutoPromote=3", "AutoPromoteAfterSec=8s"])
    spare = cluster.followers()[0]
    cluster.change("demote_voter", name=spare.name)
    gone = next(node for node in cluster.followers() if node is not spare)
    gone.kill()

    def replaced():
        roles = cluster.member_roles()
        return roles[spare.name] == "voter" and roles[gone.name] == "nonvoter"

    wait_until("the spare member votes in its place", replaced)
    said = "".join(node.said() for node in cluster.nodes)  # whoever led then
    assert f"Voter {gone.name} has not answered for" in said
    assert f"its place is taken by {spare.name}" in said
    gone.start()
    cluster.wait_until_all_are_equal()
    assert gone.status().role == raftkv.ROLE_NONVOTER
    cluster.assert_serves()
