"""Nodes as units on booted hosts, and what an administrator does with them."""

import json
import subprocess
import threading
import time

from hosts import LIMIT, Failed, wait_until

OBJECT = "/org/raftkv1"
# On a machine that has much else to do a leader may be silent for a second, and is none that is gone.
RAFT = ["[Raft]", "ElectionTimeoutSec=3s"]


class Node:
    """The unit raftkv@NAME.service on a host."""

    def __init__(self, name, host, settings=(), clients=4711, peers=4712):
        self.name = name
        self.host = host
        self.unit = f"raftkv@{name}.service"
        self.clients, self.peers = clients, peers
        self.settings = list(settings)

    @property
    def client_address(self):
        return f"{self.host.address}:{self.clients}"

    @property
    def peer_address(self):
        return f"{self.host.address}:{self.peers}"

    def configure(self, *more):
        lines = ["[Node]", f"ListenClients={self.client_address}", f"ListenPeers={self.peer_address}"]
        lines += [*self.settings, *more, *RAFT]
        self.host.write(f"/etc/raftkv/{self.name}.conf", "\n".join(lines) + "\n")

    def systemctl(self, verb, *arguments, **options):
        return self.host.run("systemctl", verb, *arguments, self.unit, **options)

    def show(self, name):
        return self.host.show(self.unit, name)

    def is_active(self):
        return self.host.is_on() and self.show("ActiveState") == "active"

    def restarts(self):
        return int(self.show("NRestarts"))

    def journal(self, *arguments):
        return self.host.journal(f"--unit={self.unit}", *arguments)

    # Doors

    def ctl(self, *arguments, timeout=60, **options):
        """raftkvctl on the node's host, which asks this node only."""
        return self.host.run(
            "raftkvctl", f"--endpoints={self.client_address}", f"--timeout={timeout}", *arguments, **options
        )

    def busctl(self, method, signature="", *arguments):
        """The command that calls a method such as "KV.Put" on the host's system bus."""
        interface, member = method.split(".")
        return [
            "busctl", "--system", f"--timeout={LIMIT}", "call", f"org.raftkv1.{self.name}", OBJECT,
            f"org.raftkv1.{interface}", member, *([signature] if signature else []), "--", *arguments,
        ]  # fmt: skip

    def call(self, method, signature="", *arguments, **options):
        """Calls a method, and returns what busctl shows of the answer."""
        return self.host.run(*self.busctl(method, signature, *arguments), **options).strip()

    def status(self):
        """What the node says of itself."""
        status = json.loads(self.ctl("--output=json", "status", timeout=20))
        return next(member for member in status["members"] if member["name"] == self.name)

    def leads(self):
        return self.is_active() and self.status()["state"] == "leader"

    def answers(self):
        return self.is_active() and self.status()["answers"]


class Cluster:
    """nodeA, nodeB and nodeC, on the three hosts given, which may be the same."""

    def __init__(self, hosts):
        self.nodes = []
        for letter, host in zip("ABC", hosts):
            port = 4711 + 10 * sum(node.host is host for node in self.nodes)
            self.nodes.append(Node("node" + letter, host, clients=port, peers=port + 1))
        self.nodes[0].settings.append("Bootstrap=yes")

    def endpoints(self):
        return ",".join(node.client_address for node in self.nodes)

    def begin(self):
        """Starts the three, and adds two of them to the first one."""
        for node in self.nodes:
            node.configure()
            node.systemctl("start")
        first = self.nodes[0]
        wait_until("the first node leads", first.leads)
        for node in self.nodes[1:]:
            first.ctl("add-voter", node.name, node.peer_address, limit=LIMIT)

    def heal(self):
        """Whatever a test left: all hosts on, all links whole, all nodes running and equal."""
        for node in self.nodes:
            if not node.host.is_on():
                node.host.boot()
        for node in self.nodes:
            for other in self.nodes:
                if other is not node:
                    node.host.mend_to(other.host)
        for node in self.nodes:
            if not node.is_active():
                node.systemctl("reset-failed", ok=(0, 1))
                node.systemctl("start")
        self.leader()
        self.wait_until_equal()

    def running(self):
        return [node for node in self.nodes if node.is_active()]

    def leader(self, among=None):
        """Waits until the nodes agree on who leads."""

        def agreed():
            nodes = among or self.running()
            statuses = [node.status() for node in nodes]
            leaders = {status["leader"] for status in statuses}
            itself = [node for node, status in zip(nodes, statuses) if status["state"] == "leader"]
            return itself[0] if len(itself) == 1 and leaders == {itself[0].name} else None

        return wait_until("the nodes agree on a leader", agreed)

    def followers(self):
        leader = self.leader()
        return [node for node in self.nodes if node is not leader]

    def wait_until_equal(self):
        """All nodes have applied what the leader had committed when it was asked."""
        revision = self.leader().status()["commit_index"]
        wait_until(
            "all nodes have applied the same",
            lambda: all(node.status()["applied_index"] >= revision for node in self.running()),
        )

    def journals(self, since):
        """What each node said since then (as journalctl takes it)."""
        said = [(node, node.journal(f"--since={since}", "--output=short-precise")) for node in self.nodes]
        return "\n".join(f"{node.name} said:\n{text}" for node, text in said)

    def assert_serves(self):
        """What is written through each running node is read through each of the others."""
        nodes = self.running()
        for writer in nodes:
            writer.ctl("put", f"serves-{writer.name}", writer.name)
        for reader in nodes:
            for writer in nodes:
                assert reader.ctl("get", f"serves-{writer.name}").strip() == writer.name


class HangingDisk:
    """Whatever syncs a file in a node's process hangs, as a context: strace holds it up, and the process can't end
    before that is over either. (A frozen file system would stay so when the tests are killed.)"""

    def __init__(self, node):
        self.node = node

    def __enter__(self):
        process = self.node.host.main_process(self.node.unit)
        syncs = "fdatasync,fsync"
        self.strace = subprocess.Popen(
            ["strace", "--follow-forks", f"--attach={process}", f"--trace={syncs}", "--output=/dev/null",
             f"--inject={syncs}:delay_enter=600s"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert "attached" in self.strace.stderr.readline()

    def __exit__(self, *_):
        self.strace.kill()
        self.strace.communicate(timeout=LIMIT)


class Load:
    """A client that writes one key after the other through all nodes, from a host; as a context."""

    def __init__(self, cluster, host):
        self.cluster, self.host = cluster, host
        self.written = 0
        self.failure = None
        self.began = f"@{int(time.time())}"
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._write)

    def _write(self):
        while not self.ended.is_set():
            try:
                self.host.run(
                    "raftkvctl", f"--endpoints={self.cluster.endpoints()}", "--timeout=60", "put",
                    f"load-{self.written}", str(self.written),
                )  # fmt: skip
                self.written += 1
            except Failed as failure:
                self.failure = f"at {time.strftime('%H:%M:%S')}: {failure}"
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def wait_for(self, more):
        """Waits until so many more keys have been written."""
        wanted = self.written + more
        wait_until("the load goes on", lambda: self.written >= wanted or self.failure)
        self.assert_whole()

    def assert_whole(self):
        """No command failed so far."""
        if self.failure:
            raise AssertionError(f"{self.failure}\n{self.cluster.journals(self.began)}")
