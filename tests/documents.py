"""The documents of this repository as their readers use them: what they tell to do, and what they show of it."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def section(path, heading):
    """What stands below a heading of a document, such as "## Title", down to the next one of its rank."""
    _, found, rest = (REPOSITORY / path).read_text().partition(f"\n{heading}\n")
    assert found, f"{path} has no heading {heading!r}"
    return rest.partition(f"\n{heading.split()[0]} ")[0]


def blocks(text, kind=""):
    """The blocks of this kind in a text: console, ini, or none said."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    found = [block for said, block in fenced if said == kind]
    assert found, f"there is no block {kind}"
    return found


def commands(block):
    """Each command of a block, with its prompt ("#": root's) and the lines that are shown as its output."""
    found = []
    for line in block.splitlines():
        if line.startswith(("$ ", "# ")):
            found.append((line[0], line[2:], []))
        else:
            found[-1][2].append(line)
    return found


def form(line):
    """A line without what differs from run to run: ids, numbers and the width of columns."""
    line = re.sub(r"\b[0-9a-f]{16}\b", "ID", line)
    return " ".join(re.sub(r"\d+([.,]\d+)*", "N", line).split())


def journal_fields():
    """Of each kind of message in the journal: its id, and the names of its fields, as raftkvd(8) says."""
    listed = re.findall(r"^_([0-9a-f]{32})_\n\t(.*)$", section("man/raftkvd.8.scd", "# JOURNAL"), re.MULTILINE)
    return {message_id: re.findall(r"RAFTKV_[A-Z_]+", text) for message_id, text in listed}
