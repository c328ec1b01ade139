"""A program on a terminal of its own, as an administrator sees it."""

import os
import pty
import subprocess

from cluster import assert_no_complaint, environment
from processes import die_with_the_tests
from waiting import LIMIT, wait_until


class Terminal:
    """Runs a program, which has to end well; as a context."""

    def __init__(self, *command):
        self.command = [str(word) for word in command]
        self.text = ""

    def __enter__(self):
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            self.command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(), preexec_fn=die_with_the_tests
        )
        os.close(theirs)
        os.set_blocking(self.ours, False)
        return self

    def read(self):
        """What it has shown so far, with what steers the terminal."""
        try:
            while part := os.read(self.ours, 65536):
                self.text += part.decode(errors="replace")
        except OSError:
            pass  # no more for now, or it has ended
        return self.text

    def wait(self):
        """Waits until the program has ended, and returns all that it has shown."""
        wait_until(f"{self.command[0]} has ended", lambda: self.read() and self.process.poll() is not None, LIMIT)
        assert_no_complaint(self.read())
        assert self.process.returncode == 0, self.text
        return self.text

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT)
        os.close(self.ours)
