"""What an administrator asks of a cluster: every operation, through every door, asked of the leader
and of a follower. It must not matter."""

import itertools
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from doors import DOORS, DBus, RaftkvctlOverTheBus, make_door
from protocol import SCHEMAS, raftkv
from waiting import LIMIT, wait_until

from cluster import free_port

STATES = {raftkv.STATE_LEADER: "leader", raftkv.STATE_FOLLOWER: "follower"}


@pytest.fixture(params=DOORS)
def door(cluster, request):
    return make_door(request.param, cluster.bus)


@pytest.fixture(params=["leader", "follower"])
def asked(cluster, request):
    """The node that is asked."""
    return cluster.leader() if request.param == "leader" else cluster.followers()[0]


def passing(cluster, node):
    """Has a node for the time of a test, member or not."""
    node.start()
    yield node
    cluster.outsiders.remove(node)
    if node.name in cluster.member_roles():
        cluster.change("remove_server", name=node.name)
    node.kill()
    node.remove_data()


@pytest.fixture
def newcomer(cluster):
    """A node that waits to be added."""
    yield from passing(cluster, cluster.make_node("newcomer"))


def add_as(cluster, role, node):
    kind = {"voter": "add_voter", "nonvoter": "add_nonvoter"}[role]
    cluster.change(kind, name=node.name, peer_address=node.peer_address)
    assert cluster.member_roles()[node.name] == role


def assert_is_now(cluster, answer, name, role):
    """The change is there, and was answered with the index of its configuration."""
    assert cluster.member_roles().get(name) == role
    assert answer["configuration_index"] == cluster.members().configuration_index


# The membership


def test_a_voter_is_added(cluster, door, asked, newcomer):
    answer = door.ask(asked, "add_voter", name="newcomer", peer_address=newcomer.peer_address)
    assert_is_now(cluster, answer, "newcomer", "voter")
    wait_until("it knows", lambda: newcomer.status().role == raftkv.ROLE_VOTER)


def test_a_non_voter_is_added_and_replicates(cluster, door, asked, newcomer):
    answer = door.ask(asked, "add_nonvoter", name="newcomer", peer_address=newcomer.peer_address)
    assert_is_now(cluster, answer, "newcomer", "nonvoter")
    revision = door.put(asked, "for-the-newcomer", "x")["revision"]
    wait_until("it has it", lambda: newcomer.status().applied_index >= revision)
    again = door.ask(asked, "add_nonvoter", name="newcomer", peer_address=newcomer.peer_address)
    assert again == answer


def test_a_voter_is_demoted(cluster, door, asked, newcomer):
    add_as(cluster, "voter", newcomer)
    answer = door.ask(asked, "demote_voter", name="newcomer")
    assert_is_now(cluster, answer, "newcomer", "nonvoter")


@pytest.mark.parametrize("role", ["voter", "nonvoter"])
def test_a_server_is_removed(cluster, door, asked, newcomer, role):
    add_as(cluster, role, newcomer)
    wait_until("it knows", lambda: newcomer.status().role != raftkv.ROLE_NONE)
    answer = door.ask(asked, "remove_server", name="newcomer")
    assert_is_now(cluster, answer, "newcomer", None)
    newcomer.wait_until_it_has_left()


def test_the_leader_itself_is_demoted(cluster, door, asked):
    leader = cluster.leader()
    answer = door.ask(asked, "demote_voter", name=leader.name)
    assert_is_now(cluster, answer, leader.name, "nonvoter")
    assert cluster.leader() is not leader
    door.put(asked, "written-afterwards", "x")
    cluster.change("add_voter", name=leader.name, peer_address=leader.peer_address)


