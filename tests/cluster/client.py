"""A client of raftkv's TCP protocol, made from proto/ and nothing else of the project."""

import socket
import struct

from protocol import raftkv
from waiting import LIMIT


class Refused(Exception):
    """A node answered with an error."""

    def __init__(self, error):
        self.code = raftkv.ErrorCode.Name(error.code).removeprefix("ERROR_CODE_")
        self.message = error.message
        self.outcome_unknown = error.outcome_unknown
        self.leader_name = error.leader_name
        self.leader_address = error.leader_address
        super().__init__(f"{self.code}: {self.message}" + " (unknown)" * self.outcome_unknown)


class Client:
    """One connection to the client port of a node. Every wait for it ends after `limit` seconds."""

    def __init__(self, port, limit=LIMIT):
        self.socket = socket.create_connection(("127.0.0.1", port), limit)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.last_id = 0

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Frames

    def send_bytes(self, data):
        self.socket.sendall(data)

    def send_frame(self, body):
        self.send_bytes(struct.pack(">I", len(body)) + body)

    def receive_exactly(self, size):
        parts = []
        while size > 0:
            part = self.socket.recv(min(size, 1 << 20))
            if not part:
                raise EOFError("the node closed the connection")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def receive_frame(self):
        (size,) = struct.unpack(">I", self.receive_exactly(4))
        return self.receive_exactly(size)

    def is_closed_by_the_node(self):
        """Waits until the node closes the connection, throwing away what it still says."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except ConnectionError:
            pass
        return True

    # Requests

    def send(self, kind, timeout_ms=0, **fields):
        """Sends a request without waiting for the answer. Returns its id."""
        self.last_id += 1
        request = raftkv.Request(id=self.last_id, timeout_ms=timeout_ms)
        body = getattr(request, kind)
        body.SetInParent()
        for name, value in fields.items():
            setattr(body, name.rstrip("_"), value)
        self.send_frame(request.SerializeToString())
        return self.last_id

    def receive(self):
        return raftkv.Response.FromString(self.receive_frame())

    def call(self, kind, timeout_ms=0, **fields):
        """Sends a request and returns the body of its answer, or raises Refused."""
        request_id = self.send(kind, timeout_ms, **fields)
        response = self.receive()
        assert response.id in (request_id, 0), "the answer belongs to another request"
        if response.HasField("error"):
            raise Refused(response.error)
        assert response.id == request_id
        return getattr(response, response.WhichOneof("body"))

    def put(self, key, value, **options):
        return self.call("put", key=key, value=value, **options)

    def get(self, key, **options):
        return self.call("get", key=key, **options).item.value

    def delete(self, key, **options):
        return self.call("delete", key=key, **options)

    def list(self, prefix=b"", **options):
        return self.call("list", prefix=prefix, **options)

    def list_all(self, prefix=b"", stale=False):
        """All items below a prefix, over as many pages as it takes."""
        items, continuation = [], b""
        while True:
            page = self.list(
                prefix, stale=stale, continuation=continuation, limit=10000, max_bytes=4 << 20
            )
            items += page.items
            continuation = page.continuation
            if not continuation:
                return items

    def status(self, **options):
        return self.call("status", **options)

    def members(self, **options):
        return self.call("members", **options)


def is_retriable(error):
    """Whether the answer says that nothing happened, so that asking again is safe."""
    return (
        isinstance(error, Refused)
        and error.code in ("NO_LEADER", "NOT_LEADER", "BUSY", "UNAVAILABLE")
        and not error.outcome_unknown
    )
