"""The examples of the manual pages, with a real cluster behind them."""

import os
import subprocess

import pytest
from cluster import RAFTKV_BENCH, RAFTKVCTL, environment
from documents import blocks, commands, form, section
from waiting import LIMIT

PAGES = ["man/raftkvctl.1.scd", "man/raftkv-bench.1.scd", "man/dbus_page.py"]


def examples(page):
    """Each command of the page's examples, with the lines that it shows as the output."""
    listed = blocks(section(page, "# EXAMPLES"))
    return [(command, shown) for block in listed for _, command, shown in commands(block)]


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
