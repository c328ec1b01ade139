"""The examples of the manual pages, and the completion of raftkvctl, with a real cluster behind them."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from cluster import RAFTKV_BENCH, RAFTKVCTL, environment, run
from waiting import LIMIT

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = ["man/raftkvctl.1.scd", "man/raftkv-bench.1.scd", "man/dbus_page.py"]


def examples(page):
    """Each command of the page's examples, with the lines that it shows as the output."""
    _, _, section = (REPOSITORY / page).read_text().partition("\n# EXAMPLES\n")
    lines = [line for block in re.findall(r"```\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    commands = []
    for line in lines:
        if line.startswith("$ "):
            commands.append((line[2:], []))
        else:
            commands[-1][1].append(line)
    assert commands, f"{page} has no examples"
    return commands


def form(line):
    """A line without what differs from run to run."""
    line = re.sub(r"\b[0-9a-f]{16}\b", "ID", line)
    return re.sub(r"\s+", " ", re.sub(r"\d+([.,]\d+)*", "N", line)).strip()


def shell(command, node, directory):
    programs = [str(RAFTKVCTL.parent), str(RAFTKV_BENCH.parent), os.environ["PATH"]]
    variables = environment(
        PATH=":".join(programs),
        RAFTKV_ENDPOINTS=node.client_address,
        BUS=node.bus.address,
        NODE=node.name,
    )
    return subprocess.run(
        ["bash", "-c", command.replace("127.0.0.1:4711", node.client_address)],
        cwd=directory,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LIMIT,
        text=True,
    )


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_give_what_it_shows(cluster, tmp_path, page):
    for command, shown in examples(page):
        result = shell(command, cluster.nodes[0], tmp_path)
        assert result.returncode == 0, f"{command}: {result.stdout}"
        assert [form(line) for line in result.stdout.splitlines()] == [form(line) for line in shown], command


def complete(node, *words):
    """What bash offers for the last of these words of a command line."""
    script = REPOSITORY / "src/client/completion/raftkvctl.bash"
    # bash gives "=" as a word of its own.
    split = [part for word in words for part in re.split(r"(=)", word) if part or word == ""]
    quoted = " ".join(f"'{word}'" for word in split)
    command = f"compopt() {{ :; }}; . {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(split) - 1}; _raftkvctl; "
    result = shell(command + 'printf "%s\\n" "${COMPREPLY[@]}"', node, "/")
    assert result.returncode == 0, result.stdout
    return result.stdout.split()


def test_bash_completes_commands_options_and_members(cluster):
    node = cluster.nodes[0]
    names = [member.name for member in cluster.nodes]
    assert complete(node, "raftkvctl", "rem") == ["remove-server"]
    assert complete(node, "raftkvctl", "--out") == ["--output="]
    assert complete(node, "raftkvctl", "--output=j") == ["json"]
    assert complete(node, "raftkvctl", "--timeout=3", "get", "--st") == ["--stale"]
    assert complete(node, "raftkvctl", "put", "--st") == []
    assert sorted(complete(node, "raftkvctl", "remove-server", "")) == names
    assert complete(node, "raftkvctl", "transfer-leadership", names[1]) == [names[1]]
    here = f"--endpoints={node.client_address}"
    assert sorted(complete(node, "raftkvctl", here, "demote-voter", "n")) == names


@pytest.mark.skipif(run("sh", "-c", "command -v zsh").returncode != 0, reason="zsh is not installed")
def test_zsh_takes_the_completion(cluster):
    script = REPOSITORY / "src/client/completion/_raftkvctl"
    result = run("zsh", "-n", script)
    assert result.returncode == 0 and not result.stderr, result.stderr
