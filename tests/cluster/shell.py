"""A shell that takes one command after the other, as that of a person who follows a document."""

import os
import re
import subprocess

from cluster import RAFTKVCTL, RAFTKVD, environment
from processes import die_with_the_tests
from waiting import LIMIT, wait_until


class Shell:
    """A bash with raftkv's programs in its path; as a context. At its end what it left in the background ends."""

    def __init__(self, directory, before="", **variables):
        self.output = directory / "shell.output"
        self.ended = 0  # commands
        self.seen = 0  # characters of what they printed
        programs = [str(program.parent) for program in (RAFTKVD, RAFTKVCTL)]
        self.variables = environment(PATH=":".join([*programs, os.environ["PATH"]]), **variables)
        self.directory = directory
        self.before = before

    def __enter__(self):
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                ["bash", "--norc", "-s"], stdin=subprocess.PIPE, stdout=output, stderr=output, text=True,
                cwd=self.directory, env=self.variables, preexec_fn=die_with_the_tests,
            )  # fmt: skip
        self.run(self.before)
        return self

    def run(self, command):
        """Runs it to its end, and returns the lines that it printed."""
        self.ended += 1
        self.process.stdin.write(f"{command}\nprintf '\\nended {self.ended}\\n'\n")
        self.process.stdin.flush()
        mark = f"\nended {self.ended}\n"

        def printed():
            assert self.process.poll() is None, self.output.read_text()
            said = self.output.read_text()[self.seen :]
            return mark in said and said

        said = wait_until(f"{command} has ended", printed, LIMIT)
        self.seen += len(said)
        return said.removesuffix(mark).splitlines()

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(LIMIT)
            raise