def test_the_expected_configuration_index_is_held_against_the_current_one(
    cluster, door, asked, newcomer
):
    current = cluster.members().configuration_index
    changes = [
        ("add_nonvoter", {"name": "newcomer", "peer_address": newcomer.peer_address}),
        ("add_voter", {"name": "newcomer", "peer_address": newcomer.peer_address}),
        ("demote_voter", {"name": "newcomer"}),
        ("remove_server", {"name": "newcomer"}),
    ]
    for kind, fields in changes:
        for wrong in (current - 1, current + 1):
            code = door.refusal(asked, kind, **fields, expected_configuration_index=wrong)
            assert code == "ConfigurationConflict"
        assert cluster.members().configuration_index == current
        answer = door.ask(asked, kind, **fields, expected_configuration_index=current)
        assert answer["configuration_index"] > current
        current = answer["configuration_index"]


def test_what_can_t_be_changed_is_refused_with_its_reason(cluster, door, asked):
    voter = cluster.node("nodeB")
    before = cluster.members()
    for kind in ("remove_server", "demote_voter", "transfer_leadership"):
        assert door.refusal(asked, kind, name="nobody") == "NotFound"
        assert door.refusal(asked, kind, name="no name") == "InvalidArgument"
    nowhere = f"127.0.0.1:{free_port()}"
    for kind in ("add_voter", "add_nonvoter"):
        assert door.refusal(asked, kind, name="nodeX", peer_address=nowhere) == "Unavailable"
        assert door.refusal(asked, kind, name="nodeX", peer_address="x") == "InvalidArgument"
        code = door.refusal(asked, kind, name="nodeX", peer_address=voter.peer_address)
        assert code == "AlreadyExists"
    code = door.refusal(asked, "add_nonvoter", name="nodeB", peer_address=voter.peer_address)
    assert code == "AlreadyExists"
    assert cluster.members() == before


def test_the_configuration_is_told(cluster, door, asked):
    leader = cluster.leader()
    answer = door.members(asked)
    assert answer["configuration_index"] > 0
    assert answer["cluster_id"] == asked.status().cluster_id
    assert [member["name"] for member in answer["members"]] == ["nodeA", "nodeB", "nodeC"]
    for member in answer["members"]:
        node = cluster.node(member["name"])
        assert member["id"] == node.status().id
        assert member["role"] == "voter" and not member["promoting"]
        assert member["peer_address"] == node.peer_address
        assert member["client_address"] == node.client_address
        assert member["leader"] == (node is leader)


askers = itertools.count()  # a name of those before is kept for a while


@pytest.fixture
def asker(cluster):
    """A node that asks to join, and is listed."""
    node = cluster.make_node(f"asker{next(askers)}")
    node.settings = [f"Join={cluster.followers()[0].peer_address} {cluster.leader().peer_address}"]
    node.write_configuration()
    nodes = passing(cluster, node)
    yield next(nodes)
    next(nodes, None)


def listed(door, asked, node):
    return next((n for n in door.pending(asked) if n["name"] == node.name), None)


def wait_until_listed(door, asked, node):
    return wait_until(f"{node.name} is listed", lambda: listed(door, asked, node))


def test_who_asks_to_join_is_listed(door, asked, asker):
    node = wait_until_listed(door, asked, asker)
    assert node["id"] == asker.status().id
    assert node["peer_address"] == asker.peer_address
    assert node["client_address"] == asker.client_address


@pytest.mark.parametrize("role", ["voter", "nonvoter"])
def test_who_asks_to_join_is_accepted(cluster, door, asked, asker, role):
    wait_until_listed(door, asked, asker)
    assert door.refusal(asked, "accept", name="nobody") == "NotFound"
    wrong = cluster.members().configuration_index + 1
    code = door.refusal(asked, "accept", name=asker.name, expected_configuration_index=wrong)
    assert code == "ConfigurationConflict"
    answer = door.ask(asked, "accept", name=asker.name, nonvoter=role == "nonvoter")
    assert_is_now(cluster, answer, asker.name, role)
    wait_until("it knows", lambda: asker.status().role != raftkv.ROLE_NONE)
    assert not listed(door, asked, asker)


def test_who_asks_to_join_is_rejected(cluster, door, asked, asker):
    wait_until_listed(door, asked, asker)
    assert door.refusal(asked, "reject", name="nobody") == "NotFound"
    door.ask(asked, "reject", name=asker.name)
    assert not listed(door, asked, asker)
    wait_until("it is told", lambda: f"An administrator has rejected {asker.name}" in asker.said())
    assert asker.name not in cluster.member_roles()


