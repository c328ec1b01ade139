"""Booted hosts on a bridge: systemd-nspawn with the root file system of roots.py under an overlay,
so each has a disk of its own, which stays when it is powered off."""

import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from isolation import CGROUPS, make_cgroup

BRIDGE = "raftkv0"
NETWORK = "10.77.0"
LIMIT = 120  # seconds; only a test that fails waits that long
# As on any host with a fixed address: there before what waits for the network is started.
NETWORK_UNIT = """[Unit]
Description=The address of this host
Before=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip link set host0 address {link}
ExecStart=ip address add {address}/24 dev host0
ExecStart=ip link set host0 up
"""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Failed(AssertionError):
    """A command on a host ended with another status than 0."""

    def __init__(self, command, result):
        self.status = result.returncode
        self.output = result.stdout + result.stderr
        super().__init__(f"{shlex.join(command)} ended with {self.status}:\n{self.output}")


def wait_until(what, condition, limit=LIMIT):
    """Returns the first true value of condition(); a command that fails counts as "not yet"."""
    end = time.monotonic() + limit
    reason = "the condition stayed false"
    while True:
        try:
            value = condition()
            if value:
                return value
        except (Failed, subprocess.TimeoutExpired) as error:
            reason = str(error)
        if time.monotonic() >= end:
            raise AssertionError(f"waited {limit} s in vain until {what}: {reason}")
        time.sleep(0.1)


def make_network():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True)
    subprocess.run(["ip", "link", "set", BRIDGE, "up"], check=True)


class Host:
    def __init__(self, work, root, number):
        self.work = work
        self.number = number
        self.name = f"host{number}"
        self.address = f"{NETWORK}.{10 + number}"
        self.link = f"52:54:00:77:00:{10 + number:02x}"
        self.process = None  # of systemd-nspawn
        self.pid = None  # of the host's process 1
        self.directory = work / self.name
        for part in ("upper", "work", "root"):
            (self.directory / part).mkdir(parents=True)
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o",
             f"lowerdir={root},upperdir={self.directory}/upper,workdir={self.directory}/work",
             self.directory / "root"],
            check=True,
        )  # fmt: skip
        self._configure_network()

    def _configure_network(self):
        units = self.directory / "root/etc/systemd/system"
        (units / "host0.service").write_text(NETWORK_UNIT.format(link=self.link, address=self.address))
        for target in ("multi-user.target", "network-online.target"):
            (units / f"{target}.wants").mkdir(exist_ok=True)
            (units / f"{target}.wants/host0.service").symlink_to("../host0.service")

    # Power

    def boot(self):
        cgroup = make_cgroup(self.work, self.name)
        with (self.directory / "console").open("ab") as console:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--boot", f"--directory={self.directory}/root",
                 f"--machine={self.name}", f"--network-bridge={BRIDGE}", "--register=no", "--keep-unit",
                 "--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=pipe"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                preexec_fn=lambda: (cgroup / "cgroup.procs").write_text(str(os.getpid())),
            )  # fmt: skip
        self.pid = wait_until(f"{self.name} has a process 1", self._find_init)
        wait_until(f"{self.name} is up", lambda: self.run("systemctl", "is-system-running", ok=(0, 1)).strip()
                   in ("running", "degraded"))  # fmt: skip

    def _find_init(self):
        assert self.process.poll() is None, self.console()
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        named = [int(pid) for pid in children if self._is_init(pid)]
        return named[0] if named else None

    def _is_init(self, pid):
        try:
            return Path(f"/proc/{pid}/comm").read_text() == "systemd\n"
        except (FileNotFoundError, ProcessLookupError):
            return False  # systemd-nspawn's helper on the way there, which has just ended

    def is_on(self):
        return self.process is not None and self.process.poll() is None

    def power_off(self):
        """As pulling the plug: no process gets to say anything."""
        subprocess.run(["kill", "-KILL", str(self.pid)], check=True)
        self.process.wait(LIMIT)

    def scrap(self):
        """The host with its disk is gone."""
        if self.is_on():
            self.power_off()
        subprocess.run(["umount", self.directory / "root"], check=True)
        shutil.rmtree(self.directory)

    def console(self):
        return (self.directory / "console").read_text(errors="replace")

    # Commands

    def enter(self, *command):
        """The command line that runs a command on the host, as root."""
        return ["nsenter", f"--target={self.pid}", "--all", "--", "env", "-i", f"PATH={PATH}", "HOME=/root",
                "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", *map(str, command)]  # fmt: skip

    def run(self, *command, ok=(0,), user=None, limit=LIMIT, input=None):
        """Runs a command to its end and returns what it printed."""
        words = [str(word) for word in command]
        if user:
            words = ["runuser", "-u", user, "--", *words]
        result = subprocess.run(
            self.enter(*words), capture_output=True, text=True, timeout=limit, input=input,
            stdin=subprocess.DEVNULL if input is None else None,
        )  # fmt: skip
        if result.returncode not in ok:
            raise Failed(words, result)
        return result.stdout

    def fails(self, *command, **options):
        """Runs a command that has to fail, and returns how."""
        try:
            output = self.run(*command, **options)
        except Failed as failure:
            return failure
        raise AssertionError(f"{shlex.join(map(str, command))} succeeded: {output}")

    def write(self, path, text):
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", path, input=text)

    def copy_in(self, file, path):
        with open(file, "rb") as source:
            subprocess.run(self.enter("sh", "-c", 'cat > "$1"', "sh", path), stdin=source, check=True)

    # Units and the journal

    def main_process(self, unit):
        """The id of a unit's only process, as it is outside of the host."""
        [group] = (CGROUPS / self.work.name / self.name).rglob(unit)
        return int((group / "cgroup.procs").read_text())

    def show(self, unit, name):
        return self.run("systemctl", "show", "--property", name, "--value", unit).strip()

    def journal(self, *arguments):
        return self.run("journalctl", "--no-pager", "--output=cat", "--quiet", *arguments, ok=(0, 1))

    # The network

    def take_address(self, address):
        """Instead of the one that it has."""
        self.run("ip", "address", "del", f"{self.address}/24", "dev", "host0")
        self.address = address
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "host0")

    def cut_to(self, other):
        """What this host sends to the other one gets lost: it goes to an address that nobody has."""
        self.run("ip", "neighbour", "replace", other.address, "lladdr", "52:54:00:77:ff:ff", "nud", "permanent",
                 "dev", "host0")  # fmt: skip

    def mend_to(self, other):
        self.run("ip", "neighbour", "del", other.address, "dev", "host0", ok=(0, 1, 2))
