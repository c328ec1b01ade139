"""A place of its own for the hosts: the tests run in namespaces of their own for the network,
mounts and processes. Whatever ends them, hosts, bridge and file systems end with the namespaces;
only an empty directory and empty cgroups are left to remove."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORK = "RAFTKV_SYSTEM_WORK"  # names the directory for everything, when the tests are isolated
CGROUPS = Path("/sys/fs/cgroup")
CGROUP = "raftkv-system."


def why_not():
    """Why hosts can't be booted here, or None."""
    if os.geteuid() != 0:
        return "booting hosts needs root"
    for program in ("systemd-nspawn", "debootstrap", "unshare", "nsenter", "ip", "strace", "dpkg-buildpackage"):
        if not shutil.which(program):
            return f"{program} is missing: scripts/deps system installs it"
    trial = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c",
         "ip link add raftkv-try type bridge && mount -t tmpfs tmpfs /mnt && mount -t cgroup2 none /mnt"],
        capture_output=True, text=True,
    )  # fmt: skip
    if trial.returncode != 0:
        return f"this machine allows no hosts: {trial.stderr.strip()}"
    return None


def _remove_cgroups(name):
    """They are free when the last process of the hosts is gone, a moment after it was killed."""
    end = time.monotonic() + 30
    for hierarchy in (CGROUPS, CGROUPS / "unified"):
        for directory, _, _ in os.walk(hierarchy / name, topdown=False):
            while True:
                try:
                    os.rmdir(directory)
                    break
                except OSError:
                    if time.monotonic() >= end:
                        raise
                    time.sleep(0.05)


def _end(number, frame):
    raise KeyboardInterrupt


def _die_with_the_parent():
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(*command):
    """Runs a command in the place of its own. Returns its exit status."""
    work = tempfile.mkdtemp(prefix=CGROUP, dir="/var/tmp")
    signal.signal(signal.SIGTERM, _end)
    place = subprocess.Popen(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *command],
        env={**os.environ, WORK: work},
        preexec_fn=_die_with_the_parent,
    )
    try:
        return place.wait()
    except KeyboardInterrupt:
        return 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # which often come twice
            signal.signal(number, signal.SIG_IGN)
        place.kill()  # and all in it with it
        place.wait()
        _remove_cgroups(Path(work).name)
        os.rmdir(work)


def enter():
    """To be called first inside: mounts what belongs to this place alone. Returns the directory for
    everything, which is in memory."""
    work = Path(os.environ[WORK])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4G,mode=755", "tmpfs", work], check=True)
    if subprocess.run(["findmnt", "-t", "cgroup2", CGROUPS], capture_output=True).returncode != 0:
        # cgroups of the first version: a view of the second one, which the hosts need.
        subprocess.run(["umount", "--recursive", "--lazy", CGROUPS], check=True)
        subprocess.run(["mount", "-t", "cgroup2", "none", CGROUPS], check=True)
    return work


def make_cgroup(work, name):
    """A cgroup for one host."""
    path = CGROUPS / work.name / name
    path.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
