"""A member that says to the others what none would say. It can keep them from electing anyone; but
they go on, answer for themselves, and hold no more than their limits."""

import random

from fake_member import FakeMember
from protocol import peer, raftkv
from waiting import SANITIZED

MIB = 1 << 20
MESSAGES = 600


class Forger:
    """Messages that decode, around the term and the indexes that a node has."""

    def __init__(self, seed):
        self.chance = random.Random(seed)

    def message(self, status):
        self.status = status
        kind = self.chance.choice(
            [name[1:] for name in dir(self) if name.startswith("_") and not name.startswith("__")]
        )
        message = peer.PeerMessage()
        body = getattr(message, kind)
        body.SetInParent()
        getattr(self, "_" + kind)(body)
        return message

    def coin(self):
        return self.chance.random() < 0.5

    def number(self):
        return self.chance.getrandbits(self.chance.choice([1, 8, 24, 64]))

    def term(self):
        present = self.status.term
        return self.chance.choice([present] * 4 + [present - 1, present + 1, present + 7, self.number()])

    def index(self):
        last = self.status.last_index
        return self.chance.choice([last] * 3 + [last - 1, last + 1, last + 100, self.number()])

    def bytes(self):
        return self.chance.randbytes(self.chance.choice([0, 8, 500, 100000]))

    def _append_entries(self, body):
        body.term = self.term()
        body.prev_log_index, body.prev_log_term = self.index(), self.term()
        body.leader_commit = self.index()
        for _ in range(self.chance.randrange(3)):
            body.entries.add(term=body.term, type=peer.ENTRY_TYPE_BARRIER, data=bytes(8))
        if self.coin():
            body.entries.add(term=self.term(), type=self.chance.randrange(4), data=self.bytes())

    def _append_entries_result(self, body):
        body.term, body.last_log_index = self.term(), self.index()
        body.rejected = self.index() if self.coin() else 0
        body.capacity = self.chance.randrange(65536)

    def _request_vote(self, body):
        body.term, body.last_log_index, body.last_log_term = self.term(), self.index(), self.term()
        body.pre_vote = self.coin()
        body.disrupt_leader = not body.pre_vote and self.coin()

    def _request_vote_result(self, body):
        body.term, body.granted, body.pre_vote = self.term(), self.coin(), self.coin()

    def _timeout_now(self, body):
        body.term, body.last_log_index, body.last_log_term = self.term(), self.index(), self.term()

    def _install_snapshot(self, body):
        body.term, body.last_index, body.last_term = self.term(), self.index(), self.term()
        body.configuration_index, body.configuration = self.index(), self.bytes()

    def _snapshot_part(self, body):
        body.stream, body.index, body.term = self.number(), self.index(), self.term()
        body.configuration_index, body.configuration = self.index(), self.bytes()
        body.sequence, body.chunk, body.last = self.number(), self.bytes(), self.coin()
        body.total_bytes = self.number()

    def _snapshot_ack(self, body):
        body.stream, body.next = self.number(), self.index()
        body.complete, body.unknown = self.coin(), self.coin()

    def _forward_request(self, body):
        body.forward_id = self.number()
        request = body.request
        request.timeout_ms = self.chance.choice([0, 1, 3600 * 1000])
        request.progress = self.coin()
        kinds = ["put", "get", "list", "backup", "status", "members", "barrier", "transfer_leadership"]
        kind = getattr(request, self.chance.choice(kinds))
        kind.SetInParent()
        if hasattr(kind, "key"):
            kind.key = b"forged"
        if hasattr(kind, "cluster"):
            kind.cluster = True

    def _forward_response(self, body):
        body.forward_id = self.number()
        getattr(body.response, self.chance.choice(["put", "status", "progress"])).SetInParent()
        if self.coin():
            body.response.error.code = raftkv.ERROR_CODE_NOT_LEADER


def test_a_member_that_says_anything_harms_nobody_for_good(make_cluster):
    cluster = make_cluster()
    victim, *others = cluster.nodes
    status = victim.status()
    victim.stop()
    member = FakeMember(victim, status)
    forger = Forger(4711)
    for number in range(MESSAGES):
        node = others[number % 2]
        if number % 20 < 2:
            node.last_status = node.status()
        member.say(node, forger.message(node.last_status), urgent=forger.coin())
    for node in others:
        with node.client() as client:
            members = client.status(cluster=True).members
        assert [m.answers for m in members if m.name == node.name] == [True]
        assert node.memory() < (700 if SANITIZED else 200) * MIB
    member.close()
