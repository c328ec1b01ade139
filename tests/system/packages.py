"""The packages under test: built from this repository, installed on hosts as an administrator does."""

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = ("raftkv", "raftkv-client")
NEWER = "+newer"  # what scripts/package --newer adds to the version


class Packages:
    def __init__(self, files, newer=None):
        self.files = files  # one of each of NAMES
        self.newer = newer  # the same packages of a higher version, with programs that say so

    def install(self, host):
        """apt finds the dependencies among what the root file system has in store."""
        for file in self.files:
            host.copy_in(file, f"/tmp/{file.name}")
        release = [] if "trixie" in host.run("cat", "/etc/os-release") else ["-t", "bookworm-backports"]
        host.run(
            "apt-get", "-y", "--no-install-recommends", *release, "install",
            *(f"/tmp/{file.name}" for file in self.files), limit=120,
        )  # fmt: skip


def in_directory(directory):
    """What scripts/package --newer has put there."""
    files = [file for name in NAMES for file in directory.glob(f"{name}_*.deb")]
    newer = [file for file in files if NEWER in file.name]
    assert len(files) == 2 * len(newer) == 2 * len(NAMES), f"{directory} is not from scripts/package --newer: {files}"
    return Packages([file for file in files if file not in newer], Packages(newer))


def build(directory):
    subprocess.run([REPOSITORY / "scripts/package", directory, "--newer"], check=True, stdout=subprocess.DEVNULL)
    return in_directory(directory)
