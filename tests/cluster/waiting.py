"""Waiting for conditions, with a bound. Nothing here, and no test, waits for a fixed time."""

import os
import subprocess
import time
from pathlib import Path

BUILD = Path(os.environ.get("RAFTKV_BUILD", "build-test")).resolve()


def _is_sanitized():
    """Whether the programs under test carry AddressSanitizer, which makes them slower."""
    daemon = BUILD / "src/daemon/raftkvd"
    if not daemon.exists():
        return False
    return "libasan" in subprocess.run(["ldd", daemon], capture_output=True, text=True).stdout


SANITIZED = _is_sanitized()
# Only a test that fails waits that long. Generous, because the machine may have much else to do.
LIMIT = 300 if SANITIZED else 180

# For tests in which leadership moves only as they say: on a machine that has much else to do a leader
# may be silent for a second.
PATIENT = ("[Raft]", "ElectionTimeoutSec=5s")


class GaveUp(AssertionError):
    pass


def wait_until(what, condition, limit=LIMIT, interval=0.02):
    """Returns the first true value of condition(). A node that can't be reached or that refuses an
    answer counts as "not yet"."""
    from client import Refused

    end = time.monotonic() + limit
    reason = "the condition stayed false"
    while True:
        try:
            value = condition()
            if value:
                return value
        except (OSError, EOFError, Refused) as error:
            reason = repr(error)
        if time.monotonic() >= end:
            raise GaveUp(f"waited {limit} s in vain until {what}: {reason}")
        time.sleep(interval)
