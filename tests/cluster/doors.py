"""The ways to a node, for tests that hold whichever is taken: one operation, named as in the schema,
is asked of a node over client TCP, over D-Bus, or with raftkvctl over either."""

import json

from bus import OBJECT
from cluster import RAFTKVCTL, run
from client import Refused
from protocol import raftkv, snapshot
from waiting import LIMIT

_NEWCOMER = [("name", "s"), ("peer_address", "s"), ("expected_configuration_index", "t")]
_MEMBER = [("name", "s"), ("expected_configuration_index", "t")]
# D-Bus: the method, its arguments as (field, type), and the names of its results.
METHODS = {
    "put": ("KV.Put", [("key", "s"), ("value", "s")], ["revision", "created"]),
    "get": ("KV.Get", [("key", "s")], ["value", "revision"]),
    "delete": ("KV.Delete", [("key", "s")], ["revision", "existed"]),
    "list": ("KV.List", [("prefix", "s"), ("from", "s"), ("limit", "u")], ["items", "continuation", "revision"]),
    "add_voter": ("Cluster.AddVoter", _NEWCOMER, ["configuration_index"]),
    "add_nonvoter": ("Cluster.AddNonvoter", _NEWCOMER, ["configuration_index"]),
    "remove_server": ("Cluster.RemoveServer", _MEMBER, ["configuration_index"]),
    "demote_voter": ("Cluster.DemoteVoter", _MEMBER, ["configuration_index"]),
    "pending": ("Cluster.GetPending", [], ["nodes"]),
    "accept": ("Cluster.Accept", _MEMBER, ["configuration_index"]),
    "reject": ("Cluster.Reject", [("name", "s")], []),
    "transfer_leadership": ("Cluster.TransferLeadership", [("name", "s")], ["leader"]),
    "members": ("Cluster.GetConfiguration", [], ["members", "configuration_index", "cluster_id"]),
    "barrier": ("Node.Barrier", [], ["index"]),
    "verify_leader": ("Node.VerifyLeader", [], ["leader", "term"]),
    "status": ("Node.GetStatus", [], ["members"]),
    "stats": ("Node.Stats", [], ["statistics"]),
    "snapshot": ("Node.Snapshot", [], ["index", "milliseconds"]),
    "await": ("Operation.Await", [], ["results"]),
    "cancel": ("Operation.Cancel", [], []),
}
ON_AN_OPERATION = ("await", "cancel")  # with its token
OPERATION = ["token", "request", "subject", "asked_by", "state", "unit"]
MEMBER = ["name", "id", "role", "peer_address", "client_address", "leader", "promoting"]
PENDING = ["name", "id", "peer_address", "client_address", "milliseconds"]
HISTOGRAM = ["count", "mean", "maximum", "p50", "p90", "p99", "p999"]
ROLES = ["none", "voter", "non-voter"]
STATES = ["unknown", "follower", "candidate", "leader"]
STATUS = ["name", "id", "role", "state", "term", "leader", "commit_index", "applied_index", "last_index"]
STATUS += ["lag", "answers", "error", "version", "peer_address", "client_address", "first_index"]
STATUS += ["cluster_id", "alarm"]


def camel_case(code):
    return "".join(word.capitalize() for word in code.split("_"))


