"""Carries out the commands that README.md gives for a disaster, on the nodes of a test."""

from cluster import RAFTKVCTL, RAFTKVD, run
from documents import blocks, section


class Operator:
    """Who reads README.md: its addresses, files and names become those of the test."""

    def __init__(self, cluster, backup=None):
        self.cluster = cluster
        self.backup = backup

    def carry_out(self, heading):
        """Returns what each command printed."""
        [block] = blocks(section("README.md", f"### {heading}"))
        return [self._command(line.split()) for line in block.splitlines()]

    def _command(self, words):
        if words[:2] == ["rm", "-rf"]:
            return self._node_of(words[2].removeprefix("/var/lib/raftkv/")).remove_data()
        if words[0] == "raftkvctl":
            return self._raftkvctl(words[1:])
        assert words[0] == "raftkvd", words
        node = self._node_of(words[-1])
        if len(words) == 2:
            return node.start()
        options = [self._with_backup(word) for word in words[1:-1]]
        if "--recover" in options:
            options.append("--yes")  # a person is asked
        return raftkvd(node, *options)

    def _with_backup(self, word):
        return word.replace("/srv/raftkv.backup", str(self.backup))

    def _raftkvctl(self, words):
        if words[0] == "add-voter":
            words[2] = self._node_of(words[1]).peer_address
        running = [n.client_address for n in self.cluster.nodes if n.is_running()]
        where = [f"--endpoints={','.join(running)}"] if running else []
        result = run(RAFTKVCTL, *where, *[self._with_backup(word) for word in words])
        assert result.returncode == 0, result.stderr
        return result.stdout

    def _node_of(self, name):
        return self.cluster.node(name)


def raftkvd(node, *options, status=0, **keywords):
    """Runs one of the tools on a node's directory; returns what it said on stdout and stderr."""
    result = run(RAFTKVD, f"--config={node.configuration}", *options, node.name, **keywords)
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout + result.stderr
