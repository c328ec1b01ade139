"""raftkvctl and raftkv-bench, as people and scripts use them."""

import json
import os

import pytest
from cluster import RAFTKV_BENCH, RAFTKVCTL, RAFTKVD, free_port, run
from fake_node import FakeNode
from waiting import LIMIT, wait_until

COMMANDS = [
    "put", "get", "delete", "list", "status", "members", "add-voter", "add-nonvoter",
    "remove-server", "demote-voter", "transfer-leadership", "barrier", "verify-leader",
    "stats", "operations", "await", "cancel", "help",
]  # fmt: skip


def raftkvctl(*arguments, endpoints=None, **options):
    where = [f"--endpoints={endpoints}"] if endpoints else []
    return run(RAFTKVCTL, *where, *arguments, **options)


class OverTcp:
    def __init__(self, cluster):
        self.node = cluster.nodes[1]

    def __call__(self, *arguments, **options):
        return raftkvctl(*arguments, endpoints=self.node.client_address, **options)


class OverTheBus:
    def __init__(self, cluster):
        self.where = [f"--bus={cluster.bus.address}", "--node=nodeB"]

    def __call__(self, *arguments, **options):
        return raftkvctl(*self.where, *arguments, **options)


@pytest.fixture(params=[OverTcp, OverTheBus], ids=["tcp", "bus"])
def ctl(cluster, request):
    """raftkvctl, asking nodeB over each door in turn."""
    return request.param(cluster)


def done(result):
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    return result.stdout


def parsed(result):
    return json.loads(done(result))


# Commands


def test_get_prints_the_value_alone(cluster, ctl):
    done(ctl("put", "greeting", "hello world"))
    assert done(ctl("get", "greeting")) == "hello world\n"
    assert done(ctl("get", "--raw", "greeting")) == "hello world"
    cluster.wait_until_all_are_equal()
    assert done(ctl("get", "--stale", "greeting")) == "hello world\n"


def test_a_value_of_any_bytes_comes_out_as_it_went_in(ctl, tmp_path):
    value = bytes(range(256)) * 100
    (tmp_path / "value").write_bytes(value)
    done(ctl("put", "bytes", f"--file={tmp_path / 'value'}"))
    assert ctl("get", "--raw", "bytes", text=False).stdout == value
    assert ctl("get", "bytes", text=False).stdout == value + b"\n"


def test_put_reads_the_value_from_standard_input_or_a_file(ctl, tmp_path):
    done(ctl("put", "stdin", "-", input="from standard input\n"))
    assert done(ctl("get", "--raw", "stdin")) == "from standard input\n"
    (tmp_path / "value").write_text("from a file")
    done(ctl("put", "file", f"--file={tmp_path / 'value'}"))
    assert done(ctl("get", "file")) == "from a file\n"
    result = ctl("put", "file", f"--file={tmp_path / 'missing'}")
    assert result.returncode == 1 and "missing" in result.stderr


def test_a_value_of_four_mebibytes_goes_in_and_more_is_too_large(ctl, tmp_path):
    value = os.urandom(4 << 20)
    (tmp_path / "value").write_bytes(value)
    done(ctl("put", "large", f"--file={tmp_path / 'value'}"))
    assert ctl("get", "--raw", "large", text=False).stdout == value
    (tmp_path / "value").write_bytes(value + b"x")
    result = ctl("put", "large", f"--file={tmp_path / 'value'}")
    assert result.returncode == 18 and "TooLarge" in result.stderr
    done(ctl("delete", "large"))


def test_delete_says_whether_there_was_a_key(ctl):
    done(ctl("put", "doomed", "x"))
    assert done(ctl("delete", "doomed")) == "deleted\n"
    assert done(ctl("delete", "doomed")) == "there was no such key\n"
    assert parsed(ctl("--output=json", "delete", "doomed"))["existed"] is False


def test_list_shows_keys_in_order(ctl):
    for number in (2, 0, 1):
        done(ctl("put", f"list/{number}", f"value {number}"))
    lines = done(ctl("list", "list/")).splitlines()
    assert lines[0].split() == ["KEY", "REVISION", "VERSION", "VALUE"]
    assert [line.split()[0] for line in lines[1:]] == ["list/0", "list/1", "list/2"]
    answer = parsed(ctl("--output=json", "list", "list/"))
    assert [(i["key"], i["value"]) for i in answer["items"]] == [
        (f"list/{n}", f"value {n}") for n in range(3)
    ]
    assert answer["more"] is False
    answer = parsed(ctl("--output=json", "list", "--limit=1", "--from=list/1", "list/"))
    assert [item["key"] for item in answer["items"]] == ["list/1"] and answer["more"] is True
    answer = parsed(ctl("--output=json", "list", "--keys-only", "list/"))
    assert all("value" not in item for item in answer["items"])


