"""Real nodes on loopback: started, stopped, killed and paused by their process ids."""

import atexit
import collections
import os
import random
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from signal import SIGCONT, SIGSTOP, SIGTERM

from client import Client, Refused
from processes import start_process
from protocol import raftkv
from waiting import BUILD, LIMIT, wait_until

RAFTKVD = BUILD / "src/daemon/raftkvd"
RAFTKVCTL = BUILD / "src/client/raftkvctl"
RAFTKV_BENCH = BUILD / "bench/raftkv-bench"

EXIT_STATUS_REMOVED = 3

# What a sanitizer, a failed check() and glibc say before they end a process.
COMPLAINTS = ("Sanitizer", "runtime error:", "Broken invariant", "corrupted", "double free")

def environment(**additions):
    """For the programs under test: without what would lead them to the machine's services."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAFTKV", "DBUS_", "NOTIFY"))}
    kept["ASAN_OPTIONS"] = "exitcode=99:detect_leaks=1"
    kept["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1"
    kept["LC_ALL"] = "C.UTF-8"
    return {**kept, **additions}


def assert_no_complaint(text):
    for complaint in COMPLAINTS:
        assert complaint not in text, text


def run(*command, timeout=LIMIT, **options):
    """Runs a program under test to its end. Fails when a sanitizer has something to say of it."""
    variables = environment(**options.pop("variables", {}))
    options.setdefault("text", True)
    result = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        timeout=timeout,
        env=variables,
        **options,
    )
    errors = result.stderr if options["text"] else result.stderr.decode(errors="replace")
    assert_no_complaint(errors)
    return result


reserved = collections.deque(maxlen=400)  # sockets; no test needs as many ports


def free_port():
    """A port that nobody listens on, and that is reserved for this process for a while, whether
    something listens there or not: a name in the same network namespace that only one socket can
    have says so. It is outside of the range from which the kernel takes ports by itself."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    while True:
        port = random.SystemRandom().randrange(10000, 65536)
        if first <= port <= last:
            continue
        reservation = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe:
            try:
                reservation.bind(f"\0raftkv-test-port-{port}")
                probe.bind(("127.0.0.1", port))
            except OSError:
                reservation.close()
                continue
        reserved.append(reservation)
        return port


def make_directory():
    """On a disk, where a flush is a flush: /tmp may be in memory. Whoever asked for it removes it;
    what is left goes at the end of the process."""
    parent = os.environ.get("TMPDIR", "/var/tmp")
    directory = Path(tempfile.mkdtemp(prefix="raftkv-cluster.", dir=parent))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    directory.chmod(0o755)
    return directory


def threads_of(pid):
    """What each thread of a process waits in: its name, and the system call with its arguments."""
    tasks = sorted(Path(f"/proc/{pid}/task").iterdir())
    return [[(task / name).read_text().strip() for name in ("comm", "syscall")] for task in tasks]


