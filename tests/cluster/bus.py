"""A private dbus-daemon, and calls over it with the usual tools."""

import json
import re
import shutil
import subprocess

from cluster import environment, make_directory, run
from processes import die_with_the_tests
from waiting import LIMIT, wait_until

OBJECT = "/org/raftkv1"
CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={directory}/bus</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class BusError(Exception):
    def __init__(self, name, message):
        self.name = name.removeprefix("org.raftkv1.Error.")
        self.message = message
        super().__init__(f"{name}: {message}")


class Bus:
    def __init__(self):
        self.directory = make_directory()
        self.socket = self.directory / "bus"
        self.address = f"unix:path={self.socket}"
        configuration = self.directory / "bus.conf"
        configuration.write_text(CONFIGURATION.format(directory=self.directory))
        self.launch()

    def launch(self):
        configuration = self.directory / "bus.conf"
        self.process = subprocess.Popen(
            ["dbus-daemon", f"--config-file={configuration}", "--nofork", "--nopidfile"],
            preexec_fn=die_with_the_tests,
        )
        wait_until("the bus answers", lambda: self.busctl("list").returncode == 0)

    def kill(self):
        self.process.kill()
        self.process.wait(LIMIT)
        self.socket.unlink(missing_ok=True)

    def close(self):
        self.process.terminate()
        self.process.wait(LIMIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def busctl(self, *arguments, **options):
        return run("busctl", f"--address={self.address}", *arguments, **options)

    def call(self, node, method, signature="", *arguments, at=OBJECT, timeout=LIMIT):
        """Calls a method such as "KV.Put" as people do, with busctl. Returns what it returns."""
        interface, member = method.split(".")
        result = self.busctl(
            "--json=short", f"--timeout={timeout}", "call", f"org.raftkv1.{node}", at,
            f"org.raftkv1.{interface}", member, *([signature] if signature else []), "--",
            *arguments,
            timeout=timeout + 10,
        )  # fmt: skip
        if result.returncode != 0:
            raise BusError("", result.stderr)
        return json.loads(result.stdout)["data"] if result.stdout.strip() else []

    def error(self, node, method, *arguments, at=OBJECT):
        """Calls a method with dbus-send (arguments as "string:x"), which has to fail: returns the
        error with its name, which busctl does not show."""
        result = run(
            "dbus-send", f"--bus={self.address}", "--print-reply",
            f"--reply-timeout={LIMIT * 1000}",
            f"--dest=org.raftkv1.{node}", at, f"org.raftkv1.{method}", *arguments,
        )  # fmt: skip
        assert result.returncode != 0, result.stdout
        name, message = re.match(r"Error ([\w.]+): (.*)", result.stderr, re.DOTALL).groups()
        return BusError(name, message.strip())

    def managed_objects(self, node):
        """The objects below that of a node, with their interfaces and properties."""
        result = self.busctl(
            "--json=short", "call", f"org.raftkv1.{node}", OBJECT,
            "org.freedesktop.DBus.ObjectManager", "GetManagedObjects",
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)["data"][0]

    def property(self, node, name, interface="Node", at=OBJECT):
        result = self.busctl(
            "--json=short", "get-property", f"org.raftkv1.{node}", at, f"org.raftkv1.{interface}", name
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)["data"]

    def start(self, *arguments):
        """Starts busctl without waiting for its end."""
        return subprocess.Popen(
            ["busctl", f"--address={self.address}", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            preexec_fn=die_with_the_tests,
        )