def test_json_gives_bytes_that_are_no_text_as_base64(cluster, ctl):
    with cluster.nodes[0].client() as client:
        client.put(b"json", b"\xff\0")
    answer = parsed(ctl("--output=json", "get", "json"))
    assert answer["key"] == "json" and answer["value_base64"] == "/wA=" and "value" not in answer


def test_put_and_get_tell_revisions_in_json(ctl):
    first = parsed(ctl("--output=json", "put", "revisions", "1"))["revision"]
    second = parsed(ctl("--output=json", "put", "revisions", "2"))["revision"]
    answer = parsed(ctl("--output=json", "get", "revisions"))
    assert first < second and answer["modify_revision"] == second
    assert answer["create_revision"] <= first and answer["version"] >= 2


def test_status_shows_every_member(cluster, ctl):
    leader = cluster.leader()

    def told():
        """Each member is given two seconds for its part."""
        answer = parsed(ctl("--output=json", "status"))
        return answer if all(member["answers"] for member in answer["members"]) else None

    answer = wait_until("all answer in time", told)
    assert answer["node"] == "nodeB"
    assert [m["name"] for m in answer["members"]] == ["nodeA", "nodeB", "nodeC"]
    for member in answer["members"]:
        assert member["role"] == "voter"
        assert member["state"] == ("leader" if member["name"] == leader.name else "follower")
        assert member["leader"] == leader.name
    table = done(ctl("status")).splitlines()
    assert table[0].split() == [
        "NAME", "ROLE", "STATE", "TERM", "REVISION", "LAG", "ADDRESS", "ANSWERS",
    ]  # fmt: skip
    assert [line.split()[0] for line in table[1:]] == ["nodeA", "nodeB", "nodeC"]


def test_members_shows_the_membership(cluster, ctl):
    answer = parsed(ctl("--output=json", "members"))
    assert answer["configuration_index"] == cluster.members().configuration_index
    assert [(m["name"], m["peer_address"]) for m in answer["members"]] == [
        (node.name, node.peer_address) for node in cluster.nodes
    ]
    assert [m["name"] for m in answer["members"] if m["leader"]] == [cluster.leader().name]
    assert "configuration index" in done(ctl("members"))


def test_members_are_added_demoted_and_removed(cluster, ctl):
    node = cluster.make_node("newcomer")
    node.start()
    assert done(ctl("add-voter", "newcomer", node.peer_address)).startswith("configuration index ")
    assert cluster.member_roles()["newcomer"] == "voter"
    index = parsed(ctl("--output=json", "demote-voter", "newcomer"))["configuration_index"]
    assert cluster.member_roles()["newcomer"] == "nonvoter"
    wrong = ctl("remove-server", f"--expected-index={index - 1}", "newcomer")
    assert wrong.returncode == 25 and "ConfigurationConflict" in wrong.stderr
    done(ctl("remove-server", f"--expected-index={index}", "newcomer"))
    assert "newcomer" not in cluster.member_roles()
    node.stop()


def test_leadership_is_transferred(cluster, ctl):
    for name in ("nodeA", "nodeC"):
        assert done(ctl("transfer-leadership", name)) == f"leader {name}\n"
        assert cluster.leader().name == name
    new = parsed(ctl("--output=json", "transfer-leadership"))["leader"]
    assert new != "nodeC" and cluster.leader().name == new


# Errors


def test_the_exit_status_tells_the_error(ctl):
    def status(*arguments):
        result = ctl(*arguments)
        assert result.stderr.startswith("raftkvctl: ") and not result.stdout
        return result.returncode, result.stderr.split(":")[1].strip()

    address = f"127.0.0.1:{free_port()}"
    assert status("put", "", "x") == (11, "InvalidArgument")
    assert status("get", "nobody wrote this") == (12, "NotFound")
    assert status("remove-server", "nobody") == (12, "NotFound")
    assert status("add-voter", "nodeA", address) == (13, "AlreadyExists")
    assert status("put", "k" * 4097, "x") == (18, "TooLarge")
    assert status("add-voter", "nobody", address) == (22, "Unavailable")
    assert status("remove-server", "--expected-index=1", "nodeA") == (25, "ConfigurationConflict")