class Tcp:
    def ask(self, node, kind, **fields):
        if kind in ON_AN_OPERATION:
            fields["action"] = raftkv.OperationAction.Value(f"OPERATION_ACTION_{kind.upper()}")
        with node.client() as client:
            kind_there = "operation" if kind in ON_AN_OPERATION else kind
            answer = client.call(kind_there, timeout_ms=LIMIT * 1000, **fields)
        if kind == "await":
            if answer.result.HasField("error"):
                raise Refused(answer.result.error)
            answer = getattr(answer.result, answer.result.WhichOneof("body"))
            if answer.DESCRIPTOR.name == "BackupResponse":
                return {"last": answer.last}
        return {field.name: getattr(answer, field.name) for field in answer.DESCRIPTOR.fields}

    def operations(self, node):
        words = {0: "running", 1: "done", 2: "failed"}
        known = self.ask(node, "operations")["operations"]
        return [{name: getattr(o, name) for name in OPERATION} | {"state": words[o.state]} for o in known]

    def refusal(self, node, kind, **fields):
        try:
            self.ask(node, kind, **fields)
        except Refused as error:
            return camel_case(error.code)
        raise AssertionError(f"{kind} was not refused")

    def put(self, node, key, value):
        return self.ask(node, "put", key=key.encode(), value=value.encode())

    def get(self, node, key, stale=False):
        answer = self.ask(node, "get", key=key.encode(), stale=stale)
        return {"value": answer["item"].value.decode(), "revision": answer["revision"]}

    def delete(self, node, key):
        return self.ask(node, "delete", key=key.encode())

    def list(self, node, prefix, stale=False):
        answer = self.ask(node, "list", prefix=prefix.encode(), stale=stale)
        items = [(item.key.decode(), item.value.decode()) for item in answer["items"]]
        return {"items": items, "revision": answer["revision"]}

    def stats(self, node):
        return {
            s.name: s.number if s.WhichOneof("value") == "number" else self._histogram(s.histogram)
            for s in self.ask(node, "stats")["statistics"]
        }

    def pending(self, node):
        return [{name: getattr(n, name) for name in PENDING} for n in self.ask(node, "pending")["nodes"]]

    def _histogram(self, message):
        return {name: getattr(message, name) for name in HISTOGRAM}

    def members(self, node, stale=False):
        answer = self.ask(node, "members", stale=stale)
        members = [{name: getattr(m, name) for name in MEMBER} for m in answer["members"]]
        for member in members:
            member["role"] = ROLES[member["role"]]
        return {**answer, "members": members}


    def status(self, node):
        members = self.ask(node, "status", cluster=True)["members"]
        members = [{name: getattr(m, name) for name in STATUS} for m in members]
        for member in members:
            member |= {"role": ROLES[member["role"]], "state": STATES[member["state"]]}
        return members

    def backup(self, node, file):
        """Of a state that is one chunk."""
        answer = self.ask(node, "backup")
        assert answer["last"]
        self.ask(node, "backup", token=answer["token"], end=True)
        return {"index": snapshot.BackupHeader.FromString(answer["header"]).snapshot.index}


class DBus:
    def __init__(self, bus):
        self.bus = bus

    def _method(self, kind, fields):
        method, arguments, results = METHODS[kind]
        if fields.pop("force", False):
            method = method.replace(".", ".Force")
        if fields.pop("nonvoter", False):
            method += "Nonvoter"
        if fields.pop("stale", False):
            method += "Stale"
        at = OBJECT
        if kind in ON_AN_OPERATION:
            at += f"/operation/{fields.pop('token')}"
        defaults = {"s": "", "t": 0, "u": 0}
        values = [(type_, str(fields.pop(name, defaults[type_]))) for name, type_ in arguments]
        assert not fields, fields
        return at, method, values, results

    def ask(self, node, kind, **fields):
        at, method, values, results = self._method(kind, fields)
        signature = "".join(type_ for type_, _ in values)
        data = self.bus.call(node.name, method, signature, *[value for _, value in values], at=at)
        assert len(data) == len(results)
        if kind == "await":
            return {name: value["data"] for name, value in data[0].items()}
        return dict(zip(results, data))

    def refusal(self, node, kind, **fields):
        at, method, values, _ = self._method(kind, fields)
        types = {"s": "string", "t": "uint64"}
        words = [f"{types[type_]}:{value}" for type_, value in values]
        return self.bus.error(node.name, method, *words, at=at).name

    def operations(self, node):
        """Those that have objects."""
        interfaces = self.bus.managed_objects(node.name)
        known = {int(at.rpartition("/")[2]): of for at, of in interfaces.items() if "/operation/" in at}
        names = [name.title().replace("_", "") for name in OPERATION[2:]]
        operations = []
        for token, of in sorted(known.items()):
            told = {name: value["data"] for name, value in of["org.raftkv1.Operation"].items()}
            values = [token, told["Kind"], *[told[name] for name in names]]
            operations.append(dict(zip(OPERATION, values)))
        return operations

    def put(self, node, key, value):
        return self.ask(node, "put", key=key, value=value)

    def get(self, node, key, stale=False):
        return self.ask(node, "get", key=key, stale=stale)

    def delete(self, node, key):
        return self.ask(node, "delete", key=key)

    def list(self, node, prefix, stale=False):
        answer = self.ask(node, "list", prefix=prefix, stale=stale)
        return {"items": [tuple(item) for item in answer["items"]], "revision": answer["revision"]}

    def pending(self, node):
        return [dict(zip(PENDING, row)) for row in self.ask(node, "pending")["nodes"]]

    def status(self, node):
        return [dict(zip(STATUS, row)) for row in self.ask(node, "status")["members"]]

    def backup(self, node, file):
        """Of a state that is one chunk: it ends when busctl leaves the bus."""
        _, header, _, last = self.bus.call(node.name, "Node.ReadBackup", "tt", "0", "0")
        assert last
        return {"index": snapshot.BackupHeader.FromString(bytes(header)).snapshot.index}

    def stats(self, node):
        statistics = {}
        for name, value in self.ask(node, "stats")["statistics"].items():
            is_number = value["type"] == "t"
            statistics[name] = value["data"] if is_number else dict(zip(HISTOGRAM, value["data"]))
        return statistics

    def members(self, node, stale=False):
        answer = self.ask(node, "members", stale=stale)
        return {**answer, "members": [dict(zip(MEMBER, row)) for row in answer["members"]]}


