"""The root file system that hosts are booted from: made once with debootstrap, kept in a cache.

Hosts have no way to the network outside. So what the packages under test depend on is downloaded
when the root is made, and waits in apt's cache for a host to install it."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("RAFTKV_CACHE", "/var/cache/raftkv-tests"))
MIRROR = "http://deb.debian.org/debian"
# What a small server has.
INCLUDED = ["systemd-sysv", "dbus", "iproute2", "polkitd", "procps"]
# What the cluster tests need, which run on a host too (test_cluster_suite.py).
FOR_TESTS = ["protobuf-compiler", "python3-protobuf", "python3-pytest", "python3-pytest-xdist"]
# What raftkv and raftkv-client depend on; Debian 13's longer names provide these.
DEPENDENCIES = ["libdb5.3", "libinih1", "libjson-c5", "libprotobuf-c1", "libraft0", "libuv1"]


def codename():
    """Of this machine: the packages are built on it, so the hosts run the same Debian."""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.split("=")[1]
    raise RuntimeError("/etc/os-release names no VERSION_CODENAME")


def _run(*command):
    """What it prints is of interest only when it fails."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if result.returncode != 0:
        print(result.stdout[-4000:], file=sys.stderr)
        raise subprocess.CalledProcessError(result.returncode, command)


def _in_root(root, script, *arguments):
    inside = ["unshare", "--mount", "--pid", "--fork", f"--mount-proc={root}/proc", "chroot", root]
    environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"]
    _run(*inside, *environment, "sh", "-ec", script, "sh", *arguments)


def _prepare(suite, root):
    _run("debootstrap", "--variant=minbase", suite, root, MIRROR)
    release = []
    if suite == "bookworm":
        release = ["-t", "bookworm-backports"]
        backports = root / "etc/apt/sources.list.d/backports.list"
        backports.write_text(f"deb {MIRROR} bookworm-backports main\n")
    for name in ("resolv.conf", "hosts"):
        shutil.copyfile(f"/etc/{name}", root / "etc" / name)
    install = 'apt-get -qq -y --no-install-recommends "$@"'
    _in_root(root, "apt-get -qq update")
    _in_root(root, install, "install", *INCLUDED, *FOR_TESTS)
    _in_root(root, "apt-get clean")
    _in_root(root, install, "--download-only", *release, "install", *DEPENDENCIES)
    for name in ("resolv.conf", "hosts", "hostname", "machine-id"):
        (root / "etc" / name).write_text("")


def pristine_root():
    """The path of a root file system that is never written to; made now if it is not there."""
    suite = codename()
    recipe = Path(__file__).read_bytes() + suite.encode()
    root = CACHE / f"{suite}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            unfinished = CACHE / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            print(f"system: making a root file system in {root}, which takes minutes", flush=True)
            _prepare(suite, unfinished)
            unfinished.rename(root)
    return root


if __name__ == "__main__":
    print(pristine_root())
