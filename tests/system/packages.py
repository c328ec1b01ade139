"""The packages under test: built from this repository, installed on hosts as an administrator does."""

import re
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = ("raftkv", "raftkv-client")


class Packages:
    def __init__(self, files):
        self.files = [Path(file) for file in files]  # one of each of NAMES

    def install(self, host):
        """apt finds the dependencies among what the root file system has in store."""
        for file in self.files:
            host.copy_in(file, f"/tmp/{file.name}")
        release = [] if "trixie" in host.run("cat", "/etc/os-release") else ["-t", "bookworm-backports"]
        host.run(
            "apt-get", "-y", "--no-install-recommends", *release, "install",
            *(f"/tmp/{file.name}" for file in self.files), limit=120,
        )  # fmt: skip

    def newer(self, directory):
        """The same under a higher version."""
        files = []
        directory.mkdir()
        for name, file in zip(NAMES, self.files):
            tree = directory / name
            subprocess.run(["dpkg-deb", "--raw-extract", file, tree], check=True)
            control = tree / "DEBIAN" / "control"
            control.write_text(re.sub(r"(?m)^(Version: .*)$", r"\1+newer", control.read_text()))
            files.append(directory / f"{name}_newer.deb")
            subprocess.run(["dpkg-deb", "--build", "--root-owner-group", "-Znone", tree, files[-1]],
                           check=True, stdout=subprocess.DEVNULL)  # fmt: skip
            shutil.rmtree(tree)
        return Packages(files)


def in_directory(directory):
    return Packages(next(directory.glob(f"{name}_*.deb")) for name in NAMES)


def build(directory):
    subprocess.run([REPOSITORY / "scripts/package", directory], check=True, stdout=subprocess.DEVNULL)
    return in_directory(directory)
