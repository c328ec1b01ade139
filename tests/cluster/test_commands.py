"""Each command of raftkvctl over D-Bus: it does and shows what it does and shows over TCP."""

import json
import re

import pytest
from cluster import RAFTKVCTL, run

LOCAL = {"check", "help"}  # they ask no node
JOINING = {"accept", "reject"}  # test_operations.py has them, over each door


class Door:
    def __init__(self, where):
        self.where = where

    def run(self, *words):
        return run(RAFTKVCTL, *self.where, *words)

    def ask(self, *words):
        result = self.run("--output=json", *words)
        assert result.returncode == 0, f"{words}: {result.stderr}"
        return json.loads(result.stdout)


@pytest.fixture(params=["tcp", "bus"])
def door(cluster, request):
    return make_door(cluster, request.param)


def make_door(cluster, kind):
    node = cluster.leader()
    if kind == "tcp":
        return Door([f"--endpoints={node.client_address}"])
    return Door([f"--bus={cluster.bus.address}", f"--node={node.name}"])


def known_commands():
    listed = run(RAFTKVCTL, "--help").stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    return {line.split()[0] for line in listed.splitlines()}


def shape(value):
    """What a program that reads the output relies on: which members there are, and of what type."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(element) for element in value[:1]]
    return type(value).__name__


def last_token(door):
    return door.ask("operations")["operations"][-1]["token"]


def ask_everything(cluster, door, newcomer, directory):
    """Runs each command. Returns its answers by command."""
    follower = cluster.followers()[0]
    added = ["newcomer", newcomer.peer_address]
    answers = {}

    def ask(*words):
        answers[words[0]] = door.ask(*words)
        return answers[words[0]]

    assert ask("put", "commands/a", "1")["revision"]
    assert ask("get", "commands/a")["value"] == "1"
    assert [item["key"] for item in ask("list", "commands/")["items"]] == ["commands/a"]
    for command in (["get", "commands/a"], ["list", "commands/"], ["members"]):
        assert shape(door.ask(*command, "--stale")) == shape(answers.get(command[0]) or ask(*command))
    assert ask("delete", "commands/a")["existed"]
    assert len(ask("status")["members"]) == len(cluster.nodes)
    assert len(ask("members")["members"]) == len(cluster.nodes)
    assert ask("stats")["raft.term"]
    assert ask("barrier")["index"]
    assert ask("verify-leader")["leader"] == cluster.leader().name
    assert ask("snapshot")["index"]
    ask("backup", directory / "backup")
    operations = ask("operations")["operations"]
    assert [o["request"] for o in operations[-2:]] == ["snapshot", "backup"]
    assert ask("await", last_token(door)) == {"last": True}
    assert ask("cancel", last_token(door))["operations"][0]["state"] == "done"
    ask("add-nonvoter", *added)
    assert cluster.member_roles()["newcomer"] == "nonvoter"
    ask("add-voter", *added)
    assert cluster.member_roles()["newcomer"] == "voter"
    ask("demote-voter", "newcomer")
    assert cluster.member_roles()["newcomer"] == "nonvoter"
    ask("remove-server", "newcomer")
    assert "newcomer" not in cluster.member_roles()
    assert ask("transfer-leadership", follower.name)["leader"] == follower.name
    return answers


@pytest.fixture
def newcomers(cluster):
    """Nodes that wait to be added, one after the other under one name."""
    made = []

    def make():
        node = cluster.make_node("newcomer")
        node.start()
        made.append(node)
        return node

    def drop():
        node = made.pop()
        cluster.outsiders.remove(node)
        node.kill()
        node.remove_data()

    yield make, drop
    if "newcomer" in cluster.member_roles():
        cluster.change("remove_server", name="newcomer")
    while made:
        drop()


def test_each_command_answers_the_same_over_either_door(cluster, newcomers, tmp_path):
    make, drop = newcomers
    answers = []
    for kind in ("tcp", "bus"):
        answers.append(ask_everything(cluster, make_door(cluster, kind), make(), tmp_path))
        drop()
    over_tcp, over_the_bus = answers
    assert set(over_tcp) == known_commands() - LOCAL - JOINING
    over_tcp.pop("stats")  # which there are depends on what has happened
    for command, answer in over_tcp.items():
        assert shape(over_the_bus[command]) == shape(answer), command


def test_awaiting_says_what_the_command_said(door):
    for command in (["snapshot"], ["remove-server", "nobody"]):
        said = door.run(*command)
        awaited = door.run("await", last_token(door))
        assert awaited.returncode == said.returncode
        assert (awaited.stdout, awaited.stderr) == (said.stdout, said.stderr)


def test_an_unknown_token_is_not_found(door):
    for command in ("await", "cancel"):
        result = door.run(command, "123")
        assert result.returncode == 12
        assert "This node knows no operation 0000000000000123." in result.stderr


def test_a_terminal_shows_how_it_comes_on(cluster, door, newcomers):
    words = [RAFTKVCTL, *door.where, "add-voter", "newcomer", newcomers[0]().peer_address]
    result = run("script", "-qec", " ".join(f"'{word}'" for word in words), "/dev/null")
    assert result.returncode == 0, result.stdout
    assert "\033[Kbegun" in result.stdout
    assert re.search("configuration index", result.stdout.rsplit("\033[K", 1)[1])
