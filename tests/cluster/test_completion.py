"""What bash and zsh offer for a command line of raftkvctl, with a real cluster behind it."""

import os
import pty
import re
import shlex
import subprocess
import threading

import pytest
from cluster import RAFTKVCTL, environment, run
from documents import REPOSITORY
from waiting import LIMIT, wait_until

COMPLETIONS = REPOSITORY / "src/client/completion"
# As the key TAB would, but for all that is possible.
ZSH = """
autoload -Uz compinit && fpath=({completions} $fpath) && compinit -u -d {dump}
everything() {{ _main_complete; compstate[insert]=all }}
zle -C everything complete-word everything
zle-line-init() {{
    BUFFER={line} CURSOR=$#BUFFER
    zle everything
    print -r -- "$BUFFER" > {answer}
    exit
}}
zle -N zle-line-init
"""


class Completer:
    def __init__(self, node, directory):
        self.directory = directory
        self.variables = environment(
            PATH=f"{RAFTKVCTL.parent}:{os.environ['PATH']}", RAFTKV_ENDPOINTS=node.client_address, TERM="dumb"
        )


class Bash(Completer):
    def offers(self, *words):
        """What it offers for the last of these words of a command line."""
        # bash gives "=" and ":" as words of their own.
        split = [part for word in words for part in re.split(r"([=:])", word) if part or word == ""]
        line = " ".join(shlex.quote(word) for word in split)
        command = f"compopt() {{ :; }}; . {COMPLETIONS}/raftkvctl.bash; COMP_WORDS=({line}); COMP_CWORD={len(split) - 1}; "
        result = run("bash", "-c", command + '_raftkvctl; printf "%s\\n" "${COMPREPLY[@]}"', variables=self.variables)
        assert result.returncode == 0 and not result.stderr, result.stderr
        return result.stdout.split()


def drain(terminal):
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:  # its other end is closed
        pass


class Zsh(Completer):
    def offers(self, *words):
        line = " ".join(words)
        script, answer = self.directory / "complete.zsh", self.directory / "answer"
        dump = self.directory / "dump"
        script.write_text(ZSH.format(completions=COMPLETIONS, dump=dump, line=shlex.quote(line), answer=answer))
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            ["zsh", "-f", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, env=self.variables, start_new_session=True
        ) as process:
            os.close(theirs)
            reader = threading.Thread(target=drain, args=[ours])
            reader.start()
            os.write(ours, f"source {script}\n".encode())
            process.wait(LIMIT)
            reader.join()
            os.close(ours)
        completed = answer.read_text().removesuffix("\n")
        if completed == line:
            return []
        offered = shlex.split(completed)[len(words) - 1 :]
        # bash is given what stands behind "=" alone.
        return [word.partition("=")[2] or word for word in offered]


@pytest.fixture(params=[Bash, Zsh])
def completer(request, cluster, directory):
    shell = request.param.__name__.lower()
    if run("sh", "-c", f"command -v {shell}").returncode != 0:
        pytest.skip(f"{shell} is not installed")
    return request.param(cluster.nodes[0], directory)


def test_commands_and_options_are_completed(completer):
    assert completer.offers("raftkvctl", "rem") == ["remove-server"]
    assert completer.offers("raftkvctl", "--out") == ["--output="]
    assert completer.offers("raftkvctl", "--output=j") == ["json"]
    assert completer.offers("raftkvctl", "--timeout=3", "get", "--st") == ["--stale"]
    assert completer.offers("raftkvctl", "put", "--st") == []
    assert completer.offers("raftkvctl", "help", "transfer") == ["transfer-leadership"]


# raftkvctl is given a second then, so a machine under load may offer nothing at first.


def wait_until_offered(completer, words, names):
    wait_until(f"{words} is completed with {names}", lambda: sorted(completer.offers(*words)) == sorted(names))


def test_names_of_members_are_completed(cluster, completer):
    node, names = cluster.nodes[0], [member.name for member in cluster.nodes]
    wait_until_offered(completer, ["raftkvctl", "remove-server", ""], names)
    wait_until_offered(completer, ["raftkvctl", "transfer-leadership", names[1]], [names[1]])
    completer.variables["RAFTKV_ENDPOINTS"] = "127.0.0.1:1"
    wait_until_offered(completer, ["raftkvctl", f"--endpoints={node.client_address}", "demote-voter", "n"], names)
    bus = [f"--bus={cluster.bus.address}", f"--node={node.name}"]
    wait_until_offered(completer, ["raftkvctl", *bus, "remove-server", ""], names)


def test_tokens_of_operations_are_completed(cluster, completer):
    with cluster.nodes[0].client() as client:
        client.call("snapshot")
        tokens = [f"{operation.token:016x}" for operation in client.call("operations").operations]
    assert tokens
    wait_until_offered(completer, ["raftkvctl", "await", ""], tokens)
    wait_until_offered(completer, ["raftkvctl", "cancel", tokens[0][:15]], [t for t in tokens if t[:15] == tokens[0][:15]])


def test_names_of_nodes_that_ask_to_join_are_completed(cluster, completer):
    node = cluster.make_node("joiner" + type(completer).__name__)
    node.settings = [f"Join={cluster.nodes[0].peer_address}"]
    node.write_configuration()
    node.start()
    try:
        for command in ("accept", "reject"):
            wait_until_offered(completer, ["raftkvctl", command, node.name[:-2]], [node.name])
    finally:
        node.stop()