# The leader


def test_leadership_is_handed_to_the_named_voter(cluster, door, asked):
    target = next(node for node in cluster.nodes if node is not cluster.leader())
    answer = door.ask(asked, "transfer_leadership", name=target.name)
    assert answer["leader"] == target.name
    assert cluster.leader() is target


def test_leadership_is_handed_to_another_voter_when_none_is_named(cluster, door, asked):
    old = cluster.leader()
    answer = door.ask(asked, "transfer_leadership")
    assert answer["leader"] != old.name
    assert cluster.leader().name == answer["leader"]


def test_leadership_can_be_handed_to_who_has_it(cluster, door, asked):
    leader = cluster.leader()
    answer = door.ask(asked, "transfer_leadership", name=leader.name)
    assert answer["leader"] == leader.name


def test_the_leader_is_verified(cluster, door, asked):
    leader = cluster.leader()
    answer = door.ask(asked, "verify_leader")
    assert answer == {"leader": leader.name, "term": leader.status().term}


def test_a_barrier_is_behind_everything_before_it(cluster, door, asked):
    revision = door.put(asked, "before-the-barrier", "x")["revision"]
    index = door.ask(asked, "barrier")["index"]
    assert index > revision
    assert cluster.leader().status().applied_index >= index
    assert door.ask(asked, "barrier")["index"] > index


# What a node tells and does


def test_keys_are_written_and_read(door, asked):
    first = door.put(asked, "key", "1")
    assert first["created"]
    second = door.put(asked, "key", "2")
    assert second["revision"] > first["revision"] and not second["created"]
    read = door.get(asked, "key")
    assert read["value"] == "2" and read["revision"] >= second["revision"]
    listed = door.list(asked, "key")
    assert listed["items"] == [("key", "2")] and listed["revision"] >= read["revision"]
    deleted = door.delete(asked, "key")
    assert deleted["existed"] and deleted["revision"] > second["revision"]
    assert not door.delete(asked, "key")["existed"]


def test_a_node_s_own_state_is_told_however_old(cluster, door, asked):
    revision = door.put(asked, "own", "x")["revision"]
    wait_until("it is applied", lambda: asked.status().applied_index >= revision)
    read = door.get(asked, "own", stale=True)
    assert read["value"] == "x" and read["revision"] >= revision
    listed = door.list(asked, "own", stale=True)
    assert listed["items"] == [("own", "x")] and listed["revision"] >= read["revision"]
    wait_until("it knows", lambda: door.members(asked, stale=True) == door.members(asked))


def test_the_log_is_compacted(cluster, door, asked):
    revision = door.put(asked, "to-be-compacted", "x")["revision"]
    wait_until("it is applied", lambda: asked.status().applied_index >= revision)
    answer = door.ask(asked, "snapshot")
    assert answer["index"] >= revision
    assert asked.status().snapshot_index == answer["index"]


def test_the_status_of_each_member_is_told(cluster, door, asked):
    told = {}

    def is_so():
        told.update({member["name"]: member for member in door.status(asked)})
        return all(says_what_is_so(told[node.name], node) for node in cluster.nodes)

    wait_until("each is told as it is", is_so)
    assert list(told) == ["nodeA", "nodeB", "nodeC"]


def says_what_is_so(member, node):
    """Unless the leader has changed meanwhile."""
    status = node.status()
    expected = {
        "id": status.id,
        "role": "voter",
        "state": STATES[status.state],
        "term": status.term,
        "leader": status.leader,
        "answers": True,
        "error": "",
        "version": status.version,
        "peer_address": node.peer_address,
        "client_address": node.client_address,
        "cluster_id": status.cluster_id,
        "alarm": "",
    }
    return (
        {name: member[name] for name in expected} == expected
        and 0 < member["applied_index"] <= status.applied_index
        and 0 < member["first_index"] <= member["last_index"] <= status.last_index
        and 0 < member["commit_index"] <= status.commit_index
    )


