#!/usr/bin/python3
"""What systemd reads: the unit is sound and closed, and the catalog explains every message id.

test_units.py UNIT TARGET CATALOG IDS RAFTKVD"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

EXPOSURE_MAX = 15  # tenths


def run(*command, **variables):
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8", **variables}
    )
    return result.returncode, result.stdout + result.stderr


def check_exposure(unit):
    status, text = run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", unit)
    print(text.strip().splitlines()[-1])
    assert status == 0, text


def check_soundness(directory, unit, target):
    status, text = run(
        "systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit, target,
        SYSTEMD_UNIT_PATH=f"{directory}:",
    )  # fmt: skip
    assert status == 0 and not text, text


def check_catalog(catalog, ids):
    """Each id is explained once, with a subject and a text."""
    defined = re.findall(r'MESSAGE_\w+ "MESSAGE_ID=(.*)"', ids.read_text())
    entries = re.split(r"^-- ", catalog.read_text(), flags=re.MULTILINE)[1:]
    explained = [entry.split()[0] for entry in entries]
    assert defined and all(re.fullmatch("[0-9a-f]{32}", one) for one in defined), defined
    assert len(set(defined)) == len(defined), "an id is used twice"
    assert explained == defined, set(explained) ^ set(defined)
    for entry in entries:
        header, text = entry.split("\n\n", 1)
        assert "\nSubject: " in header and text.strip(), entry


def main():
    unit, target, catalog, ids, raftkvd = (Path(argument) for argument in sys.argv[1:])
    with tempfile.TemporaryDirectory() as directory:
        instance = Path(directory) / "raftkv@nodeA.service"
        text = unit.read_text()
        # The daemon that was built stands in for the one that is not installed.
        instance.write_text(re.sub(r"=/\S*/raftkvd ", f"={raftkvd.resolve()} ", text))
        shutil.copy(target, directory)
        check_exposure(instance)
        check_soundness(directory, instance, Path(directory) / target.name)
    check_catalog(catalog, ids)


if __name__ == "__main__":
    main()
