"""Figures that the long tests measure: printed at the end of the run, and kept beside the programs
that were tested, one JSON object a line, so that runs can be compared."""

import json
import os
import time
from pathlib import Path

from waiting import BUILD, SANITIZED

FILE = BUILD / "long-figures.jsonl"
recorded = []


def record(test, long, **figures):
    """Keeps what `test` measured, in its long or its short form."""
    entry = {"test": test, "form": "long" if long else "short", **figures}
    recorded.append(entry)
    load = round(os.getloadavg()[0], 1)
    when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    with FILE.open("a") as file:
        file.write(json.dumps({"at": when, "load": load, "sanitized": SANITIZED, **entry}) + "\n")


def lines():
    """What was recorded, as a table."""
    for entry in recorded:
        title = f"{entry['test']} ({entry['form']})"
        for name, value in entry.items():
            if name not in ("test", "form"):
                yield f"{title:<40}{name:<20}{value:>12}"
                title = ""


class Peak:
    """The largest resident memory of a node's process from now on, which the kernel notes."""

    def __init__(self, node):
        self.process = Path(f"/proc/{node.process.pid}")
        (self.process / "clear_refs").write_text("5")  # the peak begins anew: proc(5)
        self.start = self.peak()

    def peak(self):
        for line in (self.process / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the process has no memory")

    def growth(self):
        return self.peak() - self.start


def disk_use(directory):
    """Bytes that the files below a directory take on the disk."""
    total = 0
    for path in directory.rglob("*"):
        try:
            status = path.stat()
        except FileNotFoundError:  # the node has just removed it
            continue
        total += max(status.st_blocks * 512, status.st_size if path.is_file() else 0)
    return total


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))]
