"""What README.md tells to do without packages, and beside the configuration, is done, and gives what it shows.
Its first five minutes are a system test; what it says of disasters is done by test_disaster.py."""

import re

from cluster import BUILD, RAFTKVD, assert_no_complaint, free_port, run
from documents import blocks, commands, form, section
from shell import Shell
from waiting import wait_until

CLEAN_UP = "trap 'kill $(jobs -p) $BUS_PID 2> /dev/null' EXIT"
# As PATIENT: the leader moves only as README says.
PATIENCE = "'[Raft]' 'ElectionTimeoutSec=5s' '[Node]'"


class Reader:
    """Who follows README without packages: its directory and ports become those of the test."""

    def __init__(self, directory):
        self.place = directory / "raftkv"
        self.ports = {port: str(free_port()) for port in ("4711", "4712", "4721", "4722", "4731", "4732")}

    def address(self, port):
        return f"127.0.0.1:{self.ports[port]}"

    def own(self, command):
        listen = f"'ListenClients={self.address('4711')}' 'ListenPeers={self.address('4712')}'"
        command = command.replace("'Bootstrap=yes'", f"'Bootstrap=yes' {listen}").replace("'[Node]'", PATIENCE)
        command = re.sub(r"\b47[123][12]\b", lambda port: self.ports[port[0]], command)
        return command.replace("/tmp/raftkv", str(self.place))

    def follow(self, shell, command, shown):
        def as_shown(said):
            return [form(line.replace(str(self.place), "/tmp/raftkv")) for line in said] == [form(line) for line in shown]

        said = shell.run(self.own(command))
        # How others are is asked of them, and the last commit is told them a little later.
        if "raftkvctl status" in command:
            wait_until(f"the status is {shown}", lambda: as_shown(shell.run("raftkvctl status")))
        else:
            assert as_shown(said), f"{command}: {said}"

    def assert_no_node_complained(self):
        for file in self.place.glob("*.log"):
            assert_no_complaint(file.read_text(errors="replace"))


def test_three_nodes_without_packages_do_what_is_shown(directory):
    build, *walk = blocks(section("README.md", "## Without installing anything"), "console")
    *building, (_, path, _) = commands(build)
    # scripts/test has done the same, in a directory of its own.
    assert [command for _, command, _ in building] == ["scripts/deps", "meson setup build", "ninja -C build"]
    (directory / "build").symlink_to(BUILD)
    reader = Reader(directory)
    with Shell(directory, CLEAN_UP, RAFTKV_ENDPOINTS=reader.address("4711")) as shell:
        reader.follow(shell, path, [])
        for _, command, shown in [command for block in walk for command in commands(block)]:
            reader.follow(shell, command, shown)
            if command == "wait":
                reader.assert_no_node_complained()
        assert not reader.place.exists() and shell.run("jobs -r") == []


def configuration_block(containing):
    """The block below "Configuration" that has this in it."""
    return next(block for block in blocks(section("README.md", "## Configuration")) if containing in block)


class Administrator:
    """Who has the nodes 192.0.2.11 to 192.0.2.13: nodeA and what joins it."""

    def __init__(self, cluster):
        self.cluster = cluster

    def own(self, text):
        for number, node in enumerate(self.cluster.nodes + self.cluster.outsiders, 11):
            text = text.replace(f"192.0.2.{number}:4711", node.client_address)
            text = text.replace(f"192.0.2.{number}:4712", node.peer_address)
        return text.replace("/srv/", f"{self.cluster.directory}/")

    def shell(self):
        # The other host is this one.
        return Shell(
            self.cluster.directory, 'ssh() { bash -c "$2"; }', RAFTKV_ENDPOINTS=self.cluster.nodes[0].client_address
        )


def test_a_node_asks_to_join_and_is_accepted_as_shown(make_cluster):
    cluster = make_cluster(1)
    asks, pending, accept = configuration_block("Join=").splitlines()
    node = cluster.make_node("nodeB")
    administrator = Administrator(cluster)
    node.settings = [administrator.own(asks.removeprefix("# on the new node: "))]
    node.write_configuration()
    node.start()
    with administrator.shell() as shell:
        wait_until("nodeB is listed", lambda: any(line.startswith("nodeB ") for line in shell.run(pending)))
        assert shell.run(accept)[-1].startswith("configuration index ")
    cluster.outsiders.remove(node)
    cluster.nodes.append(node)
    assert cluster.member_roles() == {"nodeA": "voter", "nodeB": "voter"}


def test_the_log_is_cut_and_the_state_saved_as_shown(make_cluster):
    cluster = make_cluster(2)
    administrator = Administrator(cluster)
    with administrator.shell() as shell:
        [cut] = configuration_block("snapshot").splitlines()
        assert re.match(r"index \d+", shell.run(administrator.own(cut))[-1])
        save, check, pipe = configuration_block("backup").splitlines()
        saved = shell.run(administrator.own(save))[-1]
        assert re.match(r"index \d+, \d+ keys", saved)
        assert shell.run(administrator.own(check)) == [saved]
        shell.run(pipe)
        assert shell.run("raftkvctl check raftkv.backup")[-1].startswith("index ")


def test_the_examples_of_a_configuration_are_valid(directory):
    for path, heading, kind in [("README.md", "## Configuration", "ini"), ("man/raftkv.conf.5.scd", "# EXAMPLE", "")]:
        [example] = blocks(section(path, heading), kind)
        file = directory / "nodeA.conf"
        file.write_text(example)
        result = run(RAFTKVD, "nodeA", f"--config={file}", "--check-config")
        assert result.returncode == 0 and not result.stderr, result.stderr
