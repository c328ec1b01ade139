"""The ways to a node, for tests that hold whichever is taken: one operation, named as in the schema,
is asked of a node over client TCP, over D-Bus, or with raftkvctl over either."""

import json

from cluster import RAFTKVCTL, run
from client import Refused

_NEWCOMER = [("name", "s"), ("peer_address", "s"), ("expected_configuration_index", "t")]
_MEMBER = [("name", "s"), ("expected_configuration_index", "t")]
# D-Bus: the method, its arguments as (field, type), and the names of its results.
METHODS = {
    "put": ("KV.Put", [("key", "s"), ("value", "s")], ["revision"]),
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
    "stats": ("Node.Stats", [], ["statistics"]),
    "snapshot": ("Node.Snapshot", [], ["index", "milliseconds"]),
}
MEMBER = ["name", "id", "role", "peer_address", "client_address", "leader", "promoting"]
PENDING = ["name", "id", "peer_address", "client_address", "milliseconds"]
HISTOGRAM = ["count", "mean", "maximum", "p50", "p90", "p99", "p999"]
ROLES = ["none", "voter", "non-voter"]


def camel_case(code):
    return "".join(word.capitalize() for word in code.split("_"))


class Tcp:
    def ask(self, node, kind, **fields):
        with node.client() as client:
            answer = client.call(kind, **fields)
        return {field.name: getattr(answer, field.name) for field in answer.DESCRIPTOR.fields}

    def refusal(self, node, kind, **fields):
        try:
            self.ask(node, kind, **fields)
        except Refused as error:
            return camel_case(error.code)
        raise AssertionError(f"{kind} was not refused")

    def put(self, node, key, value):
        return self.ask(node, "put", key=key.encode(), value=value.encode())

    def stats(self, node):
        return {
            s.name: s.number if s.WhichOneof("value") == "number" else self._histogram(s.histogram)
            for s in self.ask(node, "stats")["statistics"]
        }

    def pending(self, node):
        return [{name: getattr(n, name) for name in PENDING} for n in self.ask(node, "pending")["nodes"]]

    def _histogram(self, message):
        return {name: getattr(message, name) for name in HISTOGRAM}

    def members(self, node):
        answer = self.ask(node, "members")
        members = [{name: getattr(m, name) for name in MEMBER} for m in answer["members"]]
        for member in members:
            member["role"] = ROLES[member["role"]]
        return {**answer, "members": members}


class DBus:
    def __init__(self, bus):
        self.bus = bus

    def _method(self, kind, fields):
        method, arguments, results = METHODS[kind]
        if fields.pop("force", False):
            method = method.replace(".", ".Force")
        if fields.pop("nonvoter", False):
            method += "Nonvoter"
        defaults = {"s": "", "t": 0}
        values = [(type_, str(fields.pop(name, defaults[type_]))) for name, type_ in arguments]
        assert not fields, fields
        return method, values, results

    def ask(self, node, kind, **fields):
        method, values, results = self._method(kind, fields)
        signature = "".join(type_ for type_, _ in values)
        data = self.bus.call(node.name, method, signature, *[value for _, value in values])
        assert len(data) == len(results)
        return dict(zip(results, data))

    def refusal(self, node, kind, **fields):
        method, values, _ = self._method(kind, fields)
        types = {"s": "string", "t": "uint64"}
        words = [f"{types[type_]}:{value}" for type_, value in values]
        return self.bus.error(node.name, method, *words).name

    def put(self, node, key, value):
        return self.ask(node, "put", key=key, value=value)

    def pending(self, node):
        return [dict(zip(PENDING, row)) for row in self.ask(node, "pending")["nodes"]]

    def stats(self, node):
        statistics = {}
        for name, value in self.ask(node, "stats")["statistics"].items():
            is_number = value["type"] == "t"
            statistics[name] = value["data"] if is_number else dict(zip(HISTOGRAM, value["data"]))
        return statistics

    def members(self, node):
        answer = self.ask(node, "members")
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
        if kind == "pending":
            words = ["members", "--pending"]
        return run(RAFTKVCTL, *self._where(node), "--output=json", *words, *fields.values())

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

    def stats(self, node):
        return self.ask(node, "stats")

    def members(self, node):
        answer = self.ask(node, "members")
        for member in answer["members"]:
            member["id"] = int(member["id"], 16)
        return {**answer, "cluster_id": int(answer["cluster_id"], 16)}


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
