"""The processes of nodes: children of the tests, or, where RAFTKV_AS_UNITS is set, units of the systemd
that runs the machine: raftkv@.service as it is installed, but for what a test has to decide itself."""

import contextlib
import ctypes
import os
import shlex
import subprocess
import time
import uuid
from pathlib import Path
from signal import SIGKILL, Signals

import pytest

AS_UNITS = "RAFTKV_AS_UNITS" in os.environ

_libc = ctypes.CDLL(None, use_errno=True)

# What each node is told comes from a script of its name. The tests own the directories, so the nodes
# are root, though without capabilities; and nobody but the tests starts them again. systemd forgets how a
# unit has ended at once when it was well, so that is noted beside the script.
_UNIT = "raftkv-test@"
_DROP_IN = """[Unit]
PartOf=
[Service]
ExecStart=
ExecStart=/bin/sh {scripts}/%i
ExecReload=
ExecStopPost=/bin/sh -c 'echo $EXIT_CODE $EXIT_STATUS > {scripts}/%i.end~ && mv {scripts}/%i.end~ {scripts}/%i.end'
Restart=no
User=
StateDirectory=
ConfigurationDirectory=
ReadWritePaths={writable}
"""


def die_with_the_tests():
    PR_SET_PDEATHSIG = 1
    _libc.prctl(PR_SET_PDEATHSIG, SIGKILL)


def start_process(command, output, environment, wrapper=()):
    """Starts a command that writes to the file `output`. What is returned has pid, poll(), wait(),
    send_signal() and kill() of subprocess.Popen."""
    words = [str(word) for word in [*wrapper, *command]]
    if AS_UNITS and (wrapper or "NOTIFY_SOCKET" in environment):
        pytest.skip("this test stands in for systemd, or for the machine, itself")
    if AS_UNITS:
        return _Unit(words, output, environment)
    with output.open("ab") as file:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, preexec_fn=die_with_the_tests
        )


def _systemctl(*words):
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=True).stdout


def _scripts():
    """Where the scripts are; the unit is made together with it, once for all runs of the tests."""
    base = Path(os.environ["TMPDIR"])
    scripts = base / "units"
    installed = Path(_systemctl("show", "--property=FragmentPath", "--value", "raftkv@x.service").strip())
    unit = Path(f"/run/systemd/system/{_UNIT}.service")
    drop_in = Path(f"{unit}.d/test.conf")
    scripts.mkdir(exist_ok=True)
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    drop_in.write_text(_DROP_IN.format(scripts=scripts, writable=base))
    unit.write_text(installed.read_text())
    _systemctl("daemon-reload")
    return scripts


class _Unit:
    scripts = None

    def __init__(self, words, output, environment):
        _Unit.scripts = _Unit.scripts or _scripts()
        name = uuid.uuid4().hex
        self.unit = f"{_UNIT}{name}.service"
        self.script = _Unit.scripts / name
        self.end = _Unit.scripts / f"{name}.end"
        self.returncode = None
        kept = ("TMPDIR", "LC_ALL", "DBUS_SYSTEM_BUS_ADDRESS")
        exports = [f"export {key}={shlex.quote(environment[key])}" for key in kept if key in environment]
        self.script.write_text("\n".join([*exports, f"exec {shlex.join(words)} >> {output} 2>&1"]) + "\n")
        _systemctl("start", "--no-block", self.unit)
        while (pid := self._main_pid()) == 0 and not self.end.exists():
            time.sleep(0.01)
        self.pid = pid

    def _main_pid(self):
        return int(_systemctl("show", "--property=ExecMainPID", "--value", self.unit).strip())

    def poll(self):
        if self.returncode is None and self.end.exists():
            how, status = self.end.read_text().split()
            self.returncode = int(status) if how == "exited" else -Signals[f"SIG{status}"]
            self.end.unlink()
            self.script.unlink()
        return self.returncode

    def wait(self, timeout=None):
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.unit, timeout)
            time.sleep(0.02)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and that is not noted yet
                os.kill(self.pid, number)

    def kill(self):
        self.send_signal(SIGKILL)
