"""Load for the long tests: many writes by raftkv-bench, or so many a second by a thread."""

import json
import random
import select
import threading
import time

from client import Client
from cluster import RAFTKV_BENCH, run
from protocol import raftkv
from waiting import LIMIT


def _bench(cluster, *words, timeout):
    endpoints = ",".join(node.client_address for node in cluster.running())
    command = [RAFTKV_BENCH, *words, f"--endpoints={endpoints}", "--leader", "--output=json"]
    result = run(*command, timeout=timeout)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def fill(cluster, keys, value_size):
    """Writes each key once, hundreds at a time."""
    words = ["get", f"--keys={keys}", f"--value-size={value_size}", "--consistency=stale"]
    _bench(cluster, *words, "--seconds=0.1", "--warmup=0", timeout=600 + keys // 300)


def overwrite(cluster, writes, keys, value_size, limit):
    """Overwrites random keys, until there are so many writes or `limit` seconds are over. Returns
    how many there were."""
    leader = cluster.leader()
    first = leader.status().applied_index
    end = time.monotonic() + limit
    seed = 0
    while (done := leader.status().applied_index - first) < writes and time.monotonic() < end:
        seed += 1
        seconds = 20 if writes - done > 500000 else 5
        words = ["put", f"--keys={keys}", f"--value-size={value_size}", "--clients=256"]
        result = _bench(
            cluster, *words, f"--seconds={seconds}", "--warmup=0", f"--seed={seed}",
            timeout=seconds + 60,
        )  # fmt: skip
        assert not result["errors"], result["errors"]
    return done


class SteadyLoad:
    """A thread that overwrites random keys, so many a second whether or not answers come, and notes
    how long each took from when it was due."""

    def __init__(self, node, rate, keys, value_size):
        self.client = Client(node.client_port)
        self.rate = rate
        self.keys = keys
        self.value = b"v" * value_size
        self.due = {}  # id -> when it was due
        self.samples = []  # (when due, how long it took)
        self.errors = []
        self.failure = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.start = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        self.client.close()
        self.seconds = time.monotonic() - self.start

    def achieved(self):
        """Acknowledged writes a second. For when the load has ended."""
        return len(self.samples) / self.seconds

    def _run(self):
        try:
            while not self.stopping.is_set():
                self._write_what_is_due()
                self._read(max(0, self._next_due() - time.monotonic()))
            while self.due and self._read(LIMIT):
                pass
        except Exception as error:  # shown by whoever looks, in the main thread
            self.failure = repr(error)

    def _next_due(self):
        return self.start + self.client.last_id / self.rate

    def _write_what_is_due(self):
        while (due := self._next_due()) <= time.monotonic() and len(self.due) < 1000:
            key = b"key-%010d" % random.randrange(self.keys)
            self.due[self.client.send("put", key=key, value=self.value)] = due

    def _read(self, seconds):
        """Reads an answer that comes within so many seconds. Returns whether there was one."""
        if not select.select([self.client.socket], [], [], seconds or 0.0005)[0]:
            return False
        response = raftkv.Response.FromString(self.client.receive_frame())
        due = self.due.pop(response.id)
        if response.HasField("error"):
            self.errors.append(response.error.message)
        else:
            self.samples.append((due, time.monotonic() - due))
        return True