def test_no_leader_and_would_lose_quorum_have_their_exit_statuses(make_cluster):
    cluster = make_cluster(2)
    follower = cluster.followers()[0]
    alone = raftkvctl("remove-server", "nodeA", endpoints=follower.client_address)
    assert alone.returncode == 0
    last = cluster.node("nodeB")
    result = raftkvctl("remove-server", "nodeB", endpoints=last.client_address)
    assert result.returncode == 26 and "WouldLoseQuorum" in result.stderr


def test_without_a_leader_a_command_ends_at_its_timeout(make_cluster):
    cluster = make_cluster()
    for node in cluster.followers():
        node.kill()
    last = cluster.running()[0]
    result = raftkvctl("--timeout=3", "put", "k", "v", endpoints=last.client_address)
    assert result.returncode in (15, 17), result.stderr
    # That one may have been sent while it still led; now it knows. Of the time half a second is left for its answer
    # to come, which on a busy machine may take longer.
    ask = lambda: raftkvctl("--timeout=5", "put", "k", "v", endpoints=last.client_address)  # noqa: E731
    wait_until("it says so", lambda: (result := ask()).returncode == 15 and "NoLeader" in result.stderr)
    for node in cluster.nodes:
        if not node.is_running():
            node.start()
    cluster.leader()
    done(raftkvctl("put", "k", "v", endpoints=last.client_address))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["get"],
        ["get", "a", "b"],
        ["put", "a"],
        ["put", "a", "b", "--file=c"],
        ["--timeout=0", "status"],
        ["--timeout=nan", "status"],
        ["--output=xml", "status"],
        ["--endpoints=nowhere", "status"],
        ["--endpoints=", "status"],
        ["--bus=system", "status"],
        ["--node=nodeA", "status"],
        ["--bus=system", "--node=nodeA", "--endpoints=a:1", "status"],
        ["--no-such-option", "status"],
        ["list", "--limit=0"],
        ["remove-server", "--expected-index=x", "nodeA"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_said_and_exits_with_2(arguments):
    result = raftkvctl(*arguments)
    assert result.returncode == 2 and result.stderr.startswith("raftkvctl: ") and not result.stdout


def test_nobody_there_is_a_local_failure():
    endpoints = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    result = raftkvctl("get", "k", endpoints=endpoints)
    assert result.returncode == 1 and "no node could be reached" in result.stderr


def test_a_bus_or_a_node_that_is_not_there_is_a_local_failure(bus, tmp_path):
    result = raftkvctl(f"--bus=unix:path={tmp_path}/bus", "--node=nodeA", "get", "k")
    assert result.returncode == 1 and result.stderr.startswith("raftkvctl: ")
    result = raftkvctl(f"--bus={bus.address}", "--node=nobody", "get", "k")
    assert result.returncode == 1 and "nobody" in result.stderr


# Endpoints, and when a request is sent again


def test_the_endpoints_come_from_the_environment(cluster):
    variables = {"RAFTKV_ENDPOINTS": cluster.nodes[0].client_address}
    done(raftkvctl("put", "environment", "yes", variables=variables))
    assert done(raftkvctl("get", "environment", variables=variables)) == "yes\n"
    dead = f"127.0.0.1:{free_port()}"
    assert done(raftkvctl("get", "environment", endpoints=variables["RAFTKV_ENDPOINTS"],
                          variables={"RAFTKV_ENDPOINTS": dead})) == "yes\n"  # fmt: skip


def test_a_dead_first_endpoint_is_passed_over(cluster):
    endpoints = f"127.0.0.1:{free_port()},{cluster.nodes[2].client_address}"
    done(raftkvctl("put", "passed", "over", endpoints=endpoints))
    assert done(raftkvctl("get", "passed", endpoints=endpoints)) == "over\n"


@pytest.fixture
def fake_node():
    """Starts stand-ins for nodes, which misbehave."""
    nodes = []

    def start(*arguments):
        nodes.append(FakeNode(*arguments))
        return nodes[-1]

    yield start
    for node in nodes:
        node.close()


@pytest.mark.parametrize("behaviour", ["close", "garbage", "huge"])
def test_a_write_with_an_unknown_outcome_is_not_sent_again(cluster, fake_node, behaviour):
    """The fake node swallows the write; the real one behind it must not get it too."""
    real = cluster.nodes[0].client_address
    fake = fake_node(behaviour)
    endpoints = f"{fake.address},{real}"
    result = raftkvctl("put", f"swallowed/{behaviour}", "x", endpoints=endpoints)
    assert result.returncode == 22 and "outcome is unknown" in result.stderr
    assert raftkvctl("get", f"swallowed/{behaviour}", endpoints=real).returncode == 12
    assert raftkvctl("delete", "k", endpoints=endpoints).returncode == 22
    assert [request.WhichOneof("body") for request in fake.requests] == ["put", "delete"]


def test_a_write_that_is_never_answered_ends_at_the_timeout_with_an_unknown_outcome(
    cluster, fake_node
):
    fake, real = fake_node("silent"), cluster.nodes[0].client_address
    result = raftkvctl("--timeout=3", "put", "silent", "x", endpoints=f"{fake.address},{real}")
    assert result.returncode == 17 and "outcome is unknown" in result.stderr
    assert raftkvctl("get", "silent", endpoints=real).returncode == 12
    assert len(fake.requests) == 1


def test_a_read_that_was_swallowed_is_asked_elsewhere(cluster, fake_node):
    real = cluster.nodes[0].client_address
    done(raftkvctl("put", "elsewhere", "found", endpoints=real))
    for behaviour in ("close", "garbage", "huge"):
        endpoints = f"{fake_node(behaviour).address},{real}"
        assert done(raftkvctl("get", "elsewhere", endpoints=endpoints)) == "found\n"


def test_what_did_not_happen_is_sent_again(cluster, fake_node):
    real = cluster.nodes[0].client_address
    endpoints = f"{fake_node('no-leader').address},{real}"
    done(raftkvctl("put", "again", "elsewhere", endpoints=endpoints))
    assert done(raftkvctl("get", "again", endpoints=real)) == "elsewhere\n"
    busy = fake_node("busy-once")
    done(raftkvctl("put", "again", "x", endpoints=busy.address))
    assert len(busy.requests) == 2


def test_a_redirect_to_the_leader_is_followed(cluster, fake_node):
    real = cluster.nodes[0].client_address
    done(raftkvctl("put", "redirected", "yes", endpoints=fake_node("redirect", real).address))
    assert done(raftkvctl("get", "redirected", endpoints=real)) == "yes\n"


# Help and versions


def test_the_help_names_every_command_and_each_has_its_own():
    text = done(raftkvctl("--help"))
    assert text == done(raftkvctl("help")) == done(raftkvctl("-h"))
    for command in COMMANDS:
        assert f"\n  {command} " in text
        assert command in done(raftkvctl(command, "--help"))
        assert done(raftkvctl("help", command)) == done(raftkvctl(command, "--help"))
    for option in ("--endpoints", "--bus", "--node", "--output", "--timeout", "RAFTKV_ENDPOINTS"):
        assert option in text


@pytest.mark.parametrize("program", [RAFTKVD, RAFTKVCTL, RAFTKV_BENCH], ids=lambda p: p.name)
def test_every_program_has_a_version_and_a_help(program):
    version = done(run(program, "--version"))
    assert version.split()[0] == program.name and version.split()[1][0].isdigit()
    text = done(run(program, "--help"))
    assert program.name in text and "--version" in text
    wrong = run(program, "--no-such-option")
    assert wrong.returncode == 2 and wrong.stderr


# raftkv-bench


@pytest.mark.parametrize("kind", ["put", "get"])
def test_the_bench_gives_one_json_object_that_begins_with_its_throughput(cluster, kind):
    endpoints = ",".join(node.client_address for node in cluster.nodes)
    result = run(
        RAFTKV_BENCH, kind, f"--endpoints={endpoints}", "--clients=8", "--seconds=1", "--warmup=0",
        "--value-size=100", "--keys=200", "--output=json",
    )  # fmt: skip
    members = json.loads(done(result), object_pairs_hook=list)
    assert members[0][0] == "throughput" and members[0][1] > 0
    assert not json.loads(result.stdout)["errors"]


def test_the_bench_reads_stale_and_prints_a_table(cluster):
    result = run(
        RAFTKV_BENCH, "get", f"--endpoints={cluster.nodes[0].client_address}", "--clients=2",
        "--seconds=1", "--warmup=0", "--keys=50", "--consistency=stale",
    )  # fmt: skip
    text = done(result)
    for word in ("p50", "p99.9", "max"):
        assert word in text


def test_the_bench_fails_when_nobody_is_there():
    result = run(
        RAFTKV_BENCH, "put", f"--endpoints=127.0.0.1:{free_port()}", "--seconds=1", timeout=LIMIT
    )
    assert result.returncode == 1 and result.stderr


def test_the_bench_refuses_wrong_usage():
    for arguments in ([], ["frob"], ["put", "--clients=0"], ["get", "--consistency=maybe"]):
        result = run(RAFTKV_BENCH, *arguments)
        assert result.returncode == 2 and result.stderr and not result.stdout