def test_the_properties_are_what_the_status_says(cluster, asked):
    cluster.wait_until_all_are_equal()
    status = asked.status()
    expected = {
        "Name": status.name,
        "State": STATES[status.state],
        "Role": "voter",
        "Term": status.term,
        "Leader": cluster.leader().name,
        "CommitIndex": status.commit_index,
        "AppliedIndex": status.applied_index,
        "LastIndex": status.last_index,
    }
    assert {name: cluster.bus.property(asked.name, name) for name in expected} == expected


# Operations: what takes long is known by a token, and awaited and cancelled by it


def newest_operation(asked):
    """As each door lists it."""
    return make_door("tcp", None).operations(asked)[-1]


def assert_awaiting_gives(cluster, asked, request, answer):
    """Whoever awaits what was asked last gets the answer of whoever asked, through each door."""
    for kind in DOORS:
        awaiting = make_door(kind, cluster.bus)
        operation = awaiting.operations(asked)[-1]
        assert operation["request"] == request and operation["state"] == "done"
        assert awaiting.ask(asked, "await", token=operation["token"]) == answer


def test_awaiting_an_operation_gives_its_result(cluster, door, asked, newcomer):
    answer = door.ask(asked, "add_nonvoter", name="newcomer", peer_address=newcomer.peer_address)
    assert_awaiting_gives(cluster, asked, "add-nonvoter", answer)
    answer = door.ask(asked, "transfer_leadership", name=cluster.leader().name)
    assert_awaiting_gives(cluster, asked, "transfer-leadership", answer)
    revision = door.put(asked, "to-be-compacted", "x")["revision"]
    wait_until("it is applied", lambda: asked.status().applied_index >= revision)
    answer = door.ask(asked, "snapshot")
    assert_awaiting_gives(cluster, asked, "snapshot", answer)


def test_awaiting_an_operation_that_failed_gives_its_error(cluster, door, asked):
    assert door.refusal(asked, "remove_server", name="nobody") == "NotFound"
    for kind in DOORS:
        awaiting = make_door(kind, cluster.bus)
        operation = awaiting.operations(asked)[-1]
        assert operation["subject"] == "nobody" and operation["state"] == "failed"
        assert awaiting.refusal(asked, "await", token=operation["token"]) == "NotFound"


def test_a_token_of_nothing_is_not_found(door, asked):
    for kind in ("await", "cancel"):
        code = door.refusal(asked, kind, token=0x123)
        assert code in ("NotFound", "org.freedesktop.DBus.Error.UnknownObject")


def test_what_has_ended_can_t_be_cancelled_any_more(cluster, door, asked):
    answer = door.ask(asked, "transfer_leadership", name=cluster.leader().name)
    token = newest_operation(asked)["token"]
    door.ask(asked, "cancel", token=token)
    assert door.ask(asked, "await", token=token) == answer


def documented_statistics():
    """The names that the introspection XML gives, as patterns."""
    text = (SCHEMAS.parent / "dbus/org.raftkv1.Node.xml").read_text()
    text = text[text.index("        Stats:") : text.index('<method name="Stats">')]
    words = {"MEMBER": r"node\w+", "REQUEST": r"[a-z-]+", "OUTCOME": r"[A-Za-z]+"}
    patterns = []
    for name in re.findall(r"^        ([a-z_]+\.[\w.]+)(?: \(\w+\))?:", text, re.MULTILINE):
        patterns.append(re.sub("|".join(words), lambda m: words[m.group()], re.escape(name)))
    assert len(patterns) > 30
    return patterns


