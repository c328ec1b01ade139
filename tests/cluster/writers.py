"""Clients that write at the same time and remember what they were told."""

import threading

from client import Client, Refused, is_retriable


class Writers:
    """`count` threads that each write `writes` keys of their own, one after the other, from node to
    node. A write is sent again only when nothing happened for sure; so each one ends as
    acknowledged (with its revision), unknown, or not done at the time when stop() was called."""

    def __init__(self, nodes, count, writes, prefix=b"w", timeout_ms=20000, repeat=1):
        self.ports = [node.client_port for node in nodes]
        self.prefix = prefix
        self.writes = writes
        self.timeout_ms = timeout_ms
        self.repeat = repeat  # how often a value says what it has to say
        self.acknowledged = {}  # key -> (value, revision)
        self.unknown = {}  # key -> value
        self.answered_with = []  # every Refused
        self.unanswered = 0  # connections that broke while a write was under way
        self.failures = []  # what should not have happened to a thread
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=[n]) for n in range(count)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.stopping.set()
        return self.join()

    def join(self):
        for thread in self.threads:
            thread.join()
        assert not self.failures, self.failures
        return self

    def are_done(self):
        return not any(thread.is_alive() for thread in self.threads)

    def _run(self, number):
        try:
            connection = _Connection(self.ports, number)
            for write in range(self.writes):
                key = self.prefix + b"/%d/%d" % (number, write)
                self._write(connection, key, (b"value of " + key) * self.repeat)
                if self.stopping.is_set():
                    break
            connection.close()
        except Exception as error:  # shown by join(), in the main thread
            self.failures.append(repr(error))

    def _write(self, connection, key, value):
        while not self.stopping.is_set():
            client = connection.get()
            if not client:
                self.stopping.wait(0.02)
                continue
            try:
                revision = client.put(key, value, timeout_ms=self.timeout_ms).revision
                with self.lock:
                    self.acknowledged[key] = (value, revision)
                return
            except Refused as error:
                with self.lock:
                    self.answered_with.append(error)
                if error.code == "UNAVAILABLE":
                    connection.next()
                if is_retriable(error):
                    continue
            except (OSError, EOFError):
                connection.next()
                with self.lock:
                    self.unanswered += 1
            with self.lock:
                self.unknown[key] = value
            return


class _Connection:
    """To one node, until it fails; then to the next one."""

    def __init__(self, ports, first):
        self.ports = ports
        self.turn = first
        self.client = None

    def get(self):
        """A connected client, or None when the node of this turn can't be reached."""
        try:
            self.client = self.client or Client(self.ports[self.turn % len(self.ports)])
        except OSError:
            self.next()
        return self.client

    def next(self):
        self.close()
        self.turn += 1

    def close(self):
        if self.client:
            self.client.close()
        self.client = None


def assert_nothing_is_lost(cluster, writers):
    """Every acknowledged write is on all nodes, at its revision, and nothing is there that nobody
    wrote."""
    cluster.wait_until_all_are_equal()
    contents = [node.contents(writers.prefix + b"/") for node in cluster.nodes]
    for node, found in zip(cluster.nodes, contents):
        for key, expected in writers.acknowledged.items():
            assert found.get(key) == expected, f"{node.name} has lost {key}"
        for key in found.keys() - writers.acknowledged.keys():
            assert found[key][0] == writers.unknown.get(key), f"{node.name} has {key}, unasked"
    assert contents[0] == contents[1] == contents[2]