class Raftkvctl:
    def _where(self, node):
        return [f"--endpoints={node.client_address}"]

    def _run(self, node, kind, fields):
        words = [kind.replace("_", "-")]
        if "expected_configuration_index" in fields:
            words.append(f"--expected-index={fields.pop('expected_configuration_index')}")
        if fields.pop("force", False):
            words.append("--force")
        if fields.pop("nonvoter", False):
            words.append("--nonvoter")
        if fields.pop("stale", False):
            words.append("--stale")
        if kind == "pending":
            words = ["members", "--pending"]
        if kind in ON_AN_OPERATION:
            words.append(f"{fields.pop('token'):016x}")
        options = ["--output=json", f"--timeout={LIMIT}"]
        return run(RAFTKVCTL, *self._where(node), *options, *words, *fields.values())

    def ask(self, node, kind, **fields):
        result = self._run(node, kind, fields)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def refusal(self, node, kind, **fields):
        result = self._run(node, kind, fields)
        assert result.returncode > 10, result.stdout + result.stderr
        return result.stderr.split(":")[1].strip()

    def put(self, node, key, value):
        return self.ask(node, "put", key=key, value=value)

    def get(self, node, key, stale=False):
        answer = self.ask(node, "get", key=key, stale=stale)
        return {name: answer[name] for name in ("value", "revision")}

    def delete(self, node, key):
        return self.ask(node, "delete", key=key)

    def list(self, node, prefix, stale=False):
        answer = self.ask(node, "list", prefix=prefix, stale=stale)
        items = [(item["key"], item["value"]) for item in answer["items"]]
        return {"items": items, "revision": answer["revision"]}

    def operations(self, node):
        known = self.ask(node, "operations")["operations"]
        return [{name: o[name] for name in OPERATION} | {"token": int(o["token"], 16)} for o in known]

    def stats(self, node):
        return self.ask(node, "stats")

    def members(self, node, stale=False):
        answer = self.ask(node, "members", stale=stale)
        for member in answer["members"]:
            member["id"] = int(member["id"], 16)
        return {**answer, "cluster_id": int(answer["cluster_id"], 16)}

    def status(self, node):
        members = self.ask(node, "status")["members"]
        for member in members:
            member |= {name: int(member[name], 16) for name in ("id", "cluster_id")}
        return members

    def backup(self, node, file):
        return self.ask(node, "backup", file=file)

    def pending(self, node):
        nodes = self.ask(node, "pending")["nodes"]
        return [{**n, "id": int(n["id"], 16)} for n in nodes]


class RaftkvctlOverTheBus(Raftkvctl):
    def __init__(self, bus):
        self.bus = bus

    def _where(self, node):
        return [f"--bus={self.bus.address}", f"--node={node.name}"]


def make_door(kind, bus):
    return {
        "tcp": lambda: Tcp(),
        "bus": lambda: DBus(bus),
        "raftkvctl": lambda: Raftkvctl(),
        "raftkvctl-bus": lambda: RaftkvctlOverTheBus(bus),
    }[kind]()


DOORS = ["tcp", "bus", "raftkvctl", "raftkvctl-bus"]