def test_the_statistics_are_those_that_are_documented(cluster, door, asked):
    revision = door.put(asked, "counted", "x")["revision"]
    others = [node.name for node in cluster.nodes if node is not asked]

    def settled():
        leader, term = cluster.leader(), asked.status().term
        statistics = door.stats(asked)
        heard = [name for name in others if f"raft.peers.{name}.contact" in statistics]
        return (
            asked.status().term == statistics["raft.term"] == term
            and statistics["raft.last_index"] >= revision
            and (asked is not leader or heard == others)
            and (leader, statistics)
        )

    leader, statistics = wait_until("it has the write, and hears all, under one leader", settled)
    patterns = documented_statistics()
    for name in statistics:
        assert any(re.fullmatch(pattern, name) for pattern in patterns), name
    for pattern in patterns:
        if not re.search(r"peers\\\.node|leader_contact", pattern):
            assert any(re.fullmatch(pattern, name) for name in statistics), pattern
    assert statistics["raft.elections"] + statistics["raft.elections_won"] < 1000
    assert statistics["log.flushes"] >= statistics["log.write_latency"]["count"] > 0
    assert 0 < statistics["log.write_latency"]["p50"] <= statistics["log.write_latency"]["maximum"]
    assert statistics["log.entries"] > 0 and statistics["log.bytes"] > 0
    assert statistics["state.bytes"] > 0 and statistics["state.cache_hits"] > 0
    assert statistics["requests.answered.put.OK"] == statistics["requests.latency.put"]["count"]
    if isinstance(door, (DBus, RaftkvctlOverTheBus)):
        assert statistics["bus.connections"] > 0
        assert min(statistics[f"bus.{name}"] for name in ("calls", "received", "sent")) > 0
    contacts = [name for name in statistics if re.match(r"raft\.peers\..*\.contact", name)]
    assert all(statistics[f"raft.peers.{name}.reachable"] in (0, 1) for name in others)
    assert len(contacts) == (2 if asked is leader else 0)
    assert ("raft.leader_contact" in statistics) == (asked is not leader)


def test_the_state_is_backed_up(cluster, door, asked, tmp_path):
    revision = door.put(asked, "to-be-backed-up", "x")["revision"]
    wait_until("it is applied", lambda: asked.status().applied_index >= revision)
    assert door.backup(asked, tmp_path / "backup")["index"] >= revision
    assert_awaiting_gives(cluster, asked, "backup", {"last": True})


# With nodes that end, or a voter that is silent


@pytest.fixture(scope="module")
def crippled(_shared_cluster):
    """A cluster of its own, in which tests may pause a follower, and remove the leader."""
    from conftest import _close, _make

    cluster = _make(3)
    yield cluster
    _close(cluster)


@pytest.fixture(params=DOORS)
def crippled_door(crippled, request):
    return make_door(request.param, crippled.bus)


@pytest.mark.parametrize("asked", ["leader", "follower"])
def test_the_leader_itself_is_removed(crippled, crippled_door, asked):
    leader = crippled.leader()
    others = [node for node in crippled.nodes if node is not leader]
    node = leader if asked == "leader" else others[0]
    answer = crippled_door.ask(node, "remove_server", name=leader.name)
    leader.wait_until_it_has_left()
    assert_is_now(crippled, answer, leader.name, None)
    assert crippled.leader() in others
    crippled_door.put(others[0], "written-afterwards", "x")
    leader.start()
    back = {"name": leader.name, "peer_address": leader.peer_address}
    crippled.change("add_voter", through=others[0], **back)


@pytest.fixture(params=["leader", "follower"])
def with_a_silent_voter(crippled, request):
    """The leader, the follower that answers, the silent one, and which of them is asked."""
    leader = crippled.leader()
    answering, silent = [node for node in crippled.nodes if node is not leader]
    silent.pause()
    yield leader, answering, silent, leader if request.param == "leader" else answering
    silent.resume()
    if crippled.member_roles()[answering.name] != "voter":
        crippled.add(answering)
    crippled.wait_until_all_are_equal()


def test_a_transfer_to_a_silent_voter_fails_in_time_and_the_leader_serves_on(
    crippled_door, with_a_silent_voter
):
    leader, _, silent, asked = with_a_silent_voter
    assert crippled_door.refusal(asked, "transfer_leadership", name=silent.name) == "Timeout"
    assert leader.status().state == raftkv.STATE_LEADER
    assert crippled_door.put(asked, "served-on", "x")["revision"]