class Node:
    def __init__(self, directory, name, bus=None, bootstrap=False, settings=(), data=None):
        self.name = name
        self.bus = bus
        self.client_port = free_port()
        self.peer_port = free_port()
        self.data = data or directory / name
        self.configuration = directory / f"{name}.conf"
        self.journal = directory / f"{name}.journal"
        self.bootstrap = bootstrap
        self.settings = settings
        self.process = None
        self.journal.touch()
        self.write_configuration()

    @property
    def client_address(self):
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer_address(self):
        return f"127.0.0.1:{self.peer_port}"

    def write_configuration(self):
        lines = [
            "[Node]",
            f"ListenClients={self.client_address}",
            f"ListenPeers={self.peer_address}",
            f"DataDirectory={self.data}",
            f"Bootstrap={'yes' if self.bootstrap else 'no'}",
            *self.settings,
        ]
        self.configuration.write_text("\n".join(lines) + "\n")

    def said(self):
        return self.journal.read_text(errors="replace")

    def command(self):
        bus = self.bus.address if self.bus else "none"
        return [RAFTKVD, f"--config={self.configuration}", f"--bus={bus}", self.name]

    # Beginning and end. Only the main thread may start nodes: they end with the thread that did.

    def launch(self, wrapper=(), **variables):
        assert not self.is_running()
        self.process = start_process(self.command(), self.journal, environment(**variables), wrapper)

    def start(self, **variables):
        self.launch(**variables)
        self.wait_until_it_answers()

    def fails_to_start(self, wrapper=()):
        """Starts the node, which has to give up by itself. Returns its exit status and words."""
        before = len(self.said())
        self.launch(wrapper)
        status = self.wait_for_exit()
        said = self.said()[before:]
        assert_no_complaint(said)
        return status, said

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def wait_until_it_answers(self):
        def answers():
            assert self.is_running(), f"{self.name} ended: {self.said()[-2000:]}"
            with self.client(limit=30) as client:
                return client.status()

        return wait_until(f"{self.name} answers", answers)

    def wait_for_exit(self):
        try:
            return self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            threads = threads_of(self.process.pid)
            message = f"{self.name} does not end: {threads}; {self.said()[-2000:]}"
            raise AssertionError(message) from None
        finally:
            if self.process.poll() is None:
                self.kill()

    def send_signal(self, number):
        self.process.send_signal(number)

    def stop(self, number=SIGTERM):
        self.send_signal(number)
        self.wait_for_clean_exit()

    def wait_for_clean_exit(self):
        status = self.wait_for_exit()
        assert_no_complaint(self.said())
        allowed = [0]
        if "is no member of the cluster any more" in self.said():
            allowed.append(EXIT_STATUS_REMOVED)
        assert status in allowed, f"{self.name} ended with status {status}: {self.said()[-2000:]}"

    def wait_until_it_has_left(self):
        """A node that the cluster has removed ends by itself, with a status of its own."""
        status = self.wait_for_exit()
        assert_no_complaint(self.said())
        assert status == EXIT_STATUS_REMOVED, f"status {status}: {self.said()[-2000:]}"

    def kill(self):
        self.process.kill()
        self.process.wait(LIMIT)

    def pause(self):
        self.send_signal(SIGSTOP)

    def resume(self):
        self.send_signal(SIGCONT)

    def wipe(self):
        shutil.rmtree(self.data)

    def remove_data(self):
        """As `rm -rf`."""
        shutil.rmtree(self.data, ignore_errors=True)

    # Asking it

    def client(self, limit=LIMIT):
        return Client(self.client_port, limit)

    def status(self):
        with self.client() as client:
            return getattr(client.status(), "self")

    def contents(self, prefix=b""):
        """What this node's own state holds: key -> (value, modify revision). A node that has just started may need to
        hear first what is committed."""
        wait_until(f"{self.name} reads its own state", self.reads_its_own_state)
        with self.client() as client:
            items = client.list_all(prefix, stale=True)
        return {item.key: (item.value, item.modify_revision) for item in items}

    def reads_its_own_state(self):
        try:
            with self.client() as client:
                client.list(b"", limit=1, stale=True)
        except Refused as error:
            return error.code != "UNAVAILABLE"
        except (OSError, EOFError):
            pass  # whoever reads sees it too
        return True

    def memory(self):
        """Resident memory in bytes."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the process has no memory")


class Cluster:
    """Nodes nodeA, nodeB ...; the first one begins the cluster, the others are added to it."""

    def __init__(self, bus=None, settings=()):
        self.directory = make_directory()
        self.bus = bus
        self.settings = settings
        self.nodes = []
        self.outsiders = []  # nodes that were made but not added

    def node(self, name):
        return next(n for n in self.nodes + self.outsiders if n.name == name)

    def make_node(self, name=None, **options):
        """A node that is not started and not a member."""
        name = name or "node" + chr(ord("A") + len(self.nodes) + len(self.outsiders))
        node = Node(self.directory, name, self.bus, settings=self.settings, **options)
        self.outsiders.append(node)
        return node

    def start(self, size=3):
        first = self.make_node(bootstrap=True)
        first.start()
        self.outsiders.remove(first)
        self.nodes.append(first)
        self.leader()
        for _ in range(size - 1):
            node = self.make_node()
            node.start()
            self.add(node)
        self.wait_until_all_are_equal()
        return self

    def add(self, node):
        self.change("add_voter", name=node.name, peer_address=node.peer_address)
        if node in self.outsiders:
            self.outsiders.remove(node)
            self.nodes.append(node)

    def change(self, kind, through=None, **fields):
        """A change of the membership, asked for again while another one is still under way."""
        result = []

        def done():
            with (through or self.running()[0]).client() as client:
                try:
                    result.append(client.call(kind, timeout_ms=LIMIT * 1000, **fields))
                except Refused as error:
                    if error.code not in ("BUSY", "NO_LEADER", "NOT_LEADER"):
                        raise AssertionError(f"{kind} {fields}: {error}") from error
                    raise
            return True

        wait_until(f"{kind} {fields} is done", done)
        return result[0]

    def running(self):
        return [node for node in self.nodes if node.is_running()]

    def leader(self):
        """Waits until all running members name the same leader, and it says so itself."""

        def agreed():
            statuses = [node.status() for node in self.running()]
            names = {status.leader for status in statuses}
            leaders = [s.name for s in statuses if s.state == raftkv.STATE_LEADER]
            return len(names) == 1 and len(leaders) == 1 and names == set(leaders) and leaders[0]

        return self.node(wait_until("the nodes agree on a leader", agreed))

    def followers(self):
        leader = self.leader()
        return [node for node in self.running() if node is not leader]

    def members(self, through=None):
        with (through or self.running()[0]).client() as client:
            return client.members()

    def member_roles(self):
        names = raftkv.Role.Name
        return {m.name: names(m.role).removeprefix("ROLE_").lower() for m in self.members().members}

    def wait_until_all_are_equal(self):
        """Waits until all running nodes have applied everything that is committed, and show it."""

        def committed():
            with self.leader().client() as client:
                return client.list(b"", limit=1).revision

        revision = wait_until("the leader serves", committed)

        def equal():
            applied = {node.status().applied_index for node in self.running()}
            if len(applied) != 1 or applied.pop() < revision:
                return False
            for node in self.running():
                with node.client() as client:
                    client.list(b"", limit=1, stale=True)
            return True

        wait_until("all nodes have applied the same and show it", equal)

    def assert_serves(self):
        """A write through each running node, read through the others."""
        self.leader()
        for writer in self.running():
            key = b"serves-" + writer.name.encode()
            value = os.urandom(8)
            with writer.client() as client:
                client.put(key, value)
            for reader in self.running():
                with reader.client() as client:
                    assert client.get(key) == value

    def kill_all_at_once(self):
        nodes = self.running()
        for node in nodes:
            node.process.kill()
        for node in nodes:
            node.process.wait(LIMIT)

    def start_all(self):
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_until_it_answers()

    def close(self):
        """Stops all nodes, which has to go well, and removes their files."""
        nodes = [n for n in self.nodes + self.outsiders if n.process is not None]
        try:
            running = [n for n in nodes if n.is_running()]
            for node in running:
                node.resume()
                node.send_signal(SIGTERM)
            for node in running:
                node.wait_for_clean_exit()
            for node in nodes:
                assert_no_complaint(node.said())
        finally:
            for node in [n for n in nodes if n.is_running()]:
                node.kill()
            shutil.rmtree(self.directory, ignore_errors=True)