def test_what_would_lose_the_quorum_is_refused(crippled_door, with_a_silent_voter, crippled):
    leader, answering, silent, asked = with_a_silent_voter
    before = crippled.members(leader)
    wait_until_the_leader_misses(leader, silent)
    for kind in ("remove_server", "demote_voter"):
        assert crippled_door.refusal(asked, kind, name=answering.name) == "WouldLoseQuorum"
    assert crippled.members(leader) == before


@pytest.fixture(scope="module")
def onlooker(crippled):
    """A non-voter, to be asked when the follower that answers is the one that is removed."""
    node = crippled.make_node("onlooker")
    node.start()
    crippled.change("add_nonvoter", name=node.name, peer_address=node.peer_address)
    wait_until("it knows the leader", lambda: node.status().leader)
    return node


def test_by_force_a_voter_is_removed_when_the_silent_one_is_back(
    crippled_door, with_a_silent_voter, crippled, onlooker
):
    leader, answering, silent, asked = with_a_silent_voter
    wait_until_the_leader_misses(leader, silent)
    with ThreadPoolExecutor() as pool:
        force = {"name": answering.name, "force": True}
        asked = leader if asked is leader else onlooker
        caller = pool.submit(crippled_door.ask, asked, "remove_server", **force)
        wait_until("it is begun", lambda: is_running(newest_operation(leader), "remove-server"))
        silent.resume()
        answer = caller.result(LIMIT)
    answering.wait_until_it_has_left()
    assert_is_now(crippled, answer, answering.name, None)
    answering.start()
    back = {"name": answering.name, "peer_address": answering.peer_address}
    crippled.change("add_voter", through=leader, **back)


def test_by_force_a_voter_is_demoted_when_the_silent_one_is_back(
    crippled_door, with_a_silent_voter, crippled
):
    leader, answering, silent, asked = with_a_silent_voter
    wait_until_the_leader_misses(leader, silent)
    with ThreadPoolExecutor() as pool:
        force = {"name": answering.name, "force": True}
        caller = pool.submit(crippled_door.ask, asked, "demote_voter", **force)
        awaiting = await_through_all_doors(pool, crippled, asked, leader, "ask")
        silent.resume()
        answer = caller.result(LIMIT)
        assert [each.result(LIMIT) for each in awaiting] == [answer] * len(DOORS)
    assert_is_now(crippled, answer, answering.name, "nonvoter")


def test_who_waits_is_told_when_it_is_cancelled(crippled_door, with_a_silent_voter, crippled):
    leader, answering, silent, asked = with_a_silent_voter
    wait_until_the_leader_misses(leader, silent)
    with ThreadPoolExecutor() as pool:
        force = {"name": answering.name, "force": True}
        caller = pool.submit(make_door("tcp", None).refusal, asked, "demote_voter", **force)
        awaiting = await_through_all_doors(pool, crippled, asked, leader, "refusal")
        crippled_door.ask(asked, "cancel", token=newest_operation(asked)["token"])
        assert caller.result(LIMIT) == "Unavailable"
        assert [each.result(LIMIT) for each in awaiting] == ["Unavailable"] * len(DOORS)
    # What was begun goes on.
    silent.resume()
    wait_until("it is done", lambda: crippled.member_roles()[answering.name] == "nonvoter")


def await_through_all_doors(pool, cluster, asked, leader, how):
    """Waits for the beginning of a demotion, and has it awaited."""
    for node in (leader, asked):
        wait_until("it is begun", lambda: is_running(newest_operation(node), "demote-voter"))
    token = newest_operation(asked)["token"]
    doors = [make_door(kind, cluster.bus) for kind in DOORS]
    awaiting = [pool.submit(getattr(door, how), asked, "await", token=token) for door in doors]
    wait_until("all wait", lambda: doors[0].stats(asked)["requests.under_way"] > len(doors))
    return awaiting


def is_running(operation, request):
    return operation["request"] == request and operation["state"] == "running"


def wait_until_the_leader_misses(leader, silent):
    """A voter counts as silent when it has not answered for two election timeouts."""
    with leader.client() as client:
        wait_until(
            f"{silent.name} does not answer",
            lambda: not next(
                m.answers for m in client.status(cluster=True).members if m.name == silent.name
            ),
        )
